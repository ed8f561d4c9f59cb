//! Series of many stores as one sorted stream (pkg/store/proxy_merge.go).
//!
//! Each source is read as far as the merge needs it, so that a fast store waits for a slow one in its HTTP/2 window and
//! not in memory. Equal label sets become one series whose chunks are sorted; chunks that are the same bytes, which
//! replicated data has many of, are kept once.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashSet};

use model::Labels;
use xxhash_rust::xxh64::xxh64;

use crate::series_frame::{AggrChunk, RawChunk, StoreSeries};
use crate::stream::SeriesStream;

/// The head of a source; the heap gives the one with the least labels, of equal ones the first source's.
struct Head {
    series: StoreSeries,
    source: usize,
}

impl Head {
    fn key(&self) -> (&Labels, usize) {
        (&self.series.labels, self.source)
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// A source failed; the others go on if the caller wants.
pub(crate) struct Failed {
    /// Name of the source.
    pub(crate) source: String,
    /// What it said.
    pub(crate) message: String,
}

/// All series of all sources, in order. `failed` is told of each source that fails or warns, and decides whether to go on;
/// `took` is told the bytes of each series, and decides whether that is too much.
pub(crate) async fn merge<E>(
    mut sources: Vec<SeriesStream>,
    mut failed: impl FnMut(Failed) -> Result<(), E>,
    mut took: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<StoreSeries>, E> {
    let mut merged: Vec<StoreSeries> = Vec::new();
    let mut heap = BinaryHeap::with_capacity(sources.len());
    let firsts = futures_util::future::join_all(sources.iter_mut().map(SeriesStream::next)).await;
    for (source, first) in firsts.into_iter().enumerate() {
        advance(first, source, &mut sources, &mut heap, &mut failed).await?;
    }
    let mut is_joined = false;
    let mut is_sorted = true;
    while let Some(Reverse(Head { series, source })) = heap.pop() {
        took(series.bytes())?;
        match merged.last_mut() {
            Some(last) if last.labels == series.labels => {
                last.chunks.extend(series.chunks);
                is_joined = true;
            }
            last => {
                is_sorted &= last.is_none_or(|last| last.labels < series.labels);
                finish(&mut merged, is_joined);
                is_joined = false;
                merged.push(series);
            }
        }
        let next = sources[source].next().await;
        advance(next, source, &mut sources, &mut heap, &mut failed).await?;
    }
    finish(&mut merged, is_joined);
    Ok(if is_sorted { merged } else { sort(merged) })
}

/// Takes the next series of a source into the heap, past what it warns of.
async fn advance<E>(
    mut next: Result<Option<StoreSeries>, String>,
    source: usize,
    sources: &mut [SeriesStream],
    heap: &mut BinaryHeap<Reverse<Head>>,
    failed: &mut impl FnMut(Failed) -> Result<(), E>,
) -> Result<(), E> {
    loop {
        match next {
            Ok(Some(series)) => {
                heap.push(Reverse(Head { series, source }));
                return Ok(());
            }
            Ok(None) => return Ok(()),
            Err(message) => failed(Failed { source: sources[source].name().to_owned(), message })?,
        }
        next = sources[source].next().await;
    }
}

/// What a merge of sources that were not in order has to be brought into.
fn sort(mut series: Vec<StoreSeries>) -> Vec<StoreSeries> {
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    let mut sorted: Vec<StoreSeries> = Vec::with_capacity(series.len());
    for one in series {
        match sorted.last_mut() {
            Some(last) if last.labels == one.labels => {
                last.chunks.extend(one.chunks);
                sort_chunks(&mut last.chunks);
            }
            _ => sorted.push(one),
        }
    }
    sorted
}

/// Brings the last series into order if it was put together.
fn finish(merged: &mut [StoreSeries], is_joined: bool) {
    if let Some(last) = merged.last_mut().filter(|_| is_joined) {
        sort_chunks(&mut last.chunks);
    }
}

/// Chunks in Thanos' order, each once: one stays that has a part which no chunk before it has.
fn sort_chunks(chunks: &mut Vec<AggrChunk>) {
    let mut known = HashSet::with_capacity(chunks.len());
    chunks.retain(|chunk| chunk.parts().any(|part| known.insert(xxh64(&part.data, 0))));
    chunks.sort_by(|a, b| {
        let times = (a.range.min, a.range.max).cmp(&(b.range.min, b.range.max));
        times.then_with(|| a.parts().map(key).cmp(b.parts().map(key)))
    });
}

/// Greater bytes come first (`Chunk.Compare` in pkg/store/storepb/custom.go).
fn key(part: &RawChunk) -> (u8, Reverse<&[u8]>) {
    (part.encoding, Reverse(&part.data))
}

#[cfg(test)]
mod tests;
