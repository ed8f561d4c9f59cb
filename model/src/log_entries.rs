//! Log entries of one stream, as columns.
//!
//! All lines lie in one buffer and all structured metadata in another, so that a batch of a thousand records costs
//! a handful of allocations from the receiver to the disk.

/// Order of a log query's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first; Loki's default.
    #[default]
    Backward,
}

/// Entries of one stream. Times are nanoseconds since the Unix epoch, in the order in which they were pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEntries {
    timestamps_ns: Vec<i64>,
    lines: String,
    line_ends: Vec<u32>,
    /// Names and values of structured metadata, one after the other.
    metadata: String,
    /// End offsets in `metadata`: name, value, name, value, …
    piece_ends: Vec<u32>,
    /// For each entry, how many `piece_ends` there are up to and including its own.
    entry_pieces: Vec<u32>,
}

/// One entry, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogEntry<'a> {
    /// Nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
    /// The log line.
    pub line: &'a str,
    /// Structured metadata in the order in which it was given.
    pub metadata: MetadataPairs<'a>,
}

/// Structured metadata of one entry: an iterator over `(name, value)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetadataPairs<'a> {
    text: &'a str,
    start: u32,
    ends: &'a [u32],
}

impl LogEntries {
    /// No entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.timestamps_ns.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.timestamps_ns.is_empty()
    }

    /// Bytes of lines and metadata: what size limits and byte rates count.
    pub fn text_bytes(&self) -> usize {
        self.lines.len() + self.metadata.len()
    }

    /// Bytes of memory in use.
    pub fn memory_bytes(&self) -> usize {
        self.timestamps_ns.capacity() * 8
            + self.lines.capacity()
            + self.metadata.capacity()
            + (self.line_ends.capacity() + self.piece_ends.capacity() + self.entry_pieces.capacity()) * 4
    }

    /// All timestamps, ns.
    pub fn timestamps_ns(&self) -> &[i64] {
        &self.timestamps_ns
    }

    /// All lines without separators; `line_ends()[i]` is where line `i` ends. For searches over a whole batch.
    pub fn lines(&self) -> &str {
        &self.lines
    }

    /// End offsets of the lines in `lines()`.
    pub fn line_ends(&self) -> &[u32] {
        &self.line_ends
    }

    /// Whether one more entry of this size fits the 4 GiB that 32-bit offsets can address.
    pub fn has_room_for(&self, line_bytes: usize, metadata_bytes: usize) -> bool {
        self.lines.len() + line_bytes <= u32::MAX as usize
            && self.metadata.len() + metadata_bytes <= u32::MAX as usize
            && self.piece_ends.len() + metadata_bytes <= u32::MAX as usize
    }

    /// Appends an entry. Panics past 4 GiB of text: see [`LogEntries::has_room_for`].
    pub fn push<'a>(
        &mut self,
        timestamp_ns: i64,
        line: &str,
        metadata: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) {
        self.timestamps_ns.push(timestamp_ns);
        self.lines.push_str(line);
        self.line_ends.push(offset(self.lines.len()));
        for (name, value) in metadata {
            self.metadata.push_str(name);
            self.piece_ends.push(offset(self.metadata.len()));
            self.metadata.push_str(value);
            self.piece_ends.push(offset(self.metadata.len()));
        }
        self.entry_pieces.push(offset(self.piece_ends.len()));
    }

    /// The line at `index`. Panics when `index >= len()`.
    pub fn line(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.line_ends[index - 1] as usize };
        &self.lines[start..self.line_ends[index] as usize]
    }

    /// Structured metadata of the entry at `index`. Panics when `index >= len()`.
    pub fn metadata(&self, index: usize) -> MetadataPairs<'_> {
        let first = if index == 0 { 0 } else { self.entry_pieces[index - 1] as usize };
        let start = if first == 0 { 0 } else { self.piece_ends[first - 1] };
        MetadataPairs {
            text: &self.metadata,
            start,
            ends: &self.piece_ends[first..self.entry_pieces[index] as usize],
        }
    }

    /// The entry at `index`. Panics when `index >= len()`.
    pub fn get(&self, index: usize) -> LogEntry<'_> {
        LogEntry {
            timestamp_ns: self.timestamps_ns[index],
            line: self.line(index),
            metadata: self.metadata(index),
        }
    }

    /// All entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = LogEntry<'_>> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Removes all entries and keeps the memory.
    pub fn clear(&mut self) {
        self.timestamps_ns.clear();
        self.lines.clear();
        self.line_ends.clear();
        self.metadata.clear();
        self.piece_ends.clear();
        self.entry_pieces.clear();
    }
}

fn offset(len: usize) -> u32 {
    u32::try_from(len).expect("callers keep a batch below 4 GiB of text")
}

impl<'a> Iterator for MetadataPairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let [name_end, value_end, rest @ ..] = self.ends else { return None };
        let name = &self.text[self.start as usize..*name_end as usize];
        let value = &self.text[*name_end as usize..*value_end as usize];
        self.start = *value_end;
        self.ends = rest;
        Some((name, value))
    }
}

impl PartialEq for MetadataPairs<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.eq_by_pairs(*other)
    }
}

impl MetadataPairs<'_> {
    fn eq_by_pairs(self, other: MetadataPairs<'_>) -> bool {
        Iterator::eq(self, other)
    }

    /// Whether there is no pair left.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::LogEntries;

    #[test]
    fn entries_come_back_as_they_were_pushed() {
        let mut entries = LogEntries::new();
        entries.push(3, "first", [("trace_id", "ab"), ("empty", "")]);
        entries.push(1, "", []);
        entries.push(2, "zwölf", [("k", "v")]);
        let read: Vec<_> =
            entries.iter().map(|e| (e.timestamp_ns, e.line, e.metadata.collect::<Vec<_>>())).collect();
        assert_eq!(
            read,
            [
                (3, "first", vec![("trace_id", "ab"), ("empty", "")]),
                (1, "", vec![]),
                (2, "zwölf", vec![("k", "v")]),
            ]
        );
        assert_eq!(entries.text_bytes(), "firstzwölftrace_idabemptykv".len());
    }
}
