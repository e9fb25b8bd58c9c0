use salesforce_client::testing::{FakeSalesforce, Field};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{Session, base64, eventually, form, refused, send};

fn nothing(session: &Session) -> bool {
    ["ContentVersion", "ContentDocument", "ContentDocumentLink"]
        .iter()
        .all(|object| session.fake.records(object).is_empty())
}

#[tokio::test]
async fn a_file_that_the_org_would_refuse_is_refused_in_both_forms() {
    let builder = FakeSalesforce::builder()
        .custom_field("ContentVersion", Field::text("Key__c", 20).unique(true));
    let session = Session::with(builder).await;
    let deal = session.opportunity();
    let kept = session
        .upload(json!({ "PathOnClient": "a", "Key__c": "k" }), b"1")
        .await
        .id();
    let document = session.document_of(&kept);
    let gone = session
        .upload(json!({ "PathOnClient": "a" }), b"2")
        .await
        .id();
    let gone = session.document_of(&gone);
    session
        .delete(&format!("sobjects/ContentDocument/{gone}"))
        .await;
    let user = session.fake.records("User")[0]["Id"].clone();
    let stage = session.fake.records("OpportunityStage")[0]["Id"].clone();
    for (fields, code) in [
        (json!({ "Title": "x" }), "REQUIRED_FIELD_MISSING"),
        (json!({ "PathOnClient": "a", "Nope": 1 }), "INVALID_FIELD"),
        (
            json!({ "PathOnClient": "a", "Checksum": "1" }),
            "INVALID_FIELD_FOR_INSERT_UPDATE",
        ),
        (
            json!({ "PathOnClient": "x".repeat(501) }),
            "STRING_TOO_LONG",
        ),
        (
            json!({ "PathOnClient": "a", "Key__c": "K" }),
            "DUPLICATE_VALUE",
        ),
        (
            json!({ "PathOnClient": "a", "FirstPublishLocationId": "006" }),
            "MALFORMED_ID",
        ),
        (
            json!({ "PathOnClient": "a", "FirstPublishLocationId": "0065g0000009999" }),
            "INVALID_CROSS_REFERENCE_KEY",
        ),
        (
            json!({ "PathOnClient": "a", "FirstPublishLocationId": stage }),
            "FIELD_INTEGRITY_EXCEPTION",
        ),
        (
            json!({
                "PathOnClient": "a", "FirstPublishLocationId": deal,
                "ContentDocumentId": document,
            }),
            "FIELD_INTEGRITY_EXCEPTION",
        ),
        (
            json!({ "PathOnClient": "a", "ContentDocumentId": gone }),
            "ENTITY_IS_DELETED",
        ),
        (
            json!({ "PathOnClient": "a", "ContentDocumentId": user }),
            "INVALID_CROSS_REFERENCE_KEY",
        ),
    ] {
        let by_form = session.upload(fields.clone(), b"x").await;
        assert_eq!(by_form.error(), refused(400, code), "form {fields}");
        let mut with_data = fields.clone();
        with_data["VersionData"] = json!("eA==");
        let by_json = session.create("ContentVersion", with_data).await;
        assert_eq!(by_json.error(), refused(400, code), "json {fields}");
        assert_eq!(session.fake.files().len(), 1, "{fields}");
        assert_eq!(session.fake.files()[0].versions.len(), 1, "{fields}");
    }
}

#[tokio::test]
async fn base64_is_taken_in_one_line_of_the_standard_alphabet_only() {
    let session = Session::start().await;
    for data in ["aGk", "aG-_", "aGVs\nbG8=", "aGVs bG8=", "a", "aGk=aGk="] {
        let body = json!({ "PathOnClient": "a", "VersionData": data });
        let answer = session.create("ContentVersion", body).await;
        assert_eq!(answer.error(), refused(400, "JSON_PARSER_ERROR"), "{data}");
    }
    let without = session
        .create("ContentVersion", json!({ "PathOnClient": "a" }))
        .await;
    assert_eq!(without.error(), refused(400, "REQUIRED_FIELD_MISSING"));
    let number = json!({ "PathOnClient": "a", "VersionData": 5 });
    assert_eq!(session.create("ContentVersion", number).await.status, 400);
    assert!(nothing(&session));
    let empty = json!({ "PathOnClient": "a", "VersionData": "" });
    session.create("ContentVersion", empty).await.id();
}

#[tokio::test]
async fn a_json_body_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let session = Session::start().await;
    let body = |length: usize| {
        let start = r#"{"PathOnClient":"a.bin","VersionData":""#;
        let data = "A".repeat((length - start.len() - 2) / 4 * 4);
        let rest = length - start.len() - data.len() - 2;
        format!("{start}{data}\"{}}}", " ".repeat(rest))
    };
    let request = |length| {
        let request = session.request("POST", "sobjects/ContentVersion");
        request
            .header("content-type", "application/json")
            .body(body(length))
    };
    let over = send(request(52_428_801)).await;
    assert_eq!(over.error(), refused(400, "JSON_PARSER_ERROR"));
    assert_eq!(
        over.message(),
        "Maximum size of request reached. Maximum size of request is 52428800 bytes."
    );
    assert!(nothing(&session));
    assert_eq!(send(request(52_428_800)).await.status, 201);
}

#[tokio::test]
async fn a_form_in_the_wrong_shape_is_refused() {
    let session = Session::start().await;
    let fields = json!({ "PathOnClient": "a.pdf" });
    let valid = String::from_utf8(form(&fields, b"x")).unwrap();
    let only_file = valid
        .split_once("--b0undary\r\n")
        .unwrap()
        .1
        .split_once("--b0undary")
        .unwrap()
        .1;
    let unended = valid.trim_end_matches("--\r\n").to_owned();
    let no_type = valid.replacen("Content-Type: application/json\r\n", "", 1);
    for (body, text) in [
        (
            no_type,
            Some("Multipart message must include a non-binary part"),
        ),
        (
            format!("--b0undary{only_file}"),
            Some("Multipart message must include a non-binary part"),
        ),
        (valid.replace("; filename=\"file.bin\"", ""), None),
        (valid.replace("name=\"VersionData\"", "name=\"Data\""), None),
        (
            valid.replace("Content-Type: application/octet-stream\r\n", ""),
            None,
        ),
        (
            valid.replace("form-data; name=\"V", "attachment; name=\"V"),
            None,
        ),
        (unended, None),
        ("\r\n".to_owned(), None),
    ] {
        let answer = send(session.form_request().body(body.clone())).await;
        assert_eq!(
            answer.error(),
            refused(400, "INVALID_MULTIPART_REQUEST"),
            "{body}"
        );
        if let Some(text) = text {
            assert_eq!(answer.message(), text);
        }
    }
    let broken_json = valid.replace("{\"PathOnClient\"", "{PathOnClient");
    let answer = send(session.form_request().body(broken_json)).await;
    assert_eq!(answer.error(), refused(400, "JSON_PARSER_ERROR"));
    for kind in ["multipart/form-data", "multipart/form-data; boundary="] {
        let request = session.request("POST", "sobjects/ContentVersion");
        let answer = send(request.header("content-type", kind).body(valid.clone())).await;
        assert_eq!(
            answer.error(),
            refused(400, "INVALID_MULTIPART_REQUEST"),
            "{kind}"
        );
    }
    let request = session.request("POST", "sobjects/ContentVersion");
    let answer = send(
        request
            .header("content-type", "text/plain")
            .body(valid.clone()),
    )
    .await;
    assert_eq!(answer.error(), refused(415, "UNSUPPORTED_MEDIA_TYPE"));
    assert!(nothing(&session));
    assert_eq!(send(session.form_request().body(valid)).await.status, 201);
}

#[tokio::test]
async fn a_form_without_a_length_is_refused_unless_allowed() {
    for allowed in [false, true] {
        let session = Session::with(FakeSalesforce::builder().accept_chunked(allowed)).await;
        let body = form(&json!({ "PathOnClient": "a" }), b"x");
        let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(body)]);
        let request = session
            .form_request()
            .body(reqwest::Body::wrap_stream(chunks));
        let answer = send(request).await;
        if allowed {
            assert_eq!(answer.status, 201);
        } else {
            assert_eq!(answer.error(), refused(411, "LENGTH_REQUIRED"));
            assert!(nothing(&session));
        }
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_has_no_effect() {
    let session = Session::start().await;
    let fields = json!({ "PathOnClient": "a.bin" });
    let whole = form(&fields, &[7; 50_000]);
    let data = json!({ "PathOnClient": "a.bin", "VersionData": base64(&[7; 50_000]) }).to_string();
    let form_type = "multipart/form-data; boundary=b0undary";
    for (sent, length, kind) in [
        (&whole[..20_000], whole.len(), form_type),
        // All parts are there, but the declared length is not.
        (&whole[..], whole.len() + 1, form_type),
        (&data.as_bytes()[..30_000], data.len(), "application/json"),
        (data.as_bytes(), data.len() + 1, "application/json"),
    ] {
        session.fake.clear_requests();
        let address = session.fake.url().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /services/data/v58.0/sobjects/ContentVersion HTTP/1.1\r\nHost: x\r\n\
             Authorization: Bearer {}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n",
            session.token
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(sent).await.unwrap();
        stream.shutdown().await.unwrap();
        eventually(|| session.fake.requests().len() == 1).await;
        assert_eq!(session.fake.requests()[0].status, None);
        assert!(nothing(&session));
    }
}
