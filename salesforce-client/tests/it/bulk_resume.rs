//! Loads and reads that break, and go on where they were.

use std::{collections::BTreeMap, io, pin::pin, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use salesforce_client::{
    Error, ErrorKind, Record, RetryPolicy, SalesforceClient,
    bulk::{IngestJob, JobId, QueryJob, ResultLocator},
    testing::{FakeSalesforce, Fault, FaultEffect},
};
use serde::Serialize;
use serde_json::json;

use crate::{
    org::{builder_of, names, start, with},
    support::{Act, BrokenServer, client},
};

fn rows<T>(rows: impl IntoIterator<Item = T>) -> impl futures_util::Stream<Item = io::Result<T>>
where
    T: Send + 'static,
{
    stream::iter(rows.into_iter().map(Ok).collect::<Vec<_>>())
}

async fn only(jobs: impl futures_util::Stream<Item = Result<IngestJob, Error>>) -> IngestJob {
    let mut jobs: Vec<_> = jobs.try_collect().await.unwrap();
    assert_eq!(jobs.len(), 1);
    jobs.remove(0)
}

async fn wait(job: &IngestJob) {
    let short = Duration::from_millis(1);
    job.wait().poll_every(short, short).send().await.unwrap();
}

/// A job over these accounts that is done.
async fn query(client: &SalesforceClient, org: &FakeSalesforce, accounts: u32) -> QueryJob {
    for number in 0..accounts {
        let account = json!({ "Name": format!("{number:03} of the accounts") });
        org.create("Account", account).unwrap();
    }
    let soql = "SELECT Name FROM Account ORDER BY Name";
    let job = client.bulk().query(soql).send().await.unwrap();
    let short = Duration::from_millis(1);
    job.wait().poll_every(short, short).send().await.unwrap();
    job
}

#[tokio::test]
async fn the_job_that_may_have_been_closed_is_told() {
    let (org, client) = start().await;
    let lost = Fault::on("*/jobs/ingest/*", FaultEffect::LostAnswer).method("PATCH");
    org.inject(lost.times(5));
    let reset = Fault::on("*/jobs/ingest/*", FaultEffect::Reset).method("GET");
    org.inject(reset.times(5));
    let insert = client.bulk().insert("Account").columns(["Name"]);
    let mut jobs = pin!(insert.rows(rows([("a",), ("b",)])));
    let error = jobs.try_next().await.unwrap_err();
    assert!(error.may_have_happened());
    assert_eq!(error.rows(), Some(0..2));
    let job = error.job_id().unwrap();
    assert!(error.to_string().contains(job.as_str()), "{error}");
    // It was closed, and its rows are there: who looks writes nothing twice.
    let job = client.bulk().ingest_job(job);
    wait(&job).await;
    assert_eq!(names(&org), ["a", "b"]);
}

#[tokio::test]
async fn each_job_tells_its_rows_and_a_failure_from_where_to_go_on() {
    let (org, client) = start().await;
    let client = builder_of(&org)
        .retry(RetryPolicy::none())
        .build()
        .unwrap_or(client);
    let all: Vec<_> = (0..9).map(|number| (format!("row {number}"),)).collect();
    let load = |from: usize| {
        let insert = client.bulk().insert("Account").columns(["Name"]);
        insert.job_size(28).rows(rows(all[from..].to_vec()))
    };
    // The third job's data does not arrive.
    let reset = Fault::on("*/batches", FaultEffect::Reset).method("PUT");
    org.inject(reset.skip(2));
    let mut jobs = pin!(load(0));
    let mut written = 0;
    let error = loop {
        match jobs.next().await.unwrap() {
            Ok(job) => {
                assert_eq!(job.rows(), Some(written..written + 3));
                written += 3;
                wait(&job).await;
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.rows(), Some(6..9));
    assert_eq!(error.job_id(), None);
    let rest = load(usize::try_from(error.rows().unwrap().start).unwrap());
    for job in rest.try_collect::<Vec<_>>().await.unwrap() {
        wait(&job).await;
    }
    let expected: Vec<_> = all.into_iter().map(|(name,)| name).collect();
    assert_eq!(names(&org), expected);
}

#[tokio::test]
async fn results_that_break_off_are_read_on_where_they_were() {
    let (org, client) = start().await;
    let job = query(&client, &org, 50).await;
    let expected = names(&org);
    for at_once in [1, 3] {
        for after in [0, 3, 200, 777] {
            let torn = FaultEffect::TruncateBody { after };
            org.inject(Fault::on("*/results", torn).times(3));
            let results = job.results::<Record>().max_records(40).parallel(at_once);
            let read: Vec<Record> = results.stream().try_collect().await.unwrap();
            let mut read: Vec<_> = read
                .iter()
                .map(|row| row["Name"].as_str().unwrap())
                .collect();
            read.sort_unstable();
            assert_eq!(read, expected, "{at_once} at once, torn after {after}");
        }
    }
    let torn = FaultEffect::TruncateBody { after: 100 };
    org.inject(Fault::on("*/results", torn).times(100));
    let read: Vec<_> = job.results::<Record>().stream().collect().await;
    let error = read.last().unwrap().as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
}

#[tokio::test]
async fn what_became_of_the_rows_is_read_on_where_it_broke_off() {
    let (org, client) = with(FakeSalesforce::builder().bulk_rows_per_poll(60)).await;
    let name = |number: u32| format!("{number:03} of \"the\" accounts,\nall of them");
    let long = |number: u32| format!("{number:03} {}", "x".repeat(300));
    let given: Vec<String> = (0..100)
        .map(|number| match number % 2 {
            0 => name(number),
            _ => long(number),
        })
        .collect();
    let insert = client.bulk().insert("Account").columns(["Name"]);
    let job = only(insert.rows(rows(given.clone().into_iter().map(|name| (name,))))).await;
    // So far, and no further: the rest is not come to.
    job.info().await.unwrap();
    job.info().await.unwrap();
    job.abort().await.unwrap();
    let expected = |rest: usize| {
        let done = given[..60].iter();
        done.skip(rest).step_by(2).cloned().collect::<Vec<_>>()
    };
    for after in [0, 5, 11, 40, 333, 1_500] {
        let torn = FaultEffect::TruncateBody { after };
        let again = |path| org.inject(Fault::on(path, torn.clone()).times(3));
        again("*/successfulResults");
        let read = job.successful_results::<(String,)>();
        let read: Vec<_> = read.map_ok(|row| row.record.0).try_collect().await.unwrap();
        assert_eq!(read, expected(0), "torn after {after}");
        again("*/failedResults");
        let read = job.failed_results::<(String,)>();
        let read: Vec<_> = read.map_ok(|row| row.record.0).try_collect().await.unwrap();
        assert_eq!(read, expected(1), "torn after {after}");
        again("*/unprocessedrecords");
        let read = job.unprocessed_records::<(String,)>();
        let read: Vec<_> = read.map_ok(|row| row.0).try_collect().await.unwrap();
        assert_eq!(read, given[60..], "torn after {after}");
    }
}

#[tokio::test]
async fn rows_that_come_in_another_order_the_second_time_are_an_error_and_no_row_twice() {
    let first = "\"sf__Id\",\"sf__Created\",\"Name\"\n\
                 \"0015500000KQ12XAAT\",\"true\",\"a\"\n\
                 \"0015500000KQ12YAAT\",\"true\",\"b\"\n\
                 \"0015500000KQ12ZAAT\",\"true\",\"c\"\n";
    let lines: Vec<_> = first.split_inclusive('\n').collect();
    let torn = first.len() - 10;
    let swapped = [lines[0], lines[2], lines[1], lines[3]].concat();
    let fewer = [lines[0], lines[1]].concat();
    for (again, is_same) in [(first.to_owned(), true), (swapped, false), (fewer, false)] {
        let acts = vec![Act::Torn(torn, first.to_owned()), Act::Answer(200, again)];
        let server = BrokenServer::start(acts).await;
        let client = client(&server.url);
        let job = client.bulk().ingest_job(&JobId::new("7505500000KQ12XAAT"));
        let read: Vec<_> = job.successful_results::<(String,)>().collect().await;
        let names: Vec<_> = read.iter().flatten().map(|row| &*row.record.0).collect();
        match is_same {
            true => assert_eq!(names, ["a", "b", "c"]),
            false => {
                assert_eq!(names, ["a", "b"]);
                let error = read.last().unwrap().as_ref().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Transport, "{error:?}");
                assert!(error.is_retryable());
                assert!(std::error::Error::source(error).is_some());
                assert!(error.to_string().contains("from the start"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_always_breaks_off_a_row_later_is_given_up() {
    let header = "\"sf__Id\",\"sf__Created\",\"Name\"\n";
    let row = "\"0015500000KQ12XAAT\",\"true\",\"a\"\n";
    let text = format!("{header}{}", row.repeat(200));
    let torn = |rows| Act::Torn(header.len() + rows * row.len() + 1, text.clone());
    let server = BrokenServer::start((100..200).map(torn).collect()).await;
    let client = client(&server.url);
    let job = client.bulk().ingest_job(&JobId::new("7505500000KQ12XAAT"));
    let mut read: Vec<_> = job.successful_results::<(String,)>().collect().await;
    let error = read.pop().unwrap().unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert!(read.iter().all(Result::is_ok));
    assert_eq!(server.waiting(), 5, "as many attempts as are allowed");
}

#[tokio::test]
async fn another_process_goes_on_at_a_place_that_was_kept() {
    let (org, client) = start().await;
    let job = query(&client, &org, 25).await;
    let results = job.results::<Record>().max_records(10);
    let mut pages = pin!(results.pages());
    let first = pages.try_next().await.unwrap().unwrap();
    assert_eq!(first.rows.len(), 10);
    let kept = serde_json::to_string(&first.next).unwrap();

    let place: Option<ResultLocator> = serde_json::from_str(&kept).unwrap();
    let job = client.bulk().query_job(job.id());
    let results = || {
        job.results::<Record>()
            .max_records(10)
            .from(place.clone().unwrap())
    };
    let rest: Vec<_> = results().pages().try_collect().await.unwrap();
    assert_eq!(
        rest.iter().map(|page| page.rows.len()).collect::<Vec<_>>(),
        [10, 5]
    );
    assert!(rest[1].next.is_none());
    let streamed: Vec<Record> = results().stream().try_collect().await.unwrap();
    assert_eq!(
        streamed,
        [rest[0].rows.clone(), rest[1].rows.clone()].concat()
    );
    assert_eq!(streamed[0]["Name"], names(&org)[10]);
}

#[tokio::test]
async fn csv_in_another_encoding_is_refused_and_nothing_is_written() {
    let (org, client) = start().await;
    let csv: &[u8] = b"Name\nAcme\n\nM\xfcller\n";
    let mut jobs = pin!(client.bulk().insert("Account").csv(csv));
    let error = jobs.try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Content);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("row 2"), "{cause}");
    assert!(org.requests().is_empty());
}

#[tokio::test]
async fn a_quote_that_is_never_closed_does_not_fill_the_memory() {
    let (_org, client) = start().await;
    let endless = tokio::io::AsyncReadExt::chain(&b"Name\n\""[..], tokio::io::repeat(b'x'));
    let mut jobs = pin!(client.bulk().insert("Account").csv(endless));
    let error = jobs.try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn maps_and_records_are_rows_too() {
    #[derive(Serialize)]
    struct Named {
        #[serde(rename = "Name")]
        name: &'static str,
        #[serde(flatten)]
        more: BTreeMap<&'static str, u32>,
    }
    let (org, client) = start().await;
    let bulk = client.bulk();
    // As queries give them.
    let record = |name: &str| {
        let record = json!({
            "attributes": { "type": "Account" }, "Name": name, "NumberOfEmployees": 7, "Phone": null,
        });
        serde_json::from_value::<Record>(record).unwrap()
    };
    let records = rows([record("a, \"b\""), record("c")]);
    wait(&only(bulk.insert("Account").rows(records)).await).await;
    let named = Named {
        name: "d",
        more: BTreeMap::from([("NumberOfEmployees", 7)]),
    };
    wait(&only(bulk.insert("Account").rows(rows([named]))).await).await;
    // In the order of columns that are given, with what is missing left empty.
    let maps = [
        BTreeMap::from([("Name", "e")]),
        BTreeMap::from([("Phone", "1"), ("Name", "f")]),
    ];
    let insert = bulk.insert("Account").columns(["Phone", "Name"]);
    wait(&only(insert.rows(rows(maps.clone()))).await).await;
    assert_eq!(names(&org), ["a, \"b\"", "c", "d", "e", "f"]);
    let accounts = org.records("Account");
    assert_eq!(accounts[2]["NumberOfEmployees"], 7);
    assert_eq!(accounts[4]["Phone"], "1");

    // A key that is no column would be lost in silence.
    let mut jobs = pin!(bulk.insert("Account").rows(rows(maps)));
    let error = jobs.try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Content);
    assert!(error.to_string().contains("columns()"), "{error}");
}
