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

/// Brings an effect about exactly once, whatever happened before.
///
/// `look` finds the effect on the far side; it is asked only when an earlier write may have
/// arrived. `write` brings it about. A write that certainly had no effect leaves no trace in the
/// ledger, any other leaves its beginning there, so that the next attempt looks first.
pub(crate) async fn once<T, L, W>(
    work: &Work<'_>,
    key: &EffectKey,
    look: L,
    write: W,
) -> Result<T, StepError>
where
    T: Serialize + DeserializeOwned,
    L: AsyncFnOnce() -> Result<Option<T>, StepError>,
    W: AsyncFnOnce() -> Result<T, PortError>,
{
    match work.ledger.read(key).await? {
        Some(EffectState::Finished(result)) => return remembered(key, result),
        Some(EffectState::Begun(since)) => {
            let ready = since
                .checked_add(work.options.settle_after)
                .unwrap_or(Timestamp::MAX);
            // A clock that was set back makes the beginning lie in the future: waiting for it
            // could take for ever, so only the settling time itself is waited for.
            let now = work.clock.now();
            if since <= now && now < ready {
                return Err(StepError::Wait {
                    reason: "an earlier write may still be arriving".to_owned(),
                    until: ready,
                });
            }
            if let Some(found) = look().await? {
                finish(work, key, &found).await?;
                return Ok(found);
            }
        }
        None => {}
    }
    if !work.hold.is_good() {
        return Err(StepError::LostHold);
    }
    if let Begin::Finished(result) = work.ledger.begin(key, work.clock.now()).await? {
        return remembered(key, result);
    }
    match write().await {
        Ok(written) => {
            finish(work, key, &written).await?;
            Ok(written)
        }
        Err(error) => {
            if error.had_no_effect() {
                work.ledger.abandon(key).await?;
            }
            Err(error.into())
        }
    }
}

/// An effect that is its own guard: writing it again changes nothing.
pub(crate) async fn once_harmless<W, F>(
    work: &Work<'_>,
    key: &EffectKey,
    write: W,
) -> Result<(), StepError>
where
    W: FnOnce() -> F,
    F: Future<Output = Result<(), PortError>>,
{
    if let Some(EffectState::Finished(_)) = work.ledger.read(key).await? {
        return Ok(());
    }
    if !work.hold.is_good() {
        return Err(StepError::LostHold);
    }
    write().await?;
    finish(work, key, &Value::Null).await
}

pub(crate) async fn finish<T: Serialize>(
    work: &Work<'_>,
    key: &EffectKey,
    result: &T,
) -> Result<(), StepError> {
    let result = serde_json::to_value(result).map_err(|cause| unreadable(cause, "finish"))?;
    Ok(work.ledger.finish(key, result, work.clock.now()).await?)
}

fn remembered<T: DeserializeOwned>(_: &EffectKey, result: Value) -> Result<T, StepError> {
    T::deserialize(result).map_err(|cause| unreadable(cause, "read").into())
}

fn unreadable(cause: impl fmt::Display, doing: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, doing).with_cause(cause.to_string())
}
