//! One metadata template for all actions, between the fakes of both vendors: what one of them wants
//! of it in vain is its own to tell, and holds back no other.

use std::{sync::Arc, time::Duration};

use box_client::{
    BoxClient, DeveloperToken,
    testing::{FakeBox, Fault, FaultEffect, openapi::Spec},
};
use bridge::{
    Action, BoxContent, Change, JobFilter, JobState, Layout, MappingTemplate, Pipeline,
    PipelineOptions, Provision, Queue, QueueAdmin, RecordEvent, Rule, SalesforceCrm, SyncMetadata,
    SystemClock, Worker,
    crm::Record,
    metadata::ValueKind,
    store::memory::MemoryStore,
    sync::{Direction, FieldMap, FieldPair, SyncReport},
};
use jiff::Timestamp;
use salesforce_client::{SalesforceClient, StaticToken, testing::FakeSalesforce};
use serde_json::{Value, json};

const TEMPLATE: &str = "salesforce_mapping";

struct Setting {
    content: FakeBox,
    /// Its server lives as long.
    _crm: FakeSalesforce,
    sides: (Arc<BoxContent>, Arc<SalesforceCrm>),
    record: Record,
}

impl Setting {
    /// With a deal of 1200, and a template that an administrator has made.
    async fn up(fields: &[Value]) -> Self {
        let mut content = FakeBox::builder().auto_deliver(false);
        let spec = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/box-openapi.json");
        if let Ok(spec) = Spec::read(spec) {
            content = content.openapi(spec);
        }
        let content = content.start().await.unwrap();
        content.create_template(TEMPLATE, json!(fields)).unwrap();
        let crm = FakeSalesforce::start().await.unwrap();
        let account = crm.create("Account", json!({ "Name": "Acme" })).unwrap();
        let deal = json!({
            "Name": "Deal", "StageName": "Prospecting", "CloseDate": "2030-06-30",
            "AccountId": account, "Amount": 1200,
        });
        let record = Record {
            id: crm.create("Opportunity", deal).unwrap(),
            object: Some("Opportunity".to_owned()),
        };
        let client = BoxClient::builder(DeveloperToken::new(content.issue_token()))
            .base_url(&content.url())
            .build();
        let token = StaticToken::new(crm.issue_token(), crm.url()).unwrap();
        let sides = (
            Arc::new(BoxContent::new(client.unwrap(), "enterprise", TEMPLATE)),
            Arc::new(SalesforceCrm::new(SalesforceClient::new(token).unwrap())),
        );
        Self {
            content,
            _crm: crm,
            sides,
            record,
        }
    }

    /// Provisions the deal, and keeps it the same as its folder by this pair, over one template.
    async fn work(&self, pair: FieldPair) -> SyncReport {
        let (content, crm) = &self.sides;
        let template = Arc::new(MappingTemplate::new());
        let map = FieldMap::new("Opportunity", [pair]).unwrap();
        let sync = SyncMetadata::new(content.clone(), crm.clone(), map);
        let sync = sync.template(template.clone()).unwrap();
        let layout = Layout::new(["/Clients/{Account.Name}/{Opportunity.Name}"]).unwrap();
        let provision = Provision::new(content.clone(), content.clone(), crm.clone(), layout);
        let provision: Vec<Arc<dyn Action>> = vec![Arc::new(provision.template(template).unwrap())];
        let rule = Rule::new("folders", ["Opportunity.*"], provision).unwrap();
        let store = Arc::new(MemoryStore::new());
        let event = RecordEvent::new("made", self.record.clone(), Change::Created);
        let job = event.job().unwrap();
        store.push(vec![job], Timestamp::now()).await.unwrap();
        let mut options = PipelineOptions::default();
        options.settle_after = Duration::ZERO;
        let pipeline = Pipeline::new(content.clone(), crm.clone(), store.clone(), vec![rule]);
        let worker = Worker::new(store.clone(), pipeline.options(options), "w");
        worker.run_until_idle().await.unwrap();
        for job in store.jobs(&JobFilter::default()).await.unwrap() {
            assert_eq!(job.state, JobState::Done, "{:?}", job.note);
        }
        let report = sync.sync(&self.record, &**crm, &*store, &SystemClock);
        report.await.unwrap()
    }

    fn folders(&self) -> Vec<String> {
        let state = self.content.state();
        let folders = state["folders"].as_array().unwrap().iter();
        folders
            .filter_map(|it| Some(it["name"].as_str()?.to_owned()))
            .collect()
    }

    fn assert_provisioned(&self) {
        let folders = self.folders();
        for name in ["Clients", "Acme", "Deal"] {
            assert!(folders.iter().any(|it| it == name), "{folders:?}");
        }
    }
}

fn text(key: &str) -> Value {
    json!({ "type": "string", "key": key, "displayName": key })
}

fn ids() -> [Value; 2] {
    ["account_id", "opportunity_id"].map(text)
}

fn answer(status: u16, body: &Value) -> FaultEffect {
    FaultEffect::Status {
        status,
        headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
        body: body.to_string(),
    }
}

#[tokio::test]
async fn a_whole_number_of_an_old_template_is_a_number() {
    let amount = json!({ "type": "float", "key": "amount", "displayName": "amount" });
    let [account, opportunity] = ids();
    let setting = Setting::up(&[account, opportunity, amount]).await;
    // Nobody can make such a field any more.
    let state = setting.content.state();
    let mut templates = state["metadata_templates"].as_array().unwrap().iter();
    let template = templates.find(|it| it["templateKey"] == TEMPLATE);
    let mut template = template.unwrap().clone();
    template["fields"][2]["type"] = "integer".into();
    let path = format!("/2.0/metadata_templates/enterprise/{TEMPLATE}/schema");
    let read = Fault::on(path, answer(200, &template)).method("GET");
    setting.content.inject(read.times(u32::MAX));
    let pair = FieldPair::new("Amount", "amount", ValueKind::Float);
    let report = setting.work(pair).await;
    setting.assert_provisioned();
    assert!(!report.needs_a_person(), "{report}");
    assert_eq!(report.fields.len(), 1, "{report}");
}

#[tokio::test]
async fn who_may_not_change_the_template_provisions_with_what_it_has() {
    let setting = Setting::up(&ids()).await;
    let path = format!("/2.0/metadata_templates/enterprise/{TEMPLATE}/schema");
    let body = json!({ "type": "error", "status": 403, "code": "forbidden", "message": "no" });
    let change = Fault::on(path, answer(403, &body)).method("PUT");
    setting.content.inject(change.times(u32::MAX));
    let pair = FieldPair::new("Amount", "amount", ValueKind::Float);
    let report = setting.work(pair).await;
    setting.assert_provisioned();
    assert!(report.needs_a_person(), "{report}");
    assert!(report.to_string().contains("amount"), "{report}");
}

#[tokio::test]
async fn a_field_whose_options_nobody_tells_holds_back_sync_alone() {
    let setting = Setting::up(&ids()).await;
    let pair = FieldPair::new("Owner.Email", "region", ValueKind::Enum).direction(Direction::ToBox);
    let report = setting.work(pair).await;
    setting.assert_provisioned();
    assert!(report.needs_a_person(), "{report}");
    assert!(report.to_string().contains("region"), "{report}");
}
