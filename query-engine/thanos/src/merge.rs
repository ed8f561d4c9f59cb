//! Series of many stores as one sorted stream (pkg/store/proxy_merge.go).
//!
//! Each source is read as far as the merge needs it, so that a fast store waits for a slow one in its HTTP/2 window and
//! not in memory. Equal label sets become one series whose chunks are sorted; chunks that are the same bytes, which
//! replicated data has many of, are kept once.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashSet, VecDeque};

use futures_util::future::join_all;
use model::Labels;
use xxhash_rust::xxh64::xxh64;

use crate::error::ThanosError;
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

impl Failed {
    /// A source of this process.
    pub(crate) fn own(source: &str, error: &ThanosError) -> Self {
        Self { source: source.to_owned(), message: error.to_string() }
    }
}

/// Series of many sources, read as far as the caller goes.
pub(crate) struct Merged {
    sources: Vec<SeriesStream>,
    heap: BinaryHeap<Reverse<Head>>,
    /// Failures that the caller was not told of yet.
    failures: VecDeque<Failed>,
    has_begun: bool,
}

impl Merged {
    /// Merges these.
    pub(crate) fn new(sources: Vec<SeriesStream>) -> Self {
        let heap = BinaryHeap::with_capacity(sources.len());
        Self { sources, heap, failures: VecDeque::new(), has_begun: false }
    }

    /// The next series, put together from all sources that have it; `None` after the last. After an error, which is that
    /// of one source, the others go on.
    pub(crate) async fn next(&mut self) -> Result<Option<StoreSeries>, Failed> {
        if !self.has_begun {
            self.has_begun = true;
            // All are asked at once; each answers in its own time.
            let firsts = join_all(self.sources.iter_mut().map(SeriesStream::next)).await;
            for (source, first) in firsts.into_iter().enumerate() {
                self.take(source, first).await;
            }
        }
        if let Some(failed) = self.failures.pop_front() {
            return Err(failed);
        }
        let Some(Reverse(Head { mut series, source })) = self.heap.pop() else { return Ok(None) };
        self.advance(source).await;
        let mut is_joined = false;
        while self.heap.peek().is_some_and(|Reverse(next)| next.series.labels == series.labels) {
            let Some(Reverse(next)) = self.heap.pop() else { break };
            series.chunks.extend(next.series.chunks);
            is_joined = true;
            self.advance(next.source).await;
        }
        if is_joined {
            sort_chunks(&mut series.chunks);
        }
        Ok(Some(series))
    }

    async fn advance(&mut self, source: usize) {
        let next = self.sources[source].next().await;
        self.take(source, next).await;
    }

    /// Takes the next series of a source in, past what it warns of.
    async fn take(&mut self, source: usize, mut next: Result<Option<StoreSeries>, String>) {
        loop {
            match next {
                Ok(Some(series)) => return self.heap.push(Reverse(Head { series, source })),
                Ok(None) => return,
                Err(message) => {
                    let source = self.sources[source].name().to_owned();
                    self.failures.push_back(Failed { source, message });
                }
            }
            next = self.sources[source].next().await;
        }
    }
}

/// All series of all sources, in order. `failed` is told of each source that fails or warns, and decides whether to go on;
/// `took` is told the bytes of each series, and decides whether that is too much.
pub(crate) async fn merge<E>(
    sources: Vec<SeriesStream>,
    mut failed: impl FnMut(Failed) -> Result<(), E>,
    mut took: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<StoreSeries>, E> {
    let mut sources = Merged::new(sources);
    let mut merged: Vec<StoreSeries> = Vec::new();
    let mut is_sorted = true;
    loop {
        match sources.next().await {
            Ok(Some(series)) => {
                took(series.bytes())?;
                is_sorted &= merged.last().is_none_or(|last| last.labels < series.labels);
                merged.push(series);
            }
            Ok(None) => break,
            Err(one) => failed(one)?,
        }
    }
    Ok(if is_sorted { merged } else { sort(merged) })
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
