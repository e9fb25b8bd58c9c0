use std::fmt;

use http::Method;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::File;
use crate::{
    FileId, FileVersionId, FolderId,
    call::Call,
    error::{Error, ErrorKind, Result},
    names::check_name,
    transport::Transport,
};

/// Changes a file. From [`Files::update`](super::Files::update) and its relatives.
#[must_use = "nothing is sent before send()"]
pub struct UpdateFile<'a> {
    transport: &'a Transport,
    operation: &'static str,
    id: FileId,
    changes: Map<String, Value>,
    if_match: Option<String>,
    fields: Vec<String>,
}

impl<'a> UpdateFile<'a> {
    pub(super) fn new(transport: &'a Transport, operation: &'static str, id: &FileId) -> Self {
        Self {
            transport,
            operation,
            id: id.clone(),
            changes: Map::new(),
            if_match: None,
            fields: Vec::new(),
        }
    }

    /// Another name.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.field("name", name.into())
    }

    /// Another folder.
    pub fn parent(self, folder: &FolderId) -> Self {
        self.field("parent", json!({ "id": folder }))
    }

    /// What a person reads about it, up to 256 characters.
    pub fn description(self, description: impl Into<String>) -> Self {
        self.field("description", description.into())
    }

    /// All of its tags, up to 100, in place of those it has.
    pub fn tags<S: Into<String>>(self, tags: impl IntoIterator<Item = S>) -> Self {
        let tags: Vec<String> = tags.into_iter().map(Into::into).collect();
        self.field("tags", tags)
    }

    /// Until when a retention policy keeps it. Box lets this be put off, never brought forward.
    pub fn disposition_at(self, at: Timestamp) -> Self {
        self.field("disposition_at", at.to_string())
    }

    /// Any other field of Box's reference, such as `permissions` or `collections`.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.changes.insert(name.into(), value.into());
        self
    }

    /// Only if the file still has this etag; otherwise a
    /// [`Conflict`](ErrorKind::Conflict) with the code `precondition_failed`.
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.if_match = Some(etag.into());
        self
    }

    /// Asks for these fields in the answer, besides id, name and the like.
    pub fn fields<S: Into<String>>(mut self, fields: impl IntoIterator<Item = S>) -> Self {
        self.fields = fields.into_iter().map(Into::into).collect();
        self
    }

    fn call(&self) -> Result<Call> {
        check(self.operation, self.changes.get("name"))?;
        let path = ["files", self.id.as_str()];
        let call = Call::new(self.operation, Method::PUT, path)
            .fields(&self.fields)
            .if_match(self.if_match.as_deref())?
            .json(&self.changes)?;
        // The first attempt changes the etag: the second would be refused for its own success.
        Ok(match self.if_match {
            Some(_) => call.once(),
            None => call,
        })
    }

    /// Sends it. With [`if_match`](Self::if_match) an unknown outcome is reported, not repeated.
    pub async fn send(self) -> Result<File> {
        self.transport.json(&self.call()?).await
    }
}

impl fmt::Debug for UpdateFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateFile")
            .field("id", &self.id)
            .field("changes", &self.changes.keys())
            .finish_non_exhaustive()
    }
}

/// Locks a file. From [`Files::lock`](super::Files::lock).
#[derive(Debug)]
#[must_use = "nothing is sent before send()"]
pub struct LockFile<'a> {
    update: UpdateFile<'a>,
    expires_at: Option<Timestamp>,
    prevents_download: bool,
}

impl<'a> LockFile<'a> {
    pub(super) fn new(transport: &'a Transport, id: &FileId) -> Self {
        Self {
            update: UpdateFile::new(transport, "files.lock", id),
            expires_at: None,
            prevents_download: false,
        }
    }

    /// When it ends by itself; never unless set.
    pub fn expires_at(mut self, at: Timestamp) -> Self {
        self.expires_at = Some(at);
        self
    }

    /// Keeps others from downloading the file meanwhile.
    pub fn prevent_download(mut self) -> Self {
        self.prevents_download = true;
        self
    }

    /// Only if the file still has this etag.
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.update = self.update.if_match(etag);
        self
    }

    /// Sends it. The answer has the file's [`lock`](File::lock).
    pub async fn send(self) -> Result<File> {
        let mut lock = json!({
            "access": "lock",
            "is_download_prevented": self.prevents_download,
        });
        if let Some(at) = self.expires_at {
            lock["expires_at"] = at.to_string().into();
        }
        self.update
            .field("lock", lock)
            .fields(["lock"])
            .send()
            .await
    }
}

/// Copies a file. From [`Files::copy`](super::Files::copy).
#[must_use = "nothing is sent before send()"]
pub struct CopyFile<'a> {
    transport: &'a Transport,
    id: FileId,
    body: Map<String, Value>,
    fields: Vec<String>,
}

impl<'a> CopyFile<'a> {
    pub(super) fn new(transport: &'a Transport, id: &FileId, folder: &FolderId) -> Self {
        Self {
            transport,
            id: id.clone(),
            body: Map::from_iter([("parent".to_owned(), json!({ "id": folder }))]),
            fields: Vec::new(),
        }
    }

    /// Another name for the copy.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.body.insert("name".to_owned(), name.into().into());
        self
    }

    /// A certain version instead of the current one.
    pub fn version(mut self, version: &FileVersionId) -> Self {
        self.body.insert("version".to_owned(), json!(version));
        self
    }

    /// Asks for these fields in the answer, besides id, name and the like.
    pub fn fields<S: Into<String>>(mut self, fields: impl IntoIterator<Item = S>) -> Self {
        self.fields = fields.into_iter().map(Into::into).collect();
        self
    }

    /// Sends it.
    pub async fn send(self) -> Result<File> {
        check("files.copy", self.body.get("name"))?;
        let path = ["files", self.id.as_str(), "copy"];
        let call = Call::new("files.copy", Method::POST, path)
            .fields(&self.fields)
            .json(&self.body)?;
        self.transport.json(&call).await
    }
}

impl fmt::Debug for CopyFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyFile")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Takes a file out of the trash. From [`Files::restore`](super::Files::restore).
#[must_use = "nothing is sent before send()"]
pub struct RestoreFile<'a> {
    transport: &'a Transport,
    id: FileId,
    body: Map<String, Value>,
}

impl<'a> RestoreFile<'a> {
    pub(super) fn new(transport: &'a Transport, id: &FileId) -> Self {
        Self {
            transport,
            id: id.clone(),
            body: Map::new(),
        }
    }

    /// The name that it gets when its own is in use by now.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.body.insert("name".to_owned(), name.into().into());
        self
    }

    /// The folder that it gets into when its own is gone.
    pub fn parent(mut self, folder: &FolderId) -> Self {
        self.body
            .insert("parent".to_owned(), json!({ "id": folder }));
        self
    }

    /// Sends it.
    pub async fn send(self) -> Result<File> {
        check("files.restore", self.body.get("name"))?;
        let path = ["files", self.id.as_str()];
        let call = Call::new("files.restore", Method::POST, path).json(&self.body)?;
        self.transport.json(&call).await
    }
}

impl fmt::Debug for RestoreFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestoreFile")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Deletes a file. From [`Files::delete`](super::Files::delete).
#[must_use = "nothing is sent before send()"]
pub struct DeleteFile<'a> {
    transport: &'a Transport,
    id: FileId,
    if_match: Option<String>,
}

impl<'a> DeleteFile<'a> {
    pub(super) fn new(transport: &'a Transport, id: &FileId) -> Self {
        Self {
            transport,
            id: id.clone(),
            if_match: None,
        }
    }

    /// Only if the file still has this etag; otherwise a [`Conflict`](ErrorKind::Conflict) with
    /// the code `precondition_failed`.
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.if_match = Some(etag.into());
        self
    }

    /// Sends it. A file that is gone when a lost answer is asked for again counts as deleted.
    pub async fn send(self) -> Result<()> {
        let path = ["files", self.id.as_str()];
        let call =
            Call::new("files.delete", Method::DELETE, path).if_match(self.if_match.as_deref())?;
        self.transport.gone(&call).await
    }
}

impl fmt::Debug for DeleteFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeleteFile")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A name that Box would refuse is not sent.
pub(crate) fn check(operation: &'static str, name: Option<&Value>) -> Result<()> {
    let Some(name) = name.and_then(Value::as_str) else {
        return Ok(());
    };
    check_name(name).map_err(|cause| {
        Error::new(ErrorKind::Invalid, operation)
            .detail("Box takes no such name")
            .cause(cause)
    })
}
