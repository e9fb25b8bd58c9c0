//! A connection to PostgreSQL that is lost at any statement, before it arrives or before its answer.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bridge::{
    Begin, EffectKey, EffectState, JobState, Ledger, NewJob, Push, Queue, QueueAdmin, Settle,
    StoreError, StoreErrorKind, Writer,
    store::postgres::{PostgresOptions, PostgresStore},
};
use jiff::Timestamp;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use crate::cluster::Cluster;

/// Where a connection is cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The database never hears of it.
    Before,
    /// It is done, and nobody hears the answer.
    After,
}

/// Stands between a store and its database, and cuts the connection once.
struct Wire {
    folder: tempfile::TempDir,
    heard: Arc<AtomicUsize>,
}

impl Wire {
    /// Cuts at the `number`-th thing that is said to the database from now on.
    fn to(database: PathBuf, number: usize, cut: Cut) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let heard = Arc::new(AtomicUsize::new(0));
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let counted = heard.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = UnixStream::connect(&database).await.unwrap();
                tokio::spawn(pass(near, far, counted.clone(), number, cut));
            }
        });
        Self { folder, heard }
    }
}

async fn pass(near: UnixStream, far: UnixStream, heard: Arc<AtomicUsize>, number: usize, cut: Cut) {
    let (mut asked, mut answer) = near.into_split();
    let (mut told, mut ask) = far.into_split();
    let (mut question, mut reply) = (vec![0; 65536], vec![0; 65536]);
    let mut is_last = false;
    loop {
        tokio::select! {
            read = asked.read(&mut question) => {
                let Ok(length @ 1..) = read else { return };
                let is_it = heard.fetch_add(1, Ordering::SeqCst) + 1 == number;
                if is_it && matches!(cut, Cut::Before) {
                    return;
                }
                is_last |= is_it;
                if ask.write_all(&question[..length]).await.is_err() {
                    return;
                }
            }
            read = told.read(&mut reply) => {
                let Ok(length @ 1..) = read else { return };
                if is_last || answer.write_all(&reply[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// As callers do: what failed because the database was away is done again.
async fn surely<T>(mut call: impl AsyncFnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    for _ in 0..20 {
        match call().await {
            Err(error) if error.kind() == StoreErrorKind::Unavailable => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            result => return result,
        }
    }
    panic!("the database was cut off once only")
}

/// A job's whole life, and that of its effect.
async fn live(store: &PostgresStore, cut: &str) {
    let now = Timestamp::now();
    let hold = Duration::from_secs(60);
    let new = NewJob {
        dedupe: cut.to_owned(),
        key: cut.to_owned(),
        kind: "test".into(),
        body: "body".into(),
    };
    let pushed = surely(async || store.push(vec![new.clone()], now).await).await;
    let [Push::Queued(id) | Push::Duplicate(id)] = pushed.unwrap()[..] else {
        panic!("{cut}: pushed several")
    };
    let leased = surely(async || store.lease("w", 5, hold, now).await).await;
    let mut leased = leased.unwrap();
    if leased.is_empty() {
        // The answer was lost. Whoever asks when the lease is given back has the job.
        store.release(None, now).await.unwrap();
        leased = store.lease("w", 5, hold, now).await.unwrap();
    }
    let [leased] = &leased[..] else {
        panic!("{cut}: {leased:?}")
    };
    assert_eq!(leased.lease.job, id, "{cut}");
    surely(async || store.extend(&leased.lease, hold).await)
        .await
        .unwrap();

    let key = EffectKey::new(["task", cut]);
    surely(async || store.pauses().await).await.unwrap();
    let writer = Writer::under(leased.lease);
    let begun = surely(async || store.begin(&key, &writer, now).await);
    let begun = begun.await.unwrap();
    assert_eq!(begun, Begin::Begun, "{cut}");
    surely(async || store.finish(&key, json!("done"), now).await)
        .await
        .unwrap();
    let known = surely(async || store.read(&key).await).await.unwrap();
    assert_eq!(known, Some(EffectState::Finished(json!("done"))), "{cut}");

    let done = Settle::Done {
        note: "done".into(),
    };
    let settled = surely(async || store.settle(&leased.lease, done.clone(), now).await).await;
    settled.unwrap();
    let job = surely(async || store.job(id).await).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Done, "{cut}");
    let again = surely(async || store.push(vec![new.clone()], now).await).await;
    assert_eq!(again.unwrap(), [Push::Duplicate(id)], "{cut}");
    let counts = surely(async || store.counts().await).await.unwrap();
    assert_eq!((counts.ready, counts.leased), (0, 0), "{cut}");
}

pub(crate) async fn a_connection_lost_at_any_statement_is_got_over(cluster: &Cluster) {
    let url = cluster.database();
    let (start, rest) = url.split_once("host=").unwrap();
    let (folder, end) = rest.split_once('&').unwrap();
    // What comes after the schema is there.
    drop(PostgresStore::open(&url).await.unwrap());
    for cut in [Cut::Before, Cut::After] {
        for number in 1.. {
            let wire = Wire::to(PathBuf::from(folder).join(".s.PGSQL.5432"), number, cut);
            let url = format!("{start}host={}&{end}", wire.folder.path().display());
            let mut options = PostgresOptions::default();
            options.connections = 2;
            let store = surely(async || PostgresStore::open_with(&url, &options).await).await;
            let name = format!("cut {cut:?} {number}");
            live(&store.unwrap(), &name).await;
            if wire.heard.load(Ordering::SeqCst) < number {
                assert!(number > 20, "hardly anything was said: {number}");
                break;
            }
        }
    }
}
