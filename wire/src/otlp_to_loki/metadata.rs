//! Name and value pairs in one buffer, and how attributes become such pairs.

use memchr::{memchr, memmem};

use super::{NAMING, level};
use crate::DecodeError;
use crate::otlp::AnyValue;

/// Longest name that flattening a nested map may make: each level repeats the names above it, which must not grow
/// without bound. Longer than any name that Loki would index.
const NESTED_NAME_BYTES_MAX: usize = 4096;

/// Structured metadata in order. All text lies in one buffer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs {
    text: String,
    /// End offsets in `text` of each name and value.
    ends: Vec<(usize, usize)>,
}

impl Pairs {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    pub(crate) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let mut start = 0;
        self.ends.iter().map(move |(name_end, value_end)| {
            let pair = (&self.text[start..*name_end], &self.text[*name_end..*value_end]);
            start = *value_end;
            pair
        })
    }

    pub(super) fn last_name(&self) -> Option<&str> {
        let (name_end, _) = self.ends.last()?;
        Some(&self.text[self.last_start()..*name_end])
    }

    pub(super) fn pop(&mut self) {
        self.text.truncate(self.last_start());
        self.ends.pop();
    }

    fn last_start(&self) -> usize {
        match self.ends.as_slice() {
            [.., (_, end), _] => *end,
            _ => 0,
        }
    }

    /// Adds a pair whose name is one of ours.
    pub(crate) fn push(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        let name_end = self.text.len();
        append_text(value, &mut self.text);
        self.ends.push((name_end, self.text.len()));
    }

    pub(super) fn push_number(&mut self, name: &str, value: i64) {
        self.push(name, itoa::Buffer::new().format(value));
    }

    pub(super) fn push_hex(&mut self, name: &str, bytes: &[u8]) {
        self.text.push_str(name);
        let name_end = self.text.len();
        append_hex(bytes, &mut self.text);
        self.ends.push((name_end, self.text.len()));
    }

    /// Adds an attribute: one pair, or one for each leaf of a map, with the names on the way to it joined by `_`.
    #[inline]
    pub(super) fn push_attribute(&mut self, key: &str, value: AnyValue<'_>) -> Result<(), DecodeError> {
        let start = self.text.len();
        if let AnyValue::Map(map) = value {
            let mut prefix = String::new();
            append_name(key, &mut prefix)?;
            for entry in map.iter() {
                let entry = entry?;
                let nested = format!("{prefix}_{}", entry.key()?);
                if nested.len() > NESTED_NAME_BYTES_MAX {
                    return Err(DecodeError::invalid(format!(
                        "name of a nested attribute has {} bytes, {NESTED_NAME_BYTES_MAX} are allowed",
                        nested.len()
                    )));
                }
                self.push_attribute(&nested, entry.value()?)?;
            }
            return Ok(());
        }
        append_name(key, &mut self.text)?;
        let name_end = self.text.len();
        match value {
            AnyValue::String(text) => {
                let is_level = &self.text[start..name_end] == level::DETECTED_LEVEL;
                append_text(if is_level { level::in_lokis_words(text) } else { text }, &mut self.text);
            }
            other => other.append_as_string(&mut self.text)?,
        }
        self.ends.push((name_end, self.text.len()));
        Ok(())
    }
}

/// Appends bytes as hexadecimal digits.
#[inline]
pub(super) fn append_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0u8; 32];
    for chunk in bytes.chunks(16) {
        for (pair, byte) in digits.chunks_exact_mut(2).zip(chunk) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        out.push_str(str::from_utf8(&digits[..2 * chunk.len()]).expect("digits are ASCII"));
    }
}

/// Appends text with every replacement character turned into a space, as Loki does with metadata.
#[inline]
pub(super) fn append_text(value: &str, out: &mut String) {
    const REPLACEMENT_FIRST_BYTE: u8 = 0xef;
    const REPLACEMENT: &str = "\u{fffd}";
    if memchr(REPLACEMENT_FIRST_BYTE, value.as_bytes()).is_none()
        || memmem::find(value.as_bytes(), REPLACEMENT.as_bytes()).is_none()
    {
        out.push_str(value);
        return;
    }
    for (index, part) in value.split(REPLACEMENT).enumerate() {
        out.push_str(if index > 0 { " " } else { "" });
        out.push_str(part);
    }
}

/// Appends the label name for `key`, fast for the names that semantic conventions are made of: words of classic
/// characters with single `.` or `_` between them.
#[inline]
fn append_name(key: &str, out: &mut String) -> Result<(), DecodeError> {
    let mut has_dot = false;
    let mut after_separator = true;
    for byte in key.bytes() {
        let is_separator = matches!(byte, b'.' | b'_');
        if (is_separator && after_separator) || !(is_separator || byte.is_ascii_alphanumeric()) {
            return NAMING.append(key, out);
        }
        has_dot |= byte == b'.';
        after_separator = is_separator;
    }
    if key.is_empty() || key.as_bytes()[0].is_ascii_digit() {
        return NAMING.append(key, out);
    }
    if !has_dot {
        out.push_str(key);
        return Ok(());
    }
    for (index, word) in key.split('.').enumerate() {
        out.push_str(if index > 0 { "_" } else { "" });
        out.push_str(word);
    }
    Ok(())
}
