//! Folders.

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    FolderId,
    call::Call,
    error::Result,
    files::{FolderMini, PathCollection, text_or_number},
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
        }
    }
}

/// Reads a folder's information. From [`Folders::get`].
#[must_use = "nothing is sent before send()"]
pub struct GetFolder<'a> {
    transport: &'a Transport,
    id: FolderId,
    fields: Vec<String>,
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

    /// Sends it.
    pub async fn send(self) -> Result<Folder> {
        let call = Call::new("folders.get", Method::GET, ["folders", self.id.as_str()])
            .query("fields", self.fields.join(","));
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
