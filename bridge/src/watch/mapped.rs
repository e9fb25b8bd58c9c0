//! Whether a folder is mapped to other records than those that it was looked through for.

use serde_json::{Value, json};

use super::{
    error::WatchError,
    missed::{Scan, Touched},
    service::Watch,
};
use crate::{ledger::EffectKey, port_error::PortErrorKind};

/// The Opportunity and the Account of a folder.
pub(super) type Named = [Option<String>; 2];

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
                self.ledger.forget(&note(&scan.folder)).await?;
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
        let now: Named = [named(&keys.opportunity), named(&keys.account)];
        if now == Named::default() {
            self.ledger.forget(&note(&scan.folder)).await?;
        }
        let known = self.known(&scan.folder).await?.unwrap_or_default();
        Ok(match known == now {
            true => Mapped::AsBefore,
            false => Mapped::Anew(json!(now)),
        })
    }

    /// What a folder was mapped to when it was looked through last.
    pub(super) async fn known(&self, folder: &str) -> Result<Option<Named>, WatchError> {
        self.kept(&key(folder)).await
    }

    /// What a folder is mapped to that was looked through for it, which no older note outlives.
    pub(super) async fn remember_mapped(&self, scan: &Scan, now: Value) -> Result<(), WatchError> {
        self.keep(&key(&scan.folder), now).await?;
        Ok(self.ledger.forget(&note(&scan.folder)).await?)
    }

    /// What a folder was mapped to when that was noted without a look through it.
    pub(super) async fn noted_mapping(&self, folder: &str) -> Result<Named, WatchError> {
        Ok(self.kept(&note(folder)).await?.unwrap_or_default())
    }

    pub(super) async fn note_mapping(&self, folder: &str, now: &Named) -> Result<(), WatchError> {
        self.keep(&note(folder), json!(now)).await?;
        // It was looked through for another one.
        Ok(self.ledger.forget(&key(folder)).await?)
    }
}

fn key(folder: &str) -> EffectKey {
    EffectKey::new(["watch", "mapped", folder])
}

fn note(folder: &str) -> EffectKey {
    EffectKey::new(["watch", "mapping noted", folder])
}
