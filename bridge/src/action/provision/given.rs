//! What a folder's metadata was given from its record, for whoever keeps both the same: it is what
//! both showed then, however either has changed since.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ledger::{EffectKey, EffectState, Ledger},
    metadata::Instance,
    store_error::{StoreError, StoreErrorKind},
};

/// First part of the ledger's keys.
const KEY: &str = "given";

/// How many values of one key are kept that nobody has seen yet.
const MOST_TRIED: usize = 16;

/// Remembered before the values are written, and once more when they have arrived.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Given {
    /// Where what was seen is.
    #[serde(default)]
    place: Option<Place>,
    /// What the place has shown, by the metadata's key.
    #[serde(default)]
    seen: BTreeMap<String, GivenValue>,
    /// What may have been written, the latest last. Each try reads the record anew, and any of them
    /// may be the one that has arrived: its answer can be lost.
    #[serde(default)]
    tried: BTreeMap<String, Vec<GivenValue>>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Place {
    folder: String,
    instance: Option<String>,
}

/// A value that a key was given, and from which of the record's fields.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct GivenValue {
    field: String,
    value: Value,
}

impl Place {
    fn is(&self, folder: &str, instance: Option<&str>) -> bool {
        let known = self.instance.as_deref().zip(instance);
        self.folder == folder && known.is_none_or(|(one, other)| one == other)
    }
}

impl Given {
    /// These values, by key, field and value, are about to be given. What was before stays: it may
    /// be what the folder has.
    #[must_use]
    pub(super) fn tries(
        mut self,
        values: impl IntoIterator<Item = (String, String, Value)>,
    ) -> Self {
        for (key, field, value) in values {
            let tried = self.tried.entry(key).or_default();
            let new = GivenValue { field, value };
            tried.retain(|former| *former != new);
            if tried.len() >= MOST_TRIED {
                tried.remove(0);
            }
            tried.push(new);
        }
        self
    }

    /// The folder shows these values now; some of them may have been there before. What it has
    /// shown already stays: a claim writes nothing over it.
    #[must_use]
    pub(super) fn seen(mut self, folder: &str, instance: &Instance) -> Self {
        let id = instance.id.as_deref();
        if !self.place.as_ref().is_some_and(|it| it.is(folder, id)) {
            self.seen.clear();
        }
        let seen = &mut self.seen;
        self.tried.retain(|key, tried| {
            if seen.contains_key(key) {
                return false;
            }
            let shown = instance.values.get(key);
            let is_shown = |it: &&GivenValue| shown.is_some_and(|shown| same(&it.value, shown));
            let Some(found) = tried.iter().rfind(is_shown) else {
                return true;
            };
            seen.insert(key.clone(), found.clone());
            false
        });
        self.place = Some(Place {
            folder: folder.to_owned(),
            instance: instance.id.clone(),
        });
        self
    }

    pub(super) async fn keep(
        &self,
        ledger: &dyn Ledger,
        record: &str,
        now: jiff::Timestamp,
    ) -> Result<(), StoreError> {
        let value = serde_json::to_value(self).map_err(|cause| corrupt(&cause))?;
        ledger.finish(&key(record), value, now).await
    }

    /// What a record's folder was given.
    pub(crate) async fn read(ledger: &dyn Ledger, record: &str) -> Result<Self, StoreError> {
        match ledger.read(&key(record)).await? {
            Some(EffectState::Finished(value)) => {
                Self::deserialize(value).map_err(|cause| corrupt(&cause))
            }
            _ => Ok(Self::default()),
        }
    }

    /// The values that both sides may have shown for this pair, and whether that is certain: if not,
    /// the folder has to show it still. What another folder or instance has shown does not count.
    pub(crate) fn of(
        &self,
        (folder, instance): (&str, Option<&str>),
        key: &str,
        field: &str,
    ) -> impl Iterator<Item = (&Value, bool)> {
        let is_there = self
            .place
            .as_ref()
            .is_some_and(|it| it.is(folder, instance));
        let seen = self.seen.get(key).filter(|_| is_there);
        let tried = self.tried.get(key).into_iter().flatten().rev();
        let seen = seen.into_iter().map(|it| (it, true));
        seen.chain(tried.map(|it| (it, false)))
            .filter(move |(it, _)| it.field == field)
            .map(|(it, is_certain)| (&it.value, is_certain))
    }
}

/// Whether a value is the one that was written: whoever writes 5.0 may read 5.
fn same(written: &Value, shown: &Value) -> bool {
    match written.as_f64().zip(shown.as_f64()) {
        Some((written, shown)) => written.total_cmp(&shown).is_eq(),
        None => written == shown,
    }
}

fn key(record: &str) -> EffectKey {
    EffectKey::new([KEY, record])
}

fn corrupt(cause: &serde_json::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "remember what a folder was given")
        .with_cause(cause.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Map, json};

    use super::*;

    fn tried(value: &str) -> (String, String, Value) {
        ("step".to_owned(), "NextStep".to_owned(), json!(value))
    }

    fn given(value: &str) -> Given {
        Given::default().tries([tried(value)])
    }

    fn instance(id: &str, value: &str) -> Instance {
        let values = Map::from_iter([("step".to_owned(), json!(value))]);
        Instance::new(values, None).with_id(Some(id.to_owned()))
    }

    fn of(given: &Given, folder: &str, id: &str) -> Vec<(Value, bool)> {
        let of = given.of((folder, Some(id)), "step", "NextStep");
        of.map(|(value, is_certain)| (value.clone(), is_certain))
            .collect()
    }

    #[test]
    fn only_what_the_folder_has_shown_is_certain_and_only_there() {
        let call = json!("call");
        // Whoever was about to write it may have died before, or after.
        assert_eq!(of(&given("call"), "f", "i"), [(call.clone(), false)]);
        let written = given("call").seen("f", &instance("i", "call"));
        assert_eq!(of(&written, "f", "i"), [(call.clone(), true)]);
        assert_eq!(of(&written, "f", "j"), [], "the template was applied anew");
        assert_eq!(of(&written, "g", "i"), []);
        assert_eq!(written.of(("f", None), "step", "Other").count(), 0);
        // Something else was there, and stayed.
        let other = given("call").seen("f", &instance("i", "sign"));
        assert_eq!(of(&other, "f", "i"), [(call, false)]);
    }

    #[test]
    fn a_later_try_takes_nothing_away_from_what_an_earlier_one_may_have_written() {
        let (call, meet) = (json!("call"), json!("meet"));
        let both = given("call").tries([tried("meet")]);
        let either = [(meet.clone(), false), (call.clone(), false)];
        assert_eq!(of(&both, "f", "i"), either);
        let arrived = both.clone().seen("f", &instance("i", "call"));
        assert_eq!(of(&arrived, "f", "i"), [(call.clone(), true)]);
        let neither = both.seen("f", &instance("i", "sign"));
        assert_eq!(of(&neither, "f", "i"), either);
        // It is claimed once more, and has what it had.
        let again = arrived.tries([tried("meet")]);
        let certain = [(call.clone(), true), (meet.clone(), false)];
        assert_eq!(of(&again, "f", "i"), certain);
        let again = again.seen("f", &instance("i", "call"));
        assert_eq!(of(&again, "f", "i"), [(call, true)]);
        let anew = again
            .tries([tried("meet")])
            .seen("f", &instance("j", "meet"));
        assert_eq!(of(&anew, "f", "j"), [(meet, true)]);
        assert_eq!(of(&anew, "f", "i"), []);
    }

    #[test]
    fn what_is_kept_of_many_tries_is_bounded() {
        let tries = (0..100).map(|number| tried(&number.to_string()));
        let many = tries.fold(Given::default(), |given, it| given.tries([it]));
        assert_eq!(of(&many, "f", "i").len(), MOST_TRIED);
        let same = (0..100).fold(given("call"), |given, _| given.tries([tried("call")]));
        assert_eq!(of(&same, "f", "i").len(), 1);
    }

    #[test]
    fn a_number_is_what_was_written_however_it_is_spelt() {
        let written = ("sum".to_owned(), "Sum".to_owned(), json!(5.0));
        let values = Map::from_iter([("sum".to_owned(), json!(5))]);
        let instance = Instance::new(values, None);
        let given = Given::default().tries([written]).seen("f", &instance);
        let of: Vec<_> = given.of(("f", None), "sum", "Sum").collect();
        assert_eq!(of, [(&json!(5.0), true)]);
    }
}
