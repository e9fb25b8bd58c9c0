//! A clock that is put forward and back by an hour in the middle of the work.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bridge::{
    AfterDead, Backoff, Clock, Handler, Hold, JobFilter, JobState, Leased, Ledger, NewJob, Outcome,
    QueueAdmin, Worker, WorkerOptions,
    store::{memory::MemoryStore, sqlite::SqliteStore},
};
use jiff::{SignedDuration, Timestamp};

const HOUR: i64 = 3600;
const KEYS: usize = 6;
const JOBS: usize = 10;

/// The machine's clock, off by so many seconds.
#[derive(Debug, Default)]
struct Jumping(AtomicI64);

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        let off = SignedDuration::from_secs(self.0.load(Ordering::Relaxed));
        Timestamp::now().checked_add(off).unwrap()
    }
}

/// Puts the clock elsewhere in the middle of every third attempt, and fails every fifth.
struct Disturbed {
    clock: Arc<Jumping>,
    attempts: AtomicUsize,
    done: Arc<Mutex<Vec<(String, String)>>>,
}

#[async_trait::async_trait]
impl Handler for Disturbed {
    async fn handle(&self, job: &Leased, hold: &Hold) -> Outcome {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        if attempt.is_multiple_of(3) {
            let off = [HOUR, -HOUR, 0][attempt / 3 % 3];
            self.clock.0.store(off, Ordering::Relaxed);
        }
        tokio::task::yield_now().await;
        if attempt % 5 == 4 || !hold.is_good() {
            let reason = "disturbed".into();
            return Outcome::Retry {
                reason,
                after: None,
            };
        }
        let done = (job.key.clone(), job.dedupe.clone());
        self.done.lock().unwrap().push(done);
        Outcome::Done("done".into())
    }
}

/// Nothing dies here, and no lease is lost: what the clock says is nothing to it.
pub(crate) async fn nothing_is_lost_or_twice<S: QueueAdmin + Ledger>(store: Arc<S>) {
    store.set_after_dead(AfterDead::Skip).await.unwrap();
    let clock = Arc::new(Jumping::default());
    let jobs = (0..KEYS * JOBS).map(|number| NewJob {
        dedupe: format!("{number:03}"),
        key: format!("key {}", number % KEYS),
        kind: "test".into(),
        body: "body".into(),
    });
    store.push(jobs.collect(), clock.now()).await.unwrap();
    let done = Arc::new(Mutex::new(Vec::new()));
    let handler = Disturbed {
        clock: clock.clone(),
        attempts: AtomicUsize::new(0),
        done: done.clone(),
    };
    let mut options = WorkerOptions::default();
    options.backoff = Backoff::default();
    options.backoff.base = Duration::from_millis(1);
    options.backoff.jitter = Duration::ZERO;
    options.backoff.max_attempts = 1000;
    (options.concurrency, options.poll) = (4, Duration::from_millis(2));
    options.lease = Duration::from_secs(2);
    let worker = Worker::new(store.clone(), handler, "w")
        .options(options)
        .clock(clock.clone());
    let all_done = async {
        let (mut before, mut still) = (0, 0);
        loop {
            let done = store.counts().await.unwrap().done;
            if done == (KEYS * JOBS) as u64 {
                return;
            }
            still = if done == before { still + 1 } else { 0 };
            before = done;
            // What was put off by a clock that was ahead comes when it is as late again; here that is
            // soon.
            if still > 20 {
                clock.0.store(2 * HOUR, Ordering::Relaxed);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), worker.run(all_done))
        .await
        .expect("something is never done");
    let done = done.lock().unwrap().clone();
    assert_eq!(done.len(), KEYS * JOBS, "each once");
    for key in 0..KEYS {
        let of_key = done.iter().filter(|it| it.0 == format!("key {key}"));
        assert!(of_key.map(|it| &it.1).is_sorted(), "{done:?}");
    }
    let jobs = JobFilter {
        limit: 1000,
        ..JobFilter::default()
    };
    let jobs = store.jobs(&jobs).await.unwrap();
    assert!(jobs.iter().all(|job| job.state == JobState::Done));
}

#[tokio::test]
async fn in_memory_nothing_is_lost_or_twice_when_the_clock_jumps() {
    nothing_is_lost_or_twice(Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn in_sqlite_nothing_is_lost_or_twice_when_the_clock_jumps() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("store.db")).unwrap();
    nothing_is_lost_or_twice(Arc::new(store)).await;
}
