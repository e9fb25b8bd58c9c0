//! How a folder becomes a record's: its metadata says so, whoever was first.

use serde_json::{Map, Value};

use super::{Copied, given::Given, levels::Walk, record_folder::Wanted};
use crate::{
    action::StepError,
    metadata::{Claimed, Instance, ValueChange, ValueKind},
    port_error::{PortError, PortErrorKind},
};

impl Walk<'_> {
    pub(super) async fn claim(&self, folder: &str, wanted: &Wanted) -> Result<Claimed, StepError> {
        let ids = wanted
            .ids
            .iter()
            .map(|(key, id)| (key.clone(), id.clone().into()));
        let mut values: Map<String, Value> = ids.collect();
        let copied = self.copied(wanted);
        let gives = !copied.is_empty();
        let (ledger, id, now) = (self.work.ledger, &wanted.record.id, self.work.clock.now());
        let mut given = Given::default();
        if gives {
            let former = Given::read(ledger, id).await?;
            given = former.tries(copied.iter().cloned());
            given.keep(ledger, id, now).await?;
        }
        values.extend(copied.into_iter().map(|(key, _, value)| (key, value)));
        let claimed = match self.provision.metadata.claim(folder, &values).await {
            Ok(claimed) => claimed,
            Err(error) => return Err(self.vanished(error, folder).await?),
        };
        let claimed = match claimed.is_new || !self.is_free(&claimed.instance, wanted) {
            true => claimed,
            false => self.fill_in(folder, claimed.instance, values).await?,
        };
        let instance = &claimed.instance;
        let is_its = self
            .provision
            .is_of(self.work, instance, &wanted.object, id);
        if is_its && gives {
            given.seen(folder, instance).keep(ledger, id, now).await?;
        }
        Ok(claimed)
    }

    /// What the event's own record gives its folder's metadata: the keys, from which fields, and the
    /// values.
    fn copied(&self, wanted: &Wanted) -> Vec<(String, String, Value)> {
        let all = self.provision.fields.iter();
        let own = all.filter(|it| it.object == self.object && wanted.object == self.object);
        let value = |copied: &Copied| {
            let value = self.state.fields.get(&copied.field)?;
            let value = fitting(value, copied.kind)?;
            Some((copied.key.clone(), copied.field.clone(), value))
        };
        own.filter_map(value).collect()
    }

    /// Whether a folder has the template and yet is no record's: an administrator has applied it
    /// with nothing in it, or a cascade has brought what the folder above it has.
    fn is_free(&self, instance: &Instance, wanted: &Wanted) -> bool {
        let holds = |key: &str| filled(instance.values.get(key));
        let own = self.provision.key_of(&wanted.object);
        let is_ours = |(key, id): (&String, &String)| {
            holds(key).is_none_or(|value| {
                let record = self.work.crm.record(value);
                *key != own && record.is_ok_and(|it| it.id == *id)
            })
        };
        let inside = self.provision.layout.inside(&wanted.object);
        wanted.ids.iter().all(is_ours)
            && inside
                .map(|object| self.provision.key_of(object))
                .all(|key| wanted.ids.contains_key(&key) || holds(&key).is_none())
    }

    async fn fill_in(
        &self,
        folder: &str,
        mut instance: Instance,
        values: Map<String, Value>,
    ) -> Result<Claimed, StepError> {
        let lacks = |key: &str| filled(instance.values.get(key)).is_none();
        let missing: Vec<_> = values
            .into_iter()
            .filter(|(key, _)| instance.values.get(key).is_none_or(Value::is_string) && lacks(key))
            .map(|(key, value)| ValueChange {
                seen: instance.values.get(&key).cloned(),
                to: Some(value),
                key,
            })
            .collect();
        self.may_write()?;
        let metadata = &self.provision.metadata;
        match metadata.change(folder, &missing).await {
            Ok(true) => {}
            Ok(false) => {
                return Err(PortError::new(PortErrorKind::Busy, "claim the folder")
                    .with_cause("somebody has changed its metadata at the same time")
                    .into());
            }
            Err(error) => return Err(self.vanished(error, folder).await?),
        }
        for ValueChange { key, to, .. } in missing {
            instance.values.extend(to.map(|value| (key, value)));
        }
        Ok(Claimed {
            instance,
            is_new: true,
        })
    }
}

/// A text that says something.
pub(super) fn filled(value: Option<&Value>) -> Option<&str> {
    let text = value.and_then(Value::as_str).map(str::trim);
    text.filter(|text| !text.is_empty())
}

/// A record's value as metadata of this kind holds it; one that does not fit is left out.
fn fitting(value: &Value, kind: ValueKind) -> Option<Value> {
    match kind {
        ValueKind::String => match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone().into()),
            other => Some(other.to_string().into()),
        },
        ValueKind::Float => value.as_f64().map(Value::from),
        ValueKind::Date => {
            let day = value.as_str()?.get(..10)?;
            Some(format!("{day}T00:00:00.000Z").into())
        }
        ValueKind::Enum => value.as_str().map(Value::from),
        ValueKind::MultiSelect => {
            let chosen = value.as_str()?.split(';');
            Some(chosen.map(Value::from).collect())
        }
    }
}
