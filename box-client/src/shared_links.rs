//! Shared links: how others open a file or folder.

use std::fmt;

use http::{HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    FileId, FolderId, Item,
    call::Call,
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

const HEADER: HeaderName = HeaderName::from_static("boxapi");

/// Calls on shared links. From [`BoxClient::shared_links`](crate::BoxClient::shared_links).
///
/// ```no_run
/// # use box_client::{BoxClient, FolderId, LinkAccess};
/// # async fn example(client: BoxClient) -> Result<(), Box<dyn std::error::Error>> {
/// let folder = FolderId::new("100")?;
/// let links = client.shared_links();
/// let link = links.folder(&folder).set().access(LinkAccess::Company).send().await?;
/// println!("{}", link.url);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct SharedLinks<'a> {
    transport: &'a Transport,
}

impl fmt::Debug for SharedLinks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLinks").finish_non_exhaustive()
    }
}

impl<'a> SharedLinks<'a> {
    pub(crate) fn new(transport: &'a Transport) -> Self {
        Self { transport }
    }

    /// The link of a file.
    pub fn file(&self, id: &FileId) -> ItemLink<'a> {
        self.of("files", id.as_str())
    }

    /// The link of a folder.
    pub fn folder(&self, id: &FolderId) -> ItemLink<'a> {
        self.of("folders", id.as_str())
    }

    /// The file or folder that a link opens. A link that opens nothing, or not for the token's
    /// user, is [`NotFound`](ErrorKind::NotFound) or [`Forbidden`](ErrorKind::Forbidden).
    ///
    /// Vendor: <https://developer.box.com/reference/get-shared-items/>
    pub async fn find(&self, link: &SharedLinkAccess) -> Result<Item> {
        let call = Call::new("shared_links.find", Method::GET, ["shared_items"])
            .shared_link(Some(link))?;
        self.transport.json(&call).await
    }

    fn of(&self, items: &'static str, id: &str) -> ItemLink<'a> {
        ItemLink {
            transport: self.transport,
            items,
            id: id.to_owned(),
        }
    }
}

/// The link of one file or folder. From [`SharedLinks::file`] and [`SharedLinks::folder`].
#[derive(Clone)]
pub struct ItemLink<'a> {
    transport: &'a Transport,
    items: &'static str,
    id: String,
}

impl fmt::Debug for ItemLink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemLink")
            .field("items", &self.items)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl<'a> ItemLink<'a> {
    /// The link, if there is one.
    ///
    /// Vendor: <https://developer.box.com/reference/get-files-id--get-shared-link/>
    pub async fn get(&self) -> Result<Option<SharedLink>> {
        self.send("shared_links.get", Method::GET, None).await
    }

    /// Makes the link, or changes the one that is there. What is not set is left to Box: for a
    /// new link the enterprise's default, for one that is there what it has.
    ///
    /// Vendor: <https://developer.box.com/reference/put-files-id--add-shared-link/>
    pub fn set(&self) -> SetSharedLink<'a> {
        SetSharedLink {
            link: self.clone(),
            settings: Map::new(),
        }
    }

    /// Takes the link away.
    ///
    /// Vendor: <https://developer.box.com/reference/put-files-id--remove-shared-link/>
    pub async fn remove(&self) -> Result<()> {
        let body = json!({ "shared_link": Value::Null });
        let removed = self.send("shared_links.remove", Method::PUT, Some(body));
        removed.await.map(drop)
    }

    async fn send(
        &self,
        operation: &'static str,
        method: Method,
        body: Option<Value>,
    ) -> Result<Option<SharedLink>> {
        #[derive(Deserialize)]
        struct Linked {
            shared_link: Option<SharedLink>,
        }
        let mut call =
            Call::new(operation, method, [self.items, &self.id]).query("fields", "shared_link");
        if let Some(body) = body {
            call = call.json(&body)?;
        }
        let linked: Linked = self.transport.json(&call).await?;
        Ok(linked.shared_link)
    }
}

/// Makes or changes a link. From [`ItemLink::set`].
#[must_use = "nothing is sent before send()"]
pub struct SetSharedLink<'a> {
    link: ItemLink<'a>,
    settings: Map<String, Value>,
}

/// Names no setting: one can be a password.
impl fmt::Debug for SetSharedLink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetSharedLink")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl SetSharedLink<'_> {
    /// Whom it lets in.
    pub fn access(self, access: LinkAccess) -> Self {
        self.setting("access", json!(access))
    }

    /// What they have to know besides. Box wants at least eight characters with a digit, an
    /// upper-case letter or another character than letters and digits among them.
    pub fn password(self, password: &SecretString) -> Self {
        self.setting("password", password.expose_secret().into())
    }

    /// Takes the password off.
    pub fn no_password(self) -> Self {
        self.setting("password", Value::Null)
    }

    /// When it ends; later than now, and with a paid account only.
    pub fn unshared_at(self, at: Timestamp) -> Self {
        self.setting("unshared_at", at.to_string().into())
    }

    /// A name of your own in its URL, of at least twelve characters.
    pub fn vanity_name(self, name: impl Into<String>) -> Self {
        self.setting("vanity_name", name.into().into())
    }

    /// Whether the bytes can be had by it.
    pub fn can_download(mut self, can: bool) -> Self {
        self.permissions("can_download", can);
        self
    }

    /// Whether a file can be changed by it.
    pub fn can_edit(mut self, can: bool) -> Self {
        self.permissions("can_edit", can);
        self
    }

    /// Sends it.
    pub async fn send(self) -> Result<SharedLink> {
        const OPERATION: &str = "shared_links.set";
        let body = json!({ "shared_link": self.settings });
        let link = self.link.send(OPERATION, Method::PUT, Some(body)).await?;
        link.ok_or_else(|| Error::new(ErrorKind::Decode, OPERATION).detail("there is no link"))
    }

    fn setting(mut self, name: &str, value: Value) -> Self {
        self.settings.insert(name.to_owned(), value);
        self
    }

    fn permissions(&mut self, name: &str, can: bool) {
        let permissions = self.settings.entry("permissions").or_insert(json!({}));
        permissions[name] = can.into();
    }
}

/// Whom a link lets in.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LinkAccess {
    /// Everybody who has it.
    Open,
    /// The enterprise's people.
    Company,
    /// Those who are collaborators anyway.
    Collaborators,
    /// Something that this crate does not know.
    #[serde(untagged)]
    Other(String),
}

/// A link as Box shows it.
#[derive(Clone, Deserialize)]
#[non_exhaustive]
pub struct SharedLink {
    /// What to give away.
    pub url: String,
    /// Where a browser gets a file's bytes.
    pub download_url: Option<String>,
    /// The URL with a name of one's own.
    pub vanity_url: Option<String>,
    /// Whom it is to let in.
    pub access: Option<LinkAccess>,
    /// Whom it lets in: the enterprise's settings can be stricter.
    pub effective_access: Option<LinkAccess>,
    /// `can_edit`, `can_download`, `can_preview` or `no_access`.
    pub effective_permission: Option<String>,
    /// When it ends.
    pub unshared_at: Option<Timestamp>,
    /// Whether there is a password on it.
    pub is_password_enabled: Option<bool>,
    /// Everything else, as it came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// An open link is as good as a password.
impl fmt::Debug for SharedLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLink")
            .field("effective_access", &self.effective_access)
            .field("effective_permission", &self.effective_permission)
            .field("is_password_enabled", &self.is_password_enabled)
            .field("unshared_at", &self.unshared_at)
            .finish_non_exhaustive()
    }
}

/// A link that somebody else has given, with its password if it has one: opens what the token's
/// user could not see otherwise.
#[derive(Clone)]
pub struct SharedLinkAccess {
    url: SecretString,
    password: Option<SecretString>,
}

impl SharedLinkAccess {
    /// A link by its URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into().into(),
            password: None,
        }
    }

    /// With the password that is on it.
    #[must_use]
    pub fn password(mut self, password: SecretString) -> Self {
        self.password = Some(password);
        self
    }
}

/// An open link is as good as a password.
impl fmt::Debug for SharedLinkAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLinkAccess").finish_non_exhaustive()
    }
}

impl Call {
    pub(crate) fn shared_link(self, link: Option<&SharedLinkAccess>) -> Result<Self> {
        let Some(link) = link else { return Ok(self) };
        let mut text = format!("shared_link={}", link.url.expose_secret());
        if let Some(password) = &link.password {
            text.push_str("&shared_link_password=");
            text.push_str(password.expose_secret());
        }
        let Ok(mut value) = HeaderValue::try_from(text) else {
            return Err(Error::new(ErrorKind::Invalid, self.operation)
                .detail("the link has characters that no header can carry"));
        };
        value.set_sensitive(true);
        Ok(self.header(HEADER, value))
    }
}

/// Of an item in the trash Box documents a text here; no answer is to fail for a link.
pub(crate) fn lenient<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SharedLink>, D::Error> {
    Ok(SharedLink::deserialize(Value::deserialize(deserializer)?).ok())
}
