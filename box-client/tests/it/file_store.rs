//! A store in a folder, for several processes: one lock, one file, replaced as a whole.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::PathBuf,
    time::Duration,
};

use async_trait::async_trait;
use box_client::{Grant, Stored, Swap, TokenStore, TokenStoreError};
use fd_lock::RwLock;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug)]
pub(crate) struct FileStore {
    folder: PathBuf,
    /// Called before a grant is stored and after it.
    watch: fn(Moment),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Moment {
    Storing,
    Stored,
}

#[derive(Default, Deserialize, Serialize)]
struct Content {
    version: u64,
    refresh_token: Option<String>,
    access_token: Option<String>,
    expires_at: Option<Timestamp>,
    lease: Option<(String, Timestamp)>,
}

impl FileStore {
    pub(crate) fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            watch: |_| {},
        }
    }

    pub(crate) fn watched(mut self, watch: fn(Moment)) -> Self {
        self.watch = watch;
        self
    }

    /// Under the lock, which the system lifts when the process dies.
    async fn locked<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Content) -> (T, bool) + Send + 'static,
    ) -> Result<T, TokenStoreError> {
        let folder = self.folder.clone();
        let work = move || -> io::Result<T> {
            let mut lock = RwLock::new(File::create(folder.join("lock"))?);
            let _locked = lock.write()?;
            let mut content = match fs::read(folder.join("grant")) {
                Ok(bytes) => serde_json::from_slice(&bytes)?,
                Err(error) if error.kind() == ErrorKind::NotFound => Content::default(),
                Err(error) => return Err(error),
            };
            let (result, changed) = act(&mut content);
            if changed {
                fs::write(folder.join("new"), serde_json::to_vec(&content)?)?;
                fs::rename(folder.join("new"), folder.join("grant"))?;
            }
            Ok(result)
        };
        Ok(tokio::task::spawn_blocking(work).await??)
    }
}

#[async_trait]
impl TokenStore for FileStore {
    async fn load(&self) -> Result<Option<Stored>, TokenStoreError> {
        self.locked(|content| {
            let stored = content.refresh_token.clone().map(|token| {
                let mut grant = Grant::new(token);
                grant.access_token = content.access_token.clone().map(Into::into);
                grant.expires_at = content.expires_at;
                let version = content.version;
                Stored { grant, version }
            });
            (stored, false)
        })
        .await
    }

    async fn compare_and_swap(&self, expected: u64, grant: Grant) -> Result<Swap, TokenStoreError> {
        (self.watch)(Moment::Storing);
        let swap = self.locked(move |content| {
            if content.version != expected {
                return (Swap::Conflict, false);
            }
            content.version += 1;
            content.refresh_token = Some(grant.refresh_token.expose_secret().to_owned());
            content.access_token = grant.access_token.map(|t| t.expose_secret().to_owned());
            content.expires_at = grant.expires_at;
            (Swap::Stored, true)
        });
        let swap = swap.await?;
        if swap == Swap::Stored {
            (self.watch)(Moment::Stored);
        }
        Ok(swap)
    }

    async fn lease(&self, holder: &str, hold: Duration) -> Result<bool, TokenStoreError> {
        let holder = holder.to_owned();
        self.locked(move |content| {
            let now = Timestamp::now();
            let free = content
                .lease
                .as_ref()
                .is_none_or(|(other, until)| *other == holder || *until <= now);
            if free {
                content.lease = Some((holder, now + hold));
            }
            (free, free)
        })
        .await
    }

    async fn release(&self, holder: &str) -> Result<(), TokenStoreError> {
        let holder = holder.to_owned();
        self.locked(move |content| {
            let lifted = content.lease.take_if(|(other, _)| *other == holder);
            ((), lifted.is_some())
        })
        .await
    }
}

#[tokio::test]
async fn the_store_of_these_tests_keeps_the_contract() {
    let folders = tempfile::tempdir().unwrap();
    let number = std::sync::atomic::AtomicUsize::new(0);
    let fresh = async || {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let folder = folders.path().join(number.to_string());
        fs::create_dir(&folder).unwrap();
        FileStore::new(folder)
    };
    box_client::testing::token_store_contract(fresh).await;
    box_client::testing::token_lease_contract(fresh).await;
}

#[tokio::test]
async fn the_store_in_memory_keeps_the_contract() {
    use box_client::MemoryTokenStore;
    let fresh = async || std::sync::Arc::new(MemoryTokenStore::default());
    box_client::testing::token_store_contract(fresh).await;
    box_client::testing::token_lease_contract(fresh).await;
}
