//! What the org notes of each change, for the objects that were selected.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use crate::testing::schema::Name;
use crate::testing::store::{Actor, Values};
use crate::testing::values::time_of;

/// Taken back with the changes themselves where a transaction is.
#[derive(Clone, Debug, Default)]
pub(in crate::testing) struct Capture {
    selected: BTreeSet<Name>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
pub(in crate::testing) struct Change {
    pub(super) object: Name,
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) before: Values,
    pub(super) after: Values,
    pub(super) actor: Actor,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::testing) enum Kind {
    Create,
    Update,
    Delete,
    Undelete,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Undelete => "UNDELETE",
        }
    }
}

impl Capture {
    pub(super) fn select(&mut self, objects: BTreeSet<Name>) {
        self.selected = objects;
    }

    pub(in crate::testing) fn note(
        &mut self,
        kind: Kind,
        (object, id): (&Name, &str),
        (before, after): (Option<&Values>, &Values),
        actor: &Actor,
    ) {
        if self.selected.contains(object) {
            self.pending.push(Change {
                object: object.clone(),
                id: id.to_owned(),
                kind,
                before: before.cloned().unwrap_or_default(),
                after: after.clone(),
                actor: actor.clone(),
            });
        }
    }

    pub(super) fn take(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.pending)
    }
}

impl Change {
    /// The fields that an update changed, and the values that the event has.
    pub(super) fn told(&self) -> (Vec<String>, Values) {
        match self.kind {
            Kind::Create | Kind::Undelete => (Vec::new(), filled(&self.after)),
            Kind::Delete => (Vec::new(), Values::new()),
            Kind::Update => {
                let is_told = |name: &str, value: &Value| {
                    name == "LastModifiedDate" || self.before.get(name) != Some(value)
                };
                let changed = self
                    .after
                    .iter()
                    .filter(|(name, value)| is_told(name, value));
                let values: Values = changed
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect();
                (values.keys().cloned().collect(), values)
            }
        }
    }

    /// Whether equal changes of other records can share its event.
    pub(super) fn may_merge(&self) -> bool {
        self.kind != Kind::Create
    }

    /// A record that was set to another time by a person was changed then.
    pub(super) fn committed_at(&self) -> Timestamp {
        let stamp = self.after.get("SystemModstamp").and_then(time_of);
        match stamp {
            Some(stamp) if stamp.as_second() != self.actor.now.as_second() => stamp,
            _ => self.actor.now,
        }
    }
}

fn filled(values: &Values) -> Values {
    let filled = values.iter().filter(|(_, value)| !value.is_null());
    filled
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
