//! Where the inbox and the ledger are.

use std::path::Path;

use serde::Deserialize;

use super::{Secret, Span};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    pub(crate) url: StoreUrl,
    #[serde(default = "thirty_days")]
    pub(crate) keep_done: Span,
    #[serde(default = "four_hundred_days")]
    pub(crate) keep_effects: Span,
    #[serde(default = "ten_minutes")]
    pub(crate) tidy_every: Span,
    #[serde(default = "sixteen")]
    pub(crate) connections: usize,
}

/// A URL with a password in it is a secret, and given like one.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum StoreUrl {
    Open(String),
    Secret(Secret),
}

impl Store {
    pub(crate) fn is_postgres(&self) -> bool {
        match &self.url {
            StoreUrl::Open(url) => {
                url.starts_with("postgres://") || url.starts_with("postgresql://")
            }
            StoreUrl::Secret(_) => true,
        }
    }

    /// The file of an SQLite store.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.url {
            StoreUrl::Open(url) => url.strip_prefix("sqlite:").map(Path::new),
            StoreUrl::Secret(_) => None,
        }
    }
}

fn thirty_days() -> Span {
    Span::seconds(30 * 24 * 3600)
}
fn four_hundred_days() -> Span {
    Span::seconds(400 * 24 * 3600)
}
fn ten_minutes() -> Span {
    Span::seconds(600)
}
fn sixteen() -> usize {
    16
}
