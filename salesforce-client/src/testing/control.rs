use http::Method;
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::convert::{LeadConversion, convert};
#[cfg(feature = "pubsub")]
use super::event_bus;
use super::fault::Fault;
use super::refusal::Refusal;
use super::reply::Reply;
use super::schema::{CustomObject, Field};
use super::server::decoded_path;
use super::state::Shared;
use super::store::Values;
use super::upload::{Body, Received};
use super::{far_side, file_state};

#[derive(Deserialize)]
#[serde(untagged)]
enum Faults {
    One(Fault),
    Many(Vec<Fault>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Calls {
    used: u64,
    allowed: Option<u64>,
}

/// Answers the calls under `/_fake/`, by which programs in any language steer
/// the fake. They are neither recorded nor counted nor faulted.
pub(super) fn answer(shared: &Shared, head: &Parts, received: Received) -> Reply {
    route(shared, head, received).unwrap_or_else(Reply::from)
}

fn route(shared: &Shared, head: &Parts, received: Received) -> Result<Reply, Refusal> {
    let path = decoded_path(head.uri.path());
    let path: Vec<&str> = path.iter().skip(1).map(String::as_str).collect();
    match (&head.method, path.as_slice()) {
        (&Method::POST, ["faults"]) => {
            let faults = match parse(received)? {
                Faults::One(fault) => vec![fault],
                Faults::Many(faults) => faults,
            };
            let mut state = shared.lock();
            faults.into_iter().for_each(|fault| state.faults.add(fault));
        }
        (&Method::DELETE, ["faults"]) => shared.lock().clear_faults(),
        (&Method::GET, ["requests"]) => {
            return Ok(Reply::json(200, &json!(shared.lock().log.all())));
        }
        (&Method::DELETE, ["requests"]) => shared.lock().log.clear(),
        (&Method::GET, ["state"]) => return Ok(Reply::json(200, &state(shared))),
        (&Method::POST, ["tokens"]) => {
            let body = json!({
                "access_token": far_side::issue_token(shared),
                "refresh_token": far_side::issue_refresh_token(shared),
                "instance_url": shared.config.instance_url,
            });
            return Ok(Reply::json(200, &body));
        }
        (&Method::DELETE, ["tokens"]) => shared.lock().auth.expire_all(),
        (&Method::POST, ["records", object]) => {
            let id = far_side::create(shared, object, &parse::<Values>(received)?)?;
            return Ok(Reply::json(201, &json!({ "id": id })));
        }
        (&Method::PATCH, ["records", id]) => {
            far_side::update(shared, id, &parse::<Values>(received)?)?;
        }
        (&Method::DELETE, ["records", id]) => far_side::delete(shared, id)?,
        (&Method::POST, ["records", id, "undelete"]) => far_side::undelete(shared, id)?,
        (&Method::PUT, ["api_calls"]) => {
            let calls: Calls = parse(received)?;
            let mut state = shared.lock();
            state.calls = calls.used;
            state.daily_limit = calls.allowed.unwrap_or(state.daily_limit);
        }
        (&Method::POST, ["custom_fields", object]) => {
            far_side::add_custom_field(shared, object, parse::<Field>(received)?)?;
        }
        (&Method::POST, ["custom_objects"]) => {
            far_side::add_custom_object(shared, parse::<CustomObject>(received)?)?;
        }
        (&Method::POST, ["records", id, "convert"]) => {
            let how: LeadConversion = parse(received)?;
            return Ok(Reply::json(200, &json!(convert(shared, id, &how)?)));
        }
        #[cfg(feature = "pubsub")]
        (method, path) => return event_bus::answer(shared, method, path, received),
        #[cfg(not(feature = "pubsub"))]
        _ => return Err(Refusal::not_found()),
    }
    Ok(Reply::empty(204))
}

pub(super) fn parse<T: DeserializeOwned>(received: Received) -> Result<T, Refusal> {
    let Body::Buffered(bytes) = received.body else {
        return Err(Refusal::too_large());
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::bad("JSON_PARSER_ERROR", error.to_string()))
}

fn state(shared: &Shared) -> Value {
    let state = shared.lock();
    let mut records = Map::new();
    for def in &state.org.schema.objects {
        let living = state
            .org
            .living(&def.name)
            .map(|record| json!(record.values));
        records.insert(def.name.to_string(), living.collect());
    }
    let files = file_state::all(&state.org);
    json!({ "records": records, "files": files, "api_calls": state.calls })
}
