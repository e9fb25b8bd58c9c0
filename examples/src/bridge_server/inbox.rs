//! `queue`: what people do with the inbox, also while the service works on it.

use std::{path::Path, sync::Arc};

use bridge::{Job, JobFilter, JobId, JobState, QueueAdmin, Side, StoreError};
use clap::{Subcommand, ValueEnum};
use comfy_table::Table;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{Failure, budget, config::Config, plan, say, store::Store};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists events in the order of their arrival.
    List {
        /// Only those in this state.
        #[arg(long)]
        state: Option<State>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Only those after this id.
        #[arg(long, value_name = "ID")]
        after: Option<i64>,
        /// JSON, one event a line.
        #[arg(long)]
        json: bool,
    },
    /// Shows one event with its body.
    Show {
        /// Its id.
        id: i64,
        /// JSON; the body is in it as JSON, or as text where it is none.
        #[arg(long)]
        json: bool,
    },
    /// Lists the dead letters: events that need a person.
    Dead {
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// JSON, one event a line.
        #[arg(long)]
        json: bool,
    },
    /// How many events there are in each state, and what is paused.
    Status {
        /// JSON.
        #[arg(long)]
        json: bool,
    },
    /// Makes waiting events due now. Their attempts stay counted.
    Retry {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Gives dead letters up, so that nothing waits for them any more.
    Discard {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Stops all calls to a vendor, or all work, in every process. Deliveries are still taken in.
    ///
    /// Each process looks what is paused at every worker.poll: calls that it begins before that are
    /// still made. With a vendor paused, what is in hand stops before its next call to it; with all
    /// paused it goes to its end, and nothing new is begun. Work by hand stops too.
    Pause {
        /// What is to stop.
        #[arg(default_value = "all")]
        what: Stopped,
    },
    /// Lifts a pause.
    Resume {
        /// What is to go on; `all` lifts every pause.
        #[arg(default_value = "all")]
        what: Stopped,
    },
    /// Prints what events lead to by the rules as they are now, whatever became of them.
    ///
    /// As a dry run: both sides are read, and nothing is written.
    Plan {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<i64>,
        /// JSON, one event a line.
        #[arg(long)]
        json: bool,
    },
    /// Makes dead letters due again, with their attempts back at zero.
    Replay {
        /// Their ids.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        ids: Vec<i64>,
        /// All of them.
        #[arg(long)]
        all: bool,
        /// Prints what they would lead to, and replays nothing.
        #[arg(long)]
        dry_run: bool,
        /// JSON, one event a line, of a dry run.
        #[arg(long, requires = "dry_run")]
        json: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum State {
    Ready,
    Leased,
    Done,
    Dead,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Stopped {
    Box,
    Salesforce,
    All,
}

impl Stopped {
    fn side(self) -> Option<Side> {
        match self {
            Self::Box => Some(Side::Content),
            Self::Salesforce => Some(Side::Crm),
            Self::All => None,
        }
    }
}

impl From<State> for JobState {
    fn from(state: State) -> Self {
        match state {
            State::Ready => Self::Ready,
            State::Leased => Self::Leased,
            State::Done => Self::Done,
            State::Dead => Self::Dead,
        }
    }
}

pub(crate) async fn run(config: &Path, command: Command) -> Result<(), Failure> {
    let config = Config::read(config)?;
    if let Some(path) = config.store.path().filter(|path| !path.exists()) {
        return Err(Failure::Setup(vec![format!(
            "{}: there is no inbox yet; the service makes it when it starts",
            path.display()
        )]));
    }
    let opened = Store::open(&config).await?;
    let store = Arc::clone(&opened.queue);
    let now = opened.clock.now();
    match command {
        Command::List {
            state,
            limit,
            after,
            json,
        } => {
            let filter = JobFilter {
                state: state.map(Into::into),
                after: after.map(JobId),
                limit,
            };
            print(&store.jobs(&filter).await.map_err(Failure::run)?, json)?;
            let told = budget::told(&opened, &config.salesforce.budget).await;
            match told.map_err(Failure::run)?.filter(|_| !json) {
                Some(line) => say(line),
                None => Ok(()),
            }
        }
        Command::Dead { limit, json } => {
            let filter = JobFilter {
                state: Some(JobState::Dead),
                after: None,
                limit,
            };
            print(&store.jobs(&filter).await.map_err(Failure::run)?, json)
        }
        Command::Show { id, json } => show(&*store, JobId(id), json).await,
        Command::Status { json } => status(&*store, json).await,
        Command::Retry { ids } => {
            let ids: Vec<_> = ids.into_iter().map(JobId).collect();
            let retried = store.retry(&ids, now).await;
            let rule = "only waiting events can be retried";
            told(&*store, &ids, retried, ("due now", rule)).await
        }
        Command::Discard { ids } => {
            let ids: Vec<_> = ids.into_iter().map(JobId).collect();
            let discarded = store.discard(&ids, now).await;
            let rule = "only dead letters can be discarded";
            told(&*store, &ids, discarded, ("discarded", rule)).await
        }
        Command::Pause { what } => {
            store.pause(what.side()).await.map_err(Failure::run)?;
            status(&*store, false).await?;
            let poll = config.worker.poll.0;
            say(format_args!(
                "in force within {poll:?}, the worker.poll of the services: what is in hand then \
                 stops before its next call"
            ))
        }
        Command::Resume { what } => {
            let lifted = match what.side() {
                None => vec![None, Some(Side::Content), Some(Side::Crm)],
                side => vec![side],
            };
            for side in lifted {
                store.resume(side).await.map_err(Failure::run)?;
            }
            status(&*store, false).await
        }
        Command::Plan { ids, json } => {
            let ids: Vec<_> = ids.into_iter().map(JobId).collect();
            plan::run(&config, &opened, &ids, false, json).await
        }
        Command::Replay {
            ids,
            all,
            dry_run,
            json,
        } => {
            let ids = if all {
                dead(&*store).await.map_err(Failure::run)?
            } else {
                ids.into_iter().map(JobId).collect()
            };
            if dry_run {
                return plan::run(&config, &opened, &ids, true, json).await;
            }
            let replayed = store.replay(&ids, now).await;
            if all {
                let replayed = replayed.map_err(Failure::run)?;
                return say(format_args!("{replayed} of {} due again", ids.len()));
            }
            let rule = "only dead letters can be replayed";
            told(&*store, &ids, replayed, ("due again", rule)).await
        }
    }
}

/// Says how many it were, and fails where somebody has named others.
async fn told(
    store: &dyn QueueAdmin,
    ids: &[JobId],
    done: Result<u64, StoreError>,
    (what, rule): (&str, &str),
) -> Result<(), Failure> {
    let done = done.map_err(Failure::run)?;
    say(format_args!("{done} of {} {what}", ids.len()))?;
    if done >= ids.len() as u64 {
        return Ok(());
    }
    for id in ids {
        if store.job(*id).await.map_err(Failure::run)?.is_none() {
            return Err(Failure::Run(format!("there is no event {id}")));
        }
    }
    Err(Failure::Run(rule.to_owned()))
}

async fn status(store: &dyn QueueAdmin, json: bool) -> Result<(), Failure> {
    let counts = store.counts().await.map_err(Failure::run)?;
    let pauses = store.pauses().await.map_err(Failure::run)?;
    let paused: Vec<_> = [
        (pauses.all, "everything"),
        (pauses.content, "box"),
        (pauses.crm, "salesforce"),
    ]
    .into_iter()
    .filter_map(|(is_paused, name)| is_paused.then_some(name))
    .collect();
    if json {
        return say(json!({
            "ready": counts.ready, "leased": counts.leased, "done": counts.done,
            "dead": counts.dead, "oldest": counts.oldest, "paused": paused,
        }));
    }
    let paused = match paused.is_empty() {
        true => "nothing".to_owned(),
        false => paused.join(", "),
    };
    for (name, value) in [
        ("ready", counts.ready.to_string()),
        ("leased", counts.leased.to_string()),
        ("done", counts.done.to_string()),
        ("dead", counts.dead.to_string()),
        ("oldest", counts.oldest.map(seconds).unwrap_or_default()),
        ("paused", paused),
    ] {
        say(format_args!("{name:<9} {value}"))?;
    }
    Ok(())
}

async fn dead(store: &dyn QueueAdmin) -> Result<Vec<JobId>, StoreError> {
    let mut ids = Vec::new();
    let mut filter = JobFilter {
        state: Some(JobState::Dead),
        after: None,
        limit: 1000,
    };
    loop {
        let page = store.jobs(&filter).await?;
        let Some(last) = page.last() else {
            return Ok(ids);
        };
        filter.after = Some(last.id);
        ids.extend(page.iter().map(|job| job.id));
    }
}

async fn show(store: &dyn QueueAdmin, id: JobId, json: bool) -> Result<(), Failure> {
    let Some(job) = store.job(id).await.map_err(Failure::run)? else {
        return Err(Failure::Run(format!("there is no event {id}")));
    };
    let body: Option<Value> = serde_json::from_slice(&job.body).ok();
    if json {
        let mut shown = serde_json::to_value(&job).map_err(Failure::run)?;
        let text = || Value::from(String::from_utf8_lossy(&job.body));
        shown["body"] = body.unwrap_or_else(text);
        return say(shown);
    }
    let (state, pushed, at) = (word(job.state), seconds(job.pushed_at), seconds(job.at));
    let is_when = match job.state {
        JobState::Ready => "next try",
        JobState::Leased => "until",
        JobState::Done | JobState::Dead => "ended",
    };
    for (name, value) in [
        ("event", job.id.to_string()),
        ("state", state.to_owned()),
        ("attempts", job.attempts.to_string()),
        ("pushed", pushed),
        (is_when, at),
        ("order", job.key),
        ("sender's", job.dedupe),
        ("note", job.note.unwrap_or_default()),
    ] {
        say(format_args!("{name:<9} {value}"))?;
    }
    match body.and_then(|body| serde_json::to_string_pretty(&body).ok()) {
        Some(pretty) => say(pretty),
        None => say(String::from_utf8_lossy(&job.body)),
    }
}

fn print(jobs: &[Job], json: bool) -> Result<(), Failure> {
    if json {
        for job in jobs {
            say(serde_json::to_string(job).map_err(Failure::run)?)?;
        }
        return Ok(());
    }
    if jobs.is_empty() {
        return say("nothing");
    }
    let mut table = Table::new();
    table.set_header([
        "id",
        "state",
        "attempts",
        "pushed",
        "next attempt",
        "order",
        "note",
    ]);
    for job in jobs {
        table.add_row([
            job.id.to_string(),
            word(job.state).to_owned(),
            job.attempts.to_string(),
            seconds(job.pushed_at),
            job.next_attempt().map(seconds).unwrap_or_default(),
            job.key.clone(),
            job.note.clone().unwrap_or_default(),
        ]);
    }
    say(table)
}

fn word(state: JobState) -> &'static str {
    match state {
        JobState::Ready => "ready",
        JobState::Leased => "leased",
        JobState::Done => "done",
        JobState::Dead => "dead",
    }
}

fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
