use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use box_client::{BoxClient, DeveloperToken, ErrorKind, FileId, RetryPolicy};
use http::Method;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::{Value, json};

use crate::{
    vendor::{Vendor, error, file, quick, reply, status},
    wire::{Then, Turn, Wire},
};

fn client_of(wire: &Wire) -> BoxClient {
    BoxClient::builder(DeveloperToken::new("token"))
        .base_url(&wire.uri())
        .retry(quick())
        .build()
        .unwrap()
}

fn id() -> FileId {
    FileId::new("777").unwrap()
}

fn comment() -> Value {
    json!({ "message": "hello", "item": { "type": "file", "id": "777" } })
}

/// A call that is not safe to repeat.
async fn write(client: &BoxClient) -> box_client::Result<box_client::RawReply> {
    let call = client.request(Method::POST, "/comments").json(&comment());
    call.send().await
}

fn ok() -> Turn {
    Turn::answer("200 OK", "", br#"{"id":"777"}"#)
}

#[tokio::test]
async fn a_read_is_repeated_through_all_that_passes() {
    let vendor = Vendor::start().await;
    let answers = [
        status(500),
        status(503),
        error(429, "rate_limit_exceeded"),
        status(502),
        reply(200, file()),
    ];
    vendor.answers("GET", "/2.0/files/777", answers).await;
    vendor.client().files().get(&id()).send().await.unwrap();
    vendor.done().await;
}

#[tokio::test]
async fn the_number_of_attempts_is_a_limit_and_is_reported() {
    let vendor = Vendor::start().await;
    let answers = [status(503), status(503), status(503)];
    vendor.answers("GET", "/2.0/files/777", answers).await;
    let client = vendor
        .builder(DeveloperToken::new("token"))
        .retry(quick().max_attempts(3))
        .build()
        .unwrap();
    let failure = client.files().get(&id()).send().await.unwrap_err();
    assert_eq!(failure.attempts(), 3);
    assert_eq!(
        failure.to_string(),
        "files.get failed: 503 after 3 attempts"
    );
    vendor.done().await;
}

#[tokio::test]
async fn what_will_not_pass_is_not_repeated() {
    for code in [400, 403, 404, 409, 412, 507] {
        let vendor = Vendor::start().await;
        let answer = error(code, "conflict");
        vendor.answers("GET", "/2.0/files/777", [answer]).await;
        vendor.client().files().get(&id()).send().await.unwrap_err();
        vendor.done().await;
    }
}

#[tokio::test]
async fn a_write_is_not_repeated_after_a_server_error() {
    for code in [408, 500, 502, 503] {
        let vendor = Vendor::start().await;
        vendor
            .answers("POST", "/2.0/comments", [status(code)])
            .await;
        let failure = write(&vendor.client()).await.unwrap_err();
        assert!(failure.may_have_happened(), "{code}");
        assert!(failure.is_retryable(), "{code}");
        assert_eq!(failure.attempts(), 1, "{code}");
        vendor.done().await;
    }
}

#[tokio::test]
async fn a_write_is_repeated_after_a_refusal_that_passes() {
    let vendor = Vendor::start().await;
    let answers = [
        error(429, "rate_limit_exceeded"),
        error(409, "operation_blocked_temporary"),
        reply(201, json!({ "id": "1" })),
    ];
    vendor.answers("POST", "/2.0/comments", answers).await;
    assert_eq!(write(&vendor.client()).await.unwrap().status, 201);
    for request in vendor.requests().await {
        assert_eq!(request.body_json::<Value>().unwrap(), comment());
    }
    vendor.done().await;
}

#[tokio::test]
async fn a_write_that_its_caller_calls_repeatable_is_repeated() {
    let vendor = Vendor::start().await;
    let answers = [status(503), reply(201, json!({ "id": "1" }))];
    vendor.answers("POST", "/2.0/comments", answers).await;
    let client = vendor.client();
    let call = client.request(Method::POST, "/comments").json(&comment());
    call.repeatable().send().await.unwrap();
    vendor.done().await;
}

#[tokio::test]
async fn a_write_is_not_repeated_after_its_connection_broke() {
    for then in [Then::Close, Then::Reset] {
        let wire = Wire::start([Turn::new("", then), ok()]).await;
        let failure = write(&client_of(&wire)).await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Transport);
        assert!(failure.may_have_happened());
        assert_eq!(wire.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_write_whose_answer_breaks_off_is_not_repeated() {
    let broken = Turn::partial("201 Created", "content-length: 100\r\n", b"{");
    let wire = Wire::start([broken, ok()]).await;
    let failure = write(&client_of(&wire)).await.unwrap_err();
    assert!(failure.may_have_happened());
    assert_eq!(wire.requests().len(), 1);
}

#[tokio::test]
async fn a_read_is_repeated_wherever_its_connection_broke() {
    let wire = Wire::start([
        Turn::new("", Then::Reset),
        Turn::new("HTTP/1.1 200 O", Then::Close),
        Turn::partial("200 OK", "content-length: 100\r\n", br#"{"id":"#),
        ok(),
    ])
    .await;
    let file = client_of(&wire).files().get(&id()).send().await.unwrap();
    assert_eq!(file.id, id());
    assert_eq!(wire.requests().len(), 4);
}

/// Knows no address at first.
struct LateResolver {
    address: SocketAddr,
    failures: AtomicUsize,
}

impl Resolve for LateResolver {
    fn resolve(&self, _: Name) -> Resolving {
        let left = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        let address = self.address;
        Box::pin(async move {
            match left {
                Ok(_) => Err("no such host yet".into()),
                Err(_) => Ok(Box::new(std::iter::once(address)) as Addrs),
            }
        })
    }
}

fn late_client(wire: &Wire, failures: usize) -> BoxClient {
    let resolver = LateResolver {
        address: ([127, 0, 0, 1], wire.port()).into(),
        failures: AtomicUsize::new(failures),
    };
    let http = reqwest::Client::builder()
        .dns_resolver(Arc::new(resolver))
        .build()
        .unwrap();
    BoxClient::builder(DeveloperToken::new("token"))
        .base_url(&format!("http://box.test:{}", wire.port()))
        .retry(quick())
        .http(http)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_write_that_never_left_is_repeated() {
    let wire = Wire::start([ok()]).await;
    write(&late_client(&wire, 2)).await.unwrap();
    assert_eq!(wire.requests().len(), 1);
}

#[tokio::test]
async fn a_connection_that_was_never_made_is_reported_as_not_sent() {
    let wire = Wire::start([]).await;
    let failure = write(&late_client(&wire, usize::MAX)).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Transport);
    assert!(!failure.may_have_happened());
    assert_eq!(failure.attempts(), 5);
}

#[tokio::test]
async fn retry_after_beats_the_backoff() {
    let vendor = Vendor::start().await;
    let asked = error(429, "rate_limit_exceeded").insert_header("retry-after", "1");
    let answers = [asked, reply(200, file())];
    vendor.answers("GET", "/2.0/files/777", answers).await;
    let started = Instant::now();
    vendor.client().files().get(&id()).send().await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    vendor.done().await;
}

#[tokio::test]
async fn the_client_returns_rather_than_wait_past_its_deadline() {
    for asked in [
        "3600",
        "18446744073709551615",
        "Thu, 01 Mar 2300 09:00:00 GMT",
    ] {
        let vendor = Vendor::start().await;
        let answer = error(429, "rate_limit_exceeded").insert_header("retry-after", asked);
        vendor.answers("GET", "/2.0/files/777", [answer]).await;
        let client = vendor
            .builder(DeveloperToken::new("token"))
            .retry(quick().deadline(Duration::from_secs(5)))
            .build()
            .unwrap();
        let started = Instant::now();
        let failure = client.files().get(&id()).send().await.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(5), "{asked}");
        assert_eq!(failure.kind(), ErrorKind::RateLimited);
        assert_eq!(failure.attempts(), 1);
        vendor.done().await;
    }
}

#[tokio::test]
async fn the_deadline_ends_an_attempt_that_is_under_way() {
    let wire = Wire::start([Turn::new("", Then::Hold)]).await;
    let client = BoxClient::builder(DeveloperToken::new("token"))
        .base_url(&wire.uri())
        .retry(quick().deadline(Duration::from_millis(50)))
        .build()
        .unwrap();
    let failure = client.files().get(&id()).send().await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Timeout);
    assert!(failure.may_have_happened());
}

#[tokio::test]
async fn an_endless_deadline_is_possible() {
    let vendor = Vendor::start().await;
    let answers = [status(500), reply(200, file())];
    vendor.answers("GET", "/2.0/files/777", answers).await;
    let client = vendor
        .builder(DeveloperToken::new("token"))
        .retry(quick().deadline(Duration::MAX))
        .build()
        .unwrap();
    client.files().get(&id()).send().await.unwrap();
    vendor.done().await;
}

fn impatient(wire: &Wire, retry: RetryPolicy) -> BoxClient {
    BoxClient::builder(DeveloperToken::new("token"))
        .base_url(&wire.uri())
        .idle_timeout(Duration::from_millis(200))
        .retry(retry)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_head_that_never_comes_times_out_and_is_asked_for_again() {
    let wire = Wire::start([Turn::new("", Then::Hold), ok()]).await;
    let client = impatient(&wire, quick());
    client.files().get(&id()).send().await.unwrap();
    assert_eq!(wire.requests().len(), 2);
}

#[tokio::test]
async fn a_body_that_stalls_times_out_and_is_asked_for_again() {
    let stalled = || Turn::partial("200 OK", "content-length: 9\r\n", b"{").then(Then::Hold);
    let wire = Wire::start([stalled()]).await;
    let client = impatient(&wire, RetryPolicy::none());
    let failure = client.files().get(&id()).send().await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Timeout);

    let wire = Wire::start([stalled(), ok()]).await;
    let client = impatient(&wire, quick());
    client.files().get(&id()).send().await.unwrap();
    assert_eq!(wire.requests().len(), 2);
}

#[tokio::test]
async fn an_error_whose_body_stalls_still_has_its_status() {
    let stalled = Turn::partial("403 Forbidden", "content-length: 9\r\n", b"{").then(Then::Hold);
    let wire = Wire::start([stalled]).await;
    let client = impatient(&wire, quick());
    let failure = client.files().get(&id()).send().await.unwrap_err();
    assert_eq!(failure.status(), Some(403));
}
