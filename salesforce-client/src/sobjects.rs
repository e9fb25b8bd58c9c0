//! Records of any object.

use http::{HeaderName, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    RecordId,
    call::Call,
    error::{Error, ErrorKind, Result},
    time::http_date,
    transport::Transport,
};

/// The records of one object. From [`SalesforceClient::sobject`](crate::SalesforceClient::sobject).
/// Records are read and written as any type of yours, or as [`serde_json::Value`].
#[derive(Clone, Copy)]
pub struct SObjects<'a> {
    transport: &'a Transport,
    name: &'a str,
}

impl std::fmt::Debug for SObjects<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SObjects")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What an upsert did.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Upserted {
    /// The record; older versions of the API do not tell it of an update.
    pub id: Option<RecordId>,
    /// Whether it is new.
    pub created: bool,
}

#[derive(Deserialize)]
struct Saved {
    id: RecordId,
    #[serde(default)]
    created: bool,
}

impl<'a> SObjects<'a> {
    pub(crate) fn new(transport: &'a Transport, name: &'a str) -> Self {
        Self { transport, name }
    }

    /// Creates a record. The call is never repeated by itself when its outcome is unknown.
    pub async fn create(&self, record: &impl Serialize) -> Result<RecordId> {
        let call = self
            .call("sobject.create", Method::POST, &[])?
            .json(record)?;
        let saved: Saved = self.transport.json(&call).await?;
        Ok(saved.id)
    }

    /// Reads fields of a record.
    pub async fn get<T: DeserializeOwned>(&self, id: &RecordId, fields: &[&str]) -> Result<T> {
        let call = self.call("sobject.get", Method::GET, &[id.as_str()])?;
        let call = if fields.is_empty() {
            call
        } else {
            call.query("fields", fields.join(","))
        };
        self.transport.json(&call).await
    }

    /// Changes fields of a record. Values are set and not added to, so the call is safe to repeat
    /// and is repeated.
    pub async fn update(&self, id: &RecordId, fields: &impl Serialize) -> Result<()> {
        let call = self
            .call("sobject.update", Method::PATCH, &[id.as_str()])?
            .json(fields)?;
        self.transport.empty(&call.repeatable()).await
    }

    /// Changes fields of a record that nobody has changed since; a
    /// [`Conflict`](ErrorKind::Conflict) otherwise. Times count in whole seconds. The call is not
    /// repeated when its outcome is unknown: after its own success it would be a conflict.
    pub async fn update_unmodified(
        &self,
        id: &RecordId,
        since: Timestamp,
        fields: &impl Serialize,
    ) -> Result<()> {
        let since = HeaderValue::try_from(http_date(since)).expect("a date makes a header");
        let call = self
            .call("sobject.update", Method::PATCH, &[id.as_str()])?
            .json(fields)?
            .header(HeaderName::from_static("if-unmodified-since"), since);
        self.transport.empty(&call).await
    }

    /// Creates or changes the record whose external id `field` has this value. Several matches
    /// are a [`Conflict`](ErrorKind::Conflict).
    pub async fn upsert(
        &self,
        field: &str,
        value: &str,
        record: &impl Serialize,
    ) -> Result<Upserted> {
        const OPERATION: &str = "sobject.upsert";
        if value.is_empty() || value == "." || value == ".." || !is_name(field) {
            return Err(Error::new(ErrorKind::Invalid, OPERATION)
                .detail("the external id's name or value cannot stand in a path"));
        }
        let call = self
            .call(OPERATION, Method::PATCH, &[field, value])?
            .json(record)?;
        let reply = self.transport.send(&call.repeatable()).await?;
        match reply.status() {
            StatusCode::NO_CONTENT => Ok(Upserted {
                id: None,
                created: false,
            }),
            StatusCode::MULTIPLE_CHOICES => Err(Error::new(ErrorKind::Conflict, OPERATION)
                .detail("several records have this external id; nothing was changed")),
            status => {
                let saved: Saved = reply.json().await?;
                let created = saved.created || status == StatusCode::CREATED;
                Ok(Upserted {
                    id: Some(saved.id),
                    created,
                })
            }
        }
    }

    /// Deletes a record.
    pub async fn delete(&self, id: &RecordId) -> Result<()> {
        let call = self.call("sobject.delete", Method::DELETE, &[id.as_str()])?;
        self.transport.empty(&call).await
    }

    fn call(&self, operation: &'static str, method: Method, rest: &[&str]) -> Result<Call> {
        if !is_name(self.name) {
            return Err(Error::new(ErrorKind::Invalid, operation)
                .detail("an object's name has letters, digits and underscores"));
        }
        let segments: Vec<_> = ["sobjects", self.name]
            .iter()
            .chain(rest)
            .copied()
            .collect();
        Ok(self.transport.call(operation, method, &segments))
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
