use std::{fmt, marker::PhantomData, sync::Arc};

use futures_util::future::BoxFuture;
use http::{StatusCode, header::IF_MODIFIED_SINCE};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::{check_name, http_date};
use crate::{
    call::Call,
    error::Result,
    transport::{JSON_LIMIT, Transport},
};

/// Reads a record. From [`SObjects::get`](super::SObjects::get); it can be awaited as it is.
#[must_use = "nothing is sent before send() or .await"]
pub struct GetRecord<'a, T> {
    transport: &'a Arc<Transport>,
    call: Result<Call>,
    record: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for GetRecord<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetRecord").finish_non_exhaustive()
    }
}

impl<'a, T> GetRecord<'a, T> {
    pub(super) fn new(transport: &'a Arc<Transport>, call: Result<Call>) -> Self {
        Self {
            transport,
            call,
            record: PhantomData,
        }
    }

    /// Only these fields, instead of all that the user may see.
    pub fn fields<S: AsRef<str>>(mut self, fields: impl IntoIterator<Item = S>) -> Self {
        self.call = self.call.and_then(|call| {
            let mut list = String::new();
            for field in fields {
                check_name(call.operation, field.as_ref())?;
                if !list.is_empty() {
                    list.push(',');
                }
                list.push_str(field.as_ref());
            }
            Ok(call.query("fields", list))
        });
        self
    }

    /// Reads it as this type instead.
    pub fn read_as<U>(self) -> GetRecord<'a, U> {
        GetRecord::new(self.transport, self.call)
    }

    /// Only if it was changed after this time, in whole seconds.
    pub fn if_modified_since(self, at: Timestamp) -> GetIfModified<'a, T> {
        let call = self
            .call
            .and_then(|call| call.text_header(IF_MODIFIED_SINCE, http_date(at)));
        GetIfModified(Self { call, ..self })
    }
}

impl<T: DeserializeOwned> GetRecord<'_, T> {
    /// Sends it.
    pub async fn send(self) -> Result<T> {
        self.transport.json(&self.call?).await
    }
}

impl<'a, T: DeserializeOwned + 'a> IntoFuture for GetRecord<'a, T> {
    type Output = Result<T>;
    type IntoFuture = BoxFuture<'a, Result<T>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// Reads a record if it was changed. From [`GetRecord::if_modified_since`].
#[must_use = "nothing is sent before send()"]
#[derive(Debug)]
pub struct GetIfModified<'a, T>(GetRecord<'a, T>);

impl<T: DeserializeOwned> GetIfModified<'_, T> {
    /// Sends it; `None` when the record was not changed.
    pub async fn send(self) -> Result<Option<T>> {
        let reply = self.0.transport.whole(&self.0.call?, JSON_LIMIT).await?;
        if reply.status == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        reply.json().map(Some)
    }
}
