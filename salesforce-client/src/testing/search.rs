use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::checks::no_such_column;
use super::refusal::Refusal;
use super::reply::Reply;
use super::schema::{FieldType, ObjectDef};
use super::state::{Call, State};
use super::store::Record;
use super::view;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Search {
    q: String,
    #[serde(rename = "in")]
    scope: Option<String>,
    #[serde(default)]
    sobjects: Vec<Object>,
    overall_limit: Option<usize>,
}

#[derive(Deserialize)]
struct Object {
    name: String,
    #[serde(default)]
    fields: Vec<String>,
}

const RECORDS_AT_MOST: usize = 2000;
const OPERATORS: &str = r#"?&|!{}[]()^~*:\"'+-"#;

/// `parameterizedSearch`: records that have all of the words.
pub(super) fn answer(state: &State, call: &mut Call) -> Result<Reply, Refusal> {
    if call.method != Method::POST {
        return Err(Refusal::not_allowed(&call.method, "GET,POST"));
    }
    let search: Search = call.json()?;
    let words = words(&search.q)?;
    let kind = match search.scope.as_deref().unwrap_or("ALL") {
        "ALL" => None,
        "NAME" => Some(FieldType::String),
        "EMAIL" => Some(FieldType::Email),
        "PHONE" => Some(FieldType::Phone),
        other => {
            let text = format!("Invalid search scope: {other}");
            return Err(Refusal::bad("INVALID_SEARCH_SCOPE", text));
        }
    };
    let is_name_only = kind == Some(FieldType::String);
    let org = &state.org;
    let mut asked = Vec::new();
    for object in &search.sobjects {
        let Some(def) = org.schema.object(&object.name) else {
            let text = format!("sObject type '{}' is not supported.", object.name);
            return Err(Refusal::bad("INVALID_TYPE", text));
        };
        asked.push((def, fields(def, &object.fields)?));
    }
    if asked.is_empty() {
        let all = org.schema.objects.iter().filter(|def| def.linkable);
        asked.extend(all.map(|def| (def, vec!["Id"])));
    }
    let limit = search.overall_limit.unwrap_or(RECORDS_AT_MOST);
    let mut found = Vec::new();
    for (def, fields) in asked {
        let has_all = |record: &&Record| {
            let looked_at = def.fields.iter().filter(|field| match kind {
                _ if is_name_only => field.name == "Name",
                Some(kind) => field.kind == kind,
                None => true,
            });
            let text: Vec<String> = looked_at
                .filter_map(|field| record.text(&field.name))
                .map(str::to_lowercase)
                .collect();
            words
                .iter()
                .all(|word| text.iter().any(|it| it.contains(word)))
        };
        let records = org.living(&def.name).filter(has_all);
        found.extend(records.map(|it| view::record(def, it, fields.iter().copied(), call.version)));
    }
    found.truncate(limit.min(RECORDS_AT_MOST));
    Ok(Reply::json(
        200,
        &json!({ "searchRecords": Value::Array(found) }),
    ))
}

fn fields<'a>(def: &'a ObjectDef, names: &[String]) -> Result<Vec<&'a str>, Refusal> {
    if names.is_empty() {
        return Ok(vec!["Id"]);
    }
    let names = names.iter().map(|name| {
        let field = def.field(name).ok_or_else(|| no_such_column(name, def))?;
        Ok(field.name.as_str())
    });
    names.collect()
}

/// Operators are not modelled: what looks like one has to be escaped.
fn words(text: &str) -> Result<Vec<String>, Refusal> {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => plain.extend(letters.next()),
            letter if OPERATORS.contains(letter) => {
                let text = format!("unexpected token: {letter}");
                return Err(Refusal::bad("MALFORMED_SEARCH", text));
            }
            letter => plain.push(letter),
        }
    }
    if plain.trim().chars().count() < 2 {
        let text = "search term must be longer than one character";
        return Err(Refusal::bad("MALFORMED_SEARCH", text));
    }
    let words = plain.split_whitespace();
    Ok(words.map(str::to_lowercase).collect())
}
