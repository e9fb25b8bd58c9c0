//! The inbox as producers and workers see it.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_postgres::{Error, Row};

use super::{super::leases::micros, PostgresStore, failure::store_error};
use crate::{
    pauses::Pauses,
    queue::{InboxId, JobId, LeaseId, Leased, NewJob, Push, Queue, Settle},
    side::Side,
    store_error::{StoreError, StoreErrorKind},
};

const LEASE: &str = "lease";

#[async_trait]
impl Queue for PostgresStore {
    async fn push(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Push>, StoreError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        NewJob::check_all(&jobs)?;
        let pushed = self.inner.pusher.push(jobs, now).await?;
        if pushed.iter().any(|push| matches!(push, Push::Queued(_))) {
            // The database tells everybody, us too, but a little later.
            self.inner.wake.notify_one();
        }
        Ok(pushed)
    }

    async fn lease(
        &self,
        owner: &str,
        max: usize,
        hold: Duration,
        now: Timestamp,
    ) -> Result<Vec<Leased>, StoreError> {
        let most = i64::try_from(max).unwrap_or(i64::MAX);
        let sql = "SELECT id, attempts, fence, pushed_at, tried_at, dedupe, key, kind, body, lost \
                   FROM bridge.take($1, $2, $3, $4)";
        let (hold, now) = (micros(hold), now.as_microsecond());
        let rows = self
            .query(LEASE, sql, &[&owner, &most, &hold, &now])
            .await?;
        if rows.len() == max && max > 0 {
            // There may be more, for another worker of this process.
            self.inner.wake.notify_one();
        }
        rows.iter()
            .map(|row| leased(row, self.inner.inbox).map_err(|cause| store_error(LEASE, cause))?)
            .collect()
    }

    async fn extend(&self, lease: &LeaseId, hold: Duration) -> Result<(), StoreError> {
        let sql = "UPDATE bridge.job SET at = bridge.clock() + $3 \
                   WHERE id = $1 AND state = 2 AND fence = $2 AND at > bridge.clock() RETURNING id";
        let hold = micros(hold);
        let rows = self
            .query_again("extend", sql, &[&lease.job.0, &lease.fence, &hold])
            .await?;
        match rows.is_empty() {
            true => Err(StoreError::new(StoreErrorKind::StaleLease, "extend")),
            false => Ok(()),
        }
    }

    async fn settle(
        &self,
        lease: &LeaseId,
        settle: Settle,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        const DOING: &str = "settle";
        let (state, at, given_back, note) = match settle {
            Settle::Done { note } => (3_i16, now, 0, note),
            Settle::Dead { reason } => (4, now, 0, reason),
            Settle::Retry { at, reason } => (0, at, 0, reason),
            Settle::Defer { at, reason } => (0, at, 1, reason),
        };
        // PostgreSQL's text has no room for it.
        let note = note.replace('\0', "\u{fffd}");
        let (now, at) = (now.as_microsecond(), at.as_microsecond());
        let sql = "SELECT held, next FROM bridge.settle($1, $2, $3, $4, $5, $6, $7)";
        let LeaseId { job, fence, .. } = lease;
        let rows = self
            .query_again(
                DOING,
                sql,
                &[&job.0, fence, &now, &state, &at, &given_back, &note],
            )
            .await?;
        let ended = rows.first().map(|row| (row.get(0), row.get(1)));
        match ended {
            Some((true, next)) => {
                if next {
                    self.inner.wake.notify_one();
                }
                Ok(())
            }
            _ => Err(StoreError::new(StoreErrorKind::StaleLease, DOING)),
        }
    }

    async fn pauses(&self) -> Result<Pauses, StoreError> {
        const DOING: &str = "ask what is paused";
        let sql = "SELECT name FROM bridge.setting WHERE name LIKE 'pause%'";
        let rows = self.query_again(DOING, sql, &[]).await?;
        let mut pauses = Pauses::default();
        for row in rows {
            let name: &str = row.try_get(0).map_err(|cause| store_error(DOING, cause))?;
            pauses.all |= name == pause_name(None);
            pauses.content |= name == pause_name(Some(Side::Content));
            pauses.crm |= name == pause_name(Some(Side::Crm));
        }
        Ok(pauses)
    }

    async fn wait(&self) {
        self.inner.wake.notified().await;
    }
}

/// The setting that is there while a pause lasts.
pub(super) fn pause_name(side: Option<Side>) -> &'static str {
    match side {
        None => "pause",
        Some(Side::Content) => "pause content",
        Some(Side::Crm) => "pause crm",
    }
}

fn leased(row: &Row, inbox: InboxId) -> Result<Result<Leased, StoreError>, Error> {
    let attempts: i32 = row.try_get(1)?;
    let lease = LeaseId {
        job: JobId(row.try_get(0)?),
        fence: row.try_get(2)?,
        inbox,
    };
    let pushed_at: i64 = row.try_get(3)?;
    let job = NewJob {
        dedupe: row.try_get(5)?,
        key: row.try_get(6)?,
        kind: row.try_get(7)?,
        body: row.try_get::<_, Vec<u8>>(8)?.into(),
    };
    let (attempt, tried_at) = (attempts.unsigned_abs(), row.try_get(4)?);
    let lost = row.try_get::<_, i32>(9)?.unsigned_abs();
    let times =
        timestamp(LEASE, pushed_at).and_then(|pushed| Ok((pushed, timestamp(LEASE, tried_at)?)));
    Ok(times.map(|(pushed, tried)| Leased::new(lease, attempt, pushed, tried, job).lost(lost)))
}

pub(super) fn timestamp(doing: &'static str, microseconds: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(microseconds)
        .map_err(|cause| StoreError::new(StoreErrorKind::Corrupt, doing).with_cause(cause))
}
