//! Items of any kind, as searches and queries find them.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{File, Folder, ItemId, MetadataInstance};

/// An item that a search or a metadata query found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FoundItem {
    /// A file.
    File(Box<File>),
    /// A folder.
    Folder(Box<Folder>),
    /// Something else, such as a web link, as it came.
    Other(Value),
}

impl FoundItem {
    /// The id of a file or folder.
    pub fn id(&self) -> Option<ItemId> {
        match self {
            Self::File(file) => Some((&file.id).into()),
            Self::Folder(folder) => Some((&folder.id).into()),
            Self::Other(_) => None,
        }
    }

    /// The name.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::File(file) => file.name.as_deref(),
            Self::Folder(folder) => folder.name.as_deref(),
            Self::Other(item) => item.get("name")?.as_str(),
        }
    }

    /// A template's values, when they were asked for by `fields`. The scope is the full one.
    pub fn metadata(&self, scope: &str, template: &str) -> Option<MetadataInstance> {
        let metadata = match self {
            Self::File(file) => file.extra.get("metadata"),
            Self::Folder(folder) => folder.extra.get("metadata"),
            Self::Other(item) => item.get("metadata"),
        };
        MetadataInstance::deserialize(metadata?.get(scope)?.get(template)?).ok()
    }
}

/// One odd item must not make a whole page unreadable.
impl<'de> Deserialize<'de> for FoundItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let item = Value::deserialize(deserializer)?;
        let known = match item.get("type").and_then(Value::as_str) {
            Some("file") => File::deserialize(&item)
                .ok()
                .map(|it| Self::File(it.into())),
            Some("folder") => Folder::deserialize(&item)
                .ok()
                .map(|it| Self::Folder(it.into())),
            _ => None,
        };
        Ok(known.unwrap_or(Self::Other(item)))
    }
}
