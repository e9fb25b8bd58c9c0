//! The client against a server that tells what it was sent.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod binding;
mod broken_bodies;
mod bulk;
mod bulk_resume;
mod calls;
mod changes;
mod composite;
mod governor;
mod governor_processes;
mod locks;
mod many;
mod memory;
mod numbers;
mod oauth;
mod org;
mod processes;
#[cfg(feature = "pubsub")]
mod pubsub;
mod reach;
mod reading;
mod recordings;
mod secrets;
mod setup;
mod support;
mod tokens;
mod uploads;

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use jiff::Timestamp;
use salesforce_client::{
    ClientCredentials, ErrorKind, Linked, RecordId, RetryPolicy, SalesforceClient, ShareType,
    StaticToken, Strategy, soql,
};
use serde::Deserialize;
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_string_contains, header, headers, method, path, query_param},
};

const DATA: &str = "/services/data/v58.0";

fn builder(server: &MockServer) -> salesforce_client::SalesforceClientBuilder {
    let retry = RetryPolicy::default().delays(Duration::from_millis(1), Duration::from_millis(2));
    let token = StaticToken::new("token-1".to_owned(), &server.uri()).unwrap();
    SalesforceClient::builder(token)
        .login_url(server.uri())
        .retry(retry)
}

fn client(server: &MockServer) -> SalesforceClient {
    builder(server).build().unwrap()
}

fn id(text: &str) -> RecordId {
    RecordId::new(text).unwrap()
}

fn error(code: &str, message: &str) -> Value {
    json!([{ "errorCode": code, "message": message, "fields": [] }])
}

#[tokio::test]
async fn an_ended_session_is_renewed_once_and_never_in_a_loop() {
    let server = MockServer::start().await;
    Mock::given(path("/services/oauth2/token"))
        .and(body_string_contains("grant_type=client_credentials"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "access_token": "00D!x", "instance_url": server.uri(),
        })))
        .expect(2)
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(header("authorization", "Bearer 00D!x"))
        .respond_with(
            ResponseTemplate::new(401)
                .set_body_json(error("INVALID_SESSION_ID", "Session expired or invalid")),
        )
        .expect(2)
        .mount(&server)
        .await;
    let tokens = ClientCredentials::new("id", "secret".to_owned());
    let client = SalesforceClient::builder(tokens)
        .login_url(server.uri())
        .build()
        .unwrap();
    let stage = client.opportunities().stage(&id("0065500000KQ12X")).await;
    assert_eq!(stage.unwrap_err().kind(), ErrorKind::Auth);
}

#[tokio::test]
async fn limits_locks_and_duplicates_are_told_apart() {
    for (status, code, message, kind, retryable) in [
        (
            403,
            "REQUEST_LIMIT_EXCEEDED",
            "TotalRequests Limit exceeded.",
            ErrorKind::DailyLimit,
            false,
        ),
        (
            403,
            "REQUEST_LIMIT_EXCEEDED",
            "ConcurrentRequests (Concurrent API Requests) Limit exceeded.",
            ErrorKind::ConcurrentLimit,
            true,
        ),
        (
            400,
            "UNABLE_TO_LOCK_ROW",
            "unable to obtain exclusive access",
            ErrorKind::RowLocked,
            true,
        ),
        (400, "DUPLICATE_VALUE", "d", ErrorKind::Duplicate, false),
        (404, "ENTITY_IS_DELETED", "d", ErrorKind::Deleted, false),
        (400, "SOMETHING_NEW", "d", ErrorKind::Invalid, false),
        (503, "SERVER_UNAVAILABLE", "d", ErrorKind::Server, true),
    ] {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(status).set_body_json(error(code, message)))
            .mount(&server)
            .await;
        let client = builder(&server).retry(RetryPolicy::none()).build().unwrap();
        let error = client.sobject("Task").create(&json!({})).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (kind, retryable),
            "{code} {message}"
        );
        assert_eq!(error.may_have_happened(), status >= 500, "{code}");
    }
}

#[tokio::test]
async fn a_create_of_unknown_outcome_is_not_repeated_and_a_refused_one_is() {
    let server = MockServer::start().await;
    Mock::given(path(format!("{DATA}/sobjects/Task")))
        .respond_with(ResponseTemplate::new(503))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path(format!("{DATA}/sobjects/Account")))
        .respond_with(ResponseTemplate::new(400).set_body_json(error("UNABLE_TO_LOCK_ROW", "x")))
        .expect(5)
        .mount(&server)
        .await;
    let client = client(&server);
    client.sobject("Task").create(&json!({})).await.unwrap_err();
    client
        .sobject("Account")
        .create(&json!({}))
        .await
        .unwrap_err();
}

#[tokio::test]
async fn rows_come_page_by_page_and_usage_is_read() {
    #[derive(Deserialize)]
    struct Row {
        #[serde(rename = "Id")]
        id: String,
    }
    let server = MockServer::start().await;
    Mock::given(path(format!("{DATA}/query")))
        .and(query_param(
            "q",
            r"SELECT Id FROM Contact WHERE LastName = 'O\'Brien'",
        ))
        .respond_with(
            ResponseTemplate::new(200)
                .insert_header("sforce-limit-info", "api-usage=18/5000")
                .set_body_json(json!({
                    "totalSize": 2, "done": false, "nextRecordsUrl": format!("{DATA}/query/01g-1"),
                    "records": [{ "Id": "a" }],
                })),
        )
        .mount(&server)
        .await;
    let client = client(&server);
    let query = || soql("SELECT Id FROM Contact WHERE LastName = :n").bind("n", "O'Brien");
    // The second page is not there yet: whoever wants one row does not ask for it.
    assert_eq!(
        client
            .query::<Row>(query())
            .first()
            .await
            .unwrap()
            .unwrap()
            .id,
        "a"
    );
    assert_eq!(client.api_usage().unwrap().left(), 4982);
    Mock::given(path(format!("{DATA}/query/01g-1")))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "totalSize": 2, "done": true, "records": [{ "Id": "b" }],
        })))
        .mount(&server)
        .await;
    let rows: Vec<Row> = client.query(query()).stream().try_collect().await.unwrap();
    assert_eq!(
        rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(
        client
            .query::<Row>(query())
            .all(1)
            .await
            .err()
            .unwrap()
            .kind(),
        ErrorKind::TooLarge
    );
}

type Piece = Result<Bytes, std::io::Error>;

fn content(pieces: &[&'static str]) -> impl futures_util::Stream<Item = Piece> + use<> {
    stream::iter(
        pieces
            .iter()
            .map(|piece| Ok(Bytes::from_static(piece.as_bytes())))
            .collect::<Vec<_>>(),
    )
}

async fn accepts_uploads(server: &MockServer) {
    Mock::given(method("POST"))
        .and(path(format!("{DATA}/sobjects/ContentVersion")))
        .respond_with(ResponseTemplate::new(201).set_body_json(json!({
            "id": "0685500000KQ12XAAT", "success": true, "errors": [],
        })))
        .mount(server)
        .await;
}

#[tokio::test]
async fn both_ways_of_upload_send_the_same_file() {
    let server = MockServer::start().await;
    accepts_uploads(&server).await;
    let client = client(&server);
    for strategy in [Strategy::Base64, Strategy::Multipart] {
        let request = client.files().upload("Größe \"1\".pdf").strategy(strategy);
        let request = request.first_publish_location(&id("0065500000KQ12X"));
        request
            .send(content(&["%PDF", "-1", ".7 é"]), 11)
            .await
            .unwrap();
    }
    let sent = server.received_requests().await.unwrap();
    for request in &sent {
        let length: usize = request.headers["content-length"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(length, request.body.len());
        assert!(!request.headers.contains_key("transfer-encoding"));
    }
    let json: Value = serde_json::from_slice(&sent[0].body).unwrap();
    assert!(!sent[0].body.contains(&b'\n'));
    assert_eq!(json["Title"], "Größe \"1\"");
    assert_eq!(json["FirstPublishLocationId"], "0065500000KQ12XAAT");
    let bytes = STANDARD
        .decode(json["VersionData"].as_str().unwrap())
        .unwrap();
    assert_eq!(bytes, "%PDF-1.7 é".as_bytes());
    let body = String::from_utf8(sent[1].body.clone()).unwrap();
    let parts: Vec<_> = body.split("\r\n\r\n").collect();
    assert!(parts[0].ends_with("name=\"entity_content\"\r\nContent-Type: application/json"));
    assert!(parts[1].contains(r#""PathOnClient":"Größe \"1\".pdf""#));
    assert!(parts[1].contains("name=\"VersionData\"; filename=\"file.pdf\""));
    assert!(parts[2].starts_with("%PDF-1.7 é\r\n--"));
}

#[tokio::test]
async fn a_content_that_fails_is_never_completed_and_says_why() {
    let server = MockServer::start().await;
    accepts_uploads(&server).await;
    let client = client(&server);
    let failing = stream::iter(vec![
        Ok(Bytes::from_static(b"half")),
        Err(std::io::Error::other("the source broke")),
    ]);
    let error = client
        .files()
        .upload("a.pdf")
        .send(failing, 8)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Content);
    assert!(
        std::error::Error::source(&error)
            .unwrap()
            .to_string()
            .contains("the source broke")
    );
    assert!(!error.may_have_happened());
    for size in [3, 5] {
        let error = client
            .files()
            .upload("a.pdf")
            .send(content(&["four"]), size)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Content, "announced {size}");
    }
    assert!(
        server.received_requests().await.unwrap().is_empty(),
        "a whole request arrived"
    );
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_sent() {
    let server = MockServer::start().await;
    let client = client(&server);
    let files = client.files();
    let base64 = files
        .upload("a")
        .strategy(Strategy::Base64)
        .send(content(&[]), 40_000_000)
        .await;
    assert_eq!(base64.unwrap_err().kind(), ErrorKind::TooLarge);
    let multipart = files.upload("a").send(content(&[]), 3 << 30).await;
    assert_eq!(multipart.unwrap_err().kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn a_link_that_is_there_is_fine() {
    let server = MockServer::start().await;
    Mock::given(path(format!("{DATA}/sobjects/ContentDocumentLink")))
        .respond_with(
            ResponseTemplate::new(400).set_body_json(error("DUPLICATE_VALUE", "already linked")),
        )
        .mount(&server)
        .await;
    let client = client(&server);
    let (document, record) = (id("0695500000KQ12X"), id("0015500001QdQWa"));
    let linked = client
        .files()
        .link(&document, &record, ShareType::Viewer)
        .await;
    assert_eq!(linked.unwrap(), Linked::Already);
}

#[tokio::test]
async fn a_stage_is_set_only_if_nobody_changed_the_record() {
    let server = MockServer::start().await;
    Mock::given(method("PATCH"))
        .and(headers(
            "if-unmodified-since",
            vec!["Fri", "31 May 2024 09:30:00 GMT"],
        ))
        .respond_with(ResponseTemplate::new(412))
        .expect(1)
        .mount(&server)
        .await;
    let since: Timestamp = "2024-05-31T09:30:00Z".parse().unwrap();
    let client = client(&server);
    let record = id("0065500000KQ12X");
    let set = client
        .opportunities()
        .set_stage(&record, "Closed Won", Some(since))
        .await;
    assert_eq!(set.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn upsert_reads_all_its_answers() {
    let saved =
        |created: bool| json!({ "id": "0015500001QdQWa", "success": true, "created": created });
    for (answer, created, has_id) in [
        (
            ResponseTemplate::new(201).set_body_json(saved(true)),
            true,
            true,
        ),
        (
            ResponseTemplate::new(200).set_body_json(saved(false)),
            false,
            true,
        ),
        (ResponseTemplate::new(204), false, false),
    ] {
        let server = MockServer::start().await;
        Mock::given(path(format!("{DATA}/sobjects/Account/Ext__c/a%2Fb%20c")))
            .respond_with(answer)
            .mount(&server)
            .await;
        let client = client(&server);
        let upserted = client
            .sobject("Account")
            .upsert("Ext__c", "a/b c", &json!({}))
            .await
            .unwrap();
        assert_eq!((upserted.created, upserted.id.is_some()), (created, has_id));
    }
}

#[tokio::test]
async fn no_secret_shows_in_any_text() {
    let tokens = ClientCredentials::new("id", "PLANTED".to_owned());
    let mut texts = format!("{tokens:?}");
    let builder = SalesforceClient::builder(tokens)
        .login_url("http://127.0.0.1:1")
        .retry(RetryPolicy::none());
    texts += &format!("{builder:?}");
    let client = builder.build().unwrap();
    let error = client.opportunities().stages().await.unwrap_err();
    texts += &format!("{client:?}{error:?}{error}");
    assert!(!texts.contains("PLANTED"), "{texts}");
}

#[tokio::test]
async fn the_jwt_says_who_and_is_signed_by_the_key() {
    use aws_lc_rs::{
        encoding::{AsDer, Pkcs8V1Der},
        rsa::{KeyPair, KeySize},
        signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
    };
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use salesforce_client::JwtBearer;

    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der.as_ref())
    );
    let jwt = JwtBearer::new("app", "user@example.com", &pem.clone().into()).unwrap();
    assert!(!format!("{jwt:?}").contains(&pem[40..80]));
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, jwt.public_key().to_vec());

    let server = MockServer::start().await;
    Mock::given(path("/services/oauth2/token"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "access_token": "t", "instance_url": server.uri(),
        })))
        .mount(&server)
        .await;
    let client = SalesforceClient::builder(jwt)
        .login_url(server.uri())
        .build()
        .unwrap();
    client.opportunities().stages().await.unwrap_err();

    let sent = server.received_requests().await.unwrap();
    let form = String::from_utf8(sent[0].body.clone()).unwrap();
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    let assertion = form.strip_prefix(grant).unwrap();
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    public.verify(signed.as_bytes(), &signature).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let read = |part: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(read(header)["alg"], "RS256");
    let claims = read(claims);
    assert_eq!(
        (&claims["iss"], &claims["sub"]),
        (&json!("app"), &json!("user@example.com"))
    );
    assert_eq!(claims["aud"], json!(server.uri()));
    let left = claims["exp"].as_i64().unwrap() - Timestamp::now().as_second();
    assert!(
        (100..=180).contains(&left),
        "Salesforce takes three minutes at most: {left}"
    );
}

#[test]
fn a_key_that_cannot_sign_says_what_to_do() {
    use salesforce_client::JwtBearer;
    for (pem, says) in [
        (
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----",
            "openssl pkcs8",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----",
            "not an RSA key",
        ),
        ("no key", "no PEM"),
    ] {
        let error = JwtBearer::new("app", "user", &pem.to_owned().into()).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}
