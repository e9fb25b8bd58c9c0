//! `[box]`.

use serde::Deserialize;

use super::{Calls, Secret, Span};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BoxSide {
    #[serde(default = "box_url")]
    pub(crate) base_url: String,
    pub(crate) auth: BoxAuth,
    #[serde(default = "enterprise")]
    pub(crate) metadata_scope: String,
    #[serde(default = "salesforce_mapping")]
    pub(crate) metadata_template: String,
    #[serde(default = "opportunity_id")]
    pub(crate) opportunity_key: String,
    #[serde(default = "account_id")]
    pub(crate) account_key: String,
    #[serde(default = "five_minutes")]
    pub(crate) remember_mapping: Span,
    #[serde(default = "ten_seconds")]
    pub(crate) remember_unmapped: Span,
    #[serde(default)]
    pub(crate) calls: Calls,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum BoxAuth {
    ClientCredentials {
        client_id: String,
        client_secret: Secret,
        enterprise_id: Option<String>,
        user_id: Option<String>,
    },
    RefreshToken {
        client_id: String,
        client_secret: Secret,
        #[serde(default = "box_grant")]
        grant: String,
    },
    DeveloperToken {
        token: Secret,
    },
}

fn five_minutes() -> Span {
    Span::seconds(300)
}
fn ten_seconds() -> Span {
    Span::seconds(10)
}
fn box_url() -> String {
    "https://api.box.com".into()
}
fn enterprise() -> String {
    "enterprise".into()
}
fn salesforce_mapping() -> String {
    "salesforce_mapping".into()
}
fn opportunity_id() -> String {
    "opportunity_id".into()
}
fn account_id() -> String {
    "account_id".into()
}
fn box_grant() -> String {
    "box".into()
}
