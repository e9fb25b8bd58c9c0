//! The four jobs, one after the other on one deal, between two sides in memory: nothing of either
//! vendor is in it.

use std::{sync::Arc, time::Duration};

use bridge::{
    Action, AdvanceStage, Attach, BOX_WEBHOOK, Backoff, Change, JobFilter, JobState, Layout,
    LogTask, NewJob, Pipeline, PipelineOptions, Provision, Queue, QueueAdmin, RecordEvent, Rule,
    Several, SyncMetadata, Target, Whom, Worker, WorkerOptions,
    action::{Collaborate, Who},
    crm::Record,
    metadata::{TemplateField, ValueKind},
    records::{FieldShape, Nearness},
    store::memory::MemoryStore,
    sync::{FieldMap, FieldPair},
    webhook::Event,
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::far_sides::FarSides;

const DEAL: &str = "006-1";
const ACCOUNT: &str = "001-1";
const BUYER: &str = "buyer@customer.example";

struct Story {
    sides: FarSides,
    store: Arc<MemoryStore>,
    random: fastrand::Rng,
    told: usize,
}

impl Story {
    fn begin(seed: u64) -> Self {
        let sides = FarSides::default();
        sides.record(ACCOUNT, json!({ "Name": "Acme" }));
        let deal = json!({
            "Name": "Deal", "AccountId": ACCOUNT, "NextStep": "call",
            "Owner.Email": "rep@example.com", "Owner.IsActive": true,
        });
        sides.record(DEAL, deal);
        {
            let mut world = sides.world();
            world.stage = "New".to_owned();
            world.contacts = vec![(BUYER, "003-1", Nearness::Account)];
            world.template = vec![TemplateField::new("next_step", ValueKind::String)];
            world.fields = vec![FieldShape {
                digits: None,
                name: "NextStep".to_owned(),
                kind: "string".to_owned(),
                longest: 255,
                is_writable: true,
                is_nillable: true,
                choices: Vec::new(),
                only_choices: false,
            }];
        }
        sides.storm(seed);
        Self {
            sides,
            store: Arc::new(MemoryStore::new()),
            random: fastrand::Rng::with_seed(seed),
            told: 0,
        }
    }

    fn worker(&self, name: &str) -> Worker<Pipeline> {
        let sides = Arc::new(self.sides.clone());
        let text = |text: &str| text.parse().unwrap();
        let layout = Layout::new(["/Clients/{Account.Name}/{Opportunity.Name}/Contracts"]);
        let owner = Collaborate {
            who: Who::Owner,
            role: "editor".to_owned(),
        };
        let provision =
            Provision::new(sides.clone(), sides.clone(), sides.clone(), layout.unwrap());
        let came = LogTask::new(text("{file.name} came"), text("{event.id}"));
        let people = LogTask::new(text("{event.trigger}"), text("{event.id}"));
        let people = people.contact(Whom::Person, Several::Nearest, sides.clone());
        let pair = FieldPair::new("NextStep", "next_step", ValueKind::String);
        let map = FieldMap::new("Opportunity", [pair]).unwrap();
        let rule = |name: &str, triggers: &[&str], actions: Vec<Arc<dyn Action>>| {
            Rule::new(name, triggers.iter().copied(), actions).unwrap()
        };
        let contract: Vec<Arc<dyn Action>> = vec![
            Arc::new(Attach::to([Target::Opportunity, Target::Account])),
            Arc::new(AdvanceStage::new("Review")),
            Arc::new(came),
        ];
        let fields = ["METADATA_INSTANCE.UPDATED", "Opportunity.UPDATED"];
        let rules = vec![
            rule("folders", &["Account.*", "Opportunity.*"], {
                vec![Arc::new(provision.collaborators([owner]))]
            }),
            rule("contracts", &["FILE.UPLOADED"], contract)
                .in_folder("Contracts")
                .unwrap(),
            rule(
                "people",
                &["COLLABORATION.ACCEPTED"],
                vec![Arc::new(people)],
            ),
            rule("fields", &fields, {
                vec![Arc::new(SyncMetadata::new(
                    sides.clone(),
                    sides.clone(),
                    map,
                ))]
            }),
        ];
        let mut options = PipelineOptions::default();
        (options.settle_after, options.settle_uploads_after) = (Duration::ZERO, Duration::ZERO);
        let pipeline = Pipeline::new(sides.clone(), sides.clone(), self.store.clone(), rules)
            .clock(sides)
            .options(options);
        let mut options = WorkerOptions::default();
        options.backoff = Backoff::default();
        (options.backoff.base, options.backoff.jitter) = (Duration::ZERO, Duration::ZERO);
        options.backoff.max_attempts = 10_000;
        Worker::new(self.store.clone(), pipeline, name).options(options)
    }

    fn record(&mut self, object: &str, id: &str, change: Change) -> NewJob {
        self.told += 1;
        let record = Record {
            id: id.to_owned(),
            object: Some(object.to_owned()),
        };
        let event = RecordEvent::new(self.told.to_string(), record, change);
        event.job().unwrap()
    }

    fn webhook(&mut self, trigger: &str, source: Value) -> NewJob {
        self.told += 1;
        let body = json!({
            "type": "webhook_event", "id": format!("e{}", self.told), "trigger": trigger,
            "created_at": "2026-03-01T10:10:32-08:00",
            "webhook": { "id": "1", "type": "webhook" }, "source": source,
        });
        let body = body.to_string();
        let event = Event::parse(body.as_bytes()).unwrap();
        NewJob {
            dedupe: event.id.clone(),
            key: event.ordering_key(),
            kind: BOX_WEBHOOK.to_owned(),
            body: body.into(),
        }
    }

    /// Tells all of it twice and in any order to two workers, one of which dies on the way.
    async fn happens(&mut self, jobs: Vec<NewJob>) {
        let mut jobs = [jobs.clone(), jobs].concat();
        self.random.shuffle(&mut jobs);
        self.store.push(jobs, Timestamp::now()).await.unwrap();
        let (one, other) = (self.worker("one"), self.worker("other"));
        let life = self.random.u32(1..60);
        let dies = async {
            for _ in 0..life {
                tokio::task::yield_now().await;
            }
        };
        let dying = async {
            tokio::select! {
                biased;
                () = dies => {}
                run = other.run_until_idle() => run.unwrap(),
            }
        };
        let (run, ()) = tokio::join!(one.run_until_idle(), dying);
        run.unwrap();
        let now = Timestamp::now();
        self.store.release(Some("other"), now).await.unwrap();
        while self.store.counts().await.unwrap().ready > 0 {
            self.worker("one").run_until_idle().await.unwrap();
        }
        let jobs = self.store.jobs(&JobFilter::default()).await.unwrap();
        for job in jobs {
            assert_eq!(job.state, JobState::Done, "{job:?}");
        }
    }

    fn folder(&self, name: &str) -> String {
        let world = self.sides.world();
        let mut folders = world.folders.iter();
        let found = folders.find(|(_, folder)| folder.name == name);
        found.unwrap().0.clone()
    }
}

#[tokio::test]
async fn a_deal_goes_through_all_four_jobs_behind_the_ports_alone() {
    for seed in 0..40 {
        let mut story = Story::begin(seed);

        // Provisioning.
        let made = vec![
            story.record("Opportunity", DEAL, Change::Created),
            story.record("Account", ACCOUNT, Change::Created),
        ];
        story.happens(made).await;
        let (deal, contracts) = (story.folder("Deal"), story.folder("Contracts"));
        assert_eq!(
            story.sides.paths(),
            [
                "/Clients",
                "/Clients/Acme",
                "/Clients/Acme/Deal",
                "/Clients/Acme/Deal/Contracts"
            ],
            "seed {seed}"
        );
        {
            let mut world = story.sides.world();
            let people: Vec<_> = world.get(&deal).unwrap().people.values().collect();
            assert_eq!(
                people,
                [&("rep@example.com".to_owned(), "editor".to_owned())]
            );
        }

        // Contract to close.
        let lies_in = ("7".to_owned(), contracts.clone());
        story.sides.world().lies_in.extend([lies_in]);
        let file = json!({ "type": "file", "id": "7" });
        let mut uploads = Vec::new();
        for bytes in [b"draft", b"final"] {
            story.sides.add_version("7", bytes);
            uploads.push(story.webhook("FILE.UPLOADED", file.clone()));
        }
        story.happens(uploads).await;
        {
            let world = story.sides.world();
            let origins = world
                .stored
                .iter()
                .map(|it| it.origin.clone().unwrap().version);
            assert_eq!(origins.collect::<Vec<_>>(), ["v1", "v2"], "seed {seed}");
            let document = |record: &str| ("doc1".to_owned(), record.to_owned());
            assert_eq!(world.links, [document(DEAL), document(ACCOUNT)]);
            assert_eq!(world.stage, "Review");
            assert_eq!(world.tasks.len(), 2, "seed {seed}");
        }

        // Engagement.
        let accepted = json!({
            "type": "collaboration", "id": "55", "status": "accepted", "role": "viewer",
            "accessible_by": { "type": "user", "id": "4", "name": "Bea", "login": BUYER },
            "item": { "type": "folder", "id": contracts },
        });
        let accepted = vec![story.webhook("COLLABORATION.ACCEPTED", accepted)];
        story.happens(accepted).await;
        {
            let world = story.sides.world();
            let task = world.tasks.last().unwrap();
            assert_eq!(world.tasks.len(), 3, "seed {seed}");
            assert_eq!(task.record.id, DEAL);
            assert_eq!(task.who.as_ref().unwrap().id, "003-1");
        }

        // Metadata both ways.
        let on_folder = |story: &Story| {
            let mut world = story.sides.world();
            let mapping = world.get(&deal).unwrap().mapping.clone();
            mapping.unwrap()["next_step"].clone()
        };
        let changed = vec![story.record("Opportunity", DEAL, Change::Updated)];
        story.happens(changed).await;
        assert_eq!(on_folder(&story), "call", "seed {seed}");
        let step = Map::from_iter([("next_step".to_owned(), json!("sign"))]);
        let mapping = |story: &Story| {
            let mut world = story.sides.world();
            world
                .get(&deal)
                .unwrap()
                .mapping
                .as_mut()
                .unwrap()
                .extend(step.clone());
        };
        mapping(&story);
        let folder = json!({ "type": "folder", "id": deal });
        let changed = vec![
            story.webhook("METADATA_INSTANCE.UPDATED", folder),
            story.record("Opportunity", DEAL, Change::Updated),
        ];
        story.happens(changed).await;
        let next_step = story.sides.world().records[DEAL]["NextStep"].clone();
        assert_eq!(next_step, "sign", "seed {seed}");

        // The deal is called something else, and nothing is there twice for it.
        story.sides.record(DEAL, json!({ "Name": "Renewal" }));
        let renamed = vec![story.record("Opportunity", DEAL, Change::Updated)];
        story.happens(renamed).await;
        let at = story.sides.path_of("opportunity_id", DEAL);
        assert_eq!(at, ["/Clients/Acme/Renewal"], "seed {seed}");
        assert_eq!(story.sides.paths().len(), 4, "seed {seed}");
        assert_eq!(story.sides.world().tasks.len(), 3, "seed {seed}");
    }
}
