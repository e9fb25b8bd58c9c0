//! Whether the inbox has room for what can wait.

use jiff::Timestamp;

use crate::{
    queue::{Job, JobFilter, JobState, QueueAdmin},
    quota_class::QuotaClass,
    store_error::StoreError,
};

const LISTED: usize = 500;
/// An inbox with more waiting is not counted to its end.
const MOST_LISTED: usize = 20_000;

/// How many waiting jobs others would stand behind, at most `most`: those that are due, and those
/// that can wait themselves and were put there before. A digest that is to be logged in an hour, or
/// an event that waits for a far side, is in nobody's way.
pub(super) async fn ahead(
    queue: &dyn QueueAdmin,
    most: u64,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let ready = queue.counts().await?.ready;
    if ready < most {
        return Ok(ready);
    }
    let is_ahead =
        |job: &&Job| job.at <= now || QuotaClass::of_kind(&job.kind) == QuotaClass::Backfill;
    let mut filter = JobFilter {
        state: Some(JobState::Ready),
        after: None,
        limit: LISTED,
    };
    let mut ahead = 0;
    for _ in 0..MOST_LISTED / LISTED {
        let jobs = queue.jobs(&filter).await?;
        ahead += jobs.iter().filter(is_ahead).count() as u64;
        if ahead >= most || jobs.len() < LISTED {
            break;
        }
        filter.after = jobs.last().map(|job| job.id);
    }
    Ok(ahead.min(most))
}
