//! Byte ranges in a query, and how they are shown.

/// A range of bytes in the query text, end excluded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// First byte behind.
    pub end: usize,
}

impl Span {
    /// The range `start..end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The smallest range with both.
    pub fn merge(self, other: Self) -> Self {
        Self { start: self.start, end: other.end }
    }

    /// `line:column` of the start, both from 1, columns in bytes, as Prometheus prints positions
    /// (promql/parser/posrange).
    pub fn position(self, query: &str) -> String {
        if query.is_empty() {
            return "unknown position".to_owned();
        }
        let Some(before) = query.as_bytes().get(..self.start) else {
            return "invalid position".to_owned();
        };
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        let column = match before.iter().rposition(|b| *b == b'\n') {
            Some(line_break) => self.start - line_break,
            None => self.start + 1,
        };
        format!("{line}:{column}")
    }
}
