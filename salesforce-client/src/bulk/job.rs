use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::told;
use crate::{
    RecordId,
    error::{Error, ErrorKind},
};

/// The id of a job (`750…`), to come back to it from another process.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(transparent)]
pub struct JobId(String);

impl JobId {
    /// The id as Salesforce gave it.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as Salesforce writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a job is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub enum JobState {
    /// Created; it takes data.
    Open,
    /// Closed: the data is there and waits for its turn.
    UploadComplete,
    /// At work.
    InProgress,
    /// Done. Rows of it can have failed all the same.
    JobComplete,
    /// Given up by Salesforce; rows can have been written before.
    Failed,
    /// Given up by somebody; rows can have been written before.
    Aborted,
    /// One that this crate does not know.
    #[serde(untagged)]
    Unknown(String),
}

impl JobState {
    /// Whether nothing more happens to the job.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::JobComplete | Self::Failed | Self::Aborted)
    }
}

/// What a job does.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Operation {
    /// Creates records.
    Insert,
    /// Changes records by `Id`.
    Update,
    /// Creates or changes records by an external id.
    Upsert,
    /// Deletes records.
    Delete,
    /// Deletes records past the recycle bin, which needs a right of its own.
    HardDelete,
    /// Reads records.
    Query,
    /// Reads records, deleted and archived ones as well.
    QueryAll,
    /// One that this crate does not know.
    #[serde(untagged)]
    Unknown(String),
}

/// What stands between two columns.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum ColumnDelimiter {
    /// `` ` ``
    Backquote,
    /// `^`
    Caret,
    /// `,`
    #[default]
    Comma,
    /// `|`
    Pipe,
    /// `;`
    Semicolon,
    /// A tabulator.
    Tab,
}

impl ColumnDelimiter {
    pub(super) const ALL: [Self; 6] = [
        Self::Backquote,
        Self::Caret,
        Self::Comma,
        Self::Pipe,
        Self::Semicolon,
        Self::Tab,
    ];

    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Backquote => b'`',
            Self::Caret => b'^',
            Self::Comma => b',',
            Self::Pipe => b'|',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }

    pub(super) fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.byte() == byte)
    }
}

/// What ends a row.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum LineEnding {
    /// A line feed.
    #[default]
    Lf,
    /// A carriage return and a line feed.
    Crlf,
}

impl LineEnding {
    pub(super) fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::Crlf => b"\r\n",
        }
    }
}

/// A job as Salesforce describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct JobInfo {
    /// Its id.
    pub id: JobId,
    /// How far it is.
    pub state: JobState,
    /// What it does.
    pub operation: Operation,
    /// The object whose records it is about.
    pub object: Option<String>,
    /// The field that an upsert goes by.
    pub external_id_field_name: Option<String>,
    /// The rule that assigns owners.
    pub assignment_rule_id: Option<RecordId>,
    /// What stands between columns.
    pub column_delimiter: Option<ColumnDelimiter>,
    /// What ends a row.
    pub line_ending: Option<LineEnding>,
    /// Who created it.
    pub created_by_id: Option<RecordId>,
    /// When it was created.
    pub created_date: Option<Timestamp>,
    /// When it last changed.
    pub system_modstamp: Option<Timestamp>,
    /// The version of the API that it was created with.
    pub api_version: Option<f64>,
    /// Rows worked on, failed ones among them.
    #[serde(default)]
    pub number_records_processed: u64,
    /// Rows that failed.
    #[serde(default)]
    pub number_records_failed: u64,
    /// How many times Salesforce began again.
    #[serde(default)]
    pub retries: u64,
    /// Milliseconds of work.
    pub total_processing_time: Option<u64>,
    /// Why a failed job failed, in Salesforce's words. They can hold the org's data.
    pub error_message: Option<String>,
}

impl JobInfo {
    /// Why the job as a whole came to nothing: [`ErrorKind::JobFailed`] with Salesforce's code,
    /// such as `InvalidBatch`. `None` for one that is done or under way.
    pub fn failure(&self) -> Option<Error> {
        let detail = match self.state {
            JobState::Failed => "Salesforce gave the job up",
            JobState::Aborted => "the job was aborted",
            _ => return None,
        };
        let told = self.error_message.as_deref();
        let errors = told.map(told::of_job).unwrap_or_default();
        Some(Error::new(ErrorKind::JobFailed, "bulk.job").told(errors, detail))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_state_or_an_operation_of_next_year_is_no_error() {
        let state: JobState = serde_json::from_str("\"Napping\"").unwrap();
        assert_eq!(state, JobState::Unknown("Napping".to_owned()));
        let operation: Operation = serde_json::from_str("\"hardDelete\"").unwrap();
        assert_eq!(operation, Operation::HardDelete);
        let operation: Operation = serde_json::from_str("\"merge\"").unwrap();
        assert_eq!(operation, Operation::Unknown("merge".to_owned()));
    }

    #[test]
    fn a_failed_job_tells_its_code() {
        let text = r#"{"id":"750","state":"Failed","operation":"insert",
            "errorMessage":"InvalidBatch : Field name not found : Colour__c"}"#;
        let info: JobInfo = serde_json::from_str(text).unwrap();
        let failure = info.failure().unwrap();
        assert_eq!(failure.kind(), ErrorKind::JobFailed);
        assert_eq!(failure.api().unwrap().code().unwrap(), "InvalidBatch");
        assert_eq!(
            failure.to_string(),
            "bulk.job failed: InvalidBatch: Salesforce gave the job up"
        );
    }
}
