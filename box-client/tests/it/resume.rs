//! Bodies that break off on their way.

use std::time::Duration;

use box_client::{BoxClient, DeveloperToken, Download, ErrorKind, FileId, RetryPolicy};

use crate::{
    vendor::quick,
    wire::{Then, Turn, Wire},
};

const WHOLE: &[u8] = b"0123456789";
const SHA1: &str = "87acec17cd9dcd20a716cc2cf67417b71c8a7016";

fn client_of(wire: &Wire, retry: RetryPolicy) -> BoxClient {
    BoxClient::builder(DeveloperToken::new("token"))
        .base_url(&wire.uri())
        .idle_timeout(Duration::from_millis(200))
        .retry(retry)
        .build()
        .unwrap()
}

async fn download(wire: &Wire) -> Download {
    let id = FileId::new("777").unwrap();
    let client = client_of(wire, quick());
    let request = client.files().download(&id);
    request.expect_sha1(SHA1).send().await.unwrap()
}

/// All of the file is promised and so much of it comes.
fn cut(at: usize) -> Turn {
    Turn::partial("200 OK", "content-length: 10\r\n", &WHOLE[..at])
}

/// The rest of the file is promised and so much of it comes.
fn rest(from: usize, until: usize) -> Turn {
    let length = WHOLE.len() - from;
    let headers = format!("content-range: bytes {from}-9/10\r\ncontent-length: {length}\r\n");
    Turn::partial("206 Partial Content", &headers, &WHOLE[from..until])
}

fn ranges(wire: &Wire) -> Vec<Option<String>> {
    wire.headers("range")
}

fn from(offset: usize) -> Option<String> {
    Some(format!("bytes={offset}-"))
}

#[tokio::test]
async fn a_body_is_taken_up_where_it_broke_off() {
    for at in 1..WHOLE.len() {
        for then in [Then::Close, Then::Hold] {
            let wire = Wire::start([cut(at).then(then), rest(at, 10)]).await;
            let download = download(&wire).await;
            assert_eq!(download.size(), Some(10));
            assert_eq!(download.bytes(10).await.unwrap(), WHOLE, "at {at}");
            assert_eq!(ranges(&wire), [None, from(at)]);
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_before_its_first_byte_is_asked_for_anew() {
    let wire = Wire::start([cut(0), cut(10)]).await;
    assert_eq!(download(&wire).await.bytes(10).await.unwrap(), WHOLE);
    assert_eq!(ranges(&wire), [None, None]);
}

#[tokio::test]
async fn each_part_that_brings_something_earns_new_patience() {
    // Ten breaks, twice as many as there are attempts.
    let turns = (1..10).map(|at| rest(at, at + 1));
    let wire = Wire::start(std::iter::once(cut(1)).chain(turns)).await;
    assert_eq!(download(&wire).await.bytes(10).await.unwrap(), WHOLE);
    assert_eq!(wire.requests().len(), 10);
}

#[tokio::test]
async fn breaks_without_a_byte_in_between_come_to_an_end() {
    let turns = (0..9).map(|_| rest(3, 3));
    let wire = Wire::start(std::iter::once(cut(3)).chain(turns)).await;
    let mut download = download(&wire).await;
    assert_eq!(download.chunk().await.unwrap().unwrap(), &WHOLE[..3]);
    let failure = download.chunk().await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Transport);
    assert_eq!(failure.attempts(), 5);
    // The first, and a second to a fifth that brought nothing.
    assert_eq!(wire.requests().len(), 5);
    assert!(download.chunk().await.unwrap().is_none());
}

#[tokio::test]
async fn a_client_that_sends_once_does_not_resume() {
    let wire = Wire::start([cut(3), rest(3, 10)]).await;
    let id = FileId::new("777").unwrap();
    let client = client_of(&wire, RetryPolicy::none());
    let download = client.files().download(&id).send().await.unwrap();
    let failure = download.bytes(10).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Transport);
    assert_eq!(wire.requests().len(), 1);
}

#[tokio::test]
async fn a_server_that_starts_over_is_skipped_to_the_break() {
    let wire = Wire::start([cut(4), cut(2), cut(7), cut(10)]).await;
    assert_eq!(download(&wire).await.bytes(10).await.unwrap(), WHOLE);
    assert_eq!(ranges(&wire), [None, from(4), from(4), from(7)]);
}

#[tokio::test]
async fn the_middle_of_a_file_is_taken_up_within_its_range() {
    let part = |from: usize, until: usize| {
        let length = 8 - from;
        let headers = format!("content-range: bytes {from}-7/10\r\ncontent-length: {length}\r\n");
        Turn::partial("206 Partial Content", &headers, &WHOLE[from..until])
    };
    let wire = Wire::start([part(2, 5), part(5, 8)]).await;
    let id = FileId::new("777").unwrap();
    let request = client_of(&wire, quick()).files().download(&id).range(2, 7);
    let download = request.send().await.unwrap();
    assert_eq!(download.size(), Some(6));
    assert_eq!(download.bytes(10).await.unwrap(), &WHOLE[2..8]);
    let asked = |range: &str| Some(range.to_owned());
    assert_eq!(ranges(&wire), [asked("bytes=2-7"), asked("bytes=5-7")]);
}

#[tokio::test]
async fn a_part_of_a_part_is_followed_by_the_next() {
    // A server may give less than it was asked for.
    let headers = "content-range: bytes 4-6/10\r\ncontent-length: 3\r\n";
    let less = Turn::partial("206 Partial Content", headers, &WHOLE[4..7]);
    let wire = Wire::start([cut(4), less, rest(7, 10)]).await;
    assert_eq!(download(&wire).await.bytes(10).await.unwrap(), WHOLE);
    assert_eq!(ranges(&wire), [None, from(4), from(7)]);
}

#[tokio::test]
async fn a_file_that_changed_meanwhile_is_not_pieced_together() {
    let part = |range: &str| {
        let headers = format!("content-range: {range}\r\ncontent-length: 6\r\n");
        Turn::partial("206 Partial Content", &headers, b"......")
    };
    for second in [
        // Another length, another place, no place, and all of it with another length.
        part("bytes 4-9/11"),
        part("bytes 3-9/10"),
        part("bytes 5-9/10"),
        part("parts 4-9/10"),
        Turn::partial("206 Partial Content", "content-length: 6\r\n", b"......"),
        Turn::answer("200 OK", "", b"........."),
    ] {
        let wire = Wire::start([cut(4), second]).await;
        let failure = download(&wire).await.bytes(100).await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Integrity);
        assert_eq!(wire.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_file_of_the_same_length_with_other_bytes_is_noticed() {
    let headers = "content-range: bytes 4-9/10\r\ncontent-length: 6\r\n";
    let other = Turn::partial("206 Partial Content", headers, b"......");
    let wire = Wire::start([cut(4), other]).await;
    let failure = download(&wire).await.bytes(100).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Integrity);
}

#[tokio::test]
async fn a_refusal_ends_the_download() {
    let refusal = Turn::answer("404 Not Found", "", br#"{"code":"trashed"}"#);
    let wire = Wire::start([cut(4), refusal]).await;
    let failure = download(&wire).await.bytes(100).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_chunked_body_without_a_length_is_resumed_too() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n0123\r\n";
    let broken = Turn::new(head, Then::Close);
    let wire = Wire::start([broken, rest(4, 10)]).await;
    let download = download(&wire).await;
    assert_eq!(download.size(), None);
    assert_eq!(download.bytes(10).await.unwrap(), WHOLE);
    assert_eq!(ranges(&wire), [None, from(4)]);
}

#[tokio::test]
async fn a_caller_who_stops_waiting_loses_no_byte() {
    let wire = Wire::start([cut(4).then(Then::Hold), rest(4, 10)]).await;
    let mut download = download(&wire).await;
    let mut all = download.chunk().await.unwrap().unwrap().to_vec();
    // Polled once and dropped, in whatever it was waiting for.
    while all.len() < WHOLE.len() {
        if let Ok(more) = tokio::time::timeout(Duration::from_millis(1), download.chunk()).await {
            all.extend_from_slice(&more.unwrap().unwrap());
        } else {
            tokio::task::yield_now().await;
        }
        if wire.requests().len() == 1 {
            // Let the held connection be found silent.
            if let Some(more) = download.chunk().await.unwrap() {
                all.extend_from_slice(&more);
            }
        }
    }
    assert!(download.chunk().await.unwrap().is_none());
    assert_eq!(all, WHOLE);
}
