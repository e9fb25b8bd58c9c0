mod bind;
mod eval;
mod lexer;
mod literal;
mod parser;
mod sosl;
mod statement;

use serde_json::Value;

use super::refusal::Refusal;
use super::schema::Name;
use super::store::{Org, Record};

pub(super) use bind::Bound;
pub(super) use eval::like;
pub(super) use lexer::Piece;
pub(super) use sosl::{Asked, ask, understand as understand_search};

/// A query that was understood and checked against the schema.
pub(super) struct Selection {
    pub(super) is_count: bool,
    pub(super) has_children: bool,
    pub(super) has_offset: bool,
    pub(super) rows: Vec<Value>,
}

/// Who asks, and what about.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) user: &'a str,
    pub(super) version: u32,
    pub(super) with_deleted: bool,
}

/// Answers a query.
pub(super) fn select(org: &Org, query: &str, asker: Asker<'_>) -> Result<Selection, Refusal> {
    let bound = understand(org, query).map_err(|problem| problem.refuse(query))?;
    let rows = eval::rows(org, &bound, asker);
    Ok(Selection {
        is_count: bound.is_count,
        has_children: !bound.children.is_empty(),
        has_offset: bound.offset > 0,
        rows,
    })
}

/// The rows of one object of a search, of those that it found.
pub(super) fn found(
    org: &Org,
    bound: &Bound,
    asker: Asker<'_>,
    is_found: impl Fn(&Record) -> bool,
) -> Vec<Value> {
    eval::rows_of(org, bound, asker, is_found)
}

/// The object that a query is on, and whether it names its records by id.
pub(super) fn target(org: &Org, query: &str) -> Result<(Name, bool), Refusal> {
    let bound = understand(org, query).map_err(|problem| problem.refuse(query))?;
    let filter = bound.filter.as_ref();
    Ok((
        bound.object,
        filter.is_some_and(|it| it.is_bounded_by(&["Id"])),
    ))
}

fn understand(org: &Org, query: &str) -> Result<Bound, Problem> {
    if query.chars().count() > LONGEST {
        let text = "SOQL statements cannot be longer than 100000 characters.";
        return Err(Problem::new("MALFORMED_QUERY", text));
    }
    let statement = parser::parse(lexer::tokens(query)?, query.len())?;
    bind::bind(&org.schema, statement)
}

const LONGEST: usize = 100_000;

/// What is wrong with a query, and where.
#[derive(Debug)]
struct Problem {
    code: &'static str,
    message: String,
    at: Option<usize>,
}

impl Problem {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            at: None,
        }
    }

    fn malformed(message: impl Into<String>, at: usize) -> Self {
        Self::new("MALFORMED_QUERY", message).at(at)
    }

    fn at(mut self, at: usize) -> Self {
        self.at = Some(at);
        self
    }

    /// As in a text that has so many bytes more before it.
    fn moved(mut self, by: usize) -> Self {
        self.at = self.at.map(|at| at + by);
        self
    }

    /// The vendor shows the line at fault, a caret below it and the place in words.
    fn refuse(self, query: &str) -> Refusal {
        let Some(before) = self.at.and_then(|at| query.get(..at)) else {
            return Refusal::bad(self.code, self.message);
        };
        let row = before.matches('\n').count();
        let line = query.lines().nth(row).unwrap_or_default();
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count();
        let text = format!(
            "\n{line}\n{:column$}^\nERROR at Row:{}:Column:{}\n{}",
            "",
            row + 1,
            column + 1,
            self.message
        );
        Refusal::bad(self.code, text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::statement::{Expr, Literal, Statement};
    use super::*;
    use crate::{Like, soql};

    /// A query without what its values are: all that a bound value must never change.
    fn structure(statement: &Statement) -> String {
        fn shown(expr: &Expr) -> String {
            let each = |parts: &[Expr]| parts.iter().map(shown).collect::<Vec<_>>().join(" ");
            match expr {
                Expr::All(parts) => format!("all({})", each(parts)),
                Expr::Any(parts) => format!("any({})", each(parts)),
                Expr::Not(part) => format!("not({})", shown(part)),
                Expr::Compare(path, operator, _) => format!("{:?} {operator:?}", path.names),
                Expr::Among(path, values) => format!("{:?} in {}", path.names, values.len()),
                Expr::Includes(path, values) => format!("{:?} has {}", path.names, values.len()),
            }
        }
        let filter = statement.filter.as_ref().map(shown);
        let paths = statement.paths.as_ref().map(|paths| paths.len());
        let order = statement.order.len();
        format!(
            "{paths:?} {:?} {filter:?} {order} {:?}",
            statement.object.names, statement.limit
        )
    }

    fn parsed(query: &str) -> Statement {
        let tokens = lexer::tokens(query).unwrap_or_else(|problem| panic_at(query, &problem));
        parser::parse(tokens, query.len()).unwrap_or_else(|problem| panic_at(query, &problem))
    }

    fn panic_at<T>(query: &str, problem: &Problem) -> T {
        unreachable!("{query}: {problem:?}")
    }

    /// The text that the query compares its first field with.
    fn compared(statement: Statement) -> String {
        let Some(Expr::All(parts)) = statement.filter else {
            unreachable!("the filter is another")
        };
        let Some(Expr::Compare(_, _, Literal::Text(pieces))) = parts.into_iter().next() else {
            unreachable!("the condition is another")
        };
        let letters = pieces.into_iter().map(|piece| match piece {
            lexer::Piece::Plain(letter) | lexer::Piece::Escaped(letter) => letter,
        });
        letters.collect()
    }

    const QUERY: &str = "SELECT Id, Name FROM Account WHERE Name = :a AND (Phone = :b OR Site IN :c) ORDER BY Name LIMIT 5";

    proptest! {
        #[test]
        fn no_bound_text_changes_a_query(
            a in any::<String>(),
            b in any::<String>(),
            c in proptest::collection::vec(any::<String>(), 2),
        ) {
            let harmless = soql(QUERY).bind("a", "a").bind("b", "b").bind("c", vec!["c", "d"]);
            let query = soql(QUERY).bind("a", a.as_str()).bind("b", &b).bind("c", c);
            let (harmless, query) = (harmless.text().unwrap(), query.text().unwrap());
            let statement = parsed(&query);
            prop_assert_eq!(structure(&statement), structure(&parsed(&harmless)));
            prop_assert_eq!(compared(statement), a);
        }

        #[test]
        fn no_text_made_of_soql_changes_a_query(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("'"), Just("\\"), Just("\\'"), Just("' OR Name != '"), Just(":b"),
                    Just(")"), Just("\n"), Just("\u{2028}"), Just("%"), Just("_"), Just("--"), Just("/*"),
                ],
                0..8,
            ),
        ) {
            let text = pieces.concat();
            let query = "SELECT Id FROM Account WHERE Name = :a AND Phone LIKE :b";
            let harmless = soql(query).bind("a", "a").bind("b", Like::contains("b")).text().unwrap();
            let bound = soql(query).bind("a", &text).bind("b", Like::contains(text.as_str()));
            let bound = bound.text().unwrap();
            let statement = parsed(&bound);
            prop_assert_eq!(structure(&statement), structure(&parsed(&harmless)));
            prop_assert_eq!(compared(statement), text);
        }
    }
}
