use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::{
    AccessToken, Grant, Stored, Swap, TokenEndpoint, TokenSource, TokenStore,
    lease::{Turn, Turns},
};
use crate::error::{Error, ErrorKind, Result};

/// An access token that another holder of the grant left in the store is taken over only while it
/// has this much to live.
const WORTH_ADOPTING: Duration = Duration::from_secs(200);

/// How often a grant may turn out to be replaced by another holder within one fetch.
const ROUNDS: u32 = 3;

/// The OAuth 2.0 refresh token grant. Each refresh token works once and is good for 60 days; the
/// next one is in the [`TokenStore`] before anything relies on it.
///
/// Several processes may share the store. They take turns where it can
/// [`lease`](TokenStore::lease): one refreshes, and the others adopt what it stores.
///
/// # After a crash
///
/// A process that dies with the lease keeps the others waiting until the lease ends. If it died
/// before its request reached Box or after it stored the answer, nothing is lost. In between, the
/// stored refresh token is spent and its successor is nowhere. The next holder sends the spent one
/// again: Box has been seen to repeat its answer as long as the new access token was not used
/// (box/box-typescript-sdk-gen#34), and it was not, for it is stored before it is used. Box does
/// not promise that. Where it does not hold, the error has the code `invalid_grant` and says to
/// log in again; nothing on this side could do more, since only that answer named the successor.
///
/// Vendor: <https://developer.box.com/guides/authentication/tokens/refresh/>
#[derive(Debug)]
pub struct RefreshToken {
    client_id: String,
    client_secret: SecretString,
    store: Arc<dyn TokenStore>,
    turns: Turns,
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
        let store: Arc<dyn TokenStore> = Arc::new(store);
        Self {
            client_id: client_id.into(),
            client_secret: client_secret.into(),
            turns: Turns::new(Arc::clone(&store)),
            store,
            unsaved: Mutex::new(None),
        }
    }

    /// How long a crashed process keeps the others on the store waiting, 20 s unless set, and
    /// from 100 ms to an hour. A living one asks for more time as it needs it. Others give up after
    /// four times as long.
    #[must_use]
    pub fn lease(mut self, hold: Duration) -> Self {
        self.turns.hold(hold);
        self
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

    /// Stores what Box gave. On a conflict the stored grant wins: another holder has refreshed, or
    /// somebody has logged in anew.
    async fn save(&self, unsaved: &mut Option<Unsaved>) -> Result<Swap> {
        let Some(Unsaved { grant, replaces }) = unsaved.clone() else {
            return Ok(Swap::Stored);
        };
        let swap = self
            .store
            .compare_and_swap(replaces, grant)
            .await
            .map_err(|cause| store_failed().cause(cause))?;
        *unsaved = None;
        Ok(swap)
    }

    async fn refresh_stored(
        &self,
        endpoint: &TokenEndpoint<'_>,
        refused: Option<&AccessToken>,
        unsaved: &mut Option<Unsaved>,
    ) -> Result<AccessToken> {
        let mut stored = self.load().await?;
        for _ in 0..ROUNDS {
            if let Some(token) = living(&stored.grant, refused, Timestamp::now()) {
                return Ok(token);
            }
            stored = match self.refresh(endpoint, &stored.grant).await {
                Ok(Fresh { access, grant }) => {
                    let replaces = stored.version;
                    *unsaved = Some(Unsaved { grant, replaces });
                    match self.save(unsaved).await? {
                        Swap::Stored => return Ok(access),
                        // Box takes back the access token of one pair when that of another is
                        // used, so all holders go on with the pair that is stored.
                        Swap::Conflict => self.load().await?,
                    }
                }
                Err(error) if is_spent(&error) => self
                    .successor(&stored.grant, endpoint.pause())
                    .await?
                    .ok_or_else(|| error.detail("the refresh token is dead: log in again"))?,
                Err(error) => return Err(error),
            };
        }
        Err(store_failed().detail("the stored grant changed under every refresh"))
    }

    async fn refresh(&self, endpoint: &TokenEndpoint<'_>, grant: &Grant) -> Result<Fresh> {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", grant.refresh_token.expose_secret()),
            ("client_id", &self.client_id),
            ("client_secret", self.client_secret.expose_secret()),
        ];
        let reply = endpoint.post(&form).await?;
        let refresh_token = reply.refresh_token.as_ref().unwrap_or(&grant.refresh_token);
        Ok(Fresh {
            grant: Grant::of(&reply, refresh_token.clone()),
            access: reply.access(),
        })
    }

    /// The grant that has taken the place of a spent one. Who spent it may still be storing what
    /// it got, so a second look is taken after a pause.
    async fn successor(&self, spent: &Grant, pause: Duration) -> Result<Option<Stored>> {
        for wait in [Duration::ZERO, pause] {
            tokio::time::sleep(wait).await;
            let stored = self.load().await?;
            if stored.grant.refresh_token.expose_secret() != spent.refresh_token.expose_secret() {
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }
}

struct Fresh {
    access: AccessToken,
    grant: Grant,
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
        if let Turn::Adopted(token) = self.turns.wait(refused).await? {
            return Ok(token);
        }
        let refresh = self.refresh_stored(endpoint, refused, &mut unsaved);
        let outcome = self.turns.during(refresh).await;
        // The others would spend the stored token a second time: rather let them wait.
        if unsaved.is_none() {
            self.turns.release().await;
        }
        outcome
    }
}

/// The access token that another holder of the grant has left, if it is worth taking over.
pub(super) fn living(
    grant: &Grant,
    refused: Option<&AccessToken>,
    now: Timestamp,
) -> Option<AccessToken> {
    let secret = grant.access_token.clone()?;
    let left = Duration::try_from(grant.expires_at?.duration_since(now)).ok()?;
    let token = AccessToken::new(secret, Some(left));
    (left > WORTH_ADOPTING && !refused.is_some_and(|refused| refused.is(&token))).then_some(token)
}

fn is_spent(error: &Error) -> bool {
    error.api().and_then(|api| api.code()) == Some("invalid_grant")
}

pub(super) fn store_failed() -> Error {
    Error::new(ErrorKind::Store, "token")
}
