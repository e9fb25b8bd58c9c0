use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ApiUsage;

/// What is known of the org's calls of 24 hours.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Quota {
    /// What is used, as Salesforce told last.
    pub usage: Option<ApiUsage>,
    /// When Salesforce told it.
    pub told_at: Option<Timestamp>,
    /// Until when no call is made, because Salesforce has said that all are used up.
    pub closed_until: Option<Timestamp>,
    /// When the last call was let through to see whether there are more again.
    pub tried_at: Option<Timestamp>,
}

/// Where several processes tell each other what they know of the quota, such as a row of a
/// database. It need not be exact: what is lost is told again.
#[async_trait]
pub trait QuotaShare: Debug + Send + Sync + 'static {
    /// What was published last; the default where nothing was.
    async fn load(&self) -> Result<Quota, QuotaShareError>;

    /// Keeps this instead of what was there.
    async fn publish(&self, quota: &Quota) -> Result<(), QuotaShareError>;
}

/// The cause that a [`QuotaShare`] gives for its failure.
pub type QuotaShareError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Go,
    Wait(Duration),
}

impl Quota {
    pub(super) fn tell(&mut self, usage: ApiUsage, now: Timestamp) {
        self.usage = Some(usage);
        self.told_at = Some(now);
        // An answer is the proof that there are calls.
        if usage.left() > 0 {
            self.closed_until = None;
        }
    }

    pub(super) fn close(&mut self, now: Timestamp, pause: Duration) {
        self.closed_until = Some(after(now, pause));
    }

    /// Whether a call may go that leaves this part of the calls to others. When the time is over,
    /// one call goes to see how things stand, and the others wait for what it brings.
    pub(super) fn admit(&mut self, reserve: f64, pause: Duration, now: Timestamp) -> Verdict {
        let verdict = self.would_admit(reserve, pause, now);
        let is_open = self.closed_until.is_none() && self.has_left(reserve);
        if verdict == Verdict::Go && !is_open {
            self.tried_at = Some(now);
        }
        verdict
    }

    /// The same, without a call that goes.
    pub(super) fn would_admit(&self, reserve: f64, pause: Duration, now: Timestamp) -> Verdict {
        let opens = match self.closed_until {
            Some(until) => until,
            None if self.has_left(reserve) => return Verdict::Go,
            None => after(self.told_at.unwrap_or(now), pause),
        };
        let tried = self.tried_at.map(|at| after(at, pause));
        let opens = tried.map_or(opens, |next| opens.max(next));
        if opens <= now {
            return Verdict::Go;
        }
        let wait = Duration::try_from(opens.duration_since(now));
        Verdict::Wait(wait.unwrap_or(pause))
    }

    /// Takes over what another process knows better.
    pub(super) fn merge(&mut self, other: &Self) {
        if other.told_at > self.told_at {
            self.usage = other.usage;
            self.told_at = other.told_at;
            if self.usage.is_some_and(|usage| usage.left() > 0) {
                self.closed_until = other.closed_until;
            }
        }
        self.closed_until = match self.is_newer_than_closing(other) {
            true => self.closed_until,
            false => self.closed_until.max(other.closed_until),
        };
        self.tried_at = self.tried_at.max(other.tried_at);
    }

    /// Whether what is known here was told after the other side had closed.
    fn is_newer_than_closing(&self, other: &Self) -> bool {
        self.told_at > other.told_at && self.closed_until.is_none()
    }

    fn has_left(&self, reserve: f64) -> bool {
        self.usage.is_none_or(|usage| {
            let kept = usage.allowed as f64 * reserve;
            usage.left() as f64 > kept
        })
    }
}

fn after(now: Timestamp, pause: Duration) -> Timestamp {
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
    now.saturating_add(pause).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(900);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn usage(used: u64) -> ApiUsage {
        ApiUsage { used, allowed: 100 }
    }

    #[test]
    fn nothing_known_is_no_reason_to_stop() {
        assert_eq!(Quota::default().admit(0.9, PAUSE, at(0)), Verdict::Go);
    }

    #[test]
    fn backfill_stops_before_the_rest() {
        let mut quota = Quota::default();
        quota.tell(usage(85), at(0));
        assert_eq!(quota.admit(0.05, PAUSE, at(1)), Verdict::Go);
        let wait = Verdict::Wait(Duration::from_secs(899));
        assert_eq!(quota.admit(0.2, PAUSE, at(1)), wait);
    }

    #[test]
    fn at_the_reserve_one_call_at_a_time_sees_how_things_stand() {
        let mut quota = Quota::default();
        quota.tell(usage(99), at(0));
        assert_ne!(quota.admit(0.05, PAUSE, at(899)), Verdict::Go);
        assert_eq!(quota.admit(0.05, PAUSE, at(900)), Verdict::Go);
        assert_eq!(
            quota.admit(0.05, PAUSE, at(901)),
            Verdict::Wait(PAUSE - Duration::from_secs(1))
        );
        quota.tell(usage(10), at(902));
        assert_eq!(quota.admit(0.05, PAUSE, at(902)), Verdict::Go);
        assert_eq!(quota.admit(0.05, PAUSE, at(902)), Verdict::Go);
    }

    #[test]
    fn what_is_used_up_stays_so_for_the_pause() {
        let mut quota = Quota::default();
        quota.close(at(0), PAUSE);
        assert_eq!(quota.admit(0.0, PAUSE, at(0)), Verdict::Wait(PAUSE));
        assert_eq!(quota.admit(0.0, PAUSE, at(900)), Verdict::Go);
        assert_ne!(quota.admit(0.0, PAUSE, at(900)), Verdict::Go);
        quota.tell(usage(99), at(901));
        assert_eq!(quota.admit(0.0, PAUSE, at(901)), Verdict::Go);
    }

    #[test]
    fn the_later_word_counts_among_processes() {
        let mut closed = Quota::default();
        closed.tell(usage(100), at(10));
        closed.close(at(10), PAUSE);
        let mut open = Quota::default();
        open.tell(usage(5), at(5));
        open.merge(&closed);
        assert_ne!(open.admit(0.0, PAUSE, at(11)), Verdict::Go);
        let mut later = Quota::default();
        later.tell(usage(50), at(1000));
        closed.merge(&later);
        assert_eq!(closed.admit(0.0, PAUSE, at(1001)), Verdict::Go);
        later.merge(&open);
        assert_eq!(later.admit(0.0, PAUSE, at(1001)), Verdict::Go);
    }
}
