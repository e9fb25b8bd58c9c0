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
#[derive(Clone)]
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
    /// How many fetches have ended, and the error of the last if it failed.
    ended: u64,
    failure: Option<Error>,
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
        let ended = {
            let slot = self.shared.slot();
            if let Some(token) = slot.fresh() {
                return Ok(token);
            }
            slot.ended
        };
        let flight = match Arc::clone(&self.flight).try_lock_owned() {
            Ok(flight) => flight,
            Err(_) => {
                if let Some(token) = self.shared.slot().living() {
                    return Ok(token);
                }
                Arc::clone(&self.flight).lock_owned().await
            }
        };
        if let Some(outcome) = self.shared.slot().outcome_since(ended) {
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
        slot.ended += 1;
        slot.failure = None;
        match outcome {
            Ok(token) => {
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
                    slot.failure = Some(error.share());
                    Err(error)
                }
            },
        }
    }
}

impl Slot {
    fn fresh(&self) -> Option<AccessToken> {
        let now = Instant::now();
        let held = self.held.as_ref()?;
        held.renew_at
            .is_none_or(|at| now < at)
            .then(|| held.token.clone())
    }

    fn living(&self) -> Option<AccessToken> {
        let held = self.held.as_ref()?;
        held.lives_at(Instant::now()).then(|| held.token.clone())
    }

    /// What a fetch has given that ended since there were so many: without this, a failure would
    /// make each of many waiters try again, one after the other.
    fn outcome_since(&self, ended: u64) -> Option<Result<AccessToken>> {
        if ended == self.ended {
            return None;
        }
        match &self.failure {
            Some(error) => Some(Err(error.share())),
            None => self.living().map(Ok),
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use secrecy::{ExposeSecret, SecretString};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::{ErrorKind, RetryPolicy, client::Hosts};

    const LIFE: Duration = Duration::from_secs(3600);

    /// Gives `token-1`, `token-2` and so on, when it is let.
    #[derive(Debug)]
    struct Source {
        fetches: AtomicUsize,
        working: Mutex<bool>,
        let_go: Semaphore,
    }

    #[async_trait]
    impl TokenSource for Source {
        async fn fetch(
            &self,
            _: &TokenEndpoint<'_>,
            refused: Option<&AccessToken>,
        ) -> Result<AccessToken> {
            let number = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
            self.let_go.acquire().await.unwrap().forget();
            if !*self.working.lock().unwrap() {
                return Err(Error::no_token("an outage"));
            }
            let token = AccessToken::new(format!("token-{number}").into(), Some(LIFE));
            assert!(!refused.is_some_and(|refused| refused.is(&token)));
            Ok(token)
        }
    }

    impl Source {
        fn works(&self, works: bool) {
            *self.working.lock().unwrap() = works;
        }

        fn fetches(&self) -> usize {
            self.fetches.load(Ordering::SeqCst)
        }
    }

    fn cache(let_go: usize) -> (Arc<TokenCache>, Arc<Source>) {
        let source = Arc::new(Source {
            fetches: AtomicUsize::new(0),
            working: Mutex::new(true),
            let_go: Semaphore::new(let_go),
        });
        let sender = Arc::new(Sender {
            http: reqwest::Client::new(),
            hosts: Hosts::of_box().unwrap(),
            retry: RetryPolicy::none(),
            idle: LIFE,
            gate: crate::gate::Gate::default(),
        });
        let cache = TokenCache::new(Arc::clone(&source) as _, sender);
        (Arc::new(cache), source)
    }

    async fn text(cache: &TokenCache) -> String {
        cache.token().await.unwrap().secret().expose_secret().into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_kept_until_three_minutes_before_its_end() {
        let (cache, source) = cache(9);
        assert_eq!(text(&cache).await, "token-1");
        tokio::time::advance(LIFE - EARLY - Duration::from_secs(1)).await;
        assert_eq!(text(&cache).await, "token-1");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(text(&cache).await, "token-2");
        assert_eq!(source.fetches(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_early_renewal_leaves_the_old_token_to_its_end() {
        let (cache, source) = cache(99);
        assert_eq!(text(&cache).await, "token-1");
        source.works(false);
        tokio::time::advance(LIFE - EARLY).await;
        assert_eq!(text(&cache).await, "token-1");
        // The outage costs a try now and then, not one a call.
        assert_eq!(text(&cache).await, "token-1");
        assert_eq!(source.fetches(), 2);
        tokio::time::advance(PAUSE_AFTER_FAILURE).await;
        assert_eq!(text(&cache).await, "token-1");
        assert_eq!(source.fetches(), 3);
        tokio::time::advance(EARLY).await;
        let failure = cache.token().await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Auth);
        source.works(true);
        assert_eq!(text(&cache).await, "token-5");
    }

    #[tokio::test(start_paused = true)]
    async fn others_go_on_with_the_old_token_while_it_is_renewed() {
        let (cache, source) = cache(1);
        assert_eq!(text(&cache).await, "token-1");
        tokio::time::advance(LIFE - EARLY).await;
        let renewing = tokio::spawn({
            let cache = Arc::clone(&cache);
            async move { text(&cache).await }
        });
        while source.fetches() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(text(&cache).await, "token-1");
        source.let_go.add_permits(1);
        assert_eq!(renewing.await.unwrap(), "token-2");
        assert_eq!(text(&cache).await, "token-2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_shared_by_those_who_waited_and_by_nobody_else() {
        let (cache, source) = cache(99);
        source.works(false);
        let waiters = (0..50).map(|_| cache.token());
        for waiter in futures_util::future::join_all(waiters).await {
            assert_eq!(waiter.unwrap_err().kind(), ErrorKind::Auth);
        }
        assert_eq!(source.fetches(), 1);
        tokio::time::advance(Duration::from_millis(1)).await;
        source.works(true);
        assert_eq!(text(&cache).await, "token-2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_refusal_of_an_old_token_does_not_touch_the_new_one() {
        let (cache, source) = cache(9);
        let first = cache.token().await.unwrap();
        cache.reject(&first);
        assert_eq!(text(&cache).await, "token-2");
        cache.reject(&first);
        assert_eq!(text(&cache).await, "token-2");
        assert_eq!(source.fetches(), 2);
    }

    #[test]
    fn a_life_beyond_the_clock_is_for_ever() {
        let token = AccessToken::new(SecretString::from("t"), Some(Duration::MAX));
        let held = Held::new(token, Instant::now());
        assert!(held.renew_at.is_none() && held.lives_at(Instant::now()));
    }
}
