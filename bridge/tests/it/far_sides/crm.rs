//! The side with the records.

use async_trait::async_trait;
use bridge::{
    Crm, PackageLinks, PortError, PortErrorKind, Records,
    content::Content,
    crm::{Activity, Deal, NewFile, Origin, Place, Record, Stage, StoredVersion},
    records::{Changed, Contact, FieldShape, Nearness, RecordState, RecordTimes},
};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use md5::{Digest, Md5};
use serde_json::{Map, Value};

use super::{FarSides, hex};

#[async_trait]
impl Crm for FarSides {
    fn record(&self, text: &str) -> Result<Record, PortError> {
        Ok(Record {
            id: text.to_owned(),
            object: match text.get(..3) {
                Some("006") => Some("Opportunity".to_owned()),
                Some("001") => Some("Account".to_owned()),
                _ => None,
            },
        })
    }

    async fn upload(&self, file: &NewFile, content: Content) -> Result<String, PortError> {
        let bytes: Vec<_> = content.bytes.try_collect().await?;
        let bytes = bytes.concat();
        let file = file.clone();
        self.write("upload", move |world| {
            if world.room.is_some_and(|room| bytes.len() as u64 > room) {
                return Err(PortError::new(PortErrorKind::Full, "upload"));
            }
            let number = world.stored.len() + 1;
            let document = match &file.place {
                Place::New { record } => {
                    let document = format!("doc{number}");
                    world.links.push((document.clone(), record.id.clone()));
                    document
                }
                Place::VersionOf { document } if world.deleted.contains(document) => {
                    return Err(PortError::new(PortErrorKind::Gone, "upload"));
                }
                Place::VersionOf { document } => document.clone(),
            };
            world.stored.push(StoredVersion {
                version: format!("ver{number}"),
                document,
                size: Some(bytes.len() as u64),
                md5: Some(hex(&Md5::digest(&bytes))),
                origin: Some(file.origin.clone()),
            });
            Ok(format!("ver{number}"))
        })
        .await
    }

    async fn stored(&self, version: &str) -> Result<StoredVersion, PortError> {
        let world = self.world();
        let is_it = |stored: &&StoredVersion| {
            stored.version == version && !world.deleted.contains(&stored.document)
        };
        let stored = world.stored.iter().find(is_it);
        stored
            .cloned()
            .ok_or_else(|| PortError::new(PortErrorKind::Gone, "stored"))
    }

    async fn find(
        &self,
        _: &Origin,
        record: &Record,
        document: Option<&str>,
    ) -> Result<Vec<StoredVersion>, PortError> {
        let world = self.world();
        let shown = |it: &&StoredVersion| {
            !world.deleted.contains(&it.document)
                && (document == Some(it.document.as_str())
                    || world
                        .links
                        .contains(&(it.document.clone(), record.id.clone())))
        };
        Ok(world.stored.iter().filter(shown).cloned().collect())
    }

    async fn link(&self, document: &str, record: &Record) -> Result<(), PortError> {
        let link = (document.to_owned(), record.id.clone());
        self.write("link", move |world| {
            if world.deleted.contains(&link.0) {
                return Err(PortError::new(PortErrorKind::Gone, "link"));
            }
            if !world.links.contains(&link) {
                world.links.push(link);
            }
            Ok(())
        })
        .await
    }

    async fn log_activity(&self, activity: &Activity) -> Result<String, PortError> {
        let activity = activity.clone();
        self.write("task", move |world| {
            world.tasks.push(activity);
            Ok(format!("task{}", world.tasks.len()))
        })
        .await
    }

    async fn find_activity(&self, activity: &Activity) -> Result<Option<String>, PortError> {
        let world = self.world();
        // As Salesforce finds it: by what can be filtered by, and then by its mark.
        let is_it = |task: &Activity| {
            let filtered = |it: &Activity| (it.record.clone(), it.subject.clone(), it.date);
            filtered(task) == filtered(activity) && task.key == activity.key
        };
        let found = world.tasks.iter().position(is_it);
        Ok(found.map(|position| format!("task{}", position + 1)))
    }

    async fn deal(&self, _: &Record) -> Result<Deal, PortError> {
        let stage = |(name, is_closed): (&str, bool)| Stage {
            name: name.into(),
            is_closed,
        };
        let current = self.world().stage.clone();
        Ok(Deal {
            is_closed: current == "Won",
            stage: current,
            changed_at: None,
            stages: [("New", false), ("Review", false), ("Won", true)]
                .map(stage)
                .into(),
        })
    }

    async fn set_stage(&self, _: &Record, stage: &str, _: &Deal) -> Result<bool, PortError> {
        let stage = stage.to_owned();
        self.write("stage", move |world| {
            world.stage = stage;
            Ok(true)
        })
        .await
    }
}

#[async_trait]
impl Records for FarSides {
    async fn read(&self, record: &Record, fields: &[&str]) -> Result<RecordState, PortError> {
        self.pass().await;
        let world = self.world();
        let gone = || PortError::new(PortErrorKind::Gone, "record");
        let own = world.records.get(&record.id).ok_or_else(gone)?;
        let value = |field: &&str| {
            let related = field.split_once('.').and_then(|(of, field)| {
                let id = own.get(&format!("{of}Id"))?.as_str()?;
                world.records.get(id)?.get(field)
            });
            let value = own.get(*field).or(related).cloned().unwrap_or_default();
            ((*field).to_owned(), value)
        };
        let changed_at = world.changed_at.get(&record.id).copied();
        Ok(RecordState::new(
            fields.iter().map(value).collect(),
            changed_at,
        ))
    }

    async fn write(
        &self,
        record: &Record,
        fields: &Map<String, Value>,
        seen: Option<Timestamp>,
    ) -> Result<bool, PortError> {
        self.write_now("record", |world| {
            let changed_at = world.changed_at.get(&record.id).copied();
            if seen.is_some() && seen < changed_at {
                return Ok(false);
            }
            world.change(&record.id, fields.clone());
            Ok(true)
        })
        .await
    }

    async fn shape(&self, _: &str) -> Result<Vec<FieldShape>, PortError> {
        Ok(self.world().fields.clone())
    }

    async fn contacts(&self, email: &str, _: Option<&Record>) -> Result<Vec<Contact>, PortError> {
        let world = self.world();
        let with = world
            .contacts
            .iter()
            .filter(|(address, ..)| *address == email);
        let contact = |(_, id, nearness): &(&str, &str, Nearness)| Contact {
            record: Record {
                id: (*id).to_owned(),
                object: Some("Contact".to_owned()),
            },
            name: None,
            nearness: *nearness,
        };
        Ok(with.map(contact).collect())
    }

    async fn changed(&self, _: &str, since: Timestamp) -> Result<Changed, PortError> {
        Ok(Changed {
            records: Vec::new(),
            deleted: Vec::new(),
            covered_until: since,
        })
    }

    async fn times(&self, _: &Record) -> Result<Option<RecordTimes>, PortError> {
        Ok(None)
    }
}

#[async_trait]
impl PackageLinks for FarSides {
    async fn folder_of(&self, record: &Record) -> Result<Option<String>, PortError> {
        Ok(self.world().shown.get(&record.id).cloned())
    }

    async fn show(
        &self,
        record: &Record,
        folder: &str,
        instead_of: Option<&str>,
    ) -> Result<bool, PortError> {
        self.write_now("show", |world| {
            assert_eq!(world.shown.get(&record.id).map(String::as_str), instead_of);
            world.shown.insert(record.id.clone(), folder.to_owned());
            Ok(true)
        })
        .await
    }
}
