//! How long whoever goes through everything bears what may pass.

use std::{future::Future, pin::Pin, time::Duration};

use tokio::time::sleep;

use super::all::SyncTold;
use crate::{
    action::StepError,
    clock::Clock,
    port_error::{PortErrorKind, in_one_line},
};

/// What fails for a reason that may pass is tried so often.
const TRIES: usize = 3;
/// A record that is changed all the time is waited for so often.
const WAITS: usize = 30;
/// How long to wait where nobody says how long.
const PAUSE: Duration = Duration::from_secs(5);
/// Nobody sleeps for longer without a look around.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// That with one record, or with one list.
#[derive(Debug, Default)]
pub(super) struct Patience {
    tries: usize,
    waits: usize,
    has_told: bool,
}

impl Patience {
    /// Waits until it is worth another try; `false` where it was stopped before that. What trying
    /// again does not mend is the error.
    pub(super) async fn bear(
        &mut self,
        error: StepError,
        clock: &dyn Clock,
        stop: Pin<&mut impl Future<Output = ()>>,
        tell: &mut impl FnMut(SyncTold),
    ) -> Result<bool, StepError> {
        let pause = match &error {
            StepError::Wait { until, .. } if self.waits + 1 < WAITS => {
                self.waits += 1;
                let pause = until.duration_since(clock.now());
                Duration::try_from(pause).unwrap_or_default()
            }
            StepError::Port(port) if is_for_all(port.kind()) => {
                if !self.has_told {
                    let reason = in_one_line(port);
                    tell(SyncTold::Waits { reason });
                    self.has_told = true;
                }
                port.retry_after().unwrap_or(PAUSE)
            }
            StepError::Port(port) if self.tries + 1 < TRIES && may_pass(port.kind()) => {
                self.tries += 1;
                port.retry_after().unwrap_or(PAUSE)
            }
            _ => return Err(error),
        };
        tokio::select! {
            biased;
            () = stop => Ok(false),
            () = sleep(pause.min(LONGEST_PAUSE)) => Ok(true),
        }
    }
}

/// Whether everything else would fare the same.
fn is_for_all(kind: PortErrorKind) -> bool {
    matches!(kind, PortErrorKind::Later | PortErrorKind::Outage)
}

fn may_pass(kind: PortErrorKind) -> bool {
    use PortErrorKind::{Busy, Down, Unknown};
    matches!(kind, Busy | Down | Unknown)
}
