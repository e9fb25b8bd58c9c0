//! The body of a request, as far as it is wanted.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, header::CONTENT_LENGTH},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

#[derive(Clone, Copy, Debug)]
pub(crate) enum BodyFault {
    TooLarge,
    TooSlow,
    BrokenOff,
}

/// Whether the body says of itself that it is larger than this.
pub(crate) fn is_announced_larger(headers: &HeaderMap, limit: usize) -> bool {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    announced.is_some_and(|length| length > limit as u64)
}

/// Reads a body that is no longer than `limit` and comes `within` a time. What says of itself that
/// it is longer is not read at all.
pub(crate) async fn whole(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    within: Duration,
) -> Result<Bytes, BodyFault> {
    if is_announced_larger(headers, limit) {
        return Err(BodyFault::TooLarge);
    }
    match timeout(within, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyFault::TooLarge),
        Ok(Err(_)) => Err(BodyFault::BrokenOff),
        Err(_) => Err(BodyFault::TooSlow),
    }
}
