use serde_json::{Value, json};

use super::blob::Blob;
use super::checks::{not_writable, required};
use super::refusal::Refusal;
use super::schema::ObjectDef;
use super::store::{Actor, Org, Record, Values};
use super::values::stamp;

/// Stores a new file, or a new version of one, with all its links: one transaction.
pub(super) fn create_version(
    org: &mut Org,
    mut values: Values,
    blob: Option<Blob>,
    actor: &Actor,
) -> Result<String, Refusal> {
    let path = text(&values, "PathOnClient").map(str::to_owned);
    let (Some(path), Some(blob)) = (path, blob) else {
        let present = values
            .get("PathOnClient")
            .is_some_and(|path| !path.is_null());
        return Err(required(&[if present {
            "VersionData"
        } else {
            "PathOnClient"
        }]));
    };
    let document = text(&values, "ContentDocumentId").map(str::to_owned);
    let location = text(&values, "FirstPublishLocationId").map(str::to_owned);
    if document.is_some() && location.is_some() {
        let message = "FirstPublishLocationId is only for the first version of a file";
        let fields = &["FirstPublishLocationId"];
        return Err(Refusal::data("FIELD_INTEGRITY_EXCEPTION", message, fields));
    }
    if let Some(document) = &document {
        check_reachable(org, document, actor)?;
    }
    if let Some(location) = &location {
        check_linkable(org, location, "FirstPublishLocationId")?;
    }
    super::checks::unique(org, org.object("ContentVersion")?, &values, None)?;
    let is_published = location.is_some() || document.is_some();
    describe_content(&mut values, &path, &blob, is_published);
    let is_first = document.is_none();
    let document = match document {
        Some(document) => document,
        None => create_document(org, &values, actor)?,
    };
    let earlier: Vec<String> = versions(org, &document).map(|v| v.id.clone()).collect();
    for version in &earlier {
        org.set(version, &[("IsLatest", json!(false))], actor);
    }
    values.insert("ContentDocumentId".to_owned(), json!(document));
    values.insert("IsLatest".to_owned(), json!(true));
    values.insert(
        "VersionNumber".to_owned(),
        json!((earlier.len() + 1).to_string()),
    );
    let id = org.insert("ContentVersion", values, actor)?;
    org.blobs.insert(id.clone(), blob);
    follow_version(org, &id, actor);
    if is_first {
        link_new_document(org, &document, location.as_deref(), actor)?;
    }
    Ok(id)
}

/// Puts a file on a record.
pub(super) fn create_link(org: &mut Org, values: Values, actor: &Actor) -> Result<String, Refusal> {
    let document = text(&values, "ContentDocumentId").unwrap_or_default();
    let entity = text(&values, "LinkedEntityId").unwrap_or_default();
    check_reachable(org, document, actor)?;
    check_linkable(org, entity, "LinkedEntityId")?;
    if links(org, document).any(|link| link.text("LinkedEntityId") == Some(entity)) {
        let message = format!(
            "Document with ID: {document} is already linked with the entity with ID: {entity}"
        );
        return Err(Refusal::data(
            "DUPLICATE_VALUE",
            message,
            &["LinkedEntityId"],
        ));
    }
    org.insert("ContentDocumentLink", values, actor)
}

/// Only the latest version of a file can be changed.
pub(super) fn check_update(def: &ObjectDef, record: &Record) -> Result<(), Refusal> {
    if def.name == "ContentVersion" && !record.flag("IsLatest") {
        return Err(not_writable(&["Id"]));
    }
    Ok(())
}

/// The link of a file to its owner stays.
pub(super) fn check_delete(org: &Org, def: &ObjectDef, record: &Record) -> Result<(), Refusal> {
    if def.name != "ContentDocumentLink" {
        return Ok(());
    }
    let document = record
        .text("ContentDocumentId")
        .and_then(|id| org.get_living(id));
    let owner = document.and_then(|document| document.text("OwnerId"));
    if owner.is_some() && owner == record.text("LinkedEntityId") {
        let message = "The link of a file to its owner cannot be deleted";
        let fields = &["LinkedEntityId"];
        return Err(Refusal::data("FIELD_INTEGRITY_EXCEPTION", message, fields));
    }
    Ok(())
}

/// Makes the document show what its latest version says.
pub(super) fn follow_version(org: &mut Org, version: &str, actor: &Actor) {
    let Some(version) = org.get_living(version) else {
        return;
    };
    let Some(document) = version.text("ContentDocumentId").map(str::to_owned) else {
        return;
    };
    let now = Value::String(stamp(actor.now));
    let mut changes = vec![
        ("LatestPublishedVersionId", json!(version.id)),
        ("LastModifiedDate", now.clone()),
        ("SystemModstamp", now),
        ("LastModifiedById", json!(actor.user)),
    ];
    for field in SHARED {
        changes.push((field, version.value(field).clone()));
    }
    org.set(&document, &changes, actor);
}

/// Living versions of a file, oldest first.
pub(super) fn versions<'a>(org: &'a Org, document: &'a str) -> impl Iterator<Item = &'a Record> {
    org.living("ContentVersion")
        .filter(move |version| version.text("ContentDocumentId") == Some(document))
}

/// Living links of a file.
pub(super) fn links<'a>(org: &'a Org, document: &'a str) -> impl Iterator<Item = &'a Record> {
    org.living("ContentDocumentLink")
        .filter(move |link| link.text("ContentDocumentId") == Some(document))
}

/// Whether the user owns this version or document: what queries without an id
/// filter give back.
pub(super) fn is_owned(org: &Org, record: &Record, user: &str) -> bool {
    let document = record.text("ContentDocumentId").unwrap_or(&record.id);
    let owner = org
        .get(document)
        .and_then(|(_, document)| document.text("OwnerId"));
    owner == Some(user)
}

/// Whether the user owns this version or document or sees it through a record.
pub(super) fn is_reachable(org: &Org, record: &Record, user: &str) -> bool {
    if is_owned(org, record, user) {
        return true;
    }
    let document = record.text("ContentDocumentId").unwrap_or(&record.id);
    links(org, document).any(|link| {
        let entity = link.text("LinkedEntityId").unwrap_or_default();
        entity == user || !entity.starts_with("005")
    })
}

const SHARED: [&str; 8] = [
    "Title",
    "Description",
    "FileType",
    "FileExtension",
    "ContentSize",
    "PublishStatus",
    "SharingOption",
    "SharingPrivacy",
];

fn check_reachable(org: &Org, document: &str, actor: &Actor) -> Result<(), Refusal> {
    let record = org.get_living(document);
    if record.is_some_and(|record| actor.is_person || is_reachable(org, record, &actor.user)) {
        return Ok(());
    }
    let code = "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY";
    let message = format!("insufficient access rights on cross-reference id: {document}");
    Err(Refusal::data(code, message, &[]))
}

fn check_linkable(org: &Org, entity: &str, field: &str) -> Result<(), Refusal> {
    let def = org.schema.by_id(entity);
    if def.is_some_and(|def| def.linkable) {
        return Ok(());
    }
    let name = def.map_or("this object", |def| &*def.name);
    let message = format!("Files cannot be put on records of {name}");
    Err(Refusal::data(
        "FIELD_INTEGRITY_EXCEPTION",
        message,
        &[field],
    ))
}

fn create_document(org: &mut Org, version: &Values, actor: &Actor) -> Result<String, Refusal> {
    let mut document = Values::new();
    for field in SHARED.into_iter().chain(["OwnerId"]) {
        if let Some(value) = version.get(field) {
            document.insert(field.to_owned(), value.clone());
        }
    }
    org.insert("ContentDocument", document, actor)
}

fn link_new_document(
    org: &mut Org,
    document: &str,
    location: Option<&str>,
    actor: &Actor,
) -> Result<(), Refusal> {
    let owner = org
        .get_living(document)
        .and_then(|document| document.text("OwnerId"));
    let owner = owner.unwrap_or_default().to_owned();
    let location = location
        .filter(|location| *location != owner)
        .map(|entity| (entity, "V"));
    for (entity, share_type) in [(owner.as_str(), "I")].into_iter().chain(location) {
        let mut link = Values::new();
        link.insert("ContentDocumentId".to_owned(), json!(document));
        link.insert("LinkedEntityId".to_owned(), json!(entity));
        link.insert("ShareType".to_owned(), json!(share_type));
        org.insert("ContentDocumentLink", link, actor)?;
    }
    Ok(())
}

fn describe_content(values: &mut Values, path: &str, blob: &Blob, is_published: bool) {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem, Some(extension.to_lowercase())),
        _ => (name, None),
    };
    if text(values, "Title").is_none() {
        values.insert("Title".to_owned(), json!(stem));
    }
    let file_type = file_type(extension.as_deref().unwrap_or_default());
    // P is published to a place, R is private in the owner's own files.
    let status = if is_published { "P" } else { "R" };
    for (field, value) in [
        ("FileType", json!(file_type)),
        ("FileExtension", json!(extension)),
        ("ContentSize", json!(blob.size)),
        ("Checksum", json!(blob.md5)),
        ("PublishStatus", json!(status)),
    ] {
        values.insert(field.to_owned(), value);
    }
}

fn file_type(extension: &str) -> String {
    match extension {
        "" => "UNKNOWN".to_owned(),
        "doc" => "WORD".to_owned(),
        "docx" => "WORD_X".to_owned(),
        "xls" => "EXCEL".to_owned(),
        "xlsx" => "EXCEL_X".to_owned(),
        "ppt" => "POWER_POINT".to_owned(),
        "pptx" => "POWER_POINT_X".to_owned(),
        "jpeg" => "JPG".to_owned(),
        "txt" => "TEXT".to_owned(),
        other => other.to_uppercase().chars().take(20).collect(),
    }
}

fn text<'a>(values: &'a Values, field: &str) -> Option<&'a str> {
    values.get(field).and_then(Value::as_str)
}
