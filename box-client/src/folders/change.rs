use std::fmt;

use http::Method;
use serde_json::{Map, Value, json};

use super::Folder;
use crate::{FolderId, call::Call, error::Result, files::check, transport::Transport};

/// Makes a folder. From [`Folders::create`](super::Folders::create).
#[must_use = "nothing is sent before send()"]
pub struct CreateFolder<'a> {
    transport: &'a Transport,
    body: Map<String, Value>,
    fields: Vec<String>,
}

impl<'a> CreateFolder<'a> {
    pub(super) fn new(transport: &'a Transport, parent: &FolderId, name: String) -> Self {
        let body = [("name", name.into()), ("parent", json!({ "id": parent }))];
        Self {
            transport,
            body: body
                .map(|(name, value)| (name.to_owned(), value))
                .into_iter()
                .collect(),
            fields: Vec::new(),
        }
    }

    /// Any other field of Box's reference, such as `folder_upload_email`.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.body.insert(name.into(), value.into());
        self
    }

    /// Asks for these fields in the answer, besides id, name and the like.
    pub fn fields<S: Into<String>>(mut self, fields: impl IntoIterator<Item = S>) -> Self {
        self.fields = fields.into_iter().map(Into::into).collect();
        self
    }

    pub(super) fn call(&self) -> Result<Call> {
        check("folders.create", self.body.get("name"))?;
        Call::new("folders.create", Method::POST, ["folders"])
            .fields(&self.fields)
            .json(&self.body)
    }

    /// Sends it. An unknown outcome is reported, not repeated;
    /// [`ensure_path`](super::Folders::ensure_path) deals with that.
    pub async fn send(self) -> Result<Folder> {
        self.transport.json(&self.call()?).await
    }
}

impl fmt::Debug for CreateFolder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateFolder").finish_non_exhaustive()
    }
}

/// Changes a folder. From [`Folders::update`](super::Folders::update) and its relatives.
#[must_use = "nothing is sent before send()"]
pub struct UpdateFolder<'a> {
    transport: &'a Transport,
    operation: &'static str,
    id: FolderId,
    changes: Map<String, Value>,
    if_match: Option<String>,
    fields: Vec<String>,
}

impl<'a> UpdateFolder<'a> {
    pub(super) fn new(transport: &'a Transport, operation: &'static str, id: &FolderId) -> Self {
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

    /// Another place. Box takes up to ten minutes for a large folder, and goes on after the 503
    /// that follows: an unknown outcome is reported, not repeated.
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

    /// Any other field of Box's reference, such as `can_non_owners_invite`.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.changes.insert(name.into(), value.into());
        self
    }

    /// Only if the folder still has this etag; otherwise a
    /// [`Conflict`](crate::ErrorKind::Conflict) with the code `precondition_failed`.
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
        let path = ["folders", self.id.as_str()];
        let call = Call::new(self.operation, Method::PUT, path)
            .fields(&self.fields)
            .if_match(self.if_match.as_deref())?
            .json(&self.changes)?;
        let is_once = self.if_match.is_some() || self.changes.contains_key("parent");
        Ok(if is_once { call.once() } else { call })
    }

    /// Sends it.
    pub async fn send(self) -> Result<Folder> {
        self.transport.json(&self.call()?).await
    }
}

impl fmt::Debug for UpdateFolder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateFolder")
            .field("id", &self.id)
            .field("changes", &self.changes.keys())
            .finish_non_exhaustive()
    }
}

/// Copies a folder, or takes one out of the trash. From [`Folders::copy`](super::Folders::copy)
/// and [`Folders::restore`](super::Folders::restore).
#[must_use = "nothing is sent before send()"]
pub struct PlaceFolder<'a> {
    transport: &'a Transport,
    operation: &'static str,
    path: Vec<String>,
    body: Map<String, Value>,
}

impl<'a> PlaceFolder<'a> {
    pub(super) fn copy(transport: &'a Transport, id: &FolderId) -> Self {
        Self::new(transport, "folders.copy", &["folders", id.as_str(), "copy"])
    }

    pub(super) fn restore(transport: &'a Transport, id: &FolderId) -> Self {
        Self::new(transport, "folders.restore", &["folders", id.as_str()])
    }

    fn new(transport: &'a Transport, operation: &'static str, path: &[&str]) -> Self {
        Self {
            transport,
            operation,
            path: path.iter().map(|&segment| segment.to_owned()).collect(),
            body: Map::new(),
        }
    }

    /// Another name than its own; for a restoration, if its own is in use by now.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.body.insert("name".to_owned(), name.into().into());
        self
    }

    /// Where to; for a restoration, if its old place is gone.
    pub fn parent(mut self, folder: &FolderId) -> Self {
        self.body
            .insert("parent".to_owned(), json!({ "id": folder }));
        self
    }

    /// Sends it. An unknown outcome is reported, not repeated.
    pub async fn send(self) -> Result<Folder> {
        check(self.operation, self.body.get("name"))?;
        let call = Call::new(self.operation, Method::POST, &self.path).json(&self.body)?;
        self.transport.json(&call).await
    }
}

impl fmt::Debug for PlaceFolder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlaceFolder")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Deletes a folder. From [`Folders::delete`](super::Folders::delete).
#[must_use = "nothing is sent before send()"]
pub struct DeleteFolder<'a> {
    transport: &'a Transport,
    id: FolderId,
    recursive: bool,
    if_match: Option<String>,
}

impl<'a> DeleteFolder<'a> {
    pub(super) fn new(transport: &'a Transport, id: &FolderId) -> Self {
        Self {
            transport,
            id: id.clone(),
            recursive: false,
            if_match: None,
        }
    }

    /// With all that is in it. Without this, a folder that holds something stays, and the error
    /// has the code `folder_not_empty`.
    pub fn recursive(mut self) -> Self {
        self.recursive = true;
        self
    }

    /// Only if the folder still has this etag; otherwise a
    /// [`Conflict`](crate::ErrorKind::Conflict) with the code `precondition_failed`.
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.if_match = Some(etag.into());
        self
    }

    /// Sends it. A folder that is gone when a lost answer is asked for again counts as deleted.
    /// Box takes up to ten minutes for a large folder, and goes on after the 503 that follows.
    pub async fn send(self) -> Result<()> {
        let path = ["folders", self.id.as_str()];
        let call = Call::new("folders.delete", Method::DELETE, path)
            .query_opt("recursive", self.recursive.then_some("true"))
            .if_match(self.if_match.as_deref())?;
        self.transport.gone(&call).await
    }
}

impl fmt::Debug for DeleteFolder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeleteFolder")
            .field("id", &self.id)
            .field("recursive", &self.recursive)
            .finish_non_exhaustive()
    }
}
