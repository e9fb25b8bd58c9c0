//! `sync` and `conflicts`: both sides kept the same by hand, and what could not both stay.

use std::{
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bridge::{
    Circuits, Clock, Crm, MappingKeys, MappingTemplate, Records, StepError, SyncMetadata,
    crm::Record,
    metadata::MappedFolders,
    sync::{
        Conflict, Datum, FieldOutcome, FieldReport, Side, SyncAll, SyncReport, SyncTold, SyncedAll,
        conflicts, current_conflicts,
    },
};
use clap::{Args, Subcommand};
use comfy_table::Table;
use tokio::time::sleep;

use crate::{
    Failure,
    build::{self, Ports},
    by_hand,
    config::{Config, Rule},
    heed::heeding,
    in_one_line, say, secrets,
    serve::told_to_stop,
    store::Store,
};

/// A record that is changed all the time is waited for so often.
const MOST_WAITS: usize = 30;
const PROGRESS_EVERY: u64 = 10;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The record; `--all` for every one that has a folder.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    record: Option<String>,
    /// Every record that a folder in Box names, or whose folder was provisioned or kept the same
    /// before. What is stopped goes on where it was.
    #[arg(long)]
    all: bool,
    /// Prints what would change and writes nothing.
    #[arg(long)]
    dry_run: bool,
    /// JSON, one record a line.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ConflictArguments {
    #[command(subcommand)]
    command: Option<Resolve>,
    /// Also those that are over.
    #[arg(long)]
    all: bool,
    /// JSON, one conflict a line.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Resolve {
    /// Decides an open conflict, and writes at once what was decided.
    Resolve {
        /// Its id.
        id: String,
        /// Keeps the value of the folder.
        #[arg(long = "box", required_unless_present = "salesforce")]
        keep_box: bool,
        /// Keeps the value of the record.
        #[arg(long, conflicts_with = "keep_box")]
        salesforce: bool,
    },
}

/// What both commands work with, the sides behind their circuits.
struct Ground {
    store: Store,
    folders: Arc<dyn MappedFolders>,
    crm: Arc<dyn Crm>,
    records: Arc<dyn Records>,
    syncs: Vec<Arc<SyncMetadata>>,
    circuits: Circuits,
    /// How often it is looked what is paused.
    poll: Duration,
}

pub(crate) async fn run(config: &Path, arguments: Arguments) -> Result<(), Failure> {
    let ground = Ground::open(config, !arguments.dry_run).await?;
    let Some(id) = &arguments.record else {
        return run_all(ground, &arguments).await;
    };
    let record = ground.crm.record(id).map_err(no_record)?;
    let Some(sync) = ground.sync_of(&record) else {
        return Err(Failure::Run(format!(
            "no rule has sync_metadata for {id}, which is {}",
            record.object.as_deref().unwrap_or("of an unknown kind")
        )));
    };
    let crm = &*ground.crm;
    let (ledger, clock) = (&*ground.store.ledger, &*ground.store.clock);
    let report = match arguments.dry_run {
        true => sync.preview(&record, crm, ledger, clock).await,
        false => {
            let round = patiently(clock, async || sync.sync(&record, crm, ledger, clock).await);
            ground.heeding(round).await
        }
    };
    let report = report.map_err(Failure::run)?;
    if report.folder.is_none() {
        by_hand::is_there(&*ground.records, &record).await?;
        return Err(Failure::Run(report.to_string()));
    }
    show(&report, arguments.dry_run, arguments.json)?;
    match report.needs_a_person() {
        true => Err(Failure::Run(report.to_string())),
        false => Ok(()),
    }
}

async fn run_all(ground: Ground, arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { dry_run, json, .. } = *arguments;
    if ground.syncs.is_empty() {
        return Err(Failure::Run("no rule has sync_metadata".to_owned()));
    }
    let (crm, syncs) = (Arc::clone(&ground.crm), ground.syncs.clone());
    let ledger = Arc::clone(&ground.store.ledger);
    let all = SyncAll::new(Arc::clone(&ground.folders), crm, syncs, ledger);
    let all = all.clock(Arc::clone(&ground.store.clock));
    let mut heard = Ok(());
    let tell = |told: SyncTold| {
        if heard.is_ok() {
            heard = self::tell(&told, dry_run, json);
        }
    };
    let done = match dry_run {
        true => all.dry_run(told_to_stop(), tell).await,
        false => ground.heeding(all.run(told_to_stop(), tell)).await,
    };
    heard?;
    let done = done.map_err(Failure::run)?;
    summary(&done, json)?;
    match (done.is_finished, done.failed) {
        (false, _) => Err(Failure::Run(format!(
            "stopped after {} of {}",
            done.done, done.total
        ))),
        (true, 0) => Ok(()),
        (true, failed) => Err(Failure::Run(format!("{failed} of {} failed", done.total))),
    }
}

/// What people ask for goes to standard output, what they only watch to standard error.
fn tell(told: &SyncTold, is_preview: bool, json: bool) -> Result<(), Failure> {
    let watched = |line: std::fmt::Arguments<'_>| {
        writeln!(io::stderr(), "{line}").map_err(|_| Failure::Unheard)
    };
    match told {
        SyncTold::Round(report) => show(report, is_preview, json),
        SyncTold::Progress(done) if done.done % PROGRESS_EVERY == 0 => {
            watched(format_args!("{} of {} records", done.done, done.total))
        }
        SyncTold::Found { folders } => watched(format_args!("{folders} mapped folders found")),
        SyncTold::Waits { reason } => watched(format_args!("waits: {reason}")),
        SyncTold::Failed { .. } if json => say(serde_json::to_string(told).map_err(Failure::run)?),
        SyncTold::Failed {
            record,
            folder,
            reason,
        } => match folder {
            Some(folder) => say(format_args!("folder {folder} names `{record}`: {reason}")),
            None => say(format_args!("{record}: {reason}")),
        },
        _ => Ok(()),
    }
}

fn summary(done: &SyncedAll, json: bool) -> Result<(), Failure> {
    if json {
        return Ok(());
    }
    say(format_args!(
        "{} of {} records: {} differed, {} without a folder, {} failed{}",
        done.done,
        done.total,
        done.differed,
        done.no_folder,
        done.failed,
        match done.is_finished {
            true => "",
            false => "; the next run goes on where this one ended",
        }
    ))
}

pub(crate) async fn run_conflicts(
    config: &Path,
    arguments: ConflictArguments,
) -> Result<(), Failure> {
    let Some(Resolve::Resolve { id, keep_box, .. }) = arguments.command else {
        let store = Store::open_if_there(&Config::read(config)?).await?;
        let all = match arguments.all {
            true => conflicts(&*store.ledger).await,
            false => current_conflicts(&*store.ledger).await,
        };
        let all = all.map_err(Failure::run)?;
        return list(&all, arguments.json);
    };
    let ground = Ground::open(config, true).await?;
    let all = conflicts(&*ground.store.ledger)
        .await
        .map_err(Failure::run)?;
    let Some(conflict) = all.iter().find(|it| it.id == id) else {
        return Err(Failure::Run(format!("there is no conflict {id}")));
    };
    if !conflict.is_open() {
        return Err(Failure::Run(format!("conflict {id} is decided, or over")));
    }
    let sync = ground.sync_of(&conflict.record);
    let sync = sync.ok_or_else(|| {
        Failure::Run("no rule has sync_metadata for this kind of record any more".to_owned())
    })?;
    let keep = if keep_box {
        Side::Box
    } else {
        Side::Salesforce
    };
    let crm = &*ground.crm;
    let (ledger, clock) = (&*ground.store.ledger, &*ground.store.clock);
    let decide = patiently(clock, async || {
        sync.resolve(conflict, keep, crm, ledger, clock).await
    });
    let report = ground.heeding(decide).await;
    let report = report.map_err(Failure::run)?;
    let mut fields = report.fields.iter();
    let Some(field) = fields.find(|it| it.conflict.as_ref() == Some(&id)) else {
        return Err(Failure::Run(format!(
            "the values have changed since, so conflict {id} is over: see `conflicts` again"
        )));
    };
    match &field.outcome {
        FieldOutcome::Written(_) => say(line(field, false)),
        _ => Err(Failure::Run(field.to_string())),
    }
}

/// Of what is written by hand, it is the arguments that are wrong.
fn no_record(error: bridge::PortError) -> Failure {
    Failure::Setup(vec![in_one_line(&error)])
}

impl Ground {
    async fn open(config: &Path, to_write: bool) -> Result<Self, Failure> {
        let config = Config::read(config)?;
        let store = match to_write {
            true => Store::open_unpaused(&config).await?,
            false => Store::open_if_there(&config).await?,
        };
        let secrets = secrets::open(&config).await?;
        let parts = build::parts(&config, secrets.as_ref())?;
        // What the service knows of the calls that are left.
        parts.budget.share_in(&store);
        let circuits = parts.circuits;
        Ok(Self {
            store,
            folders: circuits.mapped_folders(Arc::new(parts.content)),
            records: circuits.records(Arc::new(parts.crm.clone())),
            crm: circuits.crm(Arc::new(parts.crm)),
            syncs: parts.syncs,
            circuits,
            poll: config.worker.poll.0,
        })
    }

    async fn heeding<T>(&self, work: impl Future<Output = T>) -> T {
        heeding(&*self.store.queue, &self.circuits, self.poll, work).await
    }

    fn sync_of(&self, record: &Record) -> Option<&SyncMetadata> {
        let fits =
            |sync: &&Arc<SyncMetadata>| record.object.as_deref() == Some(sync.map().object());
        self.syncs.iter().find(fits).map(|sync| &**sync)
    }
}

/// The action of a rule that has one.
pub(crate) fn action(
    rule: &Rule,
    ports: Option<&Ports>,
    keys: MappingKeys,
    template: &Arc<MappingTemplate>,
) -> Result<Option<Arc<SyncMetadata>>, String> {
    let map = rule.sync_metadata.as_ref().and_then(|it| it.map().ok());
    let Some((ports, map)) = ports.zip(map) else {
        return Ok(None);
    };
    let (metadata, records) = (Arc::clone(&ports.metadata), Arc::clone(&ports.records));
    let sync = SyncMetadata::new(metadata, records, map).mapping_keys(keys);
    let sync = sync.template(template.clone());
    let sync = sync.map_err(|error| format!("sync_metadata.fields: {error}"))?;
    Ok(Some(Arc::new(sync)))
}

/// A record that was changed a moment ago is waited for.
async fn patiently(
    clock: &dyn Clock,
    mut round: impl AsyncFnMut() -> Result<SyncReport, StepError>,
) -> Result<SyncReport, StepError> {
    for _ in 0..MOST_WAITS {
        match round().await {
            Err(StepError::Wait { until, .. }) => {
                let wait = until.duration_since(clock.now());
                sleep(Duration::try_from(wait).unwrap_or_default()).await;
            }
            result => return result,
        }
    }
    round().await
}

fn show(report: &SyncReport, is_preview: bool, json: bool) -> Result<(), Failure> {
    if json {
        return say(serde_json::to_string(report).map_err(Failure::run)?);
    }
    if report.fields.is_empty() {
        return say(report);
    }
    say(format_args!(
        "{} and folder {}",
        report.record.id,
        report.folder.as_deref().unwrap_or_default()
    ))?;
    report
        .fields
        .iter()
        .try_for_each(|field| say(format_args!("  {}", line(field, is_preview))))
}

/// With the values, which are for whoever asks and for no log.
fn line(field: &FieldReport, is_preview: bool) -> String {
    let shown = |value: &Option<Datum>| match value {
        Some(value) => format!("\"{value}\""),
        None => "nothing".to_owned(),
    };
    let (in_box, in_salesforce) = (shown(&field.in_box), shown(&field.in_salesforce));
    let verb = if is_preview { "would write" } else { "wrote" };
    let pair = format!("{} and {}", field.field, field.key);
    let conflict = match &field.conflict {
        Some(id) => format!(" (conflict {id})"),
        None => String::new(),
    };
    match &field.outcome {
        FieldOutcome::Written(Side::Box) => {
            format!("{pair}: {verb} {in_salesforce} to Box over {in_box}{conflict}")
        }
        FieldOutcome::Written(Side::Salesforce) => {
            format!("{pair}: {verb} {in_box} to Salesforce over {in_salesforce}{conflict}")
        }
        _ => format!("{field}: Box has {in_box}, Salesforce {in_salesforce}"),
    }
}

fn list(all: &[Conflict], json: bool) -> Result<(), Failure> {
    if json {
        for conflict in all {
            say(serde_json::to_string(conflict).map_err(Failure::run)?)?;
        }
        return Ok(());
    }
    if all.is_empty() {
        return say("nothing");
    }
    let mut table = Table::new();
    table.set_header([
        "id",
        "at",
        "record",
        "field",
        "key",
        "Box",
        "Salesforce",
        "kept",
    ]);
    for it in all {
        let kept = match (it.kept, it.is_over) {
            (Some(side), true) => side.to_string(),
            (Some(side), false) => format!("{side}, being written"),
            (None, true) => "over".to_owned(),
            (None, false) => match &it.refused {
                Some(reason) => format!("open: {reason}"),
                None => "open".to_owned(),
            },
        };
        table.add_row([
            it.id.clone(),
            it.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            it.record.id.clone(),
            it.field.clone(),
            it.key.clone(),
            it.in_box.to_string(),
            it.in_salesforce.to_string(),
            kept,
        ]);
    }
    say(table)
}
