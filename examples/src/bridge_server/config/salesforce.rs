//! `[salesforce]`.

use std::time::Duration;

use serde::Deserialize;

use super::{Budget, Calls, Events, Secret, Span};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SalesforceSide {
    #[serde(default = "salesforce_url")]
    pub(crate) login_url: String,
    #[serde(default = "api_version")]
    pub(crate) api_version: String,
    pub(crate) auth: SalesforceAuth,
    pub(crate) version_key_field: Option<String>,
    pub(crate) task_key_field: Option<String>,
    #[serde(default = "completed")]
    pub(crate) task_status: String,
    #[serde(default)]
    pub(crate) link_visibility: LinkVisibility,
    #[serde(default = "thirteen_minutes")]
    pub(crate) session_lifetime: Span,
    #[serde(default = "ten_minutes")]
    pub(crate) upload_answer_timeout: Span,
    #[serde(default = "one_minute")]
    pub(crate) remember_stages: Span,
    #[serde(default = "fifty_milliseconds")]
    pub(crate) linger: Span,
    #[serde(default = "two_thousand")]
    pub(crate) bulk_from: usize,
    #[serde(default)]
    pub(crate) calls: Calls,
    #[serde(default)]
    pub(crate) budget: Budget,
    #[serde(default)]
    pub(crate) events: Events,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LinkVisibility {
    #[default]
    AllUsers,
    InternalUsers,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum SalesforceAuth {
    Jwt {
        client_id: String,
        username: String,
        private_key: Secret,
        audience: Option<String>,
    },
    ClientCredentials {
        client_id: String,
        client_secret: Secret,
    },
    RefreshToken {
        client_id: String,
        client_secret: Option<Secret>,
        #[serde(default = "salesforce_grant")]
        grant: String,
    },
    Token {
        token: Secret,
        instance_url: String,
    },
}

fn ten_minutes() -> Span {
    Span::seconds(600)
}
fn one_minute() -> Span {
    Span::seconds(60)
}
fn thirteen_minutes() -> Span {
    Span::seconds(13 * 60)
}
fn fifty_milliseconds() -> Span {
    Span(Duration::from_millis(50))
}
fn two_thousand() -> usize {
    2_000
}
fn salesforce_url() -> String {
    "https://login.salesforce.com".into()
}
fn api_version() -> String {
    "58.0".into()
}
fn completed() -> String {
    "Completed".into()
}
fn salesforce_grant() -> String {
    "salesforce".into()
}
