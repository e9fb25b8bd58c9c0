//! What has changed in Salesforce, and when.

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use salesforce_client::{ChangeCursor, RecordId, soql};
use serde::Deserialize;
use tracing::warn;

use crate::{
    crm::Record,
    port_error::PortError,
    records::{Changed, ChangedRecord, DeletedRecord, RecordTimes},
    salesforce_crm::{SalesforceCrm, port_error},
    salesforce_records::{check_name, object},
};

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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    id: RecordId,
    created_date: Option<Timestamp>,
    system_modstamp: Option<Timestamp>,
}

impl SalesforceCrm {
    /// As [`Records::changed`](crate::Records::changed).
    pub(crate) async fn changed_records(
        &self,
        object: &str,
        since: Timestamp,
    ) -> Result<Changed, PortError> {
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

    /// As [`Records::times`](crate::Records::times).
    pub(crate) async fn record_times(
        &self,
        record: &Record,
    ) -> Result<Option<RecordTimes>, PortError> {
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
