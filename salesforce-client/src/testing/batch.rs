use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::reply::Reply;
use super::state::{Call, Config, State};
use super::{composite, limits, rest};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    #[serde(default)]
    halt_on_error: bool,
    batch_requests: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    method: String,
    url: String,
    #[serde(default)]
    rich_input: Value,
}

const PARTS_AT_MOST: usize = 25;

/// `composite/batch`: up to 25 calls that know nothing of each other. Each counts.
pub(super) fn answer(
    state: &mut State,
    config: &Config,
    call: &mut Call,
) -> Result<Reply, Refusal> {
    if call.method != Method::POST {
        return Err(Refusal::not_allowed(&call.method, "POST"));
    }
    let batch: Batch = call.json()?;
    if batch.batch_requests.len() > PARTS_AT_MOST {
        let text = "The batch request can contain at most 25 subrequests";
        return Err(Refusal::bad("LIMIT_EXCEEDED", text));
    }
    let mut results = Vec::with_capacity(batch.batch_requests.len());
    let mut has_errors = false;
    for (place, part) in batch.batch_requests.into_iter().enumerate() {
        let reply = if has_errors && batch.halt_on_error {
            let text = "Batch processing halted per request";
            Reply::from(Refusal::new(412, "BATCH_PROCESSING_HALTED", text))
        } else {
            // The call itself has paid for the first one.
            let paid = place == 0 || limits::count_call(state).is_ok();
            perform(state, config, call, part, paid)
        };
        has_errors |= reply.status >= 400;
        let result: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        results.push(json!({ "statusCode": reply.status, "result": result }));
    }
    let body = json!({ "hasErrors": has_errors, "results": results });
    Ok(Reply::json(200, &body))
}

fn perform(state: &mut State, config: &Config, call: &Call, part: Part, paid: bool) -> Reply {
    if !paid {
        return Reply::from(Refusal::daily_limit());
    }
    // A batch names the version first, without what stands before it elsewhere.
    if part.url.starts_with('/') {
        return Reply::from(Refusal::not_found());
    }
    match composite::inner(config, call, &part.method, &part.url, part.rich_input) {
        Ok(mut inner) => rest::answer(state, config, &mut inner),
        Err(refusal) => Reply::from(refusal),
    }
}
