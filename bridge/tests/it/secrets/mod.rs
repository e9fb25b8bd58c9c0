//! Secrets at rest, wherever they are kept.

#[cfg(feature = "aws")]
mod aws;
mod contracts;
mod file;
#[cfg(feature = "aws")]
mod log;
#[cfg(feature = "aws")]
mod moto;
#[cfg(unix)]
pub(crate) mod postgres;
mod processes;
mod shared;
#[cfg(feature = "vault")]
mod vault;

use bridge::secrets::{SecretKey, SecretName, SecretStore, Swap};
use secrecy::ExposeSecret;

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&[byte; 32]).unwrap()
}

fn name() -> SecretName {
    SecretName::new("box").unwrap()
}

/// Stores the secret, whatever was there.
async fn put(store: &dyn SecretStore, secret: &str) -> u64 {
    let seen = store.load(&name()).await.unwrap().map(|it| it.version);
    let name = name();
    let swap = store.compare_and_swap(&name, seen, secret.into());
    match swap.await.unwrap() {
        Swap::Swapped(version) => version,
        Swap::Conflict(current) => panic!("{current:?}"),
    }
}

async fn text(store: &dyn SecretStore) -> Option<String> {
    let found = store.load(&name()).await.unwrap();
    found.map(|it| it.secret.expose_secret().to_owned())
}
