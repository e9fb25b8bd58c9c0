use std::{
    fmt,
    future::Future,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use futures_core::Stream;
use http::{
    HeaderName, HeaderValue, Method,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use serde_json::Value;
use tracing::Instrument;

use super::{
    attempt::{ReopenIf, Upload},
    encoding::Encoding,
    idempotent::{self, IdempotencyKey},
};
use crate::{
    Record, RecordId,
    error::{Error, ErrorKind, Result},
    observe::Seen,
    retry::Attempts,
    sobjects::check_name,
    tasks::truncate,
    transport::Transport,
};

pub(super) const OPERATION: &str = "files.upload";
/// Salesforce's limit for a JSON body.
const LARGEST_JSON: u64 = 52_428_800;
/// Salesforce's limit for a version: below 2 GiB.
const LARGEST_FILE: u64 = (1 << 31) - 1;
/// Up to here base64 costs less than it saves; it is also what every proxy lets through.
const BASE64_UP_TO: u64 = 6 * 1024 * 1024;
const LONGEST_TITLE: usize = 255;

/// The status of an upload that was taken.
const CREATED: u16 = 201;

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
    /// By the User Interface API with this key: however often it is sent, there is one file, so
    /// the client repeats it by itself. Takes a title and a description only; the file is
    /// [linked](super::Files::link) afterwards. From version 56.0 of the API on.
    ///
    /// Vendor: User Interface API Developer Guide, "Prevent Record Duplication with Idempotent
    /// Record Writes".
    Idempotent(IdempotencyKey),
    /// The same where the org supports it, and by size where it does not. What the org has said
    /// the client and its clones remember, so that it is asked once. An upload that went by size
    /// is not repeated by itself when its outcome is unknown:
    /// [`may_have_happened`](Error::may_have_happened) tells.
    IdempotentIfSupported(IdempotencyKey),
}

/// An upload. From [`Files::upload`](super::Files::upload).
#[must_use = "nothing is sent before send()"]
pub struct UploadRequest {
    transport: Arc<Transport>,
    name: String,
    fields: Record,
    strategy: Strategy,
    base64_up_to: u64,
    reopen_if: Option<ReopenIf>,
}

impl fmt::Debug for UploadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadRequest")
            .field("fields", &self.fields.keys().collect::<Vec<_>>())
            .field("strategy", &self.strategy)
            .finish_non_exhaustive()
    }
}

impl UploadRequest {
    pub(super) fn new(transport: &Arc<Transport>, name: String) -> Self {
        let stem = name.rsplit_once('.').map_or(&*name, |(stem, _)| stem);
        let title = if stem.is_empty() { &name } else { stem };
        let fields = Record::from_iter([
            ("Title".to_owned(), truncate(title, LONGEST_TITLE).into()),
            ("PathOnClient".to_owned(), Value::from(name.clone())),
        ]);
        Self {
            transport: Arc::clone(transport),
            name,
            fields,
            strategy: Strategy::Auto,
            base64_up_to: BASE64_UP_TO,
            reopen_if: None,
        }
    }

    /// Another title than the name without its extension.
    pub fn title(self, title: impl Into<String>) -> Self {
        self.field("Title", title.into())
    }

    /// Shows the new file on this record from the start, in the same transaction. Not together
    /// with [`new_version_of`](Self::new_version_of).
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

    /// Why there is another version, up to 1,000 characters.
    pub fn reason_for_change(self, reason: impl Into<String>) -> Self {
        self.field("ReasonForChange", reason.into())
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

    /// Up to which size [`Strategy::Auto`] takes base64: 6 MiB unless set.
    pub fn base64_up_to(mut self, bytes: u64) -> Self {
        self.base64_up_to = bytes;
        self
    }

    /// Which failures of a content of [`send_with`](Self::send_with) are worth opening it again, as
    /// when the connection broke that it comes from: none unless set. It is asked about the
    /// content's own error, once the content was opened or was to be.
    pub fn reopen_if(
        mut self,
        is_worth_it: impl Fn(&(dyn std::error::Error + 'static)) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.reopen_if = Some(Arc::new(is_worth_it));
        self
    }

    /// Sends `content`, which has exactly `size` bytes, and gives the version's id. Nothing is
    /// held in memory but the piece on its way.
    ///
    /// The request is completed only after `content` has ended without an error and at its size;
    /// otherwise it is broken off, Salesforce has nothing of it, and the error is of kind
    /// [`Content`](ErrorKind::Content) with the content's own error as its cause. A content exists
    /// once, so there is no second try; whether one is worth it says
    /// [`is_retryable`](Error::is_retryable), also where only the session had ended, or where an
    /// org turned out not to support [`Strategy::IdempotentIfSupported`].
    pub async fn send<S, E>(self, content: S, size: u64) -> Result<RecordId>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let upload = self.prepare(size)?;
        // The token comes first: without one the content stays untouched.
        let patience = upload.transport.sender.retry.deadline;
        let (token, slot) = upload.transport.ready(OPERATION, patience).await?;
        let seen = Seen::begin(&upload.call);
        let sent = upload.attempt(&token, slot, super::body::content(content));
        let sent = sent.instrument(seen.span.clone()).await;
        let sent = sent.map_err(|error| upload.worth_again(&token, error).after(1, false));
        seen.end(sent.as_ref().map(|_| CREATED), 1);
        sent
    }

    /// As [`send`](Self::send), with a content that can be had again: `open` is called for each
    /// attempt. A new attempt is made where the one before certainly had no effect: the session
    /// had ended, the connection broke before the body was whole, the record was locked, or the
    /// content failed as [`reopen_if`](Self::reopen_if) says.
    pub async fn send_with<O, F, S, E>(self, open: O, size: u64) -> Result<RecordId>
    where
        O: Fn() -> F + Send,
        F: Future<Output = Result<S, E>> + Send,
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let upload = self.prepare(size)?;
        let seen = Seen::begin(&upload.call);
        let mut attempts = Attempts::new(&upload.transport.sender.retry);
        let sent = upload.until_sent(open, &mut attempts);
        let sent = sent.instrument(seen.span.clone()).await;
        seen.end(sent.as_ref().map(|_| CREATED), attempts.made());
        sent
    }

    fn prepare(self, size: u64) -> Result<Upload> {
        self.check()?;
        match self.strategy {
            Strategy::Idempotent(key) => self.idempotent(key, size),
            Strategy::IdempotentIfSupported(key) => {
                let mut first = self.idempotent(key, size)?;
                let otherwise = self.by_size(Strategy::Auto, size)?;
                if self.transport.sender.no_idempotency.load(Ordering::Relaxed) {
                    return Ok(otherwise);
                }
                first.otherwise = Some(Box::new(otherwise));
                Ok(first)
            }
            by_size => self.by_size(by_size, size),
        }
    }

    fn by_size(&self, strategy: Strategy, size: u64) -> Result<Upload> {
        let json = serde_json::to_string(&self.fields).map_err(|cause| {
            Error::new(ErrorKind::Invalid, OPERATION)
                .detail("the fields cannot be written as JSON")
                .cause(cause)
        })?;
        let encoding = choose(strategy, self.base64_up_to, &json, &self.name, size)?;
        let call = self
            .transport
            .call(OPERATION, Method::POST, &["sobjects", "ContentVersion"])
            .text_header(CONTENT_TYPE, encoding.content_type())?
            .header(CONTENT_LENGTH, HeaderValue::from(encoding.length(size)));
        Ok(Upload {
            transport: Arc::clone(&self.transport),
            call,
            encoding: Arc::new(encoding),
            size,
            otherwise: None,
            reopen_if: self.reopen_if.clone(),
        })
    }

    fn idempotent(&self, key: IdempotencyKey, size: u64) -> Result<Upload> {
        if size > LARGEST_FILE {
            return Err(Error::new(ErrorKind::TooLarge, OPERATION)
                .detail("Salesforce takes files of less than 2 GiB"));
        }
        let (json, document) = idempotent::fields(&self.fields)?;
        let encoding = Encoding::user_interface(&json.to_string(), &self.name);
        let all = ["ui-api", "records", "content-documents"];
        let segments: Vec<&str> = all
            .into_iter()
            .chain(document.as_deref())
            .chain(["content-versions"])
            .collect();
        let call = self
            .transport
            .call(OPERATION, Method::POST, &segments)
            .text_header(CONTENT_TYPE, encoding.content_type())?
            .header(CONTENT_LENGTH, HeaderValue::from(encoding.length(size)))
            .text_header(HeaderName::from_static("idempotency-key"), key.to_string())?
            .repeatable();
        Ok(Upload {
            transport: Arc::clone(&self.transport),
            call,
            encoding: Arc::new(encoding),
            size,
            otherwise: None,
            reopen_if: self.reopen_if.clone(),
        })
    }

    fn check(&self) -> Result<()> {
        let refuse = |detail| Err(Error::new(ErrorKind::Invalid, OPERATION).detail(detail));
        for name in self.fields.keys() {
            check_name(OPERATION, name)?;
        }
        if self.name.is_empty() {
            return refuse("a file has a name");
        }
        if self.fields.contains_key("VersionData") {
            return refuse("the bytes are the content, not a field");
        }
        let publishes = self.fields.contains_key("FirstPublishLocationId");
        if publishes && self.fields.contains_key("ContentDocumentId") {
            return refuse("only a new file has a first location, not a new version: link it");
        }
        Ok(())
    }
}

fn choose(
    strategy: Strategy,
    base64_up_to: u64,
    json: &str,
    name: &str,
    size: u64,
) -> Result<Encoding> {
    let too_large = |detail| Err(Error::new(ErrorKind::TooLarge, OPERATION).detail(detail));
    if strategy != Strategy::Multipart && (strategy == Strategy::Base64 || size <= base64_up_to) {
        let encoding = Encoding::base64(json);
        if encoding.length(size) <= LARGEST_JSON {
            return Ok(encoding);
        }
        if strategy == Strategy::Base64 {
            return too_large("base64 in JSON ends at 52,428,800 bytes of body; use multipart");
        }
    }
    if size > LARGEST_FILE {
        return too_large("Salesforce takes files of less than 2 GiB");
    }
    Ok(Encoding::multipart(json, name))
}
