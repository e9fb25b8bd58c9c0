//! Secrets at rest: the port, and the places that keep them.
//!
//! A [`SecretStore`] holds a few short secrets by name, such as a vendor's grant. [`FileSecrets`]
//! keeps them in one encrypted file for the processes of a machine, [`PostgresSecrets`] encrypted
//! in the database that the processes share, [`VaultSecrets`] in HashiCorp Vault, [`AwsSecrets`] in AWS
//! Secrets Manager. A [`GrantStore`] makes any of them the place where the clients keep a rotating refresh token.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), bridge::secrets::SecretError> {
//! use bridge::secrets::{MemorySecrets, SecretName, SecretStore, Swap};
//!
//! let store = MemorySecrets::new();
//! let name = SecretName::new("box")?;
//! let swap = store.compare_and_swap(&name, None, "a refresh token".into()).await?;
//! assert!(matches!(swap, Swap::Swapped(1)));
//! assert_eq!(store.load(&name).await?.map(|it| it.version), Some(1));
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "aws")]
mod aws;
mod error;
#[cfg(feature = "secret-file")]
mod file;
#[cfg(any(feature = "box", feature = "salesforce"))]
mod grant;
#[cfg(any(feature = "secret-file", feature = "postgres"))]
mod key;
mod memory;
mod port;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "secret-file", feature = "postgres"))]
mod sealed;
#[cfg(feature = "vault")]
mod vault;

#[cfg(feature = "aws")]
pub use self::aws::{AwsAuth, AwsOptions, AwsSecrets};
#[cfg(feature = "secret-file")]
pub use self::file::FileSecrets;
#[cfg(any(feature = "box", feature = "salesforce"))]
pub use self::grant::GrantStore;
#[cfg(any(feature = "secret-file", feature = "postgres"))]
pub use self::key::SecretKey;
#[cfg(feature = "postgres")]
pub use self::postgres::PostgresSecrets;
#[cfg(feature = "vault")]
pub use self::vault::{VaultAuth, VaultSecrets};
pub use self::{
    error::{SecretError, SecretErrorKind},
    memory::MemorySecrets,
    port::{MOST_BYTES, SecretName, SecretStore, Swap, Versioned},
};
