//! What lay there before anybody watched, brought to its records.

use std::{
    collections::HashSet,
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use futures_util::future::poll_immediate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;
use tracing::warn;

use super::{error::WatchError, missed::found, port::Tree, room::ahead, walk::Walk};
use crate::{
    action::ATTACH,
    clock::{Clock, SystemClock},
    content::FileState,
    ledger::{EffectKey, EffectState, Ledger},
    occurrence::UPLOADED,
    patience::Patience,
    pipeline::{Pipeline, Prepared},
    plan::Plan,
    port_error::{PortErrorKind, in_one_line},
    queue::{NewJob, Push, QueueAdmin},
    situation::Subject,
    webhook::Event,
};

const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Attaches the files below a folder to the records that their folders are mapped to, through the
/// inbox and by the rules for uploads. Nothing else that those rules do is done: nobody has
/// uploaded anything just now.
///
/// What is broken off goes on where it was: each folder that is done is noted in the ledger. To go
/// through a folder twice does nothing twice. A side that lets nobody in for now is waited for.
pub struct Backfill {
    tree: Arc<dyn Tree>,
    pipeline: Pipeline,
    queue: Arc<dyn QueueAdmin>,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    most_ahead: u64,
}

/// What a [`Backfill`] came upon.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Told {
    /// A file is to be attached. Only a dry run tells of each.
    Planned {
        /// Its id.
        file: String,
        /// Its name.
        name: String,
        /// What will be done, in lines for people.
        does: Vec<String>,
    },
    /// A file that stays where it is.
    Unmatched {
        /// Its id.
        file: String,
        /// Its name.
        name: String,
        /// Why.
        why: Unmatched,
        /// The same in a line for people.
        note: String,
    },
    /// The inbox holds as much as it may; the backfill goes on when there is room.
    Waits {
        /// How many events are waiting there.
        ready: u64,
    },
    /// Nothing can be done for now; it goes on by itself.
    Paused {
        /// For what, in a line.
        reason: String,
    },
    /// Some more files are done.
    Progress(Backfilled),
}

/// Why a file is not attached.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unmatched {
    /// No folder above it is mapped to a record, or it is not there any more.
    NoMapping,
    /// No rule attaches files like it.
    NoRule,
    /// A side refuses what it would take, or the file cannot be told of.
    Refused,
}

/// How far a [`Backfill`] is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Backfilled {
    /// Files looked at.
    pub files: u64,
    /// Files that match.
    pub matched: u64,
    /// Files without a mapped folder above them.
    pub no_mapping: u64,
    /// Files that no rule attaches.
    pub no_rule: u64,
    /// Files that a side refuses.
    pub refused: u64,
    /// Whether that is all. Otherwise the next run goes on.
    pub is_finished: bool,
}

/// Kept between runs.
#[derive(Debug, Deserialize, Serialize)]
struct Progress {
    /// Tells this look from later ones, so that what is pushed twice is known.
    began: Timestamp,
    position: Vec<String>,
    done: Backfilled,
}

/// What is to be done about a file, or why nothing.
type Planned = Result<(NewJob, Plan), (Unmatched, String)>;

impl fmt::Debug for Backfill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backfill")
            .field("most_ahead", &self.most_ahead)
            .finish_non_exhaustive()
    }
}

impl Backfill {
    /// Of files in this tree, by the rules and mappings of this pipeline, into this inbox.
    pub fn new(
        tree: Arc<dyn Tree>,
        pipeline: Pipeline,
        queue: Arc<dyn QueueAdmin>,
        ledger: Arc<dyn Ledger>,
    ) -> Self {
        Self {
            tree,
            pipeline,
            queue,
            ledger,
            clock: Arc::new(SystemClock),
            most_ahead: 100,
        }
    }

    /// At most so many events wait in the inbox that are due or can wait as ours do, so that what
    /// happens now need not stand behind what has been there for long. 100 unless set.
    #[must_use]
    pub fn most_ahead(mut self, most: u64) -> Self {
        self.most_ahead = most.max(1);
        self
    }

    /// By another clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Goes through the folder and all below it, from where an earlier run stopped, until the end
    /// or until `stop`, which ends the step in hand first. `tell` hears of everything on the way.
    pub async fn run(
        &self,
        folder: &str,
        stop: impl Future<Output = ()>,
        tell: impl FnMut(Told),
    ) -> Result<Backfilled, WatchError> {
        let key = EffectKey::new(["watch", "backfill", folder]);
        let kept = match self.ledger.read(&key).await? {
            Some(EffectState::Finished(value)) => serde_json::from_value(value).ok(),
            _ => None,
        };
        let progress = kept.unwrap_or_else(|| self.beginning(folder));
        self.go(folder, progress, Some(&key), stop, tell).await
    }

    /// The same from the beginning, without writing anything anywhere.
    pub async fn dry_run(
        &self,
        folder: &str,
        stop: impl Future<Output = ()>,
        tell: impl FnMut(Told),
    ) -> Result<Backfilled, WatchError> {
        let progress = self.beginning(folder);
        self.go(folder, progress, None, stop, tell).await
    }

    fn beginning(&self, folder: &str) -> Progress {
        Progress {
            began: self.clock.now(),
            position: vec![folder.to_owned()],
            done: Backfilled::default(),
        }
    }

    /// Without a key to keep the position under, nothing is written.
    async fn go(
        &self,
        folder: &str,
        mut progress: Progress,
        key: Option<&EffectKey>,
        stop: impl Future<Output = ()>,
        mut tell: impl FnMut(Told),
    ) -> Result<Backfilled, WatchError> {
        let mut stop = pin!(stop);
        // A folder that has gone while others were read is passed over; the first has to be there.
        let mut patience = Patience::default();
        while let Err(error) = self.pipeline.content().folder(folder).await {
            if error.kind() == PortErrorKind::Gone {
                let folder = folder.to_owned();
                return Err(WatchError::NoFolder {
                    folder,
                    source: Box::new(error),
                });
            }
            let goes_on = self.bear(&mut patience, error.into(), stop.as_mut(), &mut tell);
            if !goes_on.await? {
                return Ok(progress.done);
            }
        }
        if let Some(key) = key {
            // Before anything is pushed: after a crash, the same has to come by the same names.
            let now = self.clock.now();
            self.ledger.finish(key, json!(progress), now).await?;
        }
        let token = format!("backfill:{}", progress.began);
        let mut walk = Walk::from(&*self.tree, &progress.position);
        let mut patience = Patience::default();
        // Of the folder that is read: a list that has broken off begins anew.
        let mut looked_at = HashSet::new();
        let mut done = progress.done;
        while let Some(mut reading) = walk.folder() {
            let broken_off = loop {
                let mut files = match reading.files().await {
                    Ok(files) if files.is_empty() => break None,
                    Ok(files) => files,
                    Err(error) => break Some(error),
                };
                files.retain(|file| !looked_at.contains(&file.id));
                let mut jobs = Vec::new();
                for file in &files {
                    let planned = self.patiently(file, &token, stop.as_mut(), &mut tell);
                    let Some(planned) = planned.await? else {
                        return Ok(done);
                    };
                    done.files += 1;
                    jobs.extend(count(file, planned, &mut done, key, &mut tell));
                }
                if key.is_some() && !self.push(jobs, stop.as_mut(), &mut tell).await? {
                    return Ok(done);
                }
                if !files.is_empty() {
                    patience = Patience::default();
                    tell(Told::Progress(done));
                }
                looked_at.extend(files.into_iter().map(|file| file.id));
                if poll_immediate(stop.as_mut()).await.is_some() {
                    return Ok(done);
                }
            };
            if let Some(error) = broken_off {
                let goes_on = self.bear(&mut patience, error.into(), stop.as_mut(), &mut tell);
                if !goes_on.await? {
                    return Ok(done);
                }
                continue;
            }
            walk.end(reading.folders());
            looked_at.clear();
            patience = Patience::default();
            progress.position = walk.position();
            progress.done = done;
            if let Some(key) = key
                && !progress.position.is_empty()
            {
                let now = self.clock.now();
                self.ledger.finish(key, json!(progress), now).await?;
            }
        }
        if let Some(key) = key {
            self.ledger.forget(key).await?;
        }
        progress.done.is_finished = true;
        Ok(progress.done)
    }

    /// What is to be done about one file; nothing where it was stopped before that was known.
    async fn patiently(
        &self,
        file: &FileState,
        token: &str,
        mut stop: Pin<&mut impl Future<Output = ()>>,
        tell: &mut impl FnMut(Told),
    ) -> Result<Option<Planned>, WatchError> {
        let mut patience = Patience::default();
        loop {
            let error = match self.planned(file, token).await {
                Ok(planned) => return Ok(Some(planned)),
                Err(error) => error,
            };
            let goes_on = self.bear(&mut patience, error, stop.as_mut(), tell);
            if !goes_on.await? {
                return Ok(None);
            }
        }
    }

    async fn bear(
        &self,
        patience: &mut Patience,
        error: WatchError,
        stop: Pin<&mut impl Future<Output = ()>>,
        tell: &mut impl FnMut(Told),
    ) -> Result<bool, WatchError> {
        let paused = |reason| tell(Told::Paused { reason });
        patience.bear(error, &*self.clock, stop, paused).await
    }

    async fn planned(&self, file: &FileState, token: &str) -> Result<Planned, WatchError> {
        let no_rule = || {
            let note = format!("no rule attaches {}", file.name);
            Ok(Err((Unmatched::NoRule, note)))
        };
        if !self.pipeline.fits(UPLOADED, &Subject::File(file.clone())) {
            return no_rule();
        }
        let job = found(file, token, Some(ATTACH));
        let event = job.and_then(|job| Ok((Event::parse(&job.body)?, job)));
        let (event, job) = match event {
            Ok(event) => event,
            Err(error) => {
                let error = in_one_line(&error);
                warn!(file = file.id, error, "a file cannot be told of");
                return Ok(Err((Unmatched::Refused, error)));
            }
        };
        match self.pipeline.prepare(&event, self.clock.now()).await {
            Ok(Prepared::Nothing(note)) => Ok(Err((Unmatched::NoMapping, note))),
            Ok(Prepared::Steps(_, mut plan)) => {
                plan.only(ATTACH);
                match plan.steps.is_empty() {
                    true => no_rule(),
                    false => Ok(Ok((job, plan))),
                }
            }
            Err(error) if error.kind() == PortErrorKind::Refused => {
                Ok(Err((Unmatched::Refused, in_one_line(&error))))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Tells whether all of it is in the inbox; otherwise it was stopped.
    async fn push(
        &self,
        mut jobs: Vec<NewJob>,
        mut stop: Pin<&mut impl Future<Output = ()>>,
        tell: &mut impl FnMut(Told),
    ) -> Result<bool, WatchError> {
        let mut has_told = false;
        while !jobs.is_empty() {
            let ready = ahead(&*self.queue, self.most_ahead, self.clock.now()).await?;
            let room = self.most_ahead.saturating_sub(ready);
            let some = usize::try_from(room).unwrap_or(usize::MAX).min(jobs.len());
            if some > 0 {
                let later = jobs.split_off(some);
                let pushed = self.queue.push(jobs, self.clock.now()).await?;
                has_told &= !pushed.iter().any(|push| matches!(push, Push::Queued(_)));
                jobs = later;
                continue;
            }
            if !has_told {
                tell(Told::Waits { ready });
                has_told = true;
            }
            tokio::select! {
                () = stop.as_mut() => return Ok(false),
                () = sleep(LOOK_AGAIN) => {}
            }
        }
        Ok(true)
    }
}

/// Without a key, it is a dry run.
fn count(
    file: &FileState,
    planned: Planned,
    done: &mut Backfilled,
    key: Option<&EffectKey>,
    tell: &mut impl FnMut(Told),
) -> Option<NewJob> {
    let (why, note) = match planned {
        Ok((job, plan)) => {
            done.matched += 1;
            if key.is_none() {
                tell(Told::Planned {
                    file: file.id.clone(),
                    name: file.name.clone(),
                    does: plan.steps.into_iter().map(|step| step.does).collect(),
                });
            }
            return Some(job);
        }
        Err(unmatched) => unmatched,
    };
    match why {
        Unmatched::NoMapping => done.no_mapping += 1,
        Unmatched::NoRule => done.no_rule += 1,
        Unmatched::Refused => done.refused += 1,
    }
    tell(Told::Unmatched {
        file: file.id.clone(),
        name: file.name.clone(),
        why,
        note,
    });
    None
}
