//! The client and how it is set up.

use std::{fmt, sync::Arc, time::Duration};

use http::Method;
use url::Url;

use crate::{
    Downscope, Files, Folders, RawRequest, RetryPolicy, SharedLinks, TokenSource, UploadSessions,
    UserId, Webhooks,
    error::{Error, ErrorKind, Result},
    gate::Gate,
    metadata::Metadata,
    transport::{Sender, Transport},
};

/// A client of the Box API.
///
/// Immutable and cheap to clone: clones share connections and the token. All calls take `&self`.
#[derive(Clone)]
pub struct BoxClient {
    transport: Arc<Transport>,
}

impl BoxClient {
    /// A client for `https://api.box.com` that asks `tokens` for access tokens.
    pub fn new(tokens: impl TokenSource) -> Result<Self> {
        Self::builder(tokens).build()
    }

    /// A client to set up further.
    pub fn builder(tokens: impl TokenSource) -> BoxClientBuilder {
        BoxClientBuilder {
            tokens: Arc::new(tokens),
            http: None,
            hosts: Hosts::of_box(),
            retry: RetryPolicy::default(),
            timeouts: Timeouts::default(),
            rate_gate: true,
        }
    }

    /// Files and their bytes.
    pub fn files(&self) -> Files<'_> {
        Files::new(&self.transport)
    }

    /// Folders.
    pub fn folders(&self) -> Folders<'_> {
        Folders::new(&self.transport)
    }

    /// Metadata instances.
    pub fn metadata(&self) -> Metadata<'_> {
        Metadata::new(&self.transport)
    }

    /// Links by which others open a file or folder.
    pub fn shared_links(&self) -> SharedLinks<'_> {
        SharedLinks::new(&self.transport)
    }

    /// Uploads in parts that can be taken up again.
    pub fn upload_sessions(&self) -> UploadSessions<'_> {
        UploadSessions::new(&self.transport)
    }

    /// Webhooks of the calling application and user.
    pub fn webhooks(&self) -> Webhooks<'_> {
        Webhooks::new(&self.transport)
    }

    /// The same client acting as another user of the enterprise: every API call carries `As-User`,
    /// and neither the download host nor the token endpoint sees it. Cheap, so it also serves one
    /// call: `client.as_user(&user).files().get(&file).send()`.
    ///
    /// The token must be an admin's, a co-admin's or a Service Account's, of an application that
    /// is enabled to perform actions as users, and `user` is somebody else.
    ///
    /// ```no_run
    /// # use box_client::{BoxClient, FileId, UserId};
    /// # async fn example(client: BoxClient) -> Result<(), Box<dyn std::error::Error>> {
    /// let sam = client.as_user(&UserId::new("33333")?);
    /// let file = sam.files().get(&FileId::new("777")?).send().await?;
    /// # let _ = file;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Vendor: <https://developer.box.com/guides/authentication/jwt/as-user/>
    #[must_use]
    pub fn as_user(&self, user: &UserId) -> Self {
        let transport = Arc::new(self.transport.as_user(Some(user)));
        Self { transport }
    }

    /// The same client acting as its token's own user again.
    #[must_use]
    pub fn as_self(&self) -> Self {
        let transport = Arc::new(self.transport.as_user(None));
        Self { transport }
    }

    /// A token that can do less than the client's own. See [`Downscope`].
    pub fn downscope(&self, scopes: impl IntoIterator<Item = impl AsRef<str>>) -> Downscope {
        Downscope::new(&self.transport, scopes)
    }

    /// Who may work on files and folders.
    pub fn collaborations(&self) -> crate::Collaborations<'_> {
        crate::Collaborations::new(&self.transport)
    }

    /// Comments on files.
    pub fn comments(&self) -> crate::Comments<'_> {
        crate::Comments::new(&self.transport)
    }

    /// What happened.
    pub fn events(&self) -> crate::Events<'_> {
        crate::Events::new(&self.transport)
    }

    /// Groups of users.
    pub fn groups(&self) -> crate::Groups<'_> {
        crate::Groups::new(&self.transport)
    }

    /// Metadata handed down by folders.
    pub fn metadata_cascade_policies(&self) -> crate::MetadataCascadePolicies<'_> {
        crate::MetadataCascadePolicies::new(&self.transport)
    }

    /// Which metadata there can be.
    pub fn metadata_templates(&self) -> crate::MetadataTemplates<'_> {
        crate::MetadataTemplates::new(&self.transport)
    }

    /// Full-text search.
    pub fn search(&self) -> crate::Search<'_> {
        crate::Search::new(&self.transport)
    }

    /// Box Sign.
    pub fn sign_requests(&self) -> crate::SignRequests<'_> {
        crate::SignRequests::new(&self.transport)
    }

    /// Tasks about files.
    pub fn tasks(&self) -> crate::Tasks<'_> {
        crate::Tasks::new(&self.transport)
    }

    /// Users of the enterprise.
    pub fn users(&self) -> crate::Users<'_> {
        crate::Users::new(&self.transport)
    }

    /// Any call that this crate does not model, with the same token, retries and errors. `path`
    /// follows the API's base, such as `/files/123/comments`, and is sent as it stands.
    pub fn request(&self, method: Method, path: &str) -> RawRequest<'_> {
        RawRequest::new(&self.transport, method, path)
    }
}

impl fmt::Debug for BoxClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxClient")
            .field("hosts", self.transport.hosts())
            .finish_non_exhaustive()
    }
}

/// A client that is being set up.
#[must_use]
pub struct BoxClientBuilder {
    tokens: Arc<dyn TokenSource>,
    http: Option<reqwest::Client>,
    hosts: Result<Hosts>,
    retry: RetryPolicy,
    timeouts: Timeouts,
    rate_gate: bool,
}

impl BoxClientBuilder {
    /// Another server than Box's own, such as a proxy or [`FakeBox`](crate#testing): its root,
    /// under which `/2.0`, `/oauth2/token` and, for uploads, `/api/2.0` lie.
    pub fn base_url(mut self, root: &str) -> Self {
        self.hosts = Hosts::under(root);
        self
    }

    /// Another server for uploads alone: its root, under which `/api/2.0` lies. To be set after
    /// [`base_url`](Self::base_url).
    pub fn upload_url(mut self, root: &str) -> Self {
        self.hosts = self.hosts.and_then(|hosts| hosts.uploading_to(root));
        self
    }

    /// How patient the client is.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// How long the client waits for a connection, 10 s unless set. Has no effect on a client
    /// given by [`http`](Self::http).
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.connect = timeout;
        self
    }

    /// How long an answer may stay away, and how long a body may pause, 60 s unless set. There is
    /// no limit on how long the body of a download may take as a whole.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.idle = timeout;
        self
    }

    /// Whether a 429 with `Retry-After` holds back the other calls of this client and its clones
    /// too; on unless set. Box counts per user, so they would be refused as well. Searches,
    /// metadata queries, sign requests and uploads, which Box counts apart, are held back apart.
    /// Nobody waits for more than a minute because of another call, nor past the own deadline: a
    /// call that would have to fails at once with kind
    /// [`RateLimited`](ErrorKind::RateLimited).
    pub fn rate_gate(mut self, on: bool) -> Self {
        self.rate_gate = on;
        self
    }

    /// An HTTP client of your own, for proxies, certificates or shared connections. Let it follow
    /// no redirects: this crate follows them itself, without the token.
    pub fn http(mut self, http: reqwest::Client) -> Self {
        self.http = Some(http);
        self
    }

    /// The client.
    pub fn build(self) -> Result<BoxClient> {
        let hosts = self.hosts?;
        let http = match self.http {
            Some(http) => http,
            None => http_client(&self.timeouts)?,
        };
        let sender = Sender {
            http,
            hosts,
            retry: self.retry,
            idle: self.timeouts.idle,
            gate: Gate::new(self.rate_gate),
        };
        let transport = Arc::new(Transport::new(sender, self.tokens));
        Ok(BoxClient { transport })
    }
}

impl fmt::Debug for BoxClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxClientBuilder")
            .field("hosts", &self.hosts)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(60),
        }
    }
}

pub(crate) fn http_client(timeouts: &Timeouts) -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(timeouts.connect)
        // Another crate can turn it on for all; the bytes of files shall come as they are.
        .no_gzip()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("box-client/", env!("CARGO_PKG_VERSION"), " (Rust)"))
        .build()
        .map_err(|cause| {
            Error::new(ErrorKind::Config, "build")
                .detail("no HTTP client")
                .cause(cause)
        })
}

/// Where Box lives.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    pub(crate) api: Url,
    pub(crate) upload: Url,
    pub(crate) token: Url,
    pub(crate) revoke: Url,
}

/// A user in the URL would be a secret in `Debug`.
pub(crate) fn is_root(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
}

impl Hosts {
    /// Box's own.
    pub(crate) fn of_box() -> Result<Self> {
        Self::under("https://api.box.com")
    }

    pub(crate) fn under(root: &str) -> Result<Self> {
        let api = join(root, "/2.0")?;
        // Box itself takes uploads on another host than everything else.
        let upload = match api.host_str() {
            Some("api.box.com") => "https://upload.box.com",
            _ => root,
        };
        Ok(Self {
            upload: join(upload, "/api/2.0")?,
            token: join(root, "/oauth2/token")?,
            revoke: join(root, "/oauth2/revoke")?,
            api,
        })
    }

    fn uploading_to(mut self, root: &str) -> Result<Self> {
        self.upload = join(root, "/api/2.0")?;
        Ok(self)
    }
}

fn join(root: &str, path: &str) -> Result<Url> {
    Url::parse(&format!("{}{path}", root.trim_end_matches('/')))
        .ok()
        .filter(is_root)
        .ok_or_else(|| {
            Error::new(ErrorKind::Config, "build")
                .detail("the base URL must be http or https, without user, query or fragment")
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn uploads_go_to_their_own_host_unless_another_server_is_given() {
        let upload = |hosts: Hosts| hosts.upload.to_string();
        let own = "https://upload.box.com/api/2.0";
        assert_eq!(upload(Hosts::of_box().unwrap()), own);
        assert_eq!(upload(Hosts::under("https://api.box.com/").unwrap()), own);
        let proxy = Hosts::under("https://proxy.example.com/box/").unwrap();
        assert_eq!(
            upload(proxy.clone()),
            "https://proxy.example.com/box/api/2.0"
        );
        let both = proxy.uploading_to("http://127.0.0.1:8/").unwrap();
        assert_eq!(upload(both.clone()), "http://127.0.0.1:8/api/2.0");
        assert_eq!(both.api.as_str(), "https://proxy.example.com/box/2.0");
    }
}
