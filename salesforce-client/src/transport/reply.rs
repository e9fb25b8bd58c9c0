//! What Salesforce answered: its head, and its body as it comes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header::CONTENT_LENGTH};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::JSON_LIMIT;
use crate::{
    api_error::ApiErrors,
    classify::kind_of,
    error::{Error, ErrorKind, Result},
    retry::retry_after,
};

/// 200 records can each have several errors; what a gateway sends beyond this is not worth reading.
const ERROR_BODY_LIMIT: usize = 1024 * 1024;
/// So many idle timeouts a whole answer may take.
const DRIPS: u32 = 10;
/// What is set aside for a body at once because an answer says that it is so long.
const BELIEVED_LENGTH: usize = 4 * 1024 * 1024;

/// How much of an answer belongs to its attempt.
#[derive(Clone, Copy)]
pub(super) enum Read {
    Head,
    /// The body as well, of no more bytes than this.
    Body(usize),
}

/// An answer that is no failure.
pub(crate) struct Reply {
    response: reqwest::Response,
    operation: &'static str,
    idle: Duration,
    /// Of one that was read as a whole.
    body: Bytes,
}

/// An answer that is no failure, with its body.
pub(crate) struct Whole {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    operation: &'static str,
}

impl Whole {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|cause| {
            Error::new(ErrorKind::Decode, self.operation)
                .sent()
                .cause(cause)
        })
    }
}

impl Reply {
    pub(super) fn new(
        operation: &'static str,
        response: reqwest::Response,
        idle: Duration,
    ) -> Self {
        Self {
            response,
            operation,
            idle,
            body: Bytes::new(),
        }
    }

    /// The same with the body that was read.
    pub(super) fn into_whole(mut self) -> Whole {
        Whole {
            status: self.status(),
            headers: std::mem::take(self.response.headers_mut()),
            body: self.body,
            operation: self.operation,
        }
    }

    pub(super) async fn with_body(mut self, read: Read) -> Result<Self> {
        if let Read::Body(limit) = read {
            self.body = self.bytes(limit).await?;
        }
        Ok(self)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH.as_str())?.parse().ok()
    }

    /// The next piece of the body, `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        timeout(self.idle, self.response.chunk())
            .await
            .map_err(|_| Error::new(ErrorKind::Timeout, self.operation).sent())?
            .map_err(|cause| broken(self.operation, cause))
    }

    /// The whole body, if it is no longer than `limit`. One that only drips in has an end too.
    pub(crate) async fn bytes(&mut self, limit: usize) -> Result<Bytes> {
        let (whole, operation) = (self.idle.saturating_mul(DRIPS), self.operation);
        timeout(whole, self.gather(limit))
            .await
            .map_err(|_| Error::new(ErrorKind::Timeout, operation).sent())?
    }

    async fn gather(&mut self, limit: usize) -> Result<Bytes> {
        let length = self.content_length().unwrap_or(0);
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        if first.len() as u64 == length && first.len() <= limit {
            return Ok(first);
        }
        let believed = usize::try_from(length).unwrap_or(usize::MAX);
        let mut body = BytesMut::with_capacity(believed.min(BELIEVED_LENGTH).min(limit));
        let mut next = Some(first);
        while let Some(chunk) = next {
            if body.len() + chunk.len() > limit {
                return Err(Error::new(ErrorKind::TooLarge, self.operation).sent());
            }
            body.extend_from_slice(&chunk);
            next = self.chunk().await?;
        }
        Ok(body.freeze())
    }

    pub(crate) async fn json<T: DeserializeOwned>(mut self) -> Result<T> {
        let body = self.bytes(JSON_LIMIT).await?;
        serde_json::from_slice(&body).map_err(|cause| {
            Error::new(ErrorKind::Decode, self.operation)
                .sent()
                .cause(cause)
        })
    }

    pub(super) async fn into_error(mut self) -> Error {
        let wait = retry_after(self.headers(), Timestamp::now());
        // A body that breaks off still leaves the status to report. Nobody waits long for it.
        let read = timeout(self.idle, self.gather(ERROR_BODY_LIMIT)).await;
        let body = read.ok().and_then(Result::ok).unwrap_or_default();
        let errors = ApiErrors::read(&body);
        let (kind, detail) = kind_of(self.status(), &errors);
        let error = Error::new(kind, self.operation)
            .answer(self.status().as_u16(), errors)
            .requested_as(self.headers())
            .wait(wait);
        match detail {
            Some(detail) => error.detail(detail),
            None => error,
        }
    }
}

pub(super) fn broken(operation: &'static str, cause: reqwest::Error) -> Error {
    // A URL can hold a whole query with people's names in it.
    let cause = cause.without_url();
    if cause.is_builder() {
        return Error::new(ErrorKind::Invalid, operation).cause(cause);
    }
    let kind = if cause.is_timeout() {
        ErrorKind::Timeout
    } else {
        ErrorKind::Transport
    };
    let error = Error::new(kind, operation);
    let error = if cause.is_connect() {
        error
    } else {
        error.sent()
    };
    error.cause(cause)
}
