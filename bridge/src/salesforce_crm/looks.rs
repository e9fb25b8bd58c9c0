//! Which activities are there as Tasks, many to a query.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use futures_util::future::join_all;
use salesforce_client::{Error, ErrorKind, Record, SalesforceClient, soql};

use super::{
    failure::{port_error, port_error_of_many},
    task_key::task_key,
    tasks::{mark, subject, text},
    together::Carrier,
};
use crate::{crm::Activity, port_error::PortError};

const LOOK: &str = "look for the Task in Salesforce";
/// Tasks of one subject on one record and day that are looked through.
const MOST_TASKS: usize = 2_000;
/// So many subjects in one query stay below the length that Salesforce takes.
const LOOKS: usize = 50;

/// Looks for Tasks.
pub(super) struct Looks {
    pub(super) client: SalesforceClient,
    pub(super) key: Option<String>,
}

#[async_trait]
impl Carrier for Looks {
    type Row = Activity;
    type Answer = Option<String>;
    const DOING: &'static str = LOOK;

    fn full(&self) -> usize {
        LOOKS
    }

    async fn carry(&self, rows: Vec<Activity>) -> Vec<Result<Option<String>, PortError>> {
        let looks = rows.chunks(LOOKS).map(|some| async {
            match self.look(some).await {
                Ok(found) => found.into_iter().map(Ok).collect(),
                // Among so many that they cannot be looked through together: each by itself.
                Err(error) if error.kind() == ErrorKind::TooLarge && some.len() > 1 => {
                    join_all(some.iter().map(|one| self.look_for(one))).await
                }
                Err(error) => {
                    let failed = |_: &Activity| Err(port_error_of_many(LOOK, &error));
                    some.iter().map(failed).collect()
                }
            }
        });
        let found: Vec<Vec<_>> = join_all(looks).await;
        found.into_iter().flatten().collect()
    }
}

impl Looks {
    async fn look_for(&self, activity: &Activity) -> Result<Option<String>, PortError> {
        let found = self.look(std::slice::from_ref(activity)).await;
        let found = found.map_err(|error| port_error(LOOK, error))?;
        Ok(found.into_iter().next().flatten())
    }

    /// The Task of each of these.
    async fn look(&self, activities: &[Activity]) -> Result<Vec<Option<String>>, Error> {
        let texts = |of: fn(&Activity) -> String| {
            let texts: BTreeSet<_> = activities.iter().map(of).collect();
            texts.into_iter().collect::<Vec<_>>()
        };
        let query = match &self.key {
            Some(field) => soql(format!(
                "SELECT Id, Description, {field} FROM Task WHERE {field} IN :keys"
            ))
            .bind("keys", texts(|it| task_key(it).into_owned())),
            // A description cannot be filtered by, so it is read and searched here.
            None => soql(
                "SELECT Id, Description FROM Task \
                 WHERE (WhatId IN :records OR WhoId IN :records) AND Subject IN :subjects AND ActivityDate IN :dates",
            )
            .bind("records", texts(|it| it.record.id.clone()))
            .bind("subjects", texts(|it| subject(it).into_owned()))
            .bind(
                "dates",
                activities.iter().map(|it| it.date).collect::<Vec<_>>(),
            ),
        };
        let tasks: Vec<Record> = self.client.query(query).all(MOST_TASKS).await?;
        let mut found = HashMap::new();
        for task in &tasks {
            let Some(id) = text(task, "Id") else {
                continue;
            };
            match &self.key {
                // Salesforce compares it in any case of its letters.
                Some(field) => {
                    let key = text(task, field).unwrap_or_default();
                    found.entry(key.to_lowercase()).or_insert(id);
                }
                None => {
                    let text = text(task, "Description").unwrap_or_default();
                    for line in text.lines() {
                        found.entry(line.to_owned()).or_insert_with(|| id.clone());
                    }
                }
            }
        }
        let of = |activity: &Activity| match &self.key {
            Some(_) => found.get(&task_key(activity).to_lowercase()).cloned(),
            None => found.get(&mark(activity)).cloned(),
        };
        Ok(activities.iter().map(of).collect())
    }
}
