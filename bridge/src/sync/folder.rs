//! Which folder a record is kept the same as.

use std::collections::HashSet;

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
    /// given, or was found with, comes first: a copy of it, and what a cascade has marked below it,
    /// say so too. Where nothing is remembered it is the outermost one.
    pub(super) async fn folder(
        &self,
        record: &Record,
        given: Option<&str>,
        memory: &Memory,
        ledger: &dyn Ledger,
    ) -> Result<Option<(String, Instance)>, StepError> {
        let provisioned = folder_of(ledger, &record.id).await?;
        let mut known = vec![provisioned, memory.folder.clone()];
        known.dedup();
        for folder in known.into_iter().flatten() {
            if let Some(instance) = self.instance_of(record, &folder).await? {
                return Ok(Some((folder, instance)));
            }
        }
        if let Some(given) = given
            && let Some(found) = self.outermost(record, given).await?
        {
            return Ok(Some(found));
        }
        let mut found = self.search(record, &record.id).await?;
        if found.is_empty()
            && let Some(short) = record.id.get(..SHORT_ID).filter(|it| *it != record.id)
        {
            found = self.search(record, short).await?;
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

    /// The folders that name the record by this text, without those inside of them.
    async fn search(
        &self,
        record: &Record,
        text: &str,
    ) -> Result<Vec<(String, Instance)>, StepError> {
        let key = self.key();
        let mut left = self.metadata.find(ROOT, key, text).await?;
        let mut found: Vec<(String, Instance)> = Vec::new();
        while let Some(folder) = left.pop() {
            let Some((outermost, instance)) = self.outermost(record, &folder).await? else {
                continue;
            };
            if found.iter().any(|(it, _)| *it == outermost) {
                continue;
            }
            if !left.is_empty() {
                // A cascade can have marked thousands, which need not be read one by one.
                let inside = self.metadata.find(&outermost, key, text).await?;
                let inside: HashSet<_> = inside.into_iter().collect();
                left.retain(|it| *it != outermost && !inside.contains(it));
            }
            found.push((outermost, instance));
        }
        Ok(found)
    }

    /// Of this folder and those above it the outermost one that is the record's.
    async fn outermost(
        &self,
        record: &Record,
        folder: &str,
    ) -> Result<Option<(String, Instance)>, StepError> {
        let above = match self.metadata.above(folder).await {
            Err(error) if error.kind() == PortErrorKind::Gone => return Ok(None),
            above => above?,
        };
        let all = above.iter().map(String::as_str).chain([folder]);
        for folder in all.filter(|it| *it != ROOT) {
            if let Some(instance) = self.instance_of(record, folder).await? {
                return Ok(Some((folder.to_owned(), instance)));
            }
        }
        Ok(None)
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
