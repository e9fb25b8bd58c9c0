//! Where the inbox and the ledger are kept.

pub(crate) mod leases;
pub mod memory;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod parts;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;
