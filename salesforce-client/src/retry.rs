//! When to try again, and how long to wait before.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use http::{HeaderMap, header::RETRY_AFTER};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    call::Repeat,
    error::{Error, ErrorKind, Result},
};

/// How patient the client is. The waits grow from `first_delay` by doubling up to `max_delay`,
/// each shortened by full jitter; what the server asks for in `Retry-After` wins when it is longer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How many times a call is sent at most.
    pub max_attempts: u32,
    /// The longest wait before the second attempt.
    pub first_delay: Duration,
    /// The longest wait at all, unless the server asks for more.
    pub max_delay: Duration,
    /// How long all attempts and waits together may take, the wait for a turn at the
    /// [`Governor`](crate::Governor) among them. The client gives up at once rather than wait past
    /// it, and begins no attempt in the last eighth of it (10 s at most): a write that is cut off
    /// may have happened. The time that a body takes to stream does not count.
    pub deadline: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            first_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(30),
            deadline: Duration::from_secs(120),
        }
    }
}

impl RetryPolicy {
    /// Sends every call once.
    pub fn none() -> Self {
        Self {
            max_attempts: 1,
            ..Self::default()
        }
    }

    /// With another number of attempts.
    #[must_use]
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = max_attempts.max(1);
        self
    }

    /// With other waits.
    #[must_use]
    pub fn delays(mut self, first: Duration, max: Duration) -> Self {
        self.first_delay = first;
        self.max_delay = max;
        self
    }

    /// With another deadline.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// What has to be left of the deadline for another attempt.
    fn least(&self) -> Duration {
        (self.deadline / 8).min(Duration::from_secs(10))
    }

    /// How long to wait after so many failures; `None` gives up.
    pub(crate) fn wait_after_failure(&self, failed: u32) -> Option<Duration> {
        let nth = usize::try_from(failed.saturating_sub(1)).unwrap_or(usize::MAX);
        Some(self.ceilings().nth(nth)?.mul_f64(fastrand::f64()))
    }

    /// The longest waits, before their jitter.
    fn ceilings(&self) -> ExponentialBackoff {
        ExponentialBuilder::default()
            .with_min_delay(self.first_delay)
            .with_max_delay(self.max_delay)
            .with_max_times(self.max_attempts.saturating_sub(1) as usize)
            .build()
    }
}

/// The attempts at one call: how many there were, what is left of the patience, and whether one
/// of them may have taken effect.
pub(crate) struct Attempts<'a> {
    policy: &'a RetryPolicy,
    started: Instant,
    made: u32,
    doubtful: bool,
    /// Made at the first failure, which most calls never have.
    ceilings: Option<ExponentialBackoff>,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(policy: &'a RetryPolicy) -> Self {
        Self {
            policy,
            started: Instant::now(),
            made: 0,
            doubtful: false,
            ceilings: None,
        }
    }

    /// The same with a deadline that runs since then.
    pub(crate) fn since(policy: &'a RetryPolicy, started: Instant) -> Self {
        Self {
            started,
            ..Self::new(policy)
        }
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn made(&self) -> u32 {
        self.made
    }

    /// Whether one that was followed by another may have taken effect.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// What is left of the deadline.
    pub(crate) fn left(&self) -> Duration {
        self.policy.deadline.saturating_sub(self.started.elapsed())
    }

    pub(crate) fn begin(&mut self) {
        self.made += 1;
    }

    /// Begins an attempt if there is time for one. It was not sent otherwise.
    pub(crate) fn begin_in_time(&mut self, operation: &'static str) -> Result<()> {
        if self.left() < self.policy.least() {
            return Err(Error::new(ErrorKind::Timeout, operation)
                .detail("there was no time left to send it"));
        }
        self.begin();
        Ok(())
    }

    /// The time in which a body streams does not count.
    pub(crate) fn forget(&mut self, streaming: Duration) {
        self.started += streaming;
    }

    /// How long to wait before the next attempt; `None` gives up.
    pub(crate) fn wait_after(&mut self, error: &Error, repeat: Repeat) -> Option<Duration> {
        let unknown = error.last_may_have_happened();
        if !error.is_retryable() || (unknown && repeat == Repeat::Unsafe) {
            return None;
        }
        self.doubtful |= unknown;
        self.next_wait(error)
    }

    /// The same after a failure of which is known that another attempt may follow it.
    pub(crate) fn next_wait(&mut self, error: &Error) -> Option<Duration> {
        let ceilings = self.ceilings.get_or_insert_with(|| self.policy.ceilings());
        let wait = ceilings.next()?.mul_f64(fastrand::f64());
        let wait = error.retry_after().map_or(wait, |asked| asked.max(wait));
        (self.left() > wait.saturating_add(self.policy.least())).then_some(wait)
    }

    /// The error as the caller gets it.
    pub(crate) fn give_up(&self, error: Error) -> Error {
        error.after(self.made, self.doubtful)
    }
}

/// `Retry-After` in either of its forms. A date in the past is no wait.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn asked(text: &str) -> Option<Duration> {
        let now = "2026-03-01T10:00:00Z".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().unwrap());
        retry_after(&headers, now)
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(
            asked("Sun, 01 Mar 2026 10:00:30 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(asked("Sun, 01 Mar 2026 09:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("soon"), None);
        assert_eq!(asked("-3"), None);
    }

    fn busy() -> Error {
        Error::new(ErrorKind::RowLocked, "t")
    }

    #[test]
    fn waits_are_jittered_below_a_doubling_ceiling() {
        let policy = RetryPolicy::default().delays(Duration::from_secs(1), Duration::from_secs(4));
        for _ in 0..200 {
            let mut attempts = Attempts::new(&policy);
            for ceiling in [1, 2, 4, 4] {
                let wait = attempts.wait_after(&busy(), Repeat::Unsafe).unwrap();
                assert!(wait <= Duration::from_secs(ceiling), "{wait:?}");
            }
            assert_eq!(attempts.wait_after(&busy(), Repeat::Unsafe), None);
        }
        let spread: std::collections::BTreeSet<_> = (0..50)
            .map(|_| Attempts::new(&policy).wait_after(&busy(), Repeat::Unsafe))
            .collect();
        assert!(spread.len() > 10, "no jitter");
    }

    #[test]
    fn nobody_waits_past_the_deadline() {
        let policy = RetryPolicy::default().deadline(Duration::from_secs(60));
        let asked = busy().wait(Some(Duration::from_secs(61)));
        assert_eq!(
            Attempts::new(&policy).wait_after(&asked, Repeat::Safe),
            None
        );
        let asked = busy().wait(Some(Duration::from_secs(50)));
        let wait = Attempts::new(&policy).wait_after(&asked, Repeat::Safe);
        assert_eq!(wait, Some(Duration::from_secs(50)));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_again_so_late_that_it_would_be_cut_off() {
        let policy = RetryPolicy::default().deadline(Duration::from_secs(40));
        for (waited, is_sent) in [(34, true), (36, false)] {
            let mut attempts = Attempts::new(&policy);
            attempts.begin_in_time("t").unwrap();
            tokio::time::advance(Duration::from_secs(waited)).await;
            let again = busy().wait(Some(Duration::ZERO));
            let waits = attempts.wait_after(&again, Repeat::Safe).is_some();
            assert!(is_sent || !waits, "after {waited} s");
            let begun = attempts.begin_in_time("t");
            assert_eq!(begun.is_ok(), is_sent, "after {waited} s");
            // It was not sent, so it is no attempt.
            assert_eq!(attempts.made(), 1 + u32::from(is_sent));
        }
    }

    #[test]
    fn a_doubt_outlives_the_attempt_that_raised_it() {
        let policy = RetryPolicy::default();
        let mut attempts = Attempts::new(&policy);
        attempts.begin();
        let lost = Error::new(ErrorKind::Timeout, "t").sent();
        assert!(attempts.wait_after(&lost, Repeat::Safe).is_some());
        attempts.begin();
        let refused = attempts.give_up(busy());
        assert!(refused.may_have_happened(), "{refused:?}");
        assert_eq!(refused.attempts(), 2);
    }
}
