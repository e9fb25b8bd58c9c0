use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::Instant,
};
use tracing::warn;

use super::{AccessToken, TokenEndpoint, TokenSource};
use crate::{
    error::{Error, Result},
    transport::Sender,
};

/// Box's own advice is to treat a token of about an hour as good for fifty minutes; a call that
/// starts with a token of three minutes to go still ends with a living one.
const EARLY: Duration = Duration::from_secs(180);

/// After a failed early renewal the old token goes on serving for a while without another try, so
/// that an outage of the token endpoint costs one call in this time and not every call.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// One token for all clones of a client.
///
/// The flight lock is held across a fetch on purpose: that makes one fetch serve all who wait.
/// The fetch runs in a task of its own, so a caller that goes away cannot take a single-use
/// refresh token with it. Whoever starts an early renewal waits for it, because a program that
/// ends after its last call would cut it off; all others go on with the old token.
pub(crate) struct TokenCache {
    shared: Arc<Shared>,
    flight: Arc<AsyncMutex<()>>,
}

struct Shared {
    source: Arc<dyn TokenSource>,
    sender: Arc<Sender>,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    held: Option<Held>,
    refused: Option<AccessToken>,
    failed: Option<(Instant, Error)>,
}

struct Held {
    token: AccessToken,
    /// `None` in both: never.
    renew_at: Option<Instant>,
    dies_at: Option<Instant>,
}

impl TokenCache {
    pub(crate) fn new(source: Arc<dyn TokenSource>, sender: Arc<Sender>) -> Self {
        Self {
            shared: Arc::new(Shared {
                source,
                sender,
                slot: Mutex::default(),
            }),
            flight: Arc::default(),
        }
    }

    pub(crate) async fn token(&self) -> Result<AccessToken> {
        let asked = Instant::now();
        if let Some(token) = self.shared.slot().fresh(asked) {
            return Ok(token);
        }
        let flight = match Arc::clone(&self.flight).try_lock_owned() {
            Ok(flight) => flight,
            Err(_) => {
                if let Some(token) = self.shared.slot().living(asked) {
                    return Ok(token);
                }
                Arc::clone(&self.flight).lock_owned().await
            }
        };
        if let Some(outcome) = self.shared.slot().outcome_since(asked) {
            return outcome;
        }
        let renewal = Arc::clone(&self.shared).renew(flight);
        tokio::spawn(renewal)
            .await
            .unwrap_or_else(|died| Err(Error::no_token(died).detail("the token source died")))
    }

    /// Takes a token out of use, unless another has taken its place already.
    pub(crate) fn reject(&self, refused: &AccessToken) {
        let mut slot = self.shared.slot();
        if slot.held.take_if(|held| held.token.is(refused)).is_some() {
            slot.refused = Some(refused.clone());
        }
    }
}

impl Shared {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn renew(self: Arc<Self>, _flight: OwnedMutexGuard<()>) -> Result<AccessToken> {
        let endpoint = TokenEndpoint {
            sender: &self.sender,
        };
        let refused = self.slot().refused.clone();
        let outcome = self.source.fetch(&endpoint, refused.as_ref()).await;
        let now = Instant::now();
        let mut slot = self.slot();
        match outcome {
            Ok(token) => {
                slot.failed = None;
                slot.refused = None;
                slot.held = Some(Held::new(token.clone(), now));
                Ok(token)
            }
            Err(error) => match &mut slot.held {
                Some(held) if held.lives_at(now) => {
                    warn!(%error, "the token could not be renewed early; the old one still lives");
                    held.renew_at = Some(now + PAUSE_AFTER_FAILURE);
                    Ok(held.token.clone())
                }
                _ => {
                    slot.failed = Some((now, error.share()));
                    Err(error)
                }
            },
        }
    }
}

impl Slot {
    fn fresh(&self, now: Instant) -> Option<AccessToken> {
        let held = self.held.as_ref()?;
        held.renew_at
            .is_none_or(|at| now < at)
            .then(|| held.token.clone())
    }

    fn living(&self, now: Instant) -> Option<AccessToken> {
        let held = self.held.as_ref()?;
        held.lives_at(now).then(|| held.token.clone())
    }

    /// What a fetch that ended since then gave: without this, a failure would make each of many
    /// waiters try again, one after the other.
    fn outcome_since(&self, asked: Instant) -> Option<Result<AccessToken>> {
        if let Some(token) = self.fresh(Instant::now()) {
            return Some(Ok(token));
        }
        let (at, error) = self.failed.as_ref()?;
        (asked < *at).then(|| Err(error.share()))
    }
}

impl Held {
    fn new(token: AccessToken, now: Instant) -> Self {
        let life = token.expires_in;
        Self {
            // A short-lived token is renewed in the last tenth of its life.
            renew_at: life
                .and_then(|life| now.checked_add(life.saturating_sub(EARLY.min(life / 10)))),
            dies_at: life.and_then(|life| now.checked_add(life)),
            token,
        }
    }

    fn lives_at(&self, now: Instant) -> bool {
        self.dies_at.is_none_or(|at| now < at)
    }
}
