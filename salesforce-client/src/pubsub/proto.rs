//! The messages of `eventbus.v1`, as far as this crate speaks of them. Written by hand, so that
//! nobody needs `protoc`; the numbers are Salesforce's.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TopicRequest {
    #[prost(string, tag = "1")]
    pub(crate) topic_name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TopicInfo {
    #[prost(string, tag = "1")]
    pub(crate) topic_name: String,
    #[prost(string, tag = "2")]
    pub(crate) tenant_guid: String,
    #[prost(bool, tag = "3")]
    pub(crate) can_publish: bool,
    #[prost(bool, tag = "4")]
    pub(crate) can_subscribe: bool,
    #[prost(string, tag = "5")]
    pub(crate) schema_id: String,
    #[prost(string, tag = "6")]
    pub(crate) rpc_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SchemaRequest {
    #[prost(string, tag = "1")]
    pub(crate) schema_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SchemaInfo {
    #[prost(string, tag = "1")]
    pub(crate) schema_json: String,
    #[prost(string, tag = "2")]
    pub(crate) schema_id: String,
    #[prost(string, tag = "3")]
    pub(crate) rpc_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProducerEvent {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) schema_id: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) payload: bytes::Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ConsumerEvent {
    #[prost(message, optional, tag = "1")]
    pub(crate) event: Option<ProducerEvent>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) replay_id: bytes::Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum ReplayPreset {
    Latest = 0,
    Earliest = 1,
    Custom = 2,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FetchRequest {
    #[prost(string, tag = "1")]
    pub(crate) topic_name: String,
    #[prost(enumeration = "ReplayPreset", tag = "2")]
    pub(crate) replay_preset: i32,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) replay_id: bytes::Bytes,
    #[prost(int32, tag = "4")]
    pub(crate) num_requested: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FetchResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) events: Vec<ConsumerEvent>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) latest_replay_id: bytes::Bytes,
    #[prost(string, tag = "3")]
    pub(crate) rpc_id: String,
    #[prost(int32, tag = "4")]
    pub(crate) pending_num_requested: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PublishRequest {
    #[prost(string, tag = "1")]
    pub(crate) topic_name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) events: Vec<ProducerEvent>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PublishResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) results: Vec<PublishResult>,
    #[prost(string, tag = "2")]
    pub(crate) schema_id: String,
    #[prost(string, tag = "3")]
    pub(crate) rpc_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PublishResult {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) replay_id: bytes::Bytes,
    #[prost(message, optional, tag = "2")]
    pub(crate) error: Option<PublishError>,
    #[prost(string, tag = "3")]
    pub(crate) correlation_key: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PublishError {
    #[prost(enumeration = "PublishErrorCode", tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) msg: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum PublishErrorCode {
    Unknown = 0,
    Publish = 1,
    Commit = 2,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::{collections::BTreeMap, path::PathBuf};

    type Messages = BTreeMap<String, BTreeMap<u32, (String, String)>>;

    /// `Message { tag: (name, type) }` of Salesforce's own file.
    fn theirs(text: &str) -> Messages {
        let mut messages = Messages::new();
        let mut current = None;
        for line in text.lines().map(str::trim) {
            let words: Vec<_> = line.trim_end_matches(';').split_whitespace().collect();
            match words.as_slice() {
                ["message", name, "{"] => current = Some((*name).to_owned()),
                ["}"] => current = None,
                [kind @ .., name, "=", tag] if !kind.is_empty() => {
                    let (Some(message), Ok(tag)) = (&current, tag.parse()) else {
                        continue;
                    };
                    let field = ((*name).to_owned(), kind.join(" "));
                    messages
                        .entry(message.clone())
                        .or_default()
                        .insert(tag, field);
                }
                _ => {}
            }
        }
        messages
    }

    /// The same of the definitions above, as they stand in the source.
    fn ours(text: &str) -> Messages {
        let mut messages = Messages::new();
        let (mut current, mut attribute) = (String::new(), None);
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("pub(crate) struct ") {
                current = name.trim_end_matches(" {").to_owned();
            } else if let Some(inner) = line.strip_prefix("#[prost(") {
                attribute = Some(inner.trim_end_matches(")]").to_owned());
            } else if let Some(field) = line.strip_prefix("pub(crate) ")
                && let (Some(inner), Some((name, kind))) =
                    (attribute.take(), field.split_once(": "))
            {
                let (kinds, tag) = inner.rsplit_once(", tag = ").unwrap();
                let last = kind.trim_end_matches(',').trim_end_matches('>');
                let last = last
                    .rsplit('<')
                    .next()
                    .unwrap()
                    .replace("PublishError", "Error");
                let kind = match kinds {
                    "message, repeated" => format!("repeated {last}"),
                    "message, optional" => last,
                    other if other.starts_with("bytes") => "bytes".to_owned(),
                    other => match other.strip_prefix("enumeration = ") {
                        Some(name) => name.trim_matches('"').replace("PublishError", "Error"),
                        None => other.to_owned(),
                    },
                };
                let tag = tag.trim_matches('"').parse().unwrap();
                let message = messages.entry(current.replace("PublishError", "Error"));
                message.or_default().insert(tag, (name.to_owned(), kind));
            }
        }
        messages
    }

    #[test]
    fn every_field_has_the_number_and_the_type_of_the_vendors_file() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/pubsub_api.proto");
        let Ok(text) = std::fs::read_to_string(&path) else {
            assert!(
                std::env::var_os("CI").is_none(),
                "{} is missing",
                path.display()
            );
            eprintln!("SKIPPED: {} is missing", path.display());
            return;
        };
        let theirs = theirs(&text);
        let source = include_str!("proto.rs");
        let ours = ours(source.split("#[cfg(test)]").next().unwrap());
        assert_eq!(ours.len(), 12);
        for (message, fields) in &ours {
            let known = theirs.get(message);
            let known = known.unwrap_or_else(|| panic!("there is no message {message}"));
            for (tag, field) in fields {
                assert_eq!(known.get(tag), Some(field), "{message} {tag}");
            }
        }
    }
}
