//! A file's bytes: two hosts, ranges, resumption, and the check against SHA-1.

use std::fmt;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use http::{
    HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE},
};
use sha1::{Digest, Sha1};
use tokio::time::Instant;
use tracing::debug;

use crate::{
    FileId, FileVersionId,
    call::{Call, Target},
    error::{Error, ErrorKind, Result},
    transport::{Reply, Transport},
};

const OPERATION: &str = "files.download";
/// A body may break this often without a single byte in between before the client gives up.
const BREAKS_IN_A_ROW: u32 = 5;

/// Asks for a file's bytes. From [`Files::download`](crate::Files::download).
#[must_use = "nothing is sent before send()"]
pub struct DownloadRequest<'a> {
    transport: &'a Transport,
    source: Source,
}

#[derive(Clone, Debug)]
struct Source {
    file: FileId,
    version: Option<FileVersionId>,
    from: u64,
    /// The last byte wanted, counted from 0.
    to: Option<u64>,
    sha1: Option<String>,
}

impl fmt::Debug for DownloadRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownloadRequest")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl<'a> DownloadRequest<'a> {
    pub(crate) fn new(transport: &'a Transport, file: &FileId) -> Self {
        let source = Source {
            file: file.clone(),
            version: None,
            from: 0,
            to: None,
            sha1: None,
        };
        Self { transport, source }
    }

    /// A certain version instead of the current one.
    pub fn version(mut self, version: &FileVersionId) -> Self {
        self.source.version = Some(version.clone());
        self
    }

    /// Only the bytes from `first` to `last`, both included.
    pub fn range(mut self, first: u64, last: u64) -> Self {
        self.source.from = first;
        self.source.to = Some(last);
        self
    }

    /// The SHA-1 that the whole file must have, in hex. The stream then ends in
    /// [`Integrity`](ErrorKind::Integrity) instead of its normal end when the bytes differ. Has no
    /// effect on a range.
    pub fn expect_sha1(mut self, sha1: impl Into<String>) -> Self {
        self.source.sha1 = Some(sha1.into());
        self
    }

    /// Asks; returns when the first byte is about to come.
    pub async fn send(self) -> Result<Download<'a>> {
        let Self { transport, source } = self;
        let whole = source.from == 0 && source.to.is_none();
        let reply = open(transport, &source, source.from).await?;
        let size = match reply.status() {
            StatusCode::PARTIAL_CONTENT => content_range(&reply)?.length(),
            _ if whole => reply
                .header(CONTENT_LENGTH.as_str())
                .and_then(|text| text.parse().ok()),
            // The download host may ignore ranges: what is not wanted is skipped.
            _ => None,
        };
        let skip = if reply.status() == StatusCode::PARTIAL_CONTENT {
            0
        } else {
            source.from
        };
        Ok(Download {
            transport,
            sha1: source
                .sha1
                .clone()
                .filter(|_| whole)
                .map(|expected| (Sha1::new(), expected)),
            at: source.from,
            source,
            size,
            skip,
            reply: Some(reply),
            breaks: 0,
            ended: false,
        })
    }
}

/// A file's bytes on their way. A body that breaks off is taken up again where it broke.
#[must_use]
pub struct Download<'a> {
    transport: &'a Transport,
    source: Source,
    size: Option<u64>,
    /// The offset in the file of the next byte to hand out.
    at: u64,
    /// Bytes of the running body that come before `at`.
    skip: u64,
    reply: Option<Reply>,
    sha1: Option<(Sha1, String)>,
    breaks: u32,
    ended: bool,
}

impl fmt::Debug for Download<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("source", &self.source)
            .field("size", &self.size)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<'a> Download<'a> {
    /// How many bytes will come, if Box has said so.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The next bytes, `None` after the last ones have been found right. After an error nothing
    /// more comes.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        let next = self.next().await;
        self.ended = !matches!(next, Ok(Some(_)));
        next
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let mut reply = match self.reply.take() {
                Some(reply) => reply,
                None => self.resume().await?,
            };
            match reply.chunk().await {
                Ok(Some(chunk)) => {
                    self.reply = Some(reply);
                    let chunk = self.wanted(chunk);
                    if chunk.is_empty() {
                        if self.is_complete() {
                            return self.finish();
                        }
                        continue;
                    }
                    self.breaks = 0;
                    self.at += chunk.len() as u64;
                    if let Some((hash, _)) = &mut self.sha1 {
                        hash.update(&chunk);
                    }
                    return Ok(Some(chunk));
                }
                Ok(None) if self.is_complete() => return self.finish(),
                Ok(None) => self.broken(Error::new(ErrorKind::Transport, OPERATION).sent())?,
                Err(error) => self.broken(error)?,
            }
        }
    }

    /// The part of a chunk that was asked for.
    fn wanted(&mut self, mut chunk: Bytes) -> Bytes {
        let skipped = self.skip.min(chunk.len() as u64);
        self.skip -= skipped;
        let mut chunk = chunk.split_off(skipped as usize);
        if let Some(to) = self.source.to {
            let left = (to + 1).saturating_sub(self.at);
            chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        chunk
    }

    fn is_complete(&self) -> bool {
        let read = self.at - self.source.from;
        match (self.size, self.source.to) {
            (Some(size), _) => read >= size,
            (None, Some(to)) => self.at > to,
            // Without any length an orderly end is the end.
            (None, None) => true,
        }
    }

    fn finish(&mut self) -> Result<Option<Bytes>> {
        let Some((hash, expected)) = self.sha1.take() else {
            return Ok(None);
        };
        let found = hex(&hash.finalize());
        if found.eq_ignore_ascii_case(&expected) {
            return Ok(None);
        }
        Err(Error::new(ErrorKind::Integrity, OPERATION)
            .detail("the bytes do not have the SHA-1 of the file"))
    }

    fn broken(&mut self, error: Error) -> Result<()> {
        self.breaks += 1;
        debug!(%error, at = self.at, breaks = self.breaks, "the download broke off");
        if self.breaks > BREAKS_IN_A_ROW || !error.is_retryable() {
            return Err(error.after(self.breaks));
        }
        Ok(())
    }

    async fn resume(&mut self) -> Result<Reply> {
        let policy = self.transport.retry();
        if let Some(wait) = policy.waits().nth(self.breaks.saturating_sub(1) as usize) {
            let started = Instant::now();
            tokio::time::sleep(wait.min(policy.deadline)).await;
            debug!(at = self.at, waited = ?started.elapsed(), "taking the download up again");
        }
        let reply = open(self.transport, &self.source, self.at).await?;
        self.skip = match reply.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = content_range(&reply)?;
                if range.first != self.at {
                    return Err(changed());
                }
                0
            }
            _ => self.at,
        };
        if self.source.from == 0 && self.source.to.is_none() {
            let total = match reply.status() {
                StatusCode::PARTIAL_CONTENT => content_range(&reply)?.total,
                _ => reply
                    .header(CONTENT_LENGTH.as_str())
                    .and_then(|text| text.parse().ok()),
            };
            if self
                .size
                .zip(total)
                .is_some_and(|(before, now)| before != now)
            {
                return Err(changed());
            }
        }
        Ok(reply)
    }

    /// The rest as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send + use<'a> {
        stream::try_unfold(self, |mut download| async move {
            Ok(download.chunk().await?.map(|chunk| (chunk, download)))
        })
    }

    /// All that is left, if it is no more than `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes> {
        let mut all = bytes::BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > limit {
                return Err(Error::new(ErrorKind::TooLarge, OPERATION));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}

/// Asks the API, which names the host that has the bytes, and then that host, without the token.
async fn open(transport: &Transport, source: &Source, from: u64) -> Result<Reply> {
    let mut call = Call::new(
        OPERATION,
        Method::GET,
        ["files", source.file.as_str(), "content"],
    )
    .query_opt(
        "version",
        source.version.as_ref().map(FileVersionId::as_str),
    );
    let range = match source.to {
        Some(to) => Some(format!("bytes={from}-{to}")),
        None if from > 0 => Some(format!("bytes={from}-")),
        None => None,
    };
    let range = range.map(|range| HeaderValue::try_from(range).expect("digits make a header"));
    if let Some(range) = &range {
        call = call.header(RANGE, range.clone());
    }
    let reply = transport.send(&call).await?;
    if !reply.status().is_redirection() {
        return Ok(reply);
    }
    let Some(url) = reply
        .redirect()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
    else {
        return Err(Error::new(ErrorKind::Decode, OPERATION).detail("a redirect to nowhere"));
    };
    let mut call = Call::to(OPERATION, Method::GET, Target::Given(url));
    if let Some(range) = range {
        call = call.header(RANGE, range);
    }
    let reply = transport.send(&call).await?;
    if reply.status().is_redirection() {
        return Err(Error::new(ErrorKind::Decode, OPERATION)
            .detail("the download host sent the caller on once more"));
    }
    Ok(reply)
}

struct ContentRange {
    first: u64,
    last: u64,
    total: Option<u64>,
}

impl ContentRange {
    fn length(&self) -> Option<u64> {
        (self.last + 1).checked_sub(self.first)
    }
}

fn content_range(reply: &Reply) -> Result<ContentRange> {
    parse_content_range(reply.header(CONTENT_RANGE.as_str())).ok_or_else(|| {
        Error::new(ErrorKind::Decode, OPERATION).detail("206 without a readable Content-Range")
    })
}

fn parse_content_range(text: Option<&str>) -> Option<ContentRange> {
    let (range, total) = text?.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let last = last.parse::<u64>().ok().filter(|last| *last < u64::MAX)?;
    Some(ContentRange {
        first: first.parse().ok()?,
        last,
        total: total.parse().ok(),
    })
}

fn changed() -> Error {
    Error::new(ErrorKind::Integrity, OPERATION).detail("the file changed while it was read")
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_or_refused() {
        let range = |text| parse_content_range(Some(text)).map(|r| (r.first, r.last, r.total));
        assert_eq!(range("bytes 5-9/10"), Some((5, 9, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((5, 9, None)));
        for bad in [
            "",
            "bytes */10",
            "5-9/10",
            "bytes 5-18446744073709551615/1",
            "bytes a-b/c",
        ] {
            assert!(range(bad).is_none(), "{bad}");
        }
    }
}
