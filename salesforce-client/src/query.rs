//! Queries: rows, page by page, as they are wanted.

use std::marker::PhantomData;

use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderName, HeaderValue, Method};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    Soql,
    call::{Call, Target},
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

const OPERATION: &str = "query";

/// A query. From [`SalesforceClient::query`](crate::SalesforceClient::query).
#[must_use = "nothing is sent before stream(), first() or all()"]
pub struct Query<'a, T> {
    transport: &'a Transport,
    soql: Soql,
    all_rows: bool,
    batch_size: Option<u16>,
    rows: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for Query<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query")
            .field("all_rows", &self.all_rows)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    total_size: u64,
    done: bool,
    next_records_url: Option<String>,
    records: Vec<T>,
}

impl<'a, T: DeserializeOwned + Send + 'static> Query<'a, T> {
    pub(crate) fn new(transport: &'a Transport, soql: Soql) -> Self {
        Self {
            transport,
            soql,
            all_rows: false,
            batch_size: None,
            rows: PhantomData,
        }
    }

    /// Deleted and archived rows as well.
    pub fn all_rows(mut self) -> Self {
        self.all_rows = true;
        self
    }

    /// How many rows to a page, 200 to 2000. A wish: the server goes down by itself.
    pub fn batch_size(mut self, rows: u16) -> Self {
        self.batch_size = Some(rows.clamp(200, 2000));
        self
    }

    /// The rows. A page is fetched when the rows before it are used up; after an error nothing
    /// more comes.
    pub fn stream(self) -> impl Stream<Item = Result<T>> + Send + use<'a, T> {
        let transport = self.transport;
        stream::try_unfold(Some(self.first_call()), move |call| async move {
            let Some(call) = call else { return Ok(None) };
            let page: Page<T> = transport.json(&call?).await?;
            let next = match page.next_records_url {
                Some(path) if !page.done => Some(Ok(next_call(path)?)),
                _ => None,
            };
            Ok::<_, Error>(Some((stream::iter(page.records.into_iter().map(Ok)), next)))
        })
        .try_flatten()
    }

    /// The first row, if there is one.
    pub async fn first(self) -> Result<Option<T>> {
        std::pin::pin!(self.stream()).next().await.transpose()
    }

    /// All rows, if there are no more than `limit`.
    pub async fn all(self, limit: usize) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        let mut stream = std::pin::pin!(self.stream());
        while let Some(row) = stream.try_next().await? {
            if rows.len() == limit {
                return Err(Error::new(ErrorKind::TooLarge, OPERATION)
                    .detail("there are more rows than the limit given"));
            }
            rows.push(row);
        }
        Ok(rows)
    }

    /// How many rows there are, as the server counts them.
    pub async fn count(self) -> Result<u64> {
        let page: Page<serde::de::IgnoredAny> = self.transport.json(&self.first_call()?).await?;
        Ok(page.total_size)
    }

    fn first_call(&self) -> Result<Call> {
        let resource = if self.all_rows { "queryAll" } else { "query" };
        let call = self.transport.call(OPERATION, Method::GET, &[resource]);
        let call = call.query("q", self.soql.text()?);
        Ok(match self.batch_size {
            Some(rows) => call.header(
                HeaderName::from_static("sforce-query-options"),
                HeaderValue::try_from(format!("batchSize={rows}")).expect("digits make a header"),
            ),
            None => call,
        })
    }
}

/// Salesforce gives a path, which belongs to the host that the token names at that time. Anything
/// else would carry the token to wherever an answer points.
fn next_call(path: String) -> Result<Call> {
    if !path.starts_with("/services/data/") {
        return Err(Error::new(ErrorKind::Decode, OPERATION).detail("the next page is nowhere"));
    }
    Ok(Call::to(OPERATION, Method::GET, Target::Org(path)))
}
