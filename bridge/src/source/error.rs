use crate::{port_error::PortError, store_error::StoreError};

/// Why a source could not go on. Its position is where it was: it goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The CRM side did not answer as it should.
    #[error("the CRM side could not be asked")]
    Port(#[from] PortError),
    /// The inbox or the ledger could not take it.
    #[error("what was told could not be kept")]
    Store(#[from] StoreError),
}
