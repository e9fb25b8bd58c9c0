//! When to try again, and how long to wait before.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use http::{HeaderMap, header::RETRY_AFTER};
use jiff::Timestamp;

/// How patient the client is. The waits grow from `first_delay` by doubling up to `max_delay`,
/// each shortened by full jitter; what Box asks for in `Retry-After` wins when it is longer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How many times a call is sent at most.
    pub max_attempts: u32,
    /// The longest wait before the second attempt.
    pub first_delay: Duration,
    /// The longest wait at all, unless Box asks for more.
    pub max_delay: Duration,
    /// How long all attempts and waits together may take, with the wait for a token. The client
    /// gives up at once rather than wait past it. The time that a download takes to stream does
    /// not count.
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

    pub(crate) fn waits(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        let max = self.max_delay;
        ExponentialBuilder::default()
            .with_min_delay(self.first_delay)
            .with_max_delay(self.max_delay)
            .with_max_times(self.max_attempts.saturating_sub(1) as usize)
            .build()
            .map(move |longest| longest.min(max).mul_f64(fastrand::f64()))
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

    #[test]
    fn waits_are_jittered_below_a_doubling_ceiling() {
        let policy = RetryPolicy::default().delays(Duration::from_secs(1), Duration::from_secs(4));
        for _ in 0..200 {
            let waits: Vec<_> = policy.waits().collect();
            assert_eq!(waits.len(), 4);
            for (wait, ceiling) in waits.iter().zip([1, 2, 4, 4]) {
                assert!(*wait <= Duration::from_secs(ceiling), "{waits:?}");
            }
        }
        let spread: std::collections::BTreeSet<_> =
            (0..50).map(|_| policy.waits().next().unwrap()).collect();
        assert!(spread.len() > 10, "no jitter");
    }
}
