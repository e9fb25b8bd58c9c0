//! Many records in one call.

use futures_util::StreamExt;
use salesforce_client::{
    ErrorCode, ErrorKind, Record, TreeRecord,
    testing::{Fault, FaultEffect, Field},
};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

use crate::{
    org::{self, account, builder_of, names},
    support::client,
};

#[tokio::test]
async fn each_input_has_its_own_outcome_over_many_calls() {
    let (org, client) = org::start().await;
    // Every 100th is refused: it has no name.
    let records = (0..450).map(|n| match n % 100 {
        50 => json!({ "Phone": n.to_string() }),
        _ => json!({ "Name": format!("account {n}") }),
    });
    let rows = client.sobject("Account").create_all(records).send().await;
    assert_eq!(rows.len(), 450);
    assert_eq!(org.calls(), 3);
    for (n, row) in rows.iter().enumerate() {
        if n % 100 == 50 {
            let error = row.outcome.as_ref().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.api().unwrap().has(&ErrorCode::REQUIRED_FIELD_MISSING));
            assert!(!error.may_have_happened() && !error.is_retryable());
            assert_eq!(
                error.to_string(),
                "sobjects.create_all failed: REQUIRED_FIELD_MISSING"
            );
        } else {
            let saved = row.outcome.as_ref().unwrap();
            let stored = org.record(saved.id.as_str()).unwrap();
            assert_eq!(stored["Name"], row.input["Name"]);
        }
    }
}

#[tokio::test]
async fn a_row_that_somebody_else_holds_goes_again_and_takes_no_other_along() {
    for all_or_none in [false, true] {
        let server = MockServer::start().await;
        let saved =
            |n| json!({ "id": format!("00155000008Q4Z{n}"), "success": true, "errors": [] });
        let failed = |code: &str| {
            let errors = json!([{ "statusCode": code, "message": "", "fields": [] }]);
            json!({ "success": false, "errors": errors })
        };
        let others = match all_or_none {
            true => failed("ALL_OR_NONE_OPERATION_ROLLED_BACK"),
            false => saved(1),
        };
        let first = json!([others.clone(), failed("UNABLE_TO_LOCK_ROW"), others]);
        let then = match all_or_none {
            true => json!([saved(1), saved(2), saved(3)]),
            false => json!([saved(2)]),
        };
        for (body, times) in [(first, 2), (then, 1)] {
            // The second answer of the first is for other rows, unless all go again.
            let times = if all_or_none { times } else { 1 };
            Mock::given(method("POST"))
                .respond_with(ResponseTemplate::new(200).set_body_json(body))
                .up_to_n_times(times)
                .mount(&server)
                .await;
        }
        let records = ["a", "b", "c"].map(|name| json!({ "Name": name }));
        let client = client(&server.uri());
        let mut request = client.sobject("Account").create_all(records);
        if all_or_none {
            request = request.all_or_none();
        }
        let rows = request.send().await;
        assert!(rows.iter().all(|row| row.outcome.is_ok()), "{rows:?}");
        let sent = server.received_requests().await.unwrap();
        let counts: Vec<usize> = sent
            .iter()
            .map(|it| {
                it.body_json::<Value>().unwrap()["records"]
                    .as_array()
                    .unwrap()
                    .len()
            })
            .collect();
        let expected: &[usize] = if all_or_none { &[3, 3, 3] } else { &[3, 1] };
        assert_eq!(counts, expected);
    }
}

#[tokio::test]
async fn all_or_none_takes_a_whole_call_back_and_tells_the_cause_from_its_consequences() {
    let (org, client) = org::start().await;
    let records = [json!({ "Name": "a" }), json!({}), json!({ "Name": "c" })];
    let request = client.sobject("Account").create_all(records).all_or_none();
    let rows = request.send().await;
    let rolled_back = |row: usize| {
        let error = rows[row].outcome.as_ref().unwrap_err();
        let api = error.api().unwrap();
        api.has(&ErrorCode::ALL_OR_NONE_OPERATION_ROLLED_BACK)
    };
    assert!(rolled_back(0) && !rolled_back(1) && rolled_back(2));
    assert!(org.records("Account").is_empty());
}

#[tokio::test]
async fn many_are_changed_read_and_deleted() {
    let (org, client) = org::start().await;
    let accounts = client.sobject("Account");
    let ids = ["a", "b"].map(|name| account(&org, name));
    let changes = ids.clone().map(|id| (id, json!({ "Phone": "1" })));
    for row in accounts.update_all(changes).send().await {
        assert_eq!(row.outcome.unwrap().id, row.input.0);
    }
    let gone = account(&org, "gone");
    org.delete(gone.as_str()).unwrap();
    let asked = [ids[0].clone(), gone, ids[1].clone()];
    let found = accounts.get_all(asked, &["Name", "Phone"]);
    let found: Vec<Option<Record>> = found.map(|row| row.outcome.unwrap()).collect().await;
    assert_eq!(found[0].as_ref().unwrap()["Phone"], "1");
    assert!(found[1].is_none());
    assert_eq!(found[2].as_ref().unwrap()["Name"], "b");
    for row in accounts.delete_all(ids).send().await {
        row.outcome.unwrap();
    }
    assert!(org.records("Account").is_empty());
}

#[tokio::test]
async fn an_upsert_of_many_tells_what_is_new() {
    let (org, client) = org::start().await;
    let key = Field::text("Key__c", 40).unique(true).external_id(true);
    org.add_custom_field("Account", key).unwrap();
    let accounts = client.sobject("Account");
    let records = || ["k1", "k/2"].map(|key| (key, json!({ "Name": key })));
    for is_new in [true, false] {
        for row in accounts.upsert_all("Key__c", records()).send().await {
            assert_eq!(row.outcome.unwrap().created, Some(is_new));
        }
    }
    assert_eq!(names(&org), ["k1", "k/2"]);
}

#[tokio::test]
async fn a_call_that_fails_fails_its_own_records_only() {
    let (org, client) = org::start().await;
    org.inject(Fault::on("*/composite/sobjects", FaultEffect::LostAnswer).method("POST"));
    let records = (0..201).map(|n| json!({ "Name": n.to_string() }));
    let rows = client.sobject("Account").create_all(records).send().await;
    let failed = rows.iter().filter(|row| row.outcome.is_err());
    for row in failed.clone() {
        assert!(row.outcome.as_ref().unwrap_err().may_have_happened());
    }
    assert_eq!(failed.count(), 200);
    // The lost ones are there once: nothing was repeated.
    assert_eq!(org.records("Account").len(), 201);
}

#[tokio::test]
async fn nothing_is_sent_that_nobody_reads() {
    let (org, client) = org::start().await;
    let records = (0..1000).map(|n| json!({ "Name": n.to_string() }));
    let mut rows = Box::pin(client.sobject("Account").create_all(records).stream());
    rows.next().await.unwrap().outcome.unwrap();
    drop(rows);
    assert_eq!(org.records("Account").len(), 200);
}

#[tokio::test]
async fn a_tree_is_created_as_a_whole_or_not_at_all() {
    let (org, client) = org::start().await;
    let record = |object: &str, name: &str, fields| TreeRecord::new(object, name, &fields).unwrap();
    let tree = |last_name: &str| {
        let contact = record("Contact", "c1", json!({ "LastName": last_name }));
        record("Account", "a1", json!({ "Name": "Acme" })).child("Contacts", contact)
    };
    let accounts = client.sobject("Account");
    let long = "x".repeat(81);
    let error = accounts.create_tree([tree(&long)]).await.unwrap_err();
    let api = error.api().unwrap();
    assert_eq!(api.iter().next().unwrap().reference.as_deref(), Some("c1"));
    assert!(api.has(&ErrorCode::STRING_TOO_LONG));
    assert!(org.records("Account").is_empty());

    let saved = accounts.create_tree([tree("Bluth")]).await.unwrap();
    let contact = org.record(saved.ids["c1"].as_str()).unwrap();
    assert_eq!(contact["AccountId"], saved.ids["a1"].as_str());
}

#[tokio::test]
async fn a_repeat_is_made_only_where_it_was_allowed() {
    let (org, _) = org::start().await;
    let client = builder_of(&org).build().unwrap();
    let id = account(&org, "a");
    let lose = || Fault::on("*/composite/sobjects", FaultEffect::LostAnswer).method("PATCH");
    for (repeatable, succeeds) in [(false, false), (true, true)] {
        org.inject(lose());
        let changes = [(id.clone(), json!({ "Phone": "1" }))];
        let mut request = client.sobject("Account").update_all(changes);
        if repeatable {
            request = request.repeatable();
        }
        assert_eq!(request.send().await[0].outcome.is_ok(), succeeds);
    }
}
