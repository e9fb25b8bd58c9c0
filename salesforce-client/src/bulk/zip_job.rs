//! Bulk API 1.0, for the one thing that 2.0 cannot do: files.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use http::{HeaderValue, Method};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{
    ColumnDelimiter, JobId, ZipBatch,
    results::{Plain, rows},
    told,
};
use crate::{
    ApiError, RecordId,
    call::Call,
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

const WAIT: &str = "bulk.zip_wait";
const INFO_LIMIT: usize = 1024 * 1024;

/// A job for rows with files, up to 10 MB to a batch. From
/// [`Bulk::insert_zip`](super::Bulk::insert_zip), or by its id from
/// [`Bulk::zip_job`](super::Bulk::zip_job). Cheap to clone.
///
/// ```no_run
/// # use salesforce_client::{SalesforceClient, bulk::ZipBatch};
/// # async fn example(client: SalesforceClient, batch: ZipBatch) -> salesforce_client::Result<()> {
/// let job = client.bulk().insert_zip("ContentVersion").await?;
/// let sent = job.add_batch(batch).await?;
/// job.close().await?;
/// sent.wait().await?;
/// for (row, outcome) in sent.results().await?.into_iter().enumerate() {
///     match outcome {
///         Ok(record) => println!("row {row} is {}", record.id),
///         Err(error) => println!("row {row} failed: {}", error.code),
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// Vendor: Bulk API Developer Guide, "Load Binary Attachments".
#[derive(Clone)]
pub struct ZipJob {
    transport: Arc<Transport>,
    id: JobId,
}

impl fmt::Debug for ZipJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZipJob")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A batch that was handed over. From [`ZipJob::add_batch`], or by its id from
/// [`ZipJob::batch`]. Cheap to clone.
#[derive(Clone)]
pub struct SentBatch {
    job: ZipJob,
    id: JobId,
}

impl fmt::Debug for SentBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentBatch")
            .field("job", &self.job.id)
            .field("id", &self.id)
            .finish()
    }
}

/// How far a batch is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(from = "String")]
#[non_exhaustive]
pub enum BatchState {
    /// It waits for its turn.
    Queued,
    /// At work.
    InProgress,
    /// Done. Rows of it can have failed all the same.
    Completed,
    /// Salesforce could not read it.
    Failed,
    /// The job was aborted before.
    NotProcessed,
    /// One that this crate does not know.
    Unknown(String),
}

impl From<String> for BatchState {
    fn from(state: String) -> Self {
        match state.as_str() {
            "Queued" => Self::Queued,
            "InProgress" => Self::InProgress,
            "Completed" => Self::Completed,
            "Failed" => Self::Failed,
            "Not Processed" | "NotProcessed" => Self::NotProcessed,
            _ => Self::Unknown(state),
        }
    }
}

/// A batch as Salesforce describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BatchInfo {
    /// Its id.
    pub id: JobId,
    /// How far it is.
    pub state: BatchState,
    /// Why it failed, in Salesforce's words. They can hold the org's data.
    pub state_message: Option<String>,
    /// Rows worked on, failed ones among them.
    #[serde(default)]
    pub number_records_processed: u64,
    /// Rows that failed.
    #[serde(default)]
    pub number_records_failed: u64,
}

/// A record that a row of a batch has made.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BatchRecord {
    /// Its id.
    pub id: RecordId,
    /// Whether it is new.
    pub created: bool,
}

impl ZipJob {
    /// Creates the job. A job without batches does nothing, so the call may be repeated.
    pub(super) async fn create(transport: &Arc<Transport>, object: &str) -> Result<Self> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Create<'a> {
            operation: &'a str,
            object: &'a str,
            content_type: &'a str,
        }
        let create = Create {
            operation: "insert",
            object,
            content_type: "ZIP_CSV",
        };
        let call = call(transport, "bulk.zip_create", Method::POST, &[]);
        let call = call.json(&create)?.repeatable();
        let created: Named = info(transport, &call).await?;
        Ok(Self::new(transport, created.id))
    }

    pub(super) fn new(transport: &Arc<Transport>, id: JobId) -> Self {
        Self {
            transport: Arc::clone(transport),
            id,
        }
    }

    /// The job's id, to come back to it later.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// Hands a batch over; it is worked on from then on. The call is never repeated by itself when
    /// its outcome is unknown: then [`may_have_happened`](Error::may_have_happened) is true.
    pub async fn add_batch(&self, batch: ZipBatch) -> Result<SentBatch> {
        let call = self
            .call("bulk.zip_batch", Method::POST, &["batch"])
            .bytes(HeaderValue::from_static("zip/csv"), batch.finish()?);
        let sent: Named = info(&self.transport, &call).await?;
        Ok(self.batch(&sent.id))
    }

    /// A batch by its id.
    pub fn batch(&self, id: &JobId) -> SentBatch {
        SentBatch {
            job: self.clone(),
            id: id.clone(),
        }
    }

    /// Says that there are no more batches.
    pub async fn close(&self) -> Result<()> {
        self.set_state("bulk.zip_close", "Closed").await
    }

    /// Gives up what is not done yet.
    pub async fn abort(&self) -> Result<()> {
        self.set_state("bulk.zip_abort", "Aborted").await
    }

    async fn set_state(&self, operation: &'static str, state: &str) -> Result<()> {
        #[derive(Serialize)]
        struct Change<'a> {
            state: &'a str,
        }
        let call = self.call(operation, Method::POST, &[]);
        let call = call.json(&Change { state })?.repeatable();
        let changed = info::<Named>(&self.transport, &call).await;
        let Err(error) = changed else {
            return Ok(());
        };
        if !error.may_have_happened() {
            return Err(error);
        }
        // A repeat of what came through is refused: the job itself tells.
        let call = self.call(operation, Method::GET, &[]);
        let now = info::<Named>(&self.transport, &call).await.ok();
        let is_done = now.is_some_and(|now| now.state.as_deref() == Some(state));
        if is_done { Ok(()) } else { Err(error) }
    }

    fn call(&self, operation: &'static str, method: Method, rest: &[&str]) -> Call {
        let path = [&[self.id.as_str()], rest].concat();
        call(&self.transport, operation, method, &path)
    }
}

impl SentBatch {
    /// The batch's id, to come back to it later.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// How far the batch is.
    pub async fn info(&self) -> Result<BatchInfo> {
        let path = ["batch", self.id.as_str()];
        let call = self.job.call("bulk.zip_info", Method::GET, &path);
        info(&self.job.transport, &call).await
    }

    /// Waits for the batch's end, an hour at most. One that Salesforce could not read is a
    /// [`JobFailed`](ErrorKind::JobFailed).
    pub async fn wait(&self) -> Result<BatchInfo> {
        const PATIENCE: Duration = Duration::from_secs(60 * 60);
        const LONGEST: Duration = Duration::from_secs(30);
        const SHORTEST: Duration = Duration::from_millis(1);
        let started = Instant::now();
        let first = self.job.transport.sender.retry.first_delay;
        let mut pause = first.clamp(SHORTEST, LONGEST);
        loop {
            let info = self.info().await?;
            match info.state {
                BatchState::Completed => return Ok(info),
                BatchState::Failed | BatchState::NotProcessed => {
                    let told = info.state_message.as_deref().map(told::of_job);
                    return Err(Error::new(ErrorKind::JobFailed, WAIT)
                        .told(told.unwrap_or_default(), "the batch was not worked on"));
                }
                _ => {}
            }
            if started.elapsed().saturating_add(pause) > PATIENCE {
                return Err(Error::new(ErrorKind::Timeout, WAIT)
                    .detail("the batch is not over yet: wait on for its id"));
            }
            tokio::time::sleep(pause).await;
            pause = pause.mul_f64(1.5).min(LONGEST);
        }
    }

    /// What became of each row, in the order of the rows.
    pub async fn results(&self) -> Result<Vec<Result<BatchRecord, ApiError>>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Outcome {
            id: Option<RecordId>,
            success: bool,
            created: Option<bool>,
            error: Option<String>,
        }
        let path = ["batch", self.id.as_str(), "result"];
        let call = self.job.call("bulk.zip_results", Method::GET, &path);
        let transport = Arc::clone(&self.job.transport);
        let outcomes = rows::<Plain<Outcome>>(transport, call, Some(ColumnDelimiter::Comma));
        let outcomes = outcomes.map_ok(|Plain(outcome)| match outcome {
            Outcome {
                id: Some(id),
                success: true,
                created,
                ..
            } => Ok(BatchRecord {
                id,
                created: created.unwrap_or_default(),
            }),
            failed => Err(told::of_row(failed.error.as_deref().unwrap_or_default())),
        });
        outcomes.try_collect().await
    }
}

#[derive(Deserialize)]
struct Named {
    id: JobId,
    state: Option<String>,
}

/// A call on the resources of Bulk 1.0, which have a place and a header of their own.
fn call(transport: &Transport, operation: &'static str, method: Method, rest: &[&str]) -> Call {
    let data = &transport.data;
    let version = data.rsplit_once("/v").map_or("", |(_, version)| version);
    let base = format!("/services/async/{version}/job");
    Call::new(operation, method, &base, rest)
}

/// Salesforce answers in JSON where a job was asked for in JSON, and in XML to a zip.
async fn info<T: DeserializeOwned>(transport: &Transport, call: &Call) -> Result<T> {
    let body = transport.whole(call, INFO_LIMIT).await?.body;
    let unreadable = || Error::new(ErrorKind::Decode, call.operation).sent();
    if body.trim_ascii_start().starts_with(b"<") {
        let text = std::str::from_utf8(&body).map_err(|cause| unreadable().cause(cause))?;
        return quick_xml::de::from_str(text).map_err(|cause| unreadable().cause(cause));
    }
    serde_json::from_slice(&body).map_err(|cause| unreadable().cause(cause))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_vendors_xml_and_its_json_say_the_same() {
        let xml = r#"<?xml version="1.0" encoding="UTF-8"?>
            <batchInfo xmlns="http://www.force.com/2009/06/asyncapi/dataload">
             <id>751D000000003uwIAA</id>
             <jobId>750D000000001TyIAI</jobId>
             <state>Failed</state>
             <stateMessage>InvalidBatch : a &lt; b</stateMessage>
             <createdDate>2010-08-25T21:29:55.000Z</createdDate>
             <numberRecordsProcessed>3</numberRecordsProcessed>
             <numberRecordsFailed>1</numberRecordsFailed>
            </batchInfo>"#;
        let json = r#"{"id":"751D000000003uwIAA","state":"Failed","numberRecordsFailed":1,
            "stateMessage":"InvalidBatch : a < b","numberRecordsProcessed":3}"#;
        let xml: BatchInfo = quick_xml::de::from_str(xml).unwrap();
        let json: BatchInfo = serde_json::from_str(json).unwrap();
        for info in [xml, json] {
            assert_eq!(info.id.as_str(), "751D000000003uwIAA");
            assert_eq!(info.state, BatchState::Failed);
            assert_eq!(info.state_message.as_deref(), Some("InvalidBatch : a < b"));
            assert_eq!(
                (info.number_records_processed, info.number_records_failed),
                (3, 1)
            );
        }
        for text in [
            "<b><id>1</id><state>Not Processed</state></b>",
            "<b><id>1</id><state>NotProcessed</state></b>",
        ] {
            let info: BatchInfo = quick_xml::de::from_str(text).unwrap();
            assert_eq!(info.state, BatchState::NotProcessed);
        }
        let info: BatchInfo =
            quick_xml::de::from_str("<b><id>1</id><state>Napping</state></b>").unwrap();
        assert_eq!(info.state, BatchState::Unknown("Napping".to_owned()));
    }
}
