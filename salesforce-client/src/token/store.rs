use std::{
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::time::Instant;

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

    /// Takes the right to refresh, for `hold` at most: while one holder has it, no other gets it.
    /// `None` when another has it. Where rotation is on, two holders that refresh at once would
    /// spend one refresh token twice, and Salesforce can end the whole grant for that.
    ///
    /// A store that only one process uses needs no such thing: unless overridden, everybody gets
    /// the right at once.
    async fn lease(&self, hold: Duration) -> Result<Option<Lease>, TokenStoreError> {
        let _ = hold;
        Ok(Some(Lease::new("")))
    }

    /// Keeps the right for another `hold` from now: a refresh takes long, and one that is given up
    /// can lose the grant. One that somebody else has by now stays his. Unless overridden, nothing
    /// happens.
    async fn renew(&self, lease: &Lease, hold: Duration) -> Result<(), TokenStoreError> {
        let _ = (lease, hold);
        Ok(())
    }

    /// Gives the right back. One whose time was over, or that somebody else has by now, is none:
    /// nothing happens then.
    async fn release(&self, lease: Lease) -> Result<(), TokenStoreError> {
        let _ = lease;
        Ok(())
    }
}

/// The right to refresh, from [`TokenStore::lease`]. What is in it is the store's own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lease(String);

impl Lease {
    /// A right that the store knows by this text.
    pub fn new(holder: impl Into<String>) -> Self {
        Self(holder.into())
    }

    /// The store's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The cause that a [`TokenStore`] gives for its failure.
pub type TokenStoreError = Box<dyn std::error::Error + Send + Sync>;

/// A grant: what a refresh gave.
#[derive(Clone, Debug)]
#[non_exhaustive]
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
/// program keeps. In an [`Arc`] several clients can share it.
#[derive(Debug)]
pub struct MemoryTokenStore(Mutex<Memory>);

#[derive(Debug)]
struct Memory {
    stored: Option<Stored>,
    leased: Option<(u64, Instant)>,
    leases: u64,
}

impl MemoryTokenStore {
    /// A store without a grant: nobody has logged in yet.
    pub fn empty() -> Self {
        Self(Mutex::new(Memory {
            stored: None,
            leased: None,
            leases: 0,
        }))
    }

    /// A store that holds this grant.
    pub fn new(grant: Grant) -> Self {
        Self(Mutex::new(Memory {
            stored: Some(Stored { grant, version: 1 }),
            leased: None,
            leases: 0,
        }))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TokenStore for MemoryTokenStore {
    async fn load(&self) -> Result<Option<Stored>, TokenStoreError> {
        Ok(self.memory().stored.clone())
    }

    async fn compare_and_swap(&self, expected: u64, grant: Grant) -> Result<Swap, TokenStoreError> {
        let mut memory = self.memory();
        let stored = &mut memory.stored;
        if stored.as_ref().map_or(0, |stored| stored.version) != expected {
            return Ok(Swap::Conflict);
        }
        *stored = Some(Stored {
            grant,
            version: expected + 1,
        });
        Ok(Swap::Stored)
    }

    async fn lease(&self, hold: Duration) -> Result<Option<Lease>, TokenStoreError> {
        let mut memory = self.memory();
        let now = Instant::now();
        if memory.leased.is_some_and(|(_, until)| now < until) {
            return Ok(None);
        }
        memory.leases += 1;
        memory.leased = Some((memory.leases, now + hold));
        Ok(Some(Lease::new(memory.leases.to_string())))
    }

    async fn renew(&self, lease: &Lease, hold: Duration) -> Result<(), TokenStoreError> {
        let mut memory = self.memory();
        if let Some((number, until)) = &mut memory.leased
            && number.to_string() == lease.as_str()
        {
            *until = Instant::now() + hold;
        }
        Ok(())
    }

    async fn release(&self, lease: Lease) -> Result<(), TokenStoreError> {
        let mut memory = self.memory();
        let is_it = |(number, _): &(u64, Instant)| number.to_string() == lease.as_str();
        memory.leased = memory.leased.filter(|held| !is_it(held));
        Ok(())
    }
}

#[async_trait]
impl<S: TokenStore + ?Sized> TokenStore for Arc<S> {
    async fn load(&self) -> Result<Option<Stored>, TokenStoreError> {
        (**self).load().await
    }

    async fn compare_and_swap(&self, expected: u64, grant: Grant) -> Result<Swap, TokenStoreError> {
        (**self).compare_and_swap(expected, grant).await
    }

    async fn lease(&self, hold: Duration) -> Result<Option<Lease>, TokenStoreError> {
        (**self).lease(hold).await
    }

    async fn renew(&self, lease: &Lease, hold: Duration) -> Result<(), TokenStoreError> {
        (**self).renew(lease, hold).await
    }

    async fn release(&self, lease: Lease) -> Result<(), TokenStoreError> {
        (**self).release(lease).await
    }
}
