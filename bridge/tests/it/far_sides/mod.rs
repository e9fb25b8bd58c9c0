//! Both far sides in memory, behind the ports alone, with answers that can be lost: what has folders
//! and files ([`content`]), and what has records ([`crm`]).

mod content;
mod crm;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use bridge::{
    Clock, PortError, PortErrorKind,
    content::{FileVersion, FolderRef},
    crm::{Activity, StoredVersion},
    metadata::TemplateField,
    records::{FieldShape, Nearness},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};

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
    /// There is no room left.
    Full,
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
    pub(crate) folders: BTreeMap<String, Folder>,
    /// Versions of each file, oldest first; the last is the current one.
    pub(crate) versions: HashMap<String, Vec<(FileVersion, Vec<u8>)>>,
    /// The folders of files that lie elsewhere than in `contracts`.
    pub(crate) lies_in: HashMap<String, String>,
    /// What the files are called by now.
    pub(crate) renamed: Option<String>,
    pub(crate) corrupt: bool,
    /// What became of the sign requests that nobody has signed.
    pub(crate) unsigned: Option<&'static str>,
    /// How often a sign request is asked for before it is final.
    pub(crate) unfinished_signatures: usize,
    /// The fields of the metadata template.
    pub(crate) template: Vec<TemplateField>,

    pub(crate) records: BTreeMap<String, Map<String, Value>>,
    changed_at: BTreeMap<String, Timestamp>,
    /// The fields of records.
    pub(crate) fields: Vec<FieldShape>,
    /// By e-mail address.
    pub(crate) contacts: Vec<(&'static str, &'static str, Nearness)>,
    pub(crate) stored: Vec<StoredVersion>,
    pub(crate) deleted: Vec<String>,
    pub(crate) links: Vec<(String, String)>,
    pub(crate) tasks: Vec<Activity>,
    pub(crate) stage: String,
    /// The largest file that there is room for, where there is not for all.
    pub(crate) room: Option<u64>,
    /// The files whose versions were listed or opened.
    pub(crate) asked: Vec<String>,
    /// What the package shows.
    pub(crate) shown: BTreeMap<String, String>,

    pub(crate) faults: VecDeque<(&'static str, Fault)>,
    pub(crate) under_way: UnderWay,
    /// What somebody does just before the next write of this kind.
    meanwhile: Option<(&'static str, UnderWay)>,
    pub(crate) writes: Vec<&'static str>,
    made: u64,
    /// Each look at the clock takes ten seconds, so that all are at rest.
    seconds: i64,
    random: Option<fastrand::Rng>,
    pace: Option<fastrand::Rng>,
}

/// Empty, where it is not [`new`](Self::new).
#[derive(Clone, Debug, Default)]
pub(crate) struct FarSides(Arc<Mutex<World>>);

impl FarSides {
    /// With the folder `deal` of the Opportunity `opp` and the Account `acc`, and `contracts` in it.
    pub(crate) fn new() -> Self {
        let sides = Self::default();
        for (id, parent) in [("deal", "0"), ("contracts", "deal")] {
            let folder = Folder {
                parent: parent.to_owned(),
                name: id.to_owned(),
                ..Folder::default()
            };
            sides.world().folders.insert(id.to_owned(), folder);
        }
        sides.map_deal();
        sides.world().stage = "New".to_owned();
        sides
    }

    pub(crate) fn map_deal(&self) {
        let values = [
            ("opportunity_id", json!("opp")),
            ("account_id", json!("acc")),
        ];
        let values = values.map(|(key, value)| (key.to_owned(), value));
        self.world().get("deal").unwrap().mapping = Some(Map::from_iter(values));
    }

    pub(crate) fn unmap_deal(&self) {
        self.world().get("deal").unwrap().mapping = None;
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

    /// Somebody does this just before the next write of this kind.
    pub(crate) fn before(
        &self,
        what: &'static str,
        effect: impl FnOnce(&mut World) + Send + 'static,
    ) {
        self.world().meanwhile = Some((what, UnderWay(vec![Box::new(effect)])));
    }

    /// Lets a third of the writes fail: half of them before they have an effect, half after.
    pub(crate) fn storm(&self, seed: u64) {
        self.world().random = Some(fastrand::Rng::with_seed(seed));
    }

    pub(crate) fn calm(&self) {
        self.world().random = None;
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

    pub(crate) fn record(&self, id: &str, fields: Value) {
        let Value::Object(fields) = fields else {
            panic!("{fields}")
        };
        self.world().change(id, fields);
    }

    pub(crate) fn folder(&self, parent: &str, name: &str) -> String {
        let mut world = self.world();
        world.folder(parent, name)
    }

    /// The paths of all folders, each as the names from the root down.
    pub(crate) fn paths(&self) -> Vec<String> {
        let world = self.world();
        let mut paths: Vec<_> = world.folders.keys().map(|id| world.path(id)).collect();
        paths.sort();
        paths
    }

    pub(crate) fn path_of(&self, key: &str, id: &str) -> Vec<String> {
        let world = self.world();
        let has = |folder: &Folder| {
            folder.mapping.as_ref().and_then(|it| it.get(key)) == Some(&id.into())
        };
        let of = world.folders.iter().filter(|(_, folder)| has(folder));
        of.map(|(id, _)| world.path(id)).collect()
    }

    /// Writes, unless something goes wrong with it.
    async fn write<T>(
        &self,
        what: &'static str,
        effect: impl FnOnce(&mut World) -> Result<T, PortError> + Send + 'static,
    ) -> Result<T, PortError> {
        if self.world().faults.front() == Some(&(what, Fault::LandsLater)) {
            let mut world = self.world();
            world.writes.push(what);
            world.faults.pop_front();
            let land = |world: &mut World| drop(effect(world));
            world.under_way.0.push(Box::new(land));
            return Err(PortError::new(PortErrorKind::Unknown, what));
        }
        self.write_now(what, effect).await
    }

    async fn write_now<T>(
        &self,
        what: &'static str,
        effect: impl FnOnce(&mut World) -> Result<T, PortError> + Send,
    ) -> Result<T, PortError> {
        // Others have their turn between any two writes.
        self.pass().await;
        let mut world = self.world();
        if let Some((_, UnderWay(effects))) = world.meanwhile.take_if(|(at, _)| *at == what) {
            effects.into_iter().for_each(|effect| effect(&mut world));
        }
        world.writes.push(what);
        let fault = match world.faults.front() {
            Some((at, fault)) if *at == what => {
                let fault = *fault;
                world.faults.pop_front();
                Some(fault)
            }
            _ => match world.random.as_mut().map(|random| random.u8(0..6)) {
                Some(0) => Some(Fault::Refused),
                Some(1) => Some(Fault::AnswerLost),
                _ => None,
            },
        };
        let failed = |kind| Err(PortError::new(kind, what));
        match fault {
            Some(Fault::Refused) => failed(PortErrorKind::Busy),
            Some(Fault::Forbidden) => failed(PortErrorKind::Refused),
            Some(Fault::Down) => failed(PortErrorKind::Down),
            Some(Fault::Outage) => failed(PortErrorKind::Outage),
            Some(Fault::Full) => failed(PortErrorKind::Full),
            Some(Fault::AnswerLost | Fault::LandsLater) => {
                effect(&mut world)?;
                failed(PortErrorKind::Unknown)
            }
            None => effect(&mut world),
        }
    }
}

impl Clock for FarSides {
    fn now(&self) -> Timestamp {
        self.world().time()
    }
}

impl World {
    fn time(&mut self) -> Timestamp {
        self.seconds += 10;
        Timestamp::from_second(1_000_000_000 + self.seconds).unwrap()
    }

    fn new_id(&mut self) -> String {
        self.made += 1;
        self.made.to_string()
    }

    fn change(&mut self, record: &str, fields: Map<String, Value>) {
        let at = self.time();
        self.changed_at.insert(record.to_owned(), at);
        let own = self.records.entry(record.to_owned()).or_default();
        own.extend(fields);
    }

    fn folder(&mut self, parent: &str, name: &str) -> String {
        let id = self.new_id();
        let folder = Folder {
            parent: parent.to_owned(),
            name: name.to_owned(),
            ..Folder::default()
        };
        self.folders.insert(id.clone(), folder);
        id
    }

    fn path(&self, id: &str) -> String {
        let folder = &self.folders[id];
        match folder.parent.as_str() {
            "0" => format!("/{}", folder.name),
            parent => format!("{}/{}", self.path(parent), folder.name),
        }
    }

    /// The folders from the root down to this one.
    fn with_itself(&self, folder: &str) -> Vec<FolderRef> {
        let own = self.folders.get(folder);
        let mut folders = own.map_or_else(Vec::new, |own| self.with_itself(&own.parent));
        folders.push(FolderRef {
            id: folder.to_owned(),
            name: own.map_or("All Files", |own| &own.name).to_owned(),
        });
        folders
    }

    pub(crate) fn get(&mut self, folder: &str) -> Result<&mut Folder, PortError> {
        let found = self.folders.get_mut(folder);
        found.ok_or_else(|| PortError::new(PortErrorKind::Gone, "folder"))
    }

    pub(crate) fn named(&self, parent: &str, name: &str) -> Option<&String> {
        let is_it = |folder: &Folder| {
            folder.parent == parent && folder.name.to_lowercase() == name.to_lowercase()
        };
        let mut folders = self.folders.iter();
        folders.find(|(_, folder)| is_it(folder)).map(|(id, _)| id)
    }
}
