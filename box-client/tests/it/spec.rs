//! Holds requests against Box's own OpenAPI document.

use std::{collections::BTreeMap, env, path::PathBuf, sync::OnceLock};

use serde_json::{Map, Value};
use wiremock::Request;

/// Fails when a request is one that Box's document does not know. Without the document nothing is
/// checked, loudly; in CI that is a failure too.
pub(crate) fn check(requests: &[Request]) {
    static SPEC: OnceLock<Option<Spec>> = OnceLock::new();
    let Some(spec) = SPEC.get_or_init(Spec::read) else {
        return;
    };
    for request in requests {
        if let Err(violation) = spec.violation(request) {
            panic!("{} {}: {violation}", request.method, request.url.path());
        }
    }
}

struct Spec {
    document: Value,
}

impl Spec {
    fn read() -> Option<Self> {
        let path = env::var_os("BOX_OPENAPI").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/box-openapi.json"),
            PathBuf::from,
        );
        let Ok(bytes) = std::fs::read(&path) else {
            let missing = format!(
                "Box's OpenAPI document is not at {}: set BOX_OPENAPI to the openapi.json of \
                 github.com/box/box-openapi",
                path.display()
            );
            assert!(env::var_os("CI").is_none(), "{missing}");
            eprintln!("SKIPPED: requests are not held against the document. {missing}");
            return None;
        };
        let document = serde_json::from_slice(&bytes).unwrap();
        Some(Self { document })
    }

    fn violation(&self, request: &Request) -> Result<(), String> {
        let (operation, in_path) = self
            .operation(request)
            .ok_or("no such path and method in the document")?;
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let mut known = BTreeMap::new();
        for parameter in parameters {
            let place = parameter["in"].as_str().unwrap();
            let name = parameter["name"].as_str().unwrap();
            known.insert((place, name), parameter);
        }
        for (name, value) in &in_path {
            let parameter = known
                .get(&("path", name.as_str()))
                .ok_or("path parameter")?;
            self.value(value, &parameter["schema"], name)?;
        }
        let query: BTreeMap<_, _> = request.url.query_pairs().into_owned().collect();
        for (name, value) in &query {
            let parameter = known
                .get(&("query", name.as_str()))
                .ok_or_else(|| format!("unknown query parameter {name}"))?;
            self.value(value, &parameter["schema"], name)?;
        }
        for ((place, name), parameter) in &known {
            let given = match *place {
                "query" => query.contains_key(*name),
                "header" => request.headers.contains_key(*name),
                _ => true,
            };
            if parameter["required"] == true && !given {
                return Err(format!("{place} parameter {name} is missing"));
            }
        }
        self.body(request, operation)
    }

    /// The operation and the path's parameters.
    fn operation(&self, request: &Request) -> Option<(&Value, Vec<(String, String)>)> {
        let verb = request.method.as_str().to_ascii_lowercase();
        let path = request.url.path();
        self.document["paths"]
            .as_object()?
            .iter()
            .filter_map(|(template, item)| {
                let operation = item.get(&verb)?;
                let server = operation["servers"][0]["url"]
                    .as_str()
                    .unwrap_or("https://api.box.com/2.0");
                let base = url::Url::parse(server).ok()?;
                let base = base.path().trim_end_matches('/');
                let found = matched(path.strip_prefix(base)?, template)?;
                Some((operation, found))
            })
            .min_by_key(|(_, found)| found.len())
    }

    fn body(&self, request: &Request, operation: &Value) -> Result<(), String> {
        let content = &operation["requestBody"]["content"];
        let Some(content) = content.as_object() else {
            return match request.body.is_empty() {
                true => Ok(()),
                false => Err("a body where none belongs".to_owned()),
            };
        };
        let kind = request
            .headers
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .ok_or("no content type")?;
        let schema = &content
            .get(kind)
            .ok_or_else(|| format!("content type {kind}"))?["schema"];
        let body: Value = match kind {
            "application/x-www-form-urlencoded" => url::form_urlencoded::parse(&request.body)
                .map(|(name, value)| (name.into_owned(), Value::from(value.into_owned())))
                .collect::<Map<_, _>>()
                .into(),
            _ => serde_json::from_slice(&request.body).map_err(|e| e.to_string())?,
        };
        if let Some(properties) = self.resolved(schema)["properties"].as_object() {
            let unknown = body
                .as_object()
                .into_iter()
                .flatten()
                .find(|(name, _)| !properties.contains_key(*name));
            if let Some((name, _)) = unknown {
                return Err(format!("unknown property {name}"));
            }
        }
        self.valid(&body, schema)
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        schema["$ref"]
            .as_str()
            .and_then(|reference| self.document.pointer(reference.strip_prefix('#')?))
            .unwrap_or(schema)
    }

    /// A parameter is text on its way and has the type that its schema names.
    fn value(&self, text: &str, schema: &Value, name: &str) -> Result<(), String> {
        let value = match schema["type"].as_str() {
            Some("integer" | "number" | "boolean") => {
                serde_json::from_str(text).map_err(|e| format!("{name}: {e}"))?
            }
            Some("array") => text.split(',').map(str::to_owned).collect(),
            _ => Value::from(text),
        };
        self.valid(&value, schema)
            .map_err(|violation| format!("{name}: {violation}"))
    }

    /// As much of JSON Schema as Box's document uses for requests.
    fn valid(&self, value: &Value, schema: &Value) -> Result<(), String> {
        let schema = self.resolved(schema);
        if value.is_null() && schema["nullable"] == true {
            return Ok(());
        }
        let of = |key: &str| schema[key].as_array().into_iter().flatten();
        for part in of("allOf") {
            self.valid(value, part)?;
        }
        for key in ["anyOf", "oneOf"] {
            if schema[key].is_array() && !of(key).any(|one| self.valid(value, one).is_ok()) {
                return Err(format!("{value} is none of the possible shapes"));
            }
        }
        if schema["enum"].is_array() && !of("enum").any(|one| one == value) {
            return Err(format!("{value} is none of {}", schema["enum"]));
        }
        let fits = match schema["type"].as_str() {
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            Some("array") => value.is_array(),
            Some("object") => value.is_object(),
            _ => true,
        };
        if !fits {
            return Err(format!("{value} is no {}", schema["type"]));
        }
        for name in of("required").filter_map(Value::as_str) {
            if value.get(name).is_none() {
                return Err(format!("{name} is missing"));
            }
        }
        for (name, inner) in value.as_object().into_iter().flatten() {
            if let Some(property) = schema["properties"].get(name) {
                self.valid(inner, property)?;
            }
        }
        for inner in value.as_array().into_iter().flatten() {
            self.valid(inner, &schema["items"])?;
        }
        Ok(())
    }
}

fn matched(path: &str, template: &str) -> Option<Vec<(String, String)>> {
    let (mut given, mut wanted) = (path.split('/'), template.split('/'));
    let mut found = Vec::new();
    loop {
        match (given.next(), wanted.next()) {
            (None, None) => return Some(found),
            (Some(text), Some(name)) if name.starts_with('{') => {
                let name = name.trim_matches(['{', '}']).to_owned();
                // The guides document the full form, which the document's enum leaves out.
                let text = match text.strip_prefix("enterprise_") {
                    Some(_) if name == "scope" => "enterprise",
                    _ => text,
                };
                found.push((name, text.to_owned()));
            }
            (Some(text), Some(name)) if text == name => {}
            _ => return None,
        }
    }
}
