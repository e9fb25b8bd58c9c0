//! The parts of a content: read one after the other, and held against what Box has of them.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use sha1::{Digest as _, Sha1};
use tokio::time::timeout;

use super::{
    chunked::OPERATION,
    content::{ByteStream, Content, hex, update},
    session::UploadPart,
};
use crate::error::{Error, ErrorKind, Result};

/// No memory is set aside for bytes that have not come yet beyond this.
const FIRST_CAPACITY: u64 = 8 * 1024 * 1024;

/// What is read, and how.
pub(super) struct Reading<'a> {
    pub(super) content: &'a Content,
    pub(super) part_size: u64,
    /// How long the content may pause.
    pub(super) idle: Duration,
}

/// Reads the content from its beginning to its end, or only what is missing where its SHA-1 is
/// known.
pub(super) struct Reader<'a> {
    reading: Reading<'a>,
    stored: BTreeMap<u64, UploadPart>,
    stream: Option<ByteStream>,
    /// What came beyond the last part.
    rest: Bytes,
    /// Where the next part begins.
    at: u64,
    hash: Option<Sha1>,
}

impl<'a> Reader<'a> {
    /// `hashed` tells whether the SHA-1 of all is still to be found.
    pub(super) fn new(
        reading: Reading<'a>,
        stored: BTreeMap<u64, UploadPart>,
        hashed: bool,
    ) -> Self {
        Self {
            reading,
            hash: hashed.then(Sha1::new),
            stored,
            stream: None,
            rest: Bytes::new(),
            at: 0,
        }
    }

    pub(super) async fn next(&mut self) -> Result<Step> {
        let size = self.reading.content.size();
        while self.at < size {
            let range = self.at..size.min(self.at.saturating_add(self.reading.part_size));
            let stored = self.stored.remove(&self.at);
            self.at = range.end;
            if stored.is_some() && self.skips() {
                (self.stream, self.rest) = (None, Bytes::new());
                continue;
            }
            let bytes = self.read(range.clone()).await?;
            let mut sha1 = Sha1::new();
            update(&mut sha1, &bytes).await;
            let sha1 = sha1.finalize();
            if let Some(hash) = &mut self.hash {
                update(hash, &bytes).await;
            }
            match stored {
                Some(stored) if stored.is(&sha1) => {}
                Some(_) => {
                    return Err(Error::new(ErrorKind::Integrity, OPERATION)
                        .detail("the session has a part of another content"));
                }
                None => {
                    return Ok(Step::Part(Part {
                        offset: range.start,
                        bytes,
                        sha1: sha1.into(),
                    }));
                }
            }
        }
        self.end().await?;
        let sha1 = self.hash.take().map(|hash| hex(&hash.finalize()));
        Ok(Step::End(sha1))
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        if self.stream.is_none() {
            let end = self.end_of_run(range.end);
            let opened = self
                .reading
                .content
                .open(OPERATION, range.start..end, self.reading.idle);
            self.stream = Some(opened.await?);
        }
        let length = range.end - range.start;
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        if self.rest.is_empty() {
            self.rest = self.chunk().await?;
        }
        if self.rest.len() >= wanted {
            return Ok(self.rest.split_to(wanted));
        }
        let mut bytes = BytesMut::with_capacity(length.min(FIRST_CAPACITY) as usize);
        loop {
            let piece = self
                .rest
                .split_to(self.rest.len().min(wanted - bytes.len()));
            bytes.extend_from_slice(&piece);
            if bytes.len() == wanted {
                return Ok(bytes.freeze());
            }
            self.rest = self.chunk().await?;
        }
    }

    /// Up to where the content is read without a gap.
    fn end_of_run(&self, from: u64) -> u64 {
        let gap = self.stored.range(from..).next().map(|(offset, _)| *offset);
        gap.filter(|_| self.skips())
            .unwrap_or(self.reading.content.size())
    }

    /// Whether what Box has need not be read.
    fn skips(&self) -> bool {
        self.hash.is_none()
            && self.reading.content.is_lasting()
            && !self.reading.content.is_in_memory()
    }

    async fn chunk(&mut self) -> Result<Bytes> {
        loop {
            match self.next_chunk().await? {
                Some(chunk) if chunk.is_empty() => {}
                Some(chunk) => return Ok(chunk),
                None => return Err(failed("the content is shorter than announced")),
            }
        }
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        let Some(stream) = &mut self.stream else {
            return Ok(None);
        };
        let chunk = timeout(self.reading.idle, stream.next())
            .await
            .map_err(|_| Error::new(ErrorKind::Timeout, OPERATION))?
            .transpose();
        chunk.map_err(|cause| Error::new(ErrorKind::Content, OPERATION).cause(cause))
    }

    /// A content that goes on is not the one that was announced.
    async fn end(&mut self) -> Result<()> {
        let mut more = !self.rest.is_empty();
        while !more && let Some(chunk) = self.next_chunk().await? {
            more = !chunk.is_empty();
        }
        if more {
            return Err(failed("the content is longer than announced"));
        }
        Ok(())
    }
}

/// A piece of the content, in memory until Box has it.
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
    pub(super) sha1: [u8; 20],
}

pub(super) enum Step {
    Part(Part),
    /// All of the content has been read.
    End(Option<String>),
}

impl Part {
    /// What Box says it has stored has to be what was sent. One guide prints it unwrapped.
    pub(super) fn confirmed(&self, answer: Value) -> Result<UploadPart> {
        let part = answer.get("part").unwrap_or(&answer);
        let part = UploadPart::deserialize(part)
            .map_err(|cause| Error::new(ErrorKind::Decode, OPERATION).sent().cause(cause))?;
        self.check(part)
    }

    pub(super) fn check(&self, stored: UploadPart) -> Result<UploadPart> {
        let is_same = stored.offset == self.offset
            && stored.size == self.bytes.len() as u64
            && stored.is(&self.sha1);
        if is_same {
            return Ok(stored);
        }
        Err(Error::new(ErrorKind::Integrity, OPERATION)
            .detail("Box has stored another part than was sent"))
    }
}

impl UploadPart {
    fn is(&self, sha1: &[u8]) -> bool {
        self.sha1
            .as_deref()
            .is_none_or(|stored| stored.eq_ignore_ascii_case(&hex(sha1)))
    }
}

fn failed(cause: &'static str) -> Error {
    Error::new(ErrorKind::Content, OPERATION).cause(cause)
}
