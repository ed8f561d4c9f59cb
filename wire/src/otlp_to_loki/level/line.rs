//! The level that a log line itself says.

use super::{LEVEL_FIELDS, UNKNOWN, known_level};

/// How deep level fields are looked for in a JSON line (`log-level-from-json-max-depth`).
const JSON_DEPTH_MAX: usize = 2;

/// Words that say a level when they stand alone in a line. At most one of those that start alike can stand at a place.
const WORDS: [(&str, &str); 9] = [
    ("trace", "trace"),
    ("debug", "debug"),
    ("fatal", "fatal"),
    ("critical", "critical"),
    ("error", "error"),
    ("err", "error"),
    ("warning", "warn"),
    ("warn", "warn"),
    ("info", "info"),
];

/// The level of a line, or `unknown`.
pub(super) fn level(line: &str) -> &'static str {
    let trimmed = line.trim();
    let field = if trimmed.starts_with('{') && trimmed.ends_with('}') {
        Json { rest: trimmed.as_bytes() }.level(0).ok().flatten()
    } else if line.contains('=') {
        logfmt_level(line.as_bytes())
    } else {
        None
    };
    let known = field.and_then(|value| known_level(str::from_utf8(value).ok()?));
    known.unwrap_or_else(|| first_word(line.as_bytes()))
}

/// The level word that stands first in the line. What may stand before and after differs, as in Loki: `misc:error`
/// says nothing, `error: text` does.
fn first_word(line: &[u8]) -> &'static str {
    let is_before = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | b'[' | b'(' | b'{' | b'"' | b'=');
    let is_after = |byte: u8| is_before(byte) || matches!(byte, b']' | b')' | b'}' | b':' | b',' | b'!');
    let mut may_start = true;
    for (at, byte) in line.iter().copied().enumerate() {
        if may_start && matches!(byte | 0x20, b't' | b'd' | b'f' | b'c' | b'e' | b'w' | b'i') {
            let rest = &line[at..];
            let found = WORDS.iter().find(|(word, _)| {
                rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
                    && rest.get(word.len()).is_none_or(|byte| is_after(*byte))
            });
            if let Some((_, level)) = found {
                return level;
            }
        }
        may_start = is_before(byte);
    }
    UNKNOWN
}

/// The value of the best level field in a logfmt line, keys without regard to case. A damaged pair ends the line.
fn logfmt_level(line: &[u8]) -> Option<&[u8]> {
    let mut found: Option<(usize, &[u8])> = None;
    let mut rest = line;
    loop {
        let start = rest.iter().position(|byte| *byte > b' ')?;
        rest = &rest[start..];
        let key_len =
            rest.iter().position(|byte| *byte <= b' ' || matches!(byte, b'=' | b'"')).unwrap_or(rest.len());
        let key = &rest[..key_len];
        rest = &rest[key_len..];
        let value: &[u8] = match rest {
            [b'=', ..] if key.is_empty() => break,
            [b'"', ..] => break,
            [b'=', b'"', quoted @ ..] => {
                let Some(len) = quoted_len(quoted) else { break };
                rest = &quoted[len + 1..];
                &quoted[..len]
            }
            [b'=', tail @ ..] => {
                let len = tail.iter().position(|byte| *byte <= b' ' || matches!(byte, b'=' | b'"'));
                let (value, after) = tail.split_at(len.unwrap_or(tail.len()));
                if matches!(after.first(), Some(b'=' | b'"')) {
                    break;
                }
                rest = after;
                value
            }
            _ => &[],
        };
        let best = found.map_or(LEVEL_FIELDS.len(), |(rank, _)| rank);
        let rank = LEVEL_FIELDS[..best].iter().position(|field| field.as_bytes().eq_ignore_ascii_case(key));
        if let Some(rank) = rank {
            found = Some((rank, value));
        }
        if rank == Some(0) || rest.is_empty() {
            break;
        }
    }
    found.map(|(_, value)| value)
}

/// Length of a quoted text up to its closing quote.
fn quoted_len(quoted: &[u8]) -> Option<usize> {
    let mut escaped = false;
    quoted.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    })
}

/// A reader of JSON that looks for level fields and checks no more than it must. What is not JSON ends the search.
struct Json<'a> {
    rest: &'a [u8],
}

/// The line is not JSON.
struct NotJson;

impl<'a> Json<'a> {
    /// The first level field of the object that comes next, its objects included, in the order of the text.
    fn level(&mut self, depth: usize) -> Result<Option<&'a [u8]>, NotJson> {
        self.expect(b'{')?;
        if self.take(b'}') {
            return Ok(None);
        }
        loop {
            self.expect(b'"')?;
            let key = self.string()?;
            self.expect(b':')?;
            self.skip_space();
            match self.rest.first() {
                Some(b'"') => {
                    self.expect(b'"')?;
                    let value = self.string()?;
                    if LEVEL_FIELDS.iter().any(|field| field.as_bytes() == key) {
                        return Ok(Some(value));
                    }
                }
                Some(b'{') if depth + 1 < JSON_DEPTH_MAX => {
                    if let Some(found) = self.level(depth + 1)? {
                        return Ok(Some(found));
                    }
                }
                _ => self.skip_value()?,
            }
            if !self.take(b',') {
                return self.expect(b'}').map(|()| None);
            }
        }
    }

    /// Skips a number, a word, an array or an object; brackets are only counted.
    fn skip_value(&mut self) -> Result<(), NotJson> {
        let mut open = 0usize;
        loop {
            self.skip_space();
            match self.rest.first().ok_or(NotJson)? {
                b'"' => {
                    self.expect(b'"')?;
                    self.string()?;
                }
                b'{' | b'[' => {
                    open += 1;
                    self.rest = &self.rest[1..];
                }
                b'}' | b']' if open == 0 => return Err(NotJson),
                b'}' | b']' => {
                    open -= 1;
                    self.rest = &self.rest[1..];
                }
                b',' | b':' if open > 0 => self.rest = &self.rest[1..],
                _ => {
                    let is_end =
                        |byte: &u8| *byte <= b' ' || matches!(byte, b',' | b':' | b'}' | b']' | b'"');
                    let len = self.rest.iter().position(is_end).ok_or(NotJson)?;
                    self.rest = if len > 0 { &self.rest[len..] } else { return Err(NotJson) };
                }
            }
            if open == 0 {
                return Ok(());
            }
        }
    }

    /// The string whose opening quote was read, escapes as they are.
    fn string(&mut self) -> Result<&'a [u8], NotJson> {
        let len = quoted_len(self.rest).ok_or(NotJson)?;
        let (text, rest) = self.rest.split_at(len);
        self.rest = &rest[1..];
        Ok(text)
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let taken = self.rest.strip_prefix(&[byte]);
        self.rest = taken.unwrap_or(self.rest);
        taken.is_some()
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.take(byte) { Ok(()) } else { Err(NotJson) }
    }
}
