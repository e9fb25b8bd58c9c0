//! What a rehearsal remembers: what was really done, and on top of it what it has only played.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    ledger::{Begin, Effect, EffectKey, EffectState, Ledger, Writer},
    store::memory::MemoryStore,
    store_error::StoreError,
};

/// What somebody may be at is played as it will be when it has come to rest.
const AT_REST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A ledger that is read, and whose changes go no further than this.
#[derive(Debug)]
pub(super) struct Played {
    real: Arc<dyn Ledger>,
    own: MemoryStore,
    /// What of the real one is in its own by now.
    taken: Mutex<BTreeSet<EffectKey>>,
    forgotten: Mutex<BTreeSet<EffectKey>>,
}

impl Played {
    /// As if these were forgotten there by now.
    pub(super) fn on(real: Arc<dyn Ledger>, forgotten: BTreeSet<EffectKey>) -> Self {
        Self {
            real,
            own: MemoryStore::new(),
            taken: Mutex::new(forgotten.clone()),
            forgotten: Mutex::new(forgotten),
        }
    }

    /// What was forgotten at some time, also where something was put in its place since.
    pub(super) fn forgotten(&self) -> MutexGuard<'_, BTreeSet<EffectKey>> {
        locked(&self.forgotten)
    }

    async fn take(&self, key: &EffectKey) -> Result<(), StoreError> {
        let taken = || locked(&self.taken);
        if taken().contains(key) {
            return Ok(());
        }
        let writer = Writer::unknown();
        match self.real.read(key).await? {
            None => {}
            Some(EffectState::Finished(result)) => {
                self.own.finish(key, result, Timestamp::MIN).await?;
            }
            Some(EffectState::Begun(_) | EffectState::Doubted(_)) => {
                self.own.begin(key, &writer, Timestamp::MIN).await?;
                self.own.doubt(key, &writer, AT_REST).await?;
            }
        }
        taken().insert(key.clone());
        Ok(())
    }
}

#[async_trait]
impl Ledger for Played {
    async fn read(&self, key: &EffectKey) -> Result<Option<EffectState>, StoreError> {
        self.take(key).await?;
        self.own.read(key).await
    }

    async fn begin(
        &self,
        key: &EffectKey,
        writer: &Writer,
        now: Timestamp,
    ) -> Result<Begin, StoreError> {
        self.take(key).await?;
        self.own.begin(key, writer, now).await
    }

    async fn doubt(
        &self,
        key: &EffectKey,
        writer: &Writer,
        ago: Duration,
    ) -> Result<bool, StoreError> {
        self.take(key).await?;
        self.own.doubt(key, writer, ago).await
    }

    async fn complete(
        &self,
        key: &EffectKey,
        writer: &Writer,
        result: Value,
    ) -> Result<bool, StoreError> {
        self.take(key).await?;
        self.own.complete(key, writer, result).await
    }

    async fn finish(
        &self,
        key: &EffectKey,
        result: Value,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.take(key).await?;
        self.own.finish(key, result, now).await
    }

    async fn replace(
        &self,
        key: &EffectKey,
        seen: Option<&Value>,
        result: Value,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.take(key).await?;
        self.own.replace(key, seen, result, now).await
    }

    async fn abandon(&self, key: &EffectKey, writer: &Writer) -> Result<(), StoreError> {
        self.take(key).await?;
        self.own.abandon(key, writer).await
    }

    async fn forget(&self, key: &EffectKey) -> Result<(), StoreError> {
        self.take(key).await?;
        self.forgotten().insert(key.clone());
        self.own.forget(key).await
    }

    /// Nothing is forgotten for its age while somebody looks.
    async fn purge(&self, _: &str, _: Timestamp, _: usize) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn under(&self, prefix: &EffectKey) -> Result<Vec<Effect>, StoreError> {
        for effect in self.real.under(prefix).await? {
            self.take(&effect.key).await?;
        }
        self.own.under(prefix).await
    }
}

fn locked(keys: &Mutex<BTreeSet<EffectKey>>) -> MutexGuard<'_, BTreeSet<EffectKey>> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}
