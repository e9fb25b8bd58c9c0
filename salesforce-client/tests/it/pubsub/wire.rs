//! The service as its protocol file describes it, written anew: nothing of the client's own.

use bytes::Bytes;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Name {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TopicInfo {
    #[prost(string, tag = "1")]
    pub(crate) topic_name: String,
    #[prost(bool, tag = "3")]
    pub(crate) can_publish: bool,
    #[prost(bool, tag = "4")]
    pub(crate) can_subscribe: bool,
    #[prost(string, tag = "5")]
    pub(crate) schema_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SchemaInfo {
    #[prost(string, tag = "1")]
    pub(crate) schema_json: String,
    #[prost(string, tag = "2")]
    pub(crate) schema_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Produced {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) schema_id: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) payload: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Consumed {
    #[prost(message, optional, tag = "1")]
    pub(crate) event: Option<Produced>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) replay_id: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Fetch {
    #[prost(string, tag = "1")]
    pub(crate) topic_name: String,
    #[prost(int32, tag = "2")]
    pub(crate) replay_preset: i32,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) replay_id: Bytes,
    #[prost(int32, tag = "4")]
    pub(crate) num_requested: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Fetched {
    #[prost(message, repeated, tag = "1")]
    pub(crate) events: Vec<Consumed>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) latest_replay_id: Bytes,
    #[prost(string, tag = "3")]
    pub(crate) rpc_id: String,
    #[prost(int32, tag = "4")]
    pub(crate) pending_num_requested: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Publish {
    #[prost(string, tag = "1")]
    pub(crate) topic_name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) events: Vec<Produced>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Publishes {
    #[prost(message, repeated, tag = "1")]
    pub(crate) results: Vec<Outcome>,
    #[prost(string, tag = "2")]
    pub(crate) schema_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Outcome {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) replay_id: Bytes,
    #[prost(message, optional, tag = "2")]
    pub(crate) error: Option<Failure>,
    #[prost(string, tag = "3")]
    pub(crate) correlation_key: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Failure {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) msg: String,
}
