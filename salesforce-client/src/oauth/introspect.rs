use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use tracing::warn;

use super::OAuthApp;
use crate::{
    AccessToken, TokenEndpoint, TokenSource,
    error::{Error, ErrorKind, Result},
};

/// What Salesforce says of a token. From [`OAuthApp::introspect`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct Introspection {
    /// Whether it lives. If not, nothing else is told.
    pub active: bool,
    /// What it may do, separated by spaces.
    pub scope: Option<String>,
    /// The app it belongs to.
    pub client_id: Option<String>,
    /// The user's name.
    pub username: Option<String>,
    /// The user's identity URL.
    pub sub: Option<String>,
    /// When it ends if nobody uses it, in seconds since 1970. Use puts it off.
    pub exp: Option<i64>,
    /// When it was issued, in seconds since 1970.
    pub iat: Option<i64>,
}

impl Introspection {
    /// How long the token lives on if nobody uses it.
    pub fn lifetime(&self, now: Timestamp) -> Option<Duration> {
        let seconds = self.exp?.checked_sub(now.as_second())?;
        u64::try_from(seconds).ok().map(Duration::from_secs)
    }
}

/// Tokens of another source, used for as long as Salesforce says that they live, instead of the
/// client's own [`token_lifetime`](crate::SalesforceClientBuilder::token_lifetime). When Salesforce
/// does not say it, that one holds.
///
/// ```no_run
/// # use salesforce_client::{ClientCredentials, Introspected, OAuthApp, SalesforceClient};
/// # fn example() -> salesforce_client::Result<()> {
/// let host = "https://example.my.salesforce.com";
/// let app = OAuthApp::builder("key").client_secret("secret").login_url(host).build()?;
/// let tokens = Introspected::new(ClientCredentials::new("key", "secret"), app);
/// let client = SalesforceClient::builder(tokens).login_url(host).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Introspected<S> {
    source: S,
    app: OAuthApp,
}

impl<S: TokenSource> Introspected<S> {
    /// The source, and the app that its tokens belong to, with its secret.
    pub fn new(source: S, app: OAuthApp) -> Self {
        Self { source, app }
    }
}

#[async_trait]
impl<S: TokenSource> TokenSource for Introspected<S> {
    async fn fetch(
        &self,
        endpoint: &TokenEndpoint<'_>,
        refused: Option<&AccessToken>,
    ) -> Result<AccessToken> {
        let token = self.source.fetch(endpoint, refused).await?;
        let told = match self.app.introspect(token.secret()).await {
            Ok(told) => told,
            Err(error) => {
                warn!(%error, "the token's life could not be asked for; the client's own holds");
                return Ok(token);
            }
        };
        if !told.active {
            return Err(Error::new(ErrorKind::Auth, "introspect")
                .detail("Salesforce says that the token it has just given does not live"));
        }
        Ok(match told.lifetime(Timestamp::now()) {
            Some(lifetime) => token.living_for(lifetime),
            None => token,
        })
    }

    fn check(&self, login_url: &str) -> Result<()> {
        self.source.check(login_url)
    }
}
