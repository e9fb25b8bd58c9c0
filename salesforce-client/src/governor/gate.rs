use std::{
    collections::BTreeMap,
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
    /// Who comes next gets the next number.
    tickets: u64,
    interactive: Queue,
    backfill: Queue,
}

/// Those who wait, by the order in which they came. Who goes away leaves nothing here.
type Queue = BTreeMap<u64, oneshot::Sender<Place>>;

/// A place among those that run. Dropped, it is the next one's.
#[derive(Debug)]
pub(super) struct Place(Option<Gate>);

/// One who waits, until he has a place or goes away.
struct Waiting<'a> {
    gate: &'a Gate,
    priority: Priority,
    ticket: u64,
}

impl Gate {
    pub(super) fn new(places: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            places,
            free: places,
            tickets: 0,
            interactive: Queue::new(),
            backfill: Queue::new(),
        })))
    }

    pub(super) async fn enter(&self, priority: Priority) -> Place {
        let (call, turn) = oneshot::channel();
        let ticket = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Place(Some(self.clone()));
            }
            state.tickets += 1;
            let ticket = state.tickets;
            state.queue(priority).insert(ticket, call);
            ticket
        };
        let _waiting = Waiting {
            gate: self,
            priority,
            ticket,
        };
        // The gate outlives all who wait at it, so the other end never goes first.
        turn.await.unwrap_or(Place(None))
    }

    /// How many run, and how many wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.state();
        let waiting = state.interactive.len() + state.backfill.len();
        (state.places - state.free, waiting)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn queue(&mut self, priority: Priority) -> &mut Queue {
        match priority {
            Priority::Interactive => &mut self.interactive,
            Priority::Backfill => &mut self.backfill,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.gate.state().queue(self.priority).remove(&self.ticket);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(gate) = self.0.take() else {
            return;
        };
        let mut state = gate.state();
        loop {
            let next = state.interactive.pop_first();
            let Some((_, next)) = next.or_else(|| state.backfill.pop_first()) else {
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
        assert_eq!(gate.counts(), (1, 2));
        drop(running);
        // Called, but gone before it has heard of it.
        drop(called);
        drop(last.await);
        assert_eq!(gate.counts(), (0, 0));
    }
}
