//! One path and method of the document.

use serde_json::{Map, Value};

const METHODS: &[&str] = &["get", "put", "post", "delete", "options", "head", "patch"];

pub(super) struct Operation {
    method: &'static str,
    /// As the document has it, to find the operation again.
    path: String,
    /// The server's path and the operation's, with `{…}` for parameters.
    segments: Vec<String>,
    /// Whether it only describes one use of another operation, after a `#`.
    pub(super) is_variant: bool,
    query: Vec<Parameter>,
}

struct Parameter {
    name: String,
    required: bool,
    schema: Value,
}

impl Operation {
    pub(super) fn all(document: &Value) -> Vec<Self> {
        let paths = document.get("paths").and_then(Value::as_object);
        let mut operations = Vec::new();
        for (path, item) in paths.into_iter().flatten() {
            let plain = path.split('#').next().unwrap_or_default();
            for (method, operation) in METHODS.iter().filter_map(|m| Some((*m, item.get(m)?))) {
                let server = [operation, document].into_iter().find_map(server_path);
                let full = format!("{}{plain}", server.unwrap_or_default());
                operations.push(Self {
                    method,
                    path: path.clone(),
                    is_variant: path != plain,
                    segments: full.split('/').skip(1).map(str::to_owned).collect(),
                    query: Parameter::all(document, operation),
                });
            }
        }
        operations
    }

    pub(super) fn is_method(&self, method: &str) -> bool {
        self.method.eq_ignore_ascii_case(method)
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        let mut given = path.split('/').skip(1);
        let fits = self.segments.iter().all(|segment| {
            given
                .next()
                .is_some_and(|given| match segment.split_once('{') {
                    // Also `thumbnail.{extension}`.
                    Some((fixed, _)) => given.len() > fixed.len() && given.starts_with(fixed),
                    None => given == segment,
                })
        });
        fits && given.next().is_none()
    }

    /// Of several that match, `/files/content` is meant rather than `/files/{file_id}`.
    pub(super) fn literal_segments(&self) -> usize {
        self.segments
            .iter()
            .filter(|segment| !segment.contains('{'))
            .count()
    }

    pub(super) fn check_query(&self, query: &[(String, String)]) -> Result<(), String> {
        for (name, value) in query {
            let known = self.query.iter().find(|parameter| parameter.name == *name);
            let known =
                known.ok_or_else(|| format!("no query parameter '{name}' in the document"))?;
            known.check(value)?;
        }
        let sent = |parameter: &Parameter| query.iter().any(|(name, _)| *name == parameter.name);
        match self
            .query
            .iter()
            .find(|parameter| parameter.required && !sent(parameter))
        {
            Some(missing) => Err(format!("query parameter '{}' is missing", missing.name)),
            None => Ok(()),
        }
    }

    /// By content type.
    pub(super) fn body_schemas<'a>(&self, document: &'a Value) -> Option<&'a Map<String, Value>> {
        let operation = document.get("paths")?.get(&self.path)?.get(self.method)?;
        operation.get("requestBody")?.get("content")?.as_object()
    }
}

impl Parameter {
    fn all(document: &Value, operation: &Value) -> Vec<Self> {
        let listed = operation.get("parameters").and_then(Value::as_array);
        let mut parameters = Vec::new();
        for parameter in listed.into_iter().flatten() {
            let parameter = match parameter.get("$ref").and_then(Value::as_str) {
                Some(reference) => document.pointer(reference.trim_start_matches('#')),
                None => Some(parameter),
            };
            let Some(parameter) = parameter.filter(|p| p["in"] == "query") else {
                continue;
            };
            parameters.push(Self {
                name: parameter["name"].as_str().unwrap_or_default().to_owned(),
                required: parameter["required"].as_bool().unwrap_or_default(),
                schema: parameter["schema"].clone(),
            });
        }
        parameters
    }

    fn check(&self, value: &str) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("query parameter '{}' is not {what}", self.name));
        match self.schema["type"].as_str() {
            Some("integer") => {
                let Ok(number) = value.parse::<i64>() else {
                    return wrong("an integer");
                };
                if self.schema["maximum"]
                    .as_i64()
                    .is_some_and(|most| number > most)
                    || self.schema["minimum"]
                        .as_i64()
                        .is_some_and(|least| number < least)
                {
                    return wrong("within its bounds");
                }
            }
            Some("boolean") if !matches!(value, "true" | "false") => return wrong("a boolean"),
            _ => {}
        }
        match self.schema["enum"].as_array() {
            Some(allowed) if !allowed.iter().any(|one| one == value) => wrong("an allowed value"),
            _ => Ok(()),
        }
    }
}

/// The path of the first server: what follows the host.
fn server_path(holder: &Value) -> Option<&str> {
    let url = holder.get("servers")?.get(0)?.get("url")?.as_str()?;
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    Some(
        after_scheme
            .find('/')
            .map_or("", |at| &after_scheme[at..])
            .trim_end_matches('/'),
    )
}
