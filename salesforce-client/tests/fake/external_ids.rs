use salesforce_client::testing::{FakeSalesforce, Field};
use serde_json::{Value, json};

use crate::support::{Session, refused};

async fn session() -> Session {
    let field = Field::text("Ext__c", 40).external_id(true);
    Session::with(FakeSalesforce::builder().custom_field("Account", field)).await
}

#[tokio::test]
async fn an_upsert_creates_then_updates() {
    let session = session().await;
    let path = "sobjects/Account/Ext__c/a%2Fb%20%3F.";
    let created = session.patch(path, json!({ "Name": "One" })).await;
    let id = created.id();
    assert_eq!(created.json()["created"], true);
    let updated = session.patch(path, json!({ "Name": "Two" })).await;
    let body = json!({ "id": id, "success": true, "errors": [], "created": false });
    assert_eq!((updated.status, updated.json()), (200, body));
    let record = session.fake.record(&id).unwrap();
    assert_eq!(
        (&record["Ext__c"], &record["Name"]),
        (&json!("a/b ?."), &json!("Two"))
    );
    assert_eq!(session.get(path).await.json()["Id"], json!(id));
    assert_eq!(session.fake.records("Account").len(), 1);
}

#[tokio::test]
async fn an_old_version_answers_an_update_by_key_without_a_body() {
    let session = session().await;
    let path = "/services/data/v45.0/sobjects/Account/Ext__c/1";
    let created = session.patch(path, json!({ "Name": "One" })).await;
    assert_eq!(
        (created.status, &created.json()["created"]),
        (201, &Value::Null)
    );
    let updated = session.patch(path, json!({ "Name": "Two" })).await;
    assert_eq!((updated.status, updated.body.len()), (204, 0));
}

#[tokio::test]
async fn several_matches_are_told_and_nothing_is_changed() {
    let session = session().await;
    let twin = || json!({ "Name": "Twin", "Ext__c": "1" });
    let first = session.fake.create("Account", twin()).unwrap();
    let second = session.fake.create("Account", twin()).unwrap();
    let answer = session
        .patch("sobjects/Account/Ext__c/1", json!({ "Name": "x" }))
        .await;
    let url = |id| format!("/services/data/v58.0/sobjects/Account/{id}");
    assert_eq!(
        (answer.status, answer.json()),
        (300, json!([url(&first), url(&second)]))
    );
    assert!(
        session
            .fake
            .records("Account")
            .iter()
            .all(|account| account["Name"] == "Twin")
    );
}

#[tokio::test]
async fn an_upsert_that_the_org_would_refuse_is_refused() {
    let session = session().await;
    for (path, body, status, code) in [
        (
            "Ext__c/1",
            json!({ "Name": "x", "Ext__c": "1" }),
            400,
            "INVALID_FIELD",
        ),
        ("Ext__c/1", json!({}), 400, "REQUIRED_FIELD_MISSING"),
        (
            "Ext__c/1?updateOnly=true",
            json!({ "Name": "x" }),
            404,
            "NOT_FOUND",
        ),
        ("Nope__c/1", json!({ "Name": "x" }), 404, "NOT_FOUND"),
        ("Phone/1", json!({ "Name": "x" }), 404, "NOT_FOUND"),
    ] {
        let answer = session
            .patch(&format!("sobjects/Account/{path}"), body)
            .await;
        assert_eq!(answer.error(), refused(status, code), "{path}");
    }
    assert!(session.fake.records("Account").is_empty());
    let missing = session.get("sobjects/Account/Ext__c/1").await;
    assert_eq!(missing.error(), refused(404, "NOT_FOUND"));
}

#[tokio::test]
async fn a_standard_field_marked_for_lookup_is_a_key_too() {
    let session = session().await;
    let path = "sobjects/Contact/Email/M@Example.com";
    let id = session
        .patch(path, json!({ "LastName": "Bluth" }))
        .await
        .id();
    assert_eq!(session.fake.record(&id).unwrap()["Email"], "m@example.com");
    assert_eq!(
        session
            .get("sobjects/Contact/Email/m@example.com")
            .await
            .status,
        200
    );
}
