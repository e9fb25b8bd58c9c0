//! A request as data. Nothing here does IO, so what will be sent can be tested without a server.

use std::borrow::Cow;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{ACCEPT_ENCODING, CONTENT_TYPE},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use tokio::time::Instant;
use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// What may stand in a path segment as it is (RFC 3986, unreserved). A dot may not: what follows
/// the last one can be taken for a format, as in `123.json`.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    pub(crate) method: Method,
    pub(crate) target: Target,
    query: Vec<(Cow<'static, str>, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    pub(crate) auth: Auth,
    pub(crate) repeat: Repeat,
    /// Whether its answer is the only copy of what it spends.
    pub(crate) single_use: bool,
    /// Since when its deadline runs, where it has one together with calls before it.
    pub(crate) since: Option<Instant>,
}

#[derive(Clone)]
pub(crate) enum Target {
    /// A path on the org's own host, which only the token tells.
    Org(String),
    /// The token endpoint.
    Given(Url),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Auth {
    Bearer,
    /// Bulk 1.0 has a header of its own for the token.
    Session,
    /// The token endpoint.
    None,
}

/// Whether a call whose outcome is unknown may be sent again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Repeat {
    Safe,
    Unsafe,
}

impl Call {
    pub(crate) fn new(
        operation: &'static str,
        method: Method,
        base: &str,
        segments: &[&str],
    ) -> Self {
        let length = segments
            .iter()
            .map(|segment| segment.len() + 1)
            .sum::<usize>();
        let mut path = String::with_capacity(base.len() + length);
        path.push_str(base);
        for segment in segments {
            path.push('/');
            path.extend(utf8_percent_encode(segment, SEGMENT));
        }
        Self::to(operation, method, Target::Org(path))
    }

    pub(crate) fn to(operation: &'static str, method: Method, target: Target) -> Self {
        let repeat = if method.is_idempotent() {
            Repeat::Safe
        } else {
            Repeat::Unsafe
        };
        let auth = match &target {
            Target::Org(path) if path.starts_with("/services/async/") => Auth::Session,
            Target::Org(_) => Auth::Bearer,
            Target::Given(_) => Auth::None,
        };
        Self {
            operation,
            method,
            target,
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: None,
            auth,
            repeat,
            single_use: false,
            since: None,
        }
    }

    pub(crate) fn query(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<String>,
    ) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// A header of a text that is put together for it.
    pub(crate) fn text_header(self, name: HeaderName, text: String) -> Result<Self> {
        match HeaderValue::try_from(text) {
            Ok(value) => Ok(self.header(name, value)),
            Err(cause) => Err(Error::new(ErrorKind::Invalid, self.operation)
                .detail("a header cannot carry this")
                .cause(cause)),
        }
    }

    pub(crate) fn json(self, body: &(impl Serialize + ?Sized)) -> Result<Self> {
        let operation = self.operation;
        let bytes = serde_json::to_vec(body).map_err(|cause| {
            Error::new(ErrorKind::Invalid, operation)
                .detail("the body cannot be written as JSON")
                .cause(cause)
        })?;
        Ok(self.bytes(HeaderValue::from_static("application/json"), bytes.into()))
    }

    pub(crate) fn bytes(mut self, content_type: HeaderValue, body: Bytes) -> Self {
        self.headers.insert(CONTENT_TYPE, content_type);
        self.body = Some(body);
        self
    }

    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.bytes(
            HeaderValue::from_static("application/x-www-form-urlencoded"),
            body.into(),
        )
    }

    pub(crate) fn repeatable(mut self) -> Self {
        self.repeat = Repeat::Safe;
        self
    }

    /// Another round of a call whose deadline runs since then.
    pub(crate) fn since(mut self, started: Instant) -> Self {
        self.since = Some(started);
        self
    }

    /// The answer's bytes come as they are kept, so that their number is the one announced.
    pub(crate) fn uncompressed(self) -> Self {
        self.header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
    }

    /// What it spends is gone with its answer.
    pub(crate) fn single_use(mut self) -> Self {
        self.single_use = true;
        self
    }

    /// The path on the org's host with the query, as a call inside another names it.
    pub(crate) fn path_and_query(&self) -> String {
        let mut text = match &self.target {
            Target::Org(path) => path.clone(),
            Target::Given(url) => url.path().to_owned(),
        };
        if !self.query.is_empty() {
            text.push('?');
            let query = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(&self.query)
                .finish();
            text.push_str(&query);
        }
        text
    }

    pub(crate) fn url(&self, base: &Url) -> Result<Url> {
        let mut url = match &self.target {
            Target::Org(path) => {
                let whole = format!("{}{path}", base.as_str().trim_end_matches('/'));
                Url::parse(&whole).map_err(|cause| {
                    Error::new(ErrorKind::Invalid, self.operation)
                        .detail("the path makes no URL")
                        .cause(cause)
                })?
            }
            Target::Given(url) => url.clone(),
        };
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_segment_stays_one_segment(text in "\\PC{1,20}") {
            prop_assume!(text != "." && text != "..");
            let call = Call::new("t", Method::GET, "/services", &[&text, "x"]);
            let url = call.url(&Url::parse("https://example.my.salesforce.com").unwrap()).unwrap();
            let segments: Vec<_> = url.path_segments().unwrap().collect();
            prop_assert_eq!(segments.len(), 3);
            let back = percent_encoding::percent_decode_str(segments[1]).decode_utf8().unwrap();
            prop_assert_eq!(back, text);
        }
    }

    #[test]
    fn only_idempotent_methods_are_repeated_unasked() {
        for (method, repeat) in [
            (Method::GET, Repeat::Safe),
            (Method::PUT, Repeat::Safe),
            (Method::DELETE, Repeat::Safe),
            (Method::POST, Repeat::Unsafe),
            (Method::PATCH, Repeat::Unsafe),
        ] {
            assert_eq!(Call::new("t", method, "", &["x"]).repeat, repeat);
        }
    }
}
