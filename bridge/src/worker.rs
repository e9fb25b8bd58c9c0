//! Takes jobs from the inbox and sees each to its end.

mod hold;

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{FutureExt, future::join_all};
use jiff::Timestamp;
use tokio::{
    task::{Id, JoinSet},
    time::{Instant, sleep, timeout},
};
use tracing::{Instrument, debug, error, info, info_span, warn};

pub use self::hold::Hold;
use self::hold::{Grant, Moment, later, while_good};
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

/// How long the store has to answer what is asked last when the worker stops.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// A job that was lost so often in a row has ended its worker each time: it had it alone.
const LOST_AT_MOST: u32 = 3;

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

/// Takes jobs and has a [`Handler`] do them, some at a time.
pub struct Worker<H> {
    queue: Arc<dyn Queue>,
    handler: Arc<H>,
    clock: Arc<dyn Clock>,
    time_of_day: Arc<dyn Clock>,
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
            time_of_day: Arc::new(SystemClock),
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

    /// By another time of day, which tells a hold that the machine was suspended: a clock that goes on
    /// while the machine does not. Any other clock may stand still meanwhile.
    #[must_use]
    pub fn time_of_day(mut self, clock: Arc<dyn Clock>) -> Self {
        self.time_of_day = clock;
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
                false => {
                    let mut fill = std::pin::pin!(self.fill(&mut running));
                    tokio::select! {
                        filled = &mut fill => filled,
                        () = &mut stop => {
                            // What was leased and nobody has heard of would lie until its lease ends.
                            let _ = timeout(LAST_WORDS, fill).await;
                            break;
                        }
                    }
                }
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
        let asked_at = Moment::now(&*self.time_of_day);
        let now = self.clock.now();
        running.asked_at = Some(Instant::now());
        let leased = self
            .queue
            .lease(&self.name, room, self.options.lease, now)
            .await?;
        for job in leased {
            if job.lost > 0 {
                observe::takeover();
                warn!(job = %job.lease.job, lost = job.lost, "taken over from a worker that lost it");
            }
            let lease = job.lease;
            let attempt = Attempt {
                queue: Arc::clone(&self.queue),
                handler: Arc::clone(&self.handler),
                clock: Arc::clone(&self.clock),
                time_of_day: Arc::clone(&self.time_of_day),
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
        let now = self.clock.now();
        let give_back = running.leases.into_iter().map(|(_, lease)| async move {
            // To be stopped is not the job's doing.
            let reason = "given back when the worker stopped".to_owned();
            let settle = Settle::Defer { at: now, reason };
            if let Err(error) = self.queue.settle(&lease, settle, now).await {
                debug!(job = %lease.job, %error, "not given back: its lease will run out");
            }
        });
        if timeout(LAST_WORDS, join_all(give_back)).await.is_err() {
            warn!("the store does not answer: some leases are not given back and will run out");
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
    time_of_day: Arc<dyn Clock>,
    options: WorkerOptions,
    closed_doors: ClosedDoors,
    job: Leased,
    asked_at: Moment,
}

impl<H: Handler> Attempt<H> {
    async fn run(self) {
        let Self {
            queue,
            handler,
            clock,
            time_of_day,
            options,
            closed_doors,
            job,
            asked_at,
        } = self;
        let (grant, hold) = Grant::new(job.lease, asked_at, options.lease, time_of_day);
        let outcome = match exhausted(&job, &options.backoff) {
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
                    () = grant.keep(&*queue, &job.lease) => {
                        observe::lease_lost();
                        warn!(job = %job.lease.job, "the lease was lost; another worker has the job");
                        return;
                    }
                }
            }
        };
        // Nothing that this attempt has left behind writes any more.
        drop(grant);
        closed_doors.note(&outcome);
        let now = clock.now();
        let settle = settle(&job, outcome, &options.backoff, now);
        log(job.lease.job, &settle);
        match write(&*queue, &job.lease, settle.clone(), &*clock, options.lease).await {
            Ok(()) => observe::attempt(&settle, job.pushed_at, now),
            Err(error) if error.kind() == StoreErrorKind::StaleLease => {
                observe::lease_lost();
                warn!(job = %job.lease.job, "the lease ran out at the end; the attempt is repeated");
            }
            Err(error) => error!(
                job = %job.lease.job,
                error = in_one_line(&error),
                "the end of the attempt could not be stored; it will be repeated"
            ),
        }
    }
}

/// A job that was leased more often than it may be tried, and whose worker was lost each time of
/// late, has killed them. Its age does not count here: what has not been tried again may succeed.
fn exhausted(job: &Leased, backoff: &Backoff) -> Option<Outcome> {
    let is_guilty = job.attempt > backoff.max_attempts && job.lost >= LOST_AT_MOST;
    is_guilty.then(|| {
        Outcome::Dead(format!(
            "leased {} times, and its worker was lost the last {} times: it may have died of it",
            job.attempt, job.lost
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

fn log(job: JobId, settle: &Settle) {
    match settle {
        Settle::Done { note } => info!(%job, note, "done"),
        Settle::Retry { at, reason } => warn!(%job, %at, reason, "failed, will be tried again"),
        Settle::Defer { at, reason } => info!(%job, %at, reason, "put off"),
        Settle::Dead { reason } => error!(%job, reason, "dead: a person has to look at it"),
    }
}
