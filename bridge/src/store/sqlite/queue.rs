use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};

use super::SqliteStore;
use crate::{
    queue::{
        Counts, Job, JobFilter, JobId, JobState, LeaseId, Leased, NewJob, Push, Queue, QueueAdmin,
        Settle,
    },
    store_error::{StoreError, StoreErrorKind},
};

/// Due, and the oldest unfinished one of its key. The conditions on `state` stand as they do in
/// the partial indexes, or SQLite would read the whole table.
const DUE: &str = "
    SELECT id, attempts, fence, pushed_at, dedupe, key, kind, body FROM job AS due
    WHERE state IN (0, 1) AND at <= ?1
      AND NOT EXISTS (
          SELECT 1 FROM job AS earlier
          WHERE earlier.state IN (0, 1) AND earlier.key = due.key AND earlier.id < due.id)
    ORDER BY at, id LIMIT ?2";

const LISTED: &str = "id, state, attempts, pushed_at, at, owner, note, dedupe, key, kind";

#[async_trait]
impl Queue for SqliteStore {
    async fn push(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Push>, StoreError> {
        let push = move |connection: &Connection| -> rusqlite::Result<Vec<Push>> {
            let mut insert = connection.prepare_cached(
                "INSERT INTO job (state, at, pushed_at, dedupe, key, kind, body)
                 VALUES (0, ?1, ?1, ?2, ?3, ?4, ?5) ON CONFLICT (dedupe) DO NOTHING",
            )?;
            let mut known = connection.prepare_cached("SELECT id FROM job WHERE dedupe = ?1")?;
            jobs.iter()
                .map(|job| {
                    let NewJob {
                        dedupe,
                        key,
                        kind,
                        body,
                    } = job;
                    let at = now.as_microsecond();
                    Ok(
                        match insert.execute(params![at, dedupe, key, kind, &**body])? {
                            0 => {
                                Push::Duplicate(JobId(known.query_row([dedupe], |row| row.get(0))?))
                            }
                            _ => Push::Queued(JobId(connection.last_insert_rowid())),
                        },
                    )
                })
                .collect()
        };
        let pushed = self.write("push", push).await?;
        self.inner.wake.notify_one();
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
        let owner = owner.to_owned();
        let until = now.checked_add(hold).unwrap_or(Timestamp::MAX);
        let limit = i64::try_from(max).unwrap_or(i64::MAX);
        let lease = move |connection: &Connection| -> rusqlite::Result<Vec<Leased>> {
            let mut due = connection.prepare_cached(DUE)?;
            let mut take = connection.prepare_cached(
                "UPDATE job SET state = 1, at = ?2, attempts = ?3, fence = ?4, owner = ?5
                 WHERE id = ?1",
            )?;
            let due: Vec<_> = due
                .query_map(params![now.as_microsecond(), limit], |row| {
                    leased(row, until)
                })?
                .collect::<Result<_, _>>()?;
            for job in &due {
                let LeaseId { job: id, fence } = job.lease;
                take.execute(params![
                    id.0,
                    until.as_microsecond(),
                    job.attempt,
                    fence,
                    owner
                ])?;
            }
            Ok(due)
        };
        self.write("lease", lease).await
    }

    async fn extend(
        &self,
        lease: &LeaseId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let LeaseId { job, fence } = *lease;
        let extend =
            move |connection: &Connection| {
                connection
                .prepare_cached(
                    "UPDATE job SET at = ?4 WHERE id = ?1 AND state = 1 AND fence = ?2 AND at > ?3",
                )?
                .execute(params![job.0, fence, now.as_microsecond(), until.as_microsecond()])
            };
        still_held("extend", self.write("extend", extend).await?)
    }

    async fn settle(
        &self,
        lease: &LeaseId,
        settle: Settle,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let LeaseId { job, fence } = *lease;
        let (state, at, back, note) = match settle {
            Settle::Done { note } => (JobState::Done, now, 0, note),
            Settle::Dead { reason } => (JobState::Dead, now, 0, reason),
            Settle::Retry { at, reason } => (JobState::Ready, at, 0, reason),
            Settle::Defer { at, reason } => (JobState::Ready, at, 1, reason),
        };
        let settle = move |connection: &Connection| {
            connection
                .prepare_cached(
                    "UPDATE job SET state = ?4, at = ?5, attempts = max(attempts - ?6, 0),
                                    note = ?7, owner = NULL
                     WHERE id = ?1 AND state = 1 AND fence = ?2 AND at > ?3",
                )?
                .execute(params![
                    job.0,
                    fence,
                    now.as_microsecond(),
                    number(state),
                    at.as_microsecond(),
                    back,
                    note
                ])
        };
        let changed = self.write("settle", settle).await?;
        // The next job of the same key may be due now.
        self.inner.wake.notify_one();
        still_held("settle", changed)
    }

    async fn wait(&self) {
        self.inner.wake.notified().await;
    }
}

#[async_trait]
impl QueueAdmin for SqliteStore {
    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, StoreError> {
        let after = filter.after.map_or(i64::MIN, |id| id.0);
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
        // The state is written out so that the partial index on dead jobs is used.
        let only = match filter.state {
            Some(state) => format!("state = {} AND", number(state)),
            None => String::new(),
        };
        let sql = format!("SELECT {LISTED} FROM job WHERE {only} id > ?1 ORDER BY id LIMIT ?2");
        let list = move |connection: &Connection| {
            connection
                .prepare_cached(&sql)?
                .query_map([after, limit], |row| job(row, Bytes::new()))?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        self.read("list", list).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        let show = move |connection: &Connection| {
            connection
                .prepare_cached(&format!("SELECT {LISTED}, body FROM job WHERE id = ?1"))?
                .query_row([id.0], |row| job(row, row.get::<_, Vec<u8>>(10)?.into()))
                .optional()
        };
        self.read("show", show).await
    }

    async fn replay(&self, ids: &[JobId], now: Timestamp) -> Result<u64, StoreError> {
        let ids = ids.to_vec();
        let replay = move |connection: &Connection| -> rusqlite::Result<u64> {
            let mut replay = connection.prepare_cached(
                "UPDATE job SET state = 0, at = ?2, pushed_at = ?2, attempts = 0
                 WHERE id = ?1 AND state = 3",
            )?;
            let mut replayed = 0;
            for id in &ids {
                replayed += replay.execute(params![id.0, now.as_microsecond()])? as u64;
            }
            Ok(replayed)
        };
        let replayed = self.write("replay", replay).await?;
        self.inner.wake.notify_one();
        Ok(replayed)
    }

    async fn release(&self, owner: Option<&str>, now: Timestamp) -> Result<u64, StoreError> {
        let owner = owner.map(str::to_owned);
        let release = move |connection: &Connection| {
            connection
                .prepare_cached(
                    "UPDATE job SET state = 0, at = ?1, owner = NULL
                     WHERE state IN (0, 1) AND state = 1 AND (?2 IS NULL OR owner = ?2)",
                )?
                .execute(params![now.as_microsecond(), owner])
        };
        let released = self.write("release", release).await?;
        self.inner.wake.notify_one();
        Ok(released as u64)
    }

    async fn purge(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let purge = move |connection: &Connection| {
            connection
                .prepare_cached(
                    "DELETE FROM job WHERE id IN (
                         SELECT id FROM job WHERE state = 2 AND at < ?1 ORDER BY at LIMIT ?2)",
                )?
                .execute(params![before.as_microsecond(), limit])
        };
        Ok(self.write("purge", purge).await? as u64)
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        let counts = |connection: &Connection| -> rusqlite::Result<Counts> {
            let count = |state: JobState| -> rusqlite::Result<u64> {
                let sql = format!("SELECT count(*) FROM job WHERE state = {}", number(state));
                let count: i64 = connection
                    .prepare_cached(&sql)?
                    .query_row([], |row| row.get(0))?;
                Ok(count.unsigned_abs())
            };
            let oldest = connection
                .prepare_cached("SELECT min(pushed_at) FROM job WHERE state IN (0, 1)")?
                .query_row([], |row| row.get::<_, Option<i64>>(0))?;
            Ok(Counts {
                ready: count(JobState::Ready)?,
                leased: count(JobState::Leased)?,
                done: count(JobState::Done)?,
                dead: count(JobState::Dead)?,
                oldest: oldest.map(timestamp).transpose()?,
            })
        };
        self.read("count", counts).await
    }
}

fn still_held(doing: &'static str, changed: usize) -> Result<(), StoreError> {
    match changed {
        0 => Err(StoreError::new(StoreErrorKind::StaleLease, doing)),
        _ => Ok(()),
    }
}

fn leased(row: &Row<'_>, until: Timestamp) -> rusqlite::Result<Leased> {
    let lease = LeaseId {
        job: JobId(row.get(0)?),
        fence: row.get::<_, i64>(2)? + 1,
    };
    let new = NewJob {
        dedupe: row.get(4)?,
        key: row.get(5)?,
        kind: row.get(6)?,
        body: row.get::<_, Vec<u8>>(7)?.into(),
    };
    let attempt = row.get::<_, u32>(1)?.saturating_add(1);
    Ok(Leased::new(
        lease,
        until,
        attempt,
        timestamp(row.get(3)?)?,
        new,
    ))
}

fn job(row: &Row<'_>, body: Bytes) -> rusqlite::Result<Job> {
    Ok(Job {
        id: JobId(row.get(0)?),
        state: match row.get::<_, i64>(1)? {
            0 => JobState::Ready,
            1 => JobState::Leased,
            2 => JobState::Done,
            _ => JobState::Dead,
        },
        attempts: row.get(2)?,
        pushed_at: timestamp(row.get(3)?)?,
        at: timestamp(row.get(4)?)?,
        owner: row.get(5)?,
        note: row.get(6)?,
        dedupe: row.get(7)?,
        key: row.get(8)?,
        kind: row.get(9)?,
        body,
    })
}

fn number(state: JobState) -> i64 {
    match state {
        JobState::Ready => 0,
        JobState::Leased => 1,
        JobState::Done => 2,
        JobState::Dead => 3,
    }
}

pub(super) fn timestamp(microseconds: i64) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(microseconds).map_err(|cause| {
        rusqlite::Error::FromSqlConversionFailure(0, Type::Integer, Box::new(cause))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_claim_reads_by_index_and_never_the_whole_table() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("store.db")).unwrap();
        let explain = |connection: &Connection| {
            connection
                .prepare(&format!("EXPLAIN QUERY PLAN {DUE}"))?
                .query_map([0, 10], |row| row.get::<_, String>(3))?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        let plan = store.read("explain", explain).await.unwrap().join("; ");
        assert!(plan.contains("INDEX job_due"), "{plan}");
        assert!(plan.contains("INDEX job_order"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}
