//! The body of an upload: a head, the content as it comes, and a tail that completes it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;

use super::encoding::{Base64, Encoding};
use crate::pulse::Pulse;

pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;
pub(super) type Content = Pin<Box<dyn Stream<Item = Result<Bytes, Cause>> + Send>>;

/// A chunk of any size is handed on in pieces of this, so that a large one does not look like a
/// connection that stands still.
const PIECE: usize = 192 * 1024;

pub(super) fn content<S, E>(stream: S) -> Content
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<Cause>,
{
    Box::pin(stream.map(|item| item.map_err(Into::into)))
}

/// What has become of a body so far.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) pulse: Pulse,
    failure: Mutex<Option<Cause>>,
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            pulse: Pulse::new(),
            failure: Mutex::new(None),
        })
    }

    /// What kept the content from becoming whole.
    pub(super) fn take_failure(&self) -> Option<Cause> {
        self.failure().take()
    }

    fn failure(&self) -> MutexGuard<'_, Option<Cause>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Body {
    phase: Phase,
    encoding: Arc<Encoding>,
    base64: Option<Base64>,
    content: Content,
    /// What is left of the last chunk.
    chunk: Bytes,
    /// What the content has still to bring.
    left: u64,
    progress: Arc<Progress>,
}

#[derive(Clone, Copy)]
enum Phase {
    Head,
    Content,
    Over,
}

/// Breaks the request off; what went wrong is in the [`Progress`].
#[derive(Debug, thiserror::Error)]
#[error("the body was broken off")]
pub(super) struct BrokenOff;

impl Body {
    pub(super) fn new(
        encoding: Arc<Encoding>,
        content: Content,
        size: u64,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            phase: Phase::Head,
            base64: encoding.is_base64().then(Base64::default),
            encoding,
            content,
            chunk: Bytes::new(),
            left: size,
            progress,
        }
    }

    /// A piece of the chunk in hand, if it gives one.
    fn piece(&mut self) -> Result<Option<Bytes>, Cause> {
        let next = self.chunk.split_to(PIECE.min(self.chunk.len()));
        let piece = match &mut self.base64 {
            None => next,
            Some(base64) => base64.encode(&next)?,
        };
        Ok((!piece.is_empty()).then_some(piece))
    }

    fn take(&mut self, chunk: Bytes) -> Result<(), Cause> {
        self.left = self
            .left
            .checked_sub(chunk.len() as u64)
            .ok_or("the content is longer than announced")?;
        self.chunk = chunk;
        Ok(())
    }

    /// Only when the content has ended well and at its length is the request made complete.
    fn end(&mut self) -> Result<Bytes, Cause> {
        if self.left > 0 {
            return Err("the content is shorter than announced".into());
        }
        self.phase = Phase::Over;
        let tail = self.encoding.tail();
        let Some(base64) = &mut self.base64 else {
            return Ok(tail);
        };
        let mut end = base64.finish().into_bytes();
        end.extend_from_slice(&tail);
        Ok(end.into())
    }

    fn fail(&mut self, cause: Cause) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        self.phase = Phase::Over;
        *self.progress.failure() = Some(cause);
        Poll::Ready(Some(Err(BrokenOff)))
    }
}

impl Stream for Body {
    type Item = Result<Bytes, BrokenOff>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if !this.progress.pulse.beat() {
            this.phase = Phase::Over;
            return Poll::Ready(Some(Err(BrokenOff)));
        }
        loop {
            match this.phase {
                Phase::Head => {
                    this.phase = Phase::Content;
                    return Poll::Ready(Some(Ok(this.encoding.head())));
                }
                Phase::Content => {}
                Phase::Over => return Poll::Ready(None),
            }
            if !this.chunk.is_empty() {
                match this.piece() {
                    Ok(Some(piece)) => return Poll::Ready(Some(Ok(piece))),
                    Ok(None) => continue,
                    Err(cause) => return this.fail(cause),
                }
            }
            let outcome = match ready!(this.content.as_mut().poll_next(cx)) {
                Some(Ok(chunk)) => this.take(chunk),
                Some(Err(cause)) => Err(cause),
                None => match this.end() {
                    Ok(end) if this.progress.pulse.make_whole() => {
                        return Poll::Ready(Some(Ok(end)));
                    }
                    Ok(_) => return Poll::Ready(Some(Err(BrokenOff))),
                    Err(cause) => Err(cause),
                },
            };
            if let Err(cause) = outcome {
                return this.fail(cause);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use base64::{Engine, engine::general_purpose::STANDARD};
    use futures_util::{FutureExt, StreamExt, stream};
    use proptest::prelude::*;

    use super::*;

    fn sent(encoding: Encoding, chunks: Vec<Vec<u8>>, announced: u64) -> (Vec<u8>, Arc<Progress>) {
        let chunks = chunks.into_iter().map(|chunk| Ok::<_, Cause>(chunk.into()));
        let progress = Progress::new();
        let content = content(stream::iter(chunks));
        let body = Body::new(
            Arc::new(encoding),
            content,
            announced,
            Arc::clone(&progress),
        );
        let pieces = body.collect::<Vec<_>>().now_or_never().unwrap();
        let bytes: Vec<_> = pieces.into_iter().map_while(Result::ok).collect();
        (bytes.concat(), progress)
    }

    proptest! {
        #[test]
        fn however_the_content_is_cut_the_body_is_the_same_and_as_long_as_announced(
            chunks in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..400), 0..8),
        ) {
            let content = chunks.concat();
            let size = content.len() as u64;

            let encoding = Encoding::base64(r#"{"Title":"t"}"#);
            let length = encoding.length(size);
            let (body, progress) = sent(encoding, chunks.clone(), size);
            prop_assert!(progress.pulse.is_whole());
            prop_assert_eq!(body.len() as u64, length);
            let expected = format!(r#"{{"Title":"t","VersionData":"{}"}}"#, STANDARD.encode(&content));
            prop_assert_eq!(String::from_utf8(body).unwrap(), expected);

            let encoding = Encoding::multipart("{}", "a.pdf");
            let expected = [&encoding.head()[..], &content, &encoding.tail()[..]].concat();
            let length = encoding.length(size);
            let (body, _) = sent(encoding, chunks, size);
            prop_assert_eq!(body.len() as u64, length);
            prop_assert_eq!(body, expected);
        }
    }

    #[test]
    fn a_chunk_larger_than_a_piece_is_the_same_body() {
        let content: Vec<u8> = (0..PIECE * 2 + 5).map(|n| (n % 251) as u8).collect();
        let size = content.len() as u64;
        let (body, _) = sent(Encoding::base64("{}"), vec![content.clone()], size);
        let expected = format!(r#"{{"VersionData":"{}"}}"#, STANDARD.encode(&content));
        assert!(body == expected.as_bytes());
    }

    #[test]
    fn a_content_of_another_length_never_gets_its_tail() {
        for announced in [0, 2, 4] {
            for encoding in [Encoding::base64("{}"), Encoding::multipart("{}", "a")] {
                let tail = encoding.tail();
                let (body, progress) = sent(encoding, vec![b"abc".to_vec()], announced);
                assert!(progress.take_failure().is_some());
                assert!(!progress.pulse.is_whole());
                assert!(!body.ends_with(&tail));
            }
        }
    }

    #[test]
    fn a_content_that_goes_on_after_its_length_never_gets_its_tail() {
        let chunks = vec![b"abc".to_vec(), Vec::new(), b"d".to_vec()];
        let (_, progress) = sent(Encoding::multipart("{}", "a"), chunks, 3);
        assert!(!progress.pulse.is_whole());
    }
}
