//! What kind of failure an answer is.

use http::StatusCode;

use crate::{
    api_error::{ApiErrors, ErrorCode},
    error::{Error, ErrorKind},
};

/// The code tells more than the status, where there is one, but for 429: what sends it names its
/// own wait, whatever it calls itself. With the kind comes what to do about it, where that is known.
pub(crate) fn kind_of(status: StatusCode, errors: &ApiErrors) -> (ErrorKind, Option<&'static str>) {
    if status == StatusCode::TOO_MANY_REQUESTS {
        return (ErrorKind::RateLimited, None);
    }
    if let Some(kind) = by_code(errors) {
        return (kind, None);
    }
    match status.as_u16() {
        300 => (
            ErrorKind::Duplicate,
            Some("several records have this external id"),
        ),
        301..=308 => (
            ErrorKind::Decode,
            Some("a redirect, which the API never sends: is the host right?"),
        ),
        401 => (ErrorKind::Auth, None),
        403 => (ErrorKind::Forbidden, None),
        404 => (ErrorKind::NotFound, None),
        408 => (ErrorKind::Timeout, None),
        409 | 412 | 428 => (ErrorKind::Conflict, None),
        410 => (
            ErrorKind::Config,
            Some("this version of the API is retired"),
        ),
        413 | 414 | 431 => (ErrorKind::TooLarge, None),
        420 | 500.. => (ErrorKind::Server, None),
        _ => (ErrorKind::Invalid, None),
    }
}

const BY_ORG: [ErrorCode; 2] = [
    ErrorCode::CANNOT_EXECUTE_FLOW_TRIGGER,
    ErrorCode::CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY,
];

const BY_CODE: &[(ErrorKind, &[ErrorCode])] = &[
    (
        ErrorKind::Duplicate,
        &[
            ErrorCode::DUPLICATE_VALUE,
            ErrorCode::DUPLICATES_DETECTED,
            ErrorCode::DUPLICATE_EXTERNAL_ID,
        ],
    ),
    (ErrorKind::Deleted, &[ErrorCode::ENTITY_IS_DELETED]),
    (ErrorKind::Conflict, &[ErrorCode::ENTITY_IS_LOCKED]),
    (ErrorKind::StorageFull, &[ErrorCode::STORAGE_LIMIT_EXCEEDED]),
    (
        ErrorKind::Forbidden,
        &[
            ErrorCode::API_CURRENTLY_DISABLED,
            ErrorCode::API_DISABLED_FOR_ORG,
            ErrorCode::INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY,
            ErrorCode::INSUFFICIENT_ACCESS_OR_READONLY,
        ],
    ),
    (
        ErrorKind::ConcurrentLimit,
        &[ErrorCode::TOO_MANY_APEX_REQUESTS],
    ),
    (
        ErrorKind::Timeout,
        &[
            ErrorCode::QUERY_TIMEOUT,
            ErrorCode::REQUEST_RUNNING_TOO_LONG,
        ],
    ),
    (
        ErrorKind::Server,
        &[
            ErrorCode::FUNCTIONALITY_TEMPORARILY_UNAVAILABLE,
            ErrorCode::INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE,
            ErrorCode::ORG_IN_MAINTENANCE,
            ErrorCode::SERVER_UNAVAILABLE,
            ErrorCode::UNKNOWN_EXCEPTION,
        ],
    ),
    (ErrorKind::NotFound, &[ErrorCode::NOT_FOUND]),
    (
        ErrorKind::Auth,
        &[
            ErrorCode::INVALID_SESSION_ID,
            ErrorCode::BULK_1_INVALID_SESSION_ID,
        ],
    ),
];

fn by_code(errors: &ApiErrors) -> Option<ErrorKind> {
    if errors.has(&ErrorCode::REQUEST_LIMIT_EXCEEDED) {
        // An unknown text is taken for the limit that quick repeats make worse.
        return Some(if errors.says("Concurrent") {
            ErrorKind::ConcurrentLimit
        } else {
            ErrorKind::DailyLimit
        });
    }
    if errors.has(&ErrorCode::UNABLE_TO_LOCK_ROW)
        || (errors.has_any(&BY_ORG) && errors.says("UNABLE_TO_LOCK_ROW"))
    {
        return Some(ErrorKind::RowLocked);
    }
    if errors.has(&ErrorCode::JSON_PARSER_ERROR) && errors.says("Maximum size of request") {
        return Some(ErrorKind::TooLarge);
    }
    let found = BY_CODE.iter().find(|(_, codes)| errors.has_any(codes));
    found.map(|(kind, _)| *kind)
}

/// Whether the next token helps. Two messages look like the end of a session and mean a setting
/// that no token mends: jsforce ran into endless loops over them.
pub(crate) fn is_session_end(error: &Error) -> bool {
    const HOPELESS: [&str; 2] = [
        "This session is not valid for use with the REST API",
        "Connected app is not attached to Agent",
    ];
    error.kind() == ErrorKind::Auth
        && !error
            .api()
            .is_some_and(|errors| HOPELESS.iter().any(|text| errors.says(text)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kind(status: u16, code: &str, message: &str) -> ErrorKind {
        let body = serde_json::json!([{ "errorCode": code, "message": message }]).to_string();
        kind_of(
            StatusCode::from_u16(status).unwrap(),
            &ApiErrors::read(body.as_bytes()),
        )
        .0
    }

    #[test]
    fn the_code_decides_and_then_the_status() {
        use ErrorKind::*;
        let daily = "TotalRequests Limit exceeded.";
        let concurrent = "ConcurrentRequests (Concurrent API Requests) Limit exceeded.";
        let locked = "deal_close: UNABLE_TO_LOCK_ROW, unable to obtain exclusive access";
        let size = "Maximum size of request reached. Maximum size of request is 52428800 bytes.";
        for (status, code, message, expected) in [
            (403, "REQUEST_LIMIT_EXCEEDED", daily, DailyLimit),
            (403, "REQUEST_LIMIT_EXCEEDED", concurrent, ConcurrentLimit),
            (403, "REQUEST_LIMIT_EXCEEDED", "new text", DailyLimit),
            (400, "UNABLE_TO_LOCK_ROW", "", RowLocked),
            (400, "CANNOT_EXECUTE_FLOW_TRIGGER", locked, RowLocked),
            (400, "CANNOT_EXECUTE_FLOW_TRIGGER", "no", Invalid),
            (
                400,
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                locked,
                RowLocked,
            ),
            (400, "DUPLICATE_VALUE", "", Duplicate),
            (404, "ENTITY_IS_DELETED", "", Deleted),
            (400, "ENTITY_IS_DELETED", "", Deleted),
            (400, "INSUFFICIENT_ACCESS_OR_READONLY", "", Forbidden),
            (400, "STORAGE_LIMIT_EXCEEDED", "", StorageFull),
            (400, "JSON_PARSER_ERROR", size, TooLarge),
            (400, "JSON_PARSER_ERROR", "Unexpected character", Invalid),
            (400, "InvalidSessionId", "", Auth),
            (503, "SERVER_UNAVAILABLE", "", Server),
            (400, "A_CODE_OF_NEXT_YEAR", "", Invalid),
            (503, "A_CODE_OF_NEXT_YEAR", "", Server),
            (
                429,
                "REQUEST_LIMIT_EXCEEDED",
                "Too many requests",
                RateLimited,
            ),
            (412, "PRECONDITION", "", Conflict),
            (410, "GONE", "", Config),
        ] {
            assert_eq!(
                kind(status, code, message),
                expected,
                "{status} {code} {message}"
            );
        }
    }
}
