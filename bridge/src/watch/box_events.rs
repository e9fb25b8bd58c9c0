//! Box's event streams in the words of its webhooks.

use async_trait::async_trait;
use box_client::{BoxClient, Event, ItemId, StreamPosition, UserStream};
use serde_json::{Value, json};

use super::port::{EventPage, EventStream, Happening};
use crate::{box_content::port_error, port_error::PortError};

/// One of Box's event streams.
#[derive(Clone, Debug)]
pub struct BoxEvents {
    client: BoxClient,
    of: Stream,
}

#[derive(Clone, Copy, Debug)]
enum Stream {
    User,
    Enterprise,
}

impl BoxEvents {
    /// What the client's own user has done or can see, kept for two weeks at least.
    ///
    /// Vendor: <https://developer.box.com/guides/events/user-events/>
    pub fn user(client: BoxClient) -> Self {
        let of = Stream::User;
        Self { client, of }
    }

    /// What has happened in the whole enterprise, kept for two weeks. Needs scope
    /// `manage_enterprise_properties` and an administrator who sees reports.
    ///
    /// Vendor: <https://developer.box.com/guides/events/enterprise-events/for-enterprise/>
    pub fn enterprise(client: BoxClient) -> Self {
        let of = Stream::Enterprise;
        Self { client, of }
    }
}

#[async_trait]
impl EventStream for BoxEvents {
    fn name(&self) -> &str {
        match self.of {
            Stream::User => "user",
            Stream::Enterprise => "enterprise",
        }
    }

    async fn page(&self, from: Option<&str>) -> Result<EventPage, PortError> {
        let position = from.map_or_else(StreamPosition::now, StreamPosition::new);
        let events = self.client.events();
        let page = match self.of {
            // Not `changes`: it leaves out previews and downloads.
            Stream::User => events.user(UserStream::All).from(position).page().await,
            Stream::Enterprise => events.enterprise().from(position).page().await,
        };
        let page = page.map_err(|error| port_error("read Box's events", error))?;
        let next = page.next.as_str().to_owned();
        Ok(EventPage {
            // Asked from `now`, there is nothing to come after.
            has_more: !page.entries.is_empty() && from.is_some_and(|from| from != next),
            events: page.entries.iter().flat_map(happenings).collect(),
            next,
        })
    }
}

fn happenings(event: &Event) -> Vec<Happening> {
    let named = (
        event.event_id.as_ref(),
        event.event_type.as_ref(),
        event.item(),
    );
    let (Some(id), Some(event_type), Some(item)) = named else {
        return Vec::new();
    };
    let (kind, item_id) = match &item.id {
        ItemId::File(id) => ("file", id.as_str()),
        ItemId::Folder(id) => ("folder", id.as_str()),
        _ => return Vec::new(),
    };
    let Some(triggers) = triggers(event_type.as_str(), kind) else {
        return Vec::new();
    };
    let by = event.created_by.as_ref().map_or(
        Value::Null,
        |user| json!({ "type": "user", "id": user.id, "name": user.name, "login": user.login }),
    );
    let mut source = source(event, kind, item_id);
    let mut is_certain = true;
    if kind == "file" && source.pointer("/file_version/id").is_none() {
        // Which version it was the stream does not say.
        is_certain = triggers != ["FILE.UPLOADED"];
    }
    if triggers[0].starts_with("COLLABORATION.") {
        source = json!({
            "type": "collaboration",
            "item": { "type": kind, "id": item_id, "name": item.name },
            "accessible_by": event.extra.get("accessible_by"),
        });
    }
    let happening = |(position, trigger): (usize, &&str)| Happening {
        id: id.clone(),
        trigger: (*trigger).to_owned(),
        at: event.created_at,
        by: by.clone(),
        source: source.clone(),
        is_certain: is_certain && position == 0,
    };
    triggers.iter().enumerate().map(happening).collect()
}

/// As a webhook shows it, as far as the stream tells: what is missing is read when the event is worked
/// on.
fn source(event: &Event, kind: &str, id: &str) -> Value {
    match &event.source {
        Some(source) if source.get("id").is_some() => source.clone(),
        _ => json!({ "type": kind, "id": id }),
    }
}

/// What webhooks call it. What comes after the first may follow from it: something moved or copied
/// into a folder is an upload to whoever watches that folder.
fn triggers(event_type: &str, kind: &str) -> Option<&'static [&'static str]> {
    Some(match (event_type, kind) {
        ("ITEM_UPLOAD" | "UPLOAD" | "EDIT", "file") => &["FILE.UPLOADED"],
        // No webhook tells of it for sure; the file has another current version.
        ("ITEM_MAKE_CURRENT_VERSION" | "FILE_VERSION_RESTORE", "file") => &["FILE.UPLOADED"],
        ("ITEM_MOVE" | "MOVE", "file") => &["FILE.MOVED", "FILE.UPLOADED"],
        ("ITEM_COPY" | "COPY", "file") => &["FILE.COPIED", "FILE.UPLOADED"],
        ("ITEM_RENAME" | "RENAME", "file") => &["FILE.RENAMED"],
        ("LOCK_CREATE" | "LOCK", "file") => &["FILE.LOCKED"],
        ("LOCK_DESTROY" | "UNLOCK", "file") => &["FILE.UNLOCKED"],
        ("ITEM_TRASH" | "DELETE", "file") => &["FILE.TRASHED"],
        ("ITEM_UNDELETE_VIA_TRASH" | "UNDELETE", "file") => &["FILE.RESTORED"],
        ("ITEM_PREVIEW" | "PREVIEW", "file") => &["FILE.PREVIEWED"],
        ("ITEM_DOWNLOAD" | "DOWNLOAD", "file") => &["FILE.DOWNLOADED"],
        ("SIGN_DOCUMENT_COMPLETED", "file") => &["SIGN_REQUEST.COMPLETED"],
        ("ITEM_CREATE" | "UPLOAD", "folder") => &["FOLDER.CREATED"],
        ("ITEM_MOVE" | "MOVE", "folder") => &["FOLDER.MOVED"],
        ("ITEM_COPY" | "COPY", "folder") => &["FOLDER.COPIED"],
        ("ITEM_RENAME" | "RENAME", "folder") => &["FOLDER.RENAMED"],
        ("ITEM_TRASH" | "DELETE", "folder") => &["FOLDER.TRASHED"],
        ("ITEM_UNDELETE_VIA_TRASH" | "UNDELETE", "folder") => &["FOLDER.RESTORED"],
        ("METADATA_INSTANCE_CREATE", _) => &["METADATA_INSTANCE.CREATED"],
        ("METADATA_INSTANCE_UPDATE", _) => &["METADATA_INSTANCE.UPDATED"],
        ("METADATA_INSTANCE_DELETE", _) => &["METADATA_INSTANCE.DELETED"],
        ("COLLAB_INVITE_COLLABORATOR" | "COLLABORATION_INVITE", _) => &["COLLABORATION.CREATED"],
        ("COLLAB_ADD_COLLABORATOR" | "COLLABORATION_ACCEPT", _) => &["COLLABORATION.ACCEPTED"],
        ("COLLAB_REMOVE_COLLABORATOR" | "COLLABORATION_REMOVE", _) => &["COLLABORATION.REMOVED"],
        ("COLLAB_ROLE_CHANGE" | "COLLABORATION_ROLE_CHANGE", _) => &["COLLABORATION.UPDATED"],
        _ => return None,
    })
}
