//! What the CRM side says about its records, in one form whichever way it came.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    crm::Record,
    queue::NewJob,
    store_error::{StoreError, StoreErrorKind},
};

/// The kind of job that a record's event becomes; its body is the [`RecordEvent`] as JSON.
pub const RECORD_EVENT: &str = "crm.record";

/// A record was made, changed or deleted. It is a hint and no more: the record itself is read when
/// the job is worked on, for events come twice, late and out of order.
///
/// The one rule by which two events are the same: the record, the kind of change, and the second
/// of the change ([`dated`](Self::dated)), but only once that second is over on the record's side.
/// Before, a further change in the same second could come after the job has been worked on, and
/// would be taken for the first one. Where the second is unknown or not over, or what was done is
/// not told, the event goes by its source's own name for it ([`new`](Self::new)) into the inbox.
/// When its job is worked on, a pipeline with [records](crate::Pipeline::records) reads the record's
/// times, and what it does then it does for the event that these name: a Task that another source
/// has brought about is there already, and folders and fields are as they should be.
///
/// What cannot be told apart: changes of one record within one second are one event, and of the
/// changes that were made before somebody looked, [`Poll`](crate::source::Poll) and outbound
/// messages know only the last.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecordEvent {
    /// Names this event among all those of its record: two sources that tell of one change at one
    /// time say it with the same words, so that it is taken in once.
    pub id: String,
    /// What has changed, and how.
    #[serde(flatten)]
    pub changed: RecordChange,
    /// When, as far as is known.
    pub at: Option<Timestamp>,
}

/// Which record, and what was done to it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RecordChange {
    /// The record.
    pub record: Record,
    /// What was done.
    pub change: Change,
}

/// What was done to a record.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum Change {
    /// It was made.
    Created,
    /// It was changed.
    Updated,
    /// It was made or changed: the source does not tell which.
    Changed,
    /// It was deleted.
    Deleted,
    /// It was taken out of the bin.
    Undeleted,
}

impl RecordEvent {
    /// An event with this id.
    pub fn new(id: impl Into<String>, record: Record, change: Change) -> Self {
        Self {
            id: id.into(),
            changed: RecordChange { record, change },
            at: None,
        }
    }

    /// A change of this second, which is over: every source names it alike.
    pub fn dated(record: Record, change: Change, at: Timestamp) -> Self {
        Self::new(by_second(change, at), record, change).at(at)
    }

    /// That happened at this time.
    #[must_use]
    pub fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    /// What starts rules, such as `Opportunity.CREATED`; `None` where the record's id does not
    /// tell what it is.
    pub fn trigger(&self) -> Option<String> {
        self.trigger_of(self.changed.change)
    }

    pub(crate) fn trigger_of(&self, change: Change) -> Option<String> {
        let object = self.changed.record.object.as_deref()?;
        Some(format!("{object}.{change}"))
    }

    /// Whether it goes by the second of the change.
    pub(crate) fn is_dated(&self) -> bool {
        let by_second = |at| self.id == by_second(self.changed.change, at);
        self.at.is_some_and(by_second)
    }

    /// What its effects go by among those of its record. Not every source tells that a record came
    /// out of the bin; to the others that is a change.
    pub(crate) fn effects_go_by(&self) -> String {
        match (self.changed.change, self.at) {
            (Change::Undeleted, Some(at)) if self.is_dated() => by_second(Change::Updated, at),
            _ => self.id.clone(),
        }
    }

    /// The job for the inbox. The events of one record are worked on in the order of their
    /// arrival, and each is taken in once.
    pub fn job(&self) -> Result<NewJob, StoreError> {
        let body = serde_json::to_vec(self)
            .map_err(|cause| StoreError::new(StoreErrorKind::Corrupt, "push").with_cause(cause))?;
        let record = &self.changed.record.id;
        Ok(NewJob {
            dedupe: format!("crm:{record}:{}", self.id),
            key: format!("crm-record/{record}"),
            kind: RECORD_EVENT.to_owned(),
            body: body.into(),
        })
    }
}

fn by_second(change: Change, at: Timestamp) -> String {
    format!("{change}@{}", at.as_second())
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Created => "CREATED",
            Self::Updated => "UPDATED",
            Self::Changed => "CHANGED",
            Self::Deleted => "DELETED",
            Self::Undeleted => "UNDELETED",
        })
    }
}
