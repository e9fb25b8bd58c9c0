//! Secrets in one encrypted file.

mod content;
mod disk;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::time::{Instant, sleep};

use self::{content::Content, disk::Disk};
use super::{
    SecretError, SecretErrorKind, SecretKey, SecretName, SecretStore, Swap, Versioned, port,
    sealed::Sealer,
};

const OPEN: &str = "open the secrets";
const LOAD: &str = "load a secret";
const SWAP: &str = "swap a secret";
const LEASE: &str = "lease a secret";
const ROTATE: &str = "rotate the key of the secrets";
/// Secrets do not move between files: what is sealed says what it is sealed for.
const PLACE: &[u8] = b"file";

/// Secrets in one file, encrypted by XChaCha20-Poly1305. Clones share their key.
///
/// Any number of processes of one machine may share a file. Each change is made under a lock (the
/// file `….lock` beside it), written to a new file, and put in place as a whole, so that a reader
/// or a crash meets the old content or the new one. Keep it on a local disk, and its key elsewhere.
#[derive(Clone)]
pub struct FileSecrets {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Disk,
    sealer: RwLock<Arc<Sealer>>,
}

impl FileSecrets {
    /// Opens the file, or notes where it is to be made: with the first secret, for its owner only.
    ///
    /// # Errors
    ///
    /// [`WrongKey`](SecretErrorKind::WrongKey), [`Corrupt`](SecretErrorKind::Corrupt),
    /// [`Foreign`](SecretErrorKind::Foreign) and [`Incompatible`](SecretErrorKind::Incompatible)
    /// tell what is there instead, and [`OpenToOthers`](SecretErrorKind::OpenToOthers) that other
    /// users may read it.
    pub async fn open(path: impl Into<PathBuf>, key: SecretKey) -> Result<Self, SecretError> {
        let path = path.into();
        run(OPEN, move || {
            let store = Self {
                inner: Arc::new(Inner {
                    disk: Disk::at(&path).map_err(|error| error.at(shown(&path)))?,
                    sealer: RwLock::new(Arc::new(Sealer::new(key))),
                }),
            };
            store.inner.read(OPEN)?;
            Ok(store)
        })
        .await
    }

    /// Encrypts everything with another key and goes on with it. The file is readable with the
    /// old key or with the new one at any moment; other processes have to be started anew, with
    /// the new key.
    ///
    /// It waits until nobody has a lease, as a process does that has spent a refresh token and is
    /// about to store the next one: with the old key it could not any more, and the grant would be
    /// gone. Afterwards none of those processes can read a token to spend.
    ///
    /// # Errors
    ///
    /// [`Contended`](SecretErrorKind::Contended) where somebody still has one after `patience`;
    /// nothing is changed then.
    pub async fn rotate_key(&self, new: SecretKey, patience: Duration) -> Result<(), SecretError> {
        let sealer = Arc::new(Sealer::new(new));
        let begun = Instant::now();
        loop {
            let (inner, sealer) = (Arc::clone(&self.inner), Arc::clone(&sealer));
            let rotated = run(ROTATE, move || inner.rotate(sealer)).await?;
            if rotated {
                return Ok(());
            }
            if begun.elapsed() >= patience {
                return Err(port::in_use(ROTATE));
            }
            sleep(port::LOOK_EVERY).await;
        }
    }

    /// Changes the content if `change` says so.
    async fn change<T: Send + 'static>(
        &self,
        doing: &'static str,
        change: impl FnOnce(&mut Content) -> (Write, T) + Send + 'static,
    ) -> Result<T, SecretError> {
        let inner = Arc::clone(&self.inner);
        run(doing, move || {
            let lock = inner.disk.lock(doing)?;
            let mut content = inner.read(doing)?.unwrap_or_default();
            let (write, answer) = change(&mut content);
            if write == Write::Needed {
                inner.write(doing, &inner.sealer(), &content, &lock)?;
            }
            Ok(answer)
        })
        .await
    }
}

#[derive(PartialEq)]
enum Write {
    Needed,
    Not,
}

impl Inner {
    fn sealer(&self) -> Arc<Sealer> {
        Arc::clone(&self.sealer.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self, doing: &'static str) -> Result<Option<Content>, SecretError> {
        let Some(sealed) = self.disk.read(doing)? else {
            return Ok(None);
        };
        let opened = self.sealer().open(PLACE, &sealed);
        let opened = opened.map_err(|it| it.while_doing(doing).at(self.disk.shown()))?;
        let content = Content::read(&opened).ok_or_else(|| {
            SecretError::new(SecretErrorKind::Corrupt, doing).at(self.disk.shown())
        })?;
        Ok(Some(content))
    }

    /// Whether nobody had a lease, and the key is another now.
    fn rotate(&self, sealer: Arc<Sealer>) -> Result<bool, SecretError> {
        let lock = self.disk.lock(ROTATE)?;
        if let Some(content) = self.read(ROTATE)? {
            if content.is_leased(Timestamp::now()) {
                return Ok(false);
            }
            self.write(ROTATE, &sealer, &content, &lock)?;
        }
        *self.sealer.write().unwrap_or_else(PoisonError::into_inner) = sealer;
        Ok(true)
    }

    fn write(
        &self,
        doing: &'static str,
        sealer: &Sealer,
        content: &Content,
        lock: &disk::Lock,
    ) -> Result<(), SecretError> {
        let plain = content.written().ok_or_else(|| {
            let error = SecretError::new(SecretErrorKind::Refused, doing);
            error.with_cause("the file has no room for more")
        })?;
        let sealed = sealer.seal(PLACE, &plain);
        let sealed = sealed.map_err(|it| it.while_doing(doing).at(self.disk.shown()))?;
        self.disk.replace(doing, &sealed, lock)
    }
}

impl fmt::Debug for FileSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSecrets")
            .field("path", &self.inner.disk.shown())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl SecretStore for FileSecrets {
    async fn load(&self, name: &SecretName) -> Result<Option<Versioned>, SecretError> {
        let (inner, name) = (Arc::clone(&self.inner), name.clone());
        // Without the lock: what is there is always whole.
        run(LOAD, move || {
            Ok(inner.read(LOAD)?.and_then(|content| content.secret(&name)))
        })
        .await
    }

    async fn compare_and_swap(
        &self,
        name: &SecretName,
        seen: Option<u64>,
        secret: SecretString,
    ) -> Result<Swap, SecretError> {
        port::check(&secret)?;
        let name = name.clone();
        self.change(SWAP, move |content| {
            let current = content.secret(&name);
            if let Some(current) = current.as_ref().filter(|it| it.is_swapped(seen, &secret)) {
                // Whether the first time was durable, nobody knows.
                return (Write::Needed, Swap::Swapped(current.version));
            }
            if current.as_ref().map(|it| it.version) != seen {
                return (Write::Not, Swap::Conflict(current));
            }
            let version = seen.unwrap_or(0) + 1;
            content.put(&name, Versioned { version, secret });
            (Write::Needed, Swap::Swapped(version))
        })
        .await
    }

    async fn lease(
        &self,
        name: &SecretName,
        owner: &str,
        hold: Duration,
    ) -> Result<bool, SecretError> {
        let (name, owner) = (name.clone(), owner.to_owned());
        self.change(LEASE, move |content| {
            match content.lease(&name, &owner, hold, Timestamp::now()) {
                true => (Write::Needed, true),
                false => (Write::Not, false),
            }
        })
        .await
    }

    async fn release(&self, name: &SecretName, owner: &str) -> Result<(), SecretError> {
        let (name, owner) = (name.clone(), owner.to_owned());
        self.change(LEASE, move |content| match content.release(&name, &owner) {
            true => (Write::Needed, ()),
            false => (Write::Not, ()),
        })
        .await
    }
}

/// Files and Argon2id block, so they have a thread of their own. What was begun is finished also
/// when nobody waits for it any more.
async fn run<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, SecretError> + Send + 'static,
) -> Result<T, SecretError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(cause) => Err(SecretError::new(SecretErrorKind::Unavailable, doing).with_cause(cause)),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
