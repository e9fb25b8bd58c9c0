use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

use crate::testing::state::State;

/// The state while it is held. What changes meanwhile is one transaction: its events are on the bus
/// when it is let go.
pub(in crate::testing) struct Transaction<'a>(pub(in crate::testing) MutexGuard<'a, State>);

impl Deref for Transaction<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.0
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        let State { bus, org, .. } = &mut *self.0;
        let changes = org.capture.take();
        bus.commit(&org.schema, &changes);
    }
}
