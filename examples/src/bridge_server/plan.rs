//! `queue plan`: what an event of the inbox leads to, by the rules as they are now.

use bridge::{
    BOX_FOUND, BOX_MISSED, BOX_WEBHOOK, COMMAND, Command, Deed, Foresight, Job, JobId, JobState,
    Pipeline, Plan, Prepared, QueueAdmin, RECORD_EVENT, RecordEvent, StepError, webhook::Event,
};
use serde_json::{Value, json};

use crate::{Failure, build, config::Config, in_one_line, provision, say, secrets, store::Store};

/// Of what was found in a folder, only the actions of this name are taken.
const ONLY: &str = "only";

/// Both sides are read and nothing is written, also where the event is done or dead.
pub(crate) async fn run(
    config: &Config,
    store: &Store,
    ids: &[JobId],
    only_dead: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let secrets = secrets::open(config).await?;
    let parts = build::parts(config, secrets.as_ref())?;
    let pipeline = build::pipeline(config, parts, store);
    let mut failed = Vec::new();
    for id in ids {
        match planned(&pipeline, &*store.queue, *id, only_dead).await {
            Ok((prepared, deeds)) => show(*id, prepared, deeds, ids.len() > 1, as_json)?,
            Err(why) => failed.push(format!("event {id}: {why}")),
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::Run(failed.join("; "))),
    }
}

/// What each step would really do, as far as its action tells.
type Deeds = Vec<Option<Vec<Deed>>>;

async fn planned(
    pipeline: &Pipeline,
    queue: &dyn QueueAdmin,
    id: JobId,
    only_dead: bool,
) -> Result<(Vec<Prepared>, Deeds), String> {
    let job = queue.job(id).await.map_err(|error| in_one_line(&error))?;
    let job = job.ok_or("there is no such event")?;
    if only_dead && job.state != JobState::Dead {
        return Err("only dead letters can be replayed".to_owned());
    }
    let one = match job.kind.as_str() {
        BOX_WEBHOOK | BOX_FOUND | BOX_MISSED => of_box(pipeline, &job).await?,
        RECORD_EVENT => {
            let event: RecordEvent = serde_json::from_slice(&job.body)
                .map_err(|error| format!("it is no record event: {error}"))?;
            let prepared = pipeline.prepare_records(&event, job.pushed_at).await;
            let prepared = prepared.map_err(|error| in_one_line(&error))?;
            let mut deeds = Vec::new();
            for one in &prepared {
                deeds.extend(foreseen(one, pipeline.foresee(one).await));
            }
            return Ok((prepared, deeds));
        }
        COMMAND => {
            let command: Command = serde_json::from_slice(&job.body)
                .map_err(|error| format!("it is no command: {error}"))?;
            let prepared = pipeline.prepare_command(&command, job.pushed_at).await;
            let prepared = prepared.map_err(|error| in_one_line(&error))?;
            let told = pipeline.foresee_command(&command, &prepared).await;
            let deeds = foreseen(&prepared, told);
            return Ok((vec![prepared], deeds));
        }
        kind => Prepared::Nothing(format!(
            "{kind} is work of the service's own, and asks no rule"
        )),
    };
    Ok((vec![one], Vec::new()))
}

/// The plan of an event is worth knowing also where Box or Salesforce does not answer.
fn foreseen(prepared: &Prepared, foreseen: Result<Vec<Foresight>, StepError>) -> Deeds {
    let error = match foreseen {
        Ok(foreseen) => return foreseen.into_iter().map(|it| it.deeds).collect(),
        Err(error) => error,
    };
    let why = format!(
        "what it would really do cannot be told now: {}",
        in_one_line(&error)
    );
    let steps = match prepared {
        Prepared::Steps(_, plan) => plan.steps.len(),
        Prepared::Nothing(_) => 0,
    };
    let mut deeds = vec![None; steps];
    if let Some(first) = deeds.first_mut() {
        *first = Some(vec![Deed::there("unknown", why)]);
    }
    deeds
}

async fn of_box(pipeline: &Pipeline, job: &Job) -> Result<Prepared, String> {
    let event = Event::parse(&job.body).map_err(|error| in_one_line(&error))?;
    let prepared = pipeline.prepare(&event, job.pushed_at).await;
    let mut prepared = prepared.map_err(|error| in_one_line(&error))?;
    if job.kind == BOX_FOUND
        && let Some(only) = event.extra.get(ONLY).and_then(Value::as_str)
        && let Prepared::Steps(_, Plan { steps }) = &mut prepared
    {
        steps.retain(|step| step.action == only);
    }
    Ok(prepared)
}

/// Of all that it stands for: what tells of a record that was made, and changed since, is both.
fn show(
    id: JobId,
    prepared: Vec<Prepared>,
    deeds: Deeds,
    is_one_of_many: bool,
    json: bool,
) -> Result<(), Failure> {
    let mut steps = Vec::new();
    let mut notes = Vec::new();
    if prepared.is_empty() {
        notes.push("the record is not there any more".to_owned());
    }
    for prepared in prepared {
        match prepared {
            Prepared::Nothing(why) => notes.push(why),
            Prepared::Steps(_, plan) => steps.extend(plan.steps),
        }
    }
    let why = notes.join("; ");
    if json {
        let mut shown = json!({ "event": id, "steps": steps });
        for (step, deeds) in deeds.into_iter().enumerate() {
            if let Some(deeds) = deeds {
                shown["steps"][step]["deeds"] = json!(deeds);
            }
        }
        if !why.is_empty() {
            shown["note"] = why.into();
        }
        return say(shown);
    }
    if is_one_of_many {
        say(format_args!("event {id}:"))?;
    }
    match steps.is_empty() && !why.is_empty() {
        true => say(format_args!("nothing to do: {why}"))?,
        false => say(Plan { steps })?,
    }
    for (step, deeds) in deeds.into_iter().enumerate() {
        let Some(deeds) = deeds else { continue };
        say(format_args!(
            "step {}, where + is what would be written:",
            step + 1
        ))?;
        provision::print(&deeds)?;
    }
    Ok(())
}
