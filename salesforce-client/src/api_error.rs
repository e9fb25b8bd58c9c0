//! The error bodies of Salesforce, in all their shapes.

use std::{borrow::Cow, fmt};

use serde::Deserialize;
use serde_json::Value;

/// What Salesforce says of a failed call: one thing, several, or nothing that can be read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ApiErrors(Vec<ApiError>);

/// One thing that is wrong.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct ApiError {
    /// Salesforce's code.
    pub code: ErrorCode,
    /// Salesforce's sentence, or the org's own where a validation rule speaks. It can hold the
    /// org's data; a log is not the place for it.
    pub message: String,
    /// The fields that it is about.
    pub fields: Vec<String>,
    /// The record of a tree that it is about, by the reference that it was sent with.
    pub reference: Option<String>,
}

const LONGEST_CODE: usize = 100;

/// Salesforce's name for what is wrong: an open set of some four hundred, which grows.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ErrorCode(Cow<'static, str>);

impl ErrorCode {
    /// A code that has no constant here, to compare with.
    pub const fn new(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// The code as Salesforce writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A code that came. Whatever is no code is none, for it stands in every log.
    fn told(code: &str) -> Self {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
        if (1..=LONGEST_CODE).contains(&code.len()) && code.bytes().all(is_word) {
            return Self(Cow::Owned(code.to_owned()));
        }
        Self(Cow::Borrowed("UNKNOWN"))
    }

    /// Whether it begins with this, as the two `INSUFFICIENT_ACCESS` codes do.
    pub fn starts_with(&self, prefix: &str) -> bool {
        self.0.starts_with(prefix)
    }
}

impl ErrorCode {
    /// The session has ended, as Bulk 1.0 says it.
    pub const BULK_1_INVALID_SESSION_ID: Self = Self(Cow::Borrowed("InvalidSessionId"));
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident)+) => {
        impl ErrorCode {$(
            $(#[$doc])*
            pub const $name: Self = Self(Cow::Borrowed(stringify!($name)));
        )+}
    };
}

codes! {
    /// The user has no "API Enabled".
    API_CURRENTLY_DISABLED
    /// The org's edition has no API.
    API_DISABLED_FOR_ORG
    /// A flow of the org failed, or the row was locked meanwhile.
    CANNOT_EXECUTE_FLOW_TRIGGER
    /// A trigger of the org failed, or the row was locked meanwhile.
    CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY
    /// A duplicate rule says no.
    DUPLICATES_DETECTED
    /// There is already something of that name in the org's setup.
    DUPLICATE_DEVELOPER_NAME
    /// The key of an upsert matches several rows.
    DUPLICATE_EXTERNAL_ID
    /// A unique value, or a link of a file, is there already.
    DUPLICATE_VALUE
    /// Another record of the same call failed, and all go back together.
    ALL_OR_NONE_OPERATION_ROLLED_BACK
    /// Another part of the same batch failed, and it was to stop then.
    BATCH_PROCESSING_HALTED
    /// The record is in the recycle bin, or beyond.
    ENTITY_IS_DELETED
    /// An approval process holds the record.
    ENTITY_IS_LOCKED
    /// There are more ids than Salesforce gives at once.
    EXCEEDED_ID_LIMIT
    /// A validation rule of the org says no.
    FIELD_CUSTOM_VALIDATION_EXCEPTION
    /// A value does not fit the record's state.
    FIELD_INTEGRITY_EXCEPTION
    /// Something is being maintained.
    FUNCTIONALITY_TEMPORARILY_UNAVAILABLE
    /// The org is being maintained.
    INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE
    /// No right on the record that is pointed to.
    INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY
    /// No right on the record.
    INSUFFICIENT_ACCESS_OR_READONLY
    /// An id of the wrong kind, or of a record that the user cannot see.
    INVALID_CROSS_REFERENCE_KEY
    /// No such field, or no right to it.
    INVALID_FIELD
    /// The next page of a query is gone: query again.
    INVALID_QUERY_LOCATOR
    /// The time that was asked about is too long ago, or ends before it begins.
    INVALID_REPLICATION_DATE
    /// The session has ended.
    INVALID_SESSION_ID
    /// The body is no JSON, or larger than 52,428,800 bytes.
    JSON_PARSER_ERROR
    /// The query cannot be read.
    MALFORMED_QUERY
    /// There is no such thing.
    NOT_FOUND
    /// The org is being maintained.
    ORG_IN_MAINTENANCE
    /// Another part of the same call failed.
    PROCESSING_HALTED
    /// The query ran into its time limit.
    QUERY_TIMEOUT
    /// A limit of calls: the daily or the concurrent one, told apart by the message.
    REQUEST_LIMIT_EXCEEDED
    /// The call ran into its time limit.
    REQUEST_RUNNING_TOO_LONG
    /// A required field is missing.
    REQUIRED_FIELD_MISSING
    /// Too busy.
    SERVER_UNAVAILABLE
    /// The org's storage is full.
    STORAGE_LIMIT_EXCEEDED
    /// A text is longer than its field.
    STRING_TOO_LONG
    /// Too much of the org's own code runs at once.
    TOO_MANY_APEX_REQUESTS
    /// Somebody else is writing to the record.
    UNABLE_TO_LOCK_ROW
    /// A failure inside Salesforce; the message has a number for its support.
    UNKNOWN_EXCEPTION
}

impl PartialEq<str> for ErrorCode {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for ErrorCode {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ApiErrors {
    /// Reads whatever came: the usual array, a single object, the shapes of OAuth, of save results
    /// and of Bulk 1.0, XML, or a gateway's page.
    pub(crate) fn read(body: &[u8]) -> Self {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        match serde_json::from_slice::<Value>(body) {
            Ok(Value::Array(items)) => Self(items.iter().filter_map(ApiError::read).collect()),
            Ok(item) => match item.get("results").and_then(Value::as_array) {
                Some(results) => Self(results.iter().flat_map(ApiError::read_result).collect()),
                None => Self(ApiError::read(&item).into_iter().collect()),
            },
            Err(_) => Self(xml(&String::from_utf8_lossy(body)).into_iter().collect()),
        }
    }

    /// The code alone, if it is a plain word: what the token endpoint sends besides can hold
    /// parts of tokens.
    pub(crate) fn without_texts(mut self) -> Self {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        self.0.truncate(1);
        self.0
            .retain(|error| error.code.0.len() <= 40 && error.code.0.bytes().all(is_word));
        for error in &mut self.0 {
            error.message.clear();
            error.fields.clear();
        }
        self
    }

    /// The first code.
    pub fn code(&self) -> Option<&ErrorCode> {
        self.0.first().map(|error| &error.code)
    }

    /// The first message. It can hold the org's data; a log is not the place for it.
    pub fn message(&self) -> Option<&str> {
        self.0.first().map(|error| error.message.as_str())
    }

    /// All of them, in Salesforce's order.
    pub fn iter(&self) -> impl Iterator<Item = &ApiError> {
        self.0.iter()
    }

    /// Whether one of them has this code.
    pub fn has(&self, code: &ErrorCode) -> bool {
        self.0.iter().any(|error| error.code == *code)
    }

    /// Reads what stands in `errors` of a record's result.
    pub(crate) fn of_row(errors: &[Value]) -> Self {
        Self(errors.iter().filter_map(ApiError::read).collect())
    }

    /// Whether this only follows from another failure in the same call.
    pub(crate) fn is_consequence(&self) -> bool {
        self.has_any(&[
            ErrorCode::ALL_OR_NONE_OPERATION_ROLLED_BACK,
            ErrorCode::BATCH_PROCESSING_HALTED,
            ErrorCode::PROCESSING_HALTED,
        ])
    }

    pub(crate) fn has_any(&self, codes: &[ErrorCode]) -> bool {
        codes.iter().any(|code| self.has(code))
    }

    pub(crate) fn says(&self, text: &str) -> bool {
        self.0.iter().any(|error| error.message.contains(text))
    }
}

impl From<ApiError> for ApiErrors {
    fn from(error: ApiError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Debug for ApiError {
    /// Without the message, which can hold the org's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiError")
            .field("code", &self.code)
            .field("fields", &self.fields)
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

impl ApiError {
    pub(crate) fn new(code: &str, message: &str, fields: Vec<String>) -> Self {
        Self {
            code: ErrorCode::told(code),
            message: message.to_owned(),
            fields,
            reference: None,
        }
    }

    fn read(value: &Value) -> Option<Self> {
        let text = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| value.get(name)?.as_str())
                .map(str::to_owned)
        };
        let code = text(&["errorCode", "statusCode", "exceptionCode", "error"])?;
        Some(Self {
            code: ErrorCode(Cow::Owned(code)),
            message: text(&["message", "exceptionMessage", "error_description"])
                .unwrap_or_default(),
            fields: value
                .get("fields")
                .and_then(|fields| Vec::<String>::deserialize(fields).ok())
                .unwrap_or_default(),
            reference: None,
        })
    }

    /// One result of a tree: a reference and what is wrong with its record.
    fn read_result(result: &Value) -> Vec<Self> {
        let reference = result.get("referenceId").and_then(Value::as_str);
        let errors = result.get("errors").and_then(Value::as_array);
        errors
            .into_iter()
            .flatten()
            .filter_map(Self::read)
            .map(|error| Self {
                reference: reference.map(str::to_owned),
                ..error
            })
            .collect()
    }
}

/// `<Errors><Error><errorCode>…</errorCode><message>…</message></Error></Errors>`, whatever the
/// prefixes.
fn xml(text: &str) -> Option<ApiError> {
    let element = |names: [&str; 2]| {
        names.iter().find_map(|name| {
            let (_, rest) = text.split_once(&format!("{name}>"))?;
            rest.split_once("</")
                .map(|(inner, _)| inner.trim().to_owned())
        })
    };
    let code = element(["errorCode", "exceptionCode"])?;
    Some(ApiError {
        code: ErrorCode(Cow::Owned(code)),
        message: element(["message", "exceptionMessage"]).unwrap_or_default(),
        fields: Vec::new(),
        reference: None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_shape_gives_its_code() {
        for (body, code) in [
            (
                r#"[{"message":"m","errorCode":"NOT_FOUND","fields":["Id"]}]"#,
                Some("NOT_FOUND"),
            ),
            (
                r#"[{"message":"m","errorCode":"X"},{"message":"n","errorCode":"Y"}]"#,
                Some("X"),
            ),
            (
                r#"{"message":"m","errorCode":"INVALID_TYPE"}"#,
                Some("INVALID_TYPE"),
            ),
            (
                r#"{"statusCode":"DUPLICATE_VALUE","message":"m","fields":[]}"#,
                Some("DUPLICATE_VALUE"),
            ),
            (
                r#"{"error":"invalid_grant","error_description":"d"}"#,
                Some("invalid_grant"),
            ),
            (
                r#"{"exceptionCode":"InvalidSessionId","exceptionMessage":"m"}"#,
                Some("InvalidSessionId"),
            ),
            (
                "<?xml version=\"1.0\"?><Errors><Error><errorCode>LOGIN</errorCode><message>m</message></Error></Errors>",
                Some("LOGIN"),
            ),
            ("<html><body>503</body></html>", None),
            ("Bad gateway", None),
            ("", None),
            ("[]", None),
            ("null", None),
        ] {
            let errors = ApiErrors::read(body.as_bytes());
            assert_eq!(errors.code().map(ErrorCode::as_str), code, "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(body: Vec<u8>) {
            let _ = ApiErrors::read(&body);
        }
    }
}
