//! Box: who we are there, what we may do, and the metadata template.

use std::collections::BTreeMap;

use box_client::{BoxClient, Error, ErrorKind, FieldType, MetadataTemplate};
use bridge::{BoxContent, metadata::ValueKind};
use http::Method;
use jiff::Timestamp;
use serde_json::Value;

use super::{Checks, clock, finding::Finding, hooks, within};
use crate::{
    config::{Config, Rule, TemplateKey},
    in_one_line,
};

const TOKEN: &str = "box.token";
const CONSOLE: &str = "Developer Console, Configuration, Application Scopes";

pub(super) fn checks<'c>(config: &'c Config, content: &BoxContent, checks: &mut Checks<'c>) {
    let client = content.client();
    checks.push_back(within(config, TOKEN, token(config, client.clone())));
    checks.push_back(within(
        config,
        "box.template",
        template(config, client.clone()),
    ));
    checks.push_back(within(
        config,
        "box.folders",
        folders(config, client.clone()),
    ));
    checks.push_back(within(
        config,
        "box.webhooks",
        hooks::found(config, content.clone()),
    ));
}

/// The token, whose it is, and the time that Box has.
async fn token(config: &Config, client: BoxClient) -> Vec<Finding> {
    let about = TOKEN;
    let from = Timestamp::now();
    let reply = client.request(Method::GET, "/users/me").send().await;
    let to = Timestamp::now();
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return vec![failed(about, &error)],
    };
    let user: Value = reply.json().unwrap_or_default();
    let text = |key: &str| user[key].as_str().unwrap_or("?").to_owned();
    let says = format!("logged in as {} ({})", text("name"), text("login"));
    vec![
        Finding::ok(about, says),
        clock::of_box(config, &reply.headers, clock::Taken { from, to }),
    ]
}

/// What a call that failed means for whoever looks after the service.
pub(super) fn failed(about: &str, error: &Error) -> Finding {
    if error.kind() == ErrorKind::Auth && about != TOKEN {
        return Finding::not_checked(about, TOKEN);
    }
    let says = in_one_line(error);
    let todo = match error.kind() {
        ErrorKind::Auth => {
            "see box.auth: the client id and secret, and whether an administrator has authorized \
             the application (Admin Console, Platform Apps)"
        }
        ErrorKind::Forbidden => CONSOLE,
        ErrorKind::Store => "see [secrets] in the configuration",
        ErrorKind::NotFound => "see box.base_url",
        ErrorKind::Server | ErrorKind::RateLimited => "Box has to recover: try again later",
        _ => "see whether this machine gets to box.base_url, through a firewall or proxy",
    };
    Finding::problem(about, says, todo)
}

async fn template(config: &Config, client: BoxClient) -> Vec<Finding> {
    let about = "box.template";
    let side = &config.content;
    let (scope, key) = (&side.metadata_scope, &side.metadata_template);
    let template = match client.metadata_templates().get(scope, key).await {
        Ok(template) => template,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return vec![match config.rules.iter().any(makes_keys) {
                true => Finding::warning(about, format!("there is no {scope}.{key} yet"), MADE),
                false => Finding::problem(
                    about,
                    format!("there is no {scope}.{key}"),
                    "make it in the Admin Console: Content, Metadata",
                ),
            }];
        }
        Err(error) => return vec![failed(about, &error)],
    };
    let wrong: Vec<_> = config
        .template_keys()
        .iter()
        .filter_map(|wanted| {
            let mut rules = config.rules.iter().filter(|rule| rule.name == wanted.by);
            let is_made = rules.any(makes_keys);
            lacks(about, &template, key, wanted, is_made)
        })
        .collect();
    match wrong.is_empty() {
        true => vec![Finding::ok(about, format!("{scope}.{key} has all keys"))],
        false => wrong,
    }
}

const MADE: &str = "the first record that needs it makes it, if the user may edit templates";

/// Whether the rule's action makes the keys that the template lacks.
fn makes_keys(rule: &Rule) -> bool {
    rule.provision.is_some() || rule.sync_metadata.is_some()
}

fn lacks(
    about: &str,
    template: &MetadataTemplate,
    name: &str,
    wanted: &TemplateKey<'_>,
    is_made: bool,
) -> Option<Finding> {
    let TemplateKey { key, kind, by, .. } = wanted;
    let Some(field) = template.field(key) else {
        let says = format!("{name} has no key {key}, which `{by}` uses");
        return Some(match is_made {
            true => Finding::warning(about, says, MADE),
            false => Finding::problem(
                about,
                says,
                "add it in the Admin Console: Content, Metadata",
            ),
        });
    };
    let is_of_kind = match kind {
        ValueKind::String => field.kind == FieldType::String,
        ValueKind::Float => matches!(field.kind, FieldType::Float | FieldType::Integer),
        ValueKind::Date => field.kind == FieldType::Date,
        ValueKind::Enum => field.kind == FieldType::Enum,
        ValueKind::MultiSelect => field.kind == FieldType::MultiSelect,
    };
    (!is_of_kind).then(|| {
        Finding::problem(
            about,
            format!(
                "{name} has {key} as {:?}, and `{by}` as {kind:?}",
                field.kind
            ),
            "let the rule say the type that the template has",
        )
    })
}

/// The folders that the configuration names, and what we may do in them.
async fn folders(config: &Config, client: BoxClient) -> Vec<Finding> {
    let mut wanted: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for folder in &config.watch.folders {
        wanted.entry(folder).or_default();
    }
    for provision in config.rules.iter().filter_map(|it| it.provision.as_ref()) {
        let rights = wanted.entry(&provision.root).or_default();
        rights.push(("can_upload", "make folders in it"));
        if !provision.collaborators.is_empty() {
            rights.push(("can_invite_collaborator", "invite anybody to it"));
        }
    }
    let mut found = Vec::new();
    for (id, rights) in wanted {
        found.push(folder(&client, id, &rights).await);
    }
    found
}

async fn folder(client: &BoxClient, id: &str, rights: &[(&str, &str)]) -> Finding {
    let about = format!("box.folder.{id}");
    let invite = "invite the user of box.token to it as editor or co-owner";
    let request = client.request(Method::GET, &format!("/folders/{id}"));
    let reply = match request.query("fields", "name,permissions").send().await {
        Ok(reply) => reply,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Finding::problem(&about, "there is no such folder for us", invite);
        }
        Err(error) => return failed(&about, &error),
    };
    let folder: Value = reply.json().unwrap_or_default();
    let may = |right: &str| folder["permissions"][right] != false;
    match rights.iter().find(|(right, _)| !may(right)) {
        Some((_, what)) => Finding::problem(&about, format!("we may not {what}"), invite),
        None => {
            let name = folder["name"].as_str().unwrap_or_default();
            Finding::ok(&about, format!("`{name}` can be worked in"))
        }
    }
}
