//! Access tokens: fetched once for many waiters, renewed before they expire.

mod cache;
mod client_credentials;
#[cfg(feature = "jwt")]
mod jwt;
mod refresh;
mod store;

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use http::{HeaderValue, Method};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

pub(crate) use self::cache::TokenCache;
#[cfg(feature = "jwt")]
pub use self::jwt::JwtBearer;
pub use self::{
    client_credentials::ClientCredentials,
    refresh::RefreshToken,
    store::{Grant, MemoryTokenStore, Stored, Swap, TokenStore, TokenStoreError},
};
use crate::{
    call::{Call, Target},
    error::{Error, ErrorKind, Result},
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
}

/// A token for calls, and the org's host, which only the token's answer tells.
#[derive(Clone, Debug)]
pub struct AccessToken {
    secret: SecretString,
    instance_url: Url,
    expires_in: Option<Duration>,
}

impl AccessToken {
    /// A token, the org's host, and how long it is used from now; `None` means until it is
    /// refused.
    pub fn new(
        secret: SecretString,
        instance_url: &str,
        expires_in: Option<Duration>,
    ) -> Result<Self> {
        let instance_url = Url::parse(instance_url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none())
            .ok_or_else(|| {
                Error::new(ErrorKind::Config, "token")
                    .detail("the instance URL must be http or https, without a query")
            })?;
        Ok(Self {
            secret,
            instance_url,
            expires_in,
        })
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

    pub(crate) fn bearer(&self, operation: &'static str) -> Result<HeaderValue> {
        let text = format!("Bearer {}", self.secret.expose_secret());
        let mut value = HeaderValue::try_from(text).map_err(|_| {
            Error::new(ErrorKind::Config, operation)
                .detail("the access token has characters that no header can carry")
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Salesforce's token endpoint, with the client's connections, retries and errors.
pub struct TokenEndpoint<'a> {
    sender: &'a Sender,
}

impl Debug for TokenEndpoint<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenEndpoint")
            .field("login", &self.sender.login)
            .finish_non_exhaustive()
    }
}

impl TokenEndpoint<'_> {
    /// The login host, such as `https://login.salesforce.com`.
    pub fn login_url(&self) -> &str {
        self.sender.login.as_str().trim_end_matches('/')
    }

    /// Posts a form.
    pub async fn post(&self, form: &[(&str, &str)]) -> Result<TokenReply> {
        let url = self
            .sender
            .login
            .join("/services/oauth2/token")
            .map_err(|cause| {
                Error::new(ErrorKind::Config, "token")
                    .detail("the login URL is none")
                    .cause(cause)
            })?;
        let call = Call::to("token", Method::POST, Target::Given(url))
            .form(form)
            .repeatable();
        let reply: TokenReply = match self.sender.send(&call, None).await {
            Ok(reply) => reply.json().await?,
            // The token endpoint says 400 where the grant is refused.
            Err(error) if error.status() == Some(400) => return Err(error.refused_grant()),
            Err(error) => return Err(error),
        };
        if self.sender.login.scheme() == "https" && !reply.instance_url.starts_with("https://") {
            return Err(Error::new(ErrorKind::Decode, "token")
                .detail("the instance URL is not https although the login URL is"));
        }
        Ok(reply)
    }

    /// How long the client uses a token: Salesforce does not say how long one lives.
    pub fn lifetime(&self) -> Duration {
        self.sender.token_lifetime
    }
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
}

impl TokenReply {
    /// The access token, to be used for `lifetime`.
    pub fn access(&self, lifetime: Duration) -> Result<AccessToken> {
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
