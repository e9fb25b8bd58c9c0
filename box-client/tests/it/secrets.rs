//! What must not be read by anybody who reads a log.

use std::{
    error::Error as StdError,
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex},
};

use box_client::{
    AccessToken, BoxClient, ClientCredentials, Content, DeveloperToken, File, FileId, FolderId,
    Grant, MemoryTokenStore, OAuth, Preflight, RefreshToken, SharedLinkAccess, Subject,
    UploadSession,
    testing::{Fault, FaultEffect},
};
use secrecy::SecretString;
use serde_json::json;
use tracing::{Event, Metadata, Subscriber, field, span};

use crate::boxed::Boxed;
use crate::vendor::{Vendor, bad_token, error, file, refusal, reply, status};

/// Stands in every place where a secret belongs.
const PLANTED: &str = "pl4nted-s3cret";
const TOKEN: &str = "/oauth2/token";
const FILE: &str = "/2.0/files/777";

fn debugged(value: &impl Debug) -> String {
    format!("{value:?} {value:#?}")
}

fn told(error: &box_client::Error) -> String {
    let mut text = format!("{error} {}", debugged(error));
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, " {error} {error:?}").unwrap();
        cause = error.source();
    }
    text
}

#[track_caller]
fn assert_silent(text: &str) {
    assert!(!text.contains("s3cret"), "{text}");
}

fn grant() -> Grant {
    let mut grant = Grant::new(PLANTED);
    grant.access_token = Some(SecretString::from(PLANTED));
    grant
}

fn credentials() -> ClientCredentials {
    ClientCredentials::new("id", PLANTED, Subject::User("33".to_owned()))
}

async fn get(client: &BoxClient) -> box_client::Result<box_client::File> {
    client
        .files()
        .get(&FileId::new("777").unwrap())
        .send()
        .await
}

#[test]
fn nothing_that_holds_a_secret_shows_it() {
    let tokens = RefreshToken::new("id", PLANTED, MemoryTokenStore::new(grant()));
    let mut text = debugged(&tokens) + &debugged(&grant());
    text += &debugged(&MemoryTokenStore::new(grant()));
    text += &debugged(&credentials());
    text += &debugged(&DeveloperToken::new(PLANTED));
    text += &debugged(&AccessToken::new(SecretString::from(PLANTED), None));
    let oauth = OAuth::builder("id", PLANTED).base_url("http://127.0.0.1:1");
    text += &debugged(&oauth);
    let oauth = oauth.build().unwrap();
    text += &debugged(&oauth);
    text += &debugged(&oauth.authorize());
    let login = oauth.authorize().start().unwrap();
    text += &debugged(&login);
    assert!(!text.contains(login.state()), "{text}");
    text += &debugged(&oauth.refresh_token(MemoryTokenStore::new(grant())));
    let code = login.code(&format!("code={PLANTED}&state={}", login.state()));
    text += &debugged(&code);
    text += &debugged(&login.code(&format!("code={PLANTED}&state=x")));
    let builder = BoxClient::builder(tokens);
    text += &debugged(&builder);
    let client = builder.build().unwrap();
    text += &debugged(&client);
    let id = FileId::new("777").unwrap();
    text += &debugged(&client.files().get(&id));
    let link = format!("https://app.box.com/s/{PLANTED}");
    let narrow = client.downscope(["item_preview"]).shared_link(link);
    text += &debugged(&narrow);
    text += &debugged(&narrow.into_source());
    text += &debugged(&client.files().download(&id));
    let link = SharedLinkAccess::new(PLANTED).password(PLANTED.into());
    text += &debugged(&link);
    text += &debugged(&client.files().download(&id).shared_link(link.clone()));
    text += &debugged(&client.files().get(&id).shared_link(link));
    let set = client.shared_links().file(&id).set();
    text += &debugged(&set.password(&PLANTED.into()));
    let shared = json!({ "id": "777", "shared_link": { "url": PLANTED, "vanity_url": PLANTED } });
    text += &debugged(&serde_json::from_value::<File>(shared).unwrap());
    let session = json!({
        "id": "A", "part_size": 1, "session_endpoints": { "upload_part": PLANTED },
    });
    text += &debugged(&serde_json::from_value::<UploadSession>(session).unwrap());
    let preflight = json!({ "upload_url": PLANTED, "upload_token": PLANTED });
    text += &debugged(&serde_json::from_value::<Preflight>(preflight).unwrap());
    text += &debugged(&client.files().upload(&FolderId::root(), "a", PLANTED));
    let request = client.request(http::Method::PUT, "/files/777");
    text += &debugged(&request.header("authorization", PLANTED).json(&PLANTED));
    assert_silent(&text);
}

#[tokio::test]
async fn no_error_of_the_token_endpoint_quotes_a_token() {
    for answer in [
        refusal("invalid_grant", "Invalid refresh token"),
        // Parsers quote what they trip over.
        reply(200, json!(PLANTED)),
        reply(200, json!({ "access_token": "x", "expires_in": PLANTED })),
        reply(200, json!({ "access_token": [PLANTED] })),
        reply(200, json!({ "refresh_token": PLANTED })),
        status(200).set_body_string(format!("access_token={PLANTED}")),
        // No header can carry it.
        reply(200, json!({ "access_token": format!("{PLANTED}\n") })),
    ] {
        let vendor = Vendor::start().await;
        vendor.answers("POST", TOKEN, [answer]).await;
        let failure = get(&vendor.client_of(credentials())).await.unwrap_err();
        assert_silent(&told(&failure));
        vendor.done().await;
    }
}

#[tokio::test]
async fn no_error_of_a_login_or_its_end_quotes_a_token() {
    for answer in [
        refusal("invalid_grant", "no"),
        reply(
            200,
            json!({ "access_token": PLANTED, "expires_in": PLANTED }),
        ),
        // Without a refresh token there is no grant.
        reply(200, json!({ "access_token": PLANTED })),
    ] {
        let vendor = Vendor::start().await;
        vendor.answers("POST", TOKEN, [answer]).await;
        let oauth = vendor.oauth(PLANTED);
        let failure = oauth.exchange(&PLANTED.into()).await.unwrap_err();
        assert_silent(&told(&failure));
        vendor.done().await;
    }
    let oauth = OAuth::builder("id", PLANTED).base_url("http://127.0.0.1:1");
    let oauth = oauth.retry(box_client::RetryPolicy::none()).build();
    let failure = oauth.unwrap().revoke(&PLANTED.into()).await.unwrap_err();
    assert_silent(&told(&failure));
}

#[tokio::test]
async fn no_error_of_a_call_shows_the_token_the_query_or_the_body() {
    for answer in [status(500), error(400, "bad_request"), bad_token()] {
        let vendor = Vendor::start().await;
        let builder = vendor.builder(DeveloperToken::new(PLANTED));
        let retry = box_client::RetryPolicy::none();
        let client = builder.retry(retry).build().unwrap();
        vendor.answers("PUT", "/2.0/files/777", [answer]).await;
        let request = client.request(http::Method::PUT, "/files/777");
        let request = request
            .query("fields", PLANTED)
            .json(&json!({ "name": PLANTED }));
        assert_silent(&told(&request.send().await.unwrap_err()));
        vendor.done().await;
    }
}

#[tokio::test]
async fn an_answer_of_unknown_kind_does_not_show_what_is_in_it() {
    let vendor = Vendor::start().await;
    let answer = reply(200, json!({ "access_token": PLANTED })).insert_header(
        "location",
        format!("https://dl.example.com/?sig={PLANTED}").as_str(),
    );
    vendor.answers("GET", FILE, [answer]).await;
    let client = vendor.client();
    let reply = client.request(http::Method::GET, "/files/777").send().await;
    assert_silent(&debugged(&reply.unwrap()));
    vendor.done().await;
}

/// Takes down all that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut Lines(&mut self.0.lock().unwrap()));
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut Lines(&mut self.0.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Lines(&mut self.0.lock().unwrap()));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Lines<'a>(&'a mut String);

impl field::Visit for Lines<'_> {
    fn record_debug(&mut self, field: &field::Field, value: &dyn Debug) {
        writeln!(self.0, "{}={value:?}", field.name()).unwrap();
    }
}

#[tokio::test]
async fn nothing_that_is_logged_is_a_secret() {
    let log = Log::default();
    // While there is one only, a place that another test's thread comes by first is never logged.
    // With one subscriber alone, tracing asks only the thread that logs first, which can be one of
    // another test, and remembers that nobody is interested.
    let _second = tracing::Dispatch::new(Log::default());
    let guard = tracing::subscriber::set_default(log.clone());
    let vendor = Vendor::start().await;
    let body = json!({
        "access_token": PLANTED, "refresh_token": PLANTED, "expires_in": 3600,
    });
    let answers = [status(500), reply(200, body.clone()), reply(200, body)];
    vendor.answers("POST", TOKEN, answers).await;
    let answers = [bad_token(), status(503), reply(200, file())];
    vendor.answers("GET", FILE, answers).await;
    let signed = format!("http://127.0.0.1:1/dl?sig={PLANTED}");
    let to_nowhere = status(302).insert_header("location", signed.as_str());
    vendor
        .answers("GET", "/2.0/files/777/content", [to_nowhere])
        .await;
    let store = MemoryTokenStore::new(Grant::new(PLANTED));
    let client = vendor.client_of(RefreshToken::new("id", PLANTED, store));
    get(&client).await.unwrap();
    let id = FileId::new("777").unwrap();
    let request = client.files().download(&id);
    request.send().await.unwrap_err();
    drop(guard);
    let log = log.0.lock().unwrap().clone();
    assert!(log.contains("files.get"), "{log}");
    assert!(log.contains("trying again"), "{log}");
    for recorded in ["operation=\"files.get\"", "attempt=3", "status=503"] {
        assert!(log.contains(recorded), "{recorded}: {log}");
    }
    assert_silent(&log);
    vendor.done().await;
}

#[tokio::test]
async fn an_upload_is_logged_like_any_other_call_and_nothing_of_its_content() {
    let log = Log::default();
    // As above.
    let _second = tracing::Dispatch::new(Log::default());
    let boxed = Boxed::start().await;
    let failing = || FaultEffect::ExpireSession;
    let faults = [
        Fault::on("/api/2.0/files/content", failing()),
        Fault::on("/api/2.0/files/upload_sessions/*", failing()).method("PUT"),
    ];
    faults.into_iter().for_each(|it| boxed.fake.inject(it));
    let guard = tracing::subscriber::set_default(log.clone());
    for (name, chunked_from) in [("files.upload", u64::MAX), ("upload_sessions.part", 0)] {
        log.0.lock().unwrap().clear();
        let content = Content::from(PLANTED.repeat(100));
        let upload = boxed
            .client
            .files()
            .upload(&FolderId::root(), name, content);
        let upload = upload.chunked_from(chunked_from);
        upload.send().await.unwrap();
        let log = log.0.lock().unwrap().clone();
        let operation = format!("operation=\"{name}\"");
        let status = if chunked_from == 0 { 200 } else { 201 };
        let status = format!("status={status}");
        let recorded = [
            &*operation,
            "attempt=2",
            "status=401",
            &status,
            "box_request_id",
        ];
        for recorded in recorded {
            assert!(log.contains(recorded), "{recorded}: {log}");
        }
        assert_silent(&log);
    }
    drop(guard);
    boxed.done();
}
