//! What keeps a program from using up the org's calls, or all of its patience.

mod gate;
mod probe;
mod quota;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, timeout},
};
use tracing::warn;

pub use self::quota::{Quota, QuotaShare, QuotaShareError};
use self::{
    gate::{Gate, Place},
    probe::{Probe, Probes},
    quota::{LONGEST_TRY, Terms, Verdict},
};
use crate::{
    ApiUsage,
    error::{Error, ErrorKind, Result},
};

/// How urgent a call is.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Priority {
    /// Somebody waits for it: it goes before all backfill, and may go on when that has stopped.
    #[default]
    Interactive,
    /// It can wait: catching up, copying, reconciling.
    Backfill,
}

/// Keeps calls of a client and its clones, or of several clients of one org, within bounds. Cheap
/// to clone: clones are the same governor.
///
/// - It keeps a *reserve* of the org's calls of 24 hours for others. What is left it knows from
///   each answer. At the reserve, and when Salesforce says that all calls are used up, calls are
///   refused at once with [`DailyLimit`](ErrorKind::DailyLimit), whose
///   [`retry_after`](Error::retry_after) tells how long; then one call at a time tries whether
///   there is more, and those that come meanwhile wait for what it brings.
/// - It lets only so many calls run at once. Interactive ones come before backfill.
/// - When Salesforce says that too many long calls run at once, it lets new ones wait a little.
///
/// ```no_run
/// # use salesforce_client::{ClientCredentials, Governor, Priority, SalesforceClient};
/// # fn example(tokens: ClientCredentials) -> salesforce_client::Result<()> {
/// let governor = Governor::builder().reserve(0.1).backfill_reserve(0.3).max_concurrent(10).build();
/// let client = SalesforceClient::builder(tokens).governor(&governor).build()?;
/// let catching_up = client.with_priority(Priority::Backfill);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Governor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: GovernorBuilder,
    gate: Gate,
    quota: Mutex<Quota>,
    slow: Mutex<Slow>,
    probes: Probes,
    calls: AtomicU64,
    /// Held across the exchange with other processes on purpose: that makes it the only one.
    synced: AsyncMutex<Option<Instant>>,
}

/// The pause after Salesforce has said that too many long calls run at once.
#[derive(Debug, Default)]
struct Slow {
    until: Option<Instant>,
    in_a_row: u32,
}

/// What a [`Governor`] knows.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GovernorState {
    /// The org's calls of 24 hours, and until when none are made.
    pub quota: Quota,
    /// Calls that run.
    pub running: usize,
    /// Calls that wait for their turn.
    pub waiting: usize,
    /// Calls that were let through since it was made.
    pub calls: u64,
    /// Until when interactive calls are refused for want of calls; `None` where they go.
    pub refused_until: Option<Timestamp>,
}

/// A call's place among those that run, until its answer begins: who reads a body, or does not,
/// keeps nobody waiting. Dropped, it is the next one's.
#[derive(Debug)]
pub(crate) struct Slot {
    governor: Governor,
    _place: Place,
    probe: Option<Probe>,
}

/// A governor that is being set up.
#[must_use]
#[derive(Clone, Debug)]
pub struct GovernorBuilder {
    reserve: f64,
    backfill_reserve: f64,
    max_concurrent: usize,
    pause: Duration,
    sync_every: Duration,
    share: Option<Arc<dyn QuotaShare>>,
}

impl Default for GovernorBuilder {
    fn default() -> Self {
        Self {
            reserve: 0.05,
            backfill_reserve: 0.2,
            // Of 25 long calls that an org may have at once, others have some too.
            max_concurrent: 10,
            pause: Duration::from_secs(15 * 60),
            sync_every: Duration::from_secs(1),
            share: None,
        }
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a call waits for the other processes' word, which need not be exact.
const SHARE_PATIENCE: Duration = Duration::from_secs(1);

impl GovernorBuilder {
    /// Which part of the org's calls of 24 hours is left to others: 0.05 unless set.
    pub fn reserve(mut self, part: f64) -> Self {
        self.reserve = part.clamp(0.0, 1.0);
        self
    }

    /// Which part backfill leaves to others and to interactive calls: 0.2 unless set.
    pub fn backfill_reserve(mut self, part: f64) -> Self {
        self.backfill_reserve = part.clamp(0.0, 1.0);
        self
    }

    /// How many calls run at once: 10 unless set. Salesforce counts those of 20 seconds and more,
    /// and lets an org have 25 of them, a developer's org 5.
    pub fn max_concurrent(mut self, calls: usize) -> Self {
        self.max_concurrent = calls.max(1);
        self
    }

    /// How long to wait before trying whether there are calls again: 15 minutes unless set. The
    /// window of 24 hours moves on all the time, and nobody tells when it gives calls back.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Where several processes tell each other what they know, and how often each of them looks:
    /// every second at most unless set.
    pub fn share(mut self, share: impl QuotaShare) -> Self {
        self.share = Some(Arc::new(share));
        self
    }

    /// How often to look at what other processes know.
    pub fn sync_every(mut self, interval: Duration) -> Self {
        self.sync_every = interval;
        self
    }

    /// The governor.
    pub fn build(self) -> Governor {
        Governor(Arc::new(Inner {
            gate: Gate::new(self.max_concurrent),
            settings: self,
            quota: Mutex::default(),
            slow: Mutex::default(),
            probes: Probes::default(),
            calls: AtomicU64::new(0),
            synced: AsyncMutex::default(),
        }))
    }
}

impl Governor {
    /// A governor to set up.
    pub fn builder() -> GovernorBuilder {
        GovernorBuilder::default()
    }

    /// What it knows now.
    pub fn state(&self) -> GovernorState {
        let (running, waiting) = self.0.gate.counts();
        let quota = self.quota().clone();
        let settings = &self.0.settings;
        GovernorState {
            refused_until: quota.refused_until(settings.reserve, settings.pause, Timestamp::now()),
            quota,
            running,
            waiting,
            calls: self.0.calls.load(Ordering::Relaxed),
        }
    }

    /// Tells it what is used of the org's calls, as [`Limits::api_usage`](crate::Limits::api_usage)
    /// has it. What comes with the answers to its own calls it knows by itself.
    pub fn observe(&self, usage: ApiUsage) {
        let overtaken = u64::try_from(self.0.settings.max_concurrent).unwrap_or(u64::MAX);
        self.quota().tell(usage, overtaken, Timestamp::now());
        self.0.probes.told();
    }

    /// Waits for the call's turn, for `patience` at most.
    pub(crate) async fn admit(
        &self,
        operation: &'static str,
        priority: Priority,
        patience: Duration,
    ) -> Result<Slot> {
        timeout(patience, self.turn(operation, priority))
            .await
            .unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::ConcurrentLimit, operation)
                    .detail("not sent: so many calls ran that its turn did not come in time"))
            })
    }

    async fn turn(&self, operation: &'static str, priority: Priority) -> Result<Slot> {
        self.sync().await;
        loop {
            // Asked for before anything is looked at, so that no end of a try goes unheard.
            let tried = self.0.probes.end();
            let refused = match self.enter(operation, priority).await {
                Ok(slot) => return Ok(slot),
                Err(refused) => refused,
            };
            let Some(tried) = tried.or_else(|| self.0.probes.end()) else {
                return Err(refused);
            };
            if timeout(LONGEST_TRY, tried).await.is_err() {
                return Err(refused);
            }
        }
    }

    async fn enter(&self, operation: &'static str, priority: Priority) -> Result<Slot> {
        // Nobody queues only to be refused.
        self.check(operation, priority, 0, |quota, terms, now| {
            quota.would_admit(terms, now)
        })?;
        let place = self.0.gate.enter(priority).await;
        loop {
            let until = self.slow().until;
            match until.filter(|until| Instant::now() < *until) {
                Some(until) => tokio::time::sleep_until(until).await,
                None => break,
            }
        }
        let mut probe = None;
        self.check(operation, priority, 1, |quota, terms, now| {
            let verdict = quota.admit(terms, now);
            // As long as the quota is locked: whoever is refused because of it sees it.
            probe = (verdict == Verdict::Try).then(|| self.0.probes.begin(now));
            verdict
        })?;
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        Ok(Slot {
            governor: self.clone(),
            _place: place,
            probe,
        })
    }

    /// `own` of the places that are taken are the caller's.
    fn check(
        &self,
        operation: &'static str,
        priority: Priority,
        own: usize,
        ask: impl FnOnce(&mut Quota, Terms, Timestamp) -> Verdict,
    ) -> Result<()> {
        let settings = &self.0.settings;
        let (running, _) = self.0.gate.counts();
        let terms = Terms {
            reserve: match priority {
                Priority::Interactive => settings.reserve,
                Priority::Backfill => settings.backfill_reserve.max(settings.reserve),
            },
            pause: settings.pause,
            running: running.saturating_sub(own),
        };
        let now = Timestamp::now();
        let mut quota = self.quota();
        quota.put_right(now, settings.pause);
        let verdict = ask(&mut quota, terms, now);
        drop(quota);
        match verdict {
            Verdict::Go | Verdict::Try => Ok(()),
            Verdict::Wait(wait) => Err(Error::new(ErrorKind::DailyLimit, operation)
                .wait(Some(wait))
                .detail("not sent: the calls that are left of the day are kept for others")),
        }
    }

    /// Hears what other processes know, and tells them what this one knows.
    async fn sync(&self) {
        let Some(share) = &self.0.settings.share else {
            return;
        };
        // Another call is at it: what it learns comes in time for the next.
        let Ok(mut synced) = self.0.synced.try_lock() else {
            return;
        };
        if synced.is_some_and(|at| at.elapsed() < self.0.settings.sync_every) {
            return;
        }
        *synced = Some(Instant::now());
        let theirs = timeout(SHARE_PATIENCE, share.load()).await;
        match theirs.unwrap_or_else(|late| Err(late.into())) {
            Ok(theirs) => {
                let is_newer = {
                    let (now, pause) = (Timestamp::now(), self.0.settings.pause);
                    let mut ours = self.quota();
                    if !theirs.is_ahead(now, pause) {
                        ours.merge(&theirs);
                    }
                    *ours != theirs
                };
                if is_newer {
                    self.publish().await;
                }
            }
            Err(cause) => warn!(%cause, "what other processes know of the quota is unknown"),
        }
    }

    async fn publish(&self) {
        let Some(share) = &self.0.settings.share else {
            return;
        };
        let quota = self.quota().clone();
        let told = timeout(SHARE_PATIENCE, share.publish(&quota)).await;
        if let Err(cause) = told.unwrap_or_else(|late| Err(late.into())) {
            warn!(%cause, "other processes could not be told of the quota");
        }
    }

    fn quota(&self) -> MutexGuard<'_, Quota> {
        self.0.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slow(&self) -> MutexGuard<'_, Slow> {
        self.0.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// What became of the call, as far as it concerns others. Gives back how long they are refused
    /// now.
    pub(crate) async fn judge(
        mut self,
        outcome: std::result::Result<(), &Error>,
    ) -> Option<Duration> {
        let governor = self.governor.clone();
        match outcome.err().map(Error::kind) {
            Some(ErrorKind::DailyLimit) => {
                let pause = governor.0.settings.pause;
                governor.quota().close(Timestamp::now(), pause);
                drop(self);
                governor.publish().await;
                return Some(pause);
            }
            Some(ErrorKind::ConcurrentLimit) => governor.slow().more(),
            Some(_) => {}
            None => {
                governor.slow().in_a_row = 0;
                if let Some(probe) = self.probe.take() {
                    governor.quota().succeeded(probe.began, Timestamp::now());
                }
            }
        }
        None
    }
}

impl Drop for Slot {
    /// A try that was not answered, or was given up, proves nothing.
    fn drop(&mut self) {
        if let Some(probe) = &self.probe {
            self.governor.quota().untried(probe.began);
        }
    }
}

impl Slow {
    fn more(&mut self) {
        let now = Instant::now();
        // Calls that ran at once and fail together are one piece of news.
        if self.until.is_some_and(|until| now < until) {
            return;
        }
        let ceiling = FIRST_PAUSE * 2_u32.saturating_pow(self.in_a_row.min(10));
        let pause = ceiling.min(LONGEST_PAUSE).mul_f64(fastrand::f64());
        self.in_a_row += 1;
        self.until = Some(now + pause);
    }
}
