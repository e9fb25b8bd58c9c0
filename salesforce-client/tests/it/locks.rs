//! Many records in one call, some of which somebody else holds.

use futures_util::StreamExt;
use salesforce_client::{
    Composite, ErrorKind, Linked, Record, Reference, ShareType,
    testing::{Fault, FaultEffect},
};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::{
    org,
    support::{client, errors, id},
};

const ACCOUNT: &str = "0015500000KQ12XAAT";

fn saved() -> Value {
    json!({ "id": ACCOUNT, "success": true, "errors": [] })
}

fn refused(code: &str) -> Value {
    let error = json!({ "statusCode": code, "message": "no", "fields": [] });
    json!({ "success": false, "errors": [error] })
}

/// A server that gives these answers, one after the other.
async fn answering(answers: impl IntoIterator<Item = Value>) -> MockServer {
    let server = MockServer::start().await;
    for answer in answers {
        Mock::given(any())
            .respond_with(ResponseTemplate::new(200).set_body_json(answer))
            .up_to_n_times(1)
            .mount(&server)
            .await;
    }
    server
}

async fn bodies(server: &MockServer) -> Vec<Value> {
    let sent = server.received_requests().await.unwrap();
    let bodies = sent
        .iter()
        .map(|it| serde_json::from_slice(&it.body).unwrap());
    bodies.collect()
}

#[tokio::test]
async fn only_the_rows_that_were_locked_are_sent_again() {
    let locked = || refused("UNABLE_TO_LOCK_ROW");
    let server = answering([
        json!([saved(), locked(), refused("STRING_TOO_LONG"), locked()]),
        json!([saved(), locked()]),
        json!([saved()]),
    ])
    .await;
    let client = client(&server.uri());
    let records = ["a", "b", "c", "d"].map(|name| json!({ "Name": name }));
    let rows = client.sobject("Account").create_all(records).send().await;
    let outcomes: Vec<_> = rows.iter().map(|row| row.outcome.is_ok()).collect();
    assert_eq!(outcomes, [true, true, false, true]);
    let names: Vec<Vec<Value>> = bodies(&server)
        .await
        .iter()
        .map(|body| {
            let records = body["records"].as_array().unwrap().iter();
            records.map(|it| it["Name"].clone()).collect()
        })
        .collect();
    assert_eq!(names, [vec!["a", "b", "c", "d"], vec!["b", "d"], vec!["d"]]);
}

#[tokio::test]
async fn all_or_none_is_sent_again_as_a_whole() {
    let server = answering([
        json!([
            refused("ALL_OR_NONE_OPERATION_ROLLED_BACK"),
            refused("UNABLE_TO_LOCK_ROW")
        ]),
        json!([saved(), saved()]),
    ])
    .await;
    let client = client(&server.uri());
    let records = ["a", "b"].map(|name| json!({ "Name": name }));
    let request = client.sobject("Account").create_all(records).all_or_none();
    for row in request.send().await {
        row.outcome.unwrap();
    }
    assert_eq!(bodies(&server).await.len(), 2);
}

#[tokio::test]
async fn a_file_is_linked_to_records_that_others_hold_for_a_moment() {
    let server = answering([
        json!([refused("UNABLE_TO_LOCK_ROW"), refused("DUPLICATE_VALUE")]),
        json!([saved()]),
    ])
    .await;
    let client = client(&server.uri());
    let records = ["0015500000KQ12X", "0015500000KQ12Y"].map(id);
    let file = id("0695500000KQ12X");
    let rows = client
        .files()
        .link_all(&file, records, ShareType::Viewer)
        .await;
    assert_eq!(
        rows[0].outcome.as_ref().unwrap(),
        &Linked::Created(id(ACCOUNT))
    );
    assert_eq!(rows[1].outcome.as_ref().unwrap(), &Linked::Already);
}

#[tokio::test]
async fn a_record_that_cannot_be_written_fails_alone() {
    let (org, client) = org::start().await;
    let records = [
        json!({ "Name": "a" }),
        json!("no record"),
        json!({ "Name": "c" }),
    ];
    let accounts = client.sobject("Account");
    let rows = accounts.create_all(records.clone()).send().await;
    assert_eq!(
        rows[1].outcome.as_ref().unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert!(rows[0].outcome.is_ok() && rows[2].outcome.is_ok());
    assert_eq!(org::names(&org), ["a", "c"]);
    let rows = accounts.create_all(records).all_or_none().send().await;
    assert!(rows.iter().all(|row| row.outcome.is_err()));
    assert!(
        rows[0]
            .outcome
            .as_ref()
            .unwrap_err()
            .has_code("ALL_OR_NONE_OPERATION_ROLLED_BACK")
    );
    assert_eq!(org::names(&org).len(), 2);
}

#[tokio::test]
async fn after_a_failure_that_is_everybodys_nothing_more_is_sent() {
    let (org, client) = org::start().await;
    org.inject(Fault::on("*/composite/sobjects", FaultEffect::DailyLimit));
    let records = (0..1_000).map(|number| json!({ "Name": number.to_string() }));
    let rows = client.sobject("Account").create_all(records).send().await;
    assert_eq!(rows.len(), 1_000);
    for row in &rows {
        let error = row.outcome.as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DailyLimit);
        assert!(!error.may_have_happened());
    }
    assert_eq!(org.requests().len(), 1);
    org.inject(Fault::on(
        "*/composite/sobjects/Account",
        FaultEffect::DailyLimit,
    ));
    let ids = (0..1_000).map(|_| id(ACCOUNT));
    let found = client.sobject("Account").get_all(ids, &["Name"]);
    assert_eq!(
        found
            .filter(|row| std::future::ready(row.outcome.is_err()))
            .count()
            .await,
        1_000
    );
    assert_eq!(org.requests().len(), 2);
}

fn part(body: &Value, place: usize, status: u16, answer: Value) -> Value {
    let name = body["compositeRequest"][place]["referenceId"].clone();
    json!({ "referenceId": name, "httpStatusCode": status, "body": answer })
}

fn lock() -> Value {
    json!([{ "errorCode": "UNABLE_TO_LOCK_ROW", "message": "", "fields": [] }])
}

fn halted() -> Value {
    json!([{ "errorCode": "PROCESSING_HALTED", "message": "", "fields": [] }])
}

/// A server whose composites have these outcomes, call by call and part by part; after the last of
/// them it loses what it is sent.
async fn composing(calls: Vec<Vec<(u16, Value)>>) -> MockServer {
    let server = MockServer::start().await;
    let calls = std::sync::Mutex::new(calls.into_iter());
    Mock::given(any())
        .respond_with(move |request: &wiremock::Request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let Some(parts) = calls.lock().unwrap().next() else {
                return ResponseTemplate::new(500);
            };
            let batch = body.get("batchRequests").is_some();
            let parts =
                parts
                    .into_iter()
                    .enumerate()
                    .map(|(place, (status, answer))| match batch {
                        true => json!({ "statusCode": status, "result": answer }),
                        false => part(&body, place, status, answer),
                    });
            let parts: Vec<Value> = parts.collect();
            let answer = match batch {
                true => json!({ "hasErrors": true, "results": parts }),
                false => json!({ "compositeResponse": parts }),
            };
            ResponseTemplate::new(200).set_body_json(answer)
        })
        .mount(&server)
        .await;
    server
}

/// Which parts each call had, by the names of their accounts.
async fn sent(server: &MockServer) -> Vec<Vec<Value>> {
    let bodies = bodies(server).await;
    let calls = bodies.iter().map(|body| {
        let parts = body
            .get("compositeRequest")
            .unwrap_or(&body["batchRequests"]);
        let name = |part: &Value| part["body"]["Name"].as_str().map(Value::from);
        let parts = parts.as_array().unwrap().iter();
        parts
            .map(|part| name(part).unwrap_or_else(|| part["richInput"]["Name"].clone()))
            .collect()
    });
    calls.collect()
}

#[tokio::test]
async fn a_composite_that_was_rolled_back_for_a_lock_is_sent_again() {
    let server = composing(vec![
        vec![(400, halted()), (400, lock())],
        vec![(201, saved()), (201, saved())],
    ])
    .await;
    let mut composite = client(&server.uri()).composite().all_or_none();
    let one = composite.create("Account", &json!({ "Name": "a" }));
    composite.create("Account", &json!({ "Name": "b" }));
    let answers = composite.send().await.unwrap();
    assert!(answers.id(&one).is_ok());
    assert_eq!(sent(&server).await, [["a", "b"], ["a", "b"]]);
}

#[tokio::test]
async fn locked_parts_that_stand_alone_are_sent_again_and_the_rest_says_that_it_was_locked() {
    let read = json!({ "Id": ACCOUNT, "Name": "read" });
    let server = composing(vec![
        vec![
            (200, read),
            (201, saved()),
            (400, lock()),
            (400, lock()),
            (400, lock()),
            (400, halted()),
        ],
        vec![(400, lock())],
        vec![(201, saved())],
    ])
    .await;
    let mut composite = client(&server.uri()).composite();
    let read = composite.get("Account", &id(ACCOUNT), &["Name"]);
    let done = composite.create("Account", &json!({ "Name": "done" }));
    let follows_a_read = json!({ "Name": "after a read", "ParentId": read.field("Id") });
    let follows_a_read = composite.create("Account", &follows_a_read);
    let alone = composite.create("Account", &json!({ "Name": "alone" }));
    let follows_a_write = json!({ "Name": "after a write", "ParentId": done.id() });
    let needed = composite.create("Account", &follows_a_write);
    let needs = json!({ "LastName": "last", "AccountId": needed.id() });
    let needs = composite.create("Contact", &needs);
    let answers = tokio::spawn(composite.send()).await.unwrap().unwrap();
    for part in [&read, &done, &alone] {
        assert!(answers.get(part).is_ok());
    }
    let kind = |part| answers.get(part).unwrap_err().kind();
    assert_eq!(kind(&follows_a_read), ErrorKind::RowLocked);
    assert_eq!(kind(&needed), ErrorKind::RowLocked);
    assert_ne!(kind(&needs), ErrorKind::RowLocked);
    let parts = sent(&server).await;
    assert_eq!(parts[1], ["alone"]);
    assert_eq!(parts[2], ["alone"]);
    assert_eq!(parts.len(), 3);
}

#[tokio::test]
async fn a_locked_part_that_others_may_mind_is_not_sent_again() {
    let deal = id("0065500000KQ12X");
    let name = |name: &str| json!({ "Name": name });
    type Add<'a> = Box<dyn Fn(&mut Composite) -> Reference + 'a>;
    type Case<'a> = (&'a str, Vec<(u16, Value)>, Add<'a>);
    let cases: [Case<'_>; 4] = [
        (
            "it refers to what was read before a write",
            vec![(200, name("before")), (204, Value::Null), (400, lock())],
            Box::new(|composite| {
                let read = composite.get("Opportunity", &deal, &["Name"]);
                composite.update("Opportunity", &deal, &name("after"));
                composite.create("Task", &json!({ "Subject": read.field("Name") }))
            }),
        ),
        (
            "a later one about its record failed without it",
            vec![
                (400, lock()),
                (400, errors("FIELD_CUSTOM_VALIDATION_EXCEPTION", "")),
            ],
            Box::new(|composite| {
                let part = composite.update("Opportunity", &deal, &name("approved"));
                composite.update("Opportunity", &deal, &name("won"));
                part
            }),
        ),
        (
            "what would replace it could not be made",
            vec![(400, lock()), (400, errors("DUPLICATE_VALUE", ""))],
            Box::new(|composite| {
                let part = composite.delete("Opportunity", &deal);
                composite.create("Opportunity", &name("a"));
                part
            }),
        ),
        (
            "a later upsert may have made it",
            vec![(400, lock()), (201, saved())],
            Box::new(|composite| {
                let part = composite.create("Account", &json!({ "Ext__c": "7" }));
                composite.upsert("Account", "Ext__c", "7", &name("a"));
                part
            }),
        ),
    ];
    for (what, answers, add) in cases {
        let again = answers.iter().map(|_| (201, saved())).collect();
        let server = composing(vec![answers, again]).await;
        let mut composite = client(&server.uri()).composite();
        let part = add(&mut composite);
        let answers = composite.send().await.unwrap();
        let error = answers.get(&part).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RowLocked, "{what}");
        assert_eq!(bodies(&server).await.len(), 1, "{what}");
    }
}

#[tokio::test]
async fn the_parts_of_a_composite_are_done_in_their_order() {
    for all_or_none in [false, true] {
        let server = composing(vec![vec![(201, saved())]]).await;
        let mut composite = client(&server.uri()).composite();
        if all_or_none {
            composite = composite.all_or_none();
        }
        composite.create("Account", &json!({ "Name": "a" }));
        composite.send().await.unwrap();
        assert_eq!(bodies(&server).await[0]["collateSubrequests"], false);
    }
}

#[tokio::test]
async fn a_locked_part_that_was_sent_again_with_an_unknown_outcome_says_so() {
    let server = composing(vec![vec![(201, saved()), (400, lock())]]).await;
    let mut composite = client(&server.uri()).composite();
    let done = composite.create("Account", &json!({ "Name": "a" }));
    let doubtful = composite.create("Account", &json!({ "Name": "b" }));
    let answers = composite.send().await.unwrap();
    assert!(answers.id(&done).is_ok());
    let error = answers.get(&doubtful).unwrap_err();
    assert!(error.may_have_happened(), "{error:?}");
    assert_eq!(sent(&server).await, [vec!["a", "b"], vec!["b"]]);
}

#[tokio::test]
async fn locked_parts_of_a_batch_are_sent_again_unless_it_was_to_halt() {
    let calls = || {
        vec![
            vec![(400, lock()), (201, saved()), (400, lock())],
            vec![(204, Value::Null), (201, saved())],
        ]
    };
    let ids = ["0015500000KQ12X", "0015500000KQ12Y"].map(id);
    for halts in [false, true] {
        let server = composing(calls()).await;
        let mut batch = client(&server.uri()).batch();
        if halts {
            batch = batch.halt_on_error();
        }
        let parts = [
            batch.update("Account", &ids[0], &json!({ "Name": "a" })),
            batch.update("Account", &ids[1], &json!({ "Name": "b" })),
            batch.create("Account", &json!({ "Name": "c" })),
        ];
        let answers = tokio::spawn(batch.send()).await.unwrap().unwrap();
        let done = parts.map(|part| answers.get(part).unwrap().is_success());
        assert_eq!(done, [!halts, true, !halts]);
        let expected = match halts {
            true => vec![vec!["a", "b", "c"]],
            false => vec![vec!["a", "b", "c"], vec!["a", "c"]],
        };
        assert_eq!(sent(&server).await, expected);
    }
}

#[tokio::test]
async fn each_graph_has_its_own_fate() {
    let server = MockServer::start().await;
    let calls = std::sync::atomic::AtomicU32::new(0);
    Mock::given(any())
        .respond_with(move |request: &wiremock::Request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let first = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            let graphs = body["graphs"].as_array().unwrap().iter();
            let graphs = graphs.map(|graph| {
                let id = graph["graphId"].as_str().unwrap();
                let (is_successful, parts) = match id {
                    "1" if first => (false, vec![part(graph, 0, 400, lock())]),
                    // One without an answer to its part, and one that fails without a word.
                    "2" => (true, vec![]),
                    "3" => (false, vec![part(graph, 0, 200, Value::Null)]),
                    _ => (true, vec![part(graph, 0, 201, saved())]),
                };
                json!({
                    "graphId": id, "isSuccessful": is_successful,
                    "graphResponse": { "compositeResponse": parts },
                })
            });
            let answer = json!({ "graphs": graphs.collect::<Vec<_>>() });
            ResponseTemplate::new(200).set_body_json(answer)
        })
        .mount(&server)
        .await;
    let client = client(&server.uri());
    let graphs = (0..4).map(|number| {
        let mut graph = client.composite();
        graph.create("Account", &json!({ "Name": number.to_string() }));
        graph
    });
    let answers = client.graphs(graphs).await.unwrap();
    let outcomes: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(outcomes, [true, true, false, false]);
    let sent = bodies(&server).await;
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1]["graphs"].as_array().unwrap().len(), 1);
    assert_eq!(sent[1]["graphs"][0]["graphId"], "1");
}

#[tokio::test]
async fn a_long_query_that_ran_into_its_time_is_asked_again() {
    let server = answering([
        json!({ "compositeResponse": [{
            "referenceId": "inner", "httpStatusCode": 400,
            "body": [{ "errorCode": "QUERY_TIMEOUT", "message": "" }],
        }] }),
        json!({ "compositeResponse": [{
            "referenceId": "inner", "httpStatusCode": 200,
            "body": { "totalSize": 1, "done": true, "records": [{ "Name": "a" }] },
        }] }),
    ])
    .await;
    let long = format!(
        "SELECT Name FROM Account WHERE Name != '{}'",
        "x".repeat(9_000)
    );
    let rows = client(&server.uri())
        .query::<Record>(long)
        .all(10)
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
}
