//! A bridge between two far sides in memory.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bridge::{
    Action, AdvanceStage, Attach, BOX_WEBHOOK, Backoff, Clock, JobFilter, JobState, LogTask,
    NewJob, Pipeline, PipelineOptions, Queue, QueueAdmin, Rule, Target, Worker, WorkerOptions,
    content::FileVersion,
    store::{
        memory::MemoryStore,
        sqlite::{SqliteOptions, SqliteStore},
    },
    webhook::Event,
};
use jiff::Timestamp;
use serde_json::json;

use crate::far_sides::FarSides;

/// A clock that goes on when the test says so.
#[derive(Clone, Debug)]
pub(crate) struct ManualClock(Arc<Mutex<Timestamp>>);

impl ManualClock {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    pub(crate) fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = now.checked_add(by).unwrap();
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

pub(crate) fn rules() -> Vec<Rule> {
    let actions: Vec<Arc<dyn Action>> = vec![
        Arc::new(Attach::to([Target::Opportunity, Target::Account])),
        Arc::new(AdvanceStage::new("Review")),
        Arc::new(LogTask::new(
            "{file.name} came".parse().unwrap(),
            "By {actor}.".parse().unwrap(),
        )),
    ];
    vec![Rule::new("contracts", ["FILE.UPLOADED", "FILE.PREVIEWED"], actions).unwrap()]
}

pub(crate) fn body(event: &str, file: &str, version: &FileVersion) -> String {
    let folder = |id: &str| json!({ "type": "folder", "id": id, "name": id });
    json!({
        "type": "webhook_event", "id": event, "trigger": "FILE.UPLOADED",
        "created_at": "2026-03-01T10:10:32-08:00", "webhook": { "id": "1", "type": "webhook" },
        "created_by": { "type": "user", "id": "3", "name": "Jo Rep" },
        "source": {
            "type": "file", "id": file, "name": "NDA.pdf", "size": version.size,
            "modified_at": version.created_at,
            "file_version": { "type": "file_version", "id": version.id, "sha1": version.sha1 },
            "path_collection": { "entries": [folder("0"), folder("deal"), folder("contracts")] },
        },
        "additional_info": [],
    })
    .to_string()
}

pub(crate) struct Bridge {
    pub(crate) sides: FarSides,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) worker: Worker<Pipeline>,
}

impl Bridge {
    pub(crate) fn new() -> Self {
        let (sides, store) = (FarSides::new(), Arc::new(MemoryStore::new()));
        let worker = Self::worker(&sides, &store, "w");
        Self {
            sides,
            store,
            worker,
        }
    }

    pub(crate) fn worker(
        sides: &FarSides,
        store: &Arc<MemoryStore>,
        name: &str,
    ) -> Worker<Pipeline> {
        let mut options = PipelineOptions::default();
        options.settle_after = Duration::ZERO;
        options.settle_uploads_after = Duration::ZERO;
        let pipeline = Pipeline::new(
            Arc::new(sides.clone()),
            Arc::new(sides.clone()),
            store.clone(),
            rules(),
        )
        .options(options);
        let mut backoff = Backoff::default();
        (backoff.base, backoff.jitter) = (Duration::ZERO, Duration::ZERO);
        let mut options = WorkerOptions::default();
        options.backoff = backoff;
        Worker::new(store.clone(), pipeline, name).options(options)
    }

    pub(crate) async fn deliver(&self, event: &str, file: &str, version: &FileVersion) {
        let body = body(event, file, version);
        let key = Event::parse(body.as_bytes()).unwrap().ordering_key();
        let kind = BOX_WEBHOOK.to_owned();
        let job = NewJob {
            dedupe: event.to_owned(),
            key,
            kind,
            body: body.into(),
        };
        self.store.push(vec![job], Timestamp::now()).await.unwrap();
    }

    pub(crate) async fn work(&self) {
        self.worker.run_until_idle().await.unwrap();
    }

    /// The one version, two links and one task that one event leads to.
    pub(crate) fn assert_once(&self, context: &str) {
        let world = self.sides.world();
        assert_eq!(
            world.stored.len(),
            1,
            "{context}: versions {:?}",
            world.stored
        );
        assert_eq!(world.links.len(), 2, "{context}: links {:?}", world.links);
        assert_eq!(world.tasks.len(), 1, "{context}: tasks {:?}", world.tasks);
        assert_eq!(world.stage, "Review", "{context}");
    }

    pub(crate) async fn states(&self) -> Vec<JobState> {
        let jobs = self.store.jobs(&JobFilter::default()).await.unwrap();
        jobs.into_iter().map(|job| job.state).collect()
    }
}

/// A store into which nothing can be written while the connection beside it lives.
pub(crate) fn locked_store(home: &tempfile::TempDir) -> (SqliteStore, rusqlite::Connection) {
    let path = home.path().join("locked.db");
    let mut options = SqliteOptions::default();
    options.busy = Duration::MAX;
    let store = SqliteStore::open_with(&path, &options).unwrap();
    let lock = rusqlite::Connection::open(&path).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    (store, lock)
}
