//! Everything that is mapped, kept the same, one record after the other.

use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
};

use futures_util::{TryStreamExt, future::poll_immediate};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{action::SyncMetadata, report::SyncReport};
use crate::{
    action::StepError,
    clock::{Clock, SystemClock},
    crm::{Crm, Record},
    ledger::{EffectKey, EffectState, Ledger},
    metadata::{MappedFolder, MappedFolders},
    patience::Patience,
    port_error::in_one_line,
    quota_class::QuotaClass,
};

/// So many folders that name no record are reported one by one.
const MOST_STRANGERS: usize = 1000;
/// So many folders are found between two words about it.
const FOUND_EVERY: u64 = 1000;

/// A round with every record that has a folder: those that folders name, and those that the ledger
/// knows. With the calls of [`Backfill`](QuotaClass::Backfill).
///
/// What is broken off goes on where it was, in the order of the records' ids: the last one that is
/// done is noted in the ledger. Whoever is new before that has its turn the next time. A side that
/// lets nobody in for now is waited for.
pub struct SyncAll {
    folders: Arc<dyn MappedFolders>,
    crm: Arc<dyn Crm>,
    syncs: Vec<Arc<SyncMetadata>>,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
}

/// What a [`SyncAll`] came upon.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SyncTold {
    /// A round is done, or would do this.
    Round(SyncReport),
    /// A record was left out, or a folder that names none.
    Failed {
        /// The record's id, or what the folder says it is.
        record: String,
        /// The folder, where it is the matter.
        folder: Option<String>,
        /// Why, in a line.
        reason: String,
    },
    /// Nothing can be done for now; it goes on by itself.
    Waits {
        /// For what, in a line.
        reason: String,
    },
    /// Some more mapped folders are found, before anything is done with them.
    Found {
        /// How many by now.
        folders: u64,
    },
    /// Some more records are done.
    Progress(SyncedAll),
}

/// How far a [`SyncAll`] is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SyncedAll {
    /// Records that there are.
    pub total: u64,
    /// Those that had their turn, also in the run that this one goes on with.
    pub done: u64,
    /// Those of them that differed.
    pub differed: u64,
    /// Those of them without a folder, or gone themselves.
    pub no_folder: u64,
    /// Those of them that failed, and folders that name no record.
    pub failed: u64,
    /// Whether that is all. Otherwise the next run goes on.
    pub is_finished: bool,
}

/// Kept between runs.
#[derive(Debug, Deserialize, Serialize)]
struct Progress {
    after: String,
    done: SyncedAll,
}

impl fmt::Debug for SyncAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncAll")
            .field("syncs", &self.syncs.len())
            .finish_non_exhaustive()
    }
}

impl SyncAll {
    /// By these actions, each for its own kind of record.
    pub fn new(
        folders: Arc<dyn MappedFolders>,
        crm: Arc<dyn Crm>,
        syncs: Vec<Arc<SyncMetadata>>,
        ledger: Arc<dyn Ledger>,
    ) -> Self {
        Self {
            folders,
            crm,
            syncs,
            ledger,
            clock: Arc::new(SystemClock),
        }
    }

    /// By another clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Goes through all of them, from where an earlier run stopped, until the end or until `stop`,
    /// which ends the round in hand first. `tell` hears of everything on the way.
    pub async fn run(
        &self,
        stop: impl Future<Output = ()>,
        tell: impl FnMut(SyncTold),
    ) -> Result<SyncedAll, StepError> {
        let kept = match self.ledger.read(&key()).await? {
            Some(EffectState::Finished(value)) => serde_json::from_value(value).ok(),
            _ => None,
        };
        QuotaClass::Backfill
            .scope(self.go(kept, false, stop, tell))
            .await
    }

    /// The same from the beginning, without writing anything anywhere.
    pub async fn dry_run(
        &self,
        stop: impl Future<Output = ()>,
        tell: impl FnMut(SyncTold),
    ) -> Result<SyncedAll, StepError> {
        QuotaClass::Backfill
            .scope(self.go(None, true, stop, tell))
            .await
    }

    async fn go(
        &self,
        kept: Option<Progress>,
        is_preview: bool,
        stop: impl Future<Output = ()>,
        mut tell: impl FnMut(SyncTold),
    ) -> Result<SyncedAll, StepError> {
        let mut stop = pin!(stop);
        let Some((records, strangers)) = self.records(stop.as_mut(), &mut tell).await? else {
            return Ok(kept.map(|kept| kept.done).unwrap_or_default());
        };
        let mut done = match &kept {
            Some(kept) => kept.done,
            None => {
                let mut done = SyncedAll::default();
                for MappedFolder { folder, record } in strangers {
                    done.failed += 1;
                    tell(SyncTold::Failed {
                        record,
                        folder: Some(folder),
                        reason: "it is no record's id".to_owned(),
                    });
                }
                done
            }
        };
        done.total = records.len() as u64;
        let after = kept.map(|kept| kept.after).unwrap_or_default();
        for id in records.range(after.clone()..).filter(|id| **id != after) {
            if poll_immediate(stop.as_mut()).await.is_some() {
                return Ok(done);
            }
            let record = self.crm.record(id)?;
            if let Some(sync) = self.sync_of(&record) {
                let round = self.patiently(sync, &record, is_preview, stop.as_mut(), &mut tell);
                match round.await {
                    Ok(None) => return Ok(done),
                    Ok(Some(report)) => {
                        done.differed += u64::from(!report.fields.is_empty());
                        done.no_folder += u64::from(report.folder.is_none());
                        done.failed += u64::from(report.needs_a_person());
                        tell(SyncTold::Round(report));
                    }
                    Err(error) => {
                        done.failed += 1;
                        tell(SyncTold::Failed {
                            record: record.id,
                            folder: None,
                            reason: in_one_line(&error),
                        });
                    }
                }
            }
            done.done += 1;
            tell(SyncTold::Progress(done));
            if !is_preview {
                let progress = json!(Progress {
                    after: id.clone(),
                    done
                });
                self.ledger
                    .finish(&key(), progress, self.clock.now())
                    .await?;
            }
        }
        if !is_preview {
            self.ledger.forget(&key()).await?;
        }
        done.is_finished = true;
        Ok(done)
    }

    /// A round with one record, when its time has come; nothing where it was stopped before that.
    async fn patiently(
        &self,
        sync: &SyncMetadata,
        record: &Record,
        is_preview: bool,
        mut stop: Pin<&mut impl Future<Output = ()>>,
        tell: &mut impl FnMut(SyncTold),
    ) -> Result<Option<SyncReport>, StepError> {
        let (crm, ledger, clock) = (&*self.crm, &*self.ledger, &*self.clock);
        let mut patience = Patience::default();
        loop {
            let round = match is_preview {
                true => sync.preview(record, crm, ledger, clock).await,
                false => sync.sync(record, crm, ledger, clock).await,
            };
            let error = match round {
                Ok(report) => return Ok(Some(report)),
                Err(error) => error,
            };
            let waits = |reason| tell(SyncTold::Waits { reason });
            if !patience.bear(error, clock, stop.as_mut(), waits).await? {
                return Ok(None);
            }
        }
    }

    /// The ids of all records, in order, and the folders whose values are none; nothing where it
    /// was stopped before it had them.
    async fn records(
        &self,
        mut stop: Pin<&mut impl Future<Output = ()>>,
        tell: &mut impl FnMut(SyncTold),
    ) -> Result<Option<(BTreeSet<String>, Vec<MappedFolder>)>, StepError> {
        let known = SyncMetadata::known_records(&*self.ledger).await?;
        let mut records: BTreeSet<_> = known.into_iter().collect();
        let mut strangers = Vec::new();
        let keys: BTreeSet<_> = self.syncs.iter().map(|sync| sync.key()).collect();
        for key in keys {
            let mut patience = Patience::default();
            loop {
                let listed = tokio::select! {
                    biased;
                    () = stop.as_mut() => return Ok(None),
                    listed = self.listed(key, &mut records, tell) => listed,
                };
                match listed {
                    Ok(more) => {
                        strangers.extend(more);
                        break;
                    }
                    // From the beginning: a list that has broken off has no place to go on from.
                    Err(error) => {
                        let clock = &*self.clock;
                        let waits = |reason| tell(SyncTold::Waits { reason });
                        if !patience.bear(error, clock, stop.as_mut(), waits).await? {
                            return Ok(None);
                        }
                    }
                }
            }
        }
        strangers.truncate(MOST_STRANGERS);
        Ok(Some((records, strangers)))
    }

    /// Adds the records that folders name in this key; gives the folders that name none.
    async fn listed(
        &self,
        key: &str,
        records: &mut BTreeSet<String>,
        tell: &mut impl FnMut(SyncTold),
    ) -> Result<Vec<MappedFolder>, StepError> {
        let mut strangers = Vec::new();
        let mut found = 0;
        let mut folders = self.folders.mapped(key);
        while let Some(mapped) = folders.try_next().await? {
            match self.crm.record(&mapped.record) {
                // An id of 15 characters becomes one of 18.
                Ok(record) => drop(records.insert(record.id)),
                Err(_) if strangers.len() < MOST_STRANGERS => strangers.push(mapped),
                Err(_) => {}
            }
            found += 1;
            if found % FOUND_EVERY == 0 {
                tell(SyncTold::Found { folders: found });
            }
        }
        Ok(strangers)
    }

    fn sync_of(&self, record: &Record) -> Option<&SyncMetadata> {
        let fits =
            |sync: &&Arc<SyncMetadata>| record.object.as_deref() == Some(sync.map().object());
        self.syncs.iter().find(fits).map(|sync| &**sync)
    }
}

fn key() -> EffectKey {
    // What begins with `sync` is what records remember.
    EffectKey::new(["sync_all"])
}
