//! The inbox as people see it.

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    SqliteStore,
    queue::{give_back, give_turn, pause_name, timestamp},
};
use crate::{
    queue::{AfterDead, Counts, Job, JobFilter, JobId, JobState, QueueAdmin},
    side::Side,
    store::parts::parts,
    store_error::StoreError,
};

const SHOWN: &str = "id, state, attempts, pushed_at, at, owner, note, dedupe, key, kind";

const REPLAY: &str = "
    UPDATE job SET state = 0, at = ?2, attempts = 0, tried_at = NULL
    WHERE id = ?1 AND state = 4
    RETURNING key";

/// A replayed job may be older than the one of its key that has the turn. It goes first, unless
/// that one is in a worker's hands.
const TAKE_TURN_BACK: &str = "
    UPDATE job SET state = 0 WHERE state IN (1, 2) AND state = 1 AND key = ?1";

/// What was deferred was put on in age until it would be due, which is now.
const RETRY: &str = "
    UPDATE job SET at = min(at, ?2), tried_at = min(tried_at, ?2) WHERE id = ?1 AND state IN (0, 1)";

const DISCARD: &str = "
    UPDATE job SET state = 3, at = ?2, note = 'discarded: ' || coalesce(note, '')
    WHERE id = ?1 AND state = 4
    RETURNING key";

const SET: &str = "
    INSERT INTO setting (name, value) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value <> excluded.value";

/// Those that have their turn already, although a dead one stands before them.
const HOLD_BACK: &str = "
    UPDATE job SET state = 0
    WHERE state IN (1, 2) AND state = 1 AND EXISTS (
        SELECT 1 FROM job dead WHERE dead.state = 4 AND dead.key = job.key AND dead.id < job.id)";

const DEAD_KEYS: &str = "SELECT DISTINCT key FROM job WHERE state = 4";

const HELD: &str = "
    SELECT id, at, key, lost FROM job WHERE state = 2 AND (?1 IS NULL OR owner = ?1)";

const PURGE: &str = "
    DELETE FROM job
    WHERE id IN (SELECT id FROM job WHERE state = 3 AND at < ?1 ORDER BY at, id LIMIT ?2)";

/// Room that is kept for what comes next, in pages.
const SPARE_PAGES: i64 = 1024;
/// What one purge gives back at most, so that nobody waits long.
const PAGES_AT_ONCE: i64 = 4096;

const OPEN: &str = "
    SELECT count(*), count(iif(state = 2, 1, NULL)), min(pushed_at) FROM job WHERE state IN (0, 1, 2)";
const ENDED: &str = "
    SELECT (SELECT count(*) FROM job WHERE state = 3), (SELECT count(*) FROM job WHERE state = 4)";

#[async_trait]
impl QueueAdmin for SqliteStore {
    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, StoreError> {
        let after = filter.after.map_or(i64::MIN, |id| id.0);
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
        let sql = list(filter.state);
        let list = move |connection: &Connection| {
            connection
                .prepare_cached(&sql)?
                .query_map([after, limit], |row| job(row, Bytes::new()))?
                .collect()
        };
        self.show("list the jobs", list).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        let show = move |connection: &Connection| {
            connection
                .prepare_cached(&format!("SELECT {SHOWN}, body FROM job WHERE id = ?1"))?
                .query_row([id.0], |row| job(row, row.get::<_, Vec<u8>>(10)?.into()))
                .optional()
        };
        self.show("show the job", show).await
    }

    async fn replay(&self, ids: &[JobId], now: Timestamp) -> Result<u64, StoreError> {
        let replay = move |connection: &Connection, id| replay(connection, id, now);
        self.each("replay", ids, replay).await
    }

    async fn retry(&self, ids: &[JobId], now: Timestamp) -> Result<u64, StoreError> {
        let retry = move |connection: &Connection, id: JobId| {
            let mut retry = connection.prepare_cached(RETRY)?;
            Ok(retry.execute([id.0, now.as_microsecond()])? > 0)
        };
        self.each("retry", ids, retry).await
    }

    async fn discard(&self, ids: &[JobId], now: Timestamp) -> Result<u64, StoreError> {
        let discard = move |connection: &Connection, id| discard(connection, id, now);
        self.each("discard", ids, discard).await
    }

    async fn set_after_dead(&self, after_dead: AfterDead) -> Result<(), StoreError> {
        let value = match after_dead {
            AfterDead::Skip => "skip",
            AfterDead::Hold => "hold",
        };
        let set = move |connection: &Connection| {
            let set = connection
                .prepare_cached(SET)?
                .execute(["after_dead", value])?;
            match after_dead {
                _ if set == 0 => Ok(()),
                AfterDead::Hold => connection.execute(HOLD_BACK, []).map(drop),
                AfterDead::Skip => let_go(connection),
            }
        };
        self.write("set what comes after a dead job", set).await?;
        self.inner.wake.notify_one();
        Ok(())
    }

    async fn pause(&self, side: Option<Side>) -> Result<(), StoreError> {
        let pause = move |connection: &Connection| {
            connection
                .prepare_cached(SET)?
                .execute([pause_name(side), ""])
                .map(drop)
        };
        self.write("pause", pause).await
    }

    async fn resume(&self, side: Option<Side>) -> Result<(), StoreError> {
        let resume = move |connection: &Connection| {
            connection
                .prepare_cached("DELETE FROM setting WHERE name = ?1")?
                .execute([pause_name(side)])
                .map(drop)
        };
        self.write("resume", resume).await?;
        self.inner.wake.notify_one();
        Ok(())
    }

    async fn release(&self, owner: Option<&str>, now: Timestamp) -> Result<u64, StoreError> {
        let owner = owner.map(str::to_owned);
        let release = move |connection: &Connection| {
            let mut held = connection.prepare_cached(HELD)?;
            give_back(connection, held.query([&owner])?, now.as_microsecond())
        };
        let released = self.write("release", release).await?;
        if released > 0 {
            self.inner.wake.notify_one();
        }
        Ok(released)
    }

    async fn purge(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let purge = move |connection: &Connection| {
            let purged = connection
                .prepare_cached(PURGE)?
                .execute([before.as_microsecond(), limit])?;
            give_room_back(connection)?;
            Ok(purged)
        };
        Ok(self.write("purge", purge).await? as u64)
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        let counts = |connection: &Connection| {
            let count = |row: &Row<'_>, column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            let mut counts = Counts::default();
            connection.prepare_cached(OPEN)?.query_row([], |row| {
                counts.leased = count(row, 1)?;
                counts.ready = count(row, 0)? - counts.leased;
                counts.oldest = row.get::<_, Option<i64>>(2)?.map(timestamp).transpose()?;
                Ok(())
            })?;
            connection.prepare_cached(ENDED)?.query_row([], |row| {
                counts.done = count(row, 0)?;
                counts.dead = count(row, 1)?;
                Ok(counts)
            })
        };
        self.show("count the jobs", counts).await
    }
}

impl SqliteStore {
    /// Does this with each of these jobs, and tells with how many there was something to do.
    async fn each<F>(&self, doing: &'static str, ids: &[JobId], one: F) -> Result<u64, StoreError>
    where
        F: Fn(&Connection, JobId) -> rusqlite::Result<bool> + Copy + Send + 'static,
    {
        let mut done = 0;
        for part in parts(ids) {
            let each = move |connection: &Connection| {
                part.iter()
                    .try_fold(0, |done, id| Ok(done + u64::from(one(connection, *id)?)))
            };
            done += self.write(doing, each).await?;
            self.inner.wake.notify_one();
        }
        Ok(done)
    }
}

fn list(state: Option<JobState>) -> String {
    let only = match state {
        None => "",
        Some(JobState::Ready) => "state IN (0, 1, 2) AND state < 2 AND",
        Some(JobState::Leased) => "state IN (0, 1, 2) AND state = 2 AND",
        Some(JobState::Done) => "state = 3 AND",
        Some(JobState::Dead) => "state = 4 AND",
    };
    format!("SELECT {SHOWN} FROM job WHERE {only} id > ?1 ORDER BY id LIMIT ?2")
}

fn replay(connection: &Connection, id: JobId, now: Timestamp) -> rusqlite::Result<bool> {
    let key: Option<String> = connection
        .prepare_cached(REPLAY)?
        .query_row(params![id.0, now.as_microsecond()], |row| row.get(0))
        .optional()?;
    let Some(key) = key else {
        return Ok(false);
    };
    connection.prepare_cached(TAKE_TURN_BACK)?.execute([&key])?;
    give_turn(connection, &key)?;
    Ok(true)
}

fn discard(connection: &Connection, id: JobId, now: Timestamp) -> rusqlite::Result<bool> {
    let key: Option<String> = connection
        .prepare_cached(DISCARD)?
        .query_row(params![id.0, now.as_microsecond()], |row| row.get(0))
        .optional()?;
    let Some(key) = key else {
        return Ok(false);
    };
    give_turn(connection, &key)?;
    Ok(true)
}

/// Gives those their turn that a dead one has held back.
fn let_go(connection: &Connection) -> rusqlite::Result<()> {
    let keys: Vec<String> = connection
        .prepare_cached(DEAD_KEYS)?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    keys.iter()
        .try_for_each(|key| give_turn(connection, key).map(drop))
}

/// Makes the file shorter by what is free in it. A file that was made by an earlier version keeps
/// its length, and uses what is free again.
fn give_room_back(connection: &Connection) -> rusqlite::Result<()> {
    let free: i64 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    let pages = (free - SPARE_PAGES).min(PAGES_AT_ONCE);
    if pages <= 0 {
        return Ok(());
    }
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut steps = vacuum.raw_query();
    // Each step is one page.
    while steps.next()?.is_some() {}
    Ok(())
}

fn job(row: &Row<'_>, body: Bytes) -> rusqlite::Result<Job> {
    Ok(Job {
        id: JobId(row.get(0)?),
        state: match row.get::<_, i64>(1)? {
            0 | 1 => JobState::Ready,
            2 => JobState::Leased,
            3 => JobState::Done,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_file_that_was_large_for_a_storm_is_small_again_after_it() {
        use crate::queue::{NewJob, Queue, Settle};
        use std::time::Duration;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let store = SqliteStore::open(&path).unwrap();
        let now = Timestamp::now();
        for batch in 0..20 {
            let jobs = (0..100).map(|number| NewJob {
                dedupe: format!("{batch}/{number}"),
                key: format!("{batch}/{number}"),
                kind: "test".into(),
                body: vec![b'x'; 20_000].into(),
            });
            store.push(jobs.collect(), now).await.unwrap();
            let hold = Duration::from_secs(60);
            for leased in store.lease("w", 100, hold, now).await.unwrap() {
                let done = Settle::Done { note: "ok".into() };
                store.settle(&leased.lease, done, now).await.unwrap();
            }
        }
        store.close().await;
        let size = || std::fs::metadata(&path).unwrap().len();
        let large = size();
        let store = SqliteStore::open(&path).unwrap();
        let after = now.checked_add(Duration::from_secs(1)).unwrap();
        while store.purge(after, 500).await.unwrap() > 0 {}
        // As the service does at every turn.
        for _ in 0..3 {
            store.purge(after, 500).await.unwrap();
        }
        assert_eq!(store.counts().await.unwrap().done, 0);
        store.close().await;
        let spare = 4096 * (SPARE_PAGES.unsigned_abs() + 200);
        assert!(
            large > 3 * spare && size() < spare,
            "{large}, then {}",
            size()
        );
    }

    #[tokio::test]
    async fn what_people_ask_for_is_found_by_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("store.db")).unwrap();
        for (sql, index) in [
            (REPLAY, "INTEGER PRIMARY KEY (rowid=?)"),
            (TAKE_TURN_BACK, "INDEX job_turn (key=?)"),
            (RETRY, "INTEGER PRIMARY KEY (rowid=?)"),
            (DISCARD, "INTEGER PRIMARY KEY (rowid=?)"),
            (HOLD_BACK, "INDEX job_dead_key (key=? AND id<?)"),
            (DEAD_KEYS, "INDEX job_dead_key"),
            (HELD, "INDEX job_leased"),
            (PURGE, "INDEX job_done (at<?)"),
            (OPEN, "COVERING INDEX job_open"),
            (ENDED, "COVERING INDEX job_done"),
            (ENDED, "COVERING INDEX job_dead"),
            (&list(None), "INTEGER PRIMARY KEY (rowid>?)"),
            (&list(Some(JobState::Ready)), "INDEX job_open (id>?)"),
            (&list(Some(JobState::Leased)), "INDEX job_"),
            (&list(Some(JobState::Dead)), "INDEX job_dead (id>?)"),
        ] {
            let plan = store.plan(sql).await;
            assert!(plan.contains(index), "{sql}\n{plan}");
            assert!(
                !plan.split("; ").any(|step| step == "SCAN job"),
                "{sql}\n{plan}"
            );
        }
    }
}
