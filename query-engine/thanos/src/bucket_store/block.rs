//! One block of the bucket: opened when a query needs it, closed when none did for a while.
//!
//! A query goes over a block twice: first over its index, for the labels and places of the series that match; then, batch
//! by batch as the answer is sent, over its chunks. What the first pass leaves in memory is some percent of the answer.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bucket::{BlockCache, BlockDisk, Bucket, BucketBlock, BucketError};
use bytes::Bytes;
use format::{AggregateChunk, ChunkMeta, ENCODING_AGGREGATE, Symbols, decode_chunk};
use model::{ErrorKind, Labels, Matcher, SampleColumns, TimeRange};
use parking_lot::Mutex;
use storage_api::{ChunkEncoding, StorageError, StorageResult};
use tsdb::block::BlockReader;

use super::choice::block_range;
use crate::error::ThanosResult;
use crate::replicas::encode;
use crate::select::{StoreSelect, for_series, shown};
use crate::series_frame::{AggrChunk, Aggregate, RawChunk, StoreSeries};

/// Series whose entries are read from the index at a time.
const SERIES_AT_ONCE: usize = 4096;

/// Series of one batch of chunks, whatever their size.
const BATCH_SERIES_MAX: usize = 4096;

/// Texts of an index stay in memory with an open block up to this size; larger ones are read for each query.
const SYMBOLS_BYTES_MAX: usize = 8 << 20;

/// What a chunk takes when the place of the next does not tell, bytes.
const CHUNK_BYTES: u64 = 512;

/// Where blocks come from and what was fetched of them.
pub(super) struct Place {
    pub(super) bucket: Bucket,
    pub(super) cache: BlockCache,
}

/// A block that is served.
pub(super) struct StoredBlock {
    pub(super) block: BucketBlock,
    /// External labels.
    pub(super) labels: Labels,
    /// Times of its samples, ms, both ends included.
    pub(super) range: TimeRange,
    open: Mutex<Option<Open>>,
    used_ms: AtomicI64,
}

#[derive(Clone)]
struct Open {
    reader: Arc<BlockReader>,
    /// `None` when they are too large to be kept.
    texts: Option<Arc<Symbols>>,
}

/// A series of a block: its labels as shown and where its chunks are.
struct Found {
    labels: Labels,
    chunks: Box<[ChunkMeta]>,
}

impl StoredBlock {
    pub(super) fn new(block: BucketBlock) -> Self {
        let labels = Labels::from_pairs(block.thanos.labels.iter());
        let range = block_range(&block);
        Self { block, labels, range, open: Mutex::default(), used_ms: AtomicI64::new(i64::MIN) }
    }

    /// The block, open. Blocks.
    fn open(&self, place: &Place, now_ms: i64) -> StorageResult<Open> {
        self.used_ms.store(now_ms, Ordering::Relaxed);
        let mut held = self.open.lock();
        if let Some(open) = held.as_ref().filter(|open| open.reader.damage().is_none()) {
            return Ok(open.clone());
        }
        if held.take().is_some() {
            // The damage may be in what the disk has of it: everything is fetched again.
            place.cache.forget(&self.block);
        }
        let opened = BlockDisk::cached(&place.bucket, &self.block, &place.cache)
            .map_err(|error| of_bucket(&error))
            .and_then(|disk| BlockReader::open(&disk, Path::new(&self.block.ulid().to_string())));
        let reader = Arc::new(opened.inspect_err(|_| {
            metrics::counter!("thanos_bucket_store_block_load_failures_total").increment(1);
            place.cache.forget(&self.block);
        })?);
        let texts = reader.symbols()?;
        let texts = (texts.memory_bytes() <= SYMBOLS_BYTES_MAX).then_some(texts);
        let open = Open { reader, texts };
        *held = Some(open.clone());
        Ok(open)
    }

    /// Closes it unless a query used it since `since_ms`.
    pub(super) fn close_unless_used(&self, since_ms: i64) {
        if self.used_ms.load(Ordering::Relaxed) < since_ms {
            *self.open.lock() = None;
        }
    }

    /// Whether it is open.
    pub(super) fn is_open(&self) -> bool {
        self.open.lock().is_some()
    }

    /// The series that match and have chunks in the range; `None` when external labels say that there are none. Blocks.
    pub(super) fn select(
        &self,
        place: &Place,
        select: &StoreSelect,
        now_ms: i64,
    ) -> ThanosResult<Option<BlockSeries>> {
        let Some(matchers) = for_series(&select.matchers, &self.labels)? else { return Ok(None) };
        let Open { reader, texts } = self.open(place, now_ms)?;
        let texts = texts.map_or_else(|| reader.symbols(), Ok)?;
        let mut found = Vec::new();
        let mut scratch = Vec::new();
        for numbers in reader.matching(&matchers)?.chunks(SERIES_AT_ONCE) {
            for series in reader.series_from(numbers, &texts)? {
                let mut chunks = series.chunks;
                chunks
                    .retain(|chunk| chunk.min_time <= select.range.max && chunk.max_time >= select.range.min);
                if chunks.is_empty() {
                    continue;
                }
                let labels = shown(&series.labels, &self.labels, &select.without);
                if select.shard.as_ref().is_none_or(|shard| shard.contains(&labels, &mut scratch)) {
                    found.push(Found { labels, chunks: chunks.into() });
                }
            }
        }
        if !found.is_sorted_by(|a, b| a.labels <= b.labels) {
            found.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        if select.limit > 0 {
            found.truncate(select.limit);
        }
        Ok(Some(BlockSeries { reader, found: found.into_iter(), aggregates: select.aggregates.clone() }))
    }

    /// Names of the labels of the series that match, in no order. Blocks.
    pub(super) fn label_names(
        &self,
        place: &Place,
        matchers: &[Matcher],
        range: TimeRange,
        now_ms: i64,
    ) -> StorageResult<Vec<String>> {
        let reader = self.open(place, now_ms)?.reader;
        let mut names = reader.label_names(matchers, seen(matchers, range))?;
        if !names.is_empty() {
            names.extend(self.labels.iter().map(|(name, _)| name.to_owned()));
        }
        Ok(names)
    }

    /// Values of a label of the series that match, in no order. Blocks.
    pub(super) fn label_values(
        &self,
        place: &Place,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
        now_ms: i64,
    ) -> StorageResult<Vec<String>> {
        let value = self.labels.get(name);
        if let (Some(value), true) = (value, matchers.is_empty()) {
            return Ok(vec![value.to_owned()]);
        }
        let reader = self.open(place, now_ms)?.reader;
        match value {
            None => reader.label_values(name, matchers, seen(matchers, range)),
            Some(value) => {
                let names = reader.label_names(matchers, range)?;
                Ok(if names.is_empty() { Vec::new() } else { vec![value.to_owned()] })
            }
        }
    }
}

/// Without matchers the header answers for the whole block, as in Thanos: times would need every entry of the index.
fn seen(matchers: &[Matcher], range: TimeRange) -> TimeRange {
    if matchers.is_empty() { TimeRange::ALL } else { range }
}

fn of_bucket(error: &BucketError) -> StorageError {
    StorageError::new(error.kind(), error.to_string())
}

/// Series of one block whose chunks are read batch by batch.
pub(crate) struct BlockSeries {
    reader: Arc<BlockReader>,
    found: std::vec::IntoIter<Found>,
    aggregates: Vec<Aggregate>,
}

impl BlockSeries {
    /// All label sets, in order.
    pub(super) fn into_labels(self) -> impl Iterator<Item = Labels> {
        self.found.map(|found| found.labels)
    }

    /// The next series with their chunks, about `bytes` of them and at least one; none after the last. Blocks.
    pub(crate) fn batch(&mut self, bytes: u64) -> StorageResult<Vec<StoreSeries>> {
        let mut batch = Vec::new();
        let mut places = Vec::new();
        let mut expected = 0;
        while expected < bytes && batch.len() < BATCH_SERIES_MAX {
            let Some(found) = self.found.next() else { break };
            expected += chunk_bytes(&found.chunks);
            places.extend_from_slice(&found.chunks);
            batch.push(found);
        }
        places.sort_unstable_by_key(|chunk| chunk.reference);
        self.reader.want_chunks(places.iter());
        let mut data = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
        let mut read = Vec::with_capacity(batch.len());
        for found in batch {
            let mut parts = Vec::with_capacity(found.chunks.len());
            self.reader.read_chunks(&found.chunks, |chunk, encoding, bytes| {
                let range = TimeRange::new(chunk.min_time, chunk.max_time);
                put_chunk(&mut parts, &mut data, range, encoding, bytes, &self.aggregates)
            })?;
            read.push((found.labels, parts));
        }
        // All chunks of a batch are slices of one buffer.
        let data = Bytes::from(data);
        let series = |(labels, parts): (Labels, Vec<Part>)| StoreSeries {
            labels,
            chunks: parts.into_iter().map(|part| part.chunk(&data)).collect(),
        };
        Ok(read.into_iter().map(series).collect())
    }
}

/// Bytes of chunks, by the places where they begin.
fn chunk_bytes(chunks: &[ChunkMeta]) -> u64 {
    let known = chunks.windows(2).map(|pair| {
        let distance = pair[1].reference.saturating_sub(pair[0].reference);
        if distance < 64 * CHUNK_BYTES { distance } else { CHUNK_BYTES }
    });
    known.sum::<u64>() + CHUNK_BYTES
}

/// A chunk on its way: places of its parts in the batch's buffer.
struct Part {
    range: TimeRange,
    raw: Option<Slice>,
    aggregates: [Option<Slice>; 5],
}

#[derive(Clone, Copy)]
struct Slice {
    encoding: u8,
    from: usize,
    until: usize,
}

impl Slice {
    fn put(data: &mut Vec<u8>, encoding: u8, bytes: &[u8]) -> Self {
        let from = data.len();
        data.extend_from_slice(bytes);
        Self { encoding, from, until: data.len() }
    }

    fn chunk(self, data: &Bytes) -> RawChunk {
        RawChunk { encoding: self.encoding, data: data.slice(self.from..self.until) }
    }
}

impl Part {
    fn chunk(self, data: &Bytes) -> AggrChunk {
        let has_aggregates = self.aggregates.iter().any(Option::is_some);
        AggrChunk {
            range: self.range,
            raw: self.raw.map(|slice| slice.chunk(data)),
            aggregates: has_aggregates
                .then(|| Box::new(self.aggregates.map(|slice| slice.map(|slice| slice.chunk(data))))),
        }
    }
}

/// Takes a chunk as it lies in the file: samples whole, of windows the aggregates that are wanted (`populateChunk` in
/// pkg/store/bucket.go). Encodings that Thanos does not know are encoded anew (CHUNK-1).
fn put_chunk(
    parts: &mut Vec<Part>,
    data: &mut Vec<u8>,
    range: TimeRange,
    encoding: u8,
    bytes: &[u8],
    wanted: &[Aggregate],
) -> StorageResult<()> {
    let corrupt = |error: format::FormatError| StorageError::new(ErrorKind::Corrupt, error.to_string());
    if encoding == ENCODING_AGGREGATE {
        let chunk = AggregateChunk::decode(bytes).map_err(corrupt)?;
        let mut part = Part { range, raw: None, aggregates: [None; 5] };
        for aggregate in wanted {
            let Some(of_file) = aggregate.of_file() else { continue };
            if let Some((encoding, bytes)) = chunk.get(of_file) {
                part.aggregates[*aggregate as usize - 1] = Some(Slice::put(data, encoding, bytes));
            }
        }
        parts.push(part);
        return Ok(());
    }
    let mut push = |range, encoding, bytes: &[u8]| {
        let raw = Some(Slice::put(data, encoding, bytes));
        parts.push(Part { range, raw, aggregates: [None; 5] });
    };
    if encoding <= ChunkEncoding::FloatHistogram.number() {
        push(range, encoding, bytes);
        return Ok(());
    }
    let mut columns = SampleColumns::default();
    decode_chunk(encoding, bytes, u16::MAX, TimeRange::ALL, &mut columns).map_err(corrupt)?;
    for chunk in encode(&columns)? {
        push(chunk.range, chunk.encoding.number(), &chunk.data);
    }
    Ok(())
}
