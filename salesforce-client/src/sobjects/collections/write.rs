use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use futures_core::Stream;
use futures_util::StreamExt;
use http::Method;
use serde::Serialize;
use serde_json::Value;

use super::{
    super::{SObjects, check_name},
    Row,
    call::{Many, Shape},
    chunks, rows,
};
use crate::{RecordId, error::Result, transport::Transport};

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
