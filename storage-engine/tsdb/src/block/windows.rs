//! All windows of a downsampled block, series by series, with the aggregate among the labels as `__aggregate__`.

use std::sync::Arc;

use format::{Aggregate, AggregateChunk, ChunkSample, ENCODING_AGGREGATE, FormatError, read_chunk_samples};
use model::{Labels, Matcher, TimeRange};
use storage_api::StorageResult;

use super::damaged;
use super::reader::BlockReader;

/// The label that names an aggregate.
const AGGREGATE: &str = "__aggregate__";

/// Whether a block has windows instead of samples, by Thanos' section of its description.
pub fn has_windows(block: &BlockReader) -> bool {
    let meta = block.meta();
    let resolution = meta.others.get("thanos").and_then(|thanos| thanos.pointer("/downsample/resolution"));
    resolution.and_then(|value| value.as_i64()).is_some_and(|resolution| resolution > 0)
}

/// Calls `visit` with each window in `range` of the series that match, by series in label order, then by aggregate and
/// time. The last value of a counter comes twice, as it is stored.
pub fn walk_windows(
    block: &Arc<BlockReader>,
    matchers: &[Matcher],
    range: TimeRange,
    mut visit: impl FnMut(&Labels, i64, &ChunkSample) -> StorageResult<()>,
) -> StorageResult<()> {
    let (numbers, texts) = (block.matching(matchers)?, block.symbols()?);
    let mut found: Vec<(i64, ChunkSample)> = Vec::new();
    for some in numbers.chunks(256) {
        for series in block.series_from(some, &texts)? {
            for aggregate in Aggregate::ALL {
                found.clear();
                block.read_chunks(&series.chunks, |_, encoding, data| {
                    take(encoding, data, aggregate, &mut found)
                        .map_err(|error| damaged(block.folder(), &error))
                })?;
                let name = format!("{aggregate:?}").to_lowercase();
                let labels = series.labels.iter().chain([(AGGREGATE, name.as_str())]);
                let labels = Labels::from_pairs(labels);
                let inside = found.iter().filter(|(time, _)| range.contains(*time));
                inside.into_iter().try_for_each(|(time, sample)| visit(&labels, *time, sample))?;
            }
        }
    }
    Ok(())
}

fn take(
    encoding: u8,
    data: &[u8],
    aggregate: Aggregate,
    found: &mut Vec<(i64, ChunkSample)>,
) -> Result<(), FormatError> {
    if encoding != ENCODING_AGGREGATE {
        return Err(FormatError::new("downsampled block", "it has a chunk that is no windows"));
    }
    match AggregateChunk::decode(data)?.get(aggregate) {
        Some((encoding, data)) => {
            read_chunk_samples(encoding, data, |time, sample| found.push((time, sample)))
        }
        None => Ok(()),
    }
}
