//! Folders.

mod change;
mod ensure;
mod items;

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

pub use self::{
    change::{CreateFolder, DeleteFolder, PlaceFolder, UpdateFolder},
    ensure::{EnsurePath, EnsuredPath},
    items::{Item, ListItems},
};
use crate::{
    FolderId, SharedLink, SharedLinkAccess,
    call::Call,
    error::Result,
    files::{FolderMini, PathCollection, text_or_number},
    shared_links::lenient,
    transport::Transport,
};

/// Calls on folders. From [`BoxClient::folders`](crate::BoxClient::folders).
#[derive(Clone, Copy)]
pub struct Folders<'a> {
    transport: &'a Transport,
}

impl std::fmt::Debug for Folders<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folders").finish_non_exhaustive()
    }
}

impl<'a> Folders<'a> {
    pub(crate) fn new(transport: &'a Transport) -> Self {
        Self { transport }
    }

    /// A folder's information. Unless other fields are asked for it is `id`, `name`, `etag`,
    /// `parent`, `path_collection`, `created_at`, `modified_at` and `item_status`, and not the
    /// first hundred items that Box would add.
    ///
    /// Vendor: <https://developer.box.com/reference/get-folders-id/>
    pub fn get(&self, id: &FolderId) -> GetFolder<'a> {
        let fields = [
            "id",
            "name",
            "etag",
            "parent",
            "path_collection",
            "created_at",
            "modified_at",
            "item_status",
        ];
        GetFolder {
            transport: self.transport,
            id: id.clone(),
            fields: fields.map(str::to_owned).into(),
            shared_link: None,
        }
    }

    /// What is in a folder.
    ///
    /// Vendor: <https://developer.box.com/reference/get-folders-id-items/>
    pub fn items(&self, id: &FolderId) -> ListItems<'a> {
        ListItems::new(self.transport, id)
    }

    /// Makes a folder. A name that is in use is a [`Conflict`](crate::ErrorKind::Conflict) whose
    /// [`name_in_use`](crate::Error::name_in_use) is the item that has it.
    ///
    /// Vendor: <https://developer.box.com/reference/post-folders/>
    pub fn create(&self, parent: &FolderId, name: impl Into<String>) -> CreateFolder<'a> {
        CreateFolder::new(self.transport, parent, name.into())
    }

    /// Makes sure that there is a hierarchy such as `/Clients/Acme/Deal`. Names with a slash in
    /// them go through [`sanitize_name`](crate::sanitize_name) first or into
    /// [`ensure_names`](Self::ensure_names).
    ///
    /// ```no_run
    /// # use box_client::BoxClient;
    /// # async fn example(client: BoxClient) -> box_client::Result<()> {
    /// let ensured = client.folders().ensure_path("/Clients/Acme/Deal").send().await?;
    /// println!("{:?}, {} of them new", ensured.last(), ensured.created);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ensure_path(&self, path: &str) -> EnsurePath<'a> {
        self.ensure_names(path.split('/').filter(|name| !name.is_empty()))
    }

    /// As [`ensure_path`](Self::ensure_path), from the names one by one.
    pub fn ensure_names<S: Into<String>>(
        &self,
        names: impl IntoIterator<Item = S>,
    ) -> EnsurePath<'a> {
        EnsurePath::new(self.transport, names.into_iter().map(Into::into).collect())
    }

    /// Changes a folder: its name, place, description, tags.
    ///
    /// Vendor: <https://developer.box.com/reference/put-folders-id/>
    pub fn update(&self, id: &FolderId) -> UpdateFolder<'a> {
        UpdateFolder::new(self.transport, "folders.update", id)
    }

    /// Gives a folder another name.
    pub fn rename(&self, id: &FolderId, name: impl Into<String>) -> UpdateFolder<'a> {
        UpdateFolder::new(self.transport, "folders.rename", id).name(name)
    }

    /// Moves a folder to another place.
    pub fn move_to(&self, id: &FolderId, folder: &FolderId) -> UpdateFolder<'a> {
        UpdateFolder::new(self.transport, "folders.move", id).parent(folder)
    }

    /// Copies a folder, with all that is in it, into another.
    ///
    /// Vendor: <https://developer.box.com/reference/post-folders-id-copy/>
    pub fn copy(&self, id: &FolderId, folder: &FolderId) -> PlaceFolder<'a> {
        PlaceFolder::copy(self.transport, id).parent(folder)
    }

    /// Puts a folder into the trash, or deletes it for good where the enterprise keeps none.
    ///
    /// Vendor: <https://developer.box.com/reference/delete-folders-id/>
    pub fn delete(&self, id: &FolderId) -> DeleteFolder<'a> {
        DeleteFolder::new(self.transport, id)
    }

    /// What is in the trash, of files as of folders.
    ///
    /// Vendor: <https://developer.box.com/reference/get-folders-trash-items/>
    pub fn trash_items(&self) -> ListItems<'a> {
        let path = ["folders", "trash", "items"];
        ListItems::at(self.transport, "folders.trash_items", path)
    }

    /// A folder in the trash.
    ///
    /// Vendor: <https://developer.box.com/reference/get-folders-id-trash/>
    pub async fn trashed(&self, id: &FolderId) -> Result<Folder> {
        let path = ["folders", id.as_str(), "trash"];
        let call = Call::new("folders.trashed", Method::GET, path);
        self.transport.json(&call).await
    }

    /// Takes a folder, with all that was in it, out of the trash.
    ///
    /// Vendor: <https://developer.box.com/reference/post-folders-id/>
    pub fn restore(&self, id: &FolderId) -> PlaceFolder<'a> {
        PlaceFolder::restore(self.transport, id)
    }

    /// Deletes a folder in the trash for good.
    ///
    /// Vendor: <https://developer.box.com/reference/delete-folders-id-trash/>
    pub async fn delete_permanently(&self, id: &FolderId) -> Result<()> {
        let path = ["folders", id.as_str(), "trash"];
        let call = Call::new("folders.delete_permanently", Method::DELETE, path);
        self.transport.gone(&call).await
    }
}

/// Reads a folder's information. From [`Folders::get`].
#[must_use = "nothing is sent before send()"]
pub struct GetFolder<'a> {
    transport: &'a Transport,
    id: FolderId,
    fields: Vec<String>,
    shared_link: Option<SharedLinkAccess>,
}

impl std::fmt::Debug for GetFolder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GetFolder")
            .field("id", &self.id)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

impl GetFolder<'_> {
    /// Asks for these fields instead.
    pub fn fields<S: Into<String>>(mut self, fields: impl IntoIterator<Item = S>) -> Self {
        self.fields = fields.into_iter().map(Into::into).collect();
        self
    }

    /// Opens it as one who holds this link.
    pub fn shared_link(mut self, link: SharedLinkAccess) -> Self {
        self.shared_link = Some(link);
        self
    }

    /// Sends it.
    pub async fn send(self) -> Result<Folder> {
        let call = Call::new("folders.get", Method::GET, ["folders", self.id.as_str()])
            .query("fields", self.fields.join(","))
            .shared_link(self.shared_link.as_ref())?;
        self.transport.json(&call).await
    }
}

/// A folder.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Folder {
    /// Its id.
    pub id: FolderId,
    /// Its name.
    pub name: Option<String>,
    /// Changes with each change of the folder; the root has none.
    #[serde(default, deserialize_with = "text_or_number")]
    pub etag: Option<String>,
    /// The folder it lies in; the root has none.
    pub parent: Option<FolderMini>,
    /// The folders from the root down to the parent.
    pub path_collection: Option<PathCollection>,
    /// What a person wrote about it.
    pub description: Option<String>,
    /// The link by which others open it, if there is one.
    #[serde(default, deserialize_with = "lenient")]
    pub shared_link: Option<SharedLink>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it was last changed.
    pub modified_at: Option<Timestamp>,
    /// `active`, `trashed` or `deleted`.
    pub item_status: Option<String>,
    /// Everything else, as it came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
