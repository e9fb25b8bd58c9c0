//! `webhooks`: what people ask about the webhooks that the service looks after.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use bridge::{
    BoxContent,
    watch::{BoxEvents, EventStream, HookStatus, Hooks, Watch, WatchOptions},
    webhook::Trigger,
};
use clap::Subcommand;
use comfy_table::Table;

use crate::{
    Failure,
    build::{self, Parts},
    config::{Config, EventStream as Stream},
    say, secrets,
    store::Store,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Looks at the webhooks of the watched folders, and changes nothing.
    Check {
        /// JSON, one webhook a line.
        #[arg(long)]
        json: bool,
    },
    /// All webhooks of the application and user that the service works as, watched or not.
    List {
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
    let store = Store::open(&config).await?;
    if let Command::List { json } = command {
        return list(&config, &parts.content, json).await;
    }
    let Some(watch) = watch(&config, &parts, &store) else {
        return Err(Failure::Setup(vec![
            "watch.folders is empty: there are no webhooks to look after".to_owned(),
        ]));
    };
    let (repair, json) = match command {
        Command::Check { json } | Command::List { json } => (false, json),
        Command::Ensure { dry_run, json } => (!dry_run, json),
    };
    let hooks = watch.check(repair).await.map_err(Failure::run)?;
    print(&hooks, json)?;
    match hooks.iter().filter(|hook| !hook.state.is_well()).count() {
        0 => Ok(()),
        unwell => Err(Failure::Run(format!(
            "{unwell} of {} webhooks are not well",
            hooks.len()
        ))),
    }
}

/// The watch that the configuration asks for, if it asks for one.
pub(crate) fn watch(config: &Config, parts: &Parts, store: &Store) -> Option<Watch> {
    let wanted = &config.watch;
    if wanted.folders.is_empty() {
        return None;
    }
    let Parts {
        content, circuits, ..
    } = parts;
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
    let watch = Watch::new(hooks, tree, queue, ledger, options);
    let watch = watch.mappings(circuits.content(side), build::mapping_keys(config));
    Some(watch.events(events).clock(Arc::clone(&store.clock)))
}

/// Those of the rules, and those that tell of a folder's mapping.
fn triggers(config: &Config) -> BTreeSet<String> {
    if !config.watch.triggers.is_empty() {
        return config.watch.triggers.iter().cloned().collect();
    }
    let mapping = ["CREATED", "UPDATED", "DELETED"].map(|it| format!("METADATA_INSTANCE.{it}"));
    let rules = config.rules.iter().flat_map(|rule| rule.triggers.clone());
    let can_be_asked_for = |name: &String| Trigger::for_registration(name).is_ok();
    rules.filter(can_be_asked_for).chain(mapping).collect()
}

/// As Box has them, one call each: the list itself has no more than ids.
async fn list(config: &Config, content: &BoxContent, json: bool) -> Result<(), Failure> {
    let mut table = Table::new();
    table.set_header(["webhook", "folder", "address", "triggers", "watched"]);
    let hooks: &dyn Hooks = content;
    for listed in hooks.list().await.map_err(Failure::run)? {
        let Some(hook) = hooks.hook(&listed.id).await.map_err(Failure::run)? else {
            continue;
        };
        if json {
            say(serde_json::to_string(&hook).map_err(Failure::run)?)?;
            continue;
        }
        let folder = hook.folder.unwrap_or_default();
        let is_watched = config.watch.folders.contains(&folder);
        table.add_row([
            hook.id,
            folder,
            hook.address.unwrap_or_default(),
            hook.triggers.join(" "),
            if is_watched { "yes" } else { "" }.to_owned(),
        ]);
    }
    match json {
        true => Ok(()),
        false => say(table),
    }
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
