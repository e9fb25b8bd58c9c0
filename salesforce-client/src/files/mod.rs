//! Files: a ContentDocument with its ContentVersions, shown by ContentDocumentLinks.

mod body;
mod upload;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(crate) use self::body::Upload;
pub use self::upload::{Strategy, UploadRequest};
use crate::{
    RecordId, SObjects, Soql,
    error::{ErrorKind, Result},
    query::Query,
    soql::soql,
    transport::Transport,
};

/// Calls on files. From [`SalesforceClient::files`](crate::SalesforceClient::files).
#[derive(Clone, Copy)]
pub struct Files<'a> {
    transport: &'a Transport,
}

impl std::fmt::Debug for Files<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").finish_non_exhaustive()
    }
}

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
    pub content_size: Option<u64>,
    /// What people see.
    pub title: Option<String>,
    /// More about it.
    pub description: Option<String>,
}

const VERSION_FIELDS: &str = "Id,ContentDocumentId,Checksum,ContentSize,Title,Description";
/// Ids in one query stay far from the 16,384 bytes that a URI may have.
const IDS_A_QUERY: usize = 200;
const MOST_ROWS: usize = 50_000;

/// Who sees what of a file that is shown on a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub enum ShareType {
    /// May look.
    #[serde(rename = "V")]
    Viewer,
    /// May change.
    #[serde(rename = "C")]
    Collaborator,
    /// As with the record.
    #[serde(rename = "I")]
    Inferred,
}

/// What a link did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Linked {
    /// The link is new.
    Created(RecordId),
    /// The file was shown on the record already.
    Already,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Link {
    content_document_id: RecordId,
}

impl<'a> Files<'a> {
    pub(crate) fn new(transport: &'a Transport) -> Self {
        Self { transport }
    }

    /// Uploads a file of this name, with extension. The options say where it goes.
    pub fn upload(&self, name: impl Into<String>) -> UploadRequest<'a> {
        UploadRequest::new(self.transport, name.into())
    }

    /// A version.
    pub async fn version(&self, id: &RecordId) -> Result<ContentVersion> {
        let call = self
            .transport
            .call(
                "files.version",
                Method::GET,
                &["sobjects", "ContentVersion", id.as_str()],
            )
            .query("fields", VERSION_FIELDS);
        self.transport.json(&call).await
    }

    /// All versions of these files that the user may see.
    pub async fn versions_of(&self, documents: &[RecordId]) -> Result<Vec<ContentVersion>> {
        let mut versions = Vec::new();
        for some in documents.chunks(IDS_A_QUERY) {
            let soql = soql(format!(
                "SELECT {VERSION_FIELDS} FROM ContentVersion WHERE ContentDocumentId IN :ids"
            ))
            .bind("ids", some.to_vec());
            versions.extend(self.query::<ContentVersion>(soql).await?);
        }
        Ok(versions)
    }

    /// The version whose unique custom field has this value.
    pub async fn find_by(&self, field: &str, value: &str) -> Result<Option<ContentVersion>> {
        if !field
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Err(crate::Error::new(ErrorKind::Invalid, "files.find_by")
                .detail("a field's name has letters, digits and underscores"));
        }
        let soql = soql(format!(
            "SELECT {VERSION_FIELDS} FROM ContentVersion WHERE {field} = :value"
        ))
        .bind("value", value);
        Query::new(self.transport, soql).first().await
    }

    /// The files that are shown on a record. This finds what others have put there too, which a
    /// query on versions alone does not.
    pub async fn on_record(&self, record: &RecordId) -> Result<Vec<RecordId>> {
        let soql = soql(
            "SELECT ContentDocumentId FROM ContentDocumentLink WHERE LinkedEntityId = :record",
        )
        .bind("record", record);
        let links = self.query::<Link>(soql).await?;
        Ok(links
            .into_iter()
            .map(|link| link.content_document_id)
            .collect())
    }

    /// Shows a file on a record, visible to all who see the record. A second link is refused by
    /// Salesforce, so the call is safe to repeat and is repeated.
    pub async fn link(
        &self,
        document: &RecordId,
        record: &RecordId,
        share: ShareType,
    ) -> Result<Linked> {
        #[derive(Deserialize)]
        struct Saved {
            id: RecordId,
        }
        let body = json!({
            "ContentDocumentId": document,
            "LinkedEntityId": record,
            "ShareType": share,
            "Visibility": "AllUsers",
        });
        let call = self
            .transport
            .call(
                "files.link",
                Method::POST,
                &["sobjects", "ContentDocumentLink"],
            )
            .json(&body)?
            .repeatable();
        match self.transport.json::<Saved>(&call).await {
            Ok(saved) => Ok(Linked::Created(saved.id)),
            Err(error) if error.kind() == ErrorKind::Duplicate => Ok(Linked::Already),
            Err(error) => Err(error),
        }
    }

    /// Deletes a file with all its versions and links.
    pub async fn delete(&self, document: &RecordId) -> Result<()> {
        SObjects::new(self.transport, "ContentDocument")
            .delete(document)
            .await
    }

    async fn query<T: serde::de::DeserializeOwned + Send + 'static>(
        &self,
        soql: Soql,
    ) -> Result<Vec<T>> {
        Query::new(self.transport, soql).all(MOST_ROWS).await
    }
}
