//! How a database comes to have our tables, and to have them in this program's version.

use tokio_postgres::Client;

use super::{OPEN, failure::store_error};
use crate::store_error::{StoreError, StoreErrorKind};

/// In order; the position of one, from 1, is the version that it leads to.
const MIGRATIONS: [&str; 5] = [
    include_str!("schema.sql"),
    include_str!("secrets.sql"),
    include_str!("policies.sql"),
    include_str!("fences.sql"),
    include_str!("vacuum.sql"),
];
/// `bxsf` in ASCII: nobody else's lock.
const LOCK: i64 = 0x6278_7366;

/// Brings the schema to this program's version. Processes that start together wait for each other.
pub(super) async fn migrate(client: &mut Client) -> Result<(), StoreError> {
    let failed = |cause| store_error(OPEN, cause);
    let transaction = client.transaction().await.map_err(failed)?;
    // An index over millions of rows takes its time, and so does whoever comes first.
    transaction
        .batch_execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        .await
        .map_err(failed)?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await
        .map_err(failed)?;
    transaction
        .batch_execute(
            "CREATE SCHEMA IF NOT EXISTS bridge;
             CREATE TABLE IF NOT EXISTS bridge.version (version integer NOT NULL)",
        )
        .await
        .map_err(failed)?;
    let row = transaction
        .query_one("SELECT coalesce(max(version), 0) FROM bridge.version", &[])
        .await
        .map_err(failed)?;
    let version: i32 = row.try_get(0).map_err(failed)?;
    let done = usize::try_from(version).unwrap_or_default();
    let Some(missing) = MIGRATIONS.get(done..) else {
        return Err(StoreError::new(StoreErrorKind::Incompatible, OPEN)
            .with_cause("it was written by a newer version of this program"));
    };
    for (version, migration) in (version + 1..).zip(missing) {
        transaction.batch_execute(migration).await.map_err(failed)?;
        transaction
            .execute("INSERT INTO bridge.version VALUES ($1)", &[&version])
            .await
            .map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}
