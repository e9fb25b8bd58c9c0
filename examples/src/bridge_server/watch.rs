//! `webhooks`: what people ask about the webhooks that the service looks after.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use box_client::{ErrorKind, Webhook, WebhookTarget};
use bridge::{
    BoxContent, Circuits,
    watch::{BoxEvents, EventStream, HookState, HookStatus, Watch, WatchOptions},
    webhook::Trigger,
};
use clap::Subcommand;
use comfy_table::Table;
use futures_util::TryStreamExt;
use serde::Serialize;

use crate::{
    Failure, build,
    config::{Config, EventStream as Stream},
    heed::heeding,
    say, secrets,
    store::Store,
};

/// So many webhooks are read at a time.
const AT_ONCE: usize = 8;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists all webhooks of the application and its user, those of other services too.
    List {
        /// JSON, one webhook a line.
        #[arg(long)]
        json: bool,
    },
    /// Looks at the webhooks of the watched folders, and changes nothing.
    Check {
        /// JSON, one webhook a line.
        #[arg(long)]
        json: bool,
    },
    /// Makes the webhooks that are missing, and puts right those that differ.
    Ensure {
        /// Only says what there is to do.
        #[arg(long)]
        dry_run: bool,
        /// JSON, one webhook a line.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(path: &Path, command: Command) -> Result<(), Failure> {
    let config = Config::read(path)?;
    let secrets = secrets::open(&config).await?;
    let parts = build::parts(&config, secrets.as_ref())?;
    let store = match command {
        Command::Ensure { dry_run: false, .. } => Store::open_unpaused(&config).await?,
        _ => Store::open_if_there(&config).await?,
    };
    let watch = watch(&config, &parts.content, &parts.circuits, &store);
    if let Command::List { json } = command {
        return list(&parts.content, watch.as_ref(), json).await;
    }
    let Some(watch) = watch else {
        return Err(Failure::Setup(vec![
            "watch.folders is empty: there are no webhooks to look after".to_owned(),
        ]));
    };
    let (repair, json) = match command {
        Command::List { json } | Command::Check { json } => (false, json),
        Command::Ensure { dry_run, json } => (!dry_run, json),
    };
    let hooks = match repair {
        false => watch.check(false).await,
        true => {
            let poll = config.worker.poll.0;
            heeding(&*store.queue, &parts.circuits, poll, watch.check(true)).await
        }
    };
    let hooks = hooks.map_err(Failure::run)?;
    print(&hooks, json)?;
    match hooks.iter().filter(|hook| !hook.state.is_well()).count() {
        0 => Ok(()),
        unwell => Err(Failure::Run(format!(
            "{unwell} of {} webhooks are not well",
            hooks.len()
        ))),
    }
}

/// A webhook of the application and its user.
#[derive(Serialize)]
struct Listed {
    id: String,
    target: String,
    address: Option<String>,
    triggers: Vec<String>,
    /// What a server that sends one says; Box documents none.
    status: Option<String>,
    /// Whether the service looks after it.
    ours: bool,
}

async fn list(content: &BoxContent, watch: Option<&Watch>, json: bool) -> Result<(), Failure> {
    let webhooks = content.client().webhooks();
    let found = webhooks
        .list()
        .map_ok(|mini| async move { webhooks.get(&mini.id).await.map(Some).or_else(unless_gone) })
        .try_buffered(AT_ONCE)
        .try_filter_map(async |webhook| Ok(webhook));
    let found: Vec<_> = found.try_collect().await.map_err(Failure::run)?;
    let ours: BTreeSet<_> = match watch {
        Some(watch) => watch.check(false).await.map_err(Failure::run)?,
        None => Vec::new(),
    }
    .into_iter()
    .filter(|hook| hook.state != HookState::Foreign)
    .filter_map(|hook| hook.webhook)
    .collect();
    let listed = found.into_iter().map(|webhook| Listed {
        ours: ours.contains(webhook.id.as_str()),
        id: webhook.id.as_str().to_owned(),
        target: target(webhook.target.as_ref()),
        address: webhook.address,
        triggers: webhook.triggers,
        status: webhook
            .extra
            .get("status")
            .and_then(|status| status.as_str())
            .map(str::to_owned),
    });
    if json {
        for webhook in listed {
            say(serde_json::to_string(&webhook).map_err(Failure::run)?)?;
        }
        return Ok(());
    }
    let mut table = Table::new();
    table.set_header(["webhook", "on", "ours", "status", "address", "triggers"]);
    for it in listed {
        table.add_row([
            it.id,
            it.target,
            if it.ours { "yes" } else { "no" }.to_owned(),
            it.status.unwrap_or_default(),
            it.address.unwrap_or_default(),
            it.triggers.join(", "),
        ]);
    }
    match table.is_empty() {
        true => say("nothing"),
        false => say(table),
    }
}

/// It may go between the list and the look.
fn unless_gone(error: box_client::Error) -> box_client::Result<Option<Webhook>> {
    match error.kind() {
        ErrorKind::NotFound => Ok(None),
        _ => Err(error),
    }
}

fn target(target: Option<&WebhookTarget>) -> String {
    match target {
        Some(WebhookTarget::Folder { id }) => format!("folder {}", id.as_str()),
        Some(WebhookTarget::File { id }) => format!("file {}", id.as_str()),
        _ => String::new(),
    }
}

/// The watch that the configuration asks for, if it asks for one.
pub(crate) fn watch(
    config: &Config,
    content: &BoxContent,
    circuits: &Circuits,
    store: &Store,
) -> Option<Watch> {
    let wanted = &config.watch;
    if wanted.folders.is_empty() {
        return None;
    }
    let mut options = WatchOptions::new(&wanted.folders, &wanted.address, triggers(config));
    options.check_every = wanted.check_every.0;
    options.catch_up_every = wanted.catch_up_every.0;
    options.silent_after = wanted.silent_after.0;
    options.scan_every = wanted.scan_every.0;
    options.scan_margin = wanted.scan_margin.0;
    options.mapped_within = wanted.mapped_within.0;
    options.most_ahead = wanted.most_ahead;
    let events: Option<Arc<dyn EventStream>> = match wanted.events {
        Stream::User => Some(Arc::new(BoxEvents::user(content.client().clone()))),
        Stream::Enterprise => Some(Arc::new(BoxEvents::enterprise(
            content.client().clone(),
            triggers(config),
        ))),
        Stream::None => None,
    };
    let events = events.map(|events| circuits.events(events));
    let side = Arc::new(content.clone());
    let (hooks, tree) = (circuits.hooks(side.clone()), circuits.tree(side.clone()));
    let (queue, ledger) = (Arc::clone(&store.queue), Arc::clone(&store.ledger));
    let mapped = circuits.mapped_folders(side.clone());
    let watch = Watch::new(hooks, tree, queue, ledger, options).mapped_folders(mapped);
    let watch = watch.mappings(circuits.content(side), build::mapping_keys(config));
    Some(watch.events(events).clock(Arc::clone(&store.clock)))
}

/// Those of the rules, and those that tell of a folder's mapping.
pub(crate) fn triggers(config: &Config) -> BTreeSet<String> {
    if !config.watch.triggers.is_empty() {
        return config.watch.triggers.iter().cloned().collect();
    }
    let mapping = ["CREATED", "UPDATED", "DELETED"].map(|it| format!("METADATA_INSTANCE.{it}"));
    let rules = config.rules.iter().flat_map(|rule| rule.triggers.clone());
    let can_be_asked_for = |name: &String| Trigger::for_registration(name).is_ok();
    rules.filter(can_be_asked_for).chain(mapping).collect()
}

fn print(hooks: &[HookStatus], json: bool) -> Result<(), Failure> {
    if json {
        for hook in hooks {
            say(serde_json::to_string(hook).map_err(Failure::run)?)?;
        }
        return Ok(());
    }
    let mut table = Table::new();
    table.set_header(["folder", "webhook", "state", "heard", "note"]);
    for hook in hooks {
        table.add_row([
            hook.folder.clone(),
            hook.webhook.clone().unwrap_or_default(),
            hook.state.to_string(),
            hook.heard_at
                .map(|at| format!("{at:.0}"))
                .unwrap_or_default(),
            hook.note.clone().unwrap_or_default(),
        ]);
    }
    say(table)
}
