use serde::Deserialize;

use super::Secret;

/// Commands over HTTP. Off where the section is left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Api {
    pub(crate) token: Secret,
    #[serde(default = "quarter_of_a_mebibyte")]
    pub(crate) body_limit: usize,
}

fn quarter_of_a_mebibyte() -> usize {
    bridge::axum::Api::DEFAULT_BODY_LIMIT
}
