use super::Problem;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A keyword, a name or a path of names.
    Word(String),
    Text(Vec<Piece>),
    Number(f64),
    Date(String),
    DateTime(String),
    Symbol(&'static str),
}

/// A character of a string; inside LIKE an escaped one is no wildcard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::testing) enum Piece {
    Plain(char),
    Escaped(char),
}

#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) at: usize,
}

const SYMBOLS: [&str; 11] = ["<=", ">=", "!=", "<>", "(", ")", ",", "=", "<", ">", ":"];

pub(super) fn tokens(query: &str) -> Result<Vec<Placed>, Problem> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = query[at..].chars().next() {
        let rest = &query[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (token, length) = if first == '\'' {
            text(rest, at)?
        } else if first.is_ascii_alphabetic() || first == '_' {
            let length = run(rest, |c| {
                c.is_ascii_alphanumeric() || matches!(c, '_' | '.')
            });
            (Token::Word(rest[..length].to_owned()), length)
        } else if first.is_ascii_digit() || matches!(first, '-' | '+' | '.') {
            let length = run(rest, |c| {
                c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | ':')
            });
            (numeric(&rest[..length], at)?, length)
        } else if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            (Token::Symbol(symbol), symbol.len())
        } else {
            return Err(Problem::malformed(
                format!("unexpected token: '{first}'"),
                at,
            ));
        };
        tokens.push(Placed { token, at });
        at += length;
    }
    Ok(tokens)
}

const LONGEST_TEXT: usize = 4_000;

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

fn text(rest: &str, at: usize) -> Result<(Token, usize), Problem> {
    let mut pieces = Vec::new();
    let mut letters = rest.char_indices().skip(1);
    while let Some((place, letter)) = letters.next() {
        match letter {
            '\'' if pieces.len() > LONGEST_TEXT => {
                let message = "string literal is longer than 4000 characters";
                return Err(Problem::malformed(message, at));
            }
            '\'' => return Ok((Token::Text(pieces), place + 1)),
            '\n' | '\r' => {
                let message = "Line breaks not allowed in string literals";
                return Err(Problem::malformed(message, at));
            }
            '\\' => {
                let letter = letters.next().map(|(_, letter)| letter);
                let piece = match letter {
                    Some('n' | 'N') => Piece::Plain('\n'),
                    Some('r' | 'R') => Piece::Plain('\r'),
                    Some('t' | 'T') => Piece::Plain('\t'),
                    Some('b' | 'B') => Piece::Plain('\u{8}'),
                    Some('f' | 'F') => Piece::Plain('\u{c}'),
                    Some(same @ ('"' | '\'' | '\\')) => Piece::Plain(same),
                    Some(wildcard @ ('%' | '_')) => Piece::Escaped(wildcard),
                    Some('u') => Piece::Plain(unicode(&mut letters).ok_or_else(|| bad_escape(at))?),
                    _ => return Err(bad_escape(at)),
                };
                pieces.push(piece);
            }
            other => pieces.push(Piece::Plain(other)),
        }
    }
    Err(Problem::malformed("string literal is not closed", at))
}

fn unicode(letters: &mut impl Iterator<Item = (usize, char)>) -> Option<char> {
    let code = (0..4).try_fold(0, |code, _| {
        let digit = letters.next()?.1.to_digit(16)?;
        Some(code * 16 + digit)
    })?;
    char::from_u32(code)
}

fn bad_escape(at: usize) -> Problem {
    Problem::malformed("Illegal character sequence in string literal", at)
}

fn numeric(text: &str, at: usize) -> Result<Token, Problem> {
    let bytes = text.as_bytes();
    let is_date = bytes.len() >= 10 && bytes[4] == b'-' && bytes[7] == b'-';
    if is_date && bytes.get(10) == Some(&b'T') && text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(Token::DateTime(text.to_owned()));
    }
    if is_date && bytes.len() == 10 && text.parse::<jiff::civil::Date>().is_ok() {
        return Ok(Token::Date(text.to_owned()));
    }
    let number = text
        .parse()
        .ok()
        .filter(|number: &f64| !is_date && number.is_finite());
    let unexpected = || Problem::malformed(format!("unexpected token: '{text}'"), at);
    number.map(Token::Number).ok_or_else(unexpected)
}
