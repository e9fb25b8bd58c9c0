//! Whether a folder is mapped to other records than those that it was looked through for.

use serde_json::{Value, json};

use super::{
    error::WatchError,
    missed::{Scan, Touched},
    service::Watch,
};
use crate::{ledger::EffectKey, port_error::PortErrorKind};

/// What a scan is for.
pub(super) enum Mapped {
    /// The folder was looked through for this mapping already, or has none.
    AsBefore,
    /// For this mapping, to be remembered at the end.
    Anew(Value),
    /// For whoever asked.
    Unasked,
}

impl Watch {
    /// Metadata changes for many reasons, also by our own hand, and few of them map a folder.
    pub(super) async fn mapped(&self, scan: &Scan) -> Result<Mapped, WatchError> {
        let (content, keys) = match (&self.mappings, scan.metadata) {
            (_, Touched::Removed) => {
                self.ledger.forget(&key(&scan.folder)).await?;
                return Ok(Mapped::AsBefore);
            }
            (Some(mappings), Touched::Set) => mappings,
            _ => return Ok(Mapped::Unasked),
        };
        let mapping = match content.mapping(&scan.folder).await {
            Err(error) if error.kind() == PortErrorKind::Gone => None,
            answer => answer?,
        };
        let named = |key: &String| {
            let value = mapping.as_ref()?.values.get(key)?.as_str()?.trim();
            (!value.is_empty()).then(|| value.to_owned())
        };
        let now = [named(&keys.opportunity), named(&keys.account)];
        Ok(match self.known_mapping(&scan.folder).await? == now {
            true => Mapped::AsBefore,
            false => Mapped::Anew(json!(now)),
        })
    }

    /// The Opportunity and the Account that a folder was mapped to when it was looked through last.
    pub(super) async fn known_mapping(
        &self,
        folder: &str,
    ) -> Result<[Option<String>; 2], WatchError> {
        Ok(self.kept(&key(folder)).await?.unwrap_or_default())
    }

    pub(super) async fn remember_mapped(&self, scan: &Scan, now: Value) -> Result<(), WatchError> {
        self.keep(&key(&scan.folder), now).await
    }
}

fn key(folder: &str) -> EffectKey {
    EffectKey::new(["watch", "mapped", folder])
}
