//! Answers that break off after a good head.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::Method;
use salesforce_client::{
    ErrorKind, Record, RetryPolicy,
    testing::{FakeSalesforce, Fault, FaultEffect},
};
use serde_json::{Value, json};

use crate::{
    org::{account, builder_of},
    support::{Act, BrokenServer, builder, client, id, quick},
};

fn page(next: Option<&str>, names: &[&str]) -> String {
    let rows: Vec<Value> = names.iter().map(|name| json!({ "Name": name })).collect();
    let mut page = json!({ "totalSize": 4, "done": next.is_none(), "records": rows });
    if let Some(next) = next {
        page["nextRecordsUrl"] = json!(format!("/services/data/v58.0/query/{next}"));
    }
    page.to_string()
}

#[tokio::test]
async fn a_page_of_a_query_that_breaks_off_is_asked_for_again() {
    let mut server = BrokenServer::start(vec![
        Act::Torn(40, page(Some("01g-2"), &["a", "b"])),
        Act::Answer(200, page(Some("01g-2"), &["a", "b"])),
        Act::Torn(60, page(None, &["c", "d"])),
        Act::Torn(60, page(None, &["c", "d"])),
        Act::Answer(200, page(None, &["c", "d"])),
    ])
    .await;
    let rows = client(&server.url).query::<Record>("SELECT Name FROM Account");
    let rows: Vec<Record> = rows.stream().try_collect().await.unwrap();
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["Name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    let asked = server.waiting();
    assert_eq!(asked, 5);
    for number in 0..asked {
        let is_next = server.arrived().await.head.contains("/query/01g-2");
        assert_eq!(is_next, number >= 2);
    }
}

#[tokio::test]
async fn a_body_that_always_breaks_off_is_asked_for_as_often_as_the_policy_says() {
    let torn = || Act::Torn(1, json!({ "a": "b" }).to_string());
    let server = BrokenServer::start((0..10).map(|_| torn()).collect()).await;
    let client = builder(&server.url)
        .retry(quick().max_attempts(3))
        .build()
        .unwrap();
    let error = client.limits().await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Transport, 3));
    assert_eq!(server.waiting(), 3);
    let created = client
        .sobject("Account")
        .create(&json!({ "Name": "a" }))
        .await;
    let error = created.unwrap_err();
    assert_eq!(error.attempts(), 1);
    assert!(error.may_have_happened());
    assert_eq!(server.waiting(), 4);
}

#[tokio::test]
async fn the_errors_of_two_hundred_records_are_read() {
    let results: Vec<Value> = (0..200)
        .map(|number| {
            let message = format!("{number}: {}", "x".repeat(400));
            json!({ "referenceId": format!("r{number}"), "errors": [
                { "statusCode": "STRING_TOO_LONG", "message": message, "fields": ["Name"] }
            ] })
        })
        .collect();
    let body = json!({ "hasErrors": true, "results": results }).to_string();
    assert!(body.len() > 64 * 1024);
    let server = BrokenServer::start(vec![Act::Answer(400, body)]).await;
    let error = client(&server.url)
        .request(Method::POST, "/x")
        .send()
        .await
        .unwrap_err();
    let last = error.api().unwrap().iter().last().unwrap();
    assert_eq!(last.code, "STRING_TOO_LONG");
    assert_eq!(last.reference.as_deref(), Some("r199"));
    assert!(error.has_code("STRING_TOO_LONG"));
    assert!(
        !format!("{error:?}").contains("xxx"),
        "a message is the org's data"
    );
}

#[tokio::test]
async fn a_reader_that_gives_up_and_comes_back_misses_nothing() {
    let org = FakeSalesforce::start().await.unwrap();
    let record = account(&org, "Acme");
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let version = org.add_file_as_other_user(record.as_str(), "a.bin", &content);
    let version = id(&version.unwrap());
    let client = builder_of(&org).build().unwrap();
    let mut download = client.files().download(&version).await.unwrap();
    let mut read = Vec::new();
    loop {
        let chunk = download.chunk();
        match tokio::time::timeout(Duration::ZERO, chunk).await {
            Ok(chunk) => match chunk.unwrap() {
                Some(chunk) => read.extend_from_slice(&chunk),
                None => break,
            },
            Err(_) => tokio::task::yield_now().await,
        }
    }
    assert!(read == content);
}

#[tokio::test]
async fn a_download_that_broke_off_never_looks_whole() {
    let org = FakeSalesforce::start().await.unwrap();
    let record = account(&org, "Acme");
    let version = org.add_file_as_other_user(record.as_str(), "a.bin", &[7; 100_000]);
    let version = id(&version.unwrap());
    org.inject(Fault::on(
        "*/VersionData",
        FaultEffect::TruncateBody { after: 50_000 },
    ));
    let client = builder_of(&org).build().unwrap();
    let mut download = client.files().download(&version).await.unwrap();
    let mut read = Vec::<Bytes>::new();
    let error = loop {
        match download.chunk().await {
            Ok(Some(chunk)) => read.push(chunk),
            Ok(None) => panic!("a broken file ended as if it were whole"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Transport);
    let again = download.chunk().await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Transport);
}

#[tokio::test]
async fn a_large_body_that_gets_no_answer_is_given_up_when_it_is_out() {
    let server = BrokenServer::start(vec![Act::AnswerLate(
        Duration::from_secs(3_600),
        200,
        "{}".to_owned(),
    )])
    .await;
    let client = builder(&server.url)
        .retry(RetryPolicy::none())
        .idle_timeout(Duration::from_millis(500))
        .build()
        .unwrap();
    let body = vec![b'x'; 20 * 1024 * 1024];
    let request = client.request(Method::POST, "/x").body("text/plain", body);
    let sent = tokio::time::timeout(Duration::from_secs(300), request.send());
    let error = sent.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.may_have_happened());
}

#[tokio::test]
async fn other_blobs_come_as_they_come_and_bodies_of_any_type_go() {
    let server = BrokenServer::start(vec![
        Act::Answer(200, "x".repeat(100_000)),
        Act::Answer(201, "{}".to_owned()),
    ])
    .await;
    let client = client(&server.url);
    let path = "/sobjects/Attachment/00P5500000KQ12X/Body";
    let blob = client.request(Method::GET, path).stream().await.unwrap();
    assert_eq!(blob.bytes(100_000).await.unwrap().len(), 100_000);
    let bad = client
        .request(Method::POST, "/x")
        .body("a\nb", "x")
        .send()
        .await;
    assert_eq!(bad.unwrap_err().kind(), ErrorKind::Invalid);
    let form = "multipart/form-data; boundary=\"b\"";
    let request = client
        .request(Method::POST, "/sobjects/Attachment")
        .body(form, "x");
    request.send().await.unwrap();
}
