//! What Salesforce says of jobs and rows in texts of its own.

use crate::{ApiError, ApiErrors};

/// `InvalidBatch : Field name not found : Colour__c`, as a job says it.
pub(super) fn of_job(text: &str) -> ApiErrors {
    let (code, message) = split(text);
    ApiError::new(code, message, Vec::new()).into()
}

/// `REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --`, as a row says it: the
/// fields stand last, before two dashes.
pub(super) fn of_row(text: &str) -> ApiError {
    let (code, message) = split(text);
    let (message, fields) = message
        .strip_suffix("--")
        .and_then(|rest| rest.rsplit_once(':'))
        .unwrap_or((message, ""));
    let fields = fields.split(',').map(str::trim);
    let fields = fields.filter(|field| !field.is_empty()).map(str::to_owned);
    ApiError::new(code, message.trim(), fields.collect())
}

/// A code is one word; a text without one has no code.
fn split(text: &str) -> (&str, &str) {
    let is_word = |code: &str| {
        !code.is_empty() && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    match text.split_once(':') {
        Some((code, message)) if is_word(code.trim()) => (code.trim(), message.trim()),
        _ => ("", text.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_code_message_and_fields() {
        for (text, code, message, fields) in [
            (
                "REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --",
                "REQUIRED_FIELD_MISSING",
                "Required fields are missing: [Name]",
                &["Name"][..],
            ),
            (
                "REQUIRED_FIELD_MISSING:Name required",
                "REQUIRED_FIELD_MISSING",
                "Name required",
                &[],
            ),
            (
                "DUPLICATE_VALUE:duplicate value found: A__c, B__c:A__c,B__c --",
                "DUPLICATE_VALUE",
                "duplicate value found: A__c, B__c",
                &["A__c", "B__c"],
            ),
            ("INVALID_FIELD:no:--", "INVALID_FIELD", "no", &[]),
            (
                "something else: no code",
                "",
                "something else: no code",
                &[],
            ),
            ("", "", "", &[]),
        ] {
            let error = of_row(text);
            assert_eq!(error.code, code, "{text}");
            assert_eq!(error.message, message, "{text}");
            assert_eq!(error.fields, fields, "{text}");
        }
    }
}
