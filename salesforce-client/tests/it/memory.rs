//! How much memory the client needs for what is large: it runs in a process of its own, so that
//! neither the fake nor other tests are counted.

use std::{
    io,
    process::{Command, Output},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream};
use md5::{Digest, Md5};
use salesforce_client::{
    SalesforceClient, StaticToken, Strategy,
    testing::{FakeSalesforce, Fault, FaultEffect},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{org::create, support::quick};

const WORK: &str = "MEMORY_WORK";
const ORG: &str = "MEMORY_ORG";
const TOKEN: &str = "MEMORY_TOKEN";
const MIB: u64 = 1 << 20;
/// By so much the peak may be higher for a load of a hundred times the size: what the allocator
/// and the connections happen to need more.
const MORE: u64 = 8 * MIB;
/// The largest file that Salesforce takes.
const LARGEST: u64 = (1 << 31) - 1;
const ROWS: u64 = 1_000_000;
/// Every so many rows there is one that cannot be written.
const BAD: u64 = 1_000;

/// The client: this binary again, asked for this test alone.
#[tokio::test]
#[ignore = "only as the child of the tests below"]
async fn client() {
    let Ok(org) = std::env::var(ORG) else {
        return;
    };
    let token = StaticToken::new(std::env::var(TOKEN).unwrap(), &org).unwrap();
    let client = SalesforceClient::builder(token).login_url(&org);
    let client = client.retry(quick()).build().unwrap();
    match std::env::var(WORK).unwrap().as_str() {
        "upload" => {
            upload(&client, 32 * MIB).await;
            let before = peak();
            upload(&client, LARGEST).await;
            assert_flat(before);
        }
        "ingest" => {
            ingest(&client, ROWS / 20).await;
            let before = peak();
            ingest(&client, ROWS).await;
            assert_flat(before);
        }
        "query" => {
            query(&client, 1).await;
            let before = peak();
            query(&client, 50).await;
            assert_flat(before);
        }
        other => panic!("{other}?"),
    }
}

fn assert_flat(before: u64) {
    let more = peak().saturating_sub(before);
    println!("{} KiB and {} KiB more", before >> 10, more >> 10);
    assert!(more < MORE, "{} MiB more than {}", more >> 20, before >> 20);
}

/// The most memory that this process has had at once. Where the system does not tell, nothing is
/// said of memory here.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

async fn in_a_process_of_its_own(org: &FakeSalesforce, work: &'static str) {
    let (url, token) = (org.url().to_owned(), org.issue_token());
    let run = move || -> io::Result<Output> {
        Command::new(std::env::current_exe()?)
            .args(["--exact", "memory::client", "--ignored", "--nocapture"])
            .envs([(WORK, work), (ORG, &url), (TOKEN, &token)])
            .output()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains("1 passed"), "{said}{errors}");
    println!("{work}: {said}");
}

/// Bytes that differ from one mebibyte to the next.
fn pieces(size: u64) -> impl Iterator<Item = Vec<u8>> + Send {
    let piece: Vec<u8> = (0..MIB).map(|place| ((place * 31) >> 3) as u8).collect();
    (0..size.div_ceil(MIB)).map(move |number| {
        let length = (size - number * MIB).min(MIB);
        let mut piece = piece[..usize::try_from(length).unwrap()].to_vec();
        piece[..8].copy_from_slice(&number.to_le_bytes());
        piece
    })
}

fn content(size: u64) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::iter(pieces(size).map(|piece| Ok(piece.into())))
}

async fn upload(client: &SalesforceClient, size: u64) {
    let request = client.files().upload("big.bin");
    let request = request.strategy(Strategy::Multipart);
    let open = || async move { Ok::<_, io::Error>(content(size)) };
    request.send_with(open, size).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gigabytes_go_out_whole_and_in_flat_memory_after_a_connection_broke() {
    let builder = FakeSalesforce::builder().keep_bytes(false);
    let org = builder.start().await.unwrap();
    let path = "*/sobjects/ContentVersion";
    org.inject(Fault::on(path, FaultEffect::Reset).skip(1));
    org.inject(Fault::on(path, FaultEffect::ResetBody { after: 64 << 20 }));
    in_a_process_of_its_own(&org, "upload").await;

    let versions = org.records("ContentVersion");
    assert_eq!(versions.len(), 2, "what broke off left nothing");
    assert_eq!(versions[1]["ContentSize"], LARGEST);
    let mut hash = Md5::new();
    pieces(LARGEST).for_each(|piece| hash.update(piece));
    let digest = hash.finalize();
    let checksum: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(versions[1]["Checksum"], json!(checksum));
    let tries = org.requests().into_iter();
    assert_eq!(tries.filter(|it| it.method == "POST").count(), 4);
}

/// A change of one of a few records. A million of them are more than one job takes.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    id: String,
    phone: u64,
    description: String,
}

async fn ingest(client: &SalesforceClient, count: u64) {
    let ids: Vec<String> = client
        .query::<salesforce_client::Record>("SELECT Id FROM Account ORDER BY Id")
        .stream()
        .map_ok(|account| account["Id"].as_str().unwrap().to_owned())
        .try_collect()
        .await
        .unwrap();
    let description = "It is \"said\", that\nthere is more to say of each. ".repeat(2);
    let given = (0..count).map(move |n| Change {
        id: match n % BAD {
            0 => "001000000000001AAA".to_owned(),
            _ => ids[(n % 100) as usize].clone(),
        },
        phone: n,
        description: description.clone(),
    });
    let given = stream::iter(given.map(Ok::<_, io::Error>));
    let mut jobs = std::pin::pin!(client.bulk().update("Account").rows(given));
    let (mut written, mut failed, mut sum) = (0, 0, 0);
    while let Some(job) = jobs.try_next().await.unwrap() {
        let wait = job.wait();
        let wait = wait.poll_every(Duration::from_millis(5), Duration::from_millis(50));
        wait.send().await.unwrap();
        let mut successful = std::pin::pin!(job.successful_results::<Change>());
        while let Some(row) = successful.try_next().await.unwrap() {
            assert_eq!(row.id.as_str(), row.record.id);
            written += 1;
            sum += row.record.phone;
        }
        let mut refused = std::pin::pin!(job.failed_results::<Change>());
        while let Some(row) = refused.try_next().await.unwrap() {
            assert_eq!(row.record.phone % BAD, 0, "{row:?}");
            assert_eq!(row.error.code.as_str(), "NOT_FOUND");
            failed += 1;
            sum += row.record.phone;
        }
        job.delete().await.unwrap();
    }
    assert_eq!((written, failed), (count - count / BAD, count / BAD));
    assert_eq!(sum, count * (count - 1) / 2, "each row once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_rows_are_written_and_their_outcomes_read_in_flat_memory() {
    let org = FakeSalesforce::builder().start().await.unwrap();
    for number in 0..100 {
        create(&org, "Account", json!({ "Name": number.to_string() }));
    }
    in_a_process_of_its_own(&org, "ingest").await;
    let sent = org.requests().into_iter();
    let sent = sent
        .filter(|it| it.method == "PUT")
        .map(|it| it.content_length);
    let sent: Vec<_> = sent.collect();
    // The small load, and the large one in two jobs, the first of them full.
    assert_eq!(sent.len(), 3);
    assert!((99_999_000..=100_000_000).contains(&sent[1]), "{sent:?}");
}

async fn query(client: &SalesforceClient, times: usize) {
    let job = client.bulk().query("SELECT Id, Name FROM Account");
    let job = job.send().await.unwrap();
    let wait = job.wait();
    let wait = wait.poll_every(Duration::from_millis(1), Duration::from_millis(4));
    wait.send().await.unwrap();
    for _ in 0..times {
        let rows = job.results::<salesforce_client::Record>().stream();
        let count = rows.try_fold(0, |count, _| async move { Ok(count + 1) });
        assert_eq!(count.await.unwrap(), 20_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_rows_are_queried_in_flat_memory() {
    let builder = FakeSalesforce::builder().page_size(5_000);
    let org = builder.start().await.unwrap();
    for number in 0..20_000 {
        create(&org, "Account", json!({ "Name": number.to_string() }));
    }
    in_a_process_of_its_own(&org, "query").await;
}
