//! The client against a server that tells what it was sent.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_bytes;
mod download;
mod errors;
mod grant;
mod items;
mod metadata;
mod raw;
mod refused_token;
mod resume;
mod retry;
mod secrets;
mod spec;
mod stores;
mod vendor;
mod webhooks;
mod wire;

use std::time::Duration;

use box_client::{
    BoxClient, Change, ClientCredentials, DeveloperToken, ErrorKind, FileId, FolderId, Grant,
    MemoryTokenStore, RefreshToken, RetryPolicy, Subject, WebhookTarget,
};
use http::Method;
use serde_json::json;
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{body_string_contains, header, method, path, query_param},
};

fn quick() -> RetryPolicy {
    RetryPolicy::default().delays(Duration::from_millis(1), Duration::from_millis(2))
}

fn client(server: &MockServer) -> BoxClient {
    BoxClient::builder(DeveloperToken::new("token-1".to_owned()))
        .base_url(&server.uri())
        .retry(quick())
        .build()
        .unwrap()
}

fn file() -> FileId {
    FileId::new("777").unwrap()
}

async fn download_host(server: &MockServer, other: &MockServer) {
    Mock::given(path("/2.0/files/777/content"))
        .and(header("authorization", "Bearer token-1"))
        .respond_with(
            ResponseTemplate::new(302)
                .insert_header("location", format!("{}/signed?secret=s3cr3t", other.uri())),
        )
        .mount(server)
        .await;
}

#[tokio::test]
async fn a_download_goes_to_the_other_host_without_the_token_and_is_checked() {
    let (server, other) = (MockServer::start().await, MockServer::start().await);
    download_host(&server, &other).await;
    Mock::given(path("/signed"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes("hello"))
        .mount(&other)
        .await;
    let request = client(&server).files().download(&file());
    let right = request
        .expect_sha1("AAF4C61DDCC5E8A2DABEDE0F3B482CD9AEA9434D")
        .send()
        .await;
    assert_eq!(right.unwrap().bytes(100).await.unwrap(), "hello");
    let request = client(&server).files().download(&file());
    let wrong = request
        .expect_sha1("0".repeat(40))
        .send()
        .await
        .unwrap()
        .bytes(100)
        .await;
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::Integrity);
    for request in other.received_requests().await.unwrap() {
        assert!(
            !request.headers.contains_key("authorization"),
            "the token left Box"
        );
    }
}

#[tokio::test]
async fn a_file_that_is_not_ready_is_waited_for() {
    let server = MockServer::start().await;
    Mock::given(path("/2.0/files/777/content"))
        .respond_with(ResponseTemplate::new(202).insert_header("retry-after", "0"))
        .up_to_n_times(2)
        .mount(&server)
        .await;
    Mock::given(path("/2.0/files/777/content"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes("late"))
        .mount(&server)
        .await;
    let download = client(&server)
        .files()
        .download(&file())
        .send()
        .await
        .unwrap();
    assert_eq!(download.bytes(10).await.unwrap(), "late");
}

/// Serves `whole`, but breaks off each answer after `piece` bytes.
async fn breaking_host(whole: &'static [u8], piece: usize, ranges: bool) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..read]).to_lowercase();
            let from = head
                .split_once("range: bytes=")
                .and_then(|(_, rest)| rest.split('-').next()?.parse::<usize>().ok());
            let (line, from) = match from.filter(|_| ranges) {
                Some(from) => {
                    let last = whole.len() - 1;
                    let range = format!("content-range: bytes {from}-{last}/{}\r\n", whole.len());
                    (format!("206 Partial Content\r\n{range}"), from)
                }
                None => ("200 OK\r\n".to_owned(), 0),
            };
            let rest = &whole[from..];
            let head = format!("HTTP/1.1 {line}content-length: {}\r\n\r\n", rest.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            // Without ranges a longer piece comes each time, or it would never end.
            let piece = if ranges { piece } else { piece + head.len() };
            stream
                .write_all(&rest[..piece.min(rest.len())])
                .await
                .unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    url
}

#[tokio::test]
async fn a_body_that_breaks_off_is_taken_up_where_it_broke() {
    const WHOLE: &[u8] = b"0123456789abcdefghij";
    for piece in [1, 7, 19, 20] {
        let server = MockServer::start().await;
        let url = breaking_host(WHOLE, piece, true).await;
        Mock::given(path("/2.0/files/777/content"))
            .respond_with(ResponseTemplate::new(302).insert_header("location", url.as_str()))
            .mount(&server)
            .await;
        let download = client(&server)
            .files()
            .download(&file())
            .send()
            .await
            .unwrap();
        assert_eq!(download.size(), Some(20));
        assert_eq!(
            download.bytes(100).await.unwrap(),
            WHOLE,
            "pieces of {piece}"
        );
    }
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_never_in_a_loop() {
    let server = MockServer::start().await;
    Mock::given(path("/oauth2/token"))
        .and(body_string_contains("grant_type=client_credentials"))
        .and(body_string_contains(
            "box_subject_type=enterprise&box_subject_id=12345",
        ))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "access_token": "t", "expires_in": 3600,
        })))
        .expect(2)
        .mount(&server)
        .await;
    Mock::given(path("/2.0/files/777"))
        .respond_with(ResponseTemplate::new(401).insert_header(
            "www-authenticate",
            r#"Bearer realm="Service", error="invalid_token""#,
        ))
        .expect(2)
        .mount(&server)
        .await;
    let subject = Subject::Enterprise("12345".to_owned());
    let tokens = ClientCredentials::new("id", "the-client-secret".to_owned(), subject);
    let client = BoxClient::builder(tokens)
        .base_url(&server.uri())
        .retry(quick())
        .build()
        .unwrap();
    let error = client.files().get(&file()).send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
}

#[tokio::test]
async fn fifty_callers_share_one_refresh_and_the_new_grant_is_stored() {
    let server = MockServer::start().await;
    Mock::given(path("/oauth2/token"))
        .and(body_string_contains("refresh_token=first"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_delay(Duration::from_millis(20))
                .set_body_json(json!({
                    "access_token": "t", "expires_in": 3600, "refresh_token": "second",
                })),
        )
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/2.0/files/777"))
        .and(header("authorization", "Bearer t"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "id": "777" })))
        .expect(50)
        .mount(&server)
        .await;
    let store = MemoryTokenStore::new(Grant::new("first".to_owned()));
    let tokens = RefreshToken::new("id", "secret".to_owned(), store);
    let client = BoxClient::builder(tokens)
        .base_url(&server.uri())
        .build()
        .unwrap();
    let calls = (0..50).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.files().get(&file()).send().await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_write_of_unknown_outcome_is_not_repeated_and_a_read_is() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(503))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(503))
        .expect(5)
        .mount(&server)
        .await;
    let client = client(&server);
    let write = client
        .request(Method::POST, "/comments")
        .json(&json!({}))
        .send()
        .await
        .unwrap_err();
    assert!(write.may_have_happened());
    let read = client.files().get(&file()).send().await.unwrap_err();
    assert_eq!((read.kind(), read.attempts()), (ErrorKind::Server, 5));
}

#[tokio::test]
async fn a_write_that_was_throttled_is_repeated() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(429).insert_header("retry-after", "0"))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(201))
        .mount(&server)
        .await;
    let sent = client(&server)
        .request(Method::POST, "/comments")
        .json(&json!({}))
        .send()
        .await;
    assert_eq!(sent.unwrap().status, 201);
}

#[tokio::test]
async fn a_wait_past_the_deadline_is_not_begun() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(429).insert_header("retry-after", "3600"))
        .expect(1)
        .mount(&server)
        .await;
    let error = client(&server)
        .files()
        .get(&file())
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
}

#[tokio::test]
async fn a_folder_without_the_template_has_no_mapping() {
    for code in ["instance_not_found", "instance_tuple_not_found"] {
        let server = MockServer::start().await;
        Mock::given(path(
            "/2.0/folders/100/metadata/enterprise/salesforce_mapping",
        ))
        .respond_with(ResponseTemplate::new(404).set_body_json(json!({ "code": code })))
        .expect(1)
        .mount(&server)
        .await;
        let folder = FolderId::new("100").unwrap();
        let client = client(&server);
        let metadata = client.metadata();
        let found = metadata
            .on_folder(&folder, "enterprise", "salesforce_mapping")
            .await
            .unwrap();
        assert!(found.is_none());
    }
}

#[tokio::test]
async fn ensure_takes_the_webhook_that_is_there_and_mends_it() {
    let server = MockServer::start().await;
    let target = WebhookTarget::Folder {
        id: FolderId::new("100").unwrap(),
    };
    let conflict = json!({ "code": "conflict", "context_info": { "errors": [{
        "reason": "invalid_parameter", "name": "existWebhookId",
        "message": "Webhook:42 already exists on the specified target.",
    }]}});
    Mock::given(method("POST"))
        .and(path("/2.0/webhooks"))
        .respond_with(ResponseTemplate::new(409).set_body_json(conflict))
        .mount(&server)
        .await;
    let webhook = |triggers: &[&str]| {
        json!({ "id": "42", "type": "webhook", "target": { "id": "100", "type": "folder" },
                "address": "https://x.example/box", "triggers": triggers })
    };
    Mock::given(method("GET"))
        .and(path("/2.0/webhooks/42"))
        .respond_with(ResponseTemplate::new(200).set_body_json(webhook(&["FILE.UPLOADED"])))
        .mount(&server)
        .await;
    Mock::given(method("PUT"))
        .and(path("/2.0/webhooks/42"))
        .respond_with(move |request: &Request| {
            let sent: serde_json::Value = request.body_json().unwrap();
            assert_eq!(sent["triggers"], json!(["FILE.MOVED"]));
            ResponseTemplate::new(200).set_body_json(webhook(&["FILE.MOVED"]))
        })
        .expect(1)
        .mount(&server)
        .await;
    let client = client(&server);
    let webhooks = client.webhooks();
    let same = webhooks
        .ensure(&target, "https://x.example/box", &["FILE.UPLOADED"])
        .await
        .unwrap();
    assert_eq!(same.change, Change::None);
    let changed = webhooks
        .ensure(&target, "https://x.example/box", &["FILE.MOVED"])
        .await
        .unwrap();
    assert_eq!(changed.change, Change::Updated);
}

#[tokio::test]
async fn versions_are_paged_by_the_servers_own_limit() {
    use futures_util::TryStreamExt;
    let server = MockServer::start().await;
    for (offset, id) in [("0", "3"), ("2", "1")] {
        Mock::given(path("/2.0/files/777/versions"))
            .and(query_param("offset", offset))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({
                "total_count": 3, "limit": 2, "entries": [{ "id": id, "type": "file_version" }],
            })))
            .expect(1)
            .mount(&server)
            .await;
    }
    let client = client(&server);
    let versions: Vec<_> = client
        .files()
        .versions(&file())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(
        versions.iter().map(|v| v.id.as_str()).collect::<Vec<_>>(),
        ["3", "1"]
    );
}

#[tokio::test]
async fn no_secret_shows_in_any_text() {
    let tokens = RefreshToken::new(
        "id",
        "PLANTED".to_owned(),
        MemoryTokenStore::new(Grant::new("PLANTED".to_owned())),
    );
    let mut texts = format!("{tokens:?}{:?}", DeveloperToken::new("PLANTED".to_owned()));
    let client = BoxClient::builder(tokens)
        .base_url("http://127.0.0.1:1")
        .retry(RetryPolicy::none());
    texts += &format!("{client:?}");
    let client = client.build().unwrap();
    let error = client.files().get(&file()).send().await.unwrap_err();
    texts += &format!("{client:?}{error:?}{error}");
    assert!(!texts.contains("PLANTED"), "{texts}");
}

/// A store that fails so many times before it takes anything.
#[derive(Debug)]
struct Flaky {
    inner: std::sync::Arc<MemoryTokenStore>,
    failures: std::sync::atomic::AtomicU32,
}

#[async_trait::async_trait]
impl box_client::TokenStore for Flaky {
    async fn load(&self) -> Result<Option<box_client::Stored>, box_client::TokenStoreError> {
        self.inner.load().await
    }

    async fn compare_and_swap(
        &self,
        expected: u64,
        grant: Grant,
    ) -> Result<box_client::Swap, box_client::TokenStoreError> {
        use std::sync::atomic::Ordering;
        let left = self.failures.load(Ordering::SeqCst);
        if left > 0 {
            self.failures.store(left - 1, Ordering::SeqCst);
            return Err("the disk is full".into());
        }
        self.inner.compare_and_swap(expected, grant).await
    }
}

#[tokio::test]
async fn a_grant_that_could_not_be_stored_is_not_used_and_not_lost() {
    use box_client::TokenStore;
    use secrecy::ExposeSecret;
    let server = MockServer::start().await;
    Mock::given(path("/oauth2/token"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "access_token": "t", "expires_in": 3600, "refresh_token": "second",
        })))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/2.0/files/777"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "id": "777" })))
        .expect(1)
        .mount(&server)
        .await;
    let inner = std::sync::Arc::new(MemoryTokenStore::new(Grant::new("first".to_owned())));
    let store = Flaky {
        inner: inner.clone(),
        failures: 1.into(),
    };
    let tokens = RefreshToken::new("id", "secret".to_owned(), store);
    let client = BoxClient::builder(tokens)
        .base_url(&server.uri())
        .retry(RetryPolicy::none())
        .build()
        .unwrap();
    let error = client.files().get(&file()).send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store, "used before it was stored");
    client.files().get(&file()).send().await.unwrap();
    let stored = inner.load().await.unwrap().unwrap();
    assert_eq!(stored.grant.refresh_token.expose_secret(), "second");
}

#[tokio::test]
async fn a_dead_grant_says_that_somebody_has_to_log_in() {
    let server = MockServer::start().await;
    Mock::given(path("/oauth2/token"))
        .respond_with(ResponseTemplate::new(400).set_body_json(json!({
            "error": "invalid_grant", "error_description": "Refresh token has expired",
        })))
        .expect(1)
        .mount(&server)
        .await;
    let tokens = RefreshToken::new(
        "id",
        "secret".to_owned(),
        MemoryTokenStore::new(Grant::new("first".to_owned())),
    );
    let client = BoxClient::builder(tokens)
        .base_url(&server.uri())
        .build()
        .unwrap();
    let error = client.files().get(&file()).send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.to_string().contains("log in again"), "{error}");
}
