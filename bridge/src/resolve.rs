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
    cache: Mutex<HashMap<String, Cached>>,
}

struct Cached {
    mapping: Option<Mapping>,
    until: Instant,
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
        for folder in folders.iter().rev().filter(|folder| folder.id != ROOT) {
            let Some(mapping) = self.mapping(content, &folder.id).await? else {
                continue;
            };
            let opportunity = record(crm, &mapping, &self.keys.opportunity)?;
            let account = record(crm, &mapping, &self.keys.account)?;
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

    /// The metadata of this folder may have changed.
    pub(crate) fn forget(&self, folder: &str) {
        self.lock().remove(folder);
    }

    async fn mapping(
        &self,
        content: &dyn ContentSource,
        folder: &str,
    ) -> Result<Option<Mapping>, PortError> {
        let now = Instant::now();
        if let Some(cached) = self.lock().get(folder).filter(|cached| now < cached.until) {
            return Ok(cached.mapping.clone());
        }
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
        if cache.len() >= MOST_CACHED {
            cache.retain(|_, cached| now < cached.until);
            if cache.len() >= MOST_CACHED {
                cache.clear();
            }
        }
        cache.insert(
            folder.to_owned(),
            Cached {
                mapping: mapping.clone(),
                until: now + keep,
            },
        );
        Ok(mapping)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Cached>> {
        self.cache
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn record(crm: &dyn Crm, mapping: &Mapping, key: &str) -> Result<Option<Record>, PortError> {
    match mapping
        .values
        .get(key)
        .and_then(Value::as_str)
        .map(str::trim)
    {
        None | Some("") => Ok(None),
        Some(id) => crm.record(id).map(Some),
    }
}
