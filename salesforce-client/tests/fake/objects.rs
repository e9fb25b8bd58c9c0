use salesforce_client::testing::{FakeSalesforce, Field};
use serde_json::{Value, json};

use crate::support::{Session, refused};

#[tokio::test]
async fn a_stage_decides_what_follows_from_it() {
    let session = Session::start().await;
    let body = json!({
        "Name": "Deal", "StageName": "Prospecting", "CloseDate": "2026-06-30", "Amount": 200,
    });
    let id = session.create("Opportunity", body).await.id();
    let path = format!("sobjects/Opportunity/{id}");
    for (stage, closed, won, probability) in [
        ("Prospecting", false, false, json!(10)),
        ("Closed Won", true, true, json!(100)),
        ("Closed Lost", true, false, json!(0)),
        // Any text is a stage; one that nobody defined is open.
        ("Closed Wonn", false, false, json!(0)),
    ] {
        assert_eq!(
            session
                .patch(&path, json!({ "StageName": stage }))
                .await
                .status,
            204
        );
        let record = session.fake.record(&id).unwrap();
        assert_eq!(record["IsClosed"], closed, "{stage}");
        assert_eq!(record["IsWon"], won, "{stage}");
        assert_eq!(
            record["Probability"].as_f64(),
            probability.as_f64(),
            "{stage}"
        );
    }
}

#[tokio::test]
async fn a_contact_of_a_new_opportunity_gets_the_primary_role() {
    let session = Session::start().await;
    let contact = session
        .fake
        .create("Contact", json!({ "LastName": "Bluth" }))
        .unwrap();
    let body = json!({
        "Name": "Deal", "StageName": "x", "CloseDate": "2026-06-30", "ContactId": contact,
    });
    let id = session.create("Opportunity", body).await.id();
    let roles = session.fake.records("OpportunityContactRole");
    assert_eq!(roles.len(), 1);
    assert_eq!(roles[0]["OpportunityId"], json!(id));
    assert_eq!(roles[0]["IsPrimary"], true);
    let again = json!({ "ContactId": contact });
    let changed = session
        .patch(&format!("sobjects/Opportunity/{id}"), again)
        .await;
    assert_eq!(
        changed.error(),
        refused(400, "INVALID_FIELD_FOR_INSERT_UPDATE")
    );
}

#[tokio::test]
async fn a_task_gets_what_it_was_not_given() {
    let session = Session::start().await;
    let account = session.account("Acme");
    let deal = session.opportunity();
    session
        .fake
        .update(&deal, json!({ "AccountId": account }))
        .unwrap();
    let id = session
        .create("Task", json!({ "Subject": "Call", "WhatId": deal }))
        .await
        .id();
    let task = session.fake.record(&id).unwrap();
    assert_eq!(
        (&task["Status"], &task["Priority"]),
        (&json!("Not Started"), &json!("Normal"))
    );
    assert_eq!(
        (&task["IsClosed"], &task["AccountId"]),
        (&json!(false), &json!(account))
    );
    assert_eq!(task["OwnerId"], json!(session.fake.integration_user()));
    session
        .patch(
            &format!("sobjects/Task/{id}"),
            json!({ "Status": "Completed" }),
        )
        .await;
    let task = session.fake.record(&id).unwrap();
    assert_eq!(task["IsClosed"], true);
    assert!(task["CompletedDateTime"].is_string());
}

#[tokio::test]
async fn activities_are_refused_what_they_cannot_hold() {
    let session = Session::start().await;
    let lead = json!({ "LastName": "x", "Company": "x" });
    let lead = session.fake.create("Lead", lead).unwrap();
    let deal = session.opportunity();
    for (object, body, code) in [
        (
            "Task",
            json!({ "WhoId": lead, "WhatId": deal }),
            "FIELD_INTEGRITY_EXCEPTION",
        ),
        (
            "Task",
            json!({ "WhoId": deal }),
            "INVALID_CROSS_REFERENCE_KEY",
        ),
        (
            "Task",
            json!({ "Subject": "x".repeat(256) }),
            "STRING_TOO_LONG",
        ),
        (
            "Task",
            json!({ "Description": "x".repeat(32_001) }),
            "MAX_TASK_DESCRIPTION_EXCEEEDED",
        ),
        ("Event", json!({ "Subject": "x" }), "REQUIRED_FIELD_MISSING"),
    ] {
        let answer = session.create(object, body).await;
        assert_eq!(answer.error(), refused(400, code), "{object}");
    }
    assert!(session.fake.records("Task").is_empty());
    assert_eq!(
        session
            .create("Task", json!({ "WhoId": lead }))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn a_describe_tells_fields_and_whether_files_can_be_put_on_it() {
    let field = Field::text("Box_Id__c", 40).unique(true).external_id(true);
    let session = Session::with(FakeSalesforce::builder().custom_field("Activity", field)).await;
    for object in ["Task", "Event"] {
        let described = session
            .get(&format!("sobjects/{object}/describe"))
            .await
            .json();
        let fields = described["fields"].as_array().unwrap();
        let custom = fields
            .iter()
            .find(|field| field["name"] == "Box_Id__c")
            .unwrap();
        for (member, value) in [
            ("type", json!("string")),
            ("length", json!(40)),
            ("custom", json!(true)),
            ("unique", json!(true)),
            ("externalId", json!(true)),
            ("createable", json!(true)),
            ("nillable", json!(true)),
        ] {
            assert_eq!(custom[member], value, "{member}");
        }
    }
    for (object, takes_files) in [
        ("Opportunity", true),
        ("Account", true),
        ("Contact", true),
        ("Case", true),
        ("Event", true),
        ("OpportunityContactRole", false),
    ] {
        let described = session
            .get(&format!("sobjects/{object}/describe"))
            .await
            .json();
        let children = described["childRelationships"].as_array().unwrap();
        let found = children.iter().any(|child| {
            child["childSObject"] == "ContentDocumentLink"
                && child["field"] == "LinkedEntityId"
                && child["relationshipName"] == "ContentDocumentLinks"
        });
        assert_eq!(found, takes_files, "{object}");
    }
}

#[tokio::test]
async fn the_list_of_objects_has_them_all() {
    let session = Session::start().await;
    let body = session.get("sobjects").await.json();
    let names: Vec<&str> = body["sobjects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| object["name"].as_str().unwrap())
        .collect();
    for name in [
        "Account",
        "Opportunity",
        "Task",
        "ContentVersion",
        "ContentDocumentLink",
    ] {
        assert!(names.contains(&name), "{name}");
    }
}

#[tokio::test]
async fn a_describe_is_not_sent_twice_to_those_who_have_it() {
    let session = Session::start().await;
    let first = session.get("sobjects/Account/describe").await;
    let date = first.header("last-modified").unwrap().to_owned();
    let request = session.request("GET", "sobjects/Account/describe");
    let again = crate::support::send(request.header("if-modified-since", date)).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
}

#[tokio::test]
async fn a_deleted_account_takes_its_contacts_with_it() {
    let session = Session::start().await;
    let account = session.account("Acme");
    let contact = json!({ "LastName": "Bluth", "AccountId": account });
    let contact = session.fake.create("Contact", contact).unwrap();
    session.delete(&format!("sobjects/Account/{account}")).await;
    assert_eq!(session.fake.record(&contact), None);
    let all = session
        .get("queryAll?q=SELECT+Id,IsDeleted+FROM+Contact")
        .await
        .json();
    assert_eq!(all["records"][0]["IsDeleted"], true);
    let living = session.query("SELECT Id FROM Contact").await.json();
    assert_eq!(
        (&living["totalSize"], &living["records"]),
        (&json!(0), &Value::Array(Vec::new()))
    );
}
