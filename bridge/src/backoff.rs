//! When a failed job is due again.

use std::time::Duration;

use jiff::Timestamp;

const LONGEST_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// `2^n` seconds after the n-th attempt plus up to a second of jitter, no more than an hour,
/// unless set otherwise. A job ends as a dead letter after so many attempts, or when it is too
/// old.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Backoff {
    /// What is doubled.
    pub base: Duration,
    /// The longest wait, before jitter.
    pub max_delay: Duration,
    /// The longest jitter.
    pub jitter: Duration,
    /// How often a job is tried.
    pub max_attempts: u32,
    /// For how long a job is tried, from its first attempt on. The time in which nobody could try it
    /// does not count: while it was put off, or nobody was there to take it.
    pub max_age: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            max_delay: Duration::from_secs(3600),
            jitter: Duration::from_secs(1),
            max_attempts: 16,
            max_age: Duration::from_secs(24 * 3600),
        }
    }
}

impl Backoff {
    /// When the job is due again after its `attempt`-th try, or `None` when it has had its
    /// chances. What the far side asked to wait wins over the schedule when it is longer.
    pub(crate) fn next(
        &self,
        attempt: u32,
        asked: Option<Duration>,
        tried_since: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if attempt >= self.max_attempts || self.is_too_old(tried_since, now) {
            return None;
        }
        let doubled = self
            .base
            .saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX));
        let delay = doubled
            .min(self.max_delay)
            .saturating_add(self.jitter.min(LONGEST_WAIT).mul_f64(fastrand::f64()));
        let at = now.checked_add(asked.map_or(delay, |asked| asked.max(delay)));
        Some(at.map_or_else(|_| self.latest(now), |at| at.min(self.latest(now))))
    }

    /// The latest that anything is put off to. Nobody may park a job for years.
    pub(crate) fn latest(&self, now: Timestamp) -> Timestamp {
        let furthest = self.max_age.max(self.max_delay).min(LONGEST_WAIT);
        now.checked_add(furthest).unwrap_or(now)
    }

    fn is_too_old(&self, tried_since: Timestamp, now: Timestamp) -> bool {
        Duration::try_from(now.duration_since(tried_since)).is_ok_and(|age| age > self.max_age)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn wait(backoff: &Backoff, attempt: u32, asked: Option<u64>) -> Option<f64> {
        let now = Timestamp::UNIX_EPOCH;
        let at = backoff.next(attempt, asked.map(Duration::from_secs), now, now)?;
        Some(at.duration_since(now).as_secs_f64())
    }

    #[test]
    fn the_wait_doubles_with_up_to_a_second_of_jitter() {
        let backoff = Backoff::default();
        for (attempt, seconds) in [(1, 2.0), (2, 4.0), (5, 32.0), (15, 3600.0)] {
            let waited = wait(&backoff, attempt, None).unwrap();
            assert!(
                (seconds..=seconds + 1.0).contains(&waited),
                "{attempt}: {waited}"
            );
        }
    }

    #[test]
    fn the_far_side_can_ask_for_more_but_not_for_less() {
        assert_eq!(wait(&Backoff::default(), 1, Some(600)), Some(600.0));
        assert!(wait(&Backoff::default(), 5, Some(1)).unwrap() >= 32.0);
    }

    #[test]
    fn chances_end_by_number_and_by_age() {
        let backoff = Backoff {
            max_attempts: 3,
            ..Backoff::default()
        };
        assert!(wait(&backoff, 2, None).is_some());
        assert!(wait(&backoff, 3, None).is_none());
        assert!(wait(&backoff, u32::MAX, None).is_none());
        let pushed = Timestamp::UNIX_EPOCH;
        let late = pushed.checked_add(Duration::from_secs(90_000)).unwrap();
        assert!(backoff.next(1, None, pushed, late).is_none());
    }

    #[test]
    fn a_schedule_of_absurd_size_does_not_overflow() {
        let backoff = Backoff {
            base: Duration::MAX,
            max_attempts: u32::MAX,
            ..Backoff::default()
        };
        assert!(wait(&backoff, 40, None).unwrap() <= 3601.0);
    }
}
