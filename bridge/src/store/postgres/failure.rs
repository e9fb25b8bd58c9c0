//! What PostgreSQL says, and what that means for the store.

use std::error::Error as _;

use deadpool_postgres::PoolError;
use tokio_postgres::{Error, error::SqlState};

use crate::store_error::{StoreError, StoreErrorKind};

pub(super) fn store_error(doing: &'static str, cause: Error) -> StoreError {
    let kind = match cause.code() {
        Some(
            &SqlState::DISK_FULL
            | &SqlState::OUT_OF_MEMORY
            | &SqlState::CONFIGURATION_LIMIT_EXCEEDED,
        ) => StoreErrorKind::Full,
        Some(code)
            if *code == SqlState::PROGRAM_LIMIT_EXCEEDED || code.code().starts_with("22") =>
        {
            StoreErrorKind::Invalid
        }
        Some(&SqlState::DATA_CORRUPTED | &SqlState::INDEX_CORRUPTED) => StoreErrorKind::Corrupt,
        Some(
            &SqlState::UNDEFINED_TABLE
            | &SqlState::UNDEFINED_FUNCTION
            | &SqlState::UNDEFINED_COLUMN
            | &SqlState::INVALID_SCHEMA_NAME,
        ) => StoreErrorKind::Incompatible,
        Some(_) => StoreErrorKind::Unavailable,
        // Not from the server: what came does not fit, or the connection is gone.
        None if cause
            .source()
            .is_some_and(|it| it.is::<std::str::Utf8Error>()) =>
        {
            StoreErrorKind::Corrupt
        }
        None => StoreErrorKind::Unavailable,
    };
    StoreError::new(kind, doing).with_cause(cause)
}

pub(super) fn pool_error(doing: &'static str, cause: PoolError) -> StoreError {
    match cause {
        PoolError::Backend(cause) => store_error(doing, cause),
        cause => StoreError::new(StoreErrorKind::Unavailable, doing).with_cause(cause),
    }
}

/// Whether the same call may well succeed at once on another connection: the server has restarted,
/// the connection was lost, or two transactions stood in each other's way.
pub(super) fn is_passing(error: &Error) -> bool {
    error.is_closed()
        || error.source().is_some_and(|it| it.is::<std::io::Error>())
        || matches!(
            error.code(),
            Some(
                &SqlState::ADMIN_SHUTDOWN
                    | &SqlState::CRASH_SHUTDOWN
                    | &SqlState::CANNOT_CONNECT_NOW
                    | &SqlState::CONNECTION_FAILURE
                    | &SqlState::T_R_DEADLOCK_DETECTED
                    | &SqlState::T_R_SERIALIZATION_FAILURE
            )
        )
}
