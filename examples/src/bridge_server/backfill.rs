//! `backfill`: what lies in Box already is brought to its records.

use std::{
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use bridge::{
    Pipeline,
    watch::{Backfill, Backfilled, Told, WatchError},
};
use clap::Args;
use serde_json::json;

use crate::{
    Failure, build, config::Config, heed::heeding, in_one_line, say, secrets, serve::told_to_stop,
    store::Store,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The folder; everything below it is looked through.
    #[arg(long, value_name = "ID")]
    folder: String,
    /// Only says what there is to do, and writes nothing.
    #[arg(long)]
    dry_run: bool,
    /// JSON: a line for each file that does not match, for progress, and for the end.
    #[arg(long)]
    json: bool,
    /// At most so many events wait in the inbox, so that new ones need not stand behind old files.
    #[arg(long, value_name = "N", default_value_t = 100)]
    ahead: u64,
}

pub(crate) async fn run(path: &Path, arguments: Arguments) -> Result<(), Failure> {
    let config = Config::read(path)?;
    let folder = &arguments.folder;
    if folder.is_empty() || !folder.chars().all(|digit| digit.is_ascii_digit()) {
        let problem = "--folder: it is no folder's id, which has digits only";
        return Err(Failure::Setup(vec![problem.to_owned()]));
    }
    let secrets = secrets::open(&config).await?;
    let parts = build::parts(&config, secrets.as_ref())?;
    let store = match arguments.dry_run {
        true => Store::open_if_there(&config).await?,
        false => Store::open_unpaused(&config).await?,
    };
    let circuits = parts.circuits.clone();
    let tree = circuits.tree(Arc::new(parts.content.clone()));
    let pipeline: Pipeline = build::pipeline(&config, parts, &store);
    let (queue, ledger) = (Arc::clone(&store.queue), Arc::clone(&store.ledger));
    let backfill = Backfill::new(tree, pipeline, queue, ledger).most_ahead(arguments.ahead);
    let backfill = backfill.clock(Arc::clone(&store.clock));
    let Arguments {
        folder,
        dry_run,
        json,
        ..
    } = arguments;
    let mut heard = Ok(());
    let tell = |told: Told| {
        if heard.is_ok() {
            heard = self::tell(&told, json);
        }
    };
    let done = match dry_run {
        true => backfill.dry_run(&folder, told_to_stop(), tell).await,
        false => {
            let work = backfill.run(&folder, told_to_stop(), tell);
            let poll = config.worker.poll.0;
            heeding(&*store.queue, &circuits, poll, work).await
        }
    };
    heard?;
    let done = done.map_err(|error| match &error {
        WatchError::NoFolder { .. } => Failure::Run(error.to_string()),
        _ if dry_run => Failure::run(error),
        _ => Failure::Run(format!(
            "{}; the next run goes on where this one ended",
            in_one_line(&error)
        )),
    })?;
    summary(&done, dry_run, json)
}

/// What people ask for goes to standard output, what they only watch to standard error.
fn tell(told: &Told, json: bool) -> Result<(), Failure> {
    if json {
        return say(serde_json::to_string(told).map_err(Failure::run)?);
    }
    match told {
        Told::Planned { file, name, does } => {
            say(format_args!("{file}  {name}: {}", does.join("; ")))
        }
        Told::Unmatched {
            file, name, note, ..
        } => say(format_args!("{file}  {name}: stays, {note}")),
        Told::Waits { ready } => watched(format_args!(
            "{ready} events wait in the inbox: this goes on when the service has done some"
        )),
        Told::Paused { reason } => watched(format_args!("waits: {reason}")),
        Told::Progress(done) => watched(format_args!(
            "{} files, {} to be attached",
            done.files, done.matched
        )),
        _ => Ok(()),
    }
}

fn watched(line: impl std::fmt::Display) -> Result<(), Failure> {
    writeln!(io::stderr(), "{line}").map_err(|_| Failure::Unheard)
}

fn summary(done: &Backfilled, dry_run: bool, json: bool) -> Result<(), Failure> {
    if json {
        return say(json!({ "is": "end", "dry_run": dry_run, "done": done }));
    }
    let Backfilled {
        files,
        matched,
        no_mapping,
        no_rule,
        refused,
        ..
    } = done;
    let what = match dry_run {
        true => "would be put into the inbox",
        false => "are in the inbox",
    };
    say(format_args!(
        "{files} files: {matched} {what}; without a mapped folder {no_mapping}, without a rule \
         {no_rule}, refused {refused}"
    ))?;
    match (done.is_finished, dry_run) {
        (true, _) => Ok(()),
        (false, true) => say("stopped before the end"),
        (false, false) => say("stopped; the next run goes on where this one ended"),
    }
}
