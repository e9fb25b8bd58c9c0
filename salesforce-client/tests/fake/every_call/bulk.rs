use std::convert::Infallible;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt, stream};
use salesforce_client::bulk::{FileRef, IngestJob, ZipBatch};
use salesforce_client::{RecordId, Result};
use serde::{Deserialize, Serialize};

use super::Served;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    id: Option<String>,
    name: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Keyed {
    #[serde(rename = "Key__c")]
    key: &'static str,
    #[serde(rename = "Name")]
    name: &'static str,
}

#[derive(Clone, Debug, Serialize)]
struct Gone {
    #[serde(rename = "Id")]
    id: RecordId,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    path_on_client: &'static str,
    version_data: FileRef,
}

fn rows<T>(rows: Vec<T>) -> impl Stream<Item = std::result::Result<T, Infallible>>
where
    T: Clone + Send + 'static,
{
    stream::iter(rows.into_iter().map(Ok))
}

/// The one job of an ingest, done.
async fn done(jobs: impl Stream<Item = Result<IngestJob>>) -> Result<IngestJob> {
    let mut jobs: Vec<IngestJob> = jobs.try_collect().await?;
    let job = jobs.remove(0);
    let wait = job
        .wait()
        .poll_every(Duration::from_millis(1), Duration::from_millis(4));
    let info = wait.send().await?;
    assert_eq!((info.number_records_failed, jobs.len()), (0, 0));
    Ok(job)
}

pub(super) async fn try_all(served: &mut Served) {
    ingest(served).await;
    query(served).await;
    zip(served).await;
}

async fn ingest(served: &mut Served) {
    let client = served.client.clone();
    let bulk = client.bulk();
    let csv = &b"Name\nOne\nTwo\n"[..];
    let job = served.ok(
        "IngestRequest::csv",
        done(bulk.insert("Account").csv(csv)).await,
    );
    let written = job.successful_results::<Row>();
    let written = served.all("IngestJob::successful_results", written).await;
    let ids: Vec<RecordId> = written.into_iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), 2);
    let failed = job.failed_results::<Row>();
    let failed = served.all("IngestJob::failed_results", failed).await;
    assert!(failed.is_empty());
    let left = job.unprocessed_records::<Row>();
    served.all("IngestJob::unprocessed_records", left).await;
    served.ok("IngestJob::info", job.info().await);
    served.ok("IngestJob::delete", job.delete().await);
    let insert = bulk.insert("Account").csv(csv);
    served.ok("Bulk::insert", done(insert).await);

    let changes = ids.iter().map(|id| Row {
        id: Some(id.as_str().to_owned()),
        name: Some("Changed".to_owned()),
    });
    let update = bulk.update("Account").rows(rows(changes.collect()));
    served.ok("Bulk::update", done(update).await);
    let keyed = Keyed {
        key: "b-1",
        name: "Keyed",
    };
    let upsert = bulk.upsert("Account", "Key__c").rows(rows(vec![keyed]));
    served.ok("Bulk::upsert", done(upsert).await);
    let gone = |id: &RecordId| rows(vec![Gone { id: id.clone() }]);
    let delete = bulk.delete("Account").rows(gone(&ids[0]));
    served.ok("Bulk::delete", done(delete).await);
    let delete = bulk.hard_delete("Account").rows(gone(&ids[1]));
    served.ok("Bulk::hard_delete", done(delete).await);
    let jobs = bulk.insert("Account").rows(rows(vec![Row {
        name: Some("Aborted".to_owned()),
        ..Row::default()
    }]));
    let jobs = served.all("IngestRequest::rows", jobs).await;
    let aborted = bulk.ingest_job(jobs[0].id()).abort().await;
    served.ok("IngestJob::abort", aborted);
}

async fn query(served: &mut Served) {
    let client = served.client.clone();
    let bulk = client.bulk();
    let text = "SELECT Id, Name FROM Account";
    served.ok("Bulk::query", bulk.query(text).send().await);
    let job = served.ok("BulkQuery::send", bulk.query(text).send().await);
    let wait = job
        .wait()
        .poll_every(Duration::from_millis(1), Duration::from_millis(4));
    served.ok("Wait::send", wait.send().await);
    served.ok("QueryJob::info", job.info().await);
    let all = served
        .all("QueryJob::results", job.results::<Row>().stream())
        .await;
    let parallel = job.results::<Row>().parallel(2).stream();
    let parallel = served.all("QueryResults::stream", parallel).await;
    assert_eq!(parallel.len(), all.len());
    let pages = job.results::<Row>().max_records(200).pages();
    let pages = served.all("QueryResults::pages", pages).await;
    assert!(pages.len() > 1);
    served.ok("QueryJob::delete", job.delete().await);
    let job = bulk.query(text).send().await.unwrap();
    served.ok("QueryJob::abort", bulk.query_job(job.id()).abort().await);
}

async fn zip(served: &mut Served) {
    let client = served.client.clone();
    let bulk = client.bulk();
    let mut batch = ZipBatch::new();
    let version = Version {
        path_on_client: "a.txt",
        version_data: batch.file("a", b"a").unwrap(),
    };
    batch.row(&version).unwrap();
    let job = bulk.insert_zip("ContentVersion").await;
    let job = served.ok("Bulk::insert_zip", job);
    let sent = served.ok("ZipJob::add_batch", job.add_batch(batch).await);
    served.ok("ZipJob::close", job.close().await);
    served.ok("SentBatch::info", sent.info().await);
    served.ok("SentBatch::wait", sent.wait().await);
    let outcomes = served.ok("SentBatch::results", sent.results().await);
    let record = outcomes[0].as_ref().unwrap();
    assert_eq!(served.org.bytes(record.id.as_str()).unwrap(), "a");
    let job = bulk.insert_zip("ContentVersion").await.unwrap();
    served.ok("ZipJob::abort", bulk.zip_job(job.id()).abort().await);
}
