//! A hierarchy of folders, made as far as it is missing.

use std::fmt;

use futures_util::TryStreamExt;

use super::{CreateFolder, Folder, Item, ListItems};
use crate::{
    FolderId, FolderMini,
    error::{Error, ErrorKind, Result},
    names::check_name,
    transport::Transport,
};

const OPERATION: &str = "folders.ensure";

/// Makes sure of a hierarchy. From [`Folders::ensure_path`](super::Folders::ensure_path).
#[must_use = "nothing is sent before send()"]
pub struct EnsurePath<'a> {
    transport: &'a Transport,
    under: FolderId,
    names: Vec<String>,
}

/// What [`EnsurePath`] found or made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EnsuredPath {
    /// The folders of the path, from the outermost to the last, without the one that it is under.
    pub folders: Vec<FolderMini>,
    /// How many of them, at the end, were made by this call.
    pub created: usize,
}

impl EnsuredPath {
    /// The last folder of the path.
    pub fn last(&self) -> Option<&FolderMini> {
        self.folders.last()
    }
}

impl<'a> EnsurePath<'a> {
    pub(super) fn new(transport: &'a Transport, names: Vec<String>) -> Self {
        Self {
            transport,
            under: FolderId::root(),
            names,
        }
    }

    /// Below this folder instead of the root.
    pub fn under(mut self, folder: &FolderId) -> Self {
        self.under = folder.clone();
        self
    }

    /// Looks for each folder and makes what is missing. Folders are the same whatever the case of
    /// their names, and keep the names they have.
    ///
    /// Safe to repeat and to run at the same time: who comes second takes what the first has
    /// made. A file that has one of the names is a [`Conflict`](ErrorKind::Conflict). Every name
    /// is checked before anything is made.
    pub async fn send(self) -> Result<EnsuredPath> {
        for name in &self.names {
            check_name(name).map_err(|cause| {
                Error::new(ErrorKind::Invalid, OPERATION)
                    .detail("Box takes no such name")
                    .cause(cause)
            })?;
        }
        let mut ensured = EnsuredPath {
            folders: Vec::new(),
            created: 0,
        };
        let mut parent = self.under;
        for name in &self.names {
            let level = Level {
                transport: self.transport,
                parent: &parent,
                name,
            };
            // What is new is empty: there is nothing to look for in it.
            let (folder, is_new) = level.ensure(ensured.created > 0).await?;
            parent = folder.id.clone();
            ensured.folders.push(folder);
            ensured.created += usize::from(is_new);
        }
        Ok(ensured)
    }
}

impl fmt::Debug for EnsurePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnsurePath")
            .field("under", &self.under)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

struct Level<'a> {
    transport: &'a Transport,
    parent: &'a FolderId,
    name: &'a str,
}

impl Level<'_> {
    /// Looks before it makes: who may enter a folder need not be allowed to make one beside it. A
    /// folder of more than a page is not read through first, since a name in use is found by its
    /// conflict at once.
    async fn ensure(&self, parent_is_new: bool) -> Result<(FolderMini, bool)> {
        let mut seen_all = parent_is_new;
        if !parent_is_new {
            let page = self.list().page(None).await?;
            if let Some(found) = page.entries.into_iter().find(|item| self.is(item)) {
                return adopt(found);
            }
            seen_all = page.next_marker.is_none();
        }
        let create = CreateFolder::new(self.transport, self.parent, self.name.to_owned());
        // Safe to repeat here, and only here: what a lost answer made is found by its conflict.
        let call = create.fields(["name"]).call()?.repeatable();
        let error = match self.transport.json::<Folder>(&call).await {
            Ok(folder) => return Ok((folder.into(), true)),
            Err(error) => error,
        };
        if let Some(there) = error.name_in_use() {
            let id = there.folder_id().ok_or(error)?;
            let name = there.name;
            return Ok((FolderMini { id, name }, false));
        }
        // The conflict does not say with what, or the caller may enter but not make.
        let is_hidden = error.kind() == ErrorKind::Forbidden && !seen_all;
        if !is_hidden && !is_name_in_use(&error) {
            return Err(error);
        }
        let mut items = std::pin::pin!(self.list().stream());
        while let Some(item) = items.try_next().await? {
            if self.is(&item) {
                return adopt(item);
            }
        }
        Err(error)
    }

    fn list(&self) -> ListItems<'_> {
        ListItems::new(self.transport, self.parent).fields(["name"])
    }

    fn is(&self, item: &Item) -> bool {
        item.name()
            .is_some_and(|name| name.to_lowercase() == self.name.to_lowercase())
    }
}

fn adopt(item: Item) -> Result<(FolderMini, bool)> {
    match item {
        Item::Folder(folder) => Ok(((*folder).into(), false)),
        Item::File(_) | Item::Other(_) => Err(Error::new(ErrorKind::Conflict, OPERATION)
            .detail("something that is no folder has the name")),
    }
}

fn is_name_in_use(error: &Error) -> bool {
    error.api().and_then(|api| api.code()) == Some("item_name_in_use")
}
