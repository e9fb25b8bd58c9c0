use std::{fmt::Debug, sync::Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretString;

/// Keeps a grant whose refresh token may be used once, as where rotation is on.
///
/// The store is what survives: a new refresh token is stored before the access token that came
/// with it is used. With [`compare_and_swap`](TokenStore::compare_and_swap) several holders of
/// one grant notice each other.
#[async_trait]
pub trait TokenStore: Debug + Send + Sync + 'static {
    /// The grant and its version, or `None` when nobody has logged in yet.
    async fn load(&self) -> Result<Option<Stored>, TokenStoreError>;

    /// Stores `grant` durably if the stored version is still `expected`.
    async fn compare_and_swap(&self, expected: u64, grant: Grant) -> Result<Swap, TokenStoreError>;
}

/// The cause that a [`TokenStore`] gives for its failure.
pub type TokenStoreError = Box<dyn std::error::Error + Send + Sync>;

/// A grant: what a refresh gave.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The refresh token to use next.
    pub refresh_token: SecretString,
    /// The access token that came with it, if any.
    pub access_token: Option<SecretString>,
    /// When the access token came.
    pub issued_at: Option<Timestamp>,
    /// The org's host, as the token's answer told it.
    pub instance_url: Option<String>,
}

impl Grant {
    /// A grant of which only the refresh token is known, as after a login.
    pub fn new(refresh_token: impl Into<SecretString>) -> Self {
        Self {
            refresh_token: refresh_token.into(),
            access_token: None,
            issued_at: None,
            instance_url: None,
        }
    }
}

/// A grant as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The grant.
    pub grant: Grant,
    /// Grows with each change.
    pub version: u64,
}

/// The answer to [`TokenStore::compare_and_swap`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Swap {
    /// Stored.
    Stored,
    /// Somebody else has stored another grant since; nothing was changed.
    Conflict,
}

/// A store that forgets everything when the process ends: for tests, and for grants that another
/// program keeps.
#[derive(Debug)]
pub struct MemoryTokenStore(Mutex<Option<Stored>>);

impl MemoryTokenStore {
    /// A store that holds this grant.
    pub fn new(grant: Grant) -> Self {
        Self(Mutex::new(Some(Stored { grant, version: 1 })))
    }
}

#[async_trait]
impl TokenStore for MemoryTokenStore {
    async fn load(&self) -> Result<Option<Stored>, TokenStoreError> {
        Ok(self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone())
    }

    async fn compare_and_swap(&self, expected: u64, grant: Grant) -> Result<Swap, TokenStoreError> {
        let mut stored = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if stored.as_ref().map_or(0, |stored| stored.version) != expected {
            return Ok(Swap::Conflict);
        }
        *stored = Some(Stored {
            grant,
            version: expected + 1,
        });
        Ok(Swap::Stored)
    }
}
