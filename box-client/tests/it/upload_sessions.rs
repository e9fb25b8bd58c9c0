//! Uploads in parts.

use std::{
    io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use box_client::{
    Change, Content, ErrorKind, FileId, UploadSession,
    testing::{Fault, FaultEffect},
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future::join_all, stream};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use crate::boxed::{Boxed, PART, bytes, client, root, sha1_hex};

const PARTS: &str = "/api/2.0/files/upload_sessions/*";

/// Any range, with a count of the bytes that were read.
fn ranges(content: &[u8], read: &Arc<AtomicU64>) -> Content {
    let (size, whole) = (content.len() as u64, Bytes::copy_from_slice(content));
    let read = Arc::clone(read);
    let open = move |range: Range<u64>| {
        let read = Arc::clone(&read);
        let part = whole.slice(range.start as usize..range.end as usize);
        let chunks: Vec<_> = part.chunks(300).map(Bytes::copy_from_slice).collect();
        let counted = stream::iter(chunks).map(move |chunk| {
            read.fetch_add(chunk.len() as u64, Ordering::SeqCst);
            Ok::<_, io::Error>(chunk)
        });
        std::future::ready(Ok::<_, io::Error>(counted))
    };
    Content::ranges(open, size)
}

/// Ends in an error after so many bytes.
fn torn(content: &[u8], after: usize) -> Content {
    let chunks = content[..after]
        .chunks(300)
        .map(|chunk| Ok(Bytes::copy_from_slice(chunk)));
    let chunks: Vec<_> = chunks.chain([Err(io::Error::other("gone"))]).collect();
    Content::once(stream::iter(chunks), content.len() as u64)
}

async fn session(boxed: &Boxed, content: &[u8]) -> UploadSession {
    let sessions = boxed.client.upload_sessions();
    let created = sessions.create(&root(), "a", content.len() as u64).await;
    created.unwrap()
}

fn sessions_left(boxed: &Boxed) -> usize {
    boxed.fake.state()["upload_sessions"]
        .as_array()
        .unwrap()
        .len()
}

#[tokio::test]
async fn a_large_file_goes_in_parts_as_box_documents_them() {
    let boxed = Boxed::start().await;
    let content = bytes(3 * PART + 7);
    let upload = boxed.client.files().upload(&root(), "a", content.clone());
    let modified = "2026-03-01T10:00:00Z".parse().unwrap();
    let upload = upload
        .chunked_from(2 * PART)
        .parallel(1)
        .content_modified_at(modified);
    let uploaded = upload.send().await.unwrap();
    assert_eq!(uploaded.change, Change::Created);
    assert_eq!(boxed.bytes(&uploaded.file.id).await, content);

    let created = boxed
        .sent("POST", "/api/2.0/files/upload_sessions")
        .remove(0);
    let body: Value = serde_json::from_str(&created.text()).unwrap();
    assert_eq!(
        body,
        json!({ "folder_id": "0", "file_name": "a", "file_size": 3 * PART + 7 })
    );
    let base64 = |bytes: &[u8]| format!("sha={}", STANDARD.encode(Sha1::digest(bytes)));
    let puts = boxed.puts_of_parts();
    assert_eq!(puts.len(), 4);
    for (put, part) in puts.iter().zip(content.chunks(PART as usize)) {
        let first = part.as_ptr() as usize - content.as_ptr() as usize;
        let range = format!("bytes {first}-{}/{}", first + part.len() - 1, content.len());
        assert_eq!(put.header("content-range"), Some(&*range));
        assert_eq!(put.header("digest"), Some(&*base64(part)));
        assert_eq!(put.header("content-type"), Some("application/octet-stream"));
        assert_eq!(put.header("content-length"), Some(&*part.len().to_string()));
        assert_eq!(put.header("authorization"), Some("Bearer"));
        assert_eq!(put.body, part);
    }
    let commit = boxed.sent("POST", "/commit").remove(0);
    assert_eq!(commit.header("digest"), Some(&*base64(&content)));
    let body: Value = serde_json::from_str(&commit.text()).unwrap();
    assert_eq!(
        body["attributes"],
        json!({ "content_modified_at": "2026-03-01T10:00:00Z" })
    );
    let offsets: Vec<_> = body["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| &part["offset"])
        .collect();
    assert_eq!(
        offsets,
        [&json!(0), &json!(1000), &json!(2000), &json!(3000)]
    );
    assert_eq!(body["parts"][3]["size"], 7);
    assert_eq!(body["parts"][3]["sha1"], sha1_hex(&content[3000..]));
    boxed.done();
}

#[tokio::test]
async fn a_small_file_goes_in_one_request() {
    let boxed = Boxed::start().await;
    let content = bytes(2 * PART - 1);
    let upload = boxed.client.files().upload(&root(), "a", content);
    upload.chunked_from(2 * PART).send().await.unwrap();
    assert!(boxed.puts_of_parts().is_empty());
    boxed.done();
}

#[tokio::test]
async fn after_a_crash_only_what_is_missing_is_sent_and_read() {
    let boxed = Boxed::start().await;
    let content = bytes(10 * PART);
    let id = session(&boxed, &content).await.id;
    // The content ends early; the process with its client is gone after that.
    let sessions = boxed.client.upload_sessions();
    let send = sessions.send(&id, torn(&content, 6500)).parallel(1);
    assert_eq!(send.send().await.unwrap_err().kind(), ErrorKind::Content);
    // One that was lost in between.
    assert_eq!(boxed.puts_of_parts().len(), 6);
    let kept = id.to_string();
    boxed.fake.clear_requests();

    let client = client(&boxed.fake).build().unwrap();
    let sessions = client.upload_sessions();
    let id = kept.parse().unwrap();
    let stored: Vec<_> = sessions.parts(&id).try_collect().await.unwrap();
    assert_eq!(stored.len(), 6);
    let read = Arc::default();
    let content_again = ranges(&content, &read).sha1(sha1_hex(&content));
    let file = sessions.send(&id, content_again).send().await.unwrap();
    assert_eq!(boxed.puts_of_parts().len(), 4);
    assert_eq!(read.load(Ordering::SeqCst), 4 * PART);
    assert_eq!(boxed.bytes(&file.id).await, content);
    assert_eq!(sessions_left(&boxed), 0);
    boxed.done();
}

#[tokio::test]
async fn gaps_are_filled_wherever_they_are() {
    let boxed = Boxed::start().await;
    let content = bytes(6 * PART + 1);
    let id = session(&boxed, &content).await.id;
    let sessions = boxed.client.upload_sessions();
    // The first and the fourth part are refused for good.
    let refuse = |skip| {
        let status = FaultEffect::Status {
            status: 403,
            headers: Default::default(),
            body: String::new(),
        };
        Fault::on(PARTS, status).method("PUT").skip(skip)
    };
    boxed.fake.inject(refuse(0));
    let first = sessions.send(&id, content.clone()).parallel(7).send().await;
    assert_eq!(first.unwrap_err().kind(), ErrorKind::Forbidden);
    let stored: Vec<_> = sessions.parts(&id).try_collect().await.unwrap();
    boxed.fake.clear_requests();
    for known in [true, false] {
        let read = Arc::default();
        let again = ranges(&content, &read);
        let again = if known {
            again.sha1(sha1_hex(&content))
        } else {
            again
        };
        if known {
            boxed.fake.inject(refuse(0));
            sessions
                .send(&id, again)
                .parallel(1)
                .send()
                .await
                .unwrap_err();
            continue;
        }
        let file = sessions.send(&id, again).send().await.unwrap();
        // Without the SHA-1 all is read, for the hash of all.
        assert_eq!(read.load(Ordering::SeqCst), content.len() as u64);
        assert_eq!(boxed.bytes(&file.id).await, content);
    }
    let sent = boxed
        .puts_of_parts()
        .iter()
        .filter(|put| put.status == Some(200))
        .count();
    assert_eq!(sent + stored.len(), 7);
    boxed.done();
}

#[tokio::test]
async fn another_content_is_never_mixed_in() {
    let boxed = Boxed::start().await;
    let content = bytes(4 * PART);
    let id = session(&boxed, &content).await.id;
    let sessions = boxed.client.upload_sessions();
    sessions
        .send(&id, torn(&content, 2500))
        .parallel(1)
        .send()
        .await
        .unwrap_err();
    let mut other = content.clone();
    other[0] ^= 1;
    let error = sessions.send(&id, other.clone()).send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    let error = sessions.send(&id, bytes(1500)).send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    // What is not read is held against the digest of all, by Box.
    let read = Arc::default();
    let unseen = ranges(&other, &read).sha1(sha1_hex(&other));
    let error = sessions.send(&id, unseen).send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(boxed.files().is_empty());
    boxed.done();
}

#[tokio::test]
async fn a_part_whose_answer_is_lost_is_asked_for_and_not_sent_again() {
    let boxed = Boxed::start().await;
    let content = bytes(3 * PART);
    boxed.fake.inject(
        Fault::on(PARTS, FaultEffect::LostAnswer)
            .method("PUT")
            .skip(1),
    );
    let upload = boxed.client.files().upload(&root(), "a", content.clone());
    let uploaded = upload.chunked_from(0).send().await.unwrap();
    assert_eq!(boxed.puts_of_parts().len(), 3);
    assert_eq!(boxed.bytes(&uploaded.file.id).await, content);
    boxed.done();
}

#[tokio::test]
async fn a_part_that_did_not_arrive_is_sent_again_even_of_a_content_that_exists_once() {
    let boxed = Boxed::start().await;
    let content = bytes(3 * PART);
    let failing = FaultEffect::Status {
        status: 500,
        headers: Default::default(),
        body: String::new(),
    };
    boxed
        .fake
        .inject(Fault::on(PARTS, failing).method("PUT").times(2));
    boxed.fake.inject(
        Fault::on(PARTS, FaultEffect::ExpireSession)
            .method("PUT")
            .skip(2),
    );
    let chunks: Vec<_> = content
        .chunks(300)
        .map(|chunk| Ok::<_, io::Error>(Bytes::copy_from_slice(chunk)))
        .collect();
    let once = Content::once(stream::iter(chunks), content.len() as u64);
    let uploaded = boxed
        .client
        .files()
        .upload(&root(), "a", once)
        .chunked_from(0)
        .send()
        .await
        .unwrap();
    assert_eq!(boxed.puts_of_parts().len(), 6);
    assert_eq!(boxed.bytes(&uploaded.file.id).await, content);
    boxed.done();
}

#[tokio::test]
async fn a_part_that_box_has_otherwise_ends_the_upload() {
    let boxed = Boxed::start().await;
    let content = bytes(2 * PART);
    let part = json!({ "part": { "part_id": "A", "offset": 0, "size": PART, "sha1": sha1_hex(b"other") } });
    let lie = FaultEffect::Status {
        status: 200,
        headers: Default::default(),
        body: part.to_string(),
    };
    boxed.fake.inject(Fault::on(PARTS, lie).method("PUT"));
    let upload = boxed
        .client
        .files()
        .upload(&root(), "a", content)
        .chunked_from(0)
        .parallel(1);
    assert_eq!(
        upload.send().await.unwrap_err().kind(),
        ErrorKind::Integrity
    );
    assert!(boxed.files().is_empty());
    // Nobody could take it up again: it is given up.
    assert_eq!(sessions_left(&boxed), 0);
    boxed.done();
}

#[tokio::test]
async fn a_file_that_box_has_made_otherwise_is_told() {
    let boxed = Boxed::start().await;
    let content = bytes(2 * PART);
    for (size, sha1) in [(2 * PART, sha1_hex(b"other")), (PART, sha1_hex(&content))] {
        let file = json!({ "type": "file", "id": "1", "size": size, "sha1": sha1 });
        let lie = FaultEffect::Status {
            status: 201,
            headers: Default::default(),
            body: json!({ "total_count": 1, "entries": [file] }).to_string(),
        };
        let commit = "/api/2.0/files/upload_sessions/*/commit";
        boxed.fake.inject(Fault::on(commit, lie).times(2));
        let upload = boxed.client.files().upload(&root(), "a", content.clone());
        let error = upload.chunked_from(0).send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        let id = session(&boxed, &content).await.id;
        let sessions = boxed.client.upload_sessions();
        let resumed = sessions.send(&id, content.clone()).send().await;
        assert_eq!(resumed.unwrap_err().kind(), ErrorKind::Integrity);
    }
    boxed.done();
}

#[tokio::test]
async fn a_commit_waits_for_box_and_survives_a_lost_answer() {
    let boxed = Boxed::start().await;
    let commit = "/api/2.0/files/upload_sessions/*/commit";
    let later = |retry_after| Fault::on(commit, FaultEffect::NotReady { retry_after });
    boxed.fake.inject(later(Some(0)).times(7));
    boxed.fake.inject(later(None));
    boxed
        .fake
        .inject(Fault::on(commit, FaultEffect::LostAnswer));
    let content = bytes(2 * PART);
    let upload = boxed
        .client
        .files()
        .upload(&root(), "a", content.clone())
        .chunked_from(0);
    let uploaded = upload.send().await.unwrap();
    assert_eq!(boxed.bytes(&uploaded.file.id).await, content);
    assert_eq!(boxed.files().len(), 1);
    boxed.done();
}

#[tokio::test]
async fn a_session_that_box_has_dropped_is_begun_anew() {
    let boxed = Boxed::start().await;
    let gone = json!({ "type": "error", "status": 410, "code": "session_expired", "message": "m", "request_id": "r" });
    let gone = FaultEffect::Status {
        status: 410,
        headers: Default::default(),
        body: gone.to_string(),
    };
    boxed
        .fake
        .inject(Fault::on(PARTS, gone).method("PUT").skip(1));
    let content = bytes(3 * PART);
    let upload = boxed
        .client
        .files()
        .upload(&root(), "a", content.clone())
        .chunked_from(0)
        .parallel(1);
    let uploaded = upload.send().await.unwrap();
    assert_eq!(boxed.bytes(&uploaded.file.id).await, content);
    assert_eq!(boxed.sent("POST", "/upload_sessions").len(), 2);
    assert_eq!(sessions_left(&boxed), 0);
    boxed.done();
}

#[tokio::test]
async fn what_is_given_up_leaves_no_session_unless_it_can_be_taken_up_again() {
    let boxed = Boxed::start().await;
    let content = bytes(4 * PART);
    let upload = boxed
        .client
        .files()
        .upload(&root(), "a", torn(&content, 2500))
        .chunked_from(0);
    assert_eq!(upload.send().await.unwrap_err().kind(), ErrorKind::Content);
    assert_eq!(sessions_left(&boxed), 0);
    let sessions = boxed.client.upload_sessions();
    let id = session(&boxed, &content).await.id;
    sessions
        .send(&id, torn(&content, 2500))
        .send()
        .await
        .unwrap_err();
    assert_eq!(sessions_left(&boxed), 1);
    sessions.abort(&id).await.unwrap();
    assert_eq!(sessions_left(&boxed), 0);
    assert_eq!(
        sessions.get(&id).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    boxed.done();
}

#[tokio::test]
async fn versions_and_what_is_there_are_the_same_as_of_small_files() {
    let boxed = Boxed::start().await;
    let files = boxed.client.files();
    let upload = |content: Vec<u8>| files.upload(&root(), "a", content).chunked_from(0);
    let first = upload(bytes(2 * PART)).send().await.unwrap();
    let conflict = upload(bytes(3 * PART)).send().await.unwrap_err();
    assert!(conflict.name_in_use().unwrap().file_id().is_some());
    let next = upload(bytes(3 * PART))
        .or_new_version()
        .send()
        .await
        .unwrap();
    assert_eq!(
        (next.change, &next.file.id),
        (Change::Updated, &first.file.id)
    );
    let same = upload(bytes(3 * PART))
        .or_new_version()
        .send()
        .await
        .unwrap();
    assert_eq!(same.change, Change::None);
    let etag = same.file.etag.unwrap();
    let id: FileId = first.file.id;
    let version = |if_match: &str| {
        let version = files.upload_version(&id, bytes(4 * PART)).chunked_from(0);
        version.if_match(if_match).send()
    };
    assert_eq!(version(&etag).await.unwrap().size, Some(4 * PART));
    assert_eq!(
        version(&etag).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert_eq!(sessions_left(&boxed), 0);
    boxed.done();
}

/// With nobody taking parts, no more is read than may be in memory.
#[tokio::test]
async fn no_more_is_read_than_may_be_on_its_way() {
    let boxed = Boxed::start().await;
    let stuck = FaultEffect::DelayBefore { millis: 600_000 };
    boxed
        .fake
        .inject(Fault::on(PARTS, stuck).method("PUT").times(100));
    let content = bytes(20 * PART);
    let read = Arc::<AtomicU64>::default();
    let upload = boxed
        .client
        .files()
        .upload(&root(), "a", ranges(&content, &read));
    let sending = upload.chunked_from(0).parallel(3).send();
    let arrived = async {
        while boxed.puts_of_parts().len() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        sent = sending => panic!("{sent:?}"),
        () = arrived => {}
    }
    // The last chunk can reach into the next part.
    assert!(read.load(Ordering::SeqCst) < 3 * PART + 300, "{read:?}");
    assert_eq!(boxed.puts_of_parts().len(), 3);
}

#[tokio::test]
async fn a_file_of_the_file_system_is_read_as_it_is_sent() {
    let boxed = Boxed::start().await;
    let whole = bytes(5 * PART + 3);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.tiff");
    std::fs::write(&path, &whole).unwrap();
    for (name, chunked_from) in [("one", u64::MAX), ("parts", 0)] {
        let content = Content::file(&path).await.unwrap();
        assert_eq!(content.size(), 5 * PART + 3);
        let upload = boxed.client.files().upload(&root(), name, content);
        let uploaded = upload.chunked_from(chunked_from).send().await.unwrap();
        assert_eq!(boxed.bytes(&uploaded.file.id).await, whole);
    }
    let content = Content::file(&path).await.unwrap();
    std::fs::write(&path, &whole[1..]).unwrap();
    let upload = boxed.client.files().upload(&root(), "late", content);
    assert_eq!(upload.send().await.unwrap_err().kind(), ErrorKind::Content);
    let missing = Content::file(folder.path().join("none")).await.unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    boxed.done();
}

#[tokio::test]
async fn whatever_befalls_a_request_there_is_one_file_of_these_bytes() {
    let status = |status| FaultEffect::Status {
        status,
        headers: Default::default(),
        body: String::new(),
    };
    for effect in [
        status(503),
        FaultEffect::LostAnswer,
        FaultEffect::Reset,
        FaultEffect::ExpireSession,
        FaultEffect::TruncateBody { after: 5 },
        FaultEffect::NotReady {
            retry_after: Some(0),
        },
    ] {
        let at_once = (0..9).map(|skip| one_file(effect.clone(), skip));
        join_all(at_once).await;
    }
}

async fn one_file(effect: FaultEffect, skip: u32) {
    let boxed = Boxed::start().await;
    let content = bytes(4 * PART + 1);
    let fault = Fault::on("/api/2.0/*", effect.clone()).skip(skip);
    boxed.fake.inject(fault);
    let upload = boxed.client.files().upload(&root(), "a", content.clone());
    let sent = upload.chunked_from(0).parallel(2).send().await;
    let uploaded = sent.unwrap_or_else(|error| panic!("{effect:?} {skip}: {error}"));
    assert_eq!(boxed.bytes(&uploaded.file.id).await, content);
    assert_eq!(boxed.files().len(), 1);
    boxed.done();
}

#[tokio::test]
async fn a_content_that_begins_anew_is_taken_up_in_its_middle() {
    let boxed = Boxed::start().await;
    let content = bytes(4 * PART + 1);
    let id = session(&boxed, &content).await.id;
    let sessions = boxed.client.upload_sessions();
    let torn = sessions.send(&id, torn(&content, 2500)).parallel(1);
    torn.send().await.unwrap_err();
    let whole = Bytes::from(content.clone());
    let open = move || {
        let chunks: Vec<_> = whole.chunks(300).map(Bytes::copy_from_slice).collect();
        let chunks = stream::iter(chunks).map(Ok::<_, io::Error>);
        std::future::ready(Ok::<_, io::Error>(chunks))
    };
    let again = Content::reopen(open, 4 * PART + 1).sha1(sha1_hex(&content));
    let file = sessions.send(&id, again).send().await.unwrap();
    assert_eq!(boxed.bytes(&file.id).await, content);
    assert_eq!(boxed.puts_of_parts().len(), 5);
    boxed.done();
}

#[tokio::test]
async fn a_content_that_stands_still_between_parts_is_given_up() {
    let boxed = Boxed::start().await;
    let idle = Duration::from_millis(200);
    let client = client(&boxed.fake).idle_timeout(idle).build().unwrap();
    let first = stream::iter([Ok::<_, io::Error>(Bytes::from(bytes(1500)))]);
    let still = Content::once(first.chain(stream::pending()), 2 * PART);
    let unopened = Content::ranges(
        |_| std::future::pending::<io::Result<stream::Empty<io::Result<Bytes>>>>(),
        2 * PART,
    );
    for content in [still, unopened] {
        let upload = client.files().upload(&root(), "a", content).chunked_from(0);
        let error = upload.send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(!error.may_have_happened());
    }
    assert!(boxed.files().is_empty());
    assert_eq!(sessions_left(&boxed), 0);
    boxed.done();
}
