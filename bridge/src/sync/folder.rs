//! Which folder a record is kept the same as.

use super::{action::SyncMetadata, memory::Memory};
use crate::{
    action::{StepError, folder_of},
    crm::Record,
    ledger::Ledger,
    metadata::Instance,
    port_error::PortErrorKind,
};

/// An id in its short form, which stands for the same record.
const SHORT_ID: usize = 15;
/// Everything is below it.
const ROOT: &str = "0";

impl SyncMetadata {
    /// The folder that says of itself that it belongs to the record. The one that the record was
    /// given comes first: a copy of it, and what a cascade has marked below it, say so too.
    pub(super) async fn folder(
        &self,
        record: &Record,
        given: Option<&str>,
        memory: &Memory,
        ledger: &dyn Ledger,
    ) -> Result<Option<(String, Instance)>, StepError> {
        let provisioned = folder_of(ledger, &record.id).await?;
        let mut known = vec![provisioned, memory.folder.clone(), given.map(str::to_owned)];
        known.dedup();
        for folder in known.into_iter().flatten() {
            if let Some(instance) = self.instance_of(record, &folder).await? {
                return Ok(Some((folder, instance)));
            }
        }
        let key = self.key();
        let mut ids = self.metadata.find(ROOT, key, &record.id).await?;
        if ids.is_empty()
            && let Some(short) = record.id.get(..SHORT_ID).filter(|it| *it != record.id)
        {
            ids = self.metadata.find(ROOT, key, short).await?;
        }
        let mut found = Vec::new();
        for folder in ids {
            if let Some(instance) = self.instance_of(record, &folder).await? {
                found.push((folder, instance));
            }
        }
        if found.len() > 1 {
            let all: Vec<_> = found.iter().map(|(folder, _)| folder.as_str()).collect();
            return Err(StepError::Person(format!(
                "folders {} all say that they belong to {}: take its id out of all but one",
                all.join(", "),
                record.id
            )));
        }
        Ok(found.pop())
    }

    /// The folder's values, if they name this record and it is what the folder is for.
    async fn instance_of(
        &self,
        record: &Record,
        folder: &str,
    ) -> Result<Option<Instance>, StepError> {
        let instance = match self.metadata.read(folder).await {
            Err(error) if error.kind() == PortErrorKind::Gone => return Ok(None),
            instance => instance?,
        };
        let text = |instance: &Instance, key: &str| {
            let text = instance.values.get(key)?.as_str()?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        Ok(instance.filter(|instance| {
            let names = text(instance, self.key());
            // A deal's folder names the account too.
            let is_a_deals =
                self.is_of_accounts() && text(instance, &self.keys.opportunity).is_some();
            names.is_some_and(|id| is_same(&id, &record.id)) && !is_a_deals
        }))
    }
}

/// An id of 15 characters and one of 18 can be the same.
fn is_same(one: &str, other: &str) -> bool {
    let is_short = one.len() == SHORT_ID || other.len() == SHORT_ID;
    one == other || (is_short && one.get(..SHORT_ID) == other.get(..SHORT_ID))
}
