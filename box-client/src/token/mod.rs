//! Access tokens: fetched once for many waiters, renewed before they expire.

mod cache;
mod client_credentials;
mod downscope;
#[cfg(feature = "jwt")]
mod jwt;
mod lease;
#[cfg(feature = "loopback")]
mod loopback;
mod oauth;
mod random;
mod redirect;
mod refresh;
#[cfg(feature = "jwt")]
mod signing_key;
mod store;

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderValue, Method};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

pub(crate) use self::cache::TokenCache;
#[cfg(feature = "loopback")]
pub use self::loopback::LoopbackRedirect;
pub use self::{
    client_credentials::{ClientCredentials, Subject},
    downscope::{Downscope, DownscopedToken, DownscopedTokens, RestrictedItem, Restriction},
    oauth::{Authorization, Authorize, OAuth, OAuthBuilder},
    redirect::RedirectError,
    refresh::RefreshToken,
    store::{Grant, MemoryTokenStore, Stored, Swap, TokenStore, TokenStoreError},
};
#[cfg(feature = "jwt")]
pub use self::{
    jwt::{JwtAlgorithm, JwtBearer},
    signing_key::SigningKey,
};
#[cfg(feature = "jwt")]
use crate::RetryPolicy;
use crate::{
    call::{Call, Target},
    error::{Error, ErrorKind, Result},
    transport::Sender,
};

/// Where access tokens come from. The client keeps what it gets and asks again shortly before it
/// expires, or when Box has refused it; at most one question is open at a time.
#[async_trait]
pub trait TokenSource: Debug + Send + Sync + 'static {
    /// A token that is not `refused`, the one that Box has just turned down. Where there is none,
    /// [`Error::no_token`] says so.
    async fn fetch(
        &self,
        endpoint: &TokenEndpoint<'_>,
        refused: Option<&AccessToken>,
    ) -> Result<AccessToken>;
}

#[async_trait]
impl<S: TokenSource + ?Sized> TokenSource for Arc<S> {
    async fn fetch(
        &self,
        endpoint: &TokenEndpoint<'_>,
        refused: Option<&AccessToken>,
    ) -> Result<AccessToken> {
        (**self).fetch(endpoint, refused).await
    }
}

/// A token for calls.
#[derive(Clone, Debug)]
pub struct AccessToken {
    secret: SecretString,
    expires_in: Option<Duration>,
}

impl AccessToken {
    /// A token and, if it is known, how long it lives from now.
    pub fn new(secret: SecretString, expires_in: Option<Duration>) -> Self {
        Self { secret, expires_in }
    }

    /// The token itself.
    pub fn secret(&self) -> &SecretString {
        &self.secret
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

/// Box's token endpoint, with the client's connections, retries and errors.
pub struct TokenEndpoint<'a> {
    sender: &'a Sender,
}

impl<'a> TokenEndpoint<'a> {
    pub(crate) fn of(sender: &'a Sender) -> Self {
        Self { sender }
    }
}

impl std::fmt::Debug for TokenEndpoint<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenEndpoint").finish_non_exhaustive()
    }
}

impl TokenEndpoint<'_> {
    /// Posts a form. A lost answer is asked for again: Box has been seen to give the same tokens
    /// for a refresh token that was spent a moment ago (box/box-typescript-sdk-gen#34).
    pub async fn post(&self, form: &[(&str, &str)]) -> Result<TokenReply> {
        let reply = self.sender.json(&call(form)).await;
        reply.map_err(token_error)
    }

    #[cfg(feature = "jwt")]
    fn waits(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        self.sender.retry.waits()
    }

    #[cfg(feature = "jwt")]
    fn deadline(&self) -> Duration {
        self.sender.retry.deadline
    }

    /// Posts a form without repeating it, for one that holds something that works once.
    #[cfg(feature = "jwt")]
    async fn post_once(&self, form: &[(&str, &str)]) -> Result<TokenReply> {
        let sender = Sender {
            http: self.sender.http.clone(),
            hosts: self.sender.hosts.clone(),
            retry: RetryPolicy {
                max_attempts: 1,
                ..self.sender.retry.clone()
            },
            idle: self.sender.idle,
            gate: crate::gate::Gate::default(),
        };
        sender.json(&call(form)).await.map_err(token_error)
    }

    /// How long another holder of a grant may take to store what it was given.
    fn pause(&self) -> Duration {
        self.sender.retry.first_delay
    }
}

fn call(form: &[(&str, &str)]) -> Call {
    Call::to("token", Method::POST, Target::Token)
        .form(form)
        .repeatable()
}

fn token_error(error: Error) -> Error {
    if error.kind() == ErrorKind::Decode {
        error.without_cause()
    } else if matches!(error.status(), Some(400 | 401 | 403)) {
        error.refused_grant()
    } else {
        error
    }
}

/// The token endpoint's answer.
#[derive(Debug, Deserialize)]
#[non_exhaustive]
pub struct TokenReply {
    /// The token for calls.
    pub access_token: SecretString,
    /// Its life in seconds.
    pub expires_in: Option<u64>,
    /// The next refresh token, where the grant has one.
    pub refresh_token: Option<SecretString>,
    /// What a downscoped token is good for.
    pub restricted_to: Option<Vec<Restriction>>,
}

impl TokenReply {
    /// The access token with its life.
    pub fn access(&self) -> AccessToken {
        AccessToken::new(
            self.access_token.clone(),
            self.expires_in.map(Duration::from_secs),
        )
    }
}

/// A token that somebody else made and renews, such as a downscoped one.
#[async_trait]
impl TokenSource for AccessToken {
    async fn fetch(
        &self,
        _: &TokenEndpoint<'_>,
        refused: Option<&AccessToken>,
    ) -> Result<AccessToken> {
        if refused.is_some() {
            return Err(Error::new(ErrorKind::Auth, "token")
                .detail("the access token was refused and cannot be renewed here"));
        }
        // When it was made is not known, so it is used until it is refused.
        Ok(Self::new(self.secret.clone(), None))
    }
}

/// A token made by hand in the Developer Console, good for an hour and for trying things out.
#[derive(Clone, Debug)]
pub struct DeveloperToken(SecretString);

impl DeveloperToken {
    /// The token as the console shows it.
    pub fn new(token: impl Into<SecretString>) -> Self {
        Self(token.into())
    }
}

#[async_trait]
impl TokenSource for DeveloperToken {
    async fn fetch(
        &self,
        _: &TokenEndpoint<'_>,
        refused: Option<&AccessToken>,
    ) -> Result<AccessToken> {
        if refused.is_some() {
            return Err(Error::new(ErrorKind::Auth, "token").detail(
                "the developer token was refused and cannot be renewed: make a new one in the \
                 Developer Console",
            ));
        }
        Ok(AccessToken::new(self.0.clone(), None))
    }
}
