//! 401: one new token, one repeat.

use std::sync::atomic::{AtomicUsize, Ordering};

use box_client::{ClientCredentials, ErrorKind, FileId, Subject};
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::vendor::{Vendor, bad_token, error, file, form, header, refusal, reply, status};

const TOKEN: &str = "/oauth2/token";
const FILE: &str = "/2.0/files/777";

fn credentials() -> ClientCredentials {
    let subject = Subject::Enterprise("12345".to_owned());
    ClientCredentials::new("the-client", "the-secret", subject)
}

fn token(token: &str) -> ResponseTemplate {
    let body = json!({ "access_token": token, "expires_in": 3600, "token_type": "bearer" });
    reply(200, body)
}

async fn get(client: &box_client::BoxClient) -> box_client::Result<box_client::File> {
    client
        .files()
        .get(&FileId::new("777").unwrap())
        .send()
        .await
}

/// The tokens that the API was shown.
async fn shown(vendor: &Vendor) -> Vec<String> {
    let requests = vendor.requests().await;
    let bearers = requests.iter().filter_map(|r| header(r, "authorization"));
    bearers.map(str::to_owned).collect()
}

#[tokio::test]
async fn credentials_are_sent_as_box_documents_them() {
    for (subject, kind) in [
        (Subject::Enterprise("5".to_owned()), "enterprise"),
        (Subject::User("5".to_owned()), "user"),
    ] {
        let vendor = Vendor::start().await;
        vendor.answers("POST", TOKEN, [token("a1")]).await;
        let answers = [reply(200, file()), reply(200, file())];
        vendor.answers("GET", FILE, answers).await;
        let source = ClientCredentials::new("the-client", "the-secret", subject);
        let client = vendor.client_of(source);
        get(&client).await.unwrap();
        get(&client.clone()).await.unwrap();
        let sent = form(&vendor.requests().await[0]);
        let sent: Vec<_> = sent.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            sent,
            [
                ("grant_type", "client_credentials"),
                ("client_id", "the-client"),
                ("client_secret", "the-secret"),
                ("box_subject_type", kind),
                ("box_subject_id", "5"),
            ]
        );
        assert_eq!(shown(&vendor).await, ["Bearer a1", "Bearer a1"]);
        vendor.done().await;
    }
}

#[tokio::test]
async fn a_bad_token_is_replaced_once_and_the_call_repeated() {
    let vendor = Vendor::start().await;
    vendor
        .answers("POST", TOKEN, [token("a1"), token("a2")])
        .await;
    let answers = [bad_token(), reply(200, file()), reply(200, file())];
    vendor.answers("GET", FILE, answers).await;
    let client = vendor.client_of(credentials());
    get(&client).await.unwrap();
    get(&client).await.unwrap();
    assert_eq!(
        shown(&vendor).await,
        ["Bearer a1", "Bearer a2", "Bearer a2"]
    );
    vendor.done().await;
}

#[tokio::test]
async fn a_write_is_repeated_with_the_new_token_since_the_first_was_refused() {
    let vendor = Vendor::start().await;
    vendor
        .answers("POST", TOKEN, [token("a1"), token("a2")])
        .await;
    let answers = [bad_token(), reply(201, json!({}))];
    vendor.answers("POST", "/2.0/comments", answers).await;
    let client = vendor.client_of(credentials());
    let body = json!({ "message": "x", "item": { "type": "file", "id": "777" } });
    let call = client.request(http::Method::POST, "/comments").json(&body);
    call.send().await.unwrap();
    vendor.done().await;
}

#[tokio::test]
async fn a_second_bad_token_ends_the_call() {
    let vendor = Vendor::start().await;
    vendor
        .answers("POST", TOKEN, [token("a1"), token("a2")])
        .await;
    vendor
        .answers("GET", FILE, [bad_token(), bad_token()])
        .await;
    let failure = get(&vendor.client_of(credentials())).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Auth);
    assert_eq!(failure.api().unwrap().code(), Some("invalid_token"));
    assert_eq!(failure.attempts(), 2);
    vendor.done().await;
}

#[tokio::test]
async fn an_application_that_is_not_enabled_needs_no_new_token() {
    let plain = error(401, "unauthorized");
    let challenged = plain
        .clone()
        .insert_header("www-authenticate", r#"Bearer realm="Service""#);
    for answer in [plain, challenged] {
        let vendor = Vendor::start().await;
        vendor.answers("POST", TOKEN, [token("a1")]).await;
        vendor.answers("GET", FILE, [answer]).await;
        let failure = get(&vendor.client_of(credentials())).await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Auth);
        assert_eq!(failure.api().unwrap().code(), Some("unauthorized"));
        vendor.done().await;
    }
}

#[tokio::test]
async fn a_missing_scope_needs_no_new_token() {
    let vendor = Vendor::start().await;
    vendor.answers("POST", TOKEN, [token("a1")]).await;
    let answer = status(403).insert_header(
        "www-authenticate",
        r#"Bearer realm="Service", error="insufficient_scope""#,
    );
    vendor.answers("GET", FILE, [answer]).await;
    let failure = get(&vendor.client_of(credentials())).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Forbidden);
    vendor.done().await;
}

#[tokio::test]
async fn a_developer_token_that_is_refused_says_what_to_do() {
    let vendor = Vendor::start().await;
    vendor.answers("GET", FILE, [bad_token()]).await;
    let failure = get(&vendor.client()).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Auth);
    assert!(
        failure.to_string().contains("Developer Console"),
        "{failure}"
    );
    vendor.done().await;
}

#[tokio::test]
async fn many_calls_with_one_bad_token_ask_for_one_new_token() {
    let vendor = Vendor::start().await;
    vendor
        .answers("POST", TOKEN, [token("a1"), token("a2")])
        .await;
    let seen = AtomicUsize::new(0);
    let respond = move |request: &wiremock::Request| {
        let first = seen.fetch_add(1, Ordering::SeqCst) == 0;
        match header(request, "authorization") {
            Some("Bearer a1") if !first => bad_token(),
            _ => reply(200, file()),
        }
    };
    vendor.responds("GET", FILE, 21, respond).await;
    let client = vendor.client_of(credentials());
    get(&client).await.unwrap();
    let calls = (0..10).map(|_| get(&client));
    for call in futures_util::future::join_all(calls).await {
        call.unwrap();
    }
    vendor.done().await;
}

#[tokio::test]
async fn wrong_credentials_are_an_auth_error_and_asked_about_once() {
    for code in ["invalid_client", "unauthorized_client", "invalid_grant"] {
        let vendor = Vendor::start().await;
        vendor.answers("POST", TOKEN, [refusal(code, "no")]).await;
        let failure = get(&vendor.client_of(credentials())).await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Auth);
        assert_eq!(failure.operation(), "token");
        assert_eq!(failure.api().unwrap().code(), Some(code));
        assert_eq!(failure.api().unwrap().message(), Some("no"));
        assert!(!failure.is_retryable());
        vendor.done().await;
    }
}

#[tokio::test]
async fn an_outage_of_the_token_endpoint_is_sat_out() {
    let vendor = Vendor::start().await;
    let answers = [status(503), error(429, "rate_limit_exceeded"), token("a1")];
    vendor.answers("POST", TOKEN, answers).await;
    vendor.answers("GET", FILE, [reply(200, file())]).await;
    get(&vendor.client_of(credentials())).await.unwrap();
    vendor.done().await;
}

#[tokio::test]
async fn a_token_without_a_life_and_one_with_an_endless_life_are_kept() {
    let endless = json!({ "access_token": "a1", "expires_in": u64::MAX });
    for answer in [json!({ "access_token": "a1" }), endless] {
        let vendor = Vendor::start().await;
        vendor.answers("POST", TOKEN, [reply(200, answer)]).await;
        let answers = [reply(200, file()), reply(200, file())];
        vendor.answers("GET", FILE, answers).await;
        let client = vendor.client_of(credentials());
        get(&client).await.unwrap();
        get(&client).await.unwrap();
        vendor.done().await;
    }
}
