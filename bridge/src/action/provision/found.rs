//! A record's folder that is there already, and that nobody remembers.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::{
    LEAD, Provision,
    claim::filled,
    levels::Walk,
    record_folder::{Known, Wanted},
};
use crate::{
    action::{StepError, Work},
    folders::FolderName,
    ledger::{EffectKey, EffectState},
    metadata::Instance,
    port_error::PortErrorKind,
};

impl Walk<'_> {
    /// A folder of the record that is not remembered.
    pub(super) async fn found(&mut self, wanted: &Wanted) -> Result<Option<Known>, StepError> {
        if let Some(known) = self.found_by_package(wanted).await? {
            return Ok(Some(known));
        }
        let id = &wanted.record.id;
        let mut mapped = self.provision.mapped(self.work, &wanted.object, id).await?;
        if mapped.is_empty() {
            return Ok(None);
        }
        if mapped.len() > 1 {
            self.wait_for_others(id).await?;
            let others: Vec<_> = mapped[1..].iter().map(|(folder, _)| &**folder).collect();
            let others = others.join(", ");
            self.notes.push(format!("{id} is also mapped to {others}"));
        }
        self.work.ledger.forget(&settling(id)).await?;
        let (folder, instance) = mapped.swap_remove(0);
        self.notes.push(format!("found folder {folder}"));
        self.adopts(&folder, "which is mapped to it");
        self.as_it_is(folder, &instance, wanted).await.map(Some)
    }

    /// Of several folders of one record, all but one may be taken back in a moment by the workers
    /// that have made them. What is left of a crash stays.
    async fn wait_for_others(&self, id: &str) -> Result<(), StepError> {
        let (key, now) = (settling(id), self.work.clock.now());
        let since = match self.work.ledger.read(&key).await? {
            Some(EffectState::Begun(since)) if since <= now => since,
            _ => {
                self.work.ledger.forget(&key).await?;
                let writer = self.work.hold.writer();
                self.work.ledger.begin(&key, writer, now).await?;
                now
            }
        };
        let until = since.checked_add(self.work.options.settle_after);
        match until.ok().filter(|until| now < *until) {
            None => Ok(()),
            Some(until) => Err(StepError::Wait {
                reason: format!("{id} has several folders for the moment"),
                until,
            }),
        }
    }

    async fn found_by_package(&mut self, wanted: &Wanted) -> Result<Option<Known>, StepError> {
        let Some(package) = &self.provision.package else {
            return Ok(None);
        };
        let Some(folder) = package.folder_of(&wanted.record).await? else {
            return Ok(None);
        };
        match self.work.content.folder(&folder).await {
            Ok(_) => {}
            Err(error) if error.kind() == PortErrorKind::Gone => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        self.may_write()?;
        let claimed = self.claim(&folder, wanted).await?;
        let id = &wanted.record.id;
        if !self
            .provision
            .is_of(self.work, &claimed.instance, &wanted.object, id)
        {
            return Err(StepError::Person(format!(
                "the package shows folder {folder} on {id}, and that is mapped to another record"
            )));
        }
        self.notes
            .push(format!("took the package's folder {folder}"));
        self.adopts(&folder, "which the package shows");
        let mut known = self.as_it_is(folder, &claimed.instance, wanted).await?;
        // Wherever people have put it, the package goes by its id.
        (known.parent, known.text) = (wanted.parent.clone(), wanted.text.clone());
        Ok(Some(known))
    }

    /// What would be remembered of a folder that was found, as far as it tells.
    async fn as_it_is(
        &self,
        folder: String,
        instance: &Instance,
        wanted: &Wanted,
    ) -> Result<Known, StepError> {
        let state = match self.work.content.folder(&folder).await {
            Ok(state) => state,
            Err(error) => return Err(self.vanished(error, &folder).await?),
        };
        let mut ids = BTreeMap::new();
        for key in wanted.ids.keys() {
            if let Some(Value::String(id)) = instance.values.get(key) {
                let id = self
                    .work
                    .crm
                    .record(id)
                    .map_or_else(|_| id.clone(), |it| it.id);
                ids.insert(key.clone(), id);
            }
        }
        // In whatever letters: it may have been made for another record that lost it to this one.
        let own = state.name.to_lowercase();
        let has_the_name = |name: &FolderName| name.name.to_lowercase() == own;
        let names = self.provision.names(wanted);
        let is_wanted = names.iter().any(has_the_name);
        let above = state.folders.last().map(|above| above.id.clone());
        Ok(Known {
            folder,
            // Below the right record still, so people have put it where it is.
            parent: match ids == wanted.ids {
                true => wanted.parent.clone(),
                false => above.unwrap_or_default(),
            },
            text: if is_wanted {
                wanted.text.clone()
            } else {
                String::new()
            },
            ids,
            name: state.name,
            changes: Vec::new(),
        })
    }
}

impl Provision {
    /// Whether a folder with these values is this record's own, and not one inside of it.
    pub(super) fn is_of(
        &self,
        work: &Work<'_>,
        instance: &Instance,
        object: &str,
        id: &str,
    ) -> bool {
        let holds = |key: &str| filled(instance.values.get(key));
        let is_same = |value: &str| work.crm.record(value).is_ok_and(|it| it.id == id);
        let mut others: Vec<_> = self.layout.inside(object).collect();
        if object == LEAD {
            // One that was converted has handed its folder on.
            others = self.layout.objects().filter(|it| *it != LEAD).collect();
        }
        let is_others = others
            .into_iter()
            .any(|other| holds(&self.key_of(other)).is_some());
        holds(&self.key_of(object)).is_some_and(is_same) && !is_others
    }

    /// The folders that are mapped to the record, the oldest first. Those inside another of them do
    /// not count: a cascade gives all folders in a record's folder what that has.
    pub(super) async fn mapped(
        &self,
        work: &Work<'_>,
        object: &str,
        id: &str,
    ) -> Result<Vec<(String, Instance)>, StepError> {
        let found = self
            .metadata
            .find(&self.root, &self.key_of(object), id)
            .await?;
        let mut mapped = Vec::new();
        for folder in found {
            match self.metadata.read(&folder).await {
                Ok(Some(instance)) if self.is_of(work, &instance, object, id) => {
                    mapped.push((folder, instance));
                }
                Ok(_) => {}
                // Just now.
                Err(error) if error.kind() == PortErrorKind::Gone => {}
                Err(error) => return Err(error.into()),
            }
        }
        mapped.sort_by_key(|(folder, _)| (folder.parse::<u64>().ok(), folder.clone()));
        if mapped.len() > 1 {
            self.outermost(work, &mut mapped).await?;
        }
        Ok(mapped)
    }

    async fn outermost(
        &self,
        work: &Work<'_>,
        mapped: &mut Vec<(String, Instance)>,
    ) -> Result<(), StepError> {
        let all: HashSet<_> = mapped.iter().map(|(folder, _)| folder.clone()).collect();
        let mut inside = HashSet::new();
        for folder in &all {
            match work.content.folder(folder).await {
                Ok(state) if state.folders.iter().any(|above| all.contains(&above.id)) => {
                    inside.insert(folder.clone());
                }
                Ok(_) => {}
                Err(error) if error.kind() == PortErrorKind::Gone => {
                    inside.insert(folder.clone());
                }
                Err(error) => return Err(error.into()),
            }
        }
        mapped.retain(|(folder, _)| !inside.contains(folder));
        Ok(())
    }
}

fn settling(record: &str) -> EffectKey {
    EffectKey::new(["folders", record])
}
