//! What the fake was sent.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, PoisonError},
};

use serde::{Serialize, Serializer};

use super::head::Head;

const KEPT_REQUESTS: usize = 10_000;
pub(super) const KEPT_BODY: usize = 64 * 1024;

/// A request as it arrived.
#[derive(Clone, Serialize)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The HTTP method.
    pub method: String,
    /// The path, still percent-encoded, without the query.
    pub path: String,
    /// The query's pairs, decoded, in order.
    pub query: Vec<(String, String)>,
    /// The headers with lower-case names, in order. Of `authorization` only the scheme is kept.
    pub headers: Vec<(String, String)>,
    /// The first 64 KiB of the body.
    #[serde(serialize_with = "as_text")]
    pub body: Vec<u8>,
    /// How long the body really was.
    pub content_length: u64,
    /// The status answered; `None` while there is no answer, or when a fault kept it back.
    pub status: Option<u16>,
}

impl RecordedRequest {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        Some(value)
    }
}

/// Bodies of token requests hold secrets.
impl fmt::Debug for RecordedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedRequest")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("content_length", &self.content_length)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<Records>);

#[derive(Debug, Default)]
struct Records {
    /// The number of the oldest request kept.
    first: u64,
    kept: VecDeque<RecordedRequest>,
}

impl Recorder {
    /// Notes a request's arrival and gives its number.
    pub(super) fn arrived(&self, head: &Head) -> u64 {
        let request = RecordedRequest {
            method: head.method.clone(),
            path: head.path.clone(),
            query: head.query.clone(),
            headers: head.redacted_headers(),
            body: Vec::new(),
            content_length: 0,
            status: None,
        };
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if records.kept.len() == KEPT_REQUESTS {
            records.kept.pop_front();
            records.first += 1;
        }
        records.kept.push_back(request);
        records.first + records.kept.len() as u64 - 1
    }

    pub(super) fn update(&self, number: u64, change: impl FnOnce(&mut RecordedRequest)) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = number
            .checked_sub(records.first)
            .and_then(|i| usize::try_from(i).ok());
        if let Some(request) = index.and_then(|index| records.kept.get_mut(index)) {
            change(request);
        }
    }

    pub(super) fn all(&self) -> Vec<RecordedRequest> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .kept
            .iter()
            .cloned()
            .collect()
    }

    pub(super) fn clear(&self) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.first += records.kept.len() as u64;
        records.kept.clear();
    }
}

fn as_text<S: Serializer>(body: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(body))
}
