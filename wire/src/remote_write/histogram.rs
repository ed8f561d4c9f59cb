//! Native histograms and exemplars of remote write: both versions have the same `Histogram` message (prompb/types.proto,
//! io/prometheus/write/v2/types.proto), but for the start timestamp of version 2.

use std::sync::Arc;

use model::{
    BucketSpan, Buckets, CounterResetHint, FloatHistogram, IntegerBuckets, IntegerHistogram, NativeHistogram,
};

use crate::protobuf::{
    Fields, put_double_field, put_fixed64_field, put_len_header, put_message, put_varint, put_varint_field,
    varint_len, zigzag_decode, zigzag_encode,
};
use crate::{DecodeError, native_histogram};

const HINTS: [CounterResetHint; 4] =
    [CounterResetHint::Unknown, CounterResetHint::Reset, CounterResetHint::NotReset, CounterResetHint::Gauge];

/// A histogram of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedHistogram {
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// When counting began, ms; 0 is not known.
    pub start_ms: i64,
    /// The histogram, or why it cannot be stored.
    pub histogram: Result<NativeHistogram, DecodeError>,
}

/// The fields of one side while they are read.
#[derive(Default)]
struct Side {
    spans: Vec<BucketSpan>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

/// Reads a `Histogram` message. Malformed bytes are an error; a histogram that is none is one inside.
pub fn read_histogram(bytes: &[u8]) -> Result<TimedHistogram, DecodeError> {
    let (mut count_int, mut zero_int, mut count_float, mut zero_float) = (0, 0, None, 0.0);
    let (mut sum, mut schema, mut zero_threshold) = (0.0, 0, 0.0);
    let (mut hint, mut timestamp_ms, mut start_ms) = (CounterResetHint::Unknown, 0, 0);
    let (mut negative, mut positive, mut custom) = (Side::default(), Side::default(), Vec::new());
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => (count_int, count_float) = (field.varint()?, None),
            2 => count_float = Some(field.double()?),
            3 => sum = field.double()?,
            4 => schema = zigzag_decode(field.varint()?) as i32,
            5 => zero_threshold = field.double()?,
            6 => zero_int = field.varint()?,
            7 => zero_float = field.double()?,
            8 => negative.spans.push(read_span(field.bytes()?)?),
            9 => field.varints(|delta| negative.deltas.push(zigzag_decode(delta)))?,
            10 => field.fixed64s(|count| negative.counts.push(f64::from_bits(count)))?,
            11 => positive.spans.push(read_span(field.bytes()?)?),
            12 => field.varints(|delta| positive.deltas.push(zigzag_decode(delta)))?,
            13 => field.fixed64s(|count| positive.counts.push(f64::from_bits(count)))?,
            14 => hint = HINTS.get(field.varint()?.min(4) as usize).copied().unwrap_or_default(),
            15 => timestamp_ms = field.varint()? as i64,
            16 => field.fixed64s(|bound| custom.push(f64::from_bits(bound)))?,
            17 => start_ms = field.varint()? as i64,
            _ => {}
        }
    }
    let custom_values =
        (!custom.is_empty() || schema == model::CUSTOM_BUCKETS_SCHEMA).then(|| Arc::from(custom));
    let histogram = match count_float {
        Some(count) => native_histogram::float(FloatHistogram {
            counter_reset_hint: hint,
            schema,
            zero_threshold,
            zero_count: zero_float,
            count,
            sum,
            positive: Buckets { spans: positive.spans, counts: positive.counts },
            negative: Buckets { spans: negative.spans, counts: negative.counts },
            custom_values,
        }),
        None => native_histogram::integer(IntegerHistogram {
            counter_reset_hint: hint,
            schema,
            zero_threshold,
            zero_count: zero_int,
            count: count_int,
            sum,
            positive: IntegerBuckets { spans: positive.spans, deltas: positive.deltas },
            negative: IntegerBuckets { spans: negative.spans, deltas: negative.deltas },
            custom_values,
        }),
    };
    Ok(TimedHistogram { timestamp_ms, start_ms, histogram })
}

fn read_span(bytes: &[u8]) -> Result<BucketSpan, DecodeError> {
    let mut span = BucketSpan { offset: 0, length: 0 };
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => span.offset = zigzag_decode(field.varint()?) as i32,
            2 => span.length = field.varint()? as u32,
            _ => {}
        }
    }
    Ok(span)
}

/// Appends a histogram as field `number` of a `TimeSeries`.
pub(super) fn put_histogram(out: &mut Vec<u8>, number: u32, timestamp_ms: i64, histogram: &NativeHistogram) {
    put_message(out, number, |out| {
        let (schema, threshold, hint, custom) = match histogram {
            NativeHistogram::Integer(h) => {
                put_varint_field(out, 1, h.count);
                put_double_field(out, 3, h.sum);
                put_varint_field(out, 6, h.zero_count);
                put_side(out, 8, &h.negative.spans);
                put_deltas(out, 9, &h.negative.deltas);
                put_side(out, 11, &h.positive.spans);
                put_deltas(out, 12, &h.positive.deltas);
                (h.schema, h.zero_threshold, h.counter_reset_hint, &h.custom_values)
            }
            NativeHistogram::Float(h) => {
                put_double_field(out, 2, h.count);
                put_double_field(out, 3, h.sum);
                put_double_field(out, 7, h.zero_count);
                put_side(out, 8, &h.negative.spans);
                put_doubles(out, 10, &h.negative.counts);
                put_side(out, 11, &h.positive.spans);
                put_doubles(out, 13, &h.positive.counts);
                (h.schema, h.zero_threshold, h.counter_reset_hint, &h.custom_values)
            }
        };
        put_varint_field(out, 4, zigzag_encode(i64::from(schema)));
        put_fixed64_field(out, 5, threshold.to_bits());
        let hint = HINTS.iter().position(|known| *known == hint).unwrap_or_default();
        put_varint_field(out, 14, hint as u64);
        put_varint_field(out, 15, timestamp_ms as u64);
        put_doubles(out, 16, custom.as_deref().unwrap_or(&[]));
    });
}

fn put_side(out: &mut Vec<u8>, number: u32, spans: &[BucketSpan]) {
    for span in spans {
        put_message(out, number, |out| {
            put_varint_field(out, 1, zigzag_encode(i64::from(span.offset)));
            put_varint_field(out, 2, u64::from(span.length));
        });
    }
}

fn put_deltas(out: &mut Vec<u8>, number: u32, deltas: &[i64]) {
    if deltas.is_empty() {
        return;
    }
    let len = deltas.iter().map(|delta| varint_len(zigzag_encode(*delta))).sum();
    put_len_header(out, number, len);
    deltas.iter().for_each(|delta| put_varint(out, zigzag_encode(*delta)));
}

fn put_doubles(out: &mut Vec<u8>, number: u32, values: &[f64]) {
    if values.is_empty() {
        return;
    }
    put_len_header(out, number, 8 * values.len());
    values.iter().for_each(|value| out.extend_from_slice(&value.to_bits().to_le_bytes()));
}
