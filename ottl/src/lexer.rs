//! Texts to tokens. The rules are tried in the order of `buildLexer` in grammar.go: a word that is all upper case is an
//! enum symbol or a part of a function's name, one in lower case a path segment or a part of a name.

use crate::error::ParseError;

/// A token and the offset of its first byte.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Bytes(Vec<u8>),
    Float(f64),
    Int(i64),
    Text(String),
    Nil,
    Not,
    Or,
    And,
    True,
    False,
    /// `==`, `!=`, `<`, `<=`, `>`, `>=`.
    Compare(&'static str),
    /// `=>`.
    Arrow,
    /// One of `+ - * / = ( ) { } [ ] : , .`.
    Sign(char),
    Upper(String),
    Lower(String),
    Underscore,
}

/// A place in a text as the error messages write it: line and column from 1.
pub(crate) fn place(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
    format!("{line}:{column}")
}

/// Cuts a text into tokens.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let space = rest.len() - rest.trim_start().len();
        if space > 0 {
            at += space;
            continue;
        }
        let (kind, len) =
            token(rest).map_err(|reason| ParseError::new(format!("{}: {reason}", place(text, at))))?;
        tokens.push(Token { kind, start: at, end: at + len });
        at += len;
    }
    Ok(tokens)
}

fn token(rest: &str) -> Result<(Kind, usize), String> {
    if let Some(found) = bytes(rest)? {
        return Ok(found);
    }
    if let Some(found) = number(rest)? {
        return Ok(found);
    }
    if rest.starts_with('"') {
        return text_literal(rest);
    }
    let first = rest.chars().next().unwrap_or_default();
    if first.is_ascii_alphabetic() || first == '_' {
        return word(rest);
    }
    for sign in ["==", "!=", ">=", "<=", "=>", ">", "<"] {
        if rest.starts_with(sign) {
            let kind = if sign == "=>" { Kind::Arrow } else { Kind::Compare(sign) };
            return Ok((kind, sign.len()));
        }
    }
    match first {
        '+' | '-' | '*' | '/' | '=' | '(' | ')' | '{' | '}' | '[' | ']' | ':' | ',' | '.' => {
            Ok((Kind::Sign(first), 1))
        }
        other => Err(format!("invalid input text {other:?}")),
    }
}

/// `0x` and hex digits, an even number of them.
fn bytes(rest: &str) -> Result<Option<(Kind, usize)>, String> {
    let Some(digits) = rest.strip_prefix("0x") else { return Ok(None) };
    let len = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
    if len == 0 {
        return Ok(None);
    }
    match crate::convert::from_hex(&digits[..len]) {
        Some(bytes) => Ok(Some((Kind::Bytes(bytes), len + 2))),
        None => Err(format!("0x{}: odd length hex string", &digits[..len])),
    }
}

fn number(rest: &str) -> Result<Option<(Kind, usize)>, String> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(rest);
    let mut len = whole;
    let mut is_float = false;
    if rest[whole..].starts_with('.') {
        let part = digits(&rest[whole + 1..]);
        if whole + part > 0 {
            is_float = true;
            len = whole + 1 + part;
        }
    }
    if len == 0 {
        return Ok(None);
    }
    if is_float {
        if let Some(exponent) = rest[len..].strip_prefix(['e', 'E']) {
            let sign = usize::from(exponent.starts_with(['+', '-']));
            let part = digits(&exponent[sign..]);
            if part > 0 {
                len += 1 + sign + part;
            }
        }
        let value = rest[..len].parse().map_err(|_| format!("invalid number {}", &rest[..len]))?;
        return Ok(Some((Kind::Float(value), len)));
    }
    let value = rest[..len].parse().map_err(|_| format!("{}: value out of range", &rest[..len]))?;
    Ok(Some((Kind::Int(value), len)))
}

fn word(rest: &str) -> Result<(Kind, usize), String> {
    let whole = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    let keyword = match &rest[..whole] {
        "nil" => Some(Kind::Nil),
        "not" => Some(Kind::Not),
        "or" => Some(Kind::Or),
        "and" => Some(Kind::And),
        "true" => Some(Kind::True),
        "false" => Some(Kind::False),
        "_" => Some(Kind::Underscore),
        _ => None,
    };
    if let Some(keyword) = keyword {
        return Ok((keyword, whole));
    }
    let first = rest.as_bytes()[0];
    let is_upper = first.is_ascii_uppercase();
    let len = rest
        .bytes()
        .take_while(|b| {
            let letter = if is_upper { b.is_ascii_uppercase() } else { b.is_ascii_lowercase() };
            letter || b.is_ascii_digit() || *b == b'_'
        })
        .count();
    match first {
        b'_' => Err("invalid input text \"_\"".to_owned()),
        _ if is_upper => Ok((Kind::Upper(rest[..len].to_owned()), len)),
        _ => Ok((Kind::Lower(rest[..len].to_owned()), len)),
    }
}

/// A text in double quotes with the escapes of Go's `strconv.Unquote`.
fn text_literal(rest: &str) -> Result<(Kind, usize), String> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Kind::Text(text), at + 1)),
            '\n' => return Err("invalid quoted string: a line break".to_owned()),
            '\\' => {
                let Some((_, escaped)) = chars.next() else { break };
                let digits = match escaped {
                    'a' => {
                        text.push('\x07');
                        continue;
                    }
                    'b' => {
                        text.push('\x08');
                        continue;
                    }
                    'f' => {
                        text.push('\x0c');
                        continue;
                    }
                    'n' => {
                        text.push('\n');
                        continue;
                    }
                    'r' => {
                        text.push('\r');
                        continue;
                    }
                    't' => {
                        text.push('\t');
                        continue;
                    }
                    'v' => {
                        text.push('\x0b');
                        continue;
                    }
                    '\\' | '"' => {
                        text.push(escaped);
                        continue;
                    }
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    other => return Err(format!("invalid quoted string: unknown escape \\{other}")),
                };
                let code: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                let value = (code.len() == digits).then(|| u32::from_str_radix(&code, 16).ok()).flatten();
                match value.and_then(char::from_u32) {
                    // A byte above 0x7f by itself is no character of a text.
                    Some(c) if digits > 2 || c.is_ascii() => text.push(c),
                    _ => return Err(format!("invalid quoted string: escape \\{escaped}{code}")),
                }
            }
            c => text.push(c),
        }
    }
    Err("invalid input text: a string without its end".to_owned())
}
