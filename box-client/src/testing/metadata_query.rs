//! Queries by a template's values: comparisons joined by `AND` and `OR`, without brackets.

use std::cmp::Ordering;

use serde_json::Value;

use super::{
    answer::{Answer, Outcome, Refused},
    items::Item,
    listing::read_marker,
    pages,
    state::{Visit, text},
    view::{self, Fields},
};

const LARGEST_PAGE: u64 = 100;

struct Comparison<'a> {
    field: &'a str,
    operator: &'a str,
    value: Value,
}

/// `POST /metadata_queries/execute_read`
pub(super) fn execute(visit: &mut Visit<'_>) -> Outcome {
    let body = visit.json()?;
    let state = &*visit.state;
    let below = text(&body, "/ancestor_folder_id");
    let below = below.ok_or_else(|| refused("bad_request", "ancestor_folder_id is missing"))?;
    let from = text(&body, "/from").ok_or_else(|| refused("bad_request", "from is missing"))?;
    let invalid = |message: &str| refused("invalid_query", message);
    let (scope, key) = from.split_once('.').ok_or_else(|| invalid("from"))?;
    if scope == "global" {
        return Err(invalid("scope is invalid"));
    }
    // Here the short form is no scope.
    if scope == "enterprise" {
        let message = "template not found";
        return Err(Refused::metadata(404, "instance_not_found", message));
    }
    state.template(scope, key)?;
    state.tree.live("folder", below)?;
    let alternatives = read(text(&body, "/query"), &body["query_params"])?;
    let slot = (scope.to_owned(), key.to_owned());
    let mut found: Vec<&Item> = state
        .tree
        .all()
        .filter(|item| item.trashed_at.is_none())
        .filter(|item| state.tree.chain(&item.id).iter().any(|id| id == below))
        .filter(|item| {
            item.metadata.get(&slot).is_some_and(|instance| {
                let meets = |it: &Comparison<'_>| it.holds(instance.value(it.field));
                alternatives.is_empty() || alternatives.iter().any(|all| all.iter().all(meets))
            })
        })
        .collect();
    let value = |item: &Item, field: &str| {
        let instance = item.metadata.get(&slot)?;
        instance.value(field).cloned()
    };
    for order in body["order_by"].as_array().into_iter().flatten().rev() {
        let field = text(order, "/field_key").unwrap_or_default();
        let down = text(order, "/direction").is_some_and(|it| it.eq_ignore_ascii_case("desc"));
        found.sort_by(|one, other| {
            let order = compare(value(one, field).as_ref(), value(other, field).as_ref());
            let order = order.unwrap_or(Ordering::Equal);
            if down { order.reverse() } else { order }
        });
    }
    let fields: Vec<String> = body["fields"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|field| field.as_str().map(str::to_owned))
        .collect();
    let fields = Fields::of(fields, &slot);
    let all: Vec<Value> = found
        .iter()
        .map(|item| view::item(&state.tree, item, &fields))
        .collect();
    let limit = body["limit"].as_u64().unwrap_or(LARGEST_PAGE);
    if limit > LARGEST_PAGE {
        return Err(refused("bad_request", "limit is above 100"));
    }
    let marker = text(&body, "/marker").map_or(Ok(0), read_marker::<usize>)?;
    let page = pages::marked(&all, marker, limit as usize);
    Ok(Answer::json(200, &page))
}

/// Alternatives of conditions that all have to hold.
fn read<'a>(
    query: Option<&'a str>,
    parameters: &Value,
) -> Result<Vec<Vec<Comparison<'a>>>, Refused> {
    let Some(query) = query.filter(|query| !query.trim().is_empty()) else {
        return Ok(Vec::new());
    };
    let alternatives = query.split(" OR ").map(|alternative| {
        let conditions = alternative.split(" AND ");
        conditions.map(|one| comparison(one, parameters)).collect()
    });
    alternatives.collect()
}

fn comparison<'a>(condition: &'a str, parameters: &Value) -> Result<Comparison<'a>, Refused> {
    let mut words = condition.trim().splitn(3, ' ');
    let (Some(field), Some(operator), Some(operand)) = (words.next(), words.next(), words.next())
    else {
        return Err(refused("invalid_query", "a comparison has three parts"));
    };
    if !["=", "<>", "!=", "<", ">", "<=", ">=", "LIKE", "ILIKE"].contains(&operator) {
        return Err(refused("invalid_query", "unknown operator"));
    }
    let operand = operand.trim();
    let value = match operand.strip_prefix(':') {
        Some(name) => parameters.get(name).cloned().ok_or_else(|| {
            refused(
                "unexpected_json_type",
                "a parameter of the query is missing",
            )
        })?,
        None => match operand
            .strip_prefix('\'')
            .and_then(|it| it.strip_suffix('\''))
        {
            Some(text) => text.into(),
            None => serde_json::from_str(operand)
                .map_err(|_| refused("invalid_query", "neither a value nor a parameter"))?,
        },
    };
    Ok(Comparison {
        field,
        operator,
        value,
    })
}

impl Comparison<'_> {
    fn holds(&self, value: Option<&Value>) -> bool {
        let order = compare(value, Some(&self.value));
        match self.operator {
            "=" => order == Some(Ordering::Equal),
            "<>" | "!=" => value.is_some() && order != Some(Ordering::Equal),
            "<" => order == Some(Ordering::Less),
            ">" => order == Some(Ordering::Greater),
            "<=" => order.is_some_and(Ordering::is_le),
            ">=" => order.is_some_and(Ordering::is_ge),
            operator => {
                let (text, pattern) = (value.and_then(Value::as_str), self.value.as_str());
                text.zip(pattern).is_some_and(|(text, pattern)| {
                    if operator == "ILIKE" {
                        like(&text.to_lowercase(), &pattern.to_lowercase())
                    } else {
                        like(text, pattern)
                    }
                })
            }
        }
    }
}

/// Numbers can be given as text.
fn compare(one: Option<&Value>, other: Option<&Value>) -> Option<Ordering> {
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let (one, other) = (one?, other?);
    if one.is_number() || other.is_number() {
        return number(one)?.partial_cmp(&number(other)?);
    }
    Some(one.as_str()?.cmp(other.as_str()?))
}

/// `%` stands for any text.
fn like(text: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('%') else {
        return text == pattern;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    (0..=text.len())
        .filter_map(|at| text.get(at..))
        .any(|text| like(text, rest))
}

fn refused(code: &str, message: &str) -> Refused {
    Refused::metadata(400, code, message)
}
