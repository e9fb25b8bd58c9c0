use serde_json::Value;

use super::ids;
use super::refusal::Refusal;
use super::schema::{FieldDef, FieldType, ObjectDef};
use super::store::{Actor, Org, Record, Values};
use super::values::coerce;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Write {
    Create,
    Update,
}

/// Checks names, rights, types, lengths, presence and references of what was
/// sent, and gives it back in the form in which it is stored.
pub(super) fn prepare(
    org: &Org,
    def: &ObjectDef,
    body: &Values,
    write: Write,
    actor: &Actor,
) -> Result<Values, Refusal> {
    let mut values = Values::new();
    let mut sealed = Vec::new();
    for (name, value) in body.iter().filter(|(name, _)| *name != "attributes") {
        if name.eq_ignore_ascii_case("Id") {
            return Err(key_in_body("Id"));
        }
        if let (Some(field), Value::Object(foreign)) = (def.relationship(name), value) {
            let id = foreign_key(org, field, foreign)?;
            values.insert(field.name.clone(), Value::String(id));
            continue;
        }
        let field = def.field(name).ok_or_else(|| no_such_column(name, def))?;
        let is_open = match write {
            Write::Create => field.createable,
            Write::Update => field.updateable,
        };
        if is_open || actor.is_person {
            let value = coerce(field, value).map_err(|refusal| as_of(def, field, refusal))?;
            values.insert(field.name.clone(), value);
        } else {
            sealed.push(field.name.as_str());
        }
    }
    if !sealed.is_empty() {
        return Err(not_writable(&sealed));
    }
    check_presence(def, &values, write)?;
    for (name, value) in &mut values {
        let field = def
            .field(name)
            .filter(|field| field.kind == FieldType::Reference);
        if let (Some(field), Some(id)) = (field, value.as_str()) {
            *value = Value::String(check_reference(org, field, id, actor)?);
        }
    }
    Ok(values)
}

/// Refuses a value that a living record other than `own` has in a unique field.
pub(super) fn unique(
    org: &Org,
    def: &ObjectDef,
    values: &Values,
    own: Option<&str>,
) -> Result<(), Refusal> {
    for field in def.fields.iter().filter(|field| field.unique) {
        let Some(value) = values.get(&field.name) else {
            continue;
        };
        let others = matching(org, def, &field.name, value);
        if let Some(other) = others.iter().find(|record| Some(record.id.as_str()) != own) {
            let text = format!(
                "duplicate value found: {} duplicates value on record with id: {}",
                field.name, other.id
            );
            return Err(Refusal::data("DUPLICATE_VALUE", text, &[]));
        }
    }
    Ok(())
}

/// Living records whose field has this value; text is compared without its case unless the field
/// says otherwise.
pub(super) fn matching<'a>(
    org: &'a Org,
    def: &ObjectDef,
    field: &str,
    key: &Value,
) -> Vec<&'a Record> {
    let is_exact = def.field(field).is_some_and(|field| field.case_sensitive);
    let same = |stored: &Value| match (stored, key) {
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::String(stored), Value::String(key)) => {
            stored == key || (!is_exact && stored.to_lowercase() == key.to_lowercase())
        }
        (stored, key) => stored == key,
    };
    org.living(&def.name)
        .filter(|record| same(record.value(field)))
        .collect()
}

pub(super) fn required(fields: &[&str]) -> Refusal {
    let text = format!("Required fields are missing: [{}]", fields.join(", "));
    Refusal::data("REQUIRED_FIELD_MISSING", text, fields)
}

pub(super) fn no_such_column(name: &str, def: &ObjectDef) -> Refusal {
    let text = format!("No such column '{name}' on sobject of type {}", def.name);
    Refusal::bad("INVALID_FIELD", text)
}

pub(super) fn key_in_body(field: &str) -> Refusal {
    let text = format!("The {field} field should not be specified in the sobject data.");
    Refusal::bad("INVALID_FIELD", text)
}

pub(super) fn not_writable(fields: &[&str]) -> Refusal {
    let text = format!(
        "Unable to create/update fields: {}. Please check the security settings of this field and \
         verify that it is read/write for your profile or permission set.",
        fields.join(", ")
    );
    Refusal::data("INVALID_FIELD_FOR_INSERT_UPDATE", text, fields)
}

/// Too long a description of a task has a code of its own, with three E's.
fn as_of(def: &ObjectDef, field: &FieldDef, mut refusal: Refusal) -> Refusal {
    let is_description = def.name == "Task" && field.name == "Description";
    for error in refusal
        .errors
        .iter_mut()
        .filter(|error| error.code == "STRING_TOO_LONG")
    {
        if is_description {
            "MAX_TASK_DESCRIPTION_EXCEEEDED".clone_into(&mut error.code);
        }
    }
    refusal
}

fn check_presence(def: &ObjectDef, values: &Values, write: Write) -> Result<(), Refusal> {
    let is_missing = |field: &FieldDef| match values.get(&field.name) {
        Some(value) => value.is_null(),
        None => write == Write::Create,
    };
    let missing: Vec<&str> = def
        .fields
        .iter()
        .filter(|field| field.is_required() && is_missing(field))
        .map(|field| field.name.as_str())
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(required(&missing))
    }
}

fn check_reference(
    org: &Org,
    field: &FieldDef,
    id: &str,
    actor: &Actor,
) -> Result<String, Refusal> {
    let named: &[&str] = &[&field.name];
    let Some(id) = ids::normalise(id) else {
        let text = format!("{}: id value of incorrect type: {id}", field.label);
        return Err(Refusal::data("MALFORMED_ID", text, named));
    };
    let wrong = || {
        Refusal::data(
            "INVALID_CROSS_REFERENCE_KEY",
            "invalid cross reference id",
            named,
        )
    };
    let (def, record) = org.get(&id).ok_or_else(wrong)?;
    if !field.targets.is_empty() && !field.targets.contains(&&*def.name) {
        return Err(wrong());
    }
    if record.deleted {
        return Err(Refusal::data(
            "ENTITY_IS_DELETED",
            "entity is deleted",
            named,
        ));
    }
    // A person can have the right to leave records with those who are gone.
    let is_gone = def.name == "User" && !record.flag("IsActive");
    if field.name == "OwnerId" && is_gone && !actor.is_person {
        let text = format!("operation performed with inactive user [{id}] as owner");
        return Err(Refusal::data("INACTIVE_OWNER_OR_USER", text, named));
    }
    Ok(id)
}

/// `"Account": {"Ext__c": "A-1"}` in place of `"AccountId": "001…"`.
fn foreign_key(org: &Org, field: &FieldDef, foreign: &Values) -> Result<String, Refusal> {
    let mut keys = foreign.iter().filter(|(name, _)| *name != "attributes");
    let (Some((key, value)), None) = (keys.next(), keys.next()) else {
        let text = format!(
            "More than 1 field provided in an external foreign key reference in entity: {}",
            field.targets.join(",")
        );
        return Err(Refusal::bad("INVALID_FIELD", text));
    };
    for target in field.targets {
        let Some(def) = org.schema.object(target) else {
            continue;
        };
        let Some(by) = def.field(key).filter(|by| by.external_id || by.id_lookup) else {
            continue;
        };
        if let [record] = matching(org, def, &by.name, &coerce(by, value)?).as_slice() {
            return Ok(record.id.clone());
        }
    }
    let text = format!(
        "Foreign key external ID: {} not found for field {key} in entity {}",
        value.as_str().unwrap_or_default(),
        field.targets.join(",")
    );
    Err(Refusal::bad("INVALID_FIELD", text))
}
