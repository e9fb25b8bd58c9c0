//! Several ranges at once, handed out in order.

use std::{pin::Pin, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    Download,
    open::{Body, Source, open},
};
use crate::{error::Result, transport::Transport};

/// How much one range brings.
const RANGE: u64 = 8 * 1024 * 1024;
/// What is handed out at once.
const PIECE: usize = 256 * 1024;

/// The bytes of all ranges, one range after the other.
pub(super) struct Ranges {
    stream: Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>,
    /// What is left of the range in hand.
    rest: Bytes,
}

impl Ranges {
    /// The next bytes, `None` after the last range.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if self.rest.is_empty() {
            self.rest = match self.stream.try_next().await? {
                Some(range) => range,
                None => return Ok(None),
            };
        }
        Ok(Some(self.rest.split_to(PIECE.min(self.rest.len()))))
    }
}

/// The first range, which says how much there is.
pub(super) struct First {
    pub(super) body: Body,
    pub(super) total: u64,
    pub(super) end: u64,
}

/// Asks for the first range. None where the host heeds no ranges or does not say how much there
/// is, and where there is nothing.
pub(super) async fn first(transport: &Transport, source: &Source) -> Result<Option<First>> {
    let last = source.from.saturating_add(RANGE - 1);
    let mut range = source.clone();
    range.to = Some(source.to.map_or(last, |to| to.min(last)));
    let body = match open(transport, &range, source.from).await {
        Ok(body) => body,
        // Nothing is in no range: an empty file.
        Err(error) if error.status() == Some(416) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(total) = body.total.filter(|_| body.is_part) else {
        return Ok(None);
    };
    let end = source
        .to
        .map_or(total, |to| total.min(to.saturating_add(1)));
    Ok(Some(First { body, total, end }))
}

/// Each range is a download of its own, taken up again where it breaks off. As many as `parallel`
/// are in memory, and the one that is handed out.
pub(super) fn ranges(
    transport: &Arc<Transport>,
    source: &Source,
    first: First,
    parallel: usize,
) -> Ranges {
    let First { body, total, end } = first;
    let (transport, source, from) = (Arc::clone(transport), source.clone(), source.from);
    let mut body = Some(body);
    let starts = (0..(end.saturating_sub(from)).div_ceil(RANGE)).map(move |n| from + n * RANGE);
    let downloads = starts.map(move |start| {
        let mut source = source.clone();
        source.from = start;
        source.to = Some(end.min(start + RANGE) - 1);
        Download {
            transport: Arc::clone(&transport),
            total: Some(total),
            end: source.to.map(|to| to + 1),
            at: start,
            source,
            body: body.take(),
            ranges: None,
            sha1: None,
            breaks: 0,
            ended: false,
        }
    });
    Ranges {
        stream: Box::pin(stream::iter(downloads).map(whole).buffered(parallel)),
        rest: Bytes::new(),
    }
}

async fn whole(mut download: Download) -> Result<Bytes> {
    let size = download.size().unwrap_or_default().min(RANGE);
    let mut whole = BytesMut::with_capacity(size as usize);
    while let Some(chunk) = download.chunk().await? {
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}
