//! Change events as the bus has them.

use apache_avro::types::Value;
use jiff::Timestamp;
use serde_json::json;

pub(crate) fn schema() -> String {
    let texts =
        |name: &str| json!({ "name": name, "type": { "type": "array", "items": "string" } });
    let text = |name: &str| json!({ "name": name, "type": "string" });
    let long = |name: &str| json!({ "name": name, "type": "long" });
    let kinds = [
        "CREATE",
        "UPDATE",
        "DELETE",
        "UNDELETE",
        "GAP_CREATE",
        "GAP_UPDATE",
        "GAP_DELETE",
        "GAP_UNDELETE",
        "GAP_OVERFLOW",
    ];
    let header = json!({ "type": "record", "name": "ChangeEventHeader", "fields": [
        text("entityName"),
        texts("recordIds"),
        { "name": "changeType",
          "type": { "type": "enum", "name": "ChangeType", "symbols": kinds } },
        text("changeOrigin"),
        long("commitTimestamp"),
    ]});
    json!({ "type": "record", "name": "ChangeEvent", "fields": [
        { "name": "ChangeEventHeader", "type": header },
        { "name": "LastModifiedDate", "type": ["null", "long"] },
    ]})
    .to_string()
}

pub(crate) fn change(kind: &str, ids: &[&str], origin: &str, at: Timestamp) -> Value {
    let text = |text: &str| Value::String(text.to_owned());
    let field = |name: &str, value: Value| (name.to_owned(), value);
    let ids = ids.iter().map(|id| text(id)).collect();
    let header = vec![
        field("entityName", text("Account")),
        field("recordIds", Value::Array(ids)),
        field("changeType", text(kind)),
        field("changeOrigin", text(origin)),
        field("commitTimestamp", Value::Long(at.as_millisecond())),
    ];
    Value::Record(vec![
        field("ChangeEventHeader", Value::Record(header)),
        field("LastModifiedDate", Value::Union(0, Box::new(Value::Null))),
    ])
}
