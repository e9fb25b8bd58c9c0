//! Records on the CRM side as such: their fields, what fields there are, the people they know.

use std::fmt::Debug;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{crm::Record, port_error::PortError};

/// Reads and writes fields of records. Which fields is for the caller to say: nothing here knows
/// one kind of record from another.
#[async_trait]
pub trait Records: Debug + Send + Sync + 'static {
    /// These fields of a record, named as the CRM's API names them; `Account.Name` is the name of
    /// the Account that it belongs to. A record that was deleted is
    /// [`Gone`](crate::PortErrorKind::Gone).
    async fn read(&self, record: &Record, fields: &[&str]) -> Result<RecordState, PortError>;

    /// Writes fields of a record that nobody has changed since `seen`; tells whether it was still
    /// so. Writing the same values again is harmless.
    async fn write(
        &self,
        record: &Record,
        fields: &Map<String, Value>,
        seen: Option<Timestamp>,
    ) -> Result<bool, PortError>;

    /// The fields that a kind of record has for us.
    async fn shape(&self, object: &str) -> Result<Vec<FieldShape>, PortError>;

    /// The contacts with this e-mail address, those of the deal before those of its account before
    /// all others.
    async fn contacts(&self, email: &str, deal: Option<&Record>)
    -> Result<Vec<Contact>, PortError>;

    /// The records of a kind that were made, changed or deleted since `since`, and up to when that
    /// is all of them. A long time can come in parts: ask again from there until nothing is new.
    async fn changed(&self, object: &str, since: Timestamp) -> Result<Changed, PortError>;

    /// When a record was made and last changed, told alike by [`changed`](Records::changed). `None`
    /// where the CRM knows nothing of it any more.
    async fn times(&self, record: &Record) -> Result<Option<RecordTimes>, PortError>;
}

/// A record's fields at one time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct RecordState {
    /// The values by the names that were asked for; `null` where there is none.
    pub fields: Map<String, Value>,
    /// When it was last changed, by anybody.
    pub changed_at: Option<Timestamp>,
    /// Who changed it last.
    pub changed_by: Option<String>,
}

impl RecordState {
    /// A state with these values.
    pub fn new(fields: Map<String, Value>, changed_at: Option<Timestamp>) -> Self {
        Self {
            fields,
            changed_at,
            changed_by: None,
        }
    }

    /// A text field that is not empty.
    pub fn text(&self, field: &str) -> Option<&str> {
        let text = self.fields.get(field)?.as_str()?;
        (!text.is_empty()).then_some(text)
    }
}

/// What a field takes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FieldShape {
    /// Its name in the API.
    pub name: String,
    /// Its type as the CRM names it, such as `string`, `picklist` or `date`.
    pub kind: String,
    /// How many characters a text may have, 0 where that does not apply.
    pub longest: u32,
    /// Whether we may write it.
    pub is_writable: bool,
    /// Whether it may be empty.
    pub is_nillable: bool,
    /// The values that people can choose, where it is such a field.
    pub choices: Vec<String>,
    /// Whether it takes no other values than those.
    pub only_choices: bool,
}

/// Somebody whom the CRM knows.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Contact {
    /// The record.
    pub record: Record,
    /// The name.
    pub name: Option<String>,
    /// How close to the deal.
    pub nearness: Nearness,
}

/// How close a contact is to a deal.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Nearness {
    /// Has a role in it.
    Deal,
    /// Belongs to its account.
    Account,
    /// Anywhere else.
    Elsewhere,
}

/// What was changed in a time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Changed {
    /// Made or changed.
    pub records: Vec<ChangedRecord>,
    /// Deleted.
    pub deleted: Vec<DeletedRecord>,
    /// Up to when that is all: where to go on from. Not later than the time that was asked for
    /// where there is nothing new yet.
    pub covered_until: Timestamp,
}

/// A record that was made or changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChangedRecord {
    /// The record.
    pub record: Record,
    /// When it was made, where that is known.
    pub created_at: Option<Timestamp>,
    /// When it was last changed, by anybody and anything, where that is known. It may have changed
    /// again after `covered_until`.
    pub changed_at: Option<Timestamp>,
}

/// The times of one record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RecordTimes {
    /// When it was made, where that is known.
    pub created_at: Option<Timestamp>,
    /// When it was last changed, by anybody and anything; when it was deleted, if it is.
    pub changed_at: Timestamp,
    /// Whether it is deleted and may come back.
    pub is_deleted: bool,
}

/// A record that was deleted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeletedRecord {
    /// The record.
    pub record: Record,
    /// When.
    pub deleted_at: Timestamp,
}
