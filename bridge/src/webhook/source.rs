//! What an event is about.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    event::{Actor, EventError},
    fields::Fields,
};

/// What an event is about. When an item is deleted, and in some other cases, Box sends a stub
/// that has only type and id.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Source {
    /// A file.
    File(Box<FileSource>),
    /// A folder.
    Folder(Box<FolderSource>),
    /// A collaboration. The folder is its item, as far as it is known.
    Collaboration(Box<CollaborationSource>),
    /// A comment on an item.
    Comment(Box<AttachedSource>),
    /// A task on an item, given to somebody.
    TaskAssignment(Box<AttachedSource>),
    /// A bookmark.
    WebLink(Box<WebLinkSource>),
    /// Something else, or one of the above without an id.
    Other(Box<OtherSource>),
    /// Nothing.
    None,
}

/// A file in an event.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FileSource {
    /// Its id.
    pub id: String,
    /// The version that the event is about.
    pub version: Option<FileVersionRef>,
    /// Its name, with extension.
    pub name: Option<String>,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// SHA-1 of its bytes, in hex.
    pub sha1: Option<String>,
    /// Changes with every change of the file.
    pub etag: Option<String>,
    /// Grows with every change of the file.
    pub sequence_id: Option<String>,
    /// The folder that it lies in.
    pub parent: Option<ItemRef>,
    /// The folders from the root down to the parent.
    pub path: Vec<ItemRef>,
    /// When it was made in Box.
    pub created_at: Option<Timestamp>,
    /// When it was last changed in Box.
    pub modified_at: Option<Timestamp>,
    /// Everything else that is not null, as it came.
    pub extra: Map<String, Value>,
}

/// A version by id.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FileVersionRef {
    /// Its id.
    pub id: String,
    /// SHA-1 of its bytes, in hex.
    pub sha1: Option<String>,
}

/// A folder in an event.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FolderSource {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Changes with every change of the folder.
    pub etag: Option<String>,
    /// Grows with every change of the folder.
    pub sequence_id: Option<String>,
    /// The folder that it lies in.
    pub parent: Option<ItemRef>,
    /// The folders from the root down to the parent.
    pub path: Vec<ItemRef>,
    /// When it was made in Box.
    pub created_at: Option<Timestamp>,
    /// When it was last changed in Box.
    pub modified_at: Option<Timestamp>,
    /// Everything else that is not null, as it came.
    pub extra: Map<String, Value>,
}

/// A collaboration in an event.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CollaborationSource {
    /// Its id.
    pub id: Option<String>,
    /// `pending`, `accepted` or `rejected`.
    pub status: Option<String>,
    /// The role given.
    pub role: Option<String>,
    /// The user or group it is for.
    pub accessible_by: Option<Actor>,
    /// The address invited, where there is no account yet.
    pub invite_email: Option<String>,
    /// The folder or file; Box may leave it out while the invitation is pending.
    pub item: Option<ItemRef>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it was last changed.
    pub modified_at: Option<Timestamp>,
    /// Everything else that is not null, as it came.
    pub extra: Map<String, Value>,
}

/// Something that hangs on an item.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AttachedSource {
    /// Its own id.
    pub id: Option<String>,
    /// The item that it hangs on.
    pub item: Option<ItemRef>,
    /// What it says.
    pub message: Option<String>,
    /// Everything else that is not null, as it came.
    pub extra: Map<String, Value>,
}

/// A bookmark in an event.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WebLinkSource {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Where it leads.
    pub url: Option<String>,
    /// The folder that it lies in.
    pub parent: Option<ItemRef>,
    /// The folders from the root down to the parent.
    pub path: Vec<ItemRef>,
    /// Everything else that is not null, as it came.
    pub extra: Map<String, Value>,
}

/// Something that is not modelled.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OtherSource {
    /// Its type, such as `sign_request`.
    pub kind: Option<String>,
    /// Its id.
    pub id: Option<String>,
    /// Everything else that is not null, as it came.
    pub extra: Map<String, Value>,
}

/// An item by id and name.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ItemRef {
    /// Its id.
    pub id: String,
    /// `file`, `folder` or `web_link`.
    pub kind: Option<String>,
    /// Its name.
    pub name: Option<String>,
}

impl Source {
    /// The id of the item itself.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::File(file) => Some(&file.id),
            Self::Folder(folder) => Some(&folder.id),
            Self::Collaboration(collaboration) => collaboration.id.as_deref(),
            Self::Comment(attached) | Self::TaskAssignment(attached) => attached.id.as_deref(),
            Self::WebLink(link) => Some(&link.id),
            Self::Other(other) => other.id.as_deref(),
            Self::None => None,
        }
    }

    pub(super) fn read(mut fields: Fields) -> Result<Self, EventError> {
        let kind = fields.text("type");
        let id = fields.id("id", "source's")?;
        Ok(match (kind.as_deref(), id) {
            (Some("file"), Some(id)) => Self::File(Box::new(FileSource::read(id, fields)?)),
            (Some("folder"), Some(id)) => Self::Folder(Box::new(FolderSource::read(id, fields)?)),
            (Some("collaboration"), id) => {
                Self::Collaboration(Box::new(CollaborationSource::read(id, fields)?))
            }
            (Some("comment"), id) => Self::Comment(Box::new(AttachedSource::read(id, fields)?)),
            (Some("task_assignment"), id) => {
                Self::TaskAssignment(Box::new(AttachedSource::read(id, fields)?))
            }
            (Some("web_link"), Some(id)) => {
                Self::WebLink(Box::new(WebLinkSource::read(id, fields)?))
            }
            (_, id) => Self::Other(Box::new(OtherSource {
                kind,
                id,
                extra: fields.rest(),
            })),
        })
    }
}

impl FileSource {
    fn read(id: String, mut fields: Fields) -> Result<Self, EventError> {
        Ok(Self {
            id,
            version: fields.object("file_version").and_then(FileVersionRef::read),
            name: fields.text("name"),
            size: fields.size("size"),
            sha1: fields.text("sha1"),
            etag: fields.text_or_number("etag"),
            sequence_id: fields.text_or_number("sequence_id"),
            parent: ItemRef::read(fields.object("parent"))?,
            path: path(&mut fields)?,
            created_at: fields.time("created_at"),
            modified_at: fields.time("modified_at"),
            extra: fields.rest(),
        })
    }
}

impl FileVersionRef {
    /// Without an id that can be one, whoever needs the version asks Box.
    fn read(mut fields: Fields) -> Option<Self> {
        let id = fields.optional_id("id")?;
        Some(Self {
            id,
            sha1: fields.text("sha1"),
        })
    }
}

impl FolderSource {
    fn read(id: String, mut fields: Fields) -> Result<Self, EventError> {
        Ok(Self {
            id,
            name: fields.text("name"),
            etag: fields.text_or_number("etag"),
            sequence_id: fields.text_or_number("sequence_id"),
            parent: ItemRef::read(fields.object("parent"))?,
            path: path(&mut fields)?,
            created_at: fields.time("created_at"),
            modified_at: fields.time("modified_at"),
            extra: fields.rest(),
        })
    }
}

impl CollaborationSource {
    fn read(id: Option<String>, mut fields: Fields) -> Result<Self, EventError> {
        Ok(Self {
            id,
            status: fields.text("status"),
            role: fields.text("role"),
            accessible_by: fields.object("accessible_by").map(Actor::read),
            invite_email: fields.text("invite_email"),
            item: ItemRef::read(fields.object("item"))?,
            created_at: fields.time("created_at"),
            modified_at: fields.time("modified_at"),
            extra: fields.rest(),
        })
    }
}

impl AttachedSource {
    fn read(id: Option<String>, mut fields: Fields) -> Result<Self, EventError> {
        Ok(Self {
            id,
            item: ItemRef::read(fields.object("item"))?,
            message: fields.text("message"),
            extra: fields.rest(),
        })
    }
}

impl WebLinkSource {
    fn read(id: String, mut fields: Fields) -> Result<Self, EventError> {
        Ok(Self {
            id,
            name: fields.text("name"),
            url: fields.text("url"),
            parent: ItemRef::read(fields.object("parent"))?,
            path: path(&mut fields)?,
            extra: fields.rest(),
        })
    }
}

impl ItemRef {
    fn read(fields: Option<Fields>) -> Result<Option<Self>, EventError> {
        let Some(mut fields) = fields else {
            return Ok(None);
        };
        let id = fields.id("id", "item's")?;
        Ok(id.map(|id| Self {
            id,
            kind: fields.text("type"),
            name: fields.text("name"),
        }))
    }
}

fn path(fields: &mut Fields) -> Result<Vec<ItemRef>, EventError> {
    let entries = fields
        .object("path_collection")
        .and_then(|mut path| path.array("entries"));
    entries
        .into_iter()
        .flatten()
        .filter_map(|entry| ItemRef::read(Fields::of(entry)).transpose())
        .collect()
}
