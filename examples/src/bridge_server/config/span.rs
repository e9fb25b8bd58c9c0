use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A length of time as people write it: `500ms`, `30s`, `2h`, `7d`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span(pub(crate) Duration);

/// Longer than anything that is meant, and short enough to be added to any clock.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const DAY: u64 = 24 * 3600;

impl Span {
    pub(crate) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
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

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match Self::read(&text) {
            Some(span) if span <= LONGEST => Ok(Self(span)),
            Some(_) => Err(de::Error::custom(format!(
                "`{text}` is longer than ten years"
            ))),
            None => Err(de::Error::custom(format!(
                "`{text}` is no length of time; write 500ms, 30s, 2h or 7d"
            ))),
        }
    }
}
