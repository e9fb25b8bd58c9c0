//! What was done: one entry for each effect on the far side, written before and after it.

use std::{
    fmt::{self, Debug},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::{queue::LeaseId, store_error::StoreError};

/// Remembers effects, so that a repeat continues instead of starting anew.
///
/// An effect is [begun](Ledger::begin) before its write is sent and [completed](Ledger::complete)
/// with the ids that the far side gave. One that is begun and not finished has an unknown
/// outcome: it is [doubted](Ledger::doubt), and whoever meets it looks on the far side before it
/// writes again.
///
/// What is begun is its [`Writer`]'s, until somebody doubts it, which nobody can while the writer's
/// lease is known to hold. So no effect has two writers, however far the clocks of their machines
/// are apart, and one that was away for long takes nothing from whoever has taken over.
///
/// What every implementation guarantees (`bridge::testing::ledger_contract` holds them to it): each call
/// returns only after its change would survive `kill -9` and power loss, calls on one key are
/// atomic, and nothing is ever forgotten but by [`abandon`](Ledger::abandon),
/// [`forget`](Ledger::forget) and [`purge`](Ledger::purge). Where the inbox is in the same store
/// (`bridge::testing::fence_contract`), nothing is begun under a lease that is over. How long ago
/// something was doubted goes by a clock of the store's own, one for all processes on it.
#[async_trait]
pub trait Ledger: Debug + Send + Sync + 'static {
    /// What is known of the effect.
    async fn read(&self, key: &EffectKey) -> Result<Option<EffectState>, StoreError>;

    /// Notes that this writer is about to write the effect. A finished effect stays as it is and is
    /// returned; one that is doubted, or that this writer has begun before, is begun anew. Fails
    /// with [`StaleLease`](crate::StoreErrorKind::StaleLease) where the writer's lease is known to
    /// be over.
    async fn begin(
        &self,
        key: &EffectKey,
        writer: &Writer,
        now: Timestamp,
    ) -> Result<Begin, StoreError>;

    /// Notes that nobody writes the effect any more since so long ago, and that nobody knows
    /// whether it has happened; tells whether that is noted now. Only what is doubted changes, what
    /// this writer has begun, and what another has whose lease is not known to hold.
    async fn doubt(
        &self,
        key: &EffectKey,
        writer: &Writer,
        ago: Duration,
    ) -> Result<bool, StoreError>;

    /// Notes that what this writer has begun has happened, with what is worth remembering of it;
    /// tells whether it was still this writer's, doubted or not.
    async fn complete(
        &self,
        key: &EffectKey,
        writer: &Writer,
        result: Value,
    ) -> Result<bool, StoreError>;

    /// Notes that the effect has happened, with what is worth remembering of it, whoever wrote it.
    /// Replaces what was there.
    async fn finish(
        &self,
        key: &EffectKey,
        result: Value,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Notes what is worth remembering in place of what was `seen`, `None` for nothing at all;
    /// tells whether it was still so. Of several who have seen the same, one succeeds.
    async fn replace(
        &self,
        key: &EffectKey,
        seen: Option<&Value>,
        result: Value,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Takes back this writer's beginning, whose write certainly did not happen. What is doubted,
    /// finished or another's stays.
    async fn abandon(&self, key: &EffectKey, writer: &Writer) -> Result<(), StoreError>;

    /// Forgets an effect that somebody has undone on the far side, so that it can happen anew.
    async fn forget(&self, key: &EffectKey) -> Result<(), StoreError>;

    /// Forgets finished effects whose key's first part is `kind` and that were begun before
    /// `before`, at most `limit` at a time. What is not finished stays, however old. Only for kinds
    /// that nothing asks for after some time, see [`tidy`](crate::tidy()).
    async fn purge(&self, kind: &str, before: Timestamp, limit: usize) -> Result<u64, StoreError>;

    /// All effects whose key begins with these parts, in the order of their keys.
    async fn under(&self, prefix: &EffectKey) -> Result<Vec<Effect>, StoreError>;
}

/// Names one effect by parts, such as `version / {Box file} / {Box version}`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct EffectKey(String);

impl EffectKey {
    /// A key of these parts. Each part is escaped, so that no part can pose as two.
    pub fn new<P: AsRef<str>>(parts: impl IntoIterator<Item = P>) -> Self {
        let mut key = String::new();
        for part in parts {
            for c in part.as_ref().chars() {
                match c {
                    '/' => key.push_str("%2F"),
                    '%' => key.push_str("%25"),
                    // Not every store's text has room for it.
                    '\0' => key.push_str("%00"),
                    c => key.push(c),
                }
            }
            key.push('/');
        }
        Self(key)
    }

    /// The key as text: each part ends in a slash, so a key of fewer parts is a prefix of
    /// exactly the keys that begin with its parts.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts it was made of.
    pub fn parts(&self) -> impl Iterator<Item = String> + '_ {
        let unescape = |part: &str| {
            part.replace("%00", "\0")
                .replace("%2F", "/")
                .replace("%25", "%")
        };
        self.0.split_terminator('/').map(unescape)
    }

    /// The key whose [text](EffectKey::as_str) this is.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for EffectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.trim_end_matches('/'))
    }
}

/// Who begins effects: one attempt at one job, or somebody without a job.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Writer {
    token: i64,
    lease: Option<LeaseId>,
}

impl Writer {
    /// Somebody without a job. Nobody can tell whether it is still at work.
    pub fn unknown() -> Self {
        Self {
            token: fastrand::i64(..),
            lease: None,
        }
    }

    /// An attempt under this lease.
    pub fn under(lease: LeaseId) -> Self {
        Self {
            lease: Some(lease),
            ..Self::unknown()
        }
    }

    /// Tells this writer from every other.
    pub fn token(&self) -> i64 {
        self.token
    }

    /// What it works under.
    pub fn lease(&self) -> Option<&LeaseId> {
        self.lease.as_ref()
    }
}

/// One entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Effect {
    /// Its name.
    pub key: EffectKey,
    /// Where it stands.
    pub state: EffectState,
}

/// Where an effect stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EffectState {
    /// Its write may have been sent at this time or later, and may still be under way.
    Begun(Timestamp),
    /// Nobody writes it any more since so long ago, and nobody knows whether it has happened. Zero
    /// where the store's clock was set back since.
    Doubted(Duration),
    /// It has happened.
    Finished(Value),
}

/// The answer to [`Ledger::begin`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Begin {
    /// Noted; go on and write.
    Begun,
    /// It has happened before, with this result.
    Finished(Value),
    /// Another has begun it, and nobody has doubted that yet.
    Taken,
}
