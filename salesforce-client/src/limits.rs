//! What `Sforce-Limit-Info` tells with nearly every answer.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

/// How much of the org's calls of 24 hours is used.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ApiUsage {
    /// Calls made in the last 24 hours, by everybody.
    pub used: u64,
    /// Calls allowed.
    pub allowed: u64,
}

impl ApiUsage {
    /// Reads `api-usage=10018/100000`, alone or among other pieces.
    pub(crate) fn read(header: &str) -> Option<Self> {
        let piece = header
            .split(';')
            .find_map(|piece| piece.trim().strip_prefix("api-usage="))?;
        let (used, allowed) = piece.split_once('/')?;
        Some(Self {
            used: used.trim().parse().ok()?,
            allowed: allowed.trim().parse().ok()?,
        })
    }

    /// Calls left.
    pub fn left(&self) -> u64 {
        self.allowed.saturating_sub(self.used)
    }
}

/// The latest that was told, for all clones of a client.
#[derive(Debug, Default)]
pub(crate) struct LatestUsage(Mutex<Option<ApiUsage>>);

impl LatestUsage {
    pub(crate) fn set(&self, usage: ApiUsage) {
        *self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(usage);
    }

    pub(crate) fn get(&self) -> Option<ApiUsage> {
        *self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_alone_and_among_other_pieces() {
        let usage = |used, allowed| Some(ApiUsage { used, allowed });
        assert_eq!(
            ApiUsage::read("api-usage=10018/100000"),
            usage(10018, 100_000)
        );
        let both = "api-usage=25/5000; per-app-api-usage=17/250(appName=sample-app)";
        assert_eq!(ApiUsage::read(both), usage(25, 5000));
        let both = "per-app-api-usage=17/250(appName=sample-app);api-usage=25/5000";
        assert_eq!(ApiUsage::read(both), usage(25, 5000));
        assert_eq!(ApiUsage::read("per-app-api-usage=17/250(appName=x)"), None);
        assert_eq!(ApiUsage::read("api-usage=many"), None);
    }
}
