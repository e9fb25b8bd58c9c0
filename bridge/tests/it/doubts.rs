//! Writes whose outcome nobody knows, and how long it takes until somebody does.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bridge::{
    Action, BOX_WEBHOOK, Clock, Effect, EffectKey, EffectState, Handler, Hold, JobFilter, JobState,
    Ledger, LogTask, NewJob, Outcome, Pipeline, Queue, QueueAdmin, Settle, StepError, Work, Writer,
};
use jiff::Timestamp;

use crate::{
    far_sides::Fault,
    setting::{Bridge, ManualClock, rules},
    sources::shaky::Shaky,
};

const SETTLE: Duration = Duration::from_secs(15);

fn pipeline(bridge: &Bridge) -> (Pipeline, ManualClock) {
    let clock = ManualClock::at(Timestamp::now());
    let pipeline = Pipeline::new(
        Arc::new(bridge.sides.clone()),
        Arc::new(bridge.sides.clone()),
        bridge.store.clone(),
        rules(),
    );
    // Their own pauses are not what these are about.
    let mut options = bridge::PipelineOptions::default();
    options.outage_pause = Duration::ZERO;
    (options.settle_after, options.settle_uploads_after) = (SETTLE, SETTLE);
    let pipeline = pipeline.options(options);
    (pipeline.clock(Arc::new(clock.clone())), clock)
}

/// For everybody: the worker's clock, and that of the store.
async fn pass(clock: &ManualClock, time: Duration) {
    clock.advance(time);
    tokio::time::advance(time).await;
}

async fn handle(bridge: &Bridge, pipeline: &Pipeline) -> Outcome {
    let long = Duration::from_secs(600);
    let far = Timestamp::now().checked_add(long).unwrap();
    let leased = bridge.store.lease("w", 1, long, far).await.unwrap();
    let outcome = pipeline.handle(&leased[0], &Hold::forever()).await;
    let reason = "again".into();
    let again = Settle::Retry { at: far, reason };
    let lease = &leased[0].lease;
    bridge.store.settle(lease, again, far).await.unwrap();
    outcome
}

#[tokio::test(start_paused = true)]
async fn a_write_that_lands_late_is_found_even_when_the_repeat_was_refused() {
    for fault in [Fault::Refused, Fault::Outage] {
        for (write, context) in [("upload", "upload"), ("task", "task")] {
            let bridge = Bridge::new();
            let version = bridge.sides.add_version("7", b"bytes");
            bridge.deliver("e1", "7", &version).await;
            let (pipeline, clock) = pipeline(&bridge);
            bridge
                .sides
                .world()
                .faults
                .extend([(write, Fault::LandsLater), (write, fault)]);

            let outcome = handle(&bridge, &pipeline).await;
            assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
            pass(&clock, SETTLE).await;
            // It looks, finds nothing yet, and its own write is refused.
            handle(&bridge, &pipeline).await;
            bridge.sides.land();
            let outcome = handle(&bridge, &pipeline).await;
            assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
            bridge.assert_once(context);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_over_gives_the_far_side_its_time_first() {
    let bridge = Bridge::new();
    let version = bridge.sides.add_version("7", b"bytes");
    bridge.deliver("e1", "7", &version).await;
    let (pipeline, clock) = pipeline(&bridge);
    // A worker began its upload long ago, sent the last of it just now, and died.
    let key = EffectKey::new(["version", "7", &version.id]);
    let gone = Writer::unknown();
    bridge.store.begin(&key, &gone, clock.now()).await.unwrap();
    pass(&clock, Duration::from_secs(3600)).await;

    let Outcome::Defer { until, .. } = handle(&bridge, &pipeline).await else {
        panic!("it did not wait")
    };
    assert_eq!(until, clock.now().checked_add(SETTLE).unwrap());
    assert!(bridge.sides.world().writes.is_empty());
    pass(&clock, SETTLE).await;
    assert!(matches!(handle(&bridge, &pipeline).await, Outcome::Done(_)));
    bridge.assert_once("taken over");
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_before_the_far_side_is_at_rest() {
    let bridge = Bridge::new();
    let version = bridge.sides.add_version("7", b"bytes");
    bridge.deliver("e1", "7", &version).await;
    let (pipeline, clock) = pipeline(&bridge);
    bridge
        .sides
        .world()
        .faults
        .push_back(("upload", Fault::LandsLater));
    let Outcome::Retry { after, .. } = handle(&bridge, &pipeline).await else {
        panic!("no retry")
    };
    assert_eq!(after, Some(SETTLE));
    pass(&clock, SETTLE - Duration::from_secs(1)).await;
    assert!(matches!(
        handle(&bridge, &pipeline).await,
        Outcome::Defer { .. }
    ));
    bridge.sides.land();
    pass(&clock, Duration::from_secs(1)).await;
    assert!(matches!(handle(&bridge, &pipeline).await, Outcome::Done(_)));
    bridge.assert_once("at rest");
}

/// Salesforce may take minutes to store a file after its last byte, and shows nothing of it until then.
#[tokio::test(start_paused = true)]
async fn a_file_is_given_the_time_that_the_far_side_may_take_to_store_it() {
    const STORING: Duration = Duration::from_secs(600);
    let bridge = Bridge::new();
    let version = bridge.sides.add_version("7", b"bytes");
    bridge.deliver("e1", "7", &version).await;
    let (pipeline, clock) = pipeline(&bridge);
    let mut options = bridge::PipelineOptions::default();
    (options.settle_after, options.settle_uploads_after) = (SETTLE, STORING);
    let pipeline = pipeline.options(options);
    let faults = [("upload", Fault::LandsLater), ("task", Fault::LandsLater)];
    bridge.sides.world().faults.extend(faults);
    handle(&bridge, &pipeline).await;
    pass(&clock, STORING - Duration::from_secs(1)).await;
    let outcome = handle(&bridge, &pipeline).await;
    assert!(matches!(outcome, Outcome::Defer { .. }), "{outcome:?}");
    bridge.sides.land();
    pass(&clock, Duration::from_secs(1)).await;
    // It is found; the Task after it is another effect, with a time of its own.
    let outcome = handle(&bridge, &pipeline).await;
    assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    bridge.sides.land();
    pass(&clock, SETTLE).await;
    assert!(matches!(handle(&bridge, &pipeline).await, Outcome::Done(_)));
    bridge.assert_once("stored late");
}

/// A machine whose clock was ahead has doubted it, and the next to meet it has the right time.
#[tokio::test(start_paused = true)]
async fn how_long_a_write_has_rested_is_not_told_by_the_workers_clocks() {
    let bridge = Bridge::new();
    let version = bridge.sides.add_version("7", b"bytes");
    bridge.deliver("e1", "7", &version).await;
    let (ahead, clock) = pipeline(&bridge);
    clock.advance(Duration::from_secs(90));
    let fault = ("upload", Fault::LandsLater);
    bridge.sides.world().faults.push_back(fault);
    handle(&bridge, &ahead).await;
    let (right, clock) = pipeline(&bridge);
    for clock_is_off in [0, 90] {
        clock.advance(Duration::from_secs(clock_is_off));
        let outcome = handle(&bridge, &right).await;
        assert!(matches!(outcome, Outcome::Defer { .. }), "{outcome:?}");
    }
    bridge.sides.land();
    pass(&clock, SETTLE).await;
    assert!(matches!(handle(&bridge, &right).await, Outcome::Done(_)));
    bridge.assert_once("by wrong clocks");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_certainly_failed_leaves_no_doubt() {
    let bridge = Bridge::new();
    let version = bridge.sides.add_version("7", b"bytes");
    bridge.deliver("e1", "7", &version).await;
    let (pipeline, _) = pipeline(&bridge);
    bridge
        .sides
        .world()
        .faults
        .push_back(("upload", Fault::Refused));
    handle(&bridge, &pipeline).await;
    let all = bridge
        .store
        .under(&EffectKey::new::<&str>([]))
        .await
        .unwrap();
    // Besides that the event was taken up.
    let seen = EffectKey::new(["seen"]);
    let is_of_an_effect = |it: &&Effect| !it.key.as_str().starts_with(seen.as_str());
    assert_eq!(all.iter().find(is_of_an_effect), None);
    assert!(matches!(handle(&bridge, &pipeline).await, Outcome::Done(_)));
    let all = bridge
        .store
        .under(&EffectKey::new::<&str>([]))
        .await
        .unwrap();
    let is_finished = |state: &EffectState| matches!(state, EffectState::Finished(_));
    assert!(all.iter().all(|effect| is_finished(&effect.state)));
}

#[tokio::test(start_paused = true)]
async fn an_earlier_version_that_is_refused_for_good_holds_no_later_one_back() {
    let bridge = Bridge::new();
    let first = bridge.sides.add_version("7", b"one");
    bridge
        .sides
        .world()
        .faults
        .push_back(("upload", Fault::Forbidden));
    bridge.deliver("e1", "7", &first).await;
    bridge.work().await;
    assert_eq!(bridge.states().await, [JobState::Dead]);
    let second = bridge.sides.add_version("7", b"two");
    bridge
        .sides
        .world()
        .faults
        .push_back(("upload", Fault::Forbidden));
    bridge.deliver("e2", "7", &second).await;
    bridge.work().await;
    assert_eq!(bridge.states().await, [JobState::Dead, JobState::Done]);
    let world = bridge.sides.world();
    assert_eq!(world.stored.len(), 1);
    assert_eq!(world.stored[0].origin.clone().unwrap().version, second.id);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_box_has_deleted_meanwhile_is_no_failure() {
    let bridge = Bridge::new();
    let version = bridge.sides.add_version("7", b"bytes");
    bridge.sides.world().versions.clear();
    bridge.deliver("e1", "7", &version).await;
    bridge.work().await;
    assert_eq!(bridge.states().await, [JobState::Done]);
    let jobs = bridge.store.jobs(&JobFilter::default()).await.unwrap();
    let note = jobs[0].note.as_deref().unwrap();
    assert!(note.contains("was deleted"), "{note}");
    assert!(bridge.sides.world().stored.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_document_deleted_before_its_second_link_starts_anew() {
    let bridge = Bridge::new();
    let version = bridge.sides.add_version("7", b"bytes");
    bridge.deliver("e1", "7", &version).await;
    let (pipeline, _) = pipeline(&bridge);
    bridge
        .sides
        .world()
        .faults
        .push_back(("link", Fault::Refused));
    handle(&bridge, &pipeline).await;
    bridge.sides.world().deleted.push("doc1".to_owned());
    assert!(matches!(
        handle(&bridge, &pipeline).await,
        Outcome::Retry { .. }
    ));
    assert!(matches!(handle(&bridge, &pipeline).await, Outcome::Done(_)));
    let world = bridge.sides.world();
    assert_eq!(world.stored.len(), 2);
    for record in ["opp", "acc"] {
        let link = ("doc2".to_owned(), record.to_owned());
        assert!(world.links.contains(&link), "{:?}", world.links);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_keeps_everybody_from_that_side_and_costs_no_attempts() {
    let bridge = Bridge::new();
    for file in ["7", "8", "9"] {
        let version = bridge.sides.add_version(file, b"bytes");
        bridge.deliver(&format!("e{file}"), file, &version).await;
    }
    bridge
        .sides
        .world()
        .faults
        .extend([("upload", Fault::Outage); 3]);
    // One at a time, so that nothing else was under way when it became known.
    let worker = Bridge::worker(&bridge.sides, &bridge.store, "w");
    let mut options = bridge::WorkerOptions::default();
    options.concurrency = 1;
    worker.options(options).run_until_idle().await.unwrap();
    assert_eq!(bridge.sides.world().writes, ["upload"]);
    let jobs = bridge.store.jobs(&JobFilter::default()).await.unwrap();
    assert!(
        jobs.iter()
            .all(|job| job.state == JobState::Ready && job.attempts == 0)
    );
}

/// An embedding service's own action keeps the promise by the same means as ours.
#[derive(Debug)]
struct Post;

#[async_trait::async_trait]
impl Action for Post {
    fn name(&self) -> &str {
        "post"
    }

    fn plan(&self, _: &bridge::Situation) -> Option<String> {
        Some("post".to_owned())
    }

    async fn apply(&self, _: &bridge::Step, work: &Work<'_>) -> Result<String, StepError> {
        let key = EffectKey::new(["post", &work.situation.event]);
        let activity = bridge::crm::Activity {
            who: None,
            key: key.to_string(),
            record: work.situation.opportunity.clone().unwrap(),
            subject: "posted".into(),
            description: String::new(),
            date: jiff::civil::date(2030, 1, 1),
        };
        work.once(
            &key,
            async || Ok(work.crm.find_activity(&activity).await?),
            async || work.crm.log_activity(&activity).await,
        )
        .await
    }
}

#[tokio::test(start_paused = true)]
async fn an_action_of_ones_own_happens_once_too() {
    let bridge = Bridge::new();
    let version = bridge.sides.add_version("7", b"bytes");
    bridge.deliver("e1", "7", &version).await;
    let actions: Vec<Arc<dyn Action>> = vec![Arc::new(Post)];
    let rules = vec![bridge::Rule::new("own", ["FILE.UPLOADED"], actions).unwrap()];
    let sides = Arc::new(bridge.sides.clone());
    let clock = ManualClock::at(Timestamp::now());
    let pipeline = Pipeline::new(sides.clone(), sides, bridge.store.clone(), rules);
    let mut options = bridge::PipelineOptions::default();
    options.settle_after = SETTLE;
    let pipeline = pipeline.options(options).clock(Arc::new(clock.clone()));
    bridge
        .sides
        .world()
        .faults
        .push_back(("task", Fault::AnswerLost));
    handle(&bridge, &pipeline).await;
    pass(&clock, SETTLE).await;
    assert!(matches!(handle(&bridge, &pipeline).await, Outcome::Done(_)));
    assert_eq!(bridge.sides.world().tasks.len(), 1);
}

/// A file was looked at, and a Task says so by the file's name.
async fn looked_at(bridge: &Bridge) -> (Pipeline, ManualClock) {
    bridge.sides.add_version("7", b"bytes");
    let body = serde_json::json!({
        "type": "webhook_event", "id": "e1", "trigger": "FILE.PREVIEWED",
        "webhook": { "id": "1", "type": "webhook" }, "source": { "type": "file", "id": "7" },
    });
    let job = NewJob {
        dedupe: "e1".to_owned(),
        key: "box-file/7".to_owned(),
        kind: BOX_WEBHOOK.to_owned(),
        body: body.to_string().into(),
    };
    let now = Timestamp::now();
    bridge.store.push(vec![job], now).await.unwrap();
    let text = |text: &str| text.parse().unwrap();
    let log = LogTask::new(text("{file.name} was looked at"), text(""));
    let log: Vec<Arc<dyn Action>> = vec![Arc::new(log)];
    let rules = vec![bridge::Rule::new("looks", ["FILE.PREVIEWED"], log).unwrap()];
    let sides = Arc::new(bridge.sides.clone());
    let clock = ManualClock::at(now);
    let pipeline = Pipeline::new(sides.clone(), sides, bridge.store.clone(), rules);
    (pipeline.clock(Arc::new(clock.clone())), clock)
}

/// The answer is lost, and until it is looked for the file is called something else.
#[tokio::test(start_paused = true)]
async fn a_task_of_unknown_outcome_is_looked_for_as_it_was_written() {
    let bridge = Bridge::new();
    let (pipeline, clock) = looked_at(&bridge).await;
    let lost = ("task", Fault::AnswerLost);
    bridge.sides.world().faults.push_back(lost);
    handle(&bridge, &pipeline).await;
    bridge.sides.world().renamed = Some("NDA 2.pdf".to_owned());
    pass(&clock, bridge::PipelineOptions::default().settle_after).await;
    assert!(matches!(handle(&bridge, &pipeline).await, Outcome::Done(_)));
    let world = bridge.sides.world();
    assert_eq!(world.tasks.len(), 1, "{:?}", world.tasks);
}

/// Salesforce refuses it, and somebody puts right what it was refused for.
#[tokio::test(start_paused = true)]
async fn a_task_that_was_refused_is_written_as_it_was_put_right() {
    let bridge = Bridge::new();
    let (pipeline, clock) = looked_at(&bridge).await;
    let refused = ("task", Fault::Forbidden);
    bridge.sides.world().faults.push_back(refused);
    let outcome = handle(&bridge, &pipeline).await;
    assert!(matches!(outcome, Outcome::Dead(_)), "{outcome:?}");
    bridge.sides.world().renamed = Some("NDA 2.pdf".to_owned());
    // Now its answer is lost: from here on it is looked for as put right.
    let lost = ("task", Fault::AnswerLost);
    bridge.sides.world().faults.push_back(lost);
    handle(&bridge, &pipeline).await;
    bridge.sides.world().renamed = Some("NDA 3.pdf".to_owned());
    pass(&clock, bridge::PipelineOptions::default().settle_after).await;
    assert!(matches!(handle(&bridge, &pipeline).await, Outcome::Done(_)));
    let world = bridge.sides.world();
    assert_eq!(world.tasks.len(), 1, "{:?}", world.tasks);
    let subject = &world.tasks[0].subject;
    assert_eq!(subject, "NDA 2.pdf was looked at");
}

/// Two versions work on one inbox while one takes the other's place.
#[tokio::test(start_paused = true)]
async fn a_job_of_a_kind_that_only_a_newer_version_knows_is_left_to_it() {
    let bridge = Bridge::new();
    let job = NewJob {
        dedupe: "n1".into(),
        key: "k".into(),
        kind: "of.tomorrow".into(),
        body: "{}".into(),
    };
    bridge
        .store
        .push(vec![job], Timestamp::now())
        .await
        .unwrap();
    let (pipeline, _) = pipeline(&bridge);
    let outcome = handle(&bridge, &pipeline).await;
    let Outcome::Retry { reason, after } = outcome else {
        panic!("{outcome:?}")
    };
    assert!(reason.contains("of.tomorrow"), "{reason}");
    assert!(after.unwrap() >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn hiccups_of_our_own_store_use_up_no_attempts() {
    let bridge = Bridge::new();
    let version = bridge.sides.add_version("7", b"bytes");
    bridge.deliver("e1", "7", &version).await;
    let ledger = Arc::new(Shaky::default());
    ledger.no_position.store(true, Ordering::SeqCst);
    let sides = Arc::new(bridge.sides.clone());
    let pipeline = Pipeline::new(sides.clone(), sides, ledger.clone(), rules());
    let outcome = handle(&bridge, &pipeline).await;
    assert!(matches!(outcome, Outcome::Defer { .. }), "{outcome:?}");
    ledger.no_position.store(false, Ordering::SeqCst);
    assert!(matches!(handle(&bridge, &pipeline).await, Outcome::Done(_)));
    bridge.assert_once("after a hiccup");
}
