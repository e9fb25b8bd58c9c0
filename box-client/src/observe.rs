//! What an operator can see of a call: a span, and numbers for feature `metrics`. Never a token,
//! a query or a body.

use tokio::time::Instant;
use tracing::{Span, field::Empty, info_span};

use crate::{
    error::{Error, ErrorKind, Result},
    transport::Reply,
};

/// Watches one call through all its attempts.
pub(crate) struct Watch {
    span: Span,
    operation: &'static str,
    started: Instant,
}

impl Watch {
    pub(crate) fn new(operation: &'static str) -> Self {
        let span = info_span!(
            "box_client.call",
            operation,
            attempt = Empty,
            status = Empty,
            request_id = Empty,
            box_request_id = Empty,
        );
        Self {
            span,
            operation,
            started: Instant::now(),
        }
    }

    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    pub(crate) fn attempt(&self, number: u32) {
        self.span.record("attempt", number);
        if number > 1 {
            count(RETRIES, self.operation);
        }
    }

    pub(crate) fn answered(&self, reply: &Reply) {
        self.span.record("status", reply.status().as_u16());
        if let Some(id) = reply.header("box-request-id") {
            self.span.record("box_request_id", id);
        }
    }

    pub(crate) fn failed(&self, error: &Error) {
        if let Some(status) = error.status() {
            self.span.record("status", status);
        }
        if let Some(id) = error.request_id() {
            self.span.record("request_id", id);
        }
        if error.kind() == ErrorKind::RateLimited {
            count(THROTTLES, self.operation);
        }
    }

    pub(crate) fn ended<T>(&self, outcome: &Result<T>) {
        let outcome = match outcome {
            Ok(_) => "ok",
            Err(error) => error.kind().words(),
        };
        record(self.operation, outcome, self.started);
    }
}

const RETRIES: &str = "box_client_retries_total";
const THROTTLES: &str = "box_client_throttles_total";

#[cfg(feature = "metrics")]
fn count(name: &'static str, operation: &'static str) {
    metrics::counter!(name, "operation" => operation).increment(1);
}

#[cfg(feature = "metrics")]
fn record(operation: &'static str, outcome: &'static str, started: Instant) {
    let labels = [("operation", operation), ("outcome", outcome)];
    metrics::counter!("box_client_calls_total", &labels).increment(1);
    metrics::histogram!("box_client_call_duration_seconds", &labels)
        .record(started.elapsed().as_secs_f64());
}

#[cfg(not(feature = "metrics"))]
fn count(_: &'static str, _: &'static str) {}

#[cfg(not(feature = "metrics"))]
fn record(_: &'static str, _: &'static str, _: Instant) {}
