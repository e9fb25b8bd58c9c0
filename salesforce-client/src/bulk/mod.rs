//! Bulk API 2.0: many rows written or read as jobs, in flat memory.
//!
//! ```no_run
//! use futures_util::{TryStreamExt, stream};
//! use salesforce_client::SalesforceClient;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize, Serialize)]
//! struct Task {
//!     #[serde(rename = "Ext__c")]
//!     key: String,
//!     #[serde(rename = "Subject")]
//!     subject: String,
//! }
//!
//! # async fn example(client: SalesforceClient) -> Result<(), Box<dyn std::error::Error>> {
//! let tasks = (0..500_000).map(|n| Task { key: n.to_string(), subject: "Call".to_owned() });
//! let rows = stream::iter(tasks.map(Ok::<_, std::io::Error>));
//! let mut jobs = std::pin::pin!(client.bulk().upsert("Task", "Ext__c").rows(rows));
//! while let Some(job) = jobs.try_next().await? {
//!     let info = job.wait().on_progress(|at| eprintln!("{:?}", at.state)).send().await?;
//!     println!("{} rows, {} failed", info.number_records_processed, info.number_records_failed);
//!     let mut failed = std::pin::pin!(job.failed_results::<Task>());
//!     while let Some(row) = failed.try_next().await? {
//!         println!("{}: {}", row.record.key, row.error.code);
//!     }
//! }
//!
//! let job = client.bulk().query("SELECT Ext__c, Subject FROM Task").send().await?;
//! job.wait().send().await?;
//! let tasks: Vec<Task> = job.results().stream().try_collect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Jobs go on without their program: keep [`IngestJob::id`] and come back with
//! [`Bulk::ingest_job`]. Salesforce advises Bulk above 2,000 rows.

mod csv;
mod ingest;
mod ingest_job;
mod job;
mod part;
mod query;
mod query_results;
mod results;
mod source;
mod told;
mod upload;
mod wait;
#[cfg(feature = "bulk-v1")]
mod zip_batch;
#[cfg(feature = "bulk-v1")]
mod zip_job;

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer, de::DeserializeOwned};

pub use self::{
    ingest::IngestRequest,
    ingest_job::IngestJob,
    job::{ColumnDelimiter, JobId, JobInfo, JobState, LineEnding, Operation},
    query::{BulkQuery, QueryJob},
    query_results::QueryResults,
    results::{FailedRecord, SuccessfulRecord},
    wait::Wait,
};
#[cfg(feature = "bulk-v1")]
pub use self::{
    zip_batch::{FileRef, ZipBatch},
    zip_job::{BatchInfo, BatchRecord, BatchState, SentBatch, ZipJob},
};
use crate::{Soql, call::Call, error::Result, retry::Attempts, transport::Transport};

/// Clears a field: an empty one leaves its value as it is.
pub const NULL: &str = "#N/A";

/// Writes `None` as [`NULL`], for `#[serde(serialize_with = "…")]` on fields that are to be
/// cleared.
///
/// ```
/// #[derive(serde::Serialize)]
/// struct Contact {
///     #[serde(rename = "Id")]
///     id: String,
///     #[serde(rename = "Email", serialize_with = "salesforce_client::bulk::null_if_none")]
///     email: Option<String>,
/// }
/// ```
pub fn null_if_none<T: Serialize, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => value.serialize(serializer),
        None => serializer.serialize_str(NULL),
    }
}

/// Many rows at once. From [`SalesforceClient::bulk`](crate::SalesforceClient::bulk).
#[derive(Clone, Copy)]
pub struct Bulk<'a> {
    transport: &'a Arc<Transport>,
}

impl fmt::Debug for Bulk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulk").finish_non_exhaustive()
    }
}

impl<'a> Bulk<'a> {
    pub(crate) fn new(transport: &'a Arc<Transport>) -> Self {
        Self { transport }
    }

    /// Creates records.
    pub fn insert(&self, object: &str) -> IngestRequest {
        IngestRequest::new(self.transport, object, Operation::Insert, None)
    }

    /// Changes records; each row has an `Id`.
    pub fn update(&self, object: &str) -> IngestRequest {
        IngestRequest::new(self.transport, object, Operation::Update, None)
    }

    /// Creates or changes records; each row has a value of the external id `field`.
    pub fn upsert(&self, object: &str, field: &str) -> IngestRequest {
        IngestRequest::new(self.transport, object, Operation::Upsert, Some(field))
    }

    /// Deletes records; each row has an `Id` and nothing else.
    pub fn delete(&self, object: &str) -> IngestRequest {
        IngestRequest::new(self.transport, object, Operation::Delete, None)
    }

    /// Deletes records past the recycle bin; each row has an `Id` and nothing else. The user needs
    /// the permission "Bulk API Hard Delete".
    pub fn hard_delete(&self, object: &str) -> IngestRequest {
        IngestRequest::new(self.transport, object, Operation::HardDelete, None)
    }

    /// Reads records.
    pub fn query(&self, soql: impl Into<Soql>) -> BulkQuery {
        BulkQuery::new(self.transport, soql.into())
    }

    /// Creates a job for records with files, such as `ContentVersion` or `Attachment`: the only
    /// bulk way for them, with 10 MB to a batch. Larger files go by
    /// [`Files::upload`](crate::Files::upload).
    #[cfg(feature = "bulk-v1")]
    pub async fn insert_zip(&self, object: &str) -> Result<ZipJob> {
        ZipJob::create(self.transport, object).await
    }

    /// A job for records with files, by its id.
    #[cfg(feature = "bulk-v1")]
    pub fn zip_job(&self, id: &JobId) -> ZipJob {
        ZipJob::new(self.transport, id.clone())
    }

    /// A job that writes, by its id.
    pub fn ingest_job(&self, id: &JobId) -> IngestJob {
        IngestJob::new(self.transport, id.clone())
    }

    /// A job that reads, by its id.
    pub fn query_job(&self, id: &JobId) -> QueryJob {
        QueryJob::new(self.transport, id.clone())
    }
}

/// The answer to a call that may be repeated, also where its body breaks off: the transport only
/// repeats what got no answer at all.
async fn json<T: DeserializeOwned>(transport: &Transport, call: &Call) -> Result<T> {
    let mut attempts = Attempts::new(&transport.sender.retry);
    let mut doubted = false;
    loop {
        attempts.begin();
        let answer = match transport.send(call).await {
            Ok(reply) => reply.json().await,
            Err(error) => Err(error),
        };
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let broke_off = error.attempts() == 0;
        let wait = attempts.wait_after(&error, call.repeat);
        doubted |= broke_off;
        let Some(wait) = wait.filter(|_| broke_off) else {
            return Err(if doubted {
                attempts.give_up(error)
            } else {
                error
            });
        };
        tokio::time::sleep(wait).await;
    }
}
