use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::reply::Reply;
use super::rest;
use super::server::{decoded_path, decoded_query};
use super::state::{Call, Config, State};
use super::upload::Body;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Composite {
    #[serde(default)]
    all_or_none: bool,
    composite_request: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    method: String,
    url: String,
    reference_id: String,
    #[serde(default)]
    body: Value,
    #[serde(default)]
    http_headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Graphs {
    graphs: Vec<Graph>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Graph {
    graph_id: String,
    #[serde(flatten)]
    composite: Composite,
}

const PARTS_AT_MOST: usize = 25;
/// Of those, how many may be queries or collections.
const WIDE_PARTS_AT_MOST: usize = 5;
const NODES_AT_MOST: usize = 500;

/// `composite`: up to 25 calls in one, later ones with `@{ref.id}` of earlier ones.
pub(super) fn answer(
    state: &mut State,
    config: &Config,
    call: &mut Call,
) -> Result<Reply, Refusal> {
    if call.method != Method::POST {
        return Err(Refusal::not_allowed(&call.method, "POST"));
    }
    let composite: Composite = call.json()?;
    check(&composite, PARTS_AT_MOST)?;
    check_wide(&composite)?;
    let (answers, _) = run(state, config, call, &composite);
    Ok(Reply::json(200, &json!({ "compositeResponse": answers })))
}

/// `composite/graph`: several composites, each of which succeeds as a whole or not at all.
pub(super) fn graph(state: &mut State, config: &Config, call: &mut Call) -> Result<Reply, Refusal> {
    if call.method != Method::POST {
        return Err(Refusal::not_allowed(&call.method, "POST"));
    }
    let sent: Graphs = call.json()?;
    let mut nodes = 0;
    for (place, graph) in sent.graphs.iter().enumerate() {
        nodes += graph.composite.composite_request.len();
        let is_twice = |other: &Graph| other.graph_id == graph.graph_id;
        if graph.graph_id.is_empty() || sent.graphs[..place].iter().any(is_twice) {
            let text = "The graphId is missing or not unique";
            return Err(Refusal::bad("INVALID_FIELD", text));
        }
        check(&graph.composite, NODES_AT_MOST)?;
    }
    if nodes > NODES_AT_MOST {
        let text = "The graphs can contain at most 500 nodes together";
        return Err(Refusal::bad("LIMIT_EXCEEDED", text));
    }
    let mut answers = Vec::with_capacity(sent.graphs.len());
    for mut graph in sent.graphs {
        graph.composite.all_or_none = true;
        let (parts, has_failed) = run(state, config, call, &graph.composite);
        answers.push(json!({
            "graphId": graph.graph_id,
            "graphResponse": { "compositeResponse": parts },
            "isSuccessful": !has_failed,
        }));
    }
    Ok(Reply::json(200, &json!({ "graphs": answers })))
}

/// Performs the parts; gives their answers and whether one failed.
fn run(state: &mut State, config: &Config, call: &Call, composite: &Composite) -> (Value, bool) {
    let before = composite.all_or_none.then(|| state.org.clone());
    let mut bodies = BTreeMap::new();
    let mut results: Vec<Outcome> = Vec::new();
    for part in &composite.composite_request {
        let outcome = perform(state, config, call, part, &bodies);
        if outcome.is_success() {
            bodies.insert(part.reference_id.clone(), outcome.body.clone());
        }
        let failed = !outcome.is_success();
        results.push(outcome);
        if failed && before.is_some() {
            break;
        }
    }
    let has_failed = results.iter().any(|outcome| !outcome.is_success());
    if let (Some(before), true) = (before, has_failed) {
        state.org = before;
        halt(composite, &mut results);
    }
    let parts = composite.composite_request.iter().zip(results);
    let answers = parts.map(|(part, outcome)| outcome.shown(part)).collect();
    (answers, has_failed)
}

struct Outcome {
    status: u16,
    headers: Map<String, Value>,
    body: Value,
}

impl Outcome {
    fn is_success(&self) -> bool {
        self.status < 400
    }

    fn refused(refusal: &Refusal) -> Self {
        Self {
            status: refusal.status,
            headers: Map::new(),
            body: json!(refusal.errors),
        }
    }

    fn halted(message: &str) -> Self {
        Self::refused(&Refusal::bad("PROCESSING_HALTED", message))
    }

    fn shown(self, part: &Part) -> Value {
        json!({
            "body": self.body,
            "httpHeaders": self.headers,
            "httpStatusCode": self.status,
            "referenceId": part.reference_id,
        })
    }
}

fn check(composite: &Composite, most: usize) -> Result<(), Refusal> {
    let parts = &composite.composite_request;
    if parts.len() > most {
        let text = format!("The composite request can contain at most {most} subrequests");
        return Err(Refusal::bad("LIMIT_EXCEEDED", text));
    }
    for (place, part) in parts.iter().enumerate() {
        let id = &part.reference_id;
        let is_name = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name || parts[..place].iter().any(|other| other.reference_id == *id) {
            let text = format!("The referenceId {id} is not valid or not unique");
            return Err(Refusal::bad("INVALID_FIELD", text));
        }
    }
    Ok(())
}

fn check_wide(composite: &Composite) -> Result<(), Refusal> {
    let is_wide = |part: &&Part| {
        let path = part.url.split('?').next().unwrap_or_default();
        let mut segments = path
            .trim_start_matches("/services/data/")
            .split('/')
            .skip(1);
        match segments.next() {
            Some("query" | "queryAll") => true,
            Some("composite") => segments.next() == Some("sobjects"),
            _ => false,
        }
    };
    if composite.composite_request.iter().filter(is_wide).count() <= WIDE_PARTS_AT_MOST {
        return Ok(());
    }
    let text = "The composite request can contain at most 5 queries and sObject Collections";
    Err(Refusal::bad("LIMIT_EXCEEDED", text))
}

/// After a rollback only the part that failed says why.
fn halt(composite: &Composite, results: &mut Vec<Outcome>) {
    let text = "The transaction was rolled back since another operation in the same transaction \
                failed.";
    for outcome in results.iter_mut().filter(|outcome| outcome.is_success()) {
        *outcome = Outcome::halted(text);
    }
    while results.len() < composite.composite_request.len() {
        results.push(Outcome::halted(text));
    }
}

fn perform(
    state: &mut State,
    config: &Config,
    call: &Call,
    part: &Part,
    bodies: &BTreeMap<String, Value>,
) -> Outcome {
    match sub_call(config, call, part, bodies) {
        Ok(mut sub) => {
            let reply = rest::answer(state, config, &mut sub);
            let location = reply.headers.iter().find(|(name, _)| name == "location");
            let headers = location.map(|(_, url)| ("Location".to_owned(), json!(url)));
            let body = serde_json::from_slice(&reply.body).unwrap_or_default();
            Outcome {
                status: reply.status,
                headers: headers.into_iter().collect(),
                body,
            }
        }
        Err(refusal) => Outcome::refused(&refusal),
    }
}

fn sub_call(
    config: &Config,
    call: &Call,
    part: &Part,
    bodies: &BTreeMap<String, Value>,
) -> Result<Call, Refusal> {
    let url = resolve(&part.url, bodies)?;
    let mut body = part.body.clone();
    resolve_all(&mut body, bodies)?;
    let rest = url.strip_prefix("/services/data/");
    let mut sub = inner(config, call, &part.method, rest.unwrap_or_default(), body)?;
    for (name, value) in &part.http_headers {
        let name = HeaderName::try_from(name.as_str());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value.as_str())) {
            sub.headers.insert(name, value);
        }
    }
    Ok(sub)
}

/// A call inside another; `url` begins with the version.
pub(super) fn inner(
    config: &Config,
    call: &Call,
    method: &str,
    url: &str,
    body: Value,
) -> Result<Call, Refusal> {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let path = decoded_path(path);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let [version, rest @ ..] = path.as_slice() else {
        return Err(Refusal::not_found());
    };
    let version = version
        .strip_prefix('v')
        .and_then(|version| version.strip_suffix(".0"));
    let version = version.and_then(|version| version.parse().ok());
    let version = version.filter(|version| config.versions.contains(version));
    let version = version.ok_or_else(Refusal::not_found)?;
    if rest.first() == Some(&"composite") && rest.get(1) != Some(&"sobjects") {
        return Err(Refusal::bad(
            "INVALID_FIELD",
            "A composite call cannot hold another",
        ));
    }
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let method = method.parse();
    let method =
        method.map_err(|_| Refusal::not_allowed(&Method::POST, "GET,POST,PATCH,DELETE"))?;
    let body = if body.is_null() {
        Bytes::new()
    } else {
        Bytes::from(body.to_string())
    };
    Ok(Call {
        method,
        version,
        path: rest.iter().map(|segment| (*segment).to_owned()).collect(),
        query: decoded_query(query).into_iter().collect(),
        headers,
        body: Body::Buffered(body),
        user: call.user.clone(),
        now: call.now,
    })
}

fn resolve_all(value: &mut Value, bodies: &BTreeMap<String, Value>) -> Result<(), Refusal> {
    match value {
        Value::String(text) => *text = resolve(text, bodies)?,
        Value::Array(items) => {
            for item in items {
                resolve_all(item, bodies)?;
            }
        }
        Value::Object(members) => {
            for member in members.values_mut() {
                resolve_all(member, bodies)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn resolve(text: &str, bodies: &BTreeMap<String, Value>) -> Result<String, Refusal> {
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("@{") {
        let Some((path, after)) = after.split_once('}') else {
            break;
        };
        resolved.push_str(before);
        resolved.push_str(&referred(path, bodies)?);
        rest = after;
    }
    resolved.push_str(rest);
    Ok(resolved)
}

/// `refAccount.id` or `refQuery.records[0].Id`.
fn referred(path: &str, bodies: &BTreeMap<String, Value>) -> Result<String, Refusal> {
    let (reference, members) = path.split_once('.').unwrap_or((path, ""));
    let pointer = members.replace('[', ".").replace(']', "");
    let found = bodies.get(reference).and_then(|body| {
        pointer
            .split('.')
            .filter(|name| !name.is_empty())
            .try_fold(body, |at, name| match at {
                Value::Array(items) => items.get(name.parse::<usize>().ok()?),
                other => other.get(name),
            })
    });
    match found {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Null) | None => {
            let text =
                format!("Invalid reference specified. No value for {path} found in {reference}");
            Err(Refusal::bad("PROCESSING_HALTED", text))
        }
        Some(other) => Ok(other.to_string()),
    }
}
