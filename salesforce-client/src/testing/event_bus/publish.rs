//! Events of the callers.

use std::sync::Arc;

use apache_avro::reader::datum::GenericDatumReader;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use tonic::Status;

use super::bus::EventSchema;
use super::platform_event::PlatformEvent;
use super::status::{rpc_id, unknown_topic};
use crate::pubsub::proto::{
    ProducerEvent, PublishError, PublishErrorCode, PublishRequest, PublishResponse, PublishResult,
};
use crate::testing::state::State;

/// Puts events on the bus, each with an outcome of its own.
pub(super) fn publish(
    state: &mut State,
    request: PublishRequest,
) -> Result<PublishResponse, Status> {
    let topic = &request.topic_name;
    let known = state.bus.topic(&state.org.schema, topic);
    let (Some(schema), true) = known.ok_or_else(|| unknown_topic(topic))? else {
        let text = format!("Nobody but Salesforce publishes to {topic}");
        return Err(Status::permission_denied(text));
    };
    let name = topic.strip_prefix("/event/").unwrap_or_default();
    let event = state.bus.platform_events.iter().find(|it| it.name == name);
    let event = event.cloned().ok_or_else(|| unknown_topic(topic))?;
    let mut results = Vec::with_capacity(request.events.len());
    for sent in request.events {
        let correlation_key = sent.id.clone();
        let result = match check(state, &event, &schema, &sent) {
            Ok(()) => PublishResult {
                replay_id: state.bus.push(topic.clone(), sent, Timestamp::now()),
                error: None,
                correlation_key,
            },
            Err(msg) => PublishResult {
                replay_id: Bytes::new(),
                error: Some(PublishError {
                    code: PublishErrorCode::Publish.into(),
                    msg,
                }),
                correlation_key,
            },
        };
        results.push(result);
    }
    // Nobody promises the order.
    results.reverse();
    Ok(PublishResponse {
        results,
        schema_id: schema.id.clone(),
        rpc_id: rpc_id(),
    })
}

fn check(
    state: &State,
    event: &PlatformEvent,
    current: &Arc<EventSchema>,
    sent: &ProducerEvent,
) -> Result<(), String> {
    let schema = state.bus.schema(&sent.schema_id);
    let name = |schema: &EventSchema| schema.avro.name().cloned();
    let schema = schema.filter(|schema| name(schema) == name(current));
    let schema = schema.ok_or("The schema is none of the topic's")?;
    let reader = GenericDatumReader::builder(&schema.avro).build();
    let mut rest = &sent.payload[..];
    let value = reader
        .and_then(|reader| reader.read_value(&mut rest))
        .and_then(Value::try_from);
    match value {
        Ok(Value::Object(values)) if rest.is_empty() => event
            .check_values(&values)
            .map_err(|refusal| refusal.to_string()),
        _ => Err("The payload is not written by the schema".to_owned()),
    }
}
