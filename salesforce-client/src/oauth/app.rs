use std::{fmt, sync::Arc};

use async_trait::async_trait;
use http::Method;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use url::Url;

use super::{AuthorizationCode, Authorize, Introspection, PendingLogin};
use crate::{
    AccessToken, Grant, SalesforceClient, SalesforceClientBuilder, TokenEndpoint, TokenReply,
    TokenSource,
    call::{Call, Target},
    error::{Error, ErrorKind, Result},
    transport::Sender,
};

/// An External Client App (or an existing Connected App) at Salesforce's OAuth endpoints: it logs
/// people in, and looks after their tokens. Cheap to clone.
///
/// ```no_run
/// # use salesforce_client::{MemoryTokenStore, OAuthApp, RefreshToken, SalesforceClient};
/// # async fn example(callback: String) -> Result<(), Box<dyn std::error::Error>> {
/// let app = OAuthApp::builder("consumer key").build()?;
/// let login = app.authorize("https://example.com/callback").begin()?;
/// println!("open {}", login.url());
/// // … the browser comes back to https://example.com/callback?code=…&state=… …
/// let code = login.callback(&callback)?;
/// let grant = app.exchange(&login, &code).await?;
/// let tokens = RefreshToken::new("consumer key", None, MemoryTokenStore::new(grant));
/// let client = SalesforceClient::new(tokens)?;
/// # Ok(())
/// # }
/// ```
///
/// Vendor: Salesforce Help, "OAuth 2.0 Web Server Flow for Web App Integration".
#[derive(Clone)]
pub struct OAuthApp {
    sender: Arc<Sender>,
    client_id: String,
    client_secret: Option<SecretString>,
}

impl fmt::Debug for OAuthApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthApp")
            .field("login", &self.sender.login.as_str())
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

impl OAuthApp {
    /// The app with this consumer key.
    pub fn builder(client_id: impl Into<String>) -> OAuthAppBuilder {
        OAuthAppBuilder {
            client: SalesforceClient::builder(NoTokens),
            client_id: client_id.into(),
            client_secret: None,
        }
    }

    /// A login by a person in a browser, who is sent back to `redirect_uri`, which the app has
    /// registered exactly so.
    pub fn authorize(&self, redirect_uri: impl Into<String>) -> Authorize {
        let url = endpoint_url(&self.sender.login, "authorize");
        Authorize::new(url, self.client_id.clone(), redirect_uri.into())
    }

    /// What the code of a login is worth: a grant to be stored. The code works once.
    pub async fn exchange(&self, login: &PendingLogin, code: &AuthorizationCode) -> Result<Grant> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.secret().expose_secret()),
            ("redirect_uri", login.redirect_uri()),
            ("code_verifier", login.verifier().expose_secret()),
        ];
        form.extend(self.credentials());
        let endpoint = TokenEndpoint::new(&self.sender);
        // Asked once: when the answer is lost the code is spent, and a second use of it can end
        // what the first one gave.
        let reply = endpoint.post_once(&form).await?;
        granted(&reply)
    }

    /// What a token is worth: whether it lives, for whom, and how long. Its own tokens an app may
    /// ask about without another right.
    ///
    /// Vendor: Salesforce Help, "OpenID Connect Token Introspection".
    pub async fn introspect(&self, token: &SecretString) -> Result<Introspection> {
        let mut form = vec![
            ("token", token.expose_secret()),
            ("token_type_hint", "access_token"),
        ];
        form.extend(self.credentials());
        self.ask("introspect", &form).await
    }

    /// Ends a token; a refresh token ends with all access tokens that came of it. False when
    /// Salesforce does not know it, as one that was ended before, be it by a first try whose answer
    /// was lost.
    ///
    /// Vendor: Salesforce Help, "Revoke OAuth Tokens".
    pub async fn revoke(&self, token: &SecretString) -> Result<bool> {
        const UNKNOWN: [&str; 3] = ["invalid_token", "invalid_grant", "unsupported_token_type"];
        let call = self.call("revoke", &[("token", token.expose_secret())]);
        // A lost answer is asked for again: a token that may live on is the worse.
        let call = call.repeatable();
        match self.sender.whole(&call, None, ANSWER_LIMIT).await {
            Ok(_) => Ok(true),
            Err(error) => {
                let code = error.api().and_then(|api| api.code());
                let is_unknown = code.is_some_and(|code| UNKNOWN.contains(&code.as_str()));
                if is_unknown && error.status() == Some(400) {
                    return Ok(false);
                }
                Err(error.without_texts())
            }
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        endpoint: &'static str,
        form: &[(&str, &str)],
    ) -> Result<T> {
        let call = self.call(endpoint, form).repeatable();
        let reply = self
            .sender
            .whole(&call, None, ANSWER_LIMIT)
            .await
            .map_err(Error::without_texts)?;
        // The cause would quote the body.
        serde_json::from_slice(&reply.body).map_err(|_| {
            Error::new(ErrorKind::Decode, endpoint).detail("the answer cannot be read")
        })
    }

    fn call(&self, endpoint: &'static str, form: &[(&str, &str)]) -> Call {
        let url = endpoint_url(&self.sender.login, endpoint);
        Call::to(endpoint, Method::POST, Target::Given(url)).form(form)
    }

    fn credentials(&self) -> Vec<(&str, &str)> {
        let secret = self.client_secret.as_ref();
        let secret = secret.map(|secret| ("client_secret", secret.expose_secret()));
        [("client_id", self.client_id.as_str())]
            .into_iter()
            .chain(secret)
            .collect()
    }
}

const ANSWER_LIMIT: usize = 256 * 1024;

/// An app that is being set up.
#[must_use]
#[derive(Debug)]
pub struct OAuthAppBuilder {
    client: SalesforceClientBuilder,
    client_id: String,
    client_secret: Option<SecretString>,
}

impl OAuthAppBuilder {
    /// The consumer secret. A confidential app sends it besides its proof of the code; a public
    /// one, such as a program that people install, has none.
    pub fn client_secret(mut self, secret: impl Into<SecretString>) -> Self {
        self.client_secret = Some(secret.into());
        self
    }

    /// Where to log in: `https://test.salesforce.com` for sandboxes, or the org's My Domain.
    pub fn login_url(mut self, url: impl Into<String>) -> Self {
        self.client = self.client.login_url(url);
        self
    }

    /// How patient the app is.
    pub fn retry(mut self, retry: crate::RetryPolicy) -> Self {
        self.client = self.client.retry(retry);
        self
    }

    /// An HTTP client of your own, for proxies, certificates or shared connections.
    pub fn http(mut self, http: reqwest::Client) -> Self {
        self.client = self.client.http(http);
        self
    }

    /// The app.
    pub fn build(self) -> Result<OAuthApp> {
        Ok(OAuthApp {
            sender: self.client.build()?.sender(),
            client_id: self.client_id,
            client_secret: self.client_secret,
        })
    }
}

/// What a login or an exchange gave, to be stored.
fn granted(reply: &TokenReply) -> Result<Grant> {
    let refresh_token = reply.refresh_token.clone().ok_or_else(|| {
        Error::new(ErrorKind::Auth, "token").detail(
            "there is no refresh token: ask for the scope refresh_token, and let the app have it",
        )
    })?;
    Ok(Grant {
        refresh_token,
        access_token: Some(reply.access_token.clone()),
        issued_at: Some(Timestamp::now()),
        instance_url: Some(reply.instance_url.clone()),
    })
}

/// One of the OAuth endpoints of a login host.
pub(crate) fn endpoint_url(login: &Url, endpoint: &str) -> Url {
    let mut url = login.clone();
    let base = login.path().trim_end_matches('/');
    url.set_path(&format!("{base}/services/oauth2/{endpoint}"));
    url
}

/// The endpoints here are not called with a token.
#[derive(Debug)]
struct NoTokens;

#[async_trait]
impl TokenSource for NoTokens {
    async fn fetch(&self, _: &TokenEndpoint<'_>, _: Option<&AccessToken>) -> Result<AccessToken> {
        Err(Error::new(ErrorKind::Config, "token").detail("an app alone makes no calls"))
    }
}
