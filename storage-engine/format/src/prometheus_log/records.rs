//! The records of a Prometheus' log, types 1 to 13 (tsdb/record/record.go).

use std::sync::Arc;

use model::{
    BucketSpan, Buckets, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, IntegerBuckets,
    IntegerHistogram, NativeHistogram,
};

use super::damaged;
use crate::FormatError;
use crate::varint::{take_uvarint, take_varint};

/// What a record holds. Series are named by the reference that their own record gives them.
#[derive(Debug, PartialEq)]
pub enum PrometheusItem<'a> {
    /// A series with its labels in order.
    Series {
        /// Its reference from now on.
        series: u64,
        /// Names and values.
        labels: Vec<(&'a str, &'a str)>,
    },
    /// A float sample.
    Float {
        /// Its series.
        series: u64,
        /// Its time, ms.
        time_ms: i64,
        /// Its value.
        value: f64,
    },
    /// A native histogram.
    Histogram {
        /// Its series.
        series: u64,
        /// Its time, ms.
        time_ms: i64,
        /// Its value; not checked for sense.
        histogram: NativeHistogram,
    },
    /// Samples of a series were deleted.
    Deletion {
        /// The series.
        series: u64,
        /// First time, ms.
        first_ms: i64,
        /// Last time, ms.
        last_ms: i64,
    },
    /// An exemplar.
    Exemplar {
        /// Its series.
        series: u64,
        /// Its time, ms.
        time_ms: i64,
        /// Its value.
        value: f64,
        /// Its own labels.
        labels: Vec<(&'a str, &'a str)>,
    },
    /// What is known about the metric of a series.
    Metadata {
        /// The series.
        series: u64,
        /// Number of the type: 0 unknown, 1 counter, … 7 state set.
        metric_type: u8,
        /// Help text.
        help: &'a str,
        /// Unit.
        unit: &'a str,
    },
}

/// Walks the items of a record that is no longer compressed. `false` when it is of a type that is not known; references
/// to chunks on disk (type 5) are no items.
pub fn read_prometheus_record(
    record: &[u8],
    visit: impl FnMut(PrometheusItem<'_>),
) -> Result<bool, FormatError> {
    let Some((&kind, items)) = record.split_first() else { return Err(damaged("a record is empty")) };
    match kind {
        1 => read_series(items, visit)?,
        2 => read_samples(items, Times::Base, float, visit)?,
        3 => read_deletions(items, visit)?,
        4 => read_samples(items, Times::Base, exemplar, visit)?,
        5 => {}
        6 => read_metadata(items, visit)?,
        7 | 9 => read_samples(items, Times::Base, integer_histogram, visit)?,
        8 | 10 => read_samples(items, Times::Base, float_histogram, visit)?,
        11 => read_samples(items, Times::First, float, visit)?,
        12 => read_samples(items, Times::First, integer_histogram, visit)?,
        13 => read_samples(items, Times::First, float_histogram, visit)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// How series and times of a record's samples are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Times {
    /// A base of both in front; each sample has its differences to it.
    Base,
    /// The first sample as it is, with a start time; each other has the difference of its series to the sample before
    /// and of its time to the first, and a mark for its start time.
    First,
}

fn read_samples<'a>(
    mut items: &'a [u8],
    times: Times,
    take_item: impl Fn(&mut &'a [u8], u64, i64) -> Result<PrometheusItem<'a>, FormatError>,
    mut visit: impl FnMut(PrometheusItem<'a>),
) -> Result<(), FormatError> {
    if items.is_empty() {
        return Ok(());
    }
    let bytes = &mut items;
    let (mut series, first_ms) = match times {
        Times::Base => (i64::from_be_bytes(take_array(bytes)?), i64::from_be_bytes(take_array(bytes)?)),
        Times::First => (signed(bytes)?, signed(bytes)?),
    };
    let base = series;
    let mut is_first = times == Times::First;
    if is_first {
        // When the first sample's series began to count, which nothing here keeps.
        signed(bytes)?;
    }
    while is_first || !bytes.is_empty() {
        let mut time_ms = first_ms;
        if !std::mem::take(&mut is_first) {
            let before = if times == Times::Base { base } else { series };
            series = before.wrapping_add(signed(bytes)?);
            time_ms = first_ms.wrapping_add(signed(bytes)?);
            if times == Times::First && take_byte(bytes)? > 1 {
                signed(bytes)?;
            }
        }
        visit(take_item(bytes, series.cast_unsigned(), time_ms)?);
    }
    Ok(())
}

fn float<'a>(bytes: &mut &'a [u8], series: u64, time_ms: i64) -> Result<PrometheusItem<'a>, FormatError> {
    Ok(PrometheusItem::Float { series, time_ms, value: take_float(bytes)? })
}

fn exemplar<'a>(bytes: &mut &'a [u8], series: u64, time_ms: i64) -> Result<PrometheusItem<'a>, FormatError> {
    let value = take_float(bytes)?;
    Ok(PrometheusItem::Exemplar { series, time_ms, value, labels: take_labels(bytes)? })
}

fn integer_histogram<'a>(
    bytes: &mut &'a [u8],
    series: u64,
    time_ms: i64,
) -> Result<PrometheusItem<'a>, FormatError> {
    let (counter_reset_hint, schema, zero_threshold) = take_histogram_head(bytes)?;
    let (zero_count, count, sum) = (unsigned(bytes)?, unsigned(bytes)?, take_float(bytes)?);
    let (positive, negative) = (take_spans(bytes)?, take_spans(bytes)?);
    let positive = IntegerBuckets { spans: positive, deltas: take_list(bytes, 1, signed)? };
    let negative = IntegerBuckets { spans: negative, deltas: take_list(bytes, 1, signed)? };
    let histogram = NativeHistogram::Integer(Arc::new(IntegerHistogram {
        counter_reset_hint,
        schema,
        zero_threshold,
        zero_count,
        count,
        sum,
        positive,
        negative,
        custom_values: take_custom_values(bytes, schema)?,
    }));
    Ok(PrometheusItem::Histogram { series, time_ms, histogram })
}

fn float_histogram<'a>(
    bytes: &mut &'a [u8],
    series: u64,
    time_ms: i64,
) -> Result<PrometheusItem<'a>, FormatError> {
    let (counter_reset_hint, schema, zero_threshold) = take_histogram_head(bytes)?;
    let (zero_count, count, sum) = (take_float(bytes)?, take_float(bytes)?, take_float(bytes)?);
    let (positive, negative) = (take_spans(bytes)?, take_spans(bytes)?);
    let positive = Buckets { spans: positive, counts: take_list(bytes, 8, take_float)? };
    let negative = Buckets { spans: negative, counts: take_list(bytes, 8, take_float)? };
    let histogram = NativeHistogram::Float(Arc::new(FloatHistogram {
        counter_reset_hint,
        schema,
        zero_threshold,
        zero_count,
        count,
        sum,
        positive,
        negative,
        custom_values: take_custom_values(bytes, schema)?,
    }));
    Ok(PrometheusItem::Histogram { series, time_ms, histogram })
}

fn take_histogram_head(bytes: &mut &[u8]) -> Result<(CounterResetHint, i32, f64), FormatError> {
    let hint = match take_byte(bytes)? {
        0 => CounterResetHint::Unknown,
        1 => CounterResetHint::Reset,
        2 => CounterResetHint::NotReset,
        3 => CounterResetHint::Gauge,
        _ => return Err(damaged("a histogram's reset hint is not one")),
    };
    let schema = i32::try_from(signed(bytes)?).map_err(|_| damaged("a schema is over 32 bits"))?;
    Ok((hint, schema, take_float(bytes)?))
}

fn take_spans(bytes: &mut &[u8]) -> Result<Vec<BucketSpan>, FormatError> {
    take_list(bytes, 2, |bytes| {
        let offset = i32::try_from(signed(bytes)?).map_err(|_| damaged("a span is over 32 bits"))?;
        let length = u32::try_from(unsigned(bytes)?).map_err(|_| damaged("a span is over 32 bits"))?;
        Ok(BucketSpan { offset, length })
    })
}

fn take_custom_values(bytes: &mut &[u8], schema: i32) -> Result<Option<Arc<[f64]>>, FormatError> {
    if schema != CUSTOM_BUCKETS_SCHEMA {
        return Ok(None);
    }
    Ok(Some(take_list(bytes, 8, take_float)?.into()))
}

fn read_series<'a>(
    mut items: &'a [u8],
    mut visit: impl FnMut(PrometheusItem<'a>),
) -> Result<(), FormatError> {
    while !items.is_empty() {
        let series = u64::from_be_bytes(take_array(&mut items)?);
        visit(PrometheusItem::Series { series, labels: take_labels(&mut items)? });
    }
    Ok(())
}

fn read_deletions<'a>(
    mut items: &'a [u8],
    mut visit: impl FnMut(PrometheusItem<'a>),
) -> Result<(), FormatError> {
    while !items.is_empty() {
        let series = u64::from_be_bytes(take_array(&mut items)?);
        let (first_ms, last_ms) = (signed(&mut items)?, signed(&mut items)?);
        visit(PrometheusItem::Deletion { series, first_ms, last_ms });
    }
    Ok(())
}

fn read_metadata<'a>(
    mut items: &'a [u8],
    mut visit: impl FnMut(PrometheusItem<'a>),
) -> Result<(), FormatError> {
    while !items.is_empty() {
        let series = unsigned(&mut items)?;
        let metric_type = take_byte(&mut items)?;
        let (mut help, mut unit) = ("", "");
        for _ in 0..unsigned(&mut items)? {
            match (take_text(&mut items)?, take_text(&mut items)?) {
                ("HELP", text) => help = text,
                ("UNIT", text) => unit = text,
                _ => {}
            }
        }
        visit(PrometheusItem::Metadata { series, metric_type, help, unit });
    }
    Ok(())
}

fn take_labels<'a>(bytes: &mut &'a [u8]) -> Result<Vec<(&'a str, &'a str)>, FormatError> {
    take_list(bytes, 2, |bytes| Ok((take_text(bytes)?, take_text(bytes)?)))
}

/// A count and as many elements, each of at least `least` bytes, so that a false count reserves little.
fn take_list<'a, T>(
    bytes: &mut &'a [u8],
    least: usize,
    take_one: impl Fn(&mut &'a [u8]) -> Result<T, FormatError>,
) -> Result<Vec<T>, FormatError> {
    let count = usize::try_from(unsigned(bytes)?).unwrap_or(usize::MAX);
    if count > bytes.len() / least {
        return Err(damaged("a count passes the end of the record"));
    }
    (0..count).map(|_| take_one(bytes)).collect()
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Result<&'a str, FormatError> {
    let len = usize::try_from(unsigned(bytes)?).unwrap_or(usize::MAX);
    let (text, rest) =
        bytes.split_at_checked(len).ok_or_else(|| damaged("a text passes the end of the record"))?;
    *bytes = rest;
    std::str::from_utf8(text).map_err(|_| damaged("a text is not UTF-8"))
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], FormatError> {
    let (array, rest) = bytes.split_first_chunk().ok_or_else(|| damaged("a record ends inside an item"))?;
    *bytes = rest;
    Ok(*array)
}

fn take_byte(bytes: &mut &[u8]) -> Result<u8, FormatError> {
    take_array::<1>(bytes).map(|[byte]| byte)
}

fn take_float(bytes: &mut &[u8]) -> Result<f64, FormatError> {
    take_array(bytes).map(|array| f64::from_bits(u64::from_be_bytes(array)))
}

fn signed(bytes: &mut &[u8]) -> Result<i64, FormatError> {
    take_varint(bytes).ok_or_else(|| damaged("a record ends inside a number"))
}

fn unsigned(bytes: &mut &[u8]) -> Result<u64, FormatError> {
    take_uvarint(bytes).ok_or_else(|| damaged("a record ends inside a number"))
}
