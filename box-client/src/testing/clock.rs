//! Time as Box writes it.

use jiff::{Timestamp, tz};

/// Box prints whole seconds with a numeric offset that is not UTC, which a careless client
/// compares as text.
pub(super) fn stamp(at: Timestamp) -> String {
    let whole = Timestamp::from_second(at.as_second()).unwrap_or(at);
    whole.display_with_offset(tz::offset(-8)).to_string()
}

pub(super) fn now() -> String {
    stamp(Timestamp::now())
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
