//! The one folder of a record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Provision,
    levels::{Walk, changed},
    rehearsal::Cue,
};
use crate::{
    action::{StepError, Work},
    crm::Record,
    folders::{Ensured, FolderName, Placed},
    ledger::{EffectKey, EffectState, Ledger},
    metadata::{Claimed, ValueChange},
    once::finish,
    port_error::{PortError, PortErrorKind},
    store_error::{StoreError, StoreErrorKind},
};

/// What a record's folder should be.
pub(super) struct Wanted {
    pub(super) object: String,
    pub(super) record: Record,
    pub(super) parent: String,
    /// Its name before it was made one.
    pub(super) text: String,
    /// The ids that its mapping has, by their keys.
    pub(super) ids: BTreeMap<String, String>,
    /// Names that the layout has for other folders there, in small letters.
    pub(super) reserved: Vec<String>,
}

/// What is remembered of a record's folder: what it was to be when it was last changed. As long as
/// that stays the same, people may do with it as they like.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Known {
    pub(super) folder: String,
    pub(super) parent: String,
    pub(super) text: String,
    pub(super) ids: BTreeMap<String, String>,
    /// The name that came of it, and what had to be changed for that.
    pub(super) name: String,
    pub(super) changes: Vec<String>,
}

impl Known {
    fn is_as(&self, wanted: &Wanted) -> bool {
        self.parent == wanted.parent && self.text == wanted.text && self.ids == wanted.ids
    }
}

/// First part of the ledger's keys.
const KEY: &str = "folder";

pub(super) fn key(record: &str) -> EffectKey {
    EffectKey::new([KEY, record])
}

pub(super) async fn remembered(work: &Work<'_>, record: &str) -> Result<Option<Known>, StepError> {
    Ok(known(work.ledger, record).await?)
}

async fn known(ledger: &dyn Ledger, record: &str) -> Result<Option<Known>, StoreError> {
    match ledger.read(&key(record)).await? {
        Some(EffectState::Finished(known)) => {
            let unreadable =
                |cause| StoreError::new(StoreErrorKind::Corrupt, "read").with_cause(cause);
            Ok(Some(Known::deserialize(known).map_err(unreadable)?))
        }
        _ => Ok(None),
    }
}

/// The folder that was given to a record, as far as anybody remembers.
pub(crate) async fn folder_of(
    ledger: &dyn Ledger,
    record: &str,
) -> Result<Option<String>, StoreError> {
    Ok(known(ledger, record).await?.map(|known| known.folder))
}

/// The ids of all records that were given a folder.
pub(crate) async fn records_with_folders(ledger: &dyn Ledger) -> Result<Vec<String>, StoreError> {
    let folders = ledger.under(&EffectKey::new([KEY])).await?;
    let record = |key: &EffectKey| key.parts().nth(1);
    Ok(folders.iter().filter_map(|it| record(&it.key)).collect())
}

impl Provision {
    /// The names that the folder can have, the best first.
    pub(super) fn names(&self, wanted: &Wanted) -> Vec<FolderName> {
        let plain = self.folders.name(&wanted.text, None);
        let marked = self.folders.name(&wanted.text, Some(&wanted.record.id));
        if wanted.reserved.contains(&plain.name.to_lowercase()) {
            return vec![marked];
        }
        vec![plain, marked]
    }
}

impl Walk<'_> {
    /// The record's folder; where it is not the event's `own` record, one that is there is left as
    /// it is: its own events see to it, in their order.
    pub(super) async fn record_folder(
        &mut self,
        wanted: &Wanted,
        own: bool,
    ) -> Result<String, StepError> {
        let folder = self.any_record_folder(wanted, own).await?;
        self.passes(&folder, &wanted.text, true);
        let key = key(&wanted.record.id);
        self.from_memory.insert(folder.clone(), key);
        Ok(folder)
    }

    async fn any_record_folder(&mut self, wanted: &Wanted, own: bool) -> Result<String, StepError> {
        let id = &wanted.record.id;
        if let Some(known) = remembered(self.work, id).await? {
            if !own {
                return Ok(known.folder);
            }
            match self.work.content.folder(&known.folder).await {
                Ok(_) => return self.converge(known, wanted).await,
                Err(error) if error.kind() == PortErrorKind::Gone => {
                    self.work.ledger.forget(&key(id)).await?;
                    self.notes
                        .push(format!("folder {} was deleted", known.folder));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let known = match self.found(wanted).await? {
            Some(known) => known,
            None => return self.make(wanted).await,
        };
        if own {
            self.converge(known, wanted).await
        } else {
            finish(self.work, &key(id), &known).await?;
            Ok(known.folder)
        }
    }

    async fn make(&mut self, wanted: &Wanted) -> Result<String, StepError> {
        let id = &wanted.record.id;
        for FolderName { name, changes } in self.provision.names(wanted) {
            let ensured = self.ensure(&wanted.parent, &name).await?;
            self.may_write()?;
            let claimed = self.claim(&ensured.folder, wanted).await?;
            if !self
                .provision
                .is_of(self.work, &claimed.instance, &wanted.object, id)
            {
                self.notes.push(format!("{name} is another record's"));
                self.provision.tell(|| Cue::Taken {
                    parent: wanted.parent.clone(),
                    name: name.clone(),
                });
                continue;
            }
            self.alone(wanted, &ensured, &claimed).await?;
            if claimed.is_new {
                let made = if ensured.is_new { "made" } else { "took" };
                if !ensured.is_new {
                    self.adopts(&ensured.folder, "which has the name and is nobody's");
                }
                let changed = changed(&changes);
                self.notes.push(format!("{made} {name}{changed}"));
            }
            let known = Known {
                folder: ensured.folder,
                parent: wanted.parent.clone(),
                text: wanted.text.clone(),
                ids: wanted.ids.clone(),
                name,
                changes,
            };
            finish(self.work, &key(id), &known).await?;
            return Ok(known.folder);
        }
        Err(StepError::Person(format!(
            "no name is left for the folder of {id} in folder {}: each is mapped to another record",
            wanted.parent
        )))
    }

    pub(super) fn adopts(&self, folder: &str, how: &'static str) {
        self.provision.tell(|| Cue::Adopted {
            folder: folder.to_owned(),
            how,
        });
    }

    /// Somebody else may have seen the record under another name just now, and made it a folder by
    /// that. Everybody looks once a folder is claimed and before anything is put into it, so of two
    /// folders at most one comes to be used. The others are taken back: one that we have made while
    /// it is empty, and of one that was there our claim.
    async fn alone(
        &self,
        wanted: &Wanted,
        ensured: &Ensured,
        claimed: &Claimed,
    ) -> Result<(), StepError> {
        let (id, folder) = (&wanted.record.id, &ensured.folder);
        let mapped = self.provision.mapped(self.work, &wanted.object, id).await?;
        if mapped.iter().all(|(other, _)| other == folder) {
            return Ok(());
        }
        self.may_write()?;
        if ensured.is_new {
            self.provision.folders.discard(folder).await?;
        } else if claimed.is_new {
            let ids = wanted.ids.iter().map(|(key, id)| ValueChange {
                key: key.clone(),
                seen: Some(id.clone().into()),
                to: None,
            });
            let taken_off = self
                .provision
                .metadata
                .change(folder, &ids.collect::<Vec<_>>())
                .await;
            match taken_off {
                Err(error) if error.kind() != PortErrorKind::Gone => return Err(error.into()),
                // Somebody who has changed it meanwhile, or deleted it, knows better.
                _ => {}
            }
        }
        Err(PortError::new(PortErrorKind::Busy, "make the folder")
            .with_cause("another worker has made one for the same record at the same time")
            .into())
    }

    /// Brings a folder to where it should be.
    async fn converge(&mut self, mut known: Known, wanted: &Wanted) -> Result<String, StepError> {
        if known.is_as(wanted) {
            self.notes.push("is as it should be".to_owned());
            finish_if_new(self.work, &wanted.record.id, &known).await?;
            return Ok(known.folder);
        }
        let state = self.work.content.folder(&known.folder).await?;
        let above = state.folders.last().map(|above| above.id.clone());
        let mut parent = above.unwrap_or_default();
        let moves = self.provision.follow_parents && known.parent != wanted.parent;
        if moves && parent != wanted.parent {
            parent.clone_from(&wanted.parent);
        }
        let renames = self.provision.follow_names && known.text != wanted.text;
        let mut names = self.provision.names(wanted);
        // In another place a name without a mark may be free.
        let is_ours = moves && names.iter().any(|name| name.name == state.name);
        if !renames && !is_ours {
            let kept = FolderName {
                name: state.name.clone(),
                changes: known.changes.clone(),
            };
            let marked = Some(&*wanted.record.id);
            names = vec![kept, self.provision.folders.name(&state.name, marked)];
        }
        let is_there = state.folders.last().is_some_and(|above| above.id == parent);
        let name = match names.iter().find(|it| is_there && it.name == state.name) {
            Some(name) => name.clone(),
            None => self.place(&known.folder, &parent, names).await?,
        };
        self.map(&known, wanted).await?;
        known = Known {
            folder: known.folder,
            parent: wanted.parent.clone(),
            text: wanted.text.clone(),
            ids: wanted.ids.clone(),
            name: name.name,
            changes: name.changes,
        };
        finish(self.work, &key(&wanted.record.id), &known).await?;
        Ok(known.folder)
    }

    async fn place(
        &mut self,
        folder: &str,
        parent: &str,
        names: Vec<FolderName>,
    ) -> Result<FolderName, StepError> {
        for name in names {
            self.may_write()?;
            let placed = self
                .provision
                .folders
                .place(folder, parent, &name.name)
                .await;
            let placed = match placed {
                Ok(placed) => placed,
                Err(error) => return Err(self.vanished(error, parent).await?),
            };
            match placed {
                Placed::There => {
                    let changed = changed(&name.changes);
                    self.notes
                        .push(format!("now {}{changed} in folder {parent}", name.name));
                    return Ok(name);
                }
                Placed::NameTaken => {}
            }
        }
        Err(StepError::Person(format!(
            "folder {folder} cannot be put into folder {parent}: its names are taken there"
        )))
    }

    /// Lets the mapping name the records that it should.
    async fn map(&self, known: &Known, wanted: &Wanted) -> Result<(), StepError> {
        if known.ids == wanted.ids {
            return Ok(());
        }
        self.may_write()?;
        let metadata = &self.provision.metadata;
        let over = known
            .ids
            .iter()
            .filter(|(key, _)| !wanted.ids.contains_key(*key));
        let over: Vec<_> = over
            .map(|(key, id)| ValueChange {
                key: key.clone(),
                seen: Some(id.clone().into()),
                to: None,
            })
            .collect();
        if !over.is_empty() {
            // Somebody who has changed it meanwhile knows better.
            metadata.change(&known.folder, &over).await?;
        }
        let ids = wanted
            .ids
            .iter()
            .map(|(key, id)| (key.clone(), id.clone().into()));
        Ok(metadata.set(&known.folder, &ids.collect()).await?)
    }
}

async fn finish_if_new(work: &Work<'_>, record: &str, known: &Known) -> Result<(), StepError> {
    if remembered(work, record).await?.as_ref() == Some(known) {
        return Ok(());
    }
    finish(work, &key(record), known).await
}
