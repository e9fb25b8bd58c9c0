use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use super::{AccessToken, TokenEndpoint, TokenSource, TokenStoreError};
use crate::error::{Error, Result};

/// Gives the tokens of another identity provider that [`TokenExchange`] trades in.
#[async_trait]
pub trait SubjectTokens: Debug + Send + Sync + 'static {
    /// A token that lives. A failure is taken for one that passes, as when the provider does not
    /// answer; where only a person can mend it, give [`Error::no_token`].
    async fn subject_token(&self) -> Result<SecretString, TokenStoreError>;
}

/// The token exchange flow: a token of another identity provider is traded for one of Salesforce.
/// Only on the org's My Domain; the app needs the flow enabled and a handler in the org.
///
/// Vendor: Salesforce Help, "OAuth 2.0 Token Exchange Flow".
#[derive(Clone, Debug)]
pub struct TokenExchange {
    client_id: String,
    client_secret: Option<SecretString>,
    subjects: Arc<dyn SubjectTokens>,
    subject_type: String,
    scope: Option<String>,
    handler: Option<String>,
}

impl TokenExchange {
    /// The app's consumer key, its secret where the app demands it, and where the other tokens
    /// come from.
    pub fn new(
        client_id: impl Into<String>,
        client_secret: Option<SecretString>,
        subjects: impl SubjectTokens,
    ) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret,
            subjects: Arc::new(subjects),
            subject_type: "urn:ietf:params:oauth:token-type:access_token".to_owned(),
            scope: None,
            handler: None,
        }
    }

    /// What the other tokens are, as `urn:ietf:params:oauth:token-type:id_token`: access tokens
    /// unless set.
    #[must_use]
    pub fn subject_type(mut self, subject_type: impl Into<String>) -> Self {
        self.subject_type = subject_type.into();
        self
    }

    /// The scopes to ask for, separated by spaces.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// The org's handler, where the app has several.
    #[must_use]
    pub fn handler(mut self, handler: impl Into<String>) -> Self {
        self.handler = Some(handler.into());
        self
    }
}

fn no_subject(cause: TokenStoreError) -> Error {
    match cause.downcast::<Error>() {
        Ok(error) => *error,
        Err(cause) => Error::no_token_now(cause),
    }
}

#[async_trait]
impl TokenSource for TokenExchange {
    async fn fetch(
        &self,
        endpoint: &TokenEndpoint<'_>,
        _: Option<&AccessToken>,
    ) -> Result<AccessToken> {
        let subject = self.subjects.subject_token().await.map_err(no_subject)?;
        let mut form = vec![
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("subject_token", subject.expose_secret()),
            ("subject_token_type", &self.subject_type),
            ("client_id", &self.client_id),
        ];
        let secret = self.client_secret.as_ref().map(ExposeSecret::expose_secret);
        for (name, value) in [
            ("client_secret", secret),
            ("scope", self.scope.as_deref()),
            ("token_handler", self.handler.as_deref()),
        ] {
            form.extend(value.map(|value| (name, value)));
        }
        endpoint.post(&form).await?.access(endpoint.lifetime())
    }

    fn check(&self, login_url: &str) -> Result<()> {
        super::client_credentials::check_my_domain(
            login_url,
            "the token exchange flow works on the org's My Domain only: set login_url",
        )
    }
}
