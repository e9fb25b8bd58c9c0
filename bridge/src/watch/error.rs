use crate::{port_error::PortError, store_error::StoreError};

/// Watching did not come to its end; all of it can be repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// A far side failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The inbox or the ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder that everything is to be found below is not there.
    #[error("there is no folder {folder} for us")]
    NoFolder {
        /// Its id.
        folder: String,
        /// What its side says.
        source: Box<PortError>,
    },
    /// The inbox holds as much as it may; what is left comes later.
    #[error("the inbox holds {0} events already, at least")]
    Full(u64),
}
