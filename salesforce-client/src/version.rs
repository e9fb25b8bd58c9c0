//! Versions of the API.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A version of the API, such as 58.0. Three come each year, and each lives at least three years.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ApiVersion(u16);

/// The text is not a version of the API, which is written `58.0` or `v58.0`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a version of the API: expected one such as 58.0, and 31.0 at least")]
pub struct ApiVersionError;

/// Older ones are retired.
const OLDEST: u16 = 31;

impl ApiVersion {
    /// Summer '23, which the client uses unless told otherwise.
    pub const V58: Self = Self(58);

    /// The number before the dot.
    pub fn major(self) -> u16 {
        self.0
    }
}

impl Default for ApiVersion {
    fn default() -> Self {
        Self::V58
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.0", self.0)
    }
}

impl FromStr for ApiVersion {
    type Err = ApiVersionError;

    fn from_str(text: &str) -> Result<Self, ApiVersionError> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let major = text
            .strip_suffix(".0")
            .filter(|major| major.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|major| major.parse().ok())
            .filter(|major| *major >= OLDEST);
        major.map(Self).ok_or(ApiVersionError)
    }
}

impl Serialize for ApiVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ApiVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// A version that the org has. From
/// [`SalesforceClient::versions`](crate::SalesforceClient::versions).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct OrgVersion {
    /// Its number, as text: the org can have versions that are too old for this crate.
    pub version: String,
    /// The release that brought it, such as `Summer '23`.
    pub label: Option<String>,
}

impl OrgVersion {
    /// The number, if this crate can use the version.
    pub fn usable(&self) -> Option<ApiVersion> {
        self.version.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_compare_as_numbers_and_print_as_salesforce_writes_them() {
        let version = |text: &str| text.parse::<ApiVersion>();
        assert!(version("100.0").unwrap() > version("v58.0").unwrap());
        assert_eq!(version("58.0").unwrap().to_string(), "58.0");
        for bad in ["", "58", "58.1", "30.0", "v", "+58.0", "58.0.0", "99999.0"] {
            assert_eq!(version(bad), Err(ApiVersionError), "{bad}");
        }
    }
}
