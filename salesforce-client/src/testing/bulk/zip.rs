//! Bulk API 1.0, as far as it takes zips: rows with files.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use bytes::Bytes;
use csv::ByteRecord;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use zip::ZipArchive;

use super::super::blob::Sink;
use super::super::ids;
use super::super::refusal::Refusal;
use super::super::reply::Reply;
use super::super::schema::Name;
use super::super::state::{Call, Config, State};
use super::super::store::{Actor, Org};
use super::super::upload::Body;
use super::key;
use super::rows::{check_column, error_text, values};
use super::table::{Asked, Format, Table, check_utf8};

/// A job whose batches are zips.
pub(in super::super) struct ZipJob {
    object: Name,
    state: &'static str,
    batches: BTreeMap<String, Batch>,
}

struct Batch {
    state: &'static str,
    message: Option<String>,
    zip: Bytes,
    processed: u64,
    failed: u64,
    results: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    operation: String,
    object: String,
    content_type: String,
}

#[derive(Deserialize)]
struct Change {
    state: String,
}

const LARGEST_ZIP: usize = 10 << 20;
const LARGEST_UNZIPPED: u64 = 20 << 20;
const MOST_FILES: usize = 1_000;
const LONGEST_NAME: usize = 512;
const MOST_ROWS: usize = 10_000;

/// Everything under `/services/async/NN.0/job`. What is refused is an exception with a name.
pub(in super::super) fn answer(state: &mut State, config: &Config, call: &mut Call) -> Reply {
    let path = call.path.clone();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    route(state, config, call, &path).unwrap_or_else(refused)
}

/// The two forms of a refusal differ in the names of their members.
pub(in super::super) fn refused(refusal: Refusal) -> Reply {
    let Some(error) = refusal.errors.first() else {
        return Reply::empty(refusal.status);
    };
    let code = match error.code.as_str() {
        "INVALID_SESSION_ID" => "InvalidSessionId",
        "GONE" => "InvalidVersion",
        code => code,
    };
    // Sessions and versions are refused with 400 here.
    let status = match refusal.status {
        401 | 410 => 400,
        status => status,
    };
    let body = json!({ "exceptionCode": code, "exceptionMessage": error.message });
    Reply::json(status, &body)
}

fn exception(code: &str, text: &str) -> Refusal {
    Refusal::bad(code, text)
}

fn route(
    state: &mut State,
    config: &Config,
    call: &mut Call,
    path: &[&str],
) -> Result<Reply, Refusal> {
    let [id, rest @ ..] = path else {
        return create(state, call);
    };
    let id = key(id).map_err(|_| exception("InvalidJob", "Unable to find job"))?;
    let next = match (call.method.clone(), rest) {
        (Method::POST, ["batch"]) => Some(state.bulk.next_batch_id()),
        _ => None,
    };
    let org = &mut state.org;
    let job = state.bulk.zip.get_mut(&id);
    let job = job.ok_or_else(|| exception("InvalidJob", "Unable to find job"))?;
    match (call.method.clone(), rest) {
        (Method::GET, []) => Ok(Reply::json(200, &job.shown(&id))),
        (Method::POST, []) => {
            let change: Change = call.json()?;
            job.state = match (change.state.as_str(), job.state) {
                ("Closed", "Open") => "Closed",
                ("Aborted", "Open" | "Closed") => "Aborted",
                _ => return Err(exception("InvalidJobState", "the job is not open")),
            };
            Ok(Reply::json(200, &job.shown(&id)))
        }
        (Method::POST, ["batch"]) => {
            let batch_id = next.unwrap_or_default();
            let batch = job.take(call)?;
            let shown = batch.shown(&id, &batch_id);
            job.batches.insert(batch_id, batch);
            Ok(xml(201, &shown))
        }
        (Method::GET, ["batch", batch_id, more @ ..]) => {
            let batch_id = key(batch_id)?;
            let (object, is_aborted) = (job.object.clone(), job.state == "Aborted");
            let batch = job.batches.get_mut(&batch_id);
            let batch = batch.ok_or_else(|| exception("InvalidBatch", "Unable to find batch"))?;
            match more {
                [] => {
                    if is_aborted && batch.state == "Queued" {
                        batch.state = "Not Processed";
                    }
                    let actor = Actor {
                        origin: call.origin("bulkapi"),
                        ..call.actor()
                    };
                    batch.move_on(org, config, &object, &actor);
                    Ok(xml(200, &batch.shown(&id, &batch_id)))
                }
                ["result"] if batch.state == "Completed" => {
                    let mut reply = Reply::empty(200).with_header("content-type", "text/csv");
                    reply.body = batch.results.clone();
                    Ok(reply)
                }
                _ => Err(exception("InvalidBatch", "the batch is not completed")),
            }
        }
        _ => Err(exception("InvalidUrl", "there is no such resource")),
    }
}

fn create(state: &mut State, call: &mut Call) -> Result<Reply, Refusal> {
    if call.method != Method::POST {
        return Err(exception("InvalidUrl", "there is no such resource"));
    }
    let asked: Create = call.json()?;
    if asked.content_type != "ZIP_CSV" || asked.operation != "insert" {
        let text = "this fake takes inserts of ZIP_CSV alone";
        return Err(exception("FeatureNotEnabled", text));
    }
    let def = state.org.schema.object(&asked.object);
    let def = def.ok_or_else(|| exception("InvalidEntity", "the object is not supported"))?;
    let job = ZipJob {
        object: def.name.clone(),
        state: "Open",
        batches: BTreeMap::new(),
    };
    let id = state.bulk.next_id();
    let reply = Reply::json(201, &job.shown(&id));
    state.bulk.zip.insert(id, job);
    Ok(reply)
}

impl ZipJob {
    fn take(&self, call: &mut Call) -> Result<Batch, Refusal> {
        if self.state != "Open" {
            return Err(exception("InvalidJobState", "the job is not open"));
        }
        if call.header("content-type") != Some("zip/csv") {
            let text = "the batch must be zip/csv as its job is ZIP_CSV";
            return Err(exception("InvalidBatch", text));
        }
        let zip = match std::mem::replace(&mut call.body, Body::Buffered(Bytes::new())) {
            Body::Buffered(zip) if zip.len() <= LARGEST_ZIP => zip,
            _ => return Err(exception("ExceededQuota", "the zip is larger than 10 MB")),
        };
        Ok(Batch {
            state: "Queued",
            message: None,
            zip,
            processed: 0,
            failed: 0,
            results: Bytes::new(),
        })
    }

    fn shown(&self, id: &str) -> Value {
        json!({
            "id": id,
            "operation": "insert",
            "object": self.object,
            "state": self.state,
            "contentType": "ZIP_CSV",
        })
    }
}

impl Batch {
    fn move_on(&mut self, org: &mut Org, config: &Config, object: &str, actor: &Actor) {
        self.state = match self.state {
            "Queued" => "InProgress",
            "InProgress" => match self.work(org, config, object, actor) {
                Ok(()) => "Completed",
                Err(problem) => {
                    self.message = Some(format!("InvalidBatch : {problem}"));
                    "Failed"
                }
            },
            state => state,
        };
    }

    fn work(
        &mut self,
        org: &mut Org,
        config: &Config,
        object: &str,
        actor: &Actor,
    ) -> Result<(), String> {
        let mut files = unzipped(&self.zip)?;
        let manifest = files.remove("request.txt").ok_or("request.txt not found")?;
        check_utf8(&manifest)?;
        let asked: Asked = serde_json::from_value(json!({})).map_err(|error| error.to_string())?;
        let format = Format::new(&asked).map_err(|refusal| refusal.to_string())?;
        let mut reader = format.read(&manifest);
        let header = reader.byte_headers().cloned();
        let header = header.map_err(|error| error.to_string())?;
        let def = org.object(object).map_err(|refusal| refusal.to_string())?;
        for column in &header {
            check_column(org, def, &String::from_utf8_lossy(column))?;
        }
        let rows = reader.into_byte_records().collect::<Result<Vec<_>, _>>();
        let rows = rows.map_err(|error| error.to_string())?;
        if rows.len() > MOST_ROWS {
            return Err("more than 10,000 rows".to_owned());
        }
        let mut table = Table::new(format, ["Id", "Success", "Created", "Error"]);
        for row in &rows {
            self.processed += 1;
            match insert(org, config, object, (&header, row), &files, actor) {
                Ok(id) => table.push([&*id, "true", "true", ""]),
                Err(refusal) => {
                    self.failed += 1;
                    table.push(["", "false", "false", &error_text(&refusal)]);
                }
            }
        }
        self.results = table.bytes();
        Ok(())
    }

    fn shown(&self, job: &str, id: &str) -> Vec<(&'static str, String)> {
        let mut shown = vec![
            ("id", id.to_owned()),
            ("jobId", job.to_owned()),
            ("state", self.state.to_owned()),
        ];
        shown.extend(self.message.clone().map(|text| ("stateMessage", text)));
        shown.extend([
            ("numberRecordsProcessed", self.processed.to_string()),
            ("numberRecordsFailed", self.failed.to_string()),
        ]);
        shown
    }
}

fn unzipped(zip: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut archive = ZipArchive::new(Cursor::new(zip)).map_err(|error| error.to_string())?;
    let mut files = BTreeMap::new();
    let mut total = 0;
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).map_err(|error| error.to_string())?;
        let name = file.name().map_err(|error| error.to_string())?.into_owned();
        total += file.size();
        if name.len() > LONGEST_NAME || total > LARGEST_UNZIPPED {
            return Err("a name or the content of the zip is too long".to_owned());
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content)
            .map_err(|error| error.to_string())?;
        files.insert(name, content);
    }
    // The list itself does not count.
    if files.len() > MOST_FILES + 1 {
        return Err("more than 1,000 files".to_owned());
    }
    Ok(files)
}

fn insert(
    org: &mut Org,
    config: &Config,
    object: &str,
    (header, row): (&ByteRecord, &ByteRecord),
    files: &BTreeMap<String, Vec<u8>>,
    actor: &Actor,
) -> Result<String, Refusal> {
    let mut values = values(header, row);
    let column = values
        .keys()
        .find(|name| name.eq_ignore_ascii_case("VersionData"));
    let blob = match column.cloned().and_then(|name| values.remove(&name)) {
        Some(Value::String(named)) => {
            let content = named.strip_prefix('#').and_then(|path| files.get(path));
            let content = content.ok_or_else(|| {
                let text = format!("the zip has no file {named}");
                Refusal::data("INVALID_FIELD", text, &["VersionData"])
            })?;
            let mut sink = Sink::new(config.keep_bytes);
            sink.write(content);
            Some(sink.finish()?)
        }
        _ => None,
    };
    org.create(object, &values, blob, actor)
}

fn xml(status: u16, members: &[(&str, String)]) -> Reply {
    let mut text = concat!(
        r#"<?xml version="1.0" encoding="UTF-8"?>"#,
        r#"<batchInfo xmlns="http://www.force.com/2009/06/asyncapi/dataload">"#
    )
    .to_owned();
    for (name, value) in members {
        let value = quick_xml::escape::escape(value.as_str());
        text.push_str(&format!("<{name}>{value}</{name}>"));
    }
    text.push_str("</batchInfo>");
    let mut reply = Reply::empty(status).with_header("content-type", "application/xml");
    reply.body = Bytes::from(text);
    reply
}

impl super::Jobs {
    fn next_batch_id(&mut self) -> String {
        self.made += 1;
        ids::make("751", self.made)
    }
}
