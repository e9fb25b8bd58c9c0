//! Folders that were mapped to records while nobody told of it: while the service was away, or by
//! metadata that no webhook and no event stream of ours tells of.

use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;
use tracing::warn;

use super::{
    catch_up::CaughtUp, error::WatchError, missed::Touched, scan::touched, service::Watch,
    whereabouts::Kind,
};
use crate::{
    ledger::EffectKey,
    metadata::{MappedFolder, MappedFolders},
    port_error::{PortErrorKind, in_one_line},
    queue::{NewJob, Push},
};

const AT_ONCE: usize = 100;
/// The pause after a look that failed; it doubles with each that does.
const FIRST_PAUSE: Duration = Duration::from_secs(60);

/// When this process looked which folders are mapped, and how that ended.
#[derive(Debug, Default)]
pub(super) struct Looked {
    at: Option<Instant>,
    /// Until the next try, if it failed.
    pause: Option<Duration>,
}

impl Looked {
    fn is_over(&self, every: Duration) -> bool {
        let pause = self.pause.unwrap_or(every).min(every);
        self.at.is_none_or(|at| at.elapsed() >= pause)
    }

    fn well(&mut self) {
        (self.at, self.pause) = (Some(Instant::now()), None);
    }

    /// Each begins with the first folder again, so what comes no further comes back less and less.
    fn failed(&mut self, came_further: bool) {
        let doubled = self.pause.filter(|_| !came_further);
        let pause = doubled.map_or(FIRST_PAUSE, |pause| pause.saturating_mul(2));
        (self.at, self.pause) = (Some(Instant::now()), Some(pause));
    }
}

impl Watch {
    /// Has the watched folders looked through that are mapped to other records than anybody
    /// remembers: once at the start and then as often as folders are looked through at all. The
    /// first time ever, what is mapped is only noted: what lies there is for a backfill.
    pub(super) async fn newly_mapped(&self) -> Result<CaughtUp, WatchError> {
        let mut done = CaughtUp::default();
        let Some((folders, keys)) = self.mapped_folders.as_ref().zip(self.mapping_keys()) else {
            return Ok(done);
        };
        if !self.looked_for_mappings().is_over(self.options.scan_every) {
            return Ok(done);
        }
        // To list all is dear: for less than this it is not begun.
        self.room_for(self.options.most_ahead / 2).await?;
        let keys = [keys.opportunity.as_str(), keys.account.as_str()];
        let looked = self.look_for_mappings(&**folders, keys, &mut done).await;
        match looked {
            Ok(()) => self.looked_for_mappings().well(),
            Err(_) => self.looked_for_mappings().failed(done.pushed > 0),
        }
        looked.map(|()| done)
    }

    async fn look_for_mappings(
        &self,
        folders: &dyn MappedFolders,
        keys: [&str; 2],
        done: &mut CaughtUp,
    ) -> Result<(), WatchError> {
        let covered_key = EffectKey::new(["watch", "mappings seen"]);
        let now = self.clock.now();
        let covered = self.kept::<Timestamp>(&covered_key).await?;
        let mut is_covered = false;
        for (position, key) in keys.into_iter().enumerate() {
            let mut mapped = folders.mapped(key).try_chunks(AT_ONCE);
            loop {
                let (some, failed) = match mapped.try_next().await {
                    Ok(Some(some)) => (some, None),
                    Ok(None) => {
                        is_covered = true;
                        break;
                    }
                    // What was told before it.
                    Err(error) => (error.0, Some(error.1)),
                };
                done.seen += some.len() as u64;
                self.compare(some, position, covered, &mut done.pushed)
                    .await?;
                match failed {
                    None => {}
                    // The template may lack this key and have the other.
                    Some(error) if error.kind() == PortErrorKind::Refused => {
                        let error = in_one_line(&error);
                        warn!(
                            key,
                            error, "nobody tells which folders are mapped: new ones are not found"
                        );
                        break;
                    }
                    Some(error) => return Err(error.into()),
                }
            }
        }
        if is_covered {
            self.keep(&covered_key, json!(now)).await?;
        }
        Ok(())
    }

    async fn compare(
        &self,
        folders: Vec<MappedFolder>,
        position: usize,
        covered: Option<Timestamp>,
        pushed: &mut u64,
    ) -> Result<(), WatchError> {
        let mut jobs = Vec::new();
        for MappedFolder { folder, record } in folders {
            // A note is from before the folder was looked through.
            let (mut noted, known) = (
                self.noted_mapping(&folder).await?,
                self.known(&folder).await?,
            );
            let remembered = known.as_ref().unwrap_or(&noted);
            if remembered.get(position) == Some(&Some(record.clone())) {
                continue;
            }
            match covered {
                Some(covered) if self.is_watched(&folder).await? => {
                    jobs.push(self.look(&folder, &record, covered));
                }
                // Apart from those that were looked through: who tells of one means that it is new.
                _ => {
                    if let Some(noted) = noted.get_mut(position) {
                        *noted = Some(record);
                    }
                    self.note_mapping(&folder, &noted).await?;
                }
            }
        }
        while !jobs.is_empty() {
            // No more than the inbox takes: a look that is there already would find it full.
            let room = usize::try_from(self.room_for(1).await?).unwrap_or(usize::MAX);
            let later = jobs.split_off(room.min(jobs.len()));
            let all = self.queue.push(jobs, self.clock.now()).await?;
            let new = all.iter().filter(|push| matches!(push, Push::Queued(_)));
            *pushed += new.count() as u64;
            jobs = later;
        }
        Ok(())
    }

    /// Whoever has to begin anew before all is compared finds the same, and they are the same jobs.
    fn look(&self, folder: &str, record: &str, covered: Timestamp) -> NewJob {
        let since = covered.checked_sub(self.options.mapped_within).ok();
        let reason = format!("mapped to {record} since {covered}");
        touched(folder, since, &reason, Touched::Set)
    }

    async fn is_watched(&self, folder: &str) -> Result<bool, WatchError> {
        let path = self.path(Kind::Folder, folder).await?.unwrap_or_default();
        Ok(path.iter().any(|id| self.options.folders.contains(id)))
    }
}
