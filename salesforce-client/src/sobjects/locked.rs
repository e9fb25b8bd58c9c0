//! Rows that somebody else held while many were written.

use std::future::Future;

use serde_json::Value;
use tracing::debug;

use super::Saved;
use crate::{
    RetryPolicy,
    call::Repeat,
    error::{Error, ErrorKind, Result},
    retry::Attempts,
};

/// Writes the records of one call. A record that met a locked row was not written, so it goes again
/// by itself; where all go or none, all of them.
pub(super) async fn written<F, W>(
    policy: &RetryPolicy,
    values: Vec<Value>,
    all_or_none: bool,
    write: F,
) -> Result<Vec<Result<Saved>>>
where
    F: Fn(Vec<Value>) -> W,
    W: Future<Output = Result<Vec<Result<Saved>>>>,
{
    let mut attempts = Attempts::new(policy);
    attempts.begin();
    let mut rows = write(values.clone()).await?;
    while let Some(error) = rows.iter().find_map(locked) {
        let Some(wait) = attempts.wait_after(error, Repeat::Unsafe) else {
            break;
        };
        debug!(%error, ?wait, "rows are locked: trying them again");
        let again: Vec<usize> = (0..rows.len())
            .filter(|place| all_or_none || locked(&rows[*place]).is_some())
            .collect();
        tokio::time::sleep(wait).await;
        attempts.begin();
        match write(again.iter().map(|place| values[*place].clone()).collect()).await {
            Ok(answers) => {
                for (place, answer) in again.into_iter().zip(answers) {
                    rows[place] = answer;
                }
            }
            Err(error) => {
                for place in again {
                    rows[place] = Err(error.again());
                }
            }
        }
    }
    Ok(rows)
}

fn locked(row: &Result<Saved>) -> Option<&Error> {
    let error = row.as_ref().err()?;
    // What the whole call met was tried again as a whole.
    (error.kind() == ErrorKind::RowLocked && error.status().is_none()).then_some(error)
}
