use bytes::Bytes;
use csv::ByteRecord;
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::refusal::Refusal;
use super::super::reply::Reply;
use super::super::schema::Name;
use super::super::state::{Call, Config, State};
use super::super::store::{Actor, Org};
use super::super::upload::Body;
use super::super::values::stamp;
use super::rows::{Operation, check_column, error_text, is_key, known_id, values};
use super::table::{Asked, Format, Table, check_utf8, with_row};
use super::{key, refuse, wrong_state};

/// A job that writes.
pub(super) struct IngestJob {
    id: String,
    object: Name,
    operation: Operation,
    assignment_rule: Option<String>,
    format: Format,
    state: &'static str,
    user: String,
    origin: String,
    created: Timestamp,
    changed: Timestamp,
    version: u32,
    data: Option<Bytes>,
    work: Option<Work>,
    processed: u64,
    failed: u64,
    error: Option<String>,
}

/// How far the rows are.
struct Work {
    header: ByteRecord,
    /// Where the rest begins.
    done: usize,
    successful: Table,
    failed: Table,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    object: String,
    operation: String,
    external_id_field_name: Option<String>,
    assignment_rule_id: Option<String>,
    #[serde(flatten)]
    format: Asked,
}

#[derive(Deserialize)]
struct Change {
    state: String,
}

/// Everything under `jobs/ingest`.
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
    let org = &mut state.org;
    let job = state.bulk.ingest.get_mut(&id);
    let job = job.ok_or_else(Refusal::not_found)?;
    match (call.method.clone(), rest) {
        (Method::GET, []) => {
            job.move_on(org, config.bulk_rows_per_poll, call.now);
            Ok(Reply::json(200, &job.shown()))
        }
        (Method::PATCH, []) => {
            let change: Change = call.json()?;
            job.change(&change.state, call.now)?;
            Ok(Reply::json(200, &job.shown()))
        }
        (Method::DELETE, []) => {
            if matches!(job.state, "Open" | "InProgress") {
                return Err(wrong_state(&id, job.state));
            }
            state.bulk.ingest.remove(&id);
            Ok(Reply::empty(204))
        }
        (Method::PUT, ["batches"]) => job.take(call),
        (Method::GET, ["successfulResults" | "failedResults" | "unprocessedrecords"]) => {
            job.results(rest[0])
        }
        _ => Err(Refusal::not_found()),
    }
}

fn create(state: &mut State, call: &mut Call) -> Result<Reply, Refusal> {
    let asked: Create = call.json()?;
    let format = Format::new(&asked.format)?;
    let named = asked.external_id_field_name.as_deref();
    let operation = Operation::read(&asked.operation, named);
    let operation =
        operation.ok_or_else(|| Refusal::unparsable("BulkOperation", &asked.operation))?;
    let Some(def) = state.org.schema.object(&asked.object) else {
        let text = format!(
            "Entity '{}' is not supported by the Bulk API.",
            asked.object
        );
        return Err(refuse("InvalidEntity", &text));
    };
    if let Operation::Upsert(field) = &operation
        && !is_key(def, field)
    {
        let text = format!(
            "Field name provided, {field} does not match an External ID, Salesforce Id, or indexed \
             field for {}",
            def.name
        );
        return Err(refuse("InvalidJob", &text));
    }
    let job = IngestJob {
        id: state.bulk.next_id(),
        object: def.name.clone(),
        operation,
        assignment_rule: asked.assignment_rule_id,
        format,
        state: "Open",
        user: call.user.clone(),
        origin: call.origin("bulkapi"),
        created: call.now,
        changed: call.now,
        version: call.version,
        data: None,
        work: None,
        processed: 0,
        failed: 0,
        error: None,
    };
    let reply = Reply::json(200, &job.shown());
    state.bulk.ingest.insert(job.id.clone(), job);
    Ok(reply)
}

impl IngestJob {
    fn take(&mut self, call: &mut Call) -> Result<Reply, Refusal> {
        let content_type = call.header("content-type").unwrap_or_default();
        if !content_type.to_ascii_lowercase().starts_with("text/csv") {
            return Err(Refusal::media_type());
        }
        if self.state != "Open" {
            return Err(wrong_state(&self.id, self.state));
        }
        if self.data.is_some() {
            let text = format!(
                "Found multiple contents for job: <{}>, please 'Close' / 'Abort' / 'Delete' the \
                 current Job then create a new Job and make sure you only do 'PUT' once on a given \
                 Job.",
                self.id
            );
            return Err(refuse("ClientInputError", &text));
        }
        match std::mem::replace(&mut call.body, Body::Buffered(Bytes::new())) {
            Body::Buffered(data) => self.data = Some(data),
            Body::Refused(refusal) => return Err(refusal),
            Body::Version(_) => return Err(Refusal::media_type()),
        }
        Ok(Reply::empty(201))
    }

    fn change(&mut self, asked: &str, now: Timestamp) -> Result<(), Refusal> {
        self.state = match (asked, self.state) {
            ("UploadComplete", "Open") => "UploadComplete",
            ("Aborted", "Open" | "UploadComplete" | "InProgress") => "Aborted",
            ("UploadComplete" | "Aborted", state) => return Err(wrong_state(&self.id, state)),
            _ => return Err(Refusal::unparsable("BulkJobState", asked)),
        };
        self.changed = now;
        Ok(())
    }

    fn move_on(&mut self, org: &mut Org, rows: usize, now: Timestamp) {
        self.state = match self.state {
            "UploadComplete" => "InProgress",
            "InProgress" => match self.work(org, rows, now) {
                Ok(true) => "JobComplete",
                Ok(false) => "InProgress",
                Err(error) => {
                    self.error = Some(error);
                    "Failed"
                }
            },
            _ => return,
        };
        self.changed = now;
    }

    /// Works on some rows; whether these were the last.
    fn work(&mut self, org: &mut Org, rows: usize, now: Timestamp) -> Result<bool, String> {
        let data = self.data.clone().unwrap_or_default();
        let unreadable =
            |error: csv::Error| format!("InvalidBatch : Unable to parse CSV : {error}");
        let work = match &mut self.work {
            Some(work) => work,
            none => none.insert(begin(self.format, &data, org, &self.object)?),
        };
        let mut reader = self.format.read_rows(&data[work.done..]);
        let begun = work.done;
        let actor = Actor {
            user: self.user.clone(),
            is_person: false,
            origin: self.origin.clone(),
            now,
        };
        let mut row = ByteRecord::new();
        for _ in 0..rows {
            if !reader.read_byte_record(&mut row).map_err(unreadable)? {
                return Ok(true);
            }
            if row.len() != work.header.len() {
                return Err("InvalidBatch : a row has another number of columns".to_owned());
            }
            let values = values(&work.header, &row);
            let known = match org.schema.object(&self.object) {
                Some(def) => known_id(org, def, &self.operation, &values),
                None => String::new(),
            };
            self.processed += 1;
            match self.operation.perform(org, &self.object, values, &actor) {
                Ok(written) => {
                    let own = [
                        written.id.as_str(),
                        if written.created { "true" } else { "false" },
                    ];
                    work.successful.push(with_row(own, &row));
                }
                Err(refusal) => {
                    self.failed += 1;
                    let own = [known.as_str(), &error_text(&refusal)];
                    work.failed.push(with_row(own, &row));
                }
            }
            work.done = begun + position(&reader);
        }
        Ok(work.done >= data.len())
    }

    fn results(&self, which: &str) -> Result<Reply, Refusal> {
        if !matches!(self.state, "JobComplete" | "Failed" | "Aborted") {
            return Err(wrong_state(&self.id, self.state));
        }
        let empty = |own: &[&str]| Table::new(self.format, own).bytes();
        let body = match (which, &self.work) {
            ("successfulResults", Some(work)) => work.successful.bytes(),
            ("failedResults", Some(work)) => work.failed.bytes(),
            ("successfulResults", None) => empty(&["sf__Id", "sf__Created"]),
            ("failedResults", None) => empty(&["sf__Id", "sf__Error"]),
            _ => self.unprocessed(),
        };
        Ok(csv(body))
    }

    fn unprocessed(&self) -> Bytes {
        let data = self.data.clone().unwrap_or_default();
        let mut reader = self.format.read(&data);
        let Ok(header) = reader.byte_headers().cloned() else {
            return Bytes::new();
        };
        let mut table = Table::new(self.format, &header);
        let done = usize::try_from(self.processed).unwrap_or(usize::MAX);
        for row in reader.byte_records().skip(done).map_while(Result::ok) {
            table.push(&row);
        }
        table.bytes()
    }

    fn shown(&self) -> Value {
        let version = self.version;
        let mut shown = json!({
            "id": self.id,
            "operation": self.operation.name(),
            "object": self.object,
            "createdById": self.user,
            "createdDate": stamp(self.created),
            "systemModstamp": stamp(self.changed),
            "state": self.state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": f64::from(version),
            "jobType": "V2Ingest",
            "lineEnding": self.format.ending,
            "columnDelimiter": self.format.delimiter,
        });
        if self.state == "Open" {
            let url = format!("services/data/v{version}.0/jobs/ingest/{}/batches", self.id);
            shown["contentUrl"] = json!(url);
        } else {
            shown["numberRecordsProcessed"] = json!(self.processed);
            shown["numberRecordsFailed"] = json!(self.failed);
            shown["retries"] = json!(0);
            shown["totalProcessingTime"] = json!(self.processed);
        }
        if let Operation::Upsert(key) = &self.operation {
            shown["externalIdFieldName"] = json!(key);
        }
        if let Some(rule) = &self.assignment_rule {
            shown["assignmentRuleId"] = json!(rule);
        }
        if let Some(error) = &self.error {
            shown["errorMessage"] = json!(error);
        }
        shown
    }
}

/// What is wrong with the data as a whole fails the job.
fn begin(format: Format, data: &[u8], org: &Org, object: &str) -> Result<Work, String> {
    if !format.fits(data) {
        return Err(format!(
            "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {}",
            format.ending
        ));
    }
    check_utf8(data).map_err(|problem| format!("InvalidBatch : {problem}"))?;
    let mut reader = format.read(data);
    let header = reader.byte_headers().cloned();
    let header = header.map_err(|error| format!("InvalidBatch : Unable to parse CSV : {error}"))?;
    let def = org.object(object).map_err(|refusal| refusal.to_string())?;
    for column in &header {
        check_column(org, def, &String::from_utf8_lossy(column))
            .map_err(|problem| format!("InvalidBatch : {problem}"))?;
    }
    Ok(Work {
        successful: Table::new(format, with_row(["sf__Id", "sf__Created"], &header)),
        failed: Table::new(format, with_row(["sf__Id", "sf__Error"], &header)),
        done: position(&reader),
        header,
    })
}

fn position(reader: &csv::Reader<&[u8]>) -> usize {
    usize::try_from(reader.position().byte()).unwrap_or(usize::MAX)
}

pub(super) fn csv(body: Bytes) -> Reply {
    let mut reply = Reply::empty(200).with_header("content-type", "text/csv");
    reply.body = body;
    reply
}
