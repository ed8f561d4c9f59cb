//! Label strings: `{name="value", …}`, with the strings and escapes of PromQL.

use std::collections::BTreeMap;

use model::{Labels, METRIC_NAME};

use crate::DecodeError;
use crate::otlp_to_loki::is_label_name;

/// Reads a stream's labels as Loki's `syntax.ParseLabels` does: a metric in PromQL's notation, empty values left out.
/// No text at all has no labels. The error begins as Loki's, the position counts bytes from 1.
pub fn parse_labels(text: &str) -> Result<Labels, DecodeError> {
    if text.is_empty() {
        return Ok(Labels::default());
    }
    let mut reader = Reader { text, rest: text };
    reader.labels().map_err(|message| couldnt_parse(reader.position(), &message))
}

/// Labels of a JSON object. Loki reads the label string that they make, so what is wrong with a name is told by where it
/// is there.
pub(super) fn of_map(pairs: &BTreeMap<String, String>) -> Result<Labels, DecodeError> {
    if pairs.keys().all(|name| is_label_name(name)) {
        return Ok(Labels::from_pairs(pairs));
    }
    parse_labels(&text_of(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))))
}

/// The label string that [`parse_labels`] reads back.
pub(super) fn to_text(labels: &Labels) -> String {
    text_of(labels.iter())
}

fn text_of<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::from("{");
    for (index, (name, value)) in labels.enumerate() {
        text.push_str(if index > 0 { ", " } else { "" });
        text.push_str(name);
        text.push_str("=\"");
        for character in value.chars() {
            match character {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                _ => text.push(character),
            }
        }
        text.push('"');
    }
    text.push('}');
    text
}

#[cold]
fn couldnt_parse(position: usize, message: &str) -> DecodeError {
    DecodeError::invalid(format!("couldn't parse labels: 1:{position}: parse error: {message}"))
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn position(&self) -> usize {
        self.text.len() - self.rest.len() + 1
    }

    fn labels(&mut self) -> Result<Labels, String> {
        let mut pairs = BTreeMap::new();
        if let Some(name) = self.take_name() {
            pairs.insert(METRIC_NAME.to_owned(), name.to_owned());
        }
        self.expect('{')?;
        while !self.take('}') {
            let name = self.take_name().ok_or_else(|| self.unexpected("a label name or \"}\""))?;
            self.expect('=')?;
            let value = self.string()?;
            if pairs.insert(name.to_owned(), value).is_some() {
                return Err(format!("label {name} comes twice"));
            }
            if !self.take(',') {
                self.expect('}')?;
                break;
            }
        }
        self.skip_space();
        if !self.rest.is_empty() {
            return Err(self.unexpected("the end"));
        }
        Ok(Labels::from_pairs(&pairs))
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, character: char) -> bool {
        self.skip_space();
        let after = self.rest.strip_prefix(character);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn expect(&mut self, character: char) -> Result<(), String> {
        if self.take(character) { Ok(()) } else { Err(self.unexpected(&format!("{character:?}"))) }
    }

    fn unexpected(&self, expected: &str) -> String {
        // What the lexer of PromQL knows between braces (promql/parser/lex.go).
        let is_known = |c: char| c.is_ascii_alphabetic() || "_{},=!\"'`#".contains(c);
        match self.rest.chars().next() {
            Some(character) if !is_known(character) => {
                format!("unexpected character inside braces: '{character}'")
            }
            Some(character) => format!("unexpected {character:?}, expected {expected}"),
            None => format!("unexpected end of input, expected {expected}"),
        }
    }

    fn take_name(&mut self) -> Option<&'a str> {
        self.skip_space();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let len = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(len);
        if !is_label_name(name) {
            return None;
        }
        self.rest = rest;
        Some(name)
    }

    fn string(&mut self) -> Result<String, String> {
        self.skip_space();
        let quote = match self.rest.chars().next() {
            Some(quote @ ('"' | '\'' | '`')) => quote,
            _ => return Err(self.unexpected("a string")),
        };
        self.rest = &self.rest[1..];
        let mut bytes = Vec::new();
        loop {
            let stop = self.rest.find(|c| c == quote || (quote != '`' && matches!(c, '\\' | '\n')));
            let stop = stop.ok_or_else(|| "unterminated quoted string".to_owned())?;
            bytes.extend_from_slice(&self.rest.as_bytes()[..stop]);
            let found = self.rest.as_bytes()[stop];
            self.rest = &self.rest[stop + 1..];
            match found {
                b'\\' => self.escape(quote, &mut bytes)?,
                b'\n' => return Err("unterminated quoted string".to_owned()),
                _ => break,
            }
        }
        String::from_utf8(bytes).map_err(|_| "label value is not valid utf-8".to_owned())
    }

    /// An escape, its backslash read.
    fn escape(&mut self, quote: char, out: &mut Vec<u8>) -> Result<(), String> {
        let unknown = || "unknown escape sequence".to_owned();
        let character = self.rest.chars().next().ok_or_else(unknown)?;
        let byte = match character {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' => b'\\',
            _ if character == quote => quote as u8,
            'x' => return self.code(1, 2, 16, |code| out.push(code as u8)),
            '0'..='7' => {
                return self.code(0, 3, 8, |code| out.push(code as u8));
            }
            'u' | 'U' => {
                let mut decoded = None;
                let digits = if character == 'u' { 4 } else { 8 };
                self.code(1, digits, 16, |code| decoded = char::from_u32(code))?;
                let decoded = decoded.ok_or("escape sequence is an invalid Unicode code point")?;
                out.extend_from_slice(decoded.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(unknown()),
        };
        self.rest = &self.rest[1..];
        out.push(byte);
        Ok(())
    }

    /// The digits of a code, after `skip` bytes.
    fn code(&mut self, skip: usize, digits: usize, radix: u32, take: impl FnOnce(u32)) -> Result<(), String> {
        let text = self.rest.get(skip..skip + digits).filter(|text| text.chars().all(|c| c.is_digit(radix)));
        let code = text.and_then(|text| u32::from_str_radix(text, radix).ok());
        let code = code.filter(|code| radix != 8 || *code <= u8::MAX.into());
        take(code.ok_or("illegal character in escape sequence")?);
        self.rest = &self.rest[skip + digits..];
        Ok(())
    }
}
