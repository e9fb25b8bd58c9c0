//! A store that goes away when the test says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bridge::{
    Begin, Effect, EffectKey, EffectState, LeaseId, Leased, Ledger, NewJob, Push, Queue, Settle,
    StoreError, StoreErrorKind, Writer, store::memory::MemoryStore,
};
use jiff::Timestamp;
use serde_json::Value;

#[derive(Debug, Default)]
pub(crate) struct Shaky {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) no_push: AtomicBool,
    /// As if the process died between the push and the position.
    pub(crate) no_position: AtomicBool,
}

fn gone(is_gone: &AtomicBool) -> Result<(), StoreError> {
    match is_gone.load(Ordering::SeqCst) {
        true => Err(StoreError::new(StoreErrorKind::Unavailable, "test")),
        false => Ok(()),
    }
}

#[async_trait]
impl Queue for Shaky {
    async fn push(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Push>, StoreError> {
        gone(&self.no_push)?;
        self.store.push(jobs, now).await
    }

    async fn lease(
        &self,
        owner: &str,
        max: usize,
        hold: Duration,
        now: Timestamp,
    ) -> Result<Vec<Leased>, StoreError> {
        self.store.lease(owner, max, hold, now).await
    }

    async fn extend(&self, it: &LeaseId, hold: Duration) -> Result<(), StoreError> {
        self.store.extend(it, hold).await
    }

    async fn settle(&self, it: &LeaseId, how: Settle, now: Timestamp) -> Result<(), StoreError> {
        self.store.settle(it, how, now).await
    }

    async fn pauses(&self) -> Result<bridge::Pauses, StoreError> {
        Queue::pauses(&*self.store).await
    }

    async fn wait(&self) {
        self.store.wait().await;
    }
}

#[async_trait]
impl Ledger for Shaky {
    async fn read(&self, key: &EffectKey) -> Result<Option<EffectState>, StoreError> {
        self.store.read(key).await
    }

    async fn begin(
        &self,
        key: &EffectKey,
        writer: &Writer,
        now: Timestamp,
    ) -> Result<Begin, StoreError> {
        self.store.begin(key, writer, now).await
    }

    async fn doubt(
        &self,
        key: &EffectKey,
        writer: &Writer,
        ago: Duration,
    ) -> Result<bool, StoreError> {
        self.store.doubt(key, writer, ago).await
    }

    async fn complete(
        &self,
        key: &EffectKey,
        writer: &Writer,
        result: Value,
    ) -> Result<bool, StoreError> {
        self.store.complete(key, writer, result).await
    }

    async fn finish(
        &self,
        key: &EffectKey,
        result: Value,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        gone(&self.no_position)?;
        self.store.finish(key, result, now).await
    }

    async fn abandon(&self, key: &EffectKey, writer: &Writer) -> Result<(), StoreError> {
        self.store.abandon(key, writer).await
    }

    async fn forget(&self, key: &EffectKey) -> Result<(), StoreError> {
        self.store.forget(key).await
    }

    async fn replace(
        &self,
        key: &EffectKey,
        seen: Option<&Value>,
        result: Value,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        gone(&self.no_position)?;
        self.store.replace(key, seen, result, now).await
    }

    async fn purge(&self, kind: &str, before: Timestamp, max: usize) -> Result<u64, StoreError> {
        Ledger::purge(&*self.store, kind, before, max).await
    }

    async fn under(&self, prefix: &EffectKey) -> Result<Vec<Effect>, StoreError> {
        self.store.under(prefix).await
    }
}
