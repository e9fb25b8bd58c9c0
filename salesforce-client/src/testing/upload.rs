use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::base64_json::VersionJson;
use super::blob::Blob;
use super::multipart::VersionForm;
use super::refusal::Refusal;
use super::reply::Aborted;
use super::store::Values;

/// A new file as it was sent, not yet in the org.
#[derive(Debug)]
pub(super) struct StagedVersion {
    pub(super) fields: Values,
    pub(super) blob: Option<Blob>,
}

/// What came with a request.
pub(super) enum Body {
    Buffered(Bytes),
    Version(StagedVersion),
    Refused(Refusal),
}

/// What to do with the body of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Plan {
    /// Read past it: the answer is settled.
    Discard,
    Buffer,
    /// It is the data of a Bulk job, which may be longer.
    Csv,
    /// It is a new file, in one of its two forms.
    Version {
        keep: bool,
        accept_chunked: bool,
        is_user_interface: bool,
    },
}

pub(super) struct Received {
    pub(super) body: Body,
    pub(super) length: u64,
    /// The beginning, for the log.
    pub(super) start: Vec<u8>,
}

const BUFFERED_AT_MOST: u64 = 52_428_800;
/// 150,000,000 bytes of base64.
const CSV_AT_MOST: u64 = 112_500_000;
const LOGGED_AT_MOST: usize = 64 << 10;

/// Reads a body to its end. A body that breaks off before has no effect at all.
pub(super) async fn receive(
    mut incoming: Incoming,
    headers: &HeaderMap,
    plan: Plan,
    reset_after: Option<u64>,
) -> Result<Received, Aborted> {
    let mut reader = Reader::new(headers, plan);
    let mut start = Vec::new();
    let mut length = 0;
    while let Some(frame) = incoming.frame().await {
        let Ok(chunk) = frame.map_err(|_| Aborted)?.into_data() else {
            continue;
        };
        length += chunk.len() as u64;
        if reset_after.is_some_and(|after| length > after) {
            return Err(Aborted);
        }
        let room = LOGGED_AT_MOST.saturating_sub(start.len()).min(chunk.len());
        start.extend_from_slice(&chunk[..room]);
        reader.feed(&chunk, length);
    }
    Ok(Received {
        body: reader.finish(),
        length,
        start,
    })
}

enum Reader {
    Settled(Refusal),
    Discard,
    Buffer(Vec<u8>),
    Csv(Vec<u8>),
    Json(Box<VersionJson>),
    Form(Box<VersionForm>),
}

impl Reader {
    fn new(headers: &HeaderMap, plan: Plan) -> Self {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if header(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Self::Settled(Refusal::media_type());
        }
        let Plan::Version {
            keep,
            accept_chunked,
            is_user_interface,
        } = plan
        else {
            return match plan {
                Plan::Csv => Self::Csv(Vec::new()),
                Plan::Buffer => Self::Buffer(Vec::new()),
                _ => Self::Discard,
            };
        };
        if header(CONTENT_LENGTH).is_none() && !accept_chunked {
            let text = "The request must have a Content-Length";
            return Self::Settled(Refusal::new(411, "LENGTH_REQUIRED", text));
        }
        let content_type = header(CONTENT_TYPE).unwrap_or_default();
        let lower = content_type.to_ascii_lowercase();
        if lower.starts_with("application/json") && !is_user_interface {
            return Self::Json(Box::new(VersionJson::new(keep)));
        }
        if !lower.starts_with("multipart/form-data") {
            return Self::Settled(Refusal::media_type());
        }
        match VersionForm::new(content_type, keep) {
            Ok(form) if is_user_interface => Self::Form(Box::new(form.user_interface())),
            Ok(form) => Self::Form(Box::new(form)),
            Err(refusal) => Self::Settled(refusal),
        }
    }

    fn feed(&mut self, chunk: &[u8], length: u64) {
        // Only the form may be longer: it is the way for files of all sizes.
        if length > BUFFERED_AT_MOST && matches!(self, Self::Buffer(_) | Self::Json(_)) {
            *self = Self::Settled(Refusal::too_large());
        }
        if length > CSV_AT_MOST && matches!(self, Self::Csv(_)) {
            let text = "The data of a job is larger than 150 MB as base64";
            *self = Self::Settled(Refusal::new(413, "REQUEST_ENTITY_TOO_LARGE", text));
        }
        match self {
            Self::Settled(_) | Self::Discard => {}
            Self::Buffer(buffer) | Self::Csv(buffer) => buffer.extend_from_slice(chunk),
            Self::Json(json) => json.feed(chunk),
            Self::Form(form) => form.feed(chunk),
        }
    }

    fn finish(self) -> Body {
        let staged = match self {
            Self::Settled(refusal) => Err(refusal),
            Self::Discard => return Body::Buffered(Bytes::new()),
            Self::Buffer(buffer) | Self::Csv(buffer) => return Body::Buffered(Bytes::from(buffer)),
            Self::Json(json) => json.finish(),
            Self::Form(form) => form.finish(),
        };
        staged.map_or_else(Body::Refused, Body::Version)
    }
}
