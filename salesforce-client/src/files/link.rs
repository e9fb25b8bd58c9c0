use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Record, RecordId, api_error::ErrorCode, error::Result, transport::Transport};

/// What people may do with a file that is shown on a record.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
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
    /// What this crate does not know.
    #[serde(untagged)]
    Other(String),
}

/// Which people see a file that is shown on a record.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub enum Visibility {
    /// All who see the record, also in an Experience Cloud site.
    AllUsers,
    /// The org's own users only.
    InternalUsers,
    /// Those who see the feed.
    SharedUsers,
    /// What this crate does not know.
    #[serde(untagged)]
    Other(String),
}

/// Shows a file on a record. From [`Files::link`](super::Files::link); it can be awaited as it is.
#[must_use = "nothing is sent before send() or .await"]
pub struct LinkRequest<'a> {
    transport: &'a Arc<Transport>,
    body: NewLink,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NewLink {
    content_document_id: RecordId,
    linked_entity_id: RecordId,
    share_type: ShareType,
    visibility: Visibility,
    #[serde(flatten)]
    fields: Record,
}

/// What a link did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Linked {
    /// The link is new.
    Created(RecordId),
    /// The file was shown on the record already.
    Already,
}

impl fmt::Debug for LinkRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkRequest")
            .field("document", &self.body.content_document_id)
            .field("record", &self.body.linked_entity_id)
            .finish_non_exhaustive()
    }
}

impl<'a> LinkRequest<'a> {
    pub(super) fn new(
        transport: &'a Arc<Transport>,
        document: &RecordId,
        record: &RecordId,
        share_type: ShareType,
    ) -> Self {
        Self {
            transport,
            body: NewLink {
                content_document_id: document.clone(),
                linked_entity_id: record.clone(),
                share_type,
                // Salesforce's own default differs by case.
                visibility: Visibility::AllUsers,
                fields: Record::new(),
            },
        }
    }

    /// Which people see it: all who see the record, unless set.
    pub fn visibility(mut self, visibility: Visibility) -> Self {
        self.body.visibility = visibility;
        self
    }

    /// Any other field.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.body.fields.insert(name.into(), value.into());
        self
    }

    /// Sends it.
    pub async fn send(self) -> Result<Linked> {
        #[derive(Deserialize)]
        struct Saved {
            id: RecordId,
        }
        let segments = ["sobjects", "ContentDocumentLink"];
        let call = self
            .transport
            .call("files.link", Method::POST, &segments)
            .json(&self.body)?
            // Salesforce refuses a second link, so a lost answer is asked for again.
            .repeatable();
        match self.transport.json::<Saved>(&call).await {
            Ok(saved) => Ok(Linked::Created(saved.id)),
            Err(error) if error.has_code(&ErrorCode::DUPLICATE_VALUE) => Ok(Linked::Already),
            Err(error) => Err(error),
        }
    }
}

impl<'a> IntoFuture for LinkRequest<'a> {
    type Output = Result<Linked>;
    type IntoFuture = BoxFuture<'a, Result<Linked>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
