//! One version, one link, one task for each event, whatever goes wrong on the way.

use std::{sync::Arc, time::Duration};

use bridge::{
    Action, JobFilter, JobState, Pipeline, Prepared, Queue, QueueAdmin, Rule, Worker,
    WorkerOptions, webhook::Event,
};
use jiff::Timestamp;

use crate::{
    far_sides::Fault,
    setting::{Bridge, body, rules},
};

#[tokio::test]
async fn an_upload_becomes_a_version_links_a_stage_and_a_task() {
    let bridge = Bridge::new();
    let version = bridge.sides.add_version("7", b"%PDF-1.7 agreement");
    bridge.deliver("e1", "7", &version).await;
    bridge.work().await;
    bridge.assert_once("plain");
    assert_eq!(bridge.states().await, [JobState::Done]);
    let world = bridge.sides.world();
    assert_eq!(world.tasks[0].subject, "NDA.pdf came");
    assert_eq!(world.tasks[0].description, "By Jo Rep.");
}

#[tokio::test]
async fn a_lost_answer_at_any_write_still_gives_exactly_one() {
    for write in ["upload", "link", "task", "stage"] {
        for faults in 1..4 {
            for fault in [Fault::AnswerLost, Fault::Refused] {
                let bridge = Bridge::new();
                let version = bridge.sides.add_version("7", b"bytes");
                bridge
                    .sides
                    .world()
                    .faults
                    .extend(vec![(write, fault); faults]);
                bridge.deliver("e1", "7", &version).await;
                bridge.work().await;
                bridge.assert_once(&format!("{faults} x {fault:?} at {write}"));
            }
        }
    }
}

#[tokio::test]
async fn two_events_of_one_version_bring_it_once() {
    let bridge = Bridge::new();
    let version = bridge.sides.add_version("7", b"bytes");
    bridge.deliver("e1", "7", &version).await;
    bridge.deliver("e2", "7", &version).await;
    bridge.work().await;
    let world = bridge.sides.world();
    assert_eq!((world.stored.len(), world.links.len()), (1, 2));
    assert_eq!(world.tasks.len(), 2, "one task for each event");
}

#[tokio::test]
async fn a_new_version_of_the_file_is_a_new_version_of_the_document() {
    let bridge = Bridge::new();
    for number in 1..4 {
        let version = bridge
            .sides
            .add_version("7", format!("bytes {number}").as_bytes());
        bridge.deliver(&format!("e{number}"), "7", &version).await;
        bridge.work().await;
    }
    let world = bridge.sides.world();
    assert_eq!(world.stored.len(), 3);
    assert!(
        world.stored.iter().all(|stored| stored.document == "doc1"),
        "{:?}",
        world.stored
    );
    assert_eq!(world.links.len(), 2);
}

#[tokio::test]
async fn a_version_that_overtakes_brings_the_one_before_it_first() {
    let bridge = Bridge::new();
    let first = bridge.sides.add_version("7", b"one");
    let second = bridge.sides.add_version("7", b"two");
    bridge.deliver("e2", "7", &second).await;
    bridge.work().await;
    bridge.deliver("e1", "7", &first).await;
    bridge.work().await;
    let world = bridge.sides.world();
    let order: Vec<_> = world
        .stored
        .iter()
        .map(|stored| stored.origin.clone().unwrap().version)
        .collect();
    assert_eq!(order, [first.id, second.id]);
    assert_eq!(world.stored[0].document, world.stored[1].document);
}

#[tokio::test]
async fn an_old_version_is_never_brought_after_a_newer_one() {
    let bridge = Bridge::new();
    let first = bridge.sides.add_version("7", b"one");
    // So old that nothing can be overtaken any more.
    bridge.sides.world().versions.get_mut("7").unwrap()[0]
        .0
        .created_at = Some(Timestamp::UNIX_EPOCH);
    let second = bridge.sides.add_version("7", b"two");
    bridge.deliver("e2", "7", &second).await;
    bridge.work().await;
    bridge.deliver("e1", "7", &first).await;
    bridge.work().await;
    let world = bridge.sides.world();
    assert_eq!(world.stored.len(), 1);
    assert_eq!(world.stored[0].origin.clone().unwrap().version, second.id);
}

#[tokio::test]
async fn a_document_deleted_by_a_person_starts_anew() {
    let bridge = Bridge::new();
    let first = bridge.sides.add_version("7", b"one");
    bridge.deliver("e1", "7", &first).await;
    bridge.work().await;
    bridge.sides.world().deleted.push("doc1".to_owned());
    let second = bridge.sides.add_version("7", b"two");
    bridge.deliver("e2", "7", &second).await;
    bridge.work().await;
    let world = bridge.sides.world();
    assert_eq!(world.stored[1].document, "doc2");
    assert!(world.links.contains(&("doc2".to_owned(), "acc".to_owned())));
}

#[tokio::test]
async fn bytes_that_are_not_boxs_never_arrive() {
    let bridge = Bridge::new();
    let version = bridge.sides.add_version("7", b"bytes");
    bridge.sides.world().corrupt = true;
    bridge.deliver("e1", "7", &version).await;
    bridge.work().await;
    {
        let world = bridge.sides.world();
        assert!(world.stored.is_empty() && world.links.is_empty() && world.tasks.is_empty());
    }
    assert_eq!(bridge.states().await, [JobState::Dead]);
    let dead = bridge.store.jobs(&JobFilter::default()).await.unwrap();
    assert!(
        dead[0].note.as_deref().unwrap().contains("SHA-1"),
        "{:?}",
        dead[0].note
    );

    bridge.sides.world().corrupt = false;
    bridge
        .store
        .replay(&[dead[0].id], Timestamp::now())
        .await
        .unwrap();
    bridge.work().await;
    bridge.assert_once("replayed");
}

#[tokio::test]
async fn a_worker_that_dies_between_write_and_record_is_taken_over_without_a_double() {
    let bridge = Bridge::new();
    let version = bridge.sides.add_version("7", b"bytes");
    bridge.deliver("e1", "7", &version).await;
    // The write arrives, the answer does not, and the process that asked is gone.
    bridge
        .sides
        .world()
        .faults
        .push_back(("upload", Fault::AnswerLost));
    let hold = Duration::from_secs(60);
    let now = Timestamp::now();
    let leased = bridge.store.lease("dead", 1, hold, now).await.unwrap();
    let pipeline = Pipeline::new(
        Arc::new(bridge.sides.clone()),
        Arc::new(bridge.sides.clone()),
        bridge.store.clone(),
        rules(),
    );
    bridge::Handler::handle(&pipeline, &leased[0], &bridge::Hold::forever()).await;
    bridge.store.release(Some("dead"), now).await.unwrap();
    bridge.work().await;
    bridge.assert_once("taken over");
}

#[tokio::test]
async fn a_handler_that_panics_fails_one_job_only() {
    #[derive(Debug)]
    struct Bomb;
    #[async_trait::async_trait]
    impl Action for Bomb {
        fn name(&self) -> &str {
            "bomb"
        }
        fn plan(&self, situation: &bridge::Situation) -> Option<String> {
            (situation.subject.id() == "7").then(|| "explode".to_owned())
        }
        async fn apply(
            &self,
            _: &bridge::Step,
            _: &bridge::Work<'_>,
        ) -> Result<String, bridge::StepError> {
            panic!("on purpose")
        }
    }
    let mut bridge = Bridge::new();
    let bomb: Vec<Arc<dyn Action>> = vec![Arc::new(Bomb)];
    let rules = vec![Rule::new("bomb", ["FILE.UPLOADED"], bomb).unwrap()];
    let (sides, store) = (bridge.sides.clone(), bridge.store.clone());
    let pipeline = Pipeline::new(
        Arc::new(sides.clone()),
        Arc::new(sides),
        store.clone(),
        rules,
    );
    let mut options = WorkerOptions::default();
    (options.backoff.base, options.backoff.jitter) = (Duration::ZERO, Duration::ZERO);
    options.backoff.max_attempts = 3;
    bridge.worker = Worker::new(store, pipeline, "w").options(options);
    for file in ["7", "8"] {
        let version = bridge.sides.add_version(file, b"bytes");
        bridge.deliver(&format!("e{file}"), file, &version).await;
    }
    bridge.work().await;
    assert_eq!(bridge.states().await, [JobState::Dead, JobState::Done]);
}

#[tokio::test]
async fn the_plan_can_be_read_before_anything_is_done() {
    let bridge = Bridge::new();
    let version = bridge.sides.add_version("7", b"bytes");
    let event = Event::parse(body("e1", "7", &version).as_bytes()).unwrap();
    let sides = Arc::new(bridge.sides.clone());
    let pipeline = Pipeline::new(sides.clone(), sides, bridge.store.clone(), rules());
    let Prepared::Steps(_, plan) = pipeline.prepare(&event, Timestamp::now()).await.unwrap() else {
        panic!("nothing to do")
    };
    assert_eq!(
        plan.to_string(),
        "1. attach NDA.pdf (version v1) to opp, acc  (rule contracts, attach)\n\
         2. advance opp to Review  (rule contracts, advance_stage)\n\
         3. log \"NDA.pdf came\" on opp  (rule contracts, log_task)"
    );
    assert!(bridge.sides.world().writes.is_empty());
}
