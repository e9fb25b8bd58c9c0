use bridge::{
    NewJob, Queue, StoreErrorKind,
    store::{memory::MemoryStore, sqlite::SqliteStore},
    testing::{fence_contract, ledger_contract, queue_contract},
};
use jiff::Timestamp;

fn fresh(folder: &tempfile::TempDir) -> SqliteStore {
    let name = format!("{}.db", std::fs::read_dir(folder.path()).unwrap().count());
    SqliteStore::open(folder.path().join(name)).unwrap()
}

#[tokio::test]
async fn memory_keeps_the_contracts() {
    queue_contract(async || MemoryStore::new()).await;
    ledger_contract(&MemoryStore::new()).await;
    fence_contract(async || MemoryStore::new()).await;
}

#[tokio::test]
async fn sqlite_keeps_the_contracts() {
    let folder = tempfile::tempdir().unwrap();
    queue_contract(async || fresh(&folder)).await;
    ledger_contract(&fresh(&folder)).await;
    fence_contract(async || fresh(&folder)).await;
}

#[tokio::test]
async fn what_is_pushed_is_there_for_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let job = NewJob {
        dedupe: "e1".into(),
        key: "k".into(),
        kind: "test".into(),
        body: "body".into(),
    };
    let now = Timestamp::now();
    SqliteStore::open(&path)
        .unwrap()
        .push(vec![job.clone()], now)
        .await
        .unwrap();
    let again = SqliteStore::open(&path).unwrap();
    let leased = again
        .lease("w", 1, std::time::Duration::from_secs(1), now)
        .await
        .unwrap();
    assert_eq!(leased[0].body, job.body);
}

#[tokio::test]
async fn another_programs_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    std::fs::write(&path, b"these are somebody's notes and no database at all").unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Incompatible);
    let kept = std::fs::read(&path).unwrap();
    assert_eq!(kept, b"these are somebody's notes and no database at all");
}

#[test]
fn only_one_process_works_on_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    let held = store.sole_worker().unwrap();
    let other = SqliteStore::open(&path).unwrap();
    assert_eq!(
        other.sole_worker().unwrap_err().kind(),
        StoreErrorKind::Unavailable
    );
    drop(held);
    other.sole_worker().unwrap();
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_the_store() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let _store = SqliteStore::open(&path).unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}
