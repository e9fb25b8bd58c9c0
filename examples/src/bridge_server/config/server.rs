//! What comes in, and from where.

use std::net::SocketAddr;

use serde::Deserialize;

use super::{Secret, Span};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Server {
    pub(crate) listen: SocketAddr,
    pub(crate) max_connections: usize,
    pub(crate) idle_timeout: Span,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            max_connections: 1024,
            idle_timeout: Span::seconds(30),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhook {
    #[serde(default = "webhook_path")]
    pub(crate) path: String,
    pub(crate) primary_key: Option<Secret>,
    pub(crate) secondary_key: Option<Secret>,
    #[serde(default = "ten_minutes")]
    pub(crate) max_age: Span,
    #[serde(default = "one_minute")]
    pub(crate) max_ahead: Span,
    #[serde(default = "one_mebibyte")]
    pub(crate) body_limit: usize,
    #[serde(default = "two_seconds")]
    pub(crate) store_within: Span,
}

fn ten_minutes() -> Span {
    Span::seconds(600)
}
fn one_minute() -> Span {
    Span::seconds(60)
}
fn one_mebibyte() -> usize {
    1024 * 1024
}
fn two_seconds() -> Span {
    Span::seconds(2)
}
fn webhook_path() -> String {
    "/webhooks/box".into()
}
