use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, header::CONTENT_LENGTH},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

/// Why a body was not read.
pub(super) enum Unread {
    TooLarge,
    TooSlow,
    BrokenOff,
}

/// Whether the body says of itself that it is larger than this.
pub(super) fn is_announced_larger(headers: &HeaderMap, limit: usize) -> bool {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    announced.is_some_and(|length| length > limit as u64)
}

/// Reads a body, and no more of it than is allowed.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    within: Duration,
) -> Result<Bytes, Unread> {
    if is_announced_larger(headers, limit) {
        return Err(Unread::TooLarge);
    }
    match timeout(within, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Unread::TooLarge),
        Ok(Err(_)) => Err(Unread::BrokenOff),
        Err(_) => Err(Unread::TooSlow),
    }
}
