//! Many records in calls of 200.

mod call;
mod read;
mod write;

use std::sync::OnceLock;

use futures_core::Stream;
use futures_util::{StreamExt, stream};

pub use self::write::{Collection, Saved};
use crate::error::{Error, ErrorKind, Result};

/// How many records Salesforce takes in one call.
const CHUNK: usize = 200;

/// What became of one of many records.
#[derive(Debug)]
#[non_exhaustive]
pub struct Row<I, S = Saved> {
    /// What was given.
    pub input: I,
    /// What became of it. Where a whole call failed, each of its records has the call's error;
    /// where only this record was refused, the error has its codes and no status.
    pub outcome: Result<S>,
}

/// After a failure that every other call would share, nothing more is sent.
fn unless_hopeless(hopeless: &OnceLock<Error>) -> Result<()> {
    match hopeless.get() {
        Some(error) => Err(error.again().incomplete().unsent()),
        None => Ok(()),
    }
}

fn note_hopeless(hopeless: &OnceLock<Error>, error: &Error) {
    let concerns_all = matches!(
        error.kind(),
        ErrorKind::Auth | ErrorKind::Config | ErrorKind::DailyLimit
    );
    if concerns_all && !error.is_retryable() {
        // Who was first is right as well.
        let _ = hopeless.set(error.again());
    }
}

/// Salesforce answers in the order of the inputs; an answer of another length cannot be matched, and
/// to guess would give records others' ids.
fn unmatched(operation: &'static str) -> Error {
    Error::new(ErrorKind::Decode, operation)
        .sent()
        .detail("there are not as many results as records")
}

fn rows<I, S>(inputs: Vec<I>, outcomes: Vec<Result<S>>) -> Vec<Row<I, S>> {
    let rows = inputs.into_iter().zip(outcomes);
    rows.map(|(input, outcome)| Row { input, outcome })
        .collect()
}

fn chunks<I, F, W, R>(inputs: I, call: F) -> impl Stream<Item = R>
where
    I: Iterator,
    F: FnMut(Vec<I::Item>) -> W,
    W: Future<Output = Vec<R>>,
{
    stream::unfold((inputs, call), |(mut inputs, mut call)| async move {
        let chunk: Vec<I::Item> = inputs.by_ref().take(CHUNK).collect();
        if chunk.is_empty() {
            return None;
        }
        let rows = call(chunk).await;
        Some((stream::iter(rows), (inputs, call)))
    })
    .flatten()
}

fn joined<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    ids.collect::<Vec<_>>().join(",")
}
