//! The same statements by one hand, with nothing around them: one commit for a batch's leases and
//! one for its ends.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bridge_benches::Failure;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::{BATCH, Jobs};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE job (
        id INTEGER PRIMARY KEY AUTOINCREMENT, state INTEGER NOT NULL, at INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0, fence INTEGER NOT NULL DEFAULT 0,
        pushed_at INTEGER NOT NULL, owner TEXT, note TEXT, dedupe TEXT NOT NULL UNIQUE,
        key TEXT NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX job_turn ON job (key) WHERE state IN (1, 2);
    CREATE INDEX job_waiting ON job (key, id) WHERE state = 0;
    CREATE INDEX job_due ON job (at, id) WHERE state = 1;
    CREATE INDEX job_leased ON job (at) WHERE state = 2;
    CREATE INDEX job_done ON job (at) WHERE state = 3;
    CREATE INDEX job_dead ON job (id) WHERE state = 4;
    CREATE INDEX job_open ON job (id, pushed_at, state) WHERE state IN (0, 1, 2);
";
const PUSH: &str = "
    INSERT INTO job (state, at, pushed_at, dedupe, key, kind, body)
    VALUES (NOT EXISTS (SELECT 1 FROM job WHERE state IN (1, 2) AND key = ?3),
            ?1, ?1, ?2, ?3, 'box.webhook', ?4)";
const EXPIRED: &str = "SELECT id FROM job WHERE state = 2 AND at <= ?1";
const DUE: &str = "
    SELECT id, attempts, fence, pushed_at, dedupe, key, kind, body FROM job
    WHERE state = 1 AND at <= ?1 ORDER BY at, id LIMIT ?2";
const TAKE: &str = "
    UPDATE job SET state = 2, at = ?2, attempts = ?3, fence = ?4, owner = ?5 WHERE id = ?1";
const SETTLE: &str = "
    UPDATE job SET state = 3, at = ?3, note = ?4, owner = NULL
    WHERE id = ?1 AND state = 2 AND fence = ?2 AND at > ?3 RETURNING key";
const GIVE_TURN: &str = "
    UPDATE job SET state = 1
    WHERE id = (SELECT id FROM job WHERE state = 0 AND key = ?1 ORDER BY id LIMIT 1)
      AND NOT EXISTS (SELECT 1 FROM job WHERE state IN (1, 2) AND key = ?1)";
/// In microseconds.
const HOLD: i64 = 60_000_000;

struct Held {
    id: i64,
    attempts: i64,
    fence: i64,
    _rest: (i64, String, String, String, Vec<u8>),
}

pub(crate) fn work(file: &Path, jobs: Jobs) -> Result<Duration, Failure> {
    let db = Connection::open(file)?;
    db.set_prepared_statement_cache_capacity(64);
    db.execute_batch(SCHEMA)?;
    db.execute_batch("BEGIN IMMEDIATE")?;
    for number in 0..jobs.count {
        let (dedupe, key) = (format!("event {number}"), jobs.key(number));
        db.prepare_cached(PUSH)?
            .execute(params![now(), dedupe, key, Jobs::body(number)])?;
    }
    db.execute_batch("COMMIT")?;
    let started = Instant::now();
    let mut done = 0;
    while done < jobs.due {
        let held = lease(&db)?;
        if held.is_empty() {
            return Err("there was no job".into());
        }
        done += held.len();
        settle(&db, &held)?;
    }
    Ok(started.elapsed())
}

fn lease(db: &Connection) -> Result<Vec<Held>, Failure> {
    let now = now();
    db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let expired: Option<i64> = db
        .prepare_cached(EXPIRED)?
        .query_row([now], |row| row.get(0))
        .optional()?;
    if expired.is_some() {
        return Err("a lease ran out".into());
    }
    let held = db
        .prepare_cached(DUE)?
        .query_map(params![now, BATCH as i64], |row| {
            Ok(Held {
                id: row.get(0)?,
                attempts: row.get::<_, i64>(1)? + 1,
                fence: row.get::<_, i64>(2)? + 1,
                _rest: (
                    row.get(3)?,
                    row.get(4)?,
                    row.get(5)?,
                    row.get(6)?,
                    row.get(7)?,
                ),
            })
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let mut take = db.prepare_cached(TAKE)?;
    for job in &held {
        take.execute(params![
            job.id,
            now + HOLD,
            job.attempts,
            job.fence,
            "worker"
        ])?;
    }
    db.prepare_cached("COMMIT")?.execute([])?;
    Ok(held)
}

fn settle(db: &Connection, held: &[Held]) -> Result<(), Failure> {
    let now = now();
    db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let mut settle = db.prepare_cached(SETTLE)?;
    let mut turn = db.prepare_cached(GIVE_TURN)?;
    for job in held {
        let key: String =
            settle.query_row(params![job.id, job.fence, now, "done"], |row| row.get(0))?;
        turn.execute([key])?;
    }
    db.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}

fn now() -> i64 {
    Timestamp::now().as_microsecond()
}
