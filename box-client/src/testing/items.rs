//! Files and folders and where they are.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::{
    answer::Refused, content::Content, locks::Lock, metadata::Instance, people::User,
    shared_links::Link,
};

pub(super) const ROOT: &str = "0";

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) name: String,
    /// None for the root alone.
    pub(super) parent: Option<String>,
    pub(super) description: String,
    pub(super) tags: Vec<String>,
    pub(super) shared_link: Option<Link>,
    pub(super) disposition_at: Option<Timestamp>,
    /// Grows with each change; shown as `etag` and `sequence_id`.
    pub(super) revision: u64,
    pub(super) created_at: Timestamp,
    pub(super) modified_at: Timestamp,
    pub(super) content_created_at: Timestamp,
    pub(super) content_modified_at: Timestamp,
    pub(super) trashed_at: Option<Timestamp>,
    pub(super) created_by: User,
    pub(super) modified_by: User,
    /// By full scope and template key.
    pub(super) metadata: BTreeMap<(String, String), Instance>,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    File(Box<File>),
    /// Children by lower-case name: names are unique across files and folders.
    Folder(BTreeMap<String, String>),
}

#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) current: Version,
    /// Oldest first.
    pub(super) past: Vec<Version>,
    /// Past versions in the trash.
    pub(super) deleted: Vec<Version>,
    pub(super) lock: Option<Lock>,
    /// Whether the next download answers that the content is not ready.
    pub(super) settling: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) id: String,
    pub(super) number: u64,
    pub(super) name: String,
    pub(super) stored: Stored,
    pub(super) created_at: Timestamp,
    pub(super) modified_at: Timestamp,
    pub(super) modified_by: User,
}

/// Content with its hash.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) content: Arc<Content>,
    pub(super) sha1: String,
}

impl Stored {
    pub(super) fn new(content: Content) -> Self {
        Self {
            sha1: content.sha1(),
            content: Arc::new(content),
        }
    }
}

impl Item {
    pub(super) fn new(id: String, name: &str, parent: &str, actor: &User, kind: Kind) -> Self {
        let now = Timestamp::now();
        Self {
            id,
            name: name.to_owned(),
            parent: Some(parent.to_owned()),
            description: String::new(),
            tags: Vec::new(),
            shared_link: None,
            disposition_at: None,
            revision: 0,
            created_at: now,
            modified_at: now,
            content_created_at: now,
            content_modified_at: now,
            trashed_at: None,
            created_by: actor.clone(),
            modified_by: actor.clone(),
            metadata: BTreeMap::new(),
            kind,
        }
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::File(_) => "file",
            Kind::Folder(_) => "folder",
        }
    }

    pub(super) fn is_folder(&self) -> bool {
        matches!(self.kind, Kind::Folder(_))
    }

    pub(super) fn etag(&self) -> Option<String> {
        self.parent.is_some().then(|| self.revision.to_string())
    }

    pub(super) fn as_file(&self) -> Option<&File> {
        match &self.kind {
            Kind::File(file) => Some(file),
            Kind::Folder(_) => None,
        }
    }

    pub(super) fn touch(&mut self, actor: &User) {
        self.revision += 1;
        self.modified_at = Timestamp::now();
        self.modified_by = actor.clone();
    }

    /// `If-Match`.
    pub(super) fn require(&self, etag: Option<&str>) -> Result<(), Refused> {
        match etag {
            Some(wanted) if !self.has_etag(wanted) => Err(Refused::precondition()),
            _ => Ok(()),
        }
    }

    /// Whether the header value, which may be quoted, names this item's state.
    pub(super) fn has_etag(&self, wanted: &str) -> bool {
        self.etag().as_deref() == Some(wanted.trim().trim_matches('"'))
    }
}

#[derive(Debug)]
pub(super) struct Tree {
    items: BTreeMap<String, Item>,
}

impl Tree {
    pub(super) fn new(owner: &User) -> Self {
        let kind = Kind::Folder(BTreeMap::new());
        let mut root = Item::new(ROOT.to_owned(), "All Files", ROOT, owner, kind);
        root.parent = None;
        Self {
            items: BTreeMap::from([(ROOT.to_owned(), root)]),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Item> {
        self.items.values()
    }

    pub(super) fn get(&self, id: &str) -> Option<&Item> {
        self.items.get(id)
    }

    /// An item of this type that is not in the trash.
    pub(super) fn live(&self, type_name: &str, id: &str) -> Result<&Item, Refused> {
        let item = self
            .items
            .get(id)
            .filter(|item| item.type_name() == type_name);
        let item = item.ok_or_else(|| Refused::not_found("item", id))?;
        match item.trashed_at {
            Some(_) => Err(Refused::new(404, "trashed", "Item is trashed")),
            None => Ok(item),
        }
    }

    pub(super) fn live_mut(&mut self, type_name: &str, id: &str) -> Result<&mut Item, Refused> {
        self.live(type_name, id)?;
        self.items
            .get_mut(id)
            .ok_or_else(|| Refused::not_found("item", id))
    }

    pub(super) fn file(&self, id: &str) -> Result<(&Item, &File), Refused> {
        let item = self.live("file", id)?;
        item.as_file()
            .map(|file| (item, file))
            .ok_or_else(|| Refused::not_found("item", id))
    }

    pub(super) fn file_mut(&mut self, id: &str) -> Result<&mut File, Refused> {
        match &mut self.live_mut("file", id)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Folder(_) => Err(Refused::not_found("item", id)),
        }
    }

    /// The children's ids.
    pub(super) fn children(&self, folder: &str) -> Vec<String> {
        match self.items.get(folder).map(|item| &item.kind) {
            Some(Kind::Folder(children)) => children.values().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Who has this name in the folder already.
    pub(super) fn named(&self, folder: &str, name: &str) -> Option<&Item> {
        let Kind::Folder(children) = &self.items.get(folder)?.kind else {
            return None;
        };
        self.items.get(children.get(&name.to_lowercase())?)
    }

    /// The item and its ancestors, the root last.
    pub(super) fn chain(&self, id: &str) -> Vec<String> {
        let mut chain = vec![id.to_owned()];
        let mut at = self.items.get(id);
        while let Some(parent) = at.and_then(|item| item.parent.as_ref()) {
            chain.push(parent.clone());
            at = self.items.get(parent);
        }
        chain
    }

    pub(super) fn insert(&mut self, item: Item) {
        self.link(&item);
        self.items.insert(item.id.clone(), item);
    }

    /// Renames or moves. The caller has made sure that the name is free.
    pub(super) fn place(&mut self, id: &str, parent: &str, name: &str) {
        let Some(mut item) = self.items.remove(id) else {
            return;
        };
        self.unlink(&item);
        item.parent = Some(parent.to_owned());
        item.name = name.to_owned();
        self.insert(item);
    }

    /// Puts the item, and what is in it, into the trash. Its name becomes free.
    pub(super) fn trash(&mut self, id: &str) {
        if let Some(item) = self.items.get(id).cloned() {
            self.unlink(&item);
        }
        let now = Timestamp::now();
        let mut doomed = vec![id.to_owned()];
        while let Some(id) = doomed.pop() {
            doomed.extend(self.children(&id));
            if let Some(item) = self.items.get_mut(&id) {
                item.trashed_at = Some(now);
            }
        }
    }

    /// An item of this type that was put into the trash, not one that only lies in a folder there.
    pub(super) fn trashed(&self, type_name: &str, id: &str) -> Result<&Item, Refused> {
        let item = self
            .items
            .get(id)
            .filter(|item| item.type_name() == type_name);
        item.filter(|item| item.trashed_at.is_some() && !self.is_below_trashed(item))
            .ok_or_else(|| Refused::not_found("item", id))
    }

    /// All that was put into the trash.
    pub(super) fn all_trashed(&self) -> impl Iterator<Item = &Item> {
        self.items
            .values()
            .filter(|item| item.trashed_at.is_some() && !self.is_below_trashed(item))
    }

    /// Takes the item, and what went into the trash with it, out again. The caller has made sure
    /// that the name is free.
    pub(super) fn restore(&mut self, id: &str, parent: &str, name: &str) {
        let Some(at) = self.items.get(id).and_then(|item| item.trashed_at) else {
            return;
        };
        let mut saved = vec![id.to_owned()];
        while let Some(id) = saved.pop() {
            saved.extend(self.children(&id));
            if let Some(item) = self.items.get_mut(&id) {
                item.trashed_at = item.trashed_at.filter(|trashed| *trashed != at);
            }
        }
        self.place(id, parent, name);
    }

    /// Removes a trashed item and what is in it for good.
    pub(super) fn purge(&mut self, id: &str) {
        let mut doomed = vec![id.to_owned()];
        while let Some(id) = doomed.pop() {
            doomed.extend(self.children(&id));
            self.items.remove(&id);
        }
    }

    /// What went into the trash with its folder is still among that folder's children.
    fn is_below_trashed(&self, item: &Item) -> bool {
        let parent = item
            .parent
            .as_ref()
            .and_then(|parent| self.items.get(parent));
        parent.is_some_and(|parent| {
            parent.trashed_at.is_some()
                && self
                    .named(&parent.id, &item.name)
                    .is_some_and(|child| child.id == item.id)
        })
    }

    fn link(&mut self, item: &Item) {
        if let Some(siblings) = self.siblings(item) {
            siblings.insert(item.name.to_lowercase(), item.id.clone());
        }
    }

    fn unlink(&mut self, item: &Item) {
        let name = item.name.to_lowercase();
        if let Some(siblings) = self.siblings(item)
            && siblings.get(&name) == Some(&item.id)
        {
            siblings.remove(&name);
        }
    }

    fn siblings(&mut self, item: &Item) -> Option<&mut BTreeMap<String, String>> {
        match &mut self.items.get_mut(item.parent.as_ref()?)?.kind {
            Kind::Folder(children) => Some(children),
            Kind::File(_) => None,
        }
    }
}
