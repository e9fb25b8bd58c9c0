use http::Method;
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::reply::Reply;
use super::state::{Call, Config, State};
use super::{
    batch, bulk, collections, composite, limits, query, search, sobjects, tooling, tree, ui_api,
};

/// Answers a call of the REST API.
pub(super) fn answer(state: &mut State, config: &Config, call: &mut Call) -> Reply {
    route(state, config, call).unwrap_or_else(Reply::from)
}

fn route(state: &mut State, config: &Config, call: &mut Call) -> Result<Reply, Refusal> {
    override_method(call)?;
    let path = call.path.clone();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        [] => Ok(resources(call.version)),
        ["limits"] => Ok(limits::answer(state)),
        ["limits", "recordCount"] => Ok(limits::record_count(state, call)),
        ["query"] => query::answer(state, config, call, None, false),
        ["query" | "queryAll", locator] => query::answer(state, config, call, Some(locator), false),
        ["queryAll"] => query::answer(state, config, call, None, true),
        ["search"] => search::answer(state, call),
        ["parameterizedSearch"] => search::parameterized(state, call),
        ["sobjects", rest @ ..] => sobjects::answer(state, config, call, rest),
        ["jobs", rest @ ..] => bulk::answer(state, config, call, rest),
        ["tooling", "query"] => tooling::answer_query(state, config, call, None),
        ["tooling", "query", locator] => tooling::answer_query(state, config, call, Some(locator)),
        ["tooling", "sobjects", "CustomField"] => tooling::create_field(state, call),
        ["ui-api", "records", "content-documents", "content-versions"] => {
            ui_api::upload(state, config, call, None)
        }
        [
            "ui-api",
            "records",
            "content-documents",
            id,
            "content-versions",
        ] => ui_api::upload(state, config, call, Some(id)),
        ["composite"] => composite::answer(state, config, call),
        ["composite", "batch"] => batch::answer(state, config, call),
        ["composite", "graph"] => composite::graph(state, config, call),
        ["composite", "tree", object] => tree::answer(state, call, object),
        ["composite", "sobjects", rest @ ..] => collections::answer(state, call, rest),
        _ => Err(Refusal::not_found()),
    }
}

/// `?_HttpMethod=PATCH` on a POST, for programs that cannot send PATCH.
fn override_method(call: &mut Call) -> Result<(), Refusal> {
    if call.method != Method::POST {
        return Ok(());
    }
    if let Some(method) = call.query.get("_HttpMethod") {
        call.method = method
            .to_ascii_uppercase()
            .parse()
            .map_err(|_| Refusal::not_allowed(&call.method, "a method that exists"))?;
    }
    Ok(())
}

fn resources(version: u32) -> Reply {
    let names = [
        "composite",
        "jobs",
        "limits",
        "parameterizedSearch",
        "query",
        "queryAll",
        "search",
        "sobjects",
        "tooling",
        "ui-api",
    ];
    let mut body = json!({});
    for name in names {
        body[name] = Value::String(format!("/services/data/v{version}.0/{name}"));
    }
    Reply::json(200, &body)
}
