//! One answer from several sources: the blocks of a tenant and its head, which may have the same samples.
//!
//! Series are merged by labels. Samples are decoded source by source, in the order of the sources; where one begins before
//! the other ended the two are merged, and of two samples of one time the source that comes first wins.

use std::sync::Arc;

use model::{FloatHistogram, SampleColumns, TimeRange};
use storage_api::{EncodedChunk, Series, SeriesChunks, StorageResult};

/// Series of several sources, each sorted by labels with each label set once, as one such list.
pub(crate) fn merge_series(mut sources: Vec<Vec<Series>>) -> Vec<Series> {
    sources.retain(|source| !source.is_empty());
    if sources.len() <= 1 {
        return sources.pop().unwrap_or_default();
    }
    let mut all: Vec<Series> = sources.into_iter().flatten().collect();
    // Stable: sources stay in their order.
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    let mut merged: Vec<Series> = Vec::with_capacity(all.len());
    let mut rest = all.into_iter().peekable();
    while let Some(Series { labels, chunks }) = rest.next() {
        let mut parts = vec![chunks];
        while let Some(next) = rest.next_if(|next| next.labels == labels) {
            parts.push(next.chunks);
        }
        let chunks = if parts.len() == 1 { parts.swap_remove(0) } else { Arc::new(Union(parts)) };
        merged.push(Series { labels, chunks });
    }
    merged
}

/// Sorted lists as one, each element once.
pub(crate) fn merge_sorted<T: Ord>(sources: Vec<Vec<T>>) -> Vec<T> {
    let mut sources = sources.into_iter().filter(|source| !source.is_empty());
    let Some(mut all) = sources.next() else { return Vec::new() };
    let before = all.len();
    all.extend(sources.flatten());
    if all.len() > before {
        all.sort_unstable();
        all.dedup();
    }
    all
}

/// Chunks of one series from several sources.
struct Union(Vec<Arc<dyn SeriesChunks>>);

impl SeriesChunks for Union {
    fn decode(&self, range: TimeRange, out: &mut SampleColumns) -> StorageResult<()> {
        let first = out.len();
        for part in &self.0 {
            let start = out.len();
            part.decode(range, out)?;
            merge_tail(out, first, start);
        }
        Ok(())
    }

    fn encoded(&self) -> StorageResult<Vec<EncodedChunk>> {
        let mut chunks = Vec::new();
        for part in &self.0 {
            chunks.append(&mut part.encoded()?);
        }
        chunks.sort_by_key(|chunk| (chunk.range.min, chunk.range.max));
        Ok(chunks)
    }
}

/// Brings the ascending runs `first..start` and `start..` of the columns into one.
fn merge_tail(columns: &mut SampleColumns, first: usize, start: usize) {
    let times = &columns.timestamps_ms;
    if start == first || start == times.len() || times[start - 1] < times[start] {
        return;
    }
    // Only what is not before the second run's beginning moves.
    let from = first + times[first..start].partition_point(|time| *time < times[start]);
    let at = columns.histograms.partition_point(|(position, _)| *position < from);
    let (times, values) = (columns.timestamps_ms.split_off(from), columns.values.split_off(from));
    let histograms = columns.histograms.split_off(at);
    let mut histograms_at: Vec<Option<Arc<FloatHistogram>>> = Vec::new();
    if !histograms.is_empty() {
        histograms_at.resize(times.len(), None);
        for (position, histogram) in histograms {
            histograms_at[position - from] = Some(histogram);
        }
    }
    let mut push = |index: usize| match histograms_at.get_mut(index).and_then(Option::take) {
        Some(histogram) => columns.push_histogram(times[index], histogram),
        None => columns.push(times[index], values[index]),
    };
    let (mut left, mut right) = (0, start - from);
    while left < start - from && right < times.len() {
        match times[left].cmp(&times[right]) {
            std::cmp::Ordering::Less => push(left),
            std::cmp::Ordering::Greater => push(right),
            std::cmp::Ordering::Equal => push(left),
        }
        let (advance_left, advance_right) = (times[left] <= times[right], times[right] <= times[left]);
        left += usize::from(advance_left);
        right += usize::from(advance_right);
    }
    (left..start - from).for_each(&mut push);
    (right..times.len()).for_each(&mut push);
}

#[cfg(test)]
mod tests;
