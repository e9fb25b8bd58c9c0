//! What must not be read by anybody who reads a log.

use std::{
    error::Error as StdError,
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use http::Method;
use salesforce_client::{
    AccessToken, ClientCredentials, ErrorKind, Grant, Introspected, MemoryTokenStore, OAuthApp,
    Record, RefreshToken, RetryPolicy, SalesforceClient, SfdxAuthUrl, StaticToken, SubjectTokens,
    TokenExchange, TokenReply, TokenSource, TokenStoreError, soql,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use tracing::{Event, Metadata, Subscriber, field, span};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

use crate::support::{DATA, id, quick};

/// Stands in every place where a secret belongs.
const PLANTED: &str = "pl4nted-s3cret";
const TOKEN: &str = "/services/oauth2/token";
const CONTENT_VERSION: &str = "0685500000KQ12XAAT";

fn debugged(value: &impl Debug) -> String {
    format!("{value:?} {value:#?}")
}

fn told(error: &(impl StdError + 'static)) -> String {
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
    ClientCredentials::new("app", PLANTED)
}

fn refreshing() -> RefreshToken {
    let store = MemoryTokenStore::new(grant());
    RefreshToken::new("app", Some(PLANTED.into()), store)
}

fn client(server: &MockServer, tokens: impl TokenSource) -> SalesforceClient {
    let client = SalesforceClient::builder(tokens).login_url(server.uri());
    client.retry(quick()).build().unwrap()
}

fn app(login: &str) -> OAuthApp {
    let app = OAuthApp::builder("app").client_secret(PLANTED);
    app.login_url(login).retry(quick()).build().unwrap()
}

fn status(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status)
}

fn reply(code: u16, body: Value) -> ResponseTemplate {
    status(code).set_body_json(body)
}

fn refusal(error: &str) -> ResponseTemplate {
    reply(400, json!({ "error": error, "error_description": PLANTED }))
}

/// One answer after the other.
async fn answers(server: &MockServer, verb: &str, at: &str, list: Vec<ResponseTemplate>) {
    for answer in list {
        let mock = Mock::given(method(verb)).and(path(at));
        let mock = mock.respond_with(answer).up_to_n_times(1);
        mock.mount(server).await;
    }
}

fn content() -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    stream::iter([Ok(Bytes::from(PLANTED))])
}

#[derive(Debug)]
struct Subjects;

#[async_trait]
impl SubjectTokens for Subjects {
    async fn subject_token(&self) -> Result<SecretString, TokenStoreError> {
        Ok(PLANTED.into())
    }
}

#[test]
fn nothing_that_holds_a_secret_shows_it() {
    const HERE: &str = "http://127.0.0.1:1";
    let app = app(HERE);
    let token = || StaticToken::new(PLANTED, HERE).unwrap();
    let mut text = debugged(&OAuthApp::builder("app").client_secret(PLANTED));
    text += &debugged(&app);
    text += &debugged(&app.authorize(HERE));
    let login = app.authorize(HERE).begin().unwrap();
    text += &debugged(&login);
    let state = login.url().split("state=").nth(1).unwrap();
    let state = state.split('&').next().unwrap();
    assert!(!text.contains(state), "{text}");
    let code = login.callback(&format!("?code={PLANTED}&state={state}"));
    assert!(code.is_ok());
    text += &debugged(&code);
    text += &debugged(&login.callback(&format!("?code={PLANTED}&state=x")));
    let denied = format!("?error={PLANTED}&error_description={PLANTED}&state={state}");
    text += &told(&login.callback(&denied).unwrap_err());
    text += &debugged(&Introspected::new(token(), app));
    text += &debugged(&credentials());
    text += &debugged(&grant());
    text += &debugged(&MemoryTokenStore::new(grant()));
    text += &debugged(&refreshing());
    text += &debugged(&TokenExchange::new("app", Some(PLANTED.into()), Subjects));
    text += &debugged(&AccessToken::new(PLANTED.into(), HERE, None));
    text += &debugged(&AccessToken::new(format!("{PLANTED}\n").into(), HERE, None));
    text += &debugged(&token());
    let url = format!("force://app:{PLANTED}:{PLANTED}@example.my.salesforce.com");
    text += &debugged(&url.parse::<SfdxAuthUrl>().unwrap());
    for wrong in [format!("{url}/{PLANTED}"), PLANTED.to_owned()] {
        text += &told(&wrong.parse::<SfdxAuthUrl>().unwrap_err());
    }
    let answered = json!({
        "access_token": PLANTED, "refresh_token": PLANTED, "instance_url": HERE,
    });
    text += &debugged(&serde_json::from_value::<TokenReply>(answered).unwrap());
    let builder = SalesforceClient::builder(token()).login_url(HERE);
    text += &debugged(&builder);
    let client = builder.build().unwrap();
    text += &debugged(&client);
    let request = client.request(Method::GET, "/query");
    let request = request.query("q", PLANTED).header("x-auth", PLANTED);
    text += &debugged(&request.json(&PLANTED));
    text += &debugged(
        &client.query::<Record>(soql("SELECT Id FROM A WHERE B = :b").bind("b", PLANTED)),
    );
    text += &debugged(&client.search(PLANTED));
    let accounts = client.sobject("Account");
    text += &debugged(&accounts.update(&id("0015g00000BEzhoAAD"), &PLANTED));
    text += &debugged(&accounts.upsert("Key__c", PLANTED, &PLANTED));
    assert_silent(&text);
}

#[cfg(feature = "jwt")]
#[test]
fn a_key_that_cannot_be_read_is_not_quoted() {
    use salesforce_client::JwtBearer;
    for pem in [
        PLANTED.to_owned(),
        format!("-----BEGIN PRIVATE KEY-----\n{PLANTED}\n-----END PRIVATE KEY-----"),
        format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{PLANTED}"),
        // Base64 of it, which is no key.
        "-----BEGIN PRIVATE KEY-----\ncGw0bnRlZC1zM2NyZXQ=\n-----END PRIVATE KEY-----".to_owned(),
    ] {
        let error = JwtBearer::new("app", "user", &pem.into()).unwrap_err();
        let text = told(&error);
        assert_silent(&text);
        assert!(!text.contains("cGw0"), "{text}");
    }
}

#[cfg(feature = "outbound")]
#[test]
fn an_outbound_message_shows_neither_its_session_nor_its_fields() {
    use salesforce_client::OutboundReader;
    use secrecy::ExposeSecret;

    let message = |more: &str| {
        format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <soapenv:Body>
  <notifications xmlns="http://soap.sforce.com/2005/09/outbound">
   <OrganizationId>00Dxx0000001gPLEAY</OrganizationId>
   <ActionId>04kxx0000000001AAA</ActionId>
   <SessionId>{PLANTED}</SessionId>
   <EnterpriseUrl>https://example.my.salesforce.com/services/Soap/c/58.0/00D</EnterpriseUrl>
   <PartnerUrl>https://example.my.salesforce.com/services/Soap/u/58.0/00D</PartnerUrl>
   <Notification>
    <Id>04lxx0000000001AAA</Id>
    <sObject xsi:type="sf:Account" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">
     <sf:Id>0015g00000BEzhoAAD</sf:Id>
     <sf:Name>{PLANTED}</sf:Name>{more}
    </sObject>
   </Notification>
  </notifications>
 </soapenv:Body>
</soapenv:Envelope>"#
        )
    };
    let reader = OutboundReader::new(&id("00Dxx0000001gPLEAY"));
    let read = reader.read(message("").as_bytes()).unwrap();
    assert_eq!(read.session_id().unwrap().expose_secret(), PLANTED);
    assert_eq!(read.notifications[0].field("Name"), Some(PLANTED));
    let mut text = debugged(&read) + &debugged(&read.notifications) + &debugged(&read.session_id());
    text += &debugged(&read.access_token().unwrap().unwrap());
    let broken = message(&format!("</{PLANTED}>"));
    let entity = message(&format!("&{PLANTED};"));
    let stranger = OutboundReader::new(&id("00Dxx0000009gPLEAY"));
    for error in [
        reader.read(broken.as_bytes()).unwrap_err(),
        reader.read(entity.as_bytes()).unwrap_err(),
        stranger.read(message("").as_bytes()).unwrap_err(),
    ] {
        text += &told(&error);
    }
    assert_silent(&text);
}

#[tokio::test]
async fn no_error_of_the_token_endpoint_quotes_a_token() {
    for answer in [
        refusal("invalid_grant"),
        refusal(PLANTED),
        // Parsers quote what they trip over.
        reply(200, json!(PLANTED)),
        reply(200, json!({ "access_token": [PLANTED] })),
        reply(200, json!({ "access_token": PLANTED, "instance_url": 7 })),
        reply(200, json!({ "access_token": "x", "instance_url": PLANTED })),
        reply(200, json!({ "refresh_token": PLANTED })),
        status(200).set_body_string(format!("access_token={PLANTED}")),
        // No header can carry it.
        reply(
            200,
            json!({ "access_token": format!("{PLANTED}\n"), "instance_url": "http://127.0.0.1:1" }),
        ),
    ] {
        let server = MockServer::start().await;
        answers(&server, "POST", TOKEN, vec![answer.clone(), answer]).await;
        let by_secret = client(&server, credentials()).limits().await;
        assert_silent(&told(&by_secret.unwrap_err()));
        let by_grant = client(
            &server,
            RefreshToken::new(
                "app",
                Some(PLANTED.into()),
                MemoryTokenStore::new(Grant::new(PLANTED)),
            ),
        );
        assert_silent(&told(&by_grant.limits().await.unwrap_err()));
    }
}

#[tokio::test]
async fn no_error_of_a_login_or_its_end_quotes_a_token() {
    let server = MockServer::start().await;
    let app = app(&server.uri());
    let login = app.authorize("http://127.0.0.1/back").begin().unwrap();
    let state = login.url().split("state=").nth(1).unwrap();
    let state = state.split('&').next().unwrap();
    let code = login.callback(&format!("?code={PLANTED}&state={state}"));
    let code = code.unwrap();
    for answer in [
        refusal("invalid_grant"),
        // Without a refresh token there is no grant.
        reply(
            200,
            json!({ "access_token": PLANTED, "instance_url": server.uri() }),
        ),
    ] {
        answers(&server, "POST", TOKEN, vec![answer]).await;
        let failure = app.exchange(&login, &code).await.unwrap_err();
        assert_silent(&told(&failure));
    }
    for at in ["/services/oauth2/introspect", "/services/oauth2/revoke"] {
        let list = vec![refusal("invalid_client"), refusal("invalid_client")];
        answers(&server, "POST", at, list).await;
    }
    let token = SecretString::from(PLANTED);
    assert_silent(&told(&app.introspect(&token).await.unwrap_err()));
    assert_silent(&told(&app.revoke(&token).await.unwrap_err()));
}

#[tokio::test]
async fn no_error_of_a_call_shows_the_token_the_query_or_the_body() {
    let expired = json!([{ "errorCode": "INVALID_SESSION_ID", "message": "Session expired" }]);
    let wrong = json!([{ "errorCode": "MALFORMED_QUERY", "message": "unexpected token" }]);
    for answer in [status(500), reply(400, wrong), reply(401, expired)] {
        let server = MockServer::start().await;
        Mock::given(wiremock::matchers::any())
            .respond_with(answer)
            .mount(&server)
            .await;
        let tokens = StaticToken::new(PLANTED, &server.uri()).unwrap();
        let client = SalesforceClient::builder(tokens).login_url(server.uri());
        let client = client.retry(RetryPolicy::none()).build().unwrap();
        let request = client.request(Method::PATCH, "/sobjects/Account/Key__c/1");
        let request = request.query("x", PLANTED).header("x-auth", PLANTED);
        let raw = request.json(&json!({ "Name": PLANTED })).send().await;
        let found = client
            .query::<Record>(soql("SELECT Id FROM Account WHERE Name = :n").bind("n", PLANTED))
            .all(1)
            .await;
        let accounts = client.sobject("Account");
        let upserted = accounts.upsert("Key__c", PLANTED, &json!({ "Name": PLANTED }));
        let uploaded = client.files().upload("a.txt").send(content(), 14).await;
        for failure in [
            raw.unwrap_err(),
            found.unwrap_err(),
            client.search(PLANTED).records().await.unwrap_err(),
            upserted.send().await.unwrap_err(),
            uploaded.unwrap_err(),
        ] {
            assert_silent(&told(&failure));
        }
    }
}

#[tokio::test]
async fn an_unreachable_host_does_not_bring_the_query_into_the_error() {
    let tokens = StaticToken::new(PLANTED, "http://127.0.0.1:1").unwrap();
    let client = SalesforceClient::builder(tokens).retry(RetryPolicy::none());
    let client = client.build().unwrap();
    let request = client.request(Method::GET, "/query").query("q", PLANTED);
    let failure = request.send().await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Transport);
    assert_silent(&told(&failure));
}

#[tokio::test]
async fn an_answer_of_unknown_kind_does_not_show_what_is_in_it() {
    let server = MockServer::start().await;
    let answer = reply(200, json!({ "access_token": PLANTED })).insert_header("x-token", PLANTED);
    answers(&server, "GET", &format!("{DATA}/userinfo"), vec![answer]).await;
    let client = client(&server, StaticToken::new("t", &server.uri()).unwrap());
    let reply = client.request(Method::GET, "/userinfo").send().await;
    assert_silent(&debugged(&reply.unwrap()));
}

/// Takes down all that is logged, at all levels.
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

/// A life with everything in it that is told: a refresh that fails first, a session that ends, an
/// org that is busy, refusals, and a file up and down.
async fn live() {
    let server = MockServer::start().await;
    let token = json!({
        "access_token": PLANTED, "refresh_token": PLANTED, "instance_url": server.uri(),
    });
    let list = vec![status(503), reply(200, token.clone()), reply(200, token)];
    answers(&server, "POST", TOKEN, list).await;
    let expired = json!([{ "errorCode": "INVALID_SESSION_ID", "message": PLANTED }]);
    let busy = json!([{ "errorCode": "SERVER_UNAVAILABLE", "message": PLANTED }]);
    let rows = json!({ "totalSize": 0, "done": true, "records": [] });
    let list = vec![reply(401, expired), reply(503, busy), reply(200, rows)];
    answers(&server, "GET", &format!("{DATA}/query"), list).await;
    let locked = json!([{ "errorCode": "UNABLE_TO_LOCK_ROW", "message": PLANTED }]);
    let saved = json!({ "id": CONTENT_VERSION, "success": true, "errors": [] });
    let list = vec![reply(400, locked), reply(201, saved)];
    answers(
        &server,
        "POST",
        &format!("{DATA}/sobjects/ContentVersion"),
        list,
    )
    .await;
    let bytes = format!("{DATA}/sobjects/ContentVersion/{CONTENT_VERSION}/VersionData");
    answers(
        &server,
        "GET",
        &bytes,
        vec![status(200).set_body_string(PLANTED)],
    )
    .await;
    let wrong = json!([{ "errorCode": "INVALID_FIELD", "message": PLANTED }]);
    answers(
        &server,
        "POST",
        &format!("{DATA}/sobjects/Account"),
        vec![reply(400, wrong)],
    )
    .await;

    let store = MemoryTokenStore::new(Grant::new(PLANTED));
    let tokens = RefreshToken::new("app", Some(PLANTED.into()), store);
    let client = client(&server, tokens);
    let named = soql("SELECT Id FROM Account WHERE Name = :n").bind("n", PLANTED);
    client.query::<Record>(named).all(10).await.unwrap();
    let upload = client.files().upload("a.txt").description(PLANTED);
    let open = || async { Ok::<_, std::io::Error>(content()) };
    upload.send_with(open, 14).await.unwrap();
    let file = client.files().download(&id(CONTENT_VERSION)).await.unwrap();
    file.into_stream().try_collect::<Vec<_>>().await.unwrap();
    let account = json!({ "Name": PLANTED });
    client
        .sobject("Account")
        .create(&account)
        .await
        .unwrap_err();
}

#[tokio::test]
async fn nothing_that_is_logged_is_a_secret() {
    let log = Log::default();
    // With one subscriber alone, tracing asks only the thread that logs first, which can be one of
    // another test, and remembers that nobody is interested.
    let _second = tracing::Dispatch::new(Log::default());
    let guard = tracing::subscriber::set_default(log.clone());
    live().await;
    drop(guard);
    let log = log.0.lock().unwrap().clone();
    for recorded in [
        "operation=\"query\"",
        "operation=\"files.upload\"",
        "operation=\"files.download\"",
        "trying again",
        "kind=",
        "status=201",
    ] {
        assert!(log.contains(recorded), "{recorded}: {log}");
    }
    assert_silent(&log);
}

#[cfg(feature = "metrics")]
#[test]
fn no_name_or_label_of_a_number_is_a_secret() {
    let told = crate::numbers::names_of(live());
    for operation in ["query", "files.upload", "sobjects.create"] {
        assert!(told.iter().any(|it| it.contains(operation)), "{told:?}");
    }
    assert_silent(&told.join("\n"));
}
