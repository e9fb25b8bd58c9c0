use std::{error::Error as _, time::Duration};

use box_client::{DeveloperToken, Error, ErrorKind, FileId, RetryPolicy};
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::vendor::{Vendor, error, reply, status};

/// What a call that is sent once makes of an answer.
async fn failure(answer: ResponseTemplate) -> Error {
    let vendor = Vendor::start().await;
    vendor.answers("GET", "/2.0/files/777", [answer]).await;
    let client = vendor
        .builder(DeveloperToken::new("token"))
        .retry(RetryPolicy::none())
        .build()
        .unwrap();
    let id = FileId::new("777").unwrap();
    let failure = client.files().get(&id).send().await.unwrap_err();
    vendor.done().await;
    failure
}

#[tokio::test]
async fn a_status_decides_the_kind_and_whether_to_try_again() {
    use ErrorKind::*;
    for (code, kind, retryable) in [
        (400, Invalid, false),
        (403, Forbidden, false),
        (404, NotFound, false),
        (405, Invalid, false),
        (408, Timeout, true),
        (409, Conflict, false),
        (410, NotFound, false),
        (412, Conflict, false),
        (413, Invalid, false),
        (429, RateLimited, true),
        (500, Server, true),
        (502, Server, true),
        (503, Server, true),
        (507, Server, false),
    ] {
        let failure = failure(error(code, "some_code")).await;
        assert_eq!(failure.kind(), kind, "{code}");
        assert_eq!(failure.is_retryable(), retryable, "{code}");
        assert_eq!(failure.status(), Some(code));
        assert_eq!(failure.attempts(), 1, "{code}");
    }
}

#[tokio::test]
async fn the_standard_body_is_read_in_full() {
    let body = json!({
        "type": "error", "status": 409, "code": "item_name_in_use",
        "context_info": { "conflicts": [{ "type": "folder", "id": "100", "name": "Acme" }] },
        "help_url": "http://developers.box.com/docs/#errors",
        "message": "Item with the same name already exists", "request_id": "7xk2",
    });
    let answer = reply(409, body).insert_header("box-request-id", "0ab1");
    let failure = failure(answer).await;
    let api = failure.api().unwrap();
    assert_eq!(api.code(), Some("item_name_in_use"));
    assert_eq!(
        api.message(),
        Some("Item with the same name already exists")
    );
    assert_eq!(
        api.help_url(),
        Some("http://developers.box.com/docs/#errors")
    );
    assert_eq!(api.conflicts()[0].id, "100");
    assert!(api.context_info().is_some());
    assert_eq!(failure.request_id(), Some("7xk2"));
    assert_eq!(failure.box_request_id(), Some("0ab1"));
    assert_eq!(
        failure.to_string(),
        "files.get failed: 409 item_name_in_use (request 7xk2)"
    );
}

#[tokio::test]
async fn the_metadata_body_is_read() {
    let body = json!({ "code": "bad_request", "message": "no", "request_id": "abc" });
    let failure = failure(reply(400, body)).await;
    assert_eq!(failure.api().unwrap().code(), Some("bad_request"));
    assert_eq!(failure.request_id(), Some("abc"));
}

#[tokio::test]
async fn a_missing_scope_is_read_from_the_header_alone() {
    let failure = failure(status(403).insert_header(
        "www-authenticate",
        r#"Bearer realm="Service", error="insufficient_scope", error_description="The request requires higher privileges than provided by the access token.""#,
    ))
    .await;
    assert_eq!(failure.kind(), ErrorKind::Forbidden);
    assert_eq!(
        failure.to_string(),
        "files.get failed: 403 insufficient_scope"
    );
}

#[tokio::test]
async fn a_gateways_page_leaves_status_and_request_id() {
    let page = status(502)
        .insert_header("box-request-id", "0ab1")
        .set_body_string("<html>Bad gateway</html>");
    let failure = failure(page).await;
    assert_eq!(failure.to_string(), "files.get failed: 502 (request 0ab1)");
    assert_eq!(failure.api().unwrap().code(), None);
}

#[tokio::test]
async fn a_page_beyond_all_measure_leaves_the_status() {
    let failure = failure(status(500).set_body_bytes(vec![b'x'; 1 << 20])).await;
    assert_eq!(failure.status(), Some(500));
}

#[tokio::test]
async fn conflicts_that_pass_are_told_from_those_that_last() {
    for code in ["name_temporarily_reserved", "operation_blocked_temporary"] {
        assert!(failure(error(409, code)).await.is_retryable(), "{code}");
    }
}

#[tokio::test]
async fn retry_after_is_reported_in_both_forms_and_when_it_is_missing() {
    let answer = |value| error(429, "rate_limit_exceeded").insert_header("retry-after", value);
    assert_eq!(
        failure(answer("7")).await.retry_after(),
        Some(Duration::from_secs(7))
    );
    let past = failure(answer("Sun, 01 Mar 2026 09:00:00 GMT")).await;
    assert_eq!(past.retry_after(), Some(Duration::ZERO));
    let far = failure(answer("Thu, 01 Mar 2300 09:00:00 GMT")).await;
    assert!(far.retry_after().unwrap() > Duration::from_secs(1 << 30));
    let missing = failure(error(429, "rate_limit_exceeded")).await;
    assert_eq!(missing.retry_after(), None);
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_a_decode_error_with_its_cause() {
    let failure = failure(status(200).set_body_string("{")).await;
    assert_eq!(failure.kind(), ErrorKind::Decode);
    assert!(!failure.is_retryable());
    let cause = failure.source().unwrap().to_string();
    assert!(!failure.to_string().contains(&cause));
}
