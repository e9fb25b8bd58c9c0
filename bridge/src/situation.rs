//! Everything that a rule's actions know when they are planned.

use serde::Serialize;

use crate::{
    content::{FileState, Mapping},
    crm::Record,
    webhook::Event,
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
            file,
            mapping: mapped.mapping,
            opportunity: mapped.opportunity,
            account: mapped.account,
        }
    }
}

/// A mapping and the records that it names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Mapped {
    pub(crate) mapping: Mapping,
    pub(crate) opportunity: Option<Record>,
    pub(crate) account: Option<Record>,
}
