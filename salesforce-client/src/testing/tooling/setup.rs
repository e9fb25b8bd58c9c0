use serde_json::{Value, json};

use super::super::ids;
use super::super::refusal::Refusal;
use super::super::schema::{Field, Schema};
use super::super::store::{Org, Values};

/// Objects that are as they are elsewhere.
const SHARED: [&str; 4] = [
    "User",
    "PermissionSet",
    "FieldPermissions",
    "PermissionSetAssignment",
];

/// The id of the custom field that was created as the `number`-th.
pub(super) fn field_id(number: usize) -> String {
    ids::make("00N", number as u64)
}

/// An org whose records are what this one is set up with.
pub(super) fn of(org: &Org) -> Org {
    let mut setup = Org::new(org.schema.setup(&SHARED));
    for object in SHARED {
        for record in org.living(object) {
            setup.keep(object, &record.id, record.values.clone());
        }
    }
    for (place, (object, field)) in org.schema.custom.iter().enumerate() {
        let id = field_id(place + 1);
        setup.keep("CustomField", &id, custom_field(&id, object, field));
    }
    let mut fields = 0;
    for (place, def) in org.schema.objects.iter().enumerate() {
        let object = setup_id(&setup.schema, "EntityDefinition", place + 1);
        let values = json!({
            "DurableId": def.name,
            "QualifiedApiName": def.name,
            "DeveloperName": def.name.trim_end_matches("__c"),
            "Label": def.label(),
            "KeyPrefix": def.prefix,
        });
        setup.keep("EntityDefinition", &object, members(values));
        for field in org.schema.all_fields(def) {
            fields += 1;
            let id = setup_id(&setup.schema, "FieldDefinition", fields);
            let values = json!({
                "DurableId": format!("{}.{}", def.name, field.name),
                "QualifiedApiName": field.name,
                "DeveloperName": field.name.trim_end_matches("__c"),
                "Label": field.label,
                "Length": field.length,
                "IsIndexed": field.is_key() || field.unique || field.kind.is_id(),
                "EntityDefinitionId": def.name,
                "EntityDefinition#": object,
            });
            setup.keep("FieldDefinition", &id, members(values));
        }
    }
    setup
}

/// Full names cost the vendor so much that it gives them one at a time.
pub(super) fn check_full_names(rows: &[Value]) -> Result<(), Refusal> {
    let has_name = |row: &Value| row.get("FullName").is_some();
    if rows.len() < 2 || !rows.iter().any(has_name) {
        return Ok(());
    }
    let text = "When retrieving results with Metadata or FullName fields, the query qualifications \
                must specify no more than one row for retrieval. Result size: ";
    Err(Refusal::bad(
        "MALFORMED_QUERY",
        format!("{text}{}", rows.len()),
    ))
}

/// Records of this API have paths of their own.
pub(super) fn name_places(rows: &mut [Value]) {
    for row in rows {
        if let Some(Value::String(url)) = row.pointer_mut("/attributes/url") {
            *url = url.replacen("/sobjects/", "/tooling/sobjects/", 1);
        }
        let parents = row.as_object_mut().into_iter().flatten();
        for (_, parent) in parents.filter(|(name, _)| *name != "attributes") {
            if parent.is_object() {
                name_places(std::slice::from_mut(parent));
            }
        }
    }
}

fn custom_field(id: &str, object: &str, field: &Field) -> Values {
    let stem = field.name.trim_end_matches("__c");
    let (package, own) = match stem.split_once("__") {
        Some((package, own)) => (Some(package), own),
        None => (None, stem),
    };
    members(json!({
        "Id": id,
        "DeveloperName": own,
        "NamespacePrefix": package,
        "TableEnumOrId": object,
        "EntityDefinitionId": object,
        "FullName": format!("{object}.{}", field.name),
    }))
}

fn setup_id(schema: &Schema, object: &str, number: usize) -> String {
    let prefix = schema.object(object).map_or("", |def| &*def.prefix);
    ids::make(prefix, number as u64)
}

fn members(values: Value) -> Values {
    match values {
        Value::Object(members) => members,
        _ => Values::new(),
    }
}
