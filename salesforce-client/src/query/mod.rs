//! Queries: rows, page by page, as they are wanted.

mod children;
mod cursor;
mod explain;
mod page;

use std::{fmt, marker::PhantomData, sync::Arc};

use futures_core::Stream;
use futures_util::{TryStreamExt, stream};
use http::{HeaderName, Method};
use serde::de::DeserializeOwned;

use self::page::{Pages, Rows};
pub use self::{children::Children, cursor::QueryCursor, explain::QueryPlan, page::QueryPage};
use crate::{
    Soql,
    call::Call,
    composite,
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

const OPERATION: &str = "query";
/// The fewest rows to a page that Salesforce takes as a wish.
const SMALLEST_PAGE: u16 = 200;
const LARGEST_PAGE: u16 = 2000;
/// A longer path with query goes inside another call. Salesforce takes 16,384 bytes with all
/// headers; half of that is also where many proxies end.
const LONGEST_URI: usize = 8 * 1024;

/// A query. From [`SalesforceClient::query`](crate::SalesforceClient::query).
///
/// Vendor: REST API Developer Guide, "Query". The server keeps the rest of a query for a limited
/// time, so read on promptly.
#[must_use = "nothing is sent before stream(), first() or all()"]
pub struct Query<T> {
    transport: Arc<Transport>,
    start: Start,
    all_rows: bool,
    batch_size: Option<u16>,
    rows: PhantomData<fn() -> T>,
}

/// Where the first page comes from.
enum Start {
    Soql(Soql),
    Cursor(QueryCursor),
    Call(Box<Result<Call>>),
}

impl<T> fmt::Debug for Query<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("all_rows", &self.all_rows)
            .field("batch_size", &self.batch_size)
            .finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> Query<T> {
    pub(crate) fn new(transport: &Arc<Transport>, soql: Soql) -> Self {
        Self::from(transport, Start::Soql(soql))
    }

    /// The rest of a query, from where a page ended.
    pub(crate) fn resume(transport: &Arc<Transport>, cursor: QueryCursor) -> Self {
        Self::from(transport, Start::Cursor(cursor))
    }

    /// Another call whose answer is a page of rows.
    pub(crate) fn answering(transport: &Arc<Transport>, call: Result<Call>) -> Self {
        Self::from(transport, Start::Call(Box::new(call)))
    }

    fn from(transport: &Arc<Transport>, start: Start) -> Self {
        Self {
            transport: Arc::clone(transport),
            start,
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
        self.batch_size = Some(rows.clamp(SMALLEST_PAGE, LARGEST_PAGE));
        self
    }

    /// The rows. The next page is on its way while the rows of this one are handed out, and never
    /// more than that one; after an error nothing more comes.
    pub fn stream(self) -> impl Stream<Item = Result<T>> + Send + use<T>
    where
        T: Send,
    {
        self.rows()
            .try_filter(|rows| std::future::ready(!rows.is_empty()))
            .map_ok(|rows| stream::iter(rows.into_iter().map(Ok)))
            .try_flatten()
    }

    /// The pages as they came, to be decoded without a copy of their texts.
    pub fn pages(self) -> impl Stream<Item = Result<QueryPage>> + Send + use<T> {
        self.unread_pages()
    }

    /// The first row, if there is one. Only one page is asked for.
    pub async fn first(mut self) -> Result<Option<T>> {
        self.batch_size.get_or_insert(SMALLEST_PAGE);
        let page = self.first_page().await?;
        Ok(page.rows::<T>()?.into_iter().next())
    }

    /// All rows, if there are no more than `limit`;
    /// [`TooLarge`](crate::ErrorKind::TooLarge) otherwise, rather than a part of them.
    pub async fn all(self, limit: usize) -> Result<Vec<T>> {
        let mut all = Vec::new();
        let mut pages = std::pin::pin!(self.unread_pages());
        while let Some(page) = pages.try_next().await? {
            let expected = usize::try_from(page.total_size().unwrap_or(0)).unwrap_or(usize::MAX);
            let rows = if expected > limit {
                None
            } else {
                Some(page.rows()?).filter(|rows: &Vec<T>| all.len() + rows.len() <= limit)
            };
            let Some(rows) = rows else {
                return Err(Error::new(ErrorKind::TooLarge, OPERATION)
                    .detail("there are more rows than the limit given"));
            };
            all.extend(rows);
        }
        Ok(all)
    }

    /// How many rows there are, as the server counts them: the answer to `SELECT COUNT() FROM …`,
    /// and the size of any other query.
    pub async fn count(mut self) -> Result<u64> {
        self.batch_size.get_or_insert(SMALLEST_PAGE);
        let page = self.first_page().await?;
        page.total_size().ok_or_else(|| {
            Error::new(ErrorKind::Decode, OPERATION).detail("the answer has no count")
        })
    }

    /// How Salesforce would go about the query, cheapest way first. Nothing is read.
    ///
    /// Vendor: REST API Developer Guide, "Query Performance Feedback".
    pub async fn explain(self) -> Result<Vec<QueryPlan>> {
        explain::explain(self).await
    }

    fn rows(self) -> impl Stream<Item = Result<Rows<T>>> + Send + use<T>
    where
        T: Send,
    {
        self.unread_pages()
            .and_then(|page| std::future::ready(page.rows()))
    }

    fn unread_pages(self) -> impl Stream<Item = Result<QueryPage>> + Send + use<T> {
        let transport = Arc::clone(&self.transport);
        let pages = Pages::new(transport, self.call());
        stream::try_unfold(pages, |mut pages| async move {
            Ok(pages.next().await?.map(|page| (page, pages)))
        })
    }

    async fn first_page(self) -> Result<QueryPage> {
        let transport = Arc::clone(&self.transport);
        page::fetch(&transport, &self.call()?).await
    }

    fn call(self) -> Result<Call> {
        let resource = if self.all_rows { "queryAll" } else { "query" };
        let call = match self.start {
            Start::Soql(soql) => self
                .transport
                .call(OPERATION, Method::GET, &[resource])
                .query("q", soql.text()?),
            Start::Cursor(cursor) => cursor.call()?,
            Start::Call(call) => (*call)?,
        };
        let call = match self.batch_size {
            Some(rows) => call.text_header(
                HeaderName::from_static("sforce-query-options"),
                format!("batchSize={rows}"),
            )?,
            None => call,
        };
        if call.path_and_query().len() <= LONGEST_URI {
            return Ok(call);
        }
        composite::wrapped(&self.transport, &call)
    }
}
