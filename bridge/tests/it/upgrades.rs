//! A store that an earlier version has left behind.

use std::time::Duration;

#[cfg(unix)]
use bridge::store::postgres::PostgresStore;
use bridge::store::sqlite::SqliteStore;
use bridge::{
    Begin, EffectKey, EffectState, JobId, JobState, Ledger, NewJob, Push, Queue, QueueAdmin,
    Settle, Writer,
};
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};

#[cfg(unix)]
use crate::cluster::Cluster;

/// Each leads to the version of its position, from 1.
const SQLITE: [&str; 3] = [
    include_str!("../../src/store/sqlite/schema.sql"),
    include_str!("../../src/store/sqlite/policies.sql"),
    include_str!("../../src/store/sqlite/fences.sql"),
];
#[cfg(unix)]
const POSTGRES: [&str; 5] = [
    include_str!("../../src/store/postgres/schema.sql"),
    include_str!("../../src/store/postgres/secrets.sql"),
    include_str!("../../src/store/postgres/policies.sql"),
    include_str!("../../src/store/postgres/fences.sql"),
    include_str!("../../src/store/postgres/vacuum.sql"),
];
/// The first bytes of their SHA-256.
const SQLITE_HASHES: [&str; 3] = ["f17969b4fe7ff507", "24118b297f3b18c1", "cfc44c2c0757c017"];
#[cfg(unix)]
const POSTGRES_HASHES: [&str; 5] = [
    "01fd978f9e0c7f98",
    "1d7e856d552a30f0",
    "dfdb6018adadaba7",
    "b57db85cebc8e078",
    "bb59c0195bcabf00",
];
const MARCH: i64 = 1_772_359_200_000_000;

fn hashes(migrations: &[&str]) -> Vec<String> {
    let hash = |it: &&str| {
        let hash = Sha256::digest(it.as_bytes());
        hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    };
    migrations.iter().map(hash).collect()
}

/// Stores that have it would stay as they are. What has to change is a migration of its own.
#[test]
fn no_migration_is_changed_once_it_is_out() {
    assert_eq!(hashes(&SQLITE), SQLITE_HASHES);
    #[cfg(unix)]
    assert_eq!(hashes(&POSTGRES), POSTGRES_HASHES);
}

/// One job of each state, the oldest first, and an effect of each, as version 1 has written them.
fn left_behind(schema: &str, body: &str) -> String {
    format!(
        "INSERT INTO {schema}job
            (state, at, attempts, fence, pushed_at, owner, note, dedupe, key, kind, body)
         VALUES
            (2, {MARCH}, 1, 7, {MARCH}, 'gone', NULL, 'leased', 'a', 'test', {body}),
            (0, {MARCH}, 0, 0, {MARCH}, NULL, NULL, 'behind', 'a', 'test', {body}),
            (1, {MARCH}, 2, 3, {MARCH}, NULL, 'later', 'ready', 'b', 'test', {body}),
            (3, {MARCH}, 1, 1, {MARCH}, NULL, NULL, 'done', 'c', 'test', {body}),
            (4, {MARCH}, 9, 9, {MARCH}, NULL, 'broken', 'dead', 'd', 'test', {body});
         INSERT INTO {schema}effect (key, begun_at, doubted_at, result) VALUES
            ('file/begun/', {MARCH}, NULL, NULL),
            ('file/doubted/', {MARCH}, {MARCH}, NULL),
            ('file/finished/', {MARCH}, NULL, '\"068\"');"
    )
}

async fn dedupes_of_leased(store: &impl Queue, now: Timestamp) -> Vec<String> {
    let hold = Duration::from_secs(60);
    let leased = store.lease("worker", 10, hold, now).await.unwrap();
    let mut dedupes = Vec::new();
    for job in leased {
        assert_eq!(job.body, "{}");
        store
            .settle(
                &job.lease,
                Settle::Done {
                    note: String::new(),
                },
                now,
            )
            .await
            .unwrap();
        dedupes.push(job.dedupe);
    }
    dedupes
}

/// Nothing is lost, nothing is done twice, and nothing is stuck.
async fn goes_on(store: &(impl QueueAdmin + Ledger)) {
    let now = Timestamp::from_microsecond(MARCH + 1_000_000).unwrap();
    // As a service does when it starts.
    store.release(Some("gone"), now).await.unwrap();
    assert_eq!(dedupes_of_leased(store, now).await, ["leased", "ready"]);
    assert_eq!(dedupes_of_leased(store, now).await, ["behind"]);
    let dead = store.job(JobId(5)).await.unwrap().unwrap();
    assert_eq!((dead.state, dead.attempts), (JobState::Dead, 9));
    assert_eq!(store.replay(&[dead.id], now).await.unwrap(), 1);
    assert_eq!(dedupes_of_leased(store, now).await, ["dead"]);
    let again = NewJob {
        dedupe: "done".to_owned(),
        key: "c".to_owned(),
        kind: "test".to_owned(),
        body: "{}".into(),
    };
    let pushed = store.push(vec![again], now).await.unwrap();
    assert_eq!(pushed, [Push::Duplicate(JobId(4))]);

    let key = |name| EffectKey::new(["file", name]);
    let finished = store.read(&key("finished")).await.unwrap();
    assert_eq!(finished, Some(EffectState::Finished(json!("068"))));
    let writer = Writer::unknown();
    // It may have been written: whoever comes has to look first.
    let taken = store.begin(&key("begun"), &writer, now).await.unwrap();
    assert_eq!(taken, Begin::Taken);
    for name in ["begun", "doubted"] {
        let key = key(name);
        assert!(store.doubt(&key, &writer, Duration::ZERO).await.unwrap());
        let begun = store.begin(&key, &writer, now).await.unwrap();
        assert_eq!(begun, Begin::Begun, "{name}");
        assert!(store.complete(&key, &writer, json!("069")).await.unwrap());
    }
}

#[tokio::test]
async fn a_file_of_any_earlier_version_goes_on() {
    for version in 1..SQLITE.len() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("store.db");
        let earlier = rusqlite::Connection::open(&path).unwrap();
        for migration in &SQLITE[..version] {
            earlier.execute_batch(migration).unwrap();
        }
        earlier
            .execute_batch(&format!(
                "PRAGMA application_id = {}; PRAGMA user_version = {version}; {}",
                0x6278_7366,
                left_behind("", "x'7b7d'")
            ))
            .unwrap();
        earlier.close().unwrap();
        let store = SqliteStore::open(&path).unwrap();
        goes_on(&store).await;
        store.close().await;
        SqliteStore::open(&path).unwrap().close().await;
    }
}

#[cfg(unix)]
pub(crate) async fn a_database_of_any_earlier_version_goes_on(cluster: &Cluster) {
    for version in 1..POSTGRES.len() {
        let url = cluster.database();
        let head = "CREATE SCHEMA bridge; CREATE TABLE bridge.version (version integer NOT NULL);";
        let numbers = (1..=version).map(|it| format!("INSERT INTO bridge.version VALUES ({it});"));
        let statements = [head.to_owned()]
            .into_iter()
            .chain(POSTGRES[..version].iter().map(|it| (*it).to_owned()))
            .chain(numbers)
            .chain([left_behind("bridge.", r"'\x7b7d'")]);
        cluster.run(&url, &statements.collect::<String>());
        goes_on(&PostgresStore::open(&url).await.unwrap()).await;
        goes_on_as_it_is(&url).await;
    }
}

/// Whoever opens it next finds nothing to change.
#[cfg(unix)]
async fn goes_on_as_it_is(url: &str) {
    let store = PostgresStore::open(url).await.unwrap();
    assert_eq!(store.counts().await.unwrap().dead, 0);
}
