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
    /// To see whether there are calls again.
    Try,
    Wait(Duration),
}

/// By what a call is let through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Which part of the calls is left to others.
    pub(super) reserve: f64,
    pub(super) pause: Duration,
    /// Calls under way, which no answer tells of yet.
    pub(super) running: usize,
}

impl Quota {
    /// Answers overtake each other: one that tells of up to `overtaken` calls less than are known
    /// of is taken for an older one.
    pub(super) fn tell(&mut self, usage: ApiUsage, overtaken: u64, now: Timestamp) {
        let is_older = |known: ApiUsage| {
            known.allowed == usage.allowed
                && known.used > usage.used
                && known.used - usage.used <= overtaken
        };
        if !self.usage.is_some_and(is_older) {
            self.usage = Some(usage);
        }
        self.told_at = Some(now);
        // An answer is the proof that there are calls.
        if usage.left() > 0 {
            self.closed_until = None;
        }
    }

    pub(super) fn close(&mut self, now: Timestamp, pause: Duration) {
        self.closed_until = Some(after(now, pause));
    }

    /// Until when a client whose governor has this [`reserve`](super::GovernorBuilder::reserve) and
    /// [`pause`](super::GovernorBuilder::pause) makes no calls; `None` where it does.
    pub fn refused_until(
        &self,
        reserve: f64,
        pause: Duration,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let terms = Terms {
            reserve,
            pause,
            running: 0,
        };
        match self.would_admit(terms, now) {
            Verdict::Go | Verdict::Try => None,
            Verdict::Wait(wait) => Some(after(now, wait)),
        }
    }

    /// Whether a call may go that leaves others their part of the calls. When the time is over,
    /// one call goes to see how things stand, and the others wait for what it brings.
    pub(super) fn admit(&mut self, terms: Terms, now: Timestamp) -> Verdict {
        let verdict = self.would_admit(terms, now);
        if verdict == Verdict::Try {
            self.tried_at = Some(now);
        }
        verdict
    }

    /// The same, without a call that goes.
    pub(super) fn would_admit(&self, terms: Terms, now: Timestamp) -> Verdict {
        let pause = terms.pause;
        let opens = match self.closed_until {
            Some(until) => until,
            None if self.has_left(terms) => return Verdict::Go,
            None => after(self.told_at.unwrap_or(now), pause),
        };
        let tried = self.tried_at.map(|at| after(at, pause));
        let opens = tried.map_or(opens, |next| opens.max(next));
        if opens <= now {
            return Verdict::Try;
        }
        let wait = Duration::try_from(opens.duration_since(now));
        Verdict::Wait(wait.map_or(pause, |wait| wait.min(pause)))
    }

    /// Whether it was told by a clock that is ahead of ours: nothing of it can lie further away.
    pub(super) fn is_ahead(&self, now: Timestamp, pause: Duration) -> bool {
        let latest = after(now, pause);
        let times = [self.told_at, self.closed_until, self.tried_at];
        times.into_iter().flatten().any(|time| time > latest)
    }

    /// Brings back what a clock that was ahead has put into the future. It may have been put right
    /// since, and nobody waits for as long as it was wrong.
    pub(super) fn put_right(&mut self, now: Timestamp, pause: Duration) {
        self.told_at = self.told_at.map(|at| at.min(now));
        self.tried_at = self.tried_at.map(|at| at.min(now));
        self.closed_until = self.closed_until.map(|at| at.min(after(now, pause)));
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

    fn has_left(&self, terms: Terms) -> bool {
        self.usage.is_none_or(|usage| {
            let kept = usage.allowed as f64 * terms.reserve;
            usage.left() as f64 - terms.running as f64 > kept
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

    fn terms(reserve: f64) -> Terms {
        Terms {
            reserve,
            pause: PAUSE,
            running: 0,
        }
    }

    fn usage(used: u64) -> ApiUsage {
        ApiUsage { used, allowed: 100 }
    }

    #[test]
    fn nothing_known_is_no_reason_to_stop() {
        assert_eq!(Quota::default().admit(terms(0.9), at(0)), Verdict::Go);
    }

    #[test]
    fn backfill_stops_before_the_rest() {
        let mut quota = Quota::default();
        quota.tell(usage(85), 0, at(0));
        assert_eq!(quota.admit(terms(0.05), at(1)), Verdict::Go);
        let wait = Verdict::Wait(Duration::from_secs(899));
        assert_eq!(quota.admit(terms(0.2), at(1)), wait);
    }

    #[test]
    fn at_the_reserve_one_call_at_a_time_sees_how_things_stand() {
        let mut quota = Quota::default();
        quota.tell(usage(99), 0, at(0));
        assert_ne!(quota.admit(terms(0.05), at(899)), Verdict::Go);
        assert_eq!(quota.admit(terms(0.05), at(900)), Verdict::Try);
        assert_eq!(
            quota.admit(terms(0.05), at(901)),
            Verdict::Wait(PAUSE - Duration::from_secs(1))
        );
        quota.tell(usage(10), 0, at(902));
        assert_eq!(quota.admit(terms(0.05), at(902)), Verdict::Go);
        assert_eq!(quota.admit(terms(0.05), at(902)), Verdict::Go);
    }

    #[test]
    fn calls_under_way_count_as_made() {
        let mut quota = Quota::default();
        quota.tell(usage(90), 0, at(0));
        for (running, goes) in [(4, true), (5, false)] {
            let terms = Terms {
                running,
                ..terms(0.05)
            };
            assert_eq!(quota.admit(terms, at(1)) == Verdict::Go, goes, "{running}");
        }
    }

    #[test]
    fn an_answer_that_was_overtaken_gives_no_calls_back_and_a_new_day_does() {
        let mut quota = Quota::default();
        quota.tell(usage(95), 10, at(0));
        quota.tell(usage(85), 10, at(0));
        assert_eq!(quota.usage, Some(usage(95)));
        quota.tell(usage(84), 10, at(0));
        assert_eq!(quota.usage, Some(usage(84)));
    }

    #[test]
    fn it_tells_until_when_no_calls_are_made() {
        let mut quota = Quota::default();
        assert_eq!(quota.refused_until(0.05, PAUSE, at(0)), None);
        quota.tell(usage(95), 0, at(0));
        assert_eq!(quota.refused_until(0.05, PAUSE, at(9)), Some(at(900)));
        assert_eq!(quota.refused_until(0.05, PAUSE, at(900)), None);
    }

    #[test]
    fn what_is_used_up_stays_so_for_the_pause() {
        let mut quota = Quota::default();
        quota.close(at(0), PAUSE);
        assert_eq!(quota.admit(terms(0.0), at(0)), Verdict::Wait(PAUSE));
        assert_eq!(quota.admit(terms(0.0), at(900)), Verdict::Try);
        assert_eq!(quota.admit(terms(0.0), at(900)), Verdict::Wait(PAUSE));
        quota.tell(usage(99), 0, at(901));
        assert_eq!(quota.admit(terms(0.0), at(901)), Verdict::Go);
    }

    #[test]
    fn the_later_word_counts_among_processes() {
        let mut closed = Quota::default();
        closed.tell(usage(100), 0, at(10));
        closed.close(at(10), PAUSE);
        let mut open = Quota::default();
        open.tell(usage(5), 0, at(5));
        open.merge(&closed);
        assert_ne!(open.admit(terms(0.0), at(11)), Verdict::Go);
        let mut later = Quota::default();
        later.tell(usage(50), 0, at(1000));
        closed.merge(&later);
        assert_eq!(closed.admit(terms(0.0), at(1001)), Verdict::Go);
        later.merge(&open);
        assert_eq!(later.admit(terms(0.0), at(1001)), Verdict::Go);
    }

    #[test]
    fn a_clock_that_was_ahead_keeps_nobody_waiting() {
        const HOUR: i64 = 3600;
        let mut quota = Quota::default();
        quota.tell(usage(99), 0, at(6 * HOUR));
        quota.close(at(6 * HOUR), PAUSE);
        assert!(quota.is_ahead(at(0), PAUSE));
        assert!(!quota.is_ahead(at(6 * HOUR), PAUSE));
        quota.put_right(at(0), PAUSE);
        assert_eq!(quota.admit(terms(0.0), at(0)), Verdict::Wait(PAUSE));
        quota.put_right(at(900), PAUSE);
        assert_eq!(quota.admit(terms(0.0), at(900)), Verdict::Try);
        quota.tell(usage(10), 0, at(901));
        assert_eq!(quota.admit(terms(0.0), at(901)), Verdict::Go);
    }
}
