//! The inbox as people see it.

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::{
    PostgresStore,
    failure::store_error,
    queue::{pause_name, timestamp},
};
use crate::{
    queue::{AfterDead, Counts, Job, JobFilter, JobId, JobState, QueueAdmin},
    side::Side,
    store::parts::parts,
    store_error::StoreError,
};

const SHOWN: &str = "id, state, attempts, pushed_at, at, owner, note, dedupe, key, kind";

const COUNTS: &str = "
    SELECT count(*) FILTER (WHERE state IN (0, 1)), count(*) FILTER (WHERE state = 2),
           (SELECT count(*) FROM bridge.job WHERE state = 3),
           (SELECT count(*) FROM bridge.job WHERE state = 4),
           min(pushed_at)
    FROM bridge.job WHERE state IN (0, 1, 2)";

#[async_trait]
impl QueueAdmin for PostgresStore {
    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, StoreError> {
        const DOING: &str = "list the jobs";
        let states = match filter.state {
            None => "",
            Some(JobState::Ready) => "state IN (0, 1) AND",
            Some(JobState::Leased) => "state = 2 AND",
            Some(JobState::Done) => "state = 3 AND",
            Some(JobState::Dead) => "state = 4 AND",
        };
        let sql =
            format!("SELECT {SHOWN} FROM bridge.job WHERE {states} id > $1 ORDER BY id LIMIT $2");
        let after = filter.after.map_or(i64::MIN, |id| id.0);
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
        let rows = self.query_again(DOING, &sql, &[&after, &limit]).await?;
        rows.iter()
            .map(|row| job(DOING, row, Bytes::new()))
            .collect()
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        const DOING: &str = "show the job";
        let sql = format!("SELECT {SHOWN}, body FROM bridge.job WHERE id = $1");
        let rows = self.query_again(DOING, &sql, &[&id.0]).await?;
        let shown = rows.first().map(|row| {
            let body: Vec<u8> = row.try_get(10).map_err(|cause| store_error(DOING, cause))?;
            job(DOING, row, body.into())
        });
        shown.transpose()
    }

    async fn replay(&self, ids: &[JobId], now: Timestamp) -> Result<u64, StoreError> {
        let sql = "SELECT bridge.replay($1, $2)";
        self.each("replay", sql, ids, now).await
    }

    async fn retry(&self, ids: &[JobId], now: Timestamp) -> Result<u64, StoreError> {
        let sql = "SELECT bridge.retry($1, $2)";
        self.each("retry", sql, ids, now).await
    }

    async fn discard(&self, ids: &[JobId], now: Timestamp) -> Result<u64, StoreError> {
        let sql = "SELECT bridge.discard($1, $2)";
        self.each("discard", sql, ids, now).await
    }

    async fn set_after_dead(&self, after_dead: AfterDead) -> Result<(), StoreError> {
        let value = match after_dead {
            AfterDead::Skip => "skip",
            AfterDead::Hold => "hold",
        };
        let doing = "set what comes after a dead job";
        self.query_again(doing, "SELECT bridge.set_after_dead($1)", &[&value])
            .await
            .map(drop)
    }

    async fn pause(&self, side: Option<Side>) -> Result<(), StoreError> {
        let sql = "INSERT INTO bridge.setting VALUES ($1, '') ON CONFLICT DO NOTHING";
        self.query_again("pause", sql, &[&pause_name(side)])
            .await
            .map(drop)
    }

    async fn resume(&self, side: Option<Side>) -> Result<(), StoreError> {
        let sql = "WITH lifted AS (DELETE FROM bridge.setting WHERE name = $1) \
                   SELECT bridge.hint()";
        self.query_again("resume", sql, &[&pause_name(side)])
            .await
            .map(drop)
    }

    async fn release(&self, owner: Option<&str>, now: Timestamp) -> Result<u64, StoreError> {
        let now = now.as_microsecond();
        self.number("release", "SELECT bridge.release($1, $2)", &[&owner, &now])
            .await
    }

    async fn purge(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let (before, limit) = (
            before.as_microsecond(),
            i64::try_from(limit).unwrap_or(i64::MAX),
        );
        self.number("purge", "SELECT bridge.purge($1, $2)", &[&before, &limit])
            .await
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        const DOING: &str = "count the jobs";
        let rows = self.query_again(DOING, COUNTS, &[]).await?;
        let mut counts = Counts::default();
        let Some(row) = rows.first() else {
            return Ok(counts);
        };
        let count = |column| row.get::<_, i64>(column).unsigned_abs();
        (counts.ready, counts.leased) = (count(0), count(1));
        (counts.done, counts.dead) = (count(2), count(3));
        let oldest: Option<i64> = row.get(4);
        counts.oldest = oldest.map(|at| timestamp(DOING, at)).transpose()?;
        Ok(counts)
    }
}

impl PostgresStore {
    /// Does this with each of these jobs, and tells with how many there was something to do.
    async fn each(
        &self,
        doing: &'static str,
        sql: &str,
        ids: &[JobId],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut done = 0;
        for part in parts(ids) {
            let part: Vec<i64> = part.iter().map(|id| id.0).collect();
            let now = now.as_microsecond();
            done += self.number(doing, sql, &[&part, &now]).await?;
        }
        Ok(done)
    }

    async fn number(
        &self,
        doing: &'static str,
        sql: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<u64, StoreError> {
        let rows = self.query(doing, sql, parameters).await?;
        let number = rows.first().map_or(0, |row| row.get::<_, i64>(0));
        Ok(number.unsigned_abs())
    }
}

fn job(doing: &'static str, row: &Row, body: Bytes) -> Result<Job, StoreError> {
    let failed = |cause| store_error(doing, cause);
    let state: i16 = row.try_get(1).map_err(failed)?;
    let attempts: i32 = row.try_get(2).map_err(failed)?;
    Ok(Job {
        id: JobId(row.try_get(0).map_err(failed)?),
        state: match state {
            0 | 1 => JobState::Ready,
            2 => JobState::Leased,
            3 => JobState::Done,
            _ => JobState::Dead,
        },
        attempts: attempts.unsigned_abs(),
        pushed_at: timestamp(doing, row.try_get(3).map_err(failed)?)?,
        at: timestamp(doing, row.try_get(4).map_err(failed)?)?,
        owner: row.try_get(5).map_err(failed)?,
        note: row.try_get(6).map_err(failed)?,
        dedupe: row.try_get(7).map_err(failed)?,
        key: row.try_get(8).map_err(failed)?,
        kind: row.try_get(9).map_err(failed)?,
        body,
    })
}
