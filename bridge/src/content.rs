//! The side where the documents are.

use std::{fmt, fmt::Debug};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::port_error::PortError;

/// Reads the content side. Nothing here changes anything, so every call is safe to repeat.
#[async_trait]
pub trait ContentSource: Debug + Send + Sync + 'static {
    /// Reads a file's id as people write it. No call is made.
    fn file_id(&self, text: &str) -> Result<String, PortError> {
        Ok(text.to_owned())
    }

    /// The file as it is now.
    async fn file(&self, file: &str) -> Result<FileState, PortError>;

    /// The versions before the current one, oldest first, also those that were deleted as long as
    /// the side still knows of them.
    async fn earlier_versions(&self, file: &str) -> Result<Vec<FileVersion>, PortError>;

    /// The bytes of one version. Nobody has to have checked them yet. One that was deleted is
    /// [`NoContent`](crate::PortErrorKind::NoContent).
    async fn open(&self, file: &str, version: &FileVersion) -> Result<Content, PortError>;

    /// The folder as it is now.
    async fn folder(&self, folder: &str) -> Result<FolderState, PortError>;

    /// Whether what a sign request has its signers sign is final, so that its file is the signed
    /// one. A request that has ended without that, for somebody has declined or it has expired, is
    /// [`Refused`](crate::PortErrorKind::Refused). A side that knows of no sign requests has
    /// nothing to wait for.
    async fn is_final(&self, _sign_request: &str) -> Result<bool, PortError> {
        Ok(true)
    }

    /// The folder that a webhook watches, which is all that is known of where something happened
    /// when its event does not say. A side without webhooks has none.
    async fn watched(&self, _webhook: &str) -> Result<Option<FolderState>, PortError> {
        Ok(None)
    }

    /// The record that a folder itself, not one above it, is mapped to.
    async fn mapping(&self, folder: &str) -> Result<Option<Mapping>, PortError>;
}

/// A file and where it lies.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FileState {
    /// Its id.
    pub id: String,
    /// Its name, with extension.
    pub name: String,
    /// The version meant.
    pub version: FileVersion,
    /// The folders from the root down to the one that it lies in.
    pub folders: Vec<FolderRef>,
}

/// One version of a file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FileVersion {
    /// Its id.
    pub id: String,
    /// SHA-1 of its bytes in hex.
    pub sha1: Option<String>,
    /// Its length in bytes, where it is known beforehand.
    pub size: Option<u64>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// Whether it was deleted, so that its bytes are not to be had.
    #[serde(default)]
    pub is_deleted: bool,
}

/// A folder and where it lies.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FolderState {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The folders from the root down to the one that it lies in.
    pub folders: Vec<FolderRef>,
}

impl FolderState {
    /// The folders from the root down to this one itself: those whose mapping it can have.
    pub fn with_itself(&self) -> Vec<FolderRef> {
        let own = FolderRef {
            id: self.id.clone(),
            name: self.name.clone(),
        };
        self.folders.iter().cloned().chain([own]).collect()
    }
}

/// A folder by id and name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FolderRef {
    /// Its id.
    pub id: String,
    /// Its name, as far as it is known.
    pub name: String,
}

/// What a folder's metadata says of the record it belongs to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Mapping {
    /// The folder that carries it.
    pub folder: String,
    /// The template's values.
    pub values: Map<String, Value>,
}

/// Bytes on their way.
pub struct Content {
    /// How many will come.
    pub size: u64,
    /// The bytes. After an error nothing more comes.
    pub bytes: BoxStream<'static, Result<Bytes, PortError>>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
