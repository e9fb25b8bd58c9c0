use serde::Deserialize;

use super::Span;

/// How patient `check` is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Check {
    pub(crate) timeout: Span,
    pub(crate) clock_warning: Span,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            timeout: Span::seconds(15),
            clock_warning: Span::seconds(5),
        }
    }
}
