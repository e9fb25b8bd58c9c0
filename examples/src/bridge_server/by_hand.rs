//! A command given by hand: through the inbox of the service that runs, or worked off at once
//! where none does.

use std::{path::Path, sync::Arc, time::Duration};

use bridge::{
    Command, CommandError, CommandState, Commands, Crm, EffectKey, EffectState, JobId, JobState,
    PortErrorKind, Prepared, Received, Records, Worker, crm::Record, store::memory::MemoryStore,
};
use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    Failure, aside,
    build::{self, Parts},
    config::Config,
    heed::heeding_in,
    in_one_line, say, secrets,
    serve::told_to_stop,
    store::Store,
};

const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Args)]
pub(crate) struct How {
    /// Prints what would be done, and writes nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// JSON, for scripts.
    #[arg(long)]
    pub(crate) json: bool,
    /// A name of yours for this command: given again with it, it is done once.
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Waits for the end so many seconds. What is in the inbox by then stays there.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    wait: u32,
}

/// `about` is the record that the command names.
pub(crate) async fn run(
    config: &Path,
    command: &Command,
    about: Option<&str>,
    how: &How,
) -> Result<(), Failure> {
    let config = Config::read(config)?;
    let secrets = secrets::open(&config).await?;
    let parts = build::parts(&config, secrets.as_ref())?;
    // What is no id is told with all else that is wrong with the command.
    if let Some(Ok(record)) = about.map(|id| parts.crm.record(id)) {
        is_there(&parts.crm, &record).await?;
    }
    if how.dry_run {
        return dry_run(&config, parts, command, how).await;
    }
    let state = carry_out(&config, parts, command, how).await?;
    told(&state, how)
}

/// The command at its end.
pub(crate) async fn carry_out(
    config: &Config,
    parts: Parts,
    command: &Command,
    how: &How,
) -> Result<CommandState, Failure> {
    let (store, at_work) = Store::open_alone(config).await?;
    match at_work {
        Some(_at_work) => {
            store.unless_paused().await?;
            at_once(config, parts, &store, command, how).await
        }
        None => {
            let commands = build::commands(&parts, store.queue.clone());
            let job = submit(&commands, command, how, store.clock.now()).await?;
            let ended = ended(&commands, job, how).await?;
            ended.ok_or_else(|| {
                Failure::Run(format!(
                    "job {job} is in the inbox and not at its end yet; see `queue show {job}`"
                ))
            })
        }
    }
}

/// Refuses it for what it would be refused for.
pub(crate) async fn check(parts: &Parts, command: &Command, how: &How) -> Result<(), Failure> {
    let nowhere = Store::in_memory();
    let commands = build::commands(parts, nowhere.queue.clone());
    let checked = submit(&commands, command, how, nowhere.clock.now()).await;
    checked.map(drop)
}

/// Fails where the CRM knows nothing of the record, or it is deleted.
pub(crate) async fn is_there(records: &dyn Records, record: &Record) -> Result<(), Failure> {
    match records.read(record, &["Id"]).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == PortErrorKind::Gone => Err(Failure::Run(format!(
            "{} is not there, or not for us to see",
            record.id
        ))),
        Err(error) => Err(Failure::run(error)),
    }
}

async fn dry_run(
    config: &Config,
    parts: Parts,
    command: &Command,
    how: &How,
) -> Result<(), Failure> {
    check(&parts, command, how).await?;
    let nowhere = Store::in_memory();
    let now = nowhere.clock.now();
    let pipeline = build::pipeline(config, parts, &nowhere);
    let prepared = pipeline.prepare_command(command, now).await;
    match prepared.map_err(Failure::run)? {
        Prepared::Nothing(why) => Err(Failure::Run(why)),
        Prepared::Steps(_, plan) if how.json => {
            say(serde_json::to_string(&plan).map_err(Failure::run)?)
        }
        Prepared::Steps(_, plan) => say(plan),
    }
}

/// In this process, with the service's own memory of what was done, and none of its other events.
async fn at_once(
    config: &Config,
    parts: Parts,
    store: &Store,
    command: &Command,
    how: &How,
) -> Result<CommandState, Failure> {
    if let Some(key) = &how.key {
        claim(store, key, command).await?;
    }
    let queue = Arc::new(MemoryStore::new());
    let inbox = queue.clone();
    let commands = build::commands(&parts, queue.clone());
    let job = submit(&commands, command, how, store.clock.now()).await?;
    let worker = Worker::new(queue, build::pipeline(config, parts, store), "by hand")
        .options(build::worker_options(config))
        .clock(Arc::clone(&store.clock));
    let (stop, mut stopped) = watch::channel(false);
    let until = async move {
        // An error means that the sender is gone, which is a reason to stop too.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let ending = async {
        let ended = ended(&commands, job, how).await;
        stop.send_replace(true);
        ended
    };
    // The worker ends the step in hand before it stops.
    let work = async { tokio::join!(worker.run(until), ending) };
    let poll = config.worker.poll.0;
    let ((), ended) = heeding_in(&*store.queue, &*inbox, poll, work).await;
    let unfinished = "it is not at its end yet; give the command again to go on";
    match ended? {
        Some(state) => Ok(state),
        None => match commands.state(job).await.map_err(Failure::run)? {
            Some(state) if state.has_ended() => Ok(state),
            state => Err(Failure::Run(match state.and_then(|state| state.note) {
                Some(note) => format!("{unfinished}: {note}"),
                None => unfinished.to_owned(),
            })),
        },
    }
}

/// A name is for one command, as it is in the inbox. It is forgotten when its effects are.
async fn claim(store: &Store, key: &str, command: &Command) -> Result<(), Failure> {
    let mark = EffectKey::new(["seen", "by hand", key]);
    let command = serde_json::to_value(command).map_err(Failure::run)?;
    match store.ledger.read(&mark).await.map_err(Failure::run)? {
        Some(EffectState::Finished(known)) if known != command => {
            let problem = "--key: the name was used for another command";
            Err(Failure::Setup(vec![problem.to_owned()]))
        }
        Some(EffectState::Finished(_)) => Ok(()),
        _ => {
            let claimed = store.ledger.finish(&mark, command, store.clock.now()).await;
            claimed.map_err(Failure::run)
        }
    }
}

async fn submit(
    commands: &Commands,
    command: &Command,
    how: &How,
    now: Timestamp,
) -> Result<JobId, Failure> {
    let key = match &how.key {
        Some(key) => key.clone(),
        None => format!("by hand {} {}", std::process::id(), now.as_nanosecond()),
    };
    let key = key
        .parse()
        .map_err(|error| Failure::Setup(vec![format!("--key: {}", in_one_line(&error))]))?;
    match commands.submit(&key, command, now).await {
        Ok(Received::Accepted(job) | Received::Duplicate(job)) => Ok(job),
        Err(error @ CommandError::Store(_)) => Err(Failure::run(error)),
        Err(error) => Err(Failure::Setup(vec![in_one_line(&error)])),
    }
}

/// The command at its end; `None` where that does not come in time or nobody waits any more.
async fn ended(
    commands: &Commands,
    job: JobId,
    how: &How,
) -> Result<Option<CommandState>, Failure> {
    let end = Instant::now() + Duration::from_secs(how.wait.into());
    let mut told_to_stop = std::pin::pin!(told_to_stop());
    let mut said = None;
    loop {
        let state = commands.state(job).await.map_err(Failure::run)?;
        if let Some(state) = state {
            if state.has_ended() {
                return Ok(Some(state));
            }
            if state.note.is_some() && state.note != said {
                let note = state.note.as_deref().unwrap_or_default();
                aside(format_args!("not yet, attempt {}: {note}", state.attempts));
                said = state.note;
            }
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        tokio::select! {
            () = &mut told_to_stop => return Ok(None),
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

fn told(state: &CommandState, how: &How) -> Result<(), Failure> {
    let note = state.note.clone().unwrap_or_default();
    if how.json {
        say(json!({ "state": state.state, "attempts": state.attempts, "note": note }))?;
    }
    match state.state {
        JobState::Done if how.json => Ok(()),
        JobState::Done => say(format_args!("done: {note}")),
        _ => Err(Failure::Run(note)),
    }
}
