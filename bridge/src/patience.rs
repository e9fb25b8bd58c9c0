//! How long whoever goes through everything bears what may pass.

use std::{future::Future, pin::Pin, time::Duration};

use jiff::Timestamp;
use tokio::time::sleep;

use crate::{
    action::StepError,
    clock::Clock,
    port_error::{PortError, PortErrorKind, in_one_line},
    watch::WatchError,
};

/// What fails for a reason that may pass is tried so often.
const TRIES: usize = 3;
/// A record that is changed all the time is waited for so often.
const WAITS: usize = 30;
/// How long to wait where nobody says how long.
const PAUSE: Duration = Duration::from_secs(5);
/// Nobody sleeps for longer without a look around.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// An error that may say when it is worth another try.
pub(crate) trait Passing {
    /// What failed at a far side, if that is what it is.
    fn port(&self) -> Option<&PortError>;

    /// Until when to wait, where nothing has failed.
    fn until(&self) -> Option<Timestamp> {
        None
    }
}

impl Passing for StepError {
    fn port(&self) -> Option<&PortError> {
        match self {
            Self::Port(port) => Some(port),
            _ => None,
        }
    }

    fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Wait { until, .. } => Some(*until),
            _ => None,
        }
    }
}

impl Passing for WatchError {
    fn port(&self) -> Option<&PortError> {
        match self {
            Self::Port(port) => Some(port),
            _ => None,
        }
    }
}

/// That with one record, with one file, or with one list.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    tries: usize,
    waits: usize,
    has_told: bool,
}

impl Patience {
    /// Waits until it is worth another try; `false` where it was stopped before that. What trying
    /// again does not mend is the error. `tell` hears, once, why nothing can be done for now.
    pub(crate) async fn bear<E: Passing>(
        &mut self,
        error: E,
        clock: &dyn Clock,
        stop: Pin<&mut impl Future<Output = ()>>,
        tell: impl FnOnce(String),
    ) -> Result<bool, E> {
        let pause = match (error.until(), error.port()) {
            (Some(until), _) if self.waits + 1 < WAITS => {
                self.waits += 1;
                let pause = until.duration_since(clock.now());
                Duration::try_from(pause).unwrap_or_default()
            }
            (_, Some(port)) if is_for_all(port.kind()) => {
                if !self.has_told {
                    tell(in_one_line(port));
                    self.has_told = true;
                }
                port.retry_after().unwrap_or(PAUSE)
            }
            (_, Some(port)) if self.tries + 1 < TRIES && may_pass(port.kind()) => {
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
