//! What an event of the bus tells of records.

use std::collections::BTreeSet;

use jiff::Timestamp;
use salesforce_client::pubsub::{ChangeEventHeader, ChangeType, Event};
use serde_json::Value;
use tracing::warn;

use super::{Topic, record_id};
use crate::{crm::Record, port_error::in_one_line, record_event};

pub(super) enum Change {
    /// Of these records.
    Of {
        /// The event's own name.
        own: String,
        records: Vec<Record>,
        change: record_event::Change,
        /// The fields that were changed, where they are told.
        fields: Vec<String>,
        at: Option<Timestamp>,
        /// Whether that is the time of the change, and not that of the event alone.
        is_of_change: bool,
    },
    /// Of this kind of record, and which is not told.
    Gap {
        object: String,
        at: Option<Timestamp>,
    },
    /// Of something.
    Unreadable,
    /// None that concerns us.
    Nothing,
}

impl Change {
    pub(super) fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Of { at, .. } | Self::Gap { at, .. } => *at,
            Self::Unreadable | Self::Nothing => None,
        }
    }

    /// The kind of record and the fields of it that were changed, where these are told: of what was
    /// made, deleted or brought back, everything is new.
    pub(super) fn fields(&self) -> Option<(&str, &[String])> {
        match self {
            Self::Of {
                records,
                change: record_event::Change::Updated,
                fields,
                ..
            } if !fields.is_empty() => {
                let object = records.first()?.object.as_deref()?;
                Some((object, fields))
            }
            _ => None,
        }
    }

    /// The second that the change may be known by.
    pub(super) fn of_change(&self) -> Option<Timestamp> {
        match self {
            Self::Of {
                at,
                is_of_change: true,
                ..
            } => *at,
            _ => None,
        }
    }
}

/// The kind of record whose changes have a topic of their own.
pub(super) fn object_of(topic: &str) -> Option<String> {
    let name = topic.strip_prefix("/data/")?;
    match name.strip_suffix("__ChangeEvent") {
        Some(custom) => Some(format!("{custom}__c")),
        None => name
            .strip_suffix("ChangeEvent")
            .filter(|object| !object.is_empty())
            .map(str::to_owned),
    }
}

pub(super) fn change(event: &Event, topic: &Topic, not_by: Option<&str>) -> Change {
    let unreadable = |error: salesforce_client::Error| {
        let error = in_one_line(&error);
        warn!(
            topic = topic.name,
            event = event.id,
            error,
            "an event cannot be read"
        );
        Change::Unreadable
    };
    let fields = match event.fields() {
        Ok(fields) => fields,
        Err(error) => return unreadable(error),
    };
    match event.change() {
        Ok(Some(header)) if is_by(&header, not_by) => Change::Nothing,
        Ok(Some(header)) => changed(event, header, &fields),
        Ok(None) => named(event, topic, &fields),
        Err(error) => unreadable(error),
    }
}

/// `com/salesforce/api/rest/58.0;client=box-bridge`
fn is_by(header: &ChangeEventHeader, client: Option<&str>) -> bool {
    let Some(client) = client else {
        return false;
    };
    let mut parts = header.change_origin.split(';').skip(1);
    parts.any(|part| part.strip_prefix("client=") == Some(client))
}

fn changed(event: &Event, header: ChangeEventHeader, fields: &salesforce_client::Record) -> Change {
    let committed = header.commit_timestamp;
    let change = match header.change_type {
        ChangeType::Create | ChangeType::GapCreate => record_event::Change::Created,
        ChangeType::Update | ChangeType::GapUpdate => record_event::Change::Updated,
        ChangeType::Delete | ChangeType::GapDelete => record_event::Change::Deleted,
        ChangeType::Undelete | ChangeType::GapUndelete => record_event::Change::Undeleted,
        ChangeType::GapOverflow => {
            return Change::Gap {
                object: header.entity_name,
                at: committed,
            };
        }
        _ => record_event::Change::Changed,
    };
    // After an overflow an id is a wildcard such as `001*`.
    let ids: Option<Vec<_>> = header.record_ids.iter().map(|id| record_id(id)).collect();
    let Some(ids) = ids.filter(|ids| !ids.is_empty()) else {
        return Change::Gap {
            object: header.entity_name,
            at: committed,
        };
    };
    Change::Of {
        own: format!("event {}", event.id),
        records: ids
            .into_iter()
            .map(|id| Record {
                id: id.to_string(),
                object: Some(header.entity_name.clone()),
            })
            .collect(),
        change,
        fields: match header.change_type {
            // A gap comes without its fields.
            ChangeType::Update => {
                // Whether those of the other two are always among the first is not documented.
                let all = [
                    header.changed_fields,
                    header.nulled_fields,
                    header.diff_fields,
                ];
                let all = all.into_iter().flatten();
                all.collect::<BTreeSet<_>>().into_iter().collect()
            }
            _ => Vec::new(),
        },
        at: stamp(fields, committed).or(committed),
        is_of_change: true,
    }
}

/// The record's own stamp, which is what asking for changes tells too. That of a long transaction
/// is older than its commit, and its second may have been told of before.
fn stamp(fields: &salesforce_client::Record, committed: Option<Timestamp>) -> Option<Timestamp> {
    let millisecond = fields.get("LastModifiedDate").and_then(Value::as_i64)?;
    let stamp = Timestamp::from_millisecond(millisecond).ok()?;
    let age = committed?.as_second() - stamp.as_second();
    (0..=1).contains(&age).then_some(stamp)
}

/// A platform event, which names its record in a field.
fn named(event: &Event, topic: &Topic, fields: &salesforce_client::Record) -> Change {
    let field = topic.record_field.as_deref();
    let text = field.and_then(|field| fields.get(field)?.as_str());
    let Some(id) = text.and_then(record_id) else {
        warn!(
            topic = topic.name,
            event = event.id,
            "an event names no record"
        );
        return Change::Nothing;
    };
    let only = match topic.objects.as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    };
    let object = id.object().map(str::to_owned).or(only);
    let created = fields.get("CreatedDate").and_then(Value::as_i64);
    Change::Of {
        own: format!("event {}", event.id),
        records: vec![Record {
            id: id.to_string(),
            object,
        }],
        change: record_event::Change::Changed,
        fields: Vec::new(),
        at: created.and_then(|at| Timestamp::from_millisecond(at).ok()),
        is_of_change: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_of_changes_says_what_it_is_about() {
        for (topic, object) in [
            ("/data/OpportunityChangeEvent", Some("Opportunity")),
            ("/data/Thing__ChangeEvent", Some("Thing__c")),
            ("/data/ChangeEvents", None),
            ("/data/Sales__chn", None),
            ("/event/Deal_Won__e", None),
        ] {
            assert_eq!(object_of(topic).as_deref(), object, "{topic}");
        }
        assert_eq!(
            Topic::changes_of("Thing__c"),
            Topic::new("/data/Thing__ChangeEvent")
        );
    }
}
