use serde::Deserialize;

use super::Span;

/// How patient a client is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Calls {
    pub(crate) max_attempts: u32,
    pub(crate) first_delay: Span,
    pub(crate) max_delay: Span,
    pub(crate) deadline: Span,
    pub(crate) connect_timeout: Span,
    pub(crate) idle_timeout: Span,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            max_attempts: 4,
            first_delay: Span::seconds(1),
            max_delay: Span::seconds(15),
            deadline: Span::seconds(60),
            connect_timeout: Span::seconds(10),
            idle_timeout: Span::seconds(60),
        }
    }
}
