//! The refresh token works once: who uses it, who stores it, and who loses.

use std::{sync::Arc, time::Duration};

use box_client::{BoxClient, ErrorKind, File, FileId, Grant, RefreshToken, Result, RetryPolicy};
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Notify;
use wiremock::{Request, ResponseTemplate};

use crate::{
    stores::{CLIENT, SECRET, TestStore, living, source},
    vendor::{Vendor, bad_token, file, form, header, quick, refusal, reply, status},
    wire::{Turn, Wire},
};

const TOKEN: &str = "/oauth2/token";
const FILE: &str = "/2.0/files/777";

fn granted(access: &str, refresh: &str) -> ResponseTemplate {
    reply(
        200,
        json!({
            "access_token": access, "refresh_token": refresh, "expires_in": 3600,
            "token_type": "bearer", "restricted_to": [],
        }),
    )
}

fn spent() -> ResponseTemplate {
    refusal("invalid_grant", "Invalid refresh token")
}

async fn get(client: &BoxClient) -> Result<File> {
    client
        .files()
        .get(&FileId::new("777").unwrap())
        .send()
        .await
}

/// The refresh tokens that were sent.
async fn sent(vendor: &Vendor) -> Vec<String> {
    let requests = vendor.requests().await;
    let tokens = requests.iter().filter(|r| r.url.path() == TOKEN);
    tokens.map(|request| form(request).remove(1).1).collect()
}

async fn shown(vendor: &Vendor) -> Vec<String> {
    let requests = vendor.requests().await;
    let bearers = requests.iter().filter_map(|r| header(r, "authorization"));
    bearers.map(str::to_owned).collect()
}

#[tokio::test]
async fn fifty_waiters_share_one_refresh() {
    let vendor = Vendor::start().await;
    vendor.answers("POST", TOKEN, [granted("a1", "r2")]).await;
    let files = (0..50).map(|_| reply(200, file()));
    vendor.answers("GET", FILE, files).await;
    let store = TestStore::new("r1");
    let client = vendor.client_of(source(&store));
    for call in join_all((0..50).map(|_| get(&client))).await {
        call.unwrap();
    }
    let requests = vendor.requests().await;
    let sent = requests.iter().find(|r| r.url.path() == TOKEN).unwrap();
    let sent = form(sent);
    let sent: Vec<_> = sent.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(
        sent,
        [
            ("grant_type", "refresh_token"),
            ("refresh_token", "r1"),
            ("client_id", CLIENT),
            ("client_secret", SECRET),
        ]
    );
    assert_eq!(store.refresh_token(), "r2");
    vendor.done().await;
}

#[tokio::test]
async fn fifty_waiters_share_one_failure() {
    let vendor = Vendor::start().await;
    vendor.answers("POST", TOKEN, [spent()]).await;
    let store = TestStore::new("r1");
    let client = vendor.client_of(source(&store));
    for call in join_all((0..50).map(|_| get(&client))).await {
        let failure = call.unwrap_err();
        assert_eq!(failure.api().unwrap().code(), Some("invalid_grant"));
    }
    vendor.done().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_loses_no_grant() {
    let gate = Arc::new(Notify::new());
    let body = r#"{"access_token":"a1","refresh_token":"r2","expires_in":3600}"#;
    let wire = Wire::start([
        Turn::answer("200 OK", "", body.as_bytes()).after(&gate),
        Turn::answer("200 OK", "", br#"{"id":"777"}"#),
    ])
    .await;
    let store = TestStore::new("r1");
    let client = BoxClient::builder(source(&store))
        .base_url(&wire.uri())
        .build()
        .unwrap();
    let caller = tokio::spawn({
        let client = client.clone();
        async move { get(&client).await }
    });
    wire.arrived.notified().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    gate.notify_one();
    store.stored.notified().await;
    assert_eq!(store.refresh_token(), "r2");
    get(&client).await.unwrap();
    let bearer = Some("Bearer a1".to_owned());
    assert_eq!(wire.headers("authorization"), [None, bearer]);
}

#[tokio::test]
async fn a_new_grant_is_stored_before_it_is_used() {
    let vendor = Vendor::start().await;
    vendor.answers("POST", TOKEN, [granted("a1", "r2")]).await;
    let store = TestStore::new("r1");
    let stored = Arc::clone(&store);
    let respond = move |request: &Request| {
        let used = header(request, "authorization").unwrap();
        let stored = stored.access_token().unwrap_or_default();
        match used == format!("Bearer {stored}") {
            true => reply(200, file()),
            false => status(418),
        }
    };
    vendor.responds("GET", FILE, 1, respond).await;
    get(&vendor.client_of(source(&store))).await.unwrap();
    vendor.done().await;
}

#[tokio::test]
async fn a_grant_that_cannot_be_stored_is_kept_and_stored_at_the_next_call() {
    let vendor = Vendor::start().await;
    vendor.answers("POST", TOKEN, [granted("a1", "r2")]).await;
    vendor.answers("GET", FILE, [reply(200, file())]).await;
    let store = TestStore::new("r1");
    store.fail(2);
    let client = vendor.client_of(source(&store));
    for _ in 0..2 {
        let failure = get(&client).await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Store);
        assert!(failure.is_retryable());
        let cause = std::error::Error::source(&failure).unwrap();
        assert_eq!(cause.to_string(), "the disk is full");
        assert_eq!(store.refresh_token(), "r1");
    }
    get(&client).await.unwrap();
    assert_eq!(store.refresh_token(), "r2");
    assert_eq!(store.swaps(), 3);
    assert_eq!(shown(&vendor).await, ["Bearer a1"]);
    vendor.done().await;
}

#[tokio::test]
async fn a_stored_access_token_that_lives_is_used_without_a_refresh() {
    let vendor = Vendor::start().await;
    vendor.answers("GET", FILE, [reply(200, file())]).await;
    let store = TestStore::new("r0");
    store.replace_at(1, living("r1", "a1"));
    get(&vendor.client_of(source(&store))).await.unwrap();
    assert_eq!(shown(&vendor).await, ["Bearer a1"]);
    vendor.done().await;
}

#[tokio::test]
async fn a_stored_access_token_that_is_refused_is_refreshed() {
    let vendor = Vendor::start().await;
    vendor.answers("POST", TOKEN, [granted("a2", "r2")]).await;
    let answers = [bad_token(), reply(200, file())];
    vendor.answers("GET", FILE, answers).await;
    let store = TestStore::new("r0");
    store.replace_at(1, living("r1", "a1"));
    get(&vendor.client_of(source(&store))).await.unwrap();
    assert_eq!(sent(&vendor).await, ["r1"]);
    assert_eq!(shown(&vendor).await, ["Bearer a1", "Bearer a2"]);
    vendor.done().await;
}

#[tokio::test]
async fn a_refused_access_token_that_was_replaced_in_the_store_is_not_refreshed() {
    let vendor = Vendor::start().await;
    let answers = [bad_token(), reply(200, file())];
    vendor.answers("GET", FILE, answers).await;
    let store = TestStore::new("r0");
    store.replace_at(1, living("r1", "a1"));
    // Another process refreshes between our first load and the next.
    store.replace_at(2, living("r2", "a2"));
    get(&vendor.client_of(source(&store))).await.unwrap();
    assert_eq!(shown(&vendor).await, ["Bearer a1", "Bearer a2"]);
    vendor.done().await;
}

/// One of several clients on a store. It gives the others time to store what they got.
fn holder(vendor: &Vendor, store: &Arc<TestStore>) -> BoxClient {
    let patient = Duration::from_secs(5);
    let builder = vendor.builder(source(store));
    builder
        .retry(quick().delays(patient, patient))
        .build()
        .unwrap()
}

#[tokio::test]
async fn of_two_clients_on_one_store_the_loser_adopts_the_winners_token() {
    let vendor = Vendor::start().await;
    vendor
        .answers("POST", TOKEN, [granted("a1", "r2"), spent()])
        .await;
    let files = [reply(200, file()), reply(200, file())];
    vendor.answers("GET", FILE, files).await;
    let store = TestStore::for_two("r1");
    let clients = [(); 2].map(|()| holder(&vendor, &store));
    for call in join_all(clients.iter().map(get)).await {
        call.unwrap();
    }
    assert_eq!(sent(&vendor).await, ["r1", "r1"]);
    assert_eq!(shown(&vendor).await, ["Bearer a1", "Bearer a1"]);
    assert_eq!(store.refresh_token(), "r2");
    vendor.done().await;
}

#[tokio::test]
async fn of_two_refreshes_that_both_succeed_the_stored_one_is_used() {
    // Box lets a spent refresh token work once more for a moment.
    let vendor = Vendor::start().await;
    vendor
        .answers("POST", TOKEN, [granted("a1", "r2"), granted("a2", "r3")])
        .await;
    let files = [reply(200, file()), reply(200, file())];
    vendor.answers("GET", FILE, files).await;
    let store = TestStore::for_two("r1");
    let clients = [(); 2].map(|()| holder(&vendor, &store));
    for call in join_all(clients.iter().map(get)).await {
        call.unwrap();
    }
    let stored = format!("Bearer {}", store.access_token().unwrap());
    assert_eq!(shown(&vendor).await, [stored.clone(), stored]);
    vendor.done().await;
}

#[tokio::test]
async fn a_spent_token_whose_successor_is_stored_late_is_no_dead_grant() {
    for (load, successor) in [(2, "living"), (3, "living"), (2, "bare")] {
        let vendor = Vendor::start().await;
        let store = TestStore::new("r1");
        let mut answers = vec![spent()];
        if successor == "living" {
            store.replace_at(load, living("r2", "a2"));
        } else {
            store.replace_at(load, Grant::new("r2"));
            answers.push(granted("a2", "r3"));
        }
        vendor.answers("POST", TOKEN, answers).await;
        vendor.answers("GET", FILE, [reply(200, file())]).await;
        get(&vendor.client_of(source(&store))).await.unwrap();
        assert_eq!(shown(&vendor).await, ["Bearer a2"]);
        vendor.done().await;
    }
}

#[tokio::test]
async fn a_dead_grant_says_to_log_in_again() {
    let vendor = Vendor::start().await;
    let expired = refusal("invalid_grant", "Refresh token has expired");
    vendor.answers("POST", TOKEN, [expired]).await;
    let store = TestStore::new("r1");
    let failure = get(&vendor.client_of(source(&store))).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Auth);
    assert!(!failure.is_retryable());
    assert_eq!(
        failure.to_string(),
        "token failed: 400 invalid_grant: the refresh token is dead: log in again"
    );
    assert_eq!(store.swaps(), 0);
    vendor.done().await;
}

#[tokio::test]
async fn a_store_without_a_grant_says_to_log_in() {
    let vendor = Vendor::start().await;
    let store = TestStore::empty();
    let client = vendor.client_of(source(&store));
    let failure = get(&client).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Auth);
    assert!(failure.to_string().contains("log in"), "{failure}");
    // And the client goes on once somebody has.
    store.replace_at(1, living("r1", "a1"));
    vendor.answers("GET", FILE, [reply(200, file())]).await;
    get(&client).await.unwrap();
    vendor.done().await;
}

#[tokio::test]
async fn a_lost_answer_of_a_refresh_is_asked_for_again() {
    let vendor = Vendor::start().await;
    let answers = [status(502), granted("a1", "r2")];
    vendor.answers("POST", TOKEN, answers).await;
    vendor.answers("GET", FILE, [reply(200, file())]).await;
    let store = TestStore::new("r1");
    get(&vendor.client_of(source(&store))).await.unwrap();
    assert_eq!(sent(&vendor).await, ["r1", "r1"]);
    vendor.done().await;
}

#[tokio::test]
async fn a_failed_refresh_leaves_the_stored_grant_alone() {
    let vendor = Vendor::start().await;
    vendor.answers("POST", TOKEN, [status(503)]).await;
    let store = TestStore::new("r1");
    let client = vendor
        .builder(source(&store))
        .retry(RetryPolicy::none())
        .build()
        .unwrap();
    let failure = get(&client).await.unwrap_err();
    assert!(failure.is_retryable());
    assert_eq!((store.refresh_token().as_str(), store.swaps()), ("r1", 0));
    vendor.done().await;
}

/// A store whose bugs are its own.
#[derive(Debug)]
struct Panicking;

#[async_trait::async_trait]
impl box_client::TokenStore for Panicking {
    async fn load(&self) -> Result<Option<box_client::Stored>, box_client::TokenStoreError> {
        panic!("a bug in the store")
    }

    async fn compare_and_swap(
        &self,
        _: u64,
        _: Grant,
    ) -> Result<box_client::Swap, box_client::TokenStoreError> {
        panic!("a bug in the store")
    }
}

#[tokio::test]
async fn a_store_that_panics_fails_the_call_and_not_the_client() {
    let vendor = Vendor::start().await;
    let client = vendor
        .builder(RefreshToken::new(CLIENT, SECRET, Panicking))
        .retry(quick())
        .build()
        .unwrap();
    for _ in 0..2 {
        assert_eq!(get(&client).await.unwrap_err().kind(), ErrorKind::Auth);
    }
    vendor.done().await;
}
