use std::{
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::time::Instant;

use super::TokenReply;
use crate::error::{Error, ErrorKind, Result as CallResult};

/// How often somebody else may store a grant while a login replaces it.
const LOGIN_ROUNDS: u32 = 10;

/// Keeps a grant whose refresh token may be used once.
///
/// The store is what survives: a new refresh token is stored before the access token that came
/// with it is used. With [`compare_and_swap`](TokenStore::compare_and_swap) several holders of
/// one grant notice each other. With [`lease`](TokenStore::lease) they take turns, which Box's
/// rotation asks for as soon as they are in several processes.
///
/// A store of your own can be held against the suites in `testing`: `token_store_contract` and,
/// where it leases, `token_lease_contract`.
#[async_trait]
pub trait TokenStore: Debug + Send + Sync + 'static {
    /// The grant and its version, or `None` when nobody has logged in yet.
    async fn load(&self) -> Result<Option<Stored>, TokenStoreError>;

    /// Stores `grant` durably if the stored version is still `expected`, where 0 stands for a
    /// store without a grant.
    async fn compare_and_swap(&self, expected: u64, grant: Grant) -> Result<Swap, TokenStoreError>;

    /// Gives `holder` the sole right to refresh for the time of `hold` from now, unless another
    /// holder has it. A holder that asks again has it for so long from then on. Time is the
    /// store's own, so that the clocks of the holders need not agree.
    ///
    /// A lease only spares the holders from getting in each other's way: what is stored is
    /// decided by `compare_and_swap`, also for a holder that has slept through the end of its
    /// lease.
    ///
    /// Without this method everybody always has the right. That is enough for one process. Of
    /// several that refresh at once Box answers one, and the others wait once for what it
    /// stores: if that takes longer than a moment, they report a dead grant that is not dead.
    async fn lease(&self, holder: &str, hold: Duration) -> Result<bool, TokenStoreError> {
        let _ = (holder, hold);
        Ok(true)
    }

    /// Gives the right back, if `holder` has it.
    async fn release(&self, holder: &str) -> Result<(), TokenStoreError> {
        let _ = holder;
        Ok(())
    }
}

/// So that several clients can share a store.
#[async_trait]
impl<S: TokenStore + ?Sized> TokenStore for Arc<S> {
    async fn load(&self) -> Result<Option<Stored>, TokenStoreError> {
        (**self).load().await
    }

    async fn compare_and_swap(&self, expected: u64, grant: Grant) -> Result<Swap, TokenStoreError> {
        (**self).compare_and_swap(expected, grant).await
    }

    async fn lease(&self, holder: &str, hold: Duration) -> Result<bool, TokenStoreError> {
        (**self).lease(holder, hold).await
    }

    async fn release(&self, holder: &str) -> Result<(), TokenStoreError> {
        (**self).release(holder).await
    }
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
    /// When the access token expires.
    pub expires_at: Option<Timestamp>,
}

impl Grant {
    /// A grant of which only the refresh token is known, as after a login.
    pub fn new(refresh_token: impl Into<SecretString>) -> Self {
        Self {
            refresh_token: refresh_token.into(),
            access_token: None,
            expires_at: None,
        }
    }

    pub(super) fn of(reply: &TokenReply, refresh_token: SecretString) -> Self {
        let access = reply.access();
        Self {
            refresh_token,
            expires_at: access
                .expires_in
                .and_then(|life| Timestamp::now().checked_add(life).ok()),
            access_token: Some(access.secret),
        }
    }

    /// Puts this grant in the place of whatever is stored, as after a login. If that fails, this
    /// is still the only copy: try again.
    pub async fn store_in(&self, store: &dyn TokenStore) -> CallResult<()> {
        let failed = || Error::new(ErrorKind::Store, "token");
        for _ in 0..LOGIN_ROUNDS {
            let stored = store.load().await.map_err(|cause| failed().cause(cause))?;
            let swap = store
                .compare_and_swap(stored.map_or(0, |stored| stored.version), self.clone())
                .await
                .map_err(|cause| failed().cause(cause))?;
            if swap == Swap::Stored {
                return Ok(());
            }
        }
        Err(failed().detail("the stored grant changed at every try to replace it"))
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
/// program keeps. Clients that share it by an [`Arc`] take turns.
#[derive(Debug, Default)]
pub struct MemoryTokenStore(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    stored: Option<Stored>,
    /// Who refreshes, and until when.
    leased: Option<(String, Instant)>,
}

impl MemoryTokenStore {
    /// A store that holds this grant.
    pub fn new(grant: Grant) -> Self {
        Self(Mutex::new(Memory {
            stored: Some(Stored { grant, version: 1 }),
            leased: None,
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
        let stored = &mut self.memory().stored;
        if stored.as_ref().map_or(0, |stored| stored.version) != expected {
            return Ok(Swap::Conflict);
        }
        *stored = Some(Stored {
            grant,
            version: expected + 1,
        });
        Ok(Swap::Stored)
    }

    async fn lease(&self, holder: &str, hold: Duration) -> Result<bool, TokenStoreError> {
        let leased = &mut self.memory().leased;
        let now = Instant::now();
        let free = leased
            .as_ref()
            .is_none_or(|(other, until)| other == holder || *until <= now);
        if free {
            *leased = Some((holder.to_owned(), now + hold));
        }
        Ok(free)
    }

    async fn release(&self, holder: &str) -> Result<(), TokenStoreError> {
        self.memory().leased.take_if(|(other, _)| other == holder);
        Ok(())
    }
}
