//! Commands over HTTP, for callers that get no webhooks.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::{
        HeaderMap, StatusCode,
        header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, LOCATION},
    },
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::json;
use sha2::Sha256;
use tokio::time::timeout;
use tracing::info;

use super::{body, problem::Problem};
use crate::{
    clock::{Clock, SystemClock},
    command::{
        AttachFile, Command, CommandError, Commands, IdempotencyKey, LogRecordTask, ProvisionRecord,
    },
    queue::JobId,
    receive::Received,
    shared_secret::digest,
    store_error::StoreError,
};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Routes for commands: `POST /v1/attach`, `/v1/provision` and `/v1/tasks`, `GET /v1/jobs/{id}`, and
/// `GET /v1/openapi.json`, which describes them all.
///
/// Whoever has the token may ask for anything. A command is answered with 202 after it is durable,
/// and what is wrong with one as an RFC 9457 problem.
#[derive(Clone)]
pub struct Api {
    commands: Commands,
    /// Made of the token.
    proof: Hmac<Sha256>,
    body_limit: usize,
    body_timeout: Duration,
    store_within: Duration,
    clock: Arc<dyn Clock>,
}

impl Api {
    /// The longest text that a Task takes, in the longest spelling of it.
    pub const DEFAULT_BODY_LIMIT: usize = 256 * 1024;
    /// Where the store is in trouble, requests are not to pile up.
    pub const DEFAULT_STORE_WITHIN: Duration = Duration::from_secs(2);

    /// Takes commands from whoever has `token`. An empty one lets nobody in.
    pub fn new(commands: Commands, token: &SecretString) -> Self {
        Self {
            commands,
            proof: digest(token.expose_secret()),
            body_limit: Self::DEFAULT_BODY_LIMIT,
            body_timeout: Duration::from_secs(30),
            store_within: Self::DEFAULT_STORE_WITHIN,
            clock: Arc::new(SystemClock),
        }
    }

    /// By another clock: that of those who work on the inbox.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// With another limit for bodies.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// With another time within which a body has to have come.
    #[must_use]
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    /// With another time that the store has for each answer. After it callers are told to ask again;
    /// a command that was stored all the same is known then by its key.
    #[must_use]
    pub fn store_within(mut self, time: Duration) -> Self {
        self.store_within = time;
        self
    }

    /// The OpenAPI 3.1 document that is served.
    pub const OPENAPI: &str = include_str!("openapi.json");

    /// The routes.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/v1/attach", post(take::<AttachFile>))
            .route("/v1/provision", post(take::<ProvisionRecord>))
            .route("/v1/tasks", post(take::<LogRecordTask>))
            .route("/v1/jobs/{id}", get(job))
            .route("/v1/openapi.json", get(document))
            .with_state(self)
    }

    fn authorize(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let presented = headers.get(AUTHORIZATION);
        let token = presented
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let refused = Problem::Unauthorized {
            presented: presented.is_some(),
        };
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Err(refused);
        };
        let shown = digest(token).finalize().into_bytes();
        let proof = self.proof.clone();
        proof.verify_slice(&shown).map_err(|_| refused)
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("body_limit", &self.body_limit)
            .field("body_timeout", &self.body_timeout)
            .finish_non_exhaustive()
    }
}

async fn take<T: DeserializeOwned + Into<Command>>(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let taken = take_in::<T>(&api, &headers, body).await;
    taken.inspect_err(|problem| info!(code = problem.code(), "command refused"))
}

async fn take_in<T: DeserializeOwned + Into<Command>>(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    api.authorize(headers)?;
    if !is_json(headers) {
        return Err(Problem::NotJson);
    }
    let key = key(headers)?;
    let body = body::whole(headers, body, api.body_limit, api.body_timeout).await;
    let body = body.map_err(|unread| unread.problem(api.body_limit))?;
    let command: T = serde_json::from_slice(&body).map_err(|error| match error.is_data() {
        true => Problem::InvalidCommand(error.to_string()),
        false => Problem::MalformedBody(error.to_string()),
    })?;
    let command = command.into();
    let submitted = api.commands.submit(&key, &command, api.clock.now());
    let received = timeout(api.store_within, submitted)
        .await
        .unwrap_or_else(|_| Err(StoreError::late("push").into()))?;
    let (id, is_repeated) = match received {
        Received::Accepted(id) => (id, false),
        Received::Duplicate(id) => (id, true),
    };
    info!(job = %id, is_repeated, "command");
    let url = format!("/v1/jobs/{id}");
    let answer = Json(json!({ "id": id, "repeated": is_repeated, "url": url }));
    Ok((StatusCode::ACCEPTED, [(LOCATION, url)], answer).into_response())
}

async fn job(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    api.authorize(&headers)?;
    let id = id.parse().map(JobId).map_err(|_| Problem::NoSuchJob)?;
    let state = timeout(api.store_within, api.commands.state(id))
        .await
        .unwrap_or_else(|_| Err(StoreError::late("look up a job")))
        .map_err(CommandError::from)?;
    let state = state.ok_or(Problem::NoSuchJob)?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(state)).into_response())
}

/// Open to everybody: it says nothing of what is here.
async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], Api::OPENAPI).into_response()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next());
    essence.is_some_and(|it| it.trim().eq_ignore_ascii_case("application/json"))
}

fn key(headers: &HeaderMap) -> Result<IdempotencyKey, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let key = keys.next().ok_or(Problem::MissingKey)?;
    // Two of them name two commands.
    let key = if keys.next().is_some() {
        ""
    } else {
        key.to_str().unwrap_or_default()
    };
    key.parse().map_err(Problem::InvalidKey)
}
