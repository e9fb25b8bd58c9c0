//! Metadata on the stage.

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::stage::{Cue, Stage};
use crate::{
    foresight::Deed,
    metadata::{Claimed, Instance, Metadata, TemplateField, ValueChange},
    port_error::{PortError, PortErrorKind},
};

#[async_trait]
impl Metadata for Stage {
    async fn read(&self, folder: &str) -> Result<Option<Instance>, PortError> {
        let played = self.state().instances.get(folder).cloned();
        match played {
            Some(instance) => Ok(Some(instance)),
            None if self.is_new(folder) => Ok(None),
            None => self.metadata.read(folder).await,
        }
    }

    async fn set(&self, folder: &str, values: &Map<String, Value>) -> Result<(), PortError> {
        let there = self.read(folder).await?;
        let is_new = there.is_none();
        let mut instance = there.unwrap_or_default();
        let mut written = values.clone();
        written.retain(|key, value| is_new || instance.values.get(key) != Some(value));
        instance.values.extend(values.clone());
        self.write(folder, instance, is_new, written);
        Ok(())
    }

    async fn claim(&self, folder: &str, values: &Map<String, Value>) -> Result<Claimed, PortError> {
        if let Some(instance) = self.read(folder).await? {
            return Ok(Claimed {
                instance,
                is_new: false,
            });
        }
        let instance = Instance::new(values.clone(), None);
        self.write(folder, instance.clone(), true, values.clone());
        Ok(Claimed {
            instance,
            is_new: true,
        })
    }

    async fn change(&self, folder: &str, changes: &[ValueChange]) -> Result<bool, PortError> {
        let Some(mut instance) = self.read(folder).await? else {
            let gone = PortError::new(PortErrorKind::Gone, "change the folder's metadata");
            return Err(gone);
        };
        let is_as_seen = |change: &ValueChange| {
            change.seen.is_none() || instance.values.get(&change.key) == change.seen.as_ref()
        };
        if !changes.iter().all(is_as_seen) {
            return Ok(false);
        }
        let mut written = Map::new();
        for ValueChange { key, seen, to } in changes.iter().filter(|it| it.seen != it.to) {
            match to {
                Some(to) => drop(instance.values.insert(key.clone(), to.clone())),
                None if seen.is_some() => drop(instance.values.remove(key)),
                None => continue,
            }
            written.insert(key.clone(), to.clone().unwrap_or_default());
        }
        self.write(folder, instance, false, written);
        Ok(true)
    }

    async fn ensure_template(&self, fields: &[TemplateField]) -> Result<(), PortError> {
        const DOING: &str = "make sure of the metadata template";
        let (there, exists) = match self.metadata.shape().await {
            Ok(there) => (there, true),
            Err(error) if error.kind() == PortErrorKind::Gone => (Vec::new(), false),
            Err(error) => return Err(error),
        };
        let mut added = Map::new();
        for field in fields {
            let found = there.iter().find(|it| it.key == field.key);
            let refused = |cause: String| {
                Err(PortError::new(PortErrorKind::Refused, DOING).with_cause(cause))
            };
            match found {
                Some(found) if found.kind != field.kind => {
                    return refused(format!(
                        "its field {} is of type {}, and not {}",
                        field.key, found.kind, field.kind
                    ));
                }
                Some(found) => {
                    let mut lacks = field.options.clone();
                    lacks.retain(|option| !found.options.contains(option));
                    if field.kind.has_options() && !lacks.is_empty() {
                        added.insert(field.key.clone(), lacks.into());
                    }
                }
                None if field.kind.has_options() && field.options.is_empty() => {
                    return refused(format!(
                        "it has no field {}, and nobody tells the options of such an {}",
                        field.key, field.kind
                    ));
                }
                None => {
                    self.state().new_keys.insert(field.key.clone());
                    added.insert(field.key.clone(), field.kind.to_string().into());
                }
            }
        }
        let shown = |(key, what): (&String, &Value)| match what.as_str() {
            Some(kind) => format!("{key} ({kind})"),
            None => format!("options of {key}: {what}"),
        };
        let list = added.iter().map(shown).collect::<Vec<_>>().join(", ");
        let deed = match (exists, added.is_empty()) {
            (true, true) => Deed::there(
                "template",
                "the metadata template has all that is wanted of it",
            ),
            (true, false) => Deed::write(
                "extend_template",
                format!("add to the metadata template: {list}"),
            ),
            (false, _) => Deed::write(
                "make_template",
                format!("make the metadata template: {list}"),
            ),
        };
        self.tell(Cue::Deed(deed.about("fields", added)));
        Ok(())
    }

    async fn shape(&self) -> Result<Vec<TemplateField>, PortError> {
        self.metadata.shape().await
    }

    async fn above(&self, folder: &str) -> Result<Vec<String>, PortError> {
        let state = self.folder_state(folder).await?;
        Ok(state.folders.into_iter().map(|it| it.id).collect())
    }

    async fn find(&self, under: &str, key: &str, text: &str) -> Result<Vec<String>, PortError> {
        let is_it =
            |instance: &Instance| instance.values.get(key).and_then(Value::as_str) == Some(text);
        let mut found: Vec<_> = {
            let state = self.state();
            let played = state.instances.iter().filter(|(_, it)| is_it(it));
            played.map(|(folder, _)| folder.clone()).collect()
        };
        // Box cannot be asked for a key that its template does not have.
        if !self.state().new_keys.contains(key) {
            let real = self.metadata.find(under, key, text).await?;
            let state = self.state();
            let as_it_was = real
                .into_iter()
                .filter(|it| !state.instances.contains_key(it));
            found.extend(as_it_was);
        }
        Ok(found)
    }
}

impl Stage {
    fn write(&self, folder: &str, instance: Instance, is_new: bool, written: Map<String, Value>) {
        self.state().instances.insert(folder.to_owned(), instance);
        if written.is_empty() && !is_new {
            return;
        }
        let shown = |(key, value): (&String, &Value)| match value {
            Value::Null => format!("no {key}"),
            Value::String(text) => format!("{key} = {text}"),
            other => format!("{key} = {other}"),
        };
        let list = written.iter().map(shown).collect::<Vec<_>>().join(", ");
        let deed = match is_new {
            true => Deed::write("apply_metadata", format!("apply metadata ({list}) to")),
            false => Deed::write("change_metadata", format!("change metadata ({list}) of")),
        };
        self.tell(Cue::On {
            folder: folder.to_owned(),
            deed: deed.about("values", written),
        });
    }
}
