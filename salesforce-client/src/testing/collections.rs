use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::checks::{matching, no_such_column};
use super::refusal::Refusal;
use super::reply::Reply;
use super::schema::ObjectDef;
use super::state::{Call, State};
use super::store::{Actor, Org, Values};
use super::values::coerce;
use super::{files, view};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Collection {
    #[serde(default)]
    all_or_none: bool,
    records: Vec<Values>,
}

const RECORDS_AT_MOST: usize = 200;
const CHUNKS_AT_MOST: usize = 10;
/// By GET, where the URL bounds them, and by POST.
const READ_AT_MOST: [usize; 2] = [800, 2000];

/// What a reader by POST asks for.
#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default)]
    fields: Vec<String>,
}

/// `composite/sobjects`: up to 200 records at once, each with its own result.
pub(super) fn answer(state: &mut State, call: &mut Call, path: &[&str]) -> Result<Reply, Refusal> {
    let actor = call.actor();
    let org = &mut state.org;
    match (call.method.clone(), path) {
        (Method::DELETE, []) => {
            let all_or_none = call
                .query
                .get("allOrNone")
                .is_some_and(|flag| flag == "true");
            let ids = call
                .query
                .get("ids")
                .map(String::as_str)
                .unwrap_or_default();
            let ids: Vec<&str> = ids.split(',').filter(|id| !id.is_empty()).collect();
            check_size(ids.len())?;
            Ok(each(org, &ids, all_or_none, |org, id| {
                delete(org, id, &actor)
            }))
        }
        (Method::POST, []) => {
            let sent: Collection = call.json()?;
            check_size(sent.records.len())?;
            check_chunks(&sent.records)?;
            Ok(each(org, &sent.records, sent.all_or_none, |org, record| {
                let object = type_of(record)?;
                check_type(org, object)?;
                let id = org.create(object, record, None, &actor)?;
                Ok(json!({ "id": id, "success": true, "errors": [] }))
            }))
        }
        (Method::PATCH, []) => {
            let sent: Collection = call.json()?;
            check_size(sent.records.len())?;
            check_chunks(&sent.records)?;
            Ok(each(org, &sent.records, sent.all_or_none, |org, record| {
                update(org, record, &actor)
            }))
        }
        (Method::GET, [object]) => {
            let list = |name: &str| {
                let text = call.query.get(name).map(String::as_str).unwrap_or_default();
                let items = text.split(',').filter(|item| !item.is_empty());
                items.map(str::to_owned).collect::<Vec<_>>()
            };
            let (ids, fields) = (list("ids"), list("fields"));
            check_read(&ids, READ_AT_MOST[0])?;
            read(org, call, object, &ids, &fields)
        }
        (Method::POST, [object]) => {
            let Wanted { ids, fields } = call.json()?;
            check_read(&ids, READ_AT_MOST[1])?;
            read(org, call, object, &ids, &fields)
        }
        (Method::PATCH, [object, field]) => {
            let sent: Collection = call.json()?;
            check_size(sent.records.len())?;
            check_key(org.object(object)?, field)?;
            Ok(each(org, &sent.records, sent.all_or_none, |org, record| {
                upsert(org, object, field, record, &actor)
            }))
        }
        _ => Err(Refusal::not_allowed(&call.method, "GET,POST,PATCH,DELETE")),
    }
}

/// Performs all, and takes all back if one failed and that was asked for.
fn each<T>(
    org: &mut Org,
    items: &[T],
    all_or_none: bool,
    mut perform: impl FnMut(&mut Org, &T) -> Result<Value, Refusal>,
) -> Reply {
    let before = all_or_none.then(|| org.clone());
    let mut results: Vec<Result<Value, Refusal>> =
        items.iter().map(|item| perform(org, item)).collect();
    if let Some(before) = before
        && results.iter().any(Result::is_err)
    {
        *org = before;
        let text = "Record rolled back because not all records were valid and the request was \
                    using AllOrNone header";
        for result in results.iter_mut().filter(|result| result.is_ok()) {
            *result = Err(Refusal::data(
                "ALL_OR_NONE_OPERATION_ROLLED_BACK",
                text,
                &[],
            ));
        }
    }
    let shown = results.into_iter().map(|result| {
        result
            .unwrap_or_else(|refusal| json!({ "success": false, "errors": refusal.save_result() }))
    });
    Reply::json(200, &shown.collect())
}

/// A record that is not there, or that the user cannot reach, reads `null`.
fn read(
    org: &Org,
    call: &Call,
    object: &str,
    ids: &[String],
    fields: &[String],
) -> Result<Reply, Refusal> {
    let def = org.object(object)?;
    if ids.is_empty() || fields.is_empty() {
        let text = "The parameters ids and fields are required";
        return Err(Refusal::bad("MISSING_ARGUMENT", text));
    }
    let named = fields.iter().map(|name| {
        let field = def.field(name);
        field
            .map(|field| field.name.as_str())
            .ok_or_else(|| no_such_column(name, def))
    });
    let named = named.collect::<Result<Vec<_>, _>>()?;
    let found = ids.iter().map(|id| match org.find(def, id) {
        Ok(record) => {
            let is_file = matches!(&*def.name, "ContentVersion" | "ContentDocument");
            if is_file && !files::is_reachable(org, record, &call.user) {
                return Value::Null;
            }
            view::record(def, record, named.iter().copied(), call.version)
        }
        Err(_) => Value::Null,
    });
    Ok(Reply::json(200, &found.collect()))
}

fn check_read(ids: &[String], most: usize) -> Result<(), Refusal> {
    if ids.len() <= most {
        return Ok(());
    }
    let text =
        format!("record limit reached. cannot retrieve more than {most} records in this call");
    Err(Refusal::bad("EXCEEDED_MAX_SIZE_REQUEST", text))
}

fn update(org: &mut Org, record: &Values, actor: &Actor) -> Result<Value, Refusal> {
    let object = type_of(record)?;
    check_type(org, object)?;
    let mut fields = record.clone();
    fields.retain(|name, _| !name.eq_ignore_ascii_case("Id"));
    let id = record
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("Id"));
    let Some(id) = id.and_then(|(_, id)| id.as_str()) else {
        let text = "Id not specified in an update call";
        return Err(Refusal::data("MISSING_ARGUMENT", text, &["Id"]));
    };
    let id = org.find(org.object(object)?, id)?.id.clone();
    org.update(object, &id, &fields, actor)?;
    Ok(json!({ "id": id, "success": true, "errors": [] }))
}

fn delete(org: &mut Org, id: &str, actor: &Actor) -> Result<Value, Refusal> {
    let Some(def) = org.schema.by_id(id) else {
        return Err(Refusal::data(
            "MALFORMED_ID",
            format!("malformed id {id}"),
            &[],
        ));
    };
    let (name, id) = (def.name.clone(), org.find(def, id)?.id.clone());
    org.delete(&name, &id, actor)?;
    Ok(json!({ "id": id, "success": true, "errors": [] }))
}

pub(super) fn upsert(
    org: &mut Org,
    object: &str,
    field: &str,
    record: &Values,
    actor: &Actor,
) -> Result<Value, Refusal> {
    let def = org.object(object)?;
    let key = check_key(def, field)?;
    let sent = record
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(key));
    let Some((_, value)) = sent.filter(|(_, value)| !value.is_null()) else {
        let text = format!("{key} not specified");
        return Err(Refusal::data("MISSING_ARGUMENT", text, &[key]));
    };
    let value = match def.field(key) {
        Some(field) => coerce(field, value)?,
        None => value.clone(),
    };
    let found = matching(org, def, key, &value);
    if found.len() > 1 {
        let text = format!("{key}: more than one record found for external id field");
        return Err(Refusal::data("DUPLICATE_EXTERNAL_ID", text, &[key]));
    }
    let existing = found.first().map(|record| record.id.clone());
    let created = existing.is_none();
    let id = match existing {
        Some(id) => {
            let mut fields = record.clone();
            fields.retain(|name, _| !name.eq_ignore_ascii_case(key));
            org.update(object, &id, &fields, actor)?;
            id
        }
        None => org.create(object, record, None, actor)?,
    };
    Ok(json!({ "id": id, "success": true, "errors": [], "created": created }))
}

fn type_of(record: &Values) -> Result<&str, Refusal> {
    let name = record
        .get("attributes")
        .and_then(|attributes| attributes.get("type"));
    name.and_then(Value::as_str).ok_or_else(|| {
        Refusal::data(
            "INVALID_TYPE",
            "The Id is not of a known type: attributes.type",
            &[],
        )
    })
}

fn check_type(org: &Org, object: &str) -> Result<(), Refusal> {
    if org.schema.object(object).is_some() {
        return Ok(());
    }
    let text = format!("sObject type '{object}' is not supported.");
    Err(Refusal::data("INVALID_TYPE", text, &[]))
}

fn check_key<'a>(def: &'a ObjectDef, field: &str) -> Result<&'a str, Refusal> {
    let key = def.field(field).filter(|key| key.is_key());
    key.map(|key| key.name.as_str()).ok_or_else(|| {
        let text =
            format!("Provided external ID field does not exist or is not accessible: {field}");
        Refusal::new(404, "NOT_FOUND", text)
    })
}

/// Records of one type in a row are a chunk.
fn check_chunks(records: &[Values]) -> Result<(), Refusal> {
    let types: Vec<_> = records.iter().map(|record| type_of(record).ok()).collect();
    if types.chunk_by(PartialEq::eq).count() <= CHUNKS_AT_MOST {
        return Ok(());
    }
    let text = "Cannot have more than 10 chunks in a single operation. Please rearrange the data \
                to reduce chunking.";
    Err(Refusal::bad("LIMIT_EXCEEDED", text))
}

fn check_size(records: usize) -> Result<(), Refusal> {
    if records <= RECORDS_AT_MOST {
        return Ok(());
    }
    let text = "record limit reached. cannot submit more than 200 records in this call";
    Err(Refusal::bad("EXCEEDED_MAX_SIZE_REQUEST", text))
}
