use super::super::refusal::Refusal;
use super::super::soql::{Piece, like};

/// What a record has to have.
#[derive(Debug, PartialEq)]
pub(super) enum Terms {
    All(Vec<Terms>),
    Any(Vec<Terms>),
    Not(Box<Terms>),
    /// These words one after the other.
    Phrase(Vec<Word>),
}

/// Letters as they are, and the wildcards of SOQL for those of a search.
type Word = Vec<Piece>;

const ANY: Piece = Piece::Plain('%');
const ANY_ONE: Piece = Piece::Plain('_');

/// What means something to a search unless a backslash stands before it.
const RESERVED: &str = r#"?&|!{}[]()^~*:\"'+-"#;
const LONGEST: usize = 10_000;
const DEEPEST: usize = 50;

/// Understands the words of a search, with `AND`, `OR`, `AND NOT`, parentheses, quotes and
/// wildcards.
pub(super) fn parse(text: &str) -> Result<Terms, Refusal> {
    let tokens = tokens(text)?;
    let words = tokens.iter().map(|token| match token {
        Token::Term(words) => words.iter().map(|word| width(word)).sum(),
        _ => 0,
    });
    if words.sum::<usize>() < 2 {
        let text = format!("search term must be longer than one character: {text}");
        return Err(Refusal::bad("INVALID_SEARCH", text));
    }
    if text.chars().count() > LONGEST {
        return Err(malformed("the search is longer than 10000 characters"));
    }
    let mut parser = Parser {
        tokens,
        next: 0,
        depth: 0,
    };
    let terms = parser.any()?;
    match parser.tokens.get(parser.next) {
        None => Ok(terms),
        Some(left) => Err(left.unexpected()),
    }
}

impl Terms {
    /// Whether the texts together have what is asked for.
    pub(super) fn are_in(&self, texts: &[Vec<Vec<char>>]) -> bool {
        let says = |part: &&Self| !part.says_nothing();
        match self {
            Self::All(parts) => parts.iter().filter(says).all(|part| part.are_in(texts)),
            Self::Any(parts) => parts.iter().filter(says).any(|part| part.are_in(texts)),
            Self::Not(part) => part.says_nothing() || !part.are_in(texts),
            Self::Phrase(words) => texts.iter().any(|text| {
                let mut places = text.windows(words.len().max(1));
                places.any(|place| words.iter().zip(place).all(|(word, text)| like(word, text)))
            }),
        }
    }

    /// Punctuation alone asks for nothing.
    fn says_nothing(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().all(Self::says_nothing),
            Self::Not(part) => part.says_nothing(),
            Self::Phrase(words) => words.is_empty(),
        }
    }
}

/// The words of a text, in small letters; punctuation stands between words.
pub(super) fn words_of(text: &str) -> Vec<Vec<char>> {
    let letters: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
    let words = letters.split(|letter| !letter.is_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    words.map(<[char]>::to_vec).collect()
}

#[derive(Debug)]
enum Token {
    And,
    Or,
    Not,
    Open,
    Close,
    Term(Vec<Word>),
}

impl Token {
    fn unexpected(&self) -> Refusal {
        malformed(match self {
            Self::And => "unexpected token: AND",
            Self::Or => "unexpected token: OR",
            Self::Not => "unexpected token: NOT",
            Self::Open => "unexpected token: (",
            Self::Close => "unexpected token: )",
            Self::Term(_) => "unexpected search term",
        })
    }
}

fn malformed(text: impl Into<String>) -> Refusal {
    Refusal::bad("MALFORMED_SEARCH", text)
}

fn tokens(text: &str) -> Result<Vec<Token>, Refusal> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, end) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '"' => {
                let (words, end) = term(&rest[1..], |letter| letter == '"')?;
                if end == rest.len() - 1 {
                    return Err(malformed("unexpected token: <EOF>"));
                }
                (Token::Term(words), end + 2)
            }
            _ => {
                // An operator stands as it is: with something escaped it is a word.
                let written = rest.split(ends_word).next().unwrap_or_default();
                match operator(written) {
                    Some(operator) => (operator, written.len()),
                    None => {
                        let (words, end) = term(rest, ends_word)?;
                        (Token::Term(words), end)
                    }
                }
            }
        };
        tokens.push(token);
        rest = rest[end..].trim_start();
    }
    Ok(tokens)
}

fn ends_word(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '"' | '(' | ')')
}

/// The words of a term, and where it ends.
fn term(text: &str, ends: impl Fn(char) -> bool) -> Result<(Vec<Word>, usize), Refusal> {
    let mut words = vec![Word::new()];
    let mut letters = text.char_indices();
    let mut end = text.len();
    while let Some((at, letter)) = letters.next() {
        if ends(letter) {
            end = at;
            break;
        }
        match letter {
            '*' | '?' => {
                let word = words.last_mut().filter(|word| !word.is_empty());
                let text = "a search term cannot begin with a wildcard";
                let word = word.ok_or_else(|| malformed(text))?;
                word.push(if letter == '*' { ANY } else { ANY_ONE });
            }
            '\\' => match letters.next() {
                Some((_, reserved)) if RESERVED.contains(reserved) => add(&mut words, reserved),
                _ => return Err(malformed("unexpected token: \\")),
            },
            other if RESERVED.contains(other) => {
                return Err(malformed(format!("unexpected token: {other}")));
            }
            other => add(&mut words, other),
        }
    }
    words.retain(|word| !word.is_empty());
    Ok((words, end))
}

/// Adds a letter to the last word; what is none ends it.
fn add(words: &mut Vec<Word>, letter: char) {
    for letter in letter.to_lowercase() {
        match words.last_mut() {
            Some(word) if letter.is_alphanumeric() => word.push(Piece::Plain(letter)),
            _ => words.push(Word::new()),
        }
    }
}

fn operator(written: &str) -> Option<Token> {
    match written.to_ascii_lowercase().as_str() {
        "and" => Some(Token::And),
        "or" => Some(Token::Or),
        "not" => Some(Token::Not),
        _ => None,
    }
}

/// One character of a script without blanks between words says as much as two others.
fn width(word: &[Piece]) -> usize {
    let letters = word.iter().map(|piece| match piece {
        wildcard if [ANY, ANY_ONE].contains(wildcard) => 0,
        Piece::Plain(letter) | Piece::Escaped(letter) if letter.len_utf8() > 2 => 2,
        Piece::Plain(_) | Piece::Escaped(_) => 1,
    });
    letters.sum()
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn any(&mut self) -> Result<Terms, Refusal> {
        let mut parts = vec![self.all()?];
        while self.take(|token| matches!(token, Token::Or)) {
            parts.push(self.all()?);
        }
        Ok(alone(parts, Terms::Any))
    }

    /// Without an operator between them all terms are wanted.
    fn all(&mut self) -> Result<Terms, Refusal> {
        let mut parts = vec![self.item()?];
        loop {
            if self.take(|token| matches!(token, Token::And)) {
                let is_not = self.take(|token| matches!(token, Token::Not));
                let item = self.item()?;
                parts.push(if is_not {
                    Terms::Not(Box::new(item))
                } else {
                    item
                });
            } else if let Some(Token::Term(_) | Token::Open) = self.tokens.get(self.next) {
                parts.push(self.item()?);
            } else {
                return Ok(alone(parts, Terms::All));
            }
        }
    }

    fn item(&mut self) -> Result<Terms, Refusal> {
        match self.tokens.get_mut(self.next) {
            Some(Token::Term(words)) => {
                self.next += 1;
                Ok(Terms::Phrase(std::mem::take(words)))
            }
            Some(Token::Open) if self.depth < DEEPEST => {
                self.next += 1;
                self.depth += 1;
                let inner = self.any()?;
                self.depth -= 1;
                match self.take(|token| matches!(token, Token::Close)) {
                    true => Ok(inner),
                    false => Err(self.unexpected()),
                }
            }
            _ => Err(self.unexpected()),
        }
    }

    fn take(&mut self, is_it: impl Fn(&Token) -> bool) -> bool {
        let found = self.tokens.get(self.next).is_some_and(is_it);
        self.next += usize::from(found);
        found
    }

    fn unexpected(&self) -> Refusal {
        let next = self.tokens.get(self.next);
        next.map_or_else(|| malformed("unexpected token: <EOF>"), Token::unexpected)
    }
}

fn alone(mut parts: Vec<Terms>, joined: fn(Vec<Terms>) -> Terms) -> Terms {
    match (parts.len(), parts.pop()) {
        (1, Some(part)) => part,
        (_, last) => {
            parts.extend(last);
            joined(parts)
        }
    }
}
