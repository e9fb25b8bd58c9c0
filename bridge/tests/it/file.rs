//! The SQLite file: what it is to other programs, other processes and a full disk.

use std::{path::PathBuf, time::Duration};

use bridge::{
    EffectKey, JobId, JobState, Ledger, NewJob, Push, Queue, QueueAdmin, Settle, StoreErrorKind,
    store::sqlite::{SqliteOptions, SqliteStore},
};
use futures_util::future::join_all;
use jiff::Timestamp;
use rusqlite::Connection;

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    Place {
        _folder: folder,
        path,
    }
}

fn job(dedupe: &str) -> NewJob {
    let dedupe = dedupe.to_owned();
    NewJob {
        key: dedupe.clone(),
        dedupe,
        kind: "test".into(),
        body: "{\"é\":1}".into(),
    }
}

fn now() -> Timestamp {
    "2026-03-01T10:00:00.5Z".parse().unwrap()
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let Place { path, _folder } = place();
    // One that is only dropped tidies up a little later.
    SqliteStore::open(&path).unwrap().close().await;
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    newer.close().unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Incompatible);
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    let Place { path, _folder } = place();
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
        .unwrap();
    other.close().unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Incompatible);
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn what_cannot_be_opened_says_so() {
    let Place { path, _folder } = place();
    let missing = path.join("no/such/folder/store.db");
    assert_eq!(
        SqliteStore::open(missing).unwrap_err().kind(),
        StoreErrorKind::Unavailable
    );
    let folder = path.parent().unwrap();
    assert_eq!(
        SqliteStore::open(folder).unwrap_err().kind(),
        StoreErrorKind::Unavailable
    );
}

#[tokio::test]
async fn people_can_read_it_with_sqlite3_while_it_is_open() {
    let Place { path, _folder } = place();
    let store = SqliteStore::open(&path).unwrap();
    store.push(vec![job("a")], now()).await.unwrap();
    let look = Connection::open(&path).unwrap();
    let row: (String, String, String) = look
        .query_row(
            "SELECT state, pushed_at, body FROM inbox_readable",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(
        row,
        (
            "ready".into(),
            "2026-03-01T10:00:00.500Z".into(),
            "{\"é\":1}".into()
        )
    );
}

/// Four openings of one file that has no schema yet.
fn opened_at_once() -> (tempfile::TempDir, Vec<SqliteStore>) {
    let Place { path, _folder } = place();
    let start = std::sync::Barrier::new(4);
    let stores = std::thread::scope(|scope| {
        let open = || {
            start.wait();
            SqliteStore::open(&path).unwrap()
        };
        let opening: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        opening
            .into_iter()
            .map(|store| store.join().unwrap())
            .collect()
    });
    (_folder, stores)
}

#[test]
fn a_file_that_several_open_at_once_is_made_by_one() {
    for _ in 0..50 {
        opened_at_once();
    }
}

#[tokio::test]
async fn two_processes_share_one_file() {
    let (_folder, stores) = opened_at_once();
    let pushes = (0..200).map(|n| {
        let store = &stores[n % 4];
        async move {
            store
                .push(vec![job(&format!("{}", n / 2))], now())
                .await
                .unwrap()
        }
    });
    let pushed: Vec<Push> = join_all(pushes).await.into_iter().flatten().collect();
    let new = pushed
        .iter()
        .filter(|push| matches!(push, Push::Queued(_)))
        .count();
    assert_eq!(new, 100, "each was pushed twice, by two processes");
    let leases = stores
        .iter()
        .map(|store| store.lease("w", 100, Duration::from_secs(9), now()));
    let leased: usize = join_all(leases)
        .await
        .into_iter()
        .map(|got| got.unwrap().len())
        .sum();
    assert_eq!(leased, 100, "no job went to two");
}

#[tokio::test]
async fn a_file_that_another_process_holds_is_unavailable_and_then_well_again() {
    let Place { path, _folder } = place();
    let mut options = SqliteOptions::default();
    options.busy = Duration::from_millis(20);
    let store = SqliteStore::open_with(&path, &options).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.push(vec![job("a")], now()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert_eq!(
        store.job(JobId(1)).await.unwrap(),
        None,
        "who only looks does not wait"
    );
    other.execute_batch("ROLLBACK").unwrap();
    let pushed = store.push(vec![job("a")], now()).await.unwrap();
    assert_eq!(pushed, [Push::Queued(JobId(1))]);
}

#[tokio::test]
async fn closing_finishes_what_was_asked_for_and_tidies_up() {
    let Place { path, _folder } = place();
    let store = SqliteStore::open(&path).unwrap();
    let other = store.clone();
    let pushes: Vec<_> = (0..300)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.push(vec![job(&n.to_string())], now()).await })
        })
        .collect();
    tokio::task::yield_now().await;
    store.close().await;
    store.close().await;
    let mut accepted = 0;
    for push in pushes {
        match push.await.unwrap() {
            Ok(_) => accepted += 1,
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::Unavailable),
        }
    }
    assert_eq!(
        other.counts().await.unwrap_err().kind(),
        StoreErrorKind::Unavailable
    );
    let names = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let names: Vec<_> = names.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["store.db"], "the write-ahead log has been taken in");
    let again = SqliteStore::open(&path).unwrap();
    assert_eq!(again.counts().await.unwrap().ready, accepted);
}

#[tokio::test]
async fn both_the_inbox_and_the_ledger_outlive_the_process() {
    let Place { path, _folder } = place();
    let key = EffectKey::new(["version", "1"]);
    let store = SqliteStore::open(&path).unwrap();
    let Push::Queued(id) = store.push(vec![job("a")], now()).await.unwrap()[0] else {
        panic!()
    };
    let leased = store
        .lease("w", 1, Duration::from_secs(9), now())
        .await
        .unwrap();
    let note = "done".to_owned();
    store
        .settle(&leased[0].lease, Settle::Done { note }, now())
        .await
        .unwrap();
    store
        .finish(&key, serde_json::json!({ "id": "068" }), now())
        .await
        .unwrap();
    drop(store);

    let store = SqliteStore::open(&path).unwrap();
    let job = store.job(id).await.unwrap().unwrap();
    assert_eq!(
        (job.state, job.note.as_deref()),
        (JobState::Done, Some("done"))
    );
    let under = store.under(&EffectKey::new(["version"])).await.unwrap();
    assert_eq!(under.len(), 1);
}
