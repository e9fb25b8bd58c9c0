//! Both ways between two sides in memory, with everything happening in between that can.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bridge::{
    Clock, Metadata, PortError, PortErrorKind, Records, StepError, SyncMetadata,
    crm::Record,
    metadata::{Claimed, Instance, TemplateField, ValueChange, ValueKind},
    records::{Changed, Contact, FieldShape, RecordState, RecordTimes},
    store::memory::MemoryStore,
    sync::{ConflictPolicy, Direction, FieldMap, FieldOutcome, FieldPair, Side, conflicts},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

const KEYS: [&str; 3] = ["a", "b", "c"];

/// A folder and a record. Every call gives way first and afterwards, so that other rounds and
/// people come in between.
#[derive(Debug)]
struct World {
    folder: Map<String, Value>,
    record: Map<String, Value>,
    /// Seconds; every change takes ten, so that all are at rest.
    time: i64,
    changed_at: i64,
    random: fastrand::Rng,
    /// Of ten writes so many are not answered.
    lost: u8,
    written_to_box: Vec<(String, Value)>,
    written_to_salesforce: Vec<(String, Value)>,
    writable: bool,
    /// The next reading of the folder waits for it.
    stall: Option<Arc<Notify>>,
}

#[derive(Clone, Debug)]
struct Sides(Arc<Mutex<World>>);

impl Sides {
    fn new(seed: u64) -> Self {
        let values = |name: fn(&str) -> String| {
            let start = KEYS.map(|key| (name(key), json!("0")));
            Map::from_iter(start)
        };
        let mut folder = values(|key| key.to_owned());
        folder.insert("opportunity_id".into(), json!("opp"));
        Self(Arc::new(Mutex::new(World {
            folder,
            record: values(|key| key.to_uppercase()),
            time: 1_000_000,
            changed_at: 1_000_000,
            random: fastrand::Rng::with_seed(seed),
            lost: 0,
            written_to_box: Vec::new(),
            written_to_salesforce: Vec::new(),
            writable: true,
            stall: None,
        })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    fn edit(&self, side: Side, key: &str, value: Value) {
        let mut world = self.world();
        world.time += 10;
        match side {
            Side::Box => world.folder.insert(key.to_owned(), value),
            Side::Salesforce => {
                world.changed_at = world.time;
                world.record.insert(key.to_uppercase(), value)
            }
        };
    }

    async fn give_way(&self) {
        let times = self.world().random.u8(0..4);
        for _ in 0..times {
            tokio::task::yield_now().await;
        }
    }

    fn answer(&self, doing: &'static str) -> Result<bool, PortError> {
        let mut world = self.world();
        let lost = world.lost;
        match world.random.u8(0..10) < lost {
            true => Err(PortError::new(PortErrorKind::Unknown, doing)),
            false => Ok(true),
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
        let stall = self.world().stall.take();
        if let Some(stall) = stall {
            stall.notified().await;
        }
        self.give_way().await;
        let values = self.world().folder.clone();
        Ok((folder == "deal").then(|| Instance::new(values, None)))
    }

    async fn set(&self, _: &str, _: &Map<String, Value>) -> Result<(), PortError> {
        Err(PortError::new(PortErrorKind::Refused, "set"))
    }

    async fn claim(&self, _: &str, _: &Map<String, Value>) -> Result<Claimed, PortError> {
        Err(PortError::new(PortErrorKind::Refused, "claim"))
    }

    async fn change(&self, _: &str, changes: &[ValueChange]) -> Result<bool, PortError> {
        self.give_way().await;
        {
            let mut world = self.world();
            let is_so = |it: &ValueChange| world.folder.get(&it.key) == it.seen.as_ref();
            if !changes.iter().all(is_so) {
                return Ok(false);
            }
            for change in changes {
                let to = change.to.clone();
                let value = to.clone().unwrap_or_default();
                world.written_to_box.push((change.key.clone(), value));
                match to {
                    Some(to) => world.folder.insert(change.key.clone(), to),
                    None => world.folder.remove(&change.key),
                };
            }
        }
        self.give_way().await;
        self.answer("change")
    }

    async fn ensure_template(&self, _: &[TemplateField]) -> Result<(), PortError> {
        Ok(())
    }

    async fn shape(&self) -> Result<Vec<TemplateField>, PortError> {
        let field = |key: &str| TemplateField {
            key: key.to_owned(),
            kind: ValueKind::String,
            options: Vec::new(),
        };
        Ok(KEYS.map(field).into())
    }

    async fn find(&self, _: &str, key: &str, text: &str) -> Result<Vec<String>, PortError> {
        let is_it = key == "opportunity_id" && text == "opp";
        Ok(is_it.then(|| "deal".to_owned()).into_iter().collect())
    }
}

#[async_trait]
impl Records for Sides {
    async fn read(&self, _: &Record, fields: &[&str]) -> Result<RecordState, PortError> {
        self.give_way().await;
        let world = self.world();
        let fields = fields.iter().map(|field| {
            let value = world.record.get(*field).cloned();
            ((*field).to_owned(), value.unwrap_or_default())
        });
        let at = Timestamp::from_second(world.changed_at).unwrap();
        Ok(RecordState::new(fields.collect(), Some(at)))
    }

    async fn write(
        &self,
        _: &Record,
        fields: &Map<String, Value>,
        seen: Option<Timestamp>,
    ) -> Result<bool, PortError> {
        self.give_way().await;
        {
            let mut world = self.world();
            if world.changed_at > seen.unwrap().as_second() {
                return Ok(false);
            }
            world.time += 10;
            world.changed_at = world.time;
            for (field, value) in fields {
                let written = (field.clone(), value.clone());
                world.written_to_salesforce.push(written);
                world.record.insert(field.clone(), value.clone());
            }
        }
        self.give_way().await;
        self.answer("write")
    }

    async fn shape(&self, _: &str) -> Result<Vec<FieldShape>, PortError> {
        let is_writable = self.world().writable;
        let field = |key: &str| FieldShape {
            name: key.to_uppercase(),
            kind: "string".into(),
            longest: 20,
            is_writable,
            is_nillable: true,
            choices: Vec::new(),
            only_choices: false,
        };
        Ok(KEYS.map(field).into())
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

fn record() -> Record {
    Record {
        id: "opp".into(),
        object: Some("Opportunity".into()),
    }
}

fn pairs() -> [FieldPair; 3] {
    KEYS.map(|key| FieldPair::new(key.to_uppercase(), key, ValueKind::String))
}

fn keeper(sides: &Sides, map: FieldMap) -> SyncMetadata {
    SyncMetadata::new(Arc::new(sides.clone()), Arc::new(sides.clone()), map)
}

fn both_ways(sides: &Sides, policy: ConflictPolicy) -> SyncMetadata {
    let map = FieldMap::new("Opportunity", pairs()).unwrap();
    keeper(sides, map.on_conflict(policy))
}

/// Rounds at one time, some of which are dropped on their way, and people at both sides. Then all
/// is quiet, and one round after the other is done.
async fn story(seed: u64, policy: ConflictPolicy) {
    let sides = Sides::new(seed);
    let store = MemoryStore::new();
    let keeper = both_ways(&sides, policy);
    let round = || async {
        let record = record();
        let rounds = keeper.sync(&record, &store, &sides);
        let patience = sides.world().random.u64(1..80);
        tokio::select! {
            biased;
            // The process dies.
            () = yields(patience) => {}
            result = rounds => match result {
                Ok(_) | Err(StepError::Port(_)) => {}
                Err(error) => panic!("seed {seed}: {error}"),
            },
        }
    };
    round().await;
    sides.world().lost = 1;
    let mut last = BTreeMap::new();
    let mut under_way = FuturesUnordered::new();
    let mut random = fastrand::Rng::with_seed(seed);
    for number in 1..=25 {
        let side = if random.bool() {
            Side::Box
        } else {
            Side::Salesforce
        };
        let key = KEYS[random.usize(0..KEYS.len())];
        // Each value is there once.
        sides.edit(side, key, json!(format!("{number}")));
        last.insert((key, format!("{side}")), (side, number.to_string()));
        while under_way.len() < 3 {
            under_way.push(round());
        }
        for _ in 0..random.u8(0..3) {
            under_way.next().await;
        }
    }
    while under_way.next().await.is_some() {}
    drop(under_way);

    sides.world().lost = 0;
    for _ in 0..2 {
        keeper.sync(&record(), &store, &sides).await.unwrap();
    }
    let all = conflicts(&store).await.unwrap();
    for open in all.iter().filter(|it| it.is_open()) {
        assert_eq!(policy, ConflictPolicy::Ask, "seed {seed}: {open:?}");
        let resolved = keeper.resolve(open, Side::Box, &store, &sides).await;
        let report = resolved.unwrap();
        let is_it = |it: &bridge::sync::FieldReport| it.conflict.as_ref() == Some(&open.id);
        assert!(report.fields.iter().any(is_it), "seed {seed}: {report}");
    }
    let all = conflicts(&store).await.unwrap();
    assert!(all.iter().all(|it| it.is_over), "{all:#?}");

    // Converged, and a further round finds nothing to do.
    let writes = |sides: &Sides| {
        let world = sides.world();
        world.written_to_box.len() + world.written_to_salesforce.len()
    };
    let before = writes(&sides);
    let report = keeper.sync(&record(), &store, &sides).await.unwrap();
    assert_eq!(report.fields.len(), 0, "seed {seed}: {report}");
    assert_eq!(writes(&sides), before, "seed {seed}: it plays ping-pong");
    let world = sides.world();
    for key in KEYS {
        assert_eq!(
            world.folder[key],
            world.record[&key.to_uppercase()],
            "seed {seed}"
        );
    }
    // Nobody's last word was lost without a trace.
    let listed: BTreeSet<_> = all
        .iter()
        .flat_map(|it| {
            let (field, keys) = (it.field.clone(), [&it.in_box, &it.in_salesforce]);
            keys.map(|value| (field.to_lowercase(), value.to_string()))
        })
        .collect();
    for ((key, _), (side, value)) in &last {
        let (key, value) = ((*key).to_owned(), json!(value));
        let arrived = match side {
            Side::Box => &world.written_to_salesforce,
            Side::Salesforce => &world.written_to_box,
        };
        let has_arrived = arrived
            .iter()
            .any(|(at, it)| at.to_lowercase() == key && *it == value);
        assert!(
            has_arrived
                || world.folder[&key] == value
                || listed.contains(&(key.clone(), value.to_string())),
            "seed {seed}: {side}'s {value} of {key} is lost; {all:#?}"
        );
    }
}

async fn yields(times: u64) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

/// `BRIDGE_STORIES` sets how many.
#[tokio::test]
async fn rounds_that_meet_and_die_lose_nobodys_last_word_and_come_to_rest() {
    let stories = std::env::var("BRIDGE_STORIES").ok();
    let stories: u64 = stories.and_then(|text| text.parse().ok()).unwrap_or(300);
    for seed in 0..stories {
        let policy = match seed % 3 {
            0 => ConflictPolicy::BoxWins,
            1 => ConflictPolicy::SalesforceWins,
            _ => ConflictPolicy::Ask,
        };
        story(seed, policy).await;
    }
}

/// The round has read what was agreed on before the other one, and the sides after it: to it the
/// folder looks changed, and the record as it was.
#[tokio::test]
async fn a_round_that_was_overtaken_does_not_undo_what_a_person_took_back() {
    let sides = Sides::new(1);
    let store = MemoryStore::new();
    let keeper = both_ways(&sides, ConflictPolicy::BoxWins);
    let record = record();
    keeper.sync(&record, &store, &sides).await.unwrap();
    sides.edit(Side::Box, "a", json!("1"));
    let stall = Arc::new(Notify::new());
    sides.world().stall = Some(stall.clone());
    let slow = keeper.sync(&record, &store, &sides);
    let quick = async {
        keeper.sync(&record, &store, &sides).await.unwrap();
        assert_eq!(sides.world().record["A"], json!("1"));
        sides.edit(Side::Salesforce, "a", json!("0"));
        stall.notify_one();
    };
    let (slow, ()) = tokio::join!(slow, quick);
    slow.unwrap();
    assert_eq!(sides.world().record["A"], json!("0"));
    assert_eq!(sides.world().folder["a"], json!("0"));
}

#[tokio::test]
async fn a_value_wins_over_none_at_first_and_taking_away_goes_over_later() {
    let sides = Sides::new(1);
    let store = MemoryStore::new();
    let keeper = both_ways(&sides, ConflictPolicy::Ask);
    sides.edit(Side::Salesforce, "a", Value::Null);
    sides.edit(Side::Box, "b", json!(""));
    keeper.sync(&record(), &store, &sides).await.unwrap();
    {
        let world = sides.world();
        assert_eq!(world.record["A"], json!("0"));
        assert_eq!(world.folder["b"], json!("0"));
    }
    sides.edit(Side::Salesforce, "a", Value::Null);
    keeper.sync(&record(), &store, &sides).await.unwrap();
    assert!(!sides.world().folder.contains_key("a"));
    assert_eq!(conflicts(&store).await.unwrap(), []);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_the_reason_and_the_rest_goes_over() {
    let sides = Sides::new(1);
    let store = MemoryStore::new();
    let keeper = both_ways(&sides, ConflictPolicy::Ask);
    keeper.sync(&record(), &store, &sides).await.unwrap();
    sides.edit(Side::Box, "a", json!("x".repeat(21)));
    sides.edit(Side::Box, "b", json!("short"));
    let report = keeper.sync(&record(), &store, &sides).await.unwrap();
    let refused = report.fields.iter().find(|it| it.key == "a").unwrap();
    let FieldOutcome::Refused(reason) = &refused.outcome else {
        panic!("{report}");
    };
    assert!(reason.contains("21") && reason.contains("20"), "{reason}");
    assert_eq!(sides.world().record["A"], json!("0"));
    assert_eq!(sides.world().record["B"], json!("short"));
    // Shortened, it goes over.
    sides.edit(Side::Box, "a", json!("x"));
    keeper.sync(&record(), &store, &sides).await.unwrap();
    assert_eq!(sides.world().record["A"], json!("x"));
}

#[tokio::test]
async fn a_pair_that_goes_one_way_overwrites_nothing_silently() {
    let sides = Sides::new(1);
    let store = MemoryStore::new();
    let [pair, ..] = pairs();
    let map = FieldMap::new("Opportunity", [pair.direction(Direction::ToBox)]).unwrap();
    let keeper = keeper(&sides, map);
    keeper.sync(&record(), &store, &sides).await.unwrap();
    sides.edit(Side::Box, "a", json!("by hand"));
    keeper.sync(&record(), &store, &sides).await.unwrap();
    assert_eq!(sides.world().record["A"], json!("0"));
    assert_eq!(sides.world().folder["a"], json!("by hand"));
    sides.edit(Side::Salesforce, "a", json!("1"));
    keeper.sync(&record(), &store, &sides).await.unwrap();
    assert_eq!(sides.world().folder["a"], json!("1"));
    let all = conflicts(&store).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].in_box, json!("by hand"));
    assert_eq!(all[0].kept, Some(Side::Salesforce));
}

#[tokio::test]
async fn a_decision_on_values_that_have_changed_since_decides_nothing() {
    let sides = Sides::new(1);
    let store = MemoryStore::new();
    let keeper = both_ways(&sides, ConflictPolicy::Ask);
    keeper.sync(&record(), &store, &sides).await.unwrap();
    sides.edit(Side::Box, "a", json!("1"));
    sides.edit(Side::Salesforce, "a", json!("2"));
    keeper.sync(&record(), &store, &sides).await.unwrap();
    let first = conflicts(&store).await.unwrap().remove(0);
    assert!(first.is_open());
    sides.edit(Side::Box, "a", json!("3"));
    let resolved = keeper.resolve(&first, Side::Box, &store, &sides).await;
    assert!(resolved.unwrap().fields[0].conflict != Some(first.id.clone()));
    assert_eq!(sides.world().record["A"], json!("2"));
    let all = conflicts(&store).await.unwrap();
    let open: Vec<_> = all.iter().filter(|it| it.is_open()).collect();
    assert_eq!((all.len(), open.len()), (2, 1), "{all:#?}");
    let resolved = keeper
        .resolve(open[0], Side::Salesforce, &store, &sides)
        .await;
    resolved.unwrap();
    assert_eq!(sides.world().folder["a"], json!("2"));
    let all = conflicts(&store).await.unwrap();
    assert!(all.iter().all(|it| it.is_over));
}

#[tokio::test]
async fn a_preview_writes_nothing_anywhere() {
    let sides = Sides::new(1);
    let store = MemoryStore::new();
    let keeper = both_ways(&sides, ConflictPolicy::BoxWins);
    sides.edit(Side::Box, "a", json!("1"));
    let report = keeper.preview(&record(), &store, &sides).await.unwrap();
    assert_eq!(
        report.fields[0].outcome,
        FieldOutcome::Written(Side::Salesforce)
    );
    assert_eq!(sides.world().record["A"], json!("0"));
    let known = SyncMetadata::known_records(&store).await.unwrap();
    assert_eq!(known, Vec::<String>::new());
}

#[tokio::test]
async fn a_record_that_was_changed_just_now_is_left_alone_for_a_moment() {
    #[derive(Debug)]
    struct Now(Timestamp);
    impl Clock for Now {
        fn now(&self) -> Timestamp {
            self.0
        }
    }
    let sides = Sides::new(1);
    let store = MemoryStore::new();
    let keeper = both_ways(&sides, ConflictPolicy::BoxWins);
    sides.edit(Side::Salesforce, "b", json!("1"));
    sides.edit(Side::Box, "a", json!("1"));
    let changed = Timestamp::from_second(sides.world().changed_at).unwrap();
    let now = Now(changed + Duration::from_millis(500));
    let waits = keeper.sync(&record(), &store, &now).await;
    assert!(matches!(waits, Err(StepError::Wait { until, .. }) if until > now.0));
}
