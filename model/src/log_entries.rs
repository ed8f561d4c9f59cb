//! Log entries of one stream, as columns.
//!
//! All lines lie in one buffer and all values of structured metadata in another, so that a batch of a thousand records
//! costs a handful of allocations from the receiver to the disk. The names of the metadata and the values that many
//! entries share are in [`MetadataShape`]s, of which a batch has a few.

mod shape;

use std::ops::Range;
use std::sync::Arc;

use self::shape::offset;
pub use self::shape::{MetadataPairs, MetadataShape, SlotValue};

/// Order of a log query's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first; Loki's default.
    #[default]
    Backward,
}

/// How many of the newest shapes are looked through for one that is there already. Past it a shape is held twice,
/// which costs memory and nothing else.
const SHAPES_SEARCHED: usize = 64;

/// Entries of one stream. Times are nanoseconds since the Unix epoch, in the order in which they were pushed.
#[derive(Clone, Debug, Default)]
pub struct LogEntries {
    timestamps_ns: Vec<i64>,
    lines: String,
    line_ends: Vec<u32>,
    shapes: Vec<Arc<MetadataShape>>,
    /// For each entry, the position of its shape.
    entry_shapes: Vec<u32>,
    /// The entries' own values of structured metadata, one after the other.
    values: String,
    value_ends: Vec<u32>,
    /// For each entry, how many `value_ends` there are up to and including its own.
    entry_values: Vec<u32>,
    /// Names and shared values, counted for each entry that has them.
    shared_bytes: usize,
    shape_memory_bytes: usize,
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

/// Entries as columns, for decoders of stored bytes: see [`LogEntries::from_columns`].
#[derive(Clone, Debug, Default)]
pub struct LogColumns {
    /// Nanoseconds since the Unix epoch.
    pub timestamps_ns: Vec<i64>,
    /// All lines without separators.
    pub lines: String,
    /// End offsets in `lines`.
    pub line_ends: Vec<u32>,
    /// The shapes of the entries' metadata.
    pub shapes: Vec<Arc<MetadataShape>>,
    /// For each entry, the position of its shape.
    pub entry_shapes: Vec<u32>,
    /// The entries' own values without separators.
    pub values: String,
    /// End offsets in `values`.
    pub value_ends: Vec<u32>,
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

    /// Bytes of lines and metadata, shared names and values counted for each entry: what size limits and byte rates
    /// count.
    pub fn text_bytes(&self) -> usize {
        self.lines.len() + self.values.len() + self.shared_bytes
    }

    /// Bytes of memory in use.
    pub fn memory_bytes(&self) -> usize {
        self.timestamps_ns.capacity() * 8
            + self.lines.capacity()
            + self.values.capacity()
            + (self.line_ends.capacity()
                + self.value_ends.capacity()
                + self.entry_values.capacity()
                + self.entry_shapes.capacity())
                * 4
            + self.shapes.capacity() * size_of::<Arc<MetadataShape>>()
            + self.shape_memory_bytes
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

    /// The shapes of the entries' metadata.
    pub fn shapes(&self) -> &[Arc<MetadataShape>] {
        &self.shapes
    }

    /// For each entry, the position of its shape in `shapes()`.
    pub fn entry_shapes(&self) -> &[u32] {
        &self.entry_shapes
    }

    /// The entries' own metadata values without separators.
    pub fn values(&self) -> &str {
        &self.values
    }

    /// End offsets of the own values in `values()`.
    pub fn value_ends(&self) -> &[u32] {
        &self.value_ends
    }

    /// Position in `value_ends()` of the first own value of the entry at `index`.
    #[inline]
    pub fn first_value(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.entry_values[index - 1] as usize }
    }

    /// Bytes of names and values of the metadata of the entry at `index`. Panics when `index >= len()`.
    pub fn metadata_bytes(&self, index: usize) -> usize {
        let (start, end) = (self.first_value(index), self.entry_values[index] as usize);
        let own = end_before(&self.value_ends, end) - end_before(&self.value_ends, start);
        own + self.shapes[self.entry_shapes[index] as usize].text_bytes()
    }

    /// Whether one more entry of this size fits the 4 GiB that 32-bit offsets can address.
    pub fn has_room_for(&self, line_bytes: usize, metadata_bytes: usize) -> bool {
        self.lines.len() + line_bytes <= u32::MAX as usize
            && self.values.len() + metadata_bytes <= u32::MAX as usize
            && self.value_ends.len() + metadata_bytes <= u32::MAX as usize
    }

    /// Makes room for entries with so many own metadata values together.
    pub fn reserve(&mut self, entries: usize, line_bytes: usize, values: usize, value_bytes: usize) {
        self.timestamps_ns.reserve(entries);
        self.lines.reserve(line_bytes);
        self.line_ends.reserve(entries);
        self.entry_shapes.reserve(entries);
        self.values.reserve(value_bytes);
        self.value_ends.reserve(values);
        self.entry_values.reserve(entries);
    }

    /// Gives back what was reserved and is not used.
    pub fn shrink_to_fit(&mut self) {
        self.timestamps_ns.shrink_to_fit();
        self.lines.shrink_to_fit();
        self.line_ends.shrink_to_fit();
        self.entry_shapes.shrink_to_fit();
        self.values.shrink_to_fit();
        self.value_ends.shrink_to_fit();
        self.entry_values.shrink_to_fit();
    }

    /// Appends an entry. Panics past 4 GiB of text: see [`LogEntries::has_room_for`].
    pub fn push<'a>(
        &mut self,
        timestamp_ns: i64,
        line: &str,
        metadata: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) {
        // Entries carry the names of those before them nearly always: one short comparison a name.
        let mut names = NameGuess::new(self.entry_shapes.last().copied());
        for (name, value) in metadata {
            names.next(name, &self.shapes);
            self.values.push_str(value);
            self.value_ends.push(offset(self.values.len()));
        }
        let shape = match names.finish(&self.shapes) {
            Ok(position) => position,
            Err(shape) => self.add_shape(shape),
        };
        self.push_line(timestamp_ns, line, shape);
    }

    /// Appends an entry of a given shape, whose own values end at `value_ends` in `values`. Panics when these are not
    /// as many as the shape has, and past 4 GiB of text.
    pub fn push_shaped(
        &mut self,
        timestamp_ns: i64,
        line: &str,
        shape: &Arc<MetadataShape>,
        values: &str,
        value_ends: &[u32],
    ) {
        assert_eq!(shape.own_count(), value_ends.len(), "a shape says how many values its entries have");
        let position = self.shape_position(shape);
        let base = offset(self.values.len());
        self.values.push_str(values);
        offset(self.values.len());
        self.value_ends.extend(value_ends.iter().map(|end| base + end));
        self.push_line(timestamp_ns, line, position);
    }

    fn push_line(&mut self, timestamp_ns: i64, line: &str, shape: u32) {
        self.timestamps_ns.push(timestamp_ns);
        self.lines.push_str(line);
        self.line_ends.push(offset(self.lines.len()));
        self.shared_bytes += self.shapes[shape as usize].text_bytes();
        self.entry_shapes.push(shape);
        self.entry_values.push(offset(self.value_ends.len()));
    }

    /// Position of an equal shape, which is added if need be.
    fn shape_position(&mut self, shape: &Arc<MetadataShape>) -> u32 {
        if let Some(&last) = self.entry_shapes.last()
            && Arc::ptr_eq(&self.shapes[last as usize], shape)
        {
            return last;
        }
        let known = self.shapes.iter().enumerate().rev().take(SHAPES_SEARCHED);
        let mut known = known.filter(|(_, known)| Arc::ptr_eq(known, shape) || *known == shape);
        match known.next() {
            Some((position, _)) => position as u32,
            None => self.add_shape(Arc::clone(shape)),
        }
    }

    fn add_shape(&mut self, shape: Arc<MetadataShape>) -> u32 {
        self.shape_memory_bytes += shape.memory_bytes();
        self.shapes.push(shape);
        offset(self.shapes.len() - 1)
    }

    /// Builds entries from columns, or `None` when they do not fit together: lengths that differ, ends that fall,
    /// pass the text or cut a character, shapes that are not there or ask for other values than there are.
    pub fn from_columns(columns: LogColumns) -> Option<Self> {
        let LogColumns { timestamps_ns, lines, line_ends, shapes, entry_shapes, values, value_ends } =
            columns;
        let cuts = |text: &str, ends: &[u32]| {
            ends.is_sorted()
                && ends.last().map_or(0, |&end| end as usize) == text.len()
                && (text.is_ascii() || ends.iter().all(|&end| text.is_char_boundary(end as usize)))
        };
        let mut entry_values = Vec::with_capacity(entry_shapes.len());
        let (mut end, mut shared_bytes) = (0usize, 0usize);
        for &shape in &entry_shapes {
            let shape = shapes.get(shape as usize)?;
            end += shape.own_count();
            shared_bytes = shared_bytes.saturating_add(shape.text_bytes());
            entry_values.push(u32::try_from(end).ok()?);
        }
        let sound = timestamps_ns.len() == line_ends.len()
            && timestamps_ns.len() == entry_shapes.len()
            && end == value_ends.len()
            && cuts(&lines, &line_ends)
            && cuts(&values, &value_ends);
        let shape_memory_bytes = shapes.iter().map(|shape| shape.memory_bytes()).sum();
        sound.then_some(Self {
            timestamps_ns,
            lines,
            line_ends,
            shapes,
            entry_shapes,
            values,
            value_ends,
            entry_values,
            shared_bytes,
            shape_memory_bytes,
        })
    }

    /// Appends the entries of `other` whose positions are in `range`, column by column. Panics when the range passes
    /// `other.len()`, and past 4 GiB of text: see [`LogEntries::has_room_for`].
    pub fn extend_from(&mut self, other: &Self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let moved = |base: usize, start: usize| move |&end: &u32| (end as usize - start + base) as u32;
        let line_start = end_before(&other.line_ends, range.start);
        let line_base = self.lines.len();
        self.timestamps_ns.extend_from_slice(&other.timestamps_ns[range.clone()]);
        self.lines.push_str(&other.lines[line_start..other.line_ends[range.end - 1] as usize]);
        offset(self.lines.len());
        self.line_ends.extend(other.line_ends[range.clone()].iter().map(moved(line_base, line_start)));

        let mut last = None;
        for &shape in &other.entry_shapes[range.clone()] {
            let position = match last {
                Some((same, position)) if same == shape => position,
                _ => self.shape_position(&other.shapes[shape as usize]),
            };
            last = Some((shape, position));
            self.shared_bytes += other.shapes[shape as usize].text_bytes();
            self.entry_shapes.push(position);
        }

        let (first, end) = (other.first_value(range.start), other.entry_values[range.end - 1] as usize);
        let (start, text_end) = (end_before(&other.value_ends, first), end_before(&other.value_ends, end));
        let (text_base, value_base) = (self.values.len(), self.value_ends.len());
        self.values.push_str(&other.values[start..text_end.max(start)]);
        offset(self.values.len());
        self.value_ends.extend(other.value_ends[first..end].iter().map(moved(text_base, start)));
        offset(self.value_ends.len());
        self.entry_values.extend(other.entry_values[range].iter().map(moved(value_base, first)));
    }

    /// The line at `index`. Panics when `index >= len()`.
    #[inline]
    pub fn line(&self, index: usize) -> &str {
        &self.lines[end_before(&self.line_ends, index)..self.line_ends[index] as usize]
    }

    /// Structured metadata of the entry at `index`. Panics when `index >= len()`.
    #[inline]
    pub fn metadata(&self, index: usize) -> MetadataPairs<'_> {
        let first = self.first_value(index);
        let start = end_before(&self.value_ends, first) as u32;
        let ends = &self.value_ends[first..self.entry_values[index] as usize];
        MetadataPairs::new(&self.shapes[self.entry_shapes[index] as usize], &self.values, start, ends)
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
        self.shapes.clear();
        self.entry_shapes.clear();
        self.values.clear();
        self.value_ends.clear();
        self.entry_values.clear();
        (self.shared_bytes, self.shape_memory_bytes) = (0, 0);
    }
}

impl PartialEq for LogEntries {
    /// Whether the entries are equal, however their metadata is shared.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for LogEntries {}

#[inline]
fn end_before(ends: &[u32], index: usize) -> usize {
    if index == 0 { 0 } else { ends[index - 1] as usize }
}

/// Finds the shape of names that come one after the other: a known one is followed as long as it fits.
struct NameGuess {
    /// Position of the shape that has all names so far.
    like: Option<u32>,
    count: usize,
    /// All names, once no shape has them: text and ends.
    unknown: Option<(String, Vec<usize>)>,
}

impl NameGuess {
    fn new(last: Option<u32>) -> Self {
        Self { like: last, count: 0, unknown: None }
    }

    #[inline]
    fn next(&mut self, name: &str, shapes: &[Arc<MetadataShape>]) {
        if let Some((text, ends)) = &mut self.unknown {
            text.push_str(name);
            ends.push(text.len());
            return;
        }
        let fits = |shape: &MetadataShape| {
            shape.shares_nothing() && self.count < shape.len() && shape.name(self.count) == name
        };
        if !self.like.is_some_and(|like| fits(&shapes[like as usize])) {
            let found = self.search(shapes, fits);
            if found.is_none() {
                let mut names = (String::new(), Vec::new());
                for before in 0..self.count {
                    let like = self.like.expect("a shape had the names so far");
                    names.0.push_str(shapes[like as usize].name(before));
                    names.1.push(names.0.len());
                }
                names.0.push_str(name);
                names.1.push(names.0.len());
                self.unknown = Some(names);
                return;
            }
            self.like = found;
        }
        self.count += 1;
    }

    /// A shape that has the names so far and fits besides.
    fn search(&self, shapes: &[Arc<MetadataShape>], fits: impl Fn(&MetadataShape) -> bool) -> Option<u32> {
        let so_far = |shape: &MetadataShape| match self.like {
            Some(like) => shape.starts_like(&shapes[like as usize], self.count),
            None => self.count == 0,
        };
        let newest = shapes.iter().enumerate().rev().take(SHAPES_SEARCHED);
        newest.filter(|(_, shape)| fits(shape) && so_far(shape)).map(|(position, _)| position as u32).next()
    }

    /// The position of the shape, or a new one.
    fn finish(self, shapes: &[Arc<MetadataShape>]) -> Result<u32, Arc<MetadataShape>> {
        if let Some((text, ends)) = &self.unknown {
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let names = starts.zip(ends).map(|(start, &end)| (&text[start..end], None));
            return Err(Arc::new(MetadataShape::new(names)));
        }
        let whole = |shape: &MetadataShape| shape.shares_nothing() && shape.len() == self.count;
        if let Some(like) = self.like.filter(|&like| whole(&shapes[like as usize])) {
            return Ok(like);
        }
        self.search(shapes, whole).ok_or_else(|| {
            if self.count == 0 {
                return Arc::clone(MetadataShape::empty());
            }
            let names = self.like.map(|like| &shapes[like as usize]);
            let names =
                names.into_iter().flat_map(|shape| (0..self.count).map(|slot| (shape.name(slot), None)));
            Arc::new(MetadataShape::new(names))
        })
    }
}

#[cfg(test)]
mod tests;
