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

/// Remembered before the values are written, and once more when they have arrived.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Given {
    /// Where they are for certain.
    #[serde(default)]
    place: Option<Place>,
    /// By the metadata's key.
    values: BTreeMap<String, GivenValue>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Place {
    folder: String,
    instance: Option<String>,
}

/// A value that a key was given, and from which of the record's fields.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct GivenValue {
    field: String,
    value: Value,
    /// Whether the folder has shown it.
    was_seen: bool,
}

impl Given {
    /// These values, by key, field and value, are about to be given.
    pub(super) fn from(values: impl IntoIterator<Item = (String, String, Value)>) -> Self {
        let value = |(key, field, value)| {
            let was_seen = false;
            let value = GivenValue {
                field,
                value,
                was_seen,
            };
            (key, value)
        };
        Self {
            place: None,
            values: values.into_iter().map(value).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The folder shows these values now; some of them may have been there before.
    pub(super) fn seen(mut self, folder: &str, instance: &Instance) -> Self {
        self.place = Some(Place {
            folder: folder.to_owned(),
            instance: instance.id.clone(),
        });
        for (key, given) in &mut self.values {
            given.was_seen = instance.values.get(key) == Some(&given.value);
        }
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

    /// What a record's folder was given last.
    pub(crate) async fn read(ledger: &dyn Ledger, record: &str) -> Result<Self, StoreError> {
        match ledger.read(&key(record)).await? {
            Some(EffectState::Finished(value)) => {
                Self::deserialize(value).map_err(|cause| corrupt(&cause))
            }
            _ => Ok(Self::default()),
        }
    }

    /// The value that both sides have shown for this pair, and whether that is certain: if not, the
    /// folder has to show it still. What was given to another folder or instance does not count.
    pub(crate) fn of(
        &self,
        (folder, instance): (&str, Option<&str>),
        key: &str,
        field: &str,
    ) -> Option<(&Value, bool)> {
        let given = self.values.get(key).filter(|it| it.field == field)?;
        let is_certain = match &self.place {
            None => false,
            Some(place) => {
                let known = place.instance.as_deref().zip(instance);
                if place.folder != folder || known.is_some_and(|(one, other)| one != other) {
                    return None;
                }
                given.was_seen
            }
        };
        Some((&given.value, is_certain))
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

    fn given(value: &str) -> Given {
        Given::from([("step".to_owned(), "NextStep".to_owned(), json!(value))])
    }

    fn instance(id: &str, value: &str) -> Instance {
        let values = Map::from_iter([("step".to_owned(), json!(value))]);
        Instance::new(values, None).with_id(Some(id.to_owned()))
    }

    #[test]
    fn only_what_the_folder_has_shown_is_certain_and_only_there() {
        let of = |given: &Given, folder, id| {
            let of = given.of((folder, Some(id)), "step", "NextStep");
            of.map(|(value, is_certain)| (value.clone(), is_certain))
        };
        let call = json!("call");
        // Whoever was about to write it may have died before, or after.
        assert_eq!(of(&given("call"), "f", "i"), Some((call.clone(), false)));
        let written = given("call").seen("f", &instance("i", "call"));
        assert_eq!(of(&written, "f", "i"), Some((call.clone(), true)));
        assert_eq!(
            of(&written, "f", "j"),
            None,
            "the template was applied anew"
        );
        assert_eq!(of(&written, "g", "i"), None);
        assert_eq!(written.of(("f", None), "step", "Other"), None);
        // Something else was there, and stayed.
        let other = given("call").seen("f", &instance("i", "sign"));
        assert_eq!(of(&other, "f", "i"), Some((call, false)));
    }
}
