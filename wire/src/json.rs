//! A pull lexer for JSON text: what the codecs of this crate read JSON with, in one pass and without a tree.
//!
//! It follows RFC 8259 strictly, with one leniency: an unpaired surrogate escape becomes U+FFFD, as Go's
//! `encoding/json` does. The caller decides what a value is to be; what it does not want it skips.
//!
//! - JSON-1: skipping nests at most [`SKIP_DEPTH_MAX`] deep; what a caller descends into, it caps itself.

use std::fmt;

use memchr::memchr2;

use crate::DecodeError;

/// Deepest nesting of values that are skipped.
pub(crate) const SKIP_DEPTH_MAX: usize = 128;

/// What went wrong where, on its way up to the name of the place.
#[derive(Debug)]
pub(crate) struct JsonError(Box<Place>);

#[derive(Debug)]
struct Place {
    path: String,
    message: String,
    offset: usize,
}

impl JsonError {
    /// Puts `.name` before the path.
    #[cold]
    pub(crate) fn in_field(mut self, name: &str) -> Self {
        let joint = if self.0.path.is_empty() || self.0.path.starts_with('[') { "" } else { "." };
        self.0.path = format!("{name}{joint}{}", self.0.path);
        self
    }

    /// Puts `[index]` before the path.
    #[cold]
    pub(crate) fn in_element(mut self, index: usize) -> Self {
        let joint = if self.0.path.is_empty() || self.0.path.starts_with('[') { "" } else { "." };
        self.0.path = format!("[{index}]{joint}{}", self.0.path);
        self
    }
}

impl From<JsonError> for DecodeError {
    fn from(error: JsonError) -> Self {
        let Place { path, message, offset } = *error.0;
        let joint = if path.is_empty() { "" } else { ": " };
        Self::invalid(format!("json: {path}{joint}{message} at byte {offset}"))
    }
}

/// Reads JSON text from front to end.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    position: usize,
    /// Where strings with escapes are spelled out.
    scratch: String,
}

impl<'a> Lexer<'a> {
    /// Starts at the front of `bytes`, which must be UTF-8.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, JsonError> {
        let valid = str::from_utf8(bytes);
        let text = valid.map_err(|error| at(error.valid_up_to(), "invalid utf-8"))?;
        Ok(Self { text, position: 0, scratch: String::new() })
    }

    /// The next value's first byte, with white space before it skipped; `None` at the end.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.position) {
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => self.position += 1,
                _ => return Some(*byte),
            }
        }
        None
    }

    /// An error at the current position.
    #[cold]
    pub(crate) fn error(&self, message: impl fmt::Display) -> JsonError {
        at(self.position, message)
    }

    /// The error for a value of another type than `expected`.
    #[cold]
    pub(crate) fn unexpected(&mut self, expected: &str) -> JsonError {
        let got = match self.peek() {
            None => "the end",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            Some(b'-' | b'0'..=b'9') => "a number",
            Some(_) => {
                let character = self.text[self.position..].chars().next().unwrap_or_default();
                return self.error(format_args!("got {character:?}, expected {expected}"));
            }
        };
        self.error(format_args!("got {got}, expected {expected}"))
    }

    /// Takes `byte` if it is next.
    #[inline]
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.position += usize::from(found);
        found
    }

    /// Takes `byte`, which must be next.
    #[inline]
    pub(crate) fn expect(&mut self, byte: u8, name: &str) -> Result<(), JsonError> {
        if self.take(byte) { Ok(()) } else { Err(self.unexpected(name)) }
    }

    /// Goes on in an object or array that ends with `close`: false when it ended. `first` starts as true.
    #[inline]
    pub(crate) fn next_element(&mut self, first: &mut bool, close: u8) -> Result<bool, JsonError> {
        if self.take(close) {
            return Ok(false);
        }
        if !std::mem::replace(first, false) {
            self.expect(b',', if close == b']' { "',' or ']'" } else { "',' or '}'" })?;
        }
        Ok(true)
    }

    /// Takes an object (or `null`, as an empty one) and calls `each` for every entry whose value is not `null`, to
    /// take or skip the value. For small messages: it copies the names.
    pub(crate) fn object(
        &mut self,
        mut each: impl FnMut(&mut Self, &str) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        if self.take_null()? {
            return Ok(());
        }
        self.expect(b'{', "an object")?;
        let mut first = true;
        while self.next_element(&mut first, b'}')? {
            let name = self.string()?.to_owned();
            self.expect(b':', "':'")?;
            if !self.take_null()? {
                each(self, &name).map_err(|error| error.in_field(&name))?;
            }
        }
        Ok(())
    }

    /// Takes an array (or `null`, as an empty one) and calls `each` to take or skip every element.
    pub(crate) fn array(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        if self.take_null()? {
            return Ok(());
        }
        self.expect(b'[', "an array")?;
        let (mut first, mut index) = (true, 0);
        while self.next_element(&mut first, b']')? {
            each(self).map_err(|error| error.in_element(index))?;
            index += 1;
        }
        Ok(())
    }

    /// Takes `null` if it is next.
    #[inline]
    pub(crate) fn take_null(&mut self) -> Result<bool, JsonError> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.literal("null")?;
        Ok(true)
    }

    /// Takes `true` or `false`.
    pub(crate) fn boolean(&mut self) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b't') => self.literal("true").map(|()| true),
            Some(b'f') => self.literal("false").map(|()| false),
            _ => Err(self.unexpected("a boolean")),
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), JsonError> {
        let rest = &self.text.as_bytes()[self.position..];
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.error(format_args!("misspelled {word}")));
        }
        self.position += word.len();
        Ok(())
    }

    /// Takes a number and gives its text.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<&'a str, JsonError> {
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return Err(self.unexpected("a number"));
        }
        let start = self.position;
        let rest = &self.text.as_bytes()[start..];
        let digits = |from: usize| rest[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut len = usize::from(rest[0] == b'-');
        let whole = digits(len);
        let leading_zero = whole > 1 && rest[len] == b'0';
        len += whole;
        let mut valid = whole > 0 && !leading_zero;
        if rest.get(len) == Some(&b'.') {
            let fraction = digits(len + 1);
            valid &= fraction > 0;
            len += 1 + fraction;
        }
        if let Some(b'e' | b'E') = rest.get(len) {
            let sign = usize::from(matches!(rest.get(len + 1), Some(b'+' | b'-')));
            let exponent = digits((len + 1 + sign).min(rest.len()));
            valid &= exponent > 0;
            len += 1 + sign + exponent;
        }
        if !valid {
            return Err(self.error("malformed number"));
        }
        self.position += len;
        Ok(&self.text[start..start + len])
    }

    /// Takes a string; the text is good until the next call.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<&str, JsonError> {
        self.expect(b'"', "a string")?;
        let start = self.position;
        let rest = &self.text.as_bytes()[start..];
        let Some(len) = memchr2(b'"', b'\\', rest) else { return Err(self.error("string without an end")) };
        self.refuse_controls(start, start + len)?;
        if rest[len] == b'"' {
            self.position = start + len + 1;
            return Ok(&self.text[start..start + len]);
        }
        self.scratch.clear();
        self.string_with_escapes()?;
        Ok(&self.scratch)
    }

    fn string_with_escapes(&mut self) -> Result<(), JsonError> {
        loop {
            let start = self.position;
            let rest = &self.text.as_bytes()[start..];
            let Some(len) = memchr2(b'"', b'\\', rest) else {
                return Err(self.error("string without an end"));
            };
            self.refuse_controls(start, start + len)?;
            self.scratch.push_str(&self.text[start..start + len]);
            self.position = start + len + 1;
            if rest[len] == b'"' {
                return Ok(());
            }
            let character = self.escape()?;
            self.scratch.push(character);
        }
    }

    fn refuse_controls(&self, start: usize, end: usize) -> Result<(), JsonError> {
        let bytes = &self.text.as_bytes()[start..end];
        // A fold without an early exit becomes vector code.
        if !bytes.iter().fold(false, |found, byte| found | (*byte < 0x20)) {
            return Ok(());
        }
        let offset = bytes.iter().position(|byte| *byte < 0x20).unwrap_or_default();
        Err(at(start + offset, "control character in a string"))
    }

    /// One escape, of which the backslash is taken.
    fn escape(&mut self) -> Result<char, JsonError> {
        let Some(byte) = self.text.as_bytes().get(self.position) else {
            return Err(self.error("string without an end"));
        };
        let character = match byte {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(self.error("unknown escape in a string")),
        };
        self.position += 1;
        Ok(character)
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let high = self.code_unit()?;
        if !(0xd800..0xdc00).contains(&high) {
            return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let after_high = self.position;
        if self.text.as_bytes()[after_high..].starts_with(b"\\u") {
            self.position += 1;
            let low = self.code_unit()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.position = after_high;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    /// `uXXXX`
    fn code_unit(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.as_bytes().get(self.position + 1..self.position + 5);
        let hex = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let Some(hex) = hex else { return Err(self.error("\\u needs four hex digits")) };
        self.position += 5;
        Ok(hex.iter().fold(0, |unit, digit| unit << 4 | (*digit as char).to_digit(16).unwrap_or_default()))
    }

    /// Skips one value of any type.
    pub(crate) fn skip(&mut self) -> Result<(), JsonError> {
        self.skip_nested(SKIP_DEPTH_MAX)
    }

    fn skip_nested(&mut self, depth: usize) -> Result<(), JsonError> {
        let close = match self.peek() {
            Some(b'{') => b'}',
            Some(b'[') => b']',
            Some(b'"') => return self.string().map(drop),
            Some(b't' | b'f') => return self.boolean().map(drop),
            Some(b'n') => return self.literal("null"),
            Some(b'-' | b'0'..=b'9') => return self.number().map(drop),
            _ => return Err(self.unexpected("a value")),
        };
        if depth == 0 {
            return Err(self.error(format_args!("values nest deeper than {SKIP_DEPTH_MAX}")));
        }
        self.position += 1;
        let mut first = true;
        while self.next_element(&mut first, close)? {
            if close == b'}' {
                self.string()?;
                self.expect(b':', "':'")?;
            }
            self.skip_nested(depth - 1)?;
        }
        Ok(())
    }

    /// Nothing but white space may be left.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        if self.peek().is_none() { Ok(()) } else { Err(self.unexpected("the end")) }
    }
}

#[cold]
fn at(offset: usize, message: impl fmt::Display) -> JsonError {
    JsonError(Box::new(Place { path: String::new(), message: message.to_string(), offset }))
}

fn needs_escape(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

/// Appends `text` as a JSON string.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    // A fold without an early exit becomes vector code, and most texts need no escape.
    if bytes.iter().fold(true, |plain, byte| plain & !needs_escape(*byte)) {
        out.extend_from_slice(bytes);
        out.push(b'"');
        return;
    }
    let mut copied = 0;
    for (index, byte) in bytes.iter().enumerate() {
        if !needs_escape(*byte) {
            continue;
        }
        out.extend_from_slice(&bytes[copied..index]);
        copied = index + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.extend([HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]]);
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
