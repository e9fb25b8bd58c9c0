use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use futures_core::Stream;
use futures_util::{StreamExt, stream};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tracing::debug;

use super::{SObjects, check_name};
use crate::{
    RecordId,
    api_error::{ApiError, ApiErrors, ErrorCode},
    call::{Call, Repeat},
    classify::kind_of,
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

/// How many records Salesforce takes in one call.
const CHUNK: usize = 200;

/// What became of one of many records.
#[derive(Debug)]
#[non_exhaustive]
pub struct Row<I, S = Saved> {
    /// What was given.
    pub input: I,
    /// What became of it. Where a whole call failed, each of its records has the call's error;
    /// where only this record was refused, the error has its codes and no status.
    pub outcome: Result<S>,
}

/// A record that was written as one of many.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Saved {
    /// The record.
    pub id: RecordId,
    /// Whether an upsert made it; other writes do not tell.
    pub created: Option<bool>,
}

/// Many records to write, 200 to a call. From [`SObjects::create_all`] and its siblings.
///
/// A call is made only when its results are asked for, and the inputs are drawn only for it. A
/// call that fails fails its own records and no others; who goes on reading goes on sending, but
/// for a failure that every other call would share, such as a grant that is dead: after it nothing
/// more is sent. Records that were locked are sent again by themselves, as the policy says.
///
/// Vendor: REST API Developer Guide, "sObject Collections".
#[must_use = "nothing is sent before send() or stream()"]
pub struct Collection<I: Iterator> {
    transport: Arc<Transport>,
    shape: Result<Shape>,
    inputs: I,
    write: fn(&Shape, &I::Item) -> Result<Value>,
    all_or_none: bool,
    repeatable: bool,
}

/// What the calls of a collection have in common.
struct Shape {
    operation: &'static str,
    method: Method,
    object: String,
    /// The external id of an upsert.
    field: Option<String>,
}

impl<I: Iterator> fmt::Debug for Collection<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection")
            .field("all_or_none", &self.all_or_none)
            .finish_non_exhaustive()
    }
}

impl<'a, T> SObjects<'a, T> {
    /// Creates many records.
    ///
    /// ```no_run
    /// # use salesforce_client::SalesforceClient;
    /// # async fn example(client: SalesforceClient) -> salesforce_client::Result<()> {
    /// let names = ["Acme", "Globex"].map(|name| serde_json::json!({ "Name": name }));
    /// for row in client.sobject("Account").create_all(names).send().await {
    ///     match row.outcome {
    ///         Ok(saved) => println!("{} is {}", row.input["Name"], saved.id),
    ///         Err(error) => println!("{} failed: {error}", row.input["Name"]),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn create_all<I>(&self, records: I) -> Collection<I::IntoIter>
    where
        I: IntoIterator,
        I::Item: Serialize,
    {
        let shape = self.shape("sobjects.create_all", Method::POST, None);
        self.collection(shape, records, |shape, record| shape.record(record, &[]))
    }

    /// Sets fields of many records.
    pub fn update_all<I, R>(&self, records: I) -> Collection<I::IntoIter>
    where
        I: IntoIterator<Item = (RecordId, R)>,
        R: Serialize,
    {
        let shape = self.shape("sobjects.update_all", Method::PATCH, None);
        self.collection(shape, records, |shape, (id, fields)| {
            shape.record(fields, &[("Id", id.as_str())])
        })
    }

    /// Creates or changes many records, each by its value of the external id `field`, which must
    /// not be among its fields as well.
    pub fn upsert_all<I, V, R>(&self, field: &str, records: I) -> Collection<I::IntoIter>
    where
        I: IntoIterator<Item = (V, R)>,
        V: AsRef<str>,
        R: Serialize,
    {
        let shape = self.shape("sobjects.upsert_all", Method::PATCH, Some(field));
        self.collection(shape, records, |shape, (value, fields)| {
            let field = shape.field.as_deref().unwrap_or_default();
            shape.record(fields, &[(field, value.as_ref())])
        })
    }

    /// Deletes many records. Unlike [`delete`](Self::delete) the calls are not repeated by
    /// themselves when their outcome is unknown: a second one could not tell its own work from
    /// what was gone before.
    pub fn delete_all<I>(&self, ids: I) -> Collection<I::IntoIter>
    where
        I: IntoIterator<Item = RecordId>,
    {
        let shape = self.shape("sobjects.delete_all", Method::DELETE, None);
        self.collection(shape, ids, |_, id| Ok(id.as_str().into()))
    }

    /// Reads these fields of many records, 200 to a call. A record that does not exist, or that
    /// the user may not see, is `None`.
    pub fn get_all<I>(
        &self,
        ids: I,
        fields: &[&str],
    ) -> impl Stream<Item = Row<RecordId, Option<T>>> + use<I, T>
    where
        I: IntoIterator<Item = RecordId>,
        T: DeserializeOwned,
    {
        const OPERATION: &str = "sobjects.get_all";
        let name = self.name.to_owned();
        let mut names = [self.name].into_iter().chain(fields.iter().copied());
        let checked = names.try_for_each(|name| check_name(OPERATION, name));
        let fields = fields.join(",");
        let transport = Arc::clone(self.transport);
        let call = move |chunk: &[RecordId]| -> Result<Call> {
            checked.as_ref().map_err(Error::again)?;
            let segments = ["composite", "sobjects", &name];
            Ok(transport
                .call(OPERATION, Method::GET, &segments)
                .query("ids", joined(chunk.iter().map(RecordId::as_str)))
                .query("fields", fields.as_str()))
        };
        let transport = Arc::clone(self.transport);
        let hopeless = Arc::new(OnceLock::new());
        chunks(ids.into_iter(), move |chunk: Vec<RecordId>| {
            let (transport, call) = (Arc::clone(&transport), call(&chunk));
            let hopeless = Arc::clone(&hopeless);
            async move {
                let found = async {
                    unless_hopeless(&hopeless)?;
                    let found: Vec<Option<T>> = transport.json(&call?).await?;
                    match found.len() == chunk.len() {
                        true => Ok(found),
                        false => Err(unmatched(OPERATION)),
                    }
                };
                let outcomes = match found.await {
                    Ok(found) => found.into_iter().map(Ok).collect(),
                    Err(error) => {
                        note_hopeless(&hopeless, &error);
                        chunk.iter().map(|_| Err(error.again())).collect()
                    }
                };
                rows(chunk, outcomes)
            }
        })
    }

    fn shape(&self, operation: &'static str, method: Method, field: Option<&str>) -> Result<Shape> {
        check_name(operation, self.name)?;
        field.map_or(Ok(()), |field| check_name(operation, field))?;
        Ok(Shape {
            operation,
            method,
            object: self.name.to_owned(),
            field: field.map(str::to_owned),
        })
    }

    fn collection<I: IntoIterator>(
        &self,
        shape: Result<Shape>,
        inputs: I,
        write: fn(&Shape, &I::Item) -> Result<Value>,
    ) -> Collection<I::IntoIter> {
        Collection {
            transport: Arc::clone(self.transport),
            shape,
            inputs: inputs.into_iter(),
            write,
            all_or_none: false,
            repeatable: false,
        }
    }
}

impl<I: Iterator> Collection<I> {
    /// Lets each call of 200 succeed as a whole or not at all. Records that only followed another
    /// one back have `ALL_OR_NONE_OPERATION_ROLLED_BACK`.
    pub fn all_or_none(mut self) -> Self {
        self.all_or_none = true;
        self
    }

    /// Lets the client repeat calls whose outcome is unknown. That is safe where writing the same
    /// a second time does no harm.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Sends all of it. The rows are those of the inputs, in their order.
    pub async fn send(self) -> Vec<Row<I::Item>> {
        self.stream().collect().await
    }

    /// Sends it call by call, as the rows are read.
    pub fn stream(self) -> impl Stream<Item = Row<I::Item>> {
        let Self {
            transport,
            shape,
            inputs,
            write,
            all_or_none,
            repeatable,
        } = self;
        let many = Arc::new(Many {
            transport,
            shape,
            all_or_none,
            repeatable,
            hopeless: OnceLock::new(),
        });
        chunks(inputs, move |chunk: Vec<I::Item>| {
            let many = Arc::clone(&many);
            async move {
                let outcomes = match &many.shape {
                    Ok(shape) => {
                        let written = chunk.iter().map(|input| write(shape, input));
                        many.outcomes(shape, written.collect()).await
                    }
                    Err(error) => chunk.iter().map(|_| Err(error.again())).collect(),
                };
                rows(chunk, outcomes)
            }
        })
    }
}

/// What the calls of a collection share while they are made.
struct Many {
    transport: Arc<Transport>,
    shape: Result<Shape>,
    all_or_none: bool,
    repeatable: bool,
    /// Why no further call has a chance.
    hopeless: OnceLock<Error>,
}

impl Many {
    /// Sends one call's worth of records, and those again whose rows were locked: they were not
    /// written. Who asked for all or none has none of them written then.
    async fn outcomes(&self, shape: &Shape, written: Vec<Result<Value>>) -> Vec<Result<Saved>> {
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
        let mut failed = 0;
        while !open.is_empty() {
            match self.answers(shape, &open).await {
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
            let is_locked = |place: usize| match &outcomes[place] {
                Some(Err(error)) => error.kind() == ErrorKind::RowLocked,
                _ => false,
            };
            if !open.iter().any(|(place, _)| is_locked(*place)) {
                break;
            }
            failed += 1;
            let policy = &self.transport.sender.retry;
            let Some(wait) = policy.wait_after_failure(failed) else {
                break;
            };
            if !self.all_or_none {
                open.retain(|(place, _)| is_locked(*place));
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

    async fn answers(&self, shape: &Shape, open: &[(usize, Value)]) -> Result<Vec<Answer>> {
        unless_hopeless(&self.hopeless)?;
        let values: Vec<&Value> = open.iter().map(|(_, value)| value).collect();
        let mut call = shape.call(&self.transport, &values, self.all_or_none)?;
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

/// After a failure that every other call would share, nothing more is sent.
fn unless_hopeless(hopeless: &OnceLock<Error>) -> Result<()> {
    match hopeless.get() {
        Some(error) => Err(error.again().incomplete().unsent()),
        None => Ok(()),
    }
}

fn note_hopeless(hopeless: &OnceLock<Error>, error: &Error) {
    let concerns_all = matches!(
        error.kind(),
        ErrorKind::Auth | ErrorKind::Config | ErrorKind::DailyLimit
    );
    if concerns_all && !error.is_retryable() {
        // Who was first is right as well.
        let _ = hopeless.set(error.again());
    }
}

impl Shape {
    /// The fields as Salesforce wants them in a collection.
    fn record(&self, fields: &impl Serialize, own: &[(&str, &str)]) -> Result<Value> {
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

/// Salesforce answers in the order of the inputs; an answer of another length cannot be matched, and
/// to guess would give records others' ids.
fn unmatched(operation: &'static str) -> Error {
    Error::new(ErrorKind::Decode, operation)
        .sent()
        .detail("there are not as many results as records")
}

fn rows<I, S>(inputs: Vec<I>, outcomes: Vec<Result<S>>) -> Vec<Row<I, S>> {
    let rows = inputs.into_iter().zip(outcomes);
    rows.map(|(input, outcome)| Row { input, outcome })
        .collect()
}

fn chunks<I, F, W, R>(inputs: I, call: F) -> impl Stream<Item = R>
where
    I: Iterator,
    F: FnMut(Vec<I::Item>) -> W,
    W: Future<Output = Vec<R>>,
{
    stream::unfold((inputs, call), |(mut inputs, mut call)| async move {
        let chunk: Vec<I::Item> = inputs.by_ref().take(CHUNK).collect();
        if chunk.is_empty() {
            return None;
        }
        let rows = call(chunk).await;
        Some((stream::iter(rows), (inputs, call)))
    })
    .flatten()
}

fn joined<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    ids.collect::<Vec<_>>().join(",")
}
