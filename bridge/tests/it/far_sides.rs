//! Both far sides in memory, behind the ports alone, with answers that can be lost.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bridge::{
    ContentSource, Crm, PortError, PortErrorKind,
    content::{Content, FileState, FileVersion, FolderRef, FolderState, Mapping},
    crm::{Activity, Deal, NewFile, Origin, Place, Record, Stage, StoredVersion},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use md5::{Digest, Md5};
use serde_json::{Map, json};
use sha1::Sha1;

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What goes wrong at the next write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// Refused before anything happened.
    Refused,
    /// It happened, and nobody was told.
    AnswerLost,
    /// Nobody was told, and it happens only when the test says so.
    LandsLater,
    /// Refused for good.
    Forbidden,
    /// There is nothing left of today's calls.
    Outage,
    /// Nobody answers.
    Down,
}

type Effect = Box<dyn FnOnce(&mut World) + Send>;

/// Writes that are still on their way.
#[derive(Default)]
pub(crate) struct UnderWay(Vec<Effect>);

impl std::fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} under way", self.0.len())
    }
}

#[derive(Debug, Default)]
pub(crate) struct World {
    /// Versions of each file, oldest first; the last is the current one.
    pub(crate) versions: HashMap<String, Vec<(FileVersion, Vec<u8>)>>,
    pub(crate) mappings: HashMap<String, Mapping>,
    pub(crate) stored: Vec<StoredVersion>,
    pub(crate) deleted: Vec<String>,
    pub(crate) links: Vec<(String, String)>,
    pub(crate) tasks: Vec<Activity>,
    pub(crate) stage: String,
    pub(crate) faults: VecDeque<(&'static str, Fault)>,
    pub(crate) under_way: UnderWay,
    pub(crate) corrupt: bool,
    /// How often a sign request is asked for before it is final.
    pub(crate) unfinished_signatures: usize,
    pub(crate) writes: Vec<&'static str>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct FarSides(Arc<Mutex<World>>);

impl FarSides {
    pub(crate) fn new() -> Self {
        let sides = Self::default();
        let values = Map::from_iter([
            ("opportunity_id".to_owned(), json!("opp")),
            ("account_id".to_owned(), json!("acc")),
        ]);
        let mapping = Mapping {
            folder: "deal".to_owned(),
            values,
        };
        sides.world().mappings.insert("deal".to_owned(), mapping);
        sides.world().stage = "New".to_owned();
        sides
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    pub(crate) fn add_version(&self, file: &str, bytes: &[u8]) -> FileVersion {
        let mut world = self.world();
        let count: usize = world.versions.values().map(Vec::len).sum();
        let version = FileVersion {
            id: format!("v{}", count + 1),
            sha1: Some(hex(&Sha1::digest(bytes))),
            size: Some(bytes.len() as u64),
            created_at: Some(Timestamp::now()),
            is_deleted: false,
        };
        let versions = world.versions.entry(file.to_owned()).or_default();
        versions.push((version.clone(), bytes.to_vec()));
        version
    }

    /// What was under way arrives.
    pub(crate) fn land(&self) {
        let mut world = self.world();
        for effect in std::mem::take(&mut world.under_way).0 {
            effect(&mut world);
        }
    }

    /// Writes, unless a fault for this write is next.
    fn write<T>(
        &self,
        what: &'static str,
        effect: impl FnOnce(&mut World) -> Result<T, PortError> + Send + 'static,
    ) -> Result<T, PortError> {
        let mut world = self.world();
        world.writes.push(what);
        let fault = match world.faults.front() {
            Some((at, fault)) if *at == what => Some(*fault),
            _ => None,
        };
        if fault.is_some() {
            world.faults.pop_front();
        }
        let failed = match fault {
            Some(Fault::Refused) => Some(PortErrorKind::Busy),
            Some(Fault::Forbidden) => Some(PortErrorKind::Refused),
            Some(Fault::Down) => Some(PortErrorKind::Down),
            Some(Fault::Outage) => Some(PortErrorKind::Outage),
            Some(Fault::LandsLater) => Some(PortErrorKind::Unknown),
            _ => None,
        };
        if let Some(kind) = failed {
            if kind == PortErrorKind::Unknown {
                let land = |world: &mut World| drop(effect(world));
                world.under_way.0.push(Box::new(land));
            }
            return Err(PortError::new(kind, what));
        }
        let result = effect(&mut world)?;
        match fault {
            Some(Fault::AnswerLost) => Err(PortError::new(PortErrorKind::Unknown, what)),
            _ => Ok(result),
        }
    }
}

#[async_trait]
impl ContentSource for FarSides {
    async fn file(&self, file: &str) -> Result<FileState, PortError> {
        let world = self.world();
        let gone = || PortError::new(PortErrorKind::Gone, "file");
        let (version, _) = world
            .versions
            .get(file)
            .and_then(|all| all.last())
            .ok_or_else(gone)?;
        let folder = |id: &str| FolderRef {
            id: id.to_owned(),
            name: id.to_owned(),
        };
        Ok(FileState {
            id: file.to_owned(),
            name: "NDA.pdf".to_owned(),
            version: version.clone(),
            folders: vec![folder("0"), folder("deal"), folder("contracts")],
        })
    }

    async fn earlier_versions(&self, file: &str) -> Result<Vec<FileVersion>, PortError> {
        let world = self.world();
        let all = world
            .versions
            .get(file)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let past = all.split_last().map(|(_, past)| past).unwrap_or_default();
        Ok(past.iter().map(|(version, _)| version.clone()).collect())
    }

    async fn open(&self, file: &str, version: &FileVersion) -> Result<Content, PortError> {
        let world = self.world();
        let versions = world
            .versions
            .get(file)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let Some((_, bytes)) = versions.iter().find(|(it, _)| it.id == version.id) else {
            return Err(PortError::new(PortErrorKind::NoContent, "open"));
        };
        let mut bytes = bytes.clone();
        if world.corrupt {
            bytes[0] ^= 1;
        }
        let size = bytes.len() as u64;
        let chunks: Vec<_> = bytes
            .chunks(7)
            .map(|chunk| Ok(bytes::Bytes::copy_from_slice(chunk)))
            .collect();
        Ok(Content {
            size,
            bytes: stream::iter(chunks).boxed(),
        })
    }

    async fn folder(&self, folder: &str) -> Result<FolderState, PortError> {
        let above = FolderRef {
            id: "0".to_owned(),
            name: "All Files".to_owned(),
        };
        Ok(FolderState {
            id: folder.to_owned(),
            name: folder.to_owned(),
            folders: vec![above],
        })
    }

    async fn is_final(&self, _: &str) -> Result<bool, PortError> {
        let mut world = self.world();
        let is_final = world.unfinished_signatures == 0;
        world.unfinished_signatures = world.unfinished_signatures.saturating_sub(1);
        Ok(is_final)
    }

    async fn mapping(&self, folder: &str) -> Result<Option<Mapping>, PortError> {
        Ok(self.world().mappings.get(folder).cloned())
    }
}

#[async_trait]
impl Crm for FarSides {
    fn record(&self, text: &str) -> Result<Record, PortError> {
        Ok(Record {
            id: text.to_owned(),
            object: text.starts_with("006").then(|| "Opportunity".to_owned()),
        })
    }

    async fn upload(&self, file: &NewFile, content: Content) -> Result<String, PortError> {
        let bytes: Vec<_> = content.bytes.try_collect().await?;
        let bytes = bytes.concat();
        let file = file.clone();
        self.write("upload", move |world| {
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
    }

    async fn log_activity(&self, activity: &Activity) -> Result<String, PortError> {
        let activity = activity.clone();
        self.write("task", move |world| {
            world.tasks.push(activity);
            Ok(format!("task{}", world.tasks.len()))
        })
    }

    async fn find_activity(&self, activity: &Activity) -> Result<Option<String>, PortError> {
        let world = self.world();
        let found = world.tasks.iter().position(|task| task.key == activity.key);
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
    }
}
