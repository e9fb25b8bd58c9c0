//! Items as Box shows them, whole, mini, or with the fields asked for.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    clock::stamp,
    items::{File, Item, Kind, Tree, Version},
    listing,
    people::User,
};

const MINI: &[&str] = &[
    "id",
    "type",
    "sequence_id",
    "etag",
    "sha1",
    "name",
    "file_version",
];

/// Shown when no fields are named; the rest only by name.
const STANDARD: &[&str] = &[
    "description",
    "size",
    "path_collection",
    "created_at",
    "modified_at",
    "trashed_at",
    "purged_at",
    "content_created_at",
    "content_modified_at",
    "created_by",
    "modified_by",
    "owned_by",
    "shared_link",
    "folder_upload_email",
    "parent",
    "item_status",
    "item_collection",
];

/// The `fields` parameter.
#[derive(Clone, Debug)]
pub(super) struct Fields(Option<Vec<String>>);

impl Fields {
    pub(super) const STANDARD: Self = Self(None);

    pub(super) fn read(parameter: Option<&str>) -> Self {
        let names = |text: &str| text.split(',').map(|name| name.trim().to_owned()).collect();
        Self(parameter.filter(|text| !text.is_empty()).map(names))
    }

    pub(super) fn mini() -> Self {
        Self(Some(Vec::new()))
    }

    /// Mini items, unless more is asked for.
    pub(super) fn or_mini(self) -> Self {
        Self(Some(self.0.unwrap_or_default()))
    }

    fn shows(&self, name: &str) -> bool {
        MINI.contains(&name) || self.names(name) || self.0.is_none() && STANDARD.contains(&name)
    }

    /// Whether fields were asked for by name.
    pub(super) fn are_named(&self) -> bool {
        self.0.is_some()
    }

    /// As a metadata query names them: values of a template one by one, of which all are shown.
    pub(super) fn of(names: Vec<String>, slot: &(String, String)) -> Self {
        let (scope, key) = slot;
        let prefix = format!("metadata.{scope}.{key}");
        let whole = |name: String| match name.starts_with(&prefix) {
            true => prefix.clone(),
            false => name,
        };
        Self(Some(names.into_iter().map(whole).collect()))
    }

    pub(super) fn names(&self, name: &str) -> bool {
        self.0.iter().flatten().any(|wanted| wanted == name)
    }

    fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .flatten()
            .filter_map(|name| name.strip_prefix("metadata.")?.split_once('.'))
    }
}

pub(super) fn item(tree: &Tree, item: &Item, fields: &Fields) -> Value {
    let mut shown = Map::new();
    let mut show = |name: &str, value: &dyn Fn() -> Value| {
        if fields.shows(name) {
            shown.insert(name.to_owned(), value());
        }
    };
    let etag = item.etag();
    show("type", &|| item.type_name().into());
    show("id", &|| item.id.as_str().into());
    show("sequence_id", &|| json!(etag));
    show("etag", &|| json!(etag));
    show("name", &|| item.name.as_str().into());
    show("description", &|| item.description.as_str().into());
    show("tags", &|| json!(item.tags));
    show("path_collection", &|| path(tree, item));
    show("created_at", &|| stamped(item, item.created_at));
    show("modified_at", &|| stamped(item, item.modified_at));
    show("content_created_at", &|| {
        stamped(item, item.content_created_at)
    });
    show("content_modified_at", &|| {
        stamped(item, item.content_modified_at)
    });
    show("trashed_at", &|| json!(item.trashed_at.map(stamp)));
    show("purged_at", &|| Value::Null);
    show("created_by", &|| item.created_by.mini());
    show("modified_by", &|| item.modified_by.mini());
    show("owned_by", &|| User::service_account().mini());
    show("shared_link", &|| {
        let link = item.shared_link.as_ref();
        link.filter(|_| item.trashed_at.is_none())
            .map_or(Value::Null, |link| link.json(item))
    });
    show("disposition_at", &|| json!(item.disposition_at.map(stamp)));
    show(
        "parent",
        &|| match item.parent.as_ref().and_then(|parent| tree.get(parent)) {
            Some(parent) => mini(tree, parent),
            None => Value::Null,
        },
    );
    show("item_status", &|| {
        if item.trashed_at.is_some() {
            "trashed"
        } else {
            "active"
        }
        .into()
    });
    show("is_externally_owned", &|| false.into());
    match &item.kind {
        Kind::File(file) => file_fields(item, file, &mut show),
        Kind::Folder(_) => {
            show("size", &|| folder_size(tree, &item.id).into());
            show("folder_upload_email", &|| Value::Null);
            show("item_collection", &|| listing::collection(tree, &item.id));
        }
    }
    let metadata = inline_metadata(item, fields);
    if !metadata.is_empty() {
        shown.insert("metadata".to_owned(), metadata.into());
    }
    shown.into()
}

pub(super) fn mini(tree: &Tree, of: &Item) -> Value {
    item(tree, of, &Fields::mini())
}

/// What webhooks say of an item.
pub(super) fn standard(tree: &Tree, of: &Item) -> Value {
    let mut value = item(tree, of, &Fields::STANDARD);
    if let Some(map) = value.as_object_mut() {
        map.remove("item_collection");
    }
    value
}

pub(super) fn version(version: &Version, fields: &Fields) -> Value {
    let mut value = json!({
        "type": "file_version",
        "id": version.id,
        "sha1": version.stored.sha1,
        "name": version.name,
        "size": version.stored.content.size(),
        "created_at": stamp(version.created_at),
        "modified_at": stamp(version.modified_at),
        "modified_by": version.modified_by.mini(),
        "trashed_at": null,
        "purged_at": null,
        "uploader_display_name": version.modified_by.name,
    });
    if fields.names("version_number") {
        value["version_number"] = version.number.to_string().into();
    }
    if let (Some(_), Some(map)) = (&fields.0, value.as_object_mut()) {
        map.retain(|name, _| ["id", "type", "sha1"].contains(&name.as_str()) || fields.names(name));
    }
    value
}

pub(super) fn user(user: &User, fields: &Fields) -> Value {
    let mut value = user.mini();
    let more = json!({
        "status": "active",
        "language": "en",
        "timezone": "America/Los_Angeles",
        "space_amount": 10_737_418_240_u64,
        "space_used": 0,
        "max_upload_size": 53_687_091_200_u64,
    });
    if let (Some(map), Some(more)) = (value.as_object_mut(), more.as_object()) {
        let shown = more
            .iter()
            .filter(|(name, _)| fields.0.is_none() || fields.names(name));
        map.extend(shown.map(|(name, value)| (name.clone(), value.clone())));
    }
    value
}

fn file_fields(item: &Item, file: &File, show: &mut impl FnMut(&str, &dyn Fn() -> Value)) {
    let current = &file.current;
    show("sha1", &|| current.stored.sha1.as_str().into());
    show("size", &|| current.stored.content.size().into());
    show(
        "file_version",
        &|| json!({ "type": "file_version", "id": current.id, "sha1": current.stored.sha1 }),
    );
    show("version_number", &|| current.number.to_string().into());
    show("lock", &|| {
        file.lock().map_or(Value::Null, |lock| lock.json())
    });
    show("comment_count", &|| 0.into());
    show("is_package", &|| false.into());
    show("classification", &|| Value::Null);
    show("uploader_display_name", &|| {
        current.modified_by.name.as_str().into()
    });
    show("extension", &|| {
        item.name
            .rsplit_once('.')
            .map_or("", |(_, extension)| extension)
            .into()
    });
    show("permissions", &|| {
        json!({
            "can_annotate": true, "can_comment": true, "can_preview": true, "can_upload": true,
            "can_view_annotations_all": true, "can_view_annotations_self": true,
            "can_delete": true, "can_download": true, "can_invite_collaborator": true,
            "can_rename": true, "can_set_share_access": true, "can_share": true,
        })
    });
}

/// `metadata.{scope}.{key}` among the fields.
fn inline_metadata(item: &Item, fields: &Fields) -> Map<String, Value> {
    let mut scopes = Map::new();
    for (scope, key) in fields.metadata() {
        let slot = (scope.to_owned(), key.to_owned());
        if let Some(instance) = item.metadata.get(&slot) {
            let keys = scopes.entry(scope).or_insert_with(|| json!({}));
            keys[key] = instance.json(item);
        }
    }
    scopes
}

fn path(tree: &Tree, item: &Item) -> Value {
    if item.trashed_at.is_some() {
        let trash = json!({ "type": "folder", "id": "1", "sequence_id": null, "etag": null, "name": "Trash" });
        return json!({ "total_count": 1, "entries": [trash] });
    }
    let chain = tree.chain(&item.id);
    let ancestors = chain.iter().skip(1).rev().filter_map(|id| tree.get(id));
    let entries: Vec<Value> = ancestors.map(|folder| mini(tree, folder)).collect();
    json!({ "total_count": entries.len(), "entries": entries })
}

/// The root has no times.
fn stamped(item: &Item, at: Timestamp) -> Value {
    json!(item.parent.is_some().then(|| stamp(at)))
}

fn folder_size(tree: &Tree, folder: &str) -> u64 {
    let size = |id: &String| match tree.get(id).map(|item| &item.kind) {
        Some(Kind::File(file)) => file.current.stored.content.size(),
        Some(Kind::Folder(_)) => folder_size(tree, id),
        None => 0,
    };
    tree.children(folder).iter().map(size).sum()
}
