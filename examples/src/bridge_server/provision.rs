//! `provision`: a record's folders by hand.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bridge::{
    Action, Change, Clock, Crm, Handler, Hold, InboxId, JobId, LeaseId, Leased, Outcome, Provision,
    RecordEvent, Rule, action::FolderPreview, crm::Record,
};
use clap::Args;
use serde_json::json;

use crate::{
    Failure, aside,
    build::{self, Ports},
    config::Config,
    in_one_line, say, secrets,
    store::Store,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The record, such as an Opportunity or Account, by its id of 15 or 18 characters.
    record_id: String,
    /// The configuration of the service.
    #[arg(long, value_name = "FILE", default_value = "bridge.toml")]
    config: PathBuf,
    /// Prints the folders and writes nothing.
    #[arg(long)]
    dry_run: bool,
    /// JSON.
    #[arg(long)]
    json: bool,
}

/// Between two tries of what did not succeed.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = Config::read(&arguments.config)?;
    let secrets = secrets::open(&config).await?;
    let mut parts = build::parts(&config, secrets.as_ref())?;
    let record = parts.crm.record(&arguments.record_id);
    let record = record.map_err(|error| Failure::Setup(vec![in_one_line(&error)]))?;
    let provisions = provisions(&config, &parts, &record)?;
    if arguments.dry_run {
        return preview(&record, &provisions, arguments.json).await;
    }
    let triggers = [format!(
        "{}.*",
        record.object.as_deref().unwrap_or_default()
    )];
    let rules = provisions.into_iter().map(|(name, provision)| {
        let action: Arc<dyn Action> = Arc::new(provision);
        Rule::new(name, triggers.clone(), vec![action])
    });
    parts.rules = rules.collect::<Result<_, _>>().map_err(Failure::run)?;
    let store = Store::open_unpaused(&config).await?;
    let pipeline = build::pipeline(&config, parts, &store);
    let note = carry_out(&config, &pipeline, &*store.clock, &record).await?;
    if arguments.json {
        return say(json!({ "record": record.id, "done": note }));
    }
    say(format_args!("{}: {note}", record.id))
}

/// What the rules have for such a record.
fn provisions(
    config: &Config,
    parts: &build::Parts,
    record: &Record,
) -> Result<Vec<(String, Provision)>, Failure> {
    let object = record.object.as_deref().unwrap_or_default();
    let start = format!("{object}.");
    let ports = Ports::new(&parts.content, &parts.crm, &parts.circuits);
    let mut provisions = Vec::new();
    for rule in &config.rules {
        let Some(wanted) = &rule.provision else {
            continue;
        };
        if rule.triggers.iter().any(|it| it.starts_with(&start)) {
            let made = build::provision(wanted, &config.content, &ports);
            let made = made.map_err(|problem| Failure::Setup(vec![problem]))?;
            provisions.push((rule.name.clone(), made));
        }
    }
    if provisions.is_empty() {
        let what = if object.is_empty() {
            "such a record"
        } else {
            object
        };
        let none = format!("no rule has a provision for {what}");
        return Err(Failure::Setup(vec![none]));
    }
    Ok(provisions)
}

async fn preview(
    record: &Record,
    provisions: &[(String, Provision)],
    as_json: bool,
) -> Result<(), Failure> {
    for (rule, provision) in provisions {
        let folders = provision.preview(record).await.map_err(Failure::run)?;
        if as_json {
            say(json!({ "record": record.id, "rule": rule, "folders": folders }))?;
            continue;
        }
        say(format_args!("rule {rule}, for {}:", record.id))?;
        for FolderPreview {
            path,
            is_records,
            changes,
            ..
        } in folders
        {
            let mut line = format!("  /{}", path.join("/"));
            if is_records {
                line.push_str("  (its folder)");
            }
            if !changes.is_empty() {
                line = format!("{line}  ({})", changes.join(", "));
            }
            say(line)?;
        }
    }
    Ok(())
}

/// As a worker does, by the same ledger, until it is done. Ctrl-C ends it between two tries.
async fn carry_out(
    config: &Config,
    pipeline: &impl Handler,
    clock: &dyn Clock,
    record: &Record,
) -> Result<String, Failure> {
    let now = clock.now();
    let event = RecordEvent::new(format!("by hand {now}"), record.clone(), Change::Changed);
    let job = event.job().map_err(Failure::run)?;
    // Nobody else has it, for it is not in the inbox.
    let lease = LeaseId {
        job: JobId(0),
        fence: 0,
        inbox: InboxId::default(),
    };
    let stop = crate::serve::told_to_stop();
    let mut stop = std::pin::pin!(stop);
    for attempt in 1..=config.retry.max_attempts {
        let leased = Leased::new(lease, attempt, now, now, job.clone());
        let (reason, pause) = match pipeline.handle(&leased, &Hold::forever()).await {
            Outcome::Done(note) => return Ok(note),
            Outcome::Dead(reason) => return Err(Failure::Run(reason)),
            Outcome::Retry { reason, after } => (reason, after.unwrap_or(PAUSE)),
            Outcome::Defer { reason, until } | Outcome::Outage { reason, until } => {
                let left = until.duration_since(clock.now());
                (reason, left.try_into().unwrap_or(PAUSE))
            }
        };
        aside(format_args!(
            "not yet, attempt {attempt}: {reason}; again in {} s",
            pause.as_secs()
        ));
        if attempt == config.retry.max_attempts {
            return Err(Failure::Run(reason));
        }
        tokio::select! {
            () = &mut stop => return Err(Failure::Run(format!("stopped: {reason}"))),
            () = tokio::time::sleep(pause) => {}
        }
    }
    Err(Failure::Run("retry.max_attempts is 0".to_owned()))
}
