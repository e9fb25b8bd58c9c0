use super::Problem;
use super::lexer::{Placed, Token};
use super::statement::{Clauses, Expr, Literal, Operator, Order, Path, Statement};

pub(super) fn parse(tokens: Vec<Placed>, end: usize) -> Result<Statement, Problem> {
    let mut parser = Parser::new(tokens, end);
    let statement = parser.statement()?;
    parser.finish()?;
    Ok(statement)
}

pub(super) struct Parser {
    tokens: Vec<Placed>,
    next: usize,
    end: usize,
    depth: u32,
}

const DEEPEST: u32 = 50;
/// One level, as before version 58.0 and as everybody can count on.
const DEEPEST_SUB_QUERY: u32 = 1;
const CLAUSES: [&str; 12] = [
    "WHERE", "ORDER", "LIMIT", "OFFSET", "GROUP", "HAVING", "WITH", "FOR", "ALL", "USING",
    "UPDATE", "AND",
];

impl Parser {
    pub(super) fn new(tokens: Vec<Placed>, end: usize) -> Self {
        Self {
            tokens,
            next: 0,
            end,
            depth: 0,
        }
    }

    /// Nothing may be left.
    pub(super) fn finish(&self) -> Result<(), Problem> {
        if self.next < self.tokens.len() {
            return Err(self.unexpected());
        }
        Ok(())
    }

    fn statement(&mut self) -> Result<Statement, Problem> {
        self.keyword("SELECT")?;
        let mut children = Vec::new();
        let paths = self.selected(&mut children)?;
        self.keyword("FROM")?;
        let object = self.path()?;
        let alias = match self.word() {
            Some(word)
                if !CLAUSES
                    .iter()
                    .any(|clause| clause.eq_ignore_ascii_case(word)) =>
            {
                let alias = word.to_owned();
                self.next += 1;
                Some(alias)
            }
            _ => None,
        };
        let Clauses {
            filter,
            order,
            limit,
            offset,
        } = self.clauses()?;
        Ok(Statement {
            paths,
            children,
            object,
            alias,
            filter,
            order,
            limit,
            offset,
        })
    }

    /// What may follow the object of a query, and the fields of a search.
    pub(super) fn clauses(&mut self) -> Result<Clauses, Problem> {
        let filter = if self.take_word("WHERE") {
            Some(self.expression()?)
        } else {
            None
        };
        let order = if self.take_word("ORDER") {
            self.keyword("BY")?;
            self.order()?
        } else {
            Vec::new()
        };
        let limit = if self.take_word("LIMIT") {
            Some(self.count()?)
        } else {
            None
        };
        let offset_at = self.at();
        let offset = if self.take_word("OFFSET") {
            self.count()?
        } else {
            0
        };
        if offset > 2000 {
            let text = "Maximum SOQL offset allowed is 2000";
            return Err(Problem::new("NUMBER_OUTSIDE_VALID_RANGE", text).at(offset_at));
        }
        Ok(Clauses {
            filter,
            order,
            limit,
            offset,
        })
    }

    fn selected(&mut self, children: &mut Vec<Statement>) -> Result<Option<Vec<Path>>, Problem> {
        if self
            .word()
            .is_some_and(|word| word.eq_ignore_ascii_case("COUNT"))
        {
            self.next += 1;
            self.symbol("(")?;
            self.symbol(")")?;
            return Ok(None);
        }
        let mut paths = Vec::new();
        loop {
            if self.take_symbol("(") {
                self.depth += 1;
                if self.depth > DEEPEST_SUB_QUERY {
                    return Err(self.unexpected());
                }
                children.push(self.statement()?);
                self.depth -= 1;
                self.symbol(")")?;
            } else {
                paths.push(self.path()?);
            }
            if !self.take_symbol(",") {
                return Ok(Some(paths));
            }
        }
    }

    /// AND and OR are not mixed without parentheses, as the vendor has it.
    pub(super) fn expression(&mut self) -> Result<Expr, Problem> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.unexpected());
        }
        let first = self.condition()?;
        let is_all = self
            .word()
            .is_some_and(|word| word.eq_ignore_ascii_case("AND"));
        let joint = if is_all { "AND" } else { "OR" };
        let mut parts = vec![first];
        while self.take_word(joint) {
            parts.push(self.condition()?);
        }
        if self
            .word()
            .is_some_and(|word| ["AND", "OR"].iter().any(|j| j.eq_ignore_ascii_case(word)))
        {
            return Err(self.unexpected());
        }
        self.depth -= 1;
        if parts.len() == 1 {
            return parts.pop().ok_or_else(|| self.unexpected());
        }
        Ok(if is_all {
            Expr::All(parts)
        } else {
            Expr::Any(parts)
        })
    }

    fn condition(&mut self) -> Result<Expr, Problem> {
        if self.take_word("NOT") {
            self.depth += 1;
            if self.depth > DEEPEST {
                return Err(self.unexpected());
            }
            let negated = self.condition()?;
            self.depth -= 1;
            return Ok(Expr::Not(Box::new(negated)));
        }
        if self.take_symbol("(") {
            let inner = self.expression()?;
            self.symbol(")")?;
            return Ok(inner);
        }
        let path = self.path()?;
        if self.take_word("NOT") {
            self.keyword("IN")?;
            return Ok(Expr::Not(Box::new(Expr::Among(path, self.literals()?))));
        }
        if self.take_word("IN") {
            return Ok(Expr::Among(path, self.literals()?));
        }
        if self.take_word("INCLUDES") {
            return Ok(Expr::Includes(path, self.literals()?));
        }
        if self.take_word("EXCLUDES") {
            let included = Expr::Includes(path, self.literals()?);
            return Ok(Expr::Not(Box::new(included)));
        }
        let operator = self.operator()?;
        Ok(Expr::Compare(path, operator, self.literal()?))
    }

    fn operator(&mut self) -> Result<Operator, Problem> {
        if self.take_word("LIKE") {
            return Ok(Operator::Like);
        }
        for (symbol, operator) in [
            ("=", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<>", Operator::NotEqual),
            ("<", Operator::Less),
            ("<=", Operator::AtMost),
            (">", Operator::Greater),
            (">=", Operator::AtLeast),
        ] {
            if self.take_symbol(symbol) {
                return Ok(operator);
            }
        }
        Err(self.unexpected())
    }

    fn literals(&mut self) -> Result<Vec<Literal>, Problem> {
        self.symbol("(")?;
        let mut literals = vec![self.literal()?];
        while self.take_symbol(",") {
            literals.push(self.literal()?);
        }
        self.symbol(")")?;
        Ok(literals)
    }

    fn literal(&mut self) -> Result<Literal, Problem> {
        let literal = match self.tokens.get(self.next).map(|placed| &placed.token) {
            Some(Token::Text(pieces)) => Literal::Text(pieces.clone()),
            Some(Token::Number(number)) => Literal::Number(*number),
            Some(Token::Date(date)) => Literal::Date(date.clone()),
            Some(Token::DateTime(time)) => Literal::DateTime(time.clone()),
            Some(Token::Word(word)) => match word.to_ascii_lowercase().as_str() {
                "true" => Literal::Boolean(true),
                "false" => Literal::Boolean(false),
                "null" => Literal::Null,
                _ => return Err(self.unexpected()),
            },
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        Ok(literal)
    }

    pub(super) fn order(&mut self) -> Result<Vec<Order>, Problem> {
        let mut order = Vec::new();
        loop {
            let path = self.path()?;
            let is_descending = !self.take_word("ASC") && self.take_word("DESC");
            let nulls_last = self.take_word("NULLS") && {
                let is_first = self.take_word("FIRST");
                if !is_first {
                    self.keyword("LAST")?;
                }
                !is_first
            };
            order.push(Order {
                path,
                is_descending,
                nulls_last,
            });
            if !self.take_symbol(",") {
                return Ok(order);
            }
        }
    }

    pub(super) fn count(&mut self) -> Result<usize, Problem> {
        match self.tokens.get(self.next).map(|placed| &placed.token) {
            Some(Token::Number(number)) if *number >= 0.0 && number.fract() == 0.0 => {
                let count = *number as usize;
                self.next += 1;
                Ok(count)
            }
            _ => Err(self.unexpected()),
        }
    }

    pub(super) fn path(&mut self) -> Result<Path, Problem> {
        let at = self.at();
        let word = self.word().ok_or_else(|| self.unexpected())?;
        let names: Vec<String> = word.split('.').map(str::to_owned).collect();
        if names.iter().any(String::is_empty) {
            return Err(self.unexpected());
        }
        self.next += 1;
        Ok(Path { names, at })
    }

    pub(super) fn word(&self) -> Option<&str> {
        match &self.tokens.get(self.next)?.token {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(super) fn take_word(&mut self, wanted: &str) -> bool {
        let found = self
            .word()
            .is_some_and(|word| word.eq_ignore_ascii_case(wanted));
        self.next += usize::from(found);
        found
    }

    pub(super) fn keyword(&mut self, wanted: &str) -> Result<(), Problem> {
        if self.take_word(wanted) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    pub(super) fn take_symbol(&mut self, wanted: &str) -> bool {
        let next = self.tokens.get(self.next).map(|placed| &placed.token);
        let found = matches!(next, Some(Token::Symbol(symbol)) if *symbol == wanted);
        self.next += usize::from(found);
        found
    }

    pub(super) fn symbol(&mut self, wanted: &str) -> Result<(), Problem> {
        if self.take_symbol(wanted) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    pub(super) fn at(&self) -> usize {
        self.tokens
            .get(self.next)
            .map_or(self.end, |placed| placed.at)
    }

    pub(super) fn unexpected(&self) -> Problem {
        let shown = match self.tokens.get(self.next).map(|placed| &placed.token) {
            None => "<EOF>".to_owned(),
            Some(Token::Word(word)) => word.clone(),
            Some(Token::Symbol(symbol)) => (*symbol).to_owned(),
            Some(Token::Number(number)) => number.to_string(),
            Some(Token::Date(text) | Token::DateTime(text)) => text.clone(),
            Some(Token::Text(_)) => "a string literal".to_owned(),
        };
        Problem::malformed(format!("unexpected token: '{shown}'"), self.at())
    }
}
