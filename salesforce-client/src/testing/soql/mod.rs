mod bind;
mod eval;
mod lexer;
mod parser;

use serde_json::Value;

use super::refusal::Refusal;
use super::store::Org;
use bind::Bound;

/// A query that was understood and checked against the schema.
pub(super) struct Selection {
    pub(super) is_count: bool,
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
        rows,
    })
}

/// The object that a query is on, and whether it names its records by id.
pub(super) fn target(org: &Org, query: &str) -> Result<(&'static str, bool), Refusal> {
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
