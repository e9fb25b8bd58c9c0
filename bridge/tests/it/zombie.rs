//! A worker that is stopped for longer than its lease, and wakes up in the middle of its work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bridge::{
    Backoff, Handler, Hold, Leased, NewJob, Outcome, Queue, Worker, WorkerOptions,
    store::memory::MemoryStore,
};
use jiff::Timestamp;

const LEASE: Duration = Duration::from_millis(50);

/// Stands still for longer than the lease between two steps, the first time.
struct Stopped(Arc<AtomicUsize>);

#[async_trait]
impl Handler for Stopped {
    async fn handle(&self, job: &Leased, hold: &Hold) -> Outcome {
        if job.attempt > 1 {
            return Outcome::Done("taken over".into());
        }
        assert!(hold.is_good());
        // The whole process stands still, its timers too.
        std::thread::sleep(2 * LEASE);
        tokio::task::yield_now().await;
        self.0.fetch_add(1, Ordering::Relaxed);
        Outcome::Done("written by a dead hand".into())
    }
}

#[tokio::test]
async fn a_worker_that_wakes_up_after_its_lease_takes_no_further_step() {
    let store = Arc::new(MemoryStore::new());
    for number in 0..8 {
        let job = NewJob {
            dedupe: number.to_string(),
            key: number.to_string(),
            kind: "test".into(),
            body: "body".into(),
        };
        store.push(vec![job], Timestamp::now()).await.unwrap();
    }
    let steps = Arc::new(AtomicUsize::new(0));
    let mut options = WorkerOptions::default();
    options.concurrency = 1;
    options.lease = LEASE;
    options.backoff = Backoff::default();
    (options.backoff.base, options.backoff.jitter) = (Duration::ZERO, Duration::ZERO);
    let worker = Worker::new(store.clone(), Stopped(steps.clone()), "w").options(options);
    worker.run_until_idle().await.unwrap();
    assert_eq!(steps.load(Ordering::Relaxed), 0);
}
