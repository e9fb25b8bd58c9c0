use bytes::Bytes;
use futures_core::Stream;
use http::{
    HeaderValue, Method,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::body::{Encoding, Upload};
use crate::{
    RecordId,
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

const OPERATION: &str = "files.upload";
/// Salesforce's limit for a JSON body.
const LARGEST_JSON: u64 = 52_428_800;
/// Salesforce's limit for a version.
const LARGEST_FILE: u64 = 2 * 1024 * 1024 * 1024;
/// Up to here base64 costs less than it saves; it is also what every proxy lets through.
const BASE64_UP_TO: u64 = 6 * 1024 * 1024;

/// How a file's bytes are sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Strategy {
    /// By size.
    #[default]
    Auto,
    /// As base64 in JSON: up to 37.5 MiB.
    Base64,
    /// As multipart: up to 2 GiB.
    Multipart,
}

/// An upload. From [`Files::upload`](super::Files::upload).
#[must_use = "nothing is sent before send()"]
pub struct UploadRequest<'a> {
    transport: &'a Transport,
    name: String,
    fields: Map<String, Value>,
    strategy: Strategy,
}

impl std::fmt::Debug for UploadRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UploadRequest")
            .field("fields", &self.fields)
            .field("strategy", &self.strategy)
            .finish_non_exhaustive()
    }
}

impl<'a> UploadRequest<'a> {
    pub(crate) fn new(transport: &'a Transport, name: String) -> Self {
        let title = name.rsplit_once('.').map_or(&*name, |(stem, _)| stem);
        let title: String = if title.is_empty() { &name } else { title }
            .chars()
            .take(255)
            .collect();
        let fields = Map::from_iter([
            ("Title".to_owned(), Value::from(title)),
            ("PathOnClient".to_owned(), Value::from(name.clone())),
        ]);
        Self {
            transport,
            name,
            fields,
            strategy: Strategy::Auto,
        }
    }

    /// Another title than the name without its extension.
    pub fn title(self, title: impl Into<String>) -> Self {
        self.field("Title", title.into())
    }

    /// Shows the new file on this record from the start, in the same transaction.
    pub fn first_publish_location(self, record: &RecordId) -> Self {
        self.field("FirstPublishLocationId", record.as_str())
    }

    /// Makes it the next version of this file.
    pub fn new_version_of(self, document: &RecordId) -> Self {
        self.field("ContentDocumentId", document.as_str())
    }

    /// More about it, up to 1,000 characters.
    pub fn description(self, description: impl Into<String>) -> Self {
        self.field("Description", description.into())
    }

    /// Any other field, such as a custom one.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }

    /// How the bytes are sent.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Sends `content`, which has exactly `size` bytes, and gives the version's id. Nothing is
    /// held in memory but the piece on its way.
    ///
    /// The request is completed only after `content` has ended without an error and at its size;
    /// otherwise it is broken off, Salesforce has nothing of it, and the error is of kind
    /// [`Content`](ErrorKind::Content) with the content's own error as its cause. A content exists
    /// once, so there is no second try.
    pub async fn send<S, E>(self, content: S, size: u64) -> Result<RecordId>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        #[derive(Deserialize)]
        struct Saved {
            id: RecordId,
        }
        let json = Value::Object(self.fields).to_string();
        let encoding = choose(self.strategy, &json, &self.name, size)?;
        let length = HeaderValue::from(encoding.length(size));
        let call = self
            .transport
            .call(OPERATION, Method::POST, &["sobjects", "ContentVersion"])
            .header(CONTENT_TYPE, encoding.content_type())
            .header(CONTENT_LENGTH, length);
        let upload = Upload::new(encoding, content, size);
        let saved: Saved = self.transport.upload(&call, upload).await?.json().await?;
        Ok(saved.id)
    }
}

fn choose(strategy: Strategy, json: &str, name: &str, size: u64) -> Result<Encoding> {
    let too_large = |detail| Err(Error::new(ErrorKind::TooLarge, OPERATION).detail(detail));
    let base64 = match strategy {
        Strategy::Auto => size <= BASE64_UP_TO,
        Strategy::Base64 => true,
        Strategy::Multipart => false,
    };
    if base64 {
        let encoding = Encoding::base64(json);
        if encoding.length(size) > LARGEST_JSON {
            return too_large("base64 in JSON ends at 52,428,800 bytes of body; use multipart");
        }
        return Ok(encoding);
    }
    if size > LARGEST_FILE {
        return too_large("Salesforce takes files of up to 2 GiB");
    }
    Ok(Encoding::multipart(json, name))
}
