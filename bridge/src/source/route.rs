use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::json;
use tokio::time::timeout;
use tracing::{info, warn};

use super::outbound::{OutboundReceiver, OutboundRefusal, Told};
use crate::{
    body::{self, BodyFault},
    port_error::in_one_line,
    store_error::StoreError,
};

/// Where a proxy puts the secret that it adds.
const SECRET: &str = "x-outbound-secret";

/// A router for Salesforce's outbound messages: `POST path/{secret}`, or `POST path` with the
/// secret in the header `x-outbound-secret`.
///
/// The answer is the acknowledgement after everything is durable, and else a 4xx or 503 with the
/// reason as JSON, which acknowledges nothing; 503 also where the inbox takes longer than the
/// receiver has [patience](OutboundReceiver::patience). Nothing of a body is read before the secret is
/// known to be right. Paths are logged by many a proxy: tell yours not to.
pub fn outbound_route(path: &str, receiver: OutboundReceiver) -> Router {
    let path = path.trim_end_matches('/');
    let inlet = Inlet { receiver };
    Router::new()
        .route(&format!("{path}/{{secret}}"), post(by_path))
        .route(if path.is_empty() { "/" } else { path }, post(by_header))
        .with_state(inlet)
}

#[derive(Clone)]
struct Inlet {
    receiver: OutboundReceiver,
}

async fn by_path(
    State(inlet): State<Inlet>,
    Path(secret): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(inlet.take(&secret, &headers, body).await)
}

async fn by_header(State(inlet): State<Inlet>, headers: HeaderMap, body: Body) -> Response {
    let secret = headers.get(SECRET).and_then(|value| value.to_str().ok());
    let secret = secret.unwrap_or_default().to_owned();
    answer(inlet.take(&secret, &headers, body).await)
}

impl Inlet {
    async fn take(
        &self,
        secret: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Told, OutboundRefusal> {
        let receiver = &self.receiver;
        receiver.check(secret)?;
        let (limit, within) = (receiver.limit(), receiver.timeout());
        let body = body::whole(headers, body, limit, within).await;
        let body = body.map_err(|fault| match fault {
            BodyFault::TooLarge => OutboundRefusal::TooLarge { limit },
            BodyFault::TooSlow => OutboundRefusal::TooSlow { within },
            BodyFault::BrokenOff => OutboundRefusal::BrokenOff,
        })?;
        let received = receiver.receive(secret, &body, receiver.now());
        timeout(receiver.patience(), received)
            .await
            .unwrap_or_else(|_| Err(StoreError::late("push").into()))
    }
}

fn answer(taken: Result<Told, OutboundRefusal>) -> Response {
    match taken {
        Ok(Told { new, known }) => {
            info!(new, known, "outbound message");
            (
                StatusCode::OK,
                [(CONTENT_TYPE, "text/xml; charset=utf-8")],
                Told::ACK,
            )
                .into_response()
        }
        Err(refusal) => {
            let reason = in_one_line(&refusal);
            warn!(code = refusal.code(), reason, "outbound message refused");
            // What is wrong with our store is not the sender's to know.
            let reason = match refusal {
                OutboundRefusal::Store(_) => refusal.to_string(),
                _ => reason,
            };
            let body = json!({ "error": refusal.code(), "reason": reason });
            (refusal.status(), Json(body)).into_response()
        }
    }
}
