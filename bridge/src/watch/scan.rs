//! Files that lie in the folders, held against the ledger.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::warn;

use super::{
    catch_up::CaughtUp,
    error::WatchError,
    missed::{SCAN, Scan, Touched, found},
    service::Watch,
    walk::Walk,
};
use crate::{
    content::FileState,
    ledger::EffectKey,
    occurrence,
    port_error::in_one_line,
    queue::{NewJob, Push},
};

/// A job that has a [`Watch`] look through this folder for files changed since then, or for all
/// files: for whoever maps a folder that has files in it. `reason` tells one look from another.
pub fn scan_job(folder: &str, since: Option<Timestamp>, reason: &str) -> NewJob {
    touched(folder, since, reason, Touched::Unknown)
}

/// The same because of the folder's metadata.
pub(super) fn touched(
    folder: &str,
    since: Option<Timestamp>,
    reason: &str,
    metadata: Touched,
) -> NewJob {
    let body = json!(Scan {
        folder: folder.to_owned(),
        since,
        metadata,
    });
    NewJob {
        dedupe: format!("{SCAN}:{folder}:{reason}"),
        key: format!("{SCAN}/{folder}"),
        kind: SCAN.to_owned(),
        body: body.to_string().into(),
    }
}

/// Where a look through folders is.
#[derive(Debug, Deserialize, Serialize)]
struct Progress {
    began: Timestamp,
    /// Which of the folders, and where in it.
    folder: usize,
    position: Vec<String>,
}

impl Watch {
    /// Looks through all watched folders for what was changed since the last time and is not in the
    /// ledger, when its time has come or `now` is asked for. An interrupted look goes on.
    pub(super) async fn scan_all(&self, now: bool) -> Result<CaughtUp, WatchError> {
        let mut done = CaughtUp::default();
        let covered_key = EffectKey::new(["watch", "scanned"]);
        let progress_key = EffectKey::new(["watch", "scanning"]);
        let time = self.clock.now();
        let Some(covered) = self.kept::<Timestamp>(&covered_key).await? else {
            self.keep(&covered_key, json!(time)).await?;
            return Ok(done);
        };
        let progress: Option<Progress> = self.kept(&progress_key).await?;
        let due = time.duration_since(covered).unsigned_abs() >= self.options.scan_every;
        if progress.is_none() && !now && !due {
            return Ok(done);
        }
        let mut progress = progress.unwrap_or(Progress {
            began: time,
            folder: 0,
            position: Vec::new(),
        });
        let since = covered.checked_sub(self.options.scan_margin).ok();
        while let Some(folder) = self.options.folders.get(progress.folder) {
            if progress.position.first() != Some(folder) {
                progress.position = vec![folder.clone()];
            }
            let mut walk = Walk::from(&*self.tree, &progress.position);
            while let Some(mut reading) = walk.folder() {
                loop {
                    let files = reading.files().await?;
                    if files.is_empty() {
                        break;
                    }
                    done.seen += files.len() as u64;
                    done.pushed += self.push_found(files, since, "scan", true).await?;
                }
                let folders = reading.folders();
                walk.end(folders);
                progress.position = walk.position();
                self.keep(&progress_key, json!(progress)).await?;
            }
            progress.folder += 1;
            progress.position = Vec::new();
        }
        self.keep(&covered_key, json!(progress.began)).await?;
        self.ledger.forget(&progress_key).await?;
        Ok(done)
    }

    /// One look that a job asks for.
    pub(super) async fn scan_folder(&self, scan: &Scan, job: &str) -> Result<CaughtUp, WatchError> {
        let mut done = CaughtUp::default();
        let key = EffectKey::new(["watch", "scan", job]);
        let position: Option<Vec<String>> = self.kept(&key).await?;
        let position = position.unwrap_or_else(|| vec![scan.folder.clone()]);
        let mut walk = Walk::from(&*self.tree, &position);
        while let Some(mut reading) = walk.folder() {
            loop {
                let files = reading.files().await?;
                if files.is_empty() {
                    break;
                }
                done.seen += files.len() as u64;
                done.pushed += self.push_found(files, scan.since, job, false).await?;
            }
            let folders = reading.folders();
            walk.end(folders);
            self.keep(&key, json!(walk.position())).await?;
        }
        self.ledger.forget(&key).await?;
        Ok(done)
    }

    async fn push_found(
        &self,
        files: Vec<FileState>,
        since: Option<Timestamp>,
        token: &str,
        only_unknown: bool,
    ) -> Result<u64, WatchError> {
        self.room().await?;
        let mut jobs = Vec::new();
        let mut places = Vec::new();
        for file in files {
            let (changed, version) = (file.version.created_at, &file.version.id);
            let is_old = since.zip(changed).is_some_and(|(since, at)| at < since);
            if is_old || only_unknown && self.is_there(&file.id, version).await? {
                continue;
            }
            match found(&file, token, None) {
                Ok(job) => {
                    jobs.push(job);
                    places.push((changed, file.folders));
                }
                Err(error) => {
                    let error = in_one_line(&error);
                    warn!(file = file.id, error, "a file cannot be told of");
                }
            }
        }
        if jobs.is_empty() {
            return Ok(0);
        }
        let pushed = self.queue.push(jobs, self.clock.now()).await?;
        let mut new = 0;
        for (push, (changed, folders)) in pushed.iter().zip(places) {
            if matches!(push, Push::Queued(_)) {
                new += 1;
                // No webhook has told of it yet, or no rule is for it: then the webhook was heard.
                if let Some(changed) = changed.filter(|_| only_unknown) {
                    self.happened_in(folders.iter().map(|it| it.id.as_str()), changed);
                }
            }
        }
        Ok(new)
    }

    /// Whether the version was taken up, also by one who kept no note of the event.
    async fn is_there(&self, file: &str, version: &str) -> Result<bool, WatchError> {
        let brought = EffectKey::new(["version", file, version]);
        Ok(self.ledger.read(&brought).await?.is_some()
            || occurrence::is_known(&*self.ledger, file, version).await?)
    }
}
