//! What can be seen of calls from outside: a span each, and numbers. Never a token, a query or a
//! body.

use tokio::time::Instant;
use tracing::{Span, field::Empty, info_span};

use crate::{
    call::Call,
    error::{Error, ErrorKind},
};

/// A call as it is seen from outside, with all its attempts.
pub(crate) struct Seen {
    pub(crate) span: Span,
    operation: &'static str,
    started: Instant,
}

impl Seen {
    pub(crate) fn begin(call: &Call) -> Self {
        Self::new(call.operation, call.method.as_str())
    }

    pub(crate) fn new(operation: &'static str, method: &str) -> Self {
        let span = info_span!(
            "salesforce_client.call",
            operation,
            method,
            status = Empty,
            attempts = Empty,
            kind = Empty,
        );
        Self {
            span,
            operation,
            started: Instant::now(),
        }
    }

    /// Tells what became of it: the status of a good answer, or why there is none.
    pub(crate) fn end(&self, outcome: Result<u16, &Error>, attempts: u32) {
        self.span.record("attempts", attempts);
        match outcome {
            Ok(status) => self.span.record("status", status),
            Err(error) => {
                if let Some(status) = error.status() {
                    self.span.record("status", status);
                }
                self.span
                    .record("kind", tracing::field::debug(error.kind()))
            }
        };
        self.count(outcome, attempts);
    }

    #[cfg(feature = "metrics")]
    fn count(&self, outcome: Result<u16, &Error>, attempts: u32) {
        let label = match outcome {
            Ok(_) => "ok",
            Err(error) => error.kind().label(),
        };
        let labels = [("operation", self.operation), ("outcome", label)];
        metrics::counter!("salesforce_client_calls_total", &labels).increment(1);
        metrics::histogram!("salesforce_client_call_duration_seconds", &labels)
            .record(self.started.elapsed().as_secs_f64());
        metrics::counter!("salesforce_client_retries_total", "operation" => self.operation)
            .increment(u64::from(attempts.saturating_sub(1)));
    }

    #[cfg(not(feature = "metrics"))]
    fn count(&self, _: Result<u16, &Error>, _: u32) {
        let _ = (self.operation, self.started);
    }
}

/// Counts an attempt that Salesforce refused because there are too many.
pub(crate) fn attempted<T>(outcome: &Result<T, Error>) {
    let Err(error) = outcome else {
        return;
    };
    let is_throttle = matches!(
        error.kind(),
        ErrorKind::ConcurrentLimit | ErrorKind::DailyLimit | ErrorKind::RateLimited
    );
    if is_throttle {
        throttled(error.operation());
    }
}

#[cfg(feature = "metrics")]
fn throttled(operation: &'static str) {
    metrics::counter!("salesforce_client_throttles_total", "operation" => operation).increment(1);
}

#[cfg(not(feature = "metrics"))]
fn throttled(_: &'static str) {}

/// Counts events that a subscription brings for the first time.
#[cfg(feature = "pubsub")]
pub(crate) fn events(topic: &str, events: usize) {
    #[cfg(feature = "metrics")]
    metrics::counter!("salesforce_client_events_total", "topic" => topic.to_owned())
        .increment(u64::try_from(events).unwrap_or(u64::MAX));
    #[cfg(not(feature = "metrics"))]
    let _ = (topic, events);
}

/// Counts what ended a subscription's connection, or kept it from coming to be.
#[cfg(feature = "pubsub")]
pub(crate) fn disconnected(topic: &str, error: &Error) {
    #[cfg(feature = "metrics")]
    {
        let labels = [
            ("topic", topic.to_owned()),
            ("outcome", error.kind().label().to_owned()),
        ];
        metrics::counter!("salesforce_client_disconnects_total", &labels).increment(1);
    }
    #[cfg(not(feature = "metrics"))]
    let _ = (topic, error);
}

/// Shows how much of the org's calls of 24 hours is used.
pub(crate) fn usage(usage: crate::ApiUsage) {
    #[cfg(feature = "metrics")]
    {
        metrics::gauge!("salesforce_client_api_calls_used").set(usage.used as f64);
        metrics::gauge!("salesforce_client_api_calls_allowed").set(usage.allowed as f64);
    }
    #[cfg(not(feature = "metrics"))]
    let _ = usage;
}
