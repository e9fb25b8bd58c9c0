use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, de};

/// A length of time as people write it: `500ms`, `30s`, `2h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Span(pub(crate) Duration);

const DAY: u64 = 24 * 3600;

impl Span {
    /// Longer than anything that is meant, and short enough to be added to any clock.
    pub(super) const LONGEST: Self = Self::seconds(10 * 365 * DAY);

    pub(crate) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub(super) const fn milliseconds(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    fn read(text: &str) -> Option<Duration> {
        let days = text
            .strip_suffix('d')
            .and_then(|days| days.trim().parse::<u64>().ok());
        match days {
            Some(days) => days.checked_mul(DAY).map(Duration::from_secs),
            None => Duration::try_from(text.parse::<jiff::SignedDuration>().ok()?).ok(),
        }
    }
}

/// As people would write it.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if self.0.subsec_nanos() != 0 {
            return write!(f, "{}ms", self.0.as_millis());
        }
        let (by, unit) = match seconds {
            0 => (1, "s"),
            _ if seconds.is_multiple_of(DAY) => (DAY, "d"),
            _ if seconds.is_multiple_of(3600) => (3600, "h"),
            _ if seconds.is_multiple_of(60) => (60, "m"),
            _ => (1, "s"),
        };
        write!(f, "{}{unit}", seconds / by)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match Self::read(&text) {
            Some(span) if span <= Self::LONGEST.0 => Ok(Self(span)),
            Some(_) => Err(de::Error::custom(format!(
                "`{text}` is longer than ten years"
            ))),
            None => Err(de::Error::custom(format!(
                "`{text}` is no length of time; write 500ms, 30s, 2h or 7d"
            ))),
        }
    }
}
