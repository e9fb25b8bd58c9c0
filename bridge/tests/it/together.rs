//! What many jobs ask Salesforce for at the same time takes few calls, and each gets its own
//! answer.

use bridge::{
    Crm, PortError, PortErrorKind, SalesforceCrm,
    content::Content,
    crm::{Activity, NewFile, Origin, Place, Record},
};
use futures_util::{StreamExt, future::join_all, stream};
use salesforce_client::{
    RetryPolicy, SalesforceClient, StaticToken,
    testing::{FakeSalesforce, Fault, FaultEffect, Field},
};
use serde_json::json;

const KEY: &str = "Box_Event_Id__c";

struct Org {
    fake: FakeSalesforce,
    crm: SalesforceCrm,
    deals: Vec<String>,
}

impl Org {
    async fn up() -> Self {
        let key = Field::text(KEY, 255).unique(true).external_id(true);
        let fake = FakeSalesforce::builder().custom_field("Activity", key);
        let fake = fake.start().await.unwrap();
        let tokens = StaticToken::new(fake.issue_token(), fake.url()).unwrap();
        let retry = RetryPolicy::default().max_attempts(1);
        let client = SalesforceClient::builder(tokens).retry(retry);
        let crm = SalesforceCrm::new(client.build().unwrap());
        let deal = |number: usize| {
            let fields = json!({
                "Name": format!("Deal {number}"), "StageName": "Prospecting",
                "CloseDate": "2030-06-30",
            });
            fake.create("Opportunity", fields).unwrap()
        };
        let deals = (0..3).map(deal).collect();
        Self { fake, crm, deals }
    }

    fn activity(&self, number: usize) -> Activity {
        Activity {
            who: None,
            key: format!("event-{number}/rule"),
            record: self.record(number),
            subject: "A file came".into(),
            description: String::new(),
            date: "2026-03-01".parse().unwrap(),
        }
    }

    fn record(&self, number: usize) -> Record {
        let deal = &self.deals[number % self.deals.len()];
        self.crm.record(deal).unwrap()
    }

    /// A file on a deal other than the first.
    async fn upload(&self, number: usize) -> Result<String, PortError> {
        let file = NewFile {
            name: format!("{number}.pdf"),
            origin: Origin {
                file: number.to_string(),
                version: "1".into(),
            },
            place: Place::New {
                record: self.record(1),
            },
        };
        let bytes = stream::once(async { Ok("x".into()) }).boxed();
        self.crm.upload(&file, Content { size: 1, bytes }).await
    }

    async fn document(&self, number: usize) -> String {
        let version = self.upload(number).await.unwrap();
        self.crm.stored(&version).await.unwrap().document
    }

    async fn log(&self, activities: &[Activity]) -> Vec<Result<String, PortError>> {
        join_all(activities.iter().map(|it| self.crm.log_activity(it))).await
    }

    /// Those that are given for the activities must be theirs.
    fn assert_theirs(&self, activities: &[Activity], ids: &[String]) {
        assert_eq!(activities.len(), ids.len());
        for (activity, id) in activities.iter().zip(ids) {
            let task = self.fake.record(id).unwrap();
            assert!(
                task["Description"]
                    .as_str()
                    .unwrap()
                    .contains(&activity.key)
            );
            assert_eq!(task["WhatId"].as_str().unwrap(), activity.record.id);
        }
    }
}

fn kinds<T>(outcomes: &[Result<T, PortError>]) -> Vec<Option<PortErrorKind>> {
    let kind = |it: &Result<T, PortError>| it.as_ref().err().map(PortError::kind);
    outcomes.iter().map(kind).collect()
}

#[tokio::test]
async fn an_org_without_room_says_so_of_what_it_would_have_to_store() {
    let org = Org::up().await;
    let full = r#"[{"message":"storage limit exceeded","errorCode":"STORAGE_LIMIT_EXCEEDED"}]"#;
    let effect = FaultEffect::Status {
        status: 400,
        headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
        body: full.to_owned(),
    };
    let fault = Fault::on("*/sobjects/ContentVersion*", effect);
    org.fake.inject(fault.method("POST"));
    let error = org.upload(1).await.unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Full, "{error:?}");
    assert!(error.had_no_effect());
    org.upload(1).await.unwrap();
}

#[tokio::test]
async fn a_thousand_tasks_take_a_few_calls_and_each_caller_gets_its_own() {
    let org = Org::up().await;
    let mut activities: Vec<_> = (0..1_000).map(|number| org.activity(number)).collect();
    // Nobody's record: refused, and only this one.
    activities[500].record.id = "006000000000001AAA".into();
    let mut outcomes = org.log(&activities).await;
    assert!(org.fake.calls() <= 6, "{} calls", org.fake.calls());
    let refused = outcomes.remove(500).unwrap_err();
    assert_eq!(refused.kind(), PortErrorKind::Refused);
    activities.remove(500);
    let ids: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    org.assert_theirs(&activities, &ids);
    assert_eq!(org.fake.records("Task").len(), 999);

    let before = org.fake.calls();
    let found = join_all(activities.iter().map(|it| org.crm.find_activity(it))).await;
    let found: Vec<_> = found.into_iter().map(|it| it.unwrap().unwrap()).collect();
    assert_eq!(found, ids);
    let calls = org.fake.calls() - before;
    assert!(calls <= 25, "{calls} calls to look for a thousand");
}

#[tokio::test]
async fn all_rows_of_a_lost_answer_are_in_doubt_and_a_look_finds_them() {
    for key in [None, Some(KEY.to_owned())] {
        let mut org = Org::up().await;
        org.crm = org.crm.task_key_field(key);
        let lost = Fault::on("*/composite/sobjects", FaultEffect::LostAnswer);
        org.fake.inject(lost);
        let activities: Vec<_> = (0..40).map(|number| org.activity(number)).collect();
        let outcomes = org.log(&activities).await;
        let mut expected = vec![Some(PortErrorKind::Unknown); 40];
        expected[0] = None;
        assert_eq!(kinds(&outcomes), expected, "the first was alone");
        let found = join_all(activities.iter().map(|it| org.crm.find_activity(it))).await;
        let ids: Vec<_> = found.into_iter().map(|it| it.unwrap().unwrap()).collect();
        org.assert_theirs(&activities, &ids);
        assert_eq!(org.fake.records("Task").len(), 40);
    }
}

#[tokio::test]
async fn a_row_that_salesforce_has_already_is_looked_for_and_the_others_are_created() {
    let mut org = Org::up().await;
    org.crm = org.crm.task_key_field(Some(KEY.to_owned()));
    let activities: Vec<_> = (0..40).map(|number| org.activity(number)).collect();
    org.log(&activities[20..21]).await[0].as_ref().unwrap();
    let outcomes = org.log(&activities).await;
    let mut expected = vec![None; 40];
    expected[20] = Some(PortErrorKind::Unknown);
    assert_eq!(kinds(&outcomes), expected);
    assert_eq!(org.fake.records("Task").len(), 40);
}

#[tokio::test]
async fn very_many_tasks_go_by_bulk_and_its_rows_are_told_apart_by_their_key() {
    let mut org = Org::up().await;
    org.crm = org.crm.task_key_field(Some(KEY.to_owned())).bulk_from(500);
    let mut activities: Vec<_> = (0..1_001).map(|number| org.activity(number)).collect();
    activities[7].subject = "a \"quoted\", two\nlined name".into();
    activities[900].record.id = "006000000000001AAA".into();
    let mut outcomes = org.log(&activities).await;
    let paths: Vec<_> = org.fake.requests().into_iter().map(|it| it.path).collect();
    let jobs = paths
        .iter()
        .filter(|path| path.ends_with("/jobs/ingest"))
        .count();
    assert_eq!(jobs, 2, "{paths:?}");
    let refused = outcomes.remove(900).unwrap_err();
    assert_eq!(refused.kind(), PortErrorKind::Refused);
    activities.remove(900);
    let ids: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    org.assert_theirs(&activities, &ids);
    let named = org.fake.record(&ids[7]).unwrap();
    assert_eq!(named["Subject"], "a \"quoted\", two\nlined name");
    assert_eq!(org.fake.records("Task").len(), 1_000);
}

#[tokio::test]
async fn without_a_unique_field_no_task_goes_by_bulk() {
    let mut org = Org::up().await;
    org.crm = org.crm.bulk_from(10);
    let activities: Vec<_> = (0..300).map(|number| org.activity(number)).collect();
    let outcomes = org.log(&activities).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let requests = org.fake.requests();
    assert!(requests.iter().all(|it| !it.path.contains("/jobs/")));
}

#[tokio::test]
async fn links_and_stages_of_many_jobs_share_calls() {
    let org = Org::up().await;
    let mut documents = Vec::new();
    for number in 0..20 {
        documents.push(org.document(number).await);
    }
    let record = org.record(0);
    for _ in 0..2 {
        let before = org.fake.calls();
        let links = documents.iter().map(|it| org.crm.link(it, &record));
        let linked = join_all(links).await;
        assert!(linked.iter().all(Result::is_ok), "{:?}", linked[0]);
        assert!(org.fake.calls() - before <= 2);
    }
    let before = org.fake.calls();
    let records: Vec<_> = (0..60).map(|number| org.record(number)).collect();
    let deals = join_all(records.iter().map(|it| org.crm.deal(it))).await;
    for deal in deals {
        let deal = deal.unwrap();
        assert_eq!(deal.stage, "Prospecting");
        assert!(deal.stages.len() > 2 && deal.changed_at.is_some());
    }
    assert!(org.fake.calls() - before <= 3);
    org.fake
        .update(&record.id, json!({ "StageName": "Qualification" }))
        .unwrap();
    assert_eq!(org.crm.deal(&record).await.unwrap().stage, "Qualification");
}
