use super::lexer::Piece;

#[derive(Debug)]
pub(super) struct Statement {
    /// Absent for `COUNT()`.
    pub(super) paths: Option<Vec<Path>>,
    /// Sub-queries, whose object is a relationship.
    pub(super) children: Vec<Statement>,
    pub(super) object: Path,
    pub(super) alias: Option<String>,
    pub(super) filter: Option<Expr>,
    pub(super) order: Vec<Order>,
    pub(super) limit: Option<usize>,
    pub(super) offset: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Path {
    pub(super) names: Vec<String>,
    pub(super) at: usize,
}

#[derive(Debug)]
pub(super) enum Expr {
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    Compare(Path, Operator, Literal),
    Among(Path, Vec<Literal>),
    /// `INCLUDES`: any of these has all its values in the list.
    Includes(Path, Vec<Literal>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Like,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Text(Vec<Piece>),
    Number(f64),
    Boolean(bool),
    Date(String),
    DateTime(String),
    Null,
}

#[derive(Debug)]
pub(super) struct Order {
    pub(super) path: Path,
    pub(super) is_descending: bool,
    pub(super) nulls_last: bool,
}

/// Which rows, in which order.
#[derive(Debug, Default)]
pub(super) struct Clauses {
    pub(super) filter: Option<Expr>,
    pub(super) order: Vec<Order>,
    pub(super) limit: Option<usize>,
    pub(super) offset: usize,
}
