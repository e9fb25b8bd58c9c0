//! Of leases that run out: by a clock that no step of the machine's clock moves, and what that means for
//! their jobs.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// The machine's clock as it was when this was made, and what has passed since. Leases and doubts of
/// a store that one process has to itself go by it: a lease that is prolonged must not run out
/// because somebody sets the clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaseClock {
    began: Timestamp,
    since: Instant,
}

impl LeaseClock {
    pub(crate) fn new() -> Self {
        Self {
            began: Timestamp::now(),
            since: Instant::now(),
        }
    }

    /// Microseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        let passed = micros(self.since.elapsed());
        self.began.as_microsecond().saturating_add(passed)
    }
}

/// As microseconds; what is absurdly long is a century.
pub(crate) fn micros(span: Duration) -> i64 {
    const CENTURY: i64 = 100 * 365 * 24 * 3600 * 1_000_000;
    i64::try_from(span.as_micros()).map_or(CENTURY, |micros| micros.min(CENTURY))
}

/// How long ago that was; zero where it is yet to come.
pub(crate) fn ago(now: i64, then: i64) -> Duration {
    Duration::from_micros(u64::try_from(now.saturating_sub(then)).unwrap_or_default())
}

/// From how many losses in a row on a job is given out alone.
pub(crate) const SUSPECT: u32 = 2;

/// How long a job that was lost so many times before waits when it is lost again, in microseconds:
/// not at all, then 2, 4, 8 seconds and so on, up to an hour.
pub(crate) fn pause(lost: u32) -> i64 {
    match lost {
        0 => 0,
        lost => (1_i64 << lost.min(12)).min(3600) * 1_000_000,
    }
}
