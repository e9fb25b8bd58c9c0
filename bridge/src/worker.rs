//! Takes jobs from the inbox and sees each to its end.

use std::{
    fmt,
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::{
    sync::watch,
    task::{Id, JoinSet},
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tracing::{Instrument, debug, error, info, info_span, warn};

use crate::{
    backoff::Backoff,
    clock::{Clock, SystemClock},
    observe,
    pauses::Pauses,
    port_error::in_one_line,
    queue::{JobId, LeaseId, Leased, Queue, Settle},
    quota_class::QuotaClass,
    store_error::{StoreError, StoreErrorKind},
};

/// Does the work of one job.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Does the job, or continues it: the same job can come again after a crash.
    async fn handle(&self, job: &Leased, hold: &Hold) -> Outcome;

    /// Takes notice of what an operator has paused. The worker tells it at every poll; what takes
    /// jobs from the inbox is the worker's own to stop.
    fn obey(&self, pauses: Pauses) {
        let _ = pauses;
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The job is done; the note says in a line what was done.
    Done(String),
    /// The attempt failed and may succeed later.
    Retry {
        /// What failed, in a line.
        reason: String,
        /// How long the far side asked to wait.
        after: Option<Duration>,
    },
    /// A far side lets nobody in for now: the attempt does not count. As long as all jobs end so,
    /// the worker takes no more of them than one batch at each poll.
    Outage {
        /// What is the matter, in a line.
        reason: String,
        /// When to try again.
        until: Timestamp,
    },
    /// Nothing was tried, and the attempt does not count.
    Defer {
        /// What it waits for, in a line.
        reason: String,
        /// When to try.
        until: Timestamp,
    },
    /// Only a person can help.
    Dead(String),
}

/// A worker's hold on its job. Ask it before each write: a worker that was stopped for longer
/// than its lease must not go on where another has taken over.
#[derive(Clone, Debug)]
pub struct Hold {
    good_until: watch::Receiver<Instant>,
}

impl Hold {
    /// Whether the job is still this worker's, and for long enough to send a write.
    pub fn is_good(&self) -> bool {
        Instant::now() < *self.good_until.borrow()
    }

    /// A hold that never ends, for handlers that run without a worker.
    pub fn forever() -> Self {
        Self::until(Instant::now() + Duration::from_secs(30 * 365 * 24 * 3600))
    }

    pub(crate) fn until(end: Instant) -> Self {
        Self {
            good_until: watch::channel(end).1,
        }
    }
}

/// Takes jobs and has a [`Handler`] do them, some at a time.
pub struct Worker<H> {
    queue: Arc<dyn Queue>,
    handler: Arc<H>,
    clock: Arc<dyn Clock>,
    name: String,
    options: WorkerOptions,
    closed_doors: ClosedDoors,
}

/// How many jobs in a row have met a far side that lets nobody in. Those that need no such side
/// shall find their way through the inbox, but not at the price of turning all others over and over.
#[derive(Clone, Debug, Default)]
struct ClosedDoors(Arc<AtomicUsize>);

impl ClosedDoors {
    fn note(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Outage { .. } => self.0.fetch_add(1, Ordering::Relaxed),
            _ => self.0.swap(0, Ordering::Relaxed),
        };
    }

    fn are(&self, number: usize) -> bool {
        self.0.load(Ordering::Relaxed) >= number
    }
}

/// How a [`Worker`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// Jobs at a time.
    pub concurrency: usize,
    /// How long a lease holds without being prolonged; it is prolonged at every third of it.
    pub lease: Duration,
    /// How often the inbox is asked without a hint.
    pub poll: Duration,
    /// How long jobs may take to end once the worker is told to stop.
    pub grace: Duration,
    /// When failed jobs are due again.
    pub backoff: Backoff,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            concurrency: 64,
            lease: Duration::from_secs(60),
            poll: Duration::from_millis(500),
            grace: Duration::from_secs(30),
            backoff: Backoff::default(),
        }
    }
}

impl<H> fmt::Debug for Worker<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("name", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<H: Handler> Worker<H> {
    /// A worker that is known to the inbox as `name`.
    pub fn new(queue: Arc<dyn Queue>, handler: H, name: impl Into<String>) -> Self {
        Self {
            queue,
            handler: Arc::new(handler),
            clock: Arc::new(SystemClock),
            name: name.into(),
            options: WorkerOptions::default(),
            closed_doors: ClosedDoors::default(),
        }
    }

    /// With other options.
    #[must_use]
    pub fn options(mut self, options: WorkerOptions) -> Self {
        self.options = options;
        self
    }

    /// By another clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Works until `stop`, then lets the jobs in hand end within the grace, and gives back those
    /// that do not.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut running = Running::default();
        loop {
            let filled = match self.is_early(&running) {
                true => false,
                false => self.fill(&mut running).await,
            };
            let room = running.jobs.len() < self.options.concurrency.max(1);
            tokio::select! {
                () = &mut stop => break,
                Some(ended) = running.jobs.join_next_with_id() => running.ended(ended),
                // With room left the inbox had nothing more: wait for a hint.
                () = self.queue.wait(), if room && filled => {}
                () = sleep(self.options.poll) => {}
            }
        }
        info!(
            jobs = running.jobs.len(),
            "stopping: the jobs in hand are finished first"
        );
        self.drain(running).await;
    }

    /// Works until nothing is due and nothing is in hand: for tests and for one-off runs.
    pub async fn run_until_idle(&self) -> Result<(), StoreError> {
        let mut running = Running::default();
        loop {
            self.lease(&mut running).await?;
            match running.jobs.join_next_with_id().await {
                Some(ended) => running.ended(ended),
                None => return Ok(()),
            }
        }
    }

    /// Takes as many jobs as there is room for. A store that fails is asked again at the next
    /// poll; `false` says so.
    async fn fill(&self, running: &mut Running) -> bool {
        match self.lease(running).await {
            Ok(()) => true,
            Err(error) => {
                error!(error = in_one_line(&error), "the inbox gives no jobs");
                false
            }
        }
    }

    /// Whether everything that was taken of late has met closed doors, and the next poll is not yet.
    fn is_early(&self, running: &Running) -> bool {
        self.closed_doors.are(self.options.concurrency.max(1))
            && (running.asked_at).is_some_and(|asked_at| asked_at.elapsed() < self.options.poll)
    }

    /// What is paused, asked for no more often than the inbox is polled.
    async fn pauses(&self, running: &mut Running) -> Result<Pauses, StoreError> {
        if let Some((asked_at, pauses)) = running.pauses
            && asked_at.elapsed() < self.options.poll
        {
            return Ok(pauses);
        }
        let pauses = self.queue.pauses().await?;
        self.handler.obey(pauses);
        running.pauses = Some((Instant::now(), pauses));
        Ok(pauses)
    }

    async fn lease(&self, running: &mut Running) -> Result<(), StoreError> {
        let room = self
            .options
            .concurrency
            .max(1)
            .saturating_sub(running.jobs.len());
        // Also where there is no room: what is in hand has to hear of a pause.
        let is_paused = self.pauses(running).await?.all;
        if room == 0 || is_paused {
            return Ok(());
        }
        let asked_at = Instant::now();
        let now = self.clock.now();
        running.asked_at = Some(asked_at);
        let leased = self
            .queue
            .lease(&self.name, room, self.options.lease, now)
            .await?;
        for job in leased {
            let lease = job.lease;
            let attempt = Attempt {
                queue: Arc::clone(&self.queue),
                handler: Arc::clone(&self.handler),
                clock: Arc::clone(&self.clock),
                options: self.options.clone(),
                closed_doors: self.closed_doors.clone(),
                job,
                asked_at,
            };
            let span = info_span!("job", id = %lease.job, event = attempt.job.dedupe);
            let id = running.jobs.spawn(attempt.run().instrument(span)).id();
            running.leases.push((id, lease));
        }
        Ok(())
    }

    async fn drain(&self, mut running: Running) {
        let all_ended = async {
            while let Some(ended) = running.jobs.join_next_with_id().await {
                running.ended(ended);
            }
        };
        if timeout(self.options.grace, all_ended).await.is_ok() {
            return;
        }
        running.jobs.shutdown().await;
        for (_, lease) in running.leases {
            let reason = "given back when the worker stopped".to_owned();
            let now = self.clock.now();
            let settle = Settle::Retry { at: now, reason };
            if let Err(error) = self.queue.settle(&lease, settle, now).await {
                debug!(job = %lease.job, %error, "not given back: its lease will run out");
            }
        }
    }
}

#[derive(Default)]
struct Running {
    jobs: JoinSet<()>,
    leases: Vec<(Id, LeaseId)>,
    asked_at: Option<Instant>,
    pauses: Option<(Instant, Pauses)>,
}

impl Running {
    fn ended(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(died) => died.id(),
        };
        self.leases.retain(|(running, _)| *running != id);
    }
}

/// One attempt at one job.
struct Attempt<H> {
    queue: Arc<dyn Queue>,
    handler: Arc<H>,
    clock: Arc<dyn Clock>,
    options: WorkerOptions,
    closed_doors: ClosedDoors,
    job: Leased,
    asked_at: Instant,
}

impl<H: Handler> Attempt<H> {
    async fn run(self) {
        let Self {
            queue,
            handler,
            clock,
            options,
            closed_doors,
            job,
            asked_at,
        } = self;
        let (good_until, hold) = watch::channel(good_until(asked_at, options.lease));
        let hold = Hold { good_until: hold };
        let outcome = match exhausted(&job, &options.backoff, clock.now()) {
            Some(outcome) => outcome,
            None => {
                // A panic in a handler is the handler's failure, and one attempt of one job.
                let class = QuotaClass::of_kind(&job.kind);
                let work = class.scope(handler.handle(&job, &hold));
                let work = std::panic::AssertUnwindSafe(work).catch_unwind();
                tokio::select! {
                    outcome = while_good(&hold, work) => match outcome {
                        Some(Ok(outcome)) => outcome,
                        Some(Err(_)) => Outcome::Retry {
                            reason: "the handler panicked; its message is in the program's log"
                                .into(),
                            after: None,
                        },
                        None => Outcome::Retry {
                            reason: "the worker was held up until its lease ran out".into(),
                            after: None,
                        },
                    },
                    () = keep(&*queue, &*clock, &job.lease, asked_at, options.lease, &good_until) => {
                        observe::lease_lost();
                        warn!(job = %job.lease.job, "the lease was lost; another worker has the job");
                        return;
                    }
                }
            }
        };
        closed_doors.note(&outcome);
        let now = clock.now();
        let settle = settle(&job, outcome, &options.backoff, now);
        log(job.lease.job, &settle);
        match write(&*queue, &job.lease, settle.clone(), &*clock, options.lease).await {
            Ok(()) => observe::attempt(&settle, job.pushed_at, now),
            Err(error) => error!(
                job = %job.lease.job,
                error = in_one_line(&error),
                "the end of the attempt could not be stored; it will be repeated"
            ),
        }
    }
}

/// Goes on with the work as long as the hold is good, and is over without a result where it is
/// not. A process that was stopped in the middle of a step must not take the next one when it wakes
/// up: nothing but the clock tells it how long it was away.
async fn while_good<T>(hold: &Hold, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    poll_fn(|context| match hold.is_good() {
        true => work.as_mut().poll(context).map(Some),
        false => Poll::Ready(None),
    })
    .await
}

/// A job that was leased more often than it may be tried has killed its worker each time.
fn exhausted(job: &Leased, backoff: &Backoff, now: Timestamp) -> Option<Outcome> {
    if job.attempt > backoff.max_attempts {
        return Some(Outcome::Dead(format!(
            "tried {} times without an end: the worker may have died of it",
            backoff.max_attempts
        )));
    }
    backoff.is_too_old(job.tried_since, now).then(|| {
        Outcome::Dead(format!(
            "tried in vain for {} hours",
            backoff.max_age.as_secs() / 3600
        ))
    })
}

fn settle(job: &Leased, outcome: Outcome, backoff: &Backoff, now: Timestamp) -> Settle {
    match outcome {
        Outcome::Done(note) => Settle::Done { note },
        Outcome::Dead(reason) => Settle::Dead { reason },
        Outcome::Defer { reason, until } | Outcome::Outage { reason, until } => Settle::Defer {
            at: until.min(backoff.latest(now)),
            reason,
        },
        Outcome::Retry { reason, after } => {
            match backoff.next(job.attempt, after, job.tried_since, now) {
                Some(at) => Settle::Retry { at, reason },
                None => Settle::Dead {
                    reason: format!("gave up after {} attempts: {reason}", job.attempt),
                },
            }
        }
    }
}

/// A store that fails for a moment must not cost the attempt: its end is written as long as the
/// lease holds.
async fn write(
    queue: &dyn Queue,
    lease: &LeaseId,
    settle: Settle,
    clock: &dyn Clock,
    hold: Duration,
) -> Result<(), StoreError> {
    let give_up = later(Instant::now(), hold);
    let mut wait = Duration::from_millis(50);
    loop {
        match queue.settle(lease, settle.clone(), clock.now()).await {
            Err(error)
                if error.kind() != StoreErrorKind::StaleLease
                    && Instant::now() + wait < give_up =>
            {
                sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(5));
            }
            result => return result,
        }
    }
}

/// Prolongs the lease until it is lost. Failures of the store are waited out while it holds.
async fn keep(
    queue: &dyn Queue,
    clock: &dyn Clock,
    lease: &LeaseId,
    leased_at: Instant,
    hold: Duration,
    good: &watch::Sender<Instant>,
) {
    // Not zero, whatever the lease: the clock must come to its turn.
    let pause = (hold / 3).max(Duration::from_millis(1));
    let mut held_until = later(leased_at, hold);
    loop {
        let asked_at = Instant::now() + pause;
        let prolong = async {
            sleep_until(asked_at).await;
            let now = clock.now();
            let until = now.checked_add(hold).unwrap_or(Timestamp::MAX);
            queue.extend(lease, until, now).await
        };
        match timeout_at(held_until, prolong).await {
            Ok(Ok(())) => {
                held_until = later(asked_at, hold);
                good.send_replace(good_until(asked_at, hold));
            }
            Ok(Err(error)) if error.kind() == StoreErrorKind::StaleLease => return,
            Ok(Err(error)) => warn!(%error, "the lease could not be prolonged"),
            Err(_) => return,
        }
    }
}

/// A write needs time to arrive: the last fifth of a lease starts none.
fn good_until(asked_at: Instant, hold: Duration) -> Instant {
    later(asked_at, hold / 5 * 4)
}

/// As late as can be said, where a setting is absurdly long.
fn later(since: Instant, by: Duration) -> Instant {
    let far = Duration::from_secs(30 * 365 * 24 * 3600);
    since.checked_add(by).unwrap_or_else(|| since + far)
}

fn log(job: JobId, settle: &Settle) {
    match settle {
        Settle::Done { note } => info!(%job, note, "done"),
        Settle::Retry { at, reason } => warn!(%job, %at, reason, "failed, will be tried again"),
        Settle::Defer { at, reason } => info!(%job, %at, reason, "put off"),
        Settle::Dead { reason } => error!(%job, reason, "dead: a person has to look at it"),
    }
}
