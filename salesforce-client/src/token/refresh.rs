use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::{AccessToken, Grant, Stored, Swap, TokenEndpoint, TokenSource, TokenStore};
use crate::error::{Error, ErrorKind, Result};

/// An access token that another holder of the grant left in the store is taken over only while it
/// has more than this to be used, which is more than the minute before its end in which it would
/// be renewed anyway.
const WORTH_ADOPTING: Duration = Duration::from_secs(90);

/// The refresh token flow. Where the app rotates refresh tokens, the next one is in the
/// [`TokenStore`] before anything relies on it; where it does not, the old one stays.
#[derive(Debug)]
pub struct RefreshToken {
    client_id: String,
    client_secret: Option<SecretString>,
    store: Arc<dyn TokenStore>,
    /// A grant that Salesforce gave and the store would not take. It is stored before anything
    /// else happens: it is the only copy.
    unsaved: Mutex<Option<Unsaved>>,
}

#[derive(Clone, Debug)]
struct Unsaved {
    grant: Grant,
    replaces: u64,
}

impl RefreshToken {
    /// The app's consumer key, its secret where the app demands it, and where the grant is kept.
    pub fn new(
        client_id: impl Into<String>,
        client_secret: Option<SecretString>,
        store: impl TokenStore,
    ) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret,
            store: Arc::new(store),
            unsaved: Mutex::new(None),
        }
    }

    async fn load(&self) -> Result<Stored> {
        let stored = self
            .store
            .load()
            .await
            .map_err(|cause| store_failed().cause(cause))?;
        stored.ok_or_else(|| {
            Error::new(ErrorKind::Auth, "token").detail("no grant is stored: log in first")
        })
    }

    /// Stores what Salesforce gave. On a conflict the stored grant wins: somebody has logged in
    /// anew or has refreshed meanwhile.
    async fn save(&self, unsaved: &mut Option<Unsaved>) -> Result<()> {
        let Some(Unsaved { grant, replaces }) = unsaved.clone() else {
            return Ok(());
        };
        self.store
            .compare_and_swap(replaces, grant)
            .await
            .map(|(Swap::Stored | Swap::Conflict)| *unsaved = None)
            .map_err(|cause| store_failed().cause(cause))
    }
}

#[async_trait]
impl TokenSource for RefreshToken {
    async fn fetch(
        &self,
        endpoint: &TokenEndpoint<'_>,
        refused: Option<&AccessToken>,
    ) -> Result<AccessToken> {
        let mut unsaved = self.unsaved.lock().await;
        self.save(&mut unsaved).await?;
        let mut stored = self.load().await?;
        let dead = "the refresh token is dead: log in again";
        // Twice: when the stored token turns out to be spent, somebody else may have stored the
        // next one meanwhile.
        for last in [false, true] {
            if let Some(token) = living(&stored.grant, refused, endpoint.lifetime()) {
                return Ok(token);
            }
            let mut form = vec![
                ("grant_type", "refresh_token"),
                ("refresh_token", stored.grant.refresh_token.expose_secret()),
                ("client_id", &self.client_id),
            ];
            if let Some(secret) = &self.client_secret {
                form.push(("client_secret", secret.expose_secret()));
            }
            match endpoint.post(&form).await {
                Ok(reply) => {
                    // Stored before anything else is looked at: nothing may lose it.
                    let grant = Grant {
                        refresh_token: reply
                            .refresh_token
                            .clone()
                            .unwrap_or_else(|| stored.grant.refresh_token.clone()),
                        access_token: Some(reply.access_token.clone()),
                        issued_at: Some(Timestamp::now()),
                        instance_url: Some(reply.instance_url.clone()),
                    };
                    *unsaved = Some(Unsaved {
                        grant,
                        replaces: stored.version,
                    });
                    self.save(&mut unsaved).await?;
                    return reply.access(endpoint.lifetime());
                }
                Err(error) if is_spent(&error) && !last => {
                    let spent = stored.grant.refresh_token;
                    stored = self.load().await?;
                    if stored.grant.refresh_token.expose_secret() == spent.expose_secret() {
                        return Err(error.detail(dead));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Auth, "token").detail(dead))
    }
}

/// The access token that another holder of the grant has left, if it is worth taking over.
fn living(grant: &Grant, refused: Option<&AccessToken>, lifetime: Duration) -> Option<AccessToken> {
    let secret = grant.access_token.clone()?;
    let age = Timestamp::now().duration_since(grant.issued_at?);
    let left = lifetime.checked_sub(Duration::try_from(age).ok()?)?;
    let token = AccessToken::new(secret, grant.instance_url.as_deref()?, Some(left)).ok()?;
    (left > WORTH_ADOPTING && !refused.is_some_and(|refused| refused.is(&token))).then_some(token)
}

fn is_spent(error: &Error) -> bool {
    let code = error.api().and_then(|api| api.code());
    code.is_some_and(|code| code == "invalid_grant")
}

fn store_failed() -> Error {
    Error::new(ErrorKind::Store, "token")
}
