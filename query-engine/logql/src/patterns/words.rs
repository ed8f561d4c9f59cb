//! Cuts a line into words and what stands between them.

use std::ops::Range;

/// Bytes of a line that are looked at; the rest is one variable word.
const LINE_BYTES_MAX: usize = 4096;
/// Words of a line; the rest is one variable word.
const WORDS_MAX: usize = 256;
/// A quoted text of more bytes than this is not worth comparing.
const QUOTED_BYTES_MAX: usize = 64;

/// A word, or what stands between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) range: Range<usize>,
    pub(super) is_separator: bool,
    /// Whether it differs from line to line by its looks.
    pub(super) is_variable: bool,
}

/// Cuts `line` into `out`; the pieces cover all of it. Ends of pieces are ASCII, so they cut no character.
pub(super) fn cut(line: &str, out: &mut Vec<Word>) {
    out.clear();
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if at >= LINE_BYTES_MAX || out.len() >= WORDS_MAX {
            out.push(Word { range: at..bytes.len(), is_separator: false, is_variable: true });
            return;
        }
        let start = at;
        if is_separator(bytes[at]) {
            while at < bytes.len() && is_separator(bytes[at]) {
                at += 1;
            }
            out.push(Word { range: start..at, is_separator: true, is_variable: false });
            continue;
        }
        if bytes[at] == b'"'
            && let Some(end) = quoted_end(bytes, at)
        {
            at = end;
            let inner = &bytes[start + 1..at - 1];
            let is_variable = inner.len() > QUOTED_BYTES_MAX || inner.iter().any(u8::is_ascii_digit);
            // An empty text can not be variable: `<_>` holds at least one character, and the quotes are two.
            out.push(Word { range: start..at, is_separator: false, is_variable });
            continue;
        }
        at += 1;
        while at < bytes.len() && !is_separator(bytes[at]) && bytes[at] != b'"' {
            at += 1;
        }
        let is_variable = bytes[start..at].iter().any(u8::is_ascii_digit);
        out.push(Word { range: start..at, is_separator: false, is_variable });
    }
}

fn is_separator(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t'
            | b'\n'
            | b'\r'
            | b'='
            | b','
            | b';'
            | b'('
            | b')'
            | b'['
            | b']'
            | b'{'
            | b'}'
            | b':'
            | b'|'
    )
}

/// One past the closing quote of the text that starts at `start`.
fn quoted_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}
