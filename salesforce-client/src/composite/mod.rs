//! Several calls in one.

mod answers;
mod batch;
mod graph;
mod locks;
mod part;
mod tree;

use std::{fmt, sync::Arc};

use http::Method;
use serde::Serialize;
use serde_json::{Value, json};
use tracing::debug;

pub(crate) use self::{answers::SubAnswer, graph::graphs};
use self::{
    answers::in_order,
    locks::Standing,
    part::{Part, references},
};
pub use self::{
    answers::{CompositeAnswers, PartAnswer},
    batch::{Batch, BatchAnswers, BatchPart},
    part::Target,
    tree::{TreeRecord, TreeSaved},
};
use crate::{
    Soql,
    call::Call,
    error::{Error, ErrorKind, Result},
    retry::Attempts,
    transport::Transport,
};

const OPERATION: &str = "composite";
/// How many parts Salesforce takes in one call.
const PARTS: usize = 25;
/// How many parts Salesforce takes in one graph.
const NODES: usize = 500;

/// Up to 25 calls in one, which counts as one. From
/// [`SalesforceClient::composite`](crate::SalesforceClient::composite).
///
/// Each part gives a [`Reference`], through which later parts use what it will have given:
///
/// ```no_run
/// # use salesforce_client::SalesforceClient;
/// # use serde_json::json;
/// # async fn example(client: SalesforceClient) -> salesforce_client::Result<()> {
/// let mut composite = client.composite().all_or_none();
/// let account = composite.create("Account", &json!({ "Name": "Acme" }));
/// let contact = json!({ "LastName": "Bluth", "AccountId": account.id() });
/// composite.create("Contact", &contact);
/// let answers = composite.send().await?;
/// println!("{}", answers.id(&account)?);
/// # Ok(())
/// # }
/// ```
///
/// Vendor: REST API Developer Guide, "Composite".
#[must_use = "nothing is sent before send()"]
pub struct Composite {
    transport: Arc<Transport>,
    /// Nobody who only gives values can guess it, so that a text among them is never taken for a
    /// reference.
    salt: u32,
    parts: Vec<Part>,
    failure: Option<Error>,
    all_or_none: bool,
    repeatable: bool,
}

/// What a part of a [`Composite`] will have given, for later parts and to find its answer.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Reference(String);

impl Reference {
    /// Stands for the `id` of a record that the part creates.
    pub fn id(&self) -> String {
        self.field("id")
    }

    /// Stands for any member of the part's answer, such as `Name` of a record that it reads or
    /// `records[0].Id` of a query.
    pub fn field(&self, path: &str) -> String {
        format!("@{{{}.{path}}}", self.0)
    }
}

impl fmt::Debug for Composite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Composite")
            .field("parts", &self.parts.len())
            .field("all_or_none", &self.all_or_none)
            .finish_non_exhaustive()
    }
}

impl Composite {
    pub(crate) fn new(transport: &Arc<Transport>) -> Self {
        Self {
            transport: Arc::clone(transport),
            salt: fastrand::u32(..),
            parts: Vec::new(),
            failure: None,
            all_or_none: false,
            repeatable: false,
        }
    }

    /// Lets all parts succeed or none. Then a failure of one is the failure of the whole.
    pub fn all_or_none(mut self) -> Self {
        self.all_or_none = true;
        self
    }

    /// Lets the client repeat the call when its outcome is unknown. That is safe where doing all
    /// of it a second time does no harm. Parts that only read are repeated anyway.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Creates a record.
    pub fn create(&mut self, object: &str, fields: &(impl Serialize + ?Sized)) -> Reference {
        self.add(|data| Part::create(data, object, fields))
    }

    /// Reads these fields of a record.
    pub fn get(&mut self, object: &str, id: impl Into<Target>, fields: &[&str]) -> Reference {
        self.add(|data| Part::get(data, object, &id.into(), fields))
    }

    /// Sets fields of a record.
    pub fn update(
        &mut self,
        object: &str,
        id: impl Into<Target>,
        fields: &(impl Serialize + ?Sized),
    ) -> Reference {
        self.add(|data| Part::update(data, object, &id.into(), fields))
    }

    /// Creates or changes the record whose external id `field` has this value.
    pub fn upsert(
        &mut self,
        object: &str,
        field: &str,
        value: &str,
        fields: &(impl Serialize + ?Sized),
    ) -> Reference {
        self.add(|data| Part::upsert(data, object, field, value, fields))
    }

    /// Deletes a record.
    pub fn delete(&mut self, object: &str, id: impl Into<Target>) -> Reference {
        self.add(|data| Part::delete(data, object, &id.into()))
    }

    /// Asks for the first page of a query.
    pub fn query(&mut self, soql: impl Into<Soql>) -> Reference {
        self.add(|data| Part::query(data, &soql.into()))
    }

    /// Any other call. `path` follows `/services/data/vNN.0`, percent-encoded, with its query.
    pub fn request(&mut self, method: Method, path: &str, body: Option<Value>) -> Reference {
        self.add(|data| Part::request(data, method, path, body))
    }

    /// Adds a header such as `If-Modified-Since` to the part that was added last.
    pub fn header(&mut self, name: &str, value: &str) {
        if let Some(part) = self.parts.last_mut() {
            part.header(name, value);
        }
    }

    /// Sends it. Parts can have failed then, unless it is for [`all_or_none`](Self::all_or_none):
    /// their answers tell.
    ///
    /// The parts are done in their order, none of them together with others.
    ///
    /// Where a record was locked, the whole is sent again if it is for all or none, as nothing was
    /// changed then. Otherwise those parts are that the lock kept from being done, as the policy
    /// says and within its deadline, if they refer to no other part, no other part refers to them,
    /// and each later part that was not locked itself, be it done or failed, is about another
    /// record for sure: both read or change records by id, and not the same one; or one of them
    /// creates or upserts, and they are for different objects. A query, a deletion, a
    /// [`request`](Self::request) and a part for a record that another part creates are about any
    /// record. What formulas, roll-ups and triggers carry from one record to another is not looked
    /// at. The rest keeps its [`RowLocked`](ErrorKind::RowLocked). Parts that were sent again with
    /// an unknown outcome have that failure in place of an answer.
    pub async fn send(self) -> Result<CompositeAnswers> {
        let transport = Arc::clone(&self.transport);
        let all_or_none = self.all_or_none;
        let repeatable = self.may_be_repeated();
        let prefix = self.prefix();
        let standings = Standing::of_all(&self.parts, &prefix);
        let mut attempts = Attempts::new(&transport.sender.retry);
        let started = attempts.started();
        let (body, names) = self.body(PARTS)?;
        let (parts, called) = (&body, &names);
        let ask = |places: Vec<usize>| {
            let parts: Vec<&Value> = places.iter().map(|place| &parts[*place]).collect();
            let call = transport
                .call(OPERATION, Method::POST, &["composite"])
                .json(&json!({
                    "allOrNone": all_or_none,
                    // It would put parts together, in no promised order.
                    "collateSubrequests": false,
                    "compositeRequest": parts,
                }));
            let called: Vec<_> = places.iter().map(|place| called[*place].clone()).collect();
            let transport = &transport;
            async move {
                let call = call?.since(started);
                let call = match repeatable {
                    true => Call::repeatable(call),
                    false => call,
                };
                let answers: answers::Composed = transport.json(&call).await?;
                in_order(&called, answers.composite_response)
            }
        };
        let all: Vec<usize> = (0..body.len()).collect();
        loop {
            attempts.begin();
            let mut answers = ask(all.clone())
                .await?
                .into_iter()
                .map(Ok)
                .collect::<Vec<_>>();
            if !all_or_none {
                locks::send_again(OPERATION, &mut attempts, &standings, &mut answers, ask).await;
                return Ok(CompositeAnswers::new(names.clone(), answers));
            }
            let error = match CompositeAnswers::new(names.clone(), answers).judged(true) {
                // It was rolled back as a whole.
                Err(error) if error.kind() == ErrorKind::RowLocked => error,
                judged => return judged,
            };
            let Some(wait) = attempts.next_wait(&error) else {
                return Err(attempts.give_up(error));
            };
            debug!(operation = OPERATION, ?wait, %error, "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    fn prefix(&self) -> String {
        format!("r{:08x}", self.salt)
    }

    fn may_be_repeated(&self) -> bool {
        self.repeatable || self.parts.iter().all(Part::only_reads)
    }

    /// The parts as they are sent, and the names of their answers.
    fn body(self, limit: usize) -> Result<(Vec<Value>, Vec<Reference>)> {
        let invalid = |detail| Error::new(ErrorKind::Invalid, OPERATION).detail(detail);
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if self.parts.is_empty() {
            return Err(invalid("there are no parts"));
        }
        if self.parts.len() > limit {
            return Err(invalid("there are more parts than Salesforce takes in one"));
        }
        let prefix = self.prefix();
        let mut body = Vec::with_capacity(self.parts.len());
        let mut names = Vec::with_capacity(self.parts.len());
        for (place, part) in self.parts.into_iter().enumerate() {
            // A text that only looks like a reference would be replaced, or refused without a
            // word of what is wrong.
            if part
                .body
                .as_ref()
                .is_some_and(|body| !references(body, &prefix))
            {
                return Err(invalid("a text has @{ in it, which means a reference here"));
            }
            let name = format!("{prefix}_{place}");
            body.push(part.in_composite(&name));
            names.push(Reference(name));
        }
        Ok((body, names))
    }

    fn add(&mut self, part: impl FnOnce(&str) -> Result<Part>) -> Reference {
        let reference = Reference(format!("{}_{}", self.prefix(), self.parts.len()));
        match part(&self.transport.data) {
            Ok(part) => self.parts.push(part),
            Err(error) => drop(self.failure.get_or_insert(error)),
        }
        reference
    }
}

/// A call that reads, inside another: for one whose path is too long to stand in a URI.
pub(crate) fn wrapped(transport: &Transport, call: &Call) -> Result<Call> {
    let headers = call.headers.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?;
        Some((name.as_str().to_owned(), Value::from(value)))
    });
    let part = json!({
        "method": call.method.as_str(),
        "url": call.path_and_query(),
        "referenceId": "inner",
        "httpHeaders": headers.collect::<serde_json::Map<_, _>>(),
    });
    let outer = transport
        .call(call.operation, Method::POST, &["composite"])
        .json(&json!({ "compositeRequest": [part] }))?;
    Ok(Call::repeatable(outer))
}
