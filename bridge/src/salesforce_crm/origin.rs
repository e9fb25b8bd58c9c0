//! The mark that a version carries of where it comes from.

use salesforce_client::ContentVersion;

use crate::crm::{Origin, StoredVersion};

/// Kept in the version's description, where people can read it too.
pub(super) fn marker(origin: &Origin) -> String {
    format!("Box file {}, version {}", origin.file, origin.version)
}

fn read_marker(description: &str) -> Option<Origin> {
    let (file, version) = description
        .strip_prefix("Box file ")?
        .split_once(", version ")?;
    Some(Origin {
        file: file.to_owned(),
        version: version.to_owned(),
    })
}

pub(super) fn stored(version: ContentVersion) -> StoredVersion {
    StoredVersion {
        version: version.id.to_string(),
        document: version.content_document_id.to_string(),
        size: version.content_size,
        md5: version.checksum,
        origin: version.description.as_deref().and_then(read_marker),
    }
}
