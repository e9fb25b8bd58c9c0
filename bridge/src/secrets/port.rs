use std::{
    fmt::{self, Debug},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use super::{SecretError, SecretErrorKind};

/// The longest secret in bytes: what every kind of store has room for.
pub const MOST_BYTES: usize = 32 * 1024;

/// Keeps secrets by name, for one process or several.
///
/// What every implementation guarantees (`bridge::testing::secret_store_contract` holds them to
/// it):
///
/// - A swap that was acknowledged is there after a crash and after power loss, and a swap that
///   was not has either happened as a whole or not at all.
/// - Of several that swap the same version one wins, in whatever processes they are.
/// - What cannot be read is never overwritten: with a wrong key, or over something damaged or
///   foreign, nothing is written.
/// - Nothing of a secret is in any `Debug`, error or log.
#[async_trait]
pub trait SecretStore: Debug + Send + Sync + 'static {
    /// The secret and its version, or `None` where there never was one.
    async fn load(&self, name: &SecretName) -> Result<Option<Versioned>, SecretError>;

    /// Stores `secret` if what is stored is still of the version `seen`, where `None` stands for
    /// nothing.
    ///
    /// Asking again for what has happened, as after a lost answer, answers [`Swap::Swapped`] as
    /// long as nothing newer is there.
    async fn compare_and_swap(
        &self,
        name: &SecretName,
        seen: Option<u64>,
        secret: SecretString,
    ) -> Result<Swap, SecretError>;

    /// Gives `owner` the sole right to what the secret is for, such as spending a refresh token
    /// that works once, for the time of `hold` from now, unless another owner has it. An owner
    /// that asks again has it for so long from then on. Time is the store's own.
    ///
    /// A lease keeps others from leasing, not from swapping: what is stored is decided by
    /// [`compare_and_swap`](SecretStore::compare_and_swap), also for an owner that has slept
    /// through the end of its lease.
    async fn lease(
        &self,
        name: &SecretName,
        owner: &str,
        hold: Duration,
    ) -> Result<bool, SecretError>;

    /// Gives the right back, if `owner` has it.
    async fn release(&self, name: &SecretName, owner: &str) -> Result<(), SecretError>;
}

#[async_trait]
impl<S: SecretStore + ?Sized> SecretStore for Arc<S> {
    async fn load(&self, name: &SecretName) -> Result<Option<Versioned>, SecretError> {
        (**self).load(name).await
    }

    async fn compare_and_swap(
        &self,
        name: &SecretName,
        seen: Option<u64>,
        secret: SecretString,
    ) -> Result<Swap, SecretError> {
        (**self).compare_and_swap(name, seen, secret).await
    }

    async fn lease(
        &self,
        name: &SecretName,
        owner: &str,
        hold: Duration,
    ) -> Result<bool, SecretError> {
        (**self).lease(name, owner, hold).await
    }

    async fn release(&self, name: &SecretName, owner: &str) -> Result<(), SecretError> {
        (**self).release(name, owner).await
    }
}

/// What a secret is kept under: up to 64 letters, digits, `-` and `_`, so that it is the same in
/// a file, a table, a path and a URL.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SecretName(String);

impl SecretName {
    /// Checks the name.
    pub fn new(name: impl Into<String>) -> Result<Self, SecretError> {
        let name = name.into();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if (1..=64).contains(&name.len()) && name.chars().all(plain) {
            return Ok(Self(name));
        }
        let error = SecretError::new(SecretErrorKind::Refused, "name a secret");
        Err(error.with_cause("a name has 1 to 64 letters, digits, - and _"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret as it is stored.
#[derive(Clone, Debug)]
pub struct Versioned {
    /// Grows with each swap and is never 0.
    pub version: u64,
    /// The secret.
    pub secret: SecretString,
}

impl Versioned {
    /// Whether this is what a swap of `seen` for `secret` leaves behind.
    pub(super) fn is_swapped(&self, seen: Option<u64>, secret: &SecretString) -> bool {
        self.version.checked_sub(1) == Some(seen.unwrap_or(0))
            && self.secret.expose_secret() == secret.expose_secret()
    }
}

/// The answer to [`SecretStore::compare_and_swap`].
#[derive(Clone, Debug)]
pub enum Swap {
    /// Stored, as this version.
    Swapped(u64),
    /// Something else is there, or nothing: it stays.
    Conflict(Option<Versioned>),
}

/// What all stores refuse alike.
pub(super) fn check(secret: &SecretString) -> Result<(), SecretError> {
    match secret.expose_secret().len() {
        0..=MOST_BYTES => Ok(()),
        _ => {
            let error = SecretError::new(SecretErrorKind::Refused, "swap a secret");
            Err(error.with_cause("a secret has no more than 32 KiB"))
        }
    }
}

#[cfg(any(feature = "vault", feature = "aws"))]
/// Names between slashes, so that nothing of it can be taken for something else.
pub(super) fn path(text: &str) -> Result<String, SecretError> {
    let text = text.trim_matches('/');
    for part in text.split('/') {
        SecretName::new(part)?;
    }
    Ok(text.to_owned())
}

/// How often a rotation of the key looks whether somebody still has a lease.
#[cfg(any(feature = "secret-file", feature = "postgres"))]
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Somebody has had a lease for all the time.
#[cfg(any(feature = "secret-file", feature = "postgres"))]
pub(super) fn in_use(doing: &'static str) -> SecretError {
    let cause = "a grant is being refreshed, or was when a process died: try again in a minute";
    SecretError::new(SecretErrorKind::Contended, doing).with_cause(cause)
}
