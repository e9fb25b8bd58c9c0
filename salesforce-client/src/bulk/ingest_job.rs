use std::{fmt, ops::Range, sync::Arc};

use futures_core::Stream;
use futures_util::TryStreamExt;
use http::Method;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    ColumnDelimiter, FailedRecord, JobId, JobInfo, JobState, SuccessfulRecord, Wait,
    part::Part,
    results::{Plain, rows},
    upload,
};
use crate::{call::Call, error::Result, transport::Transport};

/// A job that writes. From [`IngestRequest::rows`](super::IngestRequest::rows) or
/// [`IngestRequest::csv`](super::IngestRequest::csv), or by its id from
/// [`Bulk::ingest_job`](super::Bulk::ingest_job). Cheap to clone.
#[derive(Clone)]
pub struct IngestJob {
    transport: Arc<Transport>,
    id: JobId,
    delimiter: Option<ColumnDelimiter>,
    rows: Option<Range<u64>>,
}

impl fmt::Debug for IngestJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngestJob")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl IngestJob {
    pub(super) fn new(transport: &Arc<Transport>, id: JobId) -> Self {
        Self {
            transport: Arc::clone(transport),
            id,
            delimiter: None,
            rows: None,
        }
    }

    pub(super) fn delimited_by(mut self, delimiter: ColumnDelimiter) -> Self {
        self.delimiter = Some(delimiter);
        self
    }

    pub(super) fn of_rows(mut self, rows: Range<u64>) -> Self {
        self.rows = Some(rows);
        self
    }

    /// Which rows of the load are in the job, by their numbers from 0. `None` for a job that was
    /// found by its id.
    pub fn rows(&self) -> Option<Range<u64>> {
        self.rows.clone()
    }

    /// The job's id, to come back to it later.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// How far the job is.
    pub async fn info(&self) -> Result<JobInfo> {
        let call = self.call("bulk.ingest_info", Method::GET, &[]);
        self.transport.json(&call).await
    }

    /// Waits for the job's end.
    pub fn wait<'a>(&self) -> Wait<'a> {
        Wait::new(&self.transport, ["jobs", "ingest", self.id.as_str()])
    }

    /// The rows that were written, in no promised order.
    ///
    /// An answer that breaks off is asked for again, and read on where it broke. Should Salesforce
    /// bring other rows then, or the same in another order, that is an error of the kind
    /// [`Decode`](crate::ErrorKind::Decode), and no row twice or never. So it is with the rows that
    /// failed or were not come to.
    ///
    /// Vendor: Bulk API 2.0 Developer Guide, "Get Job Successful Record Results".
    pub fn successful_results<T: DeserializeOwned + Send + 'static>(
        &self,
    ) -> impl Stream<Item = Result<SuccessfulRecord<T>>> + Send + use<T> {
        let call = self.call(
            "bulk.successful_results",
            Method::GET,
            &["successfulResults"],
        );
        rows(Arc::clone(&self.transport), call, None)
    }

    /// The rows that were not written, each with its reason, in no promised order.
    ///
    /// Vendor: Bulk API 2.0 Developer Guide, "Get Job Failed Record Results".
    pub fn failed_results<T: DeserializeOwned + Send + 'static>(
        &self,
    ) -> impl Stream<Item = Result<FailedRecord<T>>> + Send + use<T> {
        let call = self.call("bulk.failed_results", Method::GET, &["failedResults"]);
        rows(Arc::clone(&self.transport), call, None)
    }

    /// The rows that were not come to, in a job that failed or was aborted: they can be sent again
    /// as they are.
    ///
    /// Vendor: Bulk API 2.0 Developer Guide, "Get Job Unprocessed Record Results".
    pub fn unprocessed_records<T: DeserializeOwned + Send + 'static>(
        &self,
    ) -> impl Stream<Item = Result<T>> + Send + use<T> {
        let job = self.clone();
        let resource = ["unprocessedrecords"];
        let call = job.call("bulk.unprocessed_records", Method::GET, &resource);
        let opened = async move {
            // Nothing in this text tells what stands between its columns.
            let delimiter = match job.delimiter {
                Some(delimiter) => Some(delimiter),
                None => job.info().await?.column_delimiter,
            };
            let delimiter = Some(delimiter.unwrap_or_default());
            Ok(rows::<Plain<T>>(job.transport, call, delimiter))
        };
        futures_util::stream::once(opened)
            .try_flatten()
            .map_ok(|Plain(row)| row)
    }

    /// Gives the job up. Rows written so far stay.
    pub async fn abort(&self) -> Result<JobInfo> {
        let is_aborted = |state: &JobState| *state == JobState::Aborted;
        self.set_state("bulk.abort", "Aborted", is_aborted).await
    }

    /// Deletes the job with its data and results, not the records. It must not be at work.
    pub async fn delete(&self) -> Result<()> {
        let call = self.call("bulk.delete", Method::DELETE, &[]);
        self.transport.empty(&call).await
    }

    /// Salesforce takes data once for each job, so a repeat would be refused.
    pub(super) async fn upload(&self, part: &Part) -> Result<()> {
        let call = self.call("bulk.upload", Method::PUT, &["batches"]);
        upload::put(&self.transport, call, part).await
    }

    /// Hands the data over.
    pub(super) async fn close(&self) -> Result<JobInfo> {
        let is_closed = |state: &JobState| *state != JobState::Open;
        self.set_state("bulk.close", "UploadComplete", is_closed)
            .await
    }

    /// A change that is repeated after its answer was lost is refused: the job itself tells whether
    /// it came through.
    async fn set_state(
        &self,
        operation: &'static str,
        state: &str,
        is_done: impl Fn(&JobState) -> bool,
    ) -> Result<JobInfo> {
        #[derive(Serialize)]
        struct Change<'a> {
            state: &'a str,
        }
        let call = self.call(operation, Method::PATCH, &[]);
        let call = call.json(&Change { state })?.repeatable();
        match self.transport.json(&call).await {
            Err(error) if error.may_have_happened() => {
                let info = self.info().await.ok();
                info.filter(|info| is_done(&info.state)).ok_or(error)
            }
            outcome => outcome,
        }
    }

    fn call(&self, operation: &'static str, method: Method, rest: &[&str]) -> Call {
        let path = [&["jobs", "ingest", self.id.as_str()], rest].concat();
        self.transport.call(operation, method, &path)
    }
}
