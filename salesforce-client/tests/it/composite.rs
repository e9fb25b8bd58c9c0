//! Several calls in one.

use http::Method;
use salesforce_client::{
    ErrorCode, ErrorKind, Record,
    testing::{Fault, FaultEffect},
};
use serde_json::json;

use crate::org::{self, account, names};

#[tokio::test]
async fn later_parts_use_what_earlier_ones_gave() {
    let (org, client) = org::start().await;
    let mut composite = client.composite();
    let account = composite.create("Account", &json!({ "Name": "Acme" }));
    let contact = json!({ "LastName": "Bluth", "AccountId": account.id() });
    let contact = composite.create("Contact", &contact);
    let read = composite.get("Account", &account, &["Name"]);
    let found = composite.query("SELECT Id FROM Contact");
    composite.update(
        "Account",
        &account,
        &json!({ "Phone": found.field("records[0].Id") }),
    );
    let answers = composite.send().await.unwrap();
    assert_eq!(answers.json::<Record>(&read).unwrap()["Name"], "Acme");
    let id = answers.id(&contact).unwrap();
    let account = answers.id(&account).unwrap();
    assert_eq!(
        org.record(id.as_str()).unwrap()["AccountId"],
        account.as_str()
    );
    assert_eq!(org.record(account.as_str()).unwrap()["Phone"], id.as_str());
    assert_eq!(org.calls(), 1, "it counts as one call");
}

#[tokio::test]
async fn the_failure_of_one_is_the_failure_of_all_and_names_the_cause() {
    let (org, client) = org::start().await;
    let mut composite = client.composite().all_or_none();
    composite.create("Account", &json!({ "Name": "Acme" }));
    composite.create("Account", &json!({}));
    let error = composite.send().await.unwrap_err();
    assert!(error.api().unwrap().has(&ErrorCode::REQUIRED_FIELD_MISSING));
    assert_eq!(error.status(), Some(400));
    assert!(org.records("Account").is_empty());
}

#[tokio::test]
async fn without_all_or_none_each_part_tells_of_itself() {
    let (org, client) = org::start().await;
    let mut composite = client.composite();
    let good = composite.create("Account", &json!({ "Name": "Acme" }));
    let bad = composite.create("Account", &json!({}));
    let follows = composite.create(
        "Contact",
        &json!({ "LastName": "B", "AccountId": bad.id() }),
    );
    let answers = composite.send().await.unwrap();
    assert!(answers.id(&good).is_ok());
    let kind = |part| answers.get(part).unwrap_err().kind();
    assert_eq!(
        (kind(&bad), kind(&follows)),
        (ErrorKind::Invalid, ErrorKind::Invalid)
    );
    let cause = answers.failure().unwrap();
    assert!(cause.api().unwrap().has(&ErrorCode::REQUIRED_FIELD_MISSING));
    assert_eq!(names(&org), ["Acme"]);
}

#[tokio::test]
async fn a_text_among_the_values_is_never_taken_for_a_reference() {
    let (org, client) = org::start().await;
    for text in ["@{r.id}", "see @{ref0.records[0].Id}", "@{"] {
        let mut composite = client.composite();
        composite.create("Account", &json!({ "Name": text }));
        let error = composite.send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
        let mut composite = client.composite();
        composite.upsert("Account", "Key__c", text, &json!({}));
        assert_eq!(
            composite.send().await.unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }
    assert_eq!(org.calls(), 0, "nothing was sent");
}

#[tokio::test]
async fn what_only_reads_is_repeated_and_what_writes_is_not() {
    let (org, client) = org::start().await;
    let id = account(&org, "Acme");
    let lose = || Fault::on("*/composite", FaultEffect::LostAnswer);
    org.inject(lose());
    let mut reads = client.composite();
    let part = reads.get("Account", &id, &["Name"]);
    assert!(reads.send().await.unwrap().get(&part).is_ok());
    org.inject(lose());
    let mut writes = client.composite();
    writes.create("Account", &json!({ "Name": "b" }));
    assert!(writes.send().await.unwrap_err().may_have_happened());
    assert_eq!(names(&org), ["Acme", "b"]);
}

#[tokio::test]
async fn more_parts_than_fit_are_not_sent() {
    let (org, client) = org::start().await;
    let mut composite = client.composite();
    for _ in 0..26 {
        composite.create("Account", &json!({ "Name": "a" }));
    }
    assert_eq!(
        composite.send().await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(
        client.composite().send().await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(org.calls(), 0);
}

#[tokio::test]
async fn parts_of_a_batch_know_nothing_of_each_other_and_each_counts() {
    let (org, client) = org::start().await;
    let id = account(&org, "Acme");
    let mut batch = client.batch();
    let bad = batch.create("Account", &json!({}));
    let read = batch.get("Account", &id, &["Name"]);
    let change = batch.update("Account", &id, &json!({ "Phone": "1" }));
    let limits = batch.request(Method::GET, "/limits", None);
    let answers = batch.send().await.unwrap();
    assert_eq!(org.calls(), 4);
    assert!(!answers.get(bad).unwrap().is_success());
    assert_eq!(answers.json::<Record>(read).unwrap()["Name"], "Acme");
    assert_eq!(answers.get(change).unwrap().status, 204);
    assert!(answers.get(limits).unwrap().is_success());

    let mut batch = client.batch().halt_on_error();
    batch.create("Account", &json!({}));
    let after = batch.create("Account", &json!({ "Name": "b" }));
    let answers = batch.send().await.unwrap();
    let error = answers.json::<Record>(after).unwrap_err();
    assert!(
        error
            .api()
            .unwrap()
            .has(&ErrorCode::BATCH_PROCESSING_HALTED)
    );
    assert_eq!(names(&org), ["Acme"]);
}

#[tokio::test]
async fn a_graph_that_fails_takes_no_other_with_it() {
    let (org, client) = org::start().await;
    let mut good = client.composite();
    let account = good.create("Account", &json!({ "Name": "Acme" }));
    good.create(
        "Contact",
        &json!({ "LastName": "Bluth", "AccountId": account.id() }),
    );
    let mut bad = client.composite();
    bad.create("Account", &json!({ "Name": "lost" }));
    bad.create("Contact", &json!({}));
    let [good, bad] = &client.graphs([good, bad]).await.unwrap()[..] else {
        panic!("not as many answers as graphs");
    };
    assert!(good.as_ref().unwrap().id(&account).is_ok());
    let error = bad.as_ref().unwrap_err();
    assert!(error.api().unwrap().has(&ErrorCode::REQUIRED_FIELD_MISSING));
    assert_eq!(names(&org), ["Acme"]);
}
