//! Everything that is mapped, kept the same, one record after the other.

use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use futures_util::{TryStreamExt, future::poll_immediate};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;

use super::{action::SyncMetadata, report::SyncReport};
use crate::{
    action::StepError,
    clock::{Clock, SystemClock},
    crm::{Crm, Record},
    ledger::{EffectKey, EffectState, Ledger},
    metadata::{MappedFolder, MappedFolders},
    port_error::{PortErrorKind, in_one_line},
    quota_class::QuotaClass,
};

/// A record whose round fails for a reason that may pass is tried so often.
const TRIES: usize = 3;
/// One that is changed all the time is waited for so often.
const WAITS: usize = 30;
/// How long to wait where nobody says how long.
const PAUSE: Duration = Duration::from_secs(5);
/// So many folders that name no record are reported one by one.
const MOST_STRANGERS: usize = 1000;
/// Nobody sleeps for longer without a look around.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A round with every record that has a folder: those that folders name, and those that the ledger
/// knows. With the calls of [`Backfill`](QuotaClass::Backfill).
///
/// What is broken off goes on where it was, in the order of the records' ids: the last one that is
/// done is noted in the ledger. Whoever is new before that has its turn the next time.
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
        let (records, strangers) = self.records().await?;
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
        let (ledger, clock) = (&*self.ledger, &*self.clock);
        let (mut tries, mut waits) = (1, 1);
        let mut has_told = false;
        loop {
            let round = match is_preview {
                true => sync.preview(record, ledger, clock).await,
                false => sync.sync(record, ledger, clock).await,
            };
            let error = match round {
                Ok(report) => return Ok(Some(report)),
                Err(error) => error,
            };
            let pause = match &error {
                StepError::Wait { until, .. } if waits < WAITS => {
                    waits += 1;
                    let pause = until.duration_since(clock.now());
                    Duration::try_from(pause).unwrap_or_default()
                }
                StepError::Port(port) if is_for_all(port.kind()) => {
                    if !has_told {
                        let reason = in_one_line(port);
                        tell(SyncTold::Waits { reason });
                        has_told = true;
                    }
                    port.retry_after().unwrap_or(PAUSE)
                }
                StepError::Port(port) if tries < TRIES && may_pass(port.kind()) => {
                    tries += 1;
                    port.retry_after().unwrap_or(PAUSE)
                }
                _ => return Err(error),
            };
            tokio::select! {
                () = stop.as_mut() => return Ok(None),
                () = sleep(pause.min(LONGEST_PAUSE)) => {}
            }
        }
    }

    /// The ids of all records, in order, and the folders whose values are none.
    async fn records(&self) -> Result<(BTreeSet<String>, Vec<MappedFolder>), StepError> {
        let known = SyncMetadata::known_records(&*self.ledger).await?;
        let mut records: BTreeSet<_> = known.into_iter().collect();
        let mut strangers = Vec::new();
        let keys: BTreeSet<_> = self.syncs.iter().map(|sync| sync.key()).collect();
        for key in keys {
            let mut folders = self.folders.mapped(key);
            while let Some(mapped) = folders.try_next().await? {
                match self.crm.record(&mapped.record) {
                    // An id of 15 characters becomes one of 18.
                    Ok(record) => drop(records.insert(record.id)),
                    Err(_) if strangers.len() < MOST_STRANGERS => strangers.push(mapped),
                    Err(_) => {}
                }
            }
        }
        Ok((records, strangers))
    }

    fn sync_of(&self, record: &Record) -> Option<&SyncMetadata> {
        let fits =
            |sync: &&Arc<SyncMetadata>| record.object.as_deref() == Some(sync.map().object());
        self.syncs.iter().find(fits).map(|sync| &**sync)
    }
}

/// Whether every other record would fare the same.
fn is_for_all(kind: PortErrorKind) -> bool {
    matches!(kind, PortErrorKind::Later | PortErrorKind::Outage)
}

fn may_pass(kind: PortErrorKind) -> bool {
    use PortErrorKind::{Busy, Down, Unknown};
    matches!(kind, Busy | Down | Unknown)
}

fn key() -> EffectKey {
    // What begins with `sync` is what records remember.
    EffectKey::new(["sync_all"])
}
