//! What a failed step means for its job.

use std::time::Duration;

use jiff::Timestamp;

use super::Pipeline;
use crate::{
    action::StepError,
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
            StepError::Store(error) => self.store_failed(&error),
            StepError::Wait { reason, until } => Outcome::Defer { reason, until },
            StepError::LostHold => self.not_its_doing("the lease ran out before the write".into()),
            StepError::Person(reason) => Outcome::Dead(reason),
        }
    }

    fn store_failed(&self, error: &StoreError) -> Outcome {
        let reason = in_one_line(error);
        match error.kind() {
            StoreErrorKind::StaleLease | StoreErrorKind::Full | StoreErrorKind::Unavailable => {
                self.not_its_doing(reason)
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
    fn not_its_doing(&self, reason: String) -> Outcome {
        let until = self.clock.now().checked_add(OWN_REST);
        Outcome::Defer {
            reason,
            until: until.unwrap_or(Timestamp::MAX),
        }
    }

    pub(super) fn port_failed(&self, error: &PortError) -> Outcome {
        let reason = in_one_line(error);
        let rest = error.side().and_then(|side| self.circuits.of(side).rest());
        match error.kind() {
            // It has failed so often that it is left alone: that is not this job's doing.
            PortErrorKind::Down if rest.is_some() => self.outage(reason, rest),
            PortErrorKind::Gone | PortErrorKind::NoContent | PortErrorKind::Refused => {
                Outcome::Dead(reason)
            }
            PortErrorKind::Busy | PortErrorKind::Down | PortErrorKind::Integrity => {
                Outcome::Retry {
                    reason,
                    after: error.retry_after(),
                }
            }
            PortErrorKind::Unknown => {
                let settle = self.options.settle_after;
                let after = error
                    .retry_after()
                    .map_or(settle, |asked| asked.max(settle));
                Outcome::Retry {
                    reason,
                    after: Some(after),
                }
            }
            PortErrorKind::Outage => self.outage(reason, rest.or(error.retry_after())),
            // No door is closed to anybody else.
            PortErrorKind::Later => Outcome::Defer {
                reason,
                until: self.after(error.retry_after()),
            },
        }
    }

    fn outage(&self, reason: String, rest: Option<Duration>) -> Outcome {
        Outcome::Outage {
            reason,
            until: self.after(rest),
        }
    }

    fn after(&self, pause: Option<Duration>) -> Timestamp {
        let pause = pause.unwrap_or(self.options.outage_pause);
        let until = self.clock.now().checked_add(pause);
        until.unwrap_or(Timestamp::MAX)
    }
}
