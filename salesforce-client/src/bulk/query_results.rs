use std::{fmt, marker::PhantomData, sync::Arc};

use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::Method;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    ColumnDelimiter, QueryJob,
    results::{Header, Page, Plain},
};
use crate::{
    call::{Call, Target},
    error::{Error, ErrorKind, Result},
};

const RESULTS: &str = "bulk.query_results";
const ROWS_A_PAGE: u64 = 10_000;

/// The rows of a query job. From [`QueryJob::results`].
#[must_use = "nothing is sent before the stream is read"]
pub struct QueryResults<T> {
    job: QueryJob,
    max_records: Option<u64>,
    at_once: usize,
    from: Option<ResultLocator>,
    rows: PhantomData<fn() -> T>,
}

/// A place in the rows of a query job, to be kept, also by another process: see
/// [`QueryResults::pages`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ResultLocator(String);

/// Some of the rows of a query job. From [`QueryResults::pages`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResultPage<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// From where the rest is to be had; `None` after the last rows.
    pub next: Option<ResultLocator>,
}

impl<T> fmt::Debug for QueryResults<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryResults")
            .field("job", self.job.id())
            .field("max_records", &self.max_records)
            .field("at_once", &self.at_once)
            .finish()
    }
}

impl<T> QueryResults<T> {
    pub(super) fn new(job: QueryJob) -> Self {
        Self {
            job,
            max_records: None,
            at_once: 1,
            from: None,
            rows: PhantomData,
        }
    }
}

impl<T: DeserializeOwned + Send + 'static> QueryResults<T> {
    /// How many rows one answer has at most. Each answer is an API call.
    pub fn max_records(mut self, rows: u64) -> Self {
        self.max_records = Some(rows);
        self
    }

    /// Reads so many answers at once, where Salesforce tells their places beforehand (58.0 or
    /// newer); their rows then come in no order, and [`max_records`](Self::max_records) has no
    /// effect.
    ///
    /// Vendor: Bulk API 2.0 Developer Guide, "Get Parallel Results for a Query Job".
    pub fn parallel(mut self, at_once: usize) -> Self {
        self.at_once = at_once.max(1);
        self
    }

    /// Begins at this place instead of the first row; answers then come one after the other.
    /// Salesforce keeps the rows for seven days.
    pub fn from(mut self, place: ResultLocator) -> Self {
        self.from = Some(place);
        self
    }

    /// The rows in pages of [`max_records`](Self::max_records), 10,000 unless set, each with the
    /// place of the next one: who keeps it goes on there after a crash.
    ///
    /// ```no_run
    /// # use futures_util::TryStreamExt;
    /// # use salesforce_client::{Record, SalesforceClient, bulk::{JobId, ResultLocator}};
    /// # async fn example(client: SalesforceClient, id: JobId, kept: Option<ResultLocator>)
    /// # -> salesforce_client::Result<()> {
    /// let mut results = client.bulk().query_job(&id).results::<Record>();
    /// if let Some(place) = kept {
    ///     results = results.from(place);
    /// }
    /// let mut pages = std::pin::pin!(results.pages());
    /// while let Some(page) = pages.try_next().await? {
    ///     println!("{} rows; the next at {:?}", page.rows.len(), page.next);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn pages(mut self) -> impl Stream<Item = Result<ResultPage<T>>> + Send + use<T> {
        let from = self.from.take();
        let max_records = self.max_records.or(Some(ROWS_A_PAGE));
        let start = (self.job, None::<Results>, Some(from));
        stream::try_unfold(start, move |(job, opened, next)| async move {
            let Some(place) = next else {
                return Ok(None);
            };
            let results = match opened {
                Some(results) => results,
                None => Results {
                    delimiter: delimiter_of(&job).await?,
                    max_records,
                    job: job.clone(),
                },
            };
            let mut page: Answer<T> = results.open(place, None).await?;
            let mut rows = Vec::new();
            while let Some(Plain(row)) = page.next().await? {
                rows.push(row);
            }
            let next = locator(&page);
            let page = ResultPage {
                rows,
                next: next.clone(),
            };
            Ok(Some((page, (job, Some(results), next.map(Some)))))
        })
    }

    /// The rows, as they come. After an error nothing more comes.
    pub fn stream(self) -> impl Stream<Item = Result<T>> + Send + use<T> {
        let opened = async move {
            let results = Results {
                delimiter: delimiter_of(&self.job).await?,
                max_records: self.max_records,
                job: self.job,
            };
            if self.at_once > 1
                && self.from.is_none()
                && let Some(places) = Places::open(&results.job).await?
            {
                return Ok(results.parallel(places, self.at_once).left_stream());
            }
            Ok(results.one_by_one(self.from).right_stream())
        };
        let rows = stream::once(opened).try_flatten().map_ok(|Plain(row)| row);
        // Several answers at once could each have an error to tell.
        rows.scan(false, |failed, row| {
            let over = std::mem::replace(failed, row.is_err());
            std::future::ready((!over).then_some(row))
        })
    }
}

struct Results {
    job: QueryJob,
    delimiter: ColumnDelimiter,
    max_records: Option<u64>,
}

type Answer<T> = Page<Plain<T>>;

impl Results {
    /// Each answer tells where the next one is.
    fn one_by_one<T: DeserializeOwned + Send + 'static>(
        self,
        from: Option<ResultLocator>,
    ) -> impl Stream<Item = Result<Plain<T>>> + Send {
        let start = (self, None::<Box<Answer<T>>>, from);
        stream::try_unfold(start, |(results, page, mut from)| async move {
            let mut page = match page {
                Some(page) => page,
                None => Box::new(results.open(from.take(), None).await?),
            };
            loop {
                if let Some(row) = page.next().await? {
                    return Ok(Some((row, (results, Some(page), from))));
                }
                let Some(locator) = locator(&page) else {
                    return Ok(None);
                };
                let header = page.header().await?.cloned();
                page = Box::new(results.open(Some(locator), header).await?);
            }
        })
    }

    /// The first answer is begun before the others, for its names of columns.
    fn parallel<T: DeserializeOwned + Send + 'static>(
        self,
        places: Places,
        at_once: usize,
    ) -> impl Stream<Item = Result<Plain<T>>> + Send {
        let opened = async move {
            let mut places = places;
            let Some(first) = places.next().await? else {
                return Ok(stream::empty().left_stream());
            };
            let mut first: Answer<T> = self.at(first, None).await?;
            let header = first.header().await?.cloned();
            let results = Arc::new(self);
            let rest = stream::try_unfold(places, |mut places| async move {
                Ok::<_, Error>(places.next().await?.map(|place| (place, places)))
            });
            let rest = rest.map(move |place| {
                let (results, header) = (Arc::clone(&results), header.clone());
                let opened = async move {
                    let page = results.at(place?, header).await?;
                    Ok(all(page))
                };
                stream::once(opened).try_flatten().boxed()
            });
            let pages = stream::once(std::future::ready(all(first).boxed())).chain(rest);
            Ok(pages.flatten_unordered(at_once).right_stream())
        };
        stream::once(opened).try_flatten()
    }

    async fn open<T: DeserializeOwned>(
        &self,
        locator: Option<ResultLocator>,
        header: Option<Header>,
    ) -> Result<Answer<T>> {
        let mut call = self.job.call(RESULTS, Method::GET, &["results"]);
        if let Some(ResultLocator(locator)) = locator {
            call = call.query("locator", locator);
        }
        if let Some(rows) = self.max_records {
            call = call.query("maxRecords", rows.to_string());
        }
        self.at(call, header).await
    }

    async fn at<T: DeserializeOwned>(
        &self,
        place: Call,
        header: Option<Header>,
    ) -> Result<Answer<T>> {
        let page = Page::open(&self.job.transport, place, Some(self.delimiter), header).await?;
        Ok(page.constant())
    }
}

fn all<T: DeserializeOwned + Send + 'static>(
    page: Answer<T>,
) -> impl Stream<Item = Result<Plain<T>>> + Send {
    stream::try_unfold(page, |mut page| async move {
        Ok(page.next().await?.map(|row| (row, page)))
    })
}

/// The last answer says the word `null`, or nothing.
fn locator<T: DeserializeOwned>(page: &Answer<T>) -> Option<ResultLocator> {
    let locator = page.told("sforce-locator")?.trim();
    (!locator.is_empty() && locator != "null").then(|| ResultLocator(locator.to_owned()))
}

/// Nothing in the rows tells what stands between their columns.
async fn delimiter_of(job: &QueryJob) -> Result<ColumnDelimiter> {
    let delimiter = match job.delimiter {
        Some(delimiter) => Some(delimiter),
        None => job.info().await?.column_delimiter,
    };
    Ok(delimiter.unwrap_or_default())
}

/// Where the answers are, five to a page.
struct Places {
    job: QueryJob,
    known: std::vec::IntoIter<Place>,
    more: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page5 {
    #[serde(default)]
    result_pages: Vec<Place>,
    #[serde(alias = "nextRecordUrl")]
    next_records_url: Option<String>,
    done: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    #[serde(alias = "resultLink")]
    result_url: String,
}

impl Places {
    /// `None` where the version knows no such thing.
    async fn open(job: &QueryJob) -> Result<Option<Self>> {
        let call = job.call("bulk.result_pages", Method::GET, &["resultPages"]);
        let page: Page5 = match job.transport.json(&call).await {
            Ok(page) => page,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Self {
            job: job.clone(),
            known: page.result_pages.into_iter(),
            more: page.next_records_url.filter(|_| page.done != Some(true)),
        }))
    }

    async fn next(&mut self) -> Result<Option<Call>> {
        loop {
            if let Some(place) = self.known.next() {
                return follow(RESULTS, &place.result_url).map(Some);
            }
            let Some(more) = self.more.take() else {
                return Ok(None);
            };
            let call = follow("bulk.result_pages", &more)?;
            let page: Page5 = self.job.transport.json(&call).await?;
            self.known = page.result_pages.into_iter();
            self.more = page.next_records_url.filter(|_| page.done != Some(true));
        }
    }
}

/// Anything else than a path of the org would carry the token to wherever an answer points.
fn follow(operation: &'static str, place: &str) -> Result<Call> {
    let (path, query) = place.split_once('?').unwrap_or((place, ""));
    if !path.starts_with("/services/data/") || place.contains(['#', '\\']) {
        return Err(Error::new(ErrorKind::Decode, operation)
            .detail("there are more rows and no way to them"));
    }
    let mut call = Call::to(operation, Method::GET, Target::Org(path.to_owned()));
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        call = call.query(name.into_owned(), value.into_owned());
    }
    Ok(call)
}
