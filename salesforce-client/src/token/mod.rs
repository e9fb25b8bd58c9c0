//! Access tokens: fetched once for many waiters, renewed before they expire.

mod cache;
mod client_credentials;
mod exchange;
#[cfg(feature = "jwt")]
mod jwt;
mod refresh;
mod store;

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use http::{HeaderValue, Method};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

pub(crate) use self::cache::TokenCache;
#[cfg(feature = "jwt")]
pub use self::jwt::JwtBearer;
pub use self::{
    client_credentials::ClientCredentials,
    exchange::{SubjectTokens, TokenExchange},
    refresh::RefreshToken,
    store::{Grant, Lease, MemoryTokenStore, Stored, Swap, TokenStore, TokenStoreError},
};
use crate::{
    api_error::{ApiErrors, ErrorCode},
    call::{Call, Target},
    error::{Error, ErrorKind, Result},
    oauth::endpoint_url,
    transport::Sender,
};

/// Where access tokens come from. The client keeps what it gets and asks again before its time is
/// over, or when Salesforce has refused it; at most one question is open at a time.
#[async_trait]
pub trait TokenSource: Debug + Send + Sync + 'static {
    /// A token that is not `refused`, the one that Salesforce has just turned down.
    async fn fetch(
        &self,
        endpoint: &TokenEndpoint<'_>,
        refused: Option<&AccessToken>,
    ) -> Result<AccessToken>;

    /// Whether the source can work with this login URL at all. Asked when a client is built.
    fn check(&self, login_url: &str) -> Result<()> {
        let _ = login_url;
        Ok(())
    }
}

/// A token for calls, and the org's host, which only the token's answer tells. Cheap to clone.
#[derive(Clone)]
pub struct AccessToken {
    secret: SecretString,
    instance_url: Arc<Url>,
    lifetime: Option<Duration>,
    /// Made once, not for each call.
    bearer: HeaderValue,
}

impl AccessToken {
    /// A token, the org's host, and how long it is used from now; `None` means until it is
    /// refused.
    pub fn new(
        secret: SecretString,
        instance_url: &str,
        lifetime: Option<Duration>,
    ) -> Result<Self> {
        let instance_url = http_url(instance_url).ok_or_else(|| {
            Error::new(ErrorKind::Config, "token").detail(
                "the instance URL must be http or https, without a user, a query or a fragment",
            )
        })?;
        let bearer = header_of(&format!("Bearer {}", secret.expose_secret()))?;
        Ok(Self {
            secret,
            instance_url: Arc::new(instance_url),
            lifetime,
            bearer,
        })
    }

    /// The same token, to be used for this long from now.
    #[must_use]
    pub fn living_for(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// The token itself.
    pub fn secret(&self) -> &SecretString {
        &self.secret
    }

    /// The org's host.
    pub fn instance_url(&self) -> &str {
        self.instance_url.as_str()
    }

    pub(crate) fn base(&self) -> &Url {
        &self.instance_url
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.secret.expose_secret() == other.secret.expose_secret()
    }

    pub(crate) fn bearer(&self) -> &HeaderValue {
        &self.bearer
    }

    /// As Bulk 1.0 wants it.
    pub(crate) fn session(&self) -> Result<HeaderValue> {
        header_of(self.secret.expose_secret())
    }
}

impl Debug for AccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessToken")
            .field("instance_url", &self.instance_url.as_str())
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

fn header_of(secret: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(secret).map_err(|_| {
        Error::new(ErrorKind::Config, "token")
            .detail("the access token has characters that no header can carry")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A URL that paths can be joined to, and that hides nothing.
pub(crate) fn http_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    })
}

/// Salesforce's token endpoint, with the client's connections, retries and errors.
pub struct TokenEndpoint<'a> {
    sender: &'a Sender,
}

impl Debug for TokenEndpoint<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenEndpoint")
            .field("login", &self.login_url())
            .finish_non_exhaustive()
    }
}

impl<'a> TokenEndpoint<'a> {
    pub(crate) fn new(sender: &'a Sender) -> Self {
        Self { sender }
    }
}

impl TokenEndpoint<'_> {
    /// The login host, such as `https://login.salesforce.com`.
    pub fn login_url(&self) -> &str {
        self.sender.login.as_str().trim_end_matches('/')
    }

    /// Posts a form to `/services/oauth2/token`. What goes wrong is told by Salesforce's code and
    /// by words of this crate: the endpoint's own texts have carried parts of tokens.
    ///
    /// A lost answer is asked for again; what works only once goes by
    /// [`post_once`](Self::post_once). After a refusal that only a person can mend nothing is sent
    /// for ten seconds, and the refusal comes back: Salesforce counts logins that fail.
    pub async fn post(&self, form: &[(&str, &str)]) -> Result<TokenReply> {
        if let Some(refusal) = self.sender.refusal.get() {
            return Err(refusal);
        }
        let reply = self.sent(self.call(form).repeatable()).await;
        self.sender.refusal.set(reply.as_ref().err());
        reply
    }

    /// As [`post`](Self::post), for what is spent by it, such as a refresh token where they rotate.
    /// A lost answer is not asked for again, as the second use of a spent token can end the whole
    /// grant; so it is waited for as long as Salesforce works on a call at most.
    pub async fn post_once(&self, form: &[(&str, &str)]) -> Result<TokenReply> {
        self.sent(self.call(form).single_use()).await
    }

    fn call(&self, form: &[(&str, &str)]) -> Call {
        let url = endpoint_url(&self.sender.login, "token");
        Call::to("token", Method::POST, Target::Given(url)).form(form)
    }

    async fn sent(&self, call: Call) -> Result<TokenReply> {
        let sent = self.sender.whole(&call, None, REPLY_LIMIT).await;
        let body = sent.map_err(told)?.body;
        // The cause would quote the body.
        let mut reply: TokenReply = serde_json::from_slice(&body).map_err(|_| {
            Error::new(ErrorKind::Decode, "token")
                .detail("the token endpoint's answer has no token in it")
        })?;
        reply.needs_https = self.sender.login.scheme() == "https";
        Ok(reply)
    }

    /// How long the client uses a token: Salesforce does not say how long one lives.
    pub fn lifetime(&self) -> Duration {
        self.sender.token_lifetime
    }
}

const REPLY_LIMIT: usize = 256 * 1024;

/// The error without Salesforce's texts, and with what is known of the commoner ones.
fn told(error: Error) -> Error {
    // 5xx and the like say nothing about the grant.
    if !matches!(error.status(), Some(400 | 401 | 403)) {
        return error.without_texts();
    }
    let api = error.api();
    let code = api.and_then(ApiErrors::code).map(ErrorCode::as_str);
    let message = api.and_then(ApiErrors::message).unwrap_or_default();
    match code {
        Some(code) if is_final(code, message) => {
            let advice = advice(code, message);
            error.refused_grant(advice).without_texts()
        }
        _ => error
            .of_server()
            .detail("the login host gave no reason that would be final")
            .without_texts(),
    }
}

/// Whether a person has to mend something. A proxy's page has no code at all, and Salesforce has
/// some that pass.
fn is_final(code: &str, description: &str) -> bool {
    const PASSES: [&str; 3] = ["rate exceeded", "retry your request", "try again"];
    const FINAL: [&str; 20] = [
        "access_denied",
        "app_not_found",
        "inactive_org",
        "inactive_user",
        "invalid_app_access",
        "invalid_assertion",
        "invalid_client",
        "invalid_client_credentials",
        "invalid_client_id",
        "invalid_code",
        "invalid_grant",
        "invalid_grant_type",
        "invalid_request",
        "invalid_scope",
        "invalid_token",
        "redirect_uri_mismatch",
        "unauthorized_client",
        "unsupported_grant_type",
        "unsupported_response_type",
        "unsupported_token_type",
    ];
    let description = description.to_ascii_lowercase();
    FINAL.contains(&code) && !PASSES.iter().any(|text| description.contains(text))
}

/// The last refusal of the token endpoint that only a person can mend.
#[derive(Default)]
pub(crate) struct Refusal(Mutex<Option<(Instant, Error)>>);

impl Refusal {
    const REMEMBERED: Duration = Duration::from_secs(10);

    fn get(&self) -> Option<Error> {
        let refusal = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, error) = refusal.as_ref()?;
        (at.elapsed() < Self::REMEMBERED).then(|| error.again())
    }

    fn set(&self, error: Option<&Error>) {
        let refused = error.filter(|error| error.kind() == ErrorKind::Auth);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            refused.map(|error| (Instant::now(), error.again()));
    }
}

fn advice(code: &str, description: &str) -> Option<&'static str> {
    let says = |text: &str| description.to_ascii_lowercase().contains(text);
    Some(match code {
        "invalid_grant" if says("expired access/refresh token") => {
            "the refresh token is dead: log in again"
        }
        "invalid_grant" if says("expired authorization code") => {
            "the code was used before or came too late: log in again"
        }
        "redirect_uri_mismatch" => "the app has not registered this redirect URI",
        "invalid_grant" if says("hasn't approved") => {
            "the user has not approved the app: approve it once, or pre-authorize it"
        }
        "invalid_grant" if says("audience") => {
            "wrong audience: a sandbox wants https://test.salesforce.com"
        }
        "invalid_grant" if says("not supported on this domain") => {
            "this flow works on the org's My Domain only"
        }
        "invalid_grant" if says("no client credentials user") => {
            "the app has no run-as user for the client credentials flow"
        }
        "invalid_grant" if says("authentication failure") => {
            "the user is deactivated, or a policy keeps the user out"
        }
        "invalid_client_id" => "the app is unknown here, or too new: that takes some minutes",
        "invalid_client" => "the app's secret is wrong",
        "app_not_found" => "the app is not installed in this org",
        _ => return None,
    })
}

/// The token endpoint's answer.
#[derive(Debug, Deserialize)]
#[non_exhaustive]
pub struct TokenReply {
    /// The token for calls.
    pub access_token: SecretString,
    /// The org's host.
    pub instance_url: String,
    /// The next refresh token, where rotation is on.
    pub refresh_token: Option<SecretString>,
    /// The identity URL, `https://<host>/id/<org>/<user>`.
    pub id: Option<String>,
    /// A token that came over TLS does not go out without it.
    #[serde(skip)]
    needs_https: bool,
}

impl TokenReply {
    /// The access token, to be used for `lifetime`.
    pub fn access(&self, lifetime: Duration) -> Result<AccessToken> {
        if self.needs_https && !self.instance_url.starts_with("https://") {
            return Err(Error::new(ErrorKind::Decode, "token")
                .detail("the instance URL is not https although the login URL is"));
        }
        AccessToken::new(
            self.access_token.clone(),
            &self.instance_url,
            Some(lifetime),
        )
    }
}

/// A token that somebody else has fetched, such as a session id.
#[derive(Clone, Debug)]
pub struct StaticToken(AccessToken);

impl StaticToken {
    /// The token and the org's host, such as `https://example.my.salesforce.com`.
    pub fn new(token: impl Into<SecretString>, instance_url: &str) -> Result<Self> {
        Ok(Self(AccessToken::new(token.into(), instance_url, None)?))
    }
}

#[async_trait]
impl TokenSource for StaticToken {
    async fn fetch(
        &self,
        _: &TokenEndpoint<'_>,
        refused: Option<&AccessToken>,
    ) -> Result<AccessToken> {
        match refused {
            None => Ok(self.0.clone()),
            Some(_) => Err(Error::new(ErrorKind::Auth, "token")
                .detail("the token was refused and cannot be renewed: it was given as it is")),
        }
    }
}
