//! The configuration file: every key, its default, and what is wrong with it in one line.

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};

use crate::Failure;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default)]
    pub(crate) server: Server,
    pub(crate) store: Store,
    pub(crate) webhook: Webhook,
    #[serde(rename = "box")]
    pub(crate) content: BoxSide,
    pub(crate) salesforce: SalesforceSide,
    #[serde(default)]
    pub(crate) worker: Worker,
    #[serde(default)]
    pub(crate) retry: Retry,
    #[serde(default)]
    pub(crate) rules: Vec<Rule>,
}

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
pub(crate) struct Store {
    pub(crate) url: String,
    #[serde(default = "thirty_days")]
    pub(crate) keep_done: Span,
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
}

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
    DeveloperToken {
        token: Secret,
    },
}

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
    pub(crate) calls: Calls,
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
    Token {
        token: Secret,
        instance_url: String,
    },
}

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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Worker {
    pub(crate) concurrency: usize,
    pub(crate) lease: Span,
    pub(crate) poll: Span,
    pub(crate) grace: Span,
    pub(crate) settle_after: Span,
    pub(crate) overtaken_within: Span,
    pub(crate) outage_pause: Span,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            concurrency: 8,
            lease: Span::seconds(60),
            poll: Span(Duration::from_millis(500)),
            grace: Span::seconds(30),
            settle_after: Span::seconds(15),
            overtaken_within: Span::seconds(3 * 3600),
            outage_pause: Span::seconds(300),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retry {
    pub(crate) base: Span,
    pub(crate) max_delay: Span,
    pub(crate) jitter: Span,
    pub(crate) max_attempts: u32,
    pub(crate) max_age: Span,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            base: Span::seconds(1),
            max_delay: Span::seconds(3600),
            jitter: Span::seconds(1),
            max_attempts: 16,
            max_age: Span::seconds(24 * 3600),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) triggers: Vec<String>,
    pub(crate) folder: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) attach: Option<Vec<bridge::Target>>,
    pub(crate) advance_stage: Option<String>,
    pub(crate) log_task: Option<LogTask>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogTask {
    pub(crate) subject: String,
    #[serde(default)]
    pub(crate) description: String,
}

/// A length of time as people write it: `500ms`, `30s`, `2h`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span(pub(crate) Duration);

impl Span {
    const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|span| Duration::try_from(span).ok())
            .map(Self)
            .ok_or_else(|| {
                de::Error::custom(format!(
                    "`{text}` is no length of time; write 500ms, 30s or 2h"
                ))
            })
    }
}

/// Where a secret is: in a variable of the environment, or in a file. Never in the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Secret {
    Env(String),
    File(PathBuf),
}

impl Secret {
    pub(crate) fn read(&self) -> Result<SecretString, String> {
        let text = match self {
            Self::Env(name) => std::env::var(name)
                .map_err(|_| format!("the variable {name} is not set (or is not text)"))?,
            Self::File(path) => std::fs::read_to_string(path)
                .map_err(|error| format!("the file {} cannot be read: {error}", path.display()))?,
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(match self {
                Self::Env(name) => format!("the variable {name} is empty"),
                Self::File(path) => format!("the file {} is empty", path.display()),
            });
        }
        Ok(text.to_owned().into())
    }
}

impl Config {
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Setup(vec![format!("{}: {error}", path.display())]))?;
        let config = Self::parse(&text)
            .map_err(|line| Failure::Setup(vec![format!("{}{line}", path.display())]))?;
        let problems: Vec<_> = config
            .problems()
            .into_iter()
            .map(|problem| format!("{}: {problem}", path.display()))
            .collect();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(Failure::Setup(problems))
        }
    }

    /// One line on what is wrong, beginning with the place.
    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| {
                let before = text.get(..span.start).unwrap_or_default();
                1 + before.bytes().filter(|byte| *byte == b'\n').count()
            });
            let place = line.map(|line| format!(":{line}")).unwrap_or_default();
            let message = error.message().replace('\n', " ");
            format!("{place}: {}", with_nearest(&message))
        })
    }

    /// What is well written and cannot work.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |fine: bool, problem: &str| {
            if !fine {
                problems.push(problem.to_owned());
            }
        };
        check(
            self.webhook.primary_key.is_some() || self.webhook.secondary_key.is_some(),
            "webhook: set primary_key or secondary_key, as the Developer Console shows them",
        );
        check(
            self.webhook.path.starts_with('/'),
            "webhook.path must begin with /",
        );
        check(
            self.webhook.body_limit > 0,
            "webhook.body_limit must be above 0",
        );
        check(
            self.worker.concurrency > 0,
            "worker.concurrency must be above 0",
        );
        check(
            self.worker.lease.0 >= Duration::from_millis(300),
            "worker.lease must be at least 300ms",
        );
        check(
            self.worker.poll.0 >= Duration::from_millis(1),
            "worker.poll must be at least 1ms",
        );
        check(
            self.retry.max_attempts > 0,
            "retry.max_attempts must be above 0",
        );
        check(
            self.server.max_connections > 0,
            "server.max_connections must be above 0",
        );
        check(
            self.store.url.starts_with("sqlite:"),
            "store.url must be sqlite:FILE, such as sqlite:bridge.db",
        );
        if let BoxAuth::ClientCredentials {
            enterprise_id,
            user_id,
            ..
        } = &self.content.auth
        {
            check(
                enterprise_id.is_some() != user_id.is_some(),
                "box.auth: set exactly one of enterprise_id and user_id",
            );
        }
        check(
            !self.rules.is_empty(),
            "rules: without a [[rules]] nothing would ever be done",
        );
        let mut names = HashSet::new();
        for rule in &self.rules {
            if !names.insert(&rule.name) {
                problems.push(format!("rules: the name `{}` is there twice", rule.name));
            }
        }
        problems
    }

    pub(crate) fn store_path(&self) -> PathBuf {
        let path = self.store.url.trim_start_matches("sqlite:");
        PathBuf::from(path.strip_prefix("//").unwrap_or(path))
    }
}

/// serde names the unknown key and all known ones; a person wants the one that was meant.
fn with_nearest(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return message.to_owned();
    };
    let Some((unknown, known)) = rest.split_once('`') else {
        return message.to_owned();
    };
    let nearest = known.split('`').skip(1).step_by(2).max_by(|a, b| {
        strsim::jaro_winkler(a, unknown).total_cmp(&strsim::jaro_winkler(b, unknown))
    });
    match nearest {
        Some(nearest) => format!("unknown key `{unknown}`; the nearest known one is `{nearest}`"),
        None => format!("unknown key `{unknown}`"),
    }
}

fn thirty_days() -> Span {
    Span::seconds(30 * 24 * 3600)
}
fn ten_minutes() -> Span {
    Span::seconds(600)
}
fn five_minutes() -> Span {
    Span::seconds(300)
}
fn one_minute() -> Span {
    Span::seconds(60)
}
fn one_mebibyte() -> usize {
    1024 * 1024
}
fn webhook_path() -> String {
    "/webhooks/box".into()
}
fn box_url() -> String {
    "https://api.box.com".into()
}
fn salesforce_url() -> String {
    "https://login.salesforce.com".into()
}
fn api_version() -> String {
    "58.0".into()
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
fn completed() -> String {
    "Completed".into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const EXAMPLE: &str = include_str!("../../../bridge.example.toml");

    #[test]
    fn the_example_is_a_whole_configuration() {
        let config = Config::parse(EXAMPLE).unwrap();
        assert_eq!(config.problems(), Vec::<String>::new());
    }

    #[test]
    fn the_example_shows_every_default_as_it_is() {
        let config = Config::parse(EXAMPLE).unwrap();
        let shown = format!(
            "{:?}{:?}{:?}{:?}",
            config.server, config.worker, config.retry, config.content.calls
        );
        let defaults = format!(
            "{:?}{:?}{:?}{:?}",
            Server::default(),
            Worker::default(),
            Retry::default(),
            Calls::default()
        );
        assert_eq!(shown, defaults);
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
        let text = EXAMPLE.replace("\nlisten =", "\nlisen =");
        let line = Config::parse(&text).unwrap_err();
        assert!(
            line.contains("unknown key `lisen`; the nearest known one is `listen`"),
            "{line}"
        );
        assert!(line.starts_with(':') && !line.contains('\n'), "{line}");
    }

    #[test]
    fn a_bad_value_is_named_in_one_line() {
        for (from, to) in [
            ("lease = \"60s\"", "lease = \"soon\""),
            ("lease = \"60s\"", "lease = \"-5s\""),
            ("concurrency = 8", "concurrency = -1"),
            ("listen = \"127.0.0.1:8080\"", "listen = \"everywhere\""),
            (
                "attach = [\"opportunity\", \"account\"]",
                "attach = [\"contact\"]",
            ),
        ] {
            let text = EXAMPLE.replace(from, to);
            assert_ne!(text, EXAMPLE, "{from} is not in the example");
            let line = Config::parse(&text).unwrap_err();
            assert!(!line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn what_cannot_work_is_told_at_once() {
        let text = EXAMPLE
            .replace("concurrency = 8", "concurrency = 0")
            .replace("url = \"sqlite:", "url = \"mysql:");
        let problems = Config::parse(&text).unwrap().problems();
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
