//! The side where the records are.

use std::fmt::Debug;

use async_trait::async_trait;
use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use crate::{content::Content, port_error::PortError, worker::Hold};

/// Reads and writes the CRM side.
///
/// Each write says by its error whether it certainly had no effect
/// ([`PortError::had_no_effect`]); whoever calls looks before a repeat where it may have had one.
#[async_trait]
pub trait Crm: Debug + Send + Sync + 'static {
    /// Reads a record's id as people write it, and tells what kind of record it names. No call
    /// is made.
    fn record(&self, text: &str) -> Result<Record, PortError>;

    /// Whether a file of this size is worth an [`upload`](Crm::upload), as far as is known without
    /// a call; asked before anything is done for one.
    fn has_room(&self, _size: u64) -> Result<(), PortError> {
        Ok(())
    }

    /// Writes a file, or a new version of one. The far side must have nothing of it unless
    /// `content` ended without an error.
    async fn upload(&self, file: &NewFile, content: Content) -> Result<String, PortError>;

    /// What the far side has stored under the id that [`upload`](Crm::upload) gave.
    async fn stored(&self, version: &str) -> Result<StoredVersion, PortError>;

    /// [`stored`](Crm::stored), and shows the document on these records where that takes no call of
    /// its own. Gives those of them that show it now; the others are for [`link`](Crm::link).
    async fn stored_and_linked(
        &self,
        version: &str,
        records: &[Record],
    ) -> Result<(StoredVersion, Vec<Record>), PortError> {
        let _ = records;
        Ok((self.stored(version).await?, Vec::new()))
    }

    /// What the far side has that may be `origin`: everything that says so of itself, and on
    /// `record` and in `document` also what does not say where it comes from.
    async fn find(
        &self,
        origin: &Origin,
        record: &Record,
        document: Option<&str>,
    ) -> Result<Vec<StoredVersion>, PortError>;

    /// Shows a document on a record. One that is there already is fine.
    async fn link(&self, document: &str, record: &Record) -> Result<(), PortError>;

    /// Logs an activity and gives its id.
    async fn log_activity(&self, activity: &Activity) -> Result<String, PortError>;

    /// [`log_activity`](Crm::log_activity) for a caller who may lose its `hold` while it waits. A
    /// side that gathers the activities of many callers looks at it again right before the write.
    async fn log_activity_held(
        &self,
        activity: &Activity,
        hold: &Hold,
    ) -> Result<String, PortError> {
        let _ = hold;
        self.log_activity(activity).await
    }

    /// The id of this very activity, if it has been logged.
    async fn find_activity(&self, activity: &Activity) -> Result<Option<String>, PortError>;

    /// Where a deal stands, and the stages that there are.
    async fn deal(&self, record: &Record) -> Result<Deal, PortError>;

    /// Moves a deal that is still as it was `seen`; tells whether it was.
    async fn set_stage(&self, record: &Record, stage: &str, seen: &Deal)
    -> Result<bool, PortError>;
}

/// A record by id.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Record {
    /// Its id in the one form that equality goes by.
    pub id: String,
    /// What it is, such as `Opportunity`, where the id tells.
    pub object: Option<String>,
}

/// Where a stored version comes from. The far side keeps it beside the bytes.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Origin {
    /// The file on the content side.
    pub file: String,
    /// Its version there.
    pub version: String,
}

/// A file to write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewFile {
    /// Its name, with extension.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Where it goes.
    pub place: Place,
}

/// Where a written file goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// A document of its own, shown on this record from the start.
    New {
        /// The record.
        record: Record,
    },
    /// The next version of this document.
    VersionOf {
        /// The document.
        document: String,
    },
}

/// A version as the far side has it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StoredVersion {
    /// Its id.
    pub version: String,
    /// The document that it is a version of.
    pub document: String,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// MD5 of its bytes, in hex.
    pub md5: Option<String>,
    /// Where it comes from, if it says so.
    pub origin: Option<Origin>,
}

/// Something that has happened, to be seen on a record.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Activity {
    /// Names this activity among all; the far side keeps it beside the text.
    pub key: String,
    /// The record.
    pub record: Record,
    /// The person concerned, where the CRM knows one.
    #[serde(default)]
    pub who: Option<Record>,
    /// What happened, in a line.
    pub subject: String,
    /// More of it.
    pub description: String,
    /// When it happened.
    pub date: Date,
}

/// Where a deal stands.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Deal {
    /// Its stage.
    pub stage: String,
    /// Whether that stage closes it.
    pub is_closed: bool,
    /// When it was last changed.
    pub changed_at: Option<Timestamp>,
    /// The stages in use, in their order.
    pub stages: Vec<Stage>,
}

/// A stage that deals can have.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Stage {
    /// The name that is written to deals.
    pub name: String,
    /// Whether it closes a deal.
    pub is_closed: bool,
}
