//! Rounds: read both sides, merge, remember, write, remember.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    action::{Choice, SyncMetadata},
    field_map::{FieldPair, OPPORTUNITY, STAGE, Side},
    memory::Memory,
    report::{FieldReport, SyncReport},
    round::{Round, Seen},
    shapes::Known,
};
use crate::{
    action::{Given, StepError},
    clock::Clock,
    crm::{Crm, Deal, Record},
    ledger::Ledger,
    metadata::Instance,
    port_error::{PortError, PortErrorKind},
    records::RecordState,
    worker::Hold,
};

/// The CRM compares whole seconds: a change right after the one that we have seen would go
/// unnoticed.
const AT_REST_AFTER: Duration = Duration::from_secs(2);
/// A record from farther in the future says that a clock is wrong, which waiting does not mend.
const MOST_SKEW: Duration = Duration::from_secs(60);
/// A record that others keep changing is read and tried this often in one attempt.
const TRIES: usize = 6;

/// What a round is about, besides its record.
#[derive(Debug, Default)]
pub(super) struct Occasion<'a> {
    /// The folder, where it is known.
    pub(super) folder: Option<&'a str>,
    /// When that folder's metadata has changed.
    pub(super) box_changed_at: Option<Timestamp>,
    pub(super) choice: Option<Choice>,
    pub(super) is_preview: bool,
}

/// What a round works with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tools<'a> {
    pub(super) crm: &'a dyn Crm,
    pub(super) ledger: &'a dyn Ledger,
    pub(super) clock: &'a dyn Clock,
    pub(super) hold: &'a Hold,
}

/// What the tries of one attempt have come to.
#[derive(Debug, Default)]
struct Tries {
    /// What was written, by pair.
    written: BTreeMap<String, FieldReport>,
    /// The pairs whose values the record's side has refused, and why.
    rejected: BTreeMap<String, String>,
    /// Whether it was looked anew what both sides take, because one of them has taken something else.
    anew: bool,
    /// Whether it is to be found out which value the record's side refuses.
    one_by_one: bool,
}

/// Both sides, as they were read.
struct Found {
    folder: String,
    instance: Instance,
    /// When the folder had been read.
    read_at: Instant,
    shape: Known,
    state: RecordState,
}

/// How a write to both sides has ended.
enum Written {
    Done,
    /// A side was not as it was read.
    Overtaken,
    /// The record's side has refused values and written none.
    Rejected(PortError),
}

impl SyncMetadata {
    pub(super) async fn rounds(
        &self,
        record: &Record,
        occasion: &Occasion<'_>,
        tools: Tools<'_>,
    ) -> Result<SyncReport, StepError> {
        let mut tries = Tries::default();
        // Each pair can be refused once.
        for _ in 0..TRIES + self.map().pairs().len() {
            // First the memory, then the sides: a memory that is still the same when it is
            // replaced says that nobody else has written what was read.
            let (remembered, memory) = Memory::read(tools.ledger, record).await?;
            let found = self.look(record, occasion, &memory, (tools, tries.anew));
            let Some(found) = found.await? else {
                return Ok(SyncReport::nothing(record));
            };
            let now = tools.clock.now();
            let planned = self
                .plan(record, occasion, &found, &memory, &tries, (tools, now))
                .await?;
            let Some(round) = planned else {
                continue;
            };
            if occasion.is_preview {
                return Ok(SyncReport::of(record, &found.folder, round.reports));
            }
            if !round.to_salesforce.is_empty() {
                at_rest(found.state.changed_at, now)?;
            }
            let (was, seen) = (&memory, remembered);
            let Some(remembered) = remember(record, &round.memory, was, seen, (tools, now)).await?
            else {
                continue;
            };
            if round.writes_nothing() {
                return Ok(tries.report(record, &found.folder, &round));
            }
            let written = self
                .write(record, &found, &round, &mut tries, tools)
                .await?;
            let settled = match &written {
                Written::Overtaken => continue,
                Written::Done => round.arrived(&[Side::Box, Side::Salesforce]),
                Written::Rejected(error) => {
                    tries.rejected(error, &round);
                    round.arrived(&[Side::Box])
                }
            };
            let (ledger, seen) = (tools.ledger, remembered.as_ref());
            let is_settled = settled.write(ledger, record, seen, now).await?.is_some();
            if is_settled && matches!(written, Written::Done) && !round.postpones {
                return Ok(tries.report(record, &found.folder, &round));
            }
        }
        Err(
            PortError::new(PortErrorKind::Busy, "keep both sides the same")
                .with_cause("they were changed by others each time")
                .into(),
        )
    }

    /// `None` where the record has no folder, or is gone itself.
    async fn look(
        &self,
        record: &Record,
        occasion: &Occasion<'_>,
        memory: &Memory,
        (tools, anew): (Tools<'_>, bool),
    ) -> Result<Option<Found>, StepError> {
        let found = self
            .folder(record, occasion.folder, memory, tools.ledger)
            .await?;
        let Some((folder, instance)) = found else {
            return Ok(None);
        };
        let read_at = Instant::now();
        let may_write = !occasion.is_preview;
        let mut shape = self.shapes(may_write, anew).await?;
        let mut state = self.read(record, &shape).await;
        if let Err(error) = &state
            && error.kind() == PortErrorKind::Refused
            && !shape.is_fresh()
        {
            // A field may have been deleted since.
            shape = self.shapes(may_write, true).await?;
            state = self.read(record, &shape).await;
        }
        match state {
            Err(error) if error.kind() == PortErrorKind::Gone => Ok(None),
            state => Ok(Some(Found {
                folder,
                instance,
                read_at,
                shape,
                state: state?,
            })),
        }
    }

    /// The record's values, as far as it has such fields: one that it lacks holds no other back.
    async fn read(&self, record: &Record, shape: &Known) -> Result<RecordState, PortError> {
        let has = |it: &&FieldPair| it.is_foreign() || shape.shape.field(&it.field).is_some();
        let pairs = self.map().pairs().iter().filter(has);
        let fields: Vec<_> = pairs.map(|it| it.field.as_str()).collect();
        self.records.read(record, &fields).await
    }

    /// `None` where the record was changed meanwhile, or has got a field that was not read.
    async fn plan(
        &self,
        record: &Record,
        occasion: &Occasion<'_>,
        found: &Found,
        memory: &Memory,
        tries: &Tries,
        (tools, now): (Tools<'_>, Timestamp),
    ) -> Result<Option<Round>, StepError> {
        let is_its = occasion.folder == Some(found.folder.as_str());
        let given = Given::read(tools.ledger, &record.id).await?;
        let plan = |shape: &Known, deal: Option<&Deal>| {
            let seen = Seen {
                map: self.map(),
                keys: &self.keys,
                shape: &shape.shape,
                record,
                folder: &found.folder,
                instance: &found.instance,
                state: &found.state,
                given: &given,
                deal,
                box_changed_at: occasion.box_changed_at.filter(|_| is_its),
                choice: occasion.choice.as_ref(),
                rejected: &tries.rejected,
                one_by_one: tries.one_by_one,
                now,
            };
            Round::plan(seen, memory)
        };
        let may_write = !occasion.is_preview;
        let mut shape = found.shape.clone();
        let mut round = plan(&shape, None);
        // What was read of the template after the folder tells whether a value that is not there
        // was taken away, or has gone along with its field.
        let is_in_doubt = round.takes_away && shape.at < found.read_at;
        if is_in_doubt || (round.has_refused && !shape.is_fresh()) {
            shape = self.shapes(may_write, true).await?;
            let is_new = |it: &FieldPair| {
                let has = shape.shape.field(&it.field).is_some();
                has && !found.state.fields.contains_key(&it.field)
            };
            if self.map().pairs().iter().any(is_new) {
                return Ok(None);
            }
            round = plan(&shape, None);
        }
        if round.needs_deal {
            let deal = tools.crm.deal(record).await?;
            let mut pairs = self.map().pairs().iter();
            let field = pairs.find(|it| is_stage(self.map().object(), &it.field));
            let stage = field.and_then(|it| found.state.text(&it.field));
            if stage.unwrap_or_default() != deal.stage {
                return Ok(None);
            }
            round = plan(&shape, Some(&deal));
        }
        Ok(Some(round))
    }

    async fn shapes(&self, may_write: bool, anew: bool) -> Result<Known, PortError> {
        let (metadata, records) = (&*self.metadata, &*self.records);
        let object = self.map().object();
        let template = (&*self.template, &*self.wanted());
        self.shapes
            .of(metadata, records, object, template, (may_write, anew))
            .await
    }

    async fn write(
        &self,
        record: &Record,
        found: &Found,
        round: &Round,
        tries: &mut Tries,
        tools: Tools<'_>,
    ) -> Result<Written, StepError> {
        if !round.to_box.is_empty() {
            held(tools)?;
            match self.metadata.change(&found.folder, &round.to_box).await {
                Ok(true) => tries.wrote(Side::Box, round),
                Ok(false) => return Ok(Written::Overtaken),
                // The template was taken off, or has lost a field.
                Err(error) if error.kind() == PortErrorKind::Gone => {
                    return Ok(Written::Overtaken);
                }
                Err(error) if error.kind() == PortErrorKind::Refused && !tries.anew => {
                    tries.anew = true;
                    return Ok(Written::Overtaken);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !round.to_salesforce.is_empty() {
            held(tools)?;
            let (fields, seen) = (&round.to_salesforce, found.state.changed_at);
            match self.records.write(record, fields, seen).await {
                Ok(true) => tries.wrote(Side::Salesforce, round),
                Ok(false) => return Ok(Written::Overtaken),
                Err(error) if error.kind() == PortErrorKind::Refused => {
                    return Ok(Written::Rejected(error));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Written::Done)
    }
}

impl Tries {
    fn wrote(&mut self, side: Side, round: &Round) {
        let sent = round.sent.iter().filter(|(to, _)| *to == side);
        for (_, pair) in sent {
            let report = round.reports.iter().find(|it| it.pair() == *pair);
            self.written
                .extend(report.map(|it| (pair.clone(), it.clone())));
        }
    }

    /// Which values it was: those of the fields that the refusal names, or the only one. Where that
    /// cannot be told, the next tries send one at a time.
    fn rejected(&mut self, error: &PortError, round: &Round) {
        let reason = error.detail().unwrap_or("Salesforce refuses it").to_owned();
        let sent = round.sent.iter().filter(|(to, _)| *to == Side::Salesforce);
        let sent: Vec<_> = sent.map(|(_, pair)| pair).collect();
        let is_named = |pair: &&&String| {
            let field = pair.split('/').next().unwrap_or_default();
            let mut named = error.fields().iter();
            named.any(|it| it.eq_ignore_ascii_case(field))
        };
        let mut guilty: Vec<_> = sent.iter().filter(is_named).collect();
        if guilty.is_empty() && sent.len() == 1 {
            guilty = sent.iter().collect();
        }
        self.one_by_one |= guilty.is_empty();
        let guilty = guilty.into_iter().map(|it| ((*it).clone(), reason.clone()));
        self.rejected.extend(guilty);
    }

    /// What this try has done, after what the earlier ones have.
    fn report(mut self, record: &Record, folder: &str, round: &Round) -> SyncReport {
        for report in &round.reports {
            self.written.remove(&report.pair());
        }
        let earlier = self.written.into_values();
        let all = earlier.chain(round.reports.iter().cloned()).collect();
        SyncReport::of(record, folder, all)
    }
}

/// Remembers what is about to be written; `None` where somebody else was faster.
async fn remember(
    record: &Record,
    memory: &Memory,
    was: &Memory,
    seen: Option<Value>,
    (tools, now): (Tools<'_>, Timestamp),
) -> Result<Option<Option<Value>>, StepError> {
    let ledger = tools.ledger;
    let remembered = if memory == was {
        seen
    } else {
        held(tools)?;
        // Whoever put them into the memory may not have come any further.
        let new: Vec<_> = memory.conflicts().map(|it| &it.id).collect();
        for former in was.conflicts().filter(|it| !new.contains(&&it.id)) {
            former.keep(ledger, now).await?;
        }
        match memory.write(ledger, record, seen.as_ref(), now).await? {
            None => return Ok(None),
            written => written,
        }
    };
    for conflict in memory.conflicts() {
        conflict.keep(ledger, now).await?;
    }
    Ok(Some(remembered))
}

fn held(tools: Tools<'_>) -> Result<(), StepError> {
    match tools.hold.is_good() {
        true => Ok(()),
        false => Err(StepError::LostHold),
    }
}

/// Our clock may be behind the CRM's, so that a record seems to be from the future.
fn at_rest(changed_at: Option<Timestamp>, now: Timestamp) -> Result<(), StepError> {
    let Some(changed_at) = changed_at else {
        return Ok(());
    };
    let latest = now.checked_add(MOST_SKEW).unwrap_or(Timestamp::MAX);
    match changed_at.checked_add(AT_REST_AFTER) {
        Ok(until) if now < until && changed_at <= latest => Err(StepError::Wait {
            reason: "the record was changed just now".to_owned(),
            until,
        }),
        _ => Ok(()),
    }
}

/// Whether a field is the stage of a deal, which only moves by its own rules.
pub(super) fn is_stage(object: &str, field: &str) -> bool {
    object == OPPORTUNITY && field.eq_ignore_ascii_case(STAGE)
}
