use std::{
    fmt::Debug,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

/// The time of day, replaceable in tests.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The machine's clock without its jumps: for everything that leases and waits are counted by.
///
/// A clock that is put forward ends every lease before its time, and one that is put back makes
/// what is due wait. This one never goes back, and where the machine's clock has jumped it follows
/// by a tenth of the time that passes.
#[derive(Debug)]
pub struct SteadyClock(Mutex<Steady>);

impl SteadyClock {
    /// One that shows the machine's time now.
    pub fn new() -> Self {
        Self::not_before(Timestamp::MIN)
    }

    /// One that shows the machine's time now, or, where the machine is behind it, this time: that
    /// of the last that was written by an earlier run.
    pub fn not_before(time: Timestamp) -> Self {
        let time = Timestamp::now().max(time);
        Self(Mutex::new(Steady::new(time, Instant::now())))
    }
}

impl Default for SteadyClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let mut steady = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        steady.follow(Timestamp::now(), Instant::now())
    }
}

/// A time that follows another one without its jumps.
#[derive(Debug)]
pub(crate) struct Steady {
    time: Timestamp,
    at: Instant,
}

impl Steady {
    pub(crate) fn new(time: Timestamp, at: Instant) -> Self {
        Self { time, at }
    }

    /// The time at `at`, when the other one shows `other`.
    pub(crate) fn follow(&mut self, other: Timestamp, at: Instant) -> Timestamp {
        let passed = at.saturating_duration_since(self.at);
        let leeway = passed / 10;
        let earliest = later(self.time, passed - leeway);
        let latest = later(self.time, passed + leeway);
        *self = Self::new(other.clamp(earliest, latest), at.max(self.at));
        self.time
    }
}

pub(crate) fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap_or_default()
    }

    #[test]
    fn a_jump_of_hours_is_followed_by_a_tenth_of_what_passes() {
        for (jump, due) in [(HOUR, 22), (-HOUR, 18), (1, 21), (0, 20), (-1, 19)] {
            let start = Instant::now();
            let mut steady = Steady::new(at(0), start);
            let mut last = at(0);
            for second in 1..=20 {
                let now = start + Duration::from_secs(second);
                let shown = steady.follow(at(second as i64 + jump), now);
                assert!(shown > last, "it never goes back");
                last = shown;
            }
            assert_eq!(last, at(due), "{jump}");
        }
    }

    #[test]
    fn what_was_written_already_is_not_in_its_future() {
        let written = later(Timestamp::now(), Duration::from_secs(3600));
        assert!(SteadyClock::not_before(written).now() >= written);
    }
}
