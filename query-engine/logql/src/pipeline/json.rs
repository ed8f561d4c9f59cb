//! The `json` parser: object members become labels, nested names joined by `_`.
//!
//! The walk is as forgiving as Loki's: members before a defect are kept, text after the closing brace is ignored,
//! numbers are not checked. Error texts are those of its parser (grafana/jsonparser), which users see in
//! `__error_details__`. Depth is bounded (JSON-1), because a line may be nothing but braces.

use super::entry_labels::{CLASH_SUFFIX, EntryLabels, StageError};
use super::label_filter::CompiledLabelFilter;
use super::names::push_sanitized;

/// Members below this depth are skipped, as arrays are.
const DEPTH_MAX: usize = 64;

/// Kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonKind {
    /// Without its quotes, escapes unresolved.
    String,
    Number,
    Boolean,
    Null,
    Object,
    Array,
}

/// Why a walk ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonStop {
    /// The line is damaged here.
    Malformed(&'static str),
    /// Nothing more is needed.
    Enough,
    /// A filter drops the line.
    Refused,
}

pub(super) const MALFORMED: JsonStop = JsonStop::Malformed("Malformed JSON error");
const MALFORMED_STRING: JsonStop = JsonStop::Malformed("Value is string, but can't find closing '\"' symbol");
const MALFORMED_ARRAY: JsonStop = JsonStop::Malformed("Value is array, but can't find closing ']' symbol");
const MALFORMED_OBJECT: JsonStop =
    JsonStop::Malformed("Value looks like object, but can't find closing '}' symbol");
const UNKNOWN_VALUE: JsonStop = JsonStop::Malformed("Unknown value type");
const TOO_MUCH: JsonStop = JsonStop::Malformed("labels of the line would be too long");
const BAD_ESCAPE: JsonStop = JsonStop::Malformed("Encountered an invalid escape sequence in a string");

/// Bytes of labels that one line may make: each member's name has those of all objects around it, so that one long key
/// above many members would make the square of the line's length.
const LABEL_BYTES_MAX: usize = 64 << 20;
/// How many places of an object are remembered: lines with more members are rare.
const PLACES_MAX: usize = 64;
/// Longer keys are not remembered.
const REMEMBERED_KEY_MAX: usize = 64;

/// Buffers of the parser, reused from line to line.
#[derive(Clone, Debug, Default)]
pub(crate) struct JsonParser {
    early: Vec<CompiledLabelFilter>,
    /// Keys as they stand in the line, by their place in it, below which no label is wanted. Most lines of a stream
    /// have the same keys in the same order: one comparison then passes a member over. Empty where none is known.
    unwanted: Vec<String>,
    name: String,
    value: String,
    key: String,
}

impl JsonParser {
    /// Conditions that later stages check anyway.
    pub(crate) fn set_early_filters(&mut self, early: Vec<CompiledLabelFilter>) {
        self.early = early;
    }

    /// Adds the line's members to `labels`; `false` when an early filter drops the line.
    pub(crate) fn parse(&mut self, line: &str, labels: &mut EntryLabels) -> bool {
        if labels.needs_nothing() {
            return true;
        }
        self.name.clear();
        match self.object(line, labels, 0) {
            Err(JsonStop::Refused) => return false,
            Err(JsonStop::Malformed(reason)) => labels.set_parser_error(StageError::Json, reason),
            Ok(()) | Err(JsonStop::Enough) => {}
        }
        true
    }

    fn object(&mut self, object: &str, labels: &mut EntryLabels, depth: usize) -> Result<(), JsonStop> {
        let mut members = Members::new(object)?;
        let mut places = 0..if depth == 0 { PLACES_MAX } else { 0 };
        while let Some((key, kind, value)) = members.next()? {
            let place = places.next();
            if place
                .and_then(|place| self.unwanted.get(place))
                .is_some_and(|unwanted| unwanted == key && !key.is_empty())
            {
                if kind != JsonKind::Object && labels.found_all_required() {
                    return Err(JsonStop::Enough);
                }
                continue;
            }
            let mut unescaped = std::mem::take(&mut self.key);
            let result = match unescape(key, &mut unescaped) {
                Some(key) => self.member(key, kind, value, labels, depth),
                None => Err(BAD_ESCAPE),
            };
            self.key = unescaped;
            if !result? {
                place.into_iter().for_each(|place| self.remember_unwanted(place, key));
            }
        }
        Ok(())
    }

    /// One member; `self.name` holds the joined names of the objects around it. Tells whether a label of this name, or
    /// of one below it, may be wanted.
    fn member(
        &mut self,
        key: &str,
        kind: JsonKind,
        value: &str,
        labels: &mut EntryLabels,
        depth: usize,
    ) -> Result<bool, JsonStop> {
        let prefix_len = self.name.len();
        let mut wanted = true;
        match kind {
            JsonKind::Object => {
                self.push_name(key);
                wanted = labels.wanted().should_extract_below(&self.name);
                let mut result = Ok(());
                if wanted && depth < DEPTH_MAX {
                    result = self.object(value, labels, depth + 1);
                }
                self.name.truncate(prefix_len);
                return result.map(|()| wanted);
            }
            JsonKind::String | JsonKind::Number | JsonKind::Boolean => {
                self.push_name(key);
                wanted = labels.wanted().should_extract_below(&self.name);
                let result = if wanted { self.scalar(kind, value, labels) } else { Ok(()) };
                self.name.truncate(prefix_len);
                result?;
            }
            JsonKind::Null | JsonKind::Array => {}
        }
        if labels.found_all_required() { Err(JsonStop::Enough) } else { Ok(wanted) }
    }

    /// The member that `self.name` names.
    fn scalar(&mut self, kind: JsonKind, value: &str, labels: &mut EntryLabels) -> Result<(), JsonStop> {
        if self.name.is_empty() || !labels.wanted().may_extract(&self.name) {
            return Ok(());
        }
        if labels.clashes(&self.name) {
            self.name.push_str(CLASH_SUFFIX);
        }
        if labels.wanted().should_extract(&self.name) && !labels.is_extracted(&self.name) {
            let text = match kind {
                JsonKind::String => string_value(value, &mut self.value),
                _ => value,
            };
            if self.early.iter().any(|filter| filter.refuses(&self.name, text)) {
                return Err(JsonStop::Refused);
            }
            if labels.text_bytes() > LABEL_BYTES_MAX {
                return Err(TOO_MUCH);
            }
            labels.set_parsed(&self.name, text);
        }
        Ok(())
    }

    /// Remembers `key` as it stands in the line.
    fn remember_unwanted(&mut self, place: usize, key: &str) {
        if key.len() > REMEMBERED_KEY_MAX {
            return;
        }
        if self.unwanted.len() <= place {
            self.unwanted.resize_with(place + 1, String::new);
        }
        let known = &mut self.unwanted[place];
        known.clear();
        known.push_str(key);
    }

    fn push_name(&mut self, key: &str) {
        let key = key.trim();
        if key.is_empty() {
            return;
        }
        if !self.name.is_empty() {
            self.name.push('_');
        }
        push_sanitized(key, &mut self.name);
    }
}

/// The members of an object, in order.
pub(super) struct Members<'a> {
    rest: &'a str,
    first: bool,
    done: bool,
}

impl<'a> Members<'a> {
    pub(super) fn new(object: &'a str) -> Result<Self, JsonStop> {
        match skip_blanks(object).strip_prefix('{') {
            Some(rest) => Ok(Self { rest, first: true, done: false }),
            None => Err(MALFORMED_OBJECT),
        }
    }

    /// The next member: key (escapes unresolved), kind, value.
    pub(super) fn next(&mut self) -> Result<Option<(&'a str, JsonKind, &'a str)>, JsonStop> {
        if self.done {
            return Ok(None);
        }
        let mut rest = skip_blanks(self.rest);
        if rest.is_empty() {
            return Err(if self.first { MALFORMED } else { MALFORMED_ARRAY });
        }
        if !self.first {
            match rest.as_bytes()[0] {
                b'}' => {
                    self.done = true;
                    return Ok(None);
                }
                b',' => rest = skip_blanks(&rest[1..]),
                _ => return Err(MALFORMED_OBJECT),
            }
            if rest.is_empty() {
                return Err(MALFORMED_ARRAY);
            }
        }
        self.first = false;
        match rest.as_bytes()[0] {
            b'"' => rest = &rest[1..],
            b'}' => {
                self.done = true;
                return Ok(None);
            }
            _ => return Err(MALFORMED_OBJECT),
        }
        let key_end = string_end(rest).ok_or(MALFORMED)?;
        let key = &rest[..key_end];
        rest = skip_blanks(&rest[key_end + 1..]).strip_prefix(':').ok_or(MALFORMED)?;
        let (kind, value, after) = value_at(rest)?;
        self.rest = after;
        Ok(Some((key, kind, value)))
    }
}

impl<'a> Members<'a> {
    /// After an error: the key of the member that did not end, and what there is of its value.
    pub(super) fn unfinished(&self) -> Option<(&'a str, &'a str)> {
        let rest = skip_blanks(self.rest);
        let rest = skip_blanks(rest.strip_prefix(',').unwrap_or(rest)).strip_prefix('"')?;
        let key_end = string_end(rest)?;
        let value = skip_blanks(&rest[key_end + 1..]).strip_prefix(':')?;
        Some((&rest[..key_end], skip_blanks(value)))
    }
}

/// The value at the start of `text`, and what follows it.
pub(super) fn value_at(text: &str) -> Result<(JsonKind, &str, &str), JsonStop> {
    let text = skip_blanks(text);
    let Some(&first) = text.as_bytes().first() else { return Err(MALFORMED) };
    match first {
        b'"' => {
            let end = string_end(&text[1..]).ok_or(MALFORMED_STRING)?;
            Ok((JsonKind::String, &text[1..=end], &text[end + 2..]))
        }
        b'[' => {
            let end = block_end(text, b'[', b']').ok_or(MALFORMED_ARRAY)?;
            Ok((JsonKind::Array, &text[..end], &text[end..]))
        }
        b'{' => {
            let end = block_end(text, b'{', b'}').ok_or(MALFORMED_OBJECT)?;
            Ok((JsonKind::Object, &text[..end], &text[end..]))
        }
        _ => {
            let is_end = |b: &u8| matches!(b, b' ' | b'\n' | b'\r' | b'\t' | b',' | b'}' | b']');
            let end = text.as_bytes().iter().position(is_end).unwrap_or(text.len());
            let kind = match (first, &text[..end]) {
                (_, "true" | "false") => JsonKind::Boolean,
                (_, "null") => JsonKind::Null,
                (b'0'..=b'9' | b'-', _) => JsonKind::Number,
                _ => return Err(UNKNOWN_VALUE),
            };
            Ok((kind, &text[..end], &text[end..]))
        }
    }
}

pub(super) fn skip_blanks(text: &str) -> &str {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    let blanks = text.as_bytes().iter().take_while(|byte| is_blank(byte)).count();
    &text[blanks..]
}

/// Position of the quote that ends a string, given the text after its first quote.
pub(super) fn string_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut from = 0;
    // Most strings are short: their words of eight bytes are looked at right here.
    for word in bytes.chunks_exact(8).take(4) {
        let word = u64::from_le_bytes(word.try_into().expect("chunks have eight bytes"));
        let found = zero_bytes(word ^ u64::from_le_bytes([b'"'; 8]))
            | zero_bytes(word ^ u64::from_le_bytes([b'\\'; 8]));
        if found != 0 {
            let at = from + found.trailing_zeros() as usize / 8;
            if bytes[at] == b'"' {
                return Some(at);
            }
            break;
        }
        from += 8;
    }
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', &bytes[from..])?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        from = at + 2;
        if from > bytes.len() {
            return None;
        }
    }
}

/// The high bit of each byte that is zero; of bytes after the first such one it may be set too.
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(u64::from_le_bytes([1; 8])) & !word & u64::from_le_bytes([0x80; 8])
}

/// One past the end of the array or object that `text` starts with.
fn block_end(text: &str, open: u8, close: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut level = 0usize;
    let mut at = 0;
    loop {
        at += memchr::memchr3(b'"', open, close, &bytes[at..])?;
        match bytes[at] {
            b'"' => at += 1 + string_end(&text[at + 1..])?,
            byte if byte == open => level += 1,
            _ => {
                level -= 1;
                if level == 0 {
                    return Some(at + 1);
                }
            }
        }
        at += 1;
    }
}

/// Text of a string value: escapes resolved (a bad one makes it empty), U+FFFD as a blank.
pub(super) fn string_value<'a>(raw: &'a str, buffer: &'a mut String) -> &'a str {
    // 0xef is the first byte of U+FFFD.
    if memchr::memchr2(b'\\', 0xef, raw.as_bytes()).is_none() {
        return raw;
    }
    if !unescape_into(raw, buffer) {
        return "";
    }
    if buffer.contains('\u{fffd}') {
        *buffer = buffer.replace('\u{fffd}', " ");
    }
    buffer
}

/// Resolves escapes; `None` for a bad one.
pub(super) fn unescape<'a>(raw: &'a str, buffer: &'a mut String) -> Option<&'a str> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return Some(raw);
    }
    if unescape_into(raw, buffer) { Some(buffer) } else { None }
}

fn unescape_into(raw: &str, out: &mut String) -> bool {
    out.clear();
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let Some(&escape) = rest.as_bytes().get(at + 1) else { return false };
        let mut taken = at + 2;
        match escape {
            b'"' | b'\\' | b'/' => out.push(char::from(escape)),
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let Some((c, length)) = unicode_escape(&rest[at..]) else { return false };
                out.push(c);
                taken = at + length;
            }
            _ => return false,
        }
        rest = &rest[taken..];
    }
    out.push_str(rest);
    true
}

/// `\uXXXX`, or two of them for a surrogate pair, and the bytes taken.
fn unicode_escape(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| -> Option<u32> {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        u32::from_str_radix(digits, 16).ok()
    };
    let high = unit(0)?;
    if let Some(c) = char::from_u32(high) {
        return Some((c, 6));
    }
    let low = unit(6).filter(|low| (0xdc00..0xe000).contains(low))?;
    let combined = 0x10000 + ((high.checked_sub(0xd800)? & 0x3ff) << 10) + (low - 0xdc00);
    char::from_u32(combined).map(|c| (c, 12))
}

#[cfg(test)]
mod tests;
