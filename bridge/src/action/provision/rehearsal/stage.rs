//! Both sides as they are, with what was played on top.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;

use super::super::{Provision, levels::changed};
use crate::{
    content::{ContentSource, FolderRef, FolderState},
    folders::Folders,
    foresight::{Deed, Looks},
    metadata::{Instance, Metadata},
    package_links::PackageLinks,
    port_error::{PortError, PortErrorKind},
    records::Records,
};

/// Where a rehearsal takes place.
#[derive(Debug)]
pub(in super::super) struct Stage {
    pub(super) content: Arc<dyn ContentSource>,
    pub(super) folders: Arc<dyn Folders>,
    pub(super) metadata: Arc<dyn Metadata>,
    pub(super) records: Arc<dyn Records>,
    pub(super) package: Option<Arc<dyn PackageLinks>>,
    root: String,
    state: Mutex<State>,
}

/// What was played.
#[derive(Debug, Default)]
pub(super) struct State {
    cues: Vec<Cue>,
    /// Where folders are by now that were made or moved.
    pub(super) places: BTreeMap<String, Place>,
    /// The metadata of folders that has changed.
    pub(super) instances: BTreeMap<String, Instance>,
    /// Keys that the template did not have.
    pub(super) new_keys: BTreeSet<String>,
    /// What the package shows by now.
    pub(super) shown: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) parent: String,
    pub(super) name: String,
    pub(super) is_new: bool,
}

/// Something to be told.
#[derive(Debug)]
pub(in super::super) enum Cue {
    /// A folder of the layout was come by.
    Folder {
        folder: String,
        is_records: bool,
        /// What its name had to be changed in.
        changes: Vec<String>,
    },
    /// A folder that was there becomes the record's.
    Adopted { folder: String, how: &'static str },
    /// A folder was elsewhere, or had another name.
    Placed { folder: String, before: FolderState },
    /// A name is another's.
    Taken { parent: String, name: String },
    /// Something on a folder, to be told with its path.
    On { folder: String, deed: Deed },
    /// Anything else.
    Deed(Deed),
}

/// The template, then the folders, then what is on them.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    First,
    Folders,
    Rest,
}

/// Far more folders than lie in each other anywhere.
const DEEPEST: usize = 1000;

impl Stage {
    pub(super) fn of(provision: &Provision, looks: &Looks) -> Self {
        Self {
            content: Arc::clone(&looks.content),
            folders: Arc::clone(&provision.folders),
            metadata: Arc::clone(&provision.metadata),
            records: Arc::clone(&provision.records),
            package: provision.package.clone(),
            root: provision.root.clone(),
            state: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in super::super) fn tell(&self, cue: Cue) {
        self.state().cues.push(cue);
    }

    pub(super) fn place_of(&self, folder: &str) -> Option<Place> {
        self.state().places.get(folder).cloned()
    }

    pub(super) fn is_new(&self, folder: &str) -> bool {
        self.place_of(folder).is_some_and(|place| place.is_new)
    }

    /// A folder where it is by now.
    pub(super) async fn folder_state(&self, folder: &str) -> Result<FolderState, PortError> {
        let (mut folder, mut below) = (folder.to_owned(), Vec::new());
        // From the inside out, up to one that is where it was.
        let folders = loop {
            // Somebody may move them while they are looked at, so that the walk would have no end.
            if below.len() > DEEPEST {
                let busy = PortError::new(PortErrorKind::Busy, "find out where the folder is");
                return Err(busy.with_detail(Some("folders are being moved".to_owned())));
            }
            if let Some(place) = self.place_of(&folder) {
                let name = place.name;
                below.push(FolderRef { id: folder, name });
                folder = place.parent;
                continue;
            }
            if folder == self.root {
                let (id, name) = (folder, String::new());
                break vec![FolderRef { id, name }];
            }
            let real = self.content.folder(&folder).await?.with_itself();
            let is_placed = |it: &FolderRef| self.place_of(&it.id).is_some();
            let Some(at) = real.iter().rposition(is_placed) else {
                break real;
            };
            below.extend(real[at + 1..].iter().rev().cloned());
            folder.clone_from(&real[at].id);
        };
        let mut all: Vec<_> = folders.into_iter().chain(below.into_iter().rev()).collect();
        let own = all.pop().unwrap_or(FolderRef {
            id: String::new(),
            name: String::new(),
        });
        Ok(FolderState {
            id: own.id,
            name: own.name,
            folders: all,
        })
    }

    /// The names from the root of the layout down, or from the outermost where it is elsewhere.
    fn path(&self, folders: &[FolderRef]) -> String {
        let root = folders.iter().position(|it| it.id == self.root);
        let inside = root.map_or(folders, |root| &folders[root + 1..]);
        let names = inside.iter().map(|it| format!("/{}", it.name));
        let path: String = names.collect();
        match path.is_empty() {
            true => "/".to_owned(),
            false => path,
        }
    }

    async fn path_of(&self, folder: &str) -> Result<String, PortError> {
        Ok(self.path(&self.folder_state(folder).await?.with_itself()))
    }

    /// All that was played, in the order in which it is best read.
    pub(super) async fn deeds(&self) -> Result<Vec<Deed>, PortError> {
        let cues = std::mem::take(&mut self.state().cues);
        let mut told = Vec::new();
        let mut passed = BTreeSet::new();
        for cue in &cues {
            match cue {
                Cue::Folder {
                    folder,
                    is_records,
                    changes,
                } if passed.insert(folder) => {
                    let deeds = self.folder(&cues, folder, *is_records, changes).await?;
                    told.extend(deeds.into_iter().map(|deed| (Rank::Folders, deed)));
                }
                Cue::Folder { .. } | Cue::Adopted { .. } | Cue::Placed { .. } => {}
                Cue::Taken { parent, name } => {
                    let path = self.path_of(parent).await?;
                    let does = format!("the name {name} in {path} is another's");
                    let taken = Deed::there("name_taken", does).about("path", path);
                    told.push((Rank::Folders, taken.about("name", name.as_str())));
                }
                Cue::On { folder, deed } => {
                    let path = self.path_of(folder).await?;
                    let mut deed = self.with_folder(deed.clone(), folder);
                    deed.does = format!("{} {path}", deed.does);
                    told.push((Rank::Rest, deed.about("path", path)));
                }
                Cue::Deed(deed) => {
                    let rank = match deed.what {
                        what if what.contains("template") => Rank::First,
                        _ => Rank::Rest,
                    };
                    told.push((rank, deed.clone()));
                }
            }
        }
        for cue in &cues {
            if let Cue::Placed { folder, before } = cue
                && !passed.contains(folder)
            {
                let deeds = self.placed(folder, before).await?;
                told.extend(deeds.into_iter().map(|deed| (Rank::Folders, deed)));
            }
        }
        told.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(told.into_iter().map(|(_, deed)| deed).collect())
    }

    async fn folder(
        &self,
        cues: &[Cue],
        folder: &str,
        is_records: bool,
        changes: &[String],
    ) -> Result<Vec<Deed>, PortError> {
        let path = self.path_of(folder).await?;
        let about = |deed: Deed| {
            let deed = self.with_folder(deed, folder);
            let deed = deed.about("path", path.as_str());
            deed.about("is_records", is_records)
        };
        let of_whom = if is_records { "a record's " } else { "" };
        if self.is_new(folder) {
            let changed = changed(changes);
            let does = format!("make {of_whom}folder {path}{changed}");
            let made = about(Deed::write("make_folder", does));
            return Ok(vec![made.about("changes", changes.to_vec())]);
        }
        let mut deeds = Vec::new();
        for cue in cues {
            match cue {
                Cue::Adopted { folder: it, how } if it == folder => {
                    let does = format!("take folder {folder}, {how}, as {of_whom}{path}");
                    deeds.push(about(Deed::there("adopt_folder", does)).about("how", *how));
                }
                Cue::Placed { folder: it, before } if it == folder => {
                    deeds.extend(self.placed(folder, before).await?);
                }
                _ => {}
            }
        }
        if deeds.is_empty() {
            let does = format!("{of_whom}folder {path} is there ({folder})");
            deeds.push(about(Deed::there("folder", does)));
        }
        Ok(deeds)
    }

    async fn placed(&self, folder: &str, before: &FolderState) -> Result<Vec<Deed>, PortError> {
        let now = self.folder_state(folder).await?;
        let (from, to) = (
            self.path(&before.with_itself()),
            self.path(&now.with_itself()),
        );
        let about = |deed: Deed| {
            let deed = self.with_folder(deed, folder);
            deed.about("from", from.as_str()).about("path", to.as_str())
        };
        let above = |state: &FolderState| state.folders.last().map(|it| it.id.clone());
        let mut deeds = Vec::new();
        if above(before) != above(&now) {
            let does = format!("move folder {folder} from {from} to {to}");
            deeds.push(about(Deed::write("move_folder", does)));
        }
        if before.name != now.name {
            let does = format!(
                "rename folder {folder} from {} to {}",
                before.name, now.name
            );
            deeds.push(about(Deed::write("rename_folder", does)));
        }
        Ok(deeds)
    }

    /// One that is yet to be made has no id.
    fn with_folder(&self, deed: Deed, folder: &str) -> Deed {
        let id = (!self.is_new(folder)).then_some(folder);
        deed.about("folder", id.map_or(Value::Null, Value::from))
    }
}
