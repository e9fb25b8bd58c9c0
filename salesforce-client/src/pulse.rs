//! How a body on its way out is doing.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use futures_core::Stream;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

/// When the last piece went out, and whether it was the last of all.
#[derive(Clone)]
pub(crate) struct Pulse(Arc<Mutex<(Instant, bool)>>);

impl Pulse {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new((Instant::now(), false))))
    }

    /// The pieces, each of which is noted as it is taken.
    pub(crate) fn beating<S: Stream>(&self, pieces: S) -> impl Stream<Item = S::Item> + use<S> {
        let (beat, end) = (self.clone(), self.clone());
        let pieces = pieces.inspect(move |_| beat.beat(false));
        pieces.chain(stream::poll_fn(move |_| {
            end.beat(true);
            Poll::Ready(None)
        }))
    }

    /// Until when to wait: `idle` after each piece, `answer` after the last one.
    pub(crate) fn patience(&self, idle: Duration, answer: Duration) -> Instant {
        let (last, is_whole) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last + if is_whole { answer } else { idle }
    }

    fn beat(&self, is_whole: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), is_whole);
    }
}
