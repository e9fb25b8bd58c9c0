//! Salesforce: the token, the calls of the day, the version, and what the rules need of the org.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::StreamExt;
use http::Method;
use jiff::Timestamp;
use salesforce_client::{Error, ErrorKind, FieldDescribe, ObjectDescribe, SalesforceClient};
use serde_json::Value;

use super::{
    Checks, clock,
    fields::{Need, needs},
    finding::Finding,
    within,
};
use crate::{config::Config, in_one_line};

/// So many objects are described at a time.
const AT_ONCE: usize = 4;
/// What is written into a unique field, at most.
const LONGEST_KEY: usize = 64;
const TOKEN: &str = "salesforce.token";
const RIGHTS: &str = "let an administrator give it to the user of the service by a permission set";

pub(super) fn checks<'c>(config: &'c Config, client: &SalesforceClient, checks: &mut Checks<'c>) {
    let client = || client.clone();
    checks.push_back(within(config, TOKEN, token(config, client())));
    checks.push_back(within(
        config,
        "salesforce.version",
        version(config, client()),
    ));
    checks.push_back(within(
        config,
        "salesforce.stages",
        stages(config, client()),
    ));
    checks.push_back(within(
        config,
        "salesforce.topics",
        topics(config, client()),
    ));
    checks.push_back(within(
        config,
        "salesforce.fields",
        objects(config, client()),
    ));
}

/// The token, the calls that are left, and the time that Salesforce has.
async fn token(config: &Config, client: SalesforceClient) -> Vec<Finding> {
    let about = TOKEN;
    let from = Timestamp::now();
    let reply = client.request(Method::GET, "/limits").send().await;
    let to = Timestamp::now();
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return vec![failed(about, &error)],
    };
    let limits: Value = reply.json().unwrap_or_default();
    let calls = &limits["DailyApiRequests"];
    let mut found = vec![Finding::ok(
        about,
        "logged in, with the right to use the API",
    )];
    if let (Some(most), Some(left)) = (calls["Max"].as_u64(), calls["Remaining"].as_u64()) {
        let says = format!("{left} of {most} calls of the day are left");
        let reserve = (most as f64 * config.salesforce.budget.reserve) as u64;
        found.push(match left > reserve {
            true => Finding::ok("salesforce.calls", says),
            false => Finding::warning(
                "salesforce.calls",
                format!("{says}, which salesforce.budget.reserve leaves to others"),
                "the service goes on when there are more again",
            ),
        });
    }
    let taken = clock::Taken { from, to };
    found.push(clock::of_salesforce(config, &reply.headers, taken));
    found
}

fn failed(about: &str, error: &Error) -> Finding {
    if error.kind() == ErrorKind::Auth && about != TOKEN {
        return Finding::not_checked(about, TOKEN);
    }
    let todo = match error.kind() {
        ErrorKind::Auth => {
            "see salesforce.auth and login_url: the app's id, its secret or key, and whether the \
             user may use the app"
        }
        ErrorKind::Forbidden => RIGHTS,
        ErrorKind::DailyLimit | ErrorKind::ConcurrentLimit | ErrorKind::RateLimited => {
            "the org's calls are used up: try again later"
        }
        ErrorKind::Store => "see [secrets] in the configuration",
        ErrorKind::NotFound => "see salesforce.login_url and api_version",
        ErrorKind::Server => "Salesforce has to recover: try again later",
        _ => "see whether this machine gets to salesforce.login_url, through a firewall or proxy",
    };
    Finding::problem(about, in_one_line(error), todo)
}

async fn version(config: &Config, client: SalesforceClient) -> Vec<Finding> {
    let about = "salesforce.version";
    let wanted = &config.salesforce.api_version;
    let versions = match client.versions().await {
        Ok(versions) => versions,
        Err(error) => return vec![failed(about, &error)],
    };
    let is_there = |it: &str| versions.iter().any(|known| known.version == it);
    let newest = versions.last().map_or("none", |newest| &newest.version);
    vec![match is_there(wanted.trim_start_matches('v')) {
        true => Finding::ok(about, format!("the org speaks {wanted}")),
        false => Finding::problem(
            about,
            format!("the org does not speak {wanted}; its newest is {newest}"),
            "set salesforce.api_version to one that it speaks",
        ),
    }]
}

/// The stages that rules advance to.
async fn stages(config: &Config, client: SalesforceClient) -> Vec<Finding> {
    let about = "salesforce.stages";
    let wanted: BTreeSet<_> = config
        .rules
        .iter()
        .filter_map(|rule| rule.advance_stage.as_deref())
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let stages = match client.opportunities().stages().await {
        Ok(stages) => stages,
        Err(error) => return vec![failed(about, &error)],
    };
    let known: Vec<_> = stages.iter().map(|stage| stage.api_name.as_str()).collect();
    let unknown: Vec<_> = wanted.iter().filter(|it| !known.contains(*it)).collect();
    match unknown.is_empty() {
        true => vec![Finding::ok(about, "the org has those of the rules")],
        false => unknown
            .into_iter()
            .map(|stage| {
                let says = format!("the org has no stage `{stage}`");
                let todo = format!("write one of these: {}", known.join(", "));
                Finding::problem(about, says, todo)
            })
            .collect(),
    }
}

/// The topics of the event bus.
async fn topics(config: &Config, client: SalesforceClient) -> Vec<Finding> {
    let about = "salesforce.topics";
    let Some(pubsub) = &config.salesforce.events.pubsub else {
        return Vec::new();
    };
    let bus = match client.pubsub().endpoint(&pubsub.endpoint).build() {
        Ok(bus) => bus,
        Err(error) => return vec![failed(about, &error)],
    };
    let mut found = Vec::new();
    for topic in &pubsub.topics {
        let name = topic.name();
        found.push(match bus.topic(name).await {
            Ok(topic) if topic.can_subscribe => Finding::ok(about, format!("{name} is there")),
            Ok(_) => Finding::problem(about, format!("we may not subscribe to {name}"), RIGHTS),
            Err(error) if error.kind() == ErrorKind::NotFound => Finding::problem(
                about,
                format!("there is no {name}"),
                "make the platform event, or switch Change Data Capture on for the object in Setup",
            ),
            Err(error) => failed(about, &error),
        });
    }
    found
}

async fn objects(config: &Config, client: SalesforceClient) -> Vec<Finding> {
    let client = Arc::new(client);
    let found = futures_util::stream::iter(needs(config)).map(|(object, needs)| {
        let client = Arc::clone(&client);
        async move {
            let about = format!("salesforce.{object}");
            let described = match client.sobject(&object).describe().send().await {
                Ok(described) => described,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let says = format!("the org has no {object}, or hides it from us");
                    return vec![Finding::problem(&about, says, RIGHTS)];
                }
                Err(error) => return vec![failed(&about, &error)],
            };
            let wrong: Vec<_> = needs
                .iter()
                .filter_map(|(need, by)| unmet(&about, &described, need, by))
                .collect();
            match wrong.is_empty() {
                true => vec![Finding::ok(&about, "the rules have what they need of it")],
                false => wrong,
            }
        }
    });
    let found: Vec<_> = found.buffered(AT_ONCE).collect().await;
    found.into_iter().flatten().collect()
}

fn unmet(about: &str, object: &ObjectDescribe, need: &Need, by: &str) -> Option<Finding> {
    let problem = |says: &str, todo: &str| Some(Finding::problem(about, says, todo));
    let field = |name: &str| {
        find(object, name).ok_or_else(|| {
            Finding::problem(
                about,
                format!("there is no field {name}, which {by} uses, or it is hidden from us"),
                "make the field, and let the user of the service see it (field-level security)",
            )
        })
    };
    match need {
        Need::Create if object.summary.createable => None,
        Need::Create => problem(&format!("we may not make one, which {by} does"), RIGHTS),
        Need::Replication if object.summary.replicateable => None,
        Need::Replication => problem(
            &format!("{by} cannot ask what has changed of it"),
            "take it out there, and let an outbound message or Pub/Sub tell of it",
        ),
        Need::Read(name) => field(name).err(),
        Need::Write(name) => match field(name) {
            Err(finding) => Some(finding),
            Ok(it) if it.updateable => None,
            Ok(_) => problem(&format!("we may not set {name}, which {by} does"), RIGHTS),
        },
        Need::Unique(name) => match field(name) {
            Err(finding) => Some(finding),
            Ok(it) if !it.createable => problem(&format!("we may not set {name}"), RIGHTS),
            Ok(it) if !it.unique => problem(
                &format!("{name} is not unique, so it keeps no double away"),
                "mark it as unique and as external id in Setup, or leave the key out",
            ),
            Ok(it) if (it.length as usize) < LONGEST_KEY => problem(
                &format!(
                    "{name} takes {} characters, and keys have up to {LONGEST_KEY}",
                    it.length
                ),
                "make it longer in Setup",
            ),
            Ok(it) if !it.external_id => Some(Finding::warning(
                about,
                format!("{name} is not marked as external id"),
                "mark it in Setup: looking for its values is slow without",
            )),
            Ok(_) => None,
        },
        Need::Value(name, value) => match field(name) {
            Err(finding) => Some(finding),
            // An org that lists none takes any.
            Ok(it) if it.picklist_values.is_empty() || takes(it, value) => None,
            Ok(it) => {
                let values = it.picklist_values.iter().filter(|it| it.active);
                let values: Vec<_> = values.map(|it| it.value.as_str()).collect();
                problem(
                    &format!("{name} has no value `{value}`, which {by} names"),
                    &format!("write one of these: {}", values.join(", ")),
                )
            }
        },
    }
}

fn takes(field: &FieldDescribe, value: &str) -> bool {
    let mut values = field.picklist_values.iter().filter(|it| it.active);
    values.any(|it| it.value == value)
}

/// Of a path such as `Owner.Name`, the field that leads there.
fn find<'o>(object: &'o ObjectDescribe, name: &str) -> Option<&'o FieldDescribe> {
    let Some((relationship, _)) = name.split_once('.') else {
        return object.field(name);
    };
    object.fields.iter().find(|field| {
        let leads = field.relationship_name.as_deref();
        leads.is_some_and(|it| it.eq_ignore_ascii_case(relationship))
    })
}
