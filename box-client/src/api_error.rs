//! The error bodies of Box, in all their shapes.

use std::fmt;

use http::{
    HeaderMap,
    header::{DATE, WWW_AUTHENTICATE},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    FileId, FolderId,
    files::{FileVersionMini, text_or_number},
};

/// What Box says of a failed call.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ApiError {
    code: Option<String>,
    message: Option<String>,
    context: Option<Value>,
    help_url: Option<String>,
    pub(crate) request_id: Option<String>,
    challenge: Option<String>,
    date: Option<Timestamp>,
}

/// An item that is in the way, from `context_info.conflicts`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct Conflicting {
    /// `file` or `folder`.
    #[serde(
        rename = "type",
        default,
        deserialize_with = "crate::lenient::null_to_default"
    )]
    pub kind: String,
    /// The item's id.
    #[serde(deserialize_with = "crate::ids::text")]
    pub id: String,
    /// The item's name.
    pub name: Option<String>,
    /// Changes with each change of the item.
    #[serde(default, deserialize_with = "text_or_number")]
    pub etag: Option<String>,
    /// SHA-1 of a file's current bytes, in hex.
    pub sha1: Option<String>,
    /// A file's current version.
    pub file_version: Option<FileVersionMini>,
}

impl Conflicting {
    /// The file, if it is one.
    pub fn file_id(&self) -> Option<FileId> {
        self.id_of("file").and_then(|id| FileId::new(id).ok())
    }

    /// The folder, if it is one.
    pub fn folder_id(&self) -> Option<FolderId> {
        self.id_of("folder").and_then(|id| FolderId::new(id).ok())
    }

    fn id_of(&self, kind: &str) -> Option<&str> {
        (self.kind == kind).then_some(&*self.id)
    }
}

/// A part of the request that Box calls wrong, from `context_info.errors`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct Complaint {
    /// Why, such as `invalid_parameter` or `missing_parameter`.
    pub reason: Option<String>,
    /// Which part.
    pub name: Option<String>,
    /// Box's sentence about it.
    pub message: Option<String>,
}

impl ApiError {
    /// Reads whatever came: the standard shape, the short metadata shape, the OAuth shape, an
    /// empty body with `WWW-Authenticate`, or a gateway's page.
    pub(crate) fn read(headers: &HeaderMap, body: &[u8]) -> Self {
        let challenge = headers
            .get(WWW_AUTHENTICATE)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let challenged = |name| parameter(challenge.as_deref()?, name);
        let mut body: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        // Free-form: an object with one of several members, or something else.
        let context = body
            .get("context_info")
            .filter(|info| !info.is_null())
            .cloned();
        let within = |name| context.as_ref()?.get(name)?.as_str().map(str::to_owned);
        let mut text = |name| match body.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        Self {
            code: text("code")
                .or_else(|| text("error"))
                .or_else(|| challenged("error"))
                .filter(|code| is_name(code)),
            message: text("message")
                .or_else(|| text("error_description"))
                .or_else(|| challenged("error_description"))
                .or_else(|| within("message")),
            help_url: text("help_url"),
            request_id: text("request_id").filter(|id| is_name(id)),
            context,
            challenge,
            date: headers
                .get(DATE)
                .and_then(|value| value.to_str().ok())
                .and_then(|text| jiff::fmt::rfc2822::parse(text).ok())
                .map(|date| date.timestamp()),
        }
    }

    /// Box's code, such as `item_name_in_use`: an open set.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Box's sentence about it.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// Where Box explains it.
    pub fn help_url(&self) -> Option<&str> {
        self.help_url.as_deref()
    }

    /// When Box answered, by its own clock.
    pub fn date(&self) -> Option<Timestamp> {
        self.date
    }

    /// `context_info` as it came.
    pub fn context_info(&self) -> Option<&Value> {
        self.context.as_ref()
    }

    /// The items that are in the way. Box sends one object for files and an array for folders.
    pub fn conflicts(&self) -> Vec<Conflicting> {
        let Some(conflicts) = self.context.as_ref().and_then(|info| info.get("conflicts")) else {
            return Vec::new();
        };
        let one_or_many = match conflicts {
            Value::Array(many) => many.as_slice(),
            one => std::slice::from_ref(one),
        };
        one_or_many
            .iter()
            .filter_map(|item| Conflicting::deserialize(item).ok())
            .collect()
    }

    /// What Box calls wrong with the request, part by part.
    pub fn complaints(&self) -> Vec<Complaint> {
        let errors = self.context.as_ref().and_then(|info| info.get("errors"));
        errors
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|error| Complaint::deserialize(error).ok())
            .collect()
    }

    /// `context_info.errors` as pairs of name and message.
    pub(crate) fn named_errors(&self) -> impl Iterator<Item = (&str, &str)> {
        self.context
            .as_ref()
            .and_then(|info| info.get("errors"))
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|error| {
                Some((
                    error.get("name")?.as_str()?,
                    error.get("message")?.as_str()?,
                ))
            })
    }

    /// Whether a fresh token can help against this 401. A challenge without `error=` beside the
    /// code `unauthorized` means that the application is not enabled for the enterprise.
    pub(crate) fn token_is_bad(&self) -> bool {
        match &self.challenge {
            Some(challenge) => parameter(challenge, "error").is_some_and(|e| e == "invalid_token"),
            None => self.code.as_deref() != Some("unauthorized"),
        }
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiError")
            .field("code", &self.code)
            .field("message", &self.message)
            .field("context_info", &self.context)
            .finish_non_exhaustive()
    }
}

/// Codes and request ids go into log lines, so what does not look like one is none.
fn is_name(text: &str) -> bool {
    (1..=100).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// One `name="value"` or `name=value` of a challenge.
fn parameter(challenge: &str, name: &str) -> Option<String> {
    let mut rest = challenge;
    while let Some(at) = rest.find(name) {
        let starts_a_word = !rest[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        rest = &rest[at + name.len()..];
        let Some(value) = rest
            .trim_start()
            .strip_prefix('=')
            .filter(|_| starts_a_word)
        else {
            continue;
        };
        let value = value.trim_start();
        return match value.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => value.split([',', ' ']).next(),
        }
        .map(str::to_owned);
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn challenged(challenge: &'static str, body: &str) -> ApiError {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
        ApiError::read(&headers, body.as_bytes())
    }

    fn plain(body: &str) -> ApiError {
        ApiError::read(&HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn every_shape_gives_its_code() {
        for (body, code) in [
            (
                r#"{"type":"error","status":404,"code":"not_found","context_info":null}"#,
                Some("not_found"),
            ),
            (
                r#"{"code":"instance_not_found","message":"m","request_id":"r"}"#,
                Some("instance_not_found"),
            ),
            (
                r#"{"error":"invalid_grant","error_description":"Invalid refresh token"}"#,
                Some("invalid_grant"),
            ),
            ("", None),
            ("<html>Bad gateway</html>", None),
            ("[]", None),
            ("\u{feff}{", None),
            (
                r#"{"code":17,"error":"conflict","request_id":{}}"#,
                Some("conflict"),
            ),
            ("{\"code\":\"two\\nlines\"}", None),
        ] {
            assert_eq!(plain(body).code(), code, "{body}");
        }
    }

    #[test]
    fn an_empty_body_is_read_from_the_challenge() {
        let error = challenged(
            r#"Bearer realm="Service", error="insufficient_scope", error_description="The request requires higher privileges""#,
            "",
        );
        assert_eq!(error.code(), Some("insufficient_scope"));
        assert_eq!(
            error.message(),
            Some("The request requires higher privileges")
        );
    }

    #[test]
    fn only_a_bad_token_asks_for_a_new_one() {
        let unauthorized = r#"{"type":"error","status":401,"code":"unauthorized","message":"x"}"#;
        assert!(challenged(r#"Bearer realm="Service", error="invalid_token""#, "").token_is_bad());
        assert!(challenged("Bearer realm=Service,error=invalid_token", "").token_is_bad());
        assert!(!challenged(r#"Bearer realm="Service""#, unauthorized).token_is_bad());
        assert!(!plain(unauthorized).token_is_bad());
        assert!(plain("").token_is_bad());
    }

    #[test]
    fn what_box_calls_wrong_is_named_whatever_else_the_context_holds() {
        let error = plain(
            r#"{"type":"error","status":400,"code":"bad_request","context_info":
            {"errors":[{"reason":"invalid_parameter","name":"role","message":"no such role"},7]}}"#,
        );
        let complaints = error.complaints();
        assert_eq!(complaints.len(), 1);
        assert_eq!(complaints[0].name.as_deref(), Some("role"));
        let said =
            plain(r#"{"code":"conflict","context_info":{"message":"Something went wrong."}}"#);
        assert_eq!(said.message(), Some("Something went wrong."));
        for odd in ["[]", "\"text\"", "7", "{\"errors\":{},\"conflicts\":7}"] {
            let error = plain(&format!(r#"{{"code":"conflict","context_info":{odd}}}"#));
            assert_eq!(error.code(), Some("conflict"), "{odd}");
            assert!(error.complaints().is_empty() && error.conflicts().is_empty());
        }
    }

    #[test]
    fn conflicts_come_as_one_or_as_many() {
        let item = r#"{"type":"file","id":"777","name":"nda.pdf"}"#;
        // Guides print ids as numbers.
        let numbered = r#"{"type":"file","id":777,"name":"nda.pdf"}"#;
        for conflicts in [item.to_owned(), format!("[{item}]"), numbered.to_owned()] {
            let error = plain(&format!(
                r#"{{"code":"item_name_in_use","context_info":{{"conflicts":{conflicts}}}}}"#
            ));
            let found = error.conflicts();
            assert_eq!(found.len(), 1, "{conflicts}");
            assert_eq!(found[0].id, "777");
        }
    }
}
