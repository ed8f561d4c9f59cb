//! Splits a query into tokens, as Loki's lexer does on top of Go's `text/scanner`.
//!
//! Two habits of that scanner are kept because error texts show them: a token that is only known after looking at
//! the next character (`|=`, `5m`, `[1h]`) is reported at line 0, and function names are functions only before a
//! parenthesis or a grouping.

use super::ast::Span;
use crate::units;

/// A token with its place.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) span: Span,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// What a token is. Operators and keywords are told apart by their text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Identifier,
    String,
    Number,
    /// Nanoseconds.
    Duration(i64),
    Bytes(u64),
    /// `[5m]`, nanoseconds.
    Range(i64),
    /// `--strict`
    Flag,
    /// An operator or keyword.
    Symbol,
    /// A function's name followed by what makes it one.
    Function,
    End,
    /// The text is the message.
    Error,
}

impl Token {
    /// The token's name in a message about an unexpected token.
    pub(super) fn describe(&self) -> String {
        match self.kind {
            Kind::Identifier => "IDENTIFIER".to_owned(),
            Kind::String => "STRING".to_owned(),
            Kind::Number => "NUMBER".to_owned(),
            Kind::Duration(_) => "DURATION".to_owned(),
            Kind::Bytes(_) => "BYTES".to_owned(),
            Kind::Range(_) => "RANGE".to_owned(),
            Kind::Flag => "FUNCTION_FLAG".to_owned(),
            Kind::End => "$end".to_owned(),
            Kind::Function => match self.text.as_str() {
                "bytes" => "BYTES_CONV".to_owned(),
                "duration" => "DURATION_CONV".to_owned(),
                "duration_seconds" => "DURATION_SECONDS_CONV".to_owned(),
                "ip" | "label_replace" => self.text.clone(),
                name => name.to_uppercase(),
            },
            Kind::Symbol | Kind::Error => self.text.clone(),
        }
    }
}

const KEYWORDS: [&str; 24] = [
    "unwrap",
    "by",
    "without",
    "bool",
    "offset",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "or",
    "and",
    "unless",
    "json",
    "regexp",
    "logfmt",
    "unpack",
    "pattern",
    "label_format",
    "line_format",
    "decolorize",
    "drop",
    "keep",
    "variants",
    "of",
];

const FUNCTIONS: [&str; 33] = [
    "rate",
    "rate_counter",
    "count_over_time",
    "bytes_rate",
    "bytes_over_time",
    "avg_over_time",
    "sum_over_time",
    "min_over_time",
    "max_over_time",
    "stdvar_over_time",
    "stddev_over_time",
    "quantile_over_time",
    "first_over_time",
    "last_over_time",
    "absent_over_time",
    "vector",
    "sum",
    "avg",
    "max",
    "min",
    "count",
    "stddev",
    "stdvar",
    "bottomk",
    "topk",
    "sort",
    "sort_desc",
    "label_replace",
    "approx_topk",
    "bytes",
    "duration",
    "duration_seconds",
    "ip",
];

const OPERATORS: [&str; 10] = ["=~", "==", "!=", "!~", "!>", "|=", "|~", "|>", ">=", "<="];

/// All tokens, ending with one of kind `End` or `Error`.
pub(super) fn tokenize(query: &str) -> Vec<Token> {
    let mut lexer = Lexer { query, position: 0, line: 1, column: 1 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next_token();
        let last = matches!(token.kind, Kind::End | Kind::Error);
        tokens.push(token);
        if last {
            return tokens;
        }
    }
}

struct Lexer<'a> {
    query: &'a str,
    position: usize,
    line: u32,
    column: u32,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.query[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.position += c.len_utf8();
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn advance_bytes(&mut self, bytes: usize) {
        let end = self.position + bytes;
        while self.position < end {
            self.advance();
        }
    }

    fn skip_blanks_and_comments(&mut self) {
        while let Some(c) = self.peek() {
            if c == '#' {
                while self.peek().is_some_and(|c| c != '\n') {
                    self.advance();
                }
            } else if matches!(c, ' ' | '\t' | '\n' | '\r') {
                self.advance();
            } else {
                return;
            }
        }
    }

    fn next_token(&mut self) -> Token {
        self.skip_blanks_and_comments();
        let (start, line, column) = (self.position, self.line, self.column);
        let (kind, text, looked_ahead) = self.scan();
        Token {
            kind,
            text,
            span: Span { start, end: self.position },
            line: if looked_ahead { 0 } else { line },
            column,
        }
    }

    /// The next token's kind and text, and whether Loki's scanner forgets its line.
    fn scan(&mut self) -> (Kind, String, bool) {
        let Some(c) = self.peek() else { return (Kind::End, String::new(), false) };
        match c {
            '"' => self.quoted(),
            '`' => self.raw(),
            '[' => self.range(),
            '-' => self.minus(),
            c if c.is_ascii_digit() => self.number(),
            '.' if self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number(),
            c if c == '_' || c.is_alphabetic() => self.word(),
            _ => {
                if let Some(operator) = OPERATORS.iter().find(|o| self.rest().starts_with(**o)) {
                    self.advance_bytes(operator.len());
                    return (Kind::Symbol, (*operator).to_owned(), true);
                }
                self.advance();
                let known = "{}(),.=|+*/%^<>".contains(c);
                (if known { Kind::Symbol } else { Kind::Identifier }, c.to_string(), false)
            }
        }
    }

    fn quoted(&mut self) -> (Kind, String, bool) {
        let mut escaped = false;
        let mut bytes = 1;
        for c in self.rest()[1..].chars() {
            bytes += c.len_utf8();
            match c {
                '\n' => break,
                '"' if !escaped => {
                    let literal = self.rest()[1..bytes - 1].to_owned();
                    self.advance_bytes(bytes);
                    return match unquote(&literal) {
                        Some(text) => (Kind::String, text, false),
                        None => (Kind::Error, "invalid syntax".to_owned(), false),
                    };
                }
                _ => escaped = c == '\\' && !escaped,
            }
        }
        (Kind::Error, "literal not terminated".to_owned(), false)
    }

    fn raw(&mut self) -> (Kind, String, bool) {
        match self.rest()[1..].find('`') {
            Some(bytes) => {
                let text = self.rest()[1..=bytes].replace('\r', "");
                self.advance_bytes(bytes + 2);
                (Kind::String, text, false)
            }
            None => (Kind::Error, "literal not terminated".to_owned(), false),
        }
    }

    fn range(&mut self) -> (Kind, String, bool) {
        let Some(bytes) = self.rest().find(']') else {
            return (Kind::Error, "missing closing ']' in duration".to_owned(), true);
        };
        let text = self.rest()[1..bytes].to_owned();
        match units::parse_prometheus_duration(&text) {
            Ok(ns) => {
                self.advance_bytes(bytes + 1);
                (Kind::Range(ns), text, true)
            }
            Err(message) => (Kind::Error, message, true),
        }
    }

    fn minus(&mut self) -> (Kind, String, bool) {
        for flag in ["--strict", "--keep-empty"] {
            let ends = |tail: &str| !tail.starts_with(|c: char| c.is_alphabetic() || c == '-');
            if self.rest().strip_prefix(flag).is_some_and(ends) {
                self.advance_bytes(flag.len());
                return (Kind::Flag, flag.to_owned(), true);
            }
        }
        self.advance();
        if let Some(ns) = self.unit_suffix("-", is_duration_char, units::parse_duration_literal) {
            return (Kind::Duration(ns), "-".to_owned(), true);
        }
        (Kind::Symbol, "-".to_owned(), false)
    }

    fn number(&mut self) -> (Kind, String, bool) {
        let bytes = number_bytes(self.rest());
        let text = self.rest()[..bytes].to_owned();
        self.advance_bytes(bytes);
        if let Some(ns) = self.unit_suffix(&text, is_duration_char, units::parse_duration_literal) {
            return (Kind::Duration(ns), text, true);
        }
        let bytes_literal = |text: &str| units::parse_bytes(text).ok();
        if let Some(size) = self.unit_suffix(&text, |c| "BikKMGTP".contains(c), bytes_literal) {
            return (Kind::Bytes(size), text, true);
        }
        (Kind::Number, text, false)
    }

    /// Takes the characters after `number` that may belong to a literal with unit, if together they are one.
    fn unit_suffix<T>(
        &mut self,
        number: &str,
        is_unit: fn(char) -> bool,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let rest = self.rest();
        let bytes = rest.find(|c: char| !(c.is_numeric() || is_unit(c) || c == '.')).unwrap_or(rest.len());
        if bytes == 0 {
            return None;
        }
        let value = parse(&format!("{number}{}", &rest[..bytes]))?;
        self.advance_bytes(bytes);
        Some(value)
    }

    fn word(&mut self) -> (Kind, String, bool) {
        let rest = self.rest();
        let bytes = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
        let text = rest[..bytes].to_owned();
        self.advance_bytes(bytes);
        let lower = text.to_lowercase();
        if FUNCTIONS.contains(&lower.as_str()) {
            if is_call(self.rest()) {
                return (Kind::Function, lower, false);
            }
            return (Kind::Identifier, text, false);
        }
        if KEYWORDS.contains(&lower.as_str()) {
            return (Kind::Symbol, lower, false);
        }
        (Kind::Identifier, text, false)
    }
}

fn is_duration_char(c: char) -> bool {
    "nu\u{b5}mshdwy".contains(c)
}

/// Length of the number at the start of `text`, as Go's scanner reads integers and floats.
fn number_bytes(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit() || **b == b'_').count();
    if text.starts_with("0x") || text.starts_with("0X") {
        return 2 + bytes[2..].iter().take_while(|b| b.is_ascii_hexdigit()).count();
    }
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') {
        end += 1;
        end += digits(end);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = if end + 1 + sign <= bytes.len() { digits(end + 1 + sign) } else { 0 };
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    end
}

/// Whether the text after a function's name makes it a call: `(`, or a grouping and `(`.
fn is_call(rest: &str) -> bool {
    let rest = rest.trim_start();
    if rest.starts_with('(') {
        return true;
    }
    ["by", "without"].iter().any(|word| {
        rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
            && rest[word.len()..].trim_start().starts_with('(')
    })
}

/// Resolves the escapes of a Go string literal, given without its quotes.
pub(crate) fn unquote(literal: &str) -> Option<String> {
    if !literal.contains('\\') {
        return Some(literal.to_owned());
    }
    let mut out = Vec::with_capacity(literal.len());
    let mut rest = literal;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = rest[at + 1..].chars().next()?;
        rest = &rest[at + 1 + escape.len_utf8()..];
        match escape {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            '\\' | '"' => out.push(escape as u8),
            'x' => out.push(u8::try_from(take_digits(&mut rest, 2, 16)?).ok()?),
            '0'..='7' => {
                let tail = take_digits(&mut rest, 2, 8)?;
                out.push(u8::try_from((escape as u32 - '0' as u32) * 64 + tail).ok()?);
            }
            'u' | 'U' => {
                let digits = if escape == 'u' { 4 } else { 8 };
                let c = char::from_u32(take_digits(&mut rest, digits, 16)?)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return None,
        }
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8(out).ok()
}

fn take_digits(rest: &mut &str, count: usize, radix: u32) -> Option<u32> {
    let digits = rest.get(..count).filter(|digits| digits.chars().all(|c| c.is_digit(radix)))?;
    *rest = &rest[count..];
    u32::from_str_radix(digits, radix).ok()
}
