//! A store that forgets everything when the process ends: for tests.

mod ledger;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Notify;

use self::ledger::Entry;
use super::leases::{LeaseClock, SUSPECT, pause};
use crate::{
    pauses::Pauses,
    queue::{
        AfterDead, Counts, InboxId, Job, JobFilter, JobId, JobState, LeaseId, Leased, NewJob, Push,
        Queue, QueueAdmin, Settle,
    },
    side::Side,
    store_error::{StoreError, StoreErrorKind},
};

/// A [`Queue`] and a [`Ledger`](crate::Ledger) in memory.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    wake: Notify,
    clock: LeaseClock,
    inbox: InboxId,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            wake: Notify::default(),
            clock: LeaseClock::new(),
            inbox: InboxId::unique(),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    jobs: BTreeMap<i64, Row>,
    dedupe: HashMap<String, i64>,
    effects: BTreeMap<String, Entry>,
    last: i64,
    after_dead: AfterDead,
    pauses: Pauses,
}

/// The `at` of a leased job is by the store's clock.
#[derive(Debug)]
struct Row {
    job: Job,
    fence: i64,
    /// The fence under which it was settled last.
    settled: i64,
    lost: u32,
    tried_since: Option<Timestamp>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn clock(&self) -> Timestamp {
        Timestamp::from_microsecond(self.clock.now()).unwrap_or(Timestamp::MAX)
    }
}

impl Row {
    fn is_held(&self, lease: &LeaseId, clock: Timestamp) -> bool {
        self.job.state == JobState::Leased && self.fence == lease.fence && self.job.at > clock
    }

    fn is_suspect(&self) -> bool {
        self.lost >= SUSPECT
    }

    /// Takes it out of its worker's hands.
    fn lose(&mut self, now: Timestamp) {
        let pause = Duration::from_micros(pause(self.lost).unsigned_abs());
        let at = self.job.at.min(now);
        self.job.at = match pause.is_zero() {
            true => at,
            false => {
                self.tried_since = self.tried_since.map(|since| put_on(since, at, now));
                now.checked_add(pause).unwrap_or(now)
            }
        };
        self.lost += 1;
        self.job.state = JobState::Ready;
        self.job.owner = None;
    }
}

/// Later by the time between these two.
fn put_on(since: Timestamp, from: Timestamp, to: Timestamp) -> Timestamp {
    let passed = Duration::try_from(to.duration_since(from)).unwrap_or_default();
    since.checked_add(passed).unwrap_or(since)
}

impl State {
    fn give_up_expired(&mut self, clock: Timestamp, now: Timestamp) {
        for row in self.jobs.values_mut() {
            if row.job.state == JobState::Leased && row.job.at <= clock {
                row.lose(now);
            }
        }
    }

    /// Changes those of these jobs that are in this state, and tells how many they are.
    fn each(&mut self, ids: &[JobId], state: JobState, change: impl Fn(&mut Row)) -> u64 {
        let mut changed = 0;
        for id in ids.iter().collect::<HashSet<_>>() {
            if let Some(row) = self.jobs.get_mut(&id.0)
                && row.job.state == state
            {
                change(row);
                changed += 1;
            }
        }
        changed
    }

    fn held(&mut self, lease: &LeaseId, clock: Timestamp) -> Result<&mut Row, StoreError> {
        self.jobs
            .get_mut(&lease.job.0)
            .filter(|row| row.is_held(lease, clock))
            .ok_or_else(|| StoreError::new(StoreErrorKind::StaleLease, "settle"))
    }

    fn holds(&self, lease: &LeaseId, clock: Timestamp) -> bool {
        let row = self.jobs.get(&lease.job.0);
        row.is_some_and(|row| row.is_held(lease, clock))
    }
}

#[async_trait]
impl Queue for MemoryStore {
    async fn push(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Push>, StoreError> {
        NewJob::check_all(&jobs)?;
        let mut state = self.state();
        let pushed = jobs
            .into_iter()
            .map(|new| {
                if let Some(id) = state.dedupe.get(&new.dedupe) {
                    return Push::Duplicate(JobId(*id));
                }
                state.last += 1;
                let id = JobId(state.last);
                state.dedupe.insert(new.dedupe.clone(), id.0);
                let NewJob {
                    dedupe,
                    key,
                    kind,
                    body,
                } = new;
                let job = Job {
                    id,
                    state: JobState::Ready,
                    attempts: 0,
                    pushed_at: now,
                    at: now,
                    owner: None,
                    note: None,
                    dedupe,
                    key,
                    kind,
                    body,
                };
                let row = Row {
                    job,
                    fence: 0,
                    settled: 0,
                    lost: 0,
                    tried_since: None,
                };
                state.jobs.insert(id.0, row);
                Push::Queued(id)
            })
            .collect();
        self.wake.notify_one();
        Ok(pushed)
    }

    async fn lease(
        &self,
        owner: &str,
        max: usize,
        hold: Duration,
        now: Timestamp,
    ) -> Result<Vec<Leased>, StoreError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let clock = self.clock();
        let mut state = self.state();
        state.give_up_expired(clock, now);
        // Only the oldest unfinished job of a key can be due, and none while another is held.
        let mut held: HashSet<&str> = HashSet::new();
        let mut has_suspect = false;
        for row in state
            .jobs
            .values()
            .filter(|row| row.job.state == JobState::Leased)
        {
            held.insert(&row.job.key);
            has_suspect |= row.is_suspect() && row.job.owner.as_deref() == Some(owner);
        }
        let holds = |row: &&Row| match row.job.state {
            JobState::Ready => true,
            JobState::Dead => state.after_dead == AfterDead::Hold,
            _ => false,
        };
        let mut due: Vec<_> = state
            .jobs
            .values()
            .filter(holds)
            .filter(|row| held.insert(&row.job.key))
            .filter(|row| row.job.state == JobState::Ready && row.job.at <= now)
            .map(|row| (row.job.at, row.job.id.0, row.is_suspect()))
            .collect();
        due.sort_unstable();
        due.retain(|(_, _, is_suspect)| !is_suspect || !std::mem::replace(&mut has_suspect, true));
        let until = clock.checked_add(hold).unwrap_or(Timestamp::MAX);
        let leased = due.into_iter().take(max).filter_map(|(_, id, _)| {
            let row = state.jobs.get_mut(&id)?;
            row.fence += 1;
            let tried_since = row
                .tried_since
                .map_or(now, |since| put_on(since, row.job.at, now));
            row.tried_since = Some(tried_since);
            let lost = row.lost;
            let job = &mut row.job;
            job.state = JobState::Leased;
            job.attempts += 1;
            job.at = until;
            job.owner = Some(owner.to_owned());
            let lease = LeaseId {
                job: job.id,
                fence: row.fence,
                inbox: self.inbox,
            };
            let (dedupe, key) = (job.dedupe.clone(), job.key.clone());
            let new = NewJob {
                dedupe,
                key,
                kind: job.kind.clone(),
                body: job.body.clone(),
            };
            let pushed_at = job.pushed_at;
            let leased = Leased::new(lease, job.attempts, pushed_at, tried_since, new);
            Some(leased.lost(lost))
        });
        Ok(leased.collect())
    }

    async fn extend(&self, lease: &LeaseId, hold: Duration) -> Result<(), StoreError> {
        let clock = self.clock();
        let until = clock.checked_add(hold).unwrap_or(Timestamp::MAX);
        self.state().held(lease, clock)?.job.at = until;
        Ok(())
    }

    async fn settle(
        &self,
        lease: &LeaseId,
        settle: Settle,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let clock = self.clock();
        let mut state = self.state();
        let row = match state.held(lease, clock) {
            Ok(row) => row,
            Err(stale) => {
                let is_again = |row: &Row| row.fence == lease.fence && row.settled == lease.fence;
                return match state.jobs.get(&lease.job.0) {
                    Some(row) if is_again(row) => Ok(()),
                    _ => Err(stale),
                };
            }
        };
        (row.settled, row.lost) = (row.fence, 0);
        let job = &mut row.job;
        job.owner = None;
        let (to, at, note) = match settle {
            Settle::Done { note } => (JobState::Done, now, note),
            Settle::Dead { reason } => (JobState::Dead, now, reason),
            Settle::Retry { at, reason } => (JobState::Ready, at, reason),
            Settle::Defer { at, reason } => {
                job.attempts = job.attempts.saturating_sub(1);
                row.tried_since = match job.attempts {
                    0 => None,
                    _ => row.tried_since.map(|since| put_on(since, now, at)),
                };
                (JobState::Ready, at, reason)
            }
        };
        (job.state, job.at, job.note) = (to, at, Some(note));
        self.wake.notify_one();
        Ok(())
    }

    async fn pauses(&self) -> Result<Pauses, StoreError> {
        Ok(self.state().pauses)
    }

    async fn wait(&self) {
        self.wake.notified().await;
    }
}

#[async_trait]
impl QueueAdmin for MemoryStore {
    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, StoreError> {
        let after = filter.after.map_or(i64::MIN, |id| id.0);
        let state = self.state();
        let wanted = state
            .jobs
            .values()
            .filter(|row| row.job.id.0 > after)
            .filter(|row| filter.state.is_none_or(|state| row.job.state == state))
            .take(filter.limit);
        Ok(wanted
            .map(|row| Job {
                body: Bytes::new(),
                ..row.job.clone()
            })
            .collect())
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        Ok(self.state().jobs.get(&id.0).map(|row| row.job.clone()))
    }

    async fn replay(&self, ids: &[JobId], now: Timestamp) -> Result<u64, StoreError> {
        let mut state = self.state();
        let mut replayed = 0;
        for id in ids {
            if let Some(row) = state.jobs.get_mut(&id.0)
                && row.job.state == JobState::Dead
            {
                row.job.state = JobState::Ready;
                row.job.attempts = 0;
                row.tried_since = None;
                row.job.at = now;
                replayed += 1;
            }
        }
        self.wake.notify_one();
        Ok(replayed)
    }

    async fn retry(&self, ids: &[JobId], now: Timestamp) -> Result<u64, StoreError> {
        let retried = self.state().each(ids, JobState::Ready, |row| {
            row.job.at = row.job.at.min(now);
            // What was deferred was put on in age until it would be due, which is now.
            row.tried_since = row.tried_since.map(|since| since.min(now));
        });
        self.wake.notify_one();
        Ok(retried)
    }

    async fn discard(&self, ids: &[JobId], now: Timestamp) -> Result<u64, StoreError> {
        let discarded = self.state().each(ids, JobState::Dead, |row| {
            let note = row.job.note.take().unwrap_or_default();
            row.job.note = Some(format!("discarded: {note}"));
            (row.job.state, row.job.at) = (JobState::Done, now);
        });
        self.wake.notify_one();
        Ok(discarded)
    }

    async fn set_after_dead(&self, after_dead: AfterDead) -> Result<(), StoreError> {
        self.state().after_dead = after_dead;
        self.wake.notify_one();
        Ok(())
    }

    async fn pause(&self, side: Option<Side>) -> Result<(), StoreError> {
        let mut state = self.state();
        state.pauses = state.pauses.with(side, true);
        Ok(())
    }

    async fn resume(&self, side: Option<Side>) -> Result<(), StoreError> {
        let mut state = self.state();
        state.pauses = state.pauses.with(side, false);
        self.wake.notify_one();
        Ok(())
    }

    async fn release(&self, owner: Option<&str>, now: Timestamp) -> Result<u64, StoreError> {
        let mut released = 0;
        for row in self.state().jobs.values_mut() {
            let theirs = owner.is_none_or(|owner| row.job.owner.as_deref() == Some(owner));
            if row.job.state == JobState::Leased && theirs {
                row.lose(now);
                released += 1;
            }
        }
        self.wake.notify_one();
        Ok(released)
    }

    async fn purge(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let mut state = self.state();
        let mut old: Vec<_> = state
            .jobs
            .values()
            .filter(|row| row.job.state == JobState::Done && row.job.at < before)
            .map(|row| (row.job.at, row.job.id.0, row.job.dedupe.clone()))
            .collect();
        old.sort_unstable();
        old.truncate(limit);
        for (_, id, dedupe) in &old {
            state.jobs.remove(id);
            state.dedupe.remove(dedupe);
        }
        Ok(old.len() as u64)
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        let mut counts = Counts::default();
        for row in self.state().jobs.values() {
            let unfinished = match row.job.state {
                JobState::Ready => &mut counts.ready,
                JobState::Leased => &mut counts.leased,
                JobState::Done => &mut counts.done,
                JobState::Dead => &mut counts.dead,
            };
            *unfinished += 1;
            if matches!(row.job.state, JobState::Ready | JobState::Leased) {
                let at = row.job.pushed_at;
                counts.oldest = Some(counts.oldest.map_or(at, |oldest| oldest.min(at)));
            }
        }
        Ok(counts)
    }
}
