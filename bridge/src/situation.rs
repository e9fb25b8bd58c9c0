//! Everything that a rule's actions know when they are planned.

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    content::{FileState, FolderState, Mapping},
    crm::Record,
    record_event::RecordChange,
    rules::Versions,
    webhook::Actor,
};

/// What has happened, to what, and which records it concerns.
#[derive(Clone, Debug, Serialize)]
pub struct Situation {
    /// The event's own id.
    pub event: String,
    /// What happened, such as `FILE.UPLOADED` or `Opportunity.CREATED`.
    pub trigger: String,
    /// When it happened.
    pub at: Timestamp,
    /// Who did it.
    pub actor: Option<Person>,
    /// Whom it was done to: the collaborator of a collaboration.
    pub person: Option<Person>,
    /// What it is about.
    pub subject: Subject,
    /// Whether the event itself says that the file had no version before this one.
    pub is_first_version: bool,
    /// Which version of its file it is about, where a rule asks for that.
    pub versions: Option<Versions>,
    /// Whether the version is one that Box Sign has made on the way: with each signer's turn.
    pub is_being_signed: bool,
    /// The folder's metadata that names the records. A record's own event comes without.
    pub mapping: Option<Mapping>,
    /// The Opportunity concerned.
    pub opportunity: Option<Record>,
    /// The Account concerned.
    pub account: Option<Record>,
    /// What else the event says, such as the `old_name` of a rename.
    pub details: serde_json::Map<String, serde_json::Value>,
}

/// What an event is about.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Subject {
    /// A file on the content side.
    File(FileState),
    /// A folder on the content side.
    Folder(FolderState),
    /// A record on the CRM side.
    Record(RecordChange),
}

/// Somebody, as far as an event tells.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Person {
    /// The name.
    pub name: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
}

impl Situation {
    pub(crate) fn of_record(
        event: String,
        trigger: String,
        changed: RecordChange,
        at: Timestamp,
    ) -> Self {
        let if_it_is = |object: &str| {
            let is_it = changed.record.object.as_deref() == Some(object);
            is_it.then(|| changed.record.clone())
        };
        Self {
            event,
            trigger,
            at,
            actor: None,
            person: None,
            is_first_version: false,
            versions: None,
            is_being_signed: false,
            mapping: None,
            opportunity: if_it_is("Opportunity"),
            account: if_it_is("Account"),
            subject: Subject::Record(changed),
            details: serde_json::Map::new(),
        }
    }

    /// The file, where the event is about one.
    pub fn file(&self) -> Option<&FileState> {
        match &self.subject {
            Subject::File(file) => Some(file),
            _ => None,
        }
    }

    /// The folder, where the event is about one itself.
    pub fn folder(&self) -> Option<&FolderState> {
        match &self.subject {
            Subject::Folder(folder) => Some(folder),
            _ => None,
        }
    }

    /// The record, where the event is about one itself.
    pub fn record(&self) -> Option<&RecordChange> {
        match &self.subject {
            Subject::Record(change) => Some(change),
            _ => None,
        }
    }
}

impl Subject {
    /// The item's name; a record's event has none.
    pub fn name(&self) -> &str {
        match self {
            Self::File(file) => &file.name,
            Self::Folder(folder) => &folder.name,
            Self::Record(_) => "",
        }
    }

    /// The item's or record's id.
    pub fn id(&self) -> &str {
        match self {
            Self::File(file) => &file.id,
            Self::Folder(folder) => &folder.id,
            Self::Record(change) => &change.record.id,
        }
    }
}

impl Person {
    /// As a person would be named.
    pub fn shown(&self) -> Option<&str> {
        self.name.as_deref().or(self.email.as_deref())
    }

    pub(crate) fn of(actor: &Actor) -> Option<Self> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let person = Self {
            name: filled(&actor.name),
            email: filled(&actor.login),
        };
        (person != Self::default()).then_some(person)
    }
}

/// A mapping and the records that it names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Mapped {
    pub(crate) mapping: Mapping,
    pub(crate) opportunity: Option<Record>,
    pub(crate) account: Option<Record>,
}
