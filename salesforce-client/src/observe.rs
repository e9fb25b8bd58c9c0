//! What can be seen of calls from outside: a span each, and numbers.

use tracing::{Span, debug_span, field::Empty};

use crate::{call::Call, error::Error};

/// The span of a call, with all its attempts.
pub(crate) fn span(call: &Call) -> Span {
    debug_span!(
        "salesforce",
        operation = call.operation,
        method = call.method.as_str(),
        status = Empty,
        attempts = Empty,
        kind = Empty,
    )
}

/// Tells what became of a call.
pub(crate) fn finished(
    span: &Span,
    operation: &'static str,
    outcome: Result<u16, &Error>,
    attempts: u32,
    started: tokio::time::Instant,
) {
    span.record("attempts", attempts);
    match outcome {
        Ok(status) => span.record("status", status),
        Err(error) => {
            if let Some(status) = error.status() {
                span.record("status", status);
            }
            span.record("kind", tracing::field::debug(error.kind()))
        }
    };
    count(operation, outcome, attempts, started);
}

/// Counts calls in `salesforce_client_calls_total` by `operation` and `outcome`, attempts beyond
/// the first in `salesforce_client_retries_total`, and takes their time in
/// `salesforce_client_call_seconds`.
#[cfg(feature = "metrics")]
fn count(
    operation: &'static str,
    outcome: Result<u16, &Error>,
    attempts: u32,
    started: tokio::time::Instant,
) {
    let label = match outcome {
        Ok(_) => "ok",
        Err(error) => error.kind().label(),
    };
    metrics::counter!("salesforce_client_calls_total", "operation" => operation, "outcome" => label)
        .increment(1);
    metrics::counter!("salesforce_client_retries_total", "operation" => operation)
        .increment(u64::from(attempts.saturating_sub(1)));
    metrics::histogram!("salesforce_client_call_seconds", "operation" => operation)
        .record(started.elapsed().as_secs_f64());
}

#[cfg(not(feature = "metrics"))]
fn count(_: &'static str, _: Result<u16, &Error>, _: u32, _: tokio::time::Instant) {}

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
