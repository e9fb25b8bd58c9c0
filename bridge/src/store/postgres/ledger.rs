//! What was done. To do any of this twice does no harm, so a lost connection is got over.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::Row;

use super::{Inner, PostgresStore, failure::store_error, queue::timestamp};
use crate::{
    ledger::{Begin, Effect, EffectKey, EffectState, Ledger, Writer},
    store::leases::micros,
    store_error::{StoreError, StoreErrorKind},
};

const BEGIN: &str = "
    INSERT INTO bridge.effect AS it (key, begun_at, writer, job, fence)
    SELECT $1, $2, $3, $4, $5 WHERE $4::bigint IS NULL OR bridge.holds($4, $5)
    ON CONFLICT (key) DO UPDATE SET begun_at = excluded.begun_at, doubted_at = NULL,
        writer = excluded.writer, job = excluded.job, fence = excluded.fence
    WHERE it.result IS NULL AND (it.doubted_at IS NOT NULL OR it.writer = excluded.writer)
    RETURNING key";

const DOUBT: &str = "
    UPDATE bridge.effect SET doubted_at = bridge.clock() - $3::bigint
    WHERE key = $1 AND result IS NULL AND (
        doubted_at IS NOT NULL OR writer = $2 OR NOT bridge.holds(job, fence)
    )
    RETURNING key";

const COMPLETE: &str = "
    UPDATE bridge.effect SET result = $3, writer = NULL, job = NULL, fence = NULL
    WHERE key = $1 AND writer = $2 AND result IS NULL
    RETURNING key";

const FINISH: &str = "
    INSERT INTO bridge.effect (key, begun_at, result) VALUES ($1, $2, $3)
    ON CONFLICT (key) DO UPDATE SET result = excluded.result, writer = NULL, job = NULL, fence = NULL";

/// With how long ago it was doubted, by the database's clock.
const STATE: &str = "begun_at, bridge.clock() - doubted_at, result";

const PURGE: &str = "
    WITH old AS (
        DELETE FROM bridge.effect WHERE key IN (
            SELECT key FROM bridge.effect
            WHERE split_part(key, '/', 1) = $1 AND begun_at < $2 AND result IS NOT NULL
            LIMIT $3 FOR UPDATE SKIP LOCKED
        ) RETURNING 1
    )
    SELECT count(*) FROM old";

const REPLACE_NOTHING: &str = "
    INSERT INTO bridge.effect (key, begun_at, result) VALUES ($1, $2, $3)
    ON CONFLICT (key) DO NOTHING
    RETURNING key";

const REPLACE: &str = "
    UPDATE bridge.effect SET begun_at = $2, result = $3 WHERE key = $1 AND result = $4
    RETURNING key";

#[async_trait]
impl Ledger for PostgresStore {
    async fn read(&self, key: &EffectKey) -> Result<Option<EffectState>, StoreError> {
        const DOING: &str = "read the ledger";
        let sql = format!("SELECT {STATE} FROM bridge.effect WHERE key = $1");
        let rows = self.query_again(DOING, &sql, &[&key.as_str()]).await?;
        rows.first().map(|row| state(DOING, row)).transpose()
    }

    async fn begin(
        &self,
        key: &EffectKey,
        writer: &Writer,
        now: Timestamp,
    ) -> Result<Begin, StoreError> {
        const DOING: &str = "begin in the ledger";
        let now = now.as_microsecond();
        let (job, fence) = self.inner.own(writer).unzip();
        let (name, token) = (key.as_str(), writer.token());
        let begun = self
            .query_again(DOING, BEGIN, &[&name, &now, &token, &job, &fence])
            .await?;
        if !begun.is_empty() {
            return Ok(Begin::Begun);
        }
        if let Some(EffectState::Finished(result)) = Ledger::read(self, key).await? {
            return Ok(Begin::Finished(result));
        }
        let sql = "SELECT $1::bigint IS NULL OR bridge.holds($1, $2)";
        let rows = self.query_again(DOING, sql, &[&job, &fence]).await?;
        let holds = rows.first().map_or(Ok(false), |row| row.try_get(0));
        match holds.map_err(|cause| store_error(DOING, cause))? {
            true => Ok(Begin::Taken),
            false => Err(StoreError::new(StoreErrorKind::StaleLease, DOING)),
        }
    }

    async fn doubt(
        &self,
        key: &EffectKey,
        writer: &Writer,
        ago: Duration,
    ) -> Result<bool, StoreError> {
        let (key, token, ago) = (key.as_str(), writer.token(), micros(ago));
        let rows = self
            .query_again("doubt in the ledger", DOUBT, &[&key, &token, &ago])
            .await?;
        Ok(!rows.is_empty())
    }

    /// Sent again after a lost connection it can meet itself, and then tells of a stranger: whoever
    /// is told so reads anew.
    async fn complete(
        &self,
        key: &EffectKey,
        writer: &Writer,
        result: Value,
    ) -> Result<bool, StoreError> {
        let (key, token, result) = (key.as_str(), writer.token(), result.to_string());
        let rows = self
            .query_again("complete in the ledger", COMPLETE, &[&key, &token, &result])
            .await?;
        Ok(!rows.is_empty())
    }

    async fn finish(
        &self,
        key: &EffectKey,
        result: Value,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (now, result) = (now.as_microsecond(), result.to_string());
        self.query_again(
            "finish in the ledger",
            FINISH,
            &[&key.as_str(), &now, &result],
        )
        .await
        .map(drop)
    }

    /// Sent again after a lost connection it can meet itself, and then tells of a stranger: whoever
    /// is told so reads anew.
    async fn replace(
        &self,
        key: &EffectKey,
        seen: Option<&Value>,
        result: Value,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        const DOING: &str = "replace in the ledger";
        let (key, now, result) = (key.as_str(), now.as_microsecond(), result.to_string());
        let rows = match seen.map(Value::to_string) {
            None => {
                self.query_again(DOING, REPLACE_NOTHING, &[&key, &now, &result])
                    .await?
            }
            Some(seen) => {
                self.query_again(DOING, REPLACE, &[&key, &now, &result, &seen])
                    .await?
            }
        };
        Ok(!rows.is_empty())
    }

    async fn abandon(&self, key: &EffectKey, writer: &Writer) -> Result<(), StoreError> {
        let sql = "DELETE FROM bridge.effect \
                   WHERE key = $1 AND writer = $2 AND result IS NULL AND doubted_at IS NULL";
        let (key, token) = (key.as_str(), writer.token());
        self.query_again("abandon in the ledger", sql, &[&key, &token])
            .await
            .map(drop)
    }

    async fn forget(&self, key: &EffectKey) -> Result<(), StoreError> {
        let sql = "DELETE FROM bridge.effect WHERE key = $1";
        self.query_again("forget in the ledger", sql, &[&key.as_str()])
            .await
            .map(drop)
    }

    async fn purge(&self, kind: &str, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        const DOING: &str = "purge the ledger";
        let kind = EffectKey::new([kind]);
        let kind = kind.as_str().trim_end_matches('/');
        let (before, limit) = (
            before.as_microsecond(),
            i64::try_from(limit).unwrap_or(i64::MAX),
        );
        let rows = self
            .query_again(DOING, PURGE, &[&kind, &before, &limit])
            .await?;
        let purged = rows.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0));
        purged
            .map(i64::unsigned_abs)
            .map_err(|cause| store_error(DOING, cause))
    }

    async fn under(&self, prefix: &EffectKey) -> Result<Vec<Effect>, StoreError> {
        const DOING: &str = "list the ledger";
        let sql = format!(
            "SELECT {STATE}, key FROM bridge.effect WHERE key >= $1 AND key < $2 ORDER BY key"
        );
        let from = prefix.as_str();
        // Each part ends in a slash, and `0` is the character that follows it.
        let to = match from.strip_suffix('/') {
            Some(parts) => format!("{parts}0"),
            None => char::MAX.to_string(),
        };
        let rows = self.query_again(DOING, &sql, &[&from, &to]).await?;
        rows.iter()
            .map(|row| {
                let key: String = row.try_get(3).map_err(|cause| store_error(DOING, cause))?;
                Ok(Effect {
                    key: EffectKey::from_text(key),
                    state: state(DOING, row)?,
                })
            })
            .collect()
    }
}

impl Inner {
    /// The job and the fence that the writer works under, where that is a lease of this store.
    fn own(&self, writer: &Writer) -> Option<(i64, i64)> {
        let lease = writer.lease().filter(|lease| lease.inbox == self.inbox)?;
        Some((lease.job.0, lease.fence))
    }
}

fn state(doing: &'static str, row: &Row) -> Result<EffectState, StoreError> {
    let failed = |cause| store_error(doing, cause);
    let begun_at: i64 = row.try_get(0).map_err(failed)?;
    let doubted: Option<i64> = row.try_get(1).map_err(failed)?;
    let Some(text) = row.try_get::<_, Option<&str>>(2).map_err(failed)? else {
        return match doubted {
            Some(ago) => {
                let ago = u64::try_from(ago).unwrap_or_default();
                Ok(EffectState::Doubted(Duration::from_micros(ago)))
            }
            None => timestamp(doing, begun_at).map(EffectState::Begun),
        };
    };
    serde_json::from_str(text)
        .map(EffectState::Finished)
        .map_err(|cause| StoreError::new(StoreErrorKind::Corrupt, doing).with_cause(cause))
}
