//! What is on this machine: keys, the store, grants, and rules that nothing would start.

use std::{path::Path, sync::Arc};

use bridge::secrets::{GrantStore, SecretName, SecretStore};

use super::finding::Finding;
use crate::{
    Failure, api, build,
    config::{Config, Rule, is_of_records},
    in_one_line,
    store::Store,
};

/// The signature keys of the webhooks, and the token of the API.
pub(super) fn keys(config: &Config) -> Vec<Finding> {
    let mut found = vec![match build::verifier(config) {
        Ok(_) => Finding::ok("webhook.keys", "deliveries can be verified"),
        Err(why) => Finding::problem(
            "webhook.keys",
            why,
            "take them from the Developer Console: Webhooks, Manage signature keys",
        ),
    }];
    if let Err(failure) = api::token(config) {
        let todo = "see [api] in the configuration, or leave it out";
        found.push(Finding::problem("api.token", failure.line(), todo));
    }
    found
}

/// A file that is not there yet is not made; opening a database brings its tables up to date, as
/// every command does.
pub(super) async fn store(config: &Config) -> Vec<Finding> {
    let about = "store";
    if let Some(path) = config.store.path().filter(|path| !path.exists()) {
        return vec![not_there_yet(path)];
    }
    let store = match Store::open(config).await {
        Ok(store) => store,
        Err(failure) => {
            let todo = "see store.url in the configuration";
            return vec![Finding::problem(about, failure.line(), todo)];
        }
    };
    let told = async {
        let counts = store.queue.counts().await?;
        let pauses = store.queue.pauses().await?;
        Ok::<_, bridge::StoreError>((counts, pauses))
    };
    let (counts, pauses) = match told.await {
        Ok(told) => told,
        Err(error) => {
            let todo = "see whether the disk or database is well";
            return vec![Finding::problem(about, in_one_line(&error), todo)];
        }
    };
    let mut found = vec![Finding::ok(
        about,
        format!("it answers; {} events wait", counts.ready),
    )];
    if counts.dead > 0 {
        let says = format!("{} dead letters need a person", counts.dead);
        let todo = "see `queue dead`, then `queue replay` or `queue discard`";
        found.push(Finding::warning("store.dead", says, todo));
    }
    if pauses.all || pauses.content || pauses.crm {
        let todo = "`queue resume` lifts it";
        let says = "work is paused by somebody";
        found.push(Finding::warning("store.paused", says, todo));
    }
    found
}

fn not_there_yet(path: &Path) -> Finding {
    let about = "store";
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    match folder.metadata() {
        Ok(it) if !it.is_dir() || it.permissions().readonly() => Finding::problem(
            about,
            format!("{} cannot take a file", folder.display()),
            "make it a folder that the service may write to",
        ),
        Ok(_) => Finding::ok(
            about,
            format!("{} is made when the service starts", path.display()),
        ),
        Err(error) => Finding::problem(
            about,
            format!("{}: {error}", folder.display()),
            "make the folder, and let the service write to it",
        ),
    }
}

/// Somebody has to have logged in.
pub(super) async fn grants(config: &Config, secrets: Arc<dyn SecretStore>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (side, name) in [
        ("box", config.box_grant()),
        ("salesforce", config.salesforce_grant()),
    ] {
        let Some(name) = name else {
            continue;
        };
        let about = format!("secrets.{name}");
        let todo = format!("`bridge-server login {side}`, or `secrets import {side}`");
        let store = match SecretName::new(name) {
            Ok(name) => GrantStore::new(Arc::clone(&secrets), name),
            Err(error) => {
                found.push(Finding::problem(&about, in_one_line(&error), todo));
                continue;
            }
        };
        found.push(match box_client::TokenStore::load(&store).await {
            Ok(Some(_)) => Finding::ok(&about, "there is a grant"),
            Ok(None) => Finding::problem(&about, "nobody has logged in yet", todo),
            Err(error) => Finding::problem(
                &about,
                in_one_line(&*error),
                "see [secrets] in the configuration",
            ),
        });
    }
    found
}

/// Rules that cannot be, and those about records that no source would ever start.
pub(super) fn rules(config: &Config, built: Result<(), Failure>) -> Vec<Finding> {
    let about = "rules";
    let mut found = Vec::new();
    if let Err(Failure::Setup(lines)) = built {
        // Those of a side are told by that side.
        const OURS: [&str; 3] = ["rule `", "salesforce.events: ", "salesforce: outbound: "];
        let ours = lines.into_iter();
        let ours = ours.filter(|line| OURS.iter().any(|it| line.starts_with(it)));
        found.extend(ours.map(|line| {
            let todo = "see that place in the configuration";
            Finding::problem(about, line, todo)
        }));
    }
    let events = &config.salesforce.events;
    let has_source = events.outbound.is_some() || events.poll.is_some() || events.pubsub.is_some();
    let waits = |rule: &&Rule| rule.triggers.iter().any(|it| is_of_records(it));
    let waiting: Vec<_> = config.rules.iter().filter(waits).collect();
    if !has_source && !waiting.is_empty() {
        found.push(not_started(&waiting));
    }
    if found.is_empty() {
        let number = config.rules.len();
        found.push(Finding::ok(about, format!("{number} in force")));
    }
    found
}

fn not_started(waiting: &[&Rule]) -> Finding {
    let names: Vec<_> = waiting.iter().map(|rule| rule.name.as_str()).collect();
    Finding::warning(
        "rules",
        format!(
            "nothing tells of records, which `{}` waits for",
            names.join("`, `")
        ),
        "set one of [salesforce.events.outbound], poll and pubsub",
    )
}
