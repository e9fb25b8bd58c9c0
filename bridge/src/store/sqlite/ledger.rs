use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params, types::Type};
use serde_json::Value;

use super::{SqliteStore, queue::timestamp};
use crate::{
    ledger::{Begin, Effect, EffectKey, EffectState, Ledger},
    store_error::StoreError,
};

#[async_trait]
impl Ledger for SqliteStore {
    async fn read(&self, key: &EffectKey) -> Result<Option<EffectState>, StoreError> {
        let key = key.clone();
        self.inner
            .reader
            .call("read", move |connection| state(connection, &key))
            .await
    }

    async fn begin(&self, key: &EffectKey, now: Timestamp) -> Result<Begin, StoreError> {
        let key = key.clone();
        let begin = move |connection: &Connection| {
            if let Some(EffectState::Finished(result)) = state(connection, &key)? {
                return Ok(Begin::Finished(result));
            }
            connection
                .prepare_cached(
                    "INSERT INTO effect (key, begun_at) VALUES (?1, ?2)
                     ON CONFLICT (key) DO UPDATE SET begun_at = excluded.begun_at",
                )
                .and_then(|mut insert| {
                    insert.execute(params![key.as_str(), now.as_microsecond()])
                })?;
            Ok(Begin::Begun)
        };
        self.write("begin", begin).await
    }

    async fn finish(
        &self,
        key: &EffectKey,
        result: Value,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let key = key.clone();
        let finish = move |connection: &Connection| {
            connection
                .prepare_cached(
                    "INSERT INTO effect (key, begun_at, result) VALUES (?1, ?2, ?3)
                     ON CONFLICT (key) DO UPDATE SET result = excluded.result",
                )
                .and_then(|mut insert| {
                    insert.execute(params![
                        key.as_str(),
                        now.as_microsecond(),
                        result.to_string()
                    ])
                })
                .map(drop)
        };
        self.write("finish", finish).await
    }

    async fn abandon(&self, key: &EffectKey) -> Result<(), StoreError> {
        let key = key.clone();
        let abandon = move |connection: &Connection| {
            connection
                .prepare_cached("DELETE FROM effect WHERE key = ?1 AND result IS NULL")
                .and_then(|mut delete| delete.execute([key.as_str()]))
                .map(drop)
        };
        self.write("abandon", abandon).await
    }

    async fn under(&self, prefix: &EffectKey) -> Result<Vec<Effect>, StoreError> {
        let from = prefix.as_str().to_owned();
        // A prefix ends in a slash, so everything below it comes before the next character.
        let to = format!("{}0", from.trim_end_matches('/'));
        let under = move |connection: &Connection| {
            let mut select = connection.prepare_cached(
                "SELECT key, begun_at, result FROM effect WHERE key >= ?1 AND key < ?2
                     ORDER BY key",
            )?;
            let rows = select.query_map([from, to], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
            rows.map(|row| {
                let (key, begun_at, result): (String, _, _) = row?;
                Ok(Effect {
                    key: EffectKey::from_text(key),
                    state: read_state(begun_at, result)?,
                })
            })
            .collect()
        };
        self.read("list", under).await
    }
}

fn state(connection: &Connection, key: &EffectKey) -> rusqlite::Result<Option<EffectState>> {
    connection
        .prepare_cached("SELECT begun_at, result FROM effect WHERE key = ?1")?
        .query_row([key.as_str()], |row| read_state(row.get(0)?, row.get(1)?))
        .optional()
}

fn read_state(begun_at: i64, result: Option<String>) -> rusqlite::Result<EffectState> {
    match result {
        Some(text) => serde_json::from_str(&text)
            .map(EffectState::Finished)
            .map_err(|cause| {
                rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(cause))
            }),
        None => timestamp(begun_at).map(EffectState::Begun),
    }
}
