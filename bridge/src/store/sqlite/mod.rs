//! The inbox and the ledger in one SQLite file: nothing to install, readable with `sqlite3` while
//! the service runs (the view `inbox_readable` has times and states as text).
//!
//! One thread writes. It takes what has gathered since its last commit into one transaction, so
//! that many producers share one fsync, and answers after the commit. Another thread reads for those
//! who work, so that nobody who only looks waits for a disk, and a third for people, whose counts and
//! lists can take a while.
//!
//! What is forgotten makes the file shorter, a few MiB at each purge, but for a little that is kept
//! for what comes next. A file of an earlier version only uses its free room again, until somebody
//! stops the service and runs `sqlite3 bridge.db 'PRAGMA auto_vacuum = INCREMENTAL; VACUUM'`, which
//! needs as much free disk again as the file is long.

mod admin;
mod ledger;
mod queue;
mod schema;
mod thread;

use std::{
    fmt,
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::Notify;

use self::thread::{Access, Thread};
use super::leases::LeaseClock;
use crate::{
    clock::{self, Clock},
    queue::InboxId,
    store_error::{StoreError, StoreErrorKind},
};

/// A [`Queue`](crate::Queue) and a [`Ledger`](crate::Ledger) in one SQLite file. Clones share it.
///
/// Several processes may have the file open, such as the service and a command that replays dead
/// jobs. One of them works on it, see [`sole_worker`](Self::sole_worker): leases go by its own clock,
/// which no step of the machine's clock moves, and what a former one held it
/// [releases](crate::QueueAdmin::release) when it starts. Put it on a local disk: SQLite's locks do not hold on network file systems.
#[derive(Clone)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    writer: Thread,
    reader: Thread,
    people: Thread,
    wake: Notify,
    clock: LeaseClock,
    inbox: InboxId,
}

/// How a [`SqliteStore`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// How long to wait while another process writes to the file.
    pub busy: Duration,
}

/// Says that this process alone works on a store, for as long as it lives. The operating system
/// ends it with the process, however the process ends.
#[derive(Debug)]
pub struct SoleWorker(#[expect(dead_code, reason = "the lock is held by the open file")] File);

/// When something was last written, as far as that is quickly found.
const LAST_TIME: &str = "
    SELECT max(time) FROM (
        SELECT max(pushed_at) AS time FROM (SELECT pushed_at FROM job ORDER BY id DESC LIMIT 1)
        UNION ALL SELECT max(at) FROM job WHERE state = 3
    )";

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            busy: Duration::from_secs(5),
        }
    }
}

impl SqliteStore {
    /// Opens the file, which is made when it is missing, readable for its owner only. A file of
    /// another program or of a newer version is refused and left as it is.
    ///
    /// Opening reads and writes a file: it is for the start of a program.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, &SqliteOptions::default())
    }

    /// Opens the file, with other options.
    pub fn open_with(path: impl AsRef<Path>, options: &SqliteOptions) -> Result<Self, StoreError> {
        schema::check_library()?;
        // SQLite gives names such as `:memory:` another meaning, but no absolute path.
        let path = std::path::absolute(path)
            .map_err(|cause| unavailable(schema::OPEN).with_cause(cause))?;
        private(&path).map_err(|cause| unavailable(schema::OPEN).with_cause(cause))?;
        // By whatever name it is opened, it has one lock and one set of side files.
        let path = path
            .canonicalize()
            .map_err(|cause| unavailable(schema::OPEN).with_cause(cause))?;
        let writer = Thread::start(&path, Access::Write, options.busy)?;
        let reader = Thread::start(&path, Access::Read, options.busy)?;
        let people = Thread::start(&path, Access::Read, options.busy)?;
        Ok(Self {
            inner: Arc::new(Inner {
                path,
                writer,
                reader,
                people,
                wake: Notify::new(),
                clock: LeaseClock::new(),
                inbox: InboxId::unique(),
            }),
        })
    }

    /// Makes sure that no other process works on this store, so that whatever is leased was left
    /// behind by one that has died and can be released at once.
    pub fn sole_worker(&self) -> Result<SoleWorker, StoreError> {
        const DOING: &str = "lock the store for this worker";
        let mut path = self.inner.path.clone().into_os_string();
        path.push(".worker-lock");
        let file =
            private(Path::new(&path)).map_err(|cause| unavailable(DOING).with_cause(cause))?;
        match file.try_lock() {
            Ok(()) => Ok(SoleWorker(file)),
            Err(TryLockError::WouldBlock) => {
                Err(unavailable(DOING).with_cause("another process works on this store"))
            }
            Err(TryLockError::Error(cause)) => Err(unavailable(DOING).with_cause(cause)),
        }
    }

    /// The clock for whoever works on this store: the machine's without its jumps, and not behind
    /// what an earlier run has written.
    pub async fn clock(&self) -> Result<Arc<dyn Clock>, StoreError> {
        let last = |connection: &Connection| {
            let last = connection.query_row(LAST_TIME, [], |row| row.get::<_, Option<i64>>(0))?;
            last.map(queue::timestamp).transpose()
        };
        let last = self.read("ask for the time", last).await?;
        let last = last.unwrap_or(Timestamp::MIN);
        Ok(Arc::new(clock::SteadyClock::not_before(last)))
    }

    /// Commits what has been asked for so far, and closes the file; every later call fails. A
    /// store that is only dropped closes its file soon after, without anybody waiting for it.
    pub async fn close(&self) {
        // The last connection to a file tidies up its side files, and only a writing one can.
        self.inner.people.close().await;
        self.inner.reader.close().await;
        self.inner.writer.close().await;
    }

    async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inner.writer.call(doing, work).await
    }

    async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inner.reader.call(doing, work).await
    }

    async fn show<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inner.people.call(doing, work).await
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}

/// Opens a file, and makes a missing one for its owner only: events hold names and addresses.
/// SQLite gives its side files the mode of the main one.
fn private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn unavailable(doing: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, doing)
}
