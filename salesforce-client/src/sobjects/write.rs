use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use http::{
    StatusCode,
    header::{IF_MATCH, IF_UNMODIFIED_SINCE},
};
use jiff::Timestamp;

use super::{SavedReply, http_date};
use crate::{
    RecordId,
    call::Call,
    error::Result,
    transport::{JSON_LIMIT, Transport},
};

/// Sets fields of a record. From [`SObjects::update`](super::SObjects::update); it can be awaited
/// as it is.
#[must_use = "nothing is sent before send() or .await"]
pub struct Update<'a> {
    transport: &'a Arc<Transport>,
    call: Result<Call>,
}

impl fmt::Debug for Update<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Update").finish_non_exhaustive()
    }
}

impl<'a> Update<'a> {
    pub(super) fn new(transport: &'a Arc<Transport>, call: Result<Call>) -> Self {
        Self { transport, call }
    }

    /// Only if nobody has changed the record after this time, which its `LastModifiedDate` tells,
    /// in whole seconds; [`Conflict`](crate::ErrorKind::Conflict) otherwise.
    pub fn if_unmodified_since(mut self, at: Timestamp) -> Self {
        self.call = self
            .call
            .and_then(|call| call.text_header(IF_UNMODIFIED_SINCE, http_date(at)));
        self
    }

    /// Only if the record is as an earlier answer's `ETag` has it;
    /// [`Conflict`](crate::ErrorKind::Conflict) otherwise. Accounts only.
    pub fn if_match(mut self, etag: &str) -> Self {
        self.call = self
            .call
            .and_then(|call| call.text_header(IF_MATCH, etag.to_owned()));
        self
    }

    /// Lets the client repeat the call when its outcome is unknown. That is safe where writing the
    /// same values a second time does no harm. Together with
    /// [`if_unmodified_since`](Self::if_unmodified_since) the repeat can meet its own first
    /// success: a [`Conflict`](crate::ErrorKind::Conflict) that
    /// [`may_have_happened`](crate::Error::may_have_happened).
    pub fn repeatable(mut self) -> Self {
        self.call = self.call.map(Call::repeatable);
        self
    }

    /// Sends it.
    pub async fn send(self) -> Result<()> {
        self.transport.empty(&self.call?).await
    }
}

impl<'a> IntoFuture for Update<'a> {
    type Output = Result<()>;
    type IntoFuture = BoxFuture<'a, Result<()>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// Creates or changes a record. From [`SObjects::upsert`](super::SObjects::upsert); it can be
/// awaited as it is.
#[must_use = "nothing is sent before send() or .await"]
pub struct Upsert<'a> {
    transport: &'a Arc<Transport>,
    call: Result<Call>,
}

impl fmt::Debug for Upsert<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upsert").finish_non_exhaustive()
    }
}

/// What an upsert did.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Upserted {
    /// The record; versions of the API before 46.0 do not tell it of an update.
    pub id: Option<RecordId>,
    /// Whether it is new. After a repeat it can be false although this call made it.
    pub created: bool,
}

impl<'a> Upsert<'a> {
    pub(super) fn new(transport: &'a Arc<Transport>, call: Result<Call>) -> Self {
        Self { transport, call }
    }

    /// Changes a record and never creates one; [`NotFound`](crate::ErrorKind::NotFound) then.
    pub fn update_only(mut self) -> Self {
        self.call = self.call.map(|call| call.query("updateOnly", "true"));
        self
    }

    /// Lets the client repeat the call when its outcome is unknown. That is safe where the field
    /// is unique and writing the same values a second time does no harm.
    pub fn repeatable(mut self) -> Self {
        self.call = self.call.map(Call::repeatable);
        self
    }

    /// Sends it.
    pub async fn send(self) -> Result<Upserted> {
        let reply = self.transport.whole(&self.call?, JSON_LIMIT).await?;
        let status = reply.status;
        if status == StatusCode::NO_CONTENT {
            return Ok(Upserted {
                id: None,
                created: false,
            });
        }
        let saved: SavedReply = reply.json()?;
        Ok(Upserted {
            id: Some(saved.id),
            created: saved.created || status == StatusCode::CREATED,
        })
    }
}

impl<'a> IntoFuture for Upsert<'a> {
    type Output = Result<Upserted>;
    type IntoFuture = BoxFuture<'a, Result<Upserted>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
