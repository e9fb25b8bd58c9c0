//! One call with many records to write, and what became of each.

use std::sync::{Arc, OnceLock};

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::debug;

use super::{Saved, joined, note_hopeless, unless_hopeless, unmatched};
use crate::{
    RecordId,
    api_error::{ApiError, ApiErrors, ErrorCode},
    call::{Call, Repeat},
    classify::kind_of,
    error::{Error, ErrorKind, Result},
    retry::Attempts,
    transport::Transport,
};

/// What the calls of a collection have in common.
pub(super) struct Shape {
    pub(super) operation: &'static str,
    pub(super) method: Method,
    pub(super) object: String,
    /// The external id of an upsert.
    pub(super) field: Option<String>,
}

/// What the calls of a collection share while they are made.
pub(super) struct Many {
    pub(super) transport: Arc<Transport>,
    pub(super) shape: Result<Shape>,
    pub(super) all_or_none: bool,
    pub(super) repeatable: bool,
    /// Why no further call has a chance.
    pub(super) hopeless: OnceLock<Error>,
}

impl Many {
    /// Sends one call's worth of records, and those again whose rows were locked: they were not
    /// written. Who asked for all or none has none of them written then.
    pub(super) async fn outcomes(
        &self,
        shape: &Shape,
        written: Vec<Result<Value>>,
    ) -> Vec<Result<Saved>> {
        if self.all_or_none && written.iter().any(Result::is_err) {
            let outcomes = written.into_iter();
            return outcomes
                .map(|value| value.and_then(|_| Err(shape.rolled_back())))
                .collect();
        }
        let mut outcomes = Vec::with_capacity(written.len());
        let mut open = Vec::with_capacity(written.len());
        for (place, value) in written.into_iter().enumerate() {
            // What cannot be written keeps nothing else from being sent.
            outcomes.push(value.map(|value| open.push((place, value))).err());
        }
        let mut outcomes: Vec<_> = outcomes.into_iter().map(|error| error.map(Err)).collect();
        let mut attempts = Attempts::new(&self.transport.sender.retry);
        while !open.is_empty() {
            attempts.begin();
            match self.answers(shape, &open, attempts.started()).await {
                Ok(answers) => {
                    for ((place, _), answer) in open.iter().zip(answers) {
                        outcomes[*place] = Some(answer.read(shape.operation));
                    }
                }
                Err(error) => {
                    for (place, _) in &open {
                        outcomes[*place] = Some(Err(error.again()));
                    }
                    break;
                }
            }
            let lock = |place: usize| match &outcomes[place] {
                Some(Err(error)) if error.kind() == ErrorKind::RowLocked => Some(error),
                _ => None,
            };
            let Some(error) = open.iter().find_map(|(place, _)| lock(*place)) else {
                break;
            };
            let Some(wait) = attempts.next_wait(error) else {
                break;
            };
            if !self.all_or_none {
                open.retain(|(place, _)| lock(*place).is_some());
            }
            let (operation, rows) = (shape.operation, open.len());
            debug!(
                operation,
                rows,
                ?wait,
                "rows were locked: trying them again"
            );
            tokio::time::sleep(wait).await;
        }
        let answered = outcomes.into_iter();
        answered
            .map(|outcome| outcome.unwrap_or_else(|| Err(unmatched(shape.operation))))
            .collect()
    }

    /// `started`: since when the deadline runs.
    async fn answers(
        &self,
        shape: &Shape,
        open: &[(usize, Value)],
        started: Instant,
    ) -> Result<Vec<Answer>> {
        unless_hopeless(&self.hopeless)?;
        let values: Vec<&Value> = open.iter().map(|(_, value)| value).collect();
        let call = shape.call(&self.transport, &values, self.all_or_none)?;
        let mut call = call.since(started);
        call.repeat = match self.repeatable {
            true => Repeat::Safe,
            false => Repeat::Unsafe,
        };
        let answers: Result<Vec<Answer>> = self.transport.json(&call).await;
        let answers = answers.inspect_err(|error| note_hopeless(&self.hopeless, error))?;
        if answers.len() == open.len() {
            return Ok(answers);
        }
        Err(unmatched(shape.operation))
    }
}

impl Shape {
    /// The fields as Salesforce wants them in a collection.
    pub(super) fn record(&self, fields: &impl Serialize, own: &[(&str, &str)]) -> Result<Value> {
        let invalid = |detail| Error::new(ErrorKind::Invalid, self.operation).detail(detail);
        let fields = serde_json::to_value(fields)
            .map_err(|cause| invalid("a record cannot be written as JSON").cause(cause))?;
        let Value::Object(mut fields) = fields else {
            return Err(invalid("a record is written as an object of its fields"));
        };
        for (name, value) in own {
            if fields.keys().any(|field| field.eq_ignore_ascii_case(name)) {
                return Err(invalid("the key of a record stands beside its fields"));
            }
            fields.insert((*name).to_owned(), Value::from(*value));
        }
        fields.insert("attributes".to_owned(), json!({ "type": self.object }));
        Ok(Value::Object(fields))
    }

    /// As Salesforce says it of a record that only follows another one.
    fn rolled_back(&self) -> Error {
        let code = ErrorCode::ALL_OR_NONE_OPERATION_ROLLED_BACK;
        let error = ApiError::new(code.as_str(), "", Vec::new());
        Error::new(ErrorKind::Invalid, self.operation).of_row(error.into())
    }

    fn call(&self, transport: &Transport, values: &[&Value], all_or_none: bool) -> Result<Call> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            all_or_none: bool,
            records: &'a [&'a Value],
        }
        let segments = ["composite", "sobjects"];
        let keyed: [&str; 4];
        let segments: &[&str] = match &self.field {
            Some(field) => {
                keyed = ["composite", "sobjects", &self.object, field];
                &keyed
            }
            None => &segments,
        };
        let call = transport.call(self.operation, self.method.clone(), segments);
        if self.method == Method::DELETE {
            let ids = joined(values.iter().filter_map(|value| value.as_str()));
            return Ok(call
                .query("ids", ids)
                .query("allOrNone", all_or_none.to_string()));
        }
        call.json(&Body {
            all_or_none,
            records: values,
        })
    }
}

/// One item of the answer.
#[derive(Deserialize)]
struct Answer {
    id: Option<RecordId>,
    success: bool,
    #[serde(default)]
    errors: Vec<Value>,
    created: Option<bool>,
}

impl Answer {
    fn read(self, operation: &'static str) -> Result<Saved> {
        match self.id.filter(|_| self.success) {
            Some(id) => Ok(Saved {
                id,
                created: self.created,
            }),
            None => {
                let errors = ApiErrors::of_row(&self.errors);
                let (kind, _) = kind_of(StatusCode::BAD_REQUEST, &errors);
                Err(Error::new(kind, operation).of_row(errors))
            }
        }
    }
}
