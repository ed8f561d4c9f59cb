//! Comparing the buckets of a chunk with those of the next histogram: which are new, which are missing, and what
//! layout holds both (`expandSpansBothWays` and its relatives in tsdb/chunkenc/histogram_meta.go).

use std::cmp::Ordering;

use model::BucketSpan;

/// Buckets of one sign, chunk against histogram.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// The histogram has buckets that the chunk lacks.
    pub(super) has_new: bool,
    /// The chunk has buckets that the histogram lacks.
    pub(super) has_missing: bool,
    /// Indices of all buckets of both, ascending; for counters filled only when layouts differ.
    union: Vec<i32>,
}

/// Indices of the buckets that spans describe.
pub(super) fn indices(spans: &[BucketSpan]) -> impl Iterator<Item = i32> {
    let mut next = 0_i32;
    spans.iter().flat_map(move |span| {
        let start = next.wrapping_add(span.offset);
        next = start.wrapping_add_unsigned(span.length);
        (0..span.length).map(move |i| start.wrapping_add_unsigned(i))
    })
}

/// Compares bucket by bucket; `None` when a count went down, or a bucket that had one is missing: a counter reset.
pub(super) fn compare_counters<B: Copy + Default + PartialOrd>(
    chunk: &[BucketSpan],
    chunk_counts: impl Iterator<Item = B>,
    histogram: &[BucketSpan],
    counts: impl Iterator<Item = B>,
) -> Option<Side> {
    if chunk == histogram {
        let fell = chunk_counts.zip(counts).any(|(before, now)| before > now);
        return (!fell).then(Side::default);
    }
    let before = indices(chunk).zip(chunk_counts);
    let now = indices(histogram).zip(counts);
    merge(before, now, |before, now| match (before, now) {
        (Some(before), Some(now)) => !matches!(before.partial_cmp(&now), Some(Ordering::Greater)),
        (Some(before), None) => before == B::default(),
        _ => true,
    })
}

/// Compares layouts alone, as gauges are.
pub(super) fn compare_layouts(chunk: &[BucketSpan], histogram: &[BucketSpan]) -> Side {
    let before = indices(chunk).map(|index| (index, ()));
    let now = indices(histogram).map(|index| (index, ()));
    merge(before, now, |_, _| true).expect("nothing is refused")
}

fn merge<B>(
    before: impl Iterator<Item = (i32, B)>,
    now: impl Iterator<Item = (i32, B)>,
    accept: impl Fn(Option<B>, Option<B>) -> bool,
) -> Option<Side> {
    let (mut before, mut now) = (before.peekable(), now.peekable());
    let mut side = Side::default();
    loop {
        let order = match (before.peek(), now.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((left, _)), Some((right, _))) => left.cmp(right),
        };
        let left = if order == Ordering::Greater { None } else { before.next() };
        let right = if order == Ordering::Less { None } else { now.next() };
        side.has_missing |= right.is_none();
        side.has_new |= left.is_none();
        let index = left.as_ref().or(right.as_ref()).map(|(index, _)| *index);
        side.union.extend(index);
        if !accept(left.map(|(_, count)| count), right.map(|(_, count)| count)) {
            return None;
        }
    }
    Some(side)
}

impl Side {
    /// Spans of all buckets of both.
    pub(super) fn union_spans(&self) -> Vec<BucketSpan> {
        let mut spans: Vec<BucketSpan> = Vec::new();
        let mut next = 0_i32;
        for &index in &self.union {
            match spans.last_mut() {
                Some(span) if index == next => span.length += 1,
                _ => spans.push(BucketSpan { offset: index.wrapping_sub(next), length: 1 }),
            }
            next = index.wrapping_add(1);
        }
        spans
    }
}

/// Counts of buckets laid out as `from`, laid out as `to`: buckets that `from` lacks have none.
pub(super) fn spread<B: Copy + Default>(
    from: &[BucketSpan],
    counts: impl Iterator<Item = B>,
    to: &[BucketSpan],
) -> impl Iterator<Item = B> {
    let mut have = indices(from).zip(counts).peekable();
    indices(to)
        .map(move |index| have.next_if(|(at, _)| *at == index).map_or(B::default(), |(_, count)| count))
}
