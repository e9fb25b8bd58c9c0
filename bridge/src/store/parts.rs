//! Many jobs by their numbers, some to a transaction.

use crate::queue::JobId;

/// A transaction on PostgreSQL holds a lock for each key that it touches, in a table which all
/// sessions share and which has room for some thousands; one on SQLite keeps all other writers
/// waiting.
const AT_ONCE: usize = 200;

/// Each number once, the oldest first.
pub(super) fn parts(ids: &[JobId]) -> impl Iterator<Item = Vec<JobId>> + Send + use<> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let mut left = ids.into_iter();
    std::iter::from_fn(move || {
        let part: Vec<_> = left.by_ref().take(AT_ONCE).collect();
        (!part.is_empty()).then_some(part)
    })
}
