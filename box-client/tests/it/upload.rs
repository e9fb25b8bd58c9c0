//! Uploads in one request.

use std::{
    error::Error as _,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use box_client::{
    AccessToken, BoxClient, Change, Content, ErrorKind, FileId, TokenEndpoint, TokenSource,
    testing::{FakeBox, Fault, FaultEffect},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    boxed::{Boxed, bytes, client, root, sha1_hex},
    vendor::{Vendor, reply},
    wire::assert_documented,
};

const UPLOAD: &str = "/api/2.0/files/content";

fn once(content: &[u8]) -> Content {
    let chunks: Vec<_> = content
        .chunks(7)
        .map(|chunk| Ok::<_, io::Error>(Bytes::copy_from_slice(chunk)))
        .collect();
    Content::once(stream::iter(chunks), content.len() as u64)
}

/// Counts how often it is opened.
fn reopen(content: &'static [u8], opened: &Arc<AtomicUsize>) -> Content {
    let opened = Arc::clone(opened);
    let open = move || {
        opened.fetch_add(1, Ordering::SeqCst);
        let chunks = content
            .chunks(7)
            .map(|chunk| Ok::<_, io::Error>(chunk.into()));
        std::future::ready(Ok::<_, io::Error>(stream::iter(chunks)))
    };
    Content::reopen(open, content.len() as u64)
}

fn expire_session() -> Fault {
    Fault::on(UPLOAD, FaultEffect::ExpireSession)
}

#[tokio::test]
async fn an_upload_is_sent_as_box_documents_it() {
    let boxed = Boxed::start().await;
    let content = b"\r\n--bytes--\r\n\0";
    let upload = boxed
        .client
        .files()
        .upload(&root(), "Größe.pdf", &content[..]);
    let upload = upload.content_created_at("2026-03-01T10:00:00Z".parse().unwrap());
    let uploaded = upload.send().await.unwrap();
    assert_eq!(uploaded.change, Change::Created);
    assert_eq!(uploaded.file.name.as_deref(), Some("Größe.pdf"));
    assert_eq!(boxed.bytes(&uploaded.file.id).await, &content[..]);

    let request = boxed.sent("POST", UPLOAD).remove(0);
    let kind = request.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let expected = format!(
        "--{boundary}\r\n\
         Content-Disposition: form-data; name=\"attributes\"\r\n\
         Content-Type: application/json\r\n\r\n\
         {{\"content_created_at\":\"2026-03-01T10:00:00Z\",\"name\":\"Größe.pdf\",\"parent\":{{\"id\":\"0\"}}}}\r\n\
         --{boundary}\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"file\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n\
         \r\n--bytes--\r\n\0\r\n--{boundary}--\r\n"
    );
    assert_eq!(request.text(), expected);
    let length = expected.len().to_string();
    assert_eq!(request.header("content-length"), Some(&*length));
    assert_eq!(request.header("transfer-encoding"), None);
    assert_eq!(request.header("content-md5"), Some(&*sha1_hex(content)));
    boxed.done();
}

#[tokio::test]
async fn a_stream_of_unknown_sha1_is_hashed_on_its_way() {
    let boxed = Boxed::start().await;
    let content = bytes(100_000);
    let upload = boxed.client.files().upload(&root(), "a", once(&content));
    let uploaded = upload.send().await.unwrap();
    assert_eq!(boxed.bytes(&uploaded.file.id).await, content);
    let request = boxed.sent("POST", UPLOAD).remove(0);
    assert_eq!(request.header("content-md5"), None);

    let wrong = once(b"abc").sha1(sha1_hex(b"abd"));
    let error = boxed
        .client
        .files()
        .upload(&root(), "b", wrong)
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.api().unwrap().code(), Some("bad_digest"));
    boxed.done();
}

#[tokio::test]
async fn what_box_says_it_has_stored_is_held_against_what_was_sent() {
    for (sha1, size) in [(sha1_hex(b"abd"), 3), (sha1_hex(b"abc"), 2)] {
        let vendor = Vendor::start().await;
        let file = json!({ "type": "file", "id": "1", "sha1": sha1, "size": size });
        let body = json!({ "total_count": 1, "entries": [file] });
        vendor.responds("POST", UPLOAD, 1, reply(201, body)).await;
        let client = vendor.client();
        let upload = client.files().upload(&root(), "a", once(b"abc"));
        let error = upload.send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
    }
}

#[tokio::test]
async fn a_file_may_be_empty() {
    let boxed = Boxed::start().await;
    for (name, content) in [("a", Content::from("")), ("b", once(b""))] {
        let uploaded = boxed
            .client
            .files()
            .upload(&root(), name, content)
            .send()
            .await
            .unwrap();
        assert_eq!(uploaded.file.size, Some(0));
        assert_eq!(uploaded.file.sha1.as_deref(), Some(&*sha1_hex(b"")));
    }
    boxed.done();
}

#[tokio::test]
async fn a_name_in_use_is_a_conflict_that_names_the_item() {
    let boxed = Boxed::start().await;
    let there = boxed.fake.upload("0", "NDA.pdf", "1").unwrap();
    let upload = boxed.client.files().upload(&root(), "nda.pdf", "2");
    let error = upload.send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let item = error.name_in_use().unwrap();
    assert_eq!(item.file_id().unwrap().as_str(), there.file_id);
    assert_eq!(item.folder_id(), None);
    assert_eq!(item.sha1, Some(there.sha1));
    assert_eq!(item.file_version.unwrap().id.as_str(), there.version_id);
    assert_eq!(item.etag.as_deref(), Some("0"));
    boxed.done();
}

#[tokio::test]
async fn what_is_there_is_kept_or_gets_a_new_version() {
    let boxed = Boxed::start().await;
    let files = boxed.client.files();
    let first = files
        .upload(&root(), "a", once(b"1"))
        .if_absent()
        .send()
        .await
        .unwrap();
    assert_eq!(first.change, Change::Created);
    let kept = files
        .upload(&root(), "A", once(b"2"))
        .if_absent()
        .send()
        .await
        .unwrap();
    assert_eq!(
        (kept.change, kept.file.id),
        (Change::None, first.file.id.clone())
    );
    assert_eq!(boxed.bytes(&first.file.id).await, "1");
    let next = files
        .upload(&root(), "a", once(b"2"))
        .or_new_version()
        .send()
        .await
        .unwrap();
    assert_eq!(
        (next.change, next.file.id),
        (Change::Updated, first.file.id.clone())
    );
    assert_eq!(boxed.bytes(&first.file.id).await, "2");
    let same = files
        .upload(&root(), "a", "2")
        .or_new_version()
        .send()
        .await
        .unwrap();
    assert_eq!(same.change, Change::None);
    assert_eq!(boxed.files()[0]["versions"].as_array().unwrap().len(), 2);

    boxed.fake.create_folder("0", "folder").unwrap();
    let taken = files
        .upload(&root(), "folder", "3")
        .or_new_version()
        .send()
        .await
        .unwrap_err();
    assert!(taken.name_in_use().unwrap().folder_id().is_some());
    boxed.done();
}

/// Other clients have sent a consumed body again here, and made files of no bytes.
#[tokio::test]
async fn a_token_that_ends_in_mid_upload_is_renewed_and_the_whole_content_sent_again() {
    let boxed = Boxed::start().await;
    let opened = Arc::default();
    boxed.fake.inject(expire_session());
    let content = reopen(b"all of it", &opened);
    let uploaded = boxed
        .client
        .files()
        .upload(&root(), "a", content)
        .send()
        .await
        .unwrap();
    assert_eq!(opened.load(Ordering::SeqCst), 2);
    assert_eq!(boxed.bytes(&uploaded.file.id).await, "all of it");
    let sent = boxed.sent("POST", UPLOAD);
    assert_eq!(sent[0].content_length, sent[1].content_length);
    assert_eq!(sent.len(), 2);
    boxed.done();
}

#[tokio::test]
async fn a_content_that_exists_once_is_never_sent_twice() {
    let boxed = Boxed::start().await;
    boxed.fake.inject(expire_session());
    let upload = boxed
        .client
        .files()
        .upload(&root(), "a", once(b"all of it"));
    let error = upload.send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.is_retryable() && !error.may_have_happened());
    assert_eq!(boxed.sent("POST", UPLOAD).len(), 1);
    assert!(boxed.files().is_empty());
    let upload = boxed
        .client
        .files()
        .upload(&root(), "a", once(b"all of it"));
    upload.send().await.unwrap();
    boxed.done();
}

#[tokio::test]
async fn a_lost_answer_is_looked_for_and_the_file_is_made_once() {
    for mode in 0..3 {
        let boxed = Boxed::start().await;
        boxed
            .fake
            .inject(Fault::on(UPLOAD, FaultEffect::LostAnswer));
        let upload = boxed.client.files().upload(&root(), "a", once(b"bytes"));
        let upload = match mode {
            0 => upload,
            1 => upload.if_absent(),
            _ => upload.or_new_version(),
        };
        let uploaded = upload.send().await.unwrap();
        assert_eq!(uploaded.change, Change::Created, "{mode}");
        assert_eq!(boxed.sent("POST", UPLOAD).len(), 1);
        assert_eq!(boxed.files().len(), 1);
        boxed.done();
    }
}

#[tokio::test]
async fn what_was_lost_before_it_happened_is_sent_again_only_where_that_is_safe() {
    let boxed = Boxed::start().await;
    let failing = Fault::on(
        UPLOAD,
        FaultEffect::Status {
            status: 500,
            headers: Default::default(),
            body: String::new(),
        },
    );
    boxed.fake.inject(failing.clone());
    let upload = boxed.client.files().upload(&root(), "a", "bytes");
    let error = upload.send().await.unwrap_err();
    assert!(error.may_have_happened());
    assert_eq!(boxed.sent("POST", UPLOAD).len(), 1);

    boxed.fake.inject(failing);
    let upload = boxed.client.files().upload(&root(), "a", "bytes");
    let uploaded = upload.if_absent().send().await.unwrap();
    assert_eq!(uploaded.change, Change::Created);
    assert_eq!(boxed.sent("POST", UPLOAD).len(), 3);
    boxed.done();
}

#[tokio::test]
async fn a_lost_version_is_reported_or_found_by_its_bytes() {
    let boxed = Boxed::start().await;
    let there = boxed.fake.upload("0", "a", "1").unwrap();
    let id = FileId::new(there.file_id).unwrap();
    let path = format!("/api/2.0/files/{id}/content");
    boxed
        .fake
        .inject(Fault::on(&path, FaultEffect::LostAnswer).times(2));
    let error = boxed
        .client
        .files()
        .upload_version(&id, "2")
        .send()
        .await
        .unwrap_err();
    assert!(error.may_have_happened());
    let upload = boxed
        .client
        .files()
        .upload(&root(), "a", "3")
        .or_new_version();
    assert_eq!(upload.send().await.unwrap().change, Change::Updated);
    assert_eq!(boxed.bytes(&id).await, "3");
    assert_eq!(boxed.files()[0]["versions"].as_array().unwrap().len(), 3);
    boxed.done();
}

#[tokio::test]
async fn a_refusal_that_passes_is_waited_out() {
    let boxed = Boxed::start().await;
    let limit = FaultEffect::RateLimit { retry_after: None };
    boxed.fake.inject(Fault::on(UPLOAD, limit).times(2));
    let opened = Arc::default();
    let content = reopen(b"bytes", &opened);
    boxed
        .client
        .files()
        .upload(&root(), "a", content)
        .send()
        .await
        .unwrap();
    assert_eq!(opened.load(Ordering::SeqCst), 3);
    boxed.done();
}

#[tokio::test]
async fn a_content_that_fails_leaves_nothing_and_tells_why() {
    let boxed = Boxed::start().await;
    let torn = stream::iter([
        Ok(Bytes::from("ab")),
        Err(io::Error::other("the disk is gone")),
    ]);
    let short = stream::iter([Ok::<_, io::Error>(Bytes::from("ab"))]);
    let long = stream::iter([Ok::<_, io::Error>(Bytes::from("abcd"))]);
    for (content, cause) in [
        (Content::once(torn, 3), "the disk is gone"),
        (
            Content::once(short, 3),
            "the content is shorter than announced",
        ),
        (
            Content::once(long, 3),
            "the content is longer than announced",
        ),
    ] {
        let upload = boxed.client.files().upload(&root(), "a", content);
        let error = upload.send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Content);
        assert!(!error.may_have_happened());
        assert_eq!(error.source().unwrap().to_string(), cause);
    }
    assert!(boxed.files().is_empty());
    boxed.done();
}

#[tokio::test]
async fn a_content_that_stands_still_is_given_up() {
    let boxed = Boxed::start().await;
    let idle = Duration::from_millis(200);
    let client = client(&boxed.fake).idle_timeout(idle).build().unwrap();
    let first = stream::iter([Ok::<_, io::Error>(Bytes::from("ab"))]);
    let content = Content::once(first.chain(stream::pending()), 3);
    let error = client
        .files()
        .upload(&root(), "a", content)
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(!error.may_have_happened());
    assert!(boxed.files().is_empty());
    boxed.done();
}

#[tokio::test]
async fn a_version_can_be_bound_to_the_state_that_was_seen() {
    let boxed = Boxed::start().await;
    let there = boxed.fake.upload("0", "a", "1").unwrap();
    let id = FileId::new(there.file_id).unwrap();
    let files = boxed.client.files();
    let seen = files.get(&id).send().await.unwrap().etag.unwrap();
    let version = files.upload_version(&id, "2").if_match(&seen).name("b");
    let file = version.send().await.unwrap();
    assert_eq!((file.name.as_deref(), file.size), (Some("b"), Some(1)));
    let late = files
        .upload_version(&id, "3")
        .if_match(&seen)
        .send()
        .await
        .unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
    assert_eq!(late.api().unwrap().code(), Some("precondition_failed"));
    boxed.done();
}

#[tokio::test]
async fn a_preflight_tells_what_would_be_in_the_way() {
    let boxed = Boxed::start().await;
    boxed.fake.upload("0", "taken", "1").unwrap();
    let files = boxed.client.files();
    let free = files
        .preflight(&root(), "free", 5_000_000_000)
        .await
        .unwrap();
    assert!(free.upload_url.is_some());
    let body = json!({ "name": "free", "size": 5_000_000_000_u64, "parent": { "id": "0" } });
    let sent = boxed.sent("OPTIONS", "/2.0/files/content").remove(0);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&sent.text()).unwrap(),
        body
    );
    let error = files.preflight(&root(), "Taken", 1).await.unwrap_err();
    assert!(error.name_in_use().unwrap().file_id().is_some());
    assert!(!format!("{free:?}").contains("http"));
    boxed.done();
}

#[tokio::test]
async fn a_preflight_tells_of_a_new_version_too() {
    // The document has this call for new files alone; that of a version is in Box's guides.
    let boxed = Boxed::undocumented(FakeBox::builder()).await;
    let there = boxed.fake.upload("0", "taken", "1").unwrap();
    let id = FileId::new(there.file_id).unwrap();
    let files = boxed.client.files();
    files.preflight_version(&id, 1).await.unwrap();
}

#[tokio::test]
async fn a_name_that_box_refuses_is_not_sent() {
    let boxed = Boxed::start().await;
    let files = boxed.client.files();
    let error = files.upload(&root(), "a/b", "x").send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.source().unwrap().to_string(),
        "a name has no slash and no backslash"
    );
    assert!(boxed.fake.requests().is_empty());
    boxed.done();
}

/// Another token each time.
#[derive(Debug, Default)]
struct Tokens(AtomicUsize);

#[async_trait]
impl TokenSource for Tokens {
    async fn fetch(
        &self,
        _: &TokenEndpoint<'_>,
        _: Option<&AccessToken>,
    ) -> Result<AccessToken, box_client::Error> {
        let text = format!("token-{}", self.0.fetch_add(1, Ordering::SeqCst));
        Ok(AccessToken::new(text.into(), None))
    }
}

/// Refuses the first request when its body has hardly begun and takes nothing more of it; reads
/// the second to its end.
async fn refuses_early(listener: TcpListener) -> Vec<u8> {
    let (mut first, _) = listener.accept().await.unwrap();
    let mut begun = [0; 2000];
    first.read_exact(&mut begun).await.unwrap();
    let refusal = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\
        www-authenticate: Bearer error=\"invalid_token\"\r\nconnection: close\r\n\r\n";
    first.write_all(refusal.as_bytes()).await.unwrap();

    let (mut second, _) = listener.accept().await.unwrap();
    let mut whole = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    while !whole.ends_with(b"--\r\n") {
        let read = second.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "the second body breaks off");
        whole.extend_from_slice(&buffer[..read]);
    }
    let body = json!({ "entries": [{ "type": "file", "id": "1" }] }).to_string();
    let head = format!(
        "HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    second.write_all((head + &body).as_bytes()).await.unwrap();
    drop(first);
    whole
}

#[tokio::test]
async fn a_refusal_is_heard_while_the_body_is_still_going_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(refuses_early(listener));
    let client = BoxClient::builder(Tokens::default())
        .base_url(&url)
        .build()
        .unwrap();
    // More than the sockets hold.
    let content = Bytes::from(bytes(32 << 20));
    client
        .files()
        .upload(&root(), "a", content.clone())
        .send()
        .await
        .unwrap();
    let sent = server.await.unwrap();
    assert!(sent.windows(7).take(5000).any(|it| it == b"token-1"));
    let end = sent.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    assert_documented(std::str::from_utf8(&sent[..end]).unwrap(), b"");
    let tail = b"\r\n--".len() + 40 + b"--\r\n".len();
    assert!(sent[..sent.len() - tail].ends_with(&content));
}
