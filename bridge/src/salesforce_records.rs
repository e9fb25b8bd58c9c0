//! Salesforce's sObjects as the CRM side's records.

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use salesforce_client::{ChangeCursor, ErrorKind, FieldDescribe, RecordId, soql};
use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::warn;

use crate::{
    crm::Record,
    port_error::{PortError, PortErrorKind},
    records::{
        Changed, ChangedRecord, Contact, DeletedRecord, FieldShape, Nearness, RecordState,
        RecordTimes, Records,
    },
    salesforce_crm::{SalesforceCrm, id, port_error},
};

/// Contacts of one e-mail address that are looked through.
const MOST_CONTACTS: usize = 200;
/// Salesforce tells of changes for 30 days.
const UPDATES_KEPT: Duration = Duration::from_secs(30 * 24 * 3600 - 3600);
/// Salesforce tells of deletions for 15 days; what is older is only to be found by its absence.
const DELETIONS_KEPT: Duration = Duration::from_secs(15 * 24 * 3600 - 3600);
/// How far what is asked for otherwise goes into what Salesforce tells of.
const OVERLAP: Duration = Duration::from_secs(1800);
/// Salesforce takes windows to begin with the minute.
const MINUTE: Duration = Duration::from_secs(60);
/// Rows that are looked through at a time: beyond a window, for records which have changed again
/// since, and before Salesforce's lists begin.
const MOST_LATER: usize = 10_000;
/// Of what an answer has to tell in any case.
const ALWAYS: [&str; 2] = ["LastModifiedDate", "LastModifiedById"];

#[async_trait]
impl Records for SalesforceCrm {
    async fn read(&self, record: &Record, fields: &[&str]) -> Result<RecordState, PortError> {
        const DOING: &str = "read the record in Salesforce";
        let object = object(DOING, record)?;
        for field in fields {
            check_name(DOING, field)?;
        }
        let mut seen = HashSet::new();
        let asked: Vec<_> = ALWAYS
            .iter()
            .chain(fields)
            .filter(|field| seen.insert(field.to_ascii_lowercase()))
            .copied()
            .collect();
        let query = soql(format!(
            "SELECT {} FROM {object} WHERE Id = :id",
            asked.join(", ")
        ))
        .bind("id", &record.id);
        let rows = self
            .client()
            .query::<Map<String, Value>>(query)
            .all(1)
            .await;
        let rows = rows.map_err(|error| port_error(DOING, error))?;
        let Some(row) = rows.into_iter().next() else {
            return Err(PortError::new(PortErrorKind::Gone, DOING));
        };
        let value = |path: &str| at_path(&row, path).cloned().unwrap_or(Value::Null);
        let text = |path: &str| value(path).as_str().map(str::to_owned);
        let fields = fields
            .iter()
            .map(|field| ((*field).to_owned(), value(field)))
            .collect();
        let mut state = RecordState::new(fields, None);
        state.changed_at = text("LastModifiedDate").and_then(|at| at.parse().ok());
        state.changed_by = text("LastModifiedById");
        Ok(state)
    }

    async fn write(
        &self,
        record: &Record,
        fields: &Map<String, Value>,
        seen: Option<Timestamp>,
    ) -> Result<bool, PortError> {
        const DOING: &str = "change the record in Salesforce";
        let object = object(DOING, record)?;
        let id = id(DOING, &record.id)?;
        let mut update = self
            .client()
            .sobject(object)
            .update(&id, fields)
            .repeatable();
        if let Some(seen) = seen {
            update = update.if_unmodified_since(seen);
        }
        match update.send().await {
            Ok(()) => Ok(true),
            // 412
            Err(error) if error.kind() == ErrorKind::Conflict && error.status() == Some(412) => {
                Ok(false)
            }
            Err(error) => Err(port_error(DOING, error)),
        }
    }

    async fn shape(&self, object: &str) -> Result<Vec<FieldShape>, PortError> {
        const DOING: &str = "describe the records in Salesforce";
        check_name(DOING, object)?;
        let describe = self.client().sobject(object).describe().send().await;
        let describe = describe.map_err(|error| port_error(DOING, error))?;
        Ok(describe.fields.into_iter().map(shape).collect())
    }

    async fn contacts(
        &self,
        email: &str,
        deal: Option<&Record>,
    ) -> Result<Vec<Contact>, PortError> {
        const DOING: &str = "look for the contact in Salesforce";
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Row {
            id: RecordId,
            name: Option<String>,
            account_id: Option<RecordId>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Role {
            contact_id: Option<RecordId>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Deal {
            account_id: Option<RecordId>,
        }
        let failed = |error| port_error(DOING, error);
        let query = soql("SELECT Id, Name, AccountId FROM Contact WHERE Email = :email")
            .bind("email", email);
        let rows = self.client().query::<Row>(query).all(MOST_CONTACTS).await;
        let rows = rows.map_err(failed)?;
        let (mut on_deal, mut account) = (Vec::new(), None);
        let is_deal = |record: &&Record| record.object.as_deref() == Some("Opportunity");
        match deal {
            // Nobody to put in order.
            _ if rows.is_empty() => {}
            Some(deal) if is_deal(&deal) => {
                let roles = soql(
                    "SELECT ContactId FROM OpportunityContactRole WHERE OpportunityId = :deal",
                )
                .bind("deal", &deal.id);
                let roles = self.client().query::<Role>(roles).all(MOST_CONTACTS).await;
                on_deal.extend(
                    roles
                        .map_err(failed)?
                        .into_iter()
                        .filter_map(|it| it.contact_id),
                );
                let own = soql("SELECT AccountId FROM Opportunity WHERE Id = :deal")
                    .bind("deal", &deal.id);
                let own = self
                    .client()
                    .query::<Deal>(own)
                    .all(1)
                    .await
                    .map_err(failed)?;
                account = own.into_iter().find_map(|deal| deal.account_id);
            }
            Some(other) => account = Some(id(DOING, &other.id)?),
            None => {}
        }
        let mut contacts: Vec<_> = rows
            .into_iter()
            .map(|row| Contact {
                nearness: if on_deal.contains(&row.id) {
                    Nearness::Deal
                } else if row.account_id.is_some() && row.account_id == account {
                    Nearness::Account
                } else {
                    Nearness::Elsewhere
                },
                record: Record {
                    id: row.id.to_string(),
                    object: Some("Contact".to_owned()),
                },
                name: row.name,
            })
            .collect();
        contacts.sort_by(|a, b| (a.nearness, &a.record.id).cmp(&(b.nearness, &b.record.id)));
        Ok(contacts)
    }

    async fn changed(&self, object: &str, since: Timestamp) -> Result<Changed, PortError> {
        const DOING: &str = "ask Salesforce what has changed";
        check_name(DOING, object)?;
        let failed = |error| port_error(DOING, error);
        let kept = |back| Timestamp::now().checked_sub(back).unwrap_or(Timestamp::MIN);
        let (told_since, deletions_since) = (kept(UPDATES_KEPT), kept(DELETIONS_KEPT));
        if since < deletions_since {
            warn!(
                object,
                %since,
                "Salesforce tells of deletions for 15 days only: what was deleted before {deletions_since} is not told of"
            );
        }
        if since < told_since {
            // Well into them, so that the next time begins there whenever it is.
            let until = told_since.checked_add(OVERLAP).unwrap_or(told_since);
            return self.changed_long_ago(object, since, until).await;
        }
        let mut cursor = ChangeCursor::starting_at(since);
        cursor.deleted = since.max(deletions_since);
        let changes = self.client().sobject(object).changes(cursor).until_now();
        let page = pin!(changes.stream()).try_next().await.map_err(failed)?;
        let Some(page) = page else {
            return Ok(Changed {
                records: Vec::new(),
                deleted: Vec::new(),
                covered_until: since,
            });
        };
        let mut missing: HashSet<_> = page.updated.iter().collect();
        let mut times = HashMap::new();
        if !missing.is_empty() {
            // No end: what has changed again meanwhile has a later stamp.
            let query = soql(format!(
                "SELECT Id, CreatedDate, SystemModstamp FROM {object} \
                 WHERE SystemModstamp >= :since ORDER BY SystemModstamp"
            ))
            .bind(
                "since",
                cursor.updated.checked_sub(MINUTE).unwrap_or(cursor.updated),
            );
            let most = missing.len() + MOST_LATER;
            let mut rows = pin!(self.client().query::<Row>(query).stream().take(most));
            while let Some(row) = rows.try_next().await.map_err(failed)? {
                if missing.remove(&row.id) {
                    times.insert(row.id.clone(), row);
                }
                if missing.is_empty() {
                    break;
                }
            }
        }
        let record = |id: &RecordId| Record {
            id: id.to_string(),
            object: Some(object.to_owned()),
        };
        let known = |id: &RecordId| ChangedRecord {
            record: record(id),
            created_at: times.get(id).and_then(|row| row.created_date),
            changed_at: times.get(id).and_then(|row| row.system_modstamp),
        };
        Ok(Changed {
            records: page.updated.iter().map(known).collect(),
            deleted: page
                .deleted
                .iter()
                .map(|deleted| DeletedRecord {
                    record: record(&deleted.id),
                    deleted_at: deleted.deleted_date,
                })
                .collect(),
            covered_until: page.cursor.updated.min(page.cursor.deleted),
        })
    }

    async fn times(&self, record: &Record) -> Result<Option<RecordTimes>, PortError> {
        const DOING: &str = "ask Salesforce when the record was changed";
        let object = object(DOING, record)?;
        let text = format!("SELECT Id, CreatedDate, SystemModstamp FROM {object} WHERE Id = :id");
        // Not every kind of record has the field IsDeleted.
        for is_deleted in [false, true] {
            let query = soql(text.clone()).bind("id", &record.id);
            let query = self.client().query::<Row>(query);
            let row = match is_deleted {
                true => query.all_rows().first().await,
                false => query.first().await,
            };
            let row = row.map_err(|error| port_error(DOING, error))?;
            let times = row.and_then(|row| {
                Some(RecordTimes {
                    created_at: row.created_date,
                    changed_at: row.system_modstamp?,
                    is_deleted,
                })
            });
            if times.is_some() {
                return Ok(times);
            }
        }
        Ok(None)
    }
}

impl SalesforceCrm {
    /// What has changed since before Salesforce's own lists begin. A query has no such limit; of a
    /// record that has changed again since it tells the last time only.
    async fn changed_long_ago(
        &self,
        object: &str,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Changed, PortError> {
        const DOING: &str = "ask Salesforce what has changed long ago";
        let query = soql(format!(
            "SELECT Id, CreatedDate, SystemModstamp FROM {object} \
             WHERE SystemModstamp >= :since AND SystemModstamp < :until \
             ORDER BY SystemModstamp, Id"
        ));
        let query = query.bind("since", since).bind("until", until);
        let mut rows = pin!(self.client().query::<Row>(query).stream());
        let mut changed = Changed {
            records: Vec::new(),
            deleted: Vec::new(),
            covered_until: until,
        };
        let mut last = None;
        while let Some(row) = rows
            .try_next()
            .await
            .map_err(|error| port_error(DOING, error))?
        {
            // The rest the next time; what has one stamp stays together.
            if changed.records.len() >= MOST_LATER && row.system_modstamp != last {
                changed.covered_until = row.system_modstamp.unwrap_or(until);
                break;
            }
            last = row.system_modstamp;
            changed.records.push(ChangedRecord {
                record: Record {
                    id: row.id.to_string(),
                    object: Some(object.to_owned()),
                },
                created_at: row.created_date,
                changed_at: row.system_modstamp,
            });
        }
        Ok(changed)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    id: RecordId,
    created_date: Option<Timestamp>,
    system_modstamp: Option<Timestamp>,
}

fn object<'r>(doing: &'static str, record: &'r Record) -> Result<&'r str, PortError> {
    let object = record.object.as_deref().ok_or_else(|| {
        let cause = format!("the id {} does not tell what it is", record.id);
        PortError::new(PortErrorKind::Refused, doing).with_cause(cause)
    })?;
    check_name(doing, object)?;
    Ok(object)
}

/// Names go into queries as they are, so they are held to what names are made of.
fn check_name(doing: &'static str, name: &str) -> Result<(), PortError> {
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if name.split('.').all(is_name) {
        return Ok(());
    }
    let cause = format!("`{name}` is no name of a field or object");
    Err(PortError::new(PortErrorKind::Refused, doing).with_cause(cause))
}

fn at_path<'v>(row: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    let mut parts = path.split('.');
    let first = member(row, parts.next()?)?;
    parts.try_fold(first, |value, part| member(value.as_object()?, part))
}

/// Salesforce answers in its own spelling, whichever way the name was written.
fn member<'v>(row: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    let same = |(key, _): &(&String, &Value)| key.eq_ignore_ascii_case(name);
    row.get(name)
        .or_else(|| row.iter().find(same).map(|(_, value)| value))
}

fn shape(field: FieldDescribe) -> FieldShape {
    let choices = field.picklist_values.into_iter();
    FieldShape {
        name: field.name,
        kind: field.kind,
        longest: field.length,
        is_writable: field.updateable,
        is_nillable: field.nillable,
        choices: choices
            .filter(|choice| choice.active)
            .map(|choice| choice.value)
            .collect(),
        only_choices: field.restricted_picklist,
    }
}
