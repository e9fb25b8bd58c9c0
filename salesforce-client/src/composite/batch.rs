use std::{fmt, sync::Arc};

use http::Method;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    PARTS, PartAnswer,
    answers::{judged, unanswered},
    locks::{self, Standing},
    part::{Part, Target},
};
use crate::{
    RecordId, Soql,
    call::Call,
    error::{Error, ErrorKind, Result},
    retry::Attempts,
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
    ///
    /// Parts that found a record locked changed nothing. They are sent again, as the policy says
    /// and within its deadline, unless a failure [halts](Self::halt_on_error) the rest, and if each
    /// later part that was not locked itself, be it done or failed, is about another record for
    /// sure: both read or change records by id, and not the same one; or one of them creates, and
    /// they are for different objects. A query, a deletion and a [`request`](Self::request) are
    /// about any record. What formulas, roll-ups and triggers carry from one record to another is
    /// not looked at. The rest keeps its [`RowLocked`](ErrorKind::RowLocked). Parts that were sent
    /// again with an unknown outcome have that failure in place of an answer.
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
        let (transport, halt_on_error) = (self.transport, self.halt_on_error);
        let standings: Vec<_> = self.parts.iter().map(Standing::alone).collect();
        let mut attempts = Attempts::new(&transport.sender.retry);
        let started = attempts.started();
        let parts: Vec<Value> = self.parts.into_iter().map(Part::in_batch).collect();
        let ask = |places: Vec<usize>| {
            let parts: Vec<&Value> = places.iter().map(|place| &parts[*place]).collect();
            let call = transport
                .call(OPERATION, Method::POST, &["composite", "batch"])
                .json(&json!({ "haltOnError": halt_on_error, "batchRequests": parts }));
            let transport = &transport;
            async move {
                let call = call?.since(started);
                let call = match repeatable {
                    true => Call::repeatable(call),
                    false => call,
                };
                let batched: Batched = transport.json(&call).await?;
                if batched.results.len() != places.len() {
                    return Err(unanswered());
                }
                let answers = batched.results.into_iter().map(|item| PartAnswer {
                    status: item.status_code,
                    body: item.result,
                });
                Ok(answers.collect::<Vec<_>>())
            }
        };
        attempts.begin();
        let mut answers = ask((0..count).collect())
            .await?
            .into_iter()
            .map(Ok)
            .collect::<Vec<_>>();
        if !halt_on_error {
            locks::send_again(OPERATION, &mut attempts, &standings, &mut answers, ask).await;
        }
        Ok(BatchAnswers(answers))
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
pub struct BatchAnswers(Vec<Result<PartAnswer>>);

impl BatchAnswers {
    /// The answer to a part, be it a failure or not; why there is none, if its outcome is unknown.
    pub fn get(&self, part: BatchPart) -> Result<&PartAnswer> {
        self.found(part)?.as_ref().map_err(Error::again)
    }

    /// What a part gave, as a type of yours; the part's own error if it failed.
    pub fn json<T: DeserializeOwned>(&self, part: BatchPart) -> Result<T> {
        judged(self.found(part)?)?.json()
    }

    /// What [`get`](Self::get) gives for each part, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Result<&PartAnswer>> {
        self.0.iter().map(|it| it.as_ref().map_err(Error::again))
    }

    fn found(&self, part: BatchPart) -> Result<&Result<PartAnswer>> {
        self.0.get(part.0).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, OPERATION).detail("this is no part of the call")
        })
    }
}
