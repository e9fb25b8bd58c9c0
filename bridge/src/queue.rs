//! The durable inbox: every accepted event is a [`Job`] here until it is done or dead.

use std::{
    fmt::Debug,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    pauses::Pauses,
    side::Side,
    store_error::{StoreError, StoreErrorKind},
};

/// Hands each job to one worker at a time, at least once, in order per key.
///
/// What every implementation guarantees (`bridge::testing::queue_contract` holds them to it):
///
/// - [`push`](Queue::push) returns only after the jobs would survive `kill -9` and power loss.
/// - A job whose [`dedupe`](NewJob::dedupe) text is known, finished or not, is not stored again.
/// - Of the jobs with one [`key`](NewJob::key) at most one is leased, and the oldest unfinished
///   one first: a job that waits for its retry holds the later ones of its key back. Whether a dead
///   job does is up to the operator ([`AfterDead`]).
/// - A lease that has run out is handed to whoever asks next. The worker that held it can neither
///   extend nor settle any more ([`StoreErrorKind::StaleLease`](crate::StoreErrorKind::StaleLease)).
///   When it runs out is told by a clock of the store's own, one for all who share it, and never by
///   that of whoever asks: a machine whose clock is wrong takes no job from anybody.
/// - Attempts are counted when a job is leased, so a job that kills its process is counted too.
///   The time of the first is kept until a [`Settle::Defer`] has given all of them back, and is put
///   on by the time in which the job could not have been tried: while it was deferred, and from when
///   it was due until somebody took it.
/// - A job whose lease was lost comes back at once the first time in a row, and the later, the more
///   often it was lost. Of those that were lost more than once an owner has one at a time, so that
///   the job that kills its worker is found out and takes no others with it.
#[async_trait]
pub trait Queue: Debug + Send + Sync + 'static {
    /// Stores the jobs, in order, all or none, and tells for each whether it was new.
    async fn push(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Push>, StoreError>;

    /// Leases up to `max` jobs that are due `now` to `owner` for as long as `hold`, oldest due
    /// first.
    async fn lease(
        &self,
        owner: &str,
        max: usize,
        hold: Duration,
        now: Timestamp,
    ) -> Result<Vec<Leased>, StoreError>;

    /// Prolongs a lease that is still held, to last for as long as `hold` from now on.
    async fn extend(&self, lease: &LeaseId, hold: Duration) -> Result<(), StoreError>;

    /// Ends a lease with what became of the job. Once more for the same lease it changes nothing and
    /// succeeds: its answer may have been lost.
    async fn settle(
        &self,
        lease: &LeaseId,
        settle: Settle,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// What an operator has paused. The inbox hands jobs out all the same: it is for workers to
    /// obey.
    async fn pauses(&self) -> Result<Pauses, StoreError>;

    /// Returns when a job may have become due. A hint: it may come without reason, or, for jobs
    /// that another process pushed, not at all, so callers poll as well. A hint that was given
    /// while nobody waited is kept for the next to wait.
    async fn wait(&self);
}

/// What people do with the inbox: look, replay, tidy up.
#[async_trait]
pub trait QueueAdmin: Queue {
    /// Jobs in the order in which they were pushed, starting after `filter.after`.
    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, StoreError>;

    /// One job, or `None` when it is unknown or purged.
    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError>;

    /// Makes dead jobs due again with their attempts back at zero; tells how many there were.
    /// Jobs in any other state are left alone. Of many jobs, as with [`retry`](Self::retry) and
    /// [`discard`](Self::discard), some are done at a time: those before an error stay so, and to
    /// ask for all of them again is harmless.
    async fn replay(&self, ids: &[JobId], now: Timestamp) -> Result<u64, StoreError>;

    /// Makes waiting jobs due at once, whatever they wait for, but not before older ones of their
    /// key; tells how many there were. Attempts stay counted.
    async fn retry(&self, ids: &[JobId], now: Timestamp) -> Result<u64, StoreError>;

    /// Gives dead jobs up: they are done, with a note that says so, and hold nothing back any more;
    /// tells how many there were.
    async fn discard(&self, ids: &[JobId], now: Timestamp) -> Result<u64, StoreError>;

    /// Sets what becomes of the jobs behind a dead one, for every process that works on the store,
    /// and for those that are dead already.
    async fn set_after_dead(&self, after_dead: AfterDead) -> Result<(), StoreError>;

    /// Stops the calls to one side, or everything, until [`resume`](QueueAdmin::resume). Every
    /// worker on the store obeys at its next poll; what is in hand stops before its next call.
    async fn pause(&self, side: Option<Side>) -> Result<(), StoreError>;

    /// Lifts the pause of one side, or that of everything.
    async fn resume(&self, side: Option<Side>) -> Result<(), StoreError>;

    /// Gives back every job that `owner` holds, as if its lease had run out. For a worker that knows
    /// that its former life is over. `None` means every owner.
    async fn release(&self, owner: Option<&str>, now: Timestamp) -> Result<u64, StoreError>;

    /// Forgets done jobs that ended before `before`, and with them their dedupe text; at most
    /// `limit` at a time, those first that ended first. Dead jobs stay until a person deals with them.
    async fn purge(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError>;

    /// How many jobs there are in each state, and since when the oldest unfinished one waits.
    async fn counts(&self) -> Result<Counts, StoreError>;
}

/// What becomes of the jobs behind a dead one of their key. A store that nobody has told skips.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AfterDead {
    /// They go on without it.
    #[default]
    Skip,
    /// They are held until a person replays or discards it.
    Hold,
}

/// A job to store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewJob {
    /// The sender's own name for the event, the same at each redelivery.
    pub dedupe: String,
    /// Jobs with one key are done in the order of their arrival.
    pub key: String,
    /// What the body is, for whoever handles it, such as `box.webhook`.
    pub kind: String,
    /// The event as it was received.
    pub body: Bytes,
}

impl NewJob {
    /// How many bytes each of the texts may have.
    pub const LONGEST_TEXT: usize = 1024;

    /// Whether a store can keep this: databases have limits for what they index, and PostgreSQL has
    /// no room for a NUL. Every store asks before it stores anything of a push.
    pub fn check(&self) -> Result<(), StoreError> {
        let texts = [
            ("dedupe", &self.dedupe),
            ("key", &self.key),
            ("kind", &self.kind),
        ];
        for (name, text) in texts {
            let why = match text {
                text if text.len() > Self::LONGEST_TEXT => "is too long",
                text if text.contains('\0') => "has a NUL in it",
                _ => continue,
            };
            let cause = format!("the job's {name} {why}");
            return Err(StoreError::new(StoreErrorKind::Invalid, "push").with_cause(cause));
        }
        Ok(())
    }

    pub(crate) fn check_all(jobs: &[Self]) -> Result<(), StoreError> {
        jobs.iter().try_for_each(Self::check)
    }
}

/// What became of a pushed job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Push {
    /// Stored under this id.
    Queued(JobId),
    /// Known already under this id; nothing was stored.
    Duplicate(JobId),
}

/// The inbox's number of a job, growing with each push.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct JobId(pub i64);

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One hold on one job. The fence grows with every lease of the job, so an older hold is told
/// from the current one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct LeaseId {
    /// The job held.
    pub job: JobId,
    /// Which hold on it.
    pub fence: i64,
    /// Where it is held.
    pub inbox: InboxId,
}

/// An inbox, as this process has opened it. By it a ledger knows the leases of its own store, of
/// which it can tell whether they hold. The default is nobody's.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct InboxId(u64);

impl InboxId {
    /// One that this process has not given before.
    pub fn unique() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// A job in a worker's hands.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Leased {
    /// What to extend and settle with.
    pub lease: LeaseId,
    /// This attempt's number, from 1.
    pub attempt: u32,
    /// How many of the attempts before this one, in a row, were lost: their worker died, or was away
    /// for longer than its lease.
    pub lost: u32,
    /// When the job was pushed.
    pub pushed_at: Timestamp,
    /// When the first of the attempts that count began, later by all the time in which nobody could
    /// have tried it.
    pub tried_since: Timestamp,
    /// As pushed.
    pub dedupe: String,
    /// As pushed.
    pub key: String,
    /// As pushed.
    pub kind: String,
    /// As pushed.
    pub body: Bytes,
}

impl Leased {
    /// A leased job, for implementations of [`Queue`] outside this crate.
    pub fn new(
        lease: LeaseId,
        attempt: u32,
        pushed_at: Timestamp,
        tried_since: Timestamp,
        job: NewJob,
    ) -> Self {
        let NewJob {
            dedupe,
            key,
            kind,
            body,
        } = job;
        Self {
            lease,
            attempt,
            lost: 0,
            pushed_at,
            tried_since,
            dedupe,
            key,
            kind,
            body,
        }
    }

    /// With so many attempts before it that were lost.
    #[must_use]
    pub fn lost(mut self, lost: u32) -> Self {
        self.lost = lost;
        self
    }
}

/// How a lease ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Settle {
    /// The work is done; `note` says in a line what was done.
    Done {
        /// A line for people.
        note: String,
    },
    /// The attempt failed; try again at `at`.
    Retry {
        /// When the job is due again.
        at: Timestamp,
        /// A line for people: what failed.
        reason: String,
    },
    /// Nothing was tried; the attempt is given back and the job is due again at `at`.
    Defer {
        /// When the job is due again.
        at: Timestamp,
        /// A line for people: what it waits for.
        reason: String,
    },
    /// No attempt will help without a person.
    Dead {
        /// A line for people: what to look at.
        reason: String,
    },
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waits for its turn or its time.
    Ready,
    /// In a worker's hands.
    Leased,
    /// Finished.
    Done,
    /// Waits for a person.
    Dead,
}

/// A job as people see it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// Attempts counted so far.
    pub attempts: u32,
    /// When it was pushed.
    pub pushed_at: Timestamp,
    /// When it is due, while it is [`JobState::Ready`]; when its lease runs out, while it is
    /// [`JobState::Leased`]; when it ended, afterwards.
    pub at: Timestamp,
    /// Who holds it.
    pub owner: Option<String>,
    /// What its last attempt said.
    pub note: Option<String>,
    /// As pushed.
    pub dedupe: String,
    /// As pushed.
    pub key: String,
    /// As pushed.
    pub kind: String,
    /// As pushed; left empty in listings, given by [`QueueAdmin::job`].
    #[serde(skip)]
    pub body: Bytes,
}

impl Job {
    /// When it is tried next, unless it stands behind another of its key; `None` for what is in a
    /// worker's hands, done or dead.
    pub fn next_attempt(&self) -> Option<Timestamp> {
        (self.state == JobState::Ready).then_some(self.at)
    }
}

/// Which jobs to list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JobFilter {
    /// Only those in this state.
    pub state: Option<JobState>,
    /// Only those pushed after this one.
    pub after: Option<JobId>,
    /// At most so many.
    pub limit: usize,
}

impl Default for JobFilter {
    fn default() -> Self {
        Self {
            state: None,
            after: None,
            limit: 100,
        }
    }
}

/// How many jobs are in which state.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Waiting for their turn or their time.
    pub ready: u64,
    /// In a worker's hands.
    pub leased: u64,
    /// Finished and not yet purged.
    pub done: u64,
    /// Waiting for a person.
    pub dead: u64,
    /// When the oldest job that is neither done nor dead was pushed.
    pub oldest: Option<Timestamp>,
}
