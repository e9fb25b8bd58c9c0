//! Files: a ContentDocument with its ContentVersions, shown by ContentDocumentLinks.

mod attempt;
mod body;
mod download;
mod encoding;
mod idempotent;
mod link;
mod link_all;
mod upload;

use std::sync::Arc;

use http::Method;
use serde::{Deserialize, Deserializer, de};

pub use self::{
    download::Download,
    idempotent::IdempotencyKey,
    link::{LinkRequest, Linked, ShareType, Visibility},
    upload::{Strategy, UploadRequest},
};
use crate::{
    Query, Record, RecordId, SObjects, error::Result, sobjects::check_name, soql,
    transport::Transport,
};

/// Calls on files. From [`SalesforceClient::files`](crate::SalesforceClient::files).
///
/// A file is a ContentDocument. It has ContentVersions, which are the bytes, and
/// ContentDocumentLinks, which are the records that it is shown on. It is made by uploading its
/// first version.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    transport: &'a Arc<Transport>,
}

impl std::fmt::Debug for Files<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").finish_non_exhaustive()
    }
}

const DOWNLOAD: &str = "files.download";
/// Ids in one query stay far from the 16,384 bytes that a URI may have.
const IDS_A_QUERY: usize = 200;
const MOST_ROWS: usize = 50_000;

impl<'a> Files<'a> {
    pub(crate) fn new(transport: &'a Arc<Transport>) -> Self {
        Self { transport }
    }

    /// Uploads a file of this name, with extension. The options say where it goes.
    ///
    /// Vendor: REST API Developer Guide, "Insert or Update Blob Data".
    pub fn upload(&self, name: impl Into<String>) -> UploadRequest {
        UploadRequest::new(self.transport, name.into())
    }

    /// A version.
    pub async fn version(&self, id: &RecordId) -> Result<ContentVersion> {
        let segments = ["sobjects", "ContentVersion", id.as_str()];
        let call = self
            .transport
            .call("files.version", Method::GET, &segments)
            .query("fields", VERSION_FIELDS);
        self.transport.json(&call).await
    }

    /// All versions of these files that the user may see, in no certain order.
    pub async fn versions_of(&self, documents: &[RecordId]) -> Result<Vec<ContentVersion>> {
        let mut versions = Vec::new();
        for some in documents.chunks(IDS_A_QUERY) {
            let soql = soql(format!(
                "SELECT {VERSION_FIELDS} FROM ContentVersion WHERE ContentDocumentId IN :ids"
            ))
            .bind("ids", some);
            let room = MOST_ROWS - versions.len();
            versions.extend(Query::new(self.transport, soql).all(room).await?);
        }
        Ok(versions)
    }

    /// The version whose unique custom field has this value, in any case of its letters.
    ///
    /// Salesforce looks only among the files that the user owns or that are shared with the user,
    /// not among those that the user sees on records.
    pub async fn find_by(&self, field: &str, value: &str) -> Result<Option<ContentVersion>> {
        check_name("files.find_by", field)?;
        let soql = soql(format!(
            "SELECT {VERSION_FIELDS} FROM ContentVersion WHERE {field} = :value"
        ))
        .bind("value", value);
        Query::new(self.transport, soql).first().await
    }

    /// How files are shown on a record. This finds what others have put there too, which a query
    /// on versions alone does not.
    pub async fn linked_to(&self, record: &RecordId) -> Result<Vec<ContentDocumentLink>> {
        let soql = soql(
            "SELECT Id, ContentDocumentId, LinkedEntityId, ShareType, Visibility, \
             ContentDocument.Title, ContentDocument.LatestPublishedVersionId \
             FROM ContentDocumentLink WHERE LinkedEntityId = :record",
        )
        .bind("record", record);
        Query::new(self.transport, soql).all(MOST_ROWS).await
    }

    /// The files that are shown on a record, others' as well: the ids of
    /// [`linked_to`](Self::linked_to) alone.
    pub async fn on_record(&self, record: &RecordId) -> Result<Vec<RecordId>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Link {
            content_document_id: RecordId,
        }
        let soql = soql(
            "SELECT ContentDocumentId FROM ContentDocumentLink WHERE LinkedEntityId = :record",
        )
        .bind("record", record);
        let links: Vec<Link> = Query::new(self.transport, soql).all(MOST_ROWS).await?;
        Ok(links
            .into_iter()
            .map(|link| link.content_document_id)
            .collect())
    }

    /// Shows a file on a record. Where it is shown already that is
    /// [`Linked::Already`], as it always is for the first location of an upload.
    pub fn link(
        &self,
        document: &RecordId,
        record: &RecordId,
        share_type: ShareType,
    ) -> LinkRequest<'a> {
        LinkRequest::new(self.transport, document, record, share_type)
    }

    /// A version's bytes.
    pub async fn download(&self, version: &RecordId) -> Result<Download> {
        let segments = [
            "sobjects",
            "ContentVersion",
            version.as_str(),
            "VersionData",
        ];
        let call = self.transport.call(DOWNLOAD, Method::GET, &segments);
        let reply = self.transport.send(&call.uncompressed()).await?;
        Ok(Download::new(DOWNLOAD, reply))
    }

    /// Deletes a file with all its versions and links.
    pub async fn delete(&self, document: &RecordId) -> Result<()> {
        SObjects::<Record>::new(self.transport, "ContentDocument")
            .delete(document)
            .await
    }
}

const VERSION_FIELDS: &str = "Id,ContentDocumentId,Checksum,ContentSize,Title,Description,\
     PathOnClient,VersionNumber,IsLatest";

/// A version of a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ContentVersion {
    /// Its id.
    pub id: RecordId,
    /// The file.
    pub content_document_id: RecordId,
    /// MD5 of its bytes, in hex.
    pub checksum: Option<String>,
    /// Its bytes.
    #[serde(default, deserialize_with = "whole_number")]
    pub content_size: Option<u64>,
    /// What people see.
    pub title: Option<String>,
    /// More about it.
    pub description: Option<String>,
    /// The name it was uploaded with.
    pub path_on_client: Option<String>,
    /// Its number among the file's versions, from 1, as Salesforce's text.
    pub version_number: Option<String>,
    /// Whether it is the newest.
    pub is_latest: Option<bool>,
}

/// How a file is shown on a record.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ContentDocumentLink {
    /// Its id.
    pub id: RecordId,
    /// The file.
    pub content_document_id: RecordId,
    /// The record.
    pub linked_entity_id: RecordId,
    /// What people may do with it.
    pub share_type: Option<ShareType>,
    /// Which people see it.
    pub visibility: Option<Visibility>,
    /// The file's title and newest version.
    pub content_document: Option<LinkedDocument>,
}

/// A file as it is named inside its link.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct LinkedDocument {
    /// What people see.
    pub title: Option<String>,
    /// Its newest version.
    pub latest_published_version_id: Option<RecordId>,
}

/// Numbers can come as decimals with an exponent.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(deserializer)? else {
        return Ok(None);
    };
    match (number.as_u64(), number.as_f64()) {
        (Some(whole), _) => Ok(Some(whole)),
        // 2^63: a size beyond it is none.
        (None, Some(float)) if (0.0..9.2e18).contains(&float) => Ok(Some(float as u64)),
        _ => Err(de::Error::custom("a size must be a number from 0")),
    }
}
