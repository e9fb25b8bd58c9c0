use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::Priority;

/// Lets so many through at once. Who is interactive comes before all who are not; among equals the
/// first comes first.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    places: usize,
    free: usize,
    interactive: VecDeque<oneshot::Sender<Place>>,
    backfill: VecDeque<oneshot::Sender<Place>>,
}

/// A place among those that run. Dropped, it is the next one's.
#[derive(Debug)]
pub(super) struct Place(Option<Gate>);

impl Gate {
    pub(super) fn new(places: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            places,
            free: places,
            interactive: VecDeque::new(),
            backfill: VecDeque::new(),
        })))
    }

    pub(super) async fn enter(&self, priority: Priority) -> Place {
        let turn = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Place(Some(self.clone()));
            }
            let (call, turn) = oneshot::channel();
            match priority {
                Priority::Interactive => state.interactive.push_back(call),
                Priority::Backfill => state.backfill.push_back(call),
            }
            turn
        };
        // The gate outlives all who wait at it, so the other end never goes first.
        turn.await.unwrap_or(Place(None))
    }

    /// How many run, and how many wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.state();
        let waiting = state.interactive.iter().chain(&state.backfill);
        let waiting = waiting.filter(|call| !call.is_closed()).count();
        (state.places - state.free, waiting)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(gate) = self.0.take() else {
            return;
        };
        let mut state = gate.state();
        loop {
            let next = state.interactive.pop_front();
            let Some(next) = next.or_else(|| state.backfill.pop_front()) else {
                state.free += 1;
                return;
            };
            // One who has gone meanwhile gives the place back without being dropped here, where
            // the gate is locked.
            match next.send(Place(Some(gate.clone()))) {
                Ok(()) => return,
                Err(mut place) => place.0 = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::{FutureExt, future::join_all};

    use super::*;

    #[tokio::test]
    async fn interactive_calls_come_before_backfill_and_equals_in_order() {
        let gate = Gate::new(1);
        let running = gate.enter(Priority::Interactive).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let waits = [
            (Priority::Backfill, "b1"),
            (Priority::Interactive, "i1"),
            (Priority::Backfill, "b2"),
            (Priority::Interactive, "i2"),
        ];
        let mut waiting: Vec<_> = waits
            .into_iter()
            .map(|(priority, name)| {
                let (gate, order) = (gate.clone(), Arc::clone(&order));
                Box::pin(async move {
                    let _slot = gate.enter(priority).await;
                    order.lock().unwrap().push(name);
                })
            })
            .collect();
        for wait in &mut waiting {
            assert!(wait.now_or_never().is_none());
        }
        assert_eq!(gate.counts(), (1, 4));
        drop(running);
        join_all(waiting).await;
        assert_eq!(*order.lock().unwrap(), ["i1", "i2", "b1", "b2"]);
        assert_eq!(gate.counts(), (0, 0));
    }

    #[tokio::test]
    async fn who_goes_away_takes_no_place_along() {
        let gate = Gate::new(1);
        let running = gate.enter(Priority::Interactive).await;
        let mut gone = Box::pin(gate.enter(Priority::Interactive));
        let mut called = Box::pin(gate.enter(Priority::Interactive));
        let mut last = Box::pin(gate.enter(Priority::Backfill));
        for wait in [&mut gone, &mut called, &mut last] {
            assert!(wait.now_or_never().is_none());
        }
        drop(gone);
        drop(running);
        // Called, but gone before it has heard of it.
        drop(called);
        drop(last.await);
        assert_eq!(gate.counts(), (0, 0));
    }
}
