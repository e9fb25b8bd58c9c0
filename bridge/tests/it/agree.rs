//! Whatever is asked of them in whatever order, the stores give the same answers.

use std::time::Duration;

use bridge::{
    Counts, InboxId, Job, JobFilter, JobId, JobState, LeaseId, Leased, NewJob, Push, QueueAdmin,
    Settle,
    store::{memory::MemoryStore, sqlite::SqliteStore},
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<(u8, u8)>),
    Lease(u8, usize),
    /// For long, or so that it runs out.
    Extend(usize, bool),
    Settle(usize, u8, i64),
    Replay(Vec<i64>),
    Release(Option<u8>),
    Purge(i64, usize),
    /// The clock goes on, or back.
    Pass(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::collection::vec((0..30_u8, 0..4_u8), 0..4).prop_map(Step::Push),
        6 => (0..3_u8, 0..4_usize).prop_map(|(owner, max)| Step::Lease(owner, max)),
        2 => (0..9_usize, any::<bool>()).prop_map(|(lease, ends)| Step::Extend(lease, ends)),
        6 => (0..9_usize, 0..4_u8, -5..40_i64).prop_map(|(l, how, by)| Step::Settle(l, how, by)),
        2 => prop::collection::vec(1..20_i64, 0..3).prop_map(Step::Replay),
        1 => prop::option::of(0..3_u8).prop_map(Step::Release),
        1 => (-5..10_i64, 0..3_usize).prop_map(|(before, limit)| Step::Purge(before, limit)),
        3 => (-20..30_i64).prop_map(Step::Pass),
        1 => (1000..5000_i64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..60)
}

/// What a step gives back, and how the inbox stands afterwards.
#[derive(Debug, PartialEq)]
struct Seen {
    answer: String,
    leased: Vec<Leased>,
    jobs: Vec<Job>,
    counts: Counts,
}

async fn take(queue: &dyn QueueAdmin, steps: &[Step]) -> Vec<Seen> {
    let mut now = Timestamp::from_second(1_700_000_000).unwrap();
    let at = |now: Timestamp, by: i64| now + SignedDuration::from_secs(by);
    let mut leases: Vec<LeaseId> = Vec::new();
    let mut seen = Vec::new();
    for step in steps {
        let held = |n: &usize| leases.iter().rev().nth(*n).copied();
        let mut leased = Vec::new();
        let answer = match step {
            Step::Push(jobs) => {
                let jobs = jobs.iter().map(|(dedupe, key)| NewJob {
                    dedupe: dedupe.to_string(),
                    key: key.to_string(),
                    kind: "test".into(),
                    body: vec![*dedupe].into(),
                });
                let pushed: Vec<Push> = queue.push(jobs.collect(), now).await.unwrap();
                format!("{pushed:?}")
            }
            Step::Lease(owner, max) => {
                let hold = Duration::from_secs(3600);
                leased = queue
                    .lease(&owner.to_string(), *max, hold, now)
                    .await
                    .unwrap();
                leases.extend(leased.iter().map(|job| job.lease));
                String::new()
            }
            Step::Extend(n, ends) => match held(n) {
                Some(lease) => {
                    let hold = Duration::from_secs(if *ends { 0 } else { 3600 });
                    said(queue.extend(&lease, hold).await)
                }
                None => String::new(),
            },
            Step::Settle(n, how, by) => match held(n) {
                Some(lease) => said(queue.settle(&lease, ending(*how, at(now, *by)), now).await),
                None => String::new(),
            },
            Step::Replay(ids) => {
                let ids: Vec<_> = ids.iter().copied().map(JobId).collect();
                queue.replay(&ids, now).await.unwrap().to_string()
            }
            Step::Release(owner) => {
                let owner = owner.map(|owner| owner.to_string());
                queue
                    .release(owner.as_deref(), now)
                    .await
                    .unwrap()
                    .to_string()
            }
            Step::Purge(by, limit) => queue.purge(at(now, *by), *limit).await.unwrap().to_string(),
            Step::Pass(by) => {
                now = at(now, *by);
                String::new()
            }
        };
        for job in &mut leased {
            job.lease.inbox = InboxId::default();
        }
        let mut jobs = queue.jobs(&JobFilter::default()).await.unwrap();
        for job in &mut jobs {
            if job.state == JobState::Leased {
                // By the store's own clock.
                job.at = now;
            }
        }
        let counts = queue.counts().await.unwrap();
        seen.push(Seen {
            answer,
            leased,
            jobs,
            counts,
        });
    }
    seen
}

fn ending(how: u8, at: Timestamp) -> Settle {
    match how {
        0 => Settle::Done {
            note: "done".into(),
        },
        1 => Settle::Dead {
            reason: "dead".into(),
        },
        2 => Settle::Retry {
            at,
            reason: "retry".into(),
        },
        _ => Settle::Defer {
            at,
            reason: "defer".into(),
        },
    }
}

fn said(result: Result<(), bridge::StoreError>) -> String {
    format!("{:?}", result.map_err(|error| error.kind()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]

    #[test]
    fn sqlite_and_memory_agree(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (sqlite, memory) = runtime.block_on(async {
            let sqlite = SqliteStore::open(folder.path().join("store.db")).unwrap();
            let seen = take(&sqlite, &steps).await;
            sqlite.close().await;
            (seen, take(&MemoryStore::new(), &steps).await)
        });
        for ((sqlite, memory), step) in sqlite.iter().zip(&memory).zip(&steps) {
            prop_assert_eq!(sqlite, memory, "after {:?}", step);
        }
        for seen in &sqlite {
            let mut held: Vec<_> = seen.leased.iter().map(|job| &job.key).collect();
            held.sort_unstable();
            held.dedup();
            prop_assert_eq!(held.len(), seen.leased.len(), "one key in two hands");
        }
    }
}
