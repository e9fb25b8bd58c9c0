use base64::{Engine as _, engine::general_purpose::STANDARD};
use box_client::testing::FakeBox;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use crate::support::{Got, Session, send, sha1_hex};

const CONTENT: &[u8] = b"0123456789";

fn digest(bytes: &[u8]) -> String {
    format!("sha={}", STANDARD.encode(Sha1::digest(bytes)))
}

async fn start() -> (Session, String) {
    let session = Session::with(FakeBox::builder().upload_parts(10, 4)).await;
    let body = json!({ "folder_id": "0", "file_name": "a", "file_size": 10 });
    let got = session.post("api/2.0/files/upload_sessions", body).await;
    assert_eq!((got.status, &got.json()["total_parts"]), (201, &json!(3)));
    let path = got.text("/session_endpoints/upload_part");
    let path = path.strip_prefix(&session.fake.url()).unwrap();
    (session, path.trim_start_matches('/').to_owned())
}

async fn put(session: &Session, path: &str, range: &str, part: &[u8], digest: &str) -> Got {
    let put = session.request("PUT", path).body(part.to_vec());
    let put = put.header("content-type", "application/octet-stream");
    send(put.header("content-range", range).header("digest", digest)).await
}

async fn all(session: &Session, path: &str) -> Vec<Value> {
    let mut parts = Vec::new();
    // The order does not matter.
    for (first, last) in [(8, 9), (0, 3), (4, 7)] {
        let part = &CONTENT[first..=last];
        let range = format!("bytes {first}-{last}/10");
        let got = put(session, path, &range, part, &digest(part)).await;
        let stored = got.json()["part"].clone();
        assert_eq!(
            (&stored["offset"], &stored["size"]),
            (&json!(first), &json!(part.len()))
        );
        assert_eq!(stored["sha1"], sha1_hex(part));
        parts.push(stored);
    }
    parts
}

async fn commit(session: &Session, path: &str, parts: &[Value], digest: &str) -> Got {
    let commit = session.request("POST", &format!("{path}/commit"));
    send(
        commit
            .header("digest", digest)
            .json(&json!({ "parts": parts })),
    )
    .await
}

#[tokio::test]
async fn parts_in_any_order_become_the_file_and_the_session_ends() {
    let (session, path) = start().await;
    let parts = all(&session, &path).await;
    let page = session
        .get(&format!("{path}/parts?limit=2&offset=1"))
        .await
        .json();
    assert_eq!(
        (&page["total_count"], &page["entries"][0]["offset"]),
        (&json!(3), &json!(4))
    );
    assert_eq!(session.get(&path).await.json()["num_parts_processed"], 3);
    let got = commit(&session, &path, &parts, &digest(CONTENT)).await;
    assert_eq!(got.status, 201);
    assert_eq!(got.text("/entries/0/sha1"), sha1_hex(CONTENT));
    session.get(&path).await.refused(404, "not_found");
    let location = session.location(&got.text("/entries/0/id")).await;
    assert_eq!(&send(session.http.get(location)).await.body[..], CONTENT);
}

#[tokio::test]
async fn a_part_out_of_its_place_is_refused() {
    let (session, path) = start().await;
    for (range, part) in [
        ("bytes 1-4/10", &b"1234"[..]),
        ("bytes 0-2/10", b"012"),
        ("bytes 0-3/11", b"0123"),
        ("bytes 0-3/10", b"01234"),
        ("bytes 8-11/10", b"89xx"),
        ("bytes 12-13/10", b"xx"),
        ("0-3/10", b"0123"),
    ] {
        let got = put(&session, &path, range, part, &digest(part)).await;
        got.refused(416, "requested_range_not_satisfiable");
    }
    let first = "bytes 0-3/10";
    put(&session, &path, first, b"0123", &digest(b"x"))
        .await
        .refused(412, "precondition_failed");
    put(&session, &path, first, b"0123", "sha=x")
        .await
        .refused(400, "invalid_digest");
    assert_eq!(
        put(&session, &path, first, b"0123", &digest(b"0123"))
            .await
            .status,
        200
    );
    let again = put(&session, &path, first, b"0123", &digest(b"0123")).await;
    again.refused(409, "range_overlaps_existing_range");
}

#[tokio::test]
async fn a_commit_has_to_name_all_parts_and_the_digest_of_all() {
    let (session, path) = start().await;
    let parts = all(&session, &path).await;
    let (right, wrong) = (digest(CONTENT), digest(b"x"));
    commit(&session, &path, &parts[1..], &right)
        .await
        .refused(400, "invalid_parts");
    commit(&session, &path, &parts, &wrong)
        .await
        .refused(412, "precondition_failed");
    session.fake.upload("0", "A", "x").unwrap();
    commit(&session, &path, &parts, &right)
        .await
        .refused(409, "item_name_in_use");
    assert_eq!(session.delete(&path).await.status, 204);
    commit(&session, &path, &parts, &right)
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn what_cannot_become_a_file_gets_no_session() {
    let session = Session::start().await;
    session.fake.upload("0", "taken", "x").unwrap();
    let size = 20_000_000;
    for (body, status, code) in [
        (
            json!({ "file_name": "a", "file_size": size }),
            400,
            "missing_destination",
        ),
        (
            json!({ "folder_id": "0", "file_size": size }),
            400,
            "missing_file_name",
        ),
        (
            json!({ "folder_id": "0", "file_name": "a" }),
            400,
            "missing_file_size",
        ),
        (
            json!({ "folder_id": "0", "file_name": "a", "file_size": -1 }),
            400,
            "invalid_file_size",
        ),
        (
            json!({ "folder_id": "0", "file_name": "a", "file_size": size - 1 }),
            400,
            "file_size_too_small",
        ),
        (
            json!({ "folder_id": "9", "file_name": "a", "file_size": size }),
            404,
            "not_found",
        ),
        (
            json!({ "folder_id": "0", "file_name": "a/b", "file_size": size }),
            400,
            "item_name_invalid",
        ),
        (
            json!({ "folder_id": "0", "file_name": "Taken", "file_size": size }),
            409,
            "item_name_in_use",
        ),
    ] {
        let got = session.post("api/2.0/files/upload_sessions", body).await;
        got.refused(status, code);
    }
}
