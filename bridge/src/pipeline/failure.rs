//! What a failed step means for its job.

use std::time::Duration;

use jiff::Timestamp;

use super::Pipeline;
use crate::{
    action::StepError,
    clock::later,
    port_error::{PortError, PortErrorKind, in_one_line},
    store_error::{StoreError, StoreErrorKind},
    worker::Outcome,
};

/// How soon a job is taken up again that our own store has stopped.
const OWN_REST: Duration = Duration::from_secs(5);

impl Pipeline {
    pub(super) fn failed(&self, error: StepError) -> Outcome {
        match error {
            StepError::Port(error) => self.port_failed(&error),
            StepError::Store(error) => store_failed(&error, self.clock.now()),
            StepError::Wait { reason, until } => Outcome::Defer { reason, until },
            StepError::LostHold => {
                let reason = "the lease ran out before the write".to_owned();
                not_its_doing(reason, self.clock.now())
            }
            StepError::Person(reason) => Outcome::Dead(reason),
        }
    }

    pub(super) fn port_failed(&self, error: &PortError) -> Outcome {
        let rest = error.side().and_then(|side| self.circuits.of(side).rest());
        let rests = Rests {
            settle: self.options.settle_after,
            outage: self.options.outage_pause,
        };
        port_failed(error, rest, rests, self.clock.now())
    }
}

/// How long a job rests for which the far side names no time.
#[derive(Clone, Copy)]
pub(crate) struct Rests {
    /// Where nobody knows whether a write has arrived.
    pub(crate) settle: Duration,
    /// Where nothing goes on.
    pub(crate) outage: Duration,
}

/// What the failure of a far side means for the job that met it. `rest` is for how much longer that
/// side is left alone, where it is.
pub(crate) fn port_failed(
    error: &PortError,
    rest: Option<Duration>,
    rests: Rests,
    now: Timestamp,
) -> Outcome {
    let reason = in_one_line(error);
    let outage = |reason, rest: Option<Duration>| Outcome::Outage {
        reason,
        until: later(now, rest.unwrap_or(rests.outage)),
    };
    match error.kind() {
        // It has failed so often that it is left alone: that is not this job's doing.
        PortErrorKind::Down if rest.is_some() => outage(reason, rest),
        PortErrorKind::Gone | PortErrorKind::NoContent | PortErrorKind::Refused => {
            Outcome::Dead(reason)
        }
        PortErrorKind::Busy
        | PortErrorKind::Down
        | PortErrorKind::TooLarge
        | PortErrorKind::Integrity => Outcome::Retry {
            reason,
            after: error.retry_after(),
        },
        PortErrorKind::Unknown => {
            let after = error.retry_after().unwrap_or_default().max(rests.settle);
            Outcome::Retry {
                reason,
                after: Some(after),
            }
        }
        PortErrorKind::Outage => outage(reason, rest.or(error.retry_after())),
        PortErrorKind::Full => outage(reason, error.retry_after()),
        // No door is closed to anybody else.
        PortErrorKind::Later => Outcome::Defer {
            reason,
            until: later(now, error.retry_after().unwrap_or(rests.outage)),
        },
    }
}

/// What the failure of our own store means for the job that met it.
pub(crate) fn store_failed(error: &StoreError, now: Timestamp) -> Outcome {
    let reason = in_one_line(error);
    match error.kind() {
        StoreErrorKind::StaleLease | StoreErrorKind::Full | StoreErrorKind::Unavailable => {
            not_its_doing(reason, now)
        }
        // What this version cannot read a newer one may have written.
        StoreErrorKind::Corrupt | StoreErrorKind::Incompatible => Outcome::Retry {
            reason,
            after: None,
        },
        StoreErrorKind::Invalid => Outcome::Dead(reason),
    }
}

/// No attempt is used up by what is wrong on our own side.
pub(crate) fn not_its_doing(reason: String, now: Timestamp) -> Outcome {
    Outcome::Defer {
        reason,
        until: later(now, OWN_REST),
    }
}
