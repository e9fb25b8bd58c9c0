//! Everything that a rule's actions know when they are planned.

use serde::Serialize;

use crate::{
    content::{FileState, Mapping},
    crm::Record,
    webhook::{Event, Source},
};

/// What has happened, to which file, and which records it concerns.
#[derive(Clone, Debug, Serialize)]
pub struct Situation {
    /// The event's own id.
    pub event: String,
    /// What happened, such as `FILE.UPLOADED`.
    pub trigger: String,
    /// When it happened.
    pub at: jiff::Timestamp,
    /// Who did it, as a person would be named.
    pub actor: Option<String>,
    /// The file.
    pub file: FileState,
    /// Whether the event itself says that the file had no version before this one.
    pub is_first_version: bool,
    /// The folder's metadata that names the records.
    pub mapping: Mapping,
    /// The mapped Opportunity.
    pub opportunity: Option<Record>,
    /// The mapped Account.
    pub account: Option<Record>,
}

impl Situation {
    pub(crate) fn of(
        event: &Event,
        trigger: &str,
        file: FileState,
        mapped: Mapped,
        received_at: jiff::Timestamp,
    ) -> Self {
        let actor = event.created_by.as_ref();
        Self {
            event: event.id.clone(),
            trigger: trigger.to_owned(),
            at: event.created_at.unwrap_or(received_at),
            actor: actor.and_then(|actor| {
                actor
                    .name
                    .clone()
                    .filter(|name| !name.is_empty())
                    .or_else(|| actor.login.clone())
            }),
            is_first_version: is_first(&event.source, &file),
            file,
            mapping: mapped.mapping,
            opportunity: mapped.opportunity,
            account: mapped.account,
        }
    }
}

/// A new file has the sequence id 0, which grows with every change, and was made when it was last
/// changed. A second version has neither; that both are asked for is caution.
fn is_first(source: &Source, file: &FileState) -> bool {
    let Source::File(source) = source else {
        return false;
    };
    let version = source.version.as_ref();
    version.is_some_and(|version| version.id == file.version.id)
        && source.sequence_id.as_deref() == Some("0")
        && source.created_at.is_some()
        && source.created_at == source.modified_at
}

/// A mapping and the records that it names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Mapped {
    pub(crate) mapping: Mapping,
    pub(crate) opportunity: Option<Record>,
    pub(crate) account: Option<Record>,
}
