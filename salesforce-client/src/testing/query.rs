use std::collections::VecDeque;

use http::Method;
use serde_json::{Map, Value, json};

use super::ids;
use super::refusal::Refusal;
use super::reply::Reply;
use super::soql::{self, Asker, Selection};
use super::state::{Call, Config, State};

/// Results whose rest can still be fetched.
#[derive(Default)]
pub(super) struct Cursors {
    open: VecDeque<Cursor>,
    made: u64,
}

struct Cursor {
    id: String,
    user: String,
    rows: Vec<Value>,
    batch: usize,
    resource: &'static str,
}

/// Where queries are asked, after the version.
pub(super) const QUERY: &str = "query";

/// Cursors that one user can have open; the next one closes the oldest.
const OPEN_AT_MOST: usize = 10;

/// `query` and `queryAll`.
pub(super) fn answer(
    state: &mut State,
    config: &Config,
    call: &Call,
    locator: Option<&str>,
    with_deleted: bool,
) -> Result<Reply, Refusal> {
    if call.method != Method::GET {
        return Err(Refusal::not_allowed(&call.method, "HEAD,GET"));
    }
    if let Some(locator) = locator {
        return next_page(state, config, call, locator);
    }
    if let Some(query) = call.query.get("explain") {
        return explain(state, query);
    }
    let Some(query) = call.query.get("q") else {
        return Err(Refusal::bad("MALFORMED_QUERY", "SOQL statement is missing"));
    };
    let asker = Asker {
        user: &call.user,
        version: call.version,
        with_deleted,
    };
    let selection = soql::select(&state.org, query, asker)?;
    Ok(selected(state, config, call, selection, QUERY))
}

/// The head of what was selected, with cursors for the rest.
pub(super) fn selected(
    state: &mut State,
    config: &Config,
    call: &Call,
    selection: Selection,
    resource: &'static str,
) -> Reply {
    if selection.is_count {
        let body = json!({ "totalSize": selection.rows.len(), "done": true, "records": [] });
        return Reply::json(200, &body);
    }
    let mut rows = selection.rows;
    let batch = batch_size(config, call).unwrap_or(LARGEST_BATCH);
    for row in &mut rows {
        page_children(&mut state.cursors, call, row, batch);
    }
    first_page(&mut state.cursors, call, rows, batch, resource)
}

/// The head of any rows, with a cursor for the rest.
pub(super) fn first_page(
    cursors: &mut Cursors,
    call: &Call,
    rows: Vec<Value>,
    batch: usize,
    resource: &'static str,
) -> Reply {
    Reply::json(200, &opened(cursors, call, rows, batch, resource))
}

/// Rows of a sub-query that do not fit the page have a cursor of their own.
fn page_children(cursors: &mut Cursors, call: &Call, row: &mut Value, batch: usize) {
    for value in row.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if value.get("totalSize").is_none() {
            continue;
        }
        if let Some(Value::Array(rows)) = value.get_mut("records").map(Value::take) {
            *value = opened(cursors, call, rows, batch, QUERY);
        }
    }
}

/// How the query would be gone about.
fn explain(state: &State, query: &str) -> Result<Reply, Refusal> {
    let (object, by_id) = soql::target(&state.org, query)?;
    let all = state.org.living(&object).count();
    let kind = if by_id { "Index" } else { "TableScan" };
    let fields: &[&str] = if by_id { &["Id"] } else { &[] };
    let plan = json!({
        "cardinality": if by_id { 1 } else { all },
        "fields": fields,
        "leadingOperationType": kind,
        "notes": [],
        "relativeCost": if by_id { 0.01 } else { 1.5 },
        "sobjectCardinality": all,
        "sobjectType": object,
    });
    Ok(Reply::json(
        200,
        &json!({ "plans": [plan], "sourceQuery": query }),
    ))
}

fn opened(
    cursors: &mut Cursors,
    call: &Call,
    rows: Vec<Value>,
    batch: usize,
    resource: &'static str,
) -> Value {
    if rows.len() <= batch {
        return json!({ "totalSize": rows.len(), "done": true, "records": rows });
    }
    cursors.made += 1;
    let id = ids::make("01g", cursors.made);
    let cursor = Cursor {
        id,
        user: call.user.clone(),
        rows,
        batch,
        resource,
    };
    let reply = page(&cursor, call, 0, batch);
    let is_own = |other: &Cursor| other.user == cursor.user;
    if cursors.open.iter().filter(|other| is_own(other)).count() == OPEN_AT_MOST
        && let Some(oldest) = cursors.open.iter().position(is_own)
    {
        cursors.open.remove(oldest);
    }
    cursors.open.push_back(cursor);
    reply
}

const SMALLEST_BATCH: usize = 200;
pub(super) const LARGEST_BATCH: usize = 2000;

pub(super) fn batch_size(config: &Config, call: &Call) -> Option<usize> {
    let options = call.header("sforce-query-options").unwrap_or_default();
    let asked = options.split([',', ';']).find_map(|option| {
        let (name, value) = option.split_once('=')?;
        let size: usize = value.trim().parse().ok()?;
        name.trim()
            .eq_ignore_ascii_case("batchSize")
            .then_some(size)
    });
    let asked = asked.map(|size| size.clamp(SMALLEST_BATCH, LARGEST_BATCH));
    match (config.page_size, asked) {
        (Some(set), Some(asked)) => Some(set.min(asked)),
        (set, asked) => set.or(asked),
    }
}

pub(super) fn next_page(
    state: &State,
    config: &Config,
    call: &Call,
    locator: &str,
) -> Result<Reply, Refusal> {
    let invalid = || Refusal::bad("INVALID_QUERY_LOCATOR", "invalid query locator");
    let (id, offset) = locator.rsplit_once('-').ok_or_else(invalid)?;
    let offset: usize = offset.parse().map_err(|_| invalid())?;
    let cursor = state.cursors.open.iter().find(|cursor| cursor.id == id);
    let cursor = cursor.filter(|cursor| cursor.user == call.user && offset < cursor.rows.len());
    let cursor = cursor.ok_or_else(invalid)?;
    let batch = batch_size(config, call).unwrap_or(cursor.batch);
    Ok(Reply::json(200, &page(cursor, call, offset, batch)))
}

fn page(cursor: &Cursor, call: &Call, offset: usize, batch: usize) -> Value {
    let end = (offset + batch).min(cursor.rows.len());
    let mut body = json!({
        "totalSize": cursor.rows.len(),
        "done": end == cursor.rows.len(),
        "records": &cursor.rows[offset..end],
    });
    if end < cursor.rows.len() {
        let version = call.version;
        body["nextRecordsUrl"] = json!(format!(
            "/services/data/v{version}.0/{}/{}-{end}",
            cursor.resource, cursor.id
        ));
    }
    body
}
