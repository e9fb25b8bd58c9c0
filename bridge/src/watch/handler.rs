//! What the watch has to do with events on their way.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tracing::warn;

use super::{
    error::WatchError,
    mapped::Mapped,
    missed::{SCAN, Scan, Touched},
    scan::touched,
    service::Watch,
};
use crate::{
    occurrence::BOX_MISSED,
    pauses::Pauses,
    pipeline::failure::{Rests, not_its_doing, port_failed, store_failed},
    port_error::in_one_line,
    queue::Leased,
    receive::BOX_WEBHOOK,
    webhook::{Event, Source, Trigger},
    worker::{Handler, Hold, Outcome},
};

/// A handler behind a [`Watch`]: the end of a webhook or of its login has the watch look at once,
/// and the files of a folder that is mapped only now are looked for.
#[derive(Debug)]
pub struct Watched<H> {
    handler: H,
    watch: Option<Arc<Watch>>,
}

impl<H> Watched<H> {
    /// This handler behind this watch, or, without one, as it is.
    pub fn new(handler: H, watch: Option<Arc<Watch>>) -> Self {
        Self { handler, watch }
    }
}

#[async_trait]
impl<H: Handler> Handler for Watched<H> {
    fn obey(&self, pauses: Pauses) {
        self.handler.obey(pauses);
    }

    async fn handle(&self, job: &Leased, hold: &Hold) -> Outcome {
        let Some(watch) = &self.watch else {
            return self.handler.handle(job, hold).await;
        };
        match job.kind.as_str() {
            SCAN => return watch.scanned(job).await,
            BOX_WEBHOOK | BOX_MISSED => {}
            _ => return self.handler.handle(job, hold).await,
        }
        // What is no event is for the handler to say.
        if let Ok(event) = Event::parse(&job.body) {
            let trigger = &event.trigger;
            if job.kind == BOX_WEBHOOK
                && *trigger != Trigger::WEBHOOK_DELETED
                && let Some(webhook) = &event.webhook_id
                && let Err(error) = watch.heard(webhook, job.pushed_at).await
            {
                warn!(
                    error = in_one_line(&error),
                    "that a webhook was heard was not kept"
                );
            }
            if *trigger == Trigger::WEBHOOK_DELETED {
                watch.wake();
                let webhook = event.webhook_id.as_deref().unwrap_or("(unnamed)");
                warn!(webhook, "Box has deleted a webhook");
                return Outcome::Done(format!(
                    "Box has deleted webhook {webhook}: it is looked after at once"
                ));
            }
            if *trigger == Trigger::NO_ACTIVE_SESSION {
                watch.wake_now_and_then();
            }
            let maps = [
                (Trigger::METADATA_INSTANCE_CREATED, Touched::Set),
                (Trigger::METADATA_INSTANCE_UPDATED, Touched::Set),
                (Trigger::METADATA_INSTANCE_DELETED, Touched::Removed),
            ];
            let metadata = maps.into_iter().find(|(it, _)| it == trigger);
            if let Source::Folder(folder) = &event.source
                && let Some((_, metadata)) = metadata
            {
                let at = event.created_at.unwrap_or(job.pushed_at);
                let since = at.checked_sub(watch.options.mapped_within).ok();
                let scan = touched(&folder.id, since, &event.id, metadata);
                if let Err(error) = watch.queue.push(vec![scan], watch.clock.now()).await {
                    return store_failed(&error, watch.clock.now());
                }
            }
        }
        self.handler.handle(job, hold).await
    }
}

impl Watch {
    async fn scan_mapped(&self, scan: &Scan, job: &str) -> Result<String, WatchError> {
        let mapped = self.mapped(scan).await?;
        if matches!(mapped, Mapped::AsBefore) {
            return Ok("the folder is mapped as before, or to nothing".to_owned());
        }
        let done = self.scan_folder(scan, job).await?;
        if let Mapped::Anew(now) = mapped {
            self.remember_mapped(scan, now).await?;
        }
        Ok(format!(
            "{} files, {} put into the inbox",
            done.seen, done.pushed
        ))
    }

    async fn scanned(&self, job: &Leased) -> Outcome {
        let scan: Scan = match serde_json::from_slice(&job.body) {
            Ok(scan) => scan,
            Err(error) => return Outcome::Dead(format!("no folder to look through: {error}")),
        };
        let now = || self.clock.now();
        match self.scan_mapped(&scan, &job.dedupe).await {
            Ok(note) => Outcome::Done(note),
            Err(error @ WatchError::Full(_)) => not_its_doing(in_one_line(&error), now()),
            // The circuit in front of the port tells of an outage by itself.
            Err(WatchError::Port(error)) => port_failed(&error, None, RESTS, now()),
            Err(WatchError::Store(error)) => store_failed(&error, now()),
            Err(error @ WatchError::NoFolder { .. }) => Outcome::Dead(in_one_line(&error)),
        }
    }
}

/// Where the far side names no time.
const RESTS: Rests = Rests {
    settle: Duration::from_secs(5),
    outage: Duration::from_secs(5),
};
