use std::{fmt, sync::Arc};

use http::Method;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    PARTS, PartAnswer,
    answers::unanswered,
    part::{Part, Target},
};
use crate::{
    RecordId, Soql,
    call::Call,
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

const OPERATION: &str = "batch";

/// Up to 25 calls in one, each of which counts. From
/// [`SalesforceClient::batch`](crate::SalesforceClient::batch).
///
/// ```no_run
/// # use salesforce_client::{Record, RecordId, SalesforceClient};
/// # async fn example(client: SalesforceClient, ids: [RecordId; 2]) -> salesforce_client::Result<()> {
/// let mut batch = client.batch();
/// let parts = ids.map(|id| batch.get("Account", &id, &["Name"]));
/// let answers = batch.send().await?;
/// for part in parts {
///     println!("{}", answers.json::<Record>(part)?["Name"]);
/// }
/// # Ok(())
/// # }
/// ```
///
/// Vendor: REST API Developer Guide, "Batch".
#[must_use = "nothing is sent before send()"]
pub struct Batch {
    transport: Arc<Transport>,
    parts: Vec<Part>,
    failure: Option<Error>,
    halt_on_error: bool,
    repeatable: bool,
}

/// A part of a [`Batch`], to find its answer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct BatchPart(usize);

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("parts", &self.parts.len())
            .finish_non_exhaustive()
    }
}

impl Batch {
    pub(crate) fn new(transport: &Arc<Transport>) -> Self {
        Self {
            transport: Arc::clone(transport),
            parts: Vec::new(),
            failure: None,
            halt_on_error: false,
            repeatable: false,
        }
    }

    /// Lets the parts after one that failed undone.
    pub fn halt_on_error(mut self) -> Self {
        self.halt_on_error = true;
        self
    }

    /// Lets the client repeat the call when its outcome is unknown. That is safe where doing all
    /// of it a second time does no harm. Parts that only read are repeated anyway.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Creates a record.
    pub fn create(&mut self, object: &str, fields: &(impl Serialize + ?Sized)) -> BatchPart {
        self.add(|data| Part::create(data, object, fields))
    }

    /// Reads these fields of a record.
    pub fn get(&mut self, object: &str, id: &RecordId, fields: &[&str]) -> BatchPart {
        self.add(|data| Part::get(data, object, &Target::from(id), fields))
    }

    /// Sets fields of a record.
    pub fn update(
        &mut self,
        object: &str,
        id: &RecordId,
        fields: &(impl Serialize + ?Sized),
    ) -> BatchPart {
        self.add(|data| Part::update(data, object, &Target::from(id), fields))
    }

    /// Deletes a record.
    pub fn delete(&mut self, object: &str, id: &RecordId) -> BatchPart {
        self.add(|data| Part::delete(data, object, &Target::from(id)))
    }

    /// Asks for the first page of a query.
    pub fn query(&mut self, soql: impl Into<Soql>) -> BatchPart {
        self.add(|data| Part::query(data, &soql.into()))
    }

    /// Any other call. `path` follows `/services/data/vNN.0`, percent-encoded, with its query.
    pub fn request(&mut self, method: Method, path: &str, body: Option<Value>) -> BatchPart {
        self.add(|data| Part::request(data, method, path, body))
    }

    /// Sends it. Parts can have failed then: their answers tell.
    pub async fn send(self) -> Result<BatchAnswers> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Item {
            status_code: u16,
            #[serde(default)]
            result: Value,
        }
        #[derive(Deserialize)]
        struct Batched {
            results: Vec<Item>,
        }
        let invalid = |detail| Error::new(ErrorKind::Invalid, OPERATION).detail(detail);
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let count = self.parts.len();
        if !(1..=PARTS).contains(&count) {
            return Err(invalid("a batch has between 1 and 25 parts"));
        }
        let repeatable = self.repeatable || self.parts.iter().all(Part::only_reads);
        let parts: Vec<Value> = self.parts.into_iter().map(Part::in_batch).collect();
        let mut call = self
            .transport
            .call(OPERATION, Method::POST, &["composite", "batch"])
            .json(&json!({ "haltOnError": self.halt_on_error, "batchRequests": parts }))?;
        if repeatable {
            call = Call::repeatable(call);
        }
        let batched: Batched = self.transport.json(&call).await?;
        if batched.results.len() != count {
            return Err(unanswered());
        }
        let answers = batched.results.into_iter().map(|item| PartAnswer {
            status: item.status_code,
            body: item.result,
        });
        Ok(BatchAnswers(answers.collect()))
    }

    fn add(&mut self, part: impl FnOnce(&str) -> Result<Part>) -> BatchPart {
        let place = BatchPart(self.parts.len());
        match part(&self.transport.data) {
            Ok(part) => self.parts.push(part),
            Err(error) => drop(self.failure.get_or_insert(error)),
        }
        place
    }
}

/// The answers to the parts of a [`Batch`].
#[derive(Debug)]
pub struct BatchAnswers(Vec<PartAnswer>);

impl BatchAnswers {
    /// The answer to a part, be it a failure or not.
    pub fn get(&self, part: BatchPart) -> Result<&PartAnswer> {
        self.0.get(part.0).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, OPERATION).detail("this is no part of the call")
        })
    }

    /// What a part gave, as a type of yours; the part's own error if it failed.
    pub fn json<T: DeserializeOwned>(&self, part: BatchPart) -> Result<T> {
        self.get(part)?.json()
    }

    /// All answers, in the order of the parts.
    pub fn iter(&self) -> impl Iterator<Item = &PartAnswer> {
        self.0.iter()
    }
}
