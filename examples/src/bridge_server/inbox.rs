//! `queue`: what people do with the inbox, also while the service works on it.

use std::{path::Path, sync::Arc};

use bridge::{Job, JobFilter, JobId, JobState, QueueAdmin, StoreError};
use clap::{Subcommand, ValueEnum};
use comfy_table::Table;
use jiff::Timestamp;

use crate::{Failure, budget, config::Config, say, store::Store};

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
    /// Makes dead letters due again, with their attempts back at zero.
    Replay {
        /// Their ids.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        ids: Vec<i64>,
        /// All of them.
        #[arg(long)]
        all: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum State {
    Ready,
    Leased,
    Done,
    Dead,
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
        Command::Show { id } => show(&*store, JobId(id)).await,
        Command::Replay { ids, all } => {
            let ids = if all {
                dead(&*store).await.map_err(Failure::run)?
            } else {
                ids.into_iter().map(JobId).collect()
            };
            let replayed = store
                .replay(&ids, Timestamp::now())
                .await
                .map_err(Failure::run)?;
            say(format_args!("{replayed} of {} due again", ids.len()))?;
            if !all && replayed < ids.len() as u64 {
                return Err(Failure::Run("only dead letters can be replayed".to_owned()));
            }
            Ok(())
        }
    }
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

async fn show(store: &dyn QueueAdmin, id: JobId) -> Result<(), Failure> {
    let Some(job) = store.job(id).await.map_err(Failure::run)? else {
        return Err(Failure::Run(format!("there is no event {id}")));
    };
    let (state, pushed, at) = (word(job.state), seconds(job.pushed_at), seconds(job.at));
    for (name, value) in [
        ("event", job.id.to_string()),
        ("state", state.to_owned()),
        ("attempts", job.attempts.to_string()),
        ("pushed", pushed),
        ("at", at),
        ("order", job.key),
        ("sender's", job.dedupe),
        ("note", job.note.unwrap_or_default()),
    ] {
        say(format_args!("{name:<9} {value}"))?;
    }
    let body: Option<serde_json::Value> = serde_json::from_slice(&job.body).ok();
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
    table.set_header(["id", "state", "attempts", "pushed", "at", "order", "note"]);
    for job in jobs {
        table.add_row([
            job.id.to_string(),
            word(job.state).to_owned(),
            job.attempts.to_string(),
            seconds(job.pushed_at),
            seconds(job.at),
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
