use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::Instant,
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

/// One token for all clones of a client. One fetch serves all who wait, whether it succeeds or
/// fails; while it is an early one, nobody waits for it. It runs in a task of its own, so a caller that
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
    /// When its life as we set it is over: from then on the next one is waited for.
    ends_at: Option<Instant>,
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
        let fetching = Arc::clone(&self.fetching);
        let fetching = match held {
            Some(held) if held.is_fresh() => return Ok(held.token),
            // The old token is good while the next one is fetched, by this caller or another.
            Some(held) if held.is_good() => {
                let fetching = fetching.try_lock_owned();
                let (now, _) = self.look();
                if let (Ok(fetching), false) = (fetching, now.is_some_and(|it| it.is_fresh())) {
                    tokio::spawn(self.fetch(fetching));
                }
                return Ok(held.token);
            }
            Some(held) => match fetching.try_lock_owned() {
                Ok(fetching) => fetching,
                Err(_) => return Ok(held.token),
            },
            None => fetching.lock_owned().await,
        };
        // What happened while this caller waited is this caller's answer too.
        let (held, now) = self.look();
        match (held, &fetching.failure) {
            (Some(held), _) if held.is_fresh() => return Ok(held.token),
            (None, Some(failure)) if now != fetches => return Err(failure.again()),
            _ => {}
        }
        tokio::spawn(self.fetch(fetching))
            .await
            .unwrap_or_else(|died| Err(Error::no_token(died).detail("the token source died")))
    }

    fn fetch(
        &self,
        fetching: OwnedMutexGuard<Fetches>,
    ) -> impl Future<Output = Result<AccessToken>> + Send + use<> {
        fetch(
            Arc::clone(&self.source),
            Arc::clone(&self.sender),
            Arc::clone(&self.slot),
            fetching,
        )
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
    fn is_fresh(&self) -> bool {
        self.renew_at.is_none_or(|at| Instant::now() < at)
    }

    fn is_good(&self) -> bool {
        self.ends_at.is_none_or(|at| Instant::now() < at)
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
                ends_at: token.lifetime.map(|life| now + life),
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
