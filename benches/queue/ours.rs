//! The store as a worker uses it: lease some, settle each by itself.

use std::{
    cell::Cell,
    path::Path,
    time::{Duration, Instant},
};

use bridge::{Leased, NewJob, Queue, QueueAdmin, Settle, store::sqlite::SqliteStore};
use bridge_benches::Failure;
use futures_util::future::try_join_all;
use jiff::Timestamp;

use crate::{BATCH, Jobs};

const HOLD: Duration = Duration::from_secs(60);

pub(crate) async fn work(file: &Path, jobs: Jobs, workers: usize) -> Result<Duration, Failure> {
    let store = SqliteStore::open(file)?;
    let numbers: Vec<_> = (0..jobs.count).collect();
    for some in numbers.chunks(1_000) {
        let job = |number: &usize| NewJob {
            dedupe: format!("event {number}"),
            key: jobs.key(*number),
            kind: "box.webhook".to_owned(),
            body: Jobs::body(*number).into(),
        };
        store
            .push(some.iter().map(job).collect(), Timestamp::now())
            .await?;
    }
    let started = Instant::now();
    let left = Cell::new(jobs.due);
    try_join_all((0..workers).map(|number| worker(&store, number, &left))).await?;
    let took = started.elapsed();
    let counts = store.counts().await?;
    if counts.done < jobs.due as u64 {
        return Err(format!("jobs were left: {counts:?}").into());
    }
    store.close().await;
    Ok(took)
}

async fn worker(store: &SqliteStore, number: usize, left: &Cell<usize>) -> Result<(), Failure> {
    let owner = format!("worker {number}");
    while left.get() > 0 {
        left.set(left.get().saturating_sub(BATCH));
        let leased = store.lease(&owner, BATCH, HOLD, Timestamp::now()).await?;
        if leased.len() < BATCH {
            return Err("there were too few jobs".into());
        }
        try_join_all(leased.iter().map(|job| settle(store, job))).await?;
    }
    Ok(())
}

async fn settle(store: &SqliteStore, job: &Leased) -> Result<(), Failure> {
    let done = Settle::Done {
        note: "done".to_owned(),
    };
    Ok(store.settle(&job.lease, done, Timestamp::now()).await?)
}
