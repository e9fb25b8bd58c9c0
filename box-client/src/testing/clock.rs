//! Time as Box writes it.

use jiff::{SignedDuration, Timestamp, tz};

use super::{FakeBox, state::State};

/// Box prints whole seconds with a numeric offset that is not UTC, which a careless client
/// compares as text.
pub(super) fn stamp(at: Timestamp) -> String {
    let whole = Timestamp::from_second(at.as_second()).unwrap_or(at);
    whole.display_with_offset(tz::offset(-8)).to_string()
}

impl State {
    /// By this Box's clock.
    pub(super) fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_secs(self.clock_ahead);
        Timestamp::now().saturating_add(ahead).unwrap_or_default()
    }
}

impl FakeBox {
    /// Sets this Box's clock so many seconds ahead of the machine's, as seen in what is
    /// [built](crate::testing::FakeBoxBuilder::clock_ahead) with such a clock and in the times of
    /// events: what happens later happens without waiting for it.
    pub fn set_clock_ahead(&self, seconds: i64) {
        self.inner().with(|state| state.clock_ahead = seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_has_an_offset_and_names_the_same_instant() {
        let at = Timestamp::from_second(1_772_388_632).unwrap_or_default();
        assert_eq!(stamp(at), "2026-03-01T10:10:32-08:00");
        assert_eq!(stamp(at).parse::<Timestamp>().ok(), Some(at));
    }
}
