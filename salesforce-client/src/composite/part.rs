use http::Method;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{OPERATION, Reference};
use crate::{
    RecordId, Soql,
    call::Call,
    error::{Error, ErrorKind, Result},
    sobjects::check_name,
};

/// A record that a part is about: one that exists, or one that an earlier part creates.
#[derive(Clone, Debug)]
pub struct Target(String);

impl From<&RecordId> for Target {
    fn from(id: &RecordId) -> Self {
        Self(id.as_str().to_owned())
    }
}

impl From<&Reference> for Target {
    fn from(reference: &Reference) -> Self {
        Self(reference.id())
    }
}

/// One call inside another.
pub(super) struct Part {
    method: Method,
    /// The whole path, percent-encoded, with its query.
    url: String,
    pub(super) body: Option<Value>,
    headers: Map<String, Value>,
}

impl Part {
    pub(super) fn create(
        data: &str,
        object: &str,
        fields: &(impl Serialize + ?Sized),
    ) -> Result<Self> {
        check_name(OPERATION, object)?;
        Self::to(Method::POST, format!("{data}/sobjects/{object}")).with(fields)
    }

    pub(super) fn get(data: &str, object: &str, id: &Target, fields: &[&str]) -> Result<Self> {
        let mut part = Self::row(Method::GET, data, object, id)?;
        for (place, field) in fields.iter().enumerate() {
            check_name(OPERATION, field)?;
            part.url.push_str(if place == 0 { "?fields=" } else { "," });
            part.url.push_str(field);
        }
        Ok(part)
    }

    pub(super) fn update(
        data: &str,
        object: &str,
        id: &Target,
        fields: &(impl Serialize + ?Sized),
    ) -> Result<Self> {
        Self::row(Method::PATCH, data, object, id)?.with(fields)
    }

    pub(super) fn upsert(
        data: &str,
        object: &str,
        field: &str,
        value: &str,
        fields: &(impl Serialize + ?Sized),
    ) -> Result<Self> {
        check_name(OPERATION, object)?;
        check_name(OPERATION, field)?;
        if matches!(value, "" | "." | "..") || value.contains("@{") {
            return Err(Error::new(ErrorKind::Invalid, OPERATION)
                .detail("the external id's value cannot stand in a path"));
        }
        let segments = ["sobjects", object, field, value];
        let call = Call::new(OPERATION, Method::PATCH, data, &segments);
        Self::to(Method::PATCH, call.path_and_query()).with(fields)
    }

    pub(super) fn delete(data: &str, object: &str, id: &Target) -> Result<Self> {
        Self::row(Method::DELETE, data, object, id)
    }

    pub(super) fn query(data: &str, soql: &Soql) -> Result<Self> {
        let text = soql.text()?;
        if text.contains("@{") {
            return Err(Error::new(ErrorKind::Invalid, OPERATION)
                .detail("the query has @{ in it, which means a reference here"));
        }
        let call = Call::new(OPERATION, Method::GET, data, &["query"]).query("q", text);
        Ok(Self::to(Method::GET, call.path_and_query()))
    }

    pub(super) fn request(
        data: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Self> {
        if !path.starts_with('/') || path.contains(['#', '\\', ' ']) {
            return Err(Error::new(ErrorKind::Invalid, OPERATION)
                .detail("a path begins with / and is percent-encoded"));
        }
        let mut part = Self::to(method, format!("{data}{path}"));
        part.body = body;
        Ok(part)
    }

    pub(super) fn header(&mut self, name: &str, value: &str) {
        self.headers.insert(name.to_owned(), Value::from(value));
    }

    pub(super) fn only_reads(&self) -> bool {
        self.method == Method::GET
    }

    pub(super) fn in_composite(self, name: &str) -> Value {
        let mut part = json!({
            "method": self.method.as_str(),
            "url": self.url,
            "referenceId": name,
        });
        if let Some(body) = self.body {
            part["body"] = body;
        }
        if !self.headers.is_empty() {
            part["httpHeaders"] = Value::Object(self.headers);
        }
        part
    }

    /// A batch has its paths without their beginning, and the body under another name.
    pub(super) fn in_batch(self) -> Value {
        let url = self.url.strip_prefix("/services/data/");
        let mut part = json!({
            "method": self.method.as_str(),
            "url": url.unwrap_or(&self.url),
        });
        if let Some(body) = self.body {
            part["richInput"] = body;
        }
        part
    }

    fn row(method: Method, data: &str, object: &str, id: &Target) -> Result<Self> {
        check_name(OPERATION, object)?;
        Ok(Self::to(
            method,
            format!("{data}/sobjects/{object}/{}", id.0),
        ))
    }

    fn to(method: Method, url: String) -> Self {
        Self {
            method,
            url,
            body: None,
            headers: Map::new(),
        }
    }

    fn with(mut self, fields: &(impl Serialize + ?Sized)) -> Result<Self> {
        let body = serde_json::to_value(fields).map_err(|cause| {
            Error::new(ErrorKind::Invalid, OPERATION)
                .detail("the body cannot be written as JSON")
                .cause(cause)
        })?;
        self.body = Some(body);
        Ok(self)
    }
}

/// Whether every `@{` in the texts begins a reference of this composite.
pub(super) fn references(value: &Value, prefix: &str) -> bool {
    match value {
        Value::String(text) => text
            .match_indices("@{")
            .all(|(at, mark)| text[at + mark.len()..].starts_with(prefix)),
        Value::Array(items) => items.iter().all(|item| references(item, prefix)),
        Value::Object(members) => members.values().all(|member| references(member, prefix)),
        _ => true,
    }
}
