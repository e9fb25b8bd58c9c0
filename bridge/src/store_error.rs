//! What can go wrong with what is stored.

use std::fmt;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A store could not do what it was asked. Nothing was changed.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    doing: &'static str,
    cause: Option<Cause>,
}

/// What is wrong with the store, and so what to do about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The lease has run out or was given to another worker: drop the job, it is not yours.
    StaleLease,
    /// The disk or the store's own limit is full: make room; what was accepted is safe.
    Full,
    /// The store cannot be reached or is closed: try again.
    Unavailable,
    /// What is stored cannot be read: restore a backup.
    Corrupt,
    /// The file or the schema is of another kind or a newer version.
    Incompatible,
    /// What was to be stored is nothing that a store can keep: it has to be changed.
    Invalid,
}

impl StoreError {
    /// An error met while `doing`, a few words such as `push`.
    pub fn new(kind: StoreErrorKind, doing: &'static str) -> Self {
        Self {
            kind,
            doing,
            cause: None,
        }
    }

    /// A store that has not answered in the time that there is, met while `doing`.
    #[cfg(feature = "axum")]
    pub(crate) fn late(doing: &'static str) -> Self {
        Self::new(StoreErrorKind::Unavailable, doing).with_cause("it did not answer in time")
    }

    /// Adds what caused it.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// What is wrong.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            StoreErrorKind::StaleLease => "the lease is no longer held",
            StoreErrorKind::Full => "the store is full",
            StoreErrorKind::Unavailable => "the store is not available",
            StoreErrorKind::Corrupt => "the store holds something that cannot be read",
            StoreErrorKind::Incompatible => "the store is not one of this program's version",
            StoreErrorKind::Invalid => "it cannot be stored as it is",
        };
        write!(f, "{}: {what}", self.doing)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
