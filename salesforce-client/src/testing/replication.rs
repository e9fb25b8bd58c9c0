use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::reply::Reply;
use super::sobjects::only;
use super::state::{Call, State};
use super::store::Record;
use super::values::{stamp, time_of};

const UPDATES_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
const DELETIONS_KEPT: SignedDuration = SignedDuration::from_hours(15 * 24);

/// `sobjects/{X}/updated`: ids of what was created or changed in a time.
pub(super) fn updated(state: &State, call: &Call, object: &str) -> Result<Reply, Refusal> {
    let window = Window::read(call, UPDATES_KEPT)?;
    let changed = state.org.living(object).filter(|it| window.has(it));
    let ids: Vec<Value> = changed.map(|it| json!(it.id)).collect();
    let body = json!({ "ids": ids, "latestDateCovered": stamp(window.covered(call.now)) });
    Ok(Reply::json(200, &body))
}

/// `sobjects/{X}/deleted`: ids of what was deleted in a time.
pub(super) fn deleted(state: &State, call: &Call, object: &str) -> Result<Reply, Refusal> {
    let window = Window::read(call, DELETIONS_KEPT)?;
    let deleted = state.org.table(object);
    let deleted = deleted.filter(|it| it.deleted && window.has(it));
    let records: Vec<Value> = deleted
        .map(|it| json!({ "id": it.id, "deletedDate": it.value("SystemModstamp") }))
        .collect();
    let earliest = call.now - DELETIONS_KEPT;
    let body = json!({
        "deletedRecords": records,
        "earliestDateAvailable": stamp(earliest),
        "latestDateCovered": stamp(window.covered(call.now)),
    });
    Ok(Reply::json(200, &body))
}

struct Window {
    start: Timestamp,
    end: Timestamp,
}

impl Window {
    /// Seconds do not count.
    fn read(call: &Call, kept: SignedDuration) -> Result<Self, Refusal> {
        only(&call.method, Method::GET)?;
        let refuse = |text: &str| Err(Refusal::bad("INVALID_REPLICATION_DATE", text));
        let at = |name: &str| {
            let time: Timestamp = call.query.get(name)?.parse().ok()?;
            Timestamp::from_second(time.as_second().div_euclid(60) * 60).ok()
        };
        let (Some(start), Some(end)) = (at("start"), at("end")) else {
            let text = "The parameters start and end must be date-times";
            return Err(Refusal::bad("INVALID_FIELD", text));
        };
        if start >= end {
            return refuse("startDate must be at least one minute before endDate");
        }
        if call.now.duration_since(start) > kept {
            return refuse("startDate is before the earliest date that is kept");
        }
        Ok(Self { start, end })
    }

    fn has(&self, record: &Record) -> bool {
        let changed = time_of(record.value("SystemModstamp"));
        changed.is_some_and(|at| self.start <= at && at < self.end)
    }

    fn covered(&self, now: Timestamp) -> Timestamp {
        self.end.min(now)
    }
}
