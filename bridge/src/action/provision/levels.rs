//! From the root down to a record's folder, and from there to what is fixed below it.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Provision,
    layout::{Kind, Level, reference},
    record_folder::Wanted,
    rehearsal::Cue,
};
use crate::{
    action::{StepError, Work},
    crm::Record,
    folders::{Ensured, FolderName},
    ledger::{EffectKey, EffectState},
    once::finish,
    port_error::{PortError, PortErrorKind},
    record_event::Change,
    records::RecordState,
};

/// One record's way to its folders.
pub(super) struct Walk<'a> {
    pub(super) provision: &'a Provision,
    pub(super) work: &'a Work<'a>,
    pub(super) record: &'a Record,
    pub(super) object: &'a str,
    pub(super) state: &'a RecordState,
    /// What was done, for people.
    pub(super) notes: Vec<String>,
    /// The folders that are remembered, by what remembers them.
    pub(super) from_memory: HashMap<String, EffectKey>,
}

/// A folder that belongs to no record.
#[derive(Debug, Deserialize, Serialize)]
struct Shared {
    folder: String,
    /// What had to be changed of the text to make a name of it.
    #[serde(default)]
    changes: Vec<String>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        provision: &'a Provision,
        work: &'a Work<'a>,
        record: &'a Record,
        object: &'a str,
        state: &'a RecordState,
    ) -> Self {
        Self {
            provision,
            work,
            record,
            object,
            state,
            notes: Vec::new(),
            from_memory: HashMap::new(),
        }
    }

    pub(super) fn may_write(&self) -> Result<(), StepError> {
        if self.work.hold.is_good() {
            Ok(())
        } else {
            Err(StepError::LostHold)
        }
    }

    /// The record's own folder, made or brought to where it should be.
    pub(super) async fn own_folder(&mut self, kind: &Kind) -> Result<String, StepError> {
        let mut parent = self.provision.root.clone();
        for level in &kind.levels {
            parent = self.level(parent, level).await?;
        }
        Ok(parent)
    }

    /// The fixed folders below it.
    pub(super) async fn below(&mut self, folder: &str, kind: &Kind) -> Result<(), StepError> {
        for path in &kind.below {
            let mut parent = folder.to_owned();
            for name in path {
                parent = self.shared(parent, name).await?;
            }
        }
        Ok(())
    }

    async fn level(&mut self, parent: String, level: &Level) -> Result<String, StepError> {
        let text = level.text(self.object, |field| shown(self.state, field));
        let Some(of) = level.of.as_deref().filter(|of| *of != self.object) else {
            if !level.is_record {
                return self.shared(parent, &text).await;
            }
            let record = self.record.clone();
            let wanted = self.wanted(self.object, record, parent, text)?;
            return self.record_folder(&wanted, true).await;
        };
        match self.state.text(&reference(of)) {
            Some(id) if level.is_record => {
                let mut record = self.work.crm.record(id)?;
                record.object = Some(of.to_owned());
                let wanted = self.wanted(of, record, parent, text)?;
                self.record_folder(&wanted, false).await
            }
            Some(_) => self.shared(parent, &text).await,
            // It belongs to no such record, yet.
            None if level.is_record => self.shared(parent, &nobodys(of)).await,
            None => Ok(parent),
        }
    }

    fn wanted(
        &self,
        object: &str,
        record: Record,
        parent: String,
        text: String,
    ) -> Result<Wanted, StepError> {
        let mut ids = BTreeMap::new();
        let kind = self.provision.layout.kind(object);
        for above in kind.into_iter().flat_map(Kind::above) {
            if let Some(id) = self.state.text(&reference(above)) {
                let id = self.work.crm.record(id)?.id;
                ids.insert(self.provision.key_of(above), id);
            }
        }
        ids.insert(self.provision.key_of(object), record.id.clone());
        let mut reserved = kind.map(|kind| kind.reserved.clone()).unwrap_or_default();
        reserved.push(nobodys(object).to_lowercase());
        Ok(Wanted {
            object: object.to_owned(),
            record,
            parent,
            text,
            ids,
            reserved,
        })
    }

    /// A folder that nobody owns, whose name is `text`.
    async fn shared(&mut self, parent: String, text: &str) -> Result<String, StepError> {
        let folder = self.any_shared(parent, text).await?;
        self.passes(&folder, text, false);
        Ok(folder)
    }

    pub(super) fn passes(&self, folder: &str, text: &str, is_records: bool) {
        self.provision.tell(|| Cue::Folder {
            folder: folder.to_owned(),
            is_records,
            changes: self.provision.folders.name(text, None).changes,
        });
    }

    async fn any_shared(&mut self, parent: String, text: &str) -> Result<String, StepError> {
        let FolderName { name, changes } = self.provision.folders.name(text, None);
        let key = EffectKey::new(["level", &parent, &name.to_lowercase()]);
        if let Some(EffectState::Finished(known)) = self.work.ledger.read(&key).await?
            && let Ok(Shared { folder, .. }) = Shared::deserialize(known)
            && self.is_there(&folder).await?
        {
            self.from_memory.insert(folder.clone(), key);
            return Ok(folder);
        }
        let Ensured { folder, is_new } = self.ensure(&parent, &name).await?;
        let shared = Shared { folder, changes };
        finish(self.work, &key, &shared).await?;
        self.from_memory.insert(shared.folder.clone(), key);
        if is_new {
            let changed = changed(&shared.changes);
            self.notes.push(format!("made {name}{changed}"));
        }
        Ok(shared.folder)
    }

    /// Looks only where nobody tells what has changed, as when somebody asks by a command: a call for
    /// each folder is too much for each change of each record.
    async fn is_there(&self, folder: &str) -> Result<bool, StepError> {
        let change = self.work.situation.record().map(|it| it.change);
        if change != Some(Change::Changed) {
            return Ok(true);
        }
        match self.work.content.folder(folder).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == PortErrorKind::Gone => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn ensure(&mut self, parent: &str, name: &str) -> Result<Ensured, StepError> {
        self.may_write()?;
        match self.provision.folders.ensure(parent, name).await {
            Ok(ensured) => Ok(ensured),
            Err(error) => Err(self.vanished(error, parent).await?),
        }
    }

    /// What to make of a failure on a folder that was there a moment ago: somebody has deleted it,
    /// or another worker has taken it back. Whatever remembers it forgets it, and the next attempt
    /// begins from what is there.
    pub(super) async fn vanished(
        &self,
        error: PortError,
        folder: &str,
    ) -> Result<StepError, StepError> {
        if error.kind() != PortErrorKind::Gone || folder == self.provision.root {
            return Ok(error.into());
        }
        if let Some(key) = self.from_memory.get(folder) {
            self.work.ledger.forget(key).await?;
        }
        let gone = format!("folder {folder} was deleted in the meantime");
        Ok(PortError::new(PortErrorKind::Busy, error.doing())
            .with_cause(gone)
            .into())
    }
}

/// What had to be changed for a name, behind it.
pub(super) fn changed(changes: &[String]) -> String {
    match changes.is_empty() {
        true => String::new(),
        false => format!(" ({})", changes.join(", ")),
    }
}

/// Where records lie that belong to no record of this kind.
pub(super) fn nobodys(object: &str) -> String {
    format!("No {}", object.trim_end_matches("__c").replace('_', " "))
}

pub(super) fn shown(state: &RecordState, field: &str) -> String {
    match state.fields.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
