//! Jobs leased and settled in order per key.

#![allow(missing_docs)]

mod floor;
mod ours;

use std::time::Duration;

use bridge_benches::{Failure, Role, contest::Contest, process::scratch, runtime};
use tempfile::TempDir;

pub(crate) const BATCH: usize = 16;

/// How the jobs lie.
#[derive(Clone, Copy)]
pub(crate) struct Jobs {
    /// How many there are.
    pub(crate) count: usize,
    /// How many of them have one and the same key.
    pub(crate) hot: usize,
    /// How many are worked on before the round ends.
    pub(crate) due: usize,
}

impl Jobs {
    /// The key of a job: the hot one for the first, and a thousand in turn for the others.
    pub(crate) fn key(self, number: usize) -> String {
        if number < self.hot {
            "box-file/hot".to_owned()
        } else {
            format!("box-file/{}", number % 1_000)
        }
    }

    pub(crate) fn body(number: usize) -> Vec<u8> {
        let mut body = format!("{{\"number\":{number},\"text\":\"").into_bytes();
        body.resize(500, b'x');
        body
    }
}

fn main() -> Result<(), Failure> {
    let Role::Bench { is_full } = Role::of_this_process() else {
        return Err("this bench has no parts".into());
    };
    let (count, hot, due, rounds) = if is_full {
        (50_000, 20_000, 8_000, 5)
    } else {
        (200, 50, 160, 1)
    };
    for hot in [0, hot] {
        let jobs = Jobs { count, hot, due };
        let title =
            format!("{due} of {count} jobs a round, {hot} of them with one key, {BATCH} at a time");
        let runtime = runtime()?;
        let ours = |workers| {
            let runtime = &runtime;
            move || -> Result<Duration, Failure> {
                let folder = folder()?;
                runtime.block_on(ours::work(&folder.path().join("inbox.db"), jobs, workers))
            }
        };
        Contest::new(title, "job", due as u64)
            .with_own_clock("rusqlite", || {
                let folder = folder()?;
                floor::work(&folder.path().join("inbox.db"), jobs)
            })
            .with_own_clock("SqliteStore, one worker", ours(1))
            .with_own_clock("SqliteStore, four workers", ours(4))
            .run(rounds)?;
    }
    Ok(())
}

fn folder() -> Result<TempDir, Failure> {
    scratch(env!("CARGO_TARGET_TMPDIR"))
}
