use std::collections::BTreeSet;

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

/// What a part is about, as far as the call itself tells.
#[derive(Clone, Debug)]
pub(super) enum About {
    /// The record with this id.
    Record { object: String, id: String },
    /// Some record of this object, whichever it becomes: one that is made, or has an external id.
    Some { object: String },
    /// Any records. A deletion takes others with it.
    Unknown,
}

impl About {
    /// Whether the two are about different records for sure.
    pub(super) fn is_other_than(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Record { id: one, .. }, Self::Record { id: other, .. }) => one != other,
            _ => match (self.object(), other.object()) {
                (Some(one), Some(other)) => !one.eq_ignore_ascii_case(other),
                _ => false,
            },
        }
    }

    fn object(&self) -> Option<&str> {
        match self {
            Self::Record { object, .. } | Self::Some { object } => Some(object),
            Self::Unknown => None,
        }
    }
}

/// One call inside another.
pub(super) struct Part {
    method: Method,
    pub(super) about: About,
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
        let about = About::Some {
            object: object.to_owned(),
        };
        Self::to(Method::POST, format!("{data}/sobjects/{object}"), about).with(fields)
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
        let about = About::Some {
            object: object.to_owned(),
        };
        Self::to(Method::PATCH, call.path_and_query(), about).with(fields)
    }

    pub(super) fn delete(data: &str, object: &str, id: &Target) -> Result<Self> {
        let mut part = Self::row(Method::DELETE, data, object, id)?;
        part.about = About::Unknown;
        Ok(part)
    }

    pub(super) fn query(data: &str, soql: &Soql) -> Result<Self> {
        let text = soql.text()?;
        if text.contains("@{") {
            return Err(Error::new(ErrorKind::Invalid, OPERATION)
                .detail("the query has @{ in it, which means a reference here"));
        }
        let call = Call::new(OPERATION, Method::GET, data, &["query"]).query("q", text);
        Ok(Self::to(Method::GET, call.path_and_query(), About::Unknown))
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
        let mut part = Self::to(method, format!("{data}{path}"), About::Unknown);
        part.body = body;
        Ok(part)
    }

    pub(super) fn header(&mut self, name: &str, value: &str) {
        self.headers.insert(name.to_owned(), Value::from(value));
    }

    pub(super) fn only_reads(&self) -> bool {
        self.method == Method::GET
    }

    /// The places of the parts that it refers to, whose names begin with `prefix`.
    pub(super) fn uses(&self, prefix: &str) -> BTreeSet<usize> {
        let mut places = BTreeSet::new();
        used(&self.url, prefix, &mut places);
        for value in self.body.iter().chain(self.headers.values()) {
            each_text(value, &mut |text| used(text, prefix, &mut places));
        }
        places
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
        let about = match id.0.starts_with(REFERENCE) {
            true => About::Unknown,
            false => About::Record {
                object: object.to_owned(),
                id: id.0.clone(),
            },
        };
        let url = format!("{data}/sobjects/{object}/{}", id.0);
        Ok(Self::to(method, url, about))
    }

    fn to(method: Method, url: String, about: About) -> Self {
        Self {
            method,
            about,
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

/// With it a reference begins.
const REFERENCE: &str = "@{";

/// Whether every `@{` in the texts begins a reference of this composite.
pub(super) fn references(value: &Value, prefix: &str) -> bool {
    let mut are_all = true;
    each_text(value, &mut |text| {
        let mut found = text.match_indices(REFERENCE);
        are_all &= found.all(|(at, mark)| text[at + mark.len()..].starts_with(prefix));
    });
    are_all
}

/// The places of the parts named in a text.
fn used(text: &str, prefix: &str, places: &mut BTreeSet<usize>) {
    for (at, mark) in text.match_indices(REFERENCE) {
        let name = text[at + mark.len()..].strip_prefix(prefix);
        let place = name.and_then(|name| name.strip_prefix('_')?.split_once('.'));
        places.extend(place.and_then(|(place, _)| place.parse::<usize>().ok()));
    }
}

fn each_text(value: &Value, take: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => take(text),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, take)),
        Value::Object(members) => members.values().for_each(|member| each_text(member, take)),
        _ => {}
    }
}
