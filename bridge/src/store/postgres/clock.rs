//! The database's time, by which all of its processes go.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use deadpool_postgres::Pool;
use jiff::Timestamp;
use tokio::time::sleep;
use tracing::debug;

use super::{
    failure::{pool_error, store_error},
    queue::timestamp,
    run,
};
use crate::{
    clock::{Clock, Steady, later},
    store_error::StoreError,
};

/// Machines' own clocks part by less than this makes noticeable.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// The time that the database has told, and what has passed since.
#[derive(Debug)]
pub(super) struct DatabaseClock(Mutex<Told>);

#[derive(Debug)]
struct Told {
    time: Timestamp,
    at: Instant,
    steady: Steady,
}

impl DatabaseClock {
    pub(super) async fn ask(pool: &Pool, doing: &'static str) -> Result<Arc<Self>, StoreError> {
        let (time, at) = ask(pool, doing).await?;
        let steady = Steady::new(time, at);
        Ok(Arc::new(Self(Mutex::new(Told { time, at, steady }))))
    }

    fn tell(&self, time: Timestamp, at: Instant) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (told.time, told.at) = (time, at);
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> Timestamp {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let theirs = later(told.time, now.saturating_duration_since(told.at));
        told.steady.follow(theirs, now)
    }
}

/// Asks again and again, for as long as somebody goes by it.
pub(super) async fn keep(clock: Weak<DatabaseClock>, pool: Pool) {
    while clock.strong_count() > 0 {
        sleep(ASK_EVERY).await;
        match ask(&pool, "ask for the time").await {
            Ok((time, at)) => {
                if let Some(clock) = clock.upgrade() {
                    clock.tell(time, at);
                }
            }
            Err(error) => debug!(%error, "the database does not tell the time for now"),
        }
    }
}

/// What the database's clock shows at an instant: the middle of the call.
async fn ask(pool: &Pool, doing: &'static str) -> Result<(Timestamp, Instant), StoreError> {
    let client = pool.get().await.map_err(|cause| pool_error(doing, cause))?;
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::bigint";
    let asked = Instant::now();
    let rows = run(&client, sql, &[]).await;
    let at = asked + asked.elapsed() / 2;
    let failed = |cause| store_error(doing, cause);
    let rows = rows.map_err(failed)?;
    let micros = match rows.first() {
        Some(row) => row.try_get(0).map_err(failed)?,
        None => 0,
    };
    Ok((timestamp(doing, micros)?, at))
}
