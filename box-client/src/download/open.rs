use bytes::Bytes;
use http::{
    Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE},
};

use super::{OPERATION, content_range::ContentRange};
use crate::{
    FileId, FileVersionId, SharedLinkAccess,
    call::{Call, Target},
    error::{Error, ErrorKind, Result},
    transport::{Reply, Transport},
};

/// Box sends the caller on once; its download hosts may do so among themselves.
const HOPS: u32 = 5;

/// What to read.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) file: FileId,
    pub(super) version: Option<FileVersionId>,
    pub(super) from: u64,
    /// The last byte wanted, counted from 0.
    pub(super) to: Option<u64>,
    pub(super) shared_link: Option<SharedLinkAccess>,
}

/// A running body that gives the bytes from the offset that was asked for.
pub(super) struct Body {
    reply: Reply,
    /// Bytes that come before that offset.
    skip: u64,
    /// Whether the host heeded the range.
    pub(super) is_part: bool,
    /// Bytes of the whole file.
    pub(super) total: Option<u64>,
    /// The offset in the file at which the wanted bytes end.
    pub(super) end: Option<u64>,
}

impl Source {
    pub(super) fn new(file: &FileId) -> Self {
        Self {
            file: file.clone(),
            version: None,
            from: 0,
            to: None,
            shared_link: None,
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.from == 0 && self.to.is_none()
    }

    fn call(&self) -> Result<Call> {
        let path = ["files", self.file.as_str(), "content"];
        Call::new(OPERATION, Method::GET, path)
            .query_opt("version", self.version.as_ref().map(FileVersionId::as_str))
            .shared_link(self.shared_link.as_ref())
    }

    fn range(&self, at: u64) -> Option<String> {
        match self.to {
            Some(to) => Some(format!("bytes={at}-{to}")),
            None if at > 0 => Some(format!("bytes={at}-")),
            None => None,
        }
    }
}

impl Body {
    fn new(reply: Reply, source: &Source, at: u64) -> Result<Self> {
        let until = |total: u64| match source.to {
            Some(to) => total.min(to.saturating_add(1)),
            None => total,
        };
        if reply.status() != StatusCode::PARTIAL_CONTENT {
            // Whether the download host heeds ranges is not documented: what is too much is
            // dropped.
            let total = header(&reply, &CONTENT_LENGTH).and_then(|text| text.parse().ok());
            return Ok(Self {
                reply,
                skip: at,
                is_part: false,
                total,
                end: total.map(until),
            });
        }
        let range = header(&reply, &CONTENT_RANGE)
            .and_then(ContentRange::parse)
            .ok_or_else(|| {
                Error::new(ErrorKind::Integrity, OPERATION).detail("a part without its place")
            })?;
        if range.first != at || source.to.is_some_and(|to| range.last > to) {
            return Err(Error::new(ErrorKind::Integrity, OPERATION)
                .detail("another part than the one asked for"));
        }
        Ok(Self {
            reply,
            skip: 0,
            is_part: true,
            total: range.total,
            end: Some(range.total.map_or(range.last + 1, until)),
        })
    }

    /// The next bytes, which can be none when all were skipped.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let Some(mut chunk) = self.reply.chunk().await? else {
            return Ok(None);
        };
        let skipped = usize::try_from(self.skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
        self.skip -= skipped as u64;
        Ok(Some(chunk.split_off(skipped)))
    }
}

/// Asks the API, which names the host that has the bytes, and then that host, without the token.
pub(super) async fn open(transport: &Transport, source: &Source, at: u64) -> Result<Body> {
    let range = source.range(at);
    let ranged = |call: Call| match &range {
        Some(range) => call.text_header(RANGE, range),
        None => Ok(call),
    };
    let mut reply = transport.send(&ranged(source.call()?)?).await?;
    for _ in 0..HOPS {
        if reply.status() == StatusCode::ACCEPTED {
            // Without the time to come back; its body is not the file's.
            return Err(Error::new(ErrorKind::NotReady, OPERATION).sent());
        }
        if !reply.status().is_redirection() {
            return Body::new(reply, source, at);
        }
        let encrypted = transport.hosts().api.scheme() == "https";
        let url = reply
            .redirect()
            .filter(|url| url.scheme() == "https" || (url.scheme() == "http" && !encrypted))
            .ok_or_else(|| {
                Error::new(ErrorKind::Decode, OPERATION).detail("a redirect to nowhere")
            })?;
        let call = Call::to(OPERATION, Method::GET, Target::Given(url));
        reply = transport.send(&ranged(call)?).await?;
    }
    Err(Error::new(ErrorKind::Decode, OPERATION).detail("one redirect after the other"))
}

fn header<'a>(reply: &'a Reply, name: &http::HeaderName) -> Option<&'a str> {
    reply.header(name.as_str())
}
