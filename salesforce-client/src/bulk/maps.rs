//! Rows that are maps, which the `csv` crate does not write: a [`Record`](crate::Record), or a struct
//! with `#[serde(flatten)]`.

use serde::Serialize;
use serde_json::{Map, Value};

use super::source::OPERATION;
use crate::error::{Error, ErrorKind, Result};

/// What Salesforce puts into records that it gives, and takes back in none.
const ATTRIBUTES: &str = "attributes";

/// The columns of rows like this one, if it is a map.
pub(super) fn keys(row: &impl Serialize, columns: Option<&[String]>) -> Option<Vec<String>> {
    let row = map(row)?;
    let keys: Vec<String> = match columns {
        Some(columns) => columns.to_vec(),
        None => row.into_iter().map(|(key, _)| key).filter(is_own).collect(),
    };
    (!keys.is_empty()).then_some(keys)
}

/// The row's fields in the order of the columns. What it lacks is empty, which leaves a value as it
/// is.
pub(super) fn fields(row: &impl Serialize, keys: &[String]) -> Result<Vec<String>> {
    let content = |detail| Error::new(ErrorKind::Content, OPERATION).detail(detail);
    let mut row = map(row).ok_or_else(|| content("a row is no map as the first one is"))?;
    let fields = keys.iter().map(|key| match row.remove(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text),
        Some(Value::Bool(value)) => Ok(value.to_string()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(Value::Array(_) | Value::Object(_)) => Err(content(
            "a row has a list or a map as a value, which CSV cannot hold",
        )),
    });
    let fields = fields.collect::<Result<_>>()?;
    match row.keys().find(|key| is_own(key)) {
        None => Ok(fields),
        Some(_) => Err(content(
            "a row has a key that is no column: name them all by columns()",
        )),
    }
}

fn map(row: &impl Serialize) -> Option<Map<String, Value>> {
    match serde_json::to_value(row) {
        Ok(Value::Object(map)) => Some(map),
        _ => None,
    }
}

fn is_own(key: &String) -> bool {
    key != ATTRIBUTES
}
