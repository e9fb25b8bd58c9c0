//! What the fake answers, and Box's error bodies in all their shapes.

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use serde_json::{Value, json};

use super::content::Content;

/// Box said no: what it would have answered over HTTP.
#[derive(Clone, Eq, PartialEq)]
pub struct Refused(Box<Refusal>);

#[derive(Clone, Eq, PartialEq)]
struct Refusal {
    status: u16,
    code: String,
    message: String,
    context: Option<Value>,
    shape: Shape,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Shape {
    Standard,
    Metadata,
    OAuth,
    /// An empty body, with everything in `WWW-Authenticate`.
    Challenge,
}

pub(super) type Outcome = Result<Answer, Refused>;

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Payload,
}

#[derive(Debug)]
pub(super) enum Payload {
    Bytes(Bytes),
    Content(Arc<Content>, Range<u64>),
}

impl Refused {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// Box's code, such as `item_name_in_use`.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// Box's sentence about it.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub(super) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self::shaped(status, code, message.into(), Shape::Standard)
    }

    /// The short shape of the metadata endpoints.
    pub(super) fn metadata(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self::shaped(status, code, message.into(), Shape::Metadata)
    }

    pub(super) fn oauth(error: &str, description: &str) -> Self {
        Self::shaped(400, error, description.to_owned(), Shape::OAuth)
    }

    pub(super) fn invalid_token() -> Self {
        let message = "The access token provided is invalid.".to_owned();
        Self::shaped(401, "invalid_token", message, Shape::Challenge)
    }

    pub(super) fn insufficient_scope() -> Self {
        let message = "The request requires higher privileges than provided by the access token.";
        Self::shaped(
            403,
            "insufficient_scope",
            message.to_owned(),
            Shape::Challenge,
        )
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "bad_request", message)
    }

    pub(super) fn parameter(name: &str, message: impl Into<String>) -> Self {
        Self::bad_request("Bad Request").because("invalid_parameter", name, message)
    }

    pub(super) fn missing(name: &str) -> Self {
        let message = format!("'{name}' is required");
        Self::bad_request("Bad Request").because("missing_parameter", name, message)
    }

    pub(super) fn not_found(name: &str, value: &str) -> Self {
        let message = format!("Invalid value '{value}'. '{name}' with value '{value}' not found");
        Self::new(404, "not_found", "Not Found").because("invalid_parameter", name, message)
    }

    pub(super) fn precondition() -> Self {
        let message =
            "The resource has been modified. Please retrieve the resource again and retry";
        Self::new(412, "precondition_failed", message)
    }

    pub(super) fn because(self, reason: &str, name: &str, message: impl Into<String>) -> Self {
        let error = json!({ "reason": reason, "name": name, "message": message.into() });
        self.context(json!({ "errors": [error] }))
    }

    pub(super) fn context(mut self, context: Value) -> Self {
        self.0.context = Some(context);
        self
    }

    pub(super) fn answer(self, request_id: &str) -> Answer {
        let Refusal {
            status,
            code,
            message,
            context,
            shape,
        } = *self.0;
        let body = match shape {
            Shape::Standard => {
                let mut body = json!({
                    "type": "error",
                    "status": status,
                    "code": code,
                    "help_url": "http://developers.box.com/docs/#errors",
                    "message": message,
                    "request_id": request_id,
                });
                if let Some(context) = context {
                    body["context_info"] = context;
                }
                body
            }
            Shape::Metadata => {
                json!({ "code": code, "message": message, "request_id": request_id })
            }
            Shape::OAuth => json!({ "error": code, "error_description": message }),
            Shape::Challenge => {
                let challenge = format!(
                    "Bearer realm=\"Service\", error=\"{code}\", error_description=\"{message}\""
                );
                return Answer::empty(status).header("www-authenticate", challenge);
            }
        };
        Answer::json(status, &body)
    }

    fn shaped(status: u16, code: &str, message: String, shape: Shape) -> Self {
        Self(Box::new(Refusal {
            status,
            code: code.to_owned(),
            message,
            context: None,
            shape,
        }))
    }
}

impl Answer {
    pub(super) fn empty(status: u16) -> Self {
        Self::text(status, Bytes::new())
    }

    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::text(status, body.to_string()).header("content-type", "application/json")
    }

    pub(super) fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Payload::Bytes(body.into()),
        }
    }

    pub(super) fn content(status: u16, content: Arc<Content>, range: Range<u64>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Payload::Content(content, range),
        }
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.0.status, self.0.code, self.0.message)
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("status", &self.0.status)
            .field("code", &self.0.code)
            .field("message", &self.0.message)
            .field("context_info", &self.0.context)
            .finish()
    }
}

impl std::error::Error for Refused {}
