//! Secrets in HashiCorp Vault.

mod client;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

pub use self::client::VaultAuth;
use self::client::{Client, Reply};
use super::{SecretError, SecretErrorKind, SecretName, SecretStore, Swap, Versioned, port};

const OPEN: &str = "open the secrets";
const LOAD: &str = "load a secret";
const SWAP: &str = "swap a secret";
const LEASE: &str = "lease a secret";
/// How often something may change between a look and a write.
const ROUNDS: u32 = 8;

/// Secrets in a KV version 2 engine of HashiCorp Vault, which encrypts them. Clones share their
/// connections.
///
/// A secret is the key `secret` of `{mount}/data/{folder}/{name}`, and its lease is beside it, at
/// `{name}.lease`. Every write is a check-and-set. The policy has to allow `create`, `read` and
/// `update` there:
///
/// ```text
/// path "secret/data/bridge/*" { capabilities = ["create", "read", "update"] }
/// ```
///
/// Vendor: <https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2>
#[derive(Clone)]
pub struct VaultSecrets {
    client: Client,
    mount: String,
    folder: String,
}

impl VaultSecrets {
    /// The engine at `mount`, such as `secret`, of the Vault at this address, such as
    /// `https://vault.example.com:8200`, and in it the folder `bridge`. Nothing is asked yet.
    ///
    /// ```
    /// # fn main() -> Result<(), bridge::secrets::SecretError> {
    /// use bridge::secrets::{VaultAuth, VaultSecrets};
    ///
    /// let auth = VaultAuth::app_role("role id", "secret id".into());
    /// let store = VaultSecrets::new("https://vault.example.com:8200", "secret", auth)?;
    /// # drop(store);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(address: &str, mount: &str, auth: VaultAuth) -> Result<Self, SecretError> {
        Ok(Self {
            client: Client::new(address, auth)?,
            mount: port::path(mount)?,
            folder: "bridge".to_owned(),
        })
    }

    /// In another folder of the engine.
    pub fn folder(mut self, folder: &str) -> Result<Self, SecretError> {
        self.folder = port::path(folder)?;
        Ok(self)
    }

    /// In a namespace of Vault Enterprise.
    pub fn namespace(mut self, namespace: &str) -> Result<Self, SecretError> {
        self.client.namespace(namespace)?;
        Ok(self)
    }

    fn at(&self, name: &str) -> String {
        format!("{}/data/{}/{name}", self.mount, self.folder)
    }

    async fn look<T: for<'de> Deserialize<'de>>(
        &self,
        doing: &'static str,
        name: &str,
    ) -> Result<Look<T>, SecretError> {
        let reply = self.client.read(doing, &self.at(name)).await?;
        let Reply { status, now, body } = reply;
        // A version that was deleted is answered by 404 and its number.
        let version = if status == 404 && body.is_empty() {
            None
        } else {
            serde_json::from_slice::<Answer<Data<serde::de::IgnoredAny>>>(&body)
                .ok()
                .and_then(|answer| Some((answer.data?.metadata, status)))
        };
        let Some((metadata, status)) = version else {
            return match status {
                404 => Ok(Look::nothing()),
                _ => Err(no_answer(doing)),
            };
        };
        let written = match status {
            // The cause would quote the secret.
            200 => serde_json::from_slice::<Answer<Data<T>>>(&body)
                .ok()
                .and_then(|answer| answer.data?.data)
                .map(Some)
                .ok_or_else(|| {
                    let error = SecretError::new(SecretErrorKind::Foreign, doing).at(self.at(name));
                    error.with_cause("what is there was not written by this program")
                })?,
            _ => None,
        };
        Ok(Look {
            cas: metadata.version,
            age: metadata
                .created_time
                .map(|since| now.duration_since(since).unsigned_abs()),
            written,
        })
    }

    /// The new version, or `None` when somebody else was first.
    async fn write(
        &self,
        doing: &'static str,
        name: &str,
        cas: u64,
        data: &impl Serialize,
    ) -> Result<Option<u64>, SecretError> {
        let body = Write {
            options: Options { cas },
            data,
        };
        let reply = self.client.write(doing, &self.at(name), &body).await?;
        if reply.status == 400 {
            let answer: Answer<()> =
                serde_json::from_slice(&reply.body).map_err(|_| no_answer(doing))?;
            let lost = |text: &String| text.contains("check-and-set parameter did not match");
            if answer.errors.iter().any(lost) {
                return Ok(None);
            }
            return Err(SecretError::new(SecretErrorKind::Refused, doing).with_cause("400"));
        }
        let answer: Answer<Metadata> =
            serde_json::from_slice(&reply.body).map_err(|_| no_answer(doing))?;
        let metadata = answer.data.ok_or_else(|| no_answer(doing))?;
        Ok(Some(metadata.version))
    }
}

impl fmt::Debug for VaultSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultSecrets")
            .field("client", &self.client)
            .field("mount", &self.mount)
            .field("folder", &self.folder)
            .finish()
    }
}

#[async_trait]
impl SecretStore for VaultSecrets {
    async fn load(&self, name: &SecretName) -> Result<Option<Versioned>, SecretError> {
        let look: Look<Secret> = self.look(LOAD, name.as_str()).await?;
        Ok(look.versioned())
    }

    async fn compare_and_swap(
        &self,
        name: &SecretName,
        seen: Option<u64>,
        secret: SecretString,
    ) -> Result<Swap, SecretError> {
        port::check(&secret)?;
        for _ in 0..ROUNDS {
            let look: Look<Secret> = self.look(SWAP, name.as_str()).await?;
            // Where a version was deleted, numbers go on behind it.
            let cas = look.cas;
            let current = look.versioned();
            let is_ours = |it: &&Versioned| it.is_swapped(seen, &secret);
            if let Some(current) = current.as_ref().filter(is_ours) {
                return Ok(Swap::Swapped(current.version));
            }
            if current.as_ref().map(|it| it.version) != seen {
                return Ok(Swap::Conflict(current));
            }
            let data = Shown {
                secret: secret.expose_secret(),
            };
            if let Some(version) = self.write(SWAP, name.as_str(), cas, &data).await? {
                return Ok(Swap::Swapped(version));
            }
        }
        Err(SecretError::new(SecretErrorKind::Contended, SWAP))
    }

    /// Time is Vault's: when it has stored the lease, and the `Date` of its answers, which has
    /// no fractions, so a lease may last up to a second longer.
    async fn lease(
        &self,
        name: &SecretName,
        owner: &str,
        hold: Duration,
    ) -> Result<bool, SecretError> {
        let name = format!("{name}.lease");
        let lease = Lease {
            owner: owner.to_owned(),
            hold_millis: u64::try_from(hold.as_millis()).unwrap_or(u64::MAX),
        };
        for _ in 0..ROUNDS {
            let look: Look<Lease> = self.look(LEASE, &name).await?;
            if look.written.as_ref().is_some_and(|it| it.owner != owner) && look.is_held() {
                return Ok(false);
            }
            if self.write(LEASE, &name, look.cas, &lease).await?.is_some() {
                return Ok(true);
            }
        }
        // Others got it, one after the other.
        Ok(false)
    }

    async fn release(&self, name: &SecretName, owner: &str) -> Result<(), SecretError> {
        let name = format!("{name}.lease");
        let look: Look<Lease> = self.look(LEASE, &name).await?;
        if look.written.is_none_or(|it| it.owner != owner) {
            return Ok(());
        }
        let over = Lease {
            owner: String::new(),
            hold_millis: 0,
        };
        // Where somebody else was first, the lease was over.
        self.write(LEASE, &name, look.cas, &over).await.map(drop)
    }
}

struct Look<T> {
    /// What a check-and-set has to name; 0 where nothing ever was.
    cas: u64,
    age: Option<Duration>,
    written: Option<T>,
}

impl<T> Look<T> {
    fn nothing() -> Self {
        Self {
            cas: 0,
            age: None,
            written: None,
        }
    }
}

impl Look<Secret> {
    fn versioned(self) -> Option<Versioned> {
        Some(Versioned {
            version: self.cas,
            secret: self.written?.secret,
        })
    }
}

impl Look<Lease> {
    fn is_held(&self) -> bool {
        let hold = self.written.as_ref().map_or(0, |it| it.hold_millis);
        hold > 0 && self.age.is_none_or(|age| age < Duration::from_millis(hold))
    }
}

#[derive(Deserialize)]
struct Answer<T> {
    data: Option<T>,
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct Data<T> {
    data: Option<T>,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
    created_time: Option<Timestamp>,
}

#[derive(Serialize)]
struct Write<'a, T> {
    options: Options,
    data: &'a T,
}

#[derive(Serialize)]
struct Options {
    cas: u64,
}

#[derive(Deserialize)]
struct Secret {
    secret: SecretString,
}

#[derive(Serialize)]
struct Shown<'a> {
    secret: &'a str,
}

#[derive(Deserialize, Serialize)]
struct Lease {
    owner: String,
    hold_millis: u64,
}

fn no_answer(doing: &'static str) -> SecretError {
    let error = SecretError::new(SecretErrorKind::Unavailable, doing);
    error.with_cause("the answer is not one of Vault's")
}
