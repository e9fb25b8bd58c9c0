//! One holder of a grant refreshes at a time.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use futures_util::future::{self, Either};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::{AccessToken, TokenStore, refresh};
use crate::error::{Error, ErrorKind, Result};

/// How long a crashed holder keeps the others waiting, unless set otherwise. One that lives asks
/// for more in time.
const HOLD: Duration = Duration::from_secs(20);

/// What is shorter is over before it is made longer.
const SHORTEST_HOLD: Duration = Duration::from_millis(100);
const LONGEST_HOLD: Duration = Duration::from_secs(3600);

/// A holder gives up when the others have had the lease for so many times its length.
const PATIENCE: u32 = 4;

const FIRST_LOOK: Duration = Duration::from_millis(25);
const LAST_LOOK: Duration = Duration::from_millis(500);

/// What one source needs to take turns with the others on its store.
#[derive(Debug)]
pub(super) struct Turns {
    store: Arc<dyn TokenStore>,
    /// Tells this source from all others.
    holder: String,
    hold: Duration,
}

/// What came of waiting.
pub(super) enum Turn {
    Ours,
    /// Another holder has left a token that lives.
    Adopted(AccessToken),
}

impl Turns {
    pub(super) fn new(store: Arc<dyn TokenStore>) -> Self {
        Self {
            store,
            holder: format!("{}-{:032x}", std::process::id(), fastrand::u128(..)),
            hold: HOLD,
        }
    }

    pub(super) fn hold(&mut self, hold: Duration) {
        self.hold = hold.clamp(SHORTEST_HOLD, LONGEST_HOLD);
    }

    /// Waits for the lease or for what its holder stores, whichever comes first.
    pub(super) async fn wait(&self, refused: Option<&AccessToken>) -> Result<Turn> {
        let started = Instant::now();
        let mut pause = FIRST_LOOK.min(self.hold / 4);
        while !self.lease().await? {
            let stored = self.store.load().await;
            let stored = stored.map_err(|cause| refresh::store_failed().cause(cause))?;
            let token = stored.and_then(|s| refresh::living(&s.grant, refused, Timestamp::now()));
            if let Some(token) = token {
                return Ok(Turn::Adopted(token));
            }
            if started.elapsed() > self.hold.saturating_mul(PATIENCE) {
                return Err(Error::new(ErrorKind::Timeout, "token")
                    .detail("another holder has been refreshing the grant for too long"));
            }
            debug!("another holder is refreshing the grant");
            sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(LAST_LOOK).min(self.hold / 4);
        }
        Ok(Turn::Ours)
    }

    /// Keeps the lease while the work lasts.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        match future::select(pin!(work), pin!(self.keep())).await {
            Either::Left((done, _)) => done,
            Either::Right((never, _)) => match never {},
        }
    }

    /// For the others to go on at once. If it fails, they go on when the lease ends.
    pub(super) async fn release(&self) {
        if let Err(error) = self.store.release(&self.holder).await {
            warn!(%error, "the lease on the grant could not be given back; it will run out");
        }
    }

    async fn lease(&self) -> Result<bool> {
        let leased = self.store.lease(&self.holder, self.hold).await;
        leased.map_err(|cause| refresh::store_failed().cause(cause))
    }

    async fn keep(&self) -> Infallible {
        loop {
            sleep(self.hold / 3).await;
            // The work goes on whatever the answer: the refresh token is on its way to Box.
            match self.lease().await {
                Ok(true) => {}
                Ok(false) => debug!("the lease on the grant has gone to another holder"),
                Err(error) => warn!(%error, "the lease on the grant could not be made longer"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Grant, MemoryTokenStore};

    fn two() -> [Turns; 2] {
        let store: Arc<dyn TokenStore> = Arc::new(MemoryTokenStore::new(Grant::new("r1")));
        [(); 2].map(|()| Turns::new(Arc::clone(&store)))
    }

    async fn ours(turns: &Turns) -> Duration {
        let started = Instant::now();
        assert!(matches!(turns.wait(None).await.unwrap(), Turn::Ours));
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_outlasts_the_lease_keeps_it() {
        let [first, second] = two();
        ours(&first).await;
        let work = async {
            first.during(sleep(HOLD * 3)).await;
            first.release().await;
        };
        let ((), waited) = tokio::join!(work, ours(&second));
        assert!(waited >= HOLD * 3, "{waited:?}");
        assert!(
            waited <= HOLD * 3 + LAST_LOOK,
            "the others go on at once: {waited:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_is_no_more_keeps_the_others_for_its_lease_only() {
        let [first, second] = two();
        ours(&first).await;
        drop(first);
        let waited = ours(&second).await;
        assert!((HOLD..=HOLD + LAST_LOOK).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_goes_on_for_ever_is_not_waited_for() {
        let [first, second] = two();
        ours(&first).await;
        let started = Instant::now();
        let outcome = tokio::select! {
            outcome = second.wait(None) => outcome,
            () = first.during(future::pending()) => unreachable!("it goes on for ever"),
        };
        assert_eq!(outcome.err().unwrap().kind(), ErrorKind::Timeout);
        assert!(started.elapsed() <= HOLD * PATIENCE + LAST_LOOK);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_too_short_to_be_kept_is_made_longer() {
        let [mut first, second] = two();
        first.hold(Duration::ZERO);
        ours(&first).await;
        let work = async {
            first.during(sleep(HOLD)).await;
            first.release().await;
        };
        let ((), waited) = tokio::join!(work, ours(&second));
        assert!(waited >= HOLD, "{waited:?}");
    }
}
