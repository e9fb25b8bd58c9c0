//! What a folder is given from its record, when that takes more than one try.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bridge::{
    Action, Backoff, Change, JobFilter, JobState, Layout, Metadata, Pipeline, PipelineOptions,
    PortError, PortErrorKind, Provision, Queue, QueueAdmin, RecordEvent, Rule, SyncMetadata,
    Worker, WorkerOptions,
    crm::Record,
    metadata::{Claimed, Instance, TemplateField, ValueChange, ValueKind},
    records::FieldShape,
    store::memory::MemoryStore,
    sync::{ConflictPolicy, FieldMap, FieldPair, conflicts},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::far_sides::FarSides;

const KEY: &str = "opportunity_id";

/// Box's index of metadata lags: a folder is found at the fourth look at the earliest. The second,
/// which is the first behind the claim, fails, and a person changes the record meanwhile.
#[derive(Clone, Debug)]
struct Lagging {
    sides: FarSides,
    looks: Arc<AtomicUsize>,
}

#[async_trait]
impl Metadata for Lagging {
    async fn read(&self, folder: &str) -> Result<Option<Instance>, PortError> {
        Metadata::read(&self.sides, folder).await
    }

    async fn set(&self, folder: &str, values: &Map<String, Value>) -> Result<(), PortError> {
        self.sides.set(folder, values).await
    }

    async fn claim(&self, folder: &str, values: &Map<String, Value>) -> Result<Claimed, PortError> {
        self.sides.claim(folder, values).await
    }

    async fn change(&self, folder: &str, changes: &[ValueChange]) -> Result<bool, PortError> {
        self.sides.change(folder, changes).await
    }

    async fn ensure_template(&self, fields: &[TemplateField]) -> Result<(), PortError> {
        self.sides.ensure_template(fields).await
    }

    async fn shape(&self) -> Result<Vec<TemplateField>, PortError> {
        Metadata::shape(&self.sides).await
    }

    async fn find(&self, under: &str, key: &str, text: &str) -> Result<Vec<String>, PortError> {
        match self.looks.fetch_add(1, Ordering::SeqCst) {
            0 | 2 => Ok(Vec::new()),
            1 => {
                self.sides
                    .record("006", json!({ "Step": "meet", "Sum": 7 }));
                Err(PortError::new(PortErrorKind::Busy, "find"))
            }
            _ => Metadata::find(&self.sides, under, key, text).await,
        }
    }

    async fn above(&self, folder: &str) -> Result<Vec<String>, PortError> {
        self.sides.above(folder).await
    }
}

#[tokio::test]
async fn what_the_first_of_several_tries_has_given_is_no_conflict_with_what_the_record_says_since()
{
    let sides = FarSides::default();
    let field = |name: &str, kind: &str| FieldShape {
        name: name.into(),
        kind: kind.into(),
        longest: 255,
        digits: None,
        is_writable: true,
        is_nillable: true,
        choices: Vec::new(),
        only_choices: false,
    };
    sides.world().fields = vec![field("Step", "string"), field("Sum", "double")];
    let deal = json!({ "Name": "Deal", "Step": "call", "Sum": 5 });
    sides.record("006", deal);
    let metadata = Arc::new(Lagging {
        sides: sides.clone(),
        looks: Arc::default(),
    });
    let store = Arc::new(MemoryStore::new());
    let port = Arc::new(sides.clone());
    let layout = Layout::new(["/Deals/{Opportunity.Name}"]).unwrap();
    let provision = Provision::new(port.clone(), metadata.clone(), port.clone(), layout)
        .field("step", ValueKind::String, "Opportunity", "Step")
        .field("sum", ValueKind::Float, "Opportunity", "Sum");
    let provision: Vec<Arc<dyn Action>> = vec![Arc::new(provision)];
    let rules = vec![Rule::new("folders", ["Opportunity.*"], provision).unwrap()];
    let mut options = PipelineOptions::default();
    options.settle_after = std::time::Duration::ZERO;
    let pipeline = Pipeline::new(port.clone(), port.clone(), store.clone(), rules);
    let mut worker = WorkerOptions::default();
    worker.backoff = Backoff::default();
    (worker.backoff.base, worker.backoff.jitter) = Default::default();
    let worker = Worker::new(store.clone(), pipeline.options(options), "w").options(worker);
    let record = Record {
        id: "006".into(),
        object: Some("Opportunity".into()),
    };
    let event = RecordEvent::new("1".to_owned(), record.clone(), Change::Created);
    let job = event.job().unwrap();
    store.push(vec![job], Timestamp::now()).await.unwrap();
    worker.run_until_idle().await.unwrap();
    let jobs = store.jobs(&JobFilter::default()).await.unwrap();
    assert_eq!(jobs[0].state, JobState::Done, "{jobs:?}");
    assert_eq!(jobs[0].attempts, 2);
    let shown = || {
        let world = sides.world();
        let mut folders = world.folders.values().filter_map(|it| it.mapping.clone());
        let folder = folders.find(|it| it.get(KEY) == Some(&json!("006")));
        let folder = folder.unwrap();
        let record = &world.records["006"];
        let number = |value: &Value| value.as_f64();
        let in_folder = (folder["step"].clone(), number(&folder["sum"]));
        let in_record = (record["Step"].clone(), number(&record["Sum"]));
        (in_folder, in_record)
    };
    let (call, meet) = ((json!("call"), Some(5.0)), (json!("meet"), Some(7.0)));
    assert_eq!(shown(), (call, meet.clone()));

    let pairs = [
        FieldPair::new("Step", "step", ValueKind::String),
        FieldPair::new("Sum", "sum", ValueKind::Float),
    ];
    let map = FieldMap::new("Opportunity", pairs).unwrap();
    let map = map.on_conflict(ConflictPolicy::BoxWins);
    let keeper = SyncMetadata::new(metadata, port.clone(), map);
    let synced = keeper.sync(&record, &*port, &*store, &sides).await;
    synced.unwrap();
    assert_eq!(shown(), (meet.clone(), meet));
    assert_eq!(conflicts(&*store).await.unwrap(), []);
}
