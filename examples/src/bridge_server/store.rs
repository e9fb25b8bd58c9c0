//! The store that the configuration names.

use std::sync::Arc;

use bridge::{
    Clock, Ledger, QueueAdmin, SteadyClock,
    store::{
        memory::MemoryStore,
        postgres::{PostgresOptions, PostgresStore},
        sqlite::{SoleWorker, SqliteStore},
    },
};
use secrecy::ExposeSecret;
use tracing::info;

use crate::{
    Failure,
    config::{Config, StoreUrl},
    in_one_line,
};

/// The inbox and the ledger, wherever they are kept.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) queue: Arc<dyn QueueAdmin>,
    pub(crate) ledger: Arc<dyn Ledger>,
    /// The time, for everything that is written there.
    pub(crate) clock: Arc<dyn Clock>,
    file: Option<SqliteStore>,
}

/// Held by a process that works on the store, for as long as it does.
pub(crate) struct AtWork(#[expect(dead_code, reason = "held until the end")] Option<SoleWorker>);

impl Store {
    /// Opens it for a look, or for a word with it, while a service may be at work.
    pub(crate) async fn open(config: &Config) -> Result<Self, Failure> {
        match &config.store.url {
            StoreUrl::Open(url) if config.store.is_postgres() => postgres(config, url).await,
            StoreUrl::Secret(secret) => {
                let url = secret
                    .read()
                    .map_err(|problem| Failure::Setup(vec![format!("store.url: {problem}")]))?;
                postgres(config, url.expose_secret()).await
            }
            StoreUrl::Open(_) => Self::of_file(config, sqlite(config)?).await,
        }
    }

    /// Opens it for a look, and makes no file where there is none: then nothing has been done yet.
    pub(crate) async fn open_if_there(config: &Config) -> Result<Self, Failure> {
        match config.store.path() {
            Some(path) if !path.exists() => Ok(Self::in_memory()),
            _ => Self::open(config).await,
        }
    }

    /// Opens it for work by hand, which an operator's pause stops as it stops the service's.
    pub(crate) async fn open_unpaused(config: &Config) -> Result<Self, Failure> {
        let store = Self::open(config).await?;
        store.unless_paused().await?;
        Ok(store)
    }

    /// Fails where somebody has paused a side, or everything.
    pub(crate) async fn unless_paused(&self) -> Result<(), Failure> {
        let pauses = self.queue.pauses().await.map_err(Failure::run)?;
        let what = match (pauses.all, pauses.content, pauses.crm) {
            (true, _, _) => "everything",
            (_, true, true) => "box and salesforce",
            (_, true, _) => "box",
            (_, _, true) => "salesforce",
            _ => return Ok(()),
        };
        Err(Failure::Run(format!(
            "somebody has paused {what}, so nothing was done; `queue resume` lifts it"
        )))
    }

    /// Opens it to work on it. What a dead process has left leased in a file is free again at
    /// once; in a database that several share it is free when its lease runs out.
    pub(crate) async fn open_to_work(config: &Config) -> Result<(Self, AtWork), Failure> {
        if config.store.is_postgres() {
            return Ok((Self::open(config).await?, AtWork(None)));
        }
        let store = sqlite(config)?;
        let sole = store
            .sole_worker()
            .map_err(|error| refused(config, &error))?;
        let store = Self::of_file(config, store).await?;
        let released = store.queue.release(None, store.clock.now()).await;
        let released = released.map_err(|error| refused(config, &error))?;
        if released > 0 {
            info!(released, "events of an earlier run are taken up again");
        }
        Ok((store, AtWork(Some(sole))))
    }

    /// Opens it, and to work on it where certainly nobody else does: a file has one worker, of a
    /// database nobody knows.
    pub(crate) async fn open_alone(config: &Config) -> Result<(Self, Option<AtWork>), Failure> {
        if config.store.is_postgres() {
            return Ok((Self::open(config).await?, None));
        }
        let store = sqlite(config)?;
        let sole = store.sole_worker().ok();
        let store = Self::of_file(config, store).await?;
        Ok((store, sole.map(|sole| AtWork(Some(sole)))))
    }

    /// One that nobody sees, for what writes nothing.
    pub(crate) fn in_memory() -> Self {
        let store = Arc::new(MemoryStore::new());
        Self {
            queue: store.clone(),
            ledger: store,
            clock: Arc::new(SteadyClock::new()),
            file: None,
        }
    }

    /// Puts everything into the one file, for whoever copies it while nothing runs.
    pub(crate) async fn close(&self) {
        if let Some(file) = &self.file {
            file.close().await;
        }
    }

    async fn of_file(config: &Config, store: SqliteStore) -> Result<Self, Failure> {
        let clock = store.clock().await;
        let clock = clock.map_err(|error| refused(config, &error))?;
        Ok(Self {
            file: Some(store.clone()),
            ..Self::both(store, clock)
        })
    }

    fn both(store: impl QueueAdmin + Ledger + Clone, clock: Arc<dyn Clock>) -> Self {
        Self {
            queue: Arc::new(store.clone()),
            ledger: Arc::new(store),
            clock,
            file: None,
        }
    }
}

fn sqlite(config: &Config) -> Result<SqliteStore, Failure> {
    let path = config.store.path().unwrap_or_else(|| "".as_ref());
    SqliteStore::open(path).map_err(|error| refused(config, &error))
}

async fn postgres(config: &Config, url: &str) -> Result<Store, Failure> {
    let mut options = PostgresOptions::default();
    options.connections = config.store.connections;
    let store = PostgresStore::open_with(url, &options).await;
    let store = store.map_err(|error| refused(config, &error))?;
    let clock = store.clock();
    Ok(Store::both(store, clock))
}

/// With the place, but never with a URL, which may hold a password.
fn refused(config: &Config, error: &dyn std::error::Error) -> Failure {
    let error = in_one_line(error);
    Failure::Setup(vec![match config.store.path() {
        Some(path) => format!("store.url {}: {error}", path.display()),
        None => format!("store.url: {error}"),
    }])
}
