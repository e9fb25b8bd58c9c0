//! The tables, and how a file comes to have them.

use std::{
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, Error, ErrorCode, Transaction, TransactionBehavior, ffi};

use crate::store_error::{StoreError, StoreErrorKind};

pub(super) const OPEN: &str = "open the store";

/// `bxsf`: tells our files from any other program's.
const APPLICATION_ID: i64 = 0x6278_7366;
const VERSION: i64 = MIGRATIONS.len() as i64;
/// In order; the position of one, from 1, is the version that it leads to.
const MIGRATIONS: [&str; 3] = [SCHEMA, POLICIES, FENCES];
/// Older ones can corrupt a WAL database that two connections use
/// (<https://sqlite.org/wal.html>, the WAL-reset bug).
const OLDEST_LIBRARY: i32 = 3_051_003;
/// What is left of the WAL after a burst.
const WAL_LIMIT: i64 = 64 * 1024 * 1024;
/// Between two tries to change the journal's mode while others open the file, too.
const PAUSE: Duration = Duration::from_millis(2);

/// Times are microseconds since 1970.
///
/// A job's `state` is 0 while it waits behind another of its key, 1 when it is its turn, 2 while
/// it is leased, 3 done, 4 dead. Of the unfinished jobs of a key exactly one has the turn or is
/// leased, so that a claim reads no more rows than it takes, however much waits behind them;
/// `job_turn` holds us to it.
///
/// SQLite uses a partial index only for a query that repeats its condition literally.
const SCHEMA: &str = "
    CREATE TABLE job (
        id        INTEGER PRIMARY KEY AUTOINCREMENT,
        state     INTEGER NOT NULL,
        at        INTEGER NOT NULL,
        attempts  INTEGER NOT NULL DEFAULT 0,
        fence     INTEGER NOT NULL DEFAULT 0,
        pushed_at INTEGER NOT NULL,
        tried_at  INTEGER,
        owner     TEXT,
        note      TEXT,
        dedupe    TEXT NOT NULL UNIQUE,
        key       TEXT NOT NULL,
        kind      TEXT NOT NULL,
        body      BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX job_turn ON job (key) WHERE state IN (1, 2);
    CREATE INDEX job_waiting ON job (key, id) WHERE state = 0;
    CREATE INDEX job_due ON job (at, id) WHERE state = 1;
    CREATE INDEX job_leased ON job (at) WHERE state = 2;
    CREATE INDEX job_done ON job (at) WHERE state = 3;
    CREATE INDEX job_dead ON job (id) WHERE state = 4;
    CREATE INDEX job_open ON job (id, pushed_at, state) WHERE state IN (0, 1, 2);
    CREATE TABLE effect (
        key      TEXT PRIMARY KEY,
        begun_at INTEGER NOT NULL,
        doubted_at INTEGER,
        result   TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE VIEW inbox_readable AS
        SELECT id,
               CASE state WHEN 2 THEN 'leased' WHEN 3 THEN 'done' WHEN 4 THEN 'dead' ELSE 'ready' END
                   AS state,
               attempts,
               strftime('%Y-%m-%dT%H:%M:%fZ', pushed_at / 1e6, 'unixepoch') AS pushed_at,
               strftime('%Y-%m-%dT%H:%M:%fZ', at / 1e6, 'unixepoch') AS at,
               owner, note, dedupe, key, kind, CAST(body AS TEXT) AS body
        FROM job;
";

/// `setting` holds what operators have decided: `after_dead` is `skip` or `hold`, and each `pause…`
/// is there as long as that pause lasts. What an effect is of is its key's first part.
const POLICIES: &str = "
    CREATE TABLE setting (
        name  TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX job_dead_key ON job (key, id) WHERE state = 4;
    CREATE INDEX effect_finished ON effect (substr(key, 1, instr(key, '/')), begun_at)
        WHERE result IS NOT NULL;
";

/// The `at` of a leased job, and `doubted_at`, go by the clock of the process that works on the file.
/// `settled` is the fence under which a job was settled last, `lost` how often its lease was lost
/// since. An effect names its writer, and the lease that it writes under where that is one of ours.
const FENCES: &str = "
    ALTER TABLE job ADD COLUMN settled INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE job ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX job_suspect ON job (at, id) WHERE state = 1 AND lost > 1;
    ALTER TABLE effect ADD COLUMN writer INTEGER;
    ALTER TABLE effect ADD COLUMN job INTEGER;
    ALTER TABLE effect ADD COLUMN fence INTEGER;
";

pub(super) fn check_library() -> Result<(), StoreError> {
    if rusqlite::version_number() < OLDEST_LIBRARY {
        let cause = format!("SQLite {} can corrupt the store", rusqlite::version());
        return Err(StoreError::new(StoreErrorKind::Incompatible, OPEN).with_cause(cause));
    }
    Ok(())
}

/// Prepares a connection that writes, and the file with it. Waits for others who prepare it as long
/// as `busy`.
pub(super) fn prepare(connection: &mut Connection, busy: Duration) -> Result<(), StoreError> {
    let failed = |cause| error(OPEN, cause);
    // Looks before it touches: a foreign file must stay as it is.
    let look = connection.transaction().map_err(failed)?;
    let is_new = check_kind(&look)? == 0;
    look.finish().map_err(failed)?;
    if is_new {
        // Only a file without anything in it takes this. Where another process has just been faster,
        // nothing happens, and it has said the same.
        connection
            .execute_batch("PRAGMA auto_vacuum = INCREMENTAL")
            .map_err(failed)?;
    }
    let mode = write_ahead(connection, busy).map_err(failed)?;
    if mode != "wal" {
        return Err(StoreError::new(StoreErrorKind::Incompatible, OPEN)
            .with_cause("the file system does not allow SQLite a write-ahead log"));
    }
    // The last two matter on macOS only, where an ordinary fsync does not reach the disk.
    connection
        .execute_batch(&format!(
            "PRAGMA synchronous = FULL;
             PRAGMA journal_size_limit = {WAL_LIMIT};
             PRAGMA fullfsync = ON;
             PRAGMA checkpoint_fullfsync = ON;"
        ))
        .map_err(failed)?;
    let tx = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let version = check_kind(&tx)?;
    let missing = MIGRATIONS.iter().zip(1..).filter(|(_, to)| *to > version);
    for (migration, to) in missing {
        tx.execute_batch(migration)
            .and_then(|()| tx.pragma_update(None, "application_id", APPLICATION_ID))
            .and_then(|()| tx.pragma_update(None, "user_version", to))
            .map_err(failed)?;
    }
    tx.commit().map_err(failed)
}

/// Asks for a write-ahead log, and tells what the journal is. SQLite's own waiting does not cover
/// this: the statement reads before it writes, and of several that have read and want to write all
/// but one are turned back at once, lest they wait for each other
/// (<https://sqlite.org/c3ref/busy_handler.html>).
fn write_ahead(connection: &Connection, busy: Duration) -> rusqlite::Result<String> {
    let begun = Instant::now();
    loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)) {
            Err(cause)
                if cause.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && begun.elapsed() < busy =>
            {
                thread::sleep(PAUSE);
            }
            mode => return mode,
        }
    }
}

/// The schema's version, 0 for an empty file. In a transaction, for another process may be making
/// the tables right now, and half of what it made looks like a stranger's file.
fn check_kind(connection: &Transaction<'_>) -> Result<i64, StoreError> {
    let number = |sql: &str| {
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .map_err(|cause| error(OPEN, cause))
    };
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let refused = |why: &'static str| {
        Err(StoreError::new(StoreErrorKind::Incompatible, OPEN).with_cause(why))
    };
    match (application, version, tables) {
        (0, 0, 0) => Ok(0),
        (APPLICATION_ID, 1..=VERSION, _) => Ok(version),
        (APPLICATION_ID, _, _) => refused("it was written by a newer version of this program"),
        _ => refused("it is another program's database"),
    }
}

pub(super) fn error(doing: &'static str, cause: Error) -> StoreError {
    let kind = match &cause {
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..) => StoreErrorKind::Corrupt,
        cause => match cause.sqlite_error().map(|error| error.extended_code & 0xff) {
            Some(ffi::SQLITE_FULL) => StoreErrorKind::Full,
            Some(ffi::SQLITE_CORRUPT) => StoreErrorKind::Corrupt,
            Some(ffi::SQLITE_NOTADB) => StoreErrorKind::Incompatible,
            _ => StoreErrorKind::Unavailable,
        },
    };
    StoreError::new(kind, doing).with_cause(cause)
}
