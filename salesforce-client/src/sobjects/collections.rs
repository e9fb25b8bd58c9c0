use std::{fmt, sync::Arc};

use futures_core::Stream;
use futures_util::{StreamExt, stream};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{SObjects, check_name, locked};
use crate::{
    RecordId,
    api_error::ApiErrors,
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
/// call that fails fails its own records and no others; who goes on reading goes on sending. Records
/// that met a row that somebody else held are tried again.
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
        chunks(ids.into_iter(), move |chunk: Vec<RecordId>| {
            let (transport, call) = (Arc::clone(&transport), call(&chunk));
            async move {
                let found = async {
                    let found: Vec<Option<T>> = transport.json(&call?).await?;
                    let found = as_many(OPERATION, chunk.len(), found)?.into_iter();
                    Ok(found.map(Ok).collect())
                };
                let found = found.await;
                matched(chunk, found)
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
        let shape = Arc::new(shape);
        chunks(inputs, move |chunk: Vec<I::Item>| {
            let transport = Arc::clone(&transport);
            let shape = Arc::clone(&shape);
            async move {
                let operation = shape.as_ref().as_ref().map_or("sobjects", |s| s.operation);
                let sent = async {
                    let shape = shape.as_ref().as_ref().map_err(Error::again)?;
                    let values = chunk.iter().map(|input| write(shape, input));
                    let values = values.collect::<Result<Vec<_>>>()?;
                    let transport = &transport;
                    let write = |values: Vec<Value>| async move {
                        let count = values.len();
                        let mut call = shape.call(transport, values, all_or_none)?;
                        call.repeat = match repeatable {
                            true => Repeat::Safe,
                            false => Repeat::Unsafe,
                        };
                        let answers: Vec<Answer> = transport.json(&call).await?;
                        let answers = as_many(operation, count, answers)?.into_iter();
                        Ok(answers.map(|answer| answer.read(operation)).collect())
                    };
                    let retry = &transport.sender.retry;
                    locked::written(retry, values, all_or_none, write).await
                };
                let sent = sent.await;
                matched(chunk, sent)
            }
        })
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

    fn call(&self, transport: &Transport, values: Vec<Value>, all_or_none: bool) -> Result<Call> {
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
            let ids = joined(values.iter().filter_map(Value::as_str));
            return Ok(call
                .query("ids", ids)
                .query("allOrNone", all_or_none.to_string()));
        }
        call.json(&json!({ "allOrNone": all_or_none, "records": values }))
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
fn as_many<A>(operation: &'static str, count: usize, answers: Vec<A>) -> Result<Vec<A>> {
    if answers.len() == count {
        return Ok(answers);
    }
    Err(Error::new(ErrorKind::Decode, operation)
        .sent()
        .detail("there are not as many results as records"))
}

/// Gives each input its outcome.
fn matched<I, S>(inputs: Vec<I>, outcomes: Result<Vec<Result<S>>>) -> Vec<Row<I, S>> {
    let outcomes: Vec<Result<S>> = match outcomes {
        Ok(outcomes) => outcomes,
        Err(error) => inputs.iter().map(|_| Err(error.again())).collect(),
    };
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
