//! What a webhook says.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{fields::Fields, source::Source, trigger::Trigger};

/// One webhook event. What Box does not promise is an `Option`, and what is not modelled
/// survives in `extra`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// The event's own id, the same at each redelivery.
    pub id: String,
    /// What happened.
    pub trigger: Trigger,
    /// When it happened.
    pub created_at: Option<Timestamp>,
    /// The webhook that told of it.
    pub webhook_id: Option<String>,
    /// Who did it.
    pub created_by: Option<Actor>,
    /// What it happened to.
    pub source: Source,
    /// More, by trigger.
    pub additional_info: AdditionalInfo,
    /// Everything else that is not null, as it came.
    pub extra: Map<String, Value>,
}

/// Who did something, or for whom.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Actor {
    /// The id.
    pub id: Option<String>,
    /// `user` or `group`.
    pub kind: Option<String>,
    /// The name; empty or missing while an invitation is pending.
    pub name: Option<String>,
    /// A user's e-mail address; groups have none.
    pub login: Option<String>,
}

/// What comes beside the source, such as the `old_name` of a rename. Box sends `[]` when there is
/// nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdditionalInfo(pub Map<String, Value>);

/// Why bytes are no event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Not UTF-8.
    #[error("not UTF-8 from byte {at} on")]
    NotUtf8 {
        /// Where it stops being UTF-8.
        at: usize,
    },
    /// Not JSON, or nested too deep.
    #[error("not JSON")]
    NotJson(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// JSON, but not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// Without this field, which every event has.
    #[error("there is no {0}")]
    Missing(&'static str),
    /// An id that has control characters or is longer than 128 characters.
    #[error("the {0} id is not one of Box's")]
    BadId(&'static str),
    /// A file size that is negative, broken, or larger than any file.
    #[error("the file's size is not one that a file can have")]
    BadSize,
}

impl Event {
    /// Reads an event. Bytes that come from outside go through
    /// [`Verifier::verify`](super::Verifier::verify) first; this is for what is stored.
    pub fn parse(bytes: &[u8]) -> Result<Self, EventError> {
        let text = std::str::from_utf8(bytes).map_err(|error| EventError::NotUtf8 {
            at: error.valid_up_to(),
        })?;
        let body: Value =
            serde_json::from_str(text).map_err(|error| EventError::NotJson(error.into()))?;
        let mut body = Fields::of(body).ok_or(EventError::NotAnObject)?;
        Ok(Self {
            id: body.id("id", "event's")?.ok_or(EventError::Missing("id"))?,
            trigger: body
                .text("trigger")
                .map(Trigger::new)
                .ok_or(EventError::Missing("trigger"))?,
            created_at: body.time("created_at"),
            webhook_id: match body.object("webhook") {
                Some(mut webhook) => webhook.id("id", "webhook's")?,
                None => None,
            },
            created_by: body.object("created_by").map(Actor::read).transpose()?,
            source: body
                .object("source")
                .map_or(Ok(Source::None), Source::read)?,
            additional_info: AdditionalInfo(
                body.object("additional_info")
                    .map(Fields::rest)
                    .unwrap_or_default(),
            ),
            extra: body.rest(),
        })
    }

    /// Events with one key are worked on in the order of their arrival: those of one file, of one
    /// folder, or of one collaboration that does not say where it is. Any other waits for none.
    pub fn ordering_key(&self) -> String {
        let folder = |id: &str| format!("box-folder/{id}");
        let file = |id: &str| format!("box-file/{id}");
        match &self.source {
            Source::File(source) => file(&source.id),
            Source::Folder(source) => folder(&source.id),
            Source::Collaboration(source) => match &source.item {
                Some(item) if item.kind.as_deref() == Some("file") => file(&item.id),
                Some(item) => folder(&item.id),
                None => match &source.id {
                    Some(id) => format!("box-collaboration/{id}"),
                    None => self.own_key(),
                },
            },
            Source::Comment(source) | Source::TaskAssignment(source) => match &source.item {
                Some(item) if item.kind.as_deref() == Some("file") => file(&item.id),
                Some(item) if item.kind.as_deref() == Some("folder") => folder(&item.id),
                _ => self.own_key(),
            },
            _ => self.own_key(),
        }
    }

    fn own_key(&self) -> String {
        format!("box-event/{}", self.id)
    }
}

impl Actor {
    pub(super) fn read(mut fields: Fields) -> Result<Self, EventError> {
        Ok(Self {
            id: fields.id("id", "user's")?,
            kind: fields.text("type"),
            name: fields.text("name"),
            login: fields.text("login"),
        })
    }
}
