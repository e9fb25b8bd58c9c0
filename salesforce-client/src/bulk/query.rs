use std::{fmt, sync::Arc};

use http::Method;
use serde::Serialize;

use super::{ColumnDelimiter, JobId, JobInfo, JobState, LineEnding, QueryResults, Wait};
use crate::{Soql, call::Call, error::Result, transport::Transport};

/// A query to be run as a job. From [`Bulk::query`](super::Bulk::query).
///
/// Vendor: Bulk API 2.0 Developer Guide, "Create a Query Job". No aggregates, `GROUP BY`,
/// `OFFSET`, sub-queries or files.
#[must_use = "nothing is sent before send()"]
pub struct BulkQuery {
    transport: Arc<Transport>,
    soql: Soql,
    all_rows: bool,
    delimiter: ColumnDelimiter,
    ending: LineEnding,
}

impl fmt::Debug for BulkQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkQuery")
            .field("all_rows", &self.all_rows)
            .finish_non_exhaustive()
    }
}

impl BulkQuery {
    pub(super) fn new(transport: &Arc<Transport>, soql: Soql) -> Self {
        Self {
            transport: Arc::clone(transport),
            soql,
            all_rows: false,
            delimiter: ColumnDelimiter::default(),
            ending: LineEnding::default(),
        }
    }

    /// Deleted and archived rows as well.
    pub fn all_rows(mut self) -> Self {
        self.all_rows = true;
        self
    }

    /// What stands between columns; a comma unless set.
    pub fn column_delimiter(mut self, delimiter: ColumnDelimiter) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// What ends a row; a line feed unless set.
    pub fn line_ending(mut self, ending: LineEnding) -> Self {
        self.ending = ending;
        self
    }

    /// Creates the job. A second one, where the answer to the first was lost, changes nothing in
    /// the org.
    pub async fn send(self) -> Result<QueryJob> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Create<'a> {
            operation: &'a str,
            query: String,
            content_type: &'a str,
            column_delimiter: ColumnDelimiter,
            line_ending: LineEnding,
        }
        let create = Create {
            operation: if self.all_rows { "queryAll" } else { "query" },
            query: self.soql.text()?,
            content_type: "CSV",
            column_delimiter: self.delimiter,
            line_ending: self.ending,
        };
        let call = self
            .transport
            .call("bulk.query", Method::POST, &["jobs", "query"])
            .json(&create)?
            .repeatable();
        let info: JobInfo = self.transport.json(&call).await?;
        let mut job = QueryJob::new(&self.transport, info.id);
        job.delimiter = Some(self.delimiter);
        Ok(job)
    }
}

/// A job that reads. From [`BulkQuery::send`], or by its id from
/// [`Bulk::query_job`](super::Bulk::query_job). Cheap to clone.
#[derive(Clone)]
pub struct QueryJob {
    pub(super) transport: Arc<Transport>,
    id: JobId,
    pub(super) delimiter: Option<ColumnDelimiter>,
}

impl fmt::Debug for QueryJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryJob")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl QueryJob {
    pub(super) fn new(transport: &Arc<Transport>, id: JobId) -> Self {
        Self {
            transport: Arc::clone(transport),
            id,
            delimiter: None,
        }
    }

    /// The job's id, to come back to it later.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// How far the job is.
    pub async fn info(&self) -> Result<JobInfo> {
        let call = self.call("bulk.query_info", Method::GET, &[]);
        self.transport.json(&call).await
    }

    /// Waits for the job's end.
    pub fn wait<'a>(&self) -> Wait<'a> {
        Wait::new(&self.transport, ["jobs", "query", self.id.as_str()])
    }

    /// The rows of a job that is done. Salesforce keeps them for seven days.
    pub fn results<T>(&self) -> QueryResults<T> {
        QueryResults::new(self.clone())
    }

    /// Gives the job up.
    pub async fn abort(&self) -> Result<JobInfo> {
        #[derive(Serialize)]
        struct Change {
            state: &'static str,
        }
        let call = self.call("bulk.abort", Method::PATCH, &[]);
        let call = call.json(&Change { state: "Aborted" })?.repeatable();
        match self.transport.json(&call).await {
            Err(error) if error.may_have_happened() => {
                let info = self.info().await.ok();
                info.filter(|info| info.state == JobState::Aborted)
                    .ok_or(error)
            }
            outcome => outcome,
        }
    }

    /// Deletes the job with its results. It must be over.
    pub async fn delete(&self) -> Result<()> {
        let call = self.call("bulk.delete", Method::DELETE, &[]);
        self.transport.empty(&call).await
    }

    pub(super) fn call(&self, operation: &'static str, method: Method, rest: &[&str]) -> Call {
        let path = [&["jobs", "query", self.id.as_str()], rest].concat();
        self.transport.call(operation, method, &path)
    }
}
