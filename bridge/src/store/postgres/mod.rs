//! The inbox and the ledger in PostgreSQL, for several processes on one database.
//!
//! Everything lives in the schema `bridge`, which is made and brought up to date when a store is
//! opened; `bridge.inbox_readable` shows the inbox with times and states as text. The rules of the
//! inbox are functions in the database (`schema.sql`), one round trip and one transaction each.

mod admin;
mod clock;
mod connect;
mod failure;
mod ledger;
mod listen;
mod migrate;
mod push;
mod queue;

use std::{fmt, sync::Arc, time::Duration};

use deadpool_postgres::{Client, Pool};
use tokio::{sync::Notify, task::AbortHandle};
use tokio_postgres::{Error, Row, types::ToSql};
use tracing::warn;

use self::{
    clock::DatabaseClock,
    failure::{is_passing, pool_error, store_error},
    push::Pusher,
};
use crate::{clock::Clock, queue::InboxId, store_error::StoreError};

const OPEN: &str = "open the store";

/// A [`Queue`](crate::Queue) and a [`Ledger`](crate::Ledger) in a PostgreSQL database, from version
/// 13 on. Clones share its connections.
///
/// It prepares statements, listens, and sets what its sessions are to do as they start, so a pool
/// between it and the database, such as PgBouncer, has to be one of sessions that lets `options` pass.
///
/// Any number of processes may work on one database. The leases of one that has died run out by
/// the database's clock and are taken over by the others, whatever their own clocks say. Callers
/// have [a clock](Self::clock) of the store's too.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    pusher: Pusher,
    wake: Arc<Notify>,
    clock: Arc<DatabaseClock>,
    listener: AbortHandle,
    timekeeper: AbortHandle,
    inbox: InboxId,
}

/// How a [`PostgresStore`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PostgresOptions {
    /// Connections at most, besides the one that listens and the one by which events come in.
    pub connections: usize,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            connections: 16,
            connect_timeout: Duration::from_secs(5),
        }
    }
}

impl PostgresStore {
    /// Connects to `postgres://user:password@host:5432/database`, and makes or updates the schema.
    ///
    /// `sslmode=require` in the URL insists on TLS, by which the server's certificate is verified.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, &PostgresOptions::default()).await
    }

    /// Connects, with other options.
    pub async fn open_with(url: &str, options: &PostgresOptions) -> Result<Self, StoreError> {
        let config = connect::config(url, options)?;
        if connect::is_open_to_listeners(&config) {
            warn!("the database is on another machine and the URL does not say sslmode=require");
        }
        let tls = connect::tls()?;
        let pool = |connections| connect::pool(config.clone(), tls.clone(), options, connections);
        // What comes in does not wait for a connection behind what is worked on.
        let (pool, pushers) = (pool(options.connections)?, pool(1)?);
        let mut client = pool.get().await.map_err(|cause| pool_error(OPEN, cause))?;
        migrate::migrate(&mut client).await?;
        drop(client);
        let clock = DatabaseClock::ask(&pool, OPEN).await?;
        let keep = clock::keep(Arc::downgrade(&clock), pool.clone());
        let timekeeper = tokio::spawn(keep).abort_handle();
        let wake = Arc::new(Notify::new());
        let listen = listen::listen(config, tls, Arc::downgrade(&wake));
        let listener = tokio::spawn(listen).abort_handle();
        Ok(Self {
            inner: Arc::new(Inner {
                pusher: Pusher::start(pushers),
                pool,
                wake,
                clock,
                listener,
                timekeeper,
                inbox: InboxId::unique(),
            }),
        })
    }

    /// The database's time, followed without its jumps and whatever this machine's clock shows. For
    /// everything that works on the store: workers, pipelines, receivers and sources.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock.clone()
    }

    pub(crate) async fn client(&self, doing: &'static str) -> Result<Client, StoreError> {
        let client = self.inner.pool.get().await;
        client.map_err(|cause| pool_error(doing, cause))
    }

    async fn query(
        &self,
        doing: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let client = self.client(doing).await?;
        run(&client, sql, parameters)
            .await
            .map_err(|cause| store_error(doing, cause))
    }

    /// Asks again on another connection where the first was lost. Only for what does no harm when
    /// it is done twice.
    pub(crate) async fn query_again(
        &self,
        doing: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let client = self.client(doing).await?;
        match run(&client, sql, parameters).await {
            Ok(rows) => Ok(rows),
            Err(error) if is_passing(&error) => {
                drop(client);
                self.inner.pool.retain(|client, _| !client.is_closed());
                self.query(doing, sql, parameters).await
            }
            Err(error) => Err(store_error(doing, error)),
        }
    }
}

async fn run(
    client: &Client,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Error> {
    let statement = client.prepare_cached(sql).await?;
    client.query(&statement, parameters).await
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.listener.abort();
        self.timekeeper.abort();
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}
