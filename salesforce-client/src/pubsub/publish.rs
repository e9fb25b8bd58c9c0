use apache_avro::{types::Value, writer::datum::GenericDatumWriter};
use serde::Serialize;

use super::{
    PubSub, ReplayId,
    proto::{
        ProducerEvent, PublishErrorCode, PublishRequest, PublishResponse, TopicInfo, TopicRequest,
    },
};
use crate::{
    ApiError,
    call::Repeat,
    error::{Error, ErrorKind, Result},
};

const OPERATION: &str = "pubsub.publish";

/// A topic. From [`PubSub::topic`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// The org that it is in.
    pub tenant_guid: String,
    /// Whether the user may publish to it.
    pub can_publish: bool,
    /// Whether the user may subscribe to it.
    pub can_subscribe: bool,
    /// The schema of what is published to it now.
    pub schema_id: String,
}

/// An event that is on the bus.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Published {
    /// The event's own id, which subscribers get.
    pub id: String,
    /// Its place in the topic.
    pub replay_id: ReplayId,
}

impl PubSub {
    /// What a topic is, and what may be done with it.
    ///
    /// Vendor: Pub/Sub API, "GetTopic RPC Method".
    pub async fn topic(&self, name: &str) -> Result<Topic> {
        let request = TopicRequest {
            topic_name: name.to_owned(),
        };
        let method = "/eventbus.v1.PubSub/GetTopic";
        let info: TopicInfo = self
            .rpc
            .unary("pubsub.topic", method, request, Repeat::Safe)
            .await?;
        Ok(Topic {
            name: info.topic_name,
            tenant_guid: info.tenant_guid,
            can_publish: info.can_publish,
            can_subscribe: info.can_subscribe,
            schema_id: info.schema_id,
        })
    }

    /// Publishes platform events, and tells of each, in the order given, whether it is on the bus.
    /// The call is never repeated when its outcome is unknown.
    ///
    /// The fields are those of the topic's schema, of a type of your own or of JSON; platform events want `CreatedDate`
    /// (milliseconds since 1970) and `CreatedById` as well.
    ///
    /// ```no_run
    /// # use salesforce_client::pubsub::PubSub;
    /// #[derive(serde::Serialize)]
    /// struct Signed {
    ///     #[serde(rename = "CreatedDate")]
    ///     created_date: i64,
    ///     #[serde(rename = "CreatedById")]
    ///     created_by_id: String,
    ///     #[serde(rename = "Document__c")]
    ///     document: Option<String>,
    /// }
    ///
    /// # async fn example(pubsub: PubSub, events: Vec<Signed>) -> salesforce_client::Result<()> {
    /// for outcome in pubsub.publish("/event/Signed__e", &events).await? {
    ///     match outcome {
    ///         Ok(published) => println!("{} is on the bus", published.id),
    ///         Err(error) => println!("refused: {}", error.code),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Vendor: Pub/Sub API, "Publish RPC Method".
    pub async fn publish<T: Serialize>(
        &self,
        topic: &str,
        events: &[T],
    ) -> Result<Vec<Result<Published, ApiError>>> {
        let schema_id = self.topic(topic).await?.schema_id;
        let schema = self.schemas.get(&self.rpc, &schema_id).await?;
        let avro = schema.avro()?;
        let unwritable = |cause: apache_avro::Error| {
            Error::new(ErrorKind::Invalid, OPERATION)
                .detail("an event does not fit the topic's schema")
                .cause(cause)
        };
        let writer = GenericDatumWriter::builder(avro)
            .build()
            .map_err(unwritable)?;
        let mut sent = Vec::with_capacity(events.len());
        for event in events {
            // Resolved, not written as it is: a plain value belongs in a union with null.
            let value = apache_avro::to_value(event)
                .and_then(|value| whole(value).resolve(avro))
                .map_err(unwritable)?;
            let payload = writer.write_value_to_vec(value).map_err(unwritable)?;
            sent.push(ProducerEvent {
                id: random_id(),
                schema_id: schema_id.clone(),
                payload: payload.into(),
            });
        }
        let ids: Vec<String> = sent.iter().map(|event| event.id.clone()).collect();
        let request = PublishRequest {
            topic_name: topic.to_owned(),
            events: sent,
        };
        let method = "/eventbus.v1.PubSub/Publish";
        let answer: PublishResponse = self
            .rpc
            .unary(OPERATION, method, request, Repeat::Unsafe)
            .await?;
        Ok(outcomes(ids, answer))
    }
}

/// The serializer makes eight bytes of each unsigned number of 64 bits, as every number of JSON is
/// that is not below zero, and no schema of a topic has a place for those.
fn whole(value: Value) -> Value {
    match value {
        Value::Fixed(8, bytes) => {
            let number = <[u8; 8]>::try_from(bytes.as_slice()).map(u64::from_le_bytes);
            match number.map(i64::try_from) {
                Ok(Ok(number)) => Value::Long(number),
                _ => Value::Fixed(8, bytes),
            }
        }
        Value::Union(at, value) => Value::Union(at, Box::new(whole(*value))),
        Value::Array(all) => Value::Array(all.into_iter().map(whole).collect()),
        Value::Map(all) => Value::Map(all.into_iter().map(|(key, it)| (key, whole(it))).collect()),
        Value::Record(all) => {
            Value::Record(all.into_iter().map(|(key, it)| (key, whole(it))).collect())
        }
        value => value,
    }
}

/// Results carry the id of their event; those without one are taken in order.
fn outcomes(ids: Vec<String>, answer: PublishResponse) -> Vec<Result<Published, ApiError>> {
    let has_keys = answer
        .results
        .iter()
        .any(|result| !result.correlation_key.is_empty());
    let mut results = answer.results;
    let outcome = |(at, id): (usize, String)| {
        let found = if has_keys {
            results
                .iter()
                .position(|result| result.correlation_key == id)
        } else {
            (at < results.len()).then_some(at)
        };
        let Some(result) = found.map(|found| std::mem::take(&mut results[found])) else {
            return Err(ApiError::new(
                "UNKNOWN",
                "Salesforce told nothing of it",
                Vec::new(),
            ));
        };
        match result.error {
            None => Ok(Published {
                id,
                replay_id: ReplayId(result.replay_id),
            }),
            Some(error) => {
                let code = match PublishErrorCode::try_from(error.code) {
                    Ok(PublishErrorCode::Publish) => "PUBLISH",
                    Ok(PublishErrorCode::Commit) => "COMMIT",
                    _ => "UNKNOWN",
                };
                Err(ApiError::new(code, &error.msg, Vec::new()))
            }
        }
    };
    ids.into_iter().enumerate().map(outcome).collect()
}

fn random_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}
