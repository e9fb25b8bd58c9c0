use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::Asker;
use super::bind::{Bound, Child, Column, Filter, Step};
use super::lexer::Piece;
use super::literal::folded;
use super::statement::{Operator, Order};
use crate::testing::files;
use crate::testing::schema::{FieldType, ObjectDef};
use crate::testing::store::{Org, Record};
use crate::testing::view::{attributes, shown};

/// The rows of the answer, in order.
pub(super) fn rows(org: &Org, bound: &Bound, asker: Asker<'_>) -> Vec<Value> {
    rows_of(org, bound, asker, |_| true)
}

pub(super) fn rows_of(
    org: &Org,
    bound: &Bound,
    asker: Asker<'_>,
    belongs: impl Fn(&Record) -> bool,
) -> Vec<Value> {
    let is_shown = visibility(org, bound, asker);
    let passes = |record: &&Record| {
        bound
            .filter
            .as_ref()
            .is_none_or(|filter| holds(org, record, filter))
    };
    let mut found: Vec<&Record> = org
        .table(&bound.object)
        .filter(|record| !record.deleted || (asker.with_deleted && record.is_in_bin()))
        .filter(|record| belongs(record) && is_shown(record))
        .filter(passes)
        .collect();
    found.sort_by(|one, other| {
        let orders = bound.order.iter().map(|(column, order)| {
            compare_for_order(reach(org, one, column), reach(org, other, column), order)
        });
        orders.fold(Ordering::Equal, Ordering::then)
    });
    let limit = bound.limit.unwrap_or(usize::MAX);
    let found = found.into_iter().skip(bound.offset).take(limit);
    found
        .map(|record| {
            let mut row = project(org, record, &bound.columns, asker.version);
            for child in &bound.children {
                row[&child.relationship] = children(org, child, record, asker);
            }
            row
        })
        .collect()
}

/// No children are `null`, as the vendor has it.
fn children(org: &Org, child: &Child, parent: &Record, asker: Asker<'_>) -> Value {
    let rows = rows_of(org, &child.bound, asker, |record| {
        record.text(&child.field) == Some(parent.id.as_str())
    });
    if rows.is_empty() {
        return Value::Null;
    }
    json!({ "totalSize": rows.len(), "done": true, "records": rows })
}

/// Queries on files without an id filter show what the user owns, and nothing
/// that is reachable through a record only.
fn visibility<'a>(
    org: &'a Org,
    bound: &Bound,
    asker: Asker<'a>,
) -> impl Fn(&Record) -> bool + use<'a> {
    let is_file = matches!(&*bound.object, "ContentVersion" | "ContentDocument");
    let keys: &[&str] = match &*bound.object {
        "ContentVersion" => &["Id", "ContentDocumentId"],
        _ => &["Id"],
    };
    let by_id = bound
        .filter
        .as_ref()
        .is_some_and(|filter| filter.is_bounded_by(keys));
    move |record| match (is_file, by_id) {
        (false, _) => true,
        (true, true) => files::is_reachable(org, record, asker.user),
        (true, false) => files::is_owned(org, record, asker.user),
    }
}

fn holds(org: &Org, record: &Record, filter: &Filter) -> bool {
    match filter {
        Filter::All(parts) => parts.iter().all(|part| holds(org, record, part)),
        Filter::Any(parts) => parts.iter().any(|part| holds(org, record, part)),
        Filter::Not(inner) => !holds(org, record, inner),
        Filter::Compare(column, operator, wanted) => {
            let stored = key(column, &reach(org, record, column));
            let order = compare(&stored, wanted);
            match operator {
                Operator::Equal => order == Some(Ordering::Equal),
                Operator::NotEqual => order != Some(Ordering::Equal),
                Operator::Less => order == Some(Ordering::Less),
                Operator::AtMost => order.is_some_and(Ordering::is_le),
                Operator::Greater => order == Some(Ordering::Greater),
                Operator::AtLeast => order.is_some_and(Ordering::is_ge),
                Operator::Like => false,
            }
        }
        Filter::Among(column, wanted) => {
            let stored = key(column, &reach(org, record, column));
            wanted
                .iter()
                .any(|wanted| compare(&stored, wanted) == Some(Ordering::Equal))
        }
        Filter::Includes(column, wanted) => {
            let stored = key(column, &reach(org, record, column));
            let stored: Vec<&str> = stored.as_str().map_or(Vec::new(), values);
            let has = |wanted: &str| values(wanted).iter().all(|value| stored.contains(value));
            wanted
                .iter()
                .any(|wanted| wanted.as_str().map_or(stored.is_empty(), has))
        }
        Filter::Like(column, pattern) => {
            let stored = reach(org, record, column);
            let letters: Vec<char> = stored.as_str().unwrap_or_default().chars().collect();
            !stored.is_null() && like(pattern, &letters)
        }
    }
}

/// The value at the end of a path; null where a reference on the way is empty.
fn reach(org: &Org, record: &Record, column: &Column) -> Value {
    let mut at = record;
    for step in &column.through {
        let next = at.text(&step.reference).and_then(|id| org.get(id));
        let Some((_, next)) = next else {
            return Value::Null;
        };
        at = next;
    }
    at.value(&column.field).clone()
}

/// The values of a multi-select picklist.
fn values(list: &str) -> Vec<&str> {
    list.split(';').collect()
}

/// Text is compared without its case, ids with theirs.
fn key(column: &Column, stored: &Value) -> Value {
    match stored {
        Value::String(text) if !column.kind.is_id() && !is_time(column.kind) => {
            Value::String(folded(column, text))
        }
        other => other.clone(),
    }
}

fn is_time(kind: FieldType) -> bool {
    matches!(kind, FieldType::Date | FieldType::Datetime)
}

/// Stored dates and date-times have one form, in which they sort as text.
fn compare(stored: &Value, wanted: &Value) -> Option<Ordering> {
    match (stored, wanted) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::String(stored), Value::String(wanted)) => Some(stored.cmp(wanted)),
        (Value::Bool(stored), Value::Bool(wanted)) => Some(stored.cmp(wanted)),
        (Value::Number(stored), Value::Number(wanted)) => {
            stored.as_f64()?.partial_cmp(&wanted.as_f64()?)
        }
        _ => None,
    }
}

fn compare_for_order(one: Value, other: Value, order: &Order) -> Ordering {
    let nulls = if order.nulls_last {
        Ordering::Greater
    } else {
        Ordering::Less
    };
    match (one.is_null(), other.is_null()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return nulls,
        (false, true) => return nulls.reverse(),
        (false, false) => {}
    }
    let ordering = match (&one, &other) {
        (Value::String(one), Value::String(other)) => one
            .to_lowercase()
            .cmp(&other.to_lowercase())
            .then_with(|| one.cmp(other)),
        _ => compare(&one, &other).unwrap_or(Ordering::Equal),
    };
    if order.is_descending {
        ordering.reverse()
    } else {
        ordering
    }
}

/// `%` is any text, `_` any one character; greedy with one point of return, so
/// that no pattern takes more than quadratic time.
pub(in crate::testing) fn like(pattern: &[Piece], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(Piece::Plain('%')) => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(piece) if fits(*piece, text[t]) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after, from)) = retry else {
                    return false;
                };
                retry = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|piece| *piece == Piece::Plain('%'))
}

fn fits(piece: Piece, letter: char) -> bool {
    match piece {
        Piece::Plain('_') => true,
        Piece::Plain(wanted) | Piece::Escaped(wanted) => {
            wanted == letter || wanted.to_lowercase().eq(letter.to_lowercase())
        }
    }
}

fn project(org: &Org, record: &Record, columns: &[Column], version: u32) -> Value {
    let Some((def, _)) = org.get(&record.id) else {
        return Value::Null;
    };
    let mut row = Map::new();
    row.insert("attributes".to_owned(), attributes(def, record, version));
    for column in columns {
        place(org, def, record, &column.through, column, version, &mut row);
    }
    Value::Object(row)
}

fn place(
    org: &Org,
    def: &ObjectDef,
    record: &Record,
    through: &[Step],
    column: &Column,
    version: u32,
    row: &mut Map<String, Value>,
) {
    let Some((step, rest)) = through.split_first() else {
        row.insert(
            column.field.clone(),
            shown(def, record, &column.field, version),
        );
        return;
    };
    let parent = record.text(&step.reference).and_then(|id| org.get(id));
    let slot = row.entry(step.relationship).or_insert(Value::Null);
    let Some((parent_def, parent)) = parent else {
        return;
    };
    if slot.is_null() {
        *slot = json!({ "attributes": attributes(parent_def, parent, version) });
    }
    if let Value::Object(inner) = slot {
        place(org, parent_def, parent, rest, column, version, inner);
    }
}
