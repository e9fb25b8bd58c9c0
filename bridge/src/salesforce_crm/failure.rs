//! What Salesforce's errors mean for the job.

use std::error::Error as _;

use salesforce_client::{Error, ErrorCode, ErrorKind, RecordId};

use crate::{
    port_error::{PortError, PortErrorKind},
    quota_class::QuotaClass,
    side::Side,
};

/// What is shown of each message of Salesforce's.
const LONGEST_MESSAGE: usize = 300;

pub(crate) fn id(doing: &'static str, text: &str) -> Result<RecordId, PortError> {
    RecordId::new(text)
        .map_err(|cause| PortError::new(PortErrorKind::Refused, doing).with_cause(cause))
}

/// The document is deleted, or not ours to change any more.
pub(super) fn is_no_document(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Deleted)
        || error.api().and_then(|api| api.code()).is_some_and(|code| {
            code == "INVALID_CROSS_REFERENCE_KEY" || code.starts_with("INSUFFICIENT_ACCESS")
        })
}

/// An earlier write has arrived after all: its own unique field says so, and a look finds it.
pub(super) fn is_duplicate_value(error: &Error) -> bool {
    error.has_code(&ErrorCode::DUPLICATE_VALUE)
}

pub(super) fn is_locked(error: &Error) -> bool {
    error.has_code(&ErrorCode::ENTITY_IS_LOCKED)
}

pub(crate) fn port_error(doing: &'static str, error: Error) -> PortError {
    let error = match from_content(error) {
        Ok(port_error) => return port_error,
        Err(error) => error,
    };
    let is_queued = error.kind() == ErrorKind::ConcurrentLimit && error.status().is_none();
    let port_error = PortError::new(kind(&error), doing);
    let port_error = match is_queued {
        true => port_error.of_ours(),
        false => port_error,
    };
    port_error
        .with_status(error.status())
        .with_retry_after(error.retry_after())
        .with_detail(explanation(&error))
        .with_fields(fields(&error))
        .with_cause(error)
}

/// The same where one failure is that of many.
pub(super) fn port_error_of_many(doing: &'static str, error: &Error) -> PortError {
    PortError::new(kind(error), doing)
        .with_status(error.status())
        .with_retry_after(error.retry_after())
        .with_detail(explanation(error))
        .with_cause(error.to_string())
}

fn kind(error: &Error) -> PortErrorKind {
    match error.kind() {
        _ if error.may_have_happened() => PortErrorKind::Unknown,
        // A session that ended in the middle: the next call logs in anew.
        ErrorKind::Auth if error.is_retryable() => PortErrorKind::Busy,
        ErrorKind::Deleted => PortErrorKind::Gone,
        // What was sent would be refused to all.
        ErrorKind::DailyLimit
            if error.status().is_none() && QuotaClass::current() == QuotaClass::Backfill =>
        {
            PortErrorKind::Later
        }
        // Nor was this sent: too many calls of our own are under way.
        ErrorKind::ConcurrentLimit if error.status().is_none() => match QuotaClass::current() {
            QuotaClass::Backfill => PortErrorKind::Later,
            _ => PortErrorKind::Busy,
        },
        // A 404 without Salesforce's own body is a proxy's, or that of a wrong login URL.
        ErrorKind::NotFound if says_why(error) => PortErrorKind::Gone,
        // Of files or of records: what changes a record that is there needs none.
        ErrorKind::StorageFull => PortErrorKind::Full,
        // These concern the user or the org as a whole: every other call would fare the same.
        ErrorKind::Auth
        | ErrorKind::Config
        | ErrorKind::DailyLimit
        | ErrorKind::Store
        | ErrorKind::TokenUnavailable => PortErrorKind::Outage,
        ErrorKind::Forbidden if is_api_disabled(error) => PortErrorKind::Outage,
        // Nor is a refusal without reason Salesforce's last word: its body may have broken off, and
        // with it that the effect is there already.
        ErrorKind::Forbidden | ErrorKind::Invalid
            if error.status().is_some() && !says_why(error) =>
        {
            PortErrorKind::Busy
        }
        ErrorKind::Duplicate | ErrorKind::Forbidden | ErrorKind::Invalid | ErrorKind::TooLarge => {
            PortErrorKind::Refused
        }
        ErrorKind::Server | ErrorKind::Timeout | ErrorKind::Transport => PortErrorKind::Down,
        _ => PortErrorKind::Busy,
    }
}

/// Where an upload failed because its content did, the content side's own error says what to do.
fn from_content(error: Error) -> Result<PortError, Error> {
    let cause = error.source().and_then(|it| it.downcast_ref::<PortError>());
    match cause {
        Some(cause) if error.kind() == ErrorKind::Content => {
            let cause_side = cause.side().unwrap_or(Side::Content);
            let port_error = PortError::new(cause.kind(), cause.doing())
                .with_status(cause.status())
                .with_retry_after(cause.retry_after());
            // Nothing but the content comes from another side.
            Ok(port_error.with_side(cause_side).with_cause(error))
        }
        _ => Err(error),
    }
}

/// Whether the answer was Salesforce's own.
fn says_why(error: &Error) -> bool {
    error.api().is_some_and(|api| api.code().is_some())
}

fn is_api_disabled(error: &Error) -> bool {
    error.has_code(&ErrorCode::API_DISABLED_FOR_ORG)
        || error.has_code(&ErrorCode::API_CURRENTLY_DISABLED)
}

/// The org's own words, such as those of a validation rule, and the fields they are about: what a
/// person needs to put it right.
fn explanation(error: &Error) -> Option<String> {
    let items = error.api()?.iter().map(|item| {
        let message = &item.message;
        let message: String = message.chars().take(LONGEST_MESSAGE).collect();
        match item.fields.is_empty() {
            true => message,
            false => format!("{message} ({})", item.fields.join(", ")),
        }
    });
    let items: Vec<_> = items.filter(|item| !item.is_empty()).take(3).collect();
    (!items.is_empty()).then(|| items.join("; "))
}

fn fields(error: &Error) -> Vec<String> {
    let items = error.api().into_iter().flat_map(|api| api.iter());
    items.flat_map(|item| item.fields.iter().cloned()).collect()
}
