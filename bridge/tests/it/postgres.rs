//! PostgreSQL, a real one, started by the tests.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bridge::{
    JobState, NewJob, Push, Queue, QueueAdmin, Settle, StoreErrorKind,
    store::postgres::{PostgresOptions, PostgresStore},
    testing::{fence_contract, ledger_contract, queue_contract},
};
use jiff::Timestamp;
use tokio::time::timeout;

use crate::cluster::Cluster;

async fn store(cluster: &Cluster) -> PostgresStore {
    PostgresStore::open(&cluster.database()).await.unwrap()
}

fn job(dedupe: &str, key: &str) -> NewJob {
    NewJob {
        dedupe: dedupe.to_owned(),
        key: key.to_owned(),
        kind: "test".to_owned(),
        body: "body".into(),
    }
}

/// One cluster for all the checks: it takes seconds to start.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_every_promise() {
    let cluster = Cluster::start();
    queue_contract(async || store(&cluster).await).await;
    ledger_contract(&store(&cluster).await).await;
    fence_contract(async || store(&cluster).await).await;
    processes_that_start_together_agree_on_the_schema(&cluster).await;
    a_newer_schema_is_refused(&cluster).await;
    crate::upgrades::a_database_of_any_earlier_version_goes_on(&cluster).await;
    a_push_wakes_the_workers_of_other_processes(&cluster).await;
    producers_and_workers_of_many_processes_keep_the_order_of_each_key(&cluster).await;
    crate::secrets::postgres::secrets_are_kept(async || cluster.database()).await;
    crate::clocks::nothing_is_lost_or_twice(Arc::new(store(&cluster).await)).await;
    more_dead_letters_than_the_database_has_locks_are_replayed_at_once(&cluster).await;
    the_databases_own_defaults_change_no_promise(&cluster).await;
    what_is_prolonged_at_the_last_moment_stays_where_it_is(&cluster).await;
    a_restart_of_the_database_is_got_over(&cluster).await;
    crate::cuts::a_connection_lost_at_any_statement_is_got_over(&cluster).await;
}

/// PostgreSQL's defaults have room for some 12,000 locks, for all sessions together, and twice as many
/// for as many connections as here.
async fn more_dead_letters_than_the_database_has_locks_are_replayed_at_once(cluster: &Cluster) {
    const DEAD: i64 = 40_000;
    let url = cluster.database();
    let store = PostgresStore::open(&url).await.unwrap();
    cluster.run(
        &url,
        &format!(
            "INSERT INTO bridge.job (state, at, pushed_at, dedupe, key, kind, body)
             SELECT 4, 0, 0, n, n, 'test', '' FROM generate_series(1, {DEAD}) AS n"
        ),
    );
    let ids: Vec<_> = (1..=DEAD).map(bridge::JobId).collect();
    let now = Timestamp::now();
    assert_eq!(store.replay(&ids, now).await.unwrap(), DEAD.unsigned_abs());
    assert_eq!(store.counts().await.unwrap().ready, DEAD.unsigned_abs());
}

/// By the defaults of a bank, a push that has waited for a settlement would not see that the key's turn
/// is free, and nobody would ever take the job.
async fn the_databases_own_defaults_change_no_promise(cluster: &Cluster) {
    const DEFAULTS: &str = "DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = %L',
                       current_database(), 'repeatable read');
        EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database());
    END $$";
    let url = cluster.database();
    drop(PostgresStore::open(&url).await.unwrap());
    cluster.run(&url, DEFAULTS);
    let store = PostgresStore::open(&url).await.unwrap();
    let mut prompt = cluster.prompt(&url);
    let (hold, now) = (Duration::from_secs(60), Timestamp::now());
    store.push(vec![job("first", "k")], now).await.unwrap();
    let first = store.lease("w", 1, hold, now).await.unwrap().remove(0);
    prompt.ask("BEGIN; SELECT bridge.lock_key('k');");
    let done = Settle::Done {
        note: "done".into(),
    };
    let wait_for_both = async {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted;";
        while tokio::task::block_in_place(|| prompt.ask(waiting)) != "2" {
            tokio::task::yield_now().await;
        }
        tokio::task::block_in_place(|| prompt.ask("COMMIT; SELECT 1;"));
    };
    let (settled, pushed, ()) = tokio::join!(
        store.settle(&first.lease, done, now),
        store.push(vec![job("second", "k")], now),
        wait_for_both,
    );
    settled.unwrap();
    pushed.unwrap();
    let second = store.lease("w", 1, hold, Timestamp::now()).await.unwrap();
    assert_eq!(second.len(), 1, "nobody ever gets the second job");
}

/// The prolongation is not committed yet when another worker finds the lease over.
async fn what_is_prolonged_at_the_last_moment_stays_where_it_is(cluster: &Cluster) {
    let url = cluster.database();
    let (store, other) = (
        PostgresStore::open(&url).await.unwrap(),
        PostgresStore::open(&url).await.unwrap(),
    );
    let now = Timestamp::now();
    store.push(vec![job("a", "k")], now).await.unwrap();
    let leased = store.lease("w", 1, Duration::ZERO, now).await.unwrap();
    let (mut client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let prolonging = client.transaction().await.unwrap();
    prolonging
        .batch_execute("UPDATE bridge.job SET at = bridge.clock() + 60000000")
        .await
        .unwrap();
    let takes = tokio::spawn(async move {
        let hold = Duration::from_secs(60);
        other.lease("other", 1, hold, Timestamp::now()).await
    });
    let waits = "SELECT 1 FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while prolonging.query(waits, &[]).await.unwrap().is_empty() {
        assert!(!takes.is_finished(), "it did not look at the lease");
        tokio::task::yield_now().await;
    }
    prolonging.commit().await.unwrap();
    assert_eq!(takes.await.unwrap().unwrap(), []);
    let done = Settle::Done {
        note: "done".into(),
    };
    store.settle(&leased[0].lease, done, now).await.unwrap();
}

async fn processes_that_start_together_agree_on_the_schema(cluster: &Cluster) {
    let url = cluster.database();
    let opened = futures_util::future::join_all((0..8).map(|_| PostgresStore::open(&url))).await;
    for store in opened {
        assert_eq!(store.unwrap().counts().await.unwrap().ready, 0);
    }
}

async fn a_newer_schema_is_refused(cluster: &Cluster) {
    let url = cluster.database();
    drop(PostgresStore::open(&url).await.unwrap());
    cluster.run(&url, "INSERT INTO bridge.version VALUES (99)");
    let refused = PostgresStore::open(&url).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Incompatible);
    let nonsense = PostgresStore::open("postgres://user:secret@[nonsense")
        .await
        .unwrap_err();
    assert_eq!(nonsense.kind(), StoreErrorKind::Incompatible);
    assert!(!format!("{nonsense:?}{nonsense}").contains("secret"));
}

async fn a_push_wakes_the_workers_of_other_processes(cluster: &Cluster) {
    let url = cluster.database();
    let (one, other) = (
        PostgresStore::open(&url).await.unwrap(),
        PostgresStore::open(&url).await.unwrap(),
    );
    // The first hint may only say that listening has begun.
    for round in 0..3 {
        let waits = timeout(Duration::from_secs(20), other.wait());
        one.push(vec![job(&format!("{round}"), "k")], Timestamp::now())
            .await
            .unwrap();
        waits.await.expect("nobody woke it");
    }
}

async fn producers_and_workers_of_many_processes_keep_the_order_of_each_key(cluster: &Cluster) {
    const PRODUCERS: usize = 8;
    const JOBS: usize = 40;
    const KEYS: usize = 5;
    let url = cluster.database();
    let mut options = PostgresOptions::default();
    options.connections = 4;
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(PostgresStore::open_with(&url, &options).await.unwrap());
    }
    let producers = (0..PRODUCERS).map(|producer| {
        let store = stores[producer % stores.len()].clone();
        async move {
            let mut pushed = Vec::new();
            for n in 0..JOBS {
                // Several keys in one call, in another order each time.
                let jobs: Vec<_> = (0..KEYS)
                    .map(|k| (k * (producer + 1) + n) % KEYS)
                    .map(|k| job(&format!("{producer}/{n}/{k}"), &format!("key{k}")))
                    .collect();
                for push in store.push(jobs, Timestamp::now()).await.unwrap() {
                    match push {
                        Push::Queued(id) => pushed.push(id),
                        Push::Duplicate(_) => {}
                    }
                }
            }
            pushed
        }
    });
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let workers: Vec<_> = stores
        .iter()
        .cloned()
        .enumerate()
        .map(|(worker, store)| {
            let stopped = stopped.clone();
            tokio::spawn(async move {
                let mut done: Vec<(String, i64)> = Vec::new();
                loop {
                    let ended = *stopped.borrow();
                    let now = Timestamp::now();
                    let hold = Duration::from_secs(60);
                    let leased = store
                        .lease(&format!("w{worker}"), 3, hold, now)
                        .await
                        .unwrap();
                    if leased.is_empty() && ended && store.counts().await.unwrap().ready == 0 {
                        return done;
                    }
                    for job in leased {
                        done.push((job.key.clone(), job.lease.job.0));
                        let settle = Settle::Done {
                            note: "done".into(),
                        };
                        store
                            .settle(&job.lease, settle, Timestamp::now())
                            .await
                            .unwrap();
                    }
                }
            })
        })
        .collect();
    let pushed: Vec<_> = futures_util::future::join_all(producers).await.concat();
    stop.send_replace(true);
    let mut seen: BTreeMap<i64, usize> = BTreeMap::new();
    for worker in workers {
        let done = worker.await.unwrap();
        for k in 0..KEYS {
            let of_key = done.iter().filter(|(key, _)| *key == format!("key{k}"));
            assert!(
                of_key.map(|(_, id)| id).is_sorted(),
                "key{k} was done out of order"
            );
        }
        for (_, id) in done {
            *seen.entry(id).or_default() += 1;
        }
    }
    assert_eq!(seen.len(), pushed.len());
    assert!(
        seen.values().all(|times| *times == 1),
        "something was done twice"
    );
    assert_eq!(stores[0].counts().await.unwrap().done, pushed.len() as u64);
}

async fn a_restart_of_the_database_is_got_over(cluster: &Cluster) {
    let store = store(cluster).await;
    let now = Timestamp::now();
    store.push(vec![job("before", "a")], now).await.unwrap();
    cluster.control(&["restart", "--mode=immediate"]);
    let pushed = store.push(vec![job("after", "b")], now).await.unwrap();
    assert!(matches!(pushed[..], [Push::Queued(_)]));
    let pushed = store.push(vec![job("before", "a")], now).await.unwrap();
    assert!(
        matches!(pushed[..], [Push::Duplicate(_)]),
        "what was acknowledged is there"
    );
    let filter = bridge::JobFilter {
        state: Some(JobState::Ready),
        ..bridge::JobFilter::default()
    };
    assert_eq!(store.jobs(&filter).await.unwrap().len(), 2);
}
