//! Both ways between the fakes of both vendors, with workers that die and events that come
//! twice, late and in any order.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use box_client::{
    BoxClient, DeveloperToken,
    testing::{FakeBox, Fault as BoxFault, FaultEffect as BoxEffect, openapi::Spec},
};
use bridge::{
    Action, BOX_WEBHOOK, Backoff, BoxContent, Change, JobFilter, JobState, Metadata, NewJob,
    Pipeline, PipelineOptions, PortError, Queue, QueueAdmin, RecordEvent, Records, Rule,
    SalesforceCrm, SyncMetadata, Worker, WorkerOptions,
    crm::Record,
    metadata::{Claimed, Instance, TemplateField, ValueChange, ValueKind},
    records::{Changed, Contact, FieldShape, RecordState, RecordTimes},
    store::memory::MemoryStore,
    sync::{FieldMap, FieldPair, Side, conflicts},
};
use jiff::Timestamp;
use salesforce_client::{
    SalesforceClient, StaticToken,
    testing::{FakeSalesforce, Fault, FaultEffect, Field},
};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

const RECORDS: usize = 25;
const EDITS: usize = 1_000;
pub(crate) const TEMPLATE: &str = "salesforce_mapping";
const SOURCES: [&str; 3] = ["Web", "Phone Inquiry", "Other"];
const REGIONS: [&str; 3] = ["Americas", "Europe", "Far East"];

pub(crate) struct Setting {
    pub(crate) content: FakeBox,
    pub(crate) crm: FakeSalesforce,
    pub(crate) store: Arc<MemoryStore>,
    /// Folder and record of each deal.
    pub(crate) deals: Vec<(String, String)>,
    pub(crate) rule: Arc<SyncMetadata>,
    written: Written,
    pub(crate) sides: (BoxContent, SalesforceCrm),
}

fn pairs() -> [FieldPair; 6] {
    [
        FieldPair::new("Regions__c", "regions", ValueKind::MultiSelect),
        FieldPair::new("NextStep", "next_step", ValueKind::String),
        FieldPair::new("Amount", "amount", ValueKind::Float),
        FieldPair::new("CloseDate", "close_date", ValueKind::Date),
        FieldPair::new("LeadSource", "lead_source", ValueKind::Enum),
        FieldPair::new("IsPrivate", "is_private", ValueKind::String),
    ]
}

impl Setting {
    pub(crate) async fn up() -> Self {
        let mut content = FakeBox::builder().auto_deliver(false);
        let spec = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/box-openapi.json");
        if let Ok(spec) = Spec::read(spec) {
            content = content.openapi(spec);
        }
        let content = content.start().await.unwrap();
        let regions = Field::multipicklist("Regions__c", REGIONS).restricted(true);
        let crm = FakeSalesforce::builder().custom_field("Opportunity", regions);
        let crm = crm.start().await.unwrap();
        let text = |key: &str| json!({ "type": "string", "key": key, "displayName": key });
        let options = SOURCES.map(|key| json!({ "key": key }));
        let fields = json!([
            text("account_id"),
            text("opportunity_id"),
            text("next_step"),
            { "type": "multiSelect", "key": "regions", "displayName": "Regions", "options":
                REGIONS.map(|key| json!({ "key": key })) },
            { "type": "float", "key": "amount", "displayName": "Amount" },
            { "type": "date", "key": "close_date", "displayName": "Close date" },
            { "type": "enum", "key": "lead_source", "displayName": "From", "options": options },
            text("is_private"),
        ]);
        content.create_template(TEMPLATE, fields).unwrap();
        let above = content.create_folder("0", "Deals").unwrap();
        let triggers = ["METADATA_INSTANCE.CREATED", "METADATA_INSTANCE.UPDATED"];
        let address = "https://bridge.example.com/webhooks/box";
        content.create_webhook(&above, address, &triggers).unwrap();
        let mut deals = Vec::new();
        for number in 0..RECORDS {
            let deal = json!({
                "Name": format!("Deal {number}"), "StageName": "Prospecting",
                "CloseDate": "2030-06-30", "NextStep": "start", "Amount": 1, "LeadSource": "Web",
            });
            let deal = crm.create("Opportunity", deal).unwrap();
            let folder = content
                .create_folder(&above, &format!("Deal {number}"))
                .unwrap();
            let values = json!({
                "opportunity_id": deal, "next_step": "start", "amount": 1,
                "close_date": "2030-06-30T00:00:00.000Z", "lead_source": "Web",
                "is_private": "false",
            });
            content.apply_metadata(&folder, TEMPLATE, values).unwrap();
            deals.push((folder, deal));
        }
        let retry = box_client::RetryPolicy::default()
            .delays(Duration::from_millis(20), Duration::from_millis(100));
        let client = BoxClient::builder(DeveloperToken::new(content.issue_token()))
            .base_url(&content.url())
            .retry(retry)
            .build();
        let sides_box = BoxContent::new(client.unwrap(), "enterprise", TEMPLATE);
        let token = StaticToken::new(crm.issue_token(), crm.url()).unwrap();
        let retry = salesforce_client::RetryPolicy::default()
            .delays(Duration::from_millis(20), Duration::from_millis(100));
        let client = SalesforceClient::builder(token).retry(retry).build();
        let sides = (sides_box, SalesforceCrm::new(client.unwrap()));
        let map = FieldMap::new("Opportunity", pairs()).unwrap();
        let written = Written::default();
        let metadata = Noted {
            port: sides.0.clone(),
            written: written.clone(),
        };
        let records = Noted {
            port: sides.1.clone(),
            written: written.clone(),
        };
        let rule = SyncMetadata::new(Arc::new(metadata), Arc::new(records), map);
        Self {
            content,
            crm,
            store: Arc::new(MemoryStore::new()),
            deals,
            rule: Arc::new(rule),
            written,
            sides,
        }
    }

    /// Works until it is dropped, as a process that is killed.
    pub(crate) fn worker(&self, name: &str) -> tokio::task::JoinHandle<()> {
        let act: Arc<dyn Action> = self.rule.clone();
        let triggers = [
            "METADATA_INSTANCE.UPDATED",
            "METADATA_INSTANCE.CREATED",
            "Opportunity.*",
        ];
        let rule = Rule::new("fields", triggers, vec![act]).unwrap();
        let mut options = PipelineOptions::default();
        options.settle_after = Duration::from_millis(200);
        let (content, crm) = self.sides.clone();
        let pipeline = Pipeline::new(
            Arc::new(content),
            Arc::new(crm),
            self.store.clone(),
            vec![rule],
        )
        .options(options);
        let mut backoff = Backoff::default();
        backoff.base = Duration::from_millis(20);
        backoff.jitter = Duration::from_millis(10);
        backoff.max_delay = Duration::from_millis(500);
        backoff.max_attempts = 1_000;
        let mut options = WorkerOptions::default();
        options.backoff = backoff;
        options.lease = Duration::from_millis(1_500);
        options.poll = Duration::from_millis(10);
        let worker = Worker::new(self.store.clone(), pipeline, name).options(options);
        tokio::spawn(async move { worker.run(std::future::pending()).await })
    }

    async fn push(&self, job: NewJob) {
        self.store.push(vec![job], Timestamp::now()).await.unwrap();
    }

    pub(crate) async fn tell_of_record(&self, id: &str, event: &str) {
        let record = Record {
            id: id.to_owned(),
            object: Some("Opportunity".to_owned()),
        };
        let event = RecordEvent::new(event, record, Change::Updated).at(Timestamp::now());
        self.push(event.job().unwrap()).await;
    }

    /// Tells of all that Box has raised since, also of the bridge's own writes: each twice and in
    /// any order.
    pub(crate) async fn tell_of_folders(&self, told: &mut usize, random: &mut fastrand::Rng) {
        let events = self.content.events();
        let mut new: Vec<_> = events[*told..].iter().chain(&events[*told..]).collect();
        *told = events.len();
        random.shuffle(&mut new);
        for (number, event) in new.into_iter().enumerate() {
            let body = serde_json::from_slice::<Value>(&event.body).unwrap();
            self.push(NewJob {
                dedupe: format!("{}-{}", event.id, number % 2),
                key: format!("box-folder/{}", body["source"]["id"].as_str().unwrap()),
                kind: BOX_WEBHOOK.to_owned(),
                body: event.body.clone().into(),
            })
            .await;
        }
    }

    pub(crate) async fn wait_idle(&self) {
        for _ in 0..6_000 {
            let counts = self.store.counts().await.unwrap();
            if counts.ready + counts.leased == 0 {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("it does not come to rest");
    }

    pub(crate) async fn instance(&self, folder: &str) -> BTreeMap<String, Value> {
        let instance = bridge::Metadata::read(&self.sides.0, folder).await.unwrap();
        instance.unwrap().values.into_iter().collect()
    }

    fn writes(&self) -> usize {
        let written = self.written.lock().unwrap();
        written.len()
    }
}

/// Notes what is written, and passes everything on.
#[derive(Debug)]
struct Noted<P> {
    port: P,
    written: Written,
}

/// The side, and the values as text.
type Written = Arc<Mutex<Vec<(Side, String)>>>;

impl<P> Noted<P> {
    fn note(&self, side: Side, values: String) {
        self.written.lock().unwrap().push((side, values));
    }
}

#[async_trait]
impl Metadata for Noted<BoxContent> {
    async fn read(&self, folder: &str) -> Result<Option<Instance>, PortError> {
        Metadata::read(&self.port, folder).await
    }

    async fn set(&self, folder: &str, values: &Map<String, Value>) -> Result<(), PortError> {
        self.port.set(folder, values).await
    }

    async fn claim(&self, folder: &str, values: &Map<String, Value>) -> Result<Claimed, PortError> {
        self.port.claim(folder, values).await
    }

    async fn change(&self, folder: &str, changes: &[ValueChange]) -> Result<bool, PortError> {
        let values: Vec<_> = changes.iter().map(|it| &it.to).collect();
        self.note(Side::Box, json!(values).to_string());
        self.port.change(folder, changes).await
    }

    async fn ensure_template(&self, fields: &[TemplateField]) -> Result<(), PortError> {
        self.port.ensure_template(fields).await
    }

    async fn shape(&self) -> Result<Vec<TemplateField>, PortError> {
        Metadata::shape(&self.port).await
    }

    async fn find(&self, under: &str, key: &str, text: &str) -> Result<Vec<String>, PortError> {
        Metadata::find(&self.port, under, key, text).await
    }

    async fn above(&self, folder: &str) -> Result<Vec<String>, PortError> {
        self.port.above(folder).await
    }
}

#[async_trait]
impl Records for Noted<SalesforceCrm> {
    async fn read(&self, record: &Record, fields: &[&str]) -> Result<RecordState, PortError> {
        Records::read(&self.port, record, fields).await
    }

    async fn write(
        &self,
        record: &Record,
        fields: &Map<String, Value>,
        seen: Option<Timestamp>,
    ) -> Result<bool, PortError> {
        self.note(Side::Salesforce, json!(fields).to_string());
        Records::write(&self.port, record, fields, seen).await
    }

    async fn shape(&self, object: &str) -> Result<Vec<FieldShape>, PortError> {
        Records::shape(&self.port, object).await
    }

    async fn contacts(
        &self,
        email: &str,
        deal: Option<&Record>,
    ) -> Result<Vec<Contact>, PortError> {
        self.port.contacts(email, deal).await
    }

    async fn changed(&self, object: &str, since: Timestamp) -> Result<Changed, PortError> {
        self.port.changed(object, since).await
    }

    async fn times(&self, record: &Record) -> Result<Option<RecordTimes>, PortError> {
        self.port.times(record).await
    }
}

fn edit(random: &mut fastrand::Rng, number: usize) -> (&'static str, &'static str, Value, Value) {
    match random.u8(0..7) {
        6 => {
            let regions = &REGIONS[random.usize(0..3)..];
            let text = json!(regions.join(";"));
            ("Regions__c", "regions", text, json!(regions))
        }
        0 | 1 => {
            let text = json!(format!("step {number}"));
            ("NextStep", "next_step", text.clone(), text)
        }
        2 => ("Amount", "amount", json!(number), json!(number as f64)),
        3 => {
            let day = format!("2031-{:02}-{:02}", random.u8(1..=12), random.u8(1..=28));
            let at = format!("{day}T00:00:00.000Z");
            ("CloseDate", "close_date", json!(day), json!(at))
        }
        4 => {
            let source = SOURCES[random.usize(0..SOURCES.len())];
            ("LeadSource", "lead_source", json!(source), json!(source))
        }
        _ => {
            let flag = random.bool();
            (
                "IsPrivate",
                "is_private",
                json!(flag),
                json!(flag.to_string()),
            )
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_edits_on_both_sides_come_to_rest_and_no_last_word_is_lost() {
    let setting = Setting::up().await;
    let mut random = fastrand::Rng::with_seed(2_026);
    let mut told = 0;
    let mut workers: Vec<_> = (0..3).map(|n| setting.worker(&format!("w{n}"))).collect();
    setting.tell_of_folders(&mut told, &mut random).await;
    setting.wait_idle().await;

    for number in 0..8 {
        let skip = number * 9;
        for effect in [
            BoxEffect::LostAnswer,
            BoxEffect::LostAnswerLate { millis: 80 },
        ] {
            let fault = BoxFault::on("/2.0/folders/*/metadata/*", effect).method("PUT");
            setting.content.inject(fault.skip(skip));
        }
        for effect in [
            FaultEffect::LostAnswer,
            FaultEffect::LostAnswerLate { millis: 80 },
        ] {
            let fault = Fault::on("*/sobjects/Opportunity/*", effect).method("PATCH");
            setting.crm.inject(fault.skip(skip));
        }
    }
    let mut last = BTreeMap::new();
    for number in 1..=EDITS {
        let (folder, deal) = &setting.deals[random.usize(0..RECORDS)];
        let (field, key, in_salesforce, in_box) = edit(&mut random, number);
        let is_box = random.bool();
        if is_box {
            let values = json!({ key: in_box });
            setting
                .content
                .apply_metadata(folder, TEMPLATE, values)
                .unwrap();
        } else {
            setting
                .crm
                .update(deal, json!({ field: in_salesforce }))
                .unwrap();
            for again in 0..random.u8(1..3) {
                setting
                    .tell_of_record(deal, &format!("{number}-{again}"))
                    .await;
            }
        }
        if field == "NextStep" {
            last.insert((deal.clone(), is_box), json!(format!("step {number}")));
        }
        if random.u8(0..10) == 0 {
            setting.tell_of_folders(&mut told, &mut random).await;
        }
        if random.u8(0..50) == 0 {
            let place = random.usize(0..workers.len());
            workers[place].abort();
            workers[place] = setting.worker(&format!("w{place}-{number}"));
        }
        sleep(Duration::from_millis(random.u64(0..12))).await;
    }
    // The echo of every own write, until there are no more.
    loop {
        setting.tell_of_folders(&mut told, &mut random).await;
        setting.wait_idle().await;
        if setting.content.events().len() == told {
            break;
        }
    }
    assert_eq!(dead(&setting).await, Vec::<String>::new());
    let writes = setting.writes();
    assert!(writes <= EDITS + 64, "{writes} writes for {EDITS} edits");

    // All agree, and whoever is told of it once more writes nothing.
    for (number, (folder, deal)) in setting.deals.iter().enumerate() {
        let record = setting.crm.record(deal).unwrap();
        let instance = setting.instance(folder).await;
        let day = format!("{}T00:00:00.000Z", record["CloseDate"].as_str().unwrap());
        assert_eq!(record["NextStep"], instance["next_step"], "{deal}");
        assert_eq!(
            record["Amount"].as_f64(),
            instance["amount"].as_f64(),
            "{deal}"
        );
        assert_eq!(json!(day), instance["close_date"], "{deal}");
        assert_eq!(record["LeadSource"], instance["lead_source"], "{deal}");
        let regions = instance.get("regions").and_then(Value::as_array);
        let regions = regions.map(|all| {
            let mut all: Vec<_> = all.iter().filter_map(Value::as_str).collect();
            all.sort_unstable();
            all.join(";")
        });
        assert_eq!(record["Regions__c"], json!(regions), "{deal}");
        let flag = record["IsPrivate"].to_string();
        assert_eq!(json!(flag), instance["is_private"], "{deal}");
        setting
            .tell_of_record(deal, &format!("echo {number}"))
            .await;
    }
    setting.wait_idle().await;
    assert_eq!(setting.writes(), writes, "it plays ping-pong");

    let all = conflicts(&*setting.store).await.unwrap();
    assert!(all.iter().all(|it| it.is_over), "{all:#?}");
    assert!(!all.is_empty(), "nobody ever met");
    let written = setting.written.lock().unwrap().clone();
    for ((deal, is_box), value) in &last {
        let text = value.as_str().unwrap();
        let quoted = format!("\"{text}\"");
        let is_final = setting.crm.record(deal).unwrap()["NextStep"] == *value;
        let is_listed = all
            .iter()
            .any(|it| [&it.in_box, &it.in_salesforce].contains(&value));
        let to = if *is_box { Side::Salesforce } else { Side::Box };
        let has_arrived = written
            .iter()
            .any(|(side, it)| *side == to && it.contains(&quoted));
        assert!(is_final || is_listed || has_arrived, "{text} is lost");
    }
    assert_eq!(setting.content.violations(), Vec::<String>::new());
}

pub(crate) async fn dead(setting: &Setting) -> Vec<String> {
    let filter = JobFilter {
        state: Some(JobState::Dead),
        after: None,
        limit: 100,
    };
    let dead = setting.store.jobs(&filter).await.unwrap();
    dead.into_iter().filter_map(|job| job.note).collect()
}
