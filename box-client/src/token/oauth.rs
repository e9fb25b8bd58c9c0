use std::{fmt, sync::Arc};

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{
    Grant, RedirectError, RefreshToken, TokenEndpoint, TokenStore, random::random_text, redirect,
};
use crate::{
    RetryPolicy,
    call::{Call, Target},
    client::{Hosts, Timeouts, http_client, is_root},
    error::{Error, ErrorKind, Result},
    transport::Sender,
};

const AUTHORIZE: &str = "https://account.box.com/api/oauth2/authorize";

/// An application at Box, with which a person logs in. Cheap to clone.
///
/// ```no_run
/// use box_client::{BoxClient, MemoryTokenStore, OAuth};
///
/// # async fn example(secret: String, query: String) -> Result<(), Box<dyn std::error::Error>> {
/// let oauth = OAuth::new("client id", secret)?;
/// let login = oauth.authorize().redirect_uri("https://app.example.com/box").start()?;
/// println!("Please open {}", login.url());
///
/// // Box sends the browser to the redirect URI with `?code=…&state=…`.
/// let code = login.code(&query)?;
/// let store = MemoryTokenStore::default();
/// oauth.exchange(&code).await?.store_in(&store).await?;
/// let client = BoxClient::new(oauth.refresh_token(store))?;
/// # let _ = client;
/// # Ok(())
/// # }
/// ```
///
/// A program without a web server of its own receives the redirect with `LoopbackRedirect`
/// (feature `loopback`).
///
/// Vendor: <https://developer.box.com/guides/authentication/oauth2/>
#[derive(Clone)]
pub struct OAuth {
    client_id: String,
    client_secret: SecretString,
    authorize: Url,
    sender: Arc<Sender>,
}

impl OAuth {
    /// The application's id and secret, as the Developer Console shows them.
    pub fn new(
        client_id: impl Into<String>,
        client_secret: impl Into<SecretString>,
    ) -> Result<Self> {
        Self::builder(client_id, client_secret).build()
    }

    /// An application to set up further.
    pub fn builder(
        client_id: impl Into<String>,
        client_secret: impl Into<SecretString>,
    ) -> OAuthBuilder {
        OAuthBuilder {
            client_id: client_id.into(),
            client_secret: client_secret.into(),
            authorize: AUTHORIZE.to_owned(),
            hosts: Hosts::of_box(),
            http: None,
            retry: RetryPolicy::default(),
        }
    }

    /// Sends a person to Box's page.
    pub fn authorize(&self) -> Authorize<'_> {
        Authorize {
            oauth: self,
            redirect_uri: None,
            scope: None,
            login_hint: None,
        }
    }

    /// The code in the query of the redirect that ends the login with this state. For a web
    /// server that kept [`Authorization::state`] in the person's session.
    pub fn code(query: &str, state: &str) -> Result<SecretString, RedirectError> {
        redirect::code(query, state)
    }

    /// Exchanges a code for a grant. A code lives 30 seconds and works once, so store what comes
    /// back at once: [`Grant::store_in`].
    pub async fn exchange(&self, code: &SecretString) -> Result<Grant> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("client_id", &self.client_id),
            ("client_secret", self.client_secret.expose_secret()),
        ];
        let reply = TokenEndpoint::of(&self.sender).post(&form).await?;
        let refresh_token = reply.refresh_token.clone().ok_or_else(|| {
            Error::new(ErrorKind::Decode, "token").detail("the answer has no refresh token")
        })?;
        Ok(Grant::of(&reply, refresh_token))
    }

    /// A token source for the grant in `store`.
    pub fn refresh_token(&self, store: impl TokenStore) -> RefreshToken {
        RefreshToken::new(self.client_id.clone(), self.client_secret.clone(), store)
    }

    /// Ends a grant, named by its access or its refresh token.
    ///
    /// # Danger
    ///
    /// Box deletes a webhook when all active access tokens associated with it are gone. Revoking
    /// the grant of the user who created webhooks deletes those webhooks. This is for a person who
    /// disconnects for good, never for the end of a program.
    ///
    /// Vendor: <https://developer.box.com/guides/authentication/tokens/revoke/>,
    /// <https://developer.box.com/guides/webhooks/v2/delete-v2/>
    pub async fn revoke(&self, token: &SecretString) -> Result<()> {
        // Revoking twice is revoking once.
        let call = Call::to("revoke", Method::POST, Target::Revoke)
            .form(&[
                ("client_id", &self.client_id),
                ("client_secret", self.client_secret.expose_secret()),
                ("token", token.expose_secret()),
            ])
            .repeatable();
        self.sender.empty(&call).await.map_err(super::token_error)
    }
}

impl fmt::Debug for OAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth")
            .field("client_id", &self.client_id)
            .field("hosts", &self.sender.hosts)
            .finish_non_exhaustive()
    }
}

/// An application that is being set up.
#[must_use]
pub struct OAuthBuilder {
    client_id: String,
    client_secret: SecretString,
    authorize: String,
    hosts: Result<Hosts>,
    http: Option<reqwest::Client>,
    retry: RetryPolicy,
}

impl OAuthBuilder {
    /// Another server than Box's own: its root, under which `/oauth2/token` lies.
    pub fn base_url(mut self, root: &str) -> Self {
        self.hosts = Hosts::under(root);
        self
    }

    /// Another page to send people to than `https://account.box.com/api/oauth2/authorize`, such
    /// as that of a Box Verified Enterprise on `ent.box.com`.
    pub fn authorize_url(mut self, url: impl Into<String>) -> Self {
        self.authorize = url.into();
        self
    }

    /// An HTTP client of your own, for proxies, certificates or shared connections.
    pub fn http(mut self, http: reqwest::Client) -> Self {
        self.http = Some(http);
        self
    }

    /// How patient it is. A code does not outlive 30 seconds.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// The application.
    pub fn build(self) -> Result<OAuth> {
        let authorize = Url::parse(&self.authorize).ok().filter(is_root);
        let authorize = authorize.ok_or_else(|| {
            Error::new(ErrorKind::Config, "build")
                .detail("the authorize URL must be http or https, without user, query or fragment")
        })?;
        let timeouts = Timeouts::default();
        let http = match self.http {
            Some(http) => http,
            None => http_client(&timeouts)?,
        };
        Ok(OAuth {
            client_id: self.client_id,
            client_secret: self.client_secret,
            authorize,
            sender: Arc::new(Sender {
                http,
                hosts: self.hosts?,
                retry: self.retry,
                idle: timeouts.idle,
                gate: crate::gate::Gate::default(),
            }),
        })
    }
}

impl fmt::Debug for OAuthBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthBuilder")
            .field("client_id", &self.client_id)
            .field("hosts", &self.hosts)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// A login that is about to start. From [`OAuth::authorize`].
#[derive(Debug)]
#[must_use = "nobody is sent anywhere before start()"]
pub struct Authorize<'a> {
    oauth: &'a OAuth,
    redirect_uri: Option<String>,
    scope: Option<String>,
    login_hint: Option<String>,
}

impl Authorize<'_> {
    /// Where Box sends the browser back to: one of the URIs configured for the application,
    /// character by character, but for the port on loopback. Needed when there are several.
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.redirect_uri = Some(uri.into());
        self
    }

    /// Fewer scopes than the application has; more are only to be had in the Developer Console.
    pub fn scopes(mut self, scopes: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.scope = Some(joined(scopes));
        self
    }

    /// The e-mail address to fill in on Box's page.
    pub fn login_hint(mut self, login: impl Into<String>) -> Self {
        self.login_hint = Some(login.into());
        self
    }

    /// The URL for the browser, with a fresh state.
    pub fn start(self) -> Result<Authorization> {
        let state = random_text()?;
        let mut url = self.oauth.authorize.clone();
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("response_type", "code");
            query.append_pair("client_id", &self.oauth.client_id);
            query.append_pair("state", &state);
            for (name, value) in [
                ("redirect_uri", self.redirect_uri),
                ("scope", self.scope),
                ("login_hint", self.login_hint),
            ] {
                if let Some(value) = value {
                    query.append_pair(name, &value);
                }
            }
        }
        Ok(Authorization { url, state })
    }
}

/// A login that waits for the person.
#[derive(Clone)]
pub struct Authorization {
    url: Url,
    state: String,
}

impl Authorization {
    /// What the person's browser is to open.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// What ties the redirect to this login. A web server keeps it in the person's session.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// The code in the redirect's query, if it belongs to this login.
    pub fn code(&self, query: &str) -> Result<SecretString, RedirectError> {
        redirect::code(query, &self.state)
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization").finish_non_exhaustive()
    }
}

/// Scopes as Box reads them.
pub(super) fn joined(scopes: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut text = String::new();
    for scope in scopes {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(scope.as_ref());
    }
    text
}
