//! Secrets in AWS Secrets Manager.

mod client;
mod refusal;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Deserialize, Serialize};

pub use self::client::{AwsAuth, AwsOptions};
use self::client::{Client, Current};
use super::{SecretError, SecretErrorKind, SecretName, SecretStore, Swap, Versioned, port};

const OPEN: &str = "open the secrets";
const LOAD: &str = "load a secret";
const SWAP: &str = "swap a secret";
const LEASE: &str = "lease a secret";
/// How often something may change between a look and a write.
const ROUNDS: u32 = 8;
/// What our secrets start with, followed by their version and a line's end.
const MARK: &str = "bridge-secret/";
const FORMAT: &str = "1";
/// The version of a lease that nobody has. Made once: leases do not add to the versions when they
/// are given back.
const FREE: &str = "bridge-nobody-has-this-lease-0001";

/// Secrets in AWS Secrets Manager, which encrypts them by a key of KMS. Clones share their
/// connections.
///
/// A secret is kept as `{folder}/{name}` and its lease as `{folder}/{name}.lease`. Secrets Manager
/// has no conditional write: a new value is put as a version beside the current one, and the label
/// `AWSCURRENT` is then moved to it from the version that was seen, which Secrets Manager refuses
/// where the label has gone elsewhere. Both are made when they are first written, unless somebody
/// has made them empty before. The policy has to allow, with `CreateSecret` only where they are
/// not made before, and use of the KMS key where it is not `aws/secretsmanager`:
///
/// ```json
/// {
///   "Effect": "Allow",
///   "Action": [
///     "secretsmanager:GetSecretValue",
///     "secretsmanager:PutSecretValue",
///     "secretsmanager:UpdateSecretVersionStage",
///     "secretsmanager:CreateSecret"
///   ],
///   "Resource": "arn:aws:secretsmanager:*:*:secret:bridge/*"
/// }
/// ```
///
/// Secrets Manager asks for no more than a new version each ten minutes. Each refresh of a grant
/// is one, and its lease another of its own; the clients refresh less often than that.
///
/// Vendor: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html>,
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html>
#[derive(Clone)]
pub struct AwsSecrets {
    client: Client,
    folder: String,
}

impl AwsSecrets {
    /// The secrets of this account, in the region that AWS's environment names.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), bridge::secrets::SecretError> {
    /// use bridge::secrets::{AwsAuth, AwsOptions, AwsSecrets};
    ///
    /// let mut options = AwsOptions::default();
    /// options.region = Some("eu-central-1".to_owned());
    /// let store = AwsSecrets::open_with(AwsAuth::ambient(), &options).await?;
    /// # drop(store);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open(auth: AwsAuth) -> Result<Self, SecretError> {
        Self::open_with(auth, &AwsOptions::default()).await
    }

    /// With other options. Secrets Manager is not asked for anything yet.
    ///
    /// # Errors
    ///
    /// [`Refused`](SecretErrorKind::Refused) where no region is known, or an option cannot be
    /// used.
    pub async fn open_with(auth: AwsAuth, options: &AwsOptions) -> Result<Self, SecretError> {
        Ok(Self {
            folder: port::path(&options.folder)?,
            client: Client::new(auth, options).await?,
        })
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// Makes `next` the current version in the place of the one that was seen. Otherwise somebody
    /// else was first, or the next look tells.
    async fn replace(
        &self,
        doing: &'static str,
        at: &str,
        seen: Option<&Current>,
        next: &str,
        text: &str,
    ) -> Result<bool, SecretError> {
        if !self.client.put(doing, at, next, text).await? {
            return self.client.create(doing, at, next, text).await;
        }
        match seen {
            Some(Current { id, .. }) => self.client.make_current(doing, at, id, next).await,
            // Of a secret that was made empty: its first version becomes the current one by
            // itself, whoever puts it.
            None => Ok(false),
        }
    }
}

impl fmt::Debug for AwsSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsSecrets")
            .field("client", &self.client)
            .field("folder", &self.folder)
            .finish()
    }
}

#[async_trait]
impl SecretStore for AwsSecrets {
    async fn load(&self, name: &SecretName) -> Result<Option<Versioned>, SecretError> {
        let at = self.at(name.as_str());
        let current = self.client.current(LOAD, &at).await?;
        current.map(|it| opened(LOAD, &at, &it)).transpose()
    }

    async fn compare_and_swap(
        &self,
        name: &SecretName,
        seen: Option<u64>,
        secret: SecretString,
    ) -> Result<Swap, SecretError> {
        port::check(&secret)?;
        let at = self.at(name.as_str());
        let version = seen.unwrap_or(0).saturating_add(1);
        // The same in each round, so that no round adds another version.
        let next = new_id();
        let text = written(version, &secret);
        for _ in 0..ROUNDS {
            let found = self.client.current(SWAP, &at).await?;
            let current = found.as_ref().map(|it| opened(SWAP, &at, it)).transpose()?;
            let is_ours = |it: &&Versioned| it.is_swapped(seen, &secret);
            if let Some(current) = current.as_ref().filter(is_ours) {
                return Ok(Swap::Swapped(current.version));
            }
            if current.as_ref().map(|it| it.version) != seen {
                return Ok(Swap::Conflict(current));
            }
            let replaced = self.replace(SWAP, &at, found.as_ref(), &next, &text);
            if replaced.await? {
                return Ok(Swap::Swapped(version));
            }
        }
        Err(SecretError::new(SecretErrorKind::Contended, SWAP).at(at))
    }

    /// Time is AWS's: when the version was made, and the `Date` of its answers, which has no
    /// fractions, so a lease may last up to a second longer.
    async fn lease(
        &self,
        name: &SecretName,
        owner: &str,
        hold: Duration,
    ) -> Result<bool, SecretError> {
        let at = self.at(&format!("{name}.lease"));
        let lease = Lease {
            owner: owner.to_owned(),
            hold_millis: u64::try_from(hold.as_millis()).unwrap_or(u64::MAX),
        };
        let (next, text) = (new_id(), lease.text(LEASE)?);
        for _ in 0..ROUNDS {
            let found = self.client.current(LEASE, &at).await?;
            if let Some(found) = &found {
                if found.id == next {
                    return Ok(true);
                }
                let held = Lease::of(LEASE, &at, found)?;
                if held.owner != owner && held.lasts(found) {
                    return Ok(false);
                }
            }
            if self
                .replace(LEASE, &at, found.as_ref(), &next, &text)
                .await?
            {
                return Ok(true);
            }
        }
        // Others got it, one after the other.
        Ok(false)
    }

    async fn release(&self, name: &SecretName, owner: &str) -> Result<(), SecretError> {
        let at = self.at(&format!("{name}.lease"));
        let Some(found) = self.client.current(LEASE, &at).await? else {
            return Ok(());
        };
        if found.id == FREE || Lease::of(LEASE, &at, &found)?.owner != owner {
            return Ok(());
        }
        let text = Lease::default().text(LEASE)?;
        // Where somebody else was first, the lease was over.
        let replaced = self.replace(LEASE, &at, Some(&found), FREE, &text);
        replaced.await.map(drop)
    }
}

/// What is in a `….lease`.
#[derive(Default, Deserialize, Serialize)]
struct Lease {
    owner: String,
    hold_millis: u64,
}

impl Lease {
    fn of(doing: &'static str, at: &str, found: &Current) -> Result<Self, SecretError> {
        serde_json::from_str(found.text.expose_secret()).map_err(|_| foreign(doing, at))
    }

    fn text(&self, doing: &'static str) -> Result<String, SecretError> {
        let refused = |_| SecretError::new(SecretErrorKind::Refused, doing);
        serde_json::to_string(self).map_err(refused)
    }

    fn lasts(&self, found: &Current) -> bool {
        found.age < Duration::from_millis(self.hold_millis)
    }
}

/// A secret is never empty there, and has room for 64 KiB: it is kept as it is, as escaping could
/// make it longer than that.
fn written(version: u64, secret: &SecretString) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "{MARK}{FORMAT} {version}\n{}",
        secret.expose_secret()
    ))
}

fn opened(doing: &'static str, at: &str, found: &Current) -> Result<Versioned, SecretError> {
    let text = found.text.expose_secret().strip_prefix(MARK);
    let (head, secret) = text
        .and_then(|text| text.split_once('\n'))
        .ok_or_else(|| foreign(doing, at))?;
    let corrupt = || SecretError::new(SecretErrorKind::Corrupt, doing).at(at);
    let (format, version) = head.split_once(' ').ok_or_else(corrupt)?;
    if format != FORMAT {
        return Err(SecretError::new(SecretErrorKind::Incompatible, doing).at(at));
    }
    let version = version.parse().ok().filter(|version| *version > 0);
    Ok(Versioned {
        version: version.ok_or_else(corrupt)?,
        secret: secret.into(),
    })
}

fn foreign(doing: &'static str, at: &str) -> SecretError {
    let error = SecretError::new(SecretErrorKind::Foreign, doing).at(at);
    error.with_cause("what is there was not written by this program")
}

fn new_id() -> String {
    format!("bridge-{:032x}", fastrand::u128(..))
}
