//! What was done.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    super::leases::{ago, micros},
    MemoryStore,
};
use crate::{
    ledger::{Begin, Effect, EffectKey, EffectState, Ledger, Writer},
    store_error::{StoreError, StoreErrorKind},
};

#[derive(Debug)]
pub(super) struct Entry {
    begun_at: Timestamp,
    writer: Option<Writer>,
    stands: Stands,
}

#[derive(Debug)]
enum Stands {
    Begun,
    /// Since then by the store's clock.
    Doubted(i64),
    Finished(Value),
}

#[async_trait]
impl Ledger for MemoryStore {
    async fn read(&self, key: &EffectKey) -> Result<Option<EffectState>, StoreError> {
        let clock = self.clock.now();
        let state = self.state();
        Ok(state.effects.get(key.as_str()).map(|it| it.state(clock)))
    }

    async fn begin(
        &self,
        key: &EffectKey,
        writer: &Writer,
        now: Timestamp,
    ) -> Result<Begin, StoreError> {
        let clock = self.clock();
        let mut state = self.state();
        let known = writer.lease().filter(|lease| lease.inbox == self.inbox);
        match state.effects.get(key.as_str()) {
            Some(Entry {
                stands: Stands::Finished(result),
                ..
            }) => return Ok(Begin::Finished(result.clone())),
            _ if known.is_some_and(|lease| !state.holds(lease, clock)) => {
                let doing = "begin in the ledger";
                return Err(StoreError::new(StoreErrorKind::StaleLease, doing));
            }
            Some(entry) if matches!(entry.stands, Stands::Begun) && !entry.is_of(writer) => {
                return Ok(Begin::Taken);
            }
            _ => {}
        }
        let begun = Entry::begun(writer, now);
        state.effects.insert(key.as_str().to_owned(), begun);
        Ok(Begin::Begun)
    }

    async fn doubt(
        &self,
        key: &EffectKey,
        writer: &Writer,
        ago: Duration,
    ) -> Result<bool, StoreError> {
        let clock = self.clock();
        let mut state = self.state();
        let Some(entry) = state.effects.get(key.as_str()) else {
            return Ok(false);
        };
        let is_free = match &entry.stands {
            Stands::Finished(_) => false,
            Stands::Doubted(_) => true,
            Stands::Begun if entry.is_of(writer) => true,
            Stands::Begun => {
                let lease = entry.writer.as_ref().and_then(Writer::lease);
                !lease
                    .filter(|lease| lease.inbox == self.inbox)
                    .is_some_and(|lease| state.holds(lease, clock))
            }
        };
        if is_free && let Some(entry) = state.effects.get_mut(key.as_str()) {
            let since = clock.as_microsecond().saturating_sub(micros(ago));
            entry.stands = Stands::Doubted(since);
        }
        Ok(is_free)
    }

    async fn complete(
        &self,
        key: &EffectKey,
        writer: &Writer,
        result: Value,
    ) -> Result<bool, StoreError> {
        let mut state = self.state();
        let Some(entry) = state.effects.get_mut(key.as_str()) else {
            return Ok(false);
        };
        if matches!(entry.stands, Stands::Finished(_)) || !entry.is_of(writer) {
            return Ok(false);
        }
        *entry = Entry::finished(entry.begun_at, result);
        Ok(true)
    }

    async fn finish(
        &self,
        key: &EffectKey,
        result: Value,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        let key = key.as_str().to_owned();
        let begun_at = state.effects.get(&key).map_or(now, |it| it.begun_at);
        state.effects.insert(key, Entry::finished(begun_at, result));
        Ok(())
    }

    async fn replace(
        &self,
        key: &EffectKey,
        seen: Option<&Value>,
        result: Value,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut state = self.state();
        let there = state.effects.get(key.as_str()).map(|entry| &entry.stands);
        let is_so = match (there, seen) {
            (None, None) => true,
            (Some(Stands::Finished(there)), Some(seen)) => there == seen,
            _ => false,
        };
        if is_so {
            let finished = Entry::finished(now, result);
            state.effects.insert(key.as_str().to_owned(), finished);
        }
        Ok(is_so)
    }

    async fn abandon(&self, key: &EffectKey, writer: &Writer) -> Result<(), StoreError> {
        let mut state = self.state();
        let entry = state.effects.get(key.as_str());
        if entry.is_some_and(|it| matches!(it.stands, Stands::Begun) && it.is_of(writer)) {
            state.effects.remove(key.as_str());
        }
        Ok(())
    }

    async fn forget(&self, key: &EffectKey) -> Result<(), StoreError> {
        self.state().effects.remove(key.as_str());
        Ok(())
    }

    async fn purge(&self, kind: &str, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let kind = EffectKey::new([kind]);
        let mut state = self.state();
        let old: Vec<_> = state
            .effects
            .range(kind.as_str().to_owned()..)
            .take_while(|(key, _)| key.starts_with(kind.as_str()))
            .filter(|(_, it)| matches!(it.stands, Stands::Finished(_)) && it.begun_at < before)
            .take(limit)
            .map(|(key, _)| key.clone())
            .collect();
        for key in &old {
            state.effects.remove(key);
        }
        Ok(old.len() as u64)
    }

    async fn under(&self, prefix: &EffectKey) -> Result<Vec<Effect>, StoreError> {
        let clock = self.clock.now();
        let state = self.state();
        let under = state
            .effects
            .range(prefix.as_str().to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix.as_str()))
            .map(|(key, entry)| Effect {
                key: EffectKey::from_text(key.clone()),
                state: entry.state(clock),
            });
        Ok(under.collect())
    }
}

impl Entry {
    fn begun(writer: &Writer, now: Timestamp) -> Self {
        Self {
            begun_at: now,
            writer: Some(*writer),
            stands: Stands::Begun,
        }
    }

    fn finished(begun_at: Timestamp, result: Value) -> Self {
        Self {
            begun_at,
            writer: None,
            stands: Stands::Finished(result),
        }
    }

    fn is_of(&self, writer: &Writer) -> bool {
        (self.writer.as_ref()).is_some_and(|it| it.token() == writer.token())
    }

    fn state(&self, clock: i64) -> EffectState {
        match &self.stands {
            Stands::Begun => EffectState::Begun(self.begun_at),
            Stands::Doubted(since) => EffectState::Doubted(ago(clock, *since)),
            Stands::Finished(result) => EffectState::Finished(result.clone()),
        }
    }
}
