//! Chunks of a store as samples: which aggregate, gaps and overlaps, counter resets (pkg/query/iter.go,
//! pkg/compact/downsample: `ApplyCounterResetsSeriesIterator`, `AverageChunkIterator`).

use std::sync::Arc;

use format::decode_chunk;
use model::{ErrorKind, SampleColumns, TimeRange};
use storage_api::{StorageError, StorageResult};

use crate::series_frame::{AggrChunk, Aggregate, RawChunk};

/// Which samples a function needs, by its name (`aggrsFromFunc` in pkg/query/querier.go).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// One aggregate; raw samples where there is none.
    One(Aggregate),
    /// The sum over the count; raw samples where there are any.
    Average,
}

impl Wanted {
    /// For what surrounds a selector: the name of a function or aggregation, or nothing.
    pub(crate) fn for_function(function: &str) -> Self {
        match function {
            "min" => Self::One(Aggregate::Min),
            "max" => Self::One(Aggregate::Max),
            "count" => Self::One(Aggregate::Count),
            "increase" | "rate" | "irate" | "resets" | "xincrease" | "xrate" => Self::One(Aggregate::Counter),
            other if other.starts_with("min_") => Self::One(Aggregate::Min),
            other if other.starts_with("max_") => Self::One(Aggregate::Max),
            other if other.starts_with("count_") => Self::One(Aggregate::Count),
            other if other.starts_with("sum_") => Self::One(Aggregate::Sum),
            _ => Self::Average,
        }
    }

    /// The numbers that a request carries.
    pub(crate) fn numbers(self) -> Vec<i32> {
        match self {
            Self::One(aggregate) => vec![aggregate as i32],
            Self::Average => vec![Aggregate::Count as i32, Aggregate::Sum as i32],
        }
    }
}

/// The samples of chunks that are in the order of their first samples; those inside `range` (ms, both ends included).
/// Where two chunks overlap the first one counts.
pub(crate) fn columns(
    chunks: &[AggrChunk],
    wanted: Wanted,
    range: TimeRange,
) -> StorageResult<SampleColumns> {
    let mut out = SampleColumns::default();
    let mut one = SampleColumns::default();
    let mut counter = Counter::default();
    let mut last = i64::MIN;
    for chunk in chunks {
        one.clear();
        read_chunk(chunk, wanted, &mut one)?;
        let mut histograms = one.histograms.drain(..).peekable();
        for (index, (time, value)) in one.timestamps_ms.iter().zip(&one.values).enumerate() {
            let histogram = histograms.next_if(|(at, _)| *at == index).map(|(_, histogram)| histogram);
            let value = match (&histogram, wanted) {
                (None, Wanted::One(Aggregate::Counter)) => match counter.add(*time, *value) {
                    Some(total) => total,
                    None => continue,
                },
                _ if *time <= last => continue,
                _ => *value,
            };
            last = last.max(*time);
            if histogram.is_some() {
                counter.last_ms = Some(last);
            }
            if !range.contains(*time) {
                continue;
            }
            match histogram {
                Some(histogram) => out.push_histogram(*time, histogram),
                None => out.push(*time, value),
            }
        }
    }
    Ok(out)
}

/// A counter without its resets.
#[derive(Default)]
struct Counter {
    last_ms: Option<i64>,
    last: f64,
    total: f64,
    has_begun: bool,
}

impl Counter {
    /// The total after a sample; `None` for one that is not shown: a stale marker or other NaN, one from before, and the
    /// second one of a time, which says what the last value of the raw samples was.
    fn add(&mut self, time: i64, value: f64) -> Option<f64> {
        if value.is_nan() {
            return None;
        }
        if !self.has_begun {
            (self.has_begun, self.last_ms, self.last, self.total) = (true, Some(time), value, value);
            return Some(value);
        }
        let last_ms = self.last_ms.unwrap_or(i64::MIN);
        if time > last_ms {
            self.total += if value >= self.last { value - self.last } else { value };
            (self.last_ms, self.last) = (Some(time), value);
            return Some(self.total);
        }
        if time == last_ms {
            self.last = value;
        }
        None
    }
}

fn read_chunk(chunk: &AggrChunk, wanted: Wanted, out: &mut SampleColumns) -> StorageResult<()> {
    match (wanted, chunk.get(Aggregate::Raw)) {
        (Wanted::One(aggregate), raw) => match chunk.get(aggregate).or(raw) {
            Some(part) => read(part, out),
            None => Err(missing()),
        },
        (Wanted::Average, Some(raw)) => read(raw, out),
        (Wanted::Average, None) => {
            let (Some(sum), Some(count)) = (chunk.get(Aggregate::Sum), chunk.get(Aggregate::Count)) else {
                return Err(missing());
            };
            read(sum, out)?;
            let mut counts = SampleColumns::default();
            read(count, &mut counts)?;
            if counts.timestamps_ms != out.timestamps_ms {
                return Err(StorageError::new(
                    ErrorKind::Corrupt,
                    "sum and count of a downsampled chunk have different times",
                ));
            }
            out.values.iter_mut().zip(&counts.values).for_each(|(sum, count)| *sum /= count);
            for (at, histogram) in &mut out.histograms {
                Arc::make_mut(histogram).divide(counts.values[*at]);
            }
            Ok(())
        }
    }
}

fn read(part: &RawChunk, out: &mut SampleColumns) -> StorageResult<()> {
    decode_chunk(part.encoding, &part.data, u16::MAX, TimeRange::ALL, out)
        .map_err(|error| StorageError::new(ErrorKind::Corrupt, format!("a chunk of a store: {error}")))
}

fn missing() -> StorageError {
    StorageError::new(ErrorKind::Corrupt, "no valid chunk found")
}

#[cfg(test)]
mod tests;
