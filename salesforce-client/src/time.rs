//! Salesforce's date-times: `2024-05-31T09:30:00.000+0000`, an offset without a colon.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};

/// For `#[serde(deserialize_with = "…")]` on an `Option<Timestamp>`.
pub(crate) fn optional<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    Option::<String>::deserialize(deserializer)?
        .map(|text| text.parse().map_err(de::Error::custom))
        .transpose()
}

/// As `If-Unmodified-Since` wants it.
pub(crate) fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
