//! What people do on a deal, told on the deal and on the people.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bridge::{
    Action, Attach, BOX_WEBHOOK, Clock, JobFilter, JobState, LogTask, NewJob, Pipeline,
    PipelineOptions, PortError, Queue, QueueAdmin, Records, Rule, Several, Target, Whom, Worker,
    crm::Record,
    records::{Changed, Contact, FieldShape, Nearness, RecordState},
    store::memory::MemoryStore,
    webhook::Event,
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{far_sides::FarSides, setting::ManualClock};

const HOUR: Duration = Duration::from_secs(3600);

/// People by e-mail address.
#[derive(Debug)]
struct People(Vec<(&'static str, &'static str, Nearness)>);

#[async_trait]
impl Records for People {
    async fn read(&self, _: &Record, _: &[&str]) -> Result<RecordState, PortError> {
        unreachable!("nothing is read here")
    }
    async fn write(
        &self,
        _: &Record,
        _: &Map<String, Value>,
        _: Option<Timestamp>,
    ) -> Result<bool, PortError> {
        unreachable!("nothing is written here")
    }
    async fn shape(&self, _: &str) -> Result<Vec<FieldShape>, PortError> {
        unreachable!("nothing is described here")
    }
    async fn contacts(
        &self,
        email: &str,
        deal: Option<&Record>,
    ) -> Result<Vec<Contact>, PortError> {
        assert_eq!(deal.map(|deal| deal.id.as_str()), Some("opp"));
        let with = self.0.iter().filter(|(address, ..)| *address == email);
        Ok(with
            .map(|(_, id, nearness)| Contact {
                record: Record {
                    id: (*id).to_owned(),
                    object: Some("Contact".to_owned()),
                },
                name: None,
                nearness: *nearness,
            })
            .collect())
    }
    async fn changed(&self, _: &str, _: Timestamp) -> Result<Changed, PortError> {
        unreachable!("nothing is polled here")
    }
}

struct Deal {
    sides: FarSides,
    store: Arc<MemoryStore>,
    clock: ManualClock,
    worker: Worker<Pipeline>,
}

impl Deal {
    fn with(triggers: &[&str], actions: Vec<Arc<dyn Action>>) -> Self {
        let (sides, store) = (FarSides::new(), Arc::new(MemoryStore::new()));
        let clock = ManualClock::at("2026-03-01T18:10:40Z".parse().unwrap());
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

fn logging(several: Several) -> LogTask {
    let people = People(vec![
        ("one@x.example", "one", Nearness::Elsewhere),
        ("two@x.example", "near", Nearness::Account),
        ("two@x.example", "far", Nearness::Elsewhere),
        ("twins@x.example", "a", Nearness::Deal),
        ("twins@x.example", "b", Nearness::Deal),
    ]);
    let text = |text: &str| text.parse().unwrap();
    LogTask::new(
        text("{person}: {event.trigger} on {item.name}"),
        text("by {actor}"),
    )
    .contact(Whom::Person, several, Arc::new(people))
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
    let deal = Deal::with(&["COLLABORATION.ACCEPTED"], {
        vec![Arc::new(logging(several))]
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
    let deal = Deal::with(&["FILE.PREVIEWED"], {
        vec![Arc::new(logging(Several::Nearest).digest(HOUR))]
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

#[tokio::test]
async fn an_event_that_comes_again_is_told_of_once() {
    let deal = Deal::with(&["FILE.PREVIEWED"], {
        vec![Arc::new(logging(Several::Nearest).digest(HOUR))]
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

#[tokio::test]
async fn the_end_of_a_sign_request_brings_the_final_version_and_none_on_the_way() {
    let deal = Deal::with(&["SIGN_REQUEST.COMPLETED"], {
        vec![Arc::new(Attach::to([Target::Opportunity]))]
    });
    let first = deal.sides.add_version("7", b"signed by one");
    deal.sides.add_version("7", b"signed by both");
    let mut body = preview(1, "7", "sign@box.example");
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
    deal.sides.world().unfinished_signatures = 1;
    deal.deliver(body).await;
    assert!(deal.sides.world().stored.is_empty(), "not final yet");
    let jobs = deal.store.jobs(&JobFilter::default()).await.unwrap();
    assert_eq!((jobs[0].state, jobs[0].attempts), (JobState::Ready, 0));
    deal.clock.advance(Duration::from_secs(60));
    deal.worker.run_until_idle().await.unwrap();
    let world = deal.sides.world();
    let versions: Vec<_> = world.stored.iter().map(|it| it.size).collect();
    assert_eq!(versions, [Some(14)], "only what both have signed");
}
