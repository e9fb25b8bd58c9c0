//! What one round does with one record: from what both sides show to what is written. Pure.

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
    shapes::Shape,
    write,
};
use crate::{
    crm::Record,
    metadata::{Instance, TemplateField, ValueChange},
    records::{FieldShape, RecordState},
};

/// What a round knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) map: &'a FieldMap,
    pub(super) shape: &'a Shape,
    pub(super) record: &'a Record,
    pub(super) folder: &'a str,
    pub(super) instance: &'a Instance,
    pub(super) state: &'a RecordState,
    /// When the folder's metadata has changed, if that started the round.
    pub(super) box_changed_at: Option<Timestamp>,
    pub(super) choice: Option<&'a Choice>,
    pub(super) now: Timestamp,
}

/// What a round does.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// What is remembered before anything is written.
    pub(super) memory: Memory,
    pub(super) to_box: Vec<ValueChange>,
    pub(super) to_salesforce: Map<String, Value>,
    /// The pairs that are written.
    pub(super) sent: Vec<String>,
    pub(super) reports: Vec<FieldReport>,
    pub(super) has_refused: bool,
}

impl Round {
    pub(super) fn plan(seen: Seen<'_>, memory: &Memory) -> Self {
        let mut round = Self {
            memory: memory.clone(),
            ..Self::default()
        };
        round.memory.folder = Some(seen.folder.to_owned());
        for pair in seen.map.pairs() {
            let known = round.memory.pairs.remove(&pair.name()).unwrap_or_default();
            let planned = round.pair(seen, pair, known.clone());
            let (known, report) = match planned {
                Ok(planned) => planned,
                Err(reason) => {
                    round.has_refused = true;
                    (
                        known,
                        Some(FieldReport::refused(pair, reason, &None, &None)),
                    )
                }
            };
            round.reports.extend(report);
            if known != Known::default() {
                round.memory.pairs.insert(pair.name(), known);
            }
        }
        round
    }

    pub(super) fn writes_nothing(&self) -> bool {
        self.to_box.is_empty() && self.to_salesforce.is_empty()
    }

    fn pair(
        &mut self,
        seen: Seen<'_>,
        pair: &FieldPair,
        mut known: Known,
    ) -> Result<(Known, Option<FieldReport>), String> {
        let target = Target::of(seen.shape, pair)?;
        let in_box = seen.instance.values.get(&pair.key);
        let in_salesforce = seen.state.fields.get(&pair.field);
        let content = target.form.read(in_box);
        let crm = target.form.read(in_salesforce);
        let id = Conflict::id(
            seen.record,
            pair,
            known.turn,
            in_box.unwrap_or(&Value::Null),
            in_salesforce.unwrap_or(&Value::Null),
        );
        let (wins, by) = match seen.choice {
            Some(choice) if choice.conflict == id => (Some(choice.keep), Decider::Person),
            _ => match known.conflict.as_ref() {
                // What was once decided stays decided, however late it is carried out.
                Some(it) if it.id == id && it.kept.is_some() => {
                    (it.kept, it.by.unwrap_or(Decider::Policy))
                }
                _ => (seen.winner(), Decider::Policy),
            },
        };
        let merged = merge(
            Pair {
                agreed: known.agreed(),
                pending: known.pending.as_ref().map(|it| (it.to, &*it.may_show)),
                content: &content,
                crm: &crm,
                direction: pair.direction,
            },
            wins,
        );
        let conflict = |kept: Option<Side>| Conflict {
            id: id.clone(),
            record: seen.record.clone(),
            folder: seen.folder.to_owned(),
            field: pair.field.clone(),
            key: pair.key.clone(),
            in_box: in_box.cloned().unwrap_or_default(),
            in_salesforce: in_salesforce.cloned().unwrap_or_default(),
            at: seen.now,
            kept,
            by: kept.map(|_| match pair.direction {
                Direction::Both => by,
                _ => Decider::Direction,
            }),
            is_over: false,
        };
        match merged {
            Merged::Same => {
                known.agree(content);
                Ok((known, None))
            }
            Merged::Stay => Ok((known, Some(FieldReport::stays(pair, &content, &crm)))),
            Merged::Open => {
                let conflict = conflict(None);
                let report = FieldReport::open(pair, &conflict, &content, &crm);
                known.clash(conflict);
                Ok((known, Some(report)))
            }
            Merged::Again { to } => {
                let value = known.agreed.clone();
                let report = FieldReport::carries(pair, to, &content, &crm, None);
                self.carry(&target, pair, to, &value, in_box)?;
                let shows = if to == Side::Box { content } else { crm };
                known.send(to, value, shows);
                Ok((known, Some(report)))
            }
            Merged::Carry { to, is_conflict } => {
                let (value, shows) = match to {
                    Side::Box => (crm.clone(), content.clone()),
                    Side::Salesforce => (content.clone(), crm.clone()),
                };
                if let Err(reason) = self.carry(&target, pair, to, &value, in_box) {
                    if is_conflict {
                        known.clash(conflict(None));
                    }
                    self.has_refused = true;
                    let report = FieldReport::refused(pair, reason, &content, &crm);
                    return Ok((known, Some(report)));
                }
                let mut told = None;
                if is_conflict {
                    let conflict = conflict(Some(to.other()));
                    told = Some(conflict.id.clone());
                    known.clash(conflict);
                } else {
                    known.conflict = None;
                }
                let report = FieldReport::carries(pair, to, &content, &crm, told);
                known.send(to, value, shows);
                Ok((known, Some(report)))
            }
        }
    }

    fn carry(
        &mut self,
        target: &Target<'_>,
        pair: &FieldPair,
        to: Side,
        value: &Shown,
        in_box: Option<&Value>,
    ) -> Result<(), String> {
        match to {
            Side::Box => {
                let value = write::for_box(value.as_ref(), target.key)?;
                let seen = in_box.cloned();
                self.to_box.push(ValueChange {
                    key: pair.key.clone(),
                    seen,
                    to: value,
                });
            }
            Side::Salesforce => {
                let value = write::for_salesforce(value.as_ref(), target.field()?)?;
                self.to_salesforce.insert(pair.field.clone(), value);
            }
        }
        self.sent.push(pair.name());
        Ok(())
    }
}

impl Seen<'_> {
    fn winner(&self) -> Option<Side> {
        match self.map.policy() {
            ConflictPolicy::BoxWins => Some(Side::Box),
            ConflictPolicy::SalesforceWins => Some(Side::Salesforce),
            ConflictPolicy::Ask => None,
            ConflictPolicy::Newest => {
                let (content, crm) = (self.box_changed_at?, self.state.changed_at?);
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
    fn of(shape: &'a Shape, pair: &FieldPair) -> Result<Self, String> {
        let key = shape
            .key(&pair.key)
            .ok_or_else(|| format!("the template has no field {}", pair.key))?;
        if key.kind != pair.kind {
            let (is, expected) = (key.kind, pair.kind);
            return Err(format!(
                "the template's field {} is a {is:?}, and not a {expected:?}",
                pair.key
            ));
        }
        if pair.is_foreign() {
            return Ok(Self {
                form: Form::of_kind(pair.kind),
                key,
                field: None,
            });
        }
        let field = shape
            .field(&pair.field)
            .ok_or_else(|| format!("the record has no field {} for us", pair.field))?;
        let form = Form::of(pair.kind, &field.kind)
            .ok_or_else(|| format!("a {:?} and a {} do not go together", pair.kind, field.kind))?;
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
