//! SOQL with values that are bound and never spliced.

use std::fmt::{self, Write as _};

use jiff::{Timestamp, civil::Date};

use crate::{
    RecordId,
    error::{Error, ErrorKind, Result},
};

const OPERATION: &str = "soql";
const LONGEST_QUERY: usize = 100_000;
const LONGEST_STRING: usize = 4_000;

/// A query whose `:names` are still to be bound. A text alone is a query too.
///
/// Vendor: SOQL and SOSL Reference, "Quoted String Escape Sequences".
///
/// ```
/// # fn main() -> salesforce_client::Result<()> {
/// let query = salesforce_client::soql("SELECT Id FROM Contact WHERE LastName = :name")
///     .bind("name", "O'Brien");
/// assert_eq!(query.text()?, r"SELECT Id FROM Contact WHERE LastName = 'O\'Brien'");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Soql {
    text: String,
    bound: Vec<(String, Literal)>,
}

/// A query. `:name` stands for a value that [`Soql::bind`] gives; inside quotes it is text. Names
/// of objects and fields cannot be bound.
pub fn soql(text: impl Into<String>) -> Soql {
    Soql {
        text: text.into(),
        bound: Vec::new(),
    }
}

impl<T: Into<String>> From<T> for Soql {
    fn from(text: T) -> Self {
        soql(text)
    }
}

/// A value as SOQL writes it: texts, numbers, booleans, dates, times (in whole seconds), ids, lists
/// of them for `IN`, and `None` for `null`.
#[derive(Clone)]
pub struct Literal(std::result::Result<String, SoqlError>);

/// A query's text and values can be anybody's data.
impl fmt::Debug for Soql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.bound.iter().map(|(name, _)| name).collect();
        f.debug_struct("Soql")
            .field("bound", &names)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Literal").finish_non_exhaustive()
    }
}

impl fmt::Debug for Like {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Like").finish_non_exhaustive()
    }
}

/// Why a query cannot be written.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SoqlError {
    /// A list is empty, which SOQL cannot say: such a query has no rows.
    #[error("a list is empty")]
    EmptyList,
    /// A number is infinite or none.
    #[error("a number is not finite")]
    NotFinite,
    /// A text is longer than the 4,000 characters that Salesforce takes.
    #[error("a text is longer than 4,000 characters")]
    TextTooLong,
    /// The whole is longer than the 100,000 characters that Salesforce takes.
    #[error("the query is longer than 100,000 characters")]
    TooLong,
    /// A name has no value.
    #[error("no value is bound to :{0}")]
    Unbound(String),
    /// A quote has no end.
    #[error("a quote is not closed")]
    Unclosed,
    /// A name has two values.
    #[error(":{0} is bound twice")]
    BoundTwice(String),
    /// A value's name does not occur.
    #[error(":{0} is not in the query")]
    Unknown(String),
}

/// A pattern for `LIKE`.
#[derive(Clone)]
pub struct Like {
    text: String,
    /// Whether anything may stand before it, and behind it.
    open: [bool; 2],
}

impl Like {
    /// Matches what contains this text, whatever wildcards are in it.
    pub fn contains(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            open: [true, true],
        }
    }

    /// Matches what begins with this text, whatever wildcards are in it.
    pub fn starts_with(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            open: [false, true],
        }
    }

    /// Matches what ends with this text, whatever wildcards are in it.
    pub fn ends_with(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            open: [true, false],
        }
    }
}

impl Soql {
    /// Gives the value for `:name`.
    pub fn bind(mut self, name: impl Into<String>, value: impl Into<Literal>) -> Self {
        self.bound.push((name.into(), value.into()));
        self
    }

    /// The query as it is sent.
    pub fn text(&self) -> Result<String> {
        self.written().map_err(|cause| {
            Error::new(ErrorKind::Invalid, OPERATION)
                .detail("the query cannot be written")
                .cause(cause)
        })
    }

    fn written(&self) -> std::result::Result<String, SoqlError> {
        let mut text = String::with_capacity(self.text.len() + 64);
        let mut used = vec![false; self.bound.len()];
        for (place, (name, _)) in self.bound.iter().enumerate() {
            if self.bound[..place].iter().any(|(other, _)| other == name) {
                return Err(SoqlError::BoundTwice(name.clone()));
            }
        }
        let mut rest = self.text.as_str();
        while let Some(at) = rest.find([':', '\'']) {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            if rest.starts_with('\'') {
                let end = end_of_string(rest).ok_or(SoqlError::Unclosed)?;
                text.push_str(&rest[..end]);
                rest = &rest[end..];
                continue;
            }
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let name = &rest[1..];
            let name = &name[..name.find(|c| !is_name(c)).unwrap_or(name.len())];
            // A colon of a time, such as T09:30:00Z, or of LAST_N_DAYS:7.
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
                text.push(':');
                rest = &rest[1..];
                continue;
            }
            let mut values = self.bound.iter().enumerate();
            let (position, (_, Literal(value))) = values
                .find(|(_, (bound, _))| bound == name)
                .ok_or_else(|| SoqlError::Unbound(name.to_owned()))?;
            used[position] = true;
            text.push_str(value.as_ref().map_err(Clone::clone)?);
            rest = &rest[1 + name.len()..];
        }
        text.push_str(rest);
        if let Some(position) = used.iter().position(|used| !used) {
            return Err(SoqlError::Unknown(self.bound[position].0.clone()));
        }
        if text.chars().count() > LONGEST_QUERY {
            return Err(SoqlError::TooLong);
        }
        Ok(text)
    }
}

/// Where the string that begins here ends, behind its closing quote.
fn end_of_string(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().skip(1).find_map(|(at, c)| {
        let ends = c == '\'' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at + 1)
    })
}

fn quoted(text: &str) -> Literal {
    if text.chars().count() > LONGEST_STRING {
        return Literal(Err(SoqlError::TextTooLong));
    }
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    for c in text.chars() {
        match c {
            '\\' => literal.push_str("\\\\"),
            '\'' => literal.push_str("\\'"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            '\u{8}' => literal.push_str("\\b"),
            '\u{c}' => literal.push_str("\\f"),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(literal, "\\u{:04X}", u32::from(c));
            }
            c => literal.push(c),
        }
    }
    literal.push('\'');
    Literal(Ok(literal))
}

impl From<Like> for Literal {
    fn from(Like { text, open }: Like) -> Self {
        // Escapes hold no wildcard, so those that are there now are the text's own.
        let own = |literal: String| {
            let text = literal[1..literal.len() - 1]
                .replace('%', "\\%")
                .replace('_', "\\_");
            let [before, behind] = open.map(|open| if open { "%" } else { "" });
            format!("'{before}{text}{behind}'")
        };
        Self(quoted(&text).0.map(own))
    }
}

impl From<&str> for Literal {
    fn from(text: &str) -> Self {
        quoted(text)
    }
}

impl From<String> for Literal {
    fn from(text: String) -> Self {
        quoted(&text)
    }
}

impl From<&String> for Literal {
    fn from(text: &String) -> Self {
        quoted(text)
    }
}

impl From<&RecordId> for Literal {
    fn from(id: &RecordId) -> Self {
        quoted(id.as_str())
    }
}

impl From<RecordId> for Literal {
    fn from(id: RecordId) -> Self {
        quoted(id.as_str())
    }
}

macro_rules! integers {
    ($($integer:ty)+) => {$(
        impl From<$integer> for Literal {
            fn from(number: $integer) -> Self {
                Self(Ok(number.to_string()))
            }
        }
    )+};
}

integers! { i8 i16 i32 i64 isize u8 u16 u32 u64 usize }

impl From<f64> for Literal {
    fn from(number: f64) -> Self {
        Self(if number.is_finite() {
            Ok(number.to_string())
        } else {
            Err(SoqlError::NotFinite)
        })
    }
}

impl From<f32> for Literal {
    fn from(number: f32) -> Self {
        Self(if number.is_finite() {
            Ok(number.to_string())
        } else {
            Err(SoqlError::NotFinite)
        })
    }
}

impl From<bool> for Literal {
    fn from(value: bool) -> Self {
        Self(Ok(value.to_string()))
    }
}

impl From<Date> for Literal {
    fn from(date: Date) -> Self {
        Self(Ok(date.to_string()))
    }
}

impl From<Timestamp> for Literal {
    fn from(at: Timestamp) -> Self {
        Self(Ok(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
    }
}

impl<T: Into<Literal>> From<Option<T>> for Literal {
    fn from(value: Option<T>) -> Self {
        value.map_or_else(|| Self(Ok("null".to_owned())), Into::into)
    }
}

impl<T: Into<Literal>> From<Vec<T>> for Literal {
    fn from(values: Vec<T>) -> Self {
        if values.is_empty() {
            return Self(Err(SoqlError::EmptyList));
        }
        let items: std::result::Result<Vec<_>, _> =
            values.into_iter().map(|value| value.into().0).collect();
        Self(items.map(|items| format!("({})", items.join(","))))
    }
}

impl<T: Into<Literal> + Clone> From<&[T]> for Literal {
    fn from(values: &[T]) -> Self {
        values.to_vec().into()
    }
}

impl<T: Into<Literal>, const N: usize> From<[T; N]> for Literal {
    fn from(values: [T; N]) -> Self {
        Vec::from(values).into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    fn text(value: impl Into<Literal>) -> String {
        soql("x = :v").bind("v", value).text().unwrap()
    }

    #[test]
    fn every_kind_of_value_is_written_as_soql_wants_it() {
        assert_eq!(text("O'Brien\\"), r"x = 'O\'Brien\\'");
        assert_eq!(text(7), "x = 7");
        assert_eq!(text(true), "x = true");
        assert_eq!(text(None::<i64>), "x = null");
        assert_eq!(
            text("2024-05-31".parse::<Date>().unwrap()),
            "x = 2024-05-31"
        );
        let at: Timestamp = "2024-05-31T11:30:00+02:00".parse().unwrap();
        assert_eq!(text(at), "x = 2024-05-31T09:30:00Z");
        assert_eq!(text(vec!["a", "b'"]), r"x = ('a','b\'')");
        assert_eq!(text(Like::contains("50%_\\")), r"x = '%50\%\_\\%'");
        assert_eq!(text(Like::ends_with("50%")), r"x = '%50\%'");
        assert_eq!(text(1.5_f32), "x = 1.5");
        assert_eq!(text("\u{1}"), r"x = '\u0001'");
    }

    #[test]
    fn names_in_quotes_and_colons_of_times_are_text() {
        let query = soql(r"a = ':v' AND b = 'it\'s :v' AND c > 2024-05-31T09:30:00Z AND d = :v");
        let bound = query.clone().bind("v", 1).text().unwrap();
        assert_eq!(
            bound,
            r"a = ':v' AND b = 'it\'s :v' AND c > 2024-05-31T09:30:00Z AND d = 1"
        );
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let why = |query: Soql| query.written().unwrap_err();
        assert_eq!(why(soql("a = :v")), SoqlError::Unbound("v".into()));
        let unknown = soql("a = 1").bind("v", 1);
        assert_eq!(why(unknown), SoqlError::Unknown("v".into()));
        let twice = soql("a = :v").bind("v", 1).bind("v", 2);
        assert_eq!(why(twice), SoqlError::BoundTwice("v".into()));
        assert_eq!(why(soql("a = 'x")), SoqlError::Unclosed);
        assert_eq!(why(soql("a = 'x\\'")), SoqlError::Unclosed);
        let empty = soql("a IN :v").bind("v", Vec::<String>::new());
        assert_eq!(why(empty), SoqlError::EmptyList);
        let number = soql("a = :v").bind("v", f64::NAN);
        assert_eq!(why(number), SoqlError::NotFinite);
        let long = soql("a = :v").bind("v", "x".repeat(4_001));
        assert_eq!(why(long), SoqlError::TextTooLong);
        let much = soql("a IN :v").bind("v", vec!["x".repeat(4_000); 30]);
        assert_eq!(why(much), SoqlError::TooLong);
    }

    /// Reads a literal as SOQL does, by its documented escapes only.
    fn read(literal: &str) -> String {
        let mut text = String::new();
        let mut rest = literal.strip_prefix('\'').unwrap().chars();
        loop {
            match rest.next().unwrap() {
                '\'' => {
                    assert_eq!(rest.as_str(), "", "something follows the literal");
                    return text;
                }
                '\\' => match rest.next().unwrap() {
                    'n' => text.push('\n'),
                    'r' => text.push('\r'),
                    't' => text.push('\t'),
                    'b' => text.push('\u{8}'),
                    'f' => text.push('\u{c}'),
                    'u' => {
                        let code: String = rest.by_ref().take(4).collect();
                        let code = u32::from_str_radix(&code, 16).unwrap();
                        text.push(char::from_u32(code).unwrap());
                    }
                    c @ ('\'' | '"' | '\\' | '%' | '_') => text.push(c),
                    c => panic!("SOQL has no escape for {c}"),
                },
                c => text.push(c),
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_bound_stays_one_text(value in any::<String>()) {
            let written = soql(":v").bind("v", value.as_str()).text().unwrap();
            prop_assert_eq!(read(&written), value);
        }

        #[test]
        fn a_pattern_has_no_wildcard_but_its_own(value in any::<String>()) {
            let written = soql(":v").bind("v", Like::contains(value.as_str())).text().unwrap();
            let inner = written.strip_prefix("'%").unwrap().strip_suffix("%'").unwrap();
            let bare: String = inner.replace("\\\\", "").replace("\\%", "").replace("\\_", "");
            prop_assert!(!bare.contains(['%', '_']), "{written}");
            prop_assert_eq!(read(&format!("'{inner}'")), value);
        }
    }
}
