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
use tokio::time::timeout;
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
    store_error::StoreError,
};

/// A router with one route: `POST path` takes Box's deliveries.
///
/// The answer is 200 after the event is durable, and else a 4xx or 503 with the reason as JSON; 503
/// also where the inbox takes longer than the receiver has [patience](Receiver::patience).
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
    let received = timeout(
        receiver.patience(),
        receiver.receive(&headers, body, clock.now()),
    );
    let Ok(received) = received.await else {
        return unread(&Refusal::Store(StoreError::late("push")));
    };
    match received {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use async_trait::async_trait;
    use base64::{Engine, engine::general_purpose::STANDARD};
    use hmac::{Hmac, KeyInit, Mac};
    use jiff::Timestamp;
    use sha2::Sha256;

    use super::*;
    use crate::{
        pauses::Pauses,
        queue::{LeaseId, Leased, NewJob, Push, Queue, Settle},
        webhook::{SignatureKeys, Verifier},
    };

    /// A database behind a lock that nobody lifts.
    #[derive(Debug)]
    struct Stuck;

    #[async_trait]
    impl Queue for Stuck {
        async fn push(&self, _: Vec<NewJob>, _: Timestamp) -> Result<Vec<Push>, StoreError> {
            std::future::pending().await
        }

        async fn lease(
            &self,
            _: &str,
            _: usize,
            _: Duration,
            _: Timestamp,
        ) -> Result<Vec<Leased>, StoreError> {
            std::future::pending().await
        }

        async fn extend(&self, _: &LeaseId, _: Duration) -> Result<(), StoreError> {
            std::future::pending().await
        }

        async fn settle(&self, _: &LeaseId, _: Settle, _: Timestamp) -> Result<(), StoreError> {
            std::future::pending().await
        }

        async fn pauses(&self) -> Result<Pauses, StoreError> {
            std::future::pending().await
        }

        async fn wait(&self) {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_stands_still_is_told_of_before_box_gives_up() {
        let now = Timestamp::now();
        let body = r#"{"type":"webhook_event","id":"e1","trigger":"FILE.UPLOADED"}"#;
        let mut mac = Hmac::<Sha256>::new_from_slice(b"key").unwrap();
        mac.update(body.as_bytes());
        mac.update(now.to_string().as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("box-delivery-timestamp", now.to_string()),
            ("box-signature-primary", signature),
            ("box-signature-version", "1".to_owned()),
            ("box-signature-algorithm", "HmacSHA256".to_owned()),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let keys = SignatureKeys::new(Some("key".into()), None).unwrap();
        let inlet = Inlet {
            receiver: Receiver::new(Verifier::new(keys), Arc::new(Stuck)),
            clock: Arc::new(SystemClock),
        };
        let started = tokio::time::Instant::now();
        let answer = deliver(State(inlet), headers, body.into()).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(started.elapsed(), Receiver::DEFAULT_STORE_WITHIN);
    }
}
