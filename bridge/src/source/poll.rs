use std::{future::Future, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{debug, info};

use super::{
    SourceError,
    inlet::{Failures, Inlet},
};
use crate::{
    clock::Clock,
    ledger::{EffectKey, Ledger},
    queue::Queue,
    records::Records,
};

/// Asks again and again what has changed.
///
/// It needs nothing of the org but the right to read, and finds everything that the CRM still
/// knows, up to 30 days back. It begins with what happens after its first run, or where
/// [`since`](Self::since) says. Several processes may poll the same kind of record; each event is
/// taken in once.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use bridge::{Ledger, Queue, Records, SalesforceCrm, source::Poll};
/// # async fn example(crm: SalesforceCrm, inbox: Arc<dyn Queue>, ledger: Arc<dyn Ledger>) {
/// let poll = Poll::new(Arc::new(crm), inbox, ledger, ["Account", "Opportunity"])
///     .every(Duration::from_secs(120));
/// poll.run(async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await;
/// # }
/// ```
///
/// Vendor: REST API Developer Guide, "sObject Get Updated", "sObject Get Deleted".
#[derive(Clone, Debug)]
#[must_use]
pub struct Poll {
    inlet: Inlet,
    objects: Vec<String>,
    every: Duration,
    since: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Position {
    /// Up to when everything has been told.
    covered: Timestamp,
    /// Where it all began.
    from: Timestamp,
}

impl Poll {
    /// Polls these kinds of records.
    pub fn new<O: Into<String>>(
        records: Arc<dyn Records>,
        queue: Arc<dyn Queue>,
        ledger: Arc<dyn Ledger>,
        objects: impl IntoIterator<Item = O>,
    ) -> Self {
        Self {
            inlet: Inlet::new(records, queue, ledger),
            objects: objects.into_iter().map(Into::into).collect(),
            every: Duration::from_secs(60),
            since: None,
        }
    }

    /// How often: every minute unless set. Salesforce looks at whole minutes, so more often brings
    /// nothing.
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Where to begin at the first run. A position that is known already counts for more.
    pub fn since(mut self, since: Timestamp) -> Self {
        self.since = Some(since);
        self
    }

    /// By another clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.inlet.clock = clock;
        self
    }

    /// Polls until `stop`. What goes wrong is logged and tried again; one kind of record that cannot
    /// be asked for keeps no other waiting.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let objects: FuturesUnordered<_> = self.objects.iter().map(|it| self.keep_at(it)).collect();
        let all = objects.collect::<()>();
        tokio::select! {
            // Cut short it goes on from where it was.
            () = stop => {}
            () = all => {}
        }
    }

    async fn keep_at(&self, object: &str) {
        let mut failures = Failures::default();
        loop {
            let wait = match self.catch_up(object).await {
                Ok(_) => {
                    failures.none();
                    self.every
                }
                Err(error) => self.every.max(failures.wait_after(object, &error)),
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Tells of all that has changed until now, once; gives the number of new events.
    pub async fn once(&self) -> Result<usize, SourceError> {
        let mut new = 0;
        for object in &self.objects {
            new += self.catch_up(object).await?;
        }
        Ok(new)
    }

    async fn catch_up(&self, object: &str) -> Result<usize, SourceError> {
        let key = EffectKey::new(["source", "poll", object]);
        let mut position = match self.inlet.position::<Position>(&key).await? {
            Some(position) => position,
            None => {
                let from = self.since.unwrap_or_else(|| self.inlet.clock.now());
                let position = Position {
                    covered: from,
                    from,
                };
                self.inlet.keep(&key, &position).await?;
                info!(object, %from, "changes of records are asked for");
                position
            }
        };
        let mut new = 0;
        loop {
            let (covered, found) = self
                .inlet
                .tell_changed(object, position.covered, position.from)
                .await?;
            new += found;
            if covered <= position.covered {
                return Ok(new);
            }
            position.covered = covered;
            self.inlet.keep(&key, &position).await?;
            debug!(object, %covered, new = found, "changes of records");
        }
    }
}
