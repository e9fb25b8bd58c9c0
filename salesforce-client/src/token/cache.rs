use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::Instant,
};
use tracing::warn;

use super::{AccessToken, TokenEndpoint, TokenSource};
use crate::{
    error::{Error, ErrorKind, Result},
    transport::Sender,
};

/// Salesforce does not say how long a token lives, so its life is our own setting; a call that
/// starts with a token of a minute to go still ends with a living one.
const EARLY: Duration = Duration::from_secs(60);

/// After a failed early renewal the old token goes on serving for a while without another try, so
/// that an outage of the token endpoint costs one call in this time and not every call.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// One token for all clones of a client. The lock is held across the fetch on purpose: that makes
/// one fetch serve all who wait. The fetch runs in a task of its own, so a caller that goes away
/// cannot take a single-use refresh token with it.
pub(crate) struct TokenCache {
    source: Arc<dyn TokenSource>,
    sender: Arc<Sender>,
    slot: Arc<Mutex<Slot>>,
}

#[derive(Default)]
struct Slot {
    held: Option<Held>,
    refused: Option<AccessToken>,
}

struct Held {
    token: AccessToken,
    renew_at: Option<Instant>,
    dies_at: Option<Instant>,
}

impl TokenCache {
    pub(crate) fn new(source: Arc<dyn TokenSource>, sender: Arc<Sender>) -> Self {
        Self {
            source,
            sender,
            slot: Arc::default(),
        }
    }

    pub(crate) async fn token(&self) -> Result<AccessToken> {
        let slot = Arc::clone(&self.slot).lock_owned().await;
        if let Some(held) = &slot.held
            && held.renew_at.is_none_or(|at| Instant::now() < at)
        {
            return Ok(held.token.clone());
        }
        let fetch = renew(Arc::clone(&self.source), Arc::clone(&self.sender), slot);
        tokio::spawn(fetch).await.unwrap_or_else(|died| {
            Err(Error::new(ErrorKind::Auth, "token")
                .detail("the token source died")
                .cause(died))
        })
    }

    /// Takes a token out of use, unless another has taken its place already.
    pub(crate) async fn reject(&self, refused: &AccessToken) {
        let mut slot = self.slot.lock().await;
        if slot
            .held
            .as_ref()
            .is_some_and(|held| held.token.is(refused))
        {
            slot.held = None;
            slot.refused = Some(refused.clone());
        }
    }
}

async fn renew(
    source: Arc<dyn TokenSource>,
    sender: Arc<Sender>,
    mut slot: OwnedMutexGuard<Slot>,
) -> Result<AccessToken> {
    let endpoint = TokenEndpoint { sender: &sender };
    match source.fetch(&endpoint, slot.refused.as_ref()).await {
        Ok(token) => {
            let now = Instant::now();
            let life = token.expires_in;
            slot.refused = None;
            slot.held = Some(Held {
                // A short-lived token is renewed in the last tenth of its life.
                renew_at: life.map(|life| now + life.saturating_sub(EARLY.min(life / 10))),
                dies_at: life.map(|life| now + life),
                token: token.clone(),
            });
            Ok(token)
        }
        Err(error) => {
            let now = Instant::now();
            match &mut slot.held {
                Some(held) if held.dies_at.is_none_or(|at| now < at) => {
                    warn!(%error, "the token could not be renewed early; the old one still lives");
                    held.renew_at = Some(now + PAUSE_AFTER_FAILURE);
                    Ok(held.token.clone())
                }
                _ => Err(error),
            }
        }
    }
}
