//! A file's bytes: two hosts, ranges, resumption, and the check against SHA-1.

mod content_range;
mod open;
mod parallel;

use std::{fmt, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::stream;
use sha1::{Digest, Sha1};
use tracing::debug;

use self::{
    open::{Body, Source, open},
    parallel::{Ranges, first, ranges},
};
use crate::{
    FileId, FileVersionId, SharedLinkAccess,
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

const OPERATION: &str = "files.download";

/// Asks for a file's bytes. From [`Files::download`](crate::Files::download).
#[must_use = "nothing is sent before send()"]
pub struct DownloadRequest {
    transport: Arc<Transport>,
    source: Source,
    sha1: Option<String>,
    parallel: usize,
}

impl DownloadRequest {
    pub(crate) fn new(transport: Arc<Transport>, file: &FileId) -> Self {
        Self {
            transport,
            source: Source::new(file),
            sha1: None,
            parallel: 1,
        }
    }

    /// A certain version instead of the current one.
    pub fn version(mut self, version: &FileVersionId) -> Self {
        self.source.version = Some(version.clone());
        self
    }

    /// Only the bytes from `first` to `last`, both included and counted from 0.
    pub fn range(mut self, first: u64, last: u64) -> Self {
        self.source.from = first;
        self.source.to = Some(last);
        self
    }

    /// The SHA-1 that the whole file must have, in hex. The stream then ends in
    /// [`Integrity`](ErrorKind::Integrity) instead of its normal end when the bytes differ. Has no
    /// effect on a range.
    ///
    /// Without it, a body that was taken up again is only known to have the right length.
    pub fn expect_sha1(mut self, sha1: impl Into<String>) -> Self {
        self.sha1 = Some(sha1.into());
        self
    }

    /// Fetches so many ranges at once, for a file that one connection is too slow for. They are
    /// handed out in order. Up to so many ranges of 8 MiB are in memory, and one that is handed
    /// out; and Box is asked for each, which counts against its limits. Give
    /// [`expect_sha1`](Self::expect_sha1) or [`version`](Self::version) with it: the ranges of a
    /// file that changes meanwhile may be those of two versions of the same size.
    ///
    /// Has no effect where the host heeds no ranges.
    pub fn parallel(mut self, ranges: usize) -> Self {
        self.parallel = ranges.max(1);
        self
    }

    /// Opens the file as one who holds this link. The link is shown to the API alone.
    pub fn shared_link(mut self, link: SharedLinkAccess) -> Self {
        self.source.shared_link = Some(link);
        self
    }

    /// Asks; returns when the first byte is about to come.
    pub async fn send(self) -> Result<Download> {
        let Self {
            transport,
            source,
            sha1,
            parallel,
        } = self;
        if source.to.is_some_and(|last| last < source.from) {
            return Err(
                Error::new(ErrorKind::Invalid, OPERATION).detail("the range ends before it begins")
            );
        }
        let sha1 = sha1
            .filter(|_| source.is_whole())
            .map(|expected| (Sha1::new(), expected));
        if parallel > 1
            && let Some(first) = first(&transport, &source).await?
        {
            return Ok(Download {
                total: Some(first.total),
                end: Some(first.end),
                at: source.from,
                body: None,
                ranges: Some(ranges(&transport, &source, first, parallel)),
                transport,
                source,
                sha1,
                breaks: 0,
                ended: false,
            });
        }
        let body = open(&transport, &source, source.from).await?;
        Ok(Download {
            transport,
            sha1,
            at: source.from,
            source,
            total: body.total,
            end: body.end,
            body: Some(body),
            ranges: None,
            breaks: 0,
            ended: false,
        })
    }
}

impl fmt::Debug for DownloadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownloadRequest")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// A file's bytes on their way. It stands on its own, so it can be handed to another task.
///
/// A body that breaks off is taken up again where it broke, for as long as each part brings
/// something: the client's [`RetryPolicy`](crate::RetryPolicy) counts breaks without a single byte
/// in between.
#[must_use]
pub struct Download {
    transport: Arc<Transport>,
    source: Source,
    /// Bytes of the whole file.
    total: Option<u64>,
    /// The offset in the file at which the wanted bytes end.
    end: Option<u64>,
    /// The offset in the file of the next byte to hand out.
    at: u64,
    body: Option<Body>,
    /// In place of the body where several ranges come at once.
    ranges: Option<Ranges>,
    sha1: Option<(Sha1, String)>,
    breaks: u32,
    ended: bool,
}

impl Download {
    /// How many bytes will come, if Box has said so.
    pub fn size(&self) -> Option<u64> {
        Some(self.end?.saturating_sub(self.source.from))
    }

    /// The next bytes, `None` after the last ones have been found right. After an error nothing
    /// more comes. A call that is dropped loses no bytes.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        let next = self.next().await;
        if !matches!(next, Ok(Some(_))) {
            self.ended = true;
            self.body = None;
            self.ranges = None;
        }
        next
    }

    /// The rest as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send + use<> {
        stream::try_unfold(self, |mut download| async move {
            Ok(download.chunk().await?.map(|chunk| (chunk, download)))
        })
    }

    /// All that is left, if it is no more than `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > limit {
                return Err(Error::new(ErrorKind::TooLarge, OPERATION));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(ranges) = &mut self.ranges {
            if let Some(chunk) = ranges.chunk().await? {
                self.took(&chunk);
                return Ok(Some(chunk));
            }
            return self.verify().map(|()| None);
        }
        while !self.is_complete() {
            let body = match &mut self.body {
                Some(body) => body,
                None => {
                    let body = self.resume().await?;
                    self.body.insert(body)
                }
            };
            match body.chunk().await {
                Ok(Some(chunk)) => {
                    let chunk = self.wanted(chunk);
                    if chunk.is_empty() {
                        continue;
                    }
                    self.breaks = 0;
                    self.took(&chunk);
                    return Ok(Some(chunk));
                }
                // Without any length an orderly end is the end.
                Ok(None) if self.end.is_none() => break,
                Ok(None) => self.broke(Error::new(ErrorKind::Transport, OPERATION).sent())?,
                Err(error) => self.broke(error)?,
            }
        }
        self.verify().map(|()| None)
    }

    fn took(&mut self, chunk: &[u8]) {
        self.at += chunk.len() as u64;
        if let Some((hash, _)) = &mut self.sha1 {
            hash.update(chunk);
        }
    }

    fn is_complete(&self) -> bool {
        self.end.is_some_and(|end| self.at >= end) || self.source.to.is_some_and(|to| self.at > to)
    }

    /// The part of a chunk that lies before the end: a server that ignores ranges sends more.
    fn wanted(&self, mut chunk: Bytes) -> Bytes {
        let end = self.end.unwrap_or(u64::MAX);
        let end = end.min(self.source.to.map_or(u64::MAX, |to| to.saturating_add(1)));
        chunk.truncate(usize::try_from(end - self.at).unwrap_or(usize::MAX));
        chunk
    }

    fn verify(&mut self) -> Result<()> {
        let Some((hash, expected)) = self.sha1.take() else {
            return Ok(());
        };
        if hex(&hash.finalize()).eq_ignore_ascii_case(&expected) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Integrity, OPERATION)
            .detail("the bytes do not have the SHA-1 of the file"))
    }

    fn broke(&mut self, error: Error) -> Result<()> {
        self.body = None;
        self.breaks += 1;
        debug!(%error, at = self.at, breaks = self.breaks, "the download broke off");
        if self.breaks >= self.transport.retry().max_attempts || !error.is_retryable() {
            return Err(error.after(self.breaks));
        }
        Ok(())
    }

    async fn resume(&mut self) -> Result<Body> {
        let mut waits = self.transport.retry().waits();
        if let Some(before) = self.breaks.checked_sub(1)
            && let Some(wait) = waits.nth(before as usize)
        {
            tokio::time::sleep(wait).await;
        }
        let body = open(&self.transport, &self.source, self.at).await?;
        if self
            .total
            .zip(body.total)
            .is_some_and(|(was, is)| was != is)
        {
            return Err(Error::new(ErrorKind::Integrity, OPERATION)
                .detail("the file changed while it was read"));
        }
        self.total = self.total.or(body.total);
        self.end = self.end.or(body.end);
        Ok(body)
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("source", &self.source)
            .field("end", &self.end)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}
