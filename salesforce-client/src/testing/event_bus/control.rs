use http::Method;
use serde_json::json;

use super::{PlatformEvent, StreamFault, add, select};
use crate::testing::control::parse;
use crate::testing::refusal::Refusal;
use crate::testing::reply::Reply;
use crate::testing::state::Shared;
use crate::testing::upload::Received;

/// The control calls that are about the event bus.
pub(in crate::testing) fn answer(
    shared: &Shared,
    method: &Method,
    path: &[&str],
    received: Received,
) -> Result<Reply, Refusal> {
    match (method, path) {
        (&Method::PUT, ["captured_changes"]) => {
            select(&mut shared.lock(), parse::<Vec<String>>(received)?)?;
        }
        (&Method::POST, ["platform_events"]) => {
            add(&mut shared.lock(), parse::<PlatformEvent>(received)?)?;
        }
        (&Method::POST, ["stream_faults"]) => {
            let fault: StreamFault = parse(received)?;
            shared.lock().bus.faults.add(fault);
        }
        (&Method::DELETE, ["events"]) => shared.lock().bus.purge_all(),
        (&Method::GET, ["subscriptions"]) => {
            return Ok(Reply::json(200, &json!(shared.lock().bus.subscriptions)));
        }
        _ => return Err(Refusal::not_found()),
    }
    Ok(Reply::empty(204))
}
