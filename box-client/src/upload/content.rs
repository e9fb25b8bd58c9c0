use std::{
    fmt,
    future::{Future, ready},
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use sha1::{Digest, Sha1};
use tokio::time::timeout;

use crate::error::{Error, ErrorKind, Result};

pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;
pub(super) type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, Cause>> + Send>>;

type Open =
    dyn Fn(Range<u64>) -> BoxFuture<'static, Result<ByteStream, Cause>> + Send + Sync + 'static;

/// Between two pieces of this that are hashed, others get their turn.
const HASHED_AT_ONCE: usize = 1 << 20;

/// What an upload sends: bytes in memory, a stream that exists once, or something that can be
/// opened again. What turns out longer or shorter than its size does not become a file.
///
/// ```
/// use box_client::Content;
/// use futures_util::stream;
///
/// # let (size, part) = (5, "bytes");
/// let in_memory = Content::from("bytes");
/// let once = Content::once(stream::iter([Ok::<_, std::io::Error>("bytes".into())]), 5);
/// let from_any_offset = Content::ranges(
///     move |range| async move {
///         // … open the file, seek to `range.start`, read up to `range.end`.
///         let read = part[range.start as usize..range.end as usize].into();
///         Ok::<_, std::io::Error>(stream::iter([Ok::<_, std::io::Error>(read)]))
///     },
///     size,
/// );
/// # let _ = (in_memory, once, from_any_offset);
/// ```
pub struct Content {
    source: Source,
    size: u64,
    sha1: Option<String>,
}

enum Source {
    Bytes(Bytes),
    /// Empty once it was taken.
    Once(Mutex<Option<ByteStream>>),
    Whole(Arc<Open>),
    Ranges(Arc<Open>),
}

impl Content {
    /// A stream of `size` bytes that cannot be had again: what fails after its first byte cannot
    /// be tried again, except in an upload in parts, which holds the parts on their way.
    pub fn once<S, E>(stream: S, size: u64) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Cause>,
    {
        let stream = Mutex::new(Some(boxed(stream)));
        Self::new(Source::Once(stream), size)
    }

    /// `size` bytes that `open` gives from the first one on, as often as it is called. It has to
    /// give the same ones each time.
    pub fn reopen<O, F, S, E>(open: O, size: u64) -> Self
    where
        O: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<S, E>> + Send + 'static,
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Cause>,
    {
        Self::new(Source::Whole(opener(move |_| open())), size)
    }

    /// `size` bytes of which `open` gives any range, as often as it is called: an upload in parts
    /// that is taken up again reads nothing that Box has already, if it knows the
    /// [`sha1`](Self::sha1) of all.
    pub fn ranges<O, F, S, E>(open: O, size: u64) -> Self
    where
        O: Fn(Range<u64>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<S, E>> + Send + 'static,
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Cause>,
    {
        Self::new(Source::Ranges(opener(open)), size)
    }

    /// The SHA-1 of all bytes, in hex. Box is told before they come and stores nothing else.
    /// Without it the bytes are hashed on their way and held against what Box says it has stored.
    #[must_use]
    pub fn sha1(mut self, sha1: impl Into<String>) -> Self {
        self.sha1 = Some(sha1.into());
        self
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn new(source: Source, size: u64) -> Self {
        Self {
            source,
            size,
            sha1: None,
        }
    }

    /// Whether it can be opened another time.
    pub(super) fn is_lasting(&self) -> bool {
        !matches!(self.source, Source::Once(_))
    }

    /// Whether reading it costs nothing.
    pub(super) fn is_in_memory(&self) -> bool {
        matches!(self.source, Source::Bytes(_))
    }

    /// The SHA-1, if it is known or can be without waiting for bytes.
    pub(super) async fn known_sha1(&self) -> Option<String> {
        match (&self.sha1, &self.source) {
            (Some(sha1), _) => Some(sha1.to_ascii_lowercase()),
            (None, Source::Bytes(bytes)) => {
                let mut hash = Sha1::new();
                update(&mut hash, bytes).await;
                Some(hex(&hash.finalize()))
            }
            _ => None,
        }
    }

    /// The bytes of the range; a content that exists once only from its beginning.
    pub(super) async fn open(
        &self,
        operation: &'static str,
        range: Range<u64>,
        idle: Duration,
    ) -> Result<ByteStream> {
        let late = |_| Error::new(ErrorKind::Timeout, operation);
        let failed = |cause: Cause| Error::new(ErrorKind::Content, operation).cause(cause);
        match &self.source {
            Source::Bytes(bytes) => {
                let part = slice(bytes, &range);
                Ok(boxed(stream::once(ready(Ok::<_, Cause>(part)))))
            }
            Source::Once(stream) => {
                let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
                let stream = stream.filter(|_| range.start == 0);
                stream.ok_or_else(|| failed("the content exists once and was used already".into()))
            }
            Source::Whole(open) => {
                let whole = timeout(idle, open(0..self.size)).await.map_err(late)?;
                Ok(from(whole.map_err(failed)?, range.start))
            }
            Source::Ranges(open) => timeout(idle, open(range))
                .await
                .map_err(late)?
                .map_err(failed),
        }
    }
}

impl<B: Into<Bytes>> From<B> for Content {
    fn from(bytes: B) -> Self {
        let bytes = bytes.into();
        let size = bytes.len() as u64;
        Self::new(Source::Bytes(bytes), size)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("size", &self.size)
            .field("is_lasting", &self.is_lasting())
            .finish_non_exhaustive()
    }
}

fn boxed<S, E>(stream: S) -> ByteStream
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<Cause>,
{
    Box::pin(stream.map(|item| item.map_err(Into::into)))
}

fn opener<O, F, S, E>(open: O) -> Arc<Open>
where
    O: Fn(Range<u64>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<S, E>> + Send + 'static,
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<Cause>,
{
    Arc::new(move |range| {
        let opening = open(range);
        async move { opening.await.map(boxed).map_err(Into::into) }.boxed()
    })
}

/// The stream without its first `skip` bytes.
fn from(stream: ByteStream, mut skip: u64) -> ByteStream {
    let rest = stream.map(move |item| {
        let mut chunk = item?;
        let skipped = usize::try_from(skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
        skip -= skipped as u64;
        Ok(chunk.split_off(skipped))
    });
    Box::pin(rest)
}

fn slice(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    let at = |offset: u64| usize::try_from(offset).map_or(bytes.len(), |at| at.min(bytes.len()));
    bytes.slice(at(range.start)..at(range.end).max(at(range.start)))
}

pub(super) async fn update(hash: &mut Sha1, bytes: &[u8]) {
    for piece in bytes.chunks(HASHED_AT_ONCE) {
        hash.update(piece);
        if piece.len() == HASHED_AT_ONCE {
            tokio::task::yield_now().await;
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}
