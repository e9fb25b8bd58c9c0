use futures_util::future::join_all;
use salesforce_client::testing::{FakeSalesforce, Field};
use serde_json::{Value, json};

use crate::support::{Session, refused, send};

#[tokio::test]
async fn what_the_org_would_refuse_to_create_is_refused_and_not_created() {
    let session = Session::start().await;
    let gone = session.account("Gone");
    session.fake.delete(&gone).unwrap();
    let contact = session
        .fake
        .create("Contact", json!({ "LastName": "Bluth" }))
        .unwrap();
    let unknown = "0015g0000009999";
    let deal = |extra: Value| {
        let mut body = json!({ "Name": "x", "StageName": "x", "CloseDate": "2026-01-31" });
        for (name, value) in extra.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    for (object, body, code, fields) in [
        (
            "Account",
            json!({ "Name": "x", "Nonsense": 1 }),
            "INVALID_FIELD",
            Value::Null,
        ),
        (
            "Account",
            json!({ "Name": "x", "Id": gone }),
            "INVALID_FIELD",
            Value::Null,
        ),
        (
            "Account",
            json!({}),
            "REQUIRED_FIELD_MISSING",
            json!(["Name"]),
        ),
        (
            "Account",
            json!({ "Name": null }),
            "REQUIRED_FIELD_MISSING",
            json!(["Name"]),
        ),
        (
            "Account",
            json!({ "Name": "" }),
            "REQUIRED_FIELD_MISSING",
            json!(["Name"]),
        ),
        (
            "Opportunity",
            json!({ "Name": "x" }),
            "REQUIRED_FIELD_MISSING",
            json!(["StageName", "CloseDate"]),
        ),
        (
            "Account",
            json!({ "Name": "x", "CreatedDate": "2026-01-31T00:00:00Z" }),
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            json!(["CreatedDate"]),
        ),
        (
            "Opportunity",
            deal(json!({ "IsWon": true })),
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            json!(["IsWon"]),
        ),
        (
            "Account",
            json!({ "Name": "x".repeat(256) }),
            "STRING_TOO_LONG",
            json!(["Name"]),
        ),
        (
            "Opportunity",
            deal(json!({ "AccountId": "nonsense" })),
            "MALFORMED_ID",
            json!(["AccountId"]),
        ),
        (
            "Opportunity",
            deal(json!({ "AccountId": contact })),
            "INVALID_CROSS_REFERENCE_KEY",
            json!(["AccountId"]),
        ),
        (
            "Opportunity",
            deal(json!({ "AccountId": "0015g0000009999ZZZ" })),
            "MALFORMED_ID",
            json!(["AccountId"]),
        ),
        (
            "Opportunity",
            deal(json!({ "AccountId": unknown })),
            "INVALID_CROSS_REFERENCE_KEY",
            json!(["AccountId"]),
        ),
        (
            "Opportunity",
            deal(json!({ "AccountId": gone })),
            "ENTITY_IS_DELETED",
            json!(["AccountId"]),
        ),
        (
            "Opportunity",
            deal(json!({ "CloseDate": "31.1.2026" })),
            "JSON_PARSER_ERROR",
            Value::Null,
        ),
        (
            "Contact",
            json!({ "LastName": "x", "Email": "no" }),
            "INVALID_EMAIL_ADDRESS",
            json!(["Email"]),
        ),
        (
            "Task",
            json!({ "TaskSubtype": "Chat" }),
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            json!(["TaskSubtype"]),
        ),
        (
            "OpportunityStage",
            json!({ "ApiName": "x" }),
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            Value::Null,
        ),
        (
            "ContentDocument",
            json!({ "Title": "x" }),
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            Value::Null,
        ),
    ] {
        let before = session.fake.records(object).len();
        let answer = session.create(object, body.clone()).await;
        assert_eq!(answer.error(), refused(400, code), "{object} {body}");
        assert_eq!(answer.json()[0]["fields"], fields, "{object} {body}");
        assert_eq!(
            session.fake.records(object).len(),
            before,
            "{object} {body}"
        );
    }
}

#[tokio::test]
async fn the_texts_of_refusals_are_those_of_the_org() {
    let session = Session::start().await;
    let unknown = session
        .create("Account", json!({ "Name": "x", "Foo": 1 }))
        .await;
    assert_eq!(
        unknown.message(),
        "No such column 'Foo' on sobject of type Account"
    );
    let missing = session.create("Account", json!({})).await;
    assert_eq!(missing.message(), "Required fields are missing: [Name]");
    assert_eq!(
        missing.header("content-type"),
        Some("application/json;charset=UTF-8")
    );
}

#[tokio::test]
async fn an_id_is_checked_before_anything_is_done_with_it() {
    let session = Session::start().await;
    let gone = session.account("Gone");
    session.fake.delete(&gone).unwrap();
    let contact = session
        .fake
        .create("Contact", json!({ "LastName": "Bluth" }))
        .unwrap();
    for (id, status, code) in [
        ("nonsense", 400, "MALFORMED_ID"),
        ("0015g0000000001ZZZ", 400, "MALFORMED_ID"),
        (contact.as_str(), 400, "INVALID_CROSS_REFERENCE_KEY"),
        (gone.as_str(), 404, "ENTITY_IS_DELETED"),
        ("0015g0000009999", 404, "NOT_FOUND"),
    ] {
        let path = format!("sobjects/Account/{id}");
        let body = json!({ "Name": "y" });
        assert_eq!(
            session.get(&path).await.error(),
            refused(status, code),
            "GET {id}"
        );
        assert_eq!(
            session.patch(&path, body).await.error(),
            refused(status, code),
            "PATCH {id}"
        );
        assert_eq!(
            session.delete(&path).await.error(),
            refused(status, code),
            "DELETE {id}"
        );
    }
    assert!(session.fake.record(&contact).is_some());
}

#[tokio::test]
async fn a_request_in_the_wrong_form_is_refused() {
    let session = Session::start().await;
    let path = "sobjects/Account";
    let typed = |kind: &'static str, body: &'static str| {
        session
            .request("POST", path)
            .header("content-type", kind)
            .body(body)
    };
    let valid = r#"{"Name":"x"}"#;
    for (request, status, code) in [
        (typed("text/plain", valid), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (typed("application/json", "{"), 400, "JSON_PARSER_ERROR"),
        (typed("application/json", "[]"), 400, "JSON_PARSER_ERROR"),
        (session.request("PUT", path), 405, "METHOD_NOT_ALLOWED"),
        (
            session.request("GET", "sobjects/Nonsense"),
            404,
            "NOT_FOUND",
        ),
        (session.request("GET", "nonsense"), 404, "NOT_FOUND"),
    ] {
        assert_eq!(send(request).await.error(), refused(status, code));
    }
    let fields = session.account("x");
    let answer = session
        .get(&format!("sobjects/Account/{fields}?fields=Name,Nope"))
        .await;
    assert_eq!(answer.error(), refused(400, "INVALID_FIELD"));
    assert_eq!(session.fake.records("Account").len(), 1);
}

#[tokio::test]
async fn a_record_lives_from_create_to_delete() {
    let session = Session::start().await;
    let body = json!({
        "LastName": "Bluth", "FirstName": "Michael", "Email": "Michael.Bluth@Example.com",
        "Title": "CEO",
    });
    let created = session.create("contact", body).await;
    let id = created.id();
    assert!(id.starts_with("003") && id.len() == 18);
    let path = format!("sobjects/Contact/{id}");
    assert_eq!(
        created.header("location"),
        Some(format!("/services/data/v58.0/{path}").as_str())
    );

    let read = session
        .get(&format!("sobjects/Contact/{}?fields=name,Email", &id[..15]))
        .await;
    assert_eq!(
        read.json(),
        json!({
            "attributes": { "type": "Contact", "url": format!("/services/data/v58.0/{path}") },
            "Name": "Michael Bluth", "Email": "michael.bluth@example.com",
        })
    );
    let all = session.get(&path).await.json();
    let stamp = all["LastModifiedDate"].as_str().unwrap();
    assert!(stamp.len() == 28 && stamp.ends_with(".000+0000"), "{stamp}");

    let changed = session
        .patch(&path, json!({ "Title": null, "FirstName": "M." }))
        .await;
    assert_eq!((changed.status, changed.body.len()), (204, 0));
    let record = session.fake.record(&id).unwrap();
    assert_eq!(
        (&record["Title"], &record["LastName"]),
        (&Value::Null, &json!("Bluth"))
    );
    assert_eq!(record["Name"], "M. Bluth");

    assert_eq!(session.delete(&path).await.status, 204);
    assert_eq!(session.fake.record(&id), None);
    assert_eq!(
        session.delete(&path).await.error(),
        refused(404, "ENTITY_IS_DELETED")
    );
}

#[tokio::test]
async fn a_refused_update_changes_nothing() {
    let session = Session::start().await;
    let id = session.account("Acme");
    let before = session.fake.record(&id);
    let path = format!("sobjects/Account/{id}");
    for (body, code) in [
        (json!({ "Phone": "1", "Nope": 1 }), "INVALID_FIELD"),
        (
            json!({ "Phone": "1", "Name": null }),
            "REQUIRED_FIELD_MISSING",
        ),
        (
            json!({ "Phone": "1", "IsDeleted": true }),
            "INVALID_FIELD_FOR_INSERT_UPDATE",
        ),
        (json!({ "Phone": "1".repeat(41) }), "STRING_TOO_LONG"),
        (json!({ "Phone": "1", "ParentId": "x" }), "MALFORMED_ID"),
        (json!({ "Phone": "1", "Id": id }), "INVALID_FIELD"),
    ] {
        assert_eq!(session.patch(&path, body).await.error(), refused(400, code));
    }
    assert_eq!(session.fake.record(&id), before);
}

#[tokio::test]
async fn a_unique_value_is_taken_once_until_its_record_is_deleted() {
    let field = Field::text("Key__c", 20).unique(true);
    let session = Session::with(FakeSalesforce::builder().custom_field("Account", field)).await;
    let body = |key: &str| json!({ "Name": "x", "Key__c": key });
    let first = session.create("Account", body("a-1")).await.id();
    let second = session.create("Account", body("A-1")).await;
    assert_eq!(second.error(), refused(400, "DUPLICATE_VALUE"));
    assert_eq!(
        second.message(),
        format!("duplicate value found: Key__c duplicates value on record with id: {first}")
    );
    let other = session.create("Account", body("a-2")).await.id();
    let path = format!("sobjects/Account/{other}");
    let moved = session.patch(&path, json!({ "Key__c": "a-1" })).await;
    assert_eq!(moved.error(), refused(400, "DUPLICATE_VALUE"));
    let same = session.patch(&path, json!({ "Key__c": "a-2" })).await;
    assert_eq!(same.status, 204);
    session.delete(&format!("sobjects/Account/{first}")).await;
    assert_eq!(session.create("Account", body("a-1")).await.status, 201);
}

#[tokio::test]
async fn of_racing_creates_with_one_unique_value_one_wins() {
    let field = Field::text("Key__c", 20).unique(true);
    let session = Session::with(FakeSalesforce::builder().custom_field("Account", field)).await;
    let creates = (0..8).map(|_| session.create("Account", json!({ "Name": "x", "Key__c": "k" })));
    let mut statuses: Vec<u16> = join_all(creates).await.iter().map(|a| a.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 400, 400, 400, 400, 400, 400, 400]);
    assert_eq!(session.fake.records("Account").len(), 1);
}

#[tokio::test]
async fn conditions_hold_with_the_precision_of_a_second() {
    let session = Session::start().await;
    let id = session.account("Acme");
    let stamp = json!({ "LastModifiedDate": "2026-01-31T08:00:00.000+0000" });
    session.fake.update(&id, stamp).unwrap();
    let path = format!("sobjects/Account/{id}");
    let same = "Sat, 31 Jan 2026 08:00:00 GMT";
    let before = "Sat, 31 Jan 2026 07:59:59 GMT";
    let read = |date| {
        session
            .request("GET", &path)
            .header("if-modified-since", date)
    };
    let fresh = send(read(before)).await;
    assert_eq!(
        (fresh.status, fresh.header("last-modified")),
        (200, Some(same))
    );
    let not_modified = send(read(same)).await;
    assert_eq!((not_modified.status, not_modified.body.len()), (304, 0));

    let write = |date| {
        let request = session
            .request("PATCH", &path)
            .header("if-unmodified-since", date);
        request.json(&json!({ "Phone": "1" }))
    };
    assert_eq!(send(write(before)).await.status, 412);
    assert_eq!(send(write("soon")).await.status, 400);
    assert_eq!(session.fake.record(&id).unwrap()["Phone"], Value::Null);
    assert_eq!(send(write(same)).await.status, 204);
    assert_eq!(
        send(write(same)).await.status,
        412,
        "the change was a modification"
    );
}

#[tokio::test]
async fn an_account_is_known_by_its_tag_and_nothing_else_is() {
    let session = Session::start().await;
    let account = format!("sobjects/Account/{}", session.account("Acme"));
    let conditional = async |method: &str, path: &str, header: &str, tag: &str| {
        let request = session.request(method, path).header(header, tag);
        send(request.json(&json!({ "Phone": "1" }))).await.status
    };
    let first = session.get(&account).await;
    let tag = first.header("etag").unwrap();
    assert_eq!(
        conditional("GET", &account, "if-none-match", tag).await,
        304
    );
    assert_eq!(
        conditional("GET", &account, "if-match", "\"other\"").await,
        412
    );
    assert_eq!(
        conditional("PATCH", &account, "if-match", "\"other\"").await,
        412
    );
    assert_eq!(conditional("PATCH", &account, "if-match", tag).await, 204);
    assert_eq!(conditional("PATCH", &account, "if-match", tag).await, 412);
    assert_eq!(
        conditional("GET", &account, "if-none-match", tag).await,
        200
    );
    let deal = format!("sobjects/Opportunity/{}", session.opportunity());
    assert_eq!(session.get(&deal).await.header("etag"), None);
    assert_eq!(
        conditional("GET", &deal, "if-match", "\"other\"").await,
        200
    );
}

#[tokio::test]
async fn patch_can_be_sent_as_post() {
    let session = Session::start().await;
    let id = session.account("Acme");
    let path = format!("sobjects/Account/{id}?_HttpMethod=PATCH");
    assert_eq!(
        session.post(&path, json!({ "Name": "Other" })).await.status,
        204
    );
    assert_eq!(session.fake.record(&id).unwrap()["Name"], "Other");
}
