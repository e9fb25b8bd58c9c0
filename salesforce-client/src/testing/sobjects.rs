use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use jiff::Timestamp;
use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};
use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::base64_json::VersionJson;
use super::checks::{key_in_body, matching, no_such_column, not_writable};
use super::refusal::Refusal;
use super::reply::Reply;
use super::schema::{FieldType, ObjectDef, Schema};
use super::state::{Call, Config, State};
use super::store::{Org, Record, Values};
use super::upload::{Body, StagedVersion};
use super::values::{coerce, time_of};
use super::{describe, files, ids, related, replication, view};

/// Everything under `sobjects`.
pub(super) fn answer(
    state: &mut State,
    config: &Config,
    call: &mut Call,
    path: &[&str],
) -> Result<Reply, Refusal> {
    let [name, rest @ ..] = path else {
        only(&call.method, Method::GET)?;
        let schema = &state.org.schema;
        return Ok(unless_known(schema, call, || {
            describe::global(schema, call.version)
        }));
    };
    let object = &*state.org.object(name)?.name.clone();
    match rest {
        [] if call.method == Method::GET => {
            let brief = describe::brief(state.org.object(object)?, call.version);
            Ok(Reply::json(
                200,
                &json!({ "objectDescribe": brief, "recentItems": [] }),
            ))
        }
        [] => create(state, config, call, object),
        ["updated"] => replication::updated(state, call, object),
        ["deleted"] => replication::deleted(state, call, object),
        ["describe"] => described(state, call, object),
        ["Id"] => create(state, config, call, object),
        [id] => row(state, config, call, object, id),
        [id, "VersionData"] if object == "ContentVersion" && ids::normalise(id).is_some() => {
            only(&call.method, Method::GET)?;
            version_data(&state.org, call, id)
        }
        [id, relationship] if ids::normalise(id).is_some() => {
            related::answer(state, config, call, object, id, relationship)
        }
        [field, value] => keyed_row(state, config, call, object, field, value),
        _ => Err(Refusal::not_found()),
    }
}

/// Fields and, for a file, content of the record that was sent.
pub(super) fn sent(
    config: &Config,
    call: &mut Call,
    object: &str,
) -> Result<StagedVersion, Refusal> {
    match std::mem::replace(&mut call.body, Body::Buffered(bytes::Bytes::new())) {
        Body::Version(staged) => Ok(staged),
        Body::Refused(refusal) => Err(refusal),
        // A file inside a composite call was buffered with it.
        Body::Buffered(bytes) if object == "ContentVersion" => {
            VersionJson::read_all(&bytes, config.keep_bytes)
        }
        body @ Body::Buffered(_) => {
            call.body = body;
            Ok(StagedVersion {
                fields: call.json::<Values>()?,
                blob: None,
            })
        }
    }
}

fn create(
    state: &mut State,
    config: &Config,
    call: &mut Call,
    object: &str,
) -> Result<Reply, Refusal> {
    only(&call.method, Method::POST)?;
    let sent = sent(config, call, object)?;
    let id = state
        .org
        .create(object, &sent.fields, sent.blob, &call.actor())?;
    let location = view::record_url(state.org.object(object)?, &id, call.version);
    let body = json!({ "id": id, "success": true, "errors": [] });
    Ok(Reply::json(201, &body).with_header("location", location))
}

fn described(state: &State, call: &Call, object: &str) -> Result<Reply, Refusal> {
    only(&call.method, Method::GET)?;
    let def = state.org.object(object)?;
    let schema = &state.org.schema;
    Ok(unless_known(schema, call, || {
        let mut body = describe::full(schema, def, call.version);
        describe::add_stages(&mut body, &state.org);
        body
    }))
}

/// What the org is like, unless that is as it was when the caller last saw it.
fn unless_known(schema: &Schema, call: &Call, body: impl FnOnce() -> Value) -> Reply {
    if since(call, "if-modified-since").is_some_and(|date| is_at_most(schema.modified, date)) {
        return Reply::empty(304);
    }
    Reply::json(200, &body()).with_header("last-modified", http_date(schema.modified))
}

fn row(
    state: &mut State,
    config: &Config,
    call: &mut Call,
    object: &str,
    id: &str,
) -> Result<Reply, Refusal> {
    let def = state.org.object(object)?;
    match call.method {
        Method::GET => {
            let record = reachable(&state.org, call, state.org.find(def, id)?)?;
            read(def, record, call)
        }
        Method::PATCH => {
            let record = state.org.find(def, id)?;
            check_unmodified(call, record)?;
            check_etag(call, def, record)?;
            let sent = sent(config, call, object)?;
            refuse_content(&sent)?;
            state.org.update(object, id, &sent.fields, &call.actor())?;
            Ok(Reply::empty(204))
        }
        Method::DELETE => {
            state.org.delete(object, id, &call.actor())?;
            Ok(Reply::empty(204))
        }
        _ => Err(Refusal::not_allowed(&call.method, "HEAD,GET,PATCH,DELETE")),
    }
}

/// A row that is named by the value of an external id field.
fn keyed_row(
    state: &mut State,
    config: &Config,
    call: &mut Call,
    object: &str,
    field: &str,
    value: &str,
) -> Result<Reply, Refusal> {
    let org = &state.org;
    let def = org.object(object)?;
    let Some(key) = def.field(field).filter(|key| key.is_key()) else {
        let text =
            format!("Provided external ID field does not exist or is not accessible: {field}");
        return Err(Refusal::new(404, "NOT_FOUND", text));
    };
    if key.kind == FieldType::Id {
        return row(state, config, call, object, value);
    }
    let key_value = coerce(key, &json!(value))?;
    let found = matching(org, def, &key.name, &key_value);
    if found.len() > 1 {
        let urls = found
            .iter()
            .map(|record| view::record_url(def, &record.id, call.version));
        return Ok(Reply::json(300, &urls.collect::<Value>()));
    }
    let record = found.into_iter().next();
    if let Some(record) = record.filter(|_| call.method == Method::GET) {
        return read(def, reachable(org, call, record)?, call);
    }
    let id = record.map(|record| record.id.clone());
    match (call.method.clone(), id) {
        (Method::PATCH, id) => {
            let key = key.name.clone();
            upsert(state, config, call, object, (&key, key_value), id)
        }
        (Method::DELETE, Some(id)) => {
            state.org.delete(object, &id, &call.actor())?;
            Ok(Reply::empty(204))
        }
        (Method::GET | Method::DELETE, _) => Err(Refusal::not_found()),
        _ => Err(Refusal::not_allowed(&call.method, "HEAD,GET,PATCH,DELETE")),
    }
}

fn upsert(
    state: &mut State,
    config: &Config,
    call: &mut Call,
    object: &str,
    (key, value): (&str, Value),
    id: Option<String>,
) -> Result<Reply, Refusal> {
    let mut sent = sent(config, call, object)?;
    if sent
        .fields
        .keys()
        .any(|name| name.eq_ignore_ascii_case(key))
    {
        return Err(key_in_body(key));
    }
    // Before 46.0 an update by key answers without a body.
    let tells_created = call.version >= 46;
    if let Some(id) = id {
        refuse_content(&sent)?;
        state.org.update(object, &id, &sent.fields, &call.actor())?;
        if !tells_created {
            return Ok(Reply::empty(204));
        }
        let body = json!({ "id": id, "success": true, "errors": [], "created": false });
        return Ok(Reply::json(200, &body));
    }
    if call
        .query
        .get("updateOnly")
        .is_some_and(|flag| flag.eq_ignore_ascii_case("true"))
    {
        return Err(Refusal::not_found());
    }
    sent.fields.insert(key.to_owned(), value);
    let id = state
        .org
        .create(object, &sent.fields, sent.blob, &call.actor())?;
    let mut body = json!({ "id": id, "success": true, "errors": [] });
    if tells_created {
        body["created"] = json!(true);
    }
    Ok(Reply::json(201, &body))
}

fn read(def: &ObjectDef, record: &Record, call: &Call) -> Result<Reply, Refusal> {
    let modified = modified(record);
    let date = since(call, "if-modified-since");
    if let (Some(modified), Some(date)) = (modified, date)
        && is_at_most(modified, date)
    {
        return Err(Refusal::without_body(304));
    }
    check_unmodified(call, record)?;
    check_etag(call, def, record)?;
    let mut fields = Vec::new();
    match call.query.get("fields") {
        None => fields.extend(def.fields.iter().map(|field| field.name.as_str())),
        Some(names) => {
            for name in names.split(',').map(str::trim) {
                let field = def.field(name).ok_or_else(|| no_such_column(name, def))?;
                fields.push(field.name.as_str());
            }
        }
    }
    let mut reply = Reply::json(200, &view::record(def, record, fields, call.version));
    if let Some(etag) = etag(def, record) {
        reply = reply.with_header("etag", etag);
    }
    Ok(match modified {
        Some(modified) => reply.with_header("last-modified", http_date(modified)),
        None => reply,
    })
}

fn version_data(org: &Org, call: &Call, id: &str) -> Result<Reply, Refusal> {
    let def = org.object("ContentVersion")?;
    let record = reachable(org, call, org.find(def, id)?)?;
    let bytes = org
        .blobs
        .get(&record.id)
        .and_then(|blob| blob.bytes.clone());
    bytes.map(Reply::binary).ok_or_else(|| {
        Refusal::new(
            500,
            "UNKNOWN_EXCEPTION",
            "this fake was told not to keep these bytes",
        )
    })
}

fn reachable<'a>(org: &Org, call: &Call, record: &'a Record) -> Result<&'a Record, Refusal> {
    let is_file = record.id.starts_with("068") || record.id.starts_with("069");
    if is_file && !files::is_reachable(org, record, &call.user) {
        return Err(Refusal::not_found());
    }
    Ok(record)
}

/// Bytes are never replaced: a change of a file is a new version of it.
fn refuse_content(sent: &StagedVersion) -> Result<(), Refusal> {
    if sent.blob.is_some() {
        Err(not_writable(&["VersionData"]))
    } else {
        Ok(())
    }
}

fn check_unmodified(call: &Call, record: &Record) -> Result<(), Refusal> {
    let name = "if-unmodified-since";
    let date = since(call, name);
    if date.is_none() && call.header(name).is_some() && call.method != Method::GET {
        let text = "The value of If-Unmodified-Since is not a date";
        return Err(Refusal::bad("INVALID_HTTP_HEADER", text));
    }
    match (modified(record), date) {
        (Some(modified), Some(date)) if !is_at_most(modified, date) => {
            Err(Refusal::without_body(412))
        }
        _ => Ok(()),
    }
}

/// Only accounts have one.
fn etag(def: &ObjectDef, record: &Record) -> Option<String> {
    let digest = || URL_SAFE_NO_PAD.encode(Md5::digest(json!(record.values).to_string()));
    (def.name == "Account").then(|| format!("\"{}\"", digest()))
}

fn check_etag(call: &Call, def: &ObjectDef, record: &Record) -> Result<(), Refusal> {
    let Some(etag) = etag(def, record) else {
        return Ok(());
    };
    let names = |header: &str| {
        let tags = call.header(header)?.split(',').map(str::trim);
        Some(tags.into_iter().any(|tag| tag == "*" || tag == etag))
    };
    let is_read = call.method == Method::GET;
    match (names("if-match"), names("if-none-match")) {
        (Some(false), _) => Err(Refusal::without_body(412)),
        (_, Some(true)) => Err(Refusal::without_body(if is_read { 304 } else { 412 })),
        _ => Ok(()),
    }
}

fn modified(record: &Record) -> Option<Timestamp> {
    time_of(record.value("LastModifiedDate"))
}

fn since(call: &Call, header: &str) -> Option<Timestamp> {
    let parser = DateTimeParser::new().relaxed_weekday(true);
    parser.parse_timestamp(call.header(header)?).ok()
}

/// These conditions have a precision of one second.
fn is_at_most(time: Timestamp, date: Timestamp) -> bool {
    time.as_second() <= date.as_second()
}

fn http_date(time: Timestamp) -> String {
    DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&time)
        .unwrap_or_default()
}

pub(super) fn only(method: &Method, allowed: Method) -> Result<(), Refusal> {
    if *method == allowed {
        return Ok(());
    }
    Err(Refusal::not_allowed(method, allowed.as_str()))
}
