//! What was done.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};
use serde_json::Value;

use super::{SqliteStore, queue::timestamp};
use crate::{
    ledger::{Begin, Effect, EffectKey, EffectState, Ledger},
    store_error::StoreError,
};

const BEGIN: &str = "
    INSERT INTO effect (key, begun_at) VALUES (?1, ?2)
    ON CONFLICT (key) DO UPDATE SET begun_at = excluded.begun_at, doubted_at = NULL
    WHERE result IS NULL";

const DOUBT: &str = "UPDATE effect SET doubted_at = ?2 WHERE key = ?1 AND result IS NULL";

const FINISH: &str = "
    INSERT INTO effect (key, begun_at, result) VALUES (?1, ?2, ?3)
    ON CONFLICT (key) DO UPDATE SET result = excluded.result";

const REPLACE_NOTHING: &str = "
    INSERT INTO effect (key, begun_at, result) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO NOTHING";

const REPLACE: &str = "
    UPDATE effect SET begun_at = ?2, result = ?3 WHERE key = ?1 AND result = ?4";

const ABANDON: &str = "DELETE FROM effect WHERE key = ?1 AND result IS NULL AND doubted_at IS NULL";

const FORGET: &str = "DELETE FROM effect WHERE key = ?1";

const PURGE: &str = "
    DELETE FROM effect WHERE key IN (
        SELECT key FROM effect
        WHERE substr(key, 1, instr(key, '/')) = ?1 AND begun_at < ?2 AND result IS NOT NULL
        LIMIT ?3)";

#[async_trait]
impl Ledger for SqliteStore {
    async fn read(&self, key: &EffectKey) -> Result<Option<EffectState>, StoreError> {
        let key = key.clone();
        let find = move |connection: &Connection| find(connection, &key);
        SqliteStore::read(self, "read the ledger", find).await
    }

    async fn begin(&self, key: &EffectKey, now: Timestamp) -> Result<Begin, StoreError> {
        let key = key.clone();
        let begin = move |connection: &Connection| {
            let mut begin = connection.prepare_cached(BEGIN)?;
            if begin.execute(params![key.as_str(), now.as_microsecond()])? > 0 {
                return Ok(Begin::Begun);
            }
            Ok(match find(connection, &key)? {
                Some(EffectState::Finished(result)) => Begin::Finished(result),
                _ => Begin::Begun,
            })
        };
        self.write("begin in the ledger", begin).await
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

    async fn doubt(&self, key: &EffectKey, since: Timestamp) -> Result<(), StoreError> {
        let key = key.clone();
        let doubt = move |connection: &Connection| {
            connection
                .prepare_cached(DOUBT)?
                .execute(params![key.as_str(), since.as_microsecond()])
                .map(drop)
        };
        self.write("doubt in the ledger", doubt).await
    }

    async fn abandon(&self, key: &EffectKey) -> Result<(), StoreError> {
        self.delete("abandon in the ledger", ABANDON, key).await
    }

    async fn forget(&self, key: &EffectKey) -> Result<(), StoreError> {
        self.delete("forget in the ledger", FORGET, key).await
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
        let prefix = prefix.clone();
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
                    state: state(row)?,
                });
            }
            Ok(effects)
        };
        SqliteStore::read(self, "list the ledger", under).await
    }
}

impl SqliteStore {
    async fn delete(
        &self,
        doing: &'static str,
        sql: &'static str,
        key: &EffectKey,
    ) -> Result<(), StoreError> {
        let key = key.clone();
        let delete = move |connection: &Connection| {
            connection
                .prepare_cached(sql)?
                .execute([key.as_str()])
                .map(drop)
        };
        self.write(doing, delete).await
    }
}

fn find(connection: &Connection, key: &EffectKey) -> rusqlite::Result<Option<EffectState>> {
    connection
        .prepare_cached("SELECT begun_at, doubted_at, result FROM effect WHERE key = ?1")?
        .query_row([key.as_str()], state)
        .optional()
}

fn state(row: &Row<'_>) -> rusqlite::Result<EffectState> {
    let Some(text) = row.get::<_, Option<String>>(2)? else {
        return match row.get::<_, Option<i64>>(1)? {
            Some(since) => timestamp(since).map(EffectState::Doubted),
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
