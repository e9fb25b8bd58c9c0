//! How a body on its way out is doing.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use futures_core::Stream;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

/// Shared by a body, which the connection holds, and the call that waits for the answer.
#[derive(Clone, Debug)]
pub(crate) struct Pulse(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    last_piece: Instant,
    is_whole: bool,
    is_abandoned: bool,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            last_piece: Instant::now(),
            is_whole: false,
            is_abandoned: false,
        })))
    }

    /// The pieces, each of which is noted as it is taken.
    pub(crate) fn beating<S: Stream>(&self, pieces: S) -> impl Stream<Item = S::Item> + use<S> {
        let (beat, end) = (self.clone(), self.clone());
        let pieces = pieces.inspect(move |_| {
            beat.beat();
        });
        pieces.chain(stream::poll_fn(move |_| {
            end.beat();
            end.make_whole();
            Poll::Ready(None)
        }))
    }

    /// Notes that a piece is taken; whether anybody waits for the answer still.
    pub(crate) fn beat(&self) -> bool {
        let mut state = self.state();
        state.last_piece = Instant::now();
        !state.is_abandoned
    }

    /// Until when to wait: `idle` after each piece, `answer` after the last one.
    pub(crate) fn patience(&self, idle: Duration, answer: Duration) -> Instant {
        let state = self.state();
        state.last_piece + if state.is_whole { answer } else { idle }
    }

    /// Lets the end of the body go out, unless nobody waits for it any more. Both are one decision:
    /// what was abandoned must not become whole, and what is whole was not abandoned before.
    pub(crate) fn make_whole(&self) -> bool {
        let mut state = self.state();
        state.is_whole = !state.is_abandoned;
        state.is_whole
    }

    /// Nobody waits for the answer any more: a body that goes on would be an effect that nobody
    /// knows of. Tells whether it was whole by then; one that was not never will be.
    pub(crate) fn abandon(&self) -> bool {
        let mut state = self.state();
        state.is_abandoned = true;
        state.is_whole
    }

    /// Whether the body has gone out to its end. Before that it can have no effect.
    #[cfg(test)]
    pub(crate) fn is_whole(&self) -> bool {
        self.state().is_whole
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_abandoned_never_becomes_whole_and_what_is_whole_says_so() {
        let late = Pulse::new();
        assert!(!late.abandon());
        assert!(!late.beat());
        assert!(!late.make_whole());
        assert!(!late.is_whole());

        let done = Pulse::new();
        assert!(done.beat());
        assert!(done.make_whole());
        assert!(done.abandon());
    }
}
