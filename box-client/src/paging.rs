//! Lists over pages, the way that each endpoint turns them.

use futures_core::Stream;
use futures_util::{TryStreamExt, stream};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    call::Call,
    error::{Error, Result},
    transport::Transport,
};

/// Box refuses to skip more than this.
const DEEPEST_OFFSET: u64 = 10_000;

/// Follows markers until none comes. `page` makes the call for a marker.
pub(crate) fn by_marker<'a, T: DeserializeOwned + Send + 'a>(
    transport: &'a Transport,
    page: impl Fn(Option<&str>) -> Result<Call> + Send + 'a,
) -> impl Stream<Item = Result<T>> + Send + 'a {
    stream::try_unfold((Some(None::<String>), page), move |(at, page)| async move {
        let Some(marker) = at else {
            return Ok(None);
        };
        let answer: Page<T> = transport.json(&page(marker.as_deref())?).await?;
        // The same marker again would go round for ever.
        let next = answer
            .next_marker
            .filter(|next| !next.is_empty() && Some(next) != marker.as_ref());
        let entries = stream::iter(answer.entries.unwrap_or_default().into_iter().map(Ok));
        Ok::<_, Error>(Some((entries, (next.map(Some), page))))
    })
    .try_flatten()
}

/// Counts offsets up to the total, or to where Box counts no further.
pub(crate) fn by_offset<'a, T: DeserializeOwned + Send + 'a>(
    transport: &'a Transport,
    limit: u64,
    call: impl Fn() -> Result<Call> + Send + 'a,
) -> impl Stream<Item = Result<T>> + Send + 'a {
    stream::try_unfold((Some(0), call), move |(at, call)| async move {
        let Some(offset) = at else {
            return Ok(None);
        };
        let call_here = call()?
            .query("limit", limit.to_string())
            .query("offset", offset.to_string());
        let answer: Page<T> = transport.json(&call_here).await?;
        let entries = answer.entries.unwrap_or_default();
        // Box counts by its own limit, which can be below the one asked for.
        let next = offset + answer.limit.unwrap_or(limit).max(1);
        let more = match answer.total_count {
            Some(total) => next < total,
            None => !entries.is_empty(),
        };
        let next = (more && next < DEEPEST_OFFSET).then_some(next);
        Ok::<_, Error>(Some((
            stream::iter(entries.into_iter().map(Ok)),
            (next, call),
        )))
    })
    .try_flatten()
}

#[derive(Deserialize)]
struct Page<T> {
    entries: Option<Vec<T>>,
    next_marker: Option<String>,
    total_count: Option<u64>,
    limit: Option<u64>,
}
