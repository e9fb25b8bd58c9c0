//! The watch, between webhooks and folders in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bridge::{
    BOX_FOUND, BOX_WEBHOOK, Clock, ContentSource, Handler, Hold, JobFilter, JobState, MappingKeys,
    NewJob, Outcome, Pipeline, PortError, PortErrorKind, Queue, QueueAdmin, Settle, Worker,
    metadata::{MappedFolder, MappedFolders},
    store::memory::MemoryStore,
    watch::{
        Created, Entry, EventPage, EventStream, Happening, Hook, HookRef, HookState, Hooks, SCAN,
        Tree, Watch, WatchError, WatchOptions, Watched, scan_job,
    },
};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    far_sides::FarSides,
    setting::{ManualClock, rules},
    sources::shaky::Shaky,
};

const ADDRESS: &str = "https://bridge.test/webhooks/box";

#[derive(Debug, Default)]
struct State {
    hooks: BTreeMap<String, Hook>,
    made: usize,
    looks: usize,
    /// A trigger that is spelled otherwise here.
    spells: Option<&'static str>,
    /// What has happened, as the event stream tells it.
    happened: Vec<Happening>,
    /// How looking through a folder ends.
    ends: Option<PortErrorKind>,
    /// How often somebody asked which folders are mapped.
    lists: usize,
    /// How the list of those with this key ends.
    list_ends: Option<(&'static str, PortErrorKind)>,
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
        if state
            .spells
            .is_some_and(|wrong| triggers.iter().any(|it| it == wrong))
        {
            return Err(PortError::new(PortErrorKind::Refused, "make the webhook"));
        }
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
        if let Some(kind) = self.state().ends {
            return stream::iter([Err(PortError::new(kind, "list the folder"))]).boxed();
        }
        let files: Vec<_> = self.sides.world().versions.keys().cloned().collect();
        let entry = async |file: String| Ok(Entry::File(self.sides.file(&file).await?));
        stream::iter(files).then(entry).boxed()
    }
}

impl MappedFolders for Far {
    fn mapped(&self, key: &str) -> BoxStream<'_, Result<MappedFolder, PortError>> {
        let world = self.sides.world();
        let mapped = world.folders.iter().filter_map(|(folder, it)| {
            let record = it.mapping.as_ref()?.get(key)?.as_str()?.to_owned();
            let folder = folder.clone();
            Some(Ok(MappedFolder { folder, record }))
        });
        let mut mapped: Vec<_> = mapped.collect();
        let mut state = self.state();
        state.lists += 1;
        if let Some((_, kind)) = state.list_ends.filter(|(of, _)| *of == key) {
            mapped.push(Err(PortError::new(kind, "list mapped folders")));
        }
        stream::iter(mapped).boxed()
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
    /// Ends all jobs that are due, whatever they are.
    async fn do_all(&self) {
        let now = self.clock.now();
        for job in self.store.lease("other", 9, HOUR, now).await.unwrap() {
            let note = String::new();
            let settle = Settle::Done { note };
            self.store.settle(&job.lease, settle, now).await.unwrap();
        }
    }

    fn new() -> Self {
        Self::with(false)
    }

    fn with(has_events: bool) -> Self {
        Self::set(has_events, |_| {})
    }

    fn set(has_events: bool, set: impl Fn(&mut WatchOptions)) -> Self {
        let (sides, store) = (FarSides::new(), Arc::new(MemoryStore::new()));
        let far = Far {
            state: Arc::default(),
            sides: sides.clone(),
        };
        // Behind the worker's, for which nothing may lie in the future.
        let clock = ManualClock::at(Timestamp::now() - 24 * HOUR);
        Self::on(far, store, clock, has_events, set)
    }

    /// Another process on the same store.
    fn started_again(&self) -> Self {
        let (far, store) = (self.far.clone(), self.store.clone());
        Self::on(far, store, self.clock.clone(), false, |_| {})
    }

    fn on(
        far: Far,
        store: Arc<MemoryStore>,
        clock: ManualClock,
        has_events: bool,
        set: impl Fn(&mut WatchOptions),
    ) -> Self {
        let mut options = WatchOptions::new(["deal"], ADDRESS, ["FILE.UPLOADED"]);
        (options.check_every, options.catch_up_every) = (HOUR, HOUR);
        set(&mut options);
        let side = Arc::new(far.clone());
        let events: Option<Arc<dyn EventStream>> = match has_events {
            true => Some(side.clone()),
            false => None,
        };
        let mapped = side.clone();
        let watch = Watch::new(side.clone(), side, store.clone(), store.clone(), options);
        let watch = watch.mapped_folders(mapped);
        let watch = watch.events(events).clock(Arc::new(clock.clone()));
        let content = Arc::new(far.sides.clone());
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
        self.far.sides.add_version(file, b"bytes");
        self.happened(file, &["0", "deal"]);
        self.watch.catch_up().await.unwrap();
        self.worker.run_until_idle().await.unwrap();
    }

    fn happened(&self, file: &str, path: &[&str]) {
        let folder = |id: &&str| json!({ "type": "folder", "id": id, "name": id });
        let version = self.far.sides.world().versions[file]
            .last()
            .unwrap()
            .clone();
        let happening = Happening {
            id: format!("stream {file}"),
            trigger: "FILE.UPLOADED".to_owned(),
            at: Some(self.clock.now()),
            by: json!(null),
            source: json!({
                "type": "file", "id": file, "name": "NDA.pdf",
                "file_version": { "type": "file_version", "id": version.0.id },
                "path_collection": { "entries": path.iter().map(folder).collect::<Vec<_>>() },
            }),
            details: json!([]),
            is_certain: true,
        };
        self.far.state().happened.push(happening);
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

#[tokio::test]
async fn a_trigger_with_two_spellings_is_asked_for_in_either_and_is_the_same_in_both() {
    let [guide, document] = [
        "SIGN_REQUEST.SIGNER_SIGNED",
        "SIGN_REQUEST.SIGN_SIGNER_SIGNED",
    ];
    for (wanted, refused) in [(guide, guide), (document, document)] {
        let watching = Watching::set(false, |options| options.triggers = vec![wanted.to_owned()]);
        watching.far.state().spells = Some(refused);
        assert_eq!(watching.check().await, HookState::Made);
        assert_eq!(watching.check().await, HookState::Fine, "{wanted}");
    }
    let watching = Watching::new();
    watching.far.state().spells = Some("FILE.UPLOADED");
    assert_eq!(watching.check().await, HookState::Failed);
}

#[tokio::test]
async fn what_waits_for_another_time_takes_no_room_from_what_was_missed() {
    let watching = Watching::set(true, |options| options.most_ahead = 3);
    watching.happens("1").await;
    let put_off = |number: usize, kind: &str| NewJob {
        dedupe: format!("{kind} {number}"),
        key: format!("{kind} {number}"),
        kind: kind.to_owned(),
        body: "{}".into(),
    };
    let wait = async |kind: &str| {
        let now = watching.clock.now();
        let jobs = (0..4).map(|number| put_off(number, kind)).collect();
        watching.store.push(jobs, now).await.unwrap();
        for job in watching.store.lease("other", 9, HOUR, now).await.unwrap() {
            let (at, reason) = (now + 48 * HOUR, "later".to_owned());
            let settle = Settle::Defer { at, reason };
            watching
                .store
                .settle(&job.lease, settle, now)
                .await
                .unwrap();
        }
    };
    wait("digest").await;
    watching.happens("2").await;
    assert_eq!(watching.far.sides.world().stored.len(), 1);
    // What can wait itself does take it.
    wait(BOX_FOUND).await;
    watching.far.sides.add_version("3", b"bytes");
    watching.happened("3", &["0", "deal"]);
    let full = watching.watch.catch_up().await.unwrap_err();
    assert!(matches!(full, WatchError::Full(_)), "{full}");
}

#[tokio::test]
async fn a_look_through_a_folder_pays_no_attempt_for_what_is_not_its_doing() {
    let watching = Watching::new();
    watching.far.sides.add_version("7", b"bytes");
    let (store, sides) = (&watching.store, Arc::new(watching.far.sides.clone()));
    let shaky = Arc::new(Shaky {
        store: store.clone(),
        ..Shaky::default()
    });
    let options = WatchOptions::new(["deal"], ADDRESS, ["FILE.UPLOADED"]);
    let side = Arc::new(watching.far.clone());
    let watch = Watch::new(side.clone(), side, store.clone(), shaky.clone(), options);
    let pipeline = Pipeline::new(sides.clone(), sides, store.clone(), rules());
    let handler = Watched::new(pipeline, Some(Arc::new(watch)));
    let now = Timestamp::now();
    store
        .push(vec![scan_job("deal", None, "asked")], now)
        .await
        .unwrap();
    let leased = store.lease("w", 1, HOUR, now).await.unwrap();
    let look = async || handler.handle(&leased[0], &Hold::forever()).await;

    shaky.no_position.store(true, Ordering::SeqCst);
    let outcome = look().await;
    assert!(matches!(outcome, Outcome::Defer { .. }), "{outcome:?}");
    shaky.no_position.store(false, Ordering::SeqCst);
    watching.far.state().ends = Some(PortErrorKind::Later);
    let outcome = look().await;
    assert!(matches!(outcome, Outcome::Defer { .. }), "{outcome:?}");
    watching.far.state().ends = Some(PortErrorKind::Busy);
    let outcome = look().await;
    assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    watching.far.state().ends = None;
    let outcome = look().await;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_was_mapped_while_nobody_told_of_it_is_looked_through_once() {
    let mut watching = Watching::new();
    let look = async |watching: &Watching| {
        tokio::time::advance(6 * HOUR).await;
        watching.watch.catch_up().await.unwrap();
        watching.worker.run_until_idle().await.unwrap();
        watching.scans().await
    };
    let map = |watching: &Watching, to: &str| {
        let mut world = watching.far.sides.world();
        let mapping = world.get("deal").unwrap().mapping.as_mut().unwrap();
        mapping.insert("opportunity_id".to_owned(), json!(to));
    };
    watching.far.sides.add_version("7", b"bytes");
    assert_eq!(
        look(&watching).await.len(),
        0,
        "what is there is for a backfill"
    );
    assert_eq!(look(&watching).await.len(), 0);

    map(&watching, "opp2");
    watching.watch.catch_up().await.unwrap();
    assert_eq!(watching.scans().await.len(), 0, "it is not time to look");
    assert_eq!(look(&watching).await, ["1 files, 1 put into the inbox"]);
    assert_eq!(look(&watching).await.len(), 1, "it is known now");

    // Who was away looks at once, and whoever dies before the look is carried out asks for the same.
    for started in 0..3 {
        watching = watching.started_again();
        if started == 0 {
            map(&watching, "opp3");
        }
        watching.watch.catch_up().await.unwrap();
    }
    watching.worker.run_until_idle().await.unwrap();
    let scans = watching.scans().await;
    let found = scans.iter().filter(|it| it.contains("1 put into"));
    assert_eq!((scans.len(), found.count()), (2, 2), "{scans:?}");
}

/// The deal's folder is noted at the first look, as it is mapped then.
async fn noted(watching: &Watching) {
    watching.far.sides.add_version("7", b"bytes");
    watching.watch.catch_up().await.unwrap();
    tokio::time::advance(6 * HOUR).await;
}

fn map(watching: &Watching, key: &str, to: &str) {
    let mut world = watching.far.sides.world();
    let mapping = world.get("deal").unwrap().mapping.as_mut().unwrap();
    mapping.insert(key.to_owned(), json!(to));
}

async fn looked_through(watching: &Watching) -> usize {
    watching.worker.run_until_idle().await.unwrap();
    let scans = watching.scans().await;
    let is_look = |it: &&String| !it.contains("as before");
    scans.iter().filter(is_look).count()
}

#[tokio::test(start_paused = true)]
async fn nobody_lists_all_mapped_folders_for_an_inbox_that_takes_nothing() {
    let watching = Watching::set(false, |options| options.most_ahead = 4);
    noted(&watching).await;
    map(&watching, "opportunity_id", "opp2");
    let now = watching.clock.now();
    let waiting = (0..4).map(|number| NewJob {
        dedupe: number.to_string(),
        key: number.to_string(),
        kind: "task".to_owned(),
        body: "{}".into(),
    });
    watching.store.push(waiting.collect(), now).await.unwrap();
    let lists = || watching.far.state().lists;
    let before = lists();
    for _ in 0..3 {
        let full = watching.watch.catch_up().await.unwrap_err();
        assert!(matches!(full, WatchError::Full(_)), "{full}");
    }
    assert_eq!(lists(), before);
    watching.do_all().await;
    watching.watch.catch_up().await.unwrap();
    assert_eq!(looked_through(&watching).await, 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_looks_are_asked_for_than_the_inbox_takes_and_the_others_come_later() {
    const FOLDERS: usize = 25;
    let watching = Watching::set(false, |options| options.most_ahead = 4);
    noted(&watching).await;
    for number in 0..FOLDERS {
        let mut world = watching.far.sides.world();
        let mut folder = world.get("deal").unwrap().clone();
        folder.parent = "deal".to_owned();
        let record = json!(format!("opp{number}"));
        let mapping = folder.mapping.as_mut().unwrap();
        mapping.clear();
        mapping.insert("opportunity_id".to_owned(), record);
        world.folders.insert(format!("f{number}"), folder);
    }
    let filter = JobFilter {
        limit: 1000,
        ..JobFilter::default()
    };
    let mut times = 0;
    loop {
        let caught_up = watching.watch.catch_up().await;
        let ready = watching.store.counts().await.unwrap().ready;
        assert!(ready <= 4, "{ready} wait");
        watching.do_all().await;
        if caught_up.is_ok() {
            break;
        }
        times += 1;
        assert!(times < FOLDERS, "it comes no further");
        // What came further need not wait for longer each time.
        tokio::time::advance(Duration::from_secs(60)).await;
    }
    let jobs = watching.store.jobs(&filter).await.unwrap();
    assert_eq!(jobs.len(), FOLDERS);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_is_asked_for_less_and_less_and_what_it_told_is_looked_at() {
    let watching = Watching::new();
    noted(&watching).await;
    map(&watching, "opportunity_id", "opp2");
    let list_ends = Some(("opportunity_id", PortErrorKind::Down));
    watching.far.state().list_ends = list_ends;
    let before = watching.far.state().lists;
    watching.watch.catch_up().await.unwrap_err();
    assert_eq!(looked_through(&watching).await, 1, "it was told of");
    // As the service comes back after a failure.
    for _ in 0..6 * 120 {
        tokio::time::advance(Duration::from_secs(30)).await;
        drop(watching.watch.catch_up().await);
    }
    let lists = watching.far.state().lists - before;
    assert!((5..=10).contains(&lists), "{lists} lists in six hours");

    watching.far.state().list_ends = None;
    map(&watching, "opportunity_id", "opp3");
    tokio::time::advance(6 * HOUR).await;
    watching.watch.catch_up().await.unwrap();
    assert_eq!(looked_through(&watching).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_refused_hides_nothing_of_the_other() {
    for (refused, other) in [
        ("opportunity_id", "account_id"),
        ("account_id", "opportunity_id"),
    ] {
        let watching = Watching::new();
        watching.far.state().list_ends = Some((refused, PortErrorKind::Refused));
        noted(&watching).await;
        map(&watching, other, "new");
        watching.watch.catch_up().await.unwrap();
        assert_eq!(looked_through(&watching).await, 1, "{refused} is refused");
    }
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_is_mapped_back_while_nobody_told_of_it_is_looked_through_again() {
    let watching = Watching::new();
    map(&watching, "opportunity_id", "opp1");
    noted(&watching).await;
    for (looks, to) in [(1, "opp2"), (2, "opp1"), (3, "opp2")] {
        map(&watching, "opportunity_id", to);
        watching.watch.catch_up().await.unwrap();
        assert_eq!(looked_through(&watching).await, looks, "mapped to {to}");
        watching.clock.advance(HOUR);
        tokio::time::advance(6 * HOUR).await;
    }

    // Of what was taken away, and heard of, no note is left either.
    let watching = Watching::new();
    noted(&watching).await;
    watching.far.sides.unmap_deal();
    watching.deliver("e1", "METADATA_INSTANCE.DELETED").await;
    watching.far.sides.map_deal();
    watching.watch.catch_up().await.unwrap();
    assert_eq!(looked_through(&watching).await, 1);
}
