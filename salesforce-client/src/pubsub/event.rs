use std::{fmt, sync::Arc};

use apache_avro::reader::datum::GenericDatumReader;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{ChangeEventHeader, change, proto::ConsumerEvent, schema::EventSchema};
use crate::{
    Record,
    error::{Error, ErrorKind, Result},
};

const OPERATION: &str = "pubsub.decode";

/// A place in a topic: bytes that mean something to Salesforce alone. There is no order between
/// two of them.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct ReplayId(pub(super) Bytes);

impl ReplayId {
    /// The bytes, to be kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for ReplayId {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for ReplayId {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl fmt::Debug for ReplayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplayId(")?;
        for byte in &self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// Something that happened.
#[derive(Clone)]
#[non_exhaustive]
pub struct Event {
    /// The event's own id.
    pub id: String,
    /// Where to begin again after it.
    pub replay_id: ReplayId,
    payload: Bytes,
    schema: Arc<EventSchema>,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id)
            .field("replay_id", &self.replay_id)
            .field("schema", &self.schema.id)
            .finish_non_exhaustive()
    }
}

impl Event {
    pub(super) fn new(consumer: ConsumerEvent, schema: Arc<EventSchema>) -> Self {
        let event = consumer.event.unwrap_or_default();
        Self {
            id: event.id,
            replay_id: ReplayId(consumer.replay_id),
            payload: event.payload,
            schema,
        }
    }

    /// The id of the schema that the payload is written by.
    pub fn schema_id(&self) -> &str {
        &self.schema.id
    }

    /// The payload as it came: one Avro datum.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The fields as a type of yours. Fields of events can all be absent, so make them `Option`s.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(Value::Object(self.fields()?))
            .map_err(|cause| Error::new(ErrorKind::Decode, OPERATION).cause(cause))
    }

    /// The fields by name.
    pub fn fields(&self) -> Result<Record> {
        let reader = GenericDatumReader::builder(self.schema.avro()?).build();
        let value = reader
            .and_then(|reader| reader.read_value(&mut &self.payload[..]))
            .and_then(Value::try_from)
            .map_err(unreadable)?;
        match value {
            Value::Object(fields) => Ok(fields),
            _ => Err(Error::new(ErrorKind::Decode, OPERATION).detail("the event is no record")),
        }
    }

    /// What a change event says of the change; `None` for any other event.
    pub fn change(&self) -> Result<Option<ChangeEventHeader>> {
        let fields = self.fields()?;
        let header = fields
            .get("ChangeEventHeader")
            .filter(|header| !header.is_null());
        let schema = self.schema.json()?;
        header
            .map(|header| change::read(header, schema))
            .transpose()
            .map_err(|cause| Error::new(ErrorKind::Decode, OPERATION).cause(cause))
    }
}

fn unreadable(cause: apache_avro::Error) -> Error {
    Error::new(ErrorKind::Decode, OPERATION).cause(cause)
}
