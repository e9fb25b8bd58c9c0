use std::collections::VecDeque;
use std::fmt;

use http::request::Parts;
use serde::Serialize;

/// A request that the fake was sent.
#[derive(Clone, Serialize)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// Method.
    pub method: String,
    /// Path as it was sent, without the query.
    pub path: String,
    /// Names and values of the query, decoded, in order.
    pub query: Vec<(String, String)>,
    /// Headers in order; of `Authorization` only the scheme.
    pub headers: Vec<(String, String)>,
    /// The first 64 KiB of the body; what is not UTF-8 is replaced.
    pub body: String,
    /// Length of the whole body.
    pub content_length: u64,
    /// Status that was answered; absent if no answer was sent, or not yet.
    pub status: Option<u16>,
}

impl RecordedRequest {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn new(head: &Parts, query: Vec<(String, String)>) -> Self {
        let headers = head.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            let value = match name.as_str() {
                "authorization" => value.split(' ').next().unwrap_or_default().to_owned(),
                _ => value.into_owned(),
            };
            (name.as_str().to_owned(), value)
        });
        Self {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query,
            headers: headers.collect(),
            body: String::new(),
            content_length: 0,
            status: None,
        }
    }
}

impl fmt::Debug for RecordedRequest {
    /// Without the body, which can hold tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedRequest")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("content_length", &self.content_length)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// The last requests.
#[derive(Default)]
pub(super) struct Log {
    requests: VecDeque<RecordedRequest>,
    /// Number of the first request that is still here.
    first: u64,
}

const KEPT: usize = 10_000;

impl Log {
    pub(super) fn push(&mut self, request: RecordedRequest) -> u64 {
        if self.requests.len() == KEPT {
            self.requests.pop_front();
            self.first += 1;
        }
        self.requests.push_back(request);
        self.first + self.requests.len() as u64 - 1
    }

    pub(super) fn answered(&mut self, number: u64, status: u16) {
        let place = number
            .checked_sub(self.first)
            .and_then(|place| usize::try_from(place).ok());
        if let Some(request) = place.and_then(|place| self.requests.get_mut(place)) {
            request.status = Some(status);
        }
    }

    pub(super) fn clear(&mut self) {
        self.first += self.requests.len() as u64;
        self.requests.clear();
    }

    pub(super) fn all(&self) -> Vec<RecordedRequest> {
        self.requests.iter().cloned().collect()
    }
}
