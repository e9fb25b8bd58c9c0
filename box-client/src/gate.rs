//! Holds calls back while Box has said that there were too many.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::error::{Error, ErrorKind, Result};

/// Box counts by the minute: after that, asking again is worth a try whatever it said.
const LONGEST: Duration = Duration::from_secs(60);

/// Shared by all clones of a client, which are one user to Box and share that user's limits.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    off: bool,
    shut_until: Mutex<HashMap<Lane, Instant>>,
}

/// What Box counts apart, so that too many searches do not hold back downloads.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Lane {
    Api,
    MetadataQuery,
    Search,
    Sign,
    Upload,
}

impl Lane {
    fn of(operation: &str) -> Self {
        match operation {
            "metadata.query" => Self::MetadataQuery,
            "search" => Self::Search,
            "sign_requests.create" | "sign_requests.resend" => Self::Sign,
            "files.upload" | "upload_sessions.part" => Self::Upload,
            _ => Self::Api,
        }
    }
}

impl Gate {
    pub(crate) fn new(on: bool) -> Self {
        Self {
            off: !on,
            ..Self::default()
        }
    }

    /// Waits until the calls of this kind may go on, or fails at once if that is not within
    /// `left`.
    pub(crate) async fn pass(
        &self,
        operation: &'static str,
        left: impl Fn() -> Duration,
    ) -> Result<()> {
        while let Some(wait) = self.wait(operation) {
            if wait >= left() {
                return Err(Error::new(ErrorKind::RateLimited, operation)
                    .detail("Box asked to wait longer than the call may take")
                    .wait(Some(wait)));
            }
            // All who wait would otherwise come back at the same instant.
            sleep(wait.mul_f64(1.0 + fastrand::f64() / 10.0).min(left())).await;
        }
        Ok(())
    }

    /// Box has answered 429 with a time to wait.
    pub(crate) fn shut(&self, error: &Error) {
        let limited = error.kind() == ErrorKind::RateLimited && !self.off;
        let Some(asked) = error.retry_after().filter(|_| limited) else {
            return;
        };
        let until = Instant::now() + asked.min(LONGEST);
        let mut shut = self
            .shut_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = shut.entry(Lane::of(error.operation())).or_insert(until);
        *known = until.max(*known);
    }

    fn wait(&self, operation: &str) -> Option<Duration> {
        let shut = self
            .shut_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let until = shut.get(&Lane::of(operation))?;
        let wait = until.saturating_duration_since(Instant::now());
        (!wait.is_zero()).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn limited(operation: &'static str, seconds: u64) -> Error {
        let wait = Duration::from_secs(seconds);
        Error::new(ErrorKind::RateLimited, operation).wait(Some(wait))
    }

    #[tokio::test(start_paused = true)]
    async fn calls_wait_until_box_has_said_and_not_much_longer() {
        let gate = Gate::new(true);
        gate.shut(&limited("files.get", 10));
        let start = Instant::now();
        gate.pass("folders.get", || MINUTE).await.unwrap();
        let waited = start.elapsed();
        let (least, most) = (Duration::from_secs(10), Duration::from_secs(12));
        assert!((least..most).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_box_counts_apart_is_held_back_apart() {
        let gate = Gate::new(true);
        gate.shut(&limited("search", 10));
        let start = Instant::now();
        gate.pass("files.download", || MINUTE).await.unwrap();
        assert!(start.elapsed().is_zero());
        gate.pass("search", || MINUTE).await.unwrap();
        assert!(start.elapsed() >= Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_past_the_own_deadline() {
        let gate = Gate::new(true);
        gate.shut(&limited("files.get", 30));
        let start = Instant::now();
        let left = || Duration::from_secs(5);
        let error = gate.pass("files.get", left).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        assert!(error.retry_after().is_some() && !error.may_have_happened());
        assert!(start.elapsed().is_zero(), "it is told at once");
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_shuts_the_gate_for_long() {
        let gate = Gate::new(true);
        gate.shut(&limited("files.get", 86_400));
        tokio::time::advance(MINUTE).await;
        assert_eq!(gate.wait("files.get"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_gate_that_is_off_holds_nothing_back() {
        let gate = Gate::new(false);
        gate.shut(&limited("files.get", 10));
        assert_eq!(gate.wait("files.get"), None);
    }
}
