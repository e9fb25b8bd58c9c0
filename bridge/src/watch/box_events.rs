//! Box's event streams in the words of its webhooks.

use std::collections::BTreeSet;

use async_trait::async_trait;
use box_client::{BoxClient, Event, EventType, ItemId, StreamPosition, UserStream};
use serde_json::{Value, json};

use super::{
    event_names::{Named, Stream},
    port::{EventPage, EventStream, Happening},
};
use crate::{box_content::port_error, port_error::PortError};

/// One of Box's event streams.
#[derive(Clone, Debug)]
pub struct BoxEvents {
    client: BoxClient,
    of: Stream,
    types: Vec<EventType>,
}

impl BoxEvents {
    /// What the client's own user has done or can see, kept for two weeks at least.
    ///
    /// Vendor: <https://developer.box.com/guides/events/user-events/>
    pub fn user(client: BoxClient) -> Self {
        let of = Stream::User;
        Self {
            client,
            of,
            types: Vec::new(),
        }
    }

    /// What has happened in the whole enterprise, kept for two weeks, as far as webhooks with these
    /// triggers would tell of it. Needs scope `manage_enterprise_properties` and an administrator
    /// who sees reports.
    ///
    /// Vendor: <https://developer.box.com/guides/events/enterprise-events/for-enterprise/>
    pub fn enterprise<T: AsRef<str>>(
        client: BoxClient,
        triggers: impl IntoIterator<Item = T>,
    ) -> Self {
        let of = Stream::Enterprise;
        let types = triggers.into_iter();
        let types = types.flat_map(|trigger| of.types_of(trigger.as_ref()));
        let types: BTreeSet<_> = types.collect();
        Self {
            client,
            of,
            types: types.into_iter().map(EventType::from).collect(),
        }
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

    fn tells(&self, trigger: &str) -> bool {
        !self.of.types_of(trigger).is_empty()
    }

    async fn page(&self, from: Option<&str>) -> Result<EventPage, PortError> {
        let position = from.map_or_else(StreamPosition::now, StreamPosition::new);
        let events = self.client.events();
        let page = match self.of {
            // Not `changes`: it leaves out previews and downloads.
            Stream::User => events.user(UserStream::All).from(position).page().await,
            Stream::Enterprise => {
                let events = events.enterprise().event_types(self.types.iter().cloned());
                events.from(position).page().await
            }
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

/// A file or folder that an event is about.
struct Item {
    kind: &'static str,
    id: String,
    name: Option<String>,
    parent: Value,
}

fn happenings(event: &Event) -> Vec<Happening> {
    let (Some(id), Some(event_type)) = (&event.event_id, &event.event_type) else {
        return Vec::new();
    };
    items(event)
        .iter()
        .filter_map(|item| Some((Named::of(event_type.as_str(), item.kind)?, item)))
        .flat_map(|(named, item)| told(event, id, named.triggers, item))
        .collect()
}

/// What it happened to. A sign request has several files.
fn items(event: &Event) -> Vec<Item> {
    if let Some(files) = sign_request(event).and_then(|it| it.get("files")?.as_array()) {
        let file = |file: &Value| {
            Some(Item {
                kind: "file",
                id: file.get("id")?.as_str()?.to_owned(),
                name: file.get("name").and_then(Value::as_str).map(str::to_owned),
                parent: file.get("parent").cloned().unwrap_or_default(),
            })
        };
        return files.iter().filter_map(file).collect();
    }
    let Some(source) = &event.source else {
        return Vec::new();
    };
    let Some(item) = event.item() else {
        // A comment or the like hangs on one.
        return source.get("item").and_then(hung_on).into_iter().collect();
    };
    let (kind, id) = match &item.id {
        ItemId::File(id) => ("file", id.as_str()),
        ItemId::Folder(id) => ("folder", id.as_str()),
        _ => return Vec::new(),
    };
    vec![Item {
        kind,
        id: id.to_owned(),
        name: item.name,
        parent: source.get("parent").cloned().unwrap_or_default(),
    }]
}

fn hung_on(item: &Value) -> Option<Item> {
    let kind = match item.get("type")?.as_str()? {
        "file" => "file",
        "folder" => "folder",
        _ => return None,
    };
    Some(Item {
        kind,
        id: item.get("id")?.as_str()?.to_owned(),
        name: item.get("name").and_then(Value::as_str).map(str::to_owned),
        parent: item.get("parent").cloned().unwrap_or_default(),
    })
}

fn told(event: &Event, id: &str, triggers: &[&str], item: &Item) -> Vec<Happening> {
    let by = event.created_by.as_ref().map_or(
        Value::Null,
        |user| json!({ "type": "user", "id": user.id, "name": user.name, "login": user.login }),
    );
    let first = triggers.first().copied().unwrap_or_default();
    let hangs_on = |kind: &str| {
        json!({
            "type": kind,
            "item": {
                "type": item.kind, "id": item.id, "name": item.name, "parent": item.parent,
            },
            "accessible_by": event.extra.get("accessible_by"),
        })
    };
    let source = match first.split_once('.') {
        Some(("COLLABORATION", _)) => hangs_on("collaboration"),
        Some(("COMMENT", _)) => hangs_on("comment"),
        Some(("TASK_ASSIGNMENT", _)) => hangs_on("task_assignment"),
        _ => source(event, item),
    };
    // Which version it was the stream does not say.
    let is_certain = triggers != ["FILE.UPLOADED"] || source.pointer("/file_version/id").is_some();
    let (details, id) = match sign_request(event) {
        Some(request) => (
            json!({
                "sign_request_id": request.get("sign_request_id"),
                "external_id": request.get("external_id"),
            }),
            // Each of its files is an event of its own.
            format!("{id}:{}", item.id),
        ),
        None => (json!([]), id.to_owned()),
    };
    let happening = |(position, trigger): (usize, &&str)| Happening {
        id: id.clone(),
        trigger: (*trigger).to_owned(),
        at: event.created_at,
        by: by.clone(),
        source: source.clone(),
        details: details.clone(),
        is_certain: is_certain && position == 0,
    };
    triggers.iter().enumerate().map(happening).collect()
}

/// As a webhook shows it, as far as the stream tells: what is missing is read when the event is worked
/// on.
fn source(event: &Event, item: &Item) -> Value {
    match &event.source {
        Some(source) if source.get("id").is_some_and(|id| *id == *item.id) => source.clone(),
        _ => json!({ "type": item.kind, "id": item.id, "parent": item.parent }),
    }
}

fn sign_request(event: &Event) -> Option<&Value> {
    event.additional_details.as_ref()?.get("sign_request")
}
