//! Comments on files.

use futures_core::Stream;
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{CommentId, FileId, UserMini, call::Call, error::Result, paging, transport::Transport};

/// Calls on comments. From [`BoxClient::comments`](crate::BoxClient::comments).
///
/// Vendor: <https://developer.box.com/reference/resources/comment/>
///
/// ```no_run
/// # use box_client::{BoxClient, FileId};
/// # async fn example(client: BoxClient) -> Result<(), Box<dyn std::error::Error>> {
/// let file = FileId::new("777000111")?;
/// let comment = client.comments().create(&file, "Signed by both sides.").send().await?;
/// println!("{}", comment.id);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Comments<'a> {
    transport: &'a Transport,
}

const LIST_LIMIT: u64 = 1000;

impl<'a> Comments<'a> {
    pub(crate) fn new(transport: &'a Transport) -> Self {
        Self { transport }
    }

    /// Comments on a file.
    ///
    /// Vendor: <https://developer.box.com/reference/post-comments/>
    pub fn create(&self, file: &FileId, message: &str) -> CreateComment<'a> {
        self.creation("file", file.as_str(), message)
    }

    /// Answers a comment.
    ///
    /// Vendor: <https://developer.box.com/reference/post-comments/>
    pub fn reply(&self, comment: &CommentId, message: &str) -> CreateComment<'a> {
        self.creation("comment", comment.as_str(), message)
    }

    /// The comments on a file.
    ///
    /// Vendor: <https://developer.box.com/reference/get-files-id-comments/>
    pub fn list(&self, file: &FileId) -> impl Stream<Item = Result<Comment>> + Send + use<'a> {
        let id = file.clone();
        paging::by_offset(self.transport, LIST_LIMIT, move || {
            let path = ["files", id.as_str(), "comments"];
            Ok(Call::new("comments.list", Method::GET, path))
        })
    }

    /// A comment.
    ///
    /// Vendor: <https://developer.box.com/reference/get-comments-id/>
    pub async fn get(&self, id: &CommentId) -> Result<Comment> {
        let call = Call::new("comments.get", Method::GET, ["comments", id.as_str()]);
        self.transport.json(&call).await
    }

    /// Changes what a comment says.
    ///
    /// Vendor: <https://developer.box.com/reference/put-comments-id/>
    pub async fn update(&self, id: &CommentId, message: &str) -> Result<Comment> {
        let call = Call::new("comments.update", Method::PUT, ["comments", id.as_str()])
            .json(&json!({ "message": message }))?;
        self.transport.json(&call).await
    }

    /// Deletes a comment.
    ///
    /// Vendor: <https://developer.box.com/reference/delete-comments-id/>
    pub async fn delete(&self, id: &CommentId) -> Result<()> {
        let call = Call::new("comments.delete", Method::DELETE, ["comments", id.as_str()]);
        self.transport.gone(&call).await
    }

    fn creation(&self, kind: &str, id: &str, message: &str) -> CreateComment<'a> {
        CreateComment {
            transport: self.transport,
            body: json!({ "item": { "type": kind, "id": id }, "message": message }),
        }
    }
}

/// Makes a comment. From [`Comments::create`] and [`Comments::reply`].
#[derive(Debug)]
#[must_use = "nothing is sent before send()"]
pub struct CreateComment<'a> {
    transport: &'a Transport,
    body: Value,
}

impl CreateComment<'_> {
    /// The message with people in it, as `@[33333:Jo] please look`: Box tells them by e-mail.
    pub fn tagged(mut self, message: &str) -> Self {
        self.body["tagged_message"] = message.into();
        self
    }

    /// Sends it.
    pub async fn send(self) -> Result<Comment> {
        let call = Call::new("comments.create", Method::POST, ["comments"]).json(&self.body)?;
        self.transport.json(&call).await
    }
}

/// A comment.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Comment {
    /// Its id.
    pub id: CommentId,
    /// What it says.
    pub message: Option<String>,
    /// The same with people in it, if there are any.
    pub tagged_message: Option<String>,
    /// Whether it answers another comment.
    pub is_reply_comment: Option<bool>,
    /// Who wrote it.
    pub created_by: Option<UserMini>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it was last changed.
    pub modified_at: Option<Timestamp>,
    /// What it is about, as it came.
    pub item: Option<Value>,
    /// Everything else, as it came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
