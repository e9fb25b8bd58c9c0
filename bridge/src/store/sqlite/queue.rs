//! The inbox as producers and workers see it.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Rows, params, types::Type};

use super::{
    super::leases::{micros, pause},
    SqliteStore,
};
use crate::{
    pauses::Pauses,
    queue::{InboxId, JobId, LeaseId, Leased, NewJob, Push, Queue, Settle},
    side::Side,
    store_error::{StoreError, StoreErrorKind},
};

const PUSH: &str = "
    INSERT INTO job (state, at, pushed_at, dedupe, key, kind, body)
    VALUES (NOT EXISTS (SELECT 1 FROM job WHERE state IN (1, 2) AND key = ?3)
            AND NOT EXISTS (SELECT 1 FROM job WHERE state = 4 AND key = ?3
                            AND (SELECT value FROM setting WHERE name = 'after_dead') = 'hold'),
            ?1, ?1, ?2, ?3, ?4, ?5)";

const KNOWN: &str = "SELECT id FROM job WHERE dedupe = ?1";

const EXPIRED: &str = "SELECT id, at, key, lost FROM job WHERE state = 2 AND at <= ?1";

/// Of those that were lost more than once the first, unless this owner has such a one.
const SUSPECT: &str = "
    SELECT id FROM job WHERE state = 1 AND lost > 1 AND at <= ?1
    AND NOT EXISTS (SELECT 1 FROM job held WHERE held.state = 2 AND held.lost > 1 AND held.owner = ?2)
    ORDER BY at, id LIMIT 1";

const DUE: &str = "
    SELECT id, attempts, fence, pushed_at, dedupe, key, kind, body,
           coalesce(tried_at + max(?1 - at, 0), ?1), lost
    FROM job
    WHERE state = 1 AND at <= ?1 AND (lost < 2 OR id = ?3) ORDER BY at, id LIMIT ?2";

const TAKE: &str = "
    UPDATE job SET state = 2, at = ?2, attempts = ?3, fence = ?4, owner = ?5, tried_at = ?6
    WHERE id = ?1";

const EXTEND: &str = "
    UPDATE job SET at = ?4 WHERE id = ?1 AND state = 2 AND fence = ?2 AND at > ?3";

/// What is deferred until later does not age meanwhile.
const SETTLE: &str = "
    UPDATE job SET state = ?4, at = ?5, attempts = max(attempts - ?6, 0), note = ?7, owner = NULL,
        settled = fence, lost = 0,
        tried_at = iif(attempts > ?6, tried_at + iif(?6 > 0, max(?5 - ?8, 0), 0), NULL)
    WHERE id = ?1 AND state = 2 AND fence = ?2 AND at > ?3 RETURNING key";

const SETTLED: &str = "SELECT 1 FROM job WHERE id = ?1 AND fence = ?2 AND settled = ?2";

const HOLDS: &str = "SELECT 1 FROM job WHERE id = ?1 AND state = 2 AND fence = ?2 AND at > ?3";

const GIVE_BACK: &str = "
    UPDATE job SET state = 0, at = ?2, owner = NULL, lost = lost + 1, tried_at = tried_at + ?3
    WHERE id = ?1";

const GIVE_TURN: &str = "
    UPDATE job SET state = 1
    WHERE id = (SELECT id FROM job WHERE state = 0 AND key = ?1 ORDER BY id LIMIT 1)
      AND NOT EXISTS (SELECT 1 FROM job WHERE state IN (1, 2) AND key = ?1)
      AND NOT EXISTS (SELECT 1 FROM job dead WHERE dead.state = 4 AND dead.key = ?1
                      AND dead.id < job.id
                      AND (SELECT value FROM setting WHERE name = 'after_dead') = 'hold')";

const PAUSES: &str =
    "SELECT name FROM setting WHERE name IN ('pause', 'pause content', 'pause crm')";

#[async_trait]
impl Queue for SqliteStore {
    async fn push(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Push>, StoreError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        NewJob::check_all(&jobs)?;
        let push = move |connection: &Connection| push(connection, &jobs, now);
        let pushed = self.write("push", push).await?;
        if pushed
            .iter()
            .any(|pushed| matches!(pushed, Push::Queued(_)))
        {
            self.inner.wake.notify_one();
        }
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
        let (clock, inbox) = (self.inner.clock.now(), self.inner.inbox);
        let lease = move |connection: &Connection| {
            lease(connection, &owner, max, micros(hold), now, clock, inbox)
        };
        let leased = self.write("lease", lease).await?;
        if leased.len() == max {
            // There may be more, for another worker of this process.
            self.inner.wake.notify_one();
        }
        Ok(leased)
    }

    async fn extend(&self, lease: &LeaseId, hold: Duration) -> Result<(), StoreError> {
        let LeaseId { job, fence, .. } = *lease;
        let clock = self.inner.clock.now();
        let until = clock.saturating_add(micros(hold));
        let extend = move |connection: &Connection| {
            connection
                .prepare_cached(EXTEND)?
                .execute(params![job.0, fence, clock, until])
        };
        match self.write("extend", extend).await? {
            0 => Err(StoreError::new(StoreErrorKind::StaleLease, "extend")),
            _ => Ok(()),
        }
    }

    async fn settle(
        &self,
        lease: &LeaseId,
        settle: Settle,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (lease, clock) = (*lease, self.inner.clock.now());
        let end = move |connection: &Connection| end(connection, lease, &settle, now, clock);
        match self.write("settle", end).await? {
            Ended::Stale => Err(StoreError::new(StoreErrorKind::StaleLease, "settle")),
            Ended::Last => Ok(()),
            Ended::WithNext => {
                self.inner.wake.notify_one();
                Ok(())
            }
        }
    }

    async fn pauses(&self) -> Result<Pauses, StoreError> {
        let pauses = |connection: &Connection| {
            let mut pauses = Pauses::default();
            let mut names = connection.prepare_cached(PAUSES)?;
            let mut names = names.query([])?;
            while let Some(row) = names.next()? {
                let name: String = row.get(0)?;
                pauses.all |= name == pause_name(None);
                pauses.content |= name == pause_name(Some(Side::Content));
                pauses.crm |= name == pause_name(Some(Side::Crm));
            }
            Ok(pauses)
        };
        self.read("ask what is paused", pauses).await
    }

    async fn wait(&self) {
        self.inner.wake.notified().await;
    }
}

fn push(connection: &Connection, jobs: &[NewJob], now: Timestamp) -> rusqlite::Result<Vec<Push>> {
    let mut known = connection.prepare_cached(KNOWN)?;
    let mut insert = connection.prepare_cached(PUSH)?;
    let now = now.as_microsecond();
    jobs.iter()
        .map(
            |NewJob {
                 dedupe,
                 key,
                 kind,
                 body,
             }| {
                // Looks first: a redelivery then changes nothing, and so waits for no disk.
                if let Some(id) = known.query_row([dedupe], |row| row.get(0)).optional()? {
                    return Ok(Push::Duplicate(JobId(id)));
                }
                insert.execute(params![now, dedupe, key, kind, &**body])?;
                Ok(Push::Queued(JobId(connection.last_insert_rowid())))
            },
        )
        .collect()
}

fn lease(
    connection: &Connection,
    owner: &str,
    max: usize,
    hold: i64,
    now: Timestamp,
    clock: i64,
    inbox: InboxId,
) -> rusqlite::Result<Vec<Leased>> {
    let now = now.as_microsecond();
    // Its worker may have died.
    let mut expired = connection.prepare_cached(EXPIRED)?;
    give_back(connection, expired.query([clock])?, now)?;

    let limit = i64::try_from(max).unwrap_or(i64::MAX);
    let until = clock.saturating_add(hold);
    let suspect: Option<i64> = connection
        .prepare_cached(SUSPECT)?
        .query_row(params![now, owner], |row| row.get(0))
        .optional()?;
    let due: Vec<_> = connection
        .prepare_cached(DUE)?
        .query_map(params![now, limit, suspect], |row| leased(row, inbox))?
        .collect::<Result<_, _>>()?;
    let mut take = connection.prepare_cached(TAKE)?;
    for job in &due {
        let LeaseId { job: id, fence, .. } = job.lease;
        let tried = job.tried_since.as_microsecond();
        take.execute(params![id.0, until, job.attempt, fence, owner, tried])?;
    }
    Ok(due)
}

fn leased(row: &Row<'_>, inbox: InboxId) -> rusqlite::Result<Leased> {
    let lease = LeaseId {
        job: JobId(row.get(0)?),
        fence: row.get::<_, i64>(2)? + 1,
        inbox,
    };
    let attempt = row.get::<_, u32>(1)?.saturating_add(1);
    let new = NewJob {
        dedupe: row.get(4)?,
        key: row.get(5)?,
        kind: row.get(6)?,
        body: row.get::<_, Vec<u8>>(7)?.into(),
    };
    let (pushed_at, tried_since) = (timestamp(row.get(3)?)?, timestamp(row.get(8)?)?);
    Ok(Leased::new(lease, attempt, pushed_at, tried_since, new).lost(row.get(9)?))
}

enum Ended {
    Stale,
    Last,
    WithNext,
}

fn end(
    connection: &Connection,
    lease: LeaseId,
    how: &Settle,
    now: Timestamp,
    clock: i64,
) -> rusqlite::Result<Ended> {
    let (state, at, given_back, note) = match how {
        Settle::Done { note } => (3, now, 0, note),
        Settle::Dead { reason } => (4, now, 0, reason),
        Settle::Retry { at, reason } => (0, *at, 0, reason),
        Settle::Defer { at, reason } => (0, *at, 1, reason),
    };
    let (now, at) = (now.as_microsecond(), at.as_microsecond());
    let LeaseId { job, fence, .. } = lease;
    let key: Option<String> = connection
        .prepare_cached(SETTLE)?
        .query_row(
            params![job.0, fence, clock, state, at, given_back, note, now],
            |row| row.get(0),
        )
        .optional()?;
    let Some(key) = key else {
        let mut settled = connection.prepare_cached(SETTLED)?;
        return Ok(match settled.exists([job.0, fence])? {
            true => Ended::Last,
            false => Ended::Stale,
        });
    };
    Ok(match give_turn(connection, &key)? {
        true => Ended::WithNext,
        false => Ended::Last,
    })
}

/// The setting that is there while a pause lasts.
pub(super) fn pause_name(side: Option<Side>) -> &'static str {
    match side {
        None => "pause",
        Some(Side::Content) => "pause content",
        Some(Side::Crm) => "pause crm",
    }
}

/// Whether a lease of ours is still held.
pub(super) fn holds(
    connection: &Connection,
    lease: &LeaseId,
    clock: i64,
) -> rusqlite::Result<bool> {
    let LeaseId { job, fence, .. } = lease;
    connection
        .prepare_cached(HOLDS)?
        .exists(params![job.0, fence, clock])
}

/// Takes jobs out of their workers' hands: of each row the job, when its lease ends, its key, and
/// how often it was lost before.
pub(super) fn give_back(
    connection: &Connection,
    mut held: Rows<'_>,
    now: i64,
) -> rusqlite::Result<u64> {
    // First all rows, then the changes: changes would move the rows under the reader.
    let mut jobs: Vec<(i64, i64, String, u32)> = Vec::new();
    while let Some(row) = held.next()? {
        jobs.push((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    }
    let mut give_back = connection.prepare_cached(GIVE_BACK)?;
    for (id, at, key, lost) in &jobs {
        let (ended, pause) = (now.min(*at), pause(*lost));
        // Where it is due since it was lost, its next lease tells how long nobody tried it.
        let (at, away) = match pause {
            0 => (ended, 0),
            pause => (now + pause, now - ended),
        };
        give_back.execute([*id, at, away])?;
        give_turn(connection, key)?;
    }
    Ok(jobs.len() as u64)
}

/// Gives a key's turn to the oldest job that waits, unless another has it; tells whether it did.
pub(super) fn give_turn(connection: &Connection, key: &str) -> rusqlite::Result<bool> {
    Ok(connection.prepare_cached(GIVE_TURN)?.execute([key])? > 0)
}

pub(super) fn timestamp(microseconds: i64) -> rusqlite::Result<Timestamp> {
    let latest = Timestamp::MAX.as_microsecond();
    Timestamp::from_microsecond(microseconds.min(latest)).map_err(|cause| {
        rusqlite::Error::FromSqlConversionFailure(0, Type::Integer, Box::new(cause))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A partial index that is not used costs nothing but speed, and so goes unnoticed.
    #[tokio::test]
    async fn every_step_of_a_job_finds_its_rows_by_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("store.db")).unwrap();
        for (sql, index) in [
            (KNOWN, "COVERING INDEX sqlite_autoindex_job_1 (dedupe=?)"),
            (PUSH, "INDEX job_turn (key=?)"),
            (EXPIRED, "INDEX job_leased (at<?)"),
            (DUE, "INDEX job_due (at<?)"),
            (SUSPECT, "INDEX job_suspect (at<?)"),
            (SUSPECT, "INDEX job_leased"),
            (SETTLED, "INTEGER PRIMARY KEY (rowid=?)"),
            (HOLDS, "INTEGER PRIMARY KEY (rowid=?)"),
            (TAKE, "INTEGER PRIMARY KEY (rowid=?)"),
            (EXTEND, "INTEGER PRIMARY KEY (rowid=?)"),
            (SETTLE, "INTEGER PRIMARY KEY (rowid=?)"),
            (GIVE_BACK, "INTEGER PRIMARY KEY (rowid=?)"),
            (GIVE_TURN, "INDEX job_waiting (key=?)"),
            (GIVE_TURN, "INDEX job_turn (key=?)"),
            (GIVE_TURN, "INDEX job_dead_key (key=? AND id<?)"),
            (PUSH, "INDEX job_dead_key (key=?)"),
        ] {
            let plan = store.plan(sql).await;
            assert!(plan.contains(index), "{sql}\n{plan}");
            assert!(!plan.contains("SCAN job"), "{sql}\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
        }
    }

    impl SqliteStore {
        /// How SQLite would go about this statement.
        pub(in crate::store::sqlite) async fn plan(&self, sql: &str) -> String {
            let explain = format!("EXPLAIN QUERY PLAN {sql}");
            let plan = move |connection: &Connection| {
                let mut statement = connection.prepare(&explain)?;
                for parameter in 1..=statement.parameter_count() {
                    statement.raw_bind_parameter(parameter, 1)?;
                }
                let mut steps = Vec::new();
                let mut rows = statement.raw_query();
                while let Some(row) = rows.next()? {
                    steps.push(row.get::<_, String>(3)?);
                }
                Ok(steps.join("; "))
            };
            self.write("explain", plan).await.unwrap()
        }
    }
}
