//! The receiver and the commands behind axum.

mod api;
mod problem;

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::json;
use tracing::{info, warn};

pub use self::api::Api;
#[cfg(feature = "outbound")]
pub use crate::source::route::outbound_route;
use crate::{
    body::{self, BodyFault},
    clock::{Clock, SystemClock},
    observe,
    port_error::in_one_line,
    receive::{Received, Receiver, Refusal},
};

/// A router with one route: `POST path` takes Box's deliveries.
///
/// The answer is 200 after the event is durable, and else a 4xx or 503 with the reason as JSON.
/// Bodies beyond the receiver's limit are refused without being read to their end, and those whose
/// headers cannot be Box's without being read at all.
pub fn route(path: &str, receiver: Receiver) -> Router {
    let state = Inlet {
        receiver,
        clock: Arc::new(SystemClock),
    };
    Router::new().route(path, post(deliver)).with_state(state)
}

#[derive(Clone)]
struct Inlet {
    receiver: Receiver,
    clock: Arc<dyn Clock>,
}

async fn deliver(State(inlet): State<Inlet>, headers: HeaderMap, body: Body) -> Response {
    let Inlet { receiver, clock } = inlet;
    let limit = receiver.limit();
    if body::is_announced_larger(&headers, limit) {
        return unread(&Refusal::TooLarge { limit });
    }
    if let Err(refusal) = receiver.look(&headers, clock.now()) {
        return refuse(&refusal);
    }
    let within = receiver.timeout();
    let body = match body::whole(&headers, body, limit, within).await {
        Ok(body) => body,
        Err(BodyFault::TooLarge) => return unread(&Refusal::TooLarge { limit }),
        Err(BodyFault::TooSlow) => return unread(&Refusal::TooSlow { within }),
        Err(BodyFault::BrokenOff) => {
            return answer(StatusCode::BAD_REQUEST, "broken_off", "the body broke off");
        }
    };
    match receiver.receive(&headers, body, clock.now()).await {
        Ok(received) => {
            let (status, job) = match received {
                Received::Accepted(job) => ("accepted", job),
                Received::Duplicate(job) => ("duplicate", job),
            };
            info!(%job, status, "delivery");
            Json(json!({ "status": status })).into_response()
        }
        Err(refusal) => refuse(&refusal),
    }
}

/// Refuses what the receiver never came to see.
fn unread(refusal: &Refusal) -> Response {
    observe::delivery(refusal.code());
    refuse(refusal)
}

fn refuse(refusal: &Refusal) -> Response {
    let reason = in_one_line(refusal);
    warn!(code = refusal.code(), reason, "delivery refused");
    // What is wrong with our store is not the sender's to know.
    let reason = match refusal {
        Refusal::Store(_) => refusal.to_string(),
        _ => reason,
    };
    answer(refusal.status(), refusal.code(), &reason)
}

fn answer(status: StatusCode, code: &str, reason: &str) -> Response {
    (status, Json(json!({ "error": code, "reason": reason }))).into_response()
}
