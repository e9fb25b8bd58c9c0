//! What is well written and cannot work all the same, a line for each.

use std::{collections::HashSet, net::IpAddr, path::Path, time::Duration};

use super::{BoxAuth, Config, Provision, Rule, SalesforceAuth, Secrets, is_of_records};
use crate::in_one_line;

/// The shortest and the longest time that one Task can tell of.
const DIGEST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(7 * 24 * 3600));
/// Events whose item is not there to be read, so that nobody can tell which record they concern.
const ITEM_IS_GONE: [&str; 5] = [
    "FILE.DELETED",
    "FILE.TRASHED",
    "FOLDER.DELETED",
    "FOLDER.TRASHED",
    "WEBHOOK.DELETED",
];

impl Config {
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Problems(Vec::new());
        self.check_server(&mut problems);
        self.check_sides(&mut problems);
        problems.0.extend(self.out_of_limits());
        self.check_rules(&mut problems);
        self.check_watch(&mut problems);
        problems.url("login.box_authorize_url", &self.login.box_authorize_url);
        problems.0
    }

    fn check_server(&self, problems: &mut Problems) {
        let webhook = &self.webhook;
        problems.unless(
            webhook.primary_key.is_some() || webhook.secondary_key.is_some(),
            "webhook: set primary_key or secondary_key, as the Developer Console shows them",
        );
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
        problems.unless(
            webhook.path.starts_with('/') && webhook.path.chars().all(is_plain),
            "webhook.path must begin with / and have letters, digits and - _ . ~ only",
        );
        problems.unless(
            !["/healthz", "/metrics", "/readyz"].contains(&webhook.path.as_str()),
            "webhook.path is one of the service's own",
        );
        if self.api.is_some() {
            problems.unless(
                !webhook.path.starts_with("/v1/"),
                "webhook.path must not begin with /v1/, where the API is",
            );
            let outbound = self.salesforce.events.outbound.as_ref();
            problems.unless(
                outbound.is_none_or(|it| it.path != "/v1" && !it.path.starts_with("/v1/")),
                "salesforce.events.outbound.path must not begin with /v1, where the API is",
            );
        }
        let path = self.store.path().and_then(Path::to_str).unwrap_or_default();
        let is_file = !path.is_empty() && !path.starts_with(':') && !path.contains('?');
        problems.unless(
            self.store.is_postgres() || is_file,
            "store.url must be sqlite:FILE, such as sqlite:bridge.db, or postgres://…",
        );
        for problem in (self.secrets.iter()).flat_map(|it| it.problems(self.store.is_postgres())) {
            problems.unless(false, problem);
        }
        if let Some(Secrets::Vault { address, .. }) = &self.secrets {
            problems.url("secrets.address", address);
        }
        if let Some(Secrets::Aws {
            endpoint: Some(endpoint),
            ..
        }) = &self.secrets
        {
            problems.url("secrets.endpoint", endpoint);
        }
        let grants = (self.box_grant(), self.salesforce_grant());
        problems.unless(
            self.secrets.is_some() || grants == (None, None),
            "secrets: an auth of kind = \"refresh_token\" needs [secrets] to be kept in",
        );
        problems.unless(
            grants.0.is_none() || grants.0 != grants.1,
            "box.auth.grant and salesforce.auth.grant must differ",
        );
    }

    fn check_sides(&self, problems: &mut Problems) {
        let (content, crm) = (&self.content, &self.salesforce);
        if let BoxAuth::ClientCredentials {
            enterprise_id,
            user_id,
            ..
        } = &content.auth
        {
            problems.unless(
                enterprise_id.is_some() != user_id.is_some(),
                "box.auth: set exactly one of enterprise_id and user_id",
            );
        }
        problems.url("box.base_url", &content.base_url);
        problems.url("salesforce.login_url", &crm.login_url);
        let is_word = |text: &str| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
        };
        for (key, word) in [
            ("box.metadata_scope", Some(&content.metadata_scope)),
            ("box.metadata_template", Some(&content.metadata_template)),
            ("box.opportunity_key", Some(&content.opportunity_key)),
            ("box.account_key", Some(&content.account_key)),
            (
                "salesforce.version_key_field",
                crm.version_key_field.as_ref(),
            ),
            ("salesforce.task_key_field", crm.task_key_field.as_ref()),
        ] {
            problems.unless(
                word.is_none_or(|word| is_word(word)),
                format!("{key} must be a name of letters, digits, _ and -"),
            );
        }
        problems.unless(
            content.opportunity_key != content.account_key,
            "box.opportunity_key and box.account_key must differ",
        );
        problems.filled("salesforce.task_status", &crm.task_status);
        let (whole, part) = crm.api_version.split_once('.').unwrap_or_default();
        problems.unless(
            whole.parse::<u8>().is_ok_and(|version| version >= 30) && part == "0",
            format!(
                "salesforce.api_version is `{}`: it must be a version such as 58.0, from 30.0 on",
                crm.api_version.escape_debug()
            ),
        );
        self.check_credentials(problems);
        for problem in crm
            .events
            .problems(&[self.webhook.path.as_str(), "/healthz", "/readyz"])
        {
            problems.unless(false, problem);
        }
        if let Some(pubsub) = &crm.events.pubsub {
            problems.url("salesforce.events.pubsub.endpoint", &pubsub.endpoint);
        }
    }

    /// What of the credentials stands in the configuration itself.
    fn check_credentials(&self, problems: &mut Problems) {
        match &self.content.auth {
            BoxAuth::ClientCredentials {
                client_id,
                enterprise_id,
                user_id,
                ..
            } => {
                problems.filled("box.auth.client_id", client_id);
                for (key, id) in [
                    ("box.auth.enterprise_id", enterprise_id),
                    ("box.auth.user_id", user_id),
                ] {
                    problems.filled(key, id.as_deref().unwrap_or("none"));
                }
            }
            BoxAuth::RefreshToken {
                client_id, grant, ..
            } => {
                problems.filled("box.auth.client_id", client_id);
                problems.grant("box.auth.grant", grant);
            }
            BoxAuth::DeveloperToken { .. } => {}
        }
        match &self.salesforce.auth {
            SalesforceAuth::Jwt {
                client_id,
                username,
                audience,
                ..
            } => {
                problems.filled("salesforce.auth.client_id", client_id);
                problems.filled("salesforce.auth.username", username);
                if let Some(audience) = audience {
                    problems.url("salesforce.auth.audience", audience);
                }
            }
            SalesforceAuth::ClientCredentials { client_id, .. } => {
                problems.filled("salesforce.auth.client_id", client_id);
            }
            SalesforceAuth::RefreshToken {
                client_id, grant, ..
            } => {
                problems.filled("salesforce.auth.client_id", client_id);
                problems.grant("salesforce.auth.grant", grant);
            }
            SalesforceAuth::Token { instance_url, .. } => {
                problems.url("salesforce.auth.instance_url", instance_url);
            }
        }
    }

    fn check_watch(&self, problems: &mut Problems) {
        for problem in self.watch.problems() {
            problems.unless(false, problem);
        }
        if !self.watch.folders.is_empty() {
            problems.url("watch.address", &self.watch.address);
        }
    }

    fn check_rules(&self, problems: &mut Problems) {
        problems.unless(
            !self.rules.is_empty(),
            "rules: without a [[rules]] nothing would ever be done",
        );
        let mut names = HashSet::new();
        for rule in &self.rules {
            problems.unless(
                names.insert(&rule.name),
                format!(
                    "rules: the name `{}` is there twice",
                    rule.name.escape_debug()
                ),
            );
            check_rule(rule, problems);
        }
        for problem in self.template_problems() {
            problems.unless(false, problem);
        }
    }
}

/// What a trigger of records ends with.
const DONE_TO_RECORDS: [&str; 6] = ["CREATED", "UPDATED", "CHANGED", "DELETED", "UNDELETED", "*"];

fn check_rule(rule: &Rule, problems: &mut Problems) {
    let name = rule.name.escape_debug();
    problems.unless(
        !rule.triggers.is_empty(),
        format!("rule `{name}`: triggers is empty, so nothing would ever start it"),
    );
    problems.unless(
        !rule.name.trim().is_empty() && !rule.name.contains(char::is_control),
        format!("rule `{name}`: the name must be a line of text"),
    );
    for trigger in &rule.triggers {
        problems.unless(
            !is_of_records(trigger)
                || trigger
                    .split_once('.')
                    .is_some_and(|(_, done)| DONE_TO_RECORDS.contains(&done)),
            format!(
                "rule `{name}`: nothing tells of {}; what can be done to a record is one of {}",
                trigger.escape_debug(),
                DONE_TO_RECORDS.join(", ")
            ),
        );
        problems.unless(
            !ITEM_IS_GONE.contains(&trigger.as_str()),
            format!(
                "rule `{name}`: {trigger} comes when nothing is left to be read, so its actions \
                 could do nothing"
            ),
        );
        problems.unless(
            rule.attach.is_none() || !trigger.starts_with("FOLDER."),
            format!("rule `{name}`: {trigger} comes without a file, so attach could do nothing"),
        );
    }
    problems.unless(
        rule.attach
            .as_ref()
            .is_none_or(|targets| !targets.is_empty()),
        format!("rule `{name}`: attach names no record"),
    );
    problems.unless(
        rule.attach.is_some()
            || rule.advance_stage.is_some()
            || rule.log_task.is_some()
            || rule.provision.is_some()
            || rule.sync_metadata.is_some(),
        format!(
            "rule `{name}`: it does nothing; set attach, advance_stage, log_task, provision or \
             sync_metadata"
        ),
    );
    problems.unless(
        rule.provision.is_none() || rule.triggers.iter().all(|it| is_of_records(it)),
        format!("rule `{name}`: provision needs triggers of records, such as Opportunity.*"),
    );
    for problem in rule.provision.iter().flat_map(Provision::problems) {
        problems.unless(false, format!("rule `{name}`: {problem}"));
    }
    if let Some(Err(error)) = rule.sync_metadata.as_ref().map(|it| it.map()) {
        problems.unless(false, format!("rule `{name}`: sync_metadata: {error}"));
    }
    if let Some(wanted) = &rule.provision {
        let key = format!("rule `{name}`: provision.link_base");
        problems.filled(&key, &wanted.link_base);
    }
    if let Some(task) = &rule.log_task {
        problems.filled(&format!("rule `{name}`: log_task.subject"), &task.subject);
        problems.unless(
            task.digest
                .is_none_or(|every| (DIGEST.0..=DIGEST.1).contains(&every.0)),
            format!(
                "rule `{name}`: log_task.digest is {}: one Task tells of a time that people oversee; it \
                 can be from 1s to 7d",
                task.digest.map(|it| it.to_string()).unwrap_or_default()
            ),
        );
    }
    for (key, text) in [
        ("folder", &rule.folder),
        ("file", &rule.file),
        ("advance_stage", &rule.advance_stage),
    ] {
        problems.unless(
            text.as_ref().is_none_or(|text| !text.trim().is_empty()),
            format!("rule `{name}`: {key} must not be empty"),
        );
    }
}

struct Problems(Vec<String>);

impl Problems {
    fn unless(&mut self, fine: bool, problem: impl Into<String>) {
        if !fine {
            self.0.push(problem.into());
        }
    }

    fn filled(&mut self, key: &str, text: &str) {
        self.unless(
            !text.trim().is_empty() && !text.contains(char::is_control),
            format!(
                "{key} is `{}`: it must be a line of text",
                text.escape_debug()
            ),
        );
    }

    fn grant(&mut self, key: &str, name: &str) {
        if let Err(error) = bridge::secrets::SecretName::new(name) {
            let name = name.escape_debug();
            self.0
                .push(format!("{key} is `{name}`: {}", in_one_line(&error)));
        }
    }

    fn url(&mut self, key: &str, text: &str) {
        let problem = match url::Url::parse(text) {
            Err(error) => format!("{error}"),
            Ok(url) => match (url.scheme(), url.host_str()) {
                ("https", Some(_)) => return,
                ("http", Some(host)) if is_this_machine(host) => return,
                ("http", Some(_)) => "http is for this machine only; write https".to_owned(),
                _ => "it must begin with https://".to_owned(),
            },
        };
        let text = text.escape_debug();
        self.0.push(format!("{key} is `{text}`: {problem}"));
    }
}

fn is_this_machine(host: &str) -> bool {
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}
