use serde_json::{Map, Value, json};

use super::schema::{FieldType, ObjectDef};
use super::store::Record;

/// The path of a record.
pub(super) fn record_url(def: &ObjectDef, id: &str, version: u32) -> String {
    format!("/services/data/v{version}.0/sobjects/{}/{id}", def.name)
}

/// The member that heads every record in an answer.
pub(super) fn attributes(def: &ObjectDef, record: &Record, version: u32) -> Value {
    json!({ "type": def.name, "url": record_url(def, &record.id, version) })
}

/// A value as answers show it; a blob shows as the path to its bytes.
pub(super) fn shown(def: &ObjectDef, record: &Record, field: &str, version: u32) -> Value {
    let is_blob = def
        .field(field)
        .is_some_and(|field| field.kind == FieldType::Base64);
    if is_blob {
        return json!(format!("{}/{field}", record_url(def, &record.id, version)));
    }
    record.value(field).clone()
}

/// A record with these fields.
pub(super) fn record<'a>(
    def: &ObjectDef,
    record: &Record,
    fields: impl IntoIterator<Item = &'a str>,
    version: u32,
) -> Value {
    let mut row = Map::new();
    row.insert("attributes".to_owned(), attributes(def, record, version));
    for field in fields {
        row.insert(field.to_owned(), shown(def, record, field, version));
    }
    Value::Object(row)
}
