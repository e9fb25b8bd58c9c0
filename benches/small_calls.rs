//! Many small calls: a Task created, 32 at once.

#![allow(missing_docs)]

use bridge_benches::{
    Failure, Role, at_once, cirrus,
    contest::Contest,
    far_side::{self, FAR_SIDE, FarSide},
    runtime,
};
use cirrus::Cirrus;
use http::header::AUTHORIZATION;
use salesforce_client::{NewTask, RecordId, SalesforceClient, StaticToken};
use serde::{Deserialize, Serialize};

const SUBJECT: &str = "Contract signed";
const DESCRIPTION: &str = "Ada Lovelace has signed the contract in Box.";
const DEAL: &str = "006000000000001AAA";
const WIDTH: usize = 32;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Task {
    subject: &'static str,
    status: &'static str,
    what_id: &'static str,
    description: &'static str,
}

#[derive(Deserialize)]
struct Saved {
    id: String,
}

fn main() -> Result<(), Failure> {
    match Role::of_this_process() {
        Role::Bench { is_full } => bench(if is_full { (5_000, 9) } else { (64, 1) }),
        Role::Part(arguments) if arguments == [FAR_SIDE] => runtime()?.block_on(far_side::serve()),
        Role::Part(other) => Err(format!("no such part: {other:?}").into()),
    }
}

fn bench((calls, rounds): (u64, usize)) -> Result<(), Failure> {
    let far_side = FarSide::start()?;
    let runtime = runtime()?;
    let http = reqwest::Client::new();
    let url = format!("{}/services/data/v58.0/sobjects/Task", far_side.url);
    let client = SalesforceClient::new(StaticToken::new("token", &far_side.url)?)?;
    let cirrus = cirrus(&far_side.url)?;
    let deal = RecordId::new(DEAL)?;
    Contest::new(
        format!("{calls} Tasks a round, {WIDTH} at once"),
        "call",
        calls,
    )
    .with("reqwest and serde (floor)", || {
        let call = |_| bare(http.clone(), url.clone());
        runtime.block_on(at_once(calls, WIDTH, call))
    })
    .with("sobject(\"Task\").create", || {
        let call = |_| plain(client.clone());
        runtime.block_on(at_once(calls, WIDTH, call))
    })
    .with("tasks().create", || {
        let call = |_| checked(client.clone(), deal.clone());
        runtime.block_on(at_once(calls, WIDTH, call))
    })
    .with("cirrus", || {
        let call = |_| by_cirrus(cirrus.clone());
        runtime.block_on(at_once(calls, WIDTH, call))
    })
    .run(rounds)
}

fn task() -> Task {
    Task {
        subject: SUBJECT,
        status: "Completed",
        what_id: DEAL,
        description: DESCRIPTION,
    }
}

async fn bare(http: reqwest::Client, url: String) -> Result<(), Failure> {
    let request = http
        .post(url)
        .header(AUTHORIZATION, "Bearer token")
        .json(&task());
    let saved: Saved = request.send().await?.error_for_status()?.json().await?;
    (!saved.id.is_empty())
        .then_some(())
        .ok_or_else(|| "no id".into())
}

async fn plain(client: SalesforceClient) -> Result<(), Failure> {
    client.sobject("Task").create(&task()).await?;
    Ok(())
}

async fn checked(client: SalesforceClient, deal: RecordId) -> Result<(), Failure> {
    let task = NewTask::new(SUBJECT)
        .status("Completed")
        .what_id(&deal)
        .description(DESCRIPTION);
    client.tasks().create(&task).await?;
    Ok(())
}

async fn by_cirrus(client: Cirrus) -> Result<(), Failure> {
    client.sobject("Task").create(&task()).await?;
    Ok(())
}
