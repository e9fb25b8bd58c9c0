//! What is forgotten, and when.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    ledger::Ledger,
    queue::{JobFilter, JobState, QueueAdmin},
    store_error::StoreError,
    sync::CONFLICT,
};

/// For how long what is over is remembered.
///
/// Forgetting never makes room for a second effect:
///
/// - A done job is what a redelivery is known by, so it is kept for longer than the sender repeats.
/// - A Task belongs to one event. It is asked for only while that event may be carried out again: as
///   long as its job waits, or lies dead, it is kept, whatever its age.
/// - Which document a file became, which of its versions were brought and where it is linked is
///   asked for when the next version comes, and that may be years later. It is kept for good: a
///   few hundred bytes for each version.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Retention {
    /// How long done jobs are kept.
    pub done: Duration,
    /// How long the effects of single events are kept, and conflicts that are over.
    pub effects: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            done: Duration::from_secs(30 * 24 * 3600),
            effects: Duration::from_secs(400 * 24 * 3600),
        }
    }
}

/// What [`tidy`] has forgotten.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Tidied {
    /// Done jobs.
    pub jobs: u64,
    /// Effects of single events.
    pub effects: u64,
    /// Whether there is more to forget.
    pub is_unfinished: bool,
}

/// What is forgotten after a time, by the first part of its key: the effects that belong to a single
/// event, and conflicts. One that is not over is in the memory of its record as well, which stays.
const FORGOTTEN: [&str; 6] = ["task", "seen", "made", "digested", "digest", CONFLICT];

/// Forgets what is over for long enough, at most `limit` of each kind, so that nobody waits long.
/// To be called again at once as long as it [is unfinished](Tidied::is_unfinished), and then now
/// and again.
pub async fn tidy(
    queue: &dyn QueueAdmin,
    ledger: &dyn Ledger,
    retention: &Retention,
    now: Timestamp,
    limit: usize,
) -> Result<Tidied, StoreError> {
    let ago = |span| now.checked_sub(span).unwrap_or(Timestamp::MIN);
    let mut tidied = Tidied {
        jobs: queue.purge(ago(retention.done), limit).await?,
        ..Tidied::default()
    };
    tidied.is_unfinished = is_full(tidied.jobs, limit);
    // What is done may be carried out again as long as it is not forgotten itself.
    let before = ago(retention.effects.max(retention.done));
    let before = match oldest(queue).await? {
        Some(oldest) => before.min(oldest),
        None => before,
    };
    for kind in FORGOTTEN {
        let purged = ledger.purge(kind, before, limit).await?;
        tidied.effects += purged;
        tidied.is_unfinished |= is_full(purged, limit);
    }
    Ok(tidied)
}

fn is_full(purged: u64, limit: usize) -> bool {
    purged > 0 && usize::try_from(purged).is_ok_and(|purged| purged >= limit)
}

/// When the oldest of the jobs was pushed that may still be carried out.
async fn oldest(queue: &dyn QueueAdmin) -> Result<Option<Timestamp>, StoreError> {
    let dead = JobFilter {
        state: Some(JobState::Dead),
        after: None,
        limit: 1,
    };
    let dead = queue.jobs(&dead).await?;
    let dead = dead.first().map(|job| job.pushed_at);
    let open = queue.counts().await?.oldest;
    Ok(match (dead, open) {
        (Some(dead), Some(open)) => Some(dead.min(open)),
        (dead, open) => dead.or(open),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::{
        ledger::{EffectKey, Writer},
        queue::{NewJob, Queue, Settle},
        store::memory::MemoryStore,
    };

    const DAY: i64 = 24 * 3600;

    fn day(number: i64) -> Timestamp {
        Timestamp::from_second(number * DAY).unwrap()
    }

    async fn push(store: &MemoryStore, dedupe: &str, on: i64, settle: Settle) {
        let job = NewJob {
            dedupe: dedupe.to_owned(),
            key: dedupe.to_owned(),
            kind: "test".to_owned(),
            body: "body".into(),
        };
        store.push(vec![job], day(on)).await.unwrap();
        let minute = Duration::from_secs(60);
        let leased = store.lease("w", 1, minute, day(on)).await.unwrap();
        let lease = leased[0].lease;
        store.settle(&lease, settle, day(on)).await.unwrap();
    }

    async fn round(store: &MemoryStore, on: i64) -> (u64, u64) {
        let done = tidy(store, store, &Retention::default(), day(on), 10).await;
        let done = done.unwrap();
        assert!(!done.is_unfinished);
        (done.jobs, done.effects)
    }

    #[tokio::test]
    async fn tasks_and_conflicts_that_are_over_go_and_documents_stay() {
        let store = MemoryStore::new();
        let done = || Settle::Done { note: "ok".into() };
        push(&store, "e1", 1, done()).await;
        let keys = [
            EffectKey::new(["task", "e1", "rule"]),
            EffectKey::new(["version", "7", "1"]),
            EffectKey::new(["link", "doc", "opp"]),
            EffectKey::new(["sync", "opp"]),
            EffectKey::new(["conflict", "c1"]),
        ];
        for key in &keys {
            store.begin(key, &Writer::unknown(), day(1)).await.unwrap();
            store.finish(key, json!(null), day(1)).await.unwrap();
        }
        assert_eq!(round(&store, 30).await, (0, 0));
        assert_eq!(round(&store, 32).await, (1, 0));
        assert_eq!(round(&store, 402).await, (0, 2));
        for key in [&keys[0], &keys[4]] {
            assert_eq!(store.read(key).await.unwrap(), None, "{key}");
        }
        for key in &keys[1..4] {
            assert!(store.read(key).await.unwrap().is_some(), "{key}");
        }
    }

    #[tokio::test]
    async fn what_a_dead_letter_has_done_is_known_until_somebody_deals_with_it() {
        let store = MemoryStore::new();
        let dead = Settle::Dead {
            reason: "refused".into(),
        };
        push(&store, "e1", 1, dead).await;
        let key = EffectKey::new(["task", "e1", "rule"]);
        store.begin(&key, &Writer::unknown(), day(1)).await.unwrap();
        store.finish(&key, json!(null), day(1)).await.unwrap();
        assert_eq!(round(&store, 5000).await, (0, 0));
        let dead = store.jobs(&JobFilter::default()).await.unwrap();
        store.discard(&[dead[0].id], day(5000)).await.unwrap();
        assert_eq!(round(&store, 5001).await, (0, 1));
    }

    #[tokio::test]
    async fn no_round_forgets_more_than_its_limit() {
        let store = MemoryStore::new();
        for number in 0..5 {
            let done = Settle::Done { note: "ok".into() };
            push(&store, &number.to_string(), 1, done).await;
        }
        let round = async || tidy(&store, &store, &Retention::default(), day(50), 3).await;
        let first = round().await.unwrap();
        assert_eq!((first.jobs, first.is_unfinished), (3, true));
        let second = round().await.unwrap();
        assert_eq!((second.jobs, second.is_unfinished), (2, false));
    }
}
