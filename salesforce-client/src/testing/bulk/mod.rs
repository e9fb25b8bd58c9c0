//! Bulk API 2.0: jobs that write and jobs that read.
//!
//! A job moves on when it is asked after: from `UploadComplete` to `InProgress`, and then by as
//! many rows as [`FakeSalesforceBuilder::bulk_rows_per_poll`](super::FakeSalesforceBuilder) says.

mod ingest;
mod query;
mod rows;
mod table;
#[cfg(feature = "bulk-v1")]
pub(super) mod zip;

use std::collections::BTreeMap;

use super::ids;
use super::refusal::Refusal;
use super::reply::Reply;
use super::state::{Call, Config, State};
use ingest::IngestJob;
use query::QueryJob;

/// All jobs, each kind by its id.
#[derive(Default)]
pub(super) struct Jobs {
    made: u64,
    ingest: BTreeMap<String, IngestJob>,
    query: BTreeMap<String, QueryJob>,
    #[cfg(feature = "bulk-v1")]
    zip: BTreeMap<String, zip::ZipJob>,
}

impl Jobs {
    fn next_id(&mut self) -> String {
        self.made += 1;
        ids::make("750", self.made)
    }
}

/// Everything under `jobs`.
pub(super) fn answer(
    state: &mut State,
    config: &Config,
    call: &mut Call,
    path: &[&str],
) -> Result<Reply, Refusal> {
    match path {
        ["ingest", rest @ ..] => ingest::answer(state, config, call, rest),
        ["query", rest @ ..] => query::answer(state, config, call, rest),
        _ => Err(Refusal::not_found()),
    }
}

/// Codes of these resources are the older API's exceptions in capitals; the text begins with the
/// exception itself.
fn refuse(exception: &str, text: &str) -> Refusal {
    Refusal::bad(
        &exception.to_ascii_uppercase(),
        format!("{exception} : {text}"),
    )
}

fn wrong_state(id: &str, state: &str) -> Refusal {
    refuse(
        "InvalidJobState",
        &format!("Job {id} is in the state {state}, which does not allow this"),
    )
}

/// Ids in either form.
fn key(id: &str) -> Result<String, Refusal> {
    ids::normalise(id).ok_or_else(Refusal::not_found)
}
