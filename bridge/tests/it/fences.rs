//! Two writers of one effect: machines with wrong clocks, machines that were suspended, stores and
//! far sides that are slow.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bridge::{
    Action, Backoff, Clock, Handler, Hold, Job, JobFilter, JobState, LeaseId, Leased, NewJob,
    Outcome, Pauses, Pipeline, PortError, PortErrorKind, Push, Queue, QueueAdmin, Rule, Settle,
    Situation, Step, StepError, StoreError, StoreErrorKind, Work, Worker, WorkerOptions,
    store::memory::MemoryStore,
};
use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use crate::setting::{Bridge, ManualClock};

const LEASE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Posts something on a far side that is slow to take it, and has it only at the end.
#[derive(Clone, Debug)]
struct SlowPost {
    takes: Duration,
    posted: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Action for SlowPost {
    fn name(&self) -> &str {
        "post"
    }

    fn plan(&self, _: &Situation) -> Option<String> {
        Some("post".to_owned())
    }

    async fn apply(&self, _: &Step, work: &Work<'_>) -> Result<String, StepError> {
        let event = &work.situation.event;
        let posted = self.posted.clone();
        work.once(
            &bridge::EffectKey::new(["post", event]),
            async || {
                Ok(posted
                    .lock()
                    .unwrap()
                    .contains(event)
                    .then(|| event.clone()))
            },
            async || {
                // What is sent lands, whatever becomes of who has sent it.
                let (takes, posted, posts) = (self.takes, posted.clone(), event.clone());
                let landed = tokio::spawn(async move {
                    sleep(takes).await;
                    posted.lock().unwrap().push(posts);
                });
                let lost = |_| PortError::new(PortErrorKind::Unknown, "post");
                landed.await.map_err(lost)?;
                Ok(event.clone())
            },
        )
        .await
    }
}

fn poster(bridge: &Bridge, post: &SlowPost, name: &str, clock: &Paused) -> Worker<Pipeline> {
    let sides = Arc::new(bridge.sides.clone());
    let actions: Vec<Arc<dyn Action>> = vec![Arc::new(post.clone())];
    let rules = vec![Rule::new("post", ["FILE.UPLOADED"], actions).unwrap()];
    let pipeline = Pipeline::new(sides.clone(), sides, bridge.store.clone(), rules);
    let pipeline = pipeline.clock(Arc::new(clock.clone()));
    let mut options = WorkerOptions::default();
    options.lease = LEASE;
    Worker::new(bridge.store.clone(), pipeline, name)
        .options(options)
        .clock(Arc::new(clock.clone()))
}

#[tokio::test(start_paused = true)]
async fn a_machine_whose_clock_is_ahead_starts_no_second_write() {
    let bridge = Bridge::new();
    let version = bridge.sides.add_version("7", b"bytes");
    bridge.deliver("e1", "7", &version).await;
    let post = SlowPost {
        takes: Duration::from_secs(300),
        posted: Arc::default(),
    };
    let right = Paused::new();
    let ahead = Paused(right.0 + Duration::from_secs(90), right.1);
    let one = poster(&bridge, &post, "one", &right);
    let other = poster(&bridge, &post, "other", &ahead);
    let over = || sleep(Duration::from_secs(400));
    let later = async {
        sleep(Duration::from_secs(1)).await;
        other.run(over()).await;
    };
    tokio::join!(one.run(over()), later);
    assert_eq!(*post.posted.lock().unwrap(), ["e1"]);
    assert_eq!(bridge.states().await, [JobState::Done]);
}

/// Tells how its hold is before and after something that happens in the middle of the attempt.
struct Watching<F> {
    happens: F,
    kept: Mutex<Option<Hold>>,
    was_good: AtomicUsize,
    is_good: AtomicUsize,
}

struct Watches<F>(Arc<Watching<F>>);

impl<F> Watching<F> {
    fn new(happens: F) -> Self {
        Self {
            happens,
            kept: Mutex::new(None),
            was_good: AtomicUsize::new(0),
            is_good: AtomicUsize::new(0),
        }
    }
}

#[async_trait]
impl<F: Fn() + Send + Sync + 'static> Handler for Watches<F> {
    async fn handle(&self, _: &Leased, hold: &Hold) -> Outcome {
        let count = |to: &AtomicUsize| to.fetch_add(hold.is_good().into(), Ordering::Relaxed);
        count(&self.0.was_good);
        (self.0.happens)();
        count(&self.0.is_good);
        *self.0.kept.lock().unwrap() = Some(hold.clone());
        Outcome::Done("done".into())
    }
}

fn job(name: &str) -> NewJob {
    NewJob {
        dedupe: name.into(),
        key: name.into(),
        kind: "test".into(),
        body: "body".into(),
    }
}

fn options() -> WorkerOptions {
    let mut options = WorkerOptions::default();
    options.lease = LEASE;
    options.backoff = Backoff::default();
    (options.backoff.base, options.backoff.jitter) = (Duration::ZERO, Duration::ZERO);
    options
}

/// The machine is suspended: all that tells is the time of day, for the timers stood still too.
#[tokio::test(start_paused = true)]
async fn a_hold_does_not_last_through_a_suspended_machine() {
    let store = Arc::new(MemoryStore::new());
    let clock = ManualClock::at(Timestamp::now());
    let suspended = clock.clone();
    let watching = Arc::new(Watching::new(move || suspended.advance(HOUR)));
    store.push(vec![job("a")], clock.now()).await.unwrap();
    let worker = Worker::new(store, Watches(Arc::clone(&watching)), "w")
        .options(options())
        .clock(Arc::new(clock.clone()))
        .time_of_day(Arc::new(clock));
    worker.run_until_idle().await.unwrap();
    assert_eq!(watching.was_good.load(Ordering::Relaxed), 1);
    assert_eq!(watching.is_good.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hold_ends_with_its_attempt() {
    let store = Arc::new(MemoryStore::new());
    let watching = Arc::new(Watching::new(|| {}));
    store.push(vec![job("a")], Timestamp::now()).await.unwrap();
    let worker = Worker::new(store, Watches(Arc::clone(&watching)), "w").options(options());
    worker.run_until_idle().await.unwrap();
    assert_eq!(watching.is_good.load(Ordering::Relaxed), 1);
    let kept = watching.kept.lock().unwrap().clone().unwrap();
    assert!(
        !kept.is_good(),
        "what has outlived the attempt may still write"
    );
}

/// Ends each attempt as it is told, the first one first.
struct Script(Mutex<Vec<Outcome>>);

#[async_trait]
impl Handler for Script {
    async fn handle(&self, _: &Leased, _: &Hold) -> Outcome {
        let mut left = self.0.lock().unwrap();
        match left.is_empty() {
            true => Outcome::Done("done".into()),
            false => left.remove(0),
        }
    }
}

fn retry() -> Outcome {
    Outcome::Retry {
        reason: "503".into(),
        after: None,
    }
}

async fn only(store: &MemoryStore) -> Job {
    let mut jobs = store.jobs(&JobFilter::default()).await.unwrap();
    jobs.remove(0)
}

#[tokio::test(start_paused = true)]
async fn nothing_dies_of_old_age_while_nobody_can_try_it() {
    let store = Arc::new(MemoryStore::new());
    let clock = ManualClock::at(Timestamp::now());
    store.push(vec![job("a")], clock.now()).await.unwrap();
    let until = clock.now() + 30 * HOUR;
    let outage = Outcome::Outage {
        reason: "the budget of the day is spent".into(),
        until,
    };
    let script = Script(Mutex::new(vec![retry(), outage, retry()]));
    let worker = Worker::new(store.clone(), script, "w")
        .options(options())
        .clock(Arc::new(clock.clone()));
    worker.run_until_idle().await.unwrap();
    let put_off = only(&store).await;
    assert_eq!((put_off.state, put_off.attempts), (JobState::Ready, 1));
    // Thirty hours of outage, and nobody is there for the rest of a weekend.
    clock.advance(100 * HOUR);
    worker.run_until_idle().await.unwrap();
    let job = only(&store).await;
    assert_eq!(job.state, JobState::Done, "{job:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_tried_before_it_is_given_up() {
    let store = Arc::new(MemoryStore::new());
    let clock = ManualClock::at(Timestamp::now());
    store
        .push(vec![job("a"), job("b")], clock.now())
        .await
        .unwrap();
    let put_off = || Outcome::Retry {
        reason: "503".into(),
        after: Some(25 * HOUR),
    };
    let mut options = options();
    options.concurrency = 1;
    options.backoff.max_delay = 30 * HOUR;
    let worker = |script| {
        Worker::new(store.clone(), Script(Mutex::new(script)), "w")
            .options(options.clone())
            .clock(Arc::new(clock.clone()))
    };
    let script = vec![put_off(), put_off()];
    worker(script).run_until_idle().await.unwrap();
    clock.advance(26 * HOUR);
    worker(vec![retry()]).run_until_idle().await.unwrap();
    let jobs = store.jobs(&JobFilter::default()).await.unwrap();
    let states: Vec<_> = jobs.iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Dead, JobState::Done], "{jobs:?}");
}

#[tokio::test(start_paused = true)]
async fn only_what_has_ended_its_worker_each_time_of_late_is_given_up_for_it() {
    let store = Arc::new(MemoryStore::new());
    let clock = ManualClock::at(Timestamp::now());
    let now = || clock.now();
    store.push(vec![job("a")], now()).await.unwrap();
    let mut options = options();
    options.backoff.max_attempts = 2;
    // As often as that a restart, or what another job has done, may end a process.
    let die = async |times: usize| {
        for _ in 0..times {
            clock.advance(HOUR);
            assert_eq!(store.lease("w", 1, LEASE, now()).await.unwrap().len(), 1);
            store.release(None, now()).await.unwrap();
        }
        clock.advance(HOUR);
    };
    let worker = |script| {
        Worker::new(store.clone(), Script(Mutex::new(script)), "w")
            .options(options.clone())
            .clock(Arc::new(clock.clone()))
    };
    die(2).await;
    worker(vec![]).run_until_idle().await.unwrap();
    assert_eq!(only(&store).await.state, JobState::Done);

    let store_of_guilty = MemoryStore::new();
    store_of_guilty.push(vec![job("b")], now()).await.unwrap();
    for _ in 0..3 {
        clock.advance(HOUR);
        let leased = store_of_guilty.lease("w", 1, LEASE, now()).await.unwrap();
        assert_eq!(leased.len(), 1);
        store_of_guilty.release(None, now()).await.unwrap();
    }
    clock.advance(HOUR);
    let store = Arc::new(store_of_guilty);
    let worker = Worker::new(store.clone(), Script(Mutex::new(vec![])), "w")
        .options(options.clone())
        .clock(Arc::new(clock.clone()));
    worker.run_until_idle().await.unwrap();
    let dead = only(&store).await;
    assert_eq!(dead.state, JobState::Dead);
    assert!(dead.note.unwrap().contains("may have died of it"));
}

/// A store that is away for a while, or does not answer at all.
#[derive(Debug, Default)]
struct Away {
    store: MemoryStore,
    /// No lease is prolonged between these.
    fails: Option<(Instant, Instant)>,
    no_lease: bool,
    no_settle: bool,
}

#[async_trait]
impl Queue for Away {
    async fn push(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Push>, StoreError> {
        self.store.push(jobs, now).await
    }

    async fn lease(
        &self,
        owner: &str,
        max: usize,
        hold: Duration,
        now: Timestamp,
    ) -> Result<Vec<Leased>, StoreError> {
        if self.no_lease {
            std::future::pending::<()>().await;
        }
        self.store.lease(owner, max, hold, now).await
    }

    async fn extend(&self, lease: &LeaseId, hold: Duration) -> Result<(), StoreError> {
        let now = Instant::now();
        match self.fails {
            Some((from, to)) if from <= now && now < to => {
                Err(StoreError::new(StoreErrorKind::Unavailable, "extend"))
            }
            _ => self.store.extend(lease, hold).await,
        }
    }

    async fn settle(&self, it: &LeaseId, how: Settle, now: Timestamp) -> Result<(), StoreError> {
        if self.no_settle {
            std::future::pending::<()>().await;
        }
        self.store.settle(it, how, now).await
    }

    async fn pauses(&self) -> Result<Pauses, StoreError> {
        Queue::pauses(&self.store).await
    }

    async fn wait(&self) {
        self.store.wait().await;
    }
}

/// Takes so long.
struct Takes(Duration);

#[async_trait]
impl Handler for Takes {
    async fn handle(&self, _: &Leased, _: &Hold) -> Outcome {
        sleep(self.0).await;
        Outcome::Done("done".into())
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_back_before_the_lease_is_over_costs_no_lease() {
    let away = |seconds: u64| Instant::now() + Duration::from_secs(seconds);
    let store = Arc::new(Away {
        fails: Some((away(15), away(43))),
        ..Away::default()
    });
    store.push(vec![job("a")], Timestamp::now()).await.unwrap();
    let worker = Worker::new(store.clone(), Takes(2 * LEASE), "w").options(options());
    worker.run_until_idle().await.unwrap();
    let done = only(&store.store).await;
    assert_eq!((done.state, done.attempts), (JobState::Done, 1), "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn who_is_stopped_gives_everything_back_and_no_attempt_is_counted() {
    let store = Arc::new(Away::default());
    store.push(vec![job("a")], Timestamp::now()).await.unwrap();
    let worker = Worker::new(store.clone(), Takes(HOUR), "w").options(options());
    worker.run(sleep(Duration::from_secs(1))).await;
    let back = only(&store.store).await;
    assert_eq!(
        (back.state, back.attempts),
        (JobState::Ready, 0),
        "{back:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_keeps_nobody_from_stopping() {
    for (no_lease, no_settle) in [(true, false), (false, true)] {
        let store = Away {
            no_lease,
            no_settle,
            ..Away::default()
        };
        let jobs = (0..64).map(|number| job(&number.to_string()));
        store.push(jobs.collect(), Timestamp::now()).await.unwrap();
        let worker = Worker::new(Arc::new(store), Takes(HOUR), "w").options(options());
        let grace = WorkerOptions::default().grace;
        let stopped = worker.run(sleep(Duration::from_secs(1)));
        let within = grace + Duration::from_secs(10);
        assert!(timeout(within, stopped).await.is_ok(), "it does not end");
    }
}

/// Two jobs of different keys have one effect, as an upload and a comment on it have.
#[tokio::test(start_paused = true)]
async fn two_jobs_that_hold_their_leases_write_one_effect_once() {
    let bridge = Bridge::new();
    let posted: Arc<Mutex<Vec<String>>> = Arc::default();
    #[derive(Debug)]
    struct Same(Arc<Mutex<Vec<String>>>);
    #[async_trait]
    impl Action for Same {
        fn name(&self) -> &str {
            "same"
        }
        fn plan(&self, _: &Situation) -> Option<String> {
            Some("post".to_owned())
        }
        async fn apply(&self, _: &Step, work: &Work<'_>) -> Result<String, StepError> {
            let posted = self.0.clone();
            work.once(
                &bridge::EffectKey::new(["same"]),
                async || Ok(posted.lock().unwrap().first().cloned()),
                async || {
                    // Far longer than anything settles.
                    sleep(Duration::from_secs(300)).await;
                    posted.lock().unwrap().push(work.situation.event.clone());
                    Ok(work.situation.event.clone())
                },
            )
            .await
        }
    }
    let actions: Vec<Arc<dyn Action>> = vec![Arc::new(Same(posted.clone()))];
    let rules = vec![Rule::new("same", ["FILE.UPLOADED"], actions).unwrap()];
    let sides = Arc::new(bridge.sides.clone());
    let pipeline = Pipeline::new(sides.clone(), sides, bridge.store.clone(), rules);
    for file in ["7", "8"] {
        let version = bridge.sides.add_version(file, b"bytes");
        bridge.deliver(&format!("e{file}"), file, &version).await;
    }
    // Deferred jobs come back by the time of day.
    let clock = Arc::new(Paused::new());
    let worker = Worker::new(bridge.store.clone(), pipeline.clock(clock.clone()), "w")
        .options(options())
        .clock(clock);
    worker.run(sleep(Duration::from_secs(400))).await;
    assert_eq!(posted.lock().unwrap().len(), 1);
    assert_eq!(bridge.states().await, [JobState::Done; 2]);
}

/// The time of day that goes on with the paused time of the test.
#[derive(Clone, Debug)]
struct Paused(Timestamp, Instant);

impl Paused {
    fn new() -> Self {
        Self(Timestamp::now(), Instant::now())
    }
}

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        self.0 + self.1.elapsed()
    }
}
