//! Text to tokens. Inside braces keywords are plain identifiers, inside brackets only durations are read.
//!
//! Error texts are those of Prometheus (promql/parser/lex.go).

use super::quote::quote_char;
use super::span::Span;
use super::token::{Token, TokenKind, keyword};
use crate::error::PromqlError;

/// Reads all tokens of `query`, the last being `Eof`. A lexical error does not stop the reading of what comes before:
/// it is returned beside the tokens, since an earlier syntax error is the one to report.
pub(crate) fn tokenize(query: &str) -> (Vec<Token<'_>>, Option<PromqlError>) {
    let mut lexer = Lexer {
        query,
        pos: 0,
        tokens: Vec::new(),
        paren_depth: 0,
        in_braces: false,
        in_brackets: false,
        got_colon: false,
        got_duration: false,
        got_number: false,
    };
    let error = lexer.run().err();
    let end = query.len();
    lexer.tokens.push(Token { kind: TokenKind::Eof, span: Span::new(end, end), text: "" });
    (lexer.tokens, error)
}

struct Lexer<'q> {
    query: &'q str,
    pos: usize,
    tokens: Vec<Token<'q>>,
    paren_depth: i64,
    in_braces: bool,
    in_brackets: bool,
    got_colon: bool,
    got_duration: bool,
    got_number: bool,
}

type LexResult<T> = Result<T, PromqlError>;

impl<'q> Lexer<'q> {
    fn run(&mut self) -> LexResult<()> {
        loop {
            self.skip_blank();
            let start = self.pos;
            let Some(c) = self.peek() else {
                return self.finish(start);
            };
            if self.in_braces {
                self.inside_braces(c, start)?;
            } else if self.in_brackets {
                self.inside_brackets(c, start)?;
            } else {
                self.statement(c, start)?;
            }
        }
    }

    /// Skips white space and, outside brackets, comments.
    fn skip_blank(&mut self) {
        loop {
            let rest = &self.query[self.pos..];
            self.pos += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
            if self.in_brackets || self.peek() != Some('#') {
                return;
            }
            let rest = &self.query[self.pos..];
            self.pos += rest.find(['\n', '\r']).unwrap_or(rest.len());
        }
    }

    fn finish(&self, start: usize) -> LexResult<()> {
        if self.in_braces {
            Err(self.error(start, "unexpected end of input inside braces"))
        } else if self.in_brackets && !self.got_number {
            Err(self.error(start, "unexpected end of input in duration expression"))
        } else if self.paren_depth != 0 {
            Err(self.error(start, "unclosed left parenthesis"))
        } else if self.in_brackets {
            Err(self.error(start, "unclosed left bracket"))
        } else {
            Ok(())
        }
    }

    fn statement(&mut self, c: char, start: usize) -> LexResult<()> {
        use TokenKind as K;
        let second = self.query[self.pos + c.len_utf8()..].chars().next();
        let kind = match c {
            ',' | '*' | '/' | '%' | '+' | '-' | '^' => arithmetic(c),
            '@' => K::At,
            '=' => match second {
                Some('=') => K::Equal,
                Some('~') => {
                    return Err(self.error(start, "unexpected character after '=': '~'"));
                }
                _ => K::Assign,
            },
            '!' if second == Some('=') => K::NotEqual,
            '!' => {
                let shown = second.map_or_else(|| "'\\uffff'".to_owned(), quote_char);
                return Err(self.error(start, &format!("unexpected character after '!': {shown}")));
            }
            '<' => match second {
                Some('=') => K::LessEqual,
                Some('/') => K::TrimUpper,
                _ => K::Less,
            },
            '>' => match second {
                Some('=') => K::GreaterEqual,
                Some('/') => K::TrimLower,
                _ => K::Greater,
            },
            '(' => {
                self.paren_depth += 1;
                K::LeftParen
            }
            ')' => self.right_paren(start)?,
            '{' => {
                self.in_braces = true;
                K::LeftBrace
            }
            '[' => {
                self.in_brackets = true;
                self.got_colon = false;
                self.got_duration = false;
                self.got_number = false;
                K::LeftBracket
            }
            ']' => return Err(self.error(start, "unexpected right bracket ']'")),
            '"' | '\'' | '`' => return self.string(c, start),
            '0'..='9' => return self.number_or_duration(start),
            '.' if second.is_some_and(|d| d.is_ascii_digit()) => return self.number_or_duration(start),
            c if c == ':' || is_alpha(c) => {
                self.word();
                return Ok(());
            }
            c => return Err(self.error(start, &format!("unexpected character: {}", quote_char(c)))),
        };
        let len = match kind {
            K::Equal | K::NotEqual | K::LessEqual | K::TrimUpper | K::GreaterEqual | K::TrimLower => 2,
            _ => 1,
        };
        self.emit(kind, len);
        Ok(())
    }

    fn inside_braces(&mut self, c: char, start: usize) -> LexResult<()> {
        use TokenKind as K;
        let second = self.query[self.pos + c.len_utf8()..].chars().next();
        match c {
            ',' => self.emit(K::Comma, 1),
            '"' | '\'' | '`' => return self.string(c, start),
            '=' if second == Some('~') => self.emit(K::RegexMatch, 2),
            '=' => self.emit(K::Assign, 1),
            '!' => match second {
                Some('~') => self.emit(K::RegexNoMatch, 2),
                Some('=') => self.emit(K::NotEqual, 2),
                other => {
                    let shown = other.map_or_else(|| "'\\uffff'".to_owned(), quote_char);
                    let text = format!("unexpected character after '!' inside braces: {shown}");
                    return Err(self.error(start, &text));
                }
            },
            '{' => return Err(self.error(start, "unexpected left brace '{'")),
            '}' => {
                self.emit(K::RightBrace, 1);
                self.in_braces = false;
            }
            c if is_alpha(c) => {
                let len = self.take_while(|c| is_alpha(c) || c.is_ascii_digit());
                self.emit(K::Identifier, len);
            }
            c => {
                let text = format!("unexpected character inside braces: {}", quote_char(c));
                return Err(self.error(start, &text));
            }
        }
        Ok(())
    }

    fn inside_brackets(&mut self, c: char, start: usize) -> LexResult<()> {
        use TokenKind as K;
        let second = self.query[self.pos + c.len_utf8()..].chars().next();
        let kind = match c {
            ']' => {
                self.in_brackets = false;
                K::RightBracket
            }
            ':' => {
                if !self.got_duration {
                    let text = "unexpected colon before duration in duration expression";
                    return Err(self.error(start + 1, text));
                }
                if self.got_colon {
                    return Err(self.error(start, "unexpected colon ':'"));
                }
                self.got_colon = true;
                K::Colon
            }
            '(' => {
                self.paren_depth += 1;
                K::LeftParen
            }
            ')' => self.right_paren(start)?,
            ',' | '*' | '/' | '%' | '+' | '-' | '^' => arithmetic(c),
            'a'..='z' | 'A'..='Z' => {
                let len = self.take_while(is_alpha);
                let kind = keyword(&self.query[start..start + len])
                    .filter(|k| matches!(k, K::Step | K::Range | K::MaxOf | K::MinOf));
                let Some(kind) = kind else {
                    // Behind the first number Prometheus' lexer has left its state for durations.
                    let text = if self.got_number {
                        format!("unexpected character: {}, expected ':'", quote_char(c))
                    } else {
                        format!("unexpected character in duration expression: {}", quote_char(c))
                    };
                    return Err(self.error(start, &text));
                };
                if matches!(kind, K::Step | K::Range) {
                    self.got_duration = true;
                }
                self.emit(kind, len);
                return Ok(());
            }
            '0'..='9' => {
                self.got_duration = true;
                return self.number_or_duration(start);
            }
            '.' if second.is_some_and(|d| d.is_ascii_digit()) => {
                self.got_duration = true;
                return self.number_or_duration(start);
            }
            c => {
                let text = format!("unexpected character in duration expression: {}", quote_char(c));
                return Err(self.error(start, &text));
            }
        };
        self.emit(kind, 1);
        Ok(())
    }

    fn right_paren(&mut self, start: usize) -> LexResult<TokenKind> {
        self.paren_depth -= 1;
        if self.paren_depth < 0 {
            return Err(self.error(start + 1, "unexpected right parenthesis ')'"));
        }
        Ok(TokenKind::RightParen)
    }

    fn word(&mut self) {
        let len = self.take_while(|c| is_alpha(c) || c.is_ascii_digit() || c == ':');
        let word = &self.query[self.pos..self.pos + len];
        let kind = match keyword(word) {
            // The fill modifiers are words like any other unless a parenthesis follows.
            Some(TokenKind::Fill | TokenKind::FillLeft | TokenKind::FillRight)
                if !self.query[self.pos + len..]
                    .trim_start_matches([' ', '\t', '\n', '\r'])
                    .starts_with('(') =>
            {
                TokenKind::Identifier
            }
            Some(kind) => kind,
            None if word.contains(':') => TokenKind::MetricIdentifier,
            None => TokenKind::Identifier,
        };
        self.emit(kind, len);
    }

    fn string(&mut self, quote: char, start: usize) -> LexResult<()> {
        let mut chars = self.query[start + 1..].char_indices().map(|(i, c)| (start + 1 + i, c));
        loop {
            match chars.next() {
                None if quote == '`' => return Err(self.error(start, "unterminated raw string")),
                None => return Err(self.error(start, "unterminated quoted string")),
                Some((_, '\n')) if quote != '`' => {
                    return Err(self.error(start, "unterminated quoted string"));
                }
                Some((at, c)) if c == quote => {
                    self.emit(TokenKind::String, at + 1 - start);
                    return Ok(());
                }
                Some((_, '\\')) if quote != '`' => self.escape(quote, start, &mut chars)?,
                Some(_) => {}
            }
        }
    }

    /// Checks one escape sequence whose backslash is taken.
    fn escape(
        &self,
        quote: char,
        start: usize,
        chars: &mut impl Iterator<Item = (usize, char)>,
    ) -> LexResult<()> {
        let (digits, base, max) = match chars.next() {
            None => return Err(self.error(start, "escape sequence not terminated")),
            Some((_, 'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\')) => return Ok(()),
            Some((_, c)) if c == quote => return Ok(()),
            Some((_, c @ '0'..='7')) => {
                let first = c.to_digit(8).expect("an octal digit");
                return self.escape_digits(start, chars, first, 2, 8, 255);
            }
            Some((_, 'x')) => (2, 16, 255),
            Some((_, 'u')) => (4, 16, 0x10ffff),
            Some((_, 'U')) => (8, 16, 0x10ffff),
            Some((_, c)) => {
                return Err(self.error(start, &format!("unknown escape sequence {}", code_point(c))));
            }
        };
        self.escape_digits(start, chars, 0, digits, base, max)
    }

    fn escape_digits(
        &self,
        start: usize,
        chars: &mut impl Iterator<Item = (usize, char)>,
        first: u32,
        digits: usize,
        base: u32,
        max: u32,
    ) -> LexResult<()> {
        let mut value = first;
        for _ in 0..digits {
            let Some((_, c)) = chars.next() else {
                return Err(self.error(start, "escape sequence not terminated"));
            };
            let Some(digit) = c.to_digit(base) else {
                let text = format!("illegal character {} in escape sequence", code_point(c));
                return Err(self.error(start, &text));
            };
            value = value.wrapping_mul(base).wrapping_add(digit);
        }
        if value > max || (0xd800..0xe000).contains(&value) {
            return Err(self.error(start, "escape sequence is an invalid Unicode code point"));
        }
        Ok(())
    }

    fn number_or_duration(&mut self, start: usize) -> LexResult<()> {
        self.got_number = true;
        let rest = &self.query[start..];
        let read = match scan_number(rest) {
            Ok(len) => {
                self.emit(TokenKind::Number, len);
                return Ok(());
            }
            Err(read) => read,
        };
        match scan_duration(rest, read) {
            Ok(len) => {
                self.emit(TokenKind::Duration, len);
                Ok(())
            }
            Err(read) => {
                let shown = super::quote::quote(&rest[..read]);
                Err(self.error(start, &format!("bad number or duration syntax: {shown}")))
            }
        }
    }

    fn take_while(&self, test: impl Fn(char) -> bool) -> usize {
        let rest = &self.query[self.pos..];
        rest.find(|c| !test(c)).unwrap_or(rest.len())
    }

    fn peek(&self) -> Option<char> {
        self.query[self.pos..].chars().next()
    }

    fn emit(&mut self, kind: TokenKind, len: usize) {
        let span = Span::new(self.pos, self.pos + len);
        self.tokens.push(Token { kind, span, text: &self.query[span.start..span.end] });
        self.pos = span.end;
    }

    fn error(&self, start: usize, text: &str) -> PromqlError {
        PromqlError::parse(self.query, Span::new(start, self.query.len()), text)
    }
}

/// What stands between operands and means the same in durations.
fn arithmetic(c: char) -> TokenKind {
    match c {
        '*' => TokenKind::Mul,
        '/' => TokenKind::Div,
        '%' => TokenKind::Mod,
        '+' => TokenKind::Add,
        '-' => TokenKind::Sub,
        '^' => TokenKind::Pow,
        _ => TokenKind::Comma,
    }
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn code_point(c: char) -> String {
    format!("U+{:04X} {}", c as u32, quote_char(c))
}

/// Length of the number at the start of `text`, or how far it was read until it turned out to be none.
fn scan_number(text: &str) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    let hex = bytes.len() > 1 && bytes[0] == b'0' && matches!(bytes[1], b'x' | b'X');
    if hex {
        at = 2;
        if bytes.get(at) == Some(&b'_') {
            at += 1;
        }
    }
    let is_digit = |b: u8| if hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
    let (mut dot, mut exponent) = (false, false);
    let begin = at;
    while let Some(&b) = bytes.get(at) {
        let next = bytes.get(at + 1).copied();
        match b {
            b if is_digit(b) => at += 1,
            b'.' => {
                if dot {
                    return Err(at + 1);
                }
                if matches!(next, Some(b'_' | b'.')) {
                    return Err(at + 2);
                }
                if hex {
                    return Err(at + 1);
                }
                dot = true;
                at += 1;
            }
            b'e' | b'E' => {
                if exponent {
                    return Err(at + 1);
                }
                exponent = true;
                at += 1;
                if matches!(bytes.get(at), Some(b'+' | b'-')) {
                    at += 1;
                }
                match bytes.get(at) {
                    None => return Err(at),
                    Some(b'.' | b'_' | b'e' | b'E') => return Err(at + 1),
                    Some(_) => {}
                }
            }
            b'_' => match next {
                None => return Err(at + 1),
                Some(b'.' | b'_' | b'e' | b'E') => return Err(at + 2),
                Some(_) => at += 1,
            },
            _ => break,
        }
    }
    let follows = bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    if at > begin && !follows { Ok(at) } else { Err(at) }
}

/// Length of a duration of which `at` bytes are read (its first number); its units are checked later.
fn scan_duration(text: &str, mut at: usize) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let is = |at: usize, set: &[u8]| bytes.get(at).is_some_and(|b| set.contains(b));
    if !is(at, b"smhdwy") {
        return Err(at);
    }
    at += 1;
    at += usize::from(is(at, b"s"));
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        if !is(at, b"smhdw") {
            return Err(at);
        }
        at += 1;
        at += usize::from(is(at, b"s"));
    }
    let follows = bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    if follows { Err(at + 1) } else { Ok(at) }
}
