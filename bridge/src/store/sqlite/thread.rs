//! A connection and the one thread that may touch it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::mpsc,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{mpsc as channel, oneshot, watch};

use super::{schema, unavailable};
use crate::{
    port_error::in_one_line,
    store_error::{StoreError, StoreErrorKind},
};

/// What waits for the thread at most; whoever comes then waits for a place.
const QUEUE: usize = 1024;
/// What shares one commit at most.
const GROUP: usize = 256;
/// More than there are different statements, so that each is compiled once.
const STATEMENTS: usize = 64;
/// SQLite counts milliseconds in 32 bits, with a sign; rusqlite panics beyond.
const LONGEST_BUSY: Duration = Duration::from_millis(i32::MAX as u64);

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Access {
    Read,
    Write,
}

pub(super) struct Thread {
    messages: channel::Sender<Message>,
    ended: watch::Receiver<()>,
}

enum Message {
    Task(Box<dyn Task>),
    Close,
}

/// Work on the connection, in two parts: what is done inside a transaction, and the answer to
/// whoever asked, which waits for the commit.
trait Task: Send {
    /// Tells what went wrong, if anything did.
    fn run(&mut self, connection: &Connection) -> Result<(), StoreErrorKind>;

    /// Answers, with the failure instead where the transaction did not come to be.
    fn answer(self: Box<Self>, failure: Option<&Failure>);
}

/// Why a whole transaction failed. The cause cannot be shared out, so it is told in words.
struct Failure {
    kind: StoreErrorKind,
    cause: String,
    /// Whether this may be the connection's fault, and not that of what was asked.
    is_of_connection: bool,
}

struct Call<T, F> {
    doing: &'static str,
    work: F,
    result: Option<Result<T, StoreError>>,
    asked: oneshot::Sender<Result<T, StoreError>>,
}

impl Thread {
    pub(super) fn start(path: &Path, access: Access, busy: Duration) -> Result<Self, StoreError> {
        let (messages, mut waiting) = channel::channel(QUEUE);
        let (alive, ended) = watch::channel(());
        let (ready, opened) = mpsc::channel();
        let path = path.to_owned();
        let run = move || {
            // Dropped last, when the connection is closed.
            let _alive = alive;
            match open(&path, access, busy) {
                Err(error) => drop(ready.send(Err(error))),
                Ok(connection) => {
                    let _ = ready.send(Ok(()));
                    serve(connection, &mut waiting, access, || {
                        open(&path, access, busy)
                    });
                }
            }
        };
        let name = if access == Access::Write {
            "store-writer"
        } else {
            "store-reader"
        };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(|cause| unavailable(schema::OPEN).with_cause(cause))?;
        opened
            .recv()
            .map_err(|cause| unavailable(schema::OPEN).with_cause(cause))??;
        Ok(Self { messages, ended })
    }

    /// Has the thread do this; it is done even when nobody waits for the answer any more. The
    /// answer comes after the commit.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (asked, answer) = oneshot::channel();
        let call = Call {
            doing,
            work,
            result: None,
            asked,
        };
        let closed = || unavailable(doing).with_cause("the store is closed");
        self.messages
            .send(Message::Task(Box::new(call)))
            .await
            .map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Does what has been asked for so far, takes nothing more, and returns when the connection
    /// is closed.
    pub(super) async fn close(&self) {
        // It fails where somebody else has closed it already.
        let _ = self.messages.send(Message::Close).await;
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

impl<T, F> Task for Call<T, F>
where
    T: Send,
    F: Fn(&Connection) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), StoreErrorKind> {
        let result = (self.work)(connection).map_err(|cause| schema::error(self.doing, cause));
        let failed = result.as_ref().map(drop).map_err(StoreError::kind);
        self.result = Some(result);
        failed
    }

    fn answer(self: Box<Self>, failure: Option<&Failure>) {
        let failed = |failure: &Failure| {
            StoreError::new(failure.kind, self.doing).with_cause(failure.cause.clone())
        };
        let answer = match (self.result, failure) {
            // Its own error says more than the group's.
            (Some(Err(error)), _) => Err(error),
            (_, Some(failure)) => Err(failed(failure)),
            (Some(Ok(value)), None) => Ok(value),
            (None, None) => Err(unavailable(self.doing)),
        };
        // Whoever asked may have gone away.
        let _ = self.asked.send(answer);
    }
}

impl Failure {
    fn of(cause: rusqlite::Error) -> Self {
        let words = cause.to_string();
        let code = cause.sqlite_error_code();
        Self {
            is_of_connection: !matches!(
                code,
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull)
            ),
            kind: schema::error("", cause).kind(),
            cause: words,
        }
    }

    fn panicked() -> Self {
        Self {
            kind: StoreErrorKind::Unavailable,
            cause: "what shared its commit panicked; the message is in the program's log"
                .to_owned(),
            is_of_connection: true,
        }
    }
}

fn open(path: &Path, access: Access, busy: Duration) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX
        | match access {
            Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
            Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
    let failed = |cause| schema::error(schema::OPEN, cause);
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection
        .busy_timeout(busy.min(LONGEST_BUSY))
        .map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    if access == Access::Write {
        schema::prepare(&mut connection, busy)?;
    }
    Ok(connection)
}

/// A connection that has failed is replaced: a file system can go away and come back, and a service
/// that only says so for ever is of no use.
fn serve(
    connection: Connection,
    waiting: &mut channel::Receiver<Message>,
    access: Access,
    reopen: impl Fn() -> Result<Connection, StoreError>,
) {
    let mut connection = Some(connection);
    // Readers share nothing: a long listing must not keep the others' answers.
    let most = if access == Access::Write { GROUP } else { 1 };
    let mut messages = Vec::with_capacity(most);
    let mut group = Vec::with_capacity(most);
    while waiting.blocking_recv_many(&mut messages, most) > 0 {
        for message in messages.drain(..) {
            match message {
                Message::Task(task) => group.push(task),
                // What was sent before still comes; then there is nothing more.
                Message::Close => waiting.close(),
            }
        }
        let failure = match connection.take().map_or_else(&reopen, Ok) {
            Ok(open) => {
                let failure = attempt(&open, &mut group, access).err();
                if failure.as_ref().is_none_or(|it| !it.is_of_connection) {
                    connection = Some(open);
                }
                failure
            }
            Err(error) => Some(Failure {
                kind: error.kind(),
                cause: in_one_line(&error),
                is_of_connection: true,
            }),
        };
        for task in group.drain(..) {
            task.answer(failure.as_ref());
        }
    }
}

/// What panics is told of as a failure: the thread is everybody's.
fn attempt(
    connection: &Connection,
    group: &mut [Box<dyn Task>],
    access: Access,
) -> Result<(), Failure> {
    let transact = AssertUnwindSafe(|| transact(connection, group, access));
    catch_unwind(transact).unwrap_or_else(|_| Err(Failure::panicked()))
}

/// One transaction for the whole group. Each task has a savepoint, so one that fails takes
/// nothing else with it.
fn transact(
    connection: &Connection,
    group: &mut [Box<dyn Task>],
    access: Access,
) -> Result<(), Failure> {
    if group.is_empty() {
        return Ok(());
    }
    let begin = match access {
        // At once, because a transaction that only becomes a writing one cannot wait its turn.
        Access::Write => "BEGIN IMMEDIATE",
        Access::Read => "BEGIN",
    };
    execute(connection, begin)?;
    // Savepoints cost two statements for each task, and hardly any task ever fails.
    if group.iter_mut().all(|task| task.run(connection).is_ok()) {
        return finish(connection, execute(connection, "COMMIT"));
    }
    if !connection.is_autocommit() {
        execute(connection, "ROLLBACK")?;
    }
    execute(connection, begin)?;
    let done = run_all(connection, group).and_then(|()| execute(connection, "COMMIT"));
    finish(connection, done)
}

fn finish(connection: &Connection, done: Result<(), Failure>) -> Result<(), Failure> {
    if done.is_err() && !connection.is_autocommit() {
        // Nothing is left to do where even this fails; the next `BEGIN` will tell.
        let _ = execute(connection, "ROLLBACK");
    }
    done
}

fn run_all(connection: &Connection, group: &mut [Box<dyn Task>]) -> Result<(), Failure> {
    for task in group {
        execute(connection, "SAVEPOINT task")?;
        if let Err(kind) = task.run(connection) {
            // When the disk is full SQLite itself undoes everything, and what would come next
            // would stand alone.
            if connection.is_autocommit() {
                return Err(Failure {
                    kind,
                    cause: "undone together with what shared its commit".to_owned(),
                    is_of_connection: kind != StoreErrorKind::Full,
                });
            }
            execute(connection, "ROLLBACK TO task")?;
        }
        execute(connection, "RELEASE task")?;
    }
    Ok(())
}

fn execute(connection: &Connection, sql: &str) -> Result<(), Failure> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute([]))
        .map(drop)
        .map_err(Failure::of)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use futures_util::FutureExt;
    use jiff::Timestamp;

    use super::*;
    use crate::{
        queue::{NewJob, Push, Queue, QueueAdmin},
        store::sqlite::SqliteStore,
    };

    fn store(folder: &tempfile::TempDir) -> SqliteStore {
        SqliteStore::open(folder.path().join("store.db")).unwrap()
    }

    fn job(dedupe: &str, size: usize) -> NewJob {
        NewJob {
            dedupe: dedupe.to_owned(),
            key: dedupe.to_owned(),
            kind: "test".to_owned(),
            body: Bytes::from(vec![b'x'; size]),
        }
    }

    async fn most_pages(store: &SqliteStore, pages: i64) {
        let limit = move |connection: &Connection| {
            connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
        };
        store.write("limit", limit).await.unwrap();
    }

    /// SQLite's own limit on pages answers as a full disk does.
    #[tokio::test]
    async fn a_full_disk_refuses_everything_new_keeps_everything_old_and_is_got_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let now = Timestamp::now();
        store.push(vec![job("old", 10)], now).await.unwrap();
        most_pages(&store, 40).await;

        // The second does not fit, so the first must not be there either.
        let all = vec![job("a", 10), job("b", 1_000_000)];
        let error = store.push(all, now).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Full);
        assert_eq!(
            store
                .jobs(&crate::JobFilter::default())
                .await
                .unwrap()
                .len(),
            1
        );

        most_pages(&store, 1_000_000).await;
        let pushed = store
            .push(vec![job("a", 10), job("b", 1_000_000)], now)
            .await
            .unwrap();
        assert!(pushed.iter().all(|push| matches!(push, Push::Queued(_))));
    }

    #[tokio::test]
    async fn a_task_that_fails_takes_nothing_else_of_its_commit_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let now = Timestamp::now();
        // Holds the thread until all three share the next transaction.
        let (release, held) = mpsc::channel::<()>();
        let hold = store.write("hold", move |_| Ok(held.recv().is_err()));
        let broken = |connection: &Connection| {
            connection.execute("DELETE FROM job", [])?;
            connection.execute("INSERT INTO nowhere VALUES (1)", [])
        };
        let send = async { drop(release) };
        let (_, before, failed, after, ()) = tokio::join!(
            hold,
            store.push(vec![job("before", 1)], now),
            store.write("break", broken),
            store.push(vec![job("after", 1)], now),
            send,
        );
        failed.unwrap_err();
        assert!(matches!(before.unwrap()[0], Push::Queued(_)));
        assert!(matches!(after.unwrap()[0], Push::Queued(_)));
        assert_eq!(store.counts().await.unwrap().ready, 2);
    }

    /// What a full disk does: SQLite undoes the whole transaction by itself.
    #[tokio::test]
    async fn nothing_is_done_by_halves_when_a_transaction_is_undone_from_within() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let now = Timestamp::now();
        let (release, held) = mpsc::channel::<()>();
        let hold = store.write("hold", move |_| Ok(held.recv().is_err()));
        let undo = |connection: &Connection| {
            connection.execute_batch("ROLLBACK; INSERT INTO nowhere VALUES (1)")
        };
        let send = async { drop(release) };
        let (_, before, failed, after, ()) = tokio::join!(
            hold,
            store.push(vec![job("before", 1)], now),
            store.write("undo", undo),
            store.push(vec![job("after", 1)], now),
            send,
        );
        failed.unwrap_err();
        let kept = store.counts().await.unwrap().ready;
        let acknowledged = [before.is_ok(), after.is_ok()]
            .iter()
            .filter(|ok| **ok)
            .count();
        assert_eq!((acknowledged, kept), (0, 0));
        store.push(vec![job("before", 1)], now).await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_panics_closes_the_store_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let now = Timestamp::now();
        let panic = |connection: &Connection| -> rusqlite::Result<()> {
            connection.execute("DELETE FROM job", [])?;
            std::panic::resume_unwind(Box::new("planted"))
        };
        store.push(vec![job("before", 1)], now).await.unwrap();
        let error = store.write("panic", panic).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        store.push(vec![job("after", 1)], now).await.unwrap();
        assert_eq!(store.counts().await.unwrap().ready, 2);
    }

    #[tokio::test]
    async fn a_connection_that_has_failed_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let now = Timestamp::now();
        // From here on the connection refuses every commit.
        let spoil = |connection: &Connection| connection.execute_batch("PRAGMA query_only = ON");
        store.write("spoil", spoil).await.unwrap();
        let spoilt = |connection: &Connection| {
            connection.execute_batch("COMMIT")?;
            connection.execute("DELETE FROM job", []).map(drop)
        };
        store.write("fail", spoilt).await.unwrap_err();
        store.push(vec![job("after", 1)], now).await.unwrap();
    }

    #[tokio::test]
    async fn work_is_done_although_nobody_waits_for_it_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let (release, held) = mpsc::channel::<()>();
        let hold = store.write("hold", move |_| Ok(held.recv().is_err()));
        let impatient = async {
            let push = store.push(vec![job("a", 1)], Timestamp::now());
            // Asked once, and then dropped.
            assert!(push.now_or_never().is_none());
        };
        let send = async { drop(release) };
        let _ = tokio::join!(hold, impatient, send);
        store.close().await;
        let store = self::store(&folder);
        assert_eq!(store.counts().await.unwrap().ready, 1);
    }
}
