use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use apache_avro::Schema;
use serde_json::Value;

use super::{
    proto::{SchemaInfo, SchemaRequest},
    rpc::Rpc,
};
use crate::{
    call::Repeat,
    error::{Error, ErrorKind, Result},
};

const OPERATION: &str = "pubsub.schema";
/// An org has some hundred topics; each change of an object makes another schema.
const REMEMBERED: usize = 1_000;

/// How the payload of an event is written.
pub(super) struct EventSchema {
    pub(super) id: String,
    /// Or why it cannot be had.
    read: Result<(Schema, Value)>,
}

impl fmt::Debug for EventSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSchema")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Schemas by their id: one that has an id never changes.
#[derive(Default)]
pub(super) struct Schemas(Mutex<HashMap<String, Arc<EventSchema>>>);

impl Schemas {
    pub(super) async fn get(&self, rpc: &Rpc, id: &str) -> Result<Arc<EventSchema>> {
        if let Some(known) = self.known().get(id) {
            return Ok(Arc::clone(known));
        }
        let request = SchemaRequest {
            schema_id: id.to_owned(),
        };
        let method = "/eventbus.v1.PubSub/GetSchema";
        let info: SchemaInfo = rpc.unary(OPERATION, method, request, Repeat::Safe).await?;
        let schema = Arc::new(EventSchema::read(id, &info.schema_json)?);
        let mut known = self.known();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(id.to_owned(), Arc::clone(&schema));
        Ok(schema)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<EventSchema>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSchema {
    pub(super) fn read(id: &str, json: &str) -> Result<Self> {
        let unreadable = || Error::new(ErrorKind::Decode, OPERATION).sent();
        let avro = Schema::parse_str(json).map_err(|cause| unreadable().cause(cause))?;
        let json = serde_json::from_str(json).map_err(|cause| unreadable().cause(cause))?;
        Ok(Self {
            id: id.to_owned(),
            read: Ok((avro, json)),
        })
    }

    /// One that there is not, for the events that name it: they block no others.
    pub(super) fn missing(id: &str, error: Error) -> Self {
        Self {
            id: id.to_owned(),
            read: Err(error),
        }
    }

    pub(super) fn avro(&self) -> Result<&Schema> {
        let read = self.read.as_ref().map_err(Error::again)?;
        Ok(&read.0)
    }

    pub(super) fn json(&self) -> Result<&Value> {
        let read = self.read.as_ref().map_err(Error::again)?;
        Ok(&read.1)
    }
}
