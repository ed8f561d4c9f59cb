//! Windows of windows.

use format::{
    Aggregate, AggregateChunk, ENCODING_FLOAT_HISTOGRAM, ENCODING_HISTOGRAM, FormatError, chunk_samples,
    decode_chunk,
};
use model::{FloatHistogram, SampleColumns, TimeRange};
use tsdb::levels::MergedChunk;

use super::floats::{Floats, each_window};
use super::histograms::Histograms;
use super::{append_fresh, target_chunks};

/// The chunks of a series with longer windows. Chunks of floats and of histograms are not brought together.
pub(super) fn downsample(
    chunks: &[MergedChunk],
    from_ms: i64,
    resolution_ms: i64,
) -> Result<Vec<MergedChunk>, FormatError> {
    let decoded: Vec<(&MergedChunk, AggregateChunk<'_>)> = chunks
        .iter()
        .map(|chunk| AggregateChunk::decode(&chunk.data).map(|parts| (chunk, parts)))
        .collect::<Result<_, _>>()?;
    let mut done = Vec::new();
    for run in decoded.chunk_by(|a, b| is_histogram(&a.1) == is_histogram(&b.1)) {
        let (Some((first, parts)), Some((last, _))) = (run.first(), run.last()) else { continue };
        let mut samples = 0;
        for (_, parts) in run {
            samples += parts
                .get(Aggregate::Count)
                .map_or(Ok(0), |(encoding, count)| chunk_samples(encoding, count))
                .map(usize::from)?;
        }
        let count = target_chunks(first.range.min, last.range.max, from_ms, resolution_ms, samples);
        let batch_size = (run.len() / count).max(1);
        for batch in run.chunks(batch_size) {
            let batch: Vec<AggregateChunk<'_>> = batch.iter().map(|(_, parts)| *parts).collect();
            let chunk = if is_histogram(parts) {
                of_histograms(&batch, resolution_ms)?
            } else {
                of_floats(&batch, resolution_ms)?
            };
            done.extend(chunk);
        }
    }
    Ok(done)
}

/// Whether the samples were histograms: then their counter is one.
fn is_histogram(parts: &AggregateChunk<'_>) -> bool {
    let counter = parts.get(Aggregate::Counter);
    counter.is_some_and(|(encoding, _)| [ENCODING_HISTOGRAM, ENCODING_FLOAT_HISTOGRAM].contains(&encoding))
}

/// All samples of one aggregate.
fn expand(batch: &[AggregateChunk<'_>], aggregate: Aggregate) -> Result<SampleColumns, FormatError> {
    let mut all = SampleColumns::default();
    let mut one = SampleColumns::default();
    for (encoding, data) in batch.iter().filter_map(|parts| parts.get(aggregate)) {
        one.clear();
        decode_chunk(encoding, data, u16::MAX, TimeRange::ALL, &mut one)?;
        append_fresh(&one, &mut all);
    }
    Ok(all)
}

fn floats(columns: SampleColumns) -> Vec<(i64, f64)> {
    columns.timestamps_ms.into_iter().zip(columns.values).collect()
}

fn of_floats(batch: &[AggregateChunk<'_>], resolution_ms: i64) -> Result<Option<MergedChunk>, FormatError> {
    let mut longer = Floats::new();
    for aggregate in [Aggregate::Count, Aggregate::Sum, Aggregate::Min, Aggregate::Max] {
        let samples = floats(expand(batch, aggregate)?);
        each_window(&samples, resolution_ms, |window, time_ms| {
            let value = match aggregate {
                Aggregate::Min => window.min,
                Aggregate::Max => window.max,
                // The count of windows is the sum of their counts.
                _ => window.sum,
            };
            longer.note(time_ms);
            longer.chunk(aggregate).push(time_ms, value);
        });
    }
    let (totals, last) = running_total(batch)?;
    if let Some((first_ms, first)) = totals.first() {
        longer.chunk(Aggregate::Counter).push(*first_ms, *first);
        let end_ms = each_window(&totals, resolution_ms, |window, time_ms| {
            longer.note(time_ms);
            longer.chunk(Aggregate::Counter).push(time_ms, window.counter);
        });
        longer.chunk(Aggregate::Counter).push(end_ms, last);
    }
    Ok(longer.finish())
}

/// The counters of several chunks as one that never falls, and the last raw value
/// (`ApplyCounterResetsSeriesIterator`).
fn running_total(batch: &[AggregateChunk<'_>]) -> Result<(Vec<(i64, f64)>, f64), FormatError> {
    let mut totals: Vec<(i64, f64)> = Vec::new();
    let (mut last_ms, mut last, mut total) = (0, 0.0, 0.0);
    let mut columns = SampleColumns::default();
    for (encoding, data) in batch.iter().filter_map(|parts| parts.get(Aggregate::Counter)) {
        columns.clear();
        decode_chunk(encoding, data, u16::MAX, TimeRange::ALL, &mut columns)?;
        for (time_ms, value) in columns.timestamps_ms.iter().copied().zip(columns.values.iter().copied()) {
            if value.is_nan() {
                continue;
            }
            if totals.is_empty() {
                total = value;
            } else if time_ms > last_ms {
                total += if value >= last { value - last } else { value };
            } else {
                if time_ms == last_ms {
                    // The last raw value of a chunk: from it the next chunk goes on.
                    last = value;
                }
                continue;
            }
            (last_ms, last) = (time_ms, value);
            totals.push((time_ms, total));
        }
    }
    Ok((totals, last))
}

fn of_histograms(
    batch: &[AggregateChunk<'_>],
    resolution_ms: i64,
) -> Result<Option<MergedChunk>, FormatError> {
    let mut longer = Histograms::new();
    let counters = expand(batch, Aggregate::Counter)?;
    longer.push_counters(&histograms(&counters), resolution_ms);
    let sums = expand(batch, Aggregate::Sum)?;
    longer.push_sums(&histograms(&sums), resolution_ms);
    let counts = floats(expand(batch, Aggregate::Count)?);
    each_window(&counts, resolution_ms, |window, time_ms| {
        longer.note(time_ms);
        longer.count.push(time_ms, window.sum);
    });
    Ok(longer.finish())
}

fn histograms(columns: &SampleColumns) -> Vec<(i64, &FloatHistogram)> {
    let times = &columns.timestamps_ms;
    columns.histograms.iter().map(|(position, histogram)| (times[*position], &**histogram)).collect()
}
