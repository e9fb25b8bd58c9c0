//! An event, in the shapes of users' and enterprises' streams.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{FolderMini, ItemId, UserMini, open_enum::open_enum};

/// Something that happened.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// Its id, by which repeats are known, in all streams.
    #[serde(default, deserialize_with = "or_none")]
    pub event_id: Option<String>,
    /// What happened.
    #[serde(default, deserialize_with = "or_none")]
    pub event_type: Option<EventType>,
    /// When it happened.
    #[serde(default, deserialize_with = "or_none")]
    pub created_at: Option<Timestamp>,
    /// When Box took it down.
    #[serde(default, deserialize_with = "or_none")]
    pub recorded_at: Option<Timestamp>,
    /// Who did it; the id `2` is anybody with a link.
    #[serde(default, deserialize_with = "or_none")]
    pub created_by: Option<UserMini>,
    /// The user's session.
    #[serde(default, deserialize_with = "or_none")]
    pub session_id: Option<String>,
    /// What it happened to, as it came: a user's stream shows the file or folder itself, the
    /// enterprise's only names it. See [`item`](Self::item).
    #[serde(default)]
    pub source: Option<Value>,
    /// More about it, in the enterprise's streams only.
    #[serde(default)]
    pub additional_details: Option<Value>,
    /// Everything else, as it came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Event {
    /// The file or folder that it happened to, in either shape.
    pub fn item(&self) -> Option<EventItem> {
        let source = self.source.as_ref()?;
        let named = || {
            let reference = serde_json::json!({
                "type": source.get("item_type")?,
                "id": source.get("item_id")?,
            });
            ItemId::read(&reference)
        };
        let id = ItemId::read(source).or_else(named)?;
        let name = source.get("name").or_else(|| source.get("item_name"));
        Some(EventItem {
            id,
            name: name.and_then(Value::as_str).map(str::to_owned),
            parent: source
                .get("parent")
                .and_then(|parent| FolderMini::deserialize(parent).ok()),
        })
    }
}

/// One odd member must not stop a whole stream.
fn or_none<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// A file or folder that something happened to.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct EventItem {
    /// Its id.
    pub id: ItemId,
    /// Its name.
    pub name: Option<String>,
    /// The folder it lies in.
    pub parent: Option<FolderMini>,
}

open_enum! {
    /// What happened. Types about content are listed here; all others are read as they come.
    ///
    /// Vendor: <https://developer.box.com/guides/events/event-types/>. Users' and enterprises'
    /// streams have different words for the same.
    EventType {
        /// User: uploaded, also as a new version.
        ItemUpload = "ITEM_UPLOAD",
        /// User: a folder was made.
        ItemCreate = "ITEM_CREATE",
        /// User: moved.
        ItemMove = "ITEM_MOVE",
        /// User: renamed.
        ItemRename = "ITEM_RENAME",
        /// User: copied.
        ItemCopy = "ITEM_COPY",
        /// User and enterprise: edited.
        ItemModify = "ITEM_MODIFY",
        /// User: put into the trash.
        ItemTrash = "ITEM_TRASH",
        /// User: taken out of the trash.
        ItemUndeleteViaTrash = "ITEM_UNDELETE_VIA_TRASH",
        /// User: an old version was made the current one.
        ItemMakeCurrentVersion = "ITEM_MAKE_CURRENT_VERSION",
        /// User: downloaded.
        ItemDownload = "ITEM_DOWNLOAD",
        /// User: previewed.
        ItemPreview = "ITEM_PREVIEW",
        /// User: shared.
        ItemShared = "ITEM_SHARED",
        /// User: locked.
        LockCreate = "LOCK_CREATE",
        /// User: unlocked.
        LockDestroy = "LOCK_DESTROY",
        /// User: invited to collaborate.
        CollabInviteCollaborator = "COLLAB_INVITE_COLLABORATOR",
        /// User: became a collaborator.
        CollabAddCollaborator = "COLLAB_ADD_COLLABORATOR",
        /// User: is a collaborator no longer.
        CollabRemoveCollaborator = "COLLAB_REMOVE_COLLABORATOR",
        /// User: has another role.
        CollabRoleChange = "COLLAB_ROLE_CHANGE",
        /// User and enterprise: commented on.
        CommentCreate = "COMMENT_CREATE",
        /// User and enterprise: a task was assigned.
        TaskAssignmentCreate = "TASK_ASSIGNMENT_CREATE",
        /// Enterprise: uploaded.
        Upload = "UPLOAD",
        /// Enterprise: edited.
        Edit = "EDIT",
        /// Enterprise: moved.
        Move = "MOVE",
        /// Enterprise: renamed.
        Rename = "RENAME",
        /// Enterprise: copied.
        Copy = "COPY",
        /// Enterprise: put into the trash.
        Delete = "DELETE",
        /// Enterprise: taken out of the trash.
        Undelete = "UNDELETE",
        /// Enterprise: locked.
        Lock = "LOCK",
        /// Enterprise: unlocked.
        Unlock = "UNLOCK",
        /// Enterprise: downloaded.
        Download = "DOWNLOAD",
        /// Enterprise: previewed.
        Preview = "PREVIEW",
        /// Enterprise: an old version was made the current one.
        FileVersionRestore = "FILE_VERSION_RESTORE",
        /// Enterprise: invited to collaborate.
        CollaborationInvite = "COLLABORATION_INVITE",
        /// Enterprise: became a collaborator.
        CollaborationAccept = "COLLABORATION_ACCEPT",
        /// Enterprise: is a collaborator no longer.
        CollaborationRemove = "COLLABORATION_REMOVE",
        /// Enterprise: has another role.
        CollaborationRoleChange = "COLLABORATION_ROLE_CHANGE",
        /// Enterprise: a template was applied.
        MetadataInstanceCreate = "METADATA_INSTANCE_CREATE",
        /// Enterprise: values of a template changed.
        MetadataInstanceUpdate = "METADATA_INSTANCE_UPDATE",
        /// Enterprise: a template was taken off.
        MetadataInstanceDelete = "METADATA_INSTANCE_DELETE",
        /// Enterprise: somebody signed.
        SignDocumentSigned = "SIGN_DOCUMENT_SIGNED",
        /// Enterprise: all have signed.
        SignDocumentCompleted = "SIGN_DOCUMENT_COMPLETED",
    }
}
