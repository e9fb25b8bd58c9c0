use serde_json::{Value, json};

use crate::support::{Session, refused};

fn part(method: &str, path: &str, reference: &str, body: Value) -> Value {
    let mut part = json!({
        "method": method, "url": format!("/services/data/v58.0/{path}"), "referenceId": reference,
    });
    if !body.is_null() {
        part["body"] = body;
    }
    part
}

fn statuses(answer: &Value) -> Vec<u64> {
    let parts = answer["compositeResponse"].as_array().unwrap().iter();
    parts
        .map(|part| part["httpStatusCode"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn later_parts_use_what_earlier_ones_answered() {
    let session = Session::start().await;
    let deal = session.opportunity();
    let file = json!({ "PathOnClient": "a.txt", "VersionData": "eA==" });
    let link = json!({
        "ContentDocumentId": "@{read.ContentDocumentId}", "LinkedEntityId": deal, "ShareType": "V",
    });
    let body = json!({ "allOrNone": true, "compositeRequest": [
        part("POST", "sobjects/ContentVersion", "file", file),
        part("GET", "sobjects/ContentVersion/@{file.id}?fields=ContentDocumentId", "read", Value::Null),
        part("POST", "sobjects/ContentDocumentLink", "link", link),
    ]});
    let answer = session.post("composite", body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        statuses(&answer.json()),
        [201, 200, 201],
        "{}",
        answer.json()
    );
    assert!(session.fake.files()[0].is_on(&deal));
    assert_eq!(session.fake.calls(), 1, "it is one call");
}

#[tokio::test]
async fn all_or_none_takes_back_what_was_done() {
    let session = Session::start().await;
    for (all_or_none, expected, left) in [(true, [400, 400], 0), (false, [201, 400], 1)] {
        let body = json!({ "allOrNone": all_or_none, "compositeRequest": [
            part("POST", "sobjects/Account", "one", json!({ "Name": "x" })),
            part("POST", "sobjects/Account", "two", json!({})),
        ]});
        let answer = session.post("composite", body).await.json();
        assert_eq!(statuses(&answer), expected);
        let errors = &answer["compositeResponse"];
        if all_or_none {
            assert_eq!(errors[0]["body"][0]["errorCode"], "PROCESSING_HALTED");
        }
        assert_eq!(errors[1]["body"][0]["errorCode"], "REQUIRED_FIELD_MISSING");
        assert_eq!(session.fake.records("Account").len(), left);
    }
}

#[tokio::test]
async fn a_composite_that_the_org_would_refuse_is_refused() {
    let session = Session::start().await;
    let one = |name: &str| part("GET", "limits", name, Value::Null);
    let many: Vec<Value> = (0..26).map(|number| one(&format!("r{number}"))).collect();
    for parts in [
        json!(many),
        json!([one("a"), one("a")]),
        json!([one("a b")]),
    ] {
        let answer = session
            .post("composite", json!({ "compositeRequest": parts }))
            .await;
        assert_eq!(answer.status, 400);
    }
    let unknown = json!({ "compositeRequest": [
        part("GET", "sobjects/Account/@{nobody.id}", "a", Value::Null),
    ]});
    let answer = session.post("composite", unknown).await.json();
    assert_eq!(statuses(&answer), [400]);
    assert_eq!(
        answer["compositeResponse"][0]["body"][0]["errorCode"],
        "PROCESSING_HALTED"
    );
}

#[tokio::test]
async fn a_collection_answers_for_each_record() {
    let session = Session::start().await;
    let account = |body: Value| {
        let mut body = body;
        body["attributes"] = json!({ "type": "Account" });
        body
    };
    for (all_or_none, left) in [(true, 0), (false, 1)] {
        let records = [
            account(json!({ "Name": "x" })),
            account(json!({ "Nope": 1 })),
        ];
        let body = json!({ "allOrNone": all_or_none, "records": records });
        let answer = session.post("composite/sobjects", body).await.json();
        assert_eq!(answer[0]["success"], !all_or_none);
        assert_eq!(answer[1]["errors"][0]["statusCode"], "INVALID_FIELD");
        assert_eq!(session.fake.records("Account").len(), left);
    }
    let id = session.fake.records("Account")[0]["Id"].clone();
    let body = json!({ "records": [account(json!({ "Id": id, "Name": "y" }))] });
    let answer = session.patch("composite/sobjects", body).await.json();
    assert_eq!(answer[0]["success"], true);
    assert_eq!(session.fake.records("Account")[0]["Name"], "y");
    let path = format!("composite/sobjects?ids={},nonsense", id.as_str().unwrap());
    let answer = session.delete(&path).await.json();
    assert_eq!(
        (&answer[0]["success"], &answer[1]["success"]),
        (&json!(true), &json!(false))
    );
    assert!(session.fake.records("Account").is_empty());
    let records = vec![account(json!({ "Name": "x" })); 201];
    let over = session
        .post("composite/sobjects", json!({ "records": records }))
        .await;
    assert_eq!(over.error(), refused(400, "EXCEEDED_MAX_SIZE_REQUEST"));
    assert!(session.fake.records("Account").is_empty());
}
