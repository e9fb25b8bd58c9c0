use serde::Deserialize;

use super::Span;

/// What is left to others of what Salesforce allows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Budget {
    pub(crate) reserve: f64,
    pub(crate) backfill_reserve: f64,
    pub(crate) max_concurrent: usize,
    pub(crate) pause: Span,
    pub(crate) share_every: Span,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            reserve: 0.05,
            backfill_reserve: 0.2,
            max_concurrent: 10,
            pause: Span::seconds(15 * 60),
            share_every: Span::seconds(5),
        }
    }
}
