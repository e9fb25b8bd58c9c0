//! After a 429 the other calls of a client wait too.

use std::time::{Duration, Instant};

use box_client::{
    BoxClient, DeveloperToken, ErrorKind, FileId, RetryPolicy,
    testing::{Fault, FaultEffect},
};
use serde_json::json;

use crate::boxed::{Boxed, PART, bytes, client, root};
use crate::vendor::{Vendor, error, file, quick, reply};

fn limited() -> wiremock::ResponseTemplate {
    error(429, "rate_limit_exceeded").insert_header("retry-after", "1")
}

async fn get(client: &BoxClient) -> box_client::Result<box_client::File> {
    client
        .files()
        .get(&FileId::new("777").unwrap())
        .send()
        .await
}

#[tokio::test]
async fn clones_wait_until_box_lets_them_go_on() {
    let vendor = Vendor::start().await;
    vendor
        .answers("GET", "/2.0/files/777", [limited(), reply(200, file())])
        .await;
    let once = vendor
        .builder(DeveloperToken::new("token"))
        .retry(RetryPolicy::none());
    let client = once.build().unwrap();
    let clone = client.clone();
    get(&client).await.unwrap_err();
    let start = Instant::now();
    get(&clone).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(900));
    vendor.done().await;
}

#[tokio::test]
async fn a_call_without_time_to_wait_is_not_sent() {
    let vendor = Vendor::start().await;
    vendor.answers("GET", "/2.0/files/777", [limited()]).await;
    let impatient = quick().deadline(Duration::from_millis(500));
    let client = vendor
        .builder(DeveloperToken::new("token"))
        .retry(impatient)
        .build()
        .unwrap();
    for attempts in [1, 0] {
        let refused = get(&client).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::RateLimited);
        assert_eq!(refused.attempts(), attempts);
        assert!(refused.retry_after().is_some() && refused.is_retryable());
    }
    vendor.done().await;
}

#[tokio::test]
async fn searches_that_are_too_many_hold_back_searches_only() {
    let vendor = Vendor::start().await;
    vendor.answers("GET", "/2.0/search", [limited()]).await;
    vendor
        .answers("GET", "/2.0/files/777", [reply(200, file())])
        .await;
    let impatient = quick().deadline(Duration::from_millis(500));
    let client = vendor
        .builder(DeveloperToken::new("token"))
        .retry(impatient)
        .build()
        .unwrap();
    let found = client.search().query("x").stream();
    let refused = futures_util::TryStreamExt::try_collect::<Vec<_>>(found).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::RateLimited);
    get(&client).await.unwrap();
    vendor.done().await;
}

fn too_many(path: &str) -> Fault {
    let retry_after = Some("1".to_owned());
    Fault::on(path, FaultEffect::RateLimit { retry_after })
}

/// The uploads of a content at once, and in parts.
const UPLOADS: [(&str, &str, u64); 2] = [
    ("POST", "/api/2.0/files/content", u64::MAX),
    ("PUT", "/api/2.0/files/upload_sessions/*", 0),
];

#[tokio::test]
async fn uploads_that_are_too_many_hold_back_uploads_only() {
    for (method, path, chunked_from) in UPLOADS {
        let boxed = Boxed::start().await;
        let once = client(&boxed.fake).retry(RetryPolicy::none());
        let client = once.build().unwrap();
        let clone = client.clone();
        let upload = async |client: &BoxClient| {
            let upload = client.files().upload(&root(), "a", bytes(PART));
            upload.chunked_from(chunked_from).send().await
        };
        boxed.fake.inject(too_many(path).method(method));
        let error = upload(&client).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        let start = Instant::now();
        clone.users().me().await.unwrap();
        assert!(start.elapsed() < Duration::from_millis(900));
        upload(&clone).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(900));
        boxed.done();
    }
}

#[tokio::test]
async fn an_upload_without_time_to_wait_is_not_sent() {
    for (method, path, chunked_from) in UPLOADS {
        let boxed = Boxed::start().await;
        let impatient = quick().deadline(Duration::from_millis(500));
        let client = client(&boxed.fake).retry(impatient).build().unwrap();
        boxed.fake.inject(too_many(path).method(method));
        for attempts in [1, 0] {
            let upload = client.files().upload(&root(), "a", bytes(PART));
            let refused = upload.chunked_from(chunked_from).send().await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::RateLimited);
            assert_eq!(refused.attempts(), attempts);
            assert!(refused.retry_after().is_some() && !refused.may_have_happened());
        }
        let sent = boxed.fake.requests().into_iter();
        let sent = sent.filter(|it| it.method == method && !it.path.starts_with("/oauth2"));
        assert_eq!(sent.filter(|it| it.content_length > 0).count(), 1);
        boxed.done();
    }
}

#[tokio::test]
async fn without_the_gate_each_call_finds_out_for_itself() {
    let vendor = Vendor::start().await;
    let answers = [
        limited(),
        reply(200, json!({ "type": "file", "id": "777" })),
    ];
    vendor.answers("GET", "/2.0/files/777", answers).await;
    let impatient = quick().deadline(Duration::from_millis(500));
    let builder = vendor
        .builder(DeveloperToken::new("token"))
        .retry(impatient);
    let client = builder.rate_gate(false).build().unwrap();
    get(&client).await.unwrap_err();
    get(&client).await.unwrap();
    vendor.done().await;
}
