//! A query of 200,000 rows, read as types.

#![allow(missing_docs)]

use bridge_benches::{
    Failure, Role, cirrus,
    contest::Contest,
    far_side::{self, FAR_SIDE, FarSide, ROWS},
    runtime,
    sample::{BorrowedDeal, Deal},
};
use cirrus::Cirrus;
use futures_util::TryStreamExt;
use http::header::AUTHORIZATION;
use salesforce_client::{SalesforceClient, StaticToken};
use serde::Deserialize;

const SOQL: &str = "SELECT Id, Name, StageName, Amount, CloseDate, IsClosed FROM Opportunity";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    next_records_url: Option<String>,
    records: Vec<T>,
}

fn main() -> Result<(), Failure> {
    match Role::of_this_process() {
        Role::Bench { is_full } => bench(if is_full { 9 } else { 1 }),
        Role::Part(arguments) if arguments == [FAR_SIDE] => runtime()?.block_on(far_side::serve()),
        Role::Part(other) => Err(format!("no such part: {other:?}").into()),
    }
}

fn bench(rounds: usize) -> Result<(), Failure> {
    let far_side = FarSide::start()?;
    let runtime = runtime()?;
    let http = reqwest::Client::new();
    let client = SalesforceClient::new(StaticToken::new("token", &far_side.url)?)?;
    let cirrus = cirrus(&far_side.url)?;
    Contest::new(format!("{ROWS} rows in pages of 2,000"), "row", ROWS)
        .with("reqwest and serde (floor)", || {
            all(runtime.block_on(bare(&http, &far_side.url))?)
        })
        .with("query().stream()", || {
            all(runtime.block_on(streamed(&client))?)
        })
        .with("query().pages(), borrowed", || {
            all(runtime.block_on(borrowed(&client))?)
        })
        .with("cirrus query_stream_as()", || {
            all(runtime.block_on(by_cirrus(&cirrus))?)
        })
        .run(rounds)
}

fn all(rows: u64) -> Result<(), Failure> {
    (rows == ROWS)
        .then_some(())
        .ok_or_else(|| "rows are missing".into())
}

async fn bare(http: &reqwest::Client, root: &str) -> Result<u64, Failure> {
    let mut rows = 0;
    let mut next = Some("/services/data/v58.0/query?q=SELECT".to_owned());
    while let Some(path) = next {
        let request = http
            .get(format!("{root}{path}"))
            .header(AUTHORIZATION, "Bearer token");
        let body = request.send().await?.error_for_status()?.bytes().await?;
        let page: Page<Deal> = serde_json::from_slice(&body)?;
        rows += page.records.iter().filter(|deal| !deal.is_closed).count() as u64;
        next = page.next_records_url;
    }
    Ok(rows)
}

async fn streamed(client: &SalesforceClient) -> Result<u64, Failure> {
    let deals = client.query::<Deal>(SOQL).stream();
    let count = |rows, deal: Deal| async move { Ok(rows + u64::from(!deal.is_closed)) };
    Ok(deals.try_fold(0, count).await?)
}

async fn borrowed(client: &SalesforceClient) -> Result<u64, Failure> {
    let mut rows = 0;
    let mut pages = std::pin::pin!(client.query::<Deal>(SOQL).pages());
    while let Some(page) = pages.try_next().await? {
        let deals: Vec<BorrowedDeal<'_>> = page.rows()?;
        rows += deals.iter().filter(|deal| !deal.is_closed).count() as u64;
    }
    Ok(rows)
}

async fn by_cirrus(client: &Cirrus) -> Result<u64, Failure> {
    let deals = client.query_stream_as::<Deal>(SOQL);
    let count = |rows, deal: Deal| async move { Ok(rows + u64::from(!deal.is_closed)) };
    Ok(deals.try_fold(0, count).await?)
}
