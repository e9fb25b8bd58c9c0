use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use super::{AccessToken, TokenEndpoint, TokenSource};
use crate::error::Result;

/// The client credentials grant: the application acts as itself or as one user. There is no
/// refresh token; the client simply asks again.
///
/// An admin has to authorize the application once. A Service Account sees nothing until it is
/// invited as a collaborator.
///
/// Vendor: <https://developer.box.com/guides/authentication/client-credentials/>
#[derive(Clone, Debug)]
pub struct ClientCredentials {
    client_id: String,
    client_secret: SecretString,
    subject: Subject,
}

/// Whom a token acts as.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subject {
    /// The application's Service Account in this enterprise.
    Enterprise(String),
    /// A user, where the application may make user access tokens.
    User(String),
}

impl Subject {
    /// As Box spells it.
    pub(super) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Enterprise(id) => ("enterprise", id),
            Self::User(id) => ("user", id),
        }
    }
}

impl ClientCredentials {
    /// The application's id and secret, and whom it acts as.
    pub fn new(
        client_id: impl Into<String>,
        client_secret: impl Into<SecretString>,
        subject: Subject,
    ) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret: client_secret.into(),
            subject,
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
        let (kind, id) = self.subject.parts();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.client_id),
            ("client_secret", self.client_secret.expose_secret()),
            ("box_subject_type", kind),
            ("box_subject_id", id),
        ];
        Ok(endpoint.post(&form).await?.access())
    }
}
