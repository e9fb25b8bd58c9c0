//! A request as data. Nothing here does IO, so what will be sent can be tested without a server.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{CONTENT_TYPE, IF_MATCH},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use url::Url;

use crate::{
    client::Hosts,
    error::{Error, ErrorKind, Result},
};

/// What may stand in a path segment as it is (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Has no `Debug`: the token endpoint's forms and pre-signed URLs pass through here.
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
    /// How long it may take, where that is not the client's own limits.
    pub(crate) patience: Option<Duration>,
}

#[derive(Clone)]
pub(crate) enum Target {
    Api(String),
    /// On the host that takes bytes.
    Upload(String),
    Token,
    Revoke,
    /// A URL that Box gave, such as a download's.
    Given(Url),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Auth {
    Bearer,
    /// Pre-signed URLs and the token endpoint.
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
        segments: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Self {
        Self::to(operation, method, Target::Api(path(segments)))
    }

    pub(crate) fn upload(
        operation: &'static str,
        method: Method,
        segments: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Self {
        Self::to(operation, method, Target::Upload(path(segments)))
    }

    pub(crate) fn to(operation: &'static str, method: Method, target: Target) -> Self {
        let repeat = if method.is_idempotent() {
            Repeat::Safe
        } else {
            Repeat::Unsafe
        };
        let auth = match target {
            Target::Api(_) | Target::Upload(_) => Auth::Bearer,
            Target::Token | Target::Revoke | Target::Given(_) => Auth::None,
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
            patience: None,
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

    pub(crate) fn query_opt(self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// A header of a text that is put together for it.
    pub(crate) fn text_header(self, name: HeaderName, text: impl AsRef<str>) -> Result<Self> {
        let value = header_value(self.operation, text)?;
        Ok(self.header(name, value))
    }

    pub(crate) fn json(self, body: &impl Serialize) -> Result<Self> {
        self.json_as("application/json", body)
    }

    pub(crate) fn json_as(self, content_type: &'static str, body: &impl Serialize) -> Result<Self> {
        let operation = self.operation;
        let bytes = serde_json::to_vec(body).map_err(|cause| {
            Error::new(ErrorKind::Invalid, operation)
                .detail("the body cannot be written as JSON")
                .cause(cause)
        })?;
        Ok(self.bytes(HeaderValue::from_static(content_type), bytes.into()))
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

    /// For a change that must not be made twice, whatever its method says.
    pub(crate) fn once(mut self) -> Self {
        self.repeat = Repeat::Unsafe;
        self
    }

    /// For answers that stay away on purpose.
    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Shows the token to a URL that Box gave.
    pub(crate) fn bearer(mut self) -> Self {
        self.auth = Auth::Bearer;
        self
    }

    pub(crate) fn fields(self, fields: &[String]) -> Self {
        self.query_opt("fields", (!fields.is_empty()).then(|| fields.join(",")))
    }

    pub(crate) fn if_match(self, etag: Option<&str>) -> Result<Self> {
        let Some(etag) = etag else { return Ok(self) };
        let value = HeaderValue::try_from(etag).map_err(|_| {
            Error::new(ErrorKind::Invalid, self.operation)
                .detail("the etag has characters that no header can carry")
        })?;
        Ok(self.header(IF_MATCH, value))
    }

    pub(crate) fn url(&self, hosts: &Hosts) -> Result<Url> {
        let under = |root: &Url, path: &str| {
            let whole = format!("{}{path}", root.as_str().trim_end_matches('/'));
            Url::parse(&whole).map_err(|cause| {
                Error::new(ErrorKind::Invalid, self.operation)
                    .detail("the path makes no URL")
                    .cause(cause)
            })
        };
        let mut url = match &self.target {
            Target::Api(path) => under(&hosts.api, path)?,
            Target::Upload(path) => under(&hosts.upload, path)?,
            Target::Token => hosts.token.clone(),
            Target::Revoke => hosts.revoke.clone(),
            Target::Given(url) => url.clone(),
        };
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        Ok(url)
    }
}

pub(crate) fn header_value(operation: &'static str, text: impl AsRef<str>) -> Result<HeaderValue> {
    HeaderValue::from_str(text.as_ref()).map_err(|cause| {
        Error::new(ErrorKind::Invalid, operation)
            .detail("a header cannot carry this")
            .cause(cause)
    })
}

fn path(segments: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        path.extend(utf8_percent_encode(segment.as_ref(), SEGMENT));
    }
    path
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
            let call = Call::new("t", Method::GET, ["files", &text, "content"]);
            let url = call.url(&Hosts::of_box().unwrap()).unwrap();
            let segments: Vec<_> = url.path_segments().unwrap().collect();
            prop_assert_eq!(segments.len(), 4);
            let back = percent_encoding::percent_decode_str(segments[2]).decode_utf8().unwrap();
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
        ] {
            assert_eq!(Call::new("t", method, ["x"]).repeat, repeat);
        }
    }
}
