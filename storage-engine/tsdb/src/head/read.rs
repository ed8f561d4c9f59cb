//! What queries read from the head: label sets, label names and values, snapshots of chunks.

use std::sync::Arc;

use bytes::Bytes;
use format::{chunk_samples, decode_chunk};
use hashbrown::HashSet;
use model::{Labels, Matcher, SampleColumns, TimeRange};
use storage_api::{ChunkEncoding, EncodedChunk, Series, SeriesChunks, StorageResult};

use super::selection::Selection;
use super::series::{ChunkData, ChunkSnapshot};
use super::spill::SpillView;
use super::symbols::Symbol;
use super::value::{decode_values, encode_values};
use super::{Head, Shard, resolve};
use crate::error::TsdbError;

/// Series read under one hold of a shard's data lock, so that appends wait for microseconds.
const GATHER_SERIES: usize = 256;

/// Series of a shard that match.
struct Matching {
    /// Series that the shard had.
    looked_at: usize,
    /// Their numbers, ascending.
    locals: Vec<u32>,
}

/// Chunks of one series, as they were when its query began.
struct HeadChunks {
    labels: Labels,
    chunks: Vec<ChunkSnapshot>,
    view: SpillView,
}

impl Head {
    /// Matching series with samples in `range`, sorted by labels; all with the same appends in them (TSDB-2).
    pub(crate) fn select(&self, matchers: &[Matcher], range: TimeRange) -> Vec<Series> {
        let _names = self.names.read();
        let mut selection = Selection::new(matchers);
        let mut matching: Vec<_> =
            self.shards.iter().map(|shard| self.matching(shard, &mut selection)).collect();
        let mut snapshots = Vec::new();
        let view = {
            let _one_epoch_at_a_time = self.gather.lock();
            let epoch = self.begin_epoch();
            for (number, (shard, matching)) in self.shards.iter().zip(&mut matching).enumerate() {
                // An append that is in this epoch may have made series since the labels were looked at.
                if shard.index.read().labels.len() > matching.looked_at {
                    *matching = self.matching(shard, &mut selection);
                }
                for some in matching.locals.chunks(GATHER_SERIES) {
                    let data = shard.data.lock();
                    for &local in some {
                        let Some(series) = data.series.get(local) else { continue };
                        let chunks = series.snapshot(&data.pieces, &self.spill, range, epoch);
                        if !chunks.is_empty() {
                            snapshots.push((number, local, chunks));
                        }
                    }
                }
            }
            self.spill.view()
        };
        let mut found: Vec<Series> = self.resolve_all(snapshots, &view);
        found.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        found
    }

    /// Ends the epoch of all appends so far; the caller holds `gather`.
    fn begin_epoch(&self) -> u64 {
        let mut visible = self.visible.write();
        *visible += 1;
        *visible
    }

    fn resolve_all(&self, snapshots: Vec<(usize, u32, Vec<ChunkSnapshot>)>, view: &SpillView) -> Vec<Series> {
        let mut found = Vec::with_capacity(snapshots.len());
        let mut snapshots = snapshots.into_iter().peekable();
        while let Some(&(number, ..)) = snapshots.peek() {
            let index = self.shards[number].index.read();
            let texts = self.symbols.read();
            while let Some((_, local, chunks)) = snapshots.next_if(|snapshot| snapshot.0 == number) {
                let symbols = index.labels.get(local).expect("a series was found by its number");
                let labels = resolve(symbols, &texts);
                let chunks = HeadChunks { labels: labels.clone(), chunks, view: view.clone() };
                found.push(Series { labels, chunks: Arc::new(chunks) });
            }
        }
        found
    }

    /// Label sets of matching series with samples in `range`, sorted.
    pub(crate) fn series_labels(&self, matchers: &[Matcher], range: TimeRange) -> Vec<Labels> {
        let _names = self.names.read();
        let mut found = Vec::new();
        self.visit(matchers, range, |symbols| found.push(Box::<[Symbol]>::from(symbols)));
        let texts = self.symbols.read();
        let mut found: Vec<_> = found.iter().map(|symbols| resolve(symbols, &texts)).collect();
        found.sort_unstable();
        found
    }

    /// Label names of matching series with samples in `range`, sorted.
    pub(crate) fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> Vec<String> {
        let _names = self.names.read();
        let mut names = HashSet::new();
        if matchers.is_empty() && range == TimeRange::ALL {
            self.shards.iter().for_each(|shard| names.extend(shard.index.read().postings.names()));
        } else {
            self.visit(matchers, range, |symbols| names.extend(symbols.iter().step_by(2)));
        }
        self.sorted_texts(names)
    }

    /// Values of label `name` in matching series with samples in `range`, sorted.
    pub(crate) fn label_values(&self, name: &str, matchers: &[Matcher], range: TimeRange) -> Vec<String> {
        let _names = self.names.read();
        let Some(name) = self.symbols.read().find(name) else { return Vec::new() };
        let mut values = HashSet::new();
        if matchers.is_empty() && range == TimeRange::ALL {
            for shard in &self.shards {
                let index = shard.index.read();
                values.extend(
                    index.postings.values(name).into_iter().flat_map(|v| v.iter().map(|(value, _)| value)),
                );
            }
        } else {
            self.visit(matchers, range, |symbols| {
                values.extend(symbols.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1]));
            });
        }
        self.sorted_texts(values)
    }

    /// Calls `found` with the labels of each matching series that has samples in `range`; the caller holds `names`.
    fn visit(&self, matchers: &[Matcher], range: TimeRange, mut found: impl FnMut(&[Symbol])) {
        let mut selection = Selection::new(matchers);
        for shard in &self.shards {
            let matching = self.matching(shard, &mut selection);
            for some in matching.locals.chunks(GATHER_SERIES) {
                let index = shard.index.read();
                let data = shard.data.lock();
                for &local in some {
                    if data.series.get(local).is_some_and(|series| series.overlaps(range)) {
                        found(index.labels.get(local).expect("every series has labels"));
                    }
                }
            }
        }
    }

    /// Numbers of the matching series of a shard; the caller holds `names`.
    pub(super) fn matching_locals(&self, shard: &Shard, selection: &mut Selection) -> Vec<u32> {
        self.matching(shard, selection).locals
    }

    fn matching(&self, shard: &Shard, selection: &mut Selection) -> Matching {
        let index = shard.index.read();
        let looked_at = index.labels.len();
        let mut locals = selection.select(&index.postings, looked_at, &self.symbols.read());
        // Without a matcher that names series all numbers are taken, those of forgotten series too.
        if index.table.len() < looked_at {
            locals.retain(|local| index.labels.get(*local).is_some());
        }
        Matching { looked_at, locals }
    }

    fn sorted_texts(&self, symbols: HashSet<Symbol>) -> Vec<String> {
        let texts = self.symbols.read();
        let mut sorted: Vec<String> =
            symbols.into_iter().map(|symbol| texts.text(symbol).to_owned()).collect();
        sorted.sort_unstable();
        sorted
    }
}

impl SeriesChunks for HeadChunks {
    fn decode(&self, range: TimeRange, out: &mut SampleColumns) -> StorageResult<()> {
        let mut buffer = Vec::new();
        for chunk in self.chunks.iter().filter(|chunk| chunk.range.overlaps(range)) {
            let data = chunk.data.read(&self.view, &mut buffer)?;
            decode_chunk(chunk.encoding, data, chunk.samples, range, out)
                .map_err(|error| TsdbError::Chunk { labels: self.labels.to_string(), error })?;
        }
        Ok(())
    }

    fn encoded(&self) -> StorageResult<Vec<EncodedChunk>> {
        let fail = |error| TsdbError::Chunk { labels: self.labels.to_string(), error };
        let (mut encoded, mut buffer) = (Vec::with_capacity(self.chunks.len()), Vec::new());
        for chunk in &self.chunks {
            let bytes = chunk.data.read(&self.view, &mut buffer)?;
            let all = chunk_samples(chunk.encoding, bytes).map_err(fail)?;
            if chunk.samples >= all {
                let data = match &chunk.data {
                    ChunkData::Held(data) => Bytes::from_owner(Arc::clone(data)),
                    ChunkData::Spilled(_) => Bytes::copy_from_slice(bytes),
                };
                encoded.push(EncodedChunk { range: chunk.range, encoding: encoding(chunk.encoding), data });
                continue;
            }
            // The chunk grew after the query began: its beginning is a chunk of its own.
            let values = decode_values(chunk.encoding, bytes, chunk.samples).map_err(fail)?;
            encoded.extend(encode_values(&values).into_iter().map(|built| EncodedChunk {
                range: built.range,
                encoding: encoding(built.appender.encoding()),
                data: built.data.into(),
            }));
        }
        Ok(encoded)
    }
}

fn encoding(number: u8) -> ChunkEncoding {
    ChunkEncoding::from_number(number).expect("the head has chunks of the encodings that it writes")
}
