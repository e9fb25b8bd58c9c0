use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use salesforce_client::{ClientCredentials, Error, ErrorKind, SalesforceClient, Strategy};
use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

use crate::support::{Act, BrokenServer, builder, client, errors, quick};

const SAVED: &str = r#"{"id":"0685500000KQ12XAAT","success":true,"errors":[]}"#;

fn bytes(chunks: &[&'static str]) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from(*chunk))).collect();
    stream::iter(chunks)
}

fn megabytes(count: usize) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::iter((0..count).map(|_| Ok(Bytes::from(vec![b'x'; 1 << 20]))))
}

fn saved() -> Act {
    Act::Answer(201, SAVED.to_owned())
}

/// A client whose tokens come from one server and name the other as the org's.
async fn with_tokens(org: &str) -> (SalesforceClient, MockServer) {
    let login = MockServer::start().await;
    Mock::given(path("/services/oauth2/token"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "access_token": "t", "instance_url": org,
        })))
        .mount(&login)
        .await;
    let client = SalesforceClient::builder(ClientCredentials::new("app", "secret"))
        .login_url(login.uri())
        .retry(quick())
        .build()
        .unwrap();
    (client, login)
}

async fn upload(client: &SalesforceClient, strategy: Strategy, size: u64) -> Result<(), Error> {
    let request = client.files().upload("nda.pdf").strategy(strategy);
    request.send(bytes(&["abc", "de"]), size).await.map(drop)
}

#[tokio::test]
async fn a_content_of_another_length_leaves_an_incomplete_request() {
    for strategy in [Strategy::Base64, Strategy::Multipart] {
        for announced in [4, 6] {
            let mut server = BrokenServer::start(vec![saved()]).await;
            let client = client(&server.url);
            let error = upload(&client, strategy, announced).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Content, "{error:?}");
            assert!(!error.may_have_happened());
            assert!(!server.got_whole().await, "{strategy:?} {announced}");
        }
    }
}

#[tokio::test]
async fn the_contents_own_error_is_the_cause_of_a_broken_upload() {
    #[derive(Debug, thiserror::Error)]
    #[error("the far side went away")]
    struct FarSide;

    let mut server = BrokenServer::start(vec![saved()]).await;
    let large = Bytes::from(vec![b'x'; 4 << 20]);
    let content = stream::iter([Ok(large), Err(FarSide)]);
    let upload = client(&server.url).files().upload("nda.pdf");
    let error = upload.send(content, (4 << 20) + 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Content);
    let cause = std::error::Error::source(&error).unwrap();
    assert!(cause.downcast_ref::<FarSide>().is_some(), "{cause:?}");
    let arrived = server.arrived().await;
    assert!(arrived.body.len() > 1000 && !arrived.is_whole);
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_body_is_whole_has_no_effect() {
    let server = BrokenServer::start(vec![Act::Close(10)]).await;
    let upload = client(&server.url).files().upload("big.bin");
    let error = upload.send(megabytes(64), 64 << 20).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport, "{error:?}");
    assert!(error.is_retryable());
    assert!(!error.may_have_happened());
}

#[tokio::test]
async fn a_lost_answer_to_a_whole_body_is_doubtful_and_not_repeated() {
    let mut server = BrokenServer::start(vec![Act::LoseAnswer, saved()]).await;
    let upload = client(&server.url).files().upload("nda.pdf");
    let open = || async { Ok::<_, io::Error>(bytes(&["abc"])) };
    let error = upload.send_with(open, 3).await.unwrap_err();
    assert!(error.may_have_happened(), "{error:?}");
    assert_eq!(error.attempts(), 1);
    assert!(server.arrived().await.is_whole);
}

#[tokio::test]
async fn a_content_that_can_be_had_again_is_sent_again_where_nothing_happened() {
    let locked = errors("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access").to_string();
    let acts = vec![Act::Answer(400, locked), Act::Close(10), saved()];
    let mut server = BrokenServer::start(acts).await;
    let opened = AtomicU32::new(0);
    let open = || async {
        opened.fetch_add(1, Ordering::Relaxed);
        Ok::<_, io::Error>(megabytes(32))
    };
    let upload = client(&server.url)
        .files()
        .upload("big.bin")
        .send_with(open, 32 << 20)
        .await;
    assert_eq!(upload.unwrap().as_str(), "0685500000KQ12XAAT");
    assert_eq!(opened.load(Ordering::Relaxed), 3);
    assert!(server.got_whole().await);
    assert!(!server.got_whole().await);
    assert!(server.got_whole().await);
}

#[tokio::test]
async fn a_content_that_cannot_be_had_again_is_sent_once_and_the_next_call_has_a_new_token() {
    let ended = errors("INVALID_SESSION_ID", "Session expired or invalid").to_string();
    let server = BrokenServer::start(vec![Act::Answer(401, ended), saved()]).await;
    let (client, login) = with_tokens(&server.url).await;
    let error = upload(&client, Strategy::Auto, 5).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(
        error.is_retryable() && !error.may_have_happened(),
        "{error:?}"
    );
    upload(&client, Strategy::Auto, 5).await.unwrap();
    assert_eq!(login.received_requests().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_content_that_can_be_had_again_survives_the_end_of_a_session_once() {
    let ended = errors("INVALID_SESSION_ID", "Session expired or invalid").to_string();
    let acts = vec![Act::Answer(401, ended.clone()), Act::Answer(401, ended)];
    let server = BrokenServer::start(acts).await;
    let (client, login) = with_tokens(&server.url).await;
    let open = || async { Ok::<_, io::Error>(bytes(&["abc"])) };
    let upload = client.files().upload("nda.pdf").send_with(open, 3).await;
    assert_eq!(upload.unwrap_err().kind(), ErrorKind::Auth);
    assert_eq!(login.received_requests().await.unwrap().len(), 2);
}

#[tokio::test]
async fn without_a_token_the_content_stays_untouched() {
    let login = MockServer::start().await;
    let client = SalesforceClient::builder(ClientCredentials::new("app", "secret"))
        .login_url(login.uri())
        .build()
        .unwrap();
    let touched = Arc::new(AtomicU32::new(0));
    let content = stream::once({
        let touched = Arc::clone(&touched);
        async move {
            touched.fetch_add(1, Ordering::Relaxed);
            Ok::<_, io::Error>(Bytes::from_static(b"abc"))
        }
    });
    let upload = client.files().upload("nda.pdf");
    upload.send(Box::pin(content), 3).await.unwrap_err();
    assert_eq!(touched.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_body_that_stands_still_times_out_without_effect() {
    let server = BrokenServer::start(vec![Act::Stall(10)]).await;
    let client = builder(&server.url)
        .idle_timeout(Duration::from_millis(100))
        .build()
        .unwrap();
    let upload = client.files().upload("big.bin");
    let error = upload.send(megabytes(64), 64 << 20).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(!error.may_have_happened(), "{error:?}");
}

#[tokio::test]
async fn the_answer_to_a_whole_body_has_a_time_of_its_own() {
    // As long as even a busy machine needs for five bytes, and longer.
    let idle = Duration::from_secs(5);
    let late = Act::AnswerLate(idle + Duration::from_secs(1), 201, SAVED.to_owned());
    let server = BrokenServer::start(vec![late]).await;
    let patient = builder(&server.url).idle_timeout(idle).build().unwrap();
    upload(&patient, Strategy::Auto, 5).await.unwrap();

    let server = BrokenServer::start(vec![Act::Stall(0)]).await;
    let hasty = builder(&server.url)
        .upload_answer_timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let error = upload(&hasty, Strategy::Auto, 5).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.may_have_happened(), "{error:?}");
}

#[tokio::test]
async fn what_salesforce_would_refuse_is_not_sent() {
    let server = BrokenServer::start(Vec::new()).await;
    let client = client(&server.url);
    let record = crate::support::id("0065500000KQ12X");
    let document = crate::support::id("0695500000KQ12X");
    let file = || client.files().upload("nda.pdf");
    for request in [
        file()
            .first_publish_location(&record)
            .new_version_of(&document),
        file().field("VersionData", "x"),
        file().field("Bad Name", "x"),
        client.files().upload(""),
    ] {
        let error = request.send(bytes(&["abc"]), 3).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    let two_gib = 1 << 31;
    for (strategy, size) in [
        (Strategy::Base64, 39_321_600),
        (Strategy::Multipart, two_gib),
        (Strategy::Auto, two_gib),
    ] {
        let request = file().strategy(strategy);
        let error = request.send(bytes(&["abc"]), size).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
}

#[tokio::test]
async fn auto_takes_base64_up_to_its_size_and_multipart_beyond() {
    let mut server = BrokenServer::start(vec![saved(), saved()]).await;
    let client = client(&server.url);
    for up_to in [5, 4] {
        let request = client.files().upload("Vertrag ä.pdf").base64_up_to(up_to);
        request.send(bytes(&["abc", "de"]), 5).await.unwrap();
    }
    let json = server.arrived().await;
    assert!(json.is_whole && !json.body.contains(&b'\n'));
    let body: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(
        body,
        json!({ "Title": "Vertrag ä", "PathOnClient": "Vertrag ä.pdf", "VersionData": "YWJjZGU=" })
    );

    let multipart = server.arrived().await;
    assert!(multipart.is_whole);
    let head = multipart.head.to_ascii_lowercase();
    assert!(!head.contains("transfer-encoding"), "{head}");
    let start = head.find("boundary=\"").unwrap() + 10;
    let boundary = multipart.head[start..].split('"').next().unwrap();
    assert!(boundary.len() <= 70);
    let body = String::from_utf8(multipart.body).unwrap();
    assert_eq!(
        body,
        format!(
            "--{boundary}\r\n\
             Content-Disposition: form-data; name=\"entity_content\"\r\n\
             Content-Type: application/json\r\n\r\n\
             {{\"PathOnClient\":\"Vertrag ä.pdf\",\"Title\":\"Vertrag ä\"}}\r\n\
             --{boundary}\r\n\
             Content-Disposition: form-data; name=\"VersionData\"; filename=\"file.pdf\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n\
             abcde\r\n\
             --{boundary}--\r\n"
        )
    );
}
