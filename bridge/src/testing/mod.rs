//! What every implementation of a port has to pass. Each check takes a fresh store and panics
//! with what is wrong, as a test does.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are tests, for others to call"
)]

mod fence;
mod leases;
mod ledger;
mod queue;
mod secrets;

pub use self::{
    fence::fence_contract, ledger::ledger_contract, queue::queue_contract,
    secrets::secret_store_contract,
};
