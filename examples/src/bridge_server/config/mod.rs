//! The configuration file: every key, its default, and what is wrong with it in one line.

mod api;
mod budget;
mod check;
mod events;
mod limits;
mod login;
mod problems;
mod provision;
mod secret;
mod secrets;
mod span;
mod sync;
mod template;
mod watch;

use std::{net::SocketAddr, path::Path, time::Duration};

use serde::Deserialize;

pub(crate) use self::{
    api::Api,
    budget::Budget,
    check::Check,
    events::{Events, Outbound, Topic},
    login::Login,
    provision::{Package, Provision, is_of_records},
    secret::Secret,
    secrets::Secrets,
    span::Span,
    sync::SyncMetadata,
    template::TemplateKey,
    watch::{EventStream, Watch},
};
use crate::Failure;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default)]
    pub(crate) server: Server,
    pub(crate) store: Store,
    pub(crate) secrets: Option<Secrets>,
    pub(crate) webhook: Webhook,
    #[serde(rename = "box")]
    pub(crate) content: BoxSide,
    pub(crate) salesforce: SalesforceSide,
    #[serde(default)]
    pub(crate) worker: Worker,
    #[serde(default)]
    pub(crate) retry: Retry,
    pub(crate) api: Option<Api>,
    #[serde(default)]
    pub(crate) watch: Watch,
    #[serde(default)]
    pub(crate) login: Login,
    #[serde(default)]
    pub(crate) check: Check,
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
    pub(crate) transfers: usize,
    pub(crate) lease: Span,
    pub(crate) poll: Span,
    pub(crate) grace: Span,
    pub(crate) settle_after: Span,
    pub(crate) overtaken_within: Span,
    pub(crate) outage_after: u32,
    pub(crate) outage_pause: Span,
    pub(crate) longest_outage_pause: Span,
    pub(crate) after_dead: AfterDead,
    pub(crate) compare_checksums: bool,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            concurrency: 64,
            transfers: 8,
            lease: Span::seconds(60),
            poll: Span(Duration::from_millis(500)),
            grace: Span::seconds(30),
            settle_after: Span::seconds(30),
            overtaken_within: Span::seconds(3 * 3600),
            outage_after: 5,
            outage_pause: Span::seconds(300),
            longest_outage_pause: Span::seconds(3600),
            after_dead: AfterDead::Skip,
            compare_checksums: false,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AfterDead {
    Skip,
    Hold,
}

impl From<AfterDead> for bridge::AfterDead {
    fn from(policy: AfterDead) -> Self {
        match policy {
            AfterDead::Skip => Self::Skip,
            AfterDead::Hold => Self::Hold,
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
    pub(crate) versions: Option<bridge::Versions>,
    pub(crate) attach: Option<Vec<bridge::Target>>,
    pub(crate) advance_stage: Option<String>,
    pub(crate) log_task: Option<LogTask>,
    pub(crate) provision: Option<Provision>,
    pub(crate) sync_metadata: Option<SyncMetadata>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogTask {
    pub(crate) subject: String,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) contact: Option<bridge::Whom>,
    #[serde(default)]
    pub(crate) several_contacts: bridge::Several,
    pub(crate) digest: Option<Span>,
}

impl Config {
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Setup(vec![format!("{}: {error}", path.display())]))?;
        let mut config = Self::parse(&text)
            .map_err(|line| Failure::Setup(vec![format!("{}{line}", path.display())]))?;
        let problems: Vec<_> = config
            .problems()
            .into_iter()
            .map(|problem| format!("{}: {problem}", path.display()))
            .collect();
        config.at_home(path.parent().unwrap_or(Path::new("")));
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

    /// Makes relative paths start at the folder of the configuration, wherever the program runs.
    fn at_home(&mut self, home: &Path) {
        if let StoreUrl::Open(url) = &mut self.store.url
            && let Some(path) = url.strip_prefix("sqlite:")
            && !path.is_empty()
        {
            let path = home.join(path.strip_prefix("//").unwrap_or(path));
            *url = format!("sqlite:{}", path.display());
        }
        let mut secrets: Vec<&mut Secret> = Vec::new();
        if let StoreUrl::Secret(url) = &mut self.store.url {
            secrets.push(url);
        }
        secrets.extend(&mut self.webhook.primary_key);
        secrets.extend(&mut self.webhook.secondary_key);
        secrets.extend(self.api.as_mut().map(|api| &mut api.token));
        secrets.push(match &mut self.content.auth {
            BoxAuth::ClientCredentials { client_secret, .. }
            | BoxAuth::RefreshToken { client_secret, .. } => client_secret,
            BoxAuth::DeveloperToken { token } => token,
        });
        secrets.extend(match &mut self.salesforce.auth {
            SalesforceAuth::Jwt { private_key, .. } => Some(private_key),
            SalesforceAuth::ClientCredentials { client_secret, .. } => Some(client_secret),
            SalesforceAuth::RefreshToken { client_secret, .. } => client_secret.as_mut(),
            SalesforceAuth::Token { token, .. } => Some(token),
        });
        for secret in secrets {
            secret.at_home(home);
        }
        if let Some(secrets) = &mut self.secrets {
            secrets.at_home(home);
        }
        self.salesforce.events.at_home(home);
    }

    /// The name of Box's grant in the secret store, if it is kept there.
    pub(crate) fn box_grant(&self) -> Option<&str> {
        match &self.content.auth {
            BoxAuth::RefreshToken { grant, .. } => Some(grant),
            _ => None,
        }
    }

    /// The name of Salesforce's grant in the secret store, if it is kept there.
    pub(crate) fn salesforce_grant(&self) -> Option<&str> {
        match &self.salesforce.auth {
            SalesforceAuth::RefreshToken { grant, .. } => Some(grant),
            _ => None,
        }
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
fn four_hundred_days() -> Span {
    Span::seconds(400 * 24 * 3600)
}
fn sixteen() -> usize {
    16
}
fn ten_minutes() -> Span {
    Span::seconds(600)
}
fn five_minutes() -> Span {
    Span::seconds(300)
}
fn ten_seconds() -> Span {
    Span::seconds(10)
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
fn one_mebibyte() -> usize {
    1024 * 1024
}
fn two_seconds() -> Span {
    Span(Duration::from_secs(2))
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
fn box_grant() -> String {
    "box".into()
}
fn salesforce_grant() -> String {
    "salesforce".into()
}
fn completed() -> String {
    "Completed".into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    const EXAMPLE: &str = include_str!("../../../../bridge.example.toml");

    /// The example with all that is switched off in it switched on: lines with # and no space.
    pub(super) fn all_on() -> String {
        let on = |line: &'static str| match line.strip_prefix('#') {
            Some(off) if !off.is_empty() && !off.starts_with(' ') => off,
            _ => line,
        };
        EXAMPLE.lines().map(on).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_example_is_a_whole_configuration() {
        for text in [EXAMPLE, &all_on()] {
            let config = Config::parse(text).unwrap();
            assert_eq!(config.problems(), Vec::<String>::new());
        }
    }

    #[test]
    fn the_example_as_it_is_does_contract_to_close_and_needs_credentials_alone() {
        let config = Config::parse(EXAMPLE).unwrap();
        assert!(config.secrets.is_none() && config.api.is_none());
        assert!(config.watch.folders.is_empty());
        let Events {
            outbound: None,
            poll: None,
            pubsub: None,
        } = config.salesforce.events
        else {
            panic!("{:?}", config.salesforce.events);
        };
        assert_eq!(config.rules.len(), 1);
        assert!(config.rules[0].attach.is_some() && config.rules[0].advance_stage.is_some());
        let lines = EXAMPLE.lines().filter(|line| !line.starts_with('#'));
        let secrets: Vec<_> = lines
            .filter(|line| line.contains("{ env =") || line.contains("{ file ="))
            .map(|line| line.split(" = ").next().unwrap())
            .collect();
        assert_eq!(secrets, ["primary_key", "client_secret", "private_key"]);
    }

    /// The example, all on, with every line taken out that says of itself that it is a default.
    #[test]
    fn the_example_shows_every_default_as_it_is() {
        let all = all_on();
        let is_needed = |line: &&str| !line.contains("# default;") && !line.ends_with("# default");
        let short: Vec<_> = all.lines().filter(is_needed).collect();
        assert!(short.len() + 30 < all.lines().count());
        let shown = Config::parse(&all).unwrap();
        let defaults = Config::parse(&short.join("\n")).unwrap();
        assert_eq!(format!("{shown:?}"), format!("{defaults:?}"));
    }

    /// Of the places for secrets it shows one, and the others in comments.
    #[test]
    fn every_place_for_secrets_that_the_example_tells_of_can_be_had() {
        for kind in ["vault", "aws"] {
            let all = all_on();
            let (before, secrets) = all.split_once("\n[secrets]").unwrap();
            let (secrets, after) = secrets.split_once("\n[webhook]").unwrap();
            let (_, told) = secrets.split_once(&format!("# kind = \"{kind}\"")).unwrap();
            let keys = told.lines().skip(1).map_while(|it| it.strip_prefix("# "));
            let keys: Vec<_> = keys.take_while(|it| it.contains(" = ")).collect();
            let keys = keys.join("\n").replace('…', "a");
            let text = format!("{before}\n[secrets]\nkind = \"{kind}\"\n{keys}\n[webhook]{after}");
            let config = Config::parse(&text).unwrap();
            let problems = config.problems();
            assert_eq!(problems, Vec::<String>::new(), "{kind}");
        }
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
            ("concurrency = 64", "concurrency = -1"),
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
    fn what_the_vendors_would_refuse_for_each_record_is_told_at_once() {
        let all = all_on();
        for (from, to, says) in [
            ("role = \"editor\"", "role = \"editr\"", "no role `editr`"),
            ("role = \"editor\"", "role = \"owner\"", "no role `owner`"),
            ("root = \"0\"", "root = \"Clients\"", "no folder's id"),
            ("group = \"12345\"", "group = \"Sales\"", "`Sales` is no id"),
            ("\"Box_Folder__c\"", "\"Box Folder\"", "no field's name"),
            (
                "key = \"deal\"",
                "key = \"amount\"",
                "`amount` cannot be both string and float",
            ),
        ] {
            let text = all.replacen(from, to, 1);
            assert_ne!(text, all, "{from} is not in the example");
            let problems = Config::parse(&text).unwrap().problems();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains(says), "{problems:?}");
        }
    }

    #[test]
    fn a_text_that_cannot_work_is_told_by_its_key() {
        let all = all_on();
        for (from, to, key) in [
            (
                "task_status = \"Completed\"",
                "task_status = \" \"",
                "salesforce.task_status",
            ),
            (
                "api_version = \"58.0\"",
                "api_version = \"v58\"",
                "salesforce.api_version",
            ),
            (
                "api_version = \"58.0\"",
                "api_version = \"20.0\"",
                "salesforce.api_version",
            ),
            (
                "client_id = \"your application's client id\"",
                "client_id = \"\"",
                "box.auth.client_id",
            ),
            (
                "client_id = \"your app's consumer key\"",
                "client_id = \"\"",
                "salesforce.auth.client_id",
            ),
            (
                "username = \"integration@example.com\"",
                "username = \"\"",
                "salesforce.auth.username",
            ),
            (
                "enterprise_id = \"12345\"",
                "enterprise_id = \"\"",
                "box.auth.enterprise_id",
            ),
            (
                "\"https://app.box.com/folder/\"",
                "\"app.box.com\"",
                "provision.link_base",
            ),
            (
                "subject = \"{file.name} was looked at\"",
                "subject = \"\"",
                "log_task.subject",
            ),
        ] {
            let text = all.replacen(from, to, 1);
            assert_ne!(text, all, "{from} is not in the example");
            let problems = Config::parse(&text).unwrap().problems();
            assert_eq!(problems.len(), 1, "{key}: {problems:?}");
            assert!(problems[0].contains(&format!("{key} is `")), "{problems:?}");
        }
    }

    #[test]
    fn what_cannot_work_is_told_at_once() {
        let text = EXAMPLE
            .replace("concurrency = 64", "concurrency = 0")
            .replace("settle_after = \"30s\"", "settle_after = \"29s\"")
            .replace("url = \"sqlite:", "url = \"mysql:");
        let problems = Config::parse(&text).unwrap().problems();
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
