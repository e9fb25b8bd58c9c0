//! The watch, between webhooks and folders in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bridge::{
    BOX_WEBHOOK, Clock, ContentSource, JobFilter, JobState, MappingKeys, NewJob, Pipeline,
    PortError, Queue, QueueAdmin, Worker,
    store::memory::MemoryStore,
    watch::{
        Created, Entry, EventPage, EventStream, Happening, Hook, HookRef, HookState, Hooks, SCAN,
        Tree, Watch, WatchOptions, Watched,
    },
};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    far_sides::FarSides,
    setting::{ManualClock, rules},
};

const ADDRESS: &str = "https://bridge.test/webhooks/box";

#[derive(Debug, Default)]
struct State {
    hooks: BTreeMap<String, Hook>,
    made: usize,
    looks: usize,
    /// What has happened, as the event stream tells it.
    happened: Vec<Happening>,
}

/// Webhooks, and the folder `deal` with all files.
#[derive(Clone, Debug)]
struct Far {
    state: Arc<Mutex<State>>,
    sides: FarSides,
}

impl Far {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn put(&self, id: &str, address: &str, triggers: &[&str]) {
        let hook = Hook {
            id: id.to_owned(),
            folder: Some("deal".to_owned()),
            address: Some(address.to_owned()),
            triggers: triggers.iter().map(ToString::to_string).collect(),
            status: None,
        };
        self.state().hooks.insert(id.to_owned(), hook);
    }
}

#[async_trait]
impl Hooks for Far {
    async fn list(&self) -> Result<Vec<HookRef>, PortError> {
        let state = self.state();
        let hooks = state.hooks.values().map(|hook| HookRef {
            id: hook.id.clone(),
            folder: hook.folder.clone(),
        });
        Ok(hooks.collect())
    }

    async fn hook(&self, id: &str) -> Result<Option<Hook>, PortError> {
        self.state().looks += 1;
        Ok(self.state().hooks.get(id).cloned())
    }

    async fn create(
        &self,
        folder: &str,
        address: &str,
        triggers: &[String],
    ) -> Result<Created, PortError> {
        let mut state = self.state();
        let is_there = |hook: &&Hook| hook.folder.as_deref() == Some(folder);
        if let Some(hook) = state.hooks.values().find(is_there) {
            return Ok(Created::There(hook.clone()));
        }
        state.made += 1;
        let hook = Hook {
            id: format!("made {}", state.made),
            folder: Some(folder.to_owned()),
            address: Some(address.to_owned()),
            triggers: triggers.to_vec(),
            status: None,
        };
        state.hooks.insert(hook.id.clone(), hook.clone());
        Ok(Created::Made(hook))
    }

    async fn change(
        &self,
        id: &str,
        address: &str,
        triggers: &[String],
    ) -> Result<Hook, PortError> {
        let mut state = self.state();
        let hook = state.hooks.get_mut(id).unwrap();
        hook.address = Some(address.to_owned());
        hook.triggers = triggers.to_vec();
        Ok(hook.clone())
    }

    async fn remove(&self, id: &str) -> Result<(), PortError> {
        self.state().hooks.remove(id);
        Ok(())
    }
}

#[async_trait]
impl EventStream for Far {
    fn name(&self) -> &str {
        "test"
    }

    async fn page(&self, from: Option<&str>) -> Result<EventPage, PortError> {
        let happened = self.state().happened.clone();
        let from = from.map_or(happened.len(), |from| from.parse().unwrap());
        Ok(EventPage {
            events: happened[from..].to_vec(),
            has_more: false,
            next: happened.len().to_string(),
        })
    }
}

impl Tree for Far {
    fn entries(&self, folder: &str) -> BoxStream<'_, Result<Entry, PortError>> {
        assert_eq!(folder, "deal");
        let files: Vec<_> = self.sides.world().versions.keys().cloned().collect();
        let entry = async |file: String| Ok(Entry::File(self.sides.file(&file).await?));
        stream::iter(files).then(entry).boxed()
    }
}

struct Watching {
    far: Far,
    store: Arc<MemoryStore>,
    watch: Arc<Watch>,
    worker: Worker<Watched<Pipeline>>,
    clock: ManualClock,
}

impl Watching {
    fn new() -> Self {
        Self::with(false)
    }

    fn with(has_events: bool) -> Self {
        let (sides, store) = (FarSides::new(), Arc::new(MemoryStore::new()));
        let far = Far {
            state: Arc::default(),
            sides: sides.clone(),
        };
        let mut options = WatchOptions::new(["deal"], ADDRESS, ["FILE.UPLOADED"]);
        (options.check_every, options.catch_up_every) = (HOUR, HOUR);
        let side = Arc::new(far.clone());
        // Behind the worker's, for which nothing may lie in the future.
        let clock = ManualClock::at(Timestamp::now() - 24 * HOUR);
        let events: Option<Arc<dyn EventStream>> = match has_events {
            true => Some(side.clone()),
            false => None,
        };
        let watch = Watch::new(side.clone(), side, store.clone(), store.clone(), options);
        let watch = watch.events(events).clock(Arc::new(clock.clone()));
        let content = Arc::new(sides.clone());
        let watch = Arc::new(watch.mappings(content.clone(), MappingKeys::default()));
        let pipeline = Pipeline::new(content.clone(), content, store.clone(), rules());
        let handler = Watched::new(pipeline, Some(watch.clone()));
        let worker = Worker::new(store.clone(), handler, "w");
        Self {
            far,
            store,
            watch,
            worker,
            clock,
        }
    }

    async fn deliver(&self, event: &str, trigger: &str) {
        self.push(event, trigger, "1").await;
        self.worker.run_until_idle().await.unwrap();
    }

    async fn push(&self, event: &str, trigger: &str, webhook: &str) {
        let body = json!({
            "type": "webhook_event", "id": event, "trigger": trigger,
            "created_at": self.clock.now(), "webhook": { "id": webhook, "type": "webhook" },
            "source": { "type": "folder", "id": "deal", "name": "deal" }, "additional_info": [],
        });
        let job = NewJob {
            dedupe: event.to_owned(),
            key: "box-folder/deal".to_owned(),
            kind: BOX_WEBHOOK.to_owned(),
            body: body.to_string().into(),
        };
        self.store.push(vec![job], self.clock.now()).await.unwrap();
    }

    /// A file is uploaded, and the event stream tells of it.
    async fn happens(&self, file: &str) {
        let folder = |id: &str| json!({ "type": "folder", "id": id, "name": id });
        let version = self.far.sides.add_version(file, b"bytes");
        let happening = Happening {
            id: format!("stream {file}"),
            trigger: "FILE.UPLOADED".to_owned(),
            at: Some(self.clock.now()),
            by: json!(null),
            source: json!({
                "type": "file", "id": file, "name": "NDA.pdf",
                "file_version": { "type": "file_version", "id": version.id },
                "path_collection": { "entries": [folder("0"), folder("deal")] },
            }),
            is_certain: true,
        };
        self.far.state().happened.push(happening);
        self.watch.catch_up().await.unwrap();
        self.worker.run_until_idle().await.unwrap();
    }

    async fn check(&self) -> HookState {
        self.watch.check(true).await.unwrap()[0].state
    }

    /// What the scans said, in order.
    async fn scans(&self) -> Vec<String> {
        let filter = JobFilter {
            limit: 1000,
            ..JobFilter::default()
        };
        let jobs = self.store.jobs(&filter).await.unwrap();
        let dead: Vec<_> = jobs
            .iter()
            .filter(|it| it.state != JobState::Done)
            .collect();
        assert!(dead.is_empty(), "{dead:?}");
        let scans = jobs.into_iter().filter(|job| job.kind == SCAN);
        scans.map(|job| job.note.unwrap_or_default()).collect()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn the_webhook_of_somebody_else_is_left_alone() {
    let watching = Watching::new();
    watching
        .far
        .put("7", "https://other.test", &["FILE.TRASHED"]);
    let before = watching.far.state().hooks.clone();
    assert_eq!(watching.check().await, HookState::Foreign);
    assert_eq!(watching.far.state().hooks, before);
}

#[tokio::test]
async fn our_webhook_gets_its_triggers_and_its_address_back() {
    let watching = Watching::new();
    assert_eq!(watching.check().await, HookState::Made);
    let made = watching.far.state().hooks.clone();
    assert_eq!(watching.check().await, HookState::Fine);
    for (address, triggers) in [
        (ADDRESS, "FILE.TRASHED"),
        // It is known to be ours by its id.
        ("https://moved.test", "FILE.UPLOADED"),
    ] {
        watching.far.put("made 1", address, &[triggers]);
        let dry = watching.watch.check(false).await.unwrap();
        assert_eq!(dry[0].state, HookState::Differs);
        assert_eq!(watching.check().await, HookState::Changed);
        assert_eq!(watching.far.state().hooks, made);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_webhook_is_made_anew_at_once() {
    let watching = Watching::new();
    let watch = watching.watch.clone();
    let run = tokio::spawn(async move { watch.run(std::future::pending()).await });
    // Time only moves on when there is nothing left to do.
    tokio::time::sleep(Duration::from_secs(1)).await;
    watching.far.state().hooks.clear();
    watching.deliver("e1", "WEBHOOK.DELETED").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(watching.far.state().hooks.contains_key("made 2"));
    assert!(watching.scans().await.is_empty());
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_over_wakes_the_watch_once_in_a_while_and_no_more() {
    let watching = Watching::new();
    watching.check().await;
    let watch = watching.watch.clone();
    let run = tokio::spawn(async move { watch.run(std::future::pending()).await });
    let looks = async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        watching.far.state().looks
    };
    let at_start = looks().await;
    for event in 0..20 {
        watching
            .deliver(&event.to_string(), "NO_ACTIVE_SESSION")
            .await;
        assert_eq!(looks().await, at_start + 1, "after event {event}");
    }
    run.abort();
}

#[tokio::test]
async fn files_of_a_folder_that_is_mapped_late_are_brought_and_no_other_change_looks_for_them() {
    let watching = Watching::new();
    let sides = watching.far.sides.clone();
    sides.unmap_deal();
    sides.add_version("7", b"bytes");
    watching.deliver("e0", "METADATA_INSTANCE.CREATED").await;
    assert_eq!(sides.world().stored.len(), 0);

    sides.map_deal();
    watching.deliver("e1", "METADATA_INSTANCE.UPDATED").await;
    assert_eq!(sides.world().stored.len(), 1);
    for event in ["e2", "e3"] {
        watching.deliver(event, "METADATA_INSTANCE.UPDATED").await;
    }
    let as_before = "the folder is mapped as before, or to nothing";
    let brought = "1 files, 1 put into the inbox";
    let scans = [as_before, brought, as_before, as_before];
    assert_eq!(watching.scans().await, scans);

    // Meanwhile it was mapped to nothing, and files may have come.
    watching.deliver("e4", "METADATA_INSTANCE.DELETED").await;
    watching.deliver("e5", "METADATA_INSTANCE.CREATED").await;
    assert_eq!(watching.scans().await[4..], [as_before, brought]);
    assert_eq!(sides.world().stored.len(), 1);
}

#[tokio::test]
async fn a_webhook_that_tells_of_nothing_is_silent_and_made_anew_once() {
    let watching = Watching::with(true);
    watching.happens("1").await;
    assert_eq!(watching.check().await, HookState::Made);
    watching.clock.advance(HOUR);
    watching.happens("2").await;
    watching.clock.advance(HOUR);
    assert_eq!(watching.check().await, HookState::Fine, "it may come yet");
    watching.clock.advance(HOUR);

    let dry = watching.watch.check(false).await.unwrap();
    assert_eq!(dry[0].state, HookState::Silent);
    assert_eq!(dry[0].webhook.as_deref(), Some("made 1"));
    assert_eq!(watching.check().await, HookState::Made);
    let hooks = || {
        watching
            .far
            .state()
            .hooks
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(hooks(), ["made 2"]);
    watching.clock.advance(3 * HOUR);
    assert_eq!(watching.check().await, HookState::Fine, "nothing to tell");

    watching.happens("3").await;
    watching.clock.advance(2 * HOUR);
    for _ in 0..2 {
        assert_eq!(watching.check().await, HookState::Silent);
        assert_eq!(hooks(), ["made 2"], "not again and again");
    }
    let found = watching.watch.found();
    assert!(
        found[0]
            .note
            .as_deref()
            .unwrap()
            .contains("the way from Box")
    );

    watching.push("e1", "FILE.UPLOADED", "made 2").await;
    watching.worker.run_until_idle().await.unwrap();
    assert_eq!(watching.check().await, HookState::Fine);
    watching.clock.advance(HOUR);
    watching.happens("4").await;
    watching.clock.advance(2 * HOUR);
    assert_eq!(watching.check().await, HookState::Made, "another silence");
    assert_eq!(
        watching.far.sides.world().stored.len(),
        3,
        "all but the first, from before"
    );
}

#[tokio::test]
async fn a_webhook_is_not_silent_for_what_it_tells_late_or_another_time() {
    let watching = Watching::with(true);
    watching.happens("0").await;
    assert_eq!(watching.check().await, HookState::Made);
    // What it tells of is not what the stream tells of.
    for number in 0..8 {
        watching.clock.advance(HOUR);
        watching.happens(&format!("1{number}")).await;
        watching.clock.advance(HOUR);
        watching
            .push(&format!("e{number}"), "FILE.TRASHED", "made 1")
            .await;
        watching.worker.run_until_idle().await.unwrap();
        assert_eq!(watching.check().await, HookState::Fine);
    }
    // It has told, and nobody has come to it yet.
    watching.happens("20").await;
    watching.clock.advance(HOUR);
    watching.push("late", "FILE.UPLOADED", "made 1").await;
    watching.clock.advance(2 * HOUR);
    assert_eq!(watching.check().await, HookState::Fine);
    watching.worker.run_until_idle().await.unwrap();
    assert_eq!(watching.check().await, HookState::Fine);
}

#[tokio::test]
async fn what_happened_while_nobody_was_there_to_hear_makes_no_webhook_silent() {
    let watching = Watching::with(true);
    watching.happens("1").await;
    assert_eq!(watching.check().await, HookState::Made);
    watching.clock.advance(HOUR);
    let (far, store) = (watching.far.clone(), watching.store.clone());
    // Nothing runs while this happens.
    let happened = |event: &Happening| Happening {
        at: Some(watching.clock.now()),
        ..event.clone()
    };
    watching.happens("2").await;
    let missed = happened(&far.state().happened[1]);
    far.state().happened.push(Happening {
        id: "stream 3".to_owned(),
        ..missed
    });
    watching.clock.advance(5 * HOUR);
    let side = Arc::new(far);
    let mut options = WatchOptions::new(["deal"], ADDRESS, ["FILE.UPLOADED"]);
    options.silent_after = HOUR;
    let watch = Watch::new(side.clone(), side.clone(), store.clone(), store, options);
    let watch = watch
        .events(Some(side))
        .clock(Arc::new(watching.clock.clone()));
    watch.catch_up().await.unwrap();
    watching.clock.advance(5 * HOUR);
    assert_eq!(watch.check(true).await.unwrap()[0].state, HookState::Fine);
}
