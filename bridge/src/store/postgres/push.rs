//! Many producers, one commit: what gathers while a commit is under way shares the next one.

use std::time::Duration;

use deadpool_postgres::Pool;
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use super::failure::{is_passing, pool_error, store_error};
use crate::{
    queue::{JobId, NewJob, Push},
    store_error::{StoreError, StoreErrorKind},
};

const DOING: &str = "push";
/// Who waits for a place in a commit at most; whoever comes then waits for a place to wait.
const WAITING: usize = 1024;
/// Jobs that share one commit at most, but for a single call that has more.
const GROUP: usize = 256;
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub(super) struct Pusher {
    calls: mpsc::Sender<Call>,
}

struct Call {
    jobs: Vec<NewJob>,
    now: Timestamp,
    asked: oneshot::Sender<Result<Vec<Push>, StoreError>>,
}

impl Pusher {
    pub(super) fn start(pool: Pool) -> Self {
        let (calls, waiting) = mpsc::channel(WAITING);
        tokio::spawn(serve(pool, waiting));
        Self { calls }
    }

    pub(super) async fn push(
        &self,
        jobs: Vec<NewJob>,
        now: Timestamp,
    ) -> Result<Vec<Push>, StoreError> {
        let closed = || StoreError::new(StoreErrorKind::Unavailable, DOING);
        let (asked, answer) = oneshot::channel();
        let call = Call { jobs, now, asked };
        self.calls.send(call).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

async fn serve(pool: Pool, mut waiting: mpsc::Receiver<Call>) {
    while let Some(first) = waiting.recv().await {
        let mut size = first.jobs.len();
        let mut group = vec![first];
        while size < GROUP
            && let Ok(call) = waiting.try_recv()
        {
            size += call.jobs.len();
            group.push(call);
        }
        match store(&pool, &group).await {
            Ok(pushed) => {
                let mut pushed = pushed.into_iter();
                for call in group {
                    let own = pushed.by_ref().take(call.jobs.len()).collect();
                    call.answer(Ok(own));
                }
            }
            // Something of one call may be the matter, which is no reason to refuse the others.
            Err(error) if group.len() > 1 && error.kind() != StoreErrorKind::Unavailable => {
                for call in group {
                    let stored = store(&pool, std::slice::from_ref(&call)).await;
                    call.answer(stored);
                }
            }
            Err(error) => {
                let (kind, cause) = (error.kind(), crate::port_error::in_one_line(&error));
                for call in group {
                    let error = StoreError::new(kind, DOING).with_cause(cause.clone());
                    call.answer(Err(error));
                }
            }
        }
    }
}

impl Call {
    fn answer(self, stored: Result<Vec<Push>, StoreError>) {
        // Whoever asked may have gone away.
        let _ = self.asked.send(stored);
    }
}

/// Stores the group. To do it again is harmless: what the first try has stored is then known.
async fn store(pool: &Pool, group: &[Call]) -> Result<Vec<Push>, StoreError> {
    let mut attempt = 1;
    loop {
        let failed = match pool.get().await {
            Err(error) => pool_error(DOING, error),
            Ok(client) => match try_store(&client, group).await {
                Ok(pushed) => return Ok(pushed),
                Err(error) if is_passing(&error) && attempt < ATTEMPTS => {
                    // The connections that were open before a restart are all dead.
                    pool.retain(|client, _| !client.is_closed());
                    store_error(DOING, error)
                }
                Err(error) => return Err(store_error(DOING, error)),
            },
        };
        if attempt == ATTEMPTS {
            return Err(failed);
        }
        attempt += 1;
        sleep(PAUSE).await;
    }
}

async fn try_store(
    client: &deadpool_postgres::Client,
    group: &[Call],
) -> Result<Vec<Push>, tokio_postgres::Error> {
    let jobs = || group.iter().flat_map(|call| &call.jobs);
    let now: Vec<i64> = group
        .iter()
        .flat_map(|call| std::iter::repeat_n(call.now.as_microsecond(), call.jobs.len()))
        .collect();
    let dedupes: Vec<&str> = jobs().map(|job| &*job.dedupe).collect();
    let keys: Vec<&str> = jobs().map(|job| &*job.key).collect();
    let kinds: Vec<&str> = jobs().map(|job| &*job.kind).collect();
    let bodies: Vec<&[u8]> = jobs().map(|job| &*job.body).collect();
    let push = client
        .prepare_cached("SELECT id, queued FROM bridge.push($1, $2, $3, $4, $5)")
        .await?;
    let rows = client
        .query(&push, &[&now, &dedupes, &keys, &kinds, &bodies])
        .await?;
    rows.iter()
        .map(|row| {
            let id = JobId(row.try_get(0)?);
            Ok(match row.try_get(1)? {
                true => Push::Queued(id),
                false => Push::Duplicate(id),
            })
        })
        .collect()
}
