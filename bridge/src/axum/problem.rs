//! What was wrong with a request, as RFC 9457 has it.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::body::BodyFault;
use crate::{
    command::{CommandError, IdempotencyKeyError},
    port_error::in_one_line,
};

/// A refusal. Each has an entry of this name in the OpenAPI document, which its type points to.
#[derive(Debug)]
pub(super) enum Problem {
    Unauthorized { presented: bool },
    MissingKey,
    InvalidKey(IdempotencyKeyError),
    NotJson,
    TooLarge { limit: usize },
    TooSlow,
    MalformedBody(String),
    InvalidCommand(String),
    NoRule(String),
    KeyReused(String),
    NoSuchJob,
    StoreUnavailable,
}

impl Problem {
    fn said(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Unauthorized { .. } => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "The bearer token is missing or wrong",
            ),
            Self::MissingKey => (
                StatusCode::BAD_REQUEST,
                "missing_key",
                "The header Idempotency-Key is missing",
            ),
            Self::InvalidKey(_) => (
                StatusCode::BAD_REQUEST,
                "invalid_key",
                "The header Idempotency-Key cannot be used",
            ),
            Self::NotJson => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_json",
                "The content type is not application/json",
            ),
            Self::TooLarge { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "The body is too large",
            ),
            Self::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "too_slow",
                "The body did not come in time",
            ),
            Self::MalformedBody(_) => (
                StatusCode::BAD_REQUEST,
                "malformed_body",
                "The body is no JSON",
            ),
            Self::InvalidCommand(_) => (
                StatusCode::BAD_REQUEST,
                "invalid_command",
                "The command cannot be done as it is",
            ),
            Self::NoRule(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "no_rule",
                "Nothing is configured for such a record",
            ),
            Self::KeyReused(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "key_reused",
                "The key has been used for another command",
            ),
            Self::NoSuchJob => (StatusCode::NOT_FOUND, "no_such_job", "There is no such job"),
            Self::StoreUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "store_unavailable",
                "Nothing can be taken in now; ask again with the same key",
            ),
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::InvalidKey(error) => Some(error.to_string()),
            Self::TooLarge { limit } => Some(format!("at most {limit} bytes are read")),
            Self::MalformedBody(detail)
            | Self::InvalidCommand(detail)
            | Self::NoRule(detail)
            | Self::KeyReused(detail) => Some(detail.clone()),
            _ => None,
        }
    }

    pub(super) fn code(&self) -> &'static str {
        self.said().1
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Invalid { .. } => Self::InvalidCommand(error.to_string()),
            CommandError::NoRule { .. } => Self::NoRule(error.to_string()),
            CommandError::KeyReused { .. } => Self::KeyReused(error.to_string()),
            // What is wrong with our store is not the caller's to know.
            CommandError::Store(error) => {
                tracing::warn!(reason = in_one_line(&error), "a command was not taken");
                Self::StoreUnavailable
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, title) = self.said();
        let mut problem = json!({
            "type": format!("/v1/openapi.json#/components/x-problems/{code}"),
            "title": title,
            "status": status.as_u16(),
            "code": code,
        });
        if let Some(detail) = self.detail() {
            problem["detail"] = detail.into();
        }
        let mut answer = (status, problem.to_string()).into_response();
        let headers = answer.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        match self {
            Self::Unauthorized { presented } => {
                // By RFC 6750 whoever has shown nothing is told no error.
                let challenge = match presented {
                    true => "Bearer realm=\"bridge\", error=\"invalid_token\"",
                    false => "Bearer realm=\"bridge\"",
                };
                let challenge = HeaderValue::from_static(challenge);
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            Self::StoreUnavailable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        answer
    }
}

impl BodyFault {
    pub(super) fn problem(self, limit: usize) -> Problem {
        match self {
            Self::TooLarge => Problem::TooLarge { limit },
            Self::TooSlow => Problem::TooSlow,
            Self::BrokenOff => Problem::MalformedBody("it broke off".to_owned()),
        }
    }
}
