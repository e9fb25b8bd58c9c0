//! Answers that break off after a good head.

use std::time::Duration;

use futures_util::{FutureExt, TryStreamExt};
use salesforce_client::{
    ErrorKind, Governor, Record, RecordId, Strategy,
    testing::{FakeSalesforce, Fault, FaultEffect},
};

use crate::org::{account, builder_of, start, with};

fn file(org: &FakeSalesforce, content: &[u8]) -> RecordId {
    let id = account(org, "Acme");
    let version = org.add_file_as_other_user(id.as_str(), "a.txt", content);
    RecordId::new(&version.unwrap()).unwrap()
}

#[tokio::test]
async fn a_download_that_breaks_off_never_looks_whole() {
    let (org, client) = start().await;
    let version = file(&org, &[7; 100_000]);
    let effect = FaultEffect::TruncateBody { after: 60_000 };
    org.inject(Fault::on("*/VersionData", effect));
    let mut download = client.files().download(&version).await.unwrap();
    let mut came = 0;
    let error = loop {
        match download.chunk().await {
            Ok(Some(chunk)) => came += chunk.len(),
            Ok(None) => panic!("it ended well after {came} bytes"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Transport);
    // Who asks once more is not told that it is over.
    let again = download.chunk().await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Transport);
}

#[tokio::test]
async fn a_reader_that_stops_waiting_goes_on_where_it_was() {
    let (org, client) = start().await;
    let content: Vec<u8> = (0..2_000_000_u32).map(|n| n as u8).collect();
    let version = file(&org, &content);
    let mut download = client.files().download(&version).await.unwrap();
    let (mut read, mut dropped) = (Vec::new(), 0);
    loop {
        // A future that is polled once and dropped.
        match download.chunk().now_or_never() {
            Some(Ok(Some(chunk))) => read.extend_from_slice(&chunk),
            Some(Ok(None)) => break,
            Some(Err(error)) => panic!("{error:?}"),
            None => {
                dropped += 1;
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        }
    }
    assert!(dropped > 0);
    assert!(read == content, "{} bytes of {}", read.len(), content.len());
}

#[tokio::test]
async fn a_page_of_a_query_that_breaks_off_is_asked_for_again() {
    let (org, client) = with(FakeSalesforce::builder().page_size(2)).await;
    for number in 0..6 {
        account(&org, &number.to_string());
    }
    let broken = |path| Fault::on(path, FaultEffect::TruncateBody { after: 40 });
    org.inject(broken("*/query"));
    org.inject(broken("*/query/*").skip(1).times(2));
    let query = client.query::<Record>("SELECT Name FROM Account ORDER BY Name");
    let rows: Vec<Record> = query.stream().try_collect().await.unwrap();
    let names: Vec<&str> = rows
        .iter()
        .map(|row| row["Name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["0", "1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_throttled_call_is_no_used_up_day() {
    let org = FakeSalesforce::start().await.unwrap();
    let governor = Governor::builder().build();
    let client = builder_of(&org).governor(&governor).build().unwrap();
    let effect = FaultEffect::RateLimit {
        retry_after: Some("0".to_owned()),
    };
    org.inject(Fault::on("*/limits", effect));
    client.limits().await.unwrap();
    assert_eq!(governor.state().quota.closed_until, None);
}

#[tokio::test]
async fn an_upload_that_is_cut_in_its_middle_is_sent_anew_and_never_half() {
    let (org, client) = start().await;
    let id = account(&org, "Acme");
    // More than what buffers on the way take.
    const SIZE: u64 = 24 << 20;
    for after in [0, 3 << 20] {
        let effect = FaultEffect::ResetBody { after };
        org.inject(Fault::on("*/sobjects/ContentVersion", effect));
    }
    let content = || async {
        let chunks = (0..24).map(|n| std::io::Result::Ok(bytes::Bytes::from(vec![n; 1 << 20])));
        std::io::Result::Ok(futures_util::stream::iter(chunks))
    };
    let upload = client
        .files()
        .upload("a.bin")
        .first_publish_location(&id)
        .strategy(Strategy::Multipart);
    let version = upload.send_with(content, SIZE).await.unwrap();
    let kept = org.bytes(version.as_str()).unwrap();
    let expected: Vec<u8> = (0..24).flat_map(|n| vec![n; 1 << 20]).collect();
    assert!(kept == expected, "{} bytes", kept.len());
    assert_eq!(org.files().len(), 1);
}
