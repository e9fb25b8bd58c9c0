//! Only one of two values can stay, because both sides have changed or because one of them is
//! refused: what both were.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha1::{Digest, Sha1};

use super::{
    field_map::{FieldPair, Side},
    memory,
};
use crate::{
    crm::Record,
    ledger::{EffectKey, EffectState, Ledger},
    store_error::{StoreError, StoreErrorKind},
};

/// First part of the ledger's keys. [`tidy`](crate::tidy()) forgets them after a time.
pub(crate) const KEY: &str = "conflict";

/// Two values that could not both stay.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Conflict {
    /// Names it among all conflicts.
    pub id: String,
    /// The record.
    pub record: Record,
    /// The folder.
    pub folder: String,
    /// The record's field.
    pub field: String,
    /// The metadata key.
    pub key: String,
    /// What the folder had, `null` for nothing.
    pub in_box: Value,
    /// What the record had, `null` for nothing.
    pub in_salesforce: Value,
    /// When it was first seen.
    pub at: Timestamp,
    /// Whose value was kept; `None` as long as nobody has decided.
    pub kept: Option<Side>,
    /// Who decided.
    pub by: Option<Decider>,
    /// Why the folder's value was not written to the record, or the other way round, although
    /// nothing else was in its way: it does not fit, or the record's own rules say no.
    #[serde(default)]
    pub refused: Option<String>,
    /// Whether it is over: both sides show the same, or somebody has changed them again.
    #[serde(default)]
    pub is_over: bool,
}

/// Who decided a conflict.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decider {
    /// The policy.
    Policy,
    /// The pair, which goes one way only.
    Direction,
    /// A person.
    Person,
}

impl Conflict {
    /// Whether it waits for somebody to decide.
    pub fn is_open(&self) -> bool {
        self.kept.is_none() && !self.is_over
    }

    /// The same values of the same pair in the same turn are the same conflict, whoever sees it.
    pub(super) fn id(
        record: &Record,
        pair: &FieldPair,
        turn: u64,
        in_box: &Value,
        in_salesforce: &Value,
    ) -> String {
        let named = serde_json::json!([record.id, pair.name(), turn, in_box, in_salesforce]);
        let hash = Sha1::digest(named.to_string());
        hash.iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Keeps it beyond its end. What has been decided is not undone by whoever comes late.
    pub(super) async fn keep(&self, ledger: &dyn Ledger, now: Timestamp) -> Result<(), StoreError> {
        const TRIES: usize = 8;
        let key = EffectKey::new([KEY, &self.id]);
        let value = serde_json::to_value(self).map_err(|cause| corrupt(&cause))?;
        for _ in 0..TRIES {
            let there = match ledger.read(&key).await? {
                Some(EffectState::Finished(there)) => Some(there),
                _ => None,
            };
            let is_decided = |there: &Value| there.get("kept").is_some_and(|it| !it.is_null());
            if let Some(there) = &there
                && (*there == value || (self.kept.is_none() && is_decided(there)))
            {
                return Ok(());
            }
            let seen = there.as_ref();
            if ledger.replace(&key, seen, value.clone(), now).await? {
                return Ok(());
            }
        }
        Err(StoreError::new(
            StoreErrorKind::Unavailable,
            "keep a conflict",
        ))
    }
}

/// All conflicts that are remembered, oldest first.
pub async fn conflicts(ledger: &dyn Ledger) -> Result<Vec<Conflict>, StoreError> {
    let mut all = BTreeMap::new();
    for effect in ledger.under(&EffectKey::new([KEY])).await? {
        if let EffectState::Finished(value) = effect.state {
            let kept: Conflict = serde_json::from_value(value).map_err(|cause| corrupt(&cause))?;
            let is_over = true;
            all.insert(kept.id.clone(), Conflict { is_over, ..kept });
        }
    }
    // What is still going on is in the memory of its record, and nowhere else for sure.
    for current in memory::conflicts(ledger).await? {
        all.insert(current.id.clone(), current);
    }
    let mut all: Vec<_> = all.into_values().collect();
    all.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
    Ok(all)
}

/// The conflicts that are not over, oldest first. Those that are cost nothing here, however many
/// there are.
pub async fn current_conflicts(ledger: &dyn Ledger) -> Result<Vec<Conflict>, StoreError> {
    let mut all = memory::conflicts(ledger).await?;
    all.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
    Ok(all)
}

fn corrupt(cause: &serde_json::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "keep a conflict").with_cause(cause.to_string())
}
