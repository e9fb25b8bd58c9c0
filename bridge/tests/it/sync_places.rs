//! What was agreed on belongs to one instance on one folder: folders, instances and fields of the
//! template that are deleted and made again, and people at both sides all the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bridge::{
    Action, Clock, Metadata, PortError, PortErrorKind, Records, StepError, SyncMetadata,
    content::Content,
    crm::{Activity, Crm, Deal, NewFile, Origin, Record, Stage, StoredVersion},
    metadata::{Claimed, Instance, TemplateField, ValueChange, ValueKind},
    records::{Changed, Contact, FieldShape, RecordState, RecordTimes},
    store::memory::MemoryStore,
    sync::{
        Conflict, ConflictPolicy, Direction, FieldMap, FieldOutcome, FieldPair, Side, SyncReport,
        conflicts,
    },
};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const STAGES: [&str; 3] = ["New", "Review", "Won"];
const DEAL: &str = "opp";

fn pairs() -> [FieldPair; 5] {
    [
        FieldPair::new("NextStep", "step", ValueKind::String),
        FieldPair::new("StageName", "stage", ValueKind::Enum),
        FieldPair::new("IsPrivate", "private", ValueKind::String),
        FieldPair::new("CloseDate", "close", ValueKind::Date),
        FieldPair::new("Regions__c", "regions", ValueKind::MultiSelect),
    ]
}

/// A value in the words of each side.
fn value(pair: &FieldPair, number: u8) -> (Value, Value) {
    let day = format!("2030-01-1{}", number % 3);
    let regions = [vec!["EU"], vec!["EU", "US"], vec!["US"]][usize::from(number % 3)].clone();
    match pair.key.as_str() {
        "stage" => {
            let stage = STAGES[usize::from(number % 3)];
            (stage.into(), stage.into())
        }
        "private" => (
            number.is_multiple_of(2).to_string().into(),
            number.is_multiple_of(2).into(),
        ),
        "close" => (format!("{day}T00:00:00.000Z").into(), day.into()),
        "regions" => (json!(regions), regions.join(";").into()),
        _ => (format!("{number}").into(), format!("{number}").into()),
    }
}

#[derive(Debug, Default)]
struct World {
    /// With the instance, if the template is applied.
    folders: BTreeMap<String, Option<Instance>>,
    template: Vec<TemplateField>,
    record: Map<String, Value>,
    made: u64,
    time: i64,
    changed_at: i64,
    writes: usize,
    /// How the next write ends.
    fault: Option<PortErrorKind>,
    /// Fields that a validation rule refuses, and whether it names them.
    refuses: Option<(&'static str, bool)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Sides(Arc<Mutex<World>>);

impl Sides {
    pub(crate) fn new() -> Self {
        let mut record = Map::new();
        for pair in pairs() {
            record.insert(pair.field, Value::Null);
        }
        record.insert("StageName".into(), "New".into());
        record.insert("IsPrivate".into(), false.into());
        let world = World {
            record,
            time: 1_000_000,
            changed_at: 1_000_000,
            ..World::default()
        };
        Self(Arc::new(Mutex::new(world)))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// A folder for the record, as provisioning makes it.
    fn make(&self) {
        let mut world = self.world();
        world.time += 10;
        world.made += 1;
        let folder = format!("folder{}", world.made);
        world.folders.insert(folder.clone(), None);
        world.apply(&folder);
    }

    fn delete_folder(&self) {
        self.world().folders.clear();
    }

    /// Takes the template off, and applies it again.
    fn apply_anew(&self) {
        let mut world = self.world();
        let folders: Vec<_> = world.folders.keys().cloned().collect();
        folders.iter().for_each(|folder| world.apply(folder));
    }

    fn delete_field(&self, key: &str) {
        let mut world = self.world();
        world.template.retain(|field| field.key != key);
        world.instances().for_each(|values| {
            values.remove(key);
        });
    }

    fn in_box(&self, key: &str, value: Option<Value>) {
        let mut world = self.world();
        world.time += 10;
        let has = world.template.iter().any(|field| field.key == key);
        world.instances().for_each(|values| {
            match &value {
                Some(value) if has => values.insert(key.to_owned(), value.clone()),
                _ => values.remove(key),
            };
        });
    }

    fn in_salesforce(&self, field: &str, value: Value) {
        let mut world = self.world();
        world.time += 10;
        world.changed_at = world.time;
        world.record.insert(field.to_owned(), value);
    }

    fn field(&self, field: &str) -> Value {
        self.world().record[field].clone()
    }

    fn key(&self, key: &str) -> Option<Value> {
        self.world().instances().next()?.get(key).cloned()
    }

    fn keeper(&self, policy: ConflictPolicy) -> SyncMetadata {
        let map = FieldMap::new("Opportunity", pairs()).unwrap();
        self.keeper_of(map.on_conflict(policy))
    }

    fn keeper_of(&self, map: FieldMap) -> SyncMetadata {
        SyncMetadata::new(Arc::new(self.clone()), Arc::new(self.clone()), map)
    }

    async fn sync(
        &self,
        keeper: &SyncMetadata,
        store: &MemoryStore,
    ) -> Result<SyncReport, StepError> {
        keeper.sync(&record(), self, store, self).await
    }
}

impl World {
    fn apply(&mut self, folder: &str) {
        self.made += 1;
        let values = Map::from_iter([("opportunity_id".to_owned(), DEAL.into())]);
        let instance = Instance::new(values, None).with_id(Some(format!("i{}", self.made)));
        self.folders.insert(folder.to_owned(), Some(instance));
    }

    fn instances(&mut self) -> impl Iterator<Item = &mut Map<String, Value>> {
        let instances = self.folders.values_mut().flatten();
        instances.map(|instance| &mut instance.values)
    }

    /// Before a write, and after it.
    fn ends(&mut self, has_happened: bool) -> Result<(), PortError> {
        match self.fault {
            Some(kind) if (kind == PortErrorKind::Unknown) == has_happened => {
                self.fault = None;
                Err(PortError::new(kind, "write"))
            }
            _ => Ok(()),
        }
    }
}

impl Clock for Sides {
    fn now(&self) -> Timestamp {
        let mut world = self.world();
        world.time += 10;
        Timestamp::from_second(world.time).unwrap()
    }
}

#[async_trait]
impl Metadata for Sides {
    async fn read(&self, folder: &str) -> Result<Option<Instance>, PortError> {
        let world = self.world();
        let instance = world.folders.get(folder).cloned();
        instance.ok_or_else(|| PortError::new(PortErrorKind::Gone, "read"))
    }

    async fn set(&self, _: &str, _: &Map<String, Value>) -> Result<(), PortError> {
        Err(PortError::new(PortErrorKind::Refused, "set"))
    }

    async fn claim(&self, _: &str, _: &Map<String, Value>) -> Result<Claimed, PortError> {
        Err(PortError::new(PortErrorKind::Refused, "claim"))
    }

    async fn change(&self, folder: &str, changes: &[ValueChange]) -> Result<bool, PortError> {
        let mut world = self.world();
        world.ends(false)?;
        let takes: BTreeSet<_> = world.template.iter().map(|it| it.key.clone()).collect();
        let instance = world.folders.get_mut(folder).and_then(Option::as_mut);
        let Some(instance) = instance else {
            return Err(PortError::new(PortErrorKind::Gone, "change"));
        };
        for change in changes {
            if change.seen != change.to && !takes.contains(&change.key) {
                return Err(PortError::new(PortErrorKind::Refused, "change"));
            }
            if instance.values.get(&change.key) != change.seen.as_ref() {
                return Ok(false);
            }
        }
        for change in changes {
            match change.to.clone() {
                Some(to) => instance.values.insert(change.key.clone(), to),
                None => instance.values.remove(&change.key),
            };
        }
        world.writes += 1;
        world.ends(true)?;
        Ok(true)
    }

    async fn ensure_template(&self, fields: &[TemplateField]) -> Result<(), PortError> {
        let mut world = self.world();
        for field in fields {
            if world.template.iter().all(|it| it.key != field.key) {
                world.made += 1;
                let id = format!("f{}", world.made);
                world.template.push(field.clone().with_id(Some(id)));
            }
        }
        Ok(())
    }

    async fn shape(&self) -> Result<Vec<TemplateField>, PortError> {
        Ok(self.world().template.clone())
    }

    async fn find(&self, _: &str, _: &str, text: &str) -> Result<Vec<String>, PortError> {
        let world = self.world();
        let is_it = |instance: &Instance| instance.values["opportunity_id"] == text;
        let folders = world.folders.iter();
        let found = folders.filter(|(_, it)| it.as_ref().is_some_and(is_it));
        Ok(found.map(|(folder, _)| folder.clone()).collect())
    }
}

#[async_trait]
impl Records for Sides {
    async fn read(&self, _: &Record, fields: &[&str]) -> Result<RecordState, PortError> {
        let world = self.world();
        let fields = fields
            .iter()
            .map(|it| ((*it).to_owned(), world.record[*it].clone()));
        let at = Timestamp::from_second(world.changed_at).unwrap();
        Ok(RecordState::new(fields.collect(), Some(at)))
    }

    async fn write(
        &self,
        _: &Record,
        fields: &Map<String, Value>,
        seen: Option<Timestamp>,
    ) -> Result<bool, PortError> {
        let mut world = self.world();
        world.ends(false)?;
        if world.changed_at > seen.unwrap().as_second() {
            return Ok(false);
        }
        if let Some((field, is_named)) = world.refuses
            && fields.contains_key(field)
        {
            let named = is_named.then(|| field.to_owned()).into_iter().collect();
            return Err(PortError::new(PortErrorKind::Refused, "write")
                .with_detail(Some("not on a Friday".into()))
                .with_fields(named));
        }
        world.time += 10;
        world.changed_at = world.time;
        world.record.extend(fields.clone());
        world.writes += 1;
        world.ends(true)?;
        Ok(true)
    }

    async fn shape(&self, _: &str) -> Result<Vec<FieldShape>, PortError> {
        let field = |name: &str, kind: &str, choices: &[&str]| FieldShape {
            name: name.into(),
            kind: kind.into(),
            longest: 80,
            digits: None,
            is_writable: true,
            is_nillable: !["StageName", "IsPrivate"].contains(&name),
            choices: choices.iter().map(|it| (*it).to_owned()).collect(),
            only_choices: true,
        };
        Ok(vec![
            field("NextStep", "string", &[]),
            field("StageName", "picklist", &STAGES),
            field("IsPrivate", "boolean", &[]),
            field("CloseDate", "date", &[]),
            field("Regions__c", "multipicklist", &["EU", "US"]),
        ])
    }

    async fn contacts(&self, _: &str, _: Option<&Record>) -> Result<Vec<Contact>, PortError> {
        Ok(Vec::new())
    }

    async fn changed(&self, _: &str, since: Timestamp) -> Result<Changed, PortError> {
        Ok(Changed {
            records: Vec::new(),
            deleted: Vec::new(),
            covered_until: since,
        })
    }

    async fn times(&self, _: &Record) -> Result<Option<RecordTimes>, PortError> {
        Ok(None)
    }
}

/// Only where a deal stands is ever asked of this side.
#[async_trait]
impl Crm for Sides {
    fn record(&self, _: &str) -> Result<Record, PortError> {
        Err(PortError::new(PortErrorKind::Refused, "record"))
    }

    async fn upload(&self, _: &NewFile, _: Content) -> Result<String, PortError> {
        Err(PortError::new(PortErrorKind::Refused, "upload"))
    }

    async fn stored(&self, _: &str) -> Result<StoredVersion, PortError> {
        Err(PortError::new(PortErrorKind::Refused, "stored"))
    }

    async fn find(
        &self,
        _: &Origin,
        _: &Record,
        _: Option<&str>,
    ) -> Result<Vec<StoredVersion>, PortError> {
        Err(PortError::new(PortErrorKind::Refused, "find"))
    }

    async fn link(&self, _: &str, _: &Record) -> Result<(), PortError> {
        Err(PortError::new(PortErrorKind::Refused, "link"))
    }

    async fn log_activity(&self, _: &Activity) -> Result<String, PortError> {
        Err(PortError::new(PortErrorKind::Refused, "log"))
    }

    async fn find_activity(&self, _: &Activity) -> Result<Option<String>, PortError> {
        Err(PortError::new(PortErrorKind::Refused, "find"))
    }

    async fn deal(&self, _: &Record) -> Result<Deal, PortError> {
        let stage = |name: &&str| Stage {
            name: (*name).into(),
            is_closed: *name == "Won",
        };
        let current = self.field("StageName");
        Ok(Deal {
            is_closed: current == "Won",
            stage: current.as_str().unwrap().into(),
            changed_at: None,
            stages: STAGES.iter().map(stage).collect(),
        })
    }

    async fn set_stage(&self, _: &Record, _: &str, _: &Deal) -> Result<bool, PortError> {
        Err(PortError::new(PortErrorKind::Refused, "stage"))
    }
}

fn record() -> Record {
    Record {
        id: DEAL.into(),
        object: Some("Opportunity".into()),
    }
}

fn outcome<'r>(report: &'r SyncReport, key: &str) -> &'r FieldOutcome {
    &report
        .fields
        .iter()
        .find(|it| it.key == key)
        .unwrap()
        .outcome
}

async fn open(store: &MemoryStore) -> Vec<Conflict> {
    let mut all = conflicts(store).await.unwrap();
    all.retain(Conflict::is_open);
    all
}

/// A record with a value in each field, kept the same as its folder.
async fn agreed(policy: ConflictPolicy) -> (Sides, MemoryStore, SyncMetadata) {
    let (sides, store) = (Sides::new(), MemoryStore::new());
    let keeper = sides.keeper(policy);
    sides.make();
    for pair in pairs().iter().filter(|it| it.key != "stage") {
        sides.in_salesforce(&pair.field, value(pair, 2).1);
    }
    sides.sync(&keeper, &store).await.unwrap();
    for pair in pairs().iter().filter(|it| it.key != "stage") {
        assert_eq!(sides.key(&pair.key), Some(value(pair, 2).0), "{}", pair.key);
    }
    (sides, store, keeper)
}

#[tokio::test]
async fn another_folder_or_instance_or_field_gets_the_records_values_and_takes_none() {
    type Replace = fn(&Sides);
    let replace: [(&str, Replace); 3] = [
        ("folder", |sides| {
            sides.delete_folder();
            sides.make();
        }),
        ("instance", Sides::apply_anew),
        ("field", |sides| {
            pairs().iter().for_each(|it| sides.delete_field(&it.key));
        }),
    ];
    for (what, replace) in replace {
        for policy in [ConflictPolicy::BoxWins, ConflictPolicy::Newest] {
            let (sides, store, keeper) = agreed(policy).await;
            let before = sides.world().record.clone();
            replace(&sides);
            sides.sync(&keeper, &store).await.unwrap();
            assert_eq!(sides.world().record, before, "{what}");
            for pair in pairs().iter().filter(|it| it.key != "stage") {
                let shown = sides.key(&pair.key);
                assert_eq!(shown, Some(value(pair, 2).0), "{what}: {}", pair.key);
            }
            assert_eq!(conflicts(&store).await.unwrap(), [], "{what}");
        }
    }
}

#[tokio::test]
async fn what_somebody_takes_away_from_the_same_instance_still_goes_over() {
    let (sides, store, keeper) = agreed(ConflictPolicy::Ask).await;
    sides.in_box("step", None);
    sides.in_box("private", None);
    sides.in_salesforce("CloseDate", Value::Null);
    sides.sync(&keeper, &store).await.unwrap();
    assert_eq!(sides.field("NextStep"), Value::Null);
    assert_eq!(sides.field("IsPrivate"), false);
    assert_eq!(sides.key("close"), None);
}

#[tokio::test]
async fn a_folder_without_a_value_unticks_no_checkbox_at_first() {
    for policy in [
        ConflictPolicy::BoxWins,
        ConflictPolicy::Newest,
        ConflictPolicy::Ask,
    ] {
        let (sides, store) = (Sides::new(), MemoryStore::new());
        let keeper = sides.keeper(policy);
        sides.in_salesforce("IsPrivate", true.into());
        sides.make();
        // The first answer is lost, and the next round finds the folder as it was.
        sides.world().fault = Some(PortErrorKind::Busy);
        sides.sync(&keeper, &store).await.unwrap_err();
        sides.sync(&keeper, &store).await.unwrap();
        assert_eq!(sides.field("IsPrivate"), true);
        assert_eq!(sides.key("private"), Some("true".into()));
        assert_eq!(conflicts(&store).await.unwrap(), []);
        // An unticked one and none are the same.
        let (sides, store) = (Sides::new(), MemoryStore::new());
        sides.make();
        let report = sides.sync(&sides.keeper(policy), &store).await.unwrap();
        assert!(
            report.fields.iter().all(|it| it.key != "private"),
            "{report}"
        );
    }
}

#[tokio::test]
async fn a_stage_that_may_not_be_is_refused_and_listed_and_a_person_decides() {
    let (sides, store, keeper) = agreed(ConflictPolicy::BoxWins).await;
    sides.in_box("stage", Some("Won".into()));
    sides.sync(&keeper, &store).await.unwrap();
    assert_eq!(sides.field("StageName"), "Won", "forward it goes");

    sides.in_box("stage", Some("New".into()));
    sides.in_box("step", Some("call".into()));
    let report = sides.sync(&keeper, &store).await.unwrap();
    let FieldOutcome::Refused(reason) = outcome(&report, "stage") else {
        panic!("{report}");
    };
    assert!(reason.contains("the deal is closed"), "{reason}");
    assert_eq!(sides.field("StageName"), "Won");
    assert_eq!(sides.field("NextStep"), "call", "the rest goes over");

    let listed = open(&store).await.remove(0);
    assert_eq!(
        (&listed.in_box, &listed.in_salesforce),
        (&json!("New"), &json!("Won"))
    );
    assert_eq!(listed.refused.as_ref(), Some(reason));
    // Whoever decides for the folder's value is told the same.
    let again = keeper.resolve(&listed, Side::Box, &sides, &store, &sides);
    let again = again.await.unwrap();
    assert!(matches!(outcome(&again, "stage"), FieldOutcome::Refused(_)));
    assert_eq!(sides.field("StageName"), "Won");
    let back = keeper.resolve(&listed, Side::Salesforce, &sides, &store, &sides);
    back.await.unwrap();
    assert_eq!(sides.key("stage"), Some("Won".into()));
    assert_eq!(open(&store).await, []);
}

#[tokio::test]
async fn one_value_that_the_record_refuses_holds_no_other_back() {
    for is_named in [true, false] {
        let (sides, store, keeper) = agreed(ConflictPolicy::Ask).await;
        sides.world().refuses = Some(("CloseDate", is_named));
        sides.in_box("step", Some("call".into()));
        sides.in_box("close", Some("2031-01-01T00:00:00.000Z".into()));
        sides.in_box("regions", Some(json!(["US"])));
        sides.in_salesforce("IsPrivate", false.into());
        let report = sides.sync(&keeper, &store).await.unwrap();
        let rejected = FieldOutcome::Rejected("not on a Friday".into());
        assert_eq!(outcome(&report, "close"), &rejected, "{report}");
        assert!(report.needs_a_person());
        assert_eq!(sides.field("NextStep"), "call");
        assert_eq!(sides.field("Regions__c"), "US");
        assert_eq!(sides.field("CloseDate"), "2030-01-12");
        assert_eq!(sides.key("private"), Some("false".into()));
        assert_eq!(open(&store).await.len(), 1);
        // Once somebody has put it right, it goes over.
        sides.world().refuses = None;
        let report = sides.sync(&keeper, &store).await.unwrap();
        assert!(!report.needs_a_person(), "{report}");
        assert_eq!(sides.field("CloseDate"), "2031-01-01");
        assert_eq!(open(&store).await, []);
    }
}

#[tokio::test]
async fn a_pair_that_cannot_be_kept_the_same_is_told_and_the_rest_goes_on() {
    let (sides, store) = (Sides::new(), MemoryStore::new());
    sides.make();
    sides.in_salesforce("NextStep", "call".into());
    let of_another_type = TemplateField::new("close", ValueKind::Float);
    sides.world().template.push(of_another_type);
    let mut all = pairs().to_vec();
    all.push(
        FieldPair::new("Nothing__c", "nothing", ValueKind::String).direction(Direction::ToBox),
    );
    let text = ValueKind::String;
    all.push(FieldPair::new("Account.Id", "opportunity_id", text).direction(Direction::ToBox));
    let world = || sides.world();
    for field in ["Nothing__c", "Account.Id"] {
        world().record.insert(field.into(), "other".into());
    }
    let keeper = sides.keeper_of(FieldMap::new("Opportunity", all).unwrap());
    let report = sides.sync(&keeper, &store).await.unwrap();
    assert!(report.needs_a_person());
    for (key, part) in [
        ("close", "of type float, and not date"),
        ("nothing", "no field Nothing__c"),
        ("opportunity_id", "holds the record's id"),
    ] {
        let FieldOutcome::Unworkable(reason) = outcome(&report, key) else {
            panic!("{report}");
        };
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(sides.key("opportunity_id"), Some(DEAL.into()));
    assert_eq!(sides.key("step"), Some("call".into()));
}

#[tokio::test]
async fn a_preview_thinks_of_the_template_as_it_would_be_and_makes_nothing() {
    let (sides, store) = (Sides::new(), MemoryStore::new());
    let keeper = sides.keeper(ConflictPolicy::Ask);
    sides.make();
    sides.in_salesforce("NextStep", "call".into());
    let report = keeper.preview(&record(), &sides, &store, &sides).await;
    let report = report.unwrap();
    assert_eq!(outcome(&report, "step"), &FieldOutcome::Written(Side::Box));
    assert_eq!(sides.world().template, []);
    assert_eq!(sides.world().writes, 0);
    let done = sides.sync(&keeper, &store).await.unwrap();
    assert_eq!(done.to_string(), report.to_string());
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    InBox(usize, u8),
    InSalesforce(usize, u8),
    TakeFromBox(usize),
    TakeFromSalesforce(usize),
    DeleteFolder,
    Make,
    ApplyAnew,
    DeleteField(usize),
    Round,
    RoundThatFails(PortErrorKind),
}

fn deed() -> impl Strategy<Value = Deed> {
    let pair = 0..pairs().len();
    prop_oneof![
        3 => (pair.clone(), 0..3_u8).prop_map(|(pair, number)| Deed::InBox(pair, number)),
        3 => (pair.clone(), 0..3_u8).prop_map(|(pair, number)| Deed::InSalesforce(pair, number)),
        1 => pair.clone().prop_map(Deed::TakeFromBox),
        1 => pair.clone().prop_map(Deed::TakeFromSalesforce),
        1 => Just(Deed::DeleteFolder),
        2 => Just(Deed::Make),
        1 => Just(Deed::ApplyAnew),
        1 => pair.prop_map(Deed::DeleteField),
        5 => Just(Deed::Round),
        1 => Just(Deed::RoundThatFails(PortErrorKind::Busy)),
        1 => Just(Deed::RoundThatFails(PortErrorKind::Unknown)),
    ]
}

/// The keys that a person has emptied on each side, in what is there now.
#[derive(Debug, Default)]
struct Emptied {
    in_box: BTreeSet<String>,
    in_salesforce: BTreeSet<String>,
}

fn is_empty(value: Option<&Value>) -> bool {
    matches!(value, None | Some(Value::Null | Value::Bool(false)))
        || value.is_some_and(|it| it == "false")
}

async fn round(sides: &Sides, keeper: &SyncMetadata, store: &MemoryStore, by: &mut Emptied) {
    let shown = || {
        let values = pairs().map(|it| (sides.key(&it.key), sides.field(&it.field)));
        let stage = sides.field("StageName");
        let stage = STAGES.iter().position(|it| *it == stage).unwrap();
        (values, stage)
    };
    let (before, stage) = shown();
    let is_settled = match sides.sync(keeper, store).await {
        Ok(_) => true,
        Err(StepError::Port(_)) => false,
        Err(error) => panic!("{error}"),
    };
    let (after, new_stage) = shown();
    assert!(new_stage >= stage && (stage < 2 || new_stage == 2), "P5");
    let all = conflicts(store).await.unwrap();
    for (pair, (before, after)) in pairs().iter().zip(before.iter().zip(&after)) {
        // Unticked is a value too: a policy may prefer it, and keeps the other one.
        let is_listed = |value: &Value| {
            let is_it = |it: &Conflict| {
                it.key == pair.key && [&it.in_box, &it.in_salesforce].contains(&value)
            };
            pair.key == "private" && all.iter().any(is_it)
        };
        if let Some(was) = &before.0
            && is_empty(after.0.as_ref())
            && !is_empty(Some(was))
        {
            let is_right = by.in_salesforce.contains(&pair.key) || is_listed(was);
            assert!(is_right, "Box's {} is emptied", pair.key);
        }
        if is_empty(Some(&after.1)) && !is_empty(Some(&before.1)) {
            let is_right = by.in_box.contains(&pair.key) || is_listed(&before.1);
            assert!(is_right, "the record's {} is emptied", pair.key);
        }
        // What has got no answer may be sent once more.
        if is_settled && is_empty(after.0.as_ref()) == is_empty(Some(&after.1)) {
            by.in_box.remove(&pair.key);
            by.in_salesforce.remove(&pair.key);
        }
    }
}

async fn story(deeds: Vec<Deed>, policy: ConflictPolicy) {
    let (sides, store) = (Sides::new(), MemoryStore::new());
    let keeper = sides.keeper(policy);
    let mut by = Emptied::default();
    let all = pairs();
    for deed in deeds {
        match deed {
            Deed::InBox(pair, number) => {
                let pair = &all[pair];
                let (value, _) = value(pair, number);
                match is_empty(Some(&value)) {
                    true => by.in_box.insert(pair.key.clone()),
                    false => by.in_box.remove(&pair.key),
                };
                sides.in_box(&pair.key, Some(value));
            }
            Deed::InSalesforce(pair, number) => {
                let pair = &all[pair];
                let (_, value) = value(pair, number);
                match is_empty(Some(&value)) {
                    true => by.in_salesforce.insert(pair.key.clone()),
                    false => by.in_salesforce.remove(&pair.key),
                };
                sides.in_salesforce(&pair.field, value);
            }
            Deed::TakeFromBox(pair) => {
                by.in_box.insert(all[pair].key.clone());
                sides.in_box(&all[pair].key, None);
            }
            Deed::TakeFromSalesforce(pair) => {
                let empty = match all[pair].key.as_str() {
                    "stage" => continue,
                    "private" => false.into(),
                    _ => Value::Null,
                };
                by.in_salesforce.insert(all[pair].key.clone());
                sides.in_salesforce(&all[pair].field, empty);
            }
            Deed::DeleteFolder => {
                by.in_box.clear();
                sides.delete_folder();
            }
            Deed::Make if sides.world().folders.is_empty() => sides.make(),
            Deed::Make => {}
            Deed::ApplyAnew => {
                by.in_box.clear();
                sides.apply_anew();
            }
            Deed::DeleteField(pair) => {
                by.in_box.remove(&all[pair].key);
                sides.delete_field(&all[pair].key);
            }
            Deed::Round => round(&sides, &keeper, &store, &mut by).await,
            Deed::RoundThatFails(kind) => {
                sides.world().fault = Some(kind);
                round(&sides, &keeper, &store, &mut by).await;
                sides.world().fault = None;
            }
        }
    }
    if sides.world().folders.is_empty() {
        sides.make();
    }
    // Quiet: what is open is decided once, and that is the end of it.
    round(&sides, &keeper, &store, &mut by).await;
    for listed in open(&store).await {
        let decided = keeper.resolve(&listed, Side::Salesforce, &sides, &store, &sides);
        decided.await.unwrap();
    }
    round(&sides, &keeper, &store, &mut by).await;
    assert_eq!(open(&store).await, []);
    let writes = sides.world().writes;
    let report = sides.sync(&keeper, &store).await.unwrap();
    assert_eq!(report.fields.len(), 0, "{report}");
    assert_eq!(sides.world().writes, writes, "it plays ping-pong");
    let all = conflicts(&store).await.unwrap();
    assert!(all.iter().all(|it| it.is_over), "{all:#?}");
}

/// A value that the record has refused for the sake of another field is waiting for that one.
#[test]
fn it_goes_by_every_field_of_a_record_that_gets_values() {
    let sides = Sides::new();
    assert_eq!(
        sides.keeper(ConflictPolicy::Ask).goes_by("Opportunity"),
        None
    );
    let to_box = pairs().map(|pair| pair.direction(Direction::ToBox));
    let to_box = sides.keeper_of(FieldMap::new("Opportunity", to_box).unwrap());
    let fields = pairs().map(|pair| pair.field).to_vec();
    assert_eq!(to_box.goes_by("Opportunity"), Some(fields));
    assert_eq!(to_box.goes_by("Account"), Some(Vec::new()));
}

/// What was unticked, and has not reached the record, is gone with the template's field as well.
#[tokio::test]
async fn a_field_that_is_deleted_while_its_value_is_on_the_way_unticks_nothing() {
    let deeds = vec![
        Deed::InSalesforce(2, 2),
        Deed::Make,
        Deed::Round,
        Deed::InBox(2, 1),
        Deed::RoundThatFails(PortErrorKind::Busy),
        Deed::DeleteField(2),
    ];
    story(deeds, ConflictPolicy::BoxWins).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn whatever_is_edited_deleted_and_made_again_comes_to_rest_and_nothing_is_emptied_by_nobody(
        deeds in proptest::collection::vec(deed(), 1..40),
        policy in prop_oneof![
            Just(ConflictPolicy::BoxWins), Just(ConflictPolicy::SalesforceWins),
            Just(ConflictPolicy::Ask), Just(ConflictPolicy::Newest),
        ],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(story(deeds, policy));
    }
}
