use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use salesforce_client::{
    AccessToken, ClientCredentials, Error, ErrorKind, Grant, MemoryTokenStore, RefreshToken,
    RetryPolicy, SalesforceClient, Stored, SubjectTokens, Swap, TokenEndpoint, TokenExchange,
    TokenSource, TokenStore, TokenStoreError,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::sync::{Notify, Semaphore};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{header, method, path},
};

use crate::support::{Act, BrokenServer, DATA, errors, fixture, quick};

const TOKEN: &str = "/services/oauth2/token";

/// A store that tells when it is written, and fails when told to.
#[derive(Clone, Debug)]
struct Watched {
    inner: Arc<MemoryTokenStore>,
    log: Arc<Mutex<Vec<String>>>,
    fails: Arc<AtomicBool>,
}

impl Watched {
    fn new(refresh_token: &str) -> Self {
        Self {
            inner: Arc::new(MemoryTokenStore::new(Grant::new(refresh_token))),
            log: Arc::default(),
            fails: Arc::default(),
        }
    }
}

#[async_trait]
impl TokenStore for Watched {
    async fn load(&self) -> Result<Option<Stored>, TokenStoreError> {
        self.inner.load().await
    }

    async fn compare_and_swap(&self, expected: u64, grant: Grant) -> Result<Swap, TokenStoreError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err("the disk is full".into());
        }
        self.log.lock().unwrap().push("stored".to_owned());
        self.inner.compare_and_swap(expected, grant).await
    }
}

/// A token endpoint that rotates: it takes `r1`, then `r2`, and so on, each once.
async fn rotating(server: &MockServer, delay: Duration) {
    let uri = server.uri();
    let next = AtomicU32::new(1);
    Mock::given(path(TOKEN))
        .respond_with(move |request: &Request| {
            let now = next.load(Ordering::SeqCst);
            let form = String::from_utf8(request.body.clone()).unwrap();
            if !form.contains(&format!("refresh_token=r{now}&")) {
                return ResponseTemplate::new(400).set_body_json(json!({
                    "error": "invalid_grant", "error_description": "expired access/refresh token",
                }));
            }
            next.store(now + 1, Ordering::SeqCst);
            let reply = ResponseTemplate::new(200).set_body_json(json!({
                "access_token": format!("a{now}"),
                "refresh_token": format!("r{}", now + 1),
                "instance_url": uri,
            }));
            reply.set_delay(delay)
        })
        .mount(server)
        .await;
}

async fn limits(server: &MockServer, token: &str, status: u16) {
    let body = if status == 200 {
        json!({})
    } else {
        errors("INVALID_SESSION_ID", "Session expired or invalid")
    };
    Mock::given(method("GET"))
        .and(path(format!("{DATA}/limits")))
        .and(header("authorization", format!("Bearer {token}")))
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(server)
        .await;
}

fn client(server: &MockServer, tokens: impl TokenSource) -> SalesforceClient {
    SalesforceClient::builder(tokens)
        .login_url(server.uri())
        .retry(quick())
        .build()
        .unwrap()
}

async fn ask(client: &SalesforceClient) -> Result<(), Error> {
    let request = client.request(http::Method::GET, "/limits");
    request.send().await.map(drop)
}

async fn posts(server: &MockServer) -> usize {
    let all = server.received_requests().await.unwrap();
    all.iter().filter(|it| it.url.path() == TOKEN).count()
}

#[tokio::test]
async fn a_refresh_says_who_it_is_and_sends_a_secret_only_where_there_is_one() {
    for (secret, end) in [(None, ""), (Some("s&1".into()), "&client_secret=s%261")] {
        let server = MockServer::start().await;
        rotating(&server, Duration::ZERO).await;
        limits(&server, "a1", 200).await;
        let store = MemoryTokenStore::new(Grant::new("r1"));
        ask(&client(&server, RefreshToken::new("app", secret, store)))
            .await
            .unwrap();
        let sent = server.received_requests().await.unwrap();
        let form = String::from_utf8(sent[0].body.clone()).unwrap();
        let expected = format!("grant_type=refresh_token&refresh_token=r1&client_id=app{end}");
        assert_eq!(form, expected);
    }
}

#[tokio::test]
async fn the_next_refresh_token_is_stored_before_the_access_token_is_used() {
    let server = MockServer::start().await;
    rotating(&server, Duration::ZERO).await;
    let store = Watched::new("r1");
    let log = Arc::clone(&store.log);
    Mock::given(method("GET"))
        .respond_with(move |_: &Request| {
            log.lock().unwrap().push("used".to_owned());
            ResponseTemplate::new(200).set_body_json(json!({}))
        })
        .mount(&server)
        .await;
    let log = Arc::clone(&store.log);
    ask(&client(&server, RefreshToken::new("app", None, store)))
        .await
        .unwrap();
    assert_eq!(*log.lock().unwrap(), ["stored", "used"]);
}

#[tokio::test]
async fn a_grant_that_could_not_be_stored_is_kept_and_stored_at_the_next_call() {
    let server = MockServer::start().await;
    rotating(&server, Duration::ZERO).await;
    limits(&server, "a1", 200).await;
    let store = Watched::new("r1");
    store.fails.store(true, Ordering::Relaxed);
    let client = client(&server, RefreshToken::new("app", None, store.clone()));
    let error = ask(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.is_retryable());

    store.fails.store(false, Ordering::Relaxed);
    ask(&client).await.unwrap();
    assert_eq!(posts(&server).await, 1, "the grant was spent twice");
}

#[tokio::test]
async fn what_another_holder_has_stored_is_taken_over() {
    let server = MockServer::start().await;
    rotating(&server, Duration::ZERO).await;
    limits(&server, "a1", 200).await;
    let store = Watched::new("r1");
    let first = client(&server, RefreshToken::new("app", None, store.clone()));
    let second = client(&server, RefreshToken::new("app", None, store));
    ask(&first).await.unwrap();
    ask(&second).await.unwrap();
    assert_eq!(posts(&server).await, 1);
}

#[tokio::test]
async fn a_dead_grant_says_to_log_in_again() {
    let server = MockServer::start().await;
    rotating(&server, Duration::ZERO).await;
    let store = MemoryTokenStore::new(Grant::new("r0"));
    let error = ask(&client(&server, RefreshToken::new("app", None, store)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.to_string().contains("log in again"), "{error}");
    assert_eq!(posts(&server).await, 1, "a dead grant is not tried again");
}

#[tokio::test]
async fn fifty_callers_wait_for_one_fetch_whether_it_succeeds_or_fails() {
    for (refresh_token, works) in [("r1", true), ("r0", false)] {
        let server = MockServer::start().await;
        rotating(&server, Duration::from_millis(20)).await;
        limits(&server, "a1", 200).await;
        let store = MemoryTokenStore::new(Grant::new(refresh_token));
        let client = client(&server, RefreshToken::new("app", None, store));
        let answers = join_all((0..50).map(|_| ask(&client))).await;
        assert!(answers.iter().all(|answer| answer.is_ok() == works));
        assert_eq!(posts(&server).await, 1);
    }
}

#[tokio::test]
async fn a_refresh_that_takes_longer_than_its_lease_is_not_given_up() {
    let server = MockServer::start().await;
    // Its lease is renewed every two seconds, which is time enough on a busy machine.
    rotating(&server, Duration::from_secs(7)).await;
    limits(&server, "a1", 200).await;
    let store = Arc::new(MemoryTokenStore::new(Grant::new("r1")));
    let holder = || {
        let tokens = RefreshToken::new("app", None, Arc::clone(&store));
        client(&server, tokens.hold(Duration::from_secs(6)))
    };
    let (one, other) = (holder(), holder());
    let (one, other) = tokio::join!(ask(&one), ask(&other));
    one.unwrap();
    other.unwrap();
    assert_eq!(posts(&server).await, 1, "a refresh token was spent twice");
    let kept = store.load().await.unwrap().unwrap();
    assert_eq!(kept.grant.refresh_token.expose_secret(), "r2");
}

#[tokio::test]
async fn a_refresh_whose_answer_is_lost_is_not_sent_again_by_itself() {
    let mut server = BrokenServer::start(vec![Act::LoseAnswer, Act::LoseAnswer]).await;
    let store = MemoryTokenStore::new(Grant::new("r1"));
    let tokens = RefreshToken::new("app", None, store);
    let client = SalesforceClient::builder(tokens)
        .login_url(&server.url)
        .retry(quick())
        .build()
        .unwrap();
    let error = ask(&client).await.unwrap_err();
    assert!(
        error.is_retryable() && !error.may_have_happened(),
        "{error:?}"
    );
    assert!(server.got_whole().await);
    assert_eq!(server.waiting(), 0);
}

#[tokio::test]
async fn a_refusal_that_only_a_person_mends_is_not_asked_for_at_every_call() {
    let server = MockServer::start().await;
    rotating(&server, Duration::ZERO).await;
    limits(&server, "a1", 200).await;
    let store = Arc::new(MemoryTokenStore::new(Grant::new("r0")));
    let tokens = RefreshToken::new("app", None, Arc::clone(&store));
    let refreshing = client(&server, tokens);
    for _ in 0..5 {
        let error = ask(&refreshing).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth);
    }
    assert_eq!(posts(&server).await, 1);
    // Somebody has logged in anew.
    let stored = store.load().await.unwrap().unwrap();
    let swapped = store.compare_and_swap(stored.version, Grant::new("r1"));
    assert_eq!(swapped.await.unwrap(), Swap::Stored);
    ask(&refreshing).await.unwrap();

    let server = MockServer::start().await;
    rotating(&server, Duration::ZERO).await;
    let other = client(&server, ClientCredentials::new("app", "secret"));
    for _ in 0..5 {
        ask(&other).await.unwrap_err();
    }
    assert_eq!(posts(&server).await, 1);
}

#[tokio::test]
async fn only_what_the_login_host_says_for_good_is_for_good() {
    for (status, body, is_final) in [
        (403, "<html>blocked</html>".to_owned(), false),
        (
            400,
            json!({ "error": "unknown_error", "error_description": "retry your request" })
                .to_string(),
            false,
        ),
        (
            400,
            json!({ "error": "invalid_grant", "error_description": "login rate exceeded" })
                .to_string(),
            false,
        ),
        (
            400,
            json!({ "error": "invalid_client_id" }).to_string(),
            true,
        ),
    ] {
        let server = MockServer::start().await;
        Mock::given(path(TOKEN))
            .respond_with(ResponseTemplate::new(status).set_body_string(&body))
            .mount(&server)
            .await;
        let client = client(&server, ClientCredentials::new("app", "secret"));
        let error = ask(&client).await.unwrap_err();
        assert_eq!(error.is_retryable(), !is_final, "{body}: {error:?}");
        assert_eq!(error.kind() == ErrorKind::Auth, is_final, "{body}");
        assert!(!error.may_have_happened(), "{body}");
    }
}

/// A provider of other tokens, and what it says.
#[derive(Debug)]
struct Provider(fn() -> TokenStoreError);

#[async_trait]
impl SubjectTokens for Provider {
    async fn subject_token(&self) -> Result<SecretString, TokenStoreError> {
        Err(self.0())
    }
}

#[tokio::test]
async fn an_outage_of_the_other_provider_passes_and_a_refusal_does_not() {
    let outage: fn() -> TokenStoreError = || "the vault restarts".into();
    let refusal: fn() -> TokenStoreError = || Error::no_token("the role was taken away").into();
    for (says, passes) in [(outage, true), (refusal, false)] {
        let server = MockServer::start().await;
        let tokens = TokenExchange::new("app", None, Provider(says));
        let error = ask(&client(&server, tokens)).await.unwrap_err();
        assert_eq!(error.is_retryable(), passes, "{error:?}");
        assert!(!error.may_have_happened());
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_no_grant_with_it() {
    let server = MockServer::start().await;
    let arrived = Arc::new(Notify::new());
    let (answer, answered) = mpsc::channel::<()>();
    let (tell, answered) = (Arc::clone(&arrived), Mutex::new(answered));
    // Matches nothing: the endpoint has the request, and its answer waits.
    let hold = move |_: &Request| {
        tell.notify_one();
        answered.lock().unwrap().recv().is_ok()
    };
    let held = Mock::given(path(TOKEN)).and(hold);
    let held = held.respond_with(ResponseTemplate::new(500));
    held.mount(&server).await;
    rotating(&server, Duration::ZERO).await;
    limits(&server, "a1", 200).await;
    let store = Watched::new("r1");
    let client = client(&server, RefreshToken::new("app", None, store.clone()));
    tokio::select! {
        _ = ask(&client) => panic!("nobody has answered"),
        () = arrived.notified() => {}
    }
    drop(answer);
    ask(&client).await.unwrap();
    assert_eq!(posts(&server).await, 1);
    assert_eq!(*store.log.lock().unwrap(), ["stored"]);
}

/// Gives `t1`, `t2`, … when it is let to, and fails when told to.
#[derive(Debug)]
struct Gated {
    url: String,
    given: AtomicU32,
    gate: Arc<Semaphore>,
    fails: Arc<AtomicBool>,
}

#[async_trait]
impl TokenSource for Gated {
    async fn fetch(
        &self,
        _: &TokenEndpoint<'_>,
        _: Option<&AccessToken>,
    ) -> salesforce_client::Result<AccessToken> {
        self.gate.acquire().await.unwrap().forget();
        if self.fails.load(Ordering::Relaxed) {
            return Err(Error::no_token("down"));
        }
        let number = self.given.fetch_add(1, Ordering::Relaxed) + 1;
        // Over at once, so that each call wants the next one early.
        let token = format!("t{number}").into();
        AccessToken::new(token, &self.url, Some(Duration::ZERO))
    }
}

fn gated(server: &MockServer) -> (SalesforceClient, Arc<Semaphore>, Arc<AtomicBool>) {
    let gate = Arc::new(Semaphore::new(1));
    let fails = Arc::new(AtomicBool::new(false));
    let source = Gated {
        url: server.uri(),
        given: AtomicU32::new(0),
        gate: Arc::clone(&gate),
        fails: Arc::clone(&fails),
    };
    (client(server, source), gate, fails)
}

#[tokio::test]
async fn nobody_waits_for_an_early_renewal() {
    let server = MockServer::start().await;
    limits(&server, "t1", 200).await;
    limits(&server, "t2", 200).await;
    let (client, gate, _) = gated(&server);
    ask(&client).await.unwrap();

    // The login host does not answer: not even who has it asked waits.
    for _ in 0..2 {
        ask(&client).await.unwrap();
    }
    gate.add_permits(1);
    for _ in 0..200 {
        ask(&client).await.unwrap();
    }
    let sent = server.received_requests().await.unwrap();
    let tokens: Vec<_> = sent
        .iter()
        .map(|it| it.headers["authorization"].to_str().unwrap())
        .collect();
    assert_eq!(tokens[..3], ["Bearer t1"; 3]);
    assert_eq!(tokens.last(), Some(&"Bearer t2"));
}

#[tokio::test]
async fn a_failed_early_renewal_keeps_the_old_token() {
    let server = MockServer::start().await;
    limits(&server, "t1", 200).await;
    let (client, gate, fails) = gated(&server);
    ask(&client).await.unwrap();
    fails.store(true, Ordering::Relaxed);
    gate.add_permits(1);
    ask(&client).await.unwrap();
    // No permit is left: this one does not even try.
    ask(&client).await.unwrap();
}

#[tokio::test]
async fn a_401_that_no_token_mends_is_not_refreshed() {
    let recorded = fixture("exchanges/jsforce-401-not-for-rest.json")
        .map(|it| it["response"]["body"].as_str().unwrap().to_owned());
    let other = errors(
        "INVALID_SESSION_ID",
        "Connected app is not attached to Agent",
    );
    for body in recorded.into_iter().chain([other.to_string()]) {
        let server = MockServer::start().await;
        rotating(&server, Duration::ZERO).await;
        Mock::given(method("GET"))
            .respond_with(ResponseTemplate::new(401).set_body_string(body))
            .expect(1)
            .mount(&server)
            .await;
        let store = MemoryTokenStore::new(Grant::new("r1"));
        let error = ask(&client(&server, RefreshToken::new("app", None, store)))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth);
        assert_eq!(posts(&server).await, 1);
    }
}

#[tokio::test]
async fn an_ended_session_is_renewed_and_the_call_repeated_at_the_new_host() {
    let server = MockServer::start().await;
    rotating(&server, Duration::ZERO).await;
    limits(&server, "a1", 401).await;
    limits(&server, "a2", 200).await;
    let store = MemoryTokenStore::new(Grant::new("r1"));
    ask(&client(&server, RefreshToken::new("app", None, store)))
        .await
        .unwrap();
    assert_eq!(posts(&server).await, 2);
}

#[tokio::test]
async fn nothing_that_the_token_endpoint_says_gets_into_a_text() {
    const LEAK: &str = "00Dxx!AQ8AQleaked";
    for (status, body) in [
        (
            400,
            json!({ "error": "invalid_grant", "error_description": LEAK }).to_string(),
        ),
        (400, json!({ "error": LEAK }).to_string()),
        (200, json!({ "access_token": { "x": LEAK } }).to_string()),
        (200, json!({ "access_token": LEAK }).to_string()),
        (503, format!("<html>{LEAK}</html>")),
        (
            500,
            json!([{ "errorCode": "X", "message": LEAK }]).to_string(),
        ),
    ] {
        let server = MockServer::start().await;
        Mock::given(path(TOKEN))
            .respond_with(ResponseTemplate::new(status).set_body_string(&body))
            .mount(&server)
            .await;
        let error = ask(&client(&server, ClientCredentials::new("app", "secret")))
            .await
            .unwrap_err();
        let mut texts = format!("{error} {error:?}");
        let mut cause = std::error::Error::source(&error);
        while let Some(it) = cause {
            texts.push_str(&format!(" {it} {it:?}"));
            cause = it.source();
        }
        assert!(!texts.contains("leaked"), "{status} {body}: {texts}");
    }
}

#[test]
fn client_credentials_at_a_login_host_are_refused_when_the_client_is_built() {
    for host in [
        "https://login.salesforce.com",
        "https://test.salesforce.com/",
    ] {
        let tokens = ClientCredentials::new("app", "secret");
        let error = SalesforceClient::builder(tokens)
            .login_url(host)
            .retry(RetryPolicy::none())
            .build()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("My Domain"), "{error}");
    }
}
