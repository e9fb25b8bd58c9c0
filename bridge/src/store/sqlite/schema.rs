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
const MIGRATIONS: [&str; 3] = [
    include_str!("schema.sql"),
    include_str!("policies.sql"),
    include_str!("fences.sql"),
];
/// Older ones can corrupt a WAL database that two connections use
/// (<https://sqlite.org/wal.html>, the WAL-reset bug).
const OLDEST_LIBRARY: i32 = 3_051_003;
/// What is left of the WAL after a burst.
const WAL_LIMIT: i64 = 64 * 1024 * 1024;
/// Between two tries to change the journal's mode while others open the file, too.
const PAUSE: Duration = Duration::from_millis(2);

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
