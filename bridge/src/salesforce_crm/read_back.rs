//! A version that was just written, read and shown on further records in one call.

use salesforce_client::{ContentVersion, RecordId, SalesforceClient, Visibility};

use super::{
    failure::{id, is_duplicate_value, port_error},
    links::new_link,
    origin::stored,
};
use crate::{
    crm::{Record, StoredVersion},
    port_error::PortError,
};

const DOING: &str = "read the version back from Salesforce";
/// A composite takes 25 parts, of which one reads the version.
const LINKS: usize = 24;
const FIELDS: [&str; 5] = [
    "Id",
    "ContentDocumentId",
    "Checksum",
    "ContentSize",
    "Description",
];

/// The links name the document by reference, so it need not be known beforehand. One that fails is
/// left to whoever links one by one, and tells what is wrong with it.
pub(super) async fn stored_and_linked(
    client: &SalesforceClient,
    version: &RecordId,
    records: &[Record],
    visibility: &Visibility,
) -> Result<(StoredVersion, Vec<Record>), PortError> {
    let mut composite = client.composite();
    let read = composite.get("ContentVersion", version, &FIELDS);
    let document = read.field("ContentDocumentId");
    let mut links = Vec::new();
    for record in records.iter().take(LINKS) {
        let link = new_link(&document, &id(DOING, &record.id)?, visibility);
        links.push((composite.create("ContentDocumentLink", &link), record));
    }
    // Salesforce refuses a second link, so the whole may be sent again.
    let answers = composite.repeatable().send().await;
    let answers = answers.map_err(|error| port_error(DOING, error))?;
    let version: ContentVersion = answers
        .json(&read)
        .map_err(|error| port_error(DOING, error))?;
    let linked = links
        .into_iter()
        .filter(|(link, _)| match answers.get(link) {
            Ok(_) => true,
            Err(error) => is_duplicate_value(&error),
        });
    let linked = linked.map(|(_, record)| record.clone()).collect();
    Ok((stored(version), linked))
}
