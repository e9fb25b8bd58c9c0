//! The request line and headers, taken apart once.

use http::{HeaderMap, header::AUTHORIZATION, request::Parts};
use percent_encoding::percent_decode_str;
use url::form_urlencoded;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Host {
    Api,
    Download,
}

#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) host: Host,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) segments: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    headers: HeaderMap,
}

impl Head {
    pub(super) fn new(host: Host, parts: Parts) -> Self {
        let path = parts.uri.path().to_owned();
        let segments = path
            .split('/')
            .skip(1)
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
        let method = parts.method.as_str().to_owned();
        Self {
            host,
            method,
            path,
            segments,
            query,
            headers: parts.headers,
        }
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The content type without its parameters, in lower case.
    pub(super) fn content_type(&self) -> Option<String> {
        let value = self.header("content-type")?;
        Some(
            value
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase(),
        )
    }

    pub(super) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    pub(super) fn redacted_headers(&self) -> Vec<(String, String)> {
        self.headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes());
                let shown = match name == AUTHORIZATION {
                    true => value.split(' ').next().unwrap_or_default().to_owned(),
                    false => value.into_owned(),
                };
                (name.as_str().to_owned(), shown)
            })
            .collect()
    }
}
