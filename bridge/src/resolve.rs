//! From a file's folders to the records that it belongs to.

use std::{collections::HashMap, fmt, sync::Mutex, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

use crate::{
    content::{ContentSource, FolderRef, Mapping},
    crm::{Crm, Record},
    port_error::{PortError, PortErrorKind},
    situation::Mapped,
};

/// The root belongs to nobody and carries no metadata.
const ROOT: &str = "0";
const MOST_CACHED: usize = 10_000;

/// Which metadata keys name the records, and how long an answer is remembered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MappingKeys {
    /// The key with the Opportunity's id.
    pub opportunity: String,
    /// The key with the Account's id.
    pub account: String,
    /// How long a folder's mapping is remembered. A metadata event makes it forgotten at once.
    pub remember: Duration,
    /// How long it is remembered that a folder has none: a mapping is often set right after the
    /// folder is made, and no webhook need tell of it.
    pub remember_none: Duration,
}

impl Default for MappingKeys {
    fn default() -> Self {
        Self {
            opportunity: "opportunity_id".into(),
            account: "account_id".into(),
            remember: Duration::from_secs(300),
            remember_none: Duration::from_secs(10),
        }
    }
}

/// Finds the nearest folder that is mapped, from the file upward.
pub(crate) struct Resolver {
    keys: MappingKeys,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    folders: HashMap<String, Cached>,
    /// How often something was forgotten. An answer from before that may be outdated.
    forgotten: u64,
}

struct Cached {
    mapping: Option<Mapping>,
    until: Instant,
    /// Whether it has answered for the folder since it was read.
    was_used: bool,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl Resolver {
    pub(crate) fn new(keys: MappingKeys) -> Self {
        Self {
            keys,
            cache: Mutex::default(),
        }
    }

    /// The mapping of the nearest of `folders`, which run from the root down.
    pub(crate) async fn resolve(
        &self,
        content: &dyn ContentSource,
        crm: &dyn Crm,
        folders: &[FolderRef],
    ) -> Result<Option<Mapped>, PortError> {
        match self.look(content, crm, folders).await? {
            // Nothing at all is a final answer, so what was remembered is asked for anew.
            None if self.forget_none(folders) => self.look(content, crm, folders).await,
            mapped => Ok(mapped),
        }
    }

    async fn look(
        &self,
        content: &dyn ContentSource,
        crm: &dyn Crm,
        folders: &[FolderRef],
    ) -> Result<Option<Mapped>, PortError> {
        for folder in folders.iter().rev().filter(|folder| folder.id != ROOT) {
            let Some(mapping) = self.mapping(content, &folder.id).await? else {
                continue;
            };
            let opportunity = record(crm, &mapping, &self.keys.opportunity, "Opportunity")?;
            let account = record(crm, &mapping, &self.keys.account, "Account")?;
            // A template that is applied and not filled in says nothing; a folder above may.
            if opportunity.is_some() || account.is_some() {
                return Ok(Some(Mapped {
                    mapping,
                    opportunity,
                    account,
                }));
            }
        }
        Ok(None)
    }

    /// Forgets which of these had none; tells whether that was remembered from an earlier event.
    fn forget_none(&self, folders: &[FolderRef]) -> bool {
        let mut cache = self.lock();
        let mut old = false;
        for folder in folders {
            let known = cache.folders.get(&folder.id);
            if known.is_some_and(|cached| cached.mapping.is_none() && cached.was_used) {
                cache.folders.remove(&folder.id);
                old = true;
            }
        }
        old
    }

    /// The metadata of this folder may have changed.
    pub(crate) fn forget(&self, folder: &str) {
        let mut cache = self.lock();
        cache.folders.remove(folder);
        cache.forgotten += 1;
    }

    async fn mapping(
        &self,
        content: &dyn ContentSource,
        folder: &str,
    ) -> Result<Option<Mapping>, PortError> {
        let now = Instant::now();
        let forgotten = {
            let mut cache = self.lock();
            let known = cache.folders.get_mut(folder);
            if let Some(cached) = known.filter(|cached| now < cached.until) {
                cached.was_used = true;
                return Ok(cached.mapping.clone());
            }
            cache.forgotten
        };
        let mapping = match content.mapping(folder).await {
            // A folder above that the token's user may not see cannot be ours.
            Err(error) if error.kind() == PortErrorKind::Gone => None,
            answer => answer?,
        };
        let keep = if mapping.is_some() {
            self.keys.remember
        } else {
            self.keys.remember_none
        };
        let mut cache = self.lock();
        if cache.forgotten != forgotten {
            return Ok(mapping);
        }
        let folders = &mut cache.folders;
        if folders.len() >= MOST_CACHED {
            folders.retain(|_, cached| now < cached.until);
            if folders.len() >= MOST_CACHED {
                folders.clear();
            }
        }
        // A time that no clock reaches is one that need not be remembered.
        if let Some(until) = now.checked_add(keep) {
            let mapping = mapping.clone();
            let cached = Cached {
                mapping,
                until,
                was_used: false,
            };
            folders.insert(folder.to_owned(), cached);
        }
        Ok(mapping)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn record(
    crm: &dyn Crm,
    mapping: &Mapping,
    key: &str,
    object: &str,
) -> Result<Option<Record>, PortError> {
    let value = mapping.values.get(key).and_then(Value::as_str);
    let id = match value.map(str::trim) {
        None | Some("") => return Ok(None),
        Some(id) => id,
    };
    let record = crm.record(id)?;
    match &record.object {
        Some(other) if other != object => {
            let cause = format!("{key} of folder {} names a {other}", mapping.folder);
            Err(
                PortError::new(PortErrorKind::Refused, "read the folder's mapping")
                    .with_cause(cause),
            )
        }
        _ => Ok(Some(record)),
    }
}
