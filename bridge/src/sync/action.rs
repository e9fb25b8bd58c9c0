//! Rounds: read both sides, merge, remember, write, remember.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    conflict::Conflict,
    field_map::{FieldMap, Side},
    memory::{self, Memory},
    report::SyncReport,
    round::{Round, Seen},
    shapes::Shapes,
};
use crate::{
    action::{Action, StepError, Work},
    clock::Clock,
    crm::Record,
    ledger::{EffectKey, EffectState, Ledger},
    metadata::{Instance, Metadata},
    plan::Step,
    port_error::{PortError, PortErrorKind},
    record_event::Change,
    records::Records,
    resolve::MappingKeys,
    situation::{Situation, Subject},
    store_error::StoreError,
    worker::Hold,
};

/// The CRM compares whole seconds: a change right after the one that we have seen would go
/// unnoticed.
const AT_REST_AFTER: Duration = Duration::from_secs(2);
/// A record that others keep changing is read and tried this often in one attempt.
const TRIES: usize = 6;
/// An id in its short form, which stands for the same record.
const SHORT_ID: usize = 15;
/// Everything is below it.
const ROOT: &str = "0";

/// Keeps chosen fields of a record and keys of its folder's metadata the same; see
/// [`sync`](crate::sync).
///
/// For rules about `METADATA_INSTANCE.CREATED`, `METADATA_INSTANCE.UPDATED` and
/// `Opportunity.*`: whatever happened, both sides are read as they are now. So it does not matter
/// how often and in which order it is told, nor that rounds which a folder and its record have
/// started run at one time: of two rounds that have read the same memory one goes on, and each
/// side takes a write only where its values are still as they were read.
#[derive(Debug)]
pub struct SyncMetadata {
    metadata: Arc<dyn Metadata>,
    records: Arc<dyn Records>,
    map: FieldMap,
    keys: MappingKeys,
    shapes: Shapes,
}

/// What a round is about, besides its record.
#[derive(Debug, Default)]
struct Occasion<'a> {
    /// The folder, where it is known.
    folder: Option<&'a str>,
    box_changed_at: Option<Timestamp>,
    choice: Option<Choice>,
    is_preview: bool,
}

/// What a person has decided.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) conflict: String,
    pub(super) keep: Side,
}

/// What a round works with.
#[derive(Clone, Copy, Debug)]
struct Tools<'a> {
    ledger: &'a dyn Ledger,
    clock: &'a dyn Clock,
    hold: &'a Hold,
}

impl SyncMetadata {
    /// Keeps what the map names the same on these two sides.
    pub fn new(metadata: Arc<dyn Metadata>, records: Arc<dyn Records>, map: FieldMap) -> Self {
        Self {
            metadata,
            records,
            map,
            keys: MappingKeys::default(),
            shapes: Shapes::default(),
        }
    }

    /// With other metadata keys for the records' ids.
    #[must_use]
    pub fn mapping_keys(mut self, keys: MappingKeys) -> Self {
        self.keys = keys;
        self
    }

    /// What goes with what.
    pub fn map(&self) -> &FieldMap {
        &self.map
    }

    /// What a round would do now. Writes nothing.
    pub async fn preview(
        &self,
        record: &Record,
        ledger: &dyn Ledger,
        clock: &dyn Clock,
    ) -> Result<SyncReport, StepError> {
        let hold = Hold::forever();
        let tools = Tools {
            ledger,
            clock,
            hold: &hold,
        };
        let occasion = Occasion {
            is_preview: true,
            ..Occasion::default()
        };
        self.rounds(record, &occasion, tools).await
    }

    /// Does a round now. [`Wait`](StepError::Wait) means that the record was changed a moment ago.
    pub async fn sync(
        &self,
        record: &Record,
        ledger: &dyn Ledger,
        clock: &dyn Clock,
    ) -> Result<SyncReport, StepError> {
        let hold = Hold::forever();
        let tools = Tools {
            ledger,
            clock,
            hold: &hold,
        };
        self.rounds(record, &Occasion::default(), tools).await
    }

    /// Carries out what a person has decided: keeps the value of this side. If the values have
    /// changed since, they are another conflict or none, and nothing is decided: the report then
    /// does not name this one.
    pub async fn resolve(
        &self,
        conflict: &Conflict,
        keep: Side,
        ledger: &dyn Ledger,
        clock: &dyn Clock,
    ) -> Result<SyncReport, StepError> {
        let hold = Hold::forever();
        let tools = Tools {
            ledger,
            clock,
            hold: &hold,
        };
        let occasion = Occasion {
            folder: Some(&conflict.folder),
            choice: Some(Choice {
                conflict: conflict.id.clone(),
                keep,
            }),
            ..Occasion::default()
        };
        self.rounds(&conflict.record, &occasion, tools).await
    }

    /// The ids of all records whose folder the ledger knows, of whatever kind they are.
    pub async fn known_records(ledger: &dyn Ledger) -> Result<Vec<String>, StoreError> {
        let folders = ledger.under(&EffectKey::new([FOLDER])).await?;
        let mut all: Vec<_> = folders
            .iter()
            .filter_map(|effect| effect.key.parts().nth(1))
            .chain(memory::records(ledger).await?)
            .collect();
        all.sort();
        all.dedup();
        Ok(all)
    }

    async fn rounds(
        &self,
        record: &Record,
        occasion: &Occasion<'_>,
        tools: Tools<'_>,
    ) -> Result<SyncReport, StepError> {
        let mut must_be_fresh = false;
        let mut done: Option<SyncReport> = None;
        for _ in 0..TRIES {
            // First the memory, then the sides: a memory that is still the same when it is
            // replaced says that nobody else has written what was read.
            let (remembered, memory) = Memory::read(tools.ledger, record).await?;
            let found = self.folder(record, occasion, &memory, tools.ledger).await?;
            let Some((folder, instance)) = found else {
                return Ok(SyncReport::nothing(record));
            };
            let fields: Vec<_> = self.map.pairs().iter().map(|it| &*it.field).collect();
            let state = match self.records.read(record, &fields).await {
                Err(error) if error.kind() == PortErrorKind::Gone => {
                    return Ok(SyncReport::nothing(record));
                }
                state => state?,
            };
            let (metadata, records) = (&*self.metadata, &*self.records);
            let shapes = self
                .shapes
                .of(metadata, records, self.map.object(), must_be_fresh)
                .await?;
            let now = tools.clock.now();
            let round = Round::plan(
                Seen {
                    map: &self.map,
                    shape: &shapes.0,
                    record,
                    folder: &folder,
                    instance: &instance,
                    state: &state,
                    box_changed_at: occasion.box_changed_at,
                    choice: occasion.choice.as_ref(),
                    now,
                },
                &memory,
            );
            if round.has_refused && !shapes.1 {
                must_be_fresh = true;
                continue;
            }
            let report = SyncReport {
                record: record.clone(),
                folder: Some(folder.clone()),
                fields: round.reports.clone(),
            };
            if occasion.is_preview {
                return Ok(report);
            }
            if !round.to_salesforce.is_empty() {
                at_rest(state.changed_at, now)?;
            }
            let remembered = match round.memory == memory {
                true => remembered,
                false => {
                    held(tools)?;
                    // Whoever put them into the memory may not have come any further.
                    let new: Vec<_> = round.memory.conflicts().map(|it| &it.id).collect();
                    for former in memory.conflicts().filter(|it| !new.contains(&&it.id)) {
                        former.keep(tools.ledger, now).await?;
                    }
                    let (ledger, seen) = (tools.ledger, remembered.as_ref());
                    let written = round.memory.write(ledger, record, seen, now).await?;
                    if written.is_none() {
                        continue;
                    }
                    written
                }
            };
            for conflict in round.memory.conflicts() {
                conflict.keep(tools.ledger, now).await?;
            }
            if round.writes_nothing() {
                return Ok(done.unwrap_or(report));
            }
            // What an earlier try has written stays in the report.
            let report = done.get_or_insert(report);
            if !self
                .write(record, &folder, &round, state.changed_at, tools)
                .await?
            {
                continue;
            }
            let settled = round.memory.arrived(&round.sent);
            let seen = remembered.as_ref();
            if settled
                .write(tools.ledger, record, seen, now)
                .await?
                .is_some()
            {
                return Ok(report.clone());
            }
        }
        Err(
            PortError::new(PortErrorKind::Busy, "keep both sides the same")
                .with_cause("they were changed by others each time")
                .into(),
        )
    }

    /// Tells whether both sides were still as they were read.
    async fn write(
        &self,
        record: &Record,
        folder: &str,
        round: &Round,
        changed_at: Option<Timestamp>,
        tools: Tools<'_>,
    ) -> Result<bool, StepError> {
        if !round.to_box.is_empty() {
            held(tools)?;
            if !self.metadata.change(folder, &round.to_box).await? {
                return Ok(false);
            }
        }
        if !round.to_salesforce.is_empty() {
            held(tools)?;
            let fields = &round.to_salesforce;
            return Ok(self.records.write(record, fields, changed_at).await?);
        }
        Ok(true)
    }

    /// The folder that says of itself that it belongs to the record.
    async fn folder(
        &self,
        record: &Record,
        occasion: &Occasion<'_>,
        memory: &Memory,
        ledger: &dyn Ledger,
    ) -> Result<Option<(String, Instance)>, StepError> {
        let provisioned = match ledger.read(&EffectKey::new([FOLDER, &*record.id])).await? {
            Some(EffectState::Finished(value)) => value
                .get("id")
                .and_then(|id| id.as_str())
                .map(str::to_owned),
            _ => None,
        };
        let given = occasion.folder.map(str::to_owned);
        let known = [given, memory.folder.clone(), provisioned];
        for folder in known.into_iter().flatten() {
            if let Some(instance) = self.instance_of(record, &folder).await? {
                return Ok(Some((folder, instance)));
            }
        }
        let key = self.key();
        let mut ids = self.metadata.find(ROOT, key, &record.id).await?;
        if ids.is_empty()
            && let Some(short) = record.id.get(..SHORT_ID).filter(|it| *it != record.id)
        {
            ids = self.metadata.find(ROOT, key, short).await?;
        }
        let mut found = Vec::new();
        for folder in ids {
            if let Some(instance) = self.instance_of(record, &folder).await? {
                found.push((folder, instance));
            }
        }
        if found.len() > 1 {
            let all: Vec<_> = found.iter().map(|(folder, _)| folder.as_str()).collect();
            return Err(StepError::Person(format!(
                "folders {} all say that they belong to {}: take its id out of all but one",
                all.join(", "),
                record.id
            )));
        }
        Ok(found.pop())
    }

    /// The folder's values, if they name this record and it is what the folder is for.
    async fn instance_of(
        &self,
        record: &Record,
        folder: &str,
    ) -> Result<Option<Instance>, StepError> {
        let instance = match self.metadata.read(folder).await {
            Err(error) if error.kind() == PortErrorKind::Gone => return Ok(None),
            instance => instance?,
        };
        let text = |instance: &Instance, key: &str| {
            let text = instance.values.get(key)?.as_str()?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        Ok(instance.filter(|instance| {
            let names = text(instance, self.key());
            // A deal's folder names the account too.
            let is_a_deals =
                self.is_of_accounts() && text(instance, &self.keys.opportunity).is_some();
            names.is_some_and(|id| is_same(&id, &record.id)) && !is_a_deals
        }))
    }

    pub(super) fn key(&self) -> &str {
        match self.is_of_accounts() {
            true => &self.keys.account,
            false => &self.keys.opportunity,
        }
    }

    fn is_of_accounts(&self) -> bool {
        self.map.object() == ACCOUNT
    }

    /// The record that a situation is about, as far as the map is.
    fn record_of(&self, situation: &Situation) -> Option<Record> {
        let object = self.map.object();
        let record = match &situation.subject {
            Subject::Record(it) => {
                let is_it = it.record.object.as_deref() == Some(object);
                return (is_it && it.change != Change::Deleted).then(|| it.record.clone());
            }
            Subject::File(_) => return None,
            Subject::Folder(_) if self.is_of_accounts() => {
                let is_a_deals = situation.opportunity.is_some();
                situation.account.as_ref().filter(|_| !is_a_deals)
            }
            Subject::Folder(_) if object == OPPORTUNITY => situation.opportunity.as_ref(),
            Subject::Folder(_) => None,
        };
        record.map(|record| Record {
            id: record.id.clone(),
            object: Some(object.to_owned()),
        })
    }
}

#[async_trait]
impl Action for SyncMetadata {
    fn name(&self) -> &str {
        "sync_metadata"
    }

    fn plan(&self, situation: &Situation) -> Option<String> {
        let record = self.record_of(situation)?;
        let count = self.map.pairs().len();
        Some(format!(
            "keep {count} fields of {} and its folder the same",
            record.id
        ))
    }

    async fn apply(&self, _: &Step, work: &Work<'_>) -> Result<String, StepError> {
        let situation = work.situation;
        let Some(record) = self.record_of(situation) else {
            return Ok("no record to keep the same".to_owned());
        };
        let folder = situation.mapping.as_ref().map(|it| it.folder.as_str());
        let is_its_own = situation.folder().map(|it| it.id.as_str()) == folder;
        let is_metadata = situation.trigger.starts_with("METADATA_INSTANCE.");
        let occasion = Occasion {
            folder,
            box_changed_at: (is_metadata && is_its_own).then_some(situation.at),
            ..Occasion::default()
        };
        let tools = Tools {
            ledger: work.ledger,
            clock: work.clock,
            hold: work.hold,
        };
        let report = self.rounds(&record, &occasion, tools).await?;
        Ok(report.to_string())
    }
}

const OPPORTUNITY: &str = "Opportunity";
const ACCOUNT: &str = "Account";
/// First part of the ledger's keys of provisioned folders.
const FOLDER: &str = "folder";

fn held(tools: Tools<'_>) -> Result<(), StepError> {
    match tools.hold.is_good() {
        true => Ok(()),
        false => Err(StepError::LostHold),
    }
}

fn at_rest(changed_at: Option<Timestamp>, now: Timestamp) -> Result<(), StepError> {
    let Some(changed_at) = changed_at else {
        return Ok(());
    };
    match changed_at.checked_add(AT_REST_AFTER) {
        Ok(until) if (changed_at..until).contains(&now) => Err(StepError::Wait {
            reason: "the record was changed just now".to_owned(),
            until,
        }),
        _ => Ok(()),
    }
}

/// An id of 15 characters and one of 18 can be the same.
fn is_same(one: &str, other: &str) -> bool {
    let is_short = one.len() == SHORT_ID || other.len() == SHORT_ID;
    one == other || (is_short && one.get(..SHORT_ID) == other.get(..SHORT_ID))
}
