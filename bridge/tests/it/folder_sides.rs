//! Folders and records in memory, behind the ports alone, with answers that can be lost.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bridge::{
    ContentSource, Folders, Metadata, PackageLinks, PortError, PortErrorKind, Records,
    content::{Content, FileState, FileVersion, FolderRef, FolderState, Mapping},
    crm::Record,
    folders::{Ensured, FolderName, Invitation, Invited, Invitee, Placed},
    metadata::{Claimed, Instance, TemplateField, ValueChange},
    records::{Changed, Contact, FieldShape, RecordState},
};
use jiff::Timestamp;
use serde_json::{Map, Value};

#[derive(Clone, Debug, Default)]
pub(crate) struct Folder {
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) mapping: Option<Map<String, Value>>,
    /// By collaboration: who, as what.
    pub(crate) people: BTreeMap<String, (String, String)>,
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) folders: BTreeMap<u64, Folder>,
    pub(crate) records: BTreeMap<String, Map<String, Value>>,
    /// What the package shows.
    pub(crate) shown: BTreeMap<String, String>,
    pub(crate) writes: Vec<String>,
    made: u64,
    random: Option<fastrand::Rng>,
    pace: Option<fastrand::Rng>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct FolderSides(Arc<Mutex<World>>);

impl FolderSides {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Lets a third of the writes fail: half of them before they have an effect, half after.
    pub(crate) fn storm(&self, seed: u64) {
        self.world().random = Some(fastrand::Rng::with_seed(seed));
    }

    /// Lets each call take a while of its own.
    pub(crate) fn dawdle(&self, seed: u64) {
        self.world().pace = Some(fastrand::Rng::with_seed(seed));
    }

    async fn pass(&self) {
        let turns = self.world().pace.as_mut().map_or(1, |pace| pace.u8(0..12));
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn calm(&self) {
        self.world().random = None;
    }

    pub(crate) fn record(&self, id: &str, fields: Value) {
        let Value::Object(fields) = fields else {
            panic!("{fields}")
        };
        let mut world = self.world();
        world
            .records
            .entry(id.to_owned())
            .or_default()
            .extend(fields);
    }

    pub(crate) fn folder(&self, parent: &str, name: &str) -> String {
        let mut world = self.world();
        world.folder(parent, name)
    }

    /// The paths of all folders, each as the names from the root down.
    pub(crate) fn paths(&self) -> Vec<String> {
        let world = self.world();
        let mut paths: Vec<_> = world.folders.keys().map(|id| world.path(*id)).collect();
        paths.sort();
        paths
    }

    pub(crate) fn path_of(&self, key: &str, id: &str) -> Vec<String> {
        let world = self.world();
        let has = |folder: &Folder| {
            folder.mapping.as_ref().and_then(|it| it.get(key)) == Some(&id.into())
        };
        let of = world.folders.iter().filter(|(_, folder)| has(folder));
        of.map(|(id, _)| world.path(*id)).collect()
    }

    async fn write<T>(
        &self,
        what: &'static str,
        effect: impl FnOnce(&mut World) -> Result<T, PortError>,
    ) -> Result<T, PortError> {
        // Others have their turn between any two writes.
        self.pass().await;
        let mut world = self.world();
        let luck = world.random.as_mut().map_or(9, |random| random.u8(0..6));
        if luck == 0 {
            return Err(PortError::new(PortErrorKind::Busy, what));
        }
        let result = effect(&mut world)?;
        world.writes.push(what.to_owned());
        match luck {
            1 => Err(PortError::new(PortErrorKind::Unknown, what)),
            _ => Ok(result),
        }
    }
}

impl World {
    fn folder(&mut self, parent: &str, name: &str) -> String {
        self.made += 1;
        let folder = Folder {
            parent: parent.to_owned(),
            name: name.to_owned(),
            ..Folder::default()
        };
        self.folders.insert(self.made, folder);
        self.made.to_string()
    }

    fn path(&self, id: u64) -> String {
        let folder = &self.folders[&id];
        match folder.parent.parse().ok().filter(|parent| *parent > 0) {
            Some(parent) => format!("{}/{}", self.path(parent), folder.name),
            None => format!("/{}", folder.name),
        }
    }

    pub(crate) fn get(&mut self, folder: &str) -> Result<&mut Folder, PortError> {
        let id = folder.parse::<u64>().ok();
        let found = id.and_then(|id| self.folders.get_mut(&id));
        found.ok_or_else(|| PortError::new(PortErrorKind::Gone, "folder"))
    }

    fn named(&self, parent: &str, name: &str) -> Option<u64> {
        let is_it = |folder: &Folder| {
            folder.parent == parent && folder.name.to_lowercase() == name.to_lowercase()
        };
        let mut folders = self.folders.iter();
        folders.find(|(_, folder)| is_it(folder)).map(|(id, _)| *id)
    }
}

#[async_trait]
impl Folders for FolderSides {
    fn name(&self, text: &str, mark: Option<&str>) -> FolderName {
        let name = text.replace('/', "_");
        let changed = name != text;
        FolderName {
            name: mark.map_or(name.clone(), |mark| format!("{name} ({mark})")),
            changes: changed
                .then(|| "slashes replaced".to_owned())
                .into_iter()
                .collect(),
        }
    }

    async fn ensure(&self, parent: &str, name: &str) -> Result<Ensured, PortError> {
        self.write("ensure", |world| {
            if parent != "0" {
                world.get(parent)?;
            }
            Ok(match world.named(parent, name) {
                Some(folder) => Ensured {
                    folder: folder.to_string(),
                    is_new: false,
                },
                None => Ensured {
                    folder: world.folder(parent, name),
                    is_new: true,
                },
            })
        })
        .await
    }

    async fn place(&self, folder: &str, parent: &str, name: &str) -> Result<Placed, PortError> {
        self.write("place", |world| {
            let id: u64 = folder.parse().unwrap();
            if world.named(parent, name).is_some_and(|other| other != id) {
                return Ok(Placed::NameTaken);
            }
            let placed = world.get(folder)?;
            (placed.parent, placed.name) = (parent.to_owned(), name.to_owned());
            Ok(Placed::There)
        })
        .await
    }

    async fn discard(&self, folder: &str) -> Result<bool, PortError> {
        self.write("discard", |world| {
            let is_empty = world.folders.values().all(|it| it.parent != folder);
            if is_empty {
                world.folders.remove(&folder.parse().unwrap());
            }
            Ok(is_empty)
        })
        .await
    }

    async fn invite(&self, folder: &str, invitation: &Invitation) -> Result<Invited, PortError> {
        let who = match &invitation.invitee {
            Invitee::Login(id) | Invitee::User(id) | Invitee::Group(id) => id.clone(),
        };
        self.write("invite", |world| {
            if who.ends_with("@forbidden.example") {
                return Err(PortError::new(PortErrorKind::Refused, "invite"));
            }
            world.made += 1;
            let id = world.made.to_string();
            let people = &mut world.get(folder)?.people;
            if let Some((id, (_, role))) = people.iter_mut().find(|(_, (it, _))| *it == who) {
                if invitation.instead_of.as_ref() == Some(role) {
                    role.clone_from(&invitation.role);
                }
                return Ok(Invited {
                    collaboration: Some(id.clone()),
                    role: Some(role.clone()),
                    is_new: false,
                });
            }
            people.insert(id.clone(), (who, invitation.role.clone()));
            Ok(Invited {
                collaboration: Some(id),
                role: Some(invitation.role.clone()),
                is_new: true,
            })
        })
        .await
    }

    async fn end_collaboration(&self, collaboration: &str) -> Result<(), PortError> {
        self.write("end", |world| {
            for folder in world.folders.values_mut() {
                folder.people.remove(collaboration);
            }
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl Metadata for FolderSides {
    async fn read(&self, folder: &str) -> Result<Option<Instance>, PortError> {
        let values = self.world().get(folder)?.mapping.clone();
        Ok(values.map(|values| Instance::new(values, None)))
    }

    async fn set(&self, folder: &str, values: &Map<String, Value>) -> Result<(), PortError> {
        self.write("set", |world| {
            let mapping = world.get(folder)?.mapping.get_or_insert_default();
            mapping.extend(values.clone());
            Ok(())
        })
        .await
    }

    async fn shape(&self) -> Result<Vec<TemplateField>, PortError> {
        Err(PortError::new(PortErrorKind::Refused, "shape"))
    }

    async fn claim(&self, folder: &str, values: &Map<String, Value>) -> Result<Claimed, PortError> {
        let claimed = self
            .write("claim", |world| {
                let mapping = &mut world.get(folder)?.mapping;
                let is_new = mapping.is_none();
                let values = mapping.get_or_insert_with(|| values.clone());
                let instance = Instance::new(values.clone(), None);
                Ok(Claimed { instance, is_new })
            })
            .await;
        match claimed {
            // The port's promise: it looks itself.
            Err(error) if error.kind() == PortErrorKind::Unknown => {
                let instance = Metadata::read(self, folder).await?.unwrap();
                Ok(Claimed {
                    instance,
                    is_new: false,
                })
            }
            claimed => claimed,
        }
    }

    async fn change(&self, folder: &str, changes: &[ValueChange]) -> Result<bool, PortError> {
        self.write("change", |world| {
            let mapping = world.get(folder)?.mapping.get_or_insert_default();
            let is_as_seen =
                |change: &ValueChange| mapping.get(&change.key) == change.seen.as_ref();
            if !changes.iter().all(is_as_seen) {
                return Ok(false);
            }
            for ValueChange { key, to, .. } in changes {
                match to {
                    Some(to) => mapping.insert(key.clone(), to.clone()),
                    None => mapping.remove(key),
                };
            }
            Ok(true)
        })
        .await
    }

    async fn ensure_template(&self, _: &[TemplateField]) -> Result<(), PortError> {
        Ok(())
    }

    async fn find(&self, _: &str, key: &str, text: &str) -> Result<Vec<String>, PortError> {
        let world = self.world();
        let has = |folder: &Folder| {
            folder.mapping.as_ref().and_then(|it| it.get(key)) == Some(&text.into())
        };
        let found = world.folders.iter().filter(|(_, folder)| has(folder));
        Ok(found.map(|(id, _)| id.to_string()).collect())
    }
}

#[async_trait]
impl Records for FolderSides {
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
        Ok(RecordState::new(fields.iter().map(value).collect(), None))
    }

    async fn write(
        &self,
        record: &Record,
        fields: &Map<String, Value>,
        _: Option<Timestamp>,
    ) -> Result<bool, PortError> {
        self.write("record", |world| {
            world
                .records
                .entry(record.id.clone())
                .or_default()
                .extend(fields.clone());
            Ok(true)
        })
        .await
    }

    async fn shape(&self, _: &str) -> Result<Vec<FieldShape>, PortError> {
        Ok(Vec::new())
    }

    async fn contacts(&self, _: &str, _: Option<&Record>) -> Result<Vec<Contact>, PortError> {
        Ok(Vec::new())
    }

    async fn changed(&self, _: &str, since: Timestamp) -> Result<Changed, PortError> {
        Ok(Changed {
            records: Vec::new(),
            deleted: Vec::new(),
            covered_until: since,
        })
    }
}

#[async_trait]
impl PackageLinks for FolderSides {
    async fn folder_of(&self, record: &Record) -> Result<Option<String>, PortError> {
        Ok(self.world().shown.get(&record.id).cloned())
    }

    async fn show(&self, record: &Record, folder: &str) -> Result<bool, PortError> {
        self.write("show", |world| {
            world.shown.insert(record.id.clone(), folder.to_owned());
            Ok(true)
        })
        .await
    }
}

#[async_trait]
impl ContentSource for FolderSides {
    async fn file(&self, _: &str) -> Result<FileState, PortError> {
        Err(PortError::new(PortErrorKind::Gone, "file"))
    }

    async fn earlier_versions(&self, _: &str) -> Result<Vec<FileVersion>, PortError> {
        Ok(Vec::new())
    }

    async fn open(&self, _: &str, _: &FileVersion) -> Result<Content, PortError> {
        Err(PortError::new(PortErrorKind::NoContent, "open"))
    }

    async fn folder(&self, folder: &str) -> Result<FolderState, PortError> {
        let mut world = self.world();
        let own = world.get(folder)?.clone();
        let (mut folders, mut above) = (Vec::new(), own.parent);
        while above != "0" {
            let it = world.get(&above)?.clone();
            folders.insert(
                0,
                FolderRef {
                    id: above,
                    name: it.name,
                },
            );
            above = it.parent;
        }
        folders.insert(
            0,
            FolderRef {
                id: "0".to_owned(),
                name: "All Files".to_owned(),
            },
        );
        Ok(FolderState {
            id: folder.to_owned(),
            name: own.name,
            folders,
        })
    }

    async fn mapping(&self, _: &str) -> Result<Option<Mapping>, PortError> {
        Ok(None)
    }
}
