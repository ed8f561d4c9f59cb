//! All samples of several blocks, series by series in label order, as they were stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use format::{ChunkMeta, ChunkSample, Intervals, read_chunk_samples};
use model::{Labels, Matcher, TimeRange};
use storage_api::StorageResult;

use super::damaged;
use super::reader::BlockReader;

/// A block's part of a series.
struct Part {
    block: Arc<BlockReader>,
    chunks: Vec<ChunkMeta>,
    deleted: Intervals,
}

/// Calls `visit` with each sample in `range` (ms, both ends included) of the series that match all matchers: by series
/// in label order, each in time order and once. Of equal times in several blocks the first block's counts. Holds the
/// labels of all matching series, and the samples of one.
pub fn walk_samples(
    blocks: &[Arc<BlockReader>],
    matchers: &[Matcher],
    range: TimeRange,
    mut visit: impl FnMut(&Labels, i64, &ChunkSample) -> StorageResult<()>,
) -> StorageResult<()> {
    let mut series: BTreeMap<Labels, Vec<Part>> = BTreeMap::new();
    for block in blocks.iter().filter(|block| block.range().overlaps(range)) {
        let (numbers, texts) = (block.matching(matchers)?, block.symbols()?);
        for some in numbers.chunks(1024) {
            for found in block.series_from(some, &texts)? {
                let inside =
                    |chunk: &ChunkMeta| TimeRange::new(chunk.min_time, chunk.max_time).overlaps(range);
                let chunks = found.chunks.into_iter().filter(inside).collect();
                let part = Part { block: Arc::clone(block), chunks, deleted: found.deleted };
                series.entry(found.labels).or_default().push(part);
            }
        }
    }
    let mut samples: Vec<(i64, ChunkSample)> = Vec::new();
    for (labels, parts) in &series {
        samples.clear();
        for part in parts {
            part.block.read_chunks(&part.chunks, |_, encoding, data| {
                read_chunk_samples(encoding, data, |time, sample| {
                    if range.contains(time) && !part.deleted.contains(time) {
                        samples.push((time, sample));
                    }
                })
                .map_err(|error| damaged(part.block.folder(), &error))
            })?;
        }
        // Stable, so that the first block's sample stays in front.
        samples.sort_by_key(|(time, _)| *time);
        samples.dedup_by_key(|(time, _)| *time);
        samples.iter().try_for_each(|(time, sample)| visit(labels, *time, sample))?;
    }
    Ok(())
}
