//! What a round has done, or would do.

use std::fmt;

use serde::Serialize;

use super::{
    conflict::Conflict,
    datum::Datum,
    field_map::{FieldPair, Side},
    merge::Shown,
};
use crate::crm::Record;

/// What a round has done with a record, or would do.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SyncReport {
    /// The record.
    pub record: Record,
    /// Its folder; `None` where it has none, or is gone itself.
    pub folder: Option<String>,
    /// The pairs that differed.
    pub fields: Vec<FieldReport>,
}

/// What a round has done with a pair that differed. As text it tells no values, which are nobody's
/// business in a log, but for one that was refused.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FieldReport {
    /// The record's field.
    pub field: String,
    /// The metadata key.
    pub key: String,
    /// What was done.
    pub outcome: FieldOutcome,
    /// What the folder showed.
    pub in_box: Option<Datum>,
    /// What the record showed.
    pub in_salesforce: Option<Datum>,
    /// The conflict, where there was one.
    pub conflict: Option<String>,
}

/// What was done with a pair.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FieldOutcome {
    /// The other side's value went to this one.
    Written(Side),
    /// A value does not fit the other side, or may not be written there, for this reason.
    Refused(String),
    /// The other side itself has refused a value, for this reason.
    Rejected(String),
    /// The pair cannot be kept the same at all, for this reason: the configuration or one of the
    /// sides has to be put right.
    Unworkable(String),
    /// Both have changed, and somebody has to decide.
    Open,
    /// They differ, and the pair does not go the way that would end it.
    Stays,
}

impl SyncReport {
    pub(super) fn nothing(record: &Record) -> Self {
        Self {
            record: record.clone(),
            folder: None,
            fields: Vec::new(),
        }
    }

    pub(super) fn of(record: &Record, folder: &str, fields: Vec<FieldReport>) -> Self {
        Self {
            record: record.clone(),
            folder: Some(folder.to_owned()),
            fields,
        }
    }

    /// Whether something is wrong that no later change of the values puts right.
    pub fn needs_a_person(&self) -> bool {
        self.fields.iter().any(|field| {
            let outcome = &field.outcome;
            matches!(
                outcome,
                FieldOutcome::Rejected(_) | FieldOutcome::Unworkable(_)
            )
        })
    }
}

impl FieldReport {
    pub(super) fn carries(
        pair: &FieldPair,
        to: Side,
        content: &Shown,
        crm: &Shown,
        conflict: Option<String>,
    ) -> Self {
        Self {
            conflict,
            ..Self::of(pair, FieldOutcome::Written(to), content, crm)
        }
    }

    pub(super) fn stays(pair: &FieldPair, content: &Shown, crm: &Shown) -> Self {
        Self::of(pair, FieldOutcome::Stays, content, crm)
    }

    pub(super) fn open(
        pair: &FieldPair,
        conflict: &Conflict,
        content: &Shown,
        crm: &Shown,
    ) -> Self {
        Self {
            conflict: Some(conflict.id.clone()),
            ..Self::of(pair, FieldOutcome::Open, content, crm)
        }
    }

    pub(super) fn refused(
        pair: &FieldPair,
        conflict: &Conflict,
        is_rejected: bool,
        content: &Shown,
        crm: &Shown,
    ) -> Self {
        let reason = conflict.refused.clone().unwrap_or_default();
        let outcome = match is_rejected {
            true => FieldOutcome::Rejected(reason),
            false => FieldOutcome::Refused(reason),
        };
        Self {
            conflict: Some(conflict.id.clone()),
            ..Self::of(pair, outcome, content, crm)
        }
    }

    pub(super) fn unworkable(pair: &FieldPair, reason: String) -> Self {
        Self::of(pair, FieldOutcome::Unworkable(reason), &None, &None)
    }

    /// The pair's name.
    pub(super) fn pair(&self) -> String {
        format!("{}/{}", self.field, self.key)
    }

    fn of(pair: &FieldPair, outcome: FieldOutcome, content: &Shown, crm: &Shown) -> Self {
        Self {
            field: pair.field.clone(),
            key: pair.key.clone(),
            outcome,
            in_box: content.clone(),
            in_salesforce: crm.clone(),
            conflict: None,
        }
    }
}

impl fmt::Display for SyncReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(folder) = &self.folder else {
            return write!(f, "{} has no folder to be kept the same as", self.record.id);
        };
        if self.fields.is_empty() {
            return write!(f, "{} and folder {folder} agree", self.record.id);
        }
        for (number, field) in self.fields.iter().enumerate() {
            let before = if number == 0 { "" } else { "; " };
            write!(f, "{before}{field}")?;
        }
        Ok(())
    }
}

impl fmt::Display for FieldReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, key, .. } = self;
        match &self.outcome {
            FieldOutcome::Written(Side::Box) => write!(f, "{field} → {key}")?,
            FieldOutcome::Written(Side::Salesforce) => write!(f, "{field} ← {key}")?,
            FieldOutcome::Refused(reason)
            | FieldOutcome::Rejected(reason)
            | FieldOutcome::Unworkable(reason) => write!(f, "{field} ≠ {key}: {reason}")?,
            FieldOutcome::Open => write!(f, "{field} ≠ {key}: both have changed")?,
            FieldOutcome::Stays => write!(f, "{field} ≠ {key}: it goes the other way only")?,
        }
        match &self.conflict {
            Some(conflict) => write!(f, " (conflict {conflict})"),
            None => Ok(()),
        }
    }
}
