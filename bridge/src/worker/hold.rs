//! A worker's hold on its job, and what keeps it good.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::warn;

use crate::{
    clock::{Clock, SystemClock},
    ledger::Writer,
    queue::{LeaseId, Queue},
    store_error::StoreErrorKind,
};

/// A worker's hold on its job. Ask it before each write: a worker that was stopped for longer
/// than its lease must not go on where another has taken over.
///
/// It ends with the attempt that it was made for, however that ends, so whatever has outlived the
/// attempt, such as a row that waits for its call, is not sent any more.
#[derive(Clone, Debug)]
pub struct Hold {
    good: watch::Receiver<Good>,
    time_of_day: Arc<dyn Clock>,
    writer: Writer,
    slack: Duration,
}

/// Until when a hold is good. Both clocks have to say so: the monotonic one stands still with a
/// machine that is suspended, and the other goes by whoever sets it.
#[derive(Clone, Copy, Debug)]
struct Good {
    until: Instant,
    by_clock: Timestamp,
}

/// When something was asked for, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    instant: Instant,
    by_clock: Timestamp,
}

impl Hold {
    /// Whether the job is still this worker's, and for long enough to send a write.
    pub fn is_good(&self) -> bool {
        let good = *self.good.borrow();
        Instant::now() < good.until && self.time_of_day.now() < good.by_clock
    }

    /// Who begins effects in the ledger under this hold.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// How long a call for many may go on where this hold is lost: a sixth of the lease, a third of
    /// the time at least in which nobody looks for what it may have written.
    pub fn slack(&self) -> Duration {
        self.slack
    }

    /// A hold that never ends, for handlers that run without a worker.
    pub fn forever() -> Self {
        Self::until(Instant::now() + Duration::from_secs(30 * 365 * 24 * 3600))
    }

    pub(crate) fn until(until: Instant) -> Self {
        let by_clock = Timestamp::MAX;
        Self {
            good: watch::channel(Good { until, by_clock }).1,
            time_of_day: Arc::new(SystemClock),
            writer: Writer::unknown(),
            slack: Duration::from_secs(10),
        }
    }
}

impl Moment {
    pub(super) fn now(clock: &dyn Clock) -> Self {
        Self {
            instant: Instant::now(),
            by_clock: clock.now(),
        }
    }

    /// What was leased or prolonged then is good for a write so long: a write needs time to arrive,
    /// so the last fifth of a lease starts none.
    fn good(&self, lease: Duration) -> Good {
        let good = lease / 5 * 4;
        Good {
            until: later(self.instant, good),
            by_clock: self.by_clock.checked_add(good).unwrap_or(Timestamp::MAX),
        }
    }
}

/// What an attempt gives its hold with. The hold ends when this is dropped.
pub(super) struct Grant {
    good: watch::Sender<Good>,
    leased: Moment,
    hold: Duration,
    time_of_day: Arc<dyn Clock>,
}

impl Grant {
    pub(super) fn new(
        lease: LeaseId,
        leased: Moment,
        hold: Duration,
        time_of_day: Arc<dyn Clock>,
    ) -> (Self, Hold) {
        let (good, told) = watch::channel(leased.good(hold));
        let given = Hold {
            good: told,
            time_of_day: Arc::clone(&time_of_day),
            writer: Writer::under(lease),
            slack: hold / 6,
        };
        let grant = Self {
            good,
            leased,
            hold,
            time_of_day,
        };
        (grant, given)
    }

    /// Prolongs the lease at every third of it until it is lost. A store that fails or does not
    /// answer is asked again soon, as long as the lease can hold.
    pub(super) async fn keep(&self, queue: &dyn Queue, lease: &LeaseId) {
        // Not zero, whatever the lease: the clock must come to its turn.
        let third = (self.hold / 3).max(Duration::from_millis(1));
        let (answer_within, soon) = (third / 2, third / 10);
        let mut held_until = later(self.leased.instant, self.hold);
        let mut ask_at = later(self.leased.instant, third);
        loop {
            sleep_until(ask_at.min(held_until)).await;
            let asked = Moment::now(&*self.time_of_day);
            if asked.instant >= held_until {
                return;
            }
            match timeout(answer_within, queue.extend(lease, self.hold)).await {
                Ok(Ok(())) => {
                    held_until = later(asked.instant, self.hold);
                    self.good.send_replace(asked.good(self.hold));
                    ask_at = later(asked.instant, third);
                    continue;
                }
                Ok(Err(error)) if error.kind() == StoreErrorKind::StaleLease => return,
                Ok(Err(error)) => warn!(%error, "the lease could not be prolonged"),
                Err(_) => warn!("the lease could not be prolonged: the store does not answer"),
            }
            ask_at = later(Instant::now(), soon);
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.good.send_modify(|good| good.until = Instant::now());
    }
}

/// Goes on with the work as long as the hold is good, and is over without a result where it is
/// not. A process that was stopped in the middle of a step must not take the next one when it wakes
/// up: nothing but the clock tells it how long it was away.
pub(super) async fn while_good<T>(hold: &Hold, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    poll_fn(|context| match hold.is_good() {
        true => work.as_mut().poll(context).map(Some),
        false => Poll::Ready(None),
    })
    .await
}

/// As late as can be said, where a setting is absurdly long.
pub(super) fn later(since: Instant, by: Duration) -> Instant {
    let far = Duration::from_secs(30 * 365 * 24 * 3600);
    since.checked_add(by).unwrap_or_else(|| since + far)
}
