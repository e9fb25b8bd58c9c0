//! The configuration file: every key, its default, and what is wrong with it in one line.

mod api;
mod budget;
mod calls;
mod check;
mod content;
mod events;
mod limits;
mod login;
mod problems;
mod provision;
mod rule;
mod salesforce;
mod secret;
mod secrets;
mod server;
mod span;
mod store;
mod sync;
mod template;
mod watch;
mod work;

use std::path::Path;

use serde::Deserialize;

pub(crate) use self::{
    api::Api,
    budget::Budget,
    calls::Calls,
    check::Check,
    content::{BoxAuth, BoxSide},
    events::{Events, Outbound, Topic},
    login::Login,
    provision::{Package, Provision, is_of_records},
    rule::Rule,
    salesforce::{LinkVisibility, SalesforceAuth, SalesforceSide},
    secret::Secret,
    secrets::Secrets,
    server::{Server, Webhook},
    span::Span,
    store::{Store, StoreUrl},
    sync::SyncMetadata,
    template::TemplateKey,
    watch::{EventStream, Watch},
    work::{Retry, Worker},
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
                "\"\"",
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

    /// Whoever sets one of two values that go together does not know the other's default.
    #[test]
    fn one_value_alone_is_not_held_against_the_default_of_another() {
        let sections = [
            ("salesforce.budget", "reserve = 0.3"),
            ("retry", "base = \"2h\""),
            ("worker", "outage_pause = \"2h\""),
            ("box.calls", "first_delay = \"1m\""),
            ("store", "url = \"sqlite:bridge.db\"\ntidy_every = \"7d\""),
        ];
        let all = all_on();
        for (section, value) in sections {
            let mut file: toml::Table = toml::from_str(&all).unwrap();
            let path: Vec<_> = section.split('.').collect();
            let (last, above) = path.split_last().unwrap();
            let mut at = &mut file;
            for name in above {
                at = at[*name].as_table_mut().unwrap();
            }
            let alone: toml::Table = toml::from_str(value).unwrap();
            at.insert((*last).to_owned(), alone.into());
            let problems = Config::parse(&toml::to_string(&file).unwrap())
                .unwrap()
                .problems();
            assert_eq!(problems, [""; 0], "{section}.{value}");
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
