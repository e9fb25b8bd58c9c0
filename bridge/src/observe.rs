//! Numbers for those who watch, by the `metrics` facade; nothing without feature `metrics`.
//!
//! | name | labels | |
//! | --- | --- | --- |
//! | `bridge_deliveries_total` | `outcome`: `accepted`, `duplicate`, or why it was refused | counter |
//! | `bridge_attempts_total` | `outcome`: `done`, `retried`, `deferred`, `dead` | counter |
//! | `bridge_lease_takeovers_total` | | counter: jobs that were taken over from a worker that had lost them |
//! | `bridge_leases_lost_total` | | counter: jobs that a living worker has lost |
//! | `bridge_calls_total` | `side`, `operation`, `outcome`: `ok`, or what kind of failure; `status`: the vendor's where a call failed, `none` where it gave none, else `2xx` | counter |
//! | `bridge_call_seconds` | `side`, `operation` | histogram |
//! | `bridge_circuit_open` | `side` | gauge: 1 while the side is left alone, by a pause too |
//! | `bridge_uploads_stopped` | | gauge: 1 while the CRM side has no room for new files |
//! | `bridge_content_bytes_total` | | counter: read from the content side |
//! | `bridge_step_seconds` | `action` | histogram |
//! | `bridge_event_seconds` | | histogram: from the inbox to the end of an event |
//! | `bridge_webhooks` | `state`: `well`, `silent`, `unwell` | gauge: webhooks that are watched |
//! | `bridge_jobs` | `state` | gauge, see [`Counts::record`](crate::Counts::record) |
//! | `bridge_oldest_unfinished_seconds` | | gauge, likewise: how far behind the bridge is |

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    port_error::PortError,
    queue::Settle,
    side::Side,
    watch::{HookState, HookStatus},
};

pub(crate) fn delivery(outcome: &'static str) {
    count("bridge_deliveries_total", &[("outcome", outcome)], 1);
}

/// An attempt has ended; a done one tells how long its event took since it came.
pub(crate) fn attempt(settle: &Settle, pushed_at: Timestamp, now: Timestamp) {
    let outcome = match settle {
        Settle::Done { .. } => "done",
        Settle::Retry { .. } => "retried",
        Settle::Defer { .. } => "deferred",
        Settle::Dead { .. } => "dead",
    };
    count("bridge_attempts_total", &[("outcome", outcome)], 1);
    let took = Duration::try_from(now.duration_since(pushed_at));
    if let (Settle::Done { .. }, Ok(took)) = (settle, took) {
        time("bridge_event_seconds", &[], took);
    }
}

pub(crate) fn takeover() {
    count("bridge_lease_takeovers_total", &[], 1);
}

pub(crate) fn lease_lost() {
    count("bridge_leases_lost_total", &[], 1);
}

/// A call of a port, which may have taken several of the vendor's API.
pub(crate) fn call(
    side: Side,
    operation: &'static str,
    failure: Option<&PortError>,
    took: Duration,
) {
    let labels = [("side", side.as_str()), ("operation", operation)];
    time("bridge_call_seconds", &labels, took);
    #[cfg(feature = "metrics")]
    {
        let (outcome, status) = match failure {
            None => ("ok", "2xx".to_owned()),
            Some(error) => {
                let status = error.status();
                let status = status.map_or_else(|| "none".to_owned(), |it| it.to_string());
                (error.kind().word(), status)
            }
        };
        metrics::counter!(
            "bridge_calls_total",
            "side" => side.as_str(), "operation" => operation, "outcome" => outcome,
            "status" => status,
        )
        .increment(1);
    }
    #[cfg(not(feature = "metrics"))]
    let _ = failure;
}

pub(crate) fn circuit(side: Side, is_open: bool) {
    let open = f64::from(u8::from(is_open));
    gauge("bridge_circuit_open", &[("side", side.as_str())], open);
}

pub(crate) fn uploads(are_stopped: bool) {
    let stopped = f64::from(u8::from(are_stopped));
    gauge("bridge_uploads_stopped", &[], stopped);
}

pub(crate) fn content(bytes: usize) {
    count("bridge_content_bytes_total", &[], bytes as u64);
}

pub(crate) fn webhooks(all: &[HookStatus]) {
    let state = |hook: &HookStatus| match hook.state {
        HookState::Silent => "silent",
        state if state.is_well() => "well",
        _ => "unwell",
    };
    for name in ["well", "silent", "unwell"] {
        let number = all.iter().filter(|hook| state(hook) == name).count();
        gauge("bridge_webhooks", &[("state", name)], number as f64);
    }
}

pub(crate) fn step(action: &str, took: Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("bridge_step_seconds", "action" => action.to_owned()).record(took);
    #[cfg(not(feature = "metrics"))]
    let _ = (action, took);
}

#[cfg(feature = "metrics")]
impl crate::queue::Counts {
    /// Shows these numbers as gauges `bridge_jobs` and `bridge_oldest_unfinished_seconds`. For
    /// whoever serves the metrics to call now and again: counting is not for free.
    pub fn record(&self, now: Timestamp) {
        for (state, jobs) in [
            ("ready", self.ready),
            ("leased", self.leased),
            ("done", self.done),
            ("dead", self.dead),
        ] {
            gauge("bridge_jobs", &[("state", state)], jobs as f64);
        }
        let lag = self.oldest.map(|oldest| now.duration_since(oldest));
        let lag = lag.map_or(0.0, |lag| lag.as_secs_f64().max(0.0));
        gauge("bridge_oldest_unfinished_seconds", &[], lag);
    }
}

type Labels<'l> = &'l [(&'static str, &'static str)];

#[cfg(feature = "metrics")]
fn count(name: &'static str, labels: Labels<'_>, number: u64) {
    metrics::counter!(name, labels).increment(number);
}

#[cfg(feature = "metrics")]
fn gauge(name: &'static str, labels: Labels<'_>, value: f64) {
    metrics::gauge!(name, labels).set(value);
}

#[cfg(feature = "metrics")]
fn time(name: &'static str, labels: Labels<'_>, took: Duration) {
    metrics::histogram!(name, labels).record(took);
}

#[cfg(not(feature = "metrics"))]
fn count(_: &'static str, _: Labels<'_>, _: u64) {}

#[cfg(not(feature = "metrics"))]
fn gauge(_: &'static str, _: Labels<'_>, _: f64) {}

#[cfg(not(feature = "metrics"))]
fn time(_: &'static str, _: Labels<'_>, _: Duration) {}
