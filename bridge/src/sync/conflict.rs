//! Both sides have changed, and only one value can stay: what the other one was.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha1::{Digest, Sha1};

use super::field_map::{FieldPair, Side};
use crate::{
    crm::Record,
    ledger::{EffectKey, EffectState, Ledger},
    store_error::{StoreError, StoreErrorKind},
};

/// First part of the ledger's keys.
const KEY: &str = "conflict";

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
    /// Since when it is over: both sides show the same, or somebody has changed them again.
    pub settled_at: Option<Timestamp>,
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
        self.kept.is_none() && self.settled_at.is_none()
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

    pub(super) async fn keep(&self, ledger: &dyn Ledger, now: Timestamp) -> Result<(), StoreError> {
        let key = EffectKey::new([KEY, &self.id]);
        let unwritable =
            |cause| StoreError::new(StoreErrorKind::Corrupt, "keep a conflict").with_cause(cause);
        let text = serde_json::to_value(self)
            .map_err(|cause: serde_json::Error| unwritable(cause.to_string()))?;
        ledger.finish(&key, text, now).await
    }
}

/// All conflicts that there ever were, oldest first.
pub async fn conflicts(ledger: &dyn Ledger) -> Result<Vec<Conflict>, StoreError> {
    let mut all = Vec::new();
    for effect in ledger.under(&EffectKey::new([KEY])).await? {
        if let EffectState::Finished(value) = effect.state {
            all.push(serde_json::from_value(value).map_err(|cause| {
                StoreError::new(StoreErrorKind::Corrupt, "list the conflicts").with_cause(cause)
            })?);
        }
    }
    all.sort_by(|a: &Conflict, b: &Conflict| (a.at, &a.id).cmp(&(b.at, &b.id)));
    Ok(all)
}
