//! Collaborations: who may work on a file or folder.

use futures_core::Stream;
use futures_util::TryStreamExt;
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    Change, CollaborationId, FileId, FolderId, GroupId, ItemId, UserId, UserMini,
    call::Call,
    error::{Error, ErrorKind, Result},
    open_enum::open_enum,
    paging,
    transport::Transport,
};

/// Calls on collaborations. From [`BoxClient::collaborations`](crate::BoxClient::collaborations).
///
/// Vendor: <https://developer.box.com/reference/resources/collaboration/>. There are none on the
/// root folder.
///
/// ```no_run
/// use box_client::{BoxClient, CollaborationRole, Collaborator, FolderId};
///
/// # async fn example(client: BoxClient) -> Result<(), Box<dyn std::error::Error>> {
/// let folder = FolderId::new("100")?;
/// let rep = Collaborator::Login("rep@example.com".to_owned());
/// let invited = client
///     .collaborations()
///     .create(&folder, rep, CollaborationRole::Editor)
///     .notify(false)
///     .ensure()
///     .await?;
/// println!("{:?}: {}", invited.change, invited.collaboration.id);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Collaborations<'a> {
    transport: &'a Transport,
}

/// More at once is refused.
const LIST_LIMIT: &str = "1000";
const OFFSET_LIMIT: u64 = 1000;

impl<'a> Collaborations<'a> {
    pub(crate) fn new(transport: &'a Transport) -> Self {
        Self { transport }
    }

    /// Invites somebody to work on a file or folder. People outside the enterprise stay
    /// [pending](CollaborationStatus::Pending) until they accept.
    ///
    /// Vendor: <https://developer.box.com/reference/post-collaborations/>
    pub fn create(
        &self,
        item: impl Into<ItemId>,
        with: Collaborator,
        role: CollaborationRole,
    ) -> CreateCollaboration<'a> {
        CreateCollaboration {
            transport: self.transport,
            item: item.into(),
            with,
            role,
            notify: None,
            options: Map::new(),
        }
    }

    /// A collaboration.
    ///
    /// Vendor: <https://developer.box.com/reference/get-collaborations-id/>
    pub async fn get(&self, id: &CollaborationId) -> Result<Collaboration> {
        let path = ["collaborations", id.as_str()];
        let call = Call::new("collaborations.get", Method::GET, path);
        self.transport.json(&call).await
    }

    /// Changes a collaboration, or answers an invitation of the token's user.
    ///
    /// Vendor: <https://developer.box.com/reference/put-collaborations-id/>
    pub fn update(&self, id: &CollaborationId) -> UpdateCollaboration<'a> {
        UpdateCollaboration {
            transport: self.transport,
            id: id.clone(),
            body: Map::new(),
        }
    }

    /// Ends a collaboration.
    ///
    /// Vendor: <https://developer.box.com/reference/delete-collaborations-id/>
    pub async fn delete(&self, id: &CollaborationId) -> Result<()> {
        let path = ["collaborations", id.as_str()];
        let call = Call::new("collaborations.delete", Method::DELETE, path);
        self.transport.gone(&call).await
    }

    /// Who works on a folder, without those who do because of a folder above it.
    ///
    /// Vendor: <https://developer.box.com/reference/get-folders-id-collaborations/>
    pub fn on_folder(
        &self,
        folder: &FolderId,
    ) -> impl Stream<Item = Result<Collaboration>> + Send + use<'a> {
        self.list(folder.into())
    }

    /// Who works on a file, without those who do because of a folder above it.
    ///
    /// Vendor: <https://developer.box.com/reference/get-files-id-collaborations/>
    pub fn on_file(
        &self,
        file: &FileId,
    ) -> impl Stream<Item = Result<Collaboration>> + Send + use<'a> {
        self.list(file.into())
    }

    fn list(&self, item: ItemId) -> impl Stream<Item = Result<Collaboration>> + Send + use<'a> {
        paging::by_marker(self.transport, move |marker| {
            let path = [item.collection(), item.as_str(), "collaborations"];
            let call = Call::new("collaborations.list", Method::GET, path);
            Ok(call.query("limit", LIST_LIMIT).query_opt("marker", marker))
        })
    }

    /// What a group works on, with the rights of an administrator.
    ///
    /// Vendor: <https://developer.box.com/reference/get-groups-id-collaborations/>
    pub fn of_group(
        &self,
        group: &GroupId,
    ) -> impl Stream<Item = Result<Collaboration>> + Send + use<'a> {
        let id = group.clone();
        paging::by_offset(self.transport, OFFSET_LIMIT, move || {
            let path = ["groups", id.as_str(), "collaborations"];
            Ok(Call::new("collaborations.of_group", Method::GET, path))
        })
    }

    /// The invitations that the token's user has yet to answer.
    ///
    /// Vendor: <https://developer.box.com/reference/get-collaborations/>
    pub fn pending(&self) -> impl Stream<Item = Result<Collaboration>> + Send + use<'a> {
        paging::by_offset(self.transport, OFFSET_LIMIT, || {
            let call = Call::new("collaborations.pending", Method::GET, ["collaborations"]);
            Ok(call.query("status", "pending"))
        })
    }
}

/// Who is invited.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Collaborator {
    /// A user.
    User(UserId),
    /// Whoever has or will have this e-mail address at Box.
    Login(String),
    /// A group.
    Group(GroupId),
}

impl Collaborator {
    fn json(&self) -> Value {
        match self {
            Self::User(id) => json!({ "type": "user", "id": id }),
            Self::Login(login) => json!({ "type": "user", "login": login }),
            Self::Group(id) => json!({ "type": "group", "id": id }),
        }
    }

    fn is_in(&self, collaboration: &Collaboration) -> bool {
        let grantee = collaboration.accessible_by.as_ref();
        let same = |id: &str, kind: &str| {
            grantee.is_some_and(|it| it.kind.as_deref() == Some(kind) && it.id == id)
        };
        match self {
            Self::User(id) => same(id.as_str(), "user"),
            Self::Group(id) => same(id.as_str(), "group"),
            Self::Login(login) => [
                grantee.and_then(|it| it.login.as_deref()),
                collaboration.invite_email.as_deref(),
            ]
            .into_iter()
            .flatten()
            .any(|known| known.eq_ignore_ascii_case(login)),
        }
    }
}

open_enum! {
    /// What a collaborator may do.
    CollaborationRole {
        /// All but managing.
        Editor = "editor",
        /// Preview, download, comment, share.
        Viewer = "viewer",
        /// Preview only.
        Previewer = "previewer",
        /// Upload only.
        Uploader = "uploader",
        /// Preview and upload.
        PreviewerUploader = "previewer uploader",
        /// What viewers may, and upload.
        ViewerUploader = "viewer uploader",
        /// All that the owner may.
        CoOwner = "co-owner",
        /// Owns the item; can be given by an update only.
        Owner = "owner",
    }
}

open_enum! {
    /// How far an invitation has come.
    CollaborationStatus {
        /// It gives access.
        Accepted = "accepted",
        /// It is not answered yet.
        Pending = "pending",
        /// It is turned down.
        Rejected = "rejected",
    }
}

/// Invites somebody. From [`Collaborations::create`].
#[derive(Debug)]
#[must_use = "nothing is sent before send() or ensure()"]
pub struct CreateCollaboration<'a> {
    transport: &'a Transport,
    item: ItemId,
    with: Collaborator,
    role: CollaborationRole,
    notify: Option<bool>,
    options: Map<String, Value>,
}

impl CreateCollaboration<'_> {
    /// Whether Box tells the invited by e-mail.
    pub fn notify(mut self, on: bool) -> Self {
        self.notify = Some(on);
        self
    }

    /// Whether the invited see the folders above: for folders only. Box asks for fewer than 1,000
    /// of these per user.
    pub fn can_view_path(self, on: bool) -> Self {
        self.option("can_view_path", on)
    }

    /// When it ends by itself. The enterprise has to allow that.
    pub fn expires_at(self, at: Timestamp) -> Self {
        self.option("expires_at", at.to_string())
    }

    /// Whether the item stays out of the invited one's own folders.
    pub fn access_only(self, on: bool) -> Self {
        self.option("is_access_only", on)
    }

    fn option(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.options.insert(name.to_owned(), value.into());
        self
    }

    fn call(&self) -> Result<Call> {
        let mut body = self.options.clone();
        body.insert("item".to_owned(), self.item.reference());
        body.insert("accessible_by".to_owned(), self.with.json());
        body.insert("role".to_owned(), self.role.as_str().into());
        Call::new("collaborations.create", Method::POST, ["collaborations"])
            .query_opt("notify", self.notify.map(|on| on.to_string()))
            .json(&body)
    }

    /// Sends it.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) with code `user_already_collaborator` for somebody who
    /// is a collaborator already, although Box's status is 400.
    pub async fn send(self) -> Result<Collaboration> {
        self.transport.json(&self.call()?).await.map_err(told_apart)
    }

    /// Makes sure that they collaborate in this role: invites them, or finds the collaboration
    /// that is there and changes its role where it differs. Nothing else is changed. Safe to
    /// repeat.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); the conflict remains when the collaboration is not on the item
    /// itself but on a folder above it.
    pub async fn ensure(self) -> Result<EnsuredCollaboration> {
        // Safe to repeat here, and only here: what a lost answer made is found by its conflict.
        let call = self.call()?.repeatable();
        let conflict = match self.transport.json(&call).await.map_err(told_apart) {
            Ok(collaboration) => {
                return Ok(EnsuredCollaboration {
                    collaboration,
                    change: Change::Created,
                });
            }
            Err(error) if is_already_collaborator(&error) => error,
            Err(error) => return Err(error),
        };
        let collaborations = Collaborations::new(self.transport);
        let mut all = std::pin::pin!(collaborations.list(self.item.clone()));
        let known = loop {
            match all.try_next().await? {
                Some(one) if self.with.is_in(&one) => break one,
                Some(_) => {}
                None => return Err(conflict),
            }
        };
        if known.role.as_ref() == Some(&self.role) {
            return Ok(EnsuredCollaboration {
                collaboration: known,
                change: Change::None,
            });
        }
        let update = collaborations.update(&known.id).role(self.role);
        let collaboration = update.send().await?.unwrap_or(known);
        Ok(EnsuredCollaboration {
            collaboration,
            change: Change::Updated,
        })
    }
}

const ALREADY: &str = "user_already_collaborator";

fn is_already_collaborator(error: &Error) -> bool {
    error.api().and_then(|api| api.code()) == Some(ALREADY)
}

/// Box says 400 to it, which is what it says of requests that are wrong.
fn told_apart(error: Error) -> Error {
    if is_already_collaborator(&error) {
        error.of_kind(ErrorKind::Conflict)
    } else {
        error
    }
}

/// What [`CreateCollaboration::ensure`] found or made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EnsuredCollaboration {
    /// The collaboration as it stands now.
    pub collaboration: Collaboration,
    /// What had to be done.
    pub change: Change,
}

/// Changes a collaboration. From [`Collaborations::update`].
#[derive(Debug)]
#[must_use = "nothing is sent before send()"]
pub struct UpdateCollaboration<'a> {
    transport: &'a Transport,
    id: CollaborationId,
    body: Map<String, Value>,
}

impl UpdateCollaboration<'_> {
    /// Another role. A new [`Owner`](CollaborationRole::Owner) takes the item over: Box ends this
    /// collaboration and makes another for the owner so far.
    pub fn role(self, role: CollaborationRole) -> Self {
        self.set("role", role.as_str())
    }

    /// Accepts or rejects an invitation of the token's user.
    pub fn status(self, status: CollaborationStatus) -> Self {
        self.set("status", status.as_str())
    }

    /// When it ends by itself. The enterprise has to allow that.
    pub fn expires_at(self, at: Timestamp) -> Self {
        self.set("expires_at", at.to_string())
    }

    /// Whether they see the folders above.
    pub fn can_view_path(self, on: bool) -> Self {
        self.set("can_view_path", on)
    }

    fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body.insert(name.to_owned(), value.into());
        self
    }

    /// Sends it. `None` when the owner changed and this collaboration is no more.
    pub async fn send(self) -> Result<Option<Collaboration>> {
        let path = ["collaborations", self.id.as_str()];
        let call = Call::new("collaborations.update", Method::PUT, path).json(&self.body)?;
        let new_owner = self.body.get("role").is_some_and(|role| role == "owner");
        // What a lost answer has replaced is not found the second time.
        let call = if new_owner { call.once() } else { call };
        self.transport.json_or_empty(&call).await
    }
}

/// Who may work on an item, and how.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Collaboration {
    /// Its id.
    pub id: CollaborationId,
    /// How far the invitation has come.
    pub status: Option<CollaborationStatus>,
    /// What the collaborator may do.
    pub role: Option<CollaborationRole>,
    /// Who collaborates; none while somebody without an account is invited.
    pub accessible_by: Option<Grantee>,
    /// Where the invitation went, as long as it is pending.
    pub invite_email: Option<String>,
    /// The file or folder as it came. Box leaves it out of pending ones.
    pub item: Option<Value>,
    /// Who invited.
    pub created_by: Option<UserMini>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it was last changed.
    pub modified_at: Option<Timestamp>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When the invitation was answered.
    pub acknowledged_at: Option<Timestamp>,
    /// Everything else, as it came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Collaboration {
    /// The file or folder, when Box tells.
    pub fn item_id(&self) -> Option<ItemId> {
        ItemId::read(self.item.as_ref()?)
    }
}

/// The user or group that collaborates.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct Grantee {
    /// The user's or the group's id.
    #[serde(deserialize_with = "crate::ids::text")]
    pub id: String,
    /// `user` or `group`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The name; empty while pending.
    pub name: Option<String>,
    /// A user's e-mail address.
    pub login: Option<String>,
}
