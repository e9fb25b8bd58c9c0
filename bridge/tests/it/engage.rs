//! What people do on a deal, told on the deal and on the people.

use std::{sync::Arc, time::Duration};

use bridge::{
    Action, Attach, BOX_WEBHOOK, Clock, JobFilter, JobState, LogTask, NewJob, Pipeline,
    PipelineOptions, Queue, QueueAdmin, Rule, Several, Target, Versions, Whom, Worker,
    content::FileVersion, crm::Record, records::Nearness, store::memory::MemoryStore,
    webhook::Event,
};
use serde_json::{Value, json};

use crate::{far_sides::FarSides, setting::ManualClock};

const HOUR: Duration = Duration::from_secs(3600);

struct Deal {
    sides: FarSides,
    store: Arc<MemoryStore>,
    clock: ManualClock,
    worker: Worker<Pipeline>,
}

impl Deal {
    fn with(triggers: &[&str], action: impl FnOnce(FarSides) -> Arc<dyn Action>) -> Self {
        let (sides, store) = (FarSides::new(), Arc::new(MemoryStore::new()));
        let clock = ManualClock::at("2026-03-01T18:10:40Z".parse().unwrap());
        let action = action(sides.clone());
        Self::at_work(triggers, action, sides, store, clock)
    }

    /// A process of its own between the same sides, by its own clock.
    fn at_work(
        triggers: &[&str],
        action: Arc<dyn Action>,
        sides: FarSides,
        store: Arc<MemoryStore>,
        clock: ManualClock,
    ) -> Self {
        let actions = vec![action];
        let rule = Rule::new("r", triggers.iter().copied(), actions).unwrap();
        let mut options = PipelineOptions::default();
        options.settle_after = Duration::ZERO;
        options.settle_uploads_after = Duration::ZERO;
        let pipeline = Pipeline::new(
            Arc::new(sides.clone()),
            Arc::new(sides.clone()),
            store.clone(),
            vec![rule],
        )
        .inbox(store.clone())
        .clock(Arc::new(clock.clone()))
        .options(options);
        let worker = Worker::new(store.clone(), pipeline, "w").clock(Arc::new(clock.clone()));
        Self {
            sides,
            store,
            clock,
            worker,
        }
    }

    async fn deliver(&self, body: Value) {
        let body = body.to_string();
        let event = Event::parse(body.as_bytes()).unwrap();
        let job = NewJob {
            dedupe: event.id.clone(),
            key: event.ordering_key(),
            kind: BOX_WEBHOOK.to_owned(),
            body: body.into(),
        };
        self.store.push(vec![job], self.clock.now()).await.unwrap();
        self.worker.run_until_idle().await.unwrap();
    }

    fn tasks(&self) -> Vec<(String, Option<String>)> {
        let world = self.sides.world();
        let tasks = world.tasks.iter();
        tasks
            .map(|task| (task.subject.clone(), task.who.clone().map(|who| who.id)))
            .collect()
    }
}

fn logging(several: Several, sides: FarSides) -> LogTask {
    sides.world().contacts = vec![
        ("one@x.example", "one", Nearness::Elsewhere),
        ("two@x.example", "near", Nearness::Account),
        ("two@x.example", "far", Nearness::Elsewhere),
        ("twins@x.example", "a", Nearness::Deal),
        ("twins@x.example", "b", Nearness::Deal),
    ];
    let text = |text: &str| text.parse().unwrap();
    LogTask::new(
        text("{person}: {event.trigger} on {item.name}"),
        text("by {actor}"),
    )
    .contact(Whom::Person, several, Arc::new(sides))
}

fn collaboration(event: &str, email: &str) -> Value {
    json!({
        "type": "webhook_event", "id": event, "trigger": "COLLABORATION.ACCEPTED",
        "created_at": "2026-03-01T10:10:32-08:00", "webhook": { "id": "1", "type": "webhook" },
        "created_by": { "type": "user", "id": "3", "name": "Jo Rep", "login": "jo@example.com" },
        "source": {
            "type": "collaboration", "id": "55", "status": "accepted", "role": "viewer",
            "accessible_by": { "type": "user", "id": "4", "name": "", "login": email },
            "item": { "type": "folder", "id": "deal" },
        },
        "additional_info": [],
    })
}

async fn who(several: Several, email: &str) -> Option<String> {
    let deal = Deal::with(&["COLLABORATION.ACCEPTED"], |sides| {
        Arc::new(logging(several, sides))
    });
    deal.deliver(collaboration("e1", email)).await;
    let mut tasks = deal.tasks();
    assert_eq!(tasks.len(), 1);
    let (subject, who) = tasks.remove(0);
    assert_eq!(subject, format!("{email}: COLLABORATION.ACCEPTED on deal"));
    who
}

#[tokio::test]
async fn a_collaborator_is_found_by_address_and_where_that_is_not_clear_nobody_is_taken() {
    let found = |id: &str| Some(id.to_owned());
    assert_eq!(who(Several::Nearest, "nobody@x.example").await, None);
    assert_eq!(who(Several::Nearest, "one@x.example").await, found("one"));
    assert_eq!(who(Several::Nearest, "two@x.example").await, found("near"));
    assert_eq!(who(Several::Nearest, "twins@x.example").await, None);
    assert_eq!(who(Several::None, "one@x.example").await, found("one"));
    assert_eq!(who(Several::None, "two@x.example").await, None);
    assert_eq!(who(Several::First, "twins@x.example").await, found("a"));
}

fn preview(event: usize, file: &str, email: &str) -> Value {
    json!({
        "type": "webhook_event", "id": format!("e{event}"), "trigger": "FILE.PREVIEWED",
        "created_at": "2026-03-01T10:10:32-08:00", "webhook": { "id": "1", "type": "webhook" },
        "created_by": { "type": "user", "id": "3", "name": "Jo", "login": email },
        "source": { "type": "file", "id": file },
        "additional_info": [],
    })
}

/// The hour is over, and with it everything that waited for its end.
async fn end_the_hour(deal: &Deal) {
    deal.clock.advance(HOUR);
    deal.worker.run_until_idle().await.unwrap();
    let jobs = deal.store.jobs(&JobFilter::default()).await.unwrap();
    assert!(
        jobs.iter().all(|job| job.state == JobState::Done),
        "{jobs:?}"
    );
}

#[tokio::test]
async fn many_previews_in_a_time_become_one_task_for_each_person_and_hold_up_nothing() {
    let deal = Deal::with(&["FILE.PREVIEWED"], |sides| {
        Arc::new(logging(Several::Nearest, sides).digest(HOUR))
    });
    deal.sides.add_version("7", b"bytes");
    for event in 0..20 {
        deal.deliver(preview(event, "7", "one@x.example")).await;
    }
    deal.deliver(preview(20, "7", "two@x.example")).await;
    let events = deal.store.jobs(&JobFilter::default()).await.unwrap();
    let events = events.iter().filter(|job| job.kind == BOX_WEBHOOK);
    assert!(events.clone().count() == 21, "events and digests are apart");
    assert!(events.into_iter().all(|job| job.state == JobState::Done));
    assert!(deal.tasks().is_empty(), "the hour is not over");
    end_the_hour(&deal).await;
    assert_eq!(deal.tasks().len(), 2);
    let world = deal.sides.world();
    let of = |id: &str| {
        let is_of = |who: &Record| who.id == id;
        let mut tasks = world.tasks.iter();
        tasks
            .find(|task| task.who.as_ref().is_some_and(is_of))
            .unwrap()
    };
    assert_eq!(of("one").description.lines().count(), 20);
    assert!(
        of("one").subject.ends_with("(and 19 more)"),
        "{}",
        of("one").subject
    );
    assert_eq!(of("near").description.lines().count(), 1);
    assert!(
        !of("near").subject.contains("more"),
        "{}",
        of("near").subject
    );
}

/// The process that logs the digest has a clock that is ahead of the other's, or that one was
/// stopped when it had looked at its own.
#[tokio::test]
async fn what_is_noted_when_the_digest_is_logged_already_is_told_of_in_the_next() {
    let triggers = ["FILE.PREVIEWED"];
    let digest =
        |sides| -> Arc<dyn Action> { Arc::new(logging(Several::Nearest, sides).digest(HOUR)) };
    let deal = Deal::with(&triggers, digest);
    deal.sides.add_version("7", b"bytes");
    deal.deliver(preview(1, "7", "one@x.example")).await;
    let ahead = ManualClock::at(deal.clock.now());
    ahead.advance(HOUR);
    let (sides, store) = (deal.sides.clone(), deal.store.clone());
    let other = Deal::at_work(&triggers, digest(sides.clone()), sides, store, ahead);
    other.worker.run_until_idle().await.unwrap();
    assert_eq!(deal.tasks().len(), 1);
    for event in [2, 3] {
        deal.deliver(preview(event, "7", "one@x.example")).await;
    }
    assert_eq!(deal.tasks().len(), 1);
    deal.clock.advance(HOUR);
    end_the_hour(&deal).await;
    let world = deal.sides.world();
    let lines = |task: &bridge::crm::Activity| task.description.lines().count();
    let lines: Vec<_> = world.tasks.iter().map(lines).collect();
    assert_eq!(lines, [1, 2]);
}

#[tokio::test]
async fn an_event_that_comes_again_is_told_of_once() {
    let deal = Deal::with(&["FILE.PREVIEWED"], |sides| {
        Arc::new(logging(Several::Nearest, sides).digest(HOUR))
    });
    deal.sides.add_version("7", b"bytes");
    deal.deliver(preview(1, "7", "one@x.example")).await;
    end_the_hour(&deal).await;
    // As after a crash before the job was settled.
    let mut again = preview(1, "7", "one@x.example");
    again["source"]["sequence_id"] = json!("9");
    let event = Event::parse(again.to_string().as_bytes()).unwrap();
    let job = NewJob {
        dedupe: "again".to_owned(),
        key: event.ordering_key(),
        kind: BOX_WEBHOOK.to_owned(),
        body: again.to_string().into(),
    };
    deal.store.push(vec![job], deal.clock.now()).await.unwrap();
    end_the_hour(&deal).await;
    assert_eq!(deal.tasks().len(), 1);
}

/// The end of a sign request for file 7, told when only the first version was there.
fn signed(event: usize, first: &FileVersion) -> Value {
    let mut body = preview(event, "7", "sign@box.example");
    body["trigger"] = json!("SIGN_REQUEST.COMPLETED");
    body["source"] = json!({
        "type": "file", "id": "7", "name": "NDA.pdf", "size": 13,
        "file_version": { "type": "file_version", "id": first.id, "sha1": first.sha1 },
        "path_collection": { "entries": [
            { "type": "folder", "id": "0", "name": "All Files" },
            { "type": "folder", "id": "deal", "name": "deal" },
        ] },
    });
    body["additional_info"] = json!({ "sign_request_id": "s1", "signer_emails": [] });
    body
}

fn attaching(triggers: &[&str]) -> Deal {
    Deal::with(triggers, |_| Arc::new(Attach::to([Target::Opportunity])))
}

async fn states(deal: &Deal) -> Vec<(JobState, u32)> {
    let jobs = deal.store.jobs(&JobFilter::default()).await.unwrap();
    let state = |job: bridge::Job| (job.state, job.attempts);
    jobs.into_iter().map(state).collect()
}

#[tokio::test]
async fn the_end_of_a_sign_request_brings_the_final_version_and_none_on_the_way() {
    let deal = attaching(&["SIGN_REQUEST.COMPLETED"]);
    let first = deal.sides.add_version("7", b"signed by one");
    deal.sides.add_version("7", b"signed by both");
    deal.sides.world().unfinished_signatures = 1;
    deal.deliver(signed(1, &first)).await;
    assert!(deal.sides.world().stored.is_empty(), "not final yet");
    assert_eq!(states(&deal).await, [(JobState::Ready, 0)]);
    deal.clock.advance(Duration::from_secs(60));
    deal.worker.run_until_idle().await.unwrap();
    let world = deal.sides.world();
    let versions: Vec<_> = world.stored.iter().map(|it| it.size).collect();
    assert_eq!(versions, [Some(14)], "only what both have signed");
}

#[tokio::test]
async fn what_is_never_signed_is_for_a_person_and_holds_nothing_up() {
    for unsigned in [Some("declined"), None] {
        let deal = attaching(&["SIGN_REQUEST.COMPLETED", "FILE.PREVIEWED"]);
        let first = deal.sides.add_version("7", b"signed by one");
        {
            let mut world = deal.sides.world();
            world.unsigned = unsigned;
            world.unfinished_signatures = usize::MAX;
        }
        deal.deliver(signed(1, &first)).await;
        deal.deliver(preview(2, "7", "one@x.example")).await;
        if unsigned.is_none() {
            let waits = [(JobState::Ready, 0), (JobState::Ready, 0)];
            assert_eq!(states(&deal).await, waits);
            deal.clock.advance(7 * HOUR);
            deal.worker.run_until_idle().await.unwrap();
        }
        let states: Vec<_> = states(&deal)
            .await
            .iter()
            .map(|(state, _)| *state)
            .collect();
        assert_eq!(states, [JobState::Dead, JobState::Done], "{unsigned:?}");
    }
}

#[tokio::test]
async fn a_rule_about_uploads_too_leaves_the_signers_turns_to_the_end() {
    let deal = attaching(&["FILE.UPLOADED", "SIGN_REQUEST.COMPLETED"]);
    let upload = |event: usize, by: &str| {
        let mut body = preview(event, "7", "x@box.example");
        body["trigger"] = json!("FILE.UPLOADED");
        body["created_by"]["name"] = json!(by);
        body
    };
    let draft = deal.sides.add_version("7", b"draft");
    deal.deliver(upload(1, "Jo Rep")).await;
    for (event, version) in [(2, b"signed by one"), (3, b"signed by two")] {
        deal.sides.add_version("7", version);
        deal.deliver(upload(event, "Box Sign")).await;
        assert_eq!(deal.sides.world().stored.len(), 1, "the draft alone");
    }
    deal.deliver(signed(4, &draft)).await;
    let world = deal.sides.world();
    let versions: Vec<_> = world.stored.iter().map(|it| it.size).collect();
    assert_eq!(versions, [Some(5), Some(13)]);
}

#[tokio::test]
async fn a_new_file_and_a_new_version_can_be_told_apart() {
    for (versions, expected) in [
        (Versions::First, vec!["v1"]),
        (Versions::Later, vec!["v2", "v3"]),
    ] {
        let sides = FarSides::new();
        let store = Arc::new(MemoryStore::new());
        let text = |text: &str| text.parse().unwrap();
        let log: Arc<dyn Action> = Arc::new(LogTask::new(text("{file.version}"), text("")));
        let rule = Rule::new("r", ["FILE.UPLOADED"], vec![log]).unwrap();
        let content = Arc::new(sides.clone());
        let rules = vec![rule.for_versions(versions)];
        let pipeline = Pipeline::new(content.clone(), content, store.clone(), rules);
        let worker = Worker::new(store.clone(), pipeline, "w");
        let mut jobs = Vec::new();
        for event in ["e1", "e2", "e3"] {
            let version = sides.add_version("7", event.as_bytes());
            let body = crate::setting::body(event, "7", &version);
            jobs.push(NewJob {
                dedupe: event.to_owned(),
                key: "box-file/7".to_owned(),
                kind: BOX_WEBHOOK.to_owned(),
                body: body.into(),
            });
        }
        store.push(jobs, jiff::Timestamp::now()).await.unwrap();
        worker.run_until_idle().await.unwrap();
        let world = sides.world();
        let told: Vec<_> = world
            .tasks
            .iter()
            .map(|task| task.subject.as_str())
            .collect();
        assert_eq!(told, expected);
    }
}
