//! What one round does with one record: from what both sides show to what is written. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    action::Choice,
    conflict::{Conflict, Decider},
    datum::Form,
    field_map::{ConflictPolicy, Direction, FieldMap, FieldPair, Side},
    memory::{Known, Memory},
    merge::{Merged, Pair, Shown, merge},
    report::FieldReport,
    rounds::is_stage,
    shapes::Shape,
    write,
};
use crate::{
    action::{Given, Move, judge},
    crm::{Deal, Record},
    metadata::{Instance, TemplateField, ValueChange},
    records::{FieldShape, RecordState},
    resolve::MappingKeys,
};

/// What a round knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) map: &'a FieldMap,
    pub(super) keys: &'a MappingKeys,
    pub(super) shape: &'a Shape,
    pub(super) record: &'a Record,
    pub(super) folder: &'a str,
    pub(super) instance: &'a Instance,
    pub(super) state: &'a RecordState,
    /// What the folder was given from the record when it was provisioned.
    pub(super) given: &'a Given,
    /// Where the deal stands, once that was asked for.
    pub(super) deal: Option<&'a Deal>,
    /// When the folder's metadata has changed, if that started the round.
    pub(super) box_changed_at: Option<Timestamp>,
    pub(super) choice: Option<&'a Choice>,
    /// The pairs whose values the record's side has refused just now, and why.
    pub(super) rejected: &'a BTreeMap<String, String>,
    /// Whether the record gets no more than one value.
    pub(super) one_by_one: bool,
    pub(super) now: Timestamp,
}

/// What a round does.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// What is remembered before anything is written.
    pub(super) memory: Memory,
    /// What was, as far as it is about this folder's instance.
    before: Memory,
    pub(super) to_box: Vec<ValueChange>,
    pub(super) to_salesforce: Map<String, Value>,
    /// The pairs that are written, and to which side.
    pub(super) sent: Vec<(Side, String)>,
    pub(super) reports: Vec<FieldReport>,
    /// Whether something was refused that another shape of the sides might take.
    pub(super) has_refused: bool,
    /// Whether the record may lose a value because the folder has none: a key that is not there is as
    /// good as unticked, too.
    pub(super) takes_away: bool,
    /// Whether a stage is to be written, and nobody has looked where the deal stands.
    pub(super) needs_deal: bool,
    /// Whether something was left for the next round.
    pub(super) postpones: bool,
}

/// Why a value is not carried over.
enum Refusal {
    /// It does not fit.
    Value(String),
    /// The record's own rules say no.
    Guard(String),
    /// The record's side has said no.
    Rejected(String),
    /// None of the pair ever could be.
    Pair(String),
    /// Another value goes first.
    Later,
}

/// A value that goes over.
struct Parcel<'a> {
    to: Side,
    value: &'a Shown,
    in_box: Option<&'a Value>,
}

impl Round {
    pub(super) fn plan(seen: Seen<'_>, memory: &Memory) -> Self {
        let before = memory.of(seen.folder, seen.instance.id.as_deref());
        let mut round = Self {
            memory: before.clone(),
            before,
            ..Self::default()
        };
        for pair in seen.map.pairs() {
            let known = round.memory.pairs.remove(&pair.name()).unwrap_or_default();
            let planned = round.pair(seen, pair, known.clone());
            let (known, report) = planned
                .unwrap_or_else(|reason| (known, Some(FieldReport::unworkable(pair, reason))));
            round.reports.extend(report);
            if known != Known::default() {
                round.memory.pairs.insert(pair.name(), known);
            }
        }
        if !round.to_box.is_empty() {
            round.to_box.extend(seen.still_maps());
        }
        round
    }

    pub(super) fn writes_nothing(&self) -> bool {
        self.to_box.is_empty() && self.to_salesforce.is_empty()
    }

    /// What is remembered once what was sent to these sides has arrived, and the rest certainly has
    /// not.
    pub(super) fn arrived(&self, sides: &[Side]) -> Memory {
        let mut memory = self.memory.clone();
        for (side, pair) in &self.sent {
            if !sides.contains(side) {
                match self.before.pairs.get(pair) {
                    Some(known) => memory.pairs.insert(pair.clone(), known.clone()),
                    None => memory.pairs.remove(pair),
                };
            } else if let Some(known) = memory.pairs.get_mut(pair) {
                known.agree(known.agreed.clone());
            }
        }
        memory
    }

    fn pair(
        &mut self,
        seen: Seen<'_>,
        pair: &FieldPair,
        known: Known,
    ) -> Result<(Known, Option<FieldReport>), String> {
        let target = Target::of(seen, pair).inspect_err(|_| self.has_refused = true)?;
        let mut known = known.of_field(target.key.id.as_deref());
        let in_box = seen.instance.values.get(&pair.key);
        let in_salesforce = seen.state.fields.get(&pair.field);
        let content = target.form.read(in_box);
        let crm = target.form.read(in_salesforce);
        let instance = seen.instance.id.as_deref();
        let given = seen
            .given
            .of((seen.folder, instance), &pair.key, &pair.field);
        let mut given = given.map(|(value, it)| (target.form.read(Some(value)), it));
        if known.was_never_met()
            && let Some((value, _)) = given.find(|(value, certain)| *certain || *value == content)
        {
            (known.has_agreed, known.agreed) = (true, value);
        }
        let id = Conflict::id(
            seen.record,
            pair,
            known.turn,
            in_box.unwrap_or(&Value::Null),
            in_salesforce.unwrap_or(&Value::Null),
        );
        let choice = seen.choice.filter(|choice| choice.conflict == id);
        let (wins, by) = match (choice, known.conflict.as_ref()) {
            (Some(choice), _) => (Some(choice.keep), Decider::Person),
            // What was once decided stays decided, however late it is carried out.
            (_, Some(it)) if it.id == id && it.kept.is_some() => {
                (it.kept, it.by.unwrap_or(Decider::Policy))
            }
            _ => {
                let changed_at = known.shows_since(&crm, seen.state.changed_at);
                (seen.winner(changed_at), Decider::Policy)
            }
        };
        let both = Pair {
            agreed: known.agreed(),
            pending: known.pending.as_ref().map(|it| (it.to, &*it.may_show)),
            content: &content,
            crm: &crm,
            direction: pair.direction,
        };
        let merged = match choice {
            Some(choice) => both.decided(choice.keep),
            None => merge(both, wins),
        };
        let conflict = |kept: Option<Side>, refused: Option<String>| Conflict {
            id: id.clone(),
            record: seen.record.clone(),
            folder: seen.folder.to_owned(),
            field: pair.field.clone(),
            key: pair.key.clone(),
            in_box: in_box.cloned().unwrap_or_default(),
            in_salesforce: in_salesforce.cloned().unwrap_or_default(),
            at: seen.now,
            kept,
            by: kept.map(|_| match (pair.direction, by) {
                (Direction::Both, by) | (_, by @ Decider::Person) => by,
                _ => Decider::Direction,
            }),
            refused,
            is_over: false,
        };
        let (to, value, is_conflict, is_again) = match merged {
            Merged::Same => {
                known.agree(content);
                return Ok((known, None));
            }
            Merged::Stay => {
                known.saw(&crm, seen.state.changed_at);
                return Ok((known, Some(FieldReport::stays(pair, &content, &crm))));
            }
            Merged::Open => {
                known.saw(&crm, seen.state.changed_at);
                let conflict = conflict(None, None);
                let report = FieldReport::open(pair, &conflict, &content, &crm);
                known.clash(conflict);
                return Ok((known, Some(report)));
            }
            Merged::Again { to } => (to, known.agreed.clone(), false, true),
            Merged::Carry { to, is_conflict } => match to {
                Side::Box => (to, crm.clone(), is_conflict, false),
                Side::Salesforce => (to, content.clone(), is_conflict, false),
            },
        };
        let parcel = Parcel {
            to,
            value: &value,
            in_box,
        };
        let (reason, is_rejected) = match self.carry(seen, &target, pair, &parcel) {
            Ok(()) => {
                let mut told = None;
                if is_conflict {
                    let conflict = conflict(Some(to.other()), None);
                    told = Some(conflict.id.clone());
                    known.clash(conflict);
                } else if !is_again {
                    known.conflict = None;
                }
                let report = FieldReport::carries(pair, to, &content, &crm, told);
                known.send(to, value, if to == Side::Box { content } else { crm });
                return Ok((known, Some(report)));
            }
            Err(Refusal::Later) => {
                self.postpones = true;
                return Ok((known, None));
            }
            Err(Refusal::Pair(reason)) => return Err(reason),
            Err(Refusal::Value(reason)) => {
                self.has_refused = true;
                (reason, false)
            }
            Err(Refusal::Guard(reason)) => (reason, false),
            Err(Refusal::Rejected(reason)) => (reason, true),
        };
        known.saw(&crm, seen.state.changed_at);
        let conflict = conflict(None, Some(reason));
        let report = FieldReport::refused(pair, &conflict, is_rejected, &content, &crm);
        known.clash(conflict);
        Ok((known, Some(report)))
    }

    fn carry(
        &mut self,
        seen: Seen<'_>,
        target: &Target<'_>,
        pair: &FieldPair,
        parcel: &Parcel<'_>,
    ) -> Result<(), Refusal> {
        let value = parcel.value.as_ref();
        match parcel.to {
            Side::Box => {
                let value = write::for_box(value, target.key).map_err(Refusal::Value)?;
                self.to_box.push(ValueChange {
                    key: pair.key.clone(),
                    seen: parcel.in_box.cloned(),
                    to: value,
                });
            }
            Side::Salesforce => {
                let field = target.field().map_err(Refusal::Pair)?;
                let written = write::for_salesforce(value, field).map_err(Refusal::Value)?;
                if is_stage(seen.map.object(), &pair.field) {
                    self.judge(seen, &written)?;
                }
                if let Some(reason) = seen.rejected.get(&pair.name()) {
                    return Err(Refusal::Rejected(reason.clone()));
                }
                if seen.one_by_one && !self.to_salesforce.is_empty() {
                    return Err(Refusal::Later);
                }
                self.takes_away |= value.is_none() || parcel.in_box.is_none();
                self.to_salesforce.insert(pair.field.clone(), written);
            }
        }
        self.sent.push((parcel.to, pair.name()));
        Ok(())
    }

    /// A stage never moves backward and never leaves a closed one, whoever asks for it.
    fn judge(&mut self, seen: Seen<'_>, stage: &Value) -> Result<(), Refusal> {
        let Some(deal) = seen.deal else {
            self.needs_deal = true;
            return Ok(());
        };
        match judge(deal, stage.as_str().unwrap_or_default()) {
            Move::Write => Ok(()),
            Move::Leave(why) | Move::Impossible(why) => Err(Refusal::Guard(why)),
        }
    }
}

impl Seen<'_> {
    /// What stays as it is, and has to be so still: a folder may be mapped to another record by now.
    fn still_maps(&self) -> Option<ValueChange> {
        let key = self.map.mapping_key(self.keys);
        let seen = self.instance.values.get(key).cloned();
        seen.is_some().then(|| ValueChange {
            key: key.to_owned(),
            to: seen.clone(),
            seen,
        })
    }

    /// `changed_at` is since when the record is known to show its value.
    fn winner(&self, changed_at: Option<Timestamp>) -> Option<Side> {
        match self.map.policy() {
            ConflictPolicy::BoxWins => Some(Side::Box),
            ConflictPolicy::SalesforceWins => Some(Side::Salesforce),
            ConflictPolicy::Ask => None,
            ConflictPolicy::Newest => {
                let (content, crm) = (self.box_changed_at?, changed_at?);
                // The record's time has whole seconds.
                let is_later = content.as_second() > crm.as_second();
                Some(if is_later {
                    Side::Box
                } else {
                    Side::Salesforce
                })
            }
        }
    }
}

/// What both ends of a pair are.
struct Target<'a> {
    form: Form,
    key: &'a TemplateField,
    field: Option<&'a FieldShape>,
}

impl<'a> Target<'a> {
    fn of(seen: Seen<'a>, pair: &FieldPair) -> Result<Self, String> {
        if [&seen.keys.account, &seen.keys.opportunity].contains(&&pair.key) {
            return Err("the key holds the record's id, so nothing else can be kept in it".into());
        }
        let shape = seen.shape;
        let key = shape.key(&pair.key).ok_or_else(|| {
            let missing = format!("the template has no field {}", pair.key);
            match &shape.lacks {
                Some(why) => format!("{missing} ({why})"),
                None => missing,
            }
        })?;
        if key.kind != pair.kind {
            return Err(format!(
                "the template's field {} is of type {}, and not {}",
                pair.key, key.kind, pair.kind
            ));
        }
        let unseen = || format!("the record has no field {} for us", pair.field);
        if pair.is_foreign() {
            return Ok(Self {
                form: Form::of_kind(pair.kind),
                key,
                field: None,
            });
        }
        let field = shape.field(&pair.field).ok_or_else(unseen)?;
        if !seen.state.fields.contains_key(&pair.field) {
            return Err(unseen());
        }
        let form = Form::of(pair.kind, &field.kind)
            .ok_or_else(|| format!("{} and {} do not go together", pair.kind, field.kind))?;
        if pair.direction == Direction::ToSalesforce && !field.is_writable {
            return Err(format!("we may not write the field {}", pair.field));
        }
        Ok(Self {
            form,
            key,
            field: Some(field),
        })
    }

    fn field(&self) -> Result<&'a FieldShape, String> {
        self.field
            .ok_or_else(|| "the field belongs to another record".to_owned())
    }
}
