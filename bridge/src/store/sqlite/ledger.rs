//! What was done.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};
use serde_json::Value;

use super::{
    super::leases::{ago, micros},
    Inner, SqliteStore,
    queue::{holds, timestamp},
};
use crate::{
    ledger::{Begin, Effect, EffectKey, EffectState, Ledger, Writer},
    queue::{InboxId, JobId, LeaseId},
    store_error::{StoreError, StoreErrorKind},
};

const BEGIN: &str = "
    INSERT INTO effect (key, begun_at, writer, job, fence) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (key) DO UPDATE SET begun_at = excluded.begun_at, doubted_at = NULL,
        writer = excluded.writer, job = excluded.job, fence = excluded.fence
    WHERE result IS NULL AND (doubted_at IS NOT NULL OR writer = excluded.writer)";

/// Those that only their writer may doubt, as long as its lease holds.
const BEGUN: &str = "
    SELECT job, fence FROM effect
    WHERE key = ?1 AND result IS NULL AND doubted_at IS NULL AND writer <> ?2";

const DOUBT: &str = "UPDATE effect SET doubted_at = ?2 WHERE key = ?1 AND result IS NULL";

const COMPLETE: &str = "
    UPDATE effect SET result = ?3, writer = NULL, job = NULL, fence = NULL
    WHERE key = ?1 AND writer = ?2 AND result IS NULL";

const FINISH: &str = "
    INSERT INTO effect (key, begun_at, result) VALUES (?1, ?2, ?3)
    ON CONFLICT (key) DO UPDATE SET result = excluded.result, writer = NULL, job = NULL, fence = NULL";

const REPLACE_NOTHING: &str = "
    INSERT INTO effect (key, begun_at, result) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO NOTHING";

const REPLACE: &str = "
    UPDATE effect SET begun_at = ?2, result = ?3 WHERE key = ?1 AND result = ?4";

const ABANDON: &str = "
    DELETE FROM effect WHERE key = ?1 AND writer = ?2 AND result IS NULL AND doubted_at IS NULL";

const FORGET: &str = "DELETE FROM effect WHERE key = ?1";

const PURGE: &str = "
    DELETE FROM effect WHERE key IN (
        SELECT key FROM effect
        WHERE substr(key, 1, instr(key, '/')) = ?1 AND begun_at < ?2 AND result IS NOT NULL
        LIMIT ?3)";

#[async_trait]
impl Ledger for SqliteStore {
    async fn read(&self, key: &EffectKey) -> Result<Option<EffectState>, StoreError> {
        let (key, clock) = (key.clone(), self.inner.clock.now());
        let find = move |connection: &Connection| find(connection, &key, clock);
        SqliteStore::read(self, "read the ledger", find).await
    }

    async fn begin(
        &self,
        key: &EffectKey,
        writer: &Writer,
        now: Timestamp,
    ) -> Result<Begin, StoreError> {
        const DOING: &str = "begin in the ledger";
        let (key, writer, clock) = (key.clone(), *writer, self.inner.clock.now());
        let lease = self.inner.own(&writer);
        let begin = move |connection: &Connection| {
            let holds = match &lease {
                Some(lease) => holds(connection, lease, clock)?,
                None => true,
            };
            let (job, fence) = (lease.map(|it| it.job.0), lease.map(|it| it.fence));
            let mut begin = connection.prepare_cached(BEGIN)?;
            let begun = params![
                key.as_str(),
                now.as_microsecond(),
                writer.token(),
                job,
                fence
            ];
            if holds && begin.execute(begun)? > 0 {
                return Ok(Some(Begin::Begun));
            }
            Ok(match find(connection, &key, clock)? {
                Some(EffectState::Finished(result)) => Some(Begin::Finished(result)),
                _ => holds.then_some(Begin::Taken),
            })
        };
        let begun = self.write(DOING, begin).await?;
        begun.ok_or_else(|| StoreError::new(StoreErrorKind::StaleLease, DOING))
    }

    async fn doubt(
        &self,
        key: &EffectKey,
        writer: &Writer,
        ago: Duration,
    ) -> Result<bool, StoreError> {
        let (key, token, clock) = (key.clone(), writer.token(), self.inner.clock.now());
        let since = clock.saturating_sub(micros(ago));
        let doubt = move |connection: &Connection| {
            let lease: Option<(Option<i64>, Option<i64>)> = connection
                .prepare_cached(BEGUN)?
                .query_row(params![key.as_str(), token], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?;
            if let Some((Some(job), Some(fence))) = lease {
                let lease = LeaseId {
                    job: JobId(job),
                    fence,
                    inbox: InboxId::default(),
                };
                if holds(connection, &lease, clock)? {
                    return Ok(false);
                }
            }
            let mut doubt = connection.prepare_cached(DOUBT)?;
            Ok(doubt.execute(params![key.as_str(), since])? > 0)
        };
        self.write("doubt in the ledger", doubt).await
    }

    async fn complete(
        &self,
        key: &EffectKey,
        writer: &Writer,
        result: Value,
    ) -> Result<bool, StoreError> {
        let (key, token) = (key.clone(), writer.token());
        let complete = move |connection: &Connection| {
            let mut complete = connection.prepare_cached(COMPLETE)?;
            Ok(complete.execute(params![key.as_str(), token, result.to_string()])? > 0)
        };
        self.write("complete in the ledger", complete).await
    }

    async fn finish(
        &self,
        key: &EffectKey,
        result: Value,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let key = key.clone();
        let finish = move |connection: &Connection| {
            let result = result.to_string();
            connection
                .prepare_cached(FINISH)?
                .execute(params![key.as_str(), now.as_microsecond(), result])
                .map(drop)
        };
        self.write("finish in the ledger", finish).await
    }

    async fn replace(
        &self,
        key: &EffectKey,
        seen: Option<&Value>,
        result: Value,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (key, now) = (key.clone(), now.as_microsecond());
        let (seen, result) = (seen.map(Value::to_string), result.to_string());
        let replace = move |connection: &Connection| {
            let rows = match &seen {
                None => connection
                    .prepare_cached(REPLACE_NOTHING)?
                    .execute(params![key.as_str(), now, result])?,
                Some(seen) => connection.prepare_cached(REPLACE)?.execute(params![
                    key.as_str(),
                    now,
                    result,
                    seen
                ])?,
            };
            Ok(rows > 0)
        };
        self.write("replace in the ledger", replace).await
    }

    async fn abandon(&self, key: &EffectKey, writer: &Writer) -> Result<(), StoreError> {
        let (key, token) = (key.clone(), writer.token());
        let abandon = move |connection: &Connection| {
            connection
                .prepare_cached(ABANDON)?
                .execute(params![key.as_str(), token])
                .map(drop)
        };
        self.write("abandon in the ledger", abandon).await
    }

    async fn forget(&self, key: &EffectKey) -> Result<(), StoreError> {
        let key = key.clone();
        let forget = move |connection: &Connection| {
            connection
                .prepare_cached(FORGET)?
                .execute([key.as_str()])
                .map(drop)
        };
        self.write("forget in the ledger", forget).await
    }

    async fn purge(&self, kind: &str, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let kind = EffectKey::new([kind]);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let purge = move |connection: &Connection| {
            connection.prepare_cached(PURGE)?.execute(params![
                kind.as_str(),
                before.as_microsecond(),
                limit
            ])
        };
        Ok(self.write("purge the ledger", purge).await? as u64)
    }

    async fn under(&self, prefix: &EffectKey) -> Result<Vec<Effect>, StoreError> {
        let (prefix, clock) = (prefix.clone(), self.inner.clock.now());
        let under = move |connection: &Connection| {
            let mut from = connection.prepare_cached(
                "SELECT begun_at, doubted_at, result, key FROM effect WHERE key >= ?1 ORDER BY key",
            )?;
            let mut rows = from.query([prefix.as_str()])?;
            let mut effects = Vec::new();
            while let Some(row) = rows.next()? {
                let key: String = row.get(3)?;
                if !key.starts_with(prefix.as_str()) {
                    break;
                }
                effects.push(Effect {
                    key: EffectKey::from_text(key),
                    state: state(row, clock)?,
                });
            }
            Ok(effects)
        };
        SqliteStore::read(self, "list the ledger", under).await
    }
}

impl Inner {
    /// What the writer works under, where that is a lease of this store.
    fn own(&self, writer: &Writer) -> Option<LeaseId> {
        let own = |lease: &&LeaseId| lease.inbox == self.inbox;
        writer.lease().filter(own).copied()
    }
}

fn find(
    connection: &Connection,
    key: &EffectKey,
    clock: i64,
) -> rusqlite::Result<Option<EffectState>> {
    connection
        .prepare_cached("SELECT begun_at, doubted_at, result FROM effect WHERE key = ?1")?
        .query_row([key.as_str()], |row| state(row, clock))
        .optional()
}

fn state(row: &Row<'_>, clock: i64) -> rusqlite::Result<EffectState> {
    let Some(text) = row.get::<_, Option<String>>(2)? else {
        return match row.get::<_, Option<i64>>(1)? {
            Some(since) => Ok(EffectState::Doubted(ago(clock, since))),
            None => timestamp(row.get(0)?).map(EffectState::Begun),
        };
    };
    serde_json::from_str(&text)
        .map(EffectState::Finished)
        .map_err(|cause| rusqlite::Error::FromSqlConversionFailure(2, Type::Text, Box::new(cause)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn what_is_old_is_found_by_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("store.db")).unwrap();
        let plan = store.plan(PURGE).await;
        assert!(
            plan.contains("INDEX effect_finished (<expr>=? AND begun_at<?)"),
            "{plan}"
        );
        assert!(!plan.contains("SCAN effect"), "{plan}");
    }
}
