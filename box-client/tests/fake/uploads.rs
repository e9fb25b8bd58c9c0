use box_client::testing::FakeBox;
use bytes::Bytes;
use serde_json::json;
use sha1::{Digest as _, Sha1};

use crate::support::{Session, send, sha1_hex};

#[tokio::test]
async fn an_upload_is_answered_with_the_file() {
    let session = Session::start().await;
    let times = "2020-02-02T02:02:02+01:00";
    let attributes =
        json!({ "name": "nda.pdf", "parent": { "id": "0" }, "content_created_at": times });
    let got = session
        .upload("content", &attributes, b"\r\n--A not the end\r\n-")
        .await;
    assert_eq!(got.status, 201);
    assert_eq!(got.json()["total_count"], 1);
    assert_eq!(
        got.text("/entries/0/sha1"),
        sha1_hex(b"\r\n--A not the end\r\n-")
    );
    assert_eq!(
        got.text("/entries/0/content_created_at"),
        "2020-02-01T17:02:02-08:00"
    );
    let empty = json!({ "name": "empty", "parent": { "id": "0" } });
    let got = session.upload("content", &empty, b"").await;
    assert_eq!(got.json()["entries"][0]["size"], 0);
}

#[tokio::test]
async fn what_box_refuses_of_an_upload_is_refused_and_stores_nothing() {
    let session = Session::start().await;
    let attributes = br#"{"name":"a","parent":{"id":"0"}}"#;
    let late = session.multipart("content", &[("file", b"x"), ("attributes", attributes)]);
    send(late)
        .await
        .refused(400, "metadata_after_file_contents");
    let good = [("attributes", &attributes[..]), ("file", b"x")];
    let wrong = session
        .multipart("content", &good)
        .header("content-md5", sha1_hex(b"y"));
    send(wrong).await.refused(400, "bad_digest");
    send(session.multipart("content", &good[..1]))
        .await
        .refused(400, "bad_request");
    let no_form = session.request("POST", "api/2.0/files/content").body("x");
    send(no_form).await.refused(400, "bad_request");
    let unfinished = session.request("POST", "api/2.0/files/content");
    let unfinished = unfinished
        .header("content-type", "multipart/form-data; boundary=B")
        .body("--B\r\nContent-Disposition: form-data; name=\"attributes\"\r\n\r\n{}");
    let error = send(unfinished).await.refused(400, "bad_request");
    assert_eq!(error["message"], "Stream ended unexpectedly");
    for (attributes, status, code) in [
        (json!({ "name": "a" }), 400, "bad_request"),
        (json!({ "parent": { "id": "0" } }), 400, "bad_request"),
        (
            json!({ "name": "a", "parent": { "id": "9" } }),
            404,
            "not_found",
        ),
        (
            json!({ "name": "a/b", "parent": { "id": "0" } }),
            400,
            "item_name_invalid",
        ),
    ] {
        session
            .upload("content", &attributes, b"x")
            .await
            .refused(status, code);
    }
    let right = session
        .multipart("content", &good)
        .header("content-md5", sha1_hex(b"x"));
    assert_eq!(send(right).await.status, 201);
    assert_eq!(session.fake.state()["files"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_file_in_the_way_is_named_as_one_object() {
    let session = Session::start().await;
    let file = session.fake.upload("0", "NDA.pdf", "x").unwrap();
    let attributes = json!({ "name": "nda.PDF", "parent": { "id": "0" } });
    let got = session.upload("content", &attributes, b"y").await;
    let conflict = &got.refused(409, "item_name_in_use")["context_info"]["conflicts"];
    assert_eq!(conflict["id"], json!(file.file_id));
    assert_eq!(conflict["file_version"]["id"], json!(file.version_id));
}

#[tokio::test]
async fn a_new_version_keeps_the_file_and_needs_no_name() {
    let session = Session::start().await;
    let file = session.fake.upload("0", "a", "1").unwrap();
    let path = format!("{}/content", file.file_id);
    let got = session.upload(&path, &json!({}), b"2").await;
    assert!((200..300).contains(&got.status));
    assert_eq!(got.text("/entries/0/id"), file.file_id);
    assert_ne!(got.text("/entries/0/file_version/id"), file.version_id);
    assert_eq!(got.text("/entries/0/name"), "a");
    let got = session.upload(&path, &json!({ "name": "b" }), b"3").await;
    assert_eq!(got.text("/entries/0/name"), "b");
    let parts = [("attributes", &b"{}"[..]), ("file", b"4")];
    let stale = session.multipart(&path, &parts).header("if-match", "0");
    send(stale).await.refused(412, "precondition_failed");
    session
        .upload("9/content", &json!({}), b"x")
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn a_preflight_tells_what_an_upload_would_meet() {
    let session = Session::start().await;
    session.fake.upload("0", "taken", "x").unwrap();
    let ask = |name: &str| {
        let body = json!({ "name": name, "size": 1, "parent": { "id": "0" } });
        send(session.request("OPTIONS", "2.0/files/content").json(&body))
    };
    let got = ask("free").await;
    assert_eq!(got.status, 200);
    assert_eq!(
        got.text("/upload_url"),
        format!("{}/api/2.0/files/content", session.fake.url())
    );
    let error = ask("Taken").await.refused(409, "item_name_in_use");
    assert!(error["context_info"]["conflicts"].is_object());
}

/// A body of 80 MiB, more than is kept of a file.
#[tokio::test]
async fn a_large_upload_is_hashed_as_it_comes() {
    let session = Session::with(FakeBox::builder().keep_bytes(false)).await;
    let chunk = Bytes::from((0..=255_u8).cycle().take(1 << 20).collect::<Vec<_>>());
    let mut hash = Sha1::new();
    let head = "--B\r\nContent-Disposition: form-data; name=\"attributes\"\r\n\r\n{\"name\":\"big\",\"parent\":{\"id\":\"0\"}}\r\n--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"big\"\r\n\r\n";
    let mut parts = vec![Bytes::from(head)];
    for _ in 0..80 {
        hash.update(&chunk);
        parts.push(chunk.clone());
    }
    parts.push(Bytes::from("\r\n--B--\r\n"));
    let stream = futures_util::stream::iter(parts.into_iter().map(Ok::<_, std::io::Error>));
    let request = session
        .request("POST", "api/2.0/files/content")
        .header("content-type", "multipart/form-data; boundary=B")
        .body(reqwest::Body::wrap_stream(stream));
    let got = send(request).await;
    assert_eq!(got.json()["entries"][0]["size"], 80 << 20);
    let expected: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(got.text("/entries/0/sha1"), expected);
    let recorded = &session.fake.requests()[0];
    assert!(recorded.content_length > 80 << 20);
    assert_eq!(recorded.body.len(), 64 << 10);
    // Its bytes are gone, and the download says so rather than giving others.
    let location = session.location(&got.text("/entries/0/id")).await;
    assert_eq!(send(session.http.get(location)).await.status, 500);
}

#[tokio::test]
async fn a_body_that_is_no_upload_has_a_limit() {
    let session = Session::start().await;
    let request = session
        .request("POST", "2.0/folders")
        .body(vec![b' '; 5 << 20]);
    send(request).await.refused(413, "request_entity_too_large");
}
