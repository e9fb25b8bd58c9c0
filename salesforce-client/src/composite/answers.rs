use http::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{OPERATION, Reference};
use crate::{
    RecordId,
    api_error::ApiErrors,
    classify::kind_of,
    error::{Error, ErrorKind, Result},
};

/// The answers to the parts of a [`Composite`](super::Composite).
#[derive(Debug)]
pub struct CompositeAnswers(Vec<(Reference, Result<PartAnswer>)>);

/// The answer to one part. A part that failed is an answer too.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PartAnswer {
    /// Its status.
    pub status: u16,
    /// Its body, `null` where there is none.
    pub body: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Composed {
    pub(super) composite_response: Vec<Answered>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answered {
    #[serde(default)]
    body: Value,
    http_status_code: u16,
    reference_id: String,
}

/// The answers to parts of these names, in their order.
pub(super) fn in_order(names: &[Reference], mut answers: Vec<Answered>) -> Result<Vec<PartAnswer>> {
    let found = names.iter().map(|name| {
        let place = answers.iter().position(|it| it.reference_id == name.0);
        let answered = answers.swap_remove(place.ok_or_else(unanswered)?);
        Ok(PartAnswer {
            status: answered.http_status_code,
            body: answered.body,
        })
    });
    found.collect()
}

impl CompositeAnswers {
    pub(super) fn new(names: Vec<Reference>, answers: Vec<Result<PartAnswer>>) -> Self {
        Self(names.into_iter().zip(answers).collect())
    }

    pub(super) fn read(names: Vec<Reference>, answers: Vec<Answered>) -> Result<Self> {
        let answers = in_order(&names, answers)?;
        Ok(Self::new(names, answers.into_iter().map(Ok).collect()))
    }

    /// The answer to a part that succeeded; the part's own error otherwise. One of the kind
    /// [`RowLocked`](ErrorKind::RowLocked) has changed nothing and can be sent again, where nothing
    /// that came after it minds.
    pub fn get(&self, part: &Reference) -> Result<&PartAnswer> {
        let found = self.0.iter().find(|(name, _)| name == part);
        let (_, answer) = found.ok_or_else(|| {
            Error::new(ErrorKind::Invalid, OPERATION).detail("this is no part of the call")
        })?;
        judged(answer)
    }

    /// The id of the record that a part created.
    pub fn id(&self, part: &Reference) -> Result<RecordId> {
        #[derive(Deserialize)]
        struct Created {
            id: RecordId,
        }
        self.json::<Created>(part).map(|created| created.id)
    }

    /// What a part gave, as a type of yours.
    pub fn json<T: DeserializeOwned>(&self, part: &Reference) -> Result<T> {
        self.get(part)?.json()
    }

    /// Why it failed, if a part did: the first failure that is not only the consequence of
    /// another.
    pub fn failure(&self) -> Option<Error> {
        let failures = self.0.iter().filter_map(|(_, it)| judged(it).err());
        let (causes, rest): (Vec<_>, Vec<_>) = failures.partition(|error| {
            let api = error.api();
            !api.is_some_and(ApiErrors::is_consequence)
        });
        causes.into_iter().chain(rest).next()
    }

    /// What each part has, in the order of the parts: its answer, be it a failure or not, or why
    /// there is none.
    pub fn iter(&self) -> impl Iterator<Item = (&Reference, Result<&PartAnswer>)> {
        let each = self.0.iter();
        each.map(|(name, answer)| (name, answer.as_ref().map_err(Error::again)))
    }

    pub(super) fn judged(self, all_or_none: bool) -> Result<Self> {
        match self.failure().filter(|_| all_or_none) {
            Some(failure) => Err(failure),
            None => Ok(self),
        }
    }
}

/// An answer that is no failure.
pub(super) fn judged(answer: &Result<PartAnswer>) -> Result<&PartAnswer> {
    answer.as_ref().map_err(Error::again)?.judged()
}

impl PartAnswer {
    /// Whether the part succeeded.
    pub fn is_success(&self) -> bool {
        self.judged().is_ok()
    }

    /// What the part gave, as a type of yours.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&self.judged()?.body)
            .map_err(|cause| Error::new(ErrorKind::Decode, OPERATION).sent().cause(cause))
    }

    fn judged(&self) -> Result<&Self> {
        let body = || self.body.to_string();
        judge(OPERATION, self.status, body).map(|()| self)
    }
}

/// The error that an answer inside another is, if it is one.
fn judge(operation: &'static str, status: u16, body: impl FnOnce() -> String) -> Result<()> {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if code.is_success() || code == StatusCode::NOT_MODIFIED {
        return Ok(());
    }
    let errors = ApiErrors::read(body().as_bytes());
    let (kind, detail) = kind_of(code, &errors);
    let error = Error::new(kind, operation).answer(status, errors);
    Err(match detail {
        Some(detail) => error.detail(detail),
        None => error,
    })
}

pub(super) fn unanswered() -> Error {
    Error::new(ErrorKind::Decode, OPERATION)
        .sent()
        .detail("a part has no answer")
}

/// The answer to the only part of a composite, with its body as it came.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SubAnswer<'a> {
    #[serde(borrow)]
    pub(crate) body: &'a RawValue,
    http_status_code: u16,
}

impl<'a> SubAnswer<'a> {
    pub(crate) fn of(operation: &'static str, body: &'a [u8]) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Composed<'a> {
            #[serde(borrow)]
            composite_response: [SubAnswer<'a>; 1],
        }
        let composed: Composed<'_> = serde_json::from_slice(body)
            .map_err(|cause| Error::new(ErrorKind::Decode, operation).sent().cause(cause))?;
        let [answer] = composed.composite_response;
        judge(operation, answer.http_status_code, || {
            answer.body.get().to_owned()
        })?;
        Ok(answer)
    }
}
