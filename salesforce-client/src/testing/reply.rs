use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::Value;

use super::refusal::Refusal;

/// The connection is dropped here instead of answered.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped without an answer")]
pub(super) struct Aborted;

pub(super) type ReplyBody = UnsyncBoxBody<Bytes, Aborted>;

/// An answer of the org, before the transport gets it.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub(super) fn json(status: u16, body: &Value) -> Self {
        let reply = Self {
            status,
            headers: Vec::new(),
            body: Bytes::from(body.to_string()),
        };
        reply.with_header(CONTENT_TYPE.as_str(), "application/json;charset=UTF-8")
    }

    pub(super) fn binary(body: Bytes) -> Self {
        let reply = Self {
            status: 200,
            headers: Vec::new(),
            body,
        };
        reply.with_header(CONTENT_TYPE.as_str(), "application/octetstream")
    }

    pub(super) fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn corrupt(&mut self, at: u64) {
        let mut body = self.body.to_vec();
        let at = usize::try_from(at)
            .unwrap_or(usize::MAX)
            .min(body.len().saturating_sub(1));
        if let Some(byte) = body.get_mut(at) {
            *byte ^= 1;
        }
        self.body = Bytes::from(body);
    }

    pub(super) fn send(self, truncate_after: Option<u64>) -> Response<ReplyBody> {
        let length = self.body.len();
        let body = match truncate_after {
            Some(after) => {
                let after = usize::try_from(after).unwrap_or(usize::MAX).min(length);
                broken_off(self.body.slice(..after))
            }
            None => Full::new(self.body)
                .map_err(|never| match never {})
                .boxed_unsync(),
        };
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            let name = HeaderName::try_from(name);
            if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
                response.headers_mut().append(name, value);
            }
        }
        if truncate_after.is_some() {
            response
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        response
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        if refusal.errors.is_empty() {
            return Self::empty(refusal.status);
        }
        Self::json(refusal.status, &serde_json::json!(refusal.errors))
    }
}

fn broken_off(sent: Bytes) -> ReplyBody {
    // The pause lets the transport flush what was sent; an error at once would
    // take the buffered bytes with it.
    let error = stream::once(async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Err(Aborted)
    });
    let frames = stream::once(async move { Ok(Frame::data(sent)) }).chain(error);
    BodyExt::boxed_unsync(StreamBody::new(frames))
}
