//! Which changes of fields are anything to the rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;
use tracing::warn;

use crate::{port_error::in_one_line, record_event::Change, records::Records, rules::Rule};

/// A field can become a formula's, though hardly ever.
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);
/// Nobody tells which fields there are: that is not asked for again at every change.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// What the rules go by; everything, where there are none.
#[derive(Clone, Debug, Default)]
pub(super) struct Concern {
    rules: Vec<Rule>,
    plain: Arc<Mutex<BTreeMap<String, Plain>>>,
}

/// The fields of a kind of record whose changes the bus tells: those that somebody writes.
#[derive(Debug)]
struct Plain {
    fields: Option<Arc<BTreeSet<String>>>,
    until: Instant,
}

impl Concern {
    pub(super) fn of(rules: Vec<Rule>) -> Self {
        Self {
            rules,
            plain: Arc::default(),
        }
    }

    /// Whether a change of these fields of a record is something to a rule, or may be.
    pub(super) async fn is_touched(
        &self,
        records: &dyn Records,
        object: &str,
        changed: &[String],
    ) -> bool {
        let Some(wanted) = self.wanted(object) else {
            return true;
        };
        let is_wanted = |field: &String| field.contains('.') || wanted.contains(&lower(field));
        if changed.iter().any(is_wanted) {
            return true;
        }
        if wanted.is_empty() {
            return false;
        }
        match self.plain(records, object).await {
            Some(plain) => !wanted.is_subset(&plain),
            None => true,
        }
    }

    /// The fields that rules go by; `None` where one goes by everything.
    fn wanted(&self, object: &str) -> Option<BTreeSet<String>> {
        let trigger = format!("{object}.{}", Change::Updated);
        let mut wanted = BTreeSet::new();
        if self.rules.is_empty() {
            return None;
        }
        for rule in self.rules.iter().filter(|rule| rule.wants(&trigger)) {
            for action in rule.actions() {
                let fields = action.goes_by(object)?;
                wanted.extend(fields.iter().map(|field| lower(&own(field))));
            }
        }
        Some(wanted)
    }

    async fn plain(&self, records: &dyn Records, object: &str) -> Option<Arc<BTreeSet<String>>> {
        let now = Instant::now();
        if let Some(known) = self.lock().get(object).filter(|known| now < known.until) {
            return known.fields.clone();
        }
        let (fields, keep) = match records.shape(object).await {
            Ok(shape) => {
                let plain = shape.iter().filter(|field| field.is_writable);
                let plain: BTreeSet<_> = plain.map(|field| lower(&field.name)).collect();
                (Some(Arc::new(plain)), REMEMBERED_FOR)
            }
            Err(error) => {
                let error = in_one_line(&error);
                warn!(object, error, "every change counts: its fields are unknown");
                (None, FORGIVEN_AFTER)
            }
        };
        let plain = Plain {
            fields: fields.clone(),
            until: now + keep,
        };
        self.lock().insert(object.to_owned(), plain);
        fields
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Plain>> {
        let poisoned = |poisoned: std::sync::PoisonError<_>| poisoned.into_inner();
        self.plain.lock().unwrap_or_else(poisoned)
    }
}

/// The record's own field by which it reaches this one: with another Account its name is another.
fn own(field: &str) -> String {
    match field.split_once('.') {
        None => field.to_owned(),
        Some((relation, _)) => match relation.strip_suffix("__r") {
            Some(custom) => format!("{custom}__c"),
            None => format!("{relation}Id"),
        },
    }
}

fn lower(field: &str) -> String {
    field.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_another_record_changes_with_the_reference_to_it() {
        for (field, its) in [
            ("Name", "Name"),
            ("Account.Name", "AccountId"),
            ("Account.Owner.Email", "AccountId"),
            ("Region__r.Name", "Region__c"),
            ("Amount__c", "Amount__c"),
        ] {
            assert_eq!(own(field), its);
        }
    }
}
