//! The action, and what can be done by hand.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    conflict::Conflict,
    field_map::{ACCOUNT, Direction, FieldMap, FieldPair, OPPORTUNITY, Side},
    memory,
    report::SyncReport,
    rounds::{Occasion, Tools},
    shapes::Shapes,
};
use crate::{
    action::{Action, StepError, Work, records_with_folders},
    clock::Clock,
    crm::{Crm, Record},
    ledger::Ledger,
    mapping_template::{MappingTemplate, MappingTemplateError, WantedField},
    metadata::Metadata,
    plan::Step,
    record_event::Change,
    records::Records,
    resolve::MappingKeys,
    situation::{Situation, Subject},
    store_error::StoreError,
    worker::Hold,
};

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
    pub(super) metadata: Arc<dyn Metadata>,
    pub(super) records: Arc<dyn Records>,
    map: FieldMap,
    pub(super) keys: MappingKeys,
    pub(super) template: Arc<MappingTemplate>,
    pub(super) shapes: Shapes,
}

/// What a person has decided.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) conflict: String,
    pub(super) keep: Side,
}

impl SyncMetadata {
    /// Keeps what the map names the same on these two sides. The keys that the metadata template
    /// lacks are made.
    pub fn new(metadata: Arc<dyn Metadata>, records: Arc<dyn Records>, map: FieldMap) -> Self {
        let template = MappingTemplate::new();
        // Two pairs have no key in common. One that is meant for ids is refused in each round.
        let _ = template.add(wanted(&map));
        Self {
            metadata,
            records,
            map,
            keys: MappingKeys::default(),
            template: Arc::new(template),
            shapes: Shapes::default(),
        }
    }

    /// With other metadata keys for the records' ids.
    #[must_use]
    pub fn mapping_keys(mut self, keys: MappingKeys) -> Self {
        self.keys = keys;
        self
    }

    /// Shares the metadata template with other actions; for when all else is set. An error where
    /// they want what one template cannot have.
    pub fn template(
        mut self,
        template: Arc<MappingTemplate>,
    ) -> Result<Self, MappingTemplateError> {
        let ids = [&self.keys.account, &self.keys.opportunity].map(WantedField::id);
        template.add(ids.into_iter().chain(self.wanted()))?;
        self.template = template;
        Ok(self)
    }

    /// What goes with what.
    pub fn map(&self) -> &FieldMap {
        &self.map
    }

    /// What a round would do now. Writes nothing.
    pub async fn preview(
        &self,
        record: &Record,
        crm: &dyn Crm,
        ledger: &dyn Ledger,
        clock: &dyn Clock,
    ) -> Result<SyncReport, StepError> {
        let hold = Hold::forever();
        let tools = Tools {
            crm,
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
        crm: &dyn Crm,
        ledger: &dyn Ledger,
        clock: &dyn Clock,
    ) -> Result<SyncReport, StepError> {
        let hold = Hold::forever();
        let tools = Tools {
            crm,
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
        crm: &dyn Crm,
        ledger: &dyn Ledger,
        clock: &dyn Clock,
    ) -> Result<SyncReport, StepError> {
        let hold = Hold::forever();
        let tools = Tools {
            crm,
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
        let mut all = records_with_folders(ledger).await?;
        all.extend(memory::records(ledger).await?);
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// The metadata key that says which record a folder belongs to.
    pub(super) fn key(&self) -> &str {
        self.map.mapping_key(&self.keys)
    }

    /// What it wants of the metadata template.
    pub(super) fn wanted(&self) -> Vec<WantedField> {
        wanted(&self.map).collect()
    }

    pub(super) fn is_of_accounts(&self) -> bool {
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

    /// Where values go to the record, a change of any field may be what one that it has refused was
    /// waiting for.
    fn goes_by(&self, object: &str) -> Option<Vec<String>> {
        if object != self.map.object() {
            return Some(Vec::new());
        }
        let pairs = self.map.pairs();
        let goes_to_box_alone = |it: &FieldPair| it.direction == Direction::ToBox;
        let fields = pairs.iter().map(|it| it.field.clone());
        pairs
            .iter()
            .all(goes_to_box_alone)
            .then(|| fields.collect())
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
            crm: work.crm,
            ledger: work.ledger,
            clock: work.clock,
            hold: work.hold,
        };
        let report = self.rounds(&record, &occasion, tools).await?;
        match report.needs_a_person() {
            true => Err(StepError::Person(report.to_string())),
            false => Ok(report.to_string()),
        }
    }
}

fn wanted(map: &FieldMap) -> impl Iterator<Item = WantedField> + '_ {
    map.pairs()
        .iter()
        .map(|pair| WantedField::new(&pair.key, pair.kind).filled_from(map.object(), &pair.field))
}
