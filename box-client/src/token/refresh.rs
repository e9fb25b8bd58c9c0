use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::{AccessToken, Grant, Stored, Swap, TokenEndpoint, TokenSource, TokenStore};
use crate::error::{Error, ErrorKind, Result};

/// An access token that another holder of the grant left in the store is taken over only while it
/// has this much to live.
const WORTH_ADOPTING: Duration = Duration::from_secs(200);

/// The OAuth 2.0 refresh token grant. Each refresh token works once and is good for 60 days; the
/// next one is in the [`TokenStore`] before anything relies on it.
///
/// Vendor: <https://developer.box.com/guides/authentication/tokens/refresh/>
#[derive(Debug)]
pub struct RefreshToken {
    client_id: String,
    client_secret: SecretString,
    store: Arc<dyn TokenStore>,
    /// A grant that Box gave and the store would not take. It is stored before anything else
    /// happens: it is the only copy.
    unsaved: Mutex<Option<Unsaved>>,
}

#[derive(Clone, Debug)]
struct Unsaved {
    grant: Grant,
    replaces: u64,
}

impl RefreshToken {
    /// The application's id and secret, and where the grant is kept.
    pub fn new(
        client_id: impl Into<String>,
        client_secret: impl Into<SecretString>,
        store: impl TokenStore,
    ) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret: client_secret.into(),
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

    /// Stores what Box gave. On a conflict the stored grant wins: somebody has logged in anew or
    /// has refreshed meanwhile.
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
        // Twice: when the stored token turns out to be spent, somebody else may have stored the
        // next one meanwhile.
        for last in [false, true] {
            if let Some(token) = living(&stored.grant, refused, Timestamp::now()) {
                return Ok(token);
            }
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", stored.grant.refresh_token.expose_secret()),
                ("client_id", &self.client_id),
                ("client_secret", self.client_secret.expose_secret()),
            ];
            match endpoint.post(&form).await {
                Ok(reply) => {
                    let access = reply.access();
                    let refresh_token = reply
                        .refresh_token
                        .unwrap_or_else(|| stored.grant.refresh_token.clone());
                    let grant = Grant {
                        refresh_token,
                        access_token: Some(access.secret.clone()),
                        expires_at: access
                            .expires_in
                            .and_then(|life| Timestamp::now().checked_add(life).ok()),
                    };
                    *unsaved = Some(Unsaved {
                        grant,
                        replaces: stored.version,
                    });
                    self.save(&mut unsaved).await?;
                    return Ok(access);
                }
                Err(error) if is_spent(&error) && !last => {
                    let spent = stored.grant.refresh_token;
                    stored = self.load().await?;
                    if stored.grant.refresh_token.expose_secret() == spent.expose_secret() {
                        return Err(error.detail("the refresh token is dead: log in again"));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Auth, "token").detail("the refresh token is dead: log in again"))
    }
}

/// The access token that another holder of the grant has left, if it is worth taking over.
fn living(grant: &Grant, refused: Option<&AccessToken>, now: Timestamp) -> Option<AccessToken> {
    let secret = grant.access_token.clone()?;
    let left = Duration::try_from(grant.expires_at?.duration_since(now)).ok()?;
    let token = AccessToken::new(secret, Some(left));
    (left > WORTH_ADOPTING && !refused.is_some_and(|refused| refused.is(&token))).then_some(token)
}

fn is_spent(error: &Error) -> bool {
    error.api().and_then(|api| api.code()) == Some("invalid_grant")
}

fn store_failed() -> Error {
    Error::new(ErrorKind::Store, "token")
}
