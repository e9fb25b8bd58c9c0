use serde::Serialize;

use crate::side::Side;

/// What an operator has stopped for now. It lasts until the operator lifts it, also beyond a
/// restart, and goes for every process that works on the store.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Pauses {
    /// Nothing is taken from the inbox.
    pub all: bool,
    /// No calls to the content side.
    pub content: bool,
    /// No calls to the CRM side.
    pub crm: bool,
}

impl Pauses {
    /// Whether calls to this side are stopped.
    pub fn holds(self, side: Side) -> bool {
        match side {
            Side::Content => self.content,
            Side::Crm => self.crm,
        }
    }

    /// These, with the pause of this side, or of everything, set or lifted.
    #[must_use]
    pub fn with(mut self, side: Option<Side>, paused: bool) -> Self {
        match side {
            None => self.all = paused,
            Some(Side::Content) => self.content = paused,
            Some(Side::Crm) => self.crm = paused,
        }
        self
    }
}
