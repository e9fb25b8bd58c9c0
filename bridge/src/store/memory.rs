//! A store that forgets everything when the process ends: for tests.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Notify;

use crate::{
    ledger::{Begin, Effect, EffectKey, EffectState, Ledger},
    pauses::Pauses,
    queue::{
        AfterDead, Counts, Job, JobFilter, JobId, JobState, LeaseId, Leased, NewJob, Push, Queue,
        QueueAdmin, Settle,
    },
    side::Side,
    store_error::{StoreError, StoreErrorKind},
};

/// A [`Queue`] and a [`Ledger`] in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    wake: Notify,
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

#[derive(Debug)]
struct Entry {
    begun_at: Timestamp,
    state: EffectState,
}

#[derive(Debug)]
struct Row {
    job: Job,
    fence: i64,
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
}

impl State {
    /// A worker whose lease has run out is not heard any more; the job has been due since.
    fn give_up_expired(&mut self, now: Timestamp) {
        for row in self.jobs.values_mut() {
            if row.job.state == JobState::Leased && row.job.at <= now {
                row.job.state = JobState::Ready;
                row.job.owner = None;
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

    fn held(&mut self, lease: &LeaseId, now: Timestamp) -> Result<&mut Row, StoreError> {
        self.jobs
            .get_mut(&lease.job.0)
            .filter(|row| {
                row.job.state == JobState::Leased && row.fence == lease.fence && row.job.at > now
            })
            .ok_or_else(|| StoreError::new(StoreErrorKind::StaleLease, "settle"))
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
        let mut state = self.state();
        state.give_up_expired(now);
        // Only the oldest unfinished job of a key can be due, and none while another is held.
        let mut held: HashSet<&str> = HashSet::new();
        for row in state
            .jobs
            .values()
            .filter(|row| row.job.state == JobState::Leased)
        {
            held.insert(&row.job.key);
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
            .map(|row| (row.job.at, row.job.id.0))
            .collect();
        due.sort_unstable();
        let until = now.checked_add(hold).unwrap_or(Timestamp::MAX);
        let leased = due.into_iter().take(max).filter_map(|(_, id)| {
            let row = state.jobs.get_mut(&id)?;
            row.fence += 1;
            let tried_since = *row.tried_since.get_or_insert(now);
            let job = &mut row.job;
            job.state = JobState::Leased;
            job.attempts += 1;
            job.at = until;
            job.owner = Some(owner.to_owned());
            let lease = LeaseId {
                job: job.id,
                fence: row.fence,
            };
            let (dedupe, key) = (job.dedupe.clone(), job.key.clone());
            let new = NewJob {
                dedupe,
                key,
                kind: job.kind.clone(),
                body: job.body.clone(),
            };
            let pushed_at = job.pushed_at;
            Some(Leased::new(
                lease,
                until,
                job.attempts,
                pushed_at,
                tried_since,
                new,
            ))
        });
        Ok(leased.collect())
    }

    async fn extend(
        &self,
        lease: &LeaseId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.state().held(lease, now)?.job.at = until;
        Ok(())
    }

    async fn settle(
        &self,
        lease: &LeaseId,
        settle: Settle,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        let row = state.held(lease, now)?;
        let job = &mut row.job;
        job.owner = None;
        let (to, at, note) = match settle {
            Settle::Done { note } => (JobState::Done, now, note),
            Settle::Dead { reason } => (JobState::Dead, now, reason),
            Settle::Retry { at, reason } => (JobState::Ready, at, reason),
            Settle::Defer { at, reason } => {
                job.attempts = job.attempts.saturating_sub(1);
                if job.attempts == 0 {
                    row.tried_since = None;
                }
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
                row.job.pushed_at = now;
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
                row.job.state = JobState::Ready;
                row.job.at = now;
                row.job.owner = None;
                released += 1;
            }
        }
        self.wake.notify_one();
        Ok(released)
    }

    async fn purge(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let mut state = self.state();
        let old: Vec<_> = state
            .jobs
            .values()
            .filter(|row| row.job.state == JobState::Done && row.job.at < before)
            .take(limit)
            .map(|row| (row.job.id.0, row.job.dedupe.clone()))
            .collect();
        for (id, dedupe) in &old {
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

#[async_trait]
impl Ledger for MemoryStore {
    async fn read(&self, key: &EffectKey) -> Result<Option<EffectState>, StoreError> {
        let state = self.state();
        Ok(state.effects.get(key.as_str()).map(|it| it.state.clone()))
    }

    async fn begin(&self, key: &EffectKey, now: Timestamp) -> Result<Begin, StoreError> {
        let mut state = self.state();
        if let Some(entry) = state.effects.get(key.as_str())
            && let EffectState::Finished(result) = &entry.state
        {
            return Ok(Begin::Finished(result.clone()));
        }
        let begun = Entry {
            begun_at: now,
            state: EffectState::Begun(now),
        };
        state.effects.insert(key.as_str().to_owned(), begun);
        Ok(Begin::Begun)
    }

    async fn finish(
        &self,
        key: &EffectKey,
        result: Value,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        let key = key.as_str().to_owned();
        let begun_at = state.effects.get(&key).map_or(now, |it| it.begun_at);
        let state_now = EffectState::Finished(result);
        let finished = Entry {
            begun_at,
            state: state_now,
        };
        state.effects.insert(key, finished);
        Ok(())
    }

    async fn replace(
        &self,
        key: &EffectKey,
        seen: Option<&Value>,
        result: Value,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut state = self.state();
        let there = state.effects.get(key.as_str()).map(|entry| &entry.state);
        let is_so = match (there, seen) {
            (None, None) => true,
            (Some(EffectState::Finished(there)), Some(seen)) => there == seen,
            _ => false,
        };
        if is_so {
            let finished = Entry {
                begun_at: now,
                state: EffectState::Finished(result),
            };
            state.effects.insert(key.as_str().to_owned(), finished);
        }
        Ok(is_so)
    }

    async fn abandon(&self, key: &EffectKey) -> Result<(), StoreError> {
        let mut state = self.state();
        let entry = state.effects.get(key.as_str());
        if entry.is_some_and(|it| matches!(it.state, EffectState::Begun(_))) {
            state.effects.remove(key.as_str());
        }
        Ok(())
    }

    async fn doubt(&self, key: &EffectKey, since: Timestamp) -> Result<(), StoreError> {
        if let Some(entry) = self.state().effects.get_mut(key.as_str())
            && !matches!(entry.state, EffectState::Finished(_))
        {
            entry.state = EffectState::Doubted(since);
        }
        Ok(())
    }

    async fn forget(&self, key: &EffectKey) -> Result<(), StoreError> {
        self.state().effects.remove(key.as_str());
        Ok(())
    }

    async fn purge(&self, kind: &str, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let kind = EffectKey::new([kind]);
        let mut state = self.state();
        let old: Vec<_> = state
            .effects
            .range(kind.as_str().to_owned()..)
            .take_while(|(key, _)| key.starts_with(kind.as_str()))
            .filter(|(_, it)| matches!(it.state, EffectState::Finished(_)) && it.begun_at < before)
            .take(limit)
            .map(|(key, _)| key.clone())
            .collect();
        for key in &old {
            state.effects.remove(key);
        }
        Ok(old.len() as u64)
    }

    async fn under(&self, prefix: &EffectKey) -> Result<Vec<Effect>, StoreError> {
        let state = self.state();
        let under = state
            .effects
            .range(prefix.as_str().to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix.as_str()))
            .map(|(key, entry)| Effect {
                key: EffectKey::from_text(key.clone()),
                state: entry.state.clone(),
            });
        Ok(under.collect())
    }
}
