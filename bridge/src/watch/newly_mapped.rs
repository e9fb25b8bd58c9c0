//! Folders that were mapped to records while nobody told of it: while the service was away, or by
//! metadata that no webhook and no event stream of ours tells of.

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
    metadata::MappedFolder,
    port_error::{PortErrorKind, in_one_line},
    queue::{NewJob, Push},
};

const AT_ONCE: usize = 100;

impl Watch {
    /// Has the watched folders looked through that are mapped to other records than anybody
    /// remembers: once at the start and then as often as folders are looked through at all. The
    /// first time ever, what is mapped is only noted: what lies there is for a backfill.
    pub(super) async fn newly_mapped(&self) -> Result<CaughtUp, WatchError> {
        let mut done = CaughtUp::default();
        let Some((folders, keys)) = self.mapped_folders.as_ref().zip(self.mapping_keys()) else {
            return Ok(done);
        };
        if !self.is_time_to_look() {
            return Ok(done);
        }
        let covered_key = EffectKey::new(["watch", "mappings seen"]);
        let now = self.clock.now();
        let covered = self.kept::<Timestamp>(&covered_key).await?;
        for (position, key) in [&keys.opportunity, &keys.account].into_iter().enumerate() {
            let mut mapped = folders.mapped(key).try_chunks(AT_ONCE);
            loop {
                let some = match mapped.try_next().await.map_err(|error| error.1) {
                    Ok(Some(some)) => some,
                    Ok(None) => break,
                    // There is no template yet, so nothing is mapped.
                    Err(error) if error.kind() == PortErrorKind::Gone => break,
                    Err(error) if error.kind() == PortErrorKind::Refused => {
                        let error = in_one_line(&error);
                        warn!(
                            error,
                            "nobody tells which folders are mapped: new ones are not found"
                        );
                        self.has_looked();
                        return Ok(done);
                    }
                    Err(error) => return Err(error.into()),
                };
                done.seen += some.len() as u64;
                done.pushed += self.compare(some, position, covered).await?;
            }
        }
        self.keep(&covered_key, json!(now)).await?;
        self.has_looked();
        Ok(done)
    }

    async fn compare(
        &self,
        folders: Vec<MappedFolder>,
        position: usize,
        covered: Option<Timestamp>,
    ) -> Result<u64, WatchError> {
        let mut jobs = Vec::new();
        for MappedFolder { folder, record } in folders {
            let is_it =
                |known: &[Option<String>; 2]| known.get(position) == Some(&Some(record.clone()));
            let noted_key = EffectKey::new(["watch", "mapping noted", &folder]);
            let noted = self.kept::<[Option<String>; 2]>(&noted_key).await?;
            let mut noted = noted.unwrap_or_default();
            if is_it(&noted) || is_it(&self.known_mapping(&folder).await?) {
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
                    self.keep(&noted_key, json!(noted)).await?;
                }
            }
        }
        if jobs.is_empty() {
            return Ok(0);
        }
        self.room().await?;
        let pushed = self.queue.push(jobs, self.clock.now()).await?;
        let new = pushed.iter().filter(|push| matches!(push, Push::Queued(_)));
        Ok(new.count() as u64)
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

    fn is_time_to_look(&self) -> bool {
        let looked = self.looked_for_mappings();
        looked.is_none_or(|at| at.elapsed() >= self.options.scan_every)
    }

    fn has_looked(&self) {
        *self.looked_for_mappings() = Some(Instant::now());
    }
}
