use std::time::Duration;

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

impl Login {
    /// What cannot work, apart from the URL.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let is_fine = self.patience.0 > Duration::ZERO;
        (!is_fine).then_some("login.patience must be above 0")
    }
}
