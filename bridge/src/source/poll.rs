//! What has changed on the CRM side, asked for.

use jiff::Timestamp;
use serde_json::json;

use crate::{
    ledger::{EffectKey, EffectState, Ledger},
    port_error::PortError,
    queue::Queue,
    record_event::{Change, RecordEvent},
    records::Records,
    store_error::StoreError,
};

/// Asking did not come to its end; it can be repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PollError {
    /// The CRM side failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The inbox or the ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Records of one transaction.
const AT_ONCE: usize = 500;

/// Puts into the inbox what happened to records of this kind since `since`, and tells up to when
/// that is all. Returns only after the events are durable. What is pushed is a hint; asked again after
/// a crash, the same changes can come under other ids.
pub async fn changed_since(
    records: &dyn Records,
    queue: &dyn Queue,
    object: &str,
    since: Timestamp,
    now: Timestamp,
) -> Result<Timestamp, PollError> {
    let changed = records.changed(object, since).await?;
    let until = changed.covered_until;
    let made = changed.records.into_iter().map(|it| (it, Change::Changed));
    let deleted = changed.deleted.into_iter().map(|it| (it, Change::Deleted));
    let mut jobs = Vec::new();
    for (record, change) in made.chain(deleted) {
        let event = RecordEvent::new(format!("{change}:{until}"), record, change).at(until);
        jobs.push(event.job()?);
        if jobs.len() == AT_ONCE {
            queue.push(std::mem::take(&mut jobs), now).await?;
        }
    }
    if !jobs.is_empty() {
        queue.push(jobs, now).await?;
    }
    Ok(until)
}

/// The same since the last time, which the ledger remembers. The first time only makes a beginning.
pub async fn catch_up(
    records: &dyn Records,
    queue: &dyn Queue,
    ledger: &dyn Ledger,
    object: &str,
    now: Timestamp,
) -> Result<(), PollError> {
    let key = EffectKey::new(["poll", object]);
    let covered: Option<Timestamp> = match ledger.read(&key).await? {
        Some(EffectState::Finished(value)) => serde_json::from_value(value).ok(),
        _ => None,
    };
    let until = match covered {
        Some(since) => changed_since(records, queue, object, since, now).await?,
        None => now,
    };
    if covered != Some(until) {
        ledger.finish(&key, json!(until), now).await?;
    }
    Ok(())
}
