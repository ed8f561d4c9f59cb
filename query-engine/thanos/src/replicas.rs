//! A series of several stores behind the storage seam: decoding is choosing the aggregate, and deduplicating.

use format::{ChunkSample, Recoder};
use model::{ErrorKind, NativeHistogram, SampleColumns, TimeRange};
use storage_api::{ChunkEncoding, EncodedChunk, SeriesChunks, StorageError, StorageResult};

use crate::chunk_columns::{Wanted, columns};
use crate::dedup::{DedupFunction, dedup};
use crate::series_frame::AggrChunk;

/// Chunks of one series, by replica.
pub(crate) struct ReplicaChunks {
    replicas: Vec<Vec<AggrChunk>>,
    wanted: Wanted,
    function: DedupFunction,
    is_counter: bool,
    /// What the whole query looks at, ms: Thanos' algorithm begins at its start, and where it begins decides which
    /// replica it follows.
    bounds: TimeRange,
}

impl ReplicaChunks {
    /// Chunks that are taken as they come.
    pub(crate) fn single(chunks: Vec<AggrChunk>, wanted: Wanted, bounds: TimeRange) -> Self {
        let function = DedupFunction::default();
        Self { replicas: vec![chunks], wanted, function, is_counter: false, bounds }
    }

    /// Chunks of which those that overlap are of different replicas.
    pub(crate) fn deduplicated(
        chunks: Vec<AggrChunk>,
        wanted: Wanted,
        function: DedupFunction,
        is_counter: bool,
        bounds: TimeRange,
    ) -> Self {
        Self { replicas: split(chunks), wanted, function, is_counter, bounds }
    }
}

/// Each chunk goes to the first list that ends before it begins (`NewOverlapSplit` in pkg/dedup/iter.go).
fn split(chunks: Vec<AggrChunk>) -> Vec<Vec<AggrChunk>> {
    let mut replicas: Vec<Vec<AggrChunk>> = Vec::new();
    for chunk in chunks {
        let ends_before =
            |list: &&mut Vec<AggrChunk>| list.last().is_none_or(|last| last.range.max < chunk.range.min);
        match replicas.iter_mut().find(ends_before) {
            Some(list) => list.push(chunk),
            None => replicas.push(vec![chunk]),
        }
    }
    replicas
}

impl SeriesChunks for ReplicaChunks {
    fn decode(&self, range: TimeRange, out: &mut SampleColumns) -> StorageResult<()> {
        let replicas: StorageResult<Vec<SampleColumns>> =
            self.replicas.iter().map(|chunks| columns(chunks, self.wanted, self.bounds)).collect();
        let merged = dedup(replicas?, self.function, self.is_counter);
        let from = merged.timestamps_ms.partition_point(|time| *time < range.min);
        let until = merged.timestamps_ms.partition_point(|time| *time <= range.max).max(from);
        let offset = out.len();
        out.timestamps_ms.extend_from_slice(&merged.timestamps_ms[from..until]);
        out.values.extend_from_slice(&merged.values[from..until]);
        let inside = merged.histograms.into_iter().filter(|(at, _)| (from..until).contains(at));
        out.histograms.extend(inside.map(|(at, histogram)| (at - from + offset, histogram)));
        Ok(())
    }

    fn encoded(&self) -> StorageResult<Vec<EncodedChunk>> {
        let mut columns = SampleColumns::default();
        self.decode(TimeRange::ALL, &mut columns)?;
        encode(&columns)
    }
}

/// Samples as chunks of the encodings that every reader knows.
pub(crate) fn encode(columns: &SampleColumns) -> StorageResult<Vec<EncodedChunk>> {
    let mut recoder = Recoder::default();
    let mut histograms = columns.histograms.iter().peekable();
    for (index, (time, value)) in columns.timestamps_ms.iter().zip(&columns.values).enumerate() {
        let sample = match histograms.next_if(|(at, _)| *at == index) {
            Some((_, histogram)) => {
                ChunkSample::Histogram(NativeHistogram::Float(std::sync::Arc::clone(histogram)))
            }
            None => ChunkSample::Float(*value),
        };
        recoder.push(*time, &sample);
    }
    let chunk = |(range, number, data): (TimeRange, u8, Vec<u8>)| {
        let encoding = ChunkEncoding::from_number(number).ok_or_else(|| {
            StorageError::new(ErrorKind::Internal, "a chunk was written in no known encoding")
        })?;
        Ok(EncodedChunk { range, encoding, data: data.into() })
    };
    recoder.finish().into_iter().map(chunk).collect()
}

#[cfg(test)]
mod tests;
