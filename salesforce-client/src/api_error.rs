//! The error bodies of Salesforce, in all their shapes.

use serde::Deserialize;
use serde_json::Value;

/// What Salesforce says of a failed call: one thing or several.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ApiErrors(Vec<ApiError>);

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ApiError {
    /// Salesforce's code, such as `DUPLICATE_VALUE`: an open set.
    pub code: String,
    /// Salesforce's sentence, or the org's own where a validation rule speaks.
    pub message: String,
    /// The fields that it is about.
    pub fields: Vec<String>,
}

impl ApiErrors {
    /// Reads whatever came: the usual array, a single object, the shapes of OAuth, of save results
    /// and of Bulk 1.0, XML, or a gateway's page.
    pub(crate) fn read(body: &[u8]) -> Self {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        match serde_json::from_slice::<Value>(body) {
            Ok(Value::Array(items)) => Self(items.iter().filter_map(ApiError::read).collect()),
            Ok(item) => Self(ApiError::read(&item).into_iter().collect()),
            Err(_) => Self(xml(&String::from_utf8_lossy(body)).into_iter().collect()),
        }
    }

    /// The first code.
    pub fn code(&self) -> Option<&str> {
        self.0.first().map(|error| error.code.as_str())
    }

    /// The first message. It can hold the org's data; a log is not the place for it.
    pub fn message(&self) -> Option<&str> {
        self.0.first().map(|error| error.message.as_str())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &ApiError> {
        self.0.iter()
    }

    pub(crate) fn has(&self, codes: &[&str]) -> bool {
        self.0
            .iter()
            .any(|error| codes.contains(&error.code.as_str()))
    }

    pub(crate) fn says(&self, text: &str) -> bool {
        self.0.iter().any(|error| error.message.contains(text))
    }
}

impl ApiError {
    fn read(value: &Value) -> Option<Self> {
        let text = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| value.get(name)?.as_str())
                .map(str::to_owned)
        };
        Some(Self {
            code: text(&["errorCode", "statusCode", "exceptionCode", "error"])?,
            message: text(&["message", "exceptionMessage", "error_description"])
                .unwrap_or_default(),
            fields: value
                .get("fields")
                .and_then(|fields| Vec::<String>::deserialize(fields).ok())
                .unwrap_or_default(),
        })
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
        code,
        message: element(["message", "exceptionMessage"]).unwrap_or_default(),
        fields: Vec::new(),
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
            assert_eq!(ApiErrors::read(body.as_bytes()).code(), code, "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(body: Vec<u8>) {
            let _ = ApiErrors::read(&body);
        }
    }
}
