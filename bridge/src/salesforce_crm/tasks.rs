//! Activities as Tasks: one by one, 200 to a call, or by Bulk 2.0.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    convert::Infallible,
    pin::pin,
    sync::Arc,
};

use async_trait::async_trait;
use futures_util::{TryStreamExt, future::join_all, stream};
use jiff::civil::Date;
use salesforce_client::{Error, NewTask, Record, RecordId, SalesforceClient, truncate};
use tracing::{info, warn};

use super::{
    failure::{id, is_duplicate_value, port_error, port_error_of_many},
    task_key::task_key,
    together::Carrier,
};
use crate::{
    crm::Activity,
    port_error::{PortError, PortErrorKind},
};

const CREATE: &str = "create the Task in Salesforce";
/// How many records Salesforce takes in one call.
const CALL: usize = 200;

/// Creates Tasks.
pub(super) struct Tasks {
    pub(super) client: SalesforceClient,
    pub(super) key: Option<String>,
    /// From so many on Bulk 2.0 is cheaper.
    pub(super) bulk_from: usize,
}

/// A Task to create.
pub(super) struct TaskRow {
    key: String,
    subject: String,
    description: String,
    status: String,
    date: Date,
    what: Option<RecordId>,
    who: Option<RecordId>,
}

impl TaskRow {
    pub(super) fn of(activity: &Activity, status: &str) -> Result<Self, PortError> {
        let on = id(CREATE, &activity.record.id)?;
        let who = match &activity.who {
            Some(who) => Some(id(CREATE, &who.id)?),
            None => None,
        };
        // Salesforce has people in a field of their own, and no other field beside a Lead.
        let (what, who) = match is_person(&on) {
            true => (None, Some(on)),
            false => (Some(on), who),
        };
        Ok(Self {
            key: task_key(activity).into_owned(),
            subject: subject(activity).into_owned(),
            description: description(activity),
            status: status.to_owned(),
            date: activity.date,
            what,
            who,
        })
    }

    fn task(&self, key: Option<&str>) -> NewTask {
        let task = NewTask::new(&self.subject)
            .description(&self.description)
            .status(&self.status)
            .activity_date(self.date);
        let task = match &self.what {
            Some(what) => task.what_id(what),
            None => task,
        };
        let task = match &self.who {
            Some(who) => task.who_id(who),
            None => task,
        };
        match key {
            Some(field) => task.field(field, self.key.as_str()),
            None => task,
        }
    }

    fn columns(&self) -> [String; 7] {
        [
            self.key.clone(),
            self.subject.clone(),
            self.description.clone(),
            self.status.clone(),
            self.date.to_string(),
            or_empty(&self.what),
            or_empty(&self.who),
        ]
    }
}

/// A Lead or a Contact.
fn is_person(record: &RecordId) -> bool {
    matches!(record.prefix(), "00Q" | "003")
}

fn or_empty(id: &Option<RecordId>) -> String {
    id.as_ref().map(ToString::to_string).unwrap_or_default()
}

#[async_trait]
impl Carrier for Tasks {
    type Row = TaskRow;
    type Answer = String;
    const DOING: &'static str = CREATE;

    fn full(&self) -> usize {
        match self.key {
            Some(_) => self.bulk_from,
            None => CALL,
        }
    }

    /// Only with a unique field: Salesforce gives the rows of a job back in no order and without
    /// their numbers, so nothing else tells them apart; and a job whose end nobody has seen can
    /// still write when the rows are sent again.
    fn goes_alone(&self, rows: usize) -> bool {
        self.key.is_some() && rows >= self.bulk_from
    }

    async fn carry(&self, rows: Vec<TaskRow>) -> Vec<Result<String, PortError>> {
        match &self.key {
            Some(key) if rows.len() >= self.bulk_from => self.in_bulk(key, rows).await,
            _ => self.in_calls(rows.iter().collect()).await,
        }
    }
}

impl Tasks {
    async fn in_calls(&self, rows: Vec<&TaskRow>) -> Vec<Result<String, PortError>> {
        let key = self.key.as_deref();
        let tasks: Vec<_> = rows.into_iter().map(|row| row.task(key)).collect();
        if let [task] = &tasks[..] {
            let created = self.client.tasks().create(task).await;
            return vec![self.judged(created)];
        }
        let calls: Vec<_> = tasks
            .chunks(CALL)
            .map(|some| self.in_a_call(some.to_vec()))
            .collect();
        join_all(calls).await.into_iter().flatten().collect()
    }

    async fn in_a_call(&self, tasks: Vec<NewTask>) -> Vec<Result<String, PortError>> {
        let rows = self.client.sobject("Task").create_all(tasks).send().await;
        let created = rows
            .into_iter()
            .map(|row| row.outcome.map(|saved| saved.id));
        created.map(|created| self.judged(created)).collect()
    }

    fn judged(&self, created: Result<RecordId, Error>) -> Result<String, PortError> {
        match created {
            Ok(id) => Ok(id.to_string()),
            Err(error) if self.key.is_some() && is_duplicate_value(&error) => {
                Err(PortError::new(PortErrorKind::Unknown, CREATE).with_cause(error))
            }
            Err(error) => Err(port_error(CREATE, error)),
        }
    }

    /// A row that the job tells nothing of is in doubt. One that it refused goes again by itself:
    /// that tells better what is wrong with it.
    async fn in_bulk(&self, key: &str, rows: Vec<TaskRow>) -> Vec<Result<String, PortError>> {
        info!(rows = rows.len(), "creating Tasks by Bulk 2.0");
        let rows = Arc::new(rows);
        let mut told = Told::default();
        let ended = self.job(key, &rows, &mut told).await;
        if let Err(error) = &ended {
            warn!(%error, "a Bulk job has not come to its end");
        }
        let is_refused = |row: &&TaskRow| told.refused.contains(&row.key);
        let refused: Vec<_> = rows.iter().filter(is_refused).collect();
        let keys: Vec<_> = refused.iter().map(|row| row.key.clone()).collect();
        let again = self.in_calls(refused).await;
        let mut again: HashMap<_, _> = keys.into_iter().zip(again).collect();
        let outcome = |row: &TaskRow| {
            if let Some(id) = told.created.remove(&row.key) {
                return Ok(id.to_string());
            }
            if let Some(outcome) = again.remove(&row.key) {
                return outcome;
            }
            Err(match &ended {
                Err(error) if !told.is_sent && !error.may_have_happened() => {
                    port_error_of_many(CREATE, error)
                }
                _ => PortError::new(PortErrorKind::Unknown, CREATE)
                    .with_cause("the Bulk job does not tell what became of it"),
            })
        };
        rows.iter().map(outcome).collect()
    }

    async fn job(&self, key: &str, rows: &Arc<Vec<TaskRow>>, told: &mut Told) -> Result<(), Error> {
        let columns = [
            key,
            "Subject",
            "Description",
            "Status",
            "ActivityDate",
            "WhatId",
            "WhoId",
        ];
        let rows = Arc::clone(rows);
        let rows = (0..rows.len()).map(move |place| Ok::<_, Infallible>(rows[place].columns()));
        let request = self.client.bulk().insert("Task").columns(columns);
        let mut jobs = pin!(request.rows(stream::iter(rows)));
        while let Some(job) = jobs.try_next().await? {
            told.is_sent = true;
            let ended = job.wait().send().await;
            // What was written before a job failed has its results all the same.
            let mut created = pin!(job.successful_results::<Record>());
            while let Some(row) = created.try_next().await? {
                told.created
                    .extend(text(&row.record, key).map(|key| (key, row.id)));
            }
            let mut refused = pin!(job.failed_results::<Record>());
            while let Some(row) = refused.try_next().await? {
                told.refused.extend(text(&row.record, key));
            }
            ended?;
        }
        Ok(())
    }
}

/// What jobs have told of their rows.
#[derive(Default)]
struct Told {
    is_sent: bool,
    created: HashMap<String, RecordId>,
    refused: HashSet<String>,
}

/// A field that Salesforce may write in another case of its letters.
pub(super) fn text(record: &Record, field: &str) -> Option<String> {
    let mut fields = record.iter();
    let found = fields.find(|(name, _)| name.eq_ignore_ascii_case(field));
    found.and_then(|(_, value)| value.as_str().map(str::to_owned))
}

pub(super) fn mark(activity: &Activity) -> String {
    format!("Box event {}", activity.key)
}

pub(super) fn subject(activity: &Activity) -> Cow<'_, str> {
    truncate(&activity.subject, NewTask::LONGEST_SUBJECT)
}

/// The text, shortened where it has to be, and the mark on a line of its own.
fn description(activity: &Activity) -> String {
    let mark = mark(activity);
    let room = NewTask::LONGEST_DESCRIPTION.saturating_sub(mark.encode_utf16().count() + 2);
    let text = truncate(&activity.description, room);
    format!("{text}\n\n{mark}").trim_start().to_owned()
}
