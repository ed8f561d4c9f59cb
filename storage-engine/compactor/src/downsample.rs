//! Downsampling, sample for sample as Thanos does it (pkg/compact/downsample/downsample.go): windows of 5 minutes from raw
//! samples, of an hour from those of 5 minutes.
//!
//! A window ends just before a multiple of its length, and at the last sample of its batch. Batches are so cut that a
//! chunk has fewer than 140 windows; those of an hour are cut only between chunks, because the first and the last sample
//! of a chunk's counter are the raw ones that tell of resets between chunks.
//!
//! Sketch: one series at a time is in memory, decoded: 16 bytes a float, so 1.3 MB for 14 days at 15 s.

mod aggregates;
mod floats;
mod histograms;

use format::{AggregateChunk, ENCODING_AGGREGATE, FormatError, decode_chunk};
use model::{SampleColumns, TimeRange, is_stale_nan};
use tsdb::levels::MergedChunk;

use floats::Floats;
use histograms::Histograms;

/// Windows of this length are made of raw samples, ms.
pub const RESOLUTION_5M: i64 = 300_000;

/// Windows of this length are made of those of 5 minutes, ms.
pub const RESOLUTION_1H: i64 = 3_600_000;

/// Raw samples are taken to be this far apart when the number of chunks is chosen, ms.
const RAW_STEP_MS: i64 = 60_000;

/// Windows of a chunk, on average less.
const WINDOWS_MAX: i64 = 140;

/// The chunks of a series with windows of `resolution_ms`, made of raw chunks in the order of their times.
pub(crate) fn of_raw(chunks: &[MergedChunk], resolution_ms: i64) -> Result<Vec<MergedChunk>, FormatError> {
    let mut done = Vec::new();
    let mut run = SampleColumns::default();
    let mut is_histogram = false;
    let mut one = SampleColumns::default();
    for chunk in chunks {
        one.clear();
        decode_chunk(chunk.encoding, &chunk.data, u16::MAX, TimeRange::ALL, &mut one)?;
        let are_histograms = !one.histograms.is_empty();
        if !run.is_empty() && are_histograms != is_histogram {
            raw_run(&run, resolution_ms, &mut done);
            run.clear();
        }
        is_histogram = are_histograms;
        append_fresh(&one, &mut run);
    }
    raw_run(&run, resolution_ms, &mut done);
    Ok(done)
}

/// The chunks of a series with windows of `resolution_ms`, made of chunks with shorter ones.
pub(crate) fn of_aggregates(
    chunks: &[MergedChunk],
    from_ms: i64,
    resolution_ms: i64,
) -> Result<Vec<MergedChunk>, FormatError> {
    let mut fixed: Vec<MergedChunk> = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        if chunk.encoding == ENCODING_AGGREGATE {
            fixed.push(chunk.clone());
        } else {
            // Raw chunks that came into a downsampled block are downsampled on the way, as Thanos does.
            fixed.extend(of_raw(std::slice::from_ref(chunk), RESOLUTION_5M)?);
        }
    }
    aggregates::downsample(&fixed, from_ms, resolution_ms)
}

/// Appends samples that are no stale markers and do not go back in time.
fn append_fresh(from: &SampleColumns, to: &mut SampleColumns) {
    let mut histograms = from.histograms.iter().peekable();
    let mut last_ms = 0;
    for (at, (time_ms, value)) in from.timestamps_ms.iter().zip(&from.values).enumerate() {
        let histogram = histograms.next_if(|(position, _)| *position == at).map(|(_, histogram)| histogram);
        let is_stale = is_stale_nan(histogram.map_or(*value, |histogram| histogram.sum));
        if is_stale || *time_ms < last_ms {
            continue;
        }
        last_ms = *time_ms;
        match histogram {
            Some(histogram) => to.push_histogram(*time_ms, std::sync::Arc::clone(histogram)),
            None => to.push(*time_ms, *value),
        }
    }
}

/// Downsamples samples of one kind.
fn raw_run(run: &SampleColumns, resolution_ms: i64, done: &mut Vec<MergedChunk>) {
    let times = &run.timestamps_ms;
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return };
    let chunks = target_chunks(*first, *last, RAW_STEP_MS, resolution_ms, times.len());
    let batch_size = times.len() / chunks + 1;
    let is_histogram = !run.histograms.is_empty();
    let mut start = 0;
    while start < times.len() {
        let mut end = (start + batch_size).min(times.len());
        // A batch that ends inside a window takes the rest of it too.
        let window_end = window_end(times[end - 1], resolution_ms);
        end += times[end..].iter().take_while(|time| **time <= window_end).count();
        if is_histogram {
            let batch: Vec<_> = run.histograms[start..end]
                .iter()
                .map(|(position, histogram)| (times[*position], &**histogram))
                .filter(|(_, histogram)| !histogram.sum.is_nan())
                .collect();
            done.extend(Histograms::of_raw(&batch, resolution_ms));
        } else {
            let batch: Vec<(i64, f64)> = times[start..end]
                .iter()
                .copied()
                .zip(run.values[start..end].iter().copied())
                .filter(|(_, value)| !value.is_nan())
                .collect();
            done.extend(Floats::of_raw(&batch, resolution_ms));
        }
        start = end;
    }
}

/// The last time of the window that `time_ms` is in (`currentWindow`; the remainder has the sign of the time, as in Go).
fn window_end(time_ms: i64, resolution_ms: i64) -> i64 {
    time_ms - time_ms % resolution_ms + resolution_ms - 1
}

/// How many chunks a series should become (`targetChunkCount`).
fn target_chunks(min_ms: i64, max_ms: i64, from_ms: i64, to_ms: i64, samples: usize) -> usize {
    let span_ms = max_ms.saturating_sub(min_ms);
    let windows = (span_ms / to_ms) as f64;
    let fullness = samples as f64 / (span_ms as f64 / from_ms as f64);
    let fullness = if fullness > 1.0 { 1.0 } else { fullness };
    // A single sample has no span: nothing divided by nothing makes one chunk.
    let expected = (windows * fullness) as i64 + 1;
    let mut chunks = 1;
    while expected / chunks > WINDOWS_MAX {
        chunks += 1;
    }
    usize::try_from(chunks).expect("it begins at 1 and grows")
}

/// Goes through samples in the order of their times and calls `reset` at the beginning of each window, `add` with each
/// sample, `emit` with the end of each window. Returns the end of the last one (`downsampleBatch`).
fn windows<T, S>(
    samples: &[(i64, T)],
    resolution_ms: i64,
    state: &mut S,
    reset: impl Fn(&mut S),
    add: impl Fn(&mut S, &T),
    mut emit: impl FnMut(&mut S, i64),
) -> i64 {
    const NONE: i64 = -1;
    let Some((last_ms, _)) = samples.last() else { return NONE };
    let mut end_ms = NONE;
    for (time_ms, value) in samples {
        if *time_ms > end_ms {
            if end_ms != NONE {
                emit(state, end_ms);
            }
            reset(state);
            // Not behind the batch: the next one might overlap it then.
            end_ms = window_end(*time_ms, resolution_ms).min(*last_ms);
        }
        add(state, value);
    }
    emit(state, end_ms);
    end_ms
}

/// A chunk of aggregates.
fn encode(range: TimeRange, parts: &AggregateChunk<'_>) -> MergedChunk {
    let mut data = Vec::new();
    parts.encode(&mut data);
    MergedChunk { source: 0, range, encoding: ENCODING_AGGREGATE, data }
}

#[cfg(test)]
mod tests;
