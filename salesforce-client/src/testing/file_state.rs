use serde::Serialize;
use serde_json::{Map, Value};

use super::files;
use super::store::{Org, Record};

/// A file in the org.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FileState {
    /// Id of the `ContentDocument`.
    pub document: String,
    /// Id of the user who owns it.
    pub owner: String,
    /// Title of the latest version.
    pub title: String,
    /// Versions, oldest first.
    pub versions: Vec<VersionState>,
    /// Where the file is seen: its owner and the records it is on.
    pub links: Vec<LinkState>,
}

impl FileState {
    /// Whether the file is on this record.
    pub fn is_on(&self, record: &str) -> bool {
        self.links.iter().any(|link| link.record == record)
    }
}

/// A version of a file.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct VersionState {
    /// Id of the `ContentVersion`.
    pub id: String,
    /// 1 for the first.
    pub number: u32,
    /// `Title`.
    pub title: String,
    /// `PathOnClient`.
    pub path_on_client: String,
    /// Length of the content in bytes.
    pub size: u64,
    /// MD5 of the content in hexadecimal: `Checksum`.
    pub md5: String,
    /// All fields, custom ones too.
    pub fields: Map<String, Value>,
}

/// A `ContentDocumentLink`.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LinkState {
    /// Id of the link.
    pub id: String,
    /// `LinkedEntityId`: a record or a user.
    pub record: String,
    /// `V`, `C` or `I`.
    pub share_type: String,
    /// `Visibility`.
    pub visibility: String,
}

/// All files that are not deleted.
pub(super) fn all(org: &Org) -> Vec<FileState> {
    org.living("ContentDocument")
        .map(|document| FileState {
            document: document.id.clone(),
            owner: text(document, "OwnerId"),
            title: text(document, "Title"),
            versions: files::versions(org, &document.id).map(version).collect(),
            links: files::links(org, &document.id).map(link).collect(),
        })
        .collect()
}

fn version(record: &Record) -> VersionState {
    VersionState {
        id: record.id.clone(),
        number: text(record, "VersionNumber").parse().unwrap_or_default(),
        title: text(record, "Title"),
        path_on_client: text(record, "PathOnClient"),
        size: record.value("ContentSize").as_u64().unwrap_or_default(),
        md5: text(record, "Checksum"),
        fields: record.values.clone(),
    }
}

fn link(record: &Record) -> LinkState {
    LinkState {
        id: record.id.clone(),
        record: text(record, "LinkedEntityId"),
        share_type: text(record, "ShareType"),
        visibility: text(record, "Visibility"),
    }
}

fn text(record: &Record, field: &str) -> String {
    record.text(field).unwrap_or_default().to_owned()
}
