use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

/// What the org says no with: the status and the errors of its answer.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The items of the error array; empty for the answers that have no body.
    pub errors: Vec<RefusalError>,
}

/// One item of the error array.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RefusalError {
    /// The text.
    pub message: String,
    /// Such as `REQUIRED_FIELD_MISSING`.
    #[serde(rename = "errorCode")]
    pub code: String,
    /// Names of the fields at fault; not sent with every error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<String>>,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        let error = RefusalError {
            message: message.into(),
            code: code.to_owned(),
            fields: None,
        };
        Self {
            status,
            errors: vec![error],
        }
    }

    pub(super) fn bad(code: &str, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    /// An error of a write, which always has the member `fields`.
    pub(super) fn data(code: &str, message: impl Into<String>, fields: &[&str]) -> Self {
        let mut refusal = Self::bad(code, message);
        for error in &mut refusal.errors {
            error.fields = Some(fields.iter().map(|field| (*field).to_owned()).collect());
        }
        refusal
    }

    pub(super) fn without_body(status: u16) -> Self {
        Self {
            status,
            errors: Vec::new(),
        }
    }

    pub(super) fn not_found() -> Self {
        Self::new(404, "NOT_FOUND", "The requested resource does not exist")
    }

    pub(super) fn not_allowed(method: &http::Method, allowed: &str) -> Self {
        let text = format!("HTTP Method '{method}' not allowed. Allowed are {allowed}");
        Self::new(405, "METHOD_NOT_ALLOWED", text)
    }

    pub(super) fn session() -> Self {
        Self::new(401, "INVALID_SESSION_ID", "Session expired or invalid")
    }

    pub(super) fn daily_limit() -> Self {
        Self::new(
            403,
            "REQUEST_LIMIT_EXCEEDED",
            "TotalRequests Limit exceeded.",
        )
    }

    pub(super) fn too_large() -> Self {
        Self::bad(
            "JSON_PARSER_ERROR",
            "Maximum size of request reached. Maximum size of request is 52428800 bytes.",
        )
    }

    pub(super) fn unparsable(kind: &str, shown: &str) -> Self {
        let text = format!(
            "Cannot deserialize instance of {kind} from VALUE_STRING value {shown} or request may \
             be missing a required field at [line:1, column:1]"
        );
        Self::bad("JSON_PARSER_ERROR", text)
    }

    pub(super) fn multipart(message: &str) -> Self {
        Self::bad("INVALID_MULTIPART_REQUEST", message)
    }

    pub(super) fn media_type() -> Self {
        let text = "The request's content type is not supported by this resource";
        Self::new(415, "UNSUPPORTED_MEDIA_TYPE", text)
    }

    /// The `errors` member of a save result, where the code has another name.
    pub(super) fn save_result(&self) -> Value {
        let errors = self.errors.iter().map(|error| {
            let fields = error.fields.clone().unwrap_or_default();
            json!({ "statusCode": error.code, "message": error.message, "fields": fields })
        });
        errors.collect()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused with status {}", self.status)?;
        for error in &self.errors {
            write!(f, ": {} ({})", error.code, error.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}
