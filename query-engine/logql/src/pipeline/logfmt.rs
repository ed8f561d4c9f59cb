//! The `logfmt` parser: `key=value key="quoted value" flag` becomes labels.
//!
//! Follows go-logfmt's decoder as Loki adapted it: a bad pair is skipped up to the next blank, or ends the line and is
//! reported in strict mode.

use super::entry_labels::{CLASH_SUFFIX, EntryLabels, StageError};
use super::label_filter::CompiledLabelFilter;
use super::names::push_sanitized;

/// Settings and buffers of the parser.
#[derive(Clone, Debug)]
pub(crate) struct LogfmtParser {
    strict: bool,
    keep_empty: bool,
    /// `(label, key)`; empty: every pair.
    extractions: Vec<(String, String)>,
    early: Vec<CompiledLabelFilter>,
    name: String,
    value: String,
}

impl LogfmtParser {
    pub(crate) fn new(strict: bool, keep_empty: bool, extractions: Vec<(String, String)>) -> Self {
        Self { strict, keep_empty, extractions, early: Vec::new(), name: String::new(), value: String::new() }
    }

    /// Conditions that later stages check anyway. With a list of labels later pairs replace earlier ones, so that no
    /// value is certain before the end.
    pub(crate) fn set_early_filters(&mut self, early: Vec<CompiledLabelFilter>) {
        self.early = if self.extractions.is_empty() { early } else { Vec::new() };
    }

    /// Adds the line's pairs to `labels`; `false` when an early filter drops the line.
    pub(crate) fn parse(&mut self, line: &str, labels: &mut EntryLabels) -> bool {
        if labels.needs_nothing() {
            return true;
        }
        for (label, _) in &self.extractions {
            if !labels.clashes(label) {
                labels.set_parsed(label, "");
            }
        }
        let mut decoder = Decoder { line, position: 0, error: None };
        let mut name = std::mem::take(&mut self.name);
        let mut value = std::mem::take(&mut self.value);
        let mut kept = true;
        while kept && decoder.position < line.len() {
            let Some((key, raw)) = decoder.pair(&mut value) else {
                if self.strict {
                    break;
                }
                continue;
            };
            name.clear();
            push_sanitized(key, &mut name);
            if name.is_empty() {
                continue;
            }
            if self.extractions.is_empty() {
                kept = self.take_any(&mut name, raw, labels);
            } else {
                self.take_listed(&mut name, raw, labels);
            }
            if labels.found_all_required() {
                break;
            }
        }
        self.name = name;
        self.value = value;
        if !kept {
            return false;
        }
        if let (true, Some((position, reason))) = (self.strict, decoder.error) {
            let details = format!("logfmt syntax error at pos {position} : {reason}");
            labels.set_parser_error(StageError::Logfmt, &details);
        }
        true
    }

    /// `false` when an early filter drops the line.
    fn take_any(&self, name: &mut String, value: &str, labels: &mut EntryLabels) -> bool {
        if !labels.wanted().may_extract(name) {
            return true;
        }
        if labels.clashes(name) {
            name.push_str(CLASH_SUFFIX);
        }
        let skip = !labels.wanted().should_extract(name) || labels.is_extracted(name);
        if skip || (value.is_empty() && !self.keep_empty) {
            return true;
        }
        let replaced;
        let value = if value.contains('\u{fffd}') {
            replaced = value.replace('\u{fffd}', " ");
            replaced.as_str()
        } else {
            value
        };
        if self.early.iter().any(|filter| filter.refuses(name, value)) {
            return false;
        }
        labels.set_parsed(name, value);
        true
    }

    fn take_listed(&self, name: &mut String, value: &str, labels: &mut EntryLabels) {
        let Some((label, _)) = self.extractions.iter().find(|(_, key)| key == name) else { return };
        // As in Loki, a key whose name an earlier parser has given is not read again for another label.
        if labels.is_extracted(name) && !self.extractions.iter().any(|(label, _)| label == name) {
            return;
        }
        name.clear();
        name.push_str(label);
        if labels.clashes(name) {
            name.push_str(CLASH_SUFFIX);
        }
        labels.set_parsed(name, if value.contains('\u{fffd}') { "" } else { value });
    }
}

struct Decoder<'a> {
    line: &'a str,
    position: usize,
    /// Position counted from 1 and reason of the latest bad pair.
    error: Option<(usize, String)>,
}

impl<'a> Decoder<'a> {
    /// The next key and value; `None` at a bad pair (recorded) or when only blanks are left.
    fn pair<'b>(&mut self, buffer: &'b mut String) -> Option<(&'a str, &'b str)>
    where
        'a: 'b,
    {
        let bytes = self.line.as_bytes();
        let is_blank = |b: &u8| *b <= b' ';
        let Some(skip) = bytes[self.position..].iter().position(|b| !is_blank(b)) else {
            self.position = bytes.len();
            return None;
        };
        let start = self.position + skip;
        let stop = bytes[start..].iter().position(|b| matches!(b, b'=' | b'"') || is_blank(b));
        let end = stop.map_or(bytes.len(), |stop| start + stop);
        let key = &self.line[start..end];
        self.position = end;
        let bad_key = key.contains('\u{fffd}');
        match bytes.get(end) {
            Some(b'=') if end == start => return self.unexpected('='),
            Some(b'=') if bad_key => return self.bad_pair("invalid key".to_owned(), true),
            Some(b'=') => {}
            Some(b'"') => return self.unexpected('"'),
            _ if bad_key => return self.bad_pair("invalid key".to_owned(), false),
            _ => return Some((key, "")),
        }
        self.position += 1;
        let value_start = self.position;
        match bytes.get(value_start) {
            Some(b'"') => return self.quoted(value_start, buffer).map(|value| (key, value)),
            Some(b) if !is_blank(b) => {}
            _ => return Some((key, "")),
        }
        let stop = bytes[value_start..].iter().position(|b| matches!(b, b'=' | b'"') || is_blank(b));
        self.position = stop.map_or(bytes.len(), |stop| value_start + stop);
        match bytes.get(self.position) {
            Some(&byte @ (b'=' | b'"')) => self.unexpected(char::from(byte)),
            _ => Some((key, &self.line[value_start..self.position])),
        }
    }

    /// A value in quotes, whose first is at `start`.
    fn quoted<'b>(&mut self, start: usize, buffer: &'b mut String) -> Option<&'b str>
    where
        'a: 'b,
    {
        let Some(length) = super::json::string_end(&self.line[start + 1..]) else {
            self.position = self.line.len();
            return self.bad_pair("unterminated quoted value".to_owned(), false);
        };
        let raw = &self.line[start + 1..start + 1 + length];
        self.position = start + length + 2;
        if !raw.contains('\\') {
            return Some(raw);
        }
        if super::json::unescape(raw, buffer).is_none() {
            return self.bad_pair("invalid quoted value".to_owned(), false);
        }
        Some(buffer)
    }

    fn unexpected<T>(&mut self, c: char) -> Option<T> {
        self.bad_pair(format!("unexpected '{c}'"), true)
    }

    /// Records a bad pair; `skip` passes over the rest of it.
    fn bad_pair<T>(&mut self, reason: String, skip: bool) -> Option<T> {
        self.error = Some((self.position + 1, reason));
        if skip {
            let rest = &self.line.as_bytes()[self.position..];
            self.position += rest.iter().position(|b| *b <= b' ').unwrap_or(rest.len());
        }
        None
    }
}
