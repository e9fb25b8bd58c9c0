//! 200,000 rows handed to a Bulk 2.0 job: job made, rows uploaded, job closed.

#![allow(missing_docs)]

use bridge_benches::{
    Failure, Role, cirrus,
    contest::Contest,
    far_side::{self, FAR_SIDE, FarSide},
    process::{Part, peak_memory},
    runtime,
};
use cirrus::{BulkIngestSpec, BulkOperation, Cirrus};
use futures_util::{TryStreamExt, stream};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use salesforce_client::{SalesforceClient, StaticToken};
use serde::Serialize;
use serde_json::json;

const ROWS: u64 = 200_000;
const OURS: &str = "ours";
const CIRRUS: &str = "cirrus";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    subject: String,
    status: &'static str,
    what_id: &'static str,
    #[serde(rename = "Box_Event_Id__c")]
    key: u64,
}

fn main() -> Result<(), Failure> {
    match Role::of_this_process() {
        Role::Bench { is_full } => bench(if is_full { (ROWS, 9) } else { (2_000, 1) }),
        Role::Part(arguments) if arguments == [FAR_SIDE] => runtime()?.block_on(far_side::serve()),
        Role::Part(arguments) => match arguments.as_slice() {
            [who, url, rows] => alone(who, url, rows.parse()?),
            other => Err(format!("no such part: {other:?}").into()),
        },
    }
}

fn bench((rows, rounds): (u64, usize)) -> Result<(), Failure> {
    let far_side = FarSide::start()?;
    let url = far_side.url.as_str();
    let runtime = runtime()?;
    let http = reqwest::Client::new();
    let client = client(url)?;
    let other = cirrus(url)?;
    Contest::new(format!("{rows} rows into one job"), "row", rows)
        .with("csv and reqwest (floor)", || {
            runtime.block_on(bare(&http, url, rows))
        })
        .with("bulk().insert().rows()", || {
            runtime.block_on(streamed(&client, rows))
        })
        .with("csv and cirrus", || {
            runtime.block_on(by_cirrus(&other, rows))
        })
        .run(rounds)?;
    for who in [OURS, CIRRUS] {
        let mut part = Part::start(&[who, url, &rows.to_string()])?;
        println!(
            "{who:<28} peak {} MiB in a process of its own",
            part.line()?
        );
    }
    Ok(())
}

/// One contender in a fresh process, which says how much memory it has had at most.
fn alone(who: &str, url: &str, rows: u64) -> Result<(), Failure> {
    let runtime = runtime()?;
    match who {
        OURS => runtime.block_on(streamed(&client(url)?, rows))?,
        _ => runtime.block_on(by_cirrus(&cirrus(url)?, rows))?,
    }
    println!("{:.1}", peak_memory()? as f64 / f64::from(1 << 20));
    Ok(())
}

fn client(url: &str) -> Result<SalesforceClient, Failure> {
    Ok(SalesforceClient::new(StaticToken::new("token", url)?)?)
}

fn row(number: u64) -> Row {
    Row {
        subject: format!("Contract {number} signed"),
        status: "Completed",
        what_id: "006000000000001AAA",
        key: number,
    }
}

fn csv_of(rows: u64) -> Result<Vec<u8>, Failure> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for number in 0..rows {
        csv.serialize(row(number))?;
    }
    Ok(csv.into_inner()?)
}

async fn bare(http: &reqwest::Client, url: &str, rows: u64) -> Result<(), Failure> {
    let jobs = format!("{url}/services/data/v58.0/jobs/ingest");
    let job = format!("{jobs}/750000000000001AAA");
    let create = json!({
        "object": "Task", "operation": "insert", "contentType": "CSV", "lineEnding": "LF",
    });
    let create = http.post(&jobs).json(&create);
    let upload = http
        .put(format!("{job}/batches"))
        .header(CONTENT_TYPE, "text/csv")
        .body(csv_of(rows)?);
    let close = http.patch(&job).json(&json!({ "state": "UploadComplete" }));
    for request in [create, upload, close] {
        let request = request.header(AUTHORIZATION, "Bearer token");
        request.send().await?.error_for_status()?.bytes().await?;
    }
    Ok(())
}

async fn streamed(client: &SalesforceClient, rows: u64) -> Result<(), Failure> {
    let rows = stream::iter((0..rows).map(|number| Ok::<_, std::io::Error>(row(number))));
    let jobs = client.bulk().insert("Task").rows(rows);
    let jobs: Vec<_> = jobs.try_collect().await?;
    (jobs.len() == 1)
        .then_some(())
        .ok_or_else(|| "not one job".into())
}

async fn by_cirrus(client: &Cirrus, rows: u64) -> Result<(), Failure> {
    let bulk = client.bulk();
    let ingest = bulk.ingest();
    let spec = BulkIngestSpec::new("Task", BulkOperation::Insert);
    let job = ingest.create(&spec).await?;
    ingest.upload(&job.id, csv_of(rows)?.into()).await?;
    ingest.close(&job.id).await?;
    Ok(())
}
