//! What no webhook told of, from the event stream or, where that cannot tell, from the folders.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::warn;

use super::{
    error::WatchError,
    missed::missed,
    port::{EventStream, Happening},
    service::Watch,
};
use crate::{
    ledger::EffectKey,
    occurrence::{self, UPLOADED},
    port_error::{PortErrorKind, in_one_line},
    queue::Push,
};

/// Box keeps a stream's events for two weeks. After longer, its answer may leave some out unsaid.
const KEPT: Duration = Duration::from_secs(13 * 24 * 3600);

/// What was found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CaughtUp {
    /// Events and files looked at.
    pub seen: u64,
    /// Put into the inbox.
    pub pushed: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct Position {
    next: String,
    at: Timestamp,
}

impl Watch {
    /// Puts everything into the inbox that happened since the last time and that no webhook told of,
    /// as far as can be seen by now, and has folders looked through that were mapped meanwhile. The
    /// inbox sorts out the rest. Safe to repeat, and to break off.
    pub async fn catch_up(&self) -> Result<CaughtUp, WatchError> {
        let missed = self.catch_up_events().await?;
        let mapped = self.newly_mapped().await?;
        Ok(CaughtUp {
            seen: missed.seen + mapped.seen,
            pushed: missed.pushed + mapped.pushed,
        })
    }

    async fn catch_up_events(&self) -> Result<CaughtUp, WatchError> {
        let Some(events) = &self.events else {
            return self.scan_all(false).await;
        };
        let key = EffectKey::new(["watch", "position", events.name()]);
        let now = self.clock.now();
        let Some(position) = self.kept::<Position>(&key).await? else {
            // The first start: what lies there already is for a backfill.
            return match events.page(None).await {
                Ok(page) => {
                    self.keep(
                        &key,
                        json!(Position {
                            next: page.next,
                            at: now
                        }),
                    )
                    .await?;
                    self.scan_all(false).await
                }
                Err(error) if error.kind() == PortErrorKind::Refused => {
                    let error = in_one_line(&error);
                    warn!(
                        error,
                        "there is no event stream for us: the folders are looked through"
                    );
                    self.scan_all(false).await
                }
                Err(error) => Err(error.into()),
            };
        };
        if now.duration_since(position.at).unsigned_abs() > KEPT {
            return self.start_anew(&**events, &key).await;
        }
        match self.read_on(&**events, &key, position).await {
            Err(WatchError::Port(error)) if error.kind() == PortErrorKind::Refused => {
                let error = in_one_line(&error);
                warn!(
                    error,
                    "the event stream cannot go on: the folders are looked through"
                );
                self.start_anew(&**events, &key).await
            }
            read => read,
        }
    }

    /// From now on, with a look through the folders for what was before.
    async fn start_anew(
        &self,
        events: &dyn EventStream,
        key: &EffectKey,
    ) -> Result<CaughtUp, WatchError> {
        let now = self.clock.now();
        match events.page(None).await {
            Ok(page) => {
                let done = self.scan_all(true).await?;
                self.keep(
                    key,
                    json!(Position {
                        next: page.next,
                        at: now
                    }),
                )
                .await?;
                Ok(done)
            }
            Err(error) if error.kind() == PortErrorKind::Refused => self.scan_all(false).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn read_on(
        &self,
        events: &dyn EventStream,
        key: &EffectKey,
        mut position: Position,
    ) -> Result<CaughtUp, WatchError> {
        let mut done = CaughtUp::default();
        loop {
            self.room().await?;
            let at = self.clock.now();
            let page = events.page(Some(&position.next)).await?;
            let mut jobs = Vec::new();
            for event in &page.events {
                done.seen += 1;
                let Some(folders) = self.concerns(event).await? else {
                    continue;
                };
                // What only may follow from an event may also not have followed.
                if let Some(at) = event.at.filter(|_| event.is_certain) {
                    self.happened_in(folders.iter().map(String::as_str), at);
                }
                if self.is_known(event).await? {
                    continue;
                }
                match missed(event) {
                    Ok(job) => jobs.push(job),
                    Err(error) => {
                        let error = in_one_line(&error);
                        warn!(event = event.id, error, "an event of the stream is none");
                    }
                }
            }
            if !jobs.is_empty() {
                let pushed = self.queue.push(jobs, at).await?;
                let new = pushed.iter().filter(|push| matches!(push, Push::Queued(_)));
                done.pushed += new.count() as u64;
            }
            // Only now: after a crash before this, the same events come again and are known.
            position = Position {
                next: page.next,
                at,
            };
            self.keep(key, json!(position)).await?;
            if !page.has_more {
                return Ok(done);
            }
        }
    }

    /// Saves the inbox an event that it would find to be known. A webhook may still be on its way.
    async fn is_known(&self, event: &Happening) -> Result<bool, WatchError> {
        let id = event.source.get("id").and_then(Value::as_str);
        let version = event
            .source
            .pointer("/file_version/id")
            .and_then(Value::as_str);
        match (id, version) {
            (Some(id), Some(version)) if event.trigger == UPLOADED && event.is_certain => {
                Ok(occurrence::is_known(&*self.ledger, id, version).await?)
            }
            _ => Ok(false),
        }
    }
}
