use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::reply::Reply;
use super::state::{Call, State};

/// Takes one call from the day's allocation.
pub(super) fn count_call(state: &mut State) -> Result<(), Refusal> {
    if state.calls >= state.daily_limit {
        return Err(Refusal::daily_limit());
    }
    state.calls += 1;
    Ok(())
}

/// The value of `Sforce-Limit-Info`.
pub(super) fn usage(state: &State) -> String {
    format!("api-usage={}/{}", state.calls, state.daily_limit)
}

/// `limits`.
pub(super) fn answer(state: &State) -> Reply {
    let remaining = state.daily_limit.saturating_sub(state.calls);
    let mut limits = json!({
        "DailyApiRequests": { "Max": state.daily_limit, "Remaining": remaining },
    });
    for (name, most) in [
        ("ConcurrentAsyncGetReportInstances", 200),
        ("DailyBulkApiBatches", 15_000),
        ("DailyBulkV2QueryJobs", 10_000),
        ("DailyDeliveredPlatformEvents", 10_000),
        ("DataStorageMB", 1024),
        ("FileStorageMB", 1024),
        ("HourlyPublishedPlatformEvents", 50_000),
    ] {
        limits[name] = json!({ "Max": most, "Remaining": most });
    }
    Reply::json(200, &limits)
}

/// `limits/recordCount`; objects without records are left out.
pub(super) fn record_count(state: &State, call: &Call) -> Reply {
    let asked = call
        .query
        .get("sObjects")
        .map(|names| names.split(',').collect::<Vec<_>>());
    let counts = state.org.schema.objects.iter().filter_map(|def| {
        let names = asked.as_deref();
        let is_asked = |names: &[&str]| names.iter().any(|n| n.eq_ignore_ascii_case(&def.name));
        let count = state.org.living(&def.name).count();
        (count > 0 && names.is_none_or(is_asked))
            .then(|| json!({ "count": count, "name": def.name }))
    });
    let counts: Value = counts.collect();
    Reply::json(
        200,
        &Value::Object(Map::from_iter([("sObjects".to_owned(), counts)])),
    )
}
