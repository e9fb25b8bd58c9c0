use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tracing::warn;

use super::{AccessToken, TokenEndpoint, TokenSource};
use crate::{
    error::{Error, Result},
    transport::Sender,
};

/// Salesforce does not say how long a token lives, so its life is our own setting; a call that
/// starts with a token of a minute to go still ends with a living one.
const EARLY: Duration = Duration::from_secs(60);

/// After a failed early renewal the old token goes on serving for a while without another try, so
/// that an outage of the token endpoint costs one call in this time and not every call.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// How long a call waits for the next token where it has one that may be over: an old token that
/// lives is better than none, and one that is dead costs a call.
const LATE: Duration = Duration::from_secs(5);

/// One token for all clones of a client. One fetch serves all who wait, whether it succeeds or
/// fails; while it is an early one, nobody waits. It runs in a task of its own, so a caller that
/// goes away cannot take a single-use refresh token with it.
pub(crate) struct TokenCache {
    source: Arc<dyn TokenSource>,
    sender: Arc<Sender>,
    slot: Arc<RwLock<Slot>>,
    /// Held across the fetch on purpose: that makes it the only one.
    fetching: Arc<Mutex<Fetches>>,
}

#[derive(Default)]
struct Slot {
    held: Option<Held>,
    refused: Option<AccessToken>,
    /// How many fetches have ended.
    fetches: u64,
}

#[derive(Clone)]
struct Held {
    token: AccessToken,
    renew_at: Option<Instant>,
}

/// How a token stands in its life.
enum Age {
    Fresh,
    /// It serves while the next one comes.
    Early,
    /// It may be over.
    Late,
}

#[derive(Default)]
struct Fetches {
    /// Why the last one failed, if it did.
    failure: Option<Error>,
}

impl TokenCache {
    pub(crate) fn new(source: Arc<dyn TokenSource>, sender: Arc<Sender>) -> Self {
        Self {
            source,
            sender,
            slot: Arc::default(),
            fetching: Arc::default(),
        }
    }

    pub(crate) async fn token(&self) -> Result<AccessToken> {
        let (held, fetches) = self.look();
        let Some(held) = held else {
            return self.next(fetches).await;
        };
        match held.age() {
            Age::Fresh => {}
            Age::Early => self.renew_aside(),
            Age::Late => match timeout(LATE, self.next(fetches)).await {
                Ok(next) => return next,
                Err(_) => self.put_off(&held.token),
            },
        }
        Ok(held.token)
    }

    /// The token of the fetch that is under way, or of another one.
    async fn next(&self, fetches: u64) -> Result<AccessToken> {
        let fetching = Arc::clone(&self.fetching).lock_owned().await;
        // What happened while this caller waited is this caller's answer too.
        let (held, now) = self.look();
        match (held, &fetching.failure) {
            (Some(held), _) if matches!(held.age(), Age::Fresh) => return Ok(held.token),
            (None, Some(failure)) if now != fetches => return Err(failure.again()),
            _ => {}
        }
        let fetched = self.fetch(fetching).await;
        fetched
            .unwrap_or_else(|died| Err(Error::no_token_now(died).detail("the token source died")))
    }

    /// Nobody waits for a token that comes early.
    fn renew_aside(&self) {
        let Ok(fetching) = Arc::clone(&self.fetching).try_lock_owned() else {
            return;
        };
        let is_renewed = |held: Held| matches!(held.age(), Age::Fresh);
        if !self.look().0.is_some_and(is_renewed) {
            drop(self.fetch(fetching));
        }
    }

    fn fetch(&self, fetching: OwnedMutexGuard<Fetches>) -> JoinHandle<Result<AccessToken>> {
        tokio::spawn(fetch(
            Arc::clone(&self.source),
            Arc::clone(&self.sender),
            Arc::clone(&self.slot),
            fetching,
        ))
    }

    /// The next token does not come: this one serves on, so that not every call waits for it.
    fn put_off(&self, token: &AccessToken) {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = slot.held.as_mut().filter(|held| held.token.is(token)) {
            held.renew_at = Some(Instant::now() + PAUSE_AFTER_FAILURE);
        }
    }

    /// Takes a token out of use, unless another has taken its place already.
    pub(crate) fn reject(&self, refused: &AccessToken) {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        if slot
            .held
            .as_ref()
            .is_some_and(|held| held.token.is(refused))
        {
            slot.held = None;
            slot.refused = Some(refused.clone());
        }
    }

    fn look(&self) -> (Option<Held>, u64) {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        (slot.held.clone(), slot.fetches)
    }
}

impl Held {
    fn age(&self) -> Age {
        let now = Instant::now();
        match self.renew_at {
            Some(at) if now >= at + EARLY => Age::Late,
            Some(at) if now >= at => Age::Early,
            _ => Age::Fresh,
        }
    }
}

async fn fetch(
    source: Arc<dyn TokenSource>,
    sender: Arc<Sender>,
    slot: Arc<RwLock<Slot>>,
    mut fetches: OwnedMutexGuard<Fetches>,
) -> Result<AccessToken> {
    let refused = {
        let slot = slot.read().unwrap_or_else(PoisonError::into_inner);
        slot.refused.clone()
    };
    let endpoint = TokenEndpoint { sender: &sender };
    let fetched = source.fetch(&endpoint, refused.as_ref()).await;
    let now = Instant::now();
    let mut slot = slot.write().unwrap_or_else(PoisonError::into_inner);
    slot.fetches += 1;
    match fetched {
        Ok(token) => {
            fetches.failure = None;
            slot.refused = None;
            slot.held = Some(Held {
                // A short-lived token is renewed in the last tenth of its life.
                renew_at: token
                    .lifetime
                    .map(|life| now + life.saturating_sub(EARLY.min(life / 10))),
                token: token.clone(),
            });
            Ok(token)
        }
        // Its life is only our own setting: Salesforce says when it is really over.
        Err(error) => match &mut slot.held {
            Some(held) => {
                warn!(%error, "the token could not be renewed early; the old one goes on serving");
                held.renew_at = Some(now + PAUSE_AFTER_FAILURE);
                Ok(held.token.clone())
            }
            None => {
                fetches.failure = Some(error.again());
                Err(error)
            }
        },
    }
}
