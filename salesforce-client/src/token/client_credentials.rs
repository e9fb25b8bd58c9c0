use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use super::{AccessToken, TokenEndpoint, TokenSource};
use crate::error::{Error, ErrorKind, Result};

/// The client credentials flow: the app acts as its run-as user. Only on the org's My Domain; the
/// app needs the flow enabled and a run-as user.
#[derive(Clone, Debug)]
pub struct ClientCredentials {
    client_id: String,
    client_secret: SecretString,
}

impl ClientCredentials {
    /// The app's consumer key and secret.
    pub fn new(client_id: impl Into<String>, client_secret: impl Into<SecretString>) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret: client_secret.into(),
        }
    }
}

#[async_trait]
impl TokenSource for ClientCredentials {
    async fn fetch(
        &self,
        endpoint: &TokenEndpoint<'_>,
        _: Option<&AccessToken>,
    ) -> Result<AccessToken> {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.client_id),
            ("client_secret", self.client_secret.expose_secret()),
        ];
        endpoint.post(&form).await?.access(endpoint.lifetime())
    }

    fn check(&self, login_url: &str) -> Result<()> {
        check_my_domain(
            login_url,
            "the client credentials flow works on the org's My Domain only: set login_url",
        )
    }
}

pub(super) fn check_my_domain(login_url: &str, advice: &'static str) -> Result<()> {
    let host = login_url
        .rsplit_once("://")
        .map_or(login_url, |(_, host)| host);
    if matches!(host, "login.salesforce.com" | "test.salesforce.com") {
        return Err(Error::new(ErrorKind::Config, "build").detail(advice));
    }
    Ok(())
}
