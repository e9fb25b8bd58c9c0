//! Users of the enterprise.

use futures_core::Stream;
use futures_util::TryStreamExt;
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    UserId, call::Call, error::Result, open_enum::open_enum, paging, transport::Transport,
};

/// Calls on users: all but [`me`](Self::me) with the rights of an administrator and scope
/// `manage_managed_users`. From [`BoxClient::users`](crate::BoxClient::users).
///
/// Vendor: <https://developer.box.com/reference/resources/user/>
///
/// ```no_run
/// # async fn example(client: box_client::BoxClient) -> box_client::Result<()> {
/// if let Some(rep) = client.users().by_login("rep@example.com").await? {
///     println!("{}: {:?}", rep.id, rep.name);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Users<'a> {
    transport: &'a Transport,
}

/// More at once is refused.
const LIST_LIMIT: &str = "1000";

impl<'a> Users<'a> {
    pub(crate) fn new(transport: &'a Transport) -> Self {
        Self { transport }
    }

    /// The token's own user.
    ///
    /// Vendor: <https://developer.box.com/reference/get-users-me/>
    pub async fn me(&self) -> Result<User> {
        let call = Call::new("users.me", Method::GET, ["users", "me"]);
        self.transport.json(&call).await
    }

    /// A user.
    ///
    /// Vendor: <https://developer.box.com/reference/get-users-id/>
    pub async fn get(&self, id: &UserId) -> Result<User> {
        let call = Call::new("users.get", Method::GET, ["users", id.as_str()]);
        self.transport.json(&call).await
    }

    /// The users of the enterprise.
    ///
    /// Vendor: <https://developer.box.com/reference/get-users/>
    pub fn list(&self) -> ListUsers<'a> {
        ListUsers {
            transport: self.transport,
            query: Vec::new(),
        }
    }

    /// Who logs in with exactly this e-mail address, of the enterprise or outside it.
    pub async fn by_login(&self, login: &str) -> Result<Option<User>> {
        let found = self.list().filter_term(login).user_type(UserType::All);
        let mut found = std::pin::pin!(found.stream());
        while let Some(user) = found.try_next().await? {
            let known = user.login.as_deref();
            if known.is_some_and(|known| known.eq_ignore_ascii_case(login)) {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }

    /// Adds a person to the enterprise, who is told by e-mail.
    ///
    /// Vendor: <https://developer.box.com/reference/post-users/>
    pub fn create(&self, name: &str, login: &str) -> CreateUser<'a> {
        self.creation(name).set("login", login)
    }

    /// Makes a user for the application alone, who cannot log in (`is_platform_access_only`).
    ///
    /// Vendor: <https://developer.box.com/reference/post-users/>
    pub fn create_app_user(&self, name: &str) -> CreateUser<'a> {
        self.creation(name).set("is_platform_access_only", true)
    }

    /// Changes a user.
    ///
    /// Vendor: <https://developer.box.com/reference/put-users-id/>
    pub fn update(&self, id: &UserId) -> UpdateUser<'a> {
        UpdateUser {
            transport: self.transport,
            id: id.clone(),
            body: Map::new(),
        }
    }

    /// Deletes a user.
    ///
    /// Vendor: <https://developer.box.com/reference/delete-users-id/>
    pub fn delete(&self, id: &UserId) -> DeleteUser<'a> {
        DeleteUser {
            transport: self.transport,
            id: id.clone(),
            notify: None,
            force: None,
        }
    }

    fn creation(&self, name: &str) -> CreateUser<'a> {
        CreateUser {
            transport: self.transport,
            body: Map::new(),
        }
        .set("name", name)
    }
}

/// Lists users. From [`Users::list`].
#[derive(Debug)]
#[must_use = "nothing is sent before stream()"]
pub struct ListUsers<'a> {
    transport: &'a Transport,
    query: Vec<(&'static str, String)>,
}

impl<'a> ListUsers<'a> {
    /// Only those whose name or login begins with this. Users of other enterprises are found by
    /// their whole login only.
    pub fn filter_term(self, term: impl Into<String>) -> Self {
        self.with("filter_term", term.into())
    }

    /// Whether users of the enterprise, others, or all are listed; those of the enterprise unless
    /// said otherwise.
    pub fn user_type(self, user_type: UserType) -> Self {
        self.with("user_type", user_type.as_str().to_owned())
    }

    /// Only app users with this id in the application's own records.
    pub fn external_app_user_id(self, id: impl Into<String>) -> Self {
        self.with("external_app_user_id", id.into())
    }

    /// Asks for these fields only, besides id and type.
    pub fn fields<S: Into<String>>(self, fields: impl IntoIterator<Item = S>) -> Self {
        let fields: Vec<String> = fields.into_iter().map(Into::into).collect();
        self.with("fields", fields.join(","))
    }

    fn with(mut self, name: &'static str, value: String) -> Self {
        self.query.push((name, value));
        self
    }

    /// The users, page after page.
    pub fn stream(self) -> impl Stream<Item = Result<User>> + Send + use<'a> {
        let query = self.query;
        paging::by_marker(self.transport, move |marker| {
            let call = Call::new("users.list", Method::GET, ["users"])
                .query("usemarker", "true")
                .query("limit", LIST_LIMIT)
                .query_opt("marker", marker);
            Ok(query
                .iter()
                .fold(call, |call, (name, value)| call.query(*name, value)))
        })
    }
}

open_enum! {
    /// Which users a list holds.
    UserType {
        /// Those of the enterprise and others.
        All = "all",
        /// Those of the enterprise.
        Managed = "managed",
        /// Others.
        External = "external",
    }
}

/// Makes a user. From [`Users::create`] and [`Users::create_app_user`].
#[derive(Debug)]
#[must_use = "nothing is sent before send()"]
pub struct CreateUser<'a> {
    transport: &'a Transport,
    body: Map<String, Value>,
}

impl CreateUser<'_> {
    /// The user's id in the application's own records.
    pub fn external_app_user_id(self, id: &str) -> Self {
        self.set("external_app_user_id", id)
    }

    /// Bytes that the user may store; -1 for no limit.
    pub fn space_amount(self, bytes: i64) -> Self {
        self.set("space_amount", bytes)
    }

    /// The job title.
    pub fn job_title(self, title: &str) -> Self {
        self.set("job_title", title)
    }

    /// Whether the user may work with people outside the enterprise.
    pub fn external_collaboration_restricted(self, on: bool) -> Self {
        self.set("is_external_collab_restricted", on)
    }

    fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body.insert(name.to_owned(), value.into());
        self
    }

    /// Sends it.
    pub async fn send(self) -> Result<User> {
        let call = Call::new("users.create", Method::POST, ["users"]).json(&self.body)?;
        self.transport.json(&call).await
    }
}

/// Changes a user. From [`Users::update`].
#[derive(Debug)]
#[must_use = "nothing is sent before send()"]
pub struct UpdateUser<'a> {
    transport: &'a Transport,
    id: UserId,
    body: Map<String, Value>,
}

impl UpdateUser<'_> {
    /// Another name.
    pub fn name(self, name: &str) -> Self {
        self.set("name", name)
    }

    /// Another state.
    pub fn status(self, status: UserStatus) -> Self {
        self.set("status", status.as_str())
    }

    /// Another job title.
    pub fn job_title(self, title: &str) -> Self {
        self.set("job_title", title)
    }

    /// Bytes that the user may store; -1 for no limit.
    pub fn space_amount(self, bytes: i64) -> Self {
        self.set("space_amount", bytes)
    }

    /// The user's id in the application's own records.
    pub fn external_app_user_id(self, id: &str) -> Self {
        self.set("external_app_user_id", id)
    }

    fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body.insert(name.to_owned(), value.into());
        self
    }

    /// Sends it.
    pub async fn send(self) -> Result<User> {
        let path = ["users", self.id.as_str()];
        let call = Call::new("users.update", Method::PUT, path).json(&self.body)?;
        self.transport.json(&call).await
    }
}

/// Deletes a user. From [`Users::delete`].
#[derive(Debug)]
#[must_use = "nothing is sent before send()"]
pub struct DeleteUser<'a> {
    transport: &'a Transport,
    id: UserId,
    notify: Option<bool>,
    force: Option<bool>,
}

impl DeleteUser<'_> {
    /// Whether the user is told by e-mail.
    pub fn notify(mut self, on: bool) -> Self {
        self.notify = Some(on);
        self
    }

    /// Whether a user who still owns files is deleted, and the files with them.
    pub fn force(mut self, on: bool) -> Self {
        self.force = Some(on);
        self
    }

    /// Sends it.
    pub async fn send(self) -> Result<()> {
        let call = Call::new("users.delete", Method::DELETE, ["users", self.id.as_str()])
            .query_opt("notify", self.notify.map(|on| on.to_string()))
            .query_opt("force", self.force.map(|on| on.to_string()));
        self.transport.gone(&call).await
    }
}

open_enum! {
    /// Whether a user can work.
    UserStatus {
        /// Can work.
        Active = "active",
        /// Cannot log in.
        Inactive = "inactive",
        /// Can neither delete nor edit.
        CannotDeleteEdit = "cannot_delete_edit",
        /// Can neither delete, edit nor upload.
        CannotDeleteEditUpload = "cannot_delete_edit_upload",
    }
}

/// A user.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The name.
    pub name: Option<String>,
    /// The e-mail address that the user logs in with.
    pub login: Option<String>,
    /// Whether the user can work.
    pub status: Option<UserStatus>,
    /// When the user was made.
    pub created_at: Option<Timestamp>,
    /// When the user was last changed.
    pub modified_at: Option<Timestamp>,
    /// The language, such as `en`.
    pub language: Option<String>,
    /// The time zone, such as `Europe/Berlin`.
    pub timezone: Option<String>,
    /// Bytes that the user may store; -1 for no limit.
    #[serde(default, deserialize_with = "crate::lenient::lenient_integer")]
    pub space_amount: Option<i64>,
    /// Bytes that the user stores.
    #[serde(default, deserialize_with = "crate::lenient::lenient_integer")]
    pub space_used: Option<i64>,
    /// Bytes that a file may have.
    #[serde(default, deserialize_with = "crate::lenient::lenient_integer")]
    pub max_upload_size: Option<i64>,
    /// The job title.
    pub job_title: Option<String>,
    /// `admin`, `coadmin` or `user`; only when asked for by `fields`.
    pub role: Option<String>,
    /// Whether this is a user of the application alone; only when asked for by `fields`.
    pub is_platform_access_only: Option<bool>,
    /// The id in the application's own records; only when asked for by `fields`.
    pub external_app_user_id: Option<String>,
    /// Everything else, as it came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
