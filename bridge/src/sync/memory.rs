//! What both sides of a record last agreed on. Written before the sides are, so that whoever
//! continues after a crash knows its own hand.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{conflict::Conflict, field_map::Side, merge::Shown};
use crate::{
    crm::Record,
    ledger::{EffectKey, EffectState, Ledger},
    store_error::{StoreError, StoreErrorKind},
};

/// First part of the ledger's keys.
const KEY: &str = "sync";
/// Unseen writes to one side that are remembered. Forgetting one makes at worst a conflict of it.
const MOST_PENDING: usize = 16;

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Memory {
    /// Where the values were found last. What was agreed on was agreed on with this instance of
    /// the template on this folder, and with no other.
    pub(super) folder: Option<String>,
    #[serde(default)]
    pub(super) instance: Option<String>,
    /// By the pair's name.
    pub(super) pairs: BTreeMap<String, Known>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Known {
    /// Whether anything was ever agreed on.
    pub(super) has_agreed: bool,
    /// On what; both sides show it once the pending write has arrived.
    pub(super) agreed: Shown,
    pub(super) pending: Option<Pending>,
    pub(super) conflict: Option<Conflict>,
    /// Counts agreements.
    pub(super) turn: u64,
    /// The template's field that was agreed on.
    #[serde(default)]
    pub(super) field: Option<String>,
    /// What the record shows although the folder shows something else, and when it was last changed
    /// when that was seen first: it has not been changed to this since.
    #[serde(default)]
    pub(super) shows: Option<(Shown, Timestamp)>,
}

/// A write that was about to be sent and that nobody has seen arrive.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Pending {
    pub(super) to: Side,
    /// What that side can show as long as it has not arrived.
    pub(super) may_show: Vec<Shown>,
}

impl Known {
    pub(super) fn agreed(&self) -> Option<&Shown> {
        self.has_agreed.then_some(&self.agreed)
    }

    /// Whether nobody has looked at the pair yet.
    pub(super) fn was_never_met(&self) -> bool {
        let new = Self {
            field: self.field.clone(),
            ..Self::default()
        };
        *self == new
    }

    /// As far as it is about this field of the template: one made anew has no values, and nobody
    /// has taken them away.
    pub(super) fn of_field(self, id: Option<&str>) -> Self {
        let Some(id) = id else {
            return self;
        };
        match &self.field {
            Some(field) if field != id => Self {
                field: Some(id.to_owned()),
                ..self.met_anew()
            },
            Some(_) => self,
            None => Self {
                field: Some(id.to_owned()),
                ..self
            },
        }
    }

    /// As if nothing had been agreed on yet.
    fn met_anew(&self) -> Self {
        Self {
            turn: self.turn + 1,
            ..Self::default()
        }
    }

    /// The record shows this value, and was changed last at this time.
    pub(super) fn saw(&mut self, crm: &Shown, changed_at: Option<Timestamp>) {
        self.shows = self
            .shows_since(crm, changed_at)
            .map(|at| (crm.clone(), at));
    }

    /// When the record was changed to this value at the latest.
    pub(super) fn shows_since(
        &self,
        crm: &Shown,
        changed_at: Option<Timestamp>,
    ) -> Option<Timestamp> {
        match &self.shows {
            Some((shown, at)) if shown == crm => Some(changed_at.map_or(*at, |it| it.min(*at))),
            _ => changed_at,
        }
    }

    /// A value goes to this side, which shows another one now.
    pub(super) fn send(&mut self, to: Side, value: Shown, shows: Shown) {
        let mut may_show = match self.pending.take() {
            Some(pending) if pending.to == to => pending.may_show,
            _ => Vec::new(),
        };
        let before = std::mem::replace(&mut self.agreed, value);
        let before = std::mem::replace(&mut self.has_agreed, true).then_some(before);
        for value in before.into_iter().chain([shows]) {
            if value != self.agreed && !may_show.contains(&value) {
                may_show.push(value);
            }
        }
        may_show.retain(|value| *value != self.agreed);
        let excess = may_show.len().saturating_sub(MOST_PENDING);
        may_show.drain(..excess);
        self.pending = Some(Pending { to, may_show });
    }

    pub(super) fn clash(&mut self, mut conflict: Conflict) {
        if let Some(former) = &self.conflict
            && former.id == conflict.id
        {
            conflict.at = former.at;
        }
        self.conflict = Some(conflict);
    }

    /// Both sides show this value, which ends whatever was going on.
    pub(super) fn agree(&mut self, value: Shown) {
        if self.pending.is_some() || self.agreed() != Some(&value) || self.conflict.is_some() {
            self.turn += 1;
        }
        self.has_agreed = true;
        self.agreed = value;
        self.pending = None;
        self.conflict = None;
        self.shows = None;
    }
}

impl Memory {
    pub(super) fn conflicts(&self) -> impl Iterator<Item = &Conflict> {
        self.pairs.values().filter_map(|it| it.conflict.as_ref())
    }

    /// As far as it is about this instance on this folder; with another one, nothing was agreed on
    /// yet.
    pub(super) fn of(&self, folder: &str, instance: Option<&str>) -> Self {
        let is_other = |one: Option<&str>, other| one.is_some_and(|one| Some(one) != other);
        let is_met_anew = is_other(self.folder.as_deref(), Some(folder))
            || (instance.is_some() && is_other(self.instance.as_deref(), instance));
        let mut memory = self.clone();
        memory.folder = Some(folder.to_owned());
        memory.instance = instance.map(str::to_owned).or(memory.instance);
        if is_met_anew {
            for known in memory.pairs.values_mut() {
                *known = known.met_anew();
            }
        }
        memory
    }

    /// As the ledger has it, and as it was understood.
    pub(super) async fn read(
        ledger: &dyn Ledger,
        record: &Record,
    ) -> Result<(Option<Value>, Self), StoreError> {
        let seen = match ledger.read(&key(record)).await? {
            Some(EffectState::Finished(value)) => value,
            _ => return Ok((None, Self::default())),
        };
        let memory = Self::deserialize(&seen).map_err(|cause| corrupt(&cause))?;
        Ok((Some(seen), memory))
    }

    /// Tells whether nobody else was faster.
    pub(super) async fn write(
        &self,
        ledger: &dyn Ledger,
        record: &Record,
        seen: Option<&Value>,
        now: Timestamp,
    ) -> Result<Option<Value>, StoreError> {
        let value = serde_json::to_value(self).map_err(|cause| corrupt(&cause))?;
        let key = key(record);
        let is_ours = ledger.replace(&key, seen, value.clone(), now).await?;
        Ok(is_ours.then_some(value))
    }
}

/// The records that were ever kept the same as a folder.
pub(super) async fn records(ledger: &dyn Ledger) -> Result<Vec<String>, StoreError> {
    let all = ledger.under(&EffectKey::new([KEY])).await?;
    Ok(all
        .iter()
        .filter_map(|effect| effect.key.parts().nth(1))
        .collect())
}

/// The conflicts that are not over.
pub(super) async fn conflicts(ledger: &dyn Ledger) -> Result<Vec<Conflict>, StoreError> {
    let mut all = Vec::new();
    for effect in ledger.under(&EffectKey::new([KEY])).await? {
        if let EffectState::Finished(value) = effect.state {
            let memory = Memory::deserialize(&value).map_err(|cause| corrupt(&cause))?;
            all.extend(memory.conflicts().cloned());
        }
    }
    Ok(all)
}

fn key(record: &Record) -> EffectKey {
    EffectKey::new([KEY, &record.id])
}

fn corrupt(cause: &serde_json::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "remember what was agreed on")
        .with_cause(cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::datum::Datum;

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    #[test]
    fn a_later_change_of_another_field_makes_a_value_no_newer() {
        let shows = |text: &str| Some(Datum::Text(text.into()));
        let mut known = Known::default();
        known.saw(&shows("a"), at(10));
        known.saw(&shows("a"), at(30));
        assert_eq!(known.shows_since(&shows("a"), at(40)), at(10));
        // Another value is as new as the record.
        assert_eq!(known.shows_since(&shows("b"), at(40)), at(40));
        known.agree(shows("a"));
        assert_eq!(known.shows_since(&shows("a"), at(40)), at(40));
    }

    #[test]
    fn another_folder_or_instance_was_never_agreed_with() {
        let mut memory = Memory::default().of("f1", Some("i1"));
        memory.pairs.entry("p".into()).or_default().agree(None);
        let has_agreed = |memory: Memory| memory.pairs["p"].has_agreed;
        assert!(has_agreed(memory.of("f1", Some("i1"))));
        assert!(has_agreed(memory.of("f1", None)), "nobody tells");
        assert!(!has_agreed(memory.of("f1", Some("i2"))));
        assert!(!has_agreed(memory.of("f2", Some("i1"))));
        assert!(!has_agreed(memory.of("f2", None)));
    }
}
