use serde_json::{Value, json};

use super::Problem;
use super::bind::Column;
use super::lexer::Piece;
use super::statement::Literal;
use crate::testing::ids;
use crate::testing::schema::FieldType;
use crate::testing::values::stamp;

/// Literals in the form in which records store their values.
pub(super) fn values(column: &Column, literals: Vec<Literal>) -> Result<Vec<Value>, Problem> {
    literals
        .into_iter()
        .map(|literal| value(column, literal))
        .collect()
}

pub(super) fn value(column: &Column, literal: Literal) -> Result<Value, Problem> {
    let kind = column.kind;
    match literal {
        Literal::Null => Ok(Value::Null),
        Literal::Text(pieces) if kind.is_id() => {
            let id = plain(&pieces)?;
            let invalid = || {
                let text = format!("invalid ID field: {id}");
                Problem::new("INVALID_QUERY_FILTER_OPERATOR", text)
            };
            ids::normalise(&id).map(Value::String).ok_or_else(invalid)
        }
        Literal::Text(pieces) if is_text(kind) => Ok(json!(folded(column, &plain(&pieces)?))),
        Literal::Number(number) if kind.is_number() => Ok(json!(number)),
        Literal::Boolean(flag) if kind == FieldType::Boolean => Ok(json!(flag)),
        Literal::Date(day) if kind == FieldType::Date => Ok(json!(day)),
        Literal::DateTime(time) if kind == FieldType::Datetime => {
            let time = time.parse().map_err(|_| mismatch(column))?;
            Ok(json!(stamp(time)))
        }
        _ => Err(mismatch(column)),
    }
}

fn plain(pieces: &[Piece]) -> Result<String, Problem> {
    let letters = pieces.iter().map(|piece| match piece {
        Piece::Plain(letter) => Ok(*letter),
        // `\%` and `\_` have a meaning inside LIKE only.
        Piece::Escaped(_) => {
            let text = "Illegal character sequence in string literal";
            Err(Problem::new("MALFORMED_QUERY", text))
        }
    });
    letters.collect()
}

/// Text as it is compared: mostly without its case, and the values of a list in one order.
pub(super) fn folded(column: &Column, text: &str) -> String {
    if column.case_sensitive {
        return text.to_owned();
    }
    let text = text.to_lowercase();
    if column.kind != FieldType::Multipicklist {
        return text;
    }
    let mut values: Vec<&str> = text.split(';').map(str::trim).collect();
    values.sort_unstable();
    values.dedup();
    values.join(";")
}

fn mismatch(column: &Column) -> Problem {
    let (kind, quotes) = match column.kind {
        kind if is_text(kind) || kind.is_id() => ("string", "should be"),
        FieldType::Datetime => ("dateTime", "should not be"),
        kind => (kind.name(), "should not be"),
    };
    let text = format!(
        "value of filter criterion for field '{}' must be of type {kind} and {quotes} enclosed in \
         quotes",
        column.field
    );
    Problem::new("INVALID_FIELD", text)
}

pub(super) fn is_text(kind: FieldType) -> bool {
    let is_other = matches!(
        kind,
        FieldType::Boolean | FieldType::Date | FieldType::Datetime
    );
    !is_other && !kind.is_id() && !kind.is_number()
}
