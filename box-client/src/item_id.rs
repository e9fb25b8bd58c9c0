//! Names a file or a folder where a call takes either.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{FileId, FileVersionMini, FolderId};

/// A file or a folder, for calls that take either. A `&FileId` or `&FolderId` becomes one.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ItemId {
    /// A file.
    File(FileId),
    /// A folder.
    Folder(FolderId),
}

impl ItemId {
    /// The id without what it names.
    pub fn as_str(&self) -> &str {
        match self {
            Self::File(id) => id.as_str(),
            Self::Folder(id) => id.as_str(),
        }
    }

    /// How paths begin.
    pub(crate) fn collection(&self) -> &'static str {
        match self {
            Self::File(_) => "files",
            Self::Folder(_) => "folders",
        }
    }

    /// From an item as Box shows it anywhere.
    pub(crate) fn read(item: &Value) -> Option<Self> {
        let id = item.get("id")?;
        match item.get("type")?.as_str()? {
            "file" => FileId::deserialize(id).ok().map(Self::File),
            "folder" => FolderId::deserialize(id).ok().map(Self::Folder),
            _ => None,
        }
    }

    pub(crate) fn reference(&self) -> Value {
        let kind = match self {
            Self::File(_) => "file",
            Self::Folder(_) => "folder",
        };
        json!({ "type": kind, "id": self.as_str() })
    }
}

impl From<FileId> for ItemId {
    fn from(id: FileId) -> Self {
        Self::File(id)
    }
}

impl From<&FileId> for ItemId {
    fn from(id: &FileId) -> Self {
        Self::File(id.clone())
    }
}

impl From<FolderId> for ItemId {
    fn from(id: FolderId) -> Self {
        Self::Folder(id)
    }
}

impl From<&FolderId> for ItemId {
    fn from(id: &FolderId) -> Self {
        Self::Folder(id.clone())
    }
}

/// A file as named inside other things.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct FileMini {
    /// Its id.
    pub id: FileId,
    /// Its name.
    pub name: Option<String>,
    /// SHA-1 of the current version's bytes, in hex.
    pub sha1: Option<String>,
    /// The current version.
    pub file_version: Option<FileVersionMini>,
}
