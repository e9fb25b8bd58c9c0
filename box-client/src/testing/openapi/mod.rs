//! Box's OpenAPI document as a judge of requests.

mod operation;
mod schema;

use std::{
    collections::{HashMap, VecDeque},
    fmt, fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use jsonschema::Validator;
use serde_json::Value;
use url::form_urlencoded;

use self::operation::Operation;
use super::{
    answer::Refused,
    head::{Head, Host},
    upload::Received,
};

const KEPT_VIOLATIONS: usize = 10_000;

/// An OpenAPI 3.0 document, read for what it says of requests.
///
/// Checked are the path and method, the names and types of query parameters, the content type,
/// and the body if it is JSON or a form. Of what Box's document gets wrong, three things are
/// mended: a `required` name that the same schema does not define, `oneOf` where several apply,
/// and paths that only stand for a variant of another (with a `#`), which may allow more.
#[derive(Clone)]
pub struct Spec(Arc<Inner>);

struct Inner {
    document: Value,
    operations: Vec<Operation>,
    /// Compiled when first needed: operation and content type.
    validators: Mutex<HashMap<(usize, String), Arc<Validator>>>,
}

impl Spec {
    /// Reads the document from a file, such as `openapi.json` of `box/box-openapi`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is not JSON.
    pub fn read(path: impl AsRef<Path>) -> io::Result<Self> {
        let document = serde_json::from_slice(&fs::read(path)?)?;
        Ok(Self::from_json(document))
    }

    /// Takes the document as it is.
    pub fn from_json(document: Value) -> Self {
        let operations = Operation::all(&document);
        Self(Arc::new(Inner {
            document,
            operations,
            validators: Mutex::default(),
        }))
    }

    /// Tells what the document does not allow of a request. The path begins with that of the
    /// server, such as `/2.0` or `/api/2.0`.
    ///
    /// # Errors
    ///
    /// The violation, without any of the body's values.
    pub fn check(
        &self,
        method: &str,
        path: &str,
        query: &[(String, String)],
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<(), String> {
        self.find(method, path, query, content_type, Some(body))
            .map_err(|violation| format!("{method} {path}: {violation}"))
    }

    /// `body` is none when only its content type is to be looked at.
    fn find(
        &self,
        method: &str,
        path: &str,
        query: &[(String, String)],
        content_type: Option<&str>,
        body: Option<&[u8]>,
    ) -> Result<(), String> {
        let matching = self
            .0
            .operations
            .iter()
            .enumerate()
            .filter(|(_, operation)| operation.is_method(method) && operation.matches(path));
        let mut matching: Vec<_> = matching.collect();
        let best = matching.iter().map(|(_, it)| it.literal_segments()).max();
        matching.retain(|(_, it)| Some(it.literal_segments()) == best);
        matching.sort_by_key(|(_, it)| it.is_variant);
        // What the operation itself does not allow, one of its variants may: only the one that
        // removes a folder's shared link lets it be null.
        let mut first = None;
        for (index, operation) in matching {
            match self.allows((index, operation), query, content_type, body) {
                Ok(()) => return Ok(()),
                Err(violation) => first = first.or(Some(violation)),
            }
        }
        Err(first.unwrap_or_else(|| "no such path and method in the document".to_owned()))
    }

    fn allows(
        &self,
        (index, operation): (usize, &Operation),
        query: &[(String, String)],
        content_type: Option<&str>,
        body: Option<&[u8]>,
    ) -> Result<(), String> {
        operation.check_query(query)?;
        if body.is_some_and(<[u8]>::is_empty) {
            return Ok(());
        }
        let Some(schemas) = operation.body_schemas(&self.0.document) else {
            return Err("the document has no body here".to_owned());
        };
        let sent = content_type.unwrap_or_default();
        let sent = sent
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let schema = schemas.get(&sent).and_then(|media| media.get("schema"));
        let schema =
            schema.ok_or_else(|| format!("content type '{sent}' is not in the document"))?;
        let Some(body) = body else { return Ok(()) };
        let instance = match sent.as_str() {
            "application/x-www-form-urlencoded" => form_urlencoded::parse(body)
                .map(|(name, value)| (name.into_owned(), Value::from(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            json if json.ends_with("json") => {
                serde_json::from_slice(body).map_err(|_| "the body is not JSON".to_owned())?
            }
            _ => return Ok(()),
        };
        let validator = self.validator(index, &sent, schema)?;
        match validator.iter_errors(&instance).next() {
            Some(error) => Err(format!("body{}: {}", error.instance_path(), error.masked())),
            None => Ok(()),
        }
    }

    fn validator(
        &self,
        index: usize,
        content_type: &str,
        schema: &Value,
    ) -> Result<Arc<Validator>, String> {
        let key = (index, content_type.to_owned());
        let mut known = self
            .0
            .validators
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(validator) = known.get(&key) {
            return Ok(Arc::clone(validator));
        }
        let schema = schema::translate(&self.0.document, schema);
        let validator = jsonschema::draft202012::new(&schema)
            .map_err(|error| format!("the document's schema cannot be used: {error}"))?;
        let validator = Arc::new(validator);
        known.insert(key, Arc::clone(&validator));
        Ok(validator)
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec")
            .field("operations", &self.0.operations.len())
            .finish_non_exhaustive()
    }
}

/// The URLs of downloads and long polls are Box's own affair.
fn is_documented(head: &Head) -> bool {
    head.host == Host::Api && !head.path.starts_with("/realtime/")
}

/// What a fake's clients have sent that the document does not allow.
#[derive(Debug)]
pub(super) struct Violations {
    spec: Option<Spec>,
    found: Mutex<VecDeque<String>>,
}

impl Violations {
    pub(super) fn new(spec: Option<Spec>) -> Self {
        Self {
            spec,
            found: Mutex::default(),
        }
    }

    pub(super) fn check(&self, head: &Head, body: &Received) -> Result<(), Refused> {
        let Some(spec) = self.spec.as_ref().filter(|_| is_documented(head)) else {
            return Ok(());
        };
        let bytes = match body {
            Received::Bytes(bytes) => Some(&bytes[..]),
            Received::Form(_) | Received::BrokenForm | Received::TooLong => None,
        };
        let content_type = head.header("content-type");
        let Err(violation) = spec.find(&head.method, &head.path, &head.query, content_type, bytes)
        else {
            return Ok(());
        };
        let violation = format!("{} {}: {violation}", head.method, head.path);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.len() == KEPT_VIOLATIONS {
            found.pop_front();
        }
        found.push_back(violation.clone());
        Err(Refused::bad_request(violation))
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }
}
