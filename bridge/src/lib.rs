#![doc = include_str!("../README.md")]

mod ledger;
mod queue;
pub mod store;
mod store_error;
#[cfg(feature = "testing")]
pub mod testing;
pub mod webhook;

pub use ledger::{Begin, Effect, EffectKey, EffectState, Ledger};
pub use queue::{
    Counts, Job, JobFilter, JobId, JobState, LeaseId, Leased, NewJob, Push, Queue, QueueAdmin,
    Settle,
};
pub use store_error::{StoreError, StoreErrorKind};
