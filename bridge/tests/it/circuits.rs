//! A far side that is out of order, or paused, and what goes on all the same.

use std::{sync::Arc, time::Duration};

use bridge::{
    Action, AdvanceStage, Attach, Backoff, CircuitState, Handler, Hold, Job, JobFilter, JobState,
    Leased, LogTask, Outcome, Pauses, Pipeline, PipelineOptions, Queue, QueueAdmin, Rule, Side,
    Target, Worker, WorkerOptions, store::memory::MemoryStore,
};
use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::{
    far_sides::{FarSides, Fault},
    setting::{self, Bridge, rules},
};

const PAUSE: Duration = Duration::from_millis(50);

fn pipeline(sides: &FarSides, store: &Arc<MemoryStore>, pause: Duration) -> Pipeline {
    let sides = Arc::new(sides.clone());
    let mut options = PipelineOptions::default();
    (options.settle_after, options.outage_pause) = (Duration::ZERO, pause);
    options.settle_uploads_after = Duration::ZERO;
    Pipeline::new(sides.clone(), sides, store.clone(), rules()).options(options)
}

fn options() -> WorkerOptions {
    let mut backoff = Backoff::default();
    (backoff.base, backoff.jitter) = (Duration::ZERO, Duration::ZERO);
    let mut options = WorkerOptions::default();
    (options.concurrency, options.backoff) = (1, backoff);
    options.poll = Duration::from_millis(5);
    options
}

async fn deliver(bridge: &Bridge, files: usize) {
    for file in 0..files {
        let version = bridge.sides.add_version(&file.to_string(), b"bytes");
        bridge
            .deliver(&format!("e{file}"), &file.to_string(), &version)
            .await;
    }
}

async fn jobs(bridge: &Bridge) -> Vec<Job> {
    bridge.store.jobs(&JobFilter::default()).await.unwrap()
}

#[tokio::test]
async fn a_side_that_does_not_answer_costs_few_attempts_and_few_calls_however_many_jobs_wait() {
    let bridge = Bridge::new();
    deliver(&bridge, 40).await;
    let down = [("upload", Fault::Down); 1000];
    bridge.sides.world().faults.extend(down);
    let pipeline = pipeline(&bridge.sides, &bridge.store, Duration::from_secs(600));
    let circuits = pipeline.circuits();
    let worker = Worker::new(bridge.store.clone(), pipeline, "w").options(options());
    worker.run_until_idle().await.unwrap();

    assert!(matches!(circuits.state(Side::Crm), CircuitState::Open(_)));
    assert_eq!(circuits.state(Side::Content), CircuitState::Closed);
    assert_eq!(
        bridge.sides.world().writes.len(),
        5,
        "then it is left alone"
    );
    let jobs = jobs(&bridge).await;
    let attempts: u32 = jobs.iter().map(|job| job.attempts).sum();
    assert!(attempts < 5, "{attempts} attempts were burned");
    assert!(jobs.iter().all(|job| job.state == JobState::Ready));
}

#[tokio::test]
async fn when_it_answers_again_everything_is_done_once() {
    let bridge = Bridge::new();
    deliver(&bridge, 12).await;
    let faults = [("upload", Fault::Down); 8];
    bridge.sides.world().faults.extend(faults);
    let pipeline = pipeline(&bridge.sides, &bridge.store, PAUSE);
    let worker = Worker::new(bridge.store.clone(), pipeline, "w").options(options());
    let all_done = async {
        while bridge.store.counts().await.unwrap().done < 12 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), worker.run(all_done))
        .await
        .unwrap();
    let world = bridge.sides.world();
    assert_eq!((world.stored.len(), world.tasks.len()), (12, 12));
    // Five until it opened, three probes that failed, and then the one of each file.
    let uploads = world.writes.iter().filter(|it| **it == "upload").count();
    assert_eq!(uploads, 5 + 3 + 12);
}

#[tokio::test]
async fn what_needs_no_such_side_goes_on() {
    let bridge = Bridge::new();
    deliver(&bridge, 3).await;
    bridge
        .sides
        .world()
        .faults
        .push_back(("upload", Fault::Outage));
    let pipeline = pipeline(&bridge.sides, &bridge.store, Duration::from_secs(600));
    let worker = Worker::new(bridge.store.clone(), pipeline, "w").options(options());
    worker.run_until_idle().await.unwrap();
    let unmapped = bridge::NewJob {
        dedupe: "unmapped".into(),
        key: "unmapped".into(),
        kind: bridge::BOX_WEBHOOK.into(),
        body: r#"{"type":"webhook_event","id":"x","trigger":"FILE.DOWNLOADED",
            "created_at":"2026-03-01T10:10:32-08:00","webhook":{"id":"1","type":"webhook"},
            "source":{"type":"file","id":"1"},"additional_info":[]}"#
            .into(),
    };
    bridge
        .store
        .push(vec![unmapped], Timestamp::now())
        .await
        .unwrap();
    worker.run_until_idle().await.unwrap();
    assert_eq!(bridge.states().await.last(), Some(&JobState::Done));
}

#[tokio::test]
async fn a_paused_side_is_not_called_and_the_other_one_is() {
    let bridge = Bridge::new();
    deliver(&bridge, 2).await;
    bridge.store.pause(Some(Side::Crm)).await.unwrap();
    let worker = |store: &Arc<MemoryStore>| {
        let pipeline = pipeline(&bridge.sides, store, PAUSE);
        Worker::new(store.clone(), pipeline, "w").options(options())
    };
    worker(&bridge.store).run_until_idle().await.unwrap();
    assert!(bridge.sides.world().writes.is_empty());
    let waiting = jobs(&bridge).await;
    assert!(waiting.iter().all(|job| job.attempts == 0), "{waiting:?}");
    assert!(waiting[0].note.as_ref().unwrap().contains("paused"));

    bridge.store.resume(Some(Side::Crm)).await.unwrap();
    let ids: Vec<_> = waiting.iter().map(|job| job.id).collect();
    bridge.store.retry(&ids, Timestamp::now()).await.unwrap();
    worker(&bridge.store).run_until_idle().await.unwrap();
    assert_eq!(bridge.states().await, [JobState::Done; 2]);
}

#[tokio::test]
async fn where_there_is_no_room_for_files_nothing_else_stops_and_each_comes_once_there_is() {
    let text = |text: &str| text.parse().unwrap();
    let attach: Arc<dyn Action> = Arc::new(Attach::to([Target::Opportunity]));
    let stage: Arc<dyn Action> = Arc::new(AdvanceStage::new("Review"));
    let log: Arc<dyn Action> = Arc::new(LogTask::new(text("{file.name}"), text("")));
    let rules = || {
        vec![
            Rule::new("files", ["FILE.UPLOADED"], vec![attach.clone()]).unwrap(),
            Rule::new(
                "looks",
                ["FILE.DOWNLOADED"],
                vec![stage.clone(), log.clone()],
            )
            .unwrap(),
        ]
    };
    let bridge = Bridge::new();
    deliver(&bridge, 12).await;
    for number in 0..12 {
        let file = format!("seen{number}");
        let version = bridge.sides.add_version(&file, b"bytes");
        let body = setting::body(&file, &file, &version);
        let job = bridge::NewJob {
            dedupe: file.clone(),
            key: file,
            kind: bridge::BOX_WEBHOOK.into(),
            body: body.replace("FILE.UPLOADED", "FILE.DOWNLOADED").into(),
        };
        let now = Timestamp::now();
        bridge.store.push(vec![job], now).await.unwrap();
    }
    let worker = |pause| {
        let sides = Arc::new(bridge.sides.clone());
        let mut options = PipelineOptions::default();
        (options.settle_after, options.outage_pause) = (Duration::ZERO, pause);
        options.settle_uploads_after = Duration::ZERO;
        let pipeline = Pipeline::new(sides.clone(), sides, bridge.store.clone(), rules());
        let pipeline = pipeline.options(options);
        let circuits = pipeline.circuits();
        let worker = Worker::new(bridge.store.clone(), pipeline, "w");
        (worker.options(self::options()), circuits)
    };
    let full = [("upload", Fault::Full); 4];
    bridge.sides.world().faults.extend(full);
    let (long, circuits) = worker(Duration::from_secs(600));
    long.run_until_idle().await.unwrap();
    {
        let world = bridge.sides.world();
        assert_eq!((world.tasks.len(), world.stored.len()), (12, 0));
        assert_eq!(world.stage, "Review");
        let uploads = world.writes.iter().filter(|it| **it == "upload");
        assert_eq!(uploads.count(), 1, "the others were not sent");
    }
    assert_eq!(circuits.state(Side::Crm), CircuitState::Closed);
    assert!(matches!(circuits.uploads(), CircuitState::Open(_)));
    let all = jobs(&bridge).await;
    let (waiting, done): (Vec<_>, Vec<_>) = all.iter().partition(|it| it.state == JobState::Ready);
    assert_eq!((waiting.len(), done.len()), (12, 12));
    for job in &waiting {
        let note = job.note.as_deref().unwrap_or_default();
        assert!(note.contains("no room for it"), "{note}");
        assert_eq!(job.attempts, 0, "{note}");
    }

    let ids: Vec<_> = waiting.iter().map(|job| job.id).collect();
    bridge.store.retry(&ids, Timestamp::now()).await.unwrap();
    let (short, circuits) = worker(PAUSE);
    let all_done = async {
        while bridge.store.counts().await.unwrap().done < 24 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), short.run(all_done))
        .await
        .unwrap();
    assert_eq!(circuits.uploads(), CircuitState::Closed);
    let world = bridge.sides.world();
    assert_eq!((world.stored.len(), world.tasks.len()), (12, 12));
    let uploads = world.writes.iter().filter(|it| **it == "upload").count();
    assert_eq!(uploads, 4 + 12);
}

/// Files of which the first are too large for the room that is left.
async fn deliver_sizes(bridge: &Bridge, sizes: &[usize]) {
    for (file, size) in sizes.iter().enumerate() {
        let file = format!("{size}-{file}");
        let version = bridge.sides.add_version(&file, &vec![b'x'; *size]);
        bridge.deliver(&file, &file, &version).await;
    }
}

#[tokio::test]
async fn what_is_too_large_for_the_room_keeps_no_smaller_file_out_and_asks_for_nothing_meanwhile() {
    let bridge = Bridge::new();
    bridge.sides.world().room = Some(100);
    deliver_sizes(&bridge, &[1000, 10, 1000, 20, 1000, 30]).await;
    let pipeline = pipeline(&bridge.sides, &bridge.store, Duration::from_secs(600));
    let circuits = pipeline.circuits();
    let worker = Worker::new(bridge.store.clone(), pipeline, "w").options(options());
    worker.run_until_idle().await.unwrap();
    let large = {
        let world = bridge.sides.world();
        assert_eq!(world.stored.len(), 3);
        let uploads = world.writes.iter().filter(|it| **it == "upload");
        assert_eq!(uploads.count(), 4, "of the large ones one was sent");
        let mut asked = world.asked.clone();
        asked.retain(|file| file.starts_with("1000-"));
        asked.dedup();
        assert_eq!(asked, ["1000-0"]);
        asked.len()
    };
    assert!(matches!(circuits.uploads(), CircuitState::Open(_)));

    let waiting = jobs(&bridge).await;
    let waiting: Vec<_> = waiting
        .iter()
        .filter(|it| it.state == JobState::Ready)
        .collect();
    assert_eq!(waiting.len(), 2 + large);
    assert!(waiting.iter().all(|it| it.attempts == 0), "{waiting:?}");
    let ids: Vec<_> = waiting.iter().map(|job| job.id).collect();
    let before = bridge.sides.world().asked.len();
    for _ in 0..3 {
        bridge.store.retry(&ids, Timestamp::now()).await.unwrap();
        worker.run_until_idle().await.unwrap();
    }
    assert_eq!(bridge.sides.world().asked.len(), before, "Box was asked");
}

#[tokio::test]
async fn what_finds_no_room_while_smaller_files_do_ends_as_a_dead_letter() {
    let bridge = Bridge::new();
    bridge.sides.world().room = Some(100);
    deliver_sizes(&bridge, &[1000]).await;
    let pipeline = pipeline(&bridge.sides, &bridge.store, Duration::ZERO);
    let mut options = options();
    options.backoff.max_attempts = 3;
    let worker = Worker::new(bridge.store.clone(), pipeline, "w").options(options);
    let dead = async {
        let mut small = 0;
        while bridge.store.counts().await.unwrap().dead == 0 {
            small += 1;
            let file = format!("small{small}");
            let version = bridge.sides.add_version(&file, b"bytes");
            bridge.deliver(&file, &file, &version).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), worker.run(dead))
        .await
        .unwrap();
    let all = jobs(&bridge).await;
    let dead = all.iter().find(|it| it.state == JobState::Dead).unwrap();
    let note = dead.note.as_deref().unwrap_or_default();
    assert!(note.contains("no room for it, only for smaller"), "{note}");
    let large = all.iter().min_by_key(|it| it.id).unwrap();
    assert_eq!(large.id, dead.id);
}

#[derive(Clone, Debug)]
struct Counting(Arc<Semaphore>);

#[async_trait::async_trait]
impl Handler for Counting {
    async fn handle(&self, _: &Leased, _: &Hold) -> Outcome {
        self.0.add_permits(1);
        Outcome::Done("done".into())
    }
}

#[tokio::test]
async fn a_running_worker_stops_and_goes_on_at_an_operators_word() {
    let store = Arc::new(MemoryStore::new());
    store.pause(None).await.unwrap();
    let handled = Arc::new(Semaphore::new(0));
    let worker = Worker::new(store.clone(), Counting(handled.clone()), "w").options(options());
    let bridge = Bridge {
        sides: FarSides::new(),
        store: store.clone(),
        worker: Bridge::worker(&FarSides::new(), &store, "unused"),
    };
    deliver(&bridge, 3).await;
    worker.run_until_idle().await.unwrap();
    assert_eq!(handled.available_permits(), 0);
    assert_eq!(bridge.states().await, [JobState::Ready; 3]);

    let word = async {
        store.resume(None).await.unwrap();
        handled.acquire_many(3).await.unwrap().forget();
        assert_eq!(store.pauses().await.unwrap(), Pauses::default());
    };
    tokio::time::timeout(Duration::from_secs(30), worker.run(word))
        .await
        .unwrap();
}
