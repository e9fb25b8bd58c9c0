//! How events are worked on, and tried again.

use std::time::Duration;

use serde::Deserialize;

use super::Span;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Worker {
    pub(crate) concurrency: usize,
    pub(crate) transfers: usize,
    pub(crate) lease: Span,
    pub(crate) poll: Span,
    pub(crate) grace: Span,
    pub(crate) settle_after: Span,
    pub(crate) overtaken_within: Span,
    pub(crate) outage_after: u32,
    pub(crate) outage_pause: Span,
    pub(crate) longest_outage_pause: Span,
    pub(crate) after_dead: AfterDead,
    pub(crate) compare_checksums: bool,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            concurrency: 64,
            transfers: 8,
            lease: Span::seconds(60),
            poll: Span(Duration::from_millis(500)),
            grace: Span::seconds(30),
            settle_after: Span::seconds(30),
            overtaken_within: Span::seconds(3 * 3600),
            outage_after: 5,
            outage_pause: Span::seconds(300),
            longest_outage_pause: Span::seconds(3600),
            after_dead: AfterDead::Skip,
            compare_checksums: false,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AfterDead {
    Skip,
    Hold,
}

impl From<AfterDead> for bridge::AfterDead {
    fn from(policy: AfterDead) -> Self {
        match policy {
            AfterDead::Skip => Self::Skip,
            AfterDead::Hold => Self::Hold,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retry {
    pub(crate) base: Span,
    pub(crate) max_delay: Span,
    pub(crate) jitter: Span,
    pub(crate) max_attempts: u32,
    pub(crate) max_age: Span,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            base: Span::seconds(1),
            max_delay: Span::seconds(3600),
            jitter: Span::seconds(1),
            max_attempts: 16,
            max_age: Span::seconds(24 * 3600),
        }
    }
}
