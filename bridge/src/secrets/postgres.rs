//! Secrets in the database that the processes share.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use tokio::time::{Instant, sleep};
use tokio_postgres::{Error, Row};

use super::{
    SecretError, SecretErrorKind, SecretKey, SecretName, SecretStore, Swap, Versioned, port,
    sealed::{Sealer, Unreadable},
};
use crate::{
    store::postgres::PostgresStore,
    store_error::{StoreError, StoreErrorKind},
};

const OPEN: &str = "open the secrets";
const LOAD: &str = "load a secret";
const SWAP: &str = "swap a secret";
const LEASE: &str = "lease a secret";
const ROTATE: &str = "rotate the key of the secrets";
/// How often the row may change between a look and a swap.
const ROUNDS: u32 = 8;

const ONE: &str = "SELECT name, version, sealed FROM bridge.secret WHERE name = $1";
const ANY: &str = "SELECT name, version, sealed FROM bridge.secret LIMIT 1";
const ALL: &str = "SELECT name, version, sealed FROM bridge.secret";
const INSERT: &str = "INSERT INTO bridge.secret (name, version, sealed) VALUES ($1, $2, $3) \
                      ON CONFLICT (name) DO NOTHING RETURNING version";
// By what is stored and not by its version alone: a change of the key keeps the version.
const UPDATE: &str = "UPDATE bridge.secret SET version = $2, sealed = $3 \
                      WHERE name = $1 AND sealed = $4 RETURNING version";
const TAKE: &str = "INSERT INTO bridge.secret_lease AS held (name, owner, until) \
                    VALUES ($1, $2, clock_timestamp() + $3 * interval '1 microsecond') \
                    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until \
                    WHERE held.owner = excluded.owner OR held.until <= clock_timestamp() \
                    RETURNING name";
const LEASED: &str = "SELECT 1 FROM bridge.secret_lease WHERE until > clock_timestamp() LIMIT 1";
const GIVE_BACK: &str = "DELETE FROM bridge.secret_lease WHERE name = $1 AND owner = $2";

/// Secrets in the database of a [`PostgresStore`], encrypted by XChaCha20-Poly1305 before they get
/// there: neither the database nor its backups hold anything readable. Clones share their key.
///
/// Any number of processes may share them. The time of leases is the database's.
#[derive(Clone)]
pub struct PostgresSecrets {
    store: PostgresStore,
    sealer: Arc<RwLock<Arc<Sealer>>>,
}

impl PostgresSecrets {
    /// The secrets in this database.
    ///
    /// # Errors
    ///
    /// [`WrongKey`](SecretErrorKind::WrongKey) where there are secrets of another key.
    pub async fn open(store: PostgresStore, key: SecretKey) -> Result<Self, SecretError> {
        let sealer = Arc::new(RwLock::new(Arc::new(Sealer::new(key))));
        let secrets = Self { store, sealer };
        secrets.check_key(OPEN).await?;
        Ok(secrets)
    }

    /// Encrypts everything with another key, in one transaction, and goes on with it. Other
    /// processes have to be started anew, with the new key.
    ///
    /// It waits until nobody has a lease, as a process does that has spent a refresh token and is
    /// about to store the next one: with the old key it could not any more, and the grant would be
    /// gone. Afterwards none of those processes can read a token to spend.
    ///
    /// # Errors
    ///
    /// [`Contended`](SecretErrorKind::Contended) where somebody still has one after `patience`;
    /// nothing is changed then.
    pub async fn rotate_key(&self, new: SecretKey, patience: Duration) -> Result<(), SecretError> {
        let new = Arc::new(Sealer::new(new));
        let begun = Instant::now();
        while !self.rotate(&new).await? {
            if begun.elapsed() >= patience {
                return Err(port::in_use(ROTATE));
            }
            sleep(port::LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Whether nobody had a lease, and the key is another now.
    async fn rotate(&self, new: &Arc<Sealer>) -> Result<bool, SecretError> {
        let mut client = self
            .store
            .client(ROTATE)
            .await
            .map_err(|it| failed(ROTATE, it))?;
        let lost =
            |cause: Error| SecretError::new(SecretErrorKind::Unavailable, ROTATE).with_cause(cause);
        let transaction = client.transaction().await.map_err(lost)?;
        transaction
            .batch_execute("LOCK TABLE bridge.secret_lease, bridge.secret IN EXCLUSIVE MODE")
            .await
            .map_err(lost)?;
        if !transaction
            .query(LEASED, &[])
            .await
            .map_err(lost)?
            .is_empty()
        {
            return Ok(false);
        }
        let set = "UPDATE bridge.secret SET sealed = $2 WHERE name = $1";
        for row in transaction.query(ALL, &[]).await.map_err(lost)? {
            let (name, found) = self.opened(ROTATE, &row).await?;
            let sealed = sealed(ROTATE, new, &name, found.version, &found.secret).await?;
            let row: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&name, &sealed];
            transaction.execute(set, &row).await.map_err(lost)?;
        }
        transaction.commit().await.map_err(lost)?;
        *self.sealer.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(new);
        Ok(true)
    }

    fn sealer(&self) -> Arc<Sealer> {
        Arc::clone(&self.sealer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The secret, and its row as it is.
    async fn look(
        &self,
        doing: &'static str,
        name: &SecretName,
    ) -> Result<Option<(Versioned, Vec<u8>)>, SecretError> {
        let rows = self.store.query_again(doing, ONE, &[&name.as_str()]).await;
        let rows = rows.map_err(|error| failed(doing, error))?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let (_, found) = self.opened(doing, row).await?;
        Ok(Some((found, cell(doing, row, 2)?)))
    }

    /// Nothing is written beside secrets of another key.
    async fn check_key(&self, doing: &'static str) -> Result<(), SecretError> {
        let rows = self.store.query_again(doing, ANY, &[]).await;
        match rows.map_err(|error| failed(doing, error))?.first() {
            Some(row) => self.opened(doing, row).await.map(drop),
            None => Ok(()),
        }
    }

    async fn opened(
        &self,
        doing: &'static str,
        row: &Row,
    ) -> Result<(String, Versioned), SecretError> {
        let name: String = cell(doing, row, 0)?;
        let version: i64 = cell(doing, row, 1)?;
        let sealed: Vec<u8> = cell(doing, row, 2)?;
        let version = version.unsigned_abs();
        let (sealer, place) = (self.sealer(), place(&name, version));
        let plain = blocking(doing, move || sealer.open(&place, &sealed)).await?;
        let text = std::str::from_utf8(&plain);
        let text = text.map_err(|_| SecretError::new(SecretErrorKind::Corrupt, doing))?;
        let secret = SecretString::from(text);
        Ok((name, Versioned { version, secret }))
    }
}

impl fmt::Debug for PostgresSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSecrets").finish_non_exhaustive()
    }
}

#[async_trait]
impl SecretStore for PostgresSecrets {
    async fn load(&self, name: &SecretName) -> Result<Option<Versioned>, SecretError> {
        Ok(self.look(LOAD, name).await?.map(|(found, _)| found))
    }

    async fn compare_and_swap(
        &self,
        name: &SecretName,
        seen: Option<u64>,
        secret: SecretString,
    ) -> Result<Swap, SecretError> {
        port::check(&secret)?;
        let version = seen.unwrap_or(0) + 1;
        for _ in 0..ROUNDS {
            let found = self.look(SWAP, name).await?;
            if let Some((found, _)) = found.as_ref().filter(|it| it.0.is_swapped(seen, &secret)) {
                return Ok(Swap::Swapped(found.version));
            }
            if found.as_ref().map(|it| it.0.version) != seen {
                return Ok(Swap::Conflict(found.map(|it| it.0)));
            }
            if found.is_none() {
                self.check_key(SWAP).await?;
            }
            let sealed = sealed(SWAP, &self.sealer(), name.as_str(), version, &secret).await?;
            let (name, number) = (name.as_str(), version.cast_signed());
            // Whether it was done once or twice: the second time it finds what the first has left.
            let rows = match found {
                Some((_, old)) => {
                    let row: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
                        [&name, &number, &sealed, &old];
                    self.store.query_again(SWAP, UPDATE, &row).await
                }
                None => {
                    let row: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
                        [&name, &number, &sealed];
                    self.store.query_again(SWAP, INSERT, &row).await
                }
            };
            if !rows.map_err(|error| failed(SWAP, error))?.is_empty() {
                return Ok(Swap::Swapped(version));
            }
        }
        Err(SecretError::new(SecretErrorKind::Contended, SWAP))
    }

    async fn lease(
        &self,
        name: &SecretName,
        owner: &str,
        hold: Duration,
    ) -> Result<bool, SecretError> {
        // A double, as `interval` multiplies by nothing else.
        let micros = hold.as_secs_f64() * 1e6;
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&name.as_str(), &plain(owner), &micros];
        let rows = self.store.query_again(LEASE, TAKE, &row).await;
        Ok(!rows.map_err(|error| failed(LEASE, error))?.is_empty())
    }

    async fn release(&self, name: &SecretName, owner: &str) -> Result<(), SecretError> {
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&name.as_str(), &plain(owner)];
        let rows = self.store.query_again(LEASE, GIVE_BACK, &row).await;
        rows.map(drop).map_err(|error| failed(LEASE, error))
    }
}

/// Rows cannot be exchanged or set back to another version without being noticed.
fn place(name: &str, version: u64) -> Vec<u8> {
    format!("postgres/{name}/{version}").into_bytes()
}

async fn sealed(
    doing: &'static str,
    sealer: &Arc<Sealer>,
    name: &str,
    version: u64,
    secret: &SecretString,
) -> Result<Vec<u8>, SecretError> {
    let (sealer, place) = (Arc::clone(sealer), place(name, version));
    let plain = Zeroizing::new(secret.expose_secret().as_bytes().to_vec());
    blocking(doing, move || sealer.seal(&place, &plain)).await
}

/// A key is made from a passphrase slowly.
async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, Unreadable> + Send + 'static,
) -> Result<T, SecretError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|it| it.while_doing(doing)),
        Err(cause) => Err(SecretError::new(SecretErrorKind::Unavailable, doing).with_cause(cause)),
    }
}

fn cell<'a, T: tokio_postgres::types::FromSql<'a>>(
    doing: &'static str,
    row: &'a Row,
    column: usize,
) -> Result<T, SecretError> {
    row.try_get(column)
        .map_err(|cause| SecretError::new(SecretErrorKind::Corrupt, doing).with_cause(cause))
}

/// PostgreSQL's text has no room for it.
fn plain(owner: &str) -> String {
    owner.replace('\0', "\u{fffd}")
}

fn failed(doing: &'static str, cause: StoreError) -> SecretError {
    let kind = match cause.kind() {
        StoreErrorKind::Corrupt => SecretErrorKind::Corrupt,
        StoreErrorKind::Incompatible => SecretErrorKind::Incompatible,
        _ => SecretErrorKind::Unavailable,
    };
    SecretError::new(kind, doing).with_cause(cause)
}
