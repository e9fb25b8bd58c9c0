use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::refusal::Refusal;
use super::super::reply::Reply;
use super::super::soql::{self, Asker};
use super::super::state::{Call, Config, State};
use super::super::values::stamp;
use super::ingest::csv;
use super::table::{Asked, Format, Table};
use super::{key, wrong_state};

/// A job that reads.
pub(super) struct QueryJob {
    id: String,
    operation: &'static str,
    object: String,
    format: Format,
    state: &'static str,
    user: String,
    created: Timestamp,
    version: u32,
    columns: Vec<String>,
    rows: Vec<Value>,
}

#[derive(Deserialize)]
struct Create {
    operation: String,
    query: String,
    #[serde(flatten)]
    format: Asked,
}

#[derive(Deserialize)]
struct Change {
    state: String,
}

/// What one answer has unless it is asked for less.
const PAGE: usize = 50_000;
const PLACES_AT_ONCE: usize = 5;

/// Everything under `jobs/query`.
pub(super) fn answer(
    state: &mut State,
    config: &Config,
    call: &mut Call,
    path: &[&str],
) -> Result<Reply, Refusal> {
    let [id, rest @ ..] = path else {
        if call.method != Method::POST {
            return Err(Refusal::not_allowed(&call.method, "POST"));
        }
        return create(state, call);
    };
    let id = key(id)?;
    let job = state.bulk.query.get_mut(&id);
    let job = job.ok_or_else(Refusal::not_found)?;
    match (call.method.clone(), rest) {
        (Method::GET, []) => {
            job.state = match job.state {
                "UploadComplete" => "InProgress",
                "InProgress" => "JobComplete",
                state => state,
            };
            Ok(Reply::json(200, &job.shown()))
        }
        (Method::PATCH, []) => {
            let change: Change = call.json()?;
            match (change.state.as_str(), job.state) {
                ("Aborted", "UploadComplete" | "InProgress") => job.state = "Aborted",
                ("Aborted", state) => return Err(wrong_state(&id, state)),
                (other, _) => return Err(Refusal::unparsable("BulkJobState", other)),
            }
            Ok(Reply::json(200, &job.shown()))
        }
        (Method::DELETE, []) => {
            if matches!(job.state, "UploadComplete" | "InProgress") {
                return Err(wrong_state(&id, job.state));
            }
            state.bulk.query.remove(&id);
            Ok(Reply::empty(204))
        }
        (Method::GET, ["results"]) => job.results(call, config),
        (Method::GET, ["resultPages"]) if call.version >= 58 => job.places(call, config),
        _ => Err(Refusal::not_found()),
    }
}

fn create(state: &mut State, call: &mut Call) -> Result<Reply, Refusal> {
    let asked: Create = call.json()?;
    let format = Format::new(&asked.format)?;
    let operation = match asked.operation.as_str() {
        "query" => "query",
        "queryAll" => "queryAll",
        other => return Err(Refusal::unparsable("BulkOperation", other)),
    };
    let asker = Asker {
        user: &call.user,
        version: call.version,
        with_deleted: operation == "queryAll",
    };
    let selection = soql::select(&state.org, &asked.query, asker)?;
    let unsupported = match &selection {
        it if it.is_count => Some("Aggregate Relationships"),
        it if it.has_children => Some("Nested queries"),
        it if it.has_offset => Some("OFFSET"),
        _ => None,
    };
    if let Some(what) = unsupported {
        let text = format!("{what} not supported in Bulk V2 Query");
        return Err(Refusal::bad("API_ERROR", text));
    }
    let (columns, object) = named(&asked.query);
    if columns
        .iter()
        .any(|name| name.eq_ignore_ascii_case("VersionData"))
    {
        let text = "Binary field VersionData is not supported in Bulk V2 Query";
        return Err(Refusal::bad("API_ERROR", text));
    }
    let job = QueryJob {
        id: state.bulk.next_id(),
        operation,
        object,
        format,
        state: "UploadComplete",
        user: call.user.clone(),
        created: call.now,
        version: call.version,
        columns,
        rows: selection.rows,
    };
    let reply = Reply::json(200, &job.shown());
    state.bulk.query.insert(job.id.clone(), job);
    Ok(reply)
}

/// The columns and the object of a query that was understood.
fn named(query: &str) -> (Vec<String>, String) {
    let words: Vec<&str> = query.split_whitespace().collect();
    let from = words
        .iter()
        .position(|word| word.eq_ignore_ascii_case("from"));
    let from = from.unwrap_or(words.len());
    let columns = words.get(1..from).unwrap_or_default().concat();
    let object = words.get(from + 1).copied().unwrap_or_default();
    let columns = columns.split(',').map(str::to_owned).collect();
    (columns, object.to_owned())
}

impl QueryJob {
    fn results(&self, call: &Call, config: &Config) -> Result<Reply, Refusal> {
        self.check_done(call)?;
        let asked = call
            .query
            .get("maxRecords")
            .map(|rows| rows.parse::<usize>());
        let asked = match asked {
            None => PAGE,
            Some(Ok(rows)) if rows > 0 => rows,
            Some(_) => {
                return Err(Refusal::bad(
                    "INVALID_QUERY_OPTION",
                    "maxRecords is no number",
                ));
            }
        };
        let most = asked.min(config.page_size.unwrap_or(PAGE));
        let start = match call.query.get("locator") {
            None => 0,
            Some(locator) => self.place(locator)?,
        };
        let end = (start + most).min(self.rows.len());
        let mut table = Table::new(self.format, &self.columns);
        for row in &self.rows[start..end] {
            table.push(self.columns.iter().map(|column| field(row, column)));
        }
        let next = if end < self.rows.len() {
            locator(end)
        } else {
            "null".to_owned()
        };
        Ok(csv(table.bytes())
            .with_header("sforce-numberofrecords", (end - start).to_string())
            .with_header("sforce-locator", next))
    }

    fn places(&self, call: &Call, config: &Config) -> Result<Reply, Refusal> {
        self.check_done(call)?;
        let base = format!("/services/data/v{}.0/jobs/query/{}", self.version, self.id);
        let page = config.page_size.unwrap_or(PAGE);
        let first = match call.query.get("locator") {
            None => 0,
            Some(locator) => self.place(locator)?,
        };
        let mut starts = (first..self.rows.len().max(1)).step_by(page);
        let places: Vec<Value> = starts
            .by_ref()
            .take(PLACES_AT_ONCE)
            .map(|start| json!({ "resultUrl": format!("{base}/results?locator={}", locator(start)) }))
            .collect();
        let next = starts
            .next()
            .map(|start| format!("{base}/resultPages?locator={}", locator(start)));
        let done = next.is_none();
        let body = json!({ "resultPages": places, "nextRecordsUrl": next, "done": done });
        Ok(Reply::json(200, &body))
    }

    fn check_done(&self, call: &Call) -> Result<(), Refusal> {
        if self.state != "JobComplete" {
            return Err(wrong_state(&self.id, self.state));
        }
        if call.version != self.version {
            let text = "The API version is not the one that the job was created with";
            return Err(Refusal::new(409, "INVALID_VERSION", text));
        }
        Ok(())
    }

    fn place(&self, locator: &str) -> Result<usize, Refusal> {
        let place = locator.strip_prefix("Fake").and_then(|at| at.parse().ok());
        let place = place.filter(|at| *at <= self.rows.len());
        place.ok_or_else(|| Refusal::bad("INVALID_QUERY_LOCATOR", "invalid query locator"))
    }

    fn shown(&self) -> Value {
        json!({
            "id": self.id,
            "operation": self.operation,
            "object": self.object,
            "createdById": self.user,
            "createdDate": stamp(self.created),
            "systemModstamp": stamp(self.created),
            "state": self.state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": f64::from(self.version),
            "jobType": "V2Query",
            "lineEnding": self.format.ending,
            "columnDelimiter": self.format.delimiter,
            "numberRecordsProcessed": self.rows.len(),
            "retries": 0,
            "totalProcessingTime": 1,
        })
    }
}

fn locator(at: usize) -> String {
    format!("Fake{at}")
}

/// A value as CSV shows it; `Account.Name` goes into the parent.
fn field(row: &Value, column: &str) -> String {
    let member = |value: &Value, name: &str| {
        let members = value.as_object()?;
        let found = members
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    };
    let value = column
        .split('.')
        .try_fold(row.clone(), |value, name| member(&value, name));
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    }
}
