use serde::Deserialize;

use super::Span;

/// How `login` gets a person's consent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Login {
    pub(crate) port: u16,
    pub(crate) patience: Span,
    pub(crate) box_authorize_url: String,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            port: 1717,
            patience: Span::seconds(300),
            box_authorize_url: "https://account.box.com/api/oauth2/authorize".into(),
        }
    }
}
