//! Files: what they are, their versions, their bytes.

mod update;
mod versions;

use std::sync::Arc;

use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

pub(crate) use self::update::check;
pub use self::update::{CopyFile, DeleteFile, LockFile, RestoreFile, UpdateFile};
use crate::{
    FileId, FileVersionId, Folder, FolderId, SharedLink, SharedLinkAccess, UserId, call::Call,
    download::DownloadRequest, error::Result, shared_links::lenient, transport::Transport,
};

/// Calls on files. From [`BoxClient::files`](crate::BoxClient::files).
///
/// ```no_run
/// use box_client::{BoxClient, FileId, FolderId};
///
/// # async fn example(client: BoxClient, id: FileId, signed: FolderId) -> box_client::Result<()> {
/// let files = client.files();
/// let file = files.get(&id).send().await?;
/// files.move_to(&id, &signed).send().await?;
/// let bytes = files.download(&id).send().await?.bytes(1 << 20).await?;
/// println!("{:?}: {} bytes", file.name, bytes.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Files<'a> {
    transport: &'a Arc<Transport>,
}

impl std::fmt::Debug for Files<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").finish_non_exhaustive()
    }
}

impl<'a> Files<'a> {
    pub(crate) fn new(transport: &'a Arc<Transport>) -> Self {
        Self { transport }
    }

    pub(crate) fn transport(&self) -> &'a Arc<Transport> {
        self.transport
    }

    /// A file's information.
    ///
    /// Vendor: <https://developer.box.com/reference/get-files-id/>. A file that the token's user
    /// may not see is [`NotFound`](crate::ErrorKind::NotFound) too.
    pub fn get(&self, id: &FileId) -> GetFile<'a> {
        GetFile {
            transport: self.transport,
            id: id.clone(),
            fields: Vec::new(),
            shared_link: None,
        }
    }

    /// Changes a file: its name, folder, description, tags.
    ///
    /// Vendor: <https://developer.box.com/reference/put-files-id/>
    pub fn update(&self, id: &FileId) -> UpdateFile<'a> {
        UpdateFile::new(self.transport, "files.update", id)
    }

    /// Gives a file another name.
    pub fn rename(&self, id: &FileId, name: impl Into<String>) -> UpdateFile<'a> {
        UpdateFile::new(self.transport, "files.rename", id).name(name)
    }

    /// Moves a file to another folder.
    pub fn move_to(&self, id: &FileId, folder: &FolderId) -> UpdateFile<'a> {
        UpdateFile::new(self.transport, "files.move", id).parent(folder)
    }

    /// Locks a file, so that nobody else may change it. Somebody else's lock is
    /// [`Forbidden`](crate::ErrorKind::Forbidden) with the code `access_denied_item_locked`.
    pub fn lock(&self, id: &FileId) -> LockFile<'a> {
        LockFile::new(self.transport, id)
    }

    /// Takes the lock off a file.
    pub fn unlock(&self, id: &FileId) -> UpdateFile<'a> {
        UpdateFile::new(self.transport, "files.unlock", id).field("lock", Value::Null)
    }

    /// Copies a file into a folder.
    ///
    /// Vendor: <https://developer.box.com/reference/post-files-id-copy/>. A repeat would make
    /// another copy, so an unknown outcome is reported.
    pub fn copy(&self, id: &FileId, folder: &FolderId) -> CopyFile<'a> {
        CopyFile::new(self.transport, id, folder)
    }

    /// Puts a file into the trash, or deletes it for good where the enterprise keeps none.
    ///
    /// Vendor: <https://developer.box.com/reference/delete-files-id/>
    pub fn delete(&self, id: &FileId) -> DeleteFile<'a> {
        DeleteFile::new(self.transport, id)
    }

    /// A file in the trash.
    ///
    /// Vendor: <https://developer.box.com/reference/get-files-id-trash/>
    pub async fn trashed(&self, id: &FileId) -> Result<File> {
        let path = ["files", id.as_str(), "trash"];
        let call = Call::new("files.trashed", Method::GET, path);
        self.transport.json(&call).await
    }

    /// Takes a file out of the trash.
    ///
    /// Vendor: <https://developer.box.com/reference/post-files-id/>
    pub fn restore(&self, id: &FileId) -> RestoreFile<'a> {
        RestoreFile::new(self.transport, id)
    }

    /// Deletes a file in the trash for good.
    ///
    /// Vendor: <https://developer.box.com/reference/delete-files-id-trash/>
    pub async fn delete_permanently(&self, id: &FileId) -> Result<()> {
        let path = ["files", id.as_str(), "trash"];
        let call = Call::new("files.delete_permanently", Method::DELETE, path);
        self.transport.gone(&call).await
    }

    /// A file's bytes, streamed, verified and resumed.
    ///
    /// Vendor: <https://developer.box.com/reference/get-files-id-content/>. Box sends the caller
    /// on to another host, which is asked without the token; right after an upload it may say 202,
    /// which is waited out within the client's deadline.
    pub fn download(&self, id: &FileId) -> DownloadRequest {
        DownloadRequest::new(Arc::clone(self.transport), id)
    }
}

/// Reads a file's information. From [`Files::get`].
#[must_use = "nothing is sent before send()"]
pub struct GetFile<'a> {
    transport: &'a Transport,
    id: FileId,
    fields: Vec<String>,
    shared_link: Option<SharedLinkAccess>,
}

impl std::fmt::Debug for GetFile<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GetFile")
            .field("id", &self.id)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

impl GetFile<'_> {
    /// Asks for these fields only, besides id, type and the like: `lock` comes only when it is
    /// asked for, and a template's values as `metadata.enterprise_12345.templateKey`.
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
    pub async fn send(self) -> Result<File> {
        let call = Call::new("files.get", Method::GET, ["files", self.id.as_str()])
            .fields(&self.fields)
            .shared_link(self.shared_link.as_ref())?;
        self.transport.json(&call).await
    }
}

/// A file.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct File {
    /// Its id.
    pub id: FileId,
    /// Its name.
    pub name: Option<String>,
    /// Changes with each change of the file.
    #[serde(default, deserialize_with = "text_or_number")]
    pub etag: Option<String>,
    /// SHA-1 of the current version's bytes, in hex.
    pub sha1: Option<String>,
    /// Bytes of the current version.
    #[serde(default, deserialize_with = "whole_number")]
    pub size: Option<u64>,
    /// The current version.
    pub file_version: Option<FileVersionMini>,
    /// The folders from the root down to the parent.
    pub path_collection: Option<PathCollection>,
    /// The folder it lies in.
    pub parent: Option<FolderMini>,
    /// Who holds the file, when somebody does; only when asked for by `fields`. It can have
    /// expired already.
    pub lock: Option<Lock>,
    /// The link by which others open it, if there is one.
    #[serde(default, deserialize_with = "lenient")]
    pub shared_link: Option<SharedLink>,
    /// What a person wrote about it.
    pub description: Option<String>,
    /// When it was made in Box.
    pub created_at: Option<Timestamp>,
    /// When it was last changed in Box.
    pub modified_at: Option<Timestamp>,
    /// `active`, `trashed` or `deleted`.
    pub item_status: Option<String>,
    /// Everything else, as it came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A version as it is named inside a file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct FileVersionMini {
    /// Its id.
    pub id: FileVersionId,
    /// SHA-1 of its bytes, in hex.
    pub sha1: Option<String>,
}

/// A past version of a file.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct FileVersion {
    /// Its id.
    pub id: FileVersionId,
    /// SHA-1 of its bytes, in hex.
    pub sha1: Option<String>,
    /// The file's name at that time.
    pub name: Option<String>,
    /// Its bytes.
    #[serde(default, deserialize_with = "whole_number")]
    pub size: Option<u64>,
    /// When it was made in Box.
    pub created_at: Option<Timestamp>,
    /// When it was last changed in Box.
    pub modified_at: Option<Timestamp>,
    /// When it was deleted, if it was: its bytes cannot be had any more.
    pub trashed_at: Option<Timestamp>,
}

/// A hold on a file.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Lock {
    /// Its id.
    pub id: Option<String>,
    /// Who made it.
    pub created_by: Option<UserMini>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it ends by itself.
    pub expired_at: Option<Timestamp>,
    /// Whether nobody else may download the file meanwhile.
    #[serde(default, deserialize_with = "crate::lenient::null_to_default")]
    pub is_download_prevented: bool,
    /// The program that holds it.
    pub app_type: Option<String>,
}

impl Lock {
    /// Whether it still holds at `now`.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.expired_at.is_none_or(|end| now < end)
    }
}

/// A user as named inside other things.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct UserMini {
    /// The user's id.
    pub id: Option<UserId>,
    /// The user's name; empty while an invitation is pending.
    pub name: Option<String>,
    /// The user's e-mail address.
    pub login: Option<String>,
}

/// A folder as named inside other things.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct FolderMini {
    /// Its id.
    pub id: FolderId,
    /// Its name.
    pub name: Option<String>,
}

/// The way from the root to an item, without the item.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct PathCollection {
    /// The folders, root first.
    #[serde(default, deserialize_with = "crate::lenient::null_to_default")]
    pub entries: Vec<FolderMini>,
}

impl From<Folder> for FolderMini {
    fn from(folder: Folder) -> Self {
        Self {
            id: folder.id,
            name: folder.name,
        }
    }
}

/// Guides print etags as numbers; the API sends text or null.
pub(crate) fn text_or_number<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    Ok(match Option::<Value>::deserialize(deserializer)? {
        Some(Value::String(text)) => Some(text),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    })
}

/// Sizes can come as floats with an exponent (Box, "Large numbers").
pub(crate) fn whole_number<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(deserializer)? else {
        return Ok(None);
    };
    if let Some(whole) = number.as_u64() {
        return Ok(Some(whole));
    }
    match number.as_f64() {
        // 2^63: a size beyond it is none.
        Some(float) if (0.0..9.2e18).contains(&float) => Ok(Some(float as u64)),
        _ => Err(de::Error::custom("a size must be a number from 0")),
    }
}
