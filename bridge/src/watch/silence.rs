//! Webhooks that look as they should, and tell of nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::info;

use super::{error::WatchError, port::Happening, service::Watch};
use crate::{
    content::FolderRef,
    ledger::EffectKey,
    queue::{Job, JobFilter, JobState},
    receive::BOX_WEBHOOK,
};

/// Box lets an application and user have so many webhooks.
const MOST_WEBHOOKS: usize = 1000;
/// How exactly the ledger knows when a webhook was heard last: a write for each delivery would be
/// one too many.
const GRAIN: Duration = Duration::from_secs(60);
/// So many jobs are looked at for deliveries that nobody has come to.
const LISTED: usize = 200;
const MOST_LISTED: usize = 2000;
/// Of events that do not say where they happened, so many are asked for it in one go.
const MOST_ASKED: usize = 10;

/// What this process knows.
#[derive(Debug)]
pub(super) struct Silences {
    /// What happened before is no webhook's fault: nobody was there to hear of it.
    began: Timestamp,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By webhook, when it was heard last, as the ledger has it from us.
    heard: HashMap<String, Timestamp>,
    /// By folder, what the webhook of the folder was to tell of.
    to_tell: HashMap<String, ToTell>,
}

/// The first and the last event that there was something to be heard of.
#[derive(Clone, Copy, Debug)]
struct ToTell {
    first: Timestamp,
    last: Timestamp,
}

/// A webhook that was found to be silent, until something comes from the folder's webhook.
#[derive(Debug, Deserialize, Serialize)]
struct Found {
    since: Timestamp,
    /// When it was made anew for that.
    remade: Option<Timestamp>,
    /// Whether the new one was found to be silent too.
    is_still: bool,
}

/// How long a webhook has been silent.
#[derive(Debug)]
pub(super) struct Silence {
    pub(super) since: Timestamp,
    /// Whether it is the one that was made anew for the silence of another.
    pub(super) was_remade: bool,
}

impl Silences {
    pub(super) fn since(began: Timestamp) -> Self {
        Self {
            began,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened in a watched folder that its webhook is to tell of.
    fn happened(&self, folder: &str, at: Timestamp) {
        if at < self.began {
            return;
        }
        let mut known = self.known();
        let both = ToTell {
            first: at,
            last: at,
        };
        let to_tell = known.to_tell.entry(folder.to_owned()).or_insert(both);
        to_tell.first = to_tell.first.min(at);
        to_tell.last = to_tell.last.max(at);
    }

    /// What there was to be heard of after this, as far as it is known.
    fn first_after(&self, folder: &str, heard: Option<Timestamp>) -> Option<Timestamp> {
        let mut known = self.known();
        let to_tell = known.to_tell.get_mut(folder)?;
        let Some(heard) = heard else {
            return Some(to_tell.first);
        };
        if to_tell.last <= heard {
            known.to_tell.remove(folder);
            return None;
        }
        if to_tell.first <= heard {
            // There may have been an earlier one, but who says so?
            to_tell.first = to_tell.last;
        }
        Some(to_tell.first)
    }
}

impl Watch {
    /// A delivery of this webhook has come.
    pub(super) async fn heard(&self, webhook: &str, at: Timestamp) -> Result<(), WatchError> {
        let grain = self.grain();
        let is_known = |known: &Known| match known.heard.get(webhook) {
            Some(before) => at.duration_since(*before) < signed(grain),
            None => known.heard.len() >= MOST_WEBHOOKS,
        };
        if is_known(&self.silences.known()) {
            return Ok(());
        }
        self.keep(&heard_key(webhook), json!(at)).await?;
        self.silences.known().heard.insert(webhook.to_owned(), at);
        Ok(())
    }

    /// The webhook is made or changed just now, which counts as heard. The first delivery is news
    /// all the same, however soon it comes.
    pub(super) async fn begins(&self, webhook: &str, at: Timestamp) -> Result<(), WatchError> {
        self.silences.known().heard.remove(webhook);
        self.keep(&heard_key(webhook), json!(at)).await
    }

    /// When a delivery of this webhook came last, to the minute; or when we have made or changed
    /// it, if none came since.
    pub(super) async fn heard_last(&self, webhook: &str) -> Result<Option<Timestamp>, WatchError> {
        self.kept(&heard_key(webhook)).await
    }

    /// Notes for which folders' webhooks there is something to tell. `asked` counts the events
    /// that had to be looked up.
    pub(super) async fn happened(&self, event: &Happening, asked: &mut usize) {
        let Some(at) = event.at.filter(|at| *at >= self.silences.began) else {
            return;
        };
        // What only may follow from an event may also not have followed.
        if !event.is_certain {
            return;
        }
        let path = event.source.pointer("/path_collection/entries");
        let own = event.source.get("id");
        let ids: Vec<String> = match path.and_then(Value::as_array) {
            Some(path) => {
                let ids = path.iter().filter_map(|folder| folder.get("id"));
                let ids = ids.chain(own).filter_map(Value::as_str);
                ids.map(str::to_owned).collect()
            }
            None if *asked < MOST_ASKED => {
                *asked += 1;
                self.whereabouts(&event.source).await
            }
            None => return,
        };
        self.happened_in(ids.iter().map(String::as_str), at);
    }

    pub(super) fn happened_in<'f>(&self, path: impl Iterator<Item = &'f str>, at: Timestamp) {
        for folder in path.filter(|id| self.options.folders.iter().any(|it| it == id)) {
            self.silences.happened(folder, at);
        }
    }

    /// The folders that it lies in; none where that cannot be said.
    async fn whereabouts(&self, source: &Value) -> Vec<String> {
        let text = |key| source.get(key).and_then(Value::as_str);
        let (Some((content, _)), Some(id)) = (&self.mappings, text("id")) else {
            return Vec::new();
        };
        let path = match text("type") {
            Some("file") => content.file(id).await.map(|file| file.folders),
            Some("folder") => content.folder(id).await.map(|folder| folder.with_itself()),
            _ => return Vec::new(),
        };
        let ids = |path: Vec<FolderRef>| path.into_iter().map(|folder| folder.id).collect();
        // Whoever works on the event asks again, and says so where it fails.
        path.map(ids).unwrap_or_default()
    }

    /// Whether there was something to tell for so long, and nothing has come from the webhook.
    pub(super) async fn silence(
        &self,
        folder: &str,
        webhook: &str,
    ) -> Result<Option<Silence>, WatchError> {
        let found: Option<Found> = self.kept(&silent_key(folder)).await?;
        let heard = self.heard_last(webhook).await?;
        let remade = found.as_ref().and_then(|found| found.remade);
        if let Some(found) = &found
            && heard > remade.max(Some(found.since))
        {
            self.ledger.forget(&silent_key(folder)).await?;
            info!(folder, webhook, "the webhook tells of what happens again");
            return Ok(None);
        }
        let heard = heard.and_then(|heard| heard.checked_add(self.grain()).ok());
        let now = self.clock.now();
        let enough = signed(self.options.silent_after);
        let first = self.silences.first_after(folder, heard);
        let found = match first.filter(|first| now.duration_since(*first) >= enough) {
            Some(first) if !self.is_behind(first).await? => {
                let found = Found {
                    since: found.as_ref().map_or(first, |found| found.since),
                    remade,
                    is_still: remade.is_some(),
                };
                self.keep(&silent_key(folder), json!(found)).await?;
                Some(found)
            }
            // Found by another process, or by this one before it was started anew.
            _ => found.filter(|found| found.remade.is_none() || found.is_still),
        };
        Ok(found.map(|found| Silence {
            since: found.since,
            was_remade: found.is_still,
        }))
    }

    /// The folder's webhook is made anew because the one before was silent.
    pub(super) async fn remade(
        &self,
        folder: &str,
        silence: &Silence,
        now: Timestamp,
    ) -> Result<(), WatchError> {
        let found = Found {
            since: silence.since,
            remade: Some(now),
            is_still: false,
        };
        self.keep(&silent_key(folder), json!(found)).await
    }

    /// Whether deliveries since then may wait in the inbox that nobody has looked at yet.
    async fn is_behind(&self, since: Timestamp) -> Result<bool, WatchError> {
        let mut filter = JobFilter {
            state: Some(JobState::Ready),
            after: None,
            limit: LISTED,
        };
        for _ in 0..MOST_LISTED / LISTED {
            let jobs = self.queue.jobs(&filter).await?;
            let is_unheard =
                |job: &Job| job.kind == BOX_WEBHOOK && job.attempts == 0 && job.pushed_at >= since;
            if jobs.iter().any(is_unheard) {
                return Ok(true);
            }
            if jobs.len() < LISTED {
                return Ok(false);
            }
            filter.after = jobs.last().map(|job| job.id);
        }
        Ok(true)
    }

    fn grain(&self) -> Duration {
        GRAIN.min(self.options.silent_after / 4)
    }
}

fn signed(duration: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX)
}

fn heard_key(webhook: &str) -> EffectKey {
    EffectKey::new(["watch", "heard", webhook])
}

fn silent_key(folder: &str) -> EffectKey {
    EffectKey::new(["watch", "silent", folder])
}
