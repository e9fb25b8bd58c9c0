use super::Problem;
use super::bind::{self, Bound};
use super::lexer;
use super::parser::Parser;
use super::statement::{Clauses, Path, Statement};
use crate::testing::refusal::Refusal;
use crate::testing::store::Org;

/// A search that was understood, but for its words.
pub(in crate::testing) struct Sosl {
    /// What stands between the braces, escaped.
    pub(in crate::testing) words: String,
    /// The word in `IN … FIELDS`.
    pub(in crate::testing) scope: Option<String>,
    pub(in crate::testing) objects: Vec<Bound>,
    pub(in crate::testing) limit: Option<usize>,
}

/// One object of a search that is no text, in the words of its caller.
pub(in crate::testing) struct Asked<'a> {
    pub(in crate::testing) object: &'a str,
    pub(in crate::testing) fields: &'a [String],
    pub(in crate::testing) filter: Option<&'a str>,
    pub(in crate::testing) order: Option<&'a str>,
    pub(in crate::testing) limit: Option<usize>,
    pub(in crate::testing) offset: usize,
}

impl<'a> Asked<'a> {
    /// All of an object, by their ids.
    pub(in crate::testing) fn ids(object: &'a str) -> Self {
        Self {
            object,
            fields: &[],
            filter: None,
            order: None,
            limit: None,
            offset: 0,
        }
    }
}

const LONGEST: usize = 100_000;

/// Understands `FIND {…} IN … FIELDS RETURNING …`.
pub(in crate::testing) fn understand(org: &Org, sosl: &str) -> Result<Sosl, Refusal> {
    parse(org, sosl).map_err(|problem| refuse(problem, sosl))
}

/// Understands what is asked of one object.
pub(in crate::testing) fn ask(org: &Org, asked: &Asked<'_>) -> Result<Bound, Refusal> {
    let whole = |text: &str| Ok::<_, Problem>(Parser::new(lexer::tokens(text)?, text.len()));
    let piece = |text: &str, problem| refuse(problem, text);
    let mut paths = Vec::new();
    for field in asked.fields {
        let path = whole(field).and_then(|mut parser| {
            let path = parser.path()?;
            parser.finish().map(|()| path)
        });
        paths.push(path.map_err(|problem| piece(field, problem))?);
    }
    let mut clauses = Clauses {
        limit: asked.limit,
        offset: asked.offset,
        ..Clauses::default()
    };
    if let Some(text) = asked.filter {
        let filter = whole(text).and_then(|mut parser| {
            let filter = parser.expression()?;
            parser.finish().map(|()| filter)
        });
        clauses.filter = Some(filter.map_err(|problem| piece(text, problem))?);
    }
    if let Some(text) = asked.order {
        let order = whole(text).and_then(|mut parser| {
            let order = parser.order()?;
            parser.finish().map(|()| order)
        });
        clauses.order = order.map_err(|problem| piece(text, problem))?;
    }
    let object = Path {
        names: vec![asked.object.to_owned()],
        at: 0,
    };
    bind_searched(org, statement(object, paths, clauses)).map_err(|problem| {
        // Its place is in one of the pieces, and nobody knows in which.
        Refusal::bad(problem.code, problem.message)
    })
}

fn parse(org: &Org, sosl: &str) -> Result<Sosl, Problem> {
    if sosl.chars().count() > LONGEST {
        let text = "SOSL statements cannot be longer than 100000 characters.";
        return Err(Problem::new("MALFORMED_SEARCH", text));
    }
    let (words, rest) = find(sosl)?;
    let tokens = lexer::tokens(&sosl[rest..]).map_err(|problem| problem.moved(rest))?;
    let tokens = tokens.into_iter().map(|mut placed| {
        placed.at += rest;
        placed
    });
    let mut parser = Parser::new(tokens.collect(), sosl.len());
    let mut scope = None;
    if parser.take_word("IN") {
        scope = parser.word().map(str::to_owned);
        parser.path()?;
        parser.keyword("FIELDS")?;
    }
    let mut objects = Vec::new();
    if parser.take_word("RETURNING") {
        loop {
            objects.push(bind_searched(org, returned(&mut parser)?)?);
            if !parser.take_symbol(",") {
                break;
            }
        }
    }
    if objects.len() > 1 && objects.iter().any(|bound| bound.offset > 0) {
        let text = "OFFSET is for a search of one object";
        return Err(Problem::malformed(text, parser.at()));
    }
    let limit = match parser.take_word("LIMIT") {
        true => Some(parser.count()?),
        false => None,
    };
    parser.finish()?;
    Ok(Sosl {
        words,
        scope,
        objects,
        limit,
    })
}

/// What stands between the braces, and where the rest begins.
fn find(sosl: &str) -> Result<(String, usize), Problem> {
    let start = sosl.len() - sosl.trim_start().len();
    let is_find = sosl[start..]
        .get(..4)
        .is_some_and(|word| word.eq_ignore_ascii_case("FIND"));
    let unexpected = |at: usize| {
        let shown = sosl[at..]
            .chars()
            .next()
            .map_or("<EOF>".to_owned(), String::from);
        Problem::malformed(format!("unexpected token: '{shown}'"), at)
    };
    if !is_find {
        return Err(unexpected(start));
    }
    let after = &sosl[start + 4..];
    let open = sosl.len() - after.trim_start().len();
    if !sosl[open..].starts_with('{') {
        return Err(unexpected(open));
    }
    let words = &sosl[open + 1..];
    let mut letters = words.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            '{' => return Err(unexpected(open + 1 + at)),
            '}' => return Ok((words[..at].to_owned(), open + 1 + at + 1)),
            _ => {}
        }
    }
    Err(unexpected(sosl.len()))
}

/// `Account(Id, Name WHERE … ORDER BY … LIMIT …)`, or the object alone.
fn returned(parser: &mut Parser) -> Result<Statement, Problem> {
    let object = parser.path()?;
    let mut paths = Vec::new();
    let mut clauses = Clauses::default();
    if parser.take_symbol("(") {
        loop {
            paths.push(parser.path()?);
            if !parser.take_symbol(",") {
                break;
            }
        }
        clauses = parser.clauses()?;
        parser.symbol(")")?;
    }
    Ok(statement(object, paths, clauses))
}

/// Without fields it is the ids.
fn statement(object: Path, mut paths: Vec<Path>, clauses: Clauses) -> Statement {
    if paths.is_empty() {
        paths.push(Path {
            names: vec!["Id".to_owned()],
            at: object.at,
        });
    }
    Statement {
        paths: Some(paths),
        children: Vec::new(),
        object,
        alias: None,
        filter: clauses.filter,
        order: clauses.order,
        limit: clauses.limit,
        offset: clauses.offset,
    }
}

fn bind_searched(org: &Org, statement: Statement) -> Result<Bound, Problem> {
    let at = statement.object.at;
    let bound = bind::bind(&org.schema, statement)?;
    let def = org.schema.object(&bound.object);
    if def.is_some_and(|def| def.is_searchable()) {
        return Ok(bound);
    }
    let text = format!("entity type {} does not support search", bound.object);
    Err(Problem::new("INVALID_TYPE_FOR_OPERATION", text).at(at))
}

fn refuse(mut problem: Problem, text: &str) -> Refusal {
    if problem.code == "MALFORMED_QUERY" {
        problem.code = "MALFORMED_SEARCH";
    }
    problem.refuse(text)
}
