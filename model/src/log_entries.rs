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
    #[inline]
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
    #[inline]
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

    /// Builds entries from columns, or `None` when they do not fit together: lengths that differ, ends that fall,
    /// pass the text or cut a character, an odd number of metadata pieces. For decoders of stored bytes.
    pub fn from_columns(
        timestamps_ns: Vec<i64>,
        lines: String,
        line_ends: Vec<u32>,
        metadata: String,
        piece_ends: Vec<u32>,
        entry_pieces: Vec<u32>,
    ) -> Option<Self> {
        let rising = |ends: &[u32]| ends.is_sorted();
        let cuts = |text: &str, ends: &[u32]| {
            rising(ends)
                && ends.last().map_or(0, |&end| end as usize) == text.len()
                && (text.is_ascii() || ends.iter().all(|&end| text.is_char_boundary(end as usize)))
        };
        let sound = timestamps_ns.len() == line_ends.len()
            && timestamps_ns.len() == entry_pieces.len()
            && cuts(&lines, &line_ends)
            && cuts(&metadata, &piece_ends)
            && rising(&entry_pieces)
            && entry_pieces.last().map_or(0, |&end| end as usize) == piece_ends.len()
            && entry_pieces.iter().all(|pieces| pieces % 2 == 0);
        sound.then_some(Self { timestamps_ns, lines, line_ends, metadata, piece_ends, entry_pieces })
    }

    /// Appends the entries of `other` whose positions are in `range`, column by column. Panics when the range passes
    /// `other.len()`, and past 4 GiB of text: see [`LogEntries::has_room_for`].
    pub fn extend_from(&mut self, other: &Self, range: std::ops::Range<usize>) {
        if range.is_empty() {
            return;
        }
        let end_before = |ends: &[u32], index: usize| if index == 0 { 0 } else { ends[index - 1] as usize };
        let line_start = end_before(&other.line_ends, range.start);
        let line_base = self.lines.len();
        self.timestamps_ns.extend_from_slice(&other.timestamps_ns[range.clone()]);
        self.lines.push_str(&other.lines[line_start..other.line_ends[range.end - 1] as usize]);
        offset(self.lines.len());
        let moved = |base: usize, start: usize| move |&end: &u32| (end as usize - start + base) as u32;
        self.line_ends.extend(other.line_ends[range.clone()].iter().map(moved(line_base, line_start)));

        let first_piece = end_before(&other.entry_pieces, range.start);
        let last_piece = other.entry_pieces[range.end - 1] as usize;
        let text_start = end_before(&other.piece_ends, first_piece);
        let text_end = end_before(&other.piece_ends, last_piece).max(text_start);
        let (text_base, piece_base) = (self.metadata.len(), self.piece_ends.len());
        self.metadata.push_str(&other.metadata[text_start..text_end]);
        offset(self.metadata.len());
        self.piece_ends
            .extend(other.piece_ends[first_piece..last_piece].iter().map(moved(text_base, text_start)));
        offset(self.piece_ends.len());
        self.entry_pieces.extend(other.entry_pieces[range].iter().map(moved(piece_base, first_piece)));
    }

    /// All names and values of structured metadata without separators; see [`LogEntries::piece_ends`].
    pub fn metadata_text(&self) -> &str {
        &self.metadata
    }

    /// End offsets in `metadata_text()`: name, value, name, value, …
    pub fn piece_ends(&self) -> &[u32] {
        &self.piece_ends
    }

    /// For each entry, how many of `piece_ends()` there are up to and including its own.
    pub fn entry_pieces(&self) -> &[u32] {
        &self.entry_pieces
    }

    /// The line at `index`. Panics when `index >= len()`.
    #[inline]
    pub fn line(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.line_ends[index - 1] as usize };
        &self.lines[start..self.line_ends[index] as usize]
    }

    /// Structured metadata of the entry at `index`. Panics when `index >= len()`.
    #[inline]
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
    #[inline]
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

    #[inline]
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

    #[test]
    fn a_copied_range_holds_the_same_entries() {
        let mut all = LogEntries::new();
        all.push(1, "one", [("a", "1")]);
        all.push(2, "", []);
        all.push(3, "drei", [("b", "2"), ("c", "")]);
        for range in [0..0, 0..1, 1..2, 1..3, 0..3, 2..3] {
            let mut copy = LogEntries::new();
            copy.push(0, "before", [("x", "y")]);
            copy.extend_from(&all, range.clone());
            assert!(copy.iter().skip(1).eq(range.map(|index| all.get(index))));
            assert_eq!(copy.line(0), "before");
        }
    }

    #[test]
    fn columns_that_do_not_fit_together_are_refused() {
        let check = |lines: &str, line_ends: &[u32], piece_ends: &[u32], entry_pieces: &[u32]| {
            LogEntries::from_columns(
                vec![1; line_ends.len()],
                lines.to_owned(),
                line_ends.to_vec(),
                "kv".to_owned(),
                piece_ends.to_vec(),
                entry_pieces.to_vec(),
            )
            .is_some()
        };
        assert!(check("äb", &[2, 3], &[1, 2], &[0, 2]));
        assert!(!check("äb", &[1, 3], &[1, 2], &[0, 2]), "cuts a character");
        assert!(!check("äb", &[3, 2], &[1, 2], &[0, 2]), "falls");
        assert!(!check("äb", &[2, 4], &[1, 2], &[0, 2]), "passes the text");
        assert!(!check("äb", &[2, 3], &[1, 2], &[1, 2]), "half a pair");
        assert!(!check("äb", &[2, 3], &[1, 2], &[2]), "one entry too few");
    }
}
