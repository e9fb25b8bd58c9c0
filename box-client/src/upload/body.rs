//! The body of an upload: a head, the content as it comes, and a tail that completes it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use sha1::{Digest, Sha1};
use tokio::time::Instant;

use super::content::{ByteStream, Cause, hex};

/// A chunk of any size is handed on in pieces of this, so that a large one does not look like a
/// connection that stands still.
const PIECE: usize = 192 * 1024;

/// What stands around the content.
#[derive(Clone, Default)]
pub(super) struct Frame {
    pub(super) head: Bytes,
    pub(super) tail: Bytes,
}

/// What has become of a body so far: shared by the body, which the connection holds, and the call
/// that waits for the answer.
pub(super) struct Progress(Mutex<State>);

struct State {
    last_piece: Instant,
    is_whole: bool,
    is_abandoned: bool,
    failure: Option<Cause>,
    sha1: Option<String>,
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            last_piece: Instant::now(),
            is_whole: false,
            is_abandoned: false,
            failure: None,
            sha1: None,
        })))
    }

    /// Until when to wait for the next piece or, after the last one, for the answer.
    pub(super) fn patience(&self, idle: Duration) -> Option<Instant> {
        self.state().last_piece.checked_add(idle)
    }

    /// Whether the body, tail and all, has gone out. Before that it can have no effect.
    #[cfg(test)]
    pub(super) fn is_whole(&self) -> bool {
        self.state().is_whole
    }

    /// What kept the content from becoming whole.
    pub(super) fn take_failure(&self) -> Option<Cause> {
        self.state().failure.take()
    }

    /// The SHA-1 of a content that has become whole, if it was hashed.
    pub(super) fn sha1(&self) -> Option<String> {
        self.state().sha1.clone()
    }

    /// Nobody waits for the answer any more: a body that goes on would be a file that nobody
    /// knows of. Tells whether it was whole by then; one that was not never will be.
    pub(super) fn abandon(&self) -> bool {
        let mut state = self.state();
        state.is_abandoned = true;
        state.is_whole
    }

    /// Lets the last of the body go out, unless nobody waits for it any more. Both are one
    /// decision: what was abandoned must not become whole, and what is whole was not abandoned
    /// before.
    fn make_whole(&self) -> bool {
        let mut state = self.state();
        state.is_whole = !state.is_abandoned;
        state.is_whole
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Body {
    phase: Phase,
    frame: Frame,
    content: ByteStream,
    /// What is left of the last chunk.
    chunk: Bytes,
    /// What the content has still to bring.
    left: u64,
    hash: Option<Sha1>,
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
        frame: &Frame,
        content: ByteStream,
        size: u64,
        hashed: bool,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            phase: Phase::Head,
            frame: frame.clone(),
            content,
            chunk: Bytes::new(),
            left: size,
            hash: hashed.then(Sha1::new),
            progress,
        }
    }

    /// The next piece; `None` when it is the last one and nobody waits for it.
    fn piece(&mut self) -> Option<Bytes> {
        let piece = self.chunk.split_to(PIECE.min(self.chunk.len()));
        if let Some(hash) = &mut self.hash {
            hash.update(&piece);
        }
        // Nobody asks for more after the last byte. Where there is no tail to withhold, that one
        // makes the request complete.
        let is_last = self.left == 0 && self.chunk.is_empty() && self.frame.tail.is_empty();
        (!is_last || self.progress.make_whole()).then_some(piece)
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
    fn end(&mut self) -> Result<Option<Bytes>, Cause> {
        if self.left > 0 {
            return Err("the content is shorter than announced".into());
        }
        self.phase = Phase::Over;
        self.progress.state().sha1 = self.hash.take().map(|hash| hex(&hash.finalize()));
        Ok(self.progress.make_whole().then(|| self.frame.tail.clone()))
    }

    fn fail(&mut self, cause: Cause) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        self.phase = Phase::Over;
        self.progress.state().failure = Some(cause);
        Poll::Ready(Some(Err(BrokenOff)))
    }
}

impl Stream for Body {
    type Item = Result<Bytes, BrokenOff>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        {
            let mut state = this.progress.state();
            state.last_piece = Instant::now();
            if state.is_abandoned {
                this.phase = Phase::Over;
                return Poll::Ready(Some(Err(BrokenOff)));
            }
        }
        loop {
            match this.phase {
                Phase::Head => {
                    this.phase = Phase::Content;
                    return Poll::Ready(Some(Ok(this.frame.head.clone())));
                }
                Phase::Content => {}
                Phase::Over => return Poll::Ready(None),
            }
            if !this.chunk.is_empty() {
                return Poll::Ready(Some(this.piece().ok_or(BrokenOff)));
            }
            let outcome = match ready!(this.content.as_mut().poll_next(cx)) {
                Some(Ok(chunk)) => this.take(chunk),
                Some(Err(cause)) => Err(cause),
                None => match this.end() {
                    Ok(end) => return Poll::Ready(Some(end.ok_or(BrokenOff))),
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
    use futures_util::{FutureExt, StreamExt, stream};
    use proptest::prelude::*;

    use super::*;

    fn sent(chunks: Vec<Vec<u8>>, announced: u64) -> (Vec<u8>, Arc<Progress>) {
        let chunks = chunks.into_iter().map(|chunk| Ok::<_, Cause>(chunk.into()));
        let progress = Progress::new();
        let frame = Frame {
            head: Bytes::from_static(b"<"),
            tail: Bytes::from_static(b">"),
        };
        let content = Box::pin(stream::iter(chunks));
        let body = Body::new(&frame, content, announced, true, Arc::clone(&progress));
        let pieces = body.collect::<Vec<_>>().now_or_never().unwrap();
        let bytes: Vec<_> = pieces.into_iter().map_while(Result::ok).collect();
        (bytes.concat(), progress)
    }

    proptest! {
        #[test]
        fn however_the_content_is_cut_the_body_and_the_hash_are_the_same(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..8),
        ) {
            let content = chunks.concat();
            let (body, progress) = sent(chunks, content.len() as u64);
            prop_assert!(progress.is_whole());
            prop_assert_eq!(progress.sha1(), Some(hex(&Sha1::digest(&content))));
            prop_assert_eq!(body, [b"<", &content[..], b">"].concat());
        }
    }

    #[test]
    fn a_chunk_larger_than_a_piece_is_the_same_body() {
        let content: Vec<u8> = (0..PIECE * 2 + 5).map(|n| (n % 251) as u8).collect();
        let (body, _) = sent(vec![content.clone()], content.len() as u64);
        assert!(body == [b"<", &content[..], b">"].concat());
    }

    #[test]
    fn a_content_of_another_length_never_gets_its_tail() {
        for (announced, chunks) in [
            (0, vec![b"abc".to_vec()]),
            (2, vec![b"abc".to_vec()]),
            (4, vec![b"abc".to_vec()]),
            (3, vec![b"abc".to_vec(), Vec::new(), b"d".to_vec()]),
        ] {
            let (body, progress) = sent(chunks, announced);
            assert!(progress.take_failure().is_some());
            assert!(!progress.is_whole());
            assert!(!body.ends_with(b">"));
        }
    }

    #[test]
    fn what_was_abandoned_never_becomes_whole_and_what_is_whole_says_so() {
        let late = Progress::new();
        assert!(!late.abandon());
        assert!(!late.make_whole());
        assert!(!late.is_whole());

        let done = Progress::new();
        assert!(done.make_whole());
        assert!(done.abandon());
    }
}
