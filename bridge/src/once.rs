//! One effect, once: read the ledger, look where the outcome is unknown, write, remember.

use std::{fmt, future::Future};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    action::{StepError, Work},
    ledger::{Begin, EffectKey, EffectState},
    port_error::PortError,
    store_error::{StoreError, StoreErrorKind},
};

impl Work<'_> {
    /// Brings an effect about exactly once, whatever happened before.
    ///
    /// `look` finds the effect on the far side; it is asked only when an earlier write may have
    /// arrived. `write` brings it about. A write that certainly had no effect leaves no trace in
    /// the ledger. Any other leaves a doubt, which only a finished effect ends: as long as it
    /// stands, every attempt looks before it writes.
    ///
    /// The far side may take its time with what it was sent, so nobody looks before it had
    /// [`settle_after`](crate::PipelineOptions::settle_after) to come to rest, counted from when
    /// the writer gave up, or from when somebody first finds that the writer is gone.
    pub async fn once<T, L, W>(&self, key: &EffectKey, look: L, write: W) -> Result<T, StepError>
    where
        T: Serialize + DeserializeOwned,
        L: AsyncFnOnce() -> Result<Option<T>, StepError>,
        W: AsyncFnOnce() -> Result<T, PortError>,
    {
        let doubt = match self.ledger.read(key).await? {
            None => None,
            Some(EffectState::Finished(result)) => return remembered(result),
            Some(EffectState::Begun(_)) => {
                // We have the job, so whoever was writing has died or lost it, and just now perhaps.
                let now = self.clock.now();
                self.ledger.doubt(key, now).await?;
                return Err(settling(self, now));
            }
            Some(EffectState::Doubted(since)) => {
                let now = self.clock.now();
                if since > now {
                    // The clock was set back: waiting for this could take for ever, and looking
                    // now could be too early.
                    self.ledger.doubt(key, now).await?;
                    return Err(settling(self, now));
                }
                // Of what was before our start only a clock tells that is not ours.
                let rests_since = since.max(self.working_since);
                if now < rested(self, rests_since) {
                    return Err(settling(self, rests_since));
                }
                if let Some(found) = look().await? {
                    finish(self, key, &found).await?;
                    return Ok(found);
                }
                Some(since)
            }
        };
        if !self.hold.is_good() {
            return Err(StepError::LostHold);
        }
        if let Begin::Finished(result) = self.ledger.begin(key, self.clock.now()).await? {
            return remembered(result);
        }
        match write().await {
            Ok(written) => {
                finish(self, key, &written).await?;
                Ok(written)
            }
            Err(error) => {
                match doubt {
                    _ if !error.had_no_effect() => self.ledger.doubt(key, self.clock.now()).await?,
                    // This write had no effect. An earlier one still may have, however late.
                    Some(since) => self.ledger.doubt(key, since).await?,
                    None => self.ledger.abandon(key).await?,
                }
                Err(error.into())
            }
        }
    }

    /// Brings about an effect that is its own guard: writing it again changes nothing.
    pub async fn once_harmless<W, F>(&self, key: &EffectKey, write: W) -> Result<(), StepError>
    where
        W: FnOnce() -> F,
        F: Future<Output = Result<(), PortError>>,
    {
        if let Some(EffectState::Finished(_)) = self.ledger.read(key).await? {
            return Ok(());
        }
        if !self.hold.is_good() {
            return Err(StepError::LostHold);
        }
        write().await?;
        finish(self, key, &Value::Null).await
    }
}

pub(crate) async fn finish<T: Serialize>(
    work: &Work<'_>,
    key: &EffectKey,
    result: &T,
) -> Result<(), StepError> {
    let result = serde_json::to_value(result).map_err(|cause| unreadable(cause, "finish"))?;
    Ok(work.ledger.finish(key, result, work.clock.now()).await?)
}

fn rested(work: &Work<'_>, since: Timestamp) -> Timestamp {
    since
        .checked_add(work.options.settle_after)
        .unwrap_or(Timestamp::MAX)
}

fn settling(work: &Work<'_>, since: Timestamp) -> StepError {
    StepError::Wait {
        reason: "an earlier write may still be arriving".to_owned(),
        until: rested(work, since),
    }
}

fn remembered<T: DeserializeOwned>(result: Value) -> Result<T, StepError> {
    T::deserialize(result).map_err(|cause| unreadable(cause, "read").into())
}

fn unreadable(cause: impl fmt::Display, doing: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, doing).with_cause(cause.to_string())
}
