use csv::ByteRecord;
use serde_json::{Map, Value};

use super::super::checks::matching;
use super::super::collections::upsert;
use super::super::refusal::Refusal;
use super::super::schema::ObjectDef;
use super::super::store::{Actor, Org, Values};

/// What a job does with each row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Operation {
    Insert,
    Update,
    Upsert(String),
    Delete,
    HardDelete,
}

/// What became of a row.
pub(super) struct Written {
    pub(super) id: String,
    pub(super) created: bool,
}

impl Operation {
    pub(super) fn read(name: &str, key: Option<&str>) -> Option<Self> {
        Some(match name {
            "insert" => Self::Insert,
            "update" => Self::Update,
            "upsert" => Self::Upsert(key.unwrap_or_default().to_owned()),
            "delete" => Self::Delete,
            "hardDelete" => Self::HardDelete,
            _ => return None,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Upsert(_) => "upsert",
            Self::Delete => "delete",
            Self::HardDelete => "hardDelete",
        }
    }

    pub(super) fn perform(
        &self,
        org: &mut Org,
        object: &str,
        mut values: Values,
        actor: &Actor,
    ) -> Result<Written, Refusal> {
        let mut id = || {
            let id = values.remove("Id").filter(|id| !id.is_null());
            let id = id.and_then(|id| id.as_str().map(str::to_owned));
            id.ok_or_else(|| Refusal::data("MISSING_ARGUMENT", "Id not specified", &["Id"]))
        };
        match self {
            Self::Insert => {
                let id = org.create(object, &values, None, actor)?;
                Ok(Written { id, created: true })
            }
            Self::Update => {
                let id = id()?;
                org.update(object, &id, &values, actor)?;
                Ok(Written { id, created: false })
            }
            Self::Upsert(key) => {
                let result = upsert(org, object, key, &values, actor)?;
                Ok(Written {
                    id: result["id"].as_str().unwrap_or_default().to_owned(),
                    created: result["created"] == Value::Bool(true),
                })
            }
            Self::Delete => {
                let id = id()?;
                org.delete(object, &id, actor)?;
                Ok(Written { id, created: false })
            }
            Self::HardDelete => {
                let id = id()?;
                org.erase(object, &id, actor)?;
                Ok(Written { id, created: false })
            }
        }
    }
}

/// The name that a column stands for, checked against the object.
pub(super) fn check_column(org: &Org, def: &ObjectDef, column: &str) -> Result<(), String> {
    let unknown = || format!("Field name not found : {column}");
    let Some((relation, key)) = column.split_once('.') else {
        let is_known = column.eq_ignore_ascii_case("Id") || def.field(column).is_some();
        return is_known.then_some(()).ok_or_else(unknown);
    };
    let relation = relation.split_once(':').map_or(relation, |(_, name)| name);
    let field = def.relationship(relation).ok_or_else(unknown)?;
    let has_key = |target: &&str| {
        org.schema
            .object(target)
            .is_some_and(|def| def.field(key).is_some())
    };
    let is_known = field.targets.iter().any(has_key);
    is_known.then_some(()).ok_or_else(unknown)
}

/// Empty leaves a value as it is, `#N/A` clears it.
pub(super) fn values(header: &ByteRecord, row: &ByteRecord) -> Values {
    let mut values = Map::new();
    for (column, field) in header.iter().zip(row) {
        if field.is_empty() {
            continue;
        }
        let column = String::from_utf8_lossy(column);
        let value = match field {
            b"#N/A" => Value::Null,
            text => Value::String(String::from_utf8_lossy(text).into_owned()),
        };
        match column.split_once('.') {
            Some((relation, key)) => {
                let relation = relation.split_once(':').map_or(relation, |(_, name)| name);
                let foreign = Map::from_iter([(key.to_owned(), value)]);
                values.insert(relation.to_owned(), Value::Object(foreign));
            }
            None => {
                let name = if column.eq_ignore_ascii_case("Id") {
                    "Id".to_owned()
                } else {
                    column.into_owned()
                };
                values.insert(name, value);
            }
        }
    }
    values
}

/// `CODE:message:fields --`
pub(super) fn error_text(refusal: &Refusal) -> String {
    let errors = refusal.errors.iter().map(|error| {
        let fields = error.fields.clone().unwrap_or_default().join(",");
        format!("{}:{}:{fields} --", error.code, error.message)
    });
    errors.collect::<Vec<_>>().join(";")
}

/// Whether an upsert may go by this field.
pub(super) fn is_key(def: &ObjectDef, field: &str) -> bool {
    def.field(field).is_some_and(|field| field.is_key())
}

/// The record that a row is about, for the results of failed rows.
pub(super) fn known_id(
    org: &Org,
    def: &ObjectDef,
    operation: &Operation,
    values: &Values,
) -> String {
    let id = match operation {
        Operation::Insert => None,
        Operation::Upsert(key) => values.get(key).and_then(|value| {
            matching(org, def, key, value)
                .first()
                .map(|found| found.id.clone())
        }),
        _ => values
            .get("Id")
            .and_then(|id| id.as_str().map(str::to_owned)),
    };
    id.unwrap_or_default()
}
