//! From a source into the inbox, with its position in the ledger.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use tracing::warn;

use super::SourceError;
use crate::{
    clock::{Clock, SystemClock},
    crm::Record,
    ledger::{EffectKey, EffectState, Ledger},
    port_error::{PortError, in_one_line},
    queue::{Push, Queue},
    record_event::{Change, RecordEvent},
    records::{Changed, Records},
    store_error::{StoreError, StoreErrorKind},
};

/// So many events are made durable at once.
const AT_ONCE: usize = 500;
/// Creations that changed again before the source came to look are found this long.
const CREATIONS_LOOKED_FOR: Duration = Duration::from_secs(3600);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

#[derive(Clone, Debug)]
pub(super) struct Inlet {
    pub(super) records: Arc<dyn Records>,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Inlet {
    pub(super) fn new(
        records: Arc<dyn Records>,
        queue: Arc<dyn Queue>,
        ledger: Arc<dyn Ledger>,
    ) -> Self {
        Self {
            records,
            queue,
            ledger,
            clock: Arc::new(SystemClock),
        }
    }

    /// Returns once all of them are durable; tells how many were new.
    pub(super) async fn push(&self, events: &[RecordEvent]) -> Result<usize, StoreError> {
        let mut new = 0;
        for events in events.chunks(AT_ONCE) {
            let jobs = events.iter().map(RecordEvent::job);
            let jobs = jobs.collect::<Result<Vec<_>, _>>()?;
            let pushed = self.queue.push(jobs, self.clock.now()).await?;
            new += pushed
                .iter()
                .filter(|push| matches!(push, Push::Queued(_)))
                .count();
        }
        Ok(new)
    }

    /// Tells of what has changed since `since`, up to what is returned. Records made after `from`
    /// are told of as created, whenever they were changed since.
    pub(super) async fn tell_changed(
        &self,
        object: &str,
        since: Timestamp,
        from: Timestamp,
    ) -> Result<(Timestamp, usize), SourceError> {
        let changed = self.records.changed(object, since).await?;
        let looked_for = since
            .checked_sub(CREATIONS_LOOKED_FOR)
            .unwrap_or(Timestamp::MIN);
        let events = events(&changed, looked_for.max(from));
        let new = self.push(&events).await?;
        Ok((changed.covered_until, new))
    }

    pub(super) async fn position<T: DeserializeOwned>(
        &self,
        key: &EffectKey,
    ) -> Result<Option<T>, StoreError> {
        match self.ledger.read(key).await? {
            Some(EffectState::Finished(value)) => {
                T::deserialize(value).map(Some).map_err(unreadable)
            }
            _ => Ok(None),
        }
    }

    pub(super) async fn keep<T: Serialize>(
        &self,
        key: &EffectKey,
        position: &T,
    ) -> Result<(), StoreError> {
        let value = serde_json::to_value(position).map_err(unreadable)?;
        self.ledger.finish(key, value, self.clock.now()).await
    }
}

/// Salesforce's lists of ids do not tell what happened. The times of a record do.
fn events(changed: &Changed, created_from: Timestamp) -> Vec<RecordEvent> {
    let mut events = Vec::new();
    // Up to there Salesforce is sure that nothing more will come.
    let until = changed.covered_until;
    for known in &changed.records {
        let created_at = known.created_at.filter(|at| *at >= created_from);
        let second = |at: Option<Timestamp>| at.map(Timestamp::as_second);
        let changed_at = known.changed_at;
        if let Some(at) = created_at.filter(|at| *at < until) {
            events.push(RecordEvent::dated(
                known.record.clone(),
                Change::Created,
                at,
            ));
        }
        match changed_at {
            Some(at) if at < until && second(changed_at) == second(created_at) => {}
            Some(at) if at < until => {
                events.push(RecordEvent::dated(
                    known.record.clone(),
                    Change::Updated,
                    at,
                ));
            }
            _ => events.push(open(&known.record, until)),
        }
    }
    events.extend(changed.deleted.iter().map(|deleted| {
        let at = deleted.deleted_at;
        match at < until {
            true => RecordEvent::dated(deleted.record.clone(), Change::Deleted, at),
            false => open(&deleted.record, until),
        }
    }));
    events
}

/// What has happened again since then is told of by its own second the next time. Here it is only
/// that something has.
fn open(record: &Record, until: Timestamp) -> RecordEvent {
    RecordEvent::new(format!("until {until}"), record.clone(), Change::Changed)
}

/// How long to wait after failures in a row.
#[derive(Debug, Default)]
pub(super) struct Failures(u32);

impl Failures {
    pub(super) fn none(&mut self) {
        self.0 = 0;
    }

    pub(super) fn wait_after(&mut self, source: &str, error: &SourceError) -> Duration {
        let asked = match error {
            SourceError::Port(error) => PortError::retry_after(error),
            SourceError::Store(_) => None,
        };
        let ceiling = FIRST_WAIT.saturating_mul(1 << self.0.min(16));
        let jittered = ceiling
            .min(LONGEST_WAIT)
            .mul_f64(0.5 + fastrand::f64() / 2.0);
        self.0 = self.0.saturating_add(1);
        let wait = asked.map_or(jittered, |asked| asked.max(jittered));
        warn!(
            source,
            error = in_one_line(error),
            again_in = ?wait,
            "no events of records came"
        );
        wait
    }
}

fn unreadable(cause: serde_json::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "read the position").with_cause(cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{ChangedRecord, DeletedRecord};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap_or_default()
    }

    fn record() -> Record {
        Record {
            id: "006".to_owned(),
            object: Some("Opportunity".to_owned()),
        }
    }

    fn ids(created_at: Option<i64>, changed_at: Option<i64>) -> Vec<String> {
        let changed = Changed {
            records: vec![ChangedRecord {
                record: record(),
                created_at: created_at.map(at),
                changed_at: changed_at.map(at),
            }],
            deleted: Vec::new(),
            covered_until: at(200),
        };
        let told = events(&changed, at(100));
        told.into_iter().map(|event| event.id).collect()
    }

    #[test]
    fn the_times_of_a_record_tell_what_happened_to_it() {
        for (created, changed, expected) in [
            (Some(150), Some(150), &["CREATED@150"][..]),
            (Some(150), Some(160), &["CREATED@150", "UPDATED@160"]),
            (Some(50), Some(160), &["UPDATED@160"]),
            (None, Some(160), &["UPDATED@160"]),
        ] {
            assert_eq!(ids(created, changed), expected, "{created:?} {changed:?}");
        }
        let deleted = Changed {
            records: Vec::new(),
            deleted: vec![DeletedRecord {
                record: record(),
                deleted_at: at(150),
            }],
            covered_until: at(200),
        };
        assert_eq!(events(&deleted, at(0))[0].id, "DELETED@150");
    }

    #[test]
    fn a_second_that_may_not_be_over_names_no_event() {
        let own = "1970-01-01T00:03:20Z";
        assert_eq!(ids(Some(50), Some(200)), [format!("until {own}")]);
        assert_eq!(ids(Some(201), Some(201)), [format!("until {own}")]);
        assert_eq!(
            ids(Some(150), Some(201)),
            ["CREATED@150".to_owned(), format!("until {own}")]
        );
        assert_eq!(ids(None, None), [format!("until {own}")]);
    }
}
