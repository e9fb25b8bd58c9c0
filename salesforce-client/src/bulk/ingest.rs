use std::{fmt, sync::Arc};

use futures_core::Stream;
use futures_util::stream;
use http::Method;
use serde::Serialize;
use tokio::io::AsyncRead;
use tracing::debug;

use super::{
    ColumnDelimiter, IngestJob, JobInfo, LineEnding, Operation,
    ingest_job::MayBeClosed,
    json,
    part::{Part, PartWriter},
    source::{Format, OPERATION, Source, Text, Values},
};
use crate::{
    RecordId,
    call::Repeat,
    error::{Error, ErrorKind, Result},
    retry::Attempts,
    transport::Transport,
};

/// Salesforce takes 150 MB after an encoding as base64, which is the reason for its advice to
/// stay below this.
const LARGEST_JOB: u64 = 100_000_000;

/// Rows that are to be written. From [`Bulk::insert`](super::Bulk::insert) and its siblings.
///
/// Vendor: Bulk API 2.0 Developer Guide, "Create a Job", "Upload Job Data".
#[must_use = "nothing is sent before the stream of jobs is read"]
pub struct IngestRequest {
    transport: Arc<Transport>,
    create: Create,
    delimiter: ColumnDelimiter,
    ending: Option<LineEnding>,
    columns: Option<Vec<String>>,
    job_size: u64,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    object: String,
    operation: Operation,
    content_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id_field_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assignment_rule_id: Option<RecordId>,
    column_delimiter: ColumnDelimiter,
    line_ending: LineEnding,
}

impl fmt::Debug for IngestRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngestRequest")
            .field("object", &self.create.object)
            .field("operation", &self.create.operation)
            .finish_non_exhaustive()
    }
}

impl IngestRequest {
    pub(super) fn new(
        transport: &Arc<Transport>,
        object: &str,
        operation: Operation,
        key: Option<&str>,
    ) -> Self {
        Self {
            transport: Arc::clone(transport),
            create: Create {
                object: object.to_owned(),
                operation,
                content_type: "CSV",
                external_id_field_name: key.map(str::to_owned),
                assignment_rule_id: None,
                column_delimiter: ColumnDelimiter::default(),
                line_ending: LineEnding::default(),
            },
            delimiter: ColumnDelimiter::default(),
            ending: None,
            columns: None,
            job_size: LARGEST_JOB,
        }
    }

    /// What stands between columns; a comma unless set.
    pub fn column_delimiter(mut self, delimiter: ColumnDelimiter) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// What ends a row: a line feed unless set, or what ends the first line of
    /// [`csv`](Self::csv).
    pub fn line_ending(mut self, ending: LineEnding) -> Self {
        self.ending = Some(ending);
        self
    }

    /// The rule that assigns owners to cases or leads.
    pub fn assignment_rule(mut self, rule: &RecordId) -> Self {
        self.create.assignment_rule_id = Some(rule.clone());
        self
    }

    /// The names of the columns, for [`rows`](Self::rows) that name none: tuples, or lists of
    /// texts.
    pub fn columns<I: IntoIterator<Item: Into<String>>>(mut self, columns: I) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// How many bytes of CSV one job has at most: 100,000,000, Salesforce's limit, unless set.
    pub fn job_size(mut self, bytes: u64) -> Self {
        self.job_size = bytes.min(LARGEST_JOB);
        self
    }

    /// Writes `rows`, as the columns that their fields are named after, in as many jobs as their
    /// size needs. Each job comes out of the stream when its rows are handed over; they are worked
    /// on from then on, so keep its id. Without rows there is no job.
    ///
    /// An empty field (`None`) leaves a value as it is; to clear it, send [`NULL`](super::NULL).
    ///
    /// Rows of the current job are held in memory up to 1 MiB and in a temporary file beyond. If
    /// `rows` fails, those of the current job are not sent: the error is of kind
    /// [`Content`](ErrorKind::Content), and the jobs that came out before stand. A stream that is
    /// dropped before its end can leave an open job, which has no effect.
    pub fn rows<S, T, E>(
        self,
        rows: S,
    ) -> impl Stream<Item = Result<IngestJob>> + Send + use<S, T, E>
    where
        S: Stream<Item = Result<T, E>> + Send + 'static,
        T: Serialize + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let format = Format {
            delimiter: self.delimiter,
            ending: self.ending.unwrap_or_default(),
        };
        let columns = self.columns.clone();
        self.jobs(Values::new(rows, format, columns))
    }

    /// Writes CSV that is there already, with a line of names first. It is cut between rows where
    /// a job is full, each job with the names, and otherwise sent as it is, in UTF-8.
    pub fn csv<R>(self, csv: R) -> impl Stream<Item = Result<IngestJob>> + Send + use<R>
    where
        R: AsyncRead + Send + 'static,
    {
        let text = Text::new(csv, self.delimiter, self.ending, self.job_size);
        self.jobs(text)
    }

    fn jobs<S: Source>(self, source: S) -> impl Stream<Item = Result<IngestJob>> + Send + use<S> {
        let ingest = Ingest {
            request: self,
            source,
            carried: Vec::new(),
            ended: false,
        };
        stream::try_unfold(ingest, |mut ingest| async move {
            Ok(ingest.next_job().await?.map(|job| (job, ingest)))
        })
    }

    /// Creates a job, fills and closes it. An open job has no effect, so whatever fails before it
    /// is closed may be done again with another one.
    async fn send(&self, part: &Part, ending: LineEnding) -> Result<IngestJob> {
        let mut create = self.create.clone();
        create.line_ending = ending;
        create.column_delimiter = self.delimiter;
        let call = self
            .transport
            .call("bulk.create", Method::POST, &["jobs", "ingest"])
            .json(&create)?
            .repeatable();
        let mut attempts = Attempts::new(&self.transport.sender.retry);
        loop {
            let info: JobInfo = json(&self.transport, &call).await?;
            let job = IngestJob::new(&self.transport, info.id).delimited_by(self.delimiter);
            attempts.begin();
            let began = tokio::time::Instant::now();
            let uploaded = job.upload(part).await;
            attempts.forget(began.elapsed());
            let Err(error) = uploaded else {
                return close(job).await;
            };
            // Salesforce drops open jobs by itself after a week.
            let _ = job.abort().await;
            let Some(wait) = attempts.wait_after(&error, Repeat::Safe) else {
                return Err(attempts.give_up(error));
            };
            debug!(operation = OPERATION, ?wait, %error, "trying again with another job");
            tokio::time::sleep(wait).await;
        }
    }
}

async fn close(job: IngestJob) -> Result<IngestJob> {
    let Err(error) = job.close().await else {
        return Ok(job);
    };
    if !error.may_have_happened() {
        let _ = job.abort().await;
        return Err(error);
    }
    let id = job.id().clone();
    Err(error.again().cause(MayBeClosed { id, cause: error }))
}

impl Error {
    /// The Bulk job that the error is about, where it holds all its rows and may have been closed:
    /// ask after it by [`Bulk::ingest_job`](crate::bulk::Bulk::ingest_job) before the rows are sent again.
    pub fn bulk_job(&self) -> Option<&super::JobId> {
        let cause = std::error::Error::source(self)?;
        cause.downcast_ref().map(|told: &MayBeClosed| &told.id)
    }
}

struct Ingest<S> {
    request: IngestRequest,
    source: S,
    /// A row that had no room in the job before.
    carried: Vec<u8>,
    ended: bool,
}

impl<S: Source> Ingest<S> {
    async fn next_job(&mut self) -> Result<Option<IngestJob>> {
        let content = |cause| Error::new(ErrorKind::Content, OPERATION).cause(cause);
        let mut row = std::mem::take(&mut self.carried);
        if row.is_empty() && !self.next_row(&mut row).await? {
            return Ok(None);
        }
        let limit = self.request.job_size;
        let mut part = PartWriter::new(self.source.header());
        loop {
            if !part.has_room_for(&row, limit) {
                if part.has_rows() {
                    self.carried = row;
                    break;
                }
                return Err(Error::new(ErrorKind::TooLarge, OPERATION)
                    .detail("a row is larger than a job may be"));
            }
            part.push(&row).await.map_err(content)?;
            row.clear();
            if !self.next_row(&mut row).await? {
                break;
            }
        }
        let part = part.finish().await.map_err(content)?;
        let ending = self.source.line_ending();
        self.request.send(&part, ending).await.map(Some)
    }

    async fn next_row(&mut self, row: &mut Vec<u8>) -> Result<bool> {
        self.ended = self.ended || !self.source.next(row).await?;
        Ok(!self.ended)
    }
}
