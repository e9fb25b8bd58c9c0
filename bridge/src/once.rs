//! One effect, once: read the ledger, look where the outcome is unknown, write, remember.
//!
//! What can go wrong is that two write. These rules keep it from that, whatever a clock says,
//! whoever was stopped or suspended, and however slow a far side is:
//!
//! - Nobody writes what he has not begun, and nobody begins what another has: it has to be doubted
//!   first. The ledger tells writers apart, so one that comes back from far away can neither take
//!   back nor doubt what belongs to its successor.
//! - Nobody doubts what is begun under a lease that holds, and nobody begins under one that does
//!   not. The store judges that by a clock of its own; a worker's own is not asked.
//! - A writer that loses its lease does not know it at once. It asks at every third of it, has an
//!   answer within a sixth, and then takes no further step. And what it has sent may be a while on
//!   the far side. So nobody looks before an effect was doubted for its settling time, by the
//!   store's clock: half a lease at least, and for a file as long as the far side may take to store
//!   it.
//! - Whoever looks and finds nothing writes. From then on only a mark that the far side keeps unique
//!   refuses what was sent before and arrives even later.

use std::{fmt, future::Future, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    action::{StepError, Work},
    ledger::{Begin, EffectKey, EffectState},
    port_error::PortError,
    store_error::{StoreError, StoreErrorKind},
};

/// How soon to ask again for what another is writing, at the latest.
const LOOK_IN: Duration = Duration::from_secs(5);

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
    /// the writer gave up, or from when somebody first finds that its lease is over. As long as that
    /// holds, the effect is its writer's.
    pub async fn once<T, L, W>(&self, key: &EffectKey, look: L, write: W) -> Result<T, StepError>
    where
        T: Serialize + DeserializeOwned,
        L: AsyncFnOnce() -> Result<Option<T>, StepError>,
        W: AsyncFnOnce() -> Result<T, PortError>,
    {
        self.once_settling(key, self.options.settle_after, look, write)
            .await
    }

    /// As [`once`](Self::once), for a write that the far side may be at for longer, or not as long.
    pub async fn once_settling<T, L, W>(
        &self,
        key: &EffectKey,
        settle_after: Duration,
        look: L,
        write: W,
    ) -> Result<T, StepError>
    where
        T: Serialize + DeserializeOwned,
        L: AsyncFnOnce() -> Result<Option<T>, StepError>,
        W: AsyncFnOnce() -> Result<T, PortError>,
    {
        let writer = self.hold.writer();
        let doubted = match self.ledger.read(key).await? {
            None => None,
            Some(EffectState::Finished(result)) => return remembered(result),
            Some(EffectState::Begun(_)) => {
                let is_over = self.ledger.doubt(key, writer, Duration::ZERO).await?;
                return Err(match is_over {
                    true => settling(self, settle_after),
                    false => taken(self),
                });
            }
            Some(EffectState::Doubted(ago)) if ago < settle_after => {
                if ago.is_zero() {
                    // Just now, or by a clock that was set back since: waiting for that one to catch
                    // up could take for ever.
                    self.ledger.doubt(key, writer, Duration::ZERO).await?;
                }
                return Err(settling(self, settle_after.saturating_sub(ago)));
            }
            Some(EffectState::Doubted(ago)) => {
                if let Some(found) = look().await? {
                    finish(self, key, &found).await?;
                    return Ok(found);
                }
                Some(ago)
            }
        };
        if !self.hold.is_good() {
            return Err(StepError::LostHold);
        }
        match self.ledger.begin(key, writer, self.clock.now()).await? {
            Begin::Begun => {}
            Begin::Finished(result) => return remembered(result),
            Begin::Taken => return Err(taken(self)),
        }
        match write().await {
            Ok(written) => complete(self, key, written).await,
            Err(error) => {
                // Whether it still is this writer's is the ledger's to say.
                match doubted {
                    _ if !error.had_no_effect() => {
                        self.ledger.doubt(key, writer, Duration::ZERO).await?;
                    }
                    // This write had no effect. An earlier one still may have, however late.
                    Some(ago) => {
                        self.ledger.doubt(key, writer, ago).await?;
                    }
                    None => self.ledger.abandon(key, writer).await?,
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

/// Remembers what this writer has written. Where another has taken over meanwhile, what the ledger
/// says goes: two may have written, but one is remembered.
async fn complete<T: Serialize + DeserializeOwned>(
    work: &Work<'_>,
    key: &EffectKey,
    written: T,
) -> Result<T, StepError> {
    let result = serde_json::to_value(&written).map_err(|cause| unreadable(cause, "finish"))?;
    let is_ours = work
        .ledger
        .complete(key, work.hold.writer(), result)
        .await?;
    if is_ours {
        return Ok(written);
    }
    match work.ledger.read(key).await? {
        Some(EffectState::Finished(result)) => remembered(result),
        _ => Err(StepError::LostHold),
    }
}

fn settling(work: &Work<'_>, rest: Duration) -> StepError {
    wait(work, "an earlier write may still be arriving", rest)
}

fn taken(work: &Work<'_>) -> StepError {
    let soon = work.options.settle_after.min(LOOK_IN);
    wait(work, "another worker is writing it", soon)
}

fn wait(work: &Work<'_>, reason: &str, rest: Duration) -> StepError {
    let until = work.clock.now().checked_add(rest);
    StepError::Wait {
        reason: reason.to_owned(),
        until: until.unwrap_or(jiff::Timestamp::MAX),
    }
}

fn remembered<T: DeserializeOwned>(result: Value) -> Result<T, StepError> {
    T::deserialize(result).map_err(|cause| unreadable(cause, "read").into())
}

fn unreadable(cause: impl fmt::Display, doing: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, doing).with_cause(cause.to_string())
}
