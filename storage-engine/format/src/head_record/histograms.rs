//! Native histograms, exemplars and deletions: rarer than float samples, so an item stands by itself.

use std::sync::Arc;

use model::{
    BucketSpan, Buckets, CounterResetHint, FloatHistogram, IntegerBuckets, IntegerHistogram, NativeHistogram,
};

use super::{damaged, put_text, take, take_bytes, take_text, take_u32};
use crate::FormatError;
use crate::varint::{put_uvarint, put_varint, take_varint};

/// Bit of an item's flags: counts are floats.
const FLOAT: u8 = 1;
/// Bit of an item's flags: there are custom bounds.
const CUSTOM: u8 = 8;
/// Hints by their number in bits 1 and 2 of the flags.
const HINTS: [CounterResetHint; 4] =
    [CounterResetHint::Unknown, CounterResetHint::Reset, CounterResetHint::NotReset, CounterResetHint::Gauge];

/// A series and a time in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemPlace {
    /// The shard.
    pub shard: u32,
    /// The number of the series in its shard.
    pub local: u32,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

/// An entry of an [`super::EXEMPLARS`] record.
#[derive(Debug, PartialEq)]
pub struct ExemplarItem<'a> {
    /// Where it belongs.
    pub place: ItemPlace,
    /// Its value.
    pub value: f64,
    /// Its own labels, names and values in name order.
    pub labels: Vec<(&'a str, &'a str)>,
}

/// An entry of a [`super::DELETIONS`] record: samples of a series from one time to another are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletionItem {
    /// The series and the first time, ms.
    pub place: ItemPlace,
    /// The last time, ms.
    pub last_ms: i64,
}

fn put_place(out: &mut Vec<u8>, place: ItemPlace) {
    put_uvarint(out, u64::from(place.shard));
    put_uvarint(out, u64::from(place.local));
    put_varint(out, place.timestamp_ms);
}

fn take_place(items: &mut &[u8]) -> Result<ItemPlace, FormatError> {
    let (shard, local) = (take_u32(items)?, take_u32(items)?);
    Ok(ItemPlace { shard, local, timestamp_ms: take_int(items)? })
}

/// Appends an item of a [`super::HISTOGRAMS`] record.
pub fn put_histogram(out: &mut Vec<u8>, place: ItemPlace, histogram: &NativeHistogram) {
    put_place(out, place);
    let (float, hint, custom) = match histogram {
        NativeHistogram::Integer(h) => (0, h.counter_reset_hint, &h.custom_values),
        NativeHistogram::Float(h) => (FLOAT, h.counter_reset_hint, &h.custom_values),
    };
    let hint = HINTS.iter().position(|known| *known == hint).expect("the table has every hint");
    let hint = u8::try_from(hint).expect("four hints");
    out.push(float | hint << 1 | if custom.is_some() { CUSTOM } else { 0 });
    match histogram {
        NativeHistogram::Integer(h) => {
            put_varint(out, i64::from(h.schema));
            put_float(out, h.zero_threshold);
            put_uvarint(out, h.zero_count);
            put_uvarint(out, h.count);
            put_float(out, h.sum);
            for buckets in [&h.positive, &h.negative] {
                put_spans(out, &buckets.spans);
                put_uvarint(out, buckets.deltas.len() as u64);
                buckets.deltas.iter().for_each(|delta| put_varint(out, *delta));
            }
        }
        NativeHistogram::Float(h) => {
            put_varint(out, i64::from(h.schema));
            for value in [h.zero_threshold, h.zero_count, h.count, h.sum] {
                put_float(out, value);
            }
            for buckets in [&h.positive, &h.negative] {
                put_spans(out, &buckets.spans);
                put_floats(out, &buckets.counts);
            }
        }
    }
    if let Some(bounds) = custom {
        put_floats(out, bounds);
    }
}

/// Walks the items of a [`super::HISTOGRAMS`] record. A histogram may be one that is not sound.
pub fn read_histogram_items(
    mut items: &[u8],
    mut visit: impl FnMut(ItemPlace, NativeHistogram),
) -> Result<(), FormatError> {
    while !items.is_empty() {
        let place = take_place(&mut items)?;
        let flags = take_byte(&mut items)?;
        let counter_reset_hint = HINTS[usize::from(flags >> 1 & 3)];
        let schema = i32::try_from(take_int(&mut items)?).map_err(|_| damaged("a schema is over 32 bits"))?;
        let zero_threshold = take_float(&mut items)?;
        let histogram = if flags & FLOAT == 0 {
            let (zero_count, count, sum) = (take(&mut items)?, take(&mut items)?, take_float(&mut items)?);
            let positive = take_integers(&mut items)?;
            let negative = take_integers(&mut items)?;
            let custom_values = take_custom(&mut items, flags)?;
            NativeHistogram::Integer(Arc::new(IntegerHistogram {
                counter_reset_hint,
                schema,
                zero_threshold,
                zero_count,
                count,
                sum,
                positive,
                negative,
                custom_values,
            }))
        } else {
            let (zero_count, count) = (take_float(&mut items)?, take_float(&mut items)?);
            let sum = take_float(&mut items)?;
            let positive = Buckets { spans: take_spans(&mut items)?, counts: take_floats(&mut items)? };
            let negative = Buckets { spans: take_spans(&mut items)?, counts: take_floats(&mut items)? };
            let custom_values = take_custom(&mut items, flags)?;
            NativeHistogram::Float(Arc::new(FloatHistogram {
                counter_reset_hint,
                schema,
                zero_threshold,
                zero_count,
                count,
                sum,
                positive,
                negative,
                custom_values,
            }))
        };
        visit(place, histogram);
    }
    Ok(())
}

/// Appends an item of an [`super::EXEMPLARS`] record.
pub fn put_exemplar<'a>(
    out: &mut Vec<u8>,
    place: ItemPlace,
    value: f64,
    labels: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
) {
    put_place(out, place);
    put_float(out, value);
    put_uvarint(out, labels.len() as u64);
    for (name, value) in labels {
        put_text(out, name);
        put_text(out, value);
    }
}

/// Walks the items of an [`super::EXEMPLARS`] record.
pub fn read_exemplars(mut items: &[u8], mut visit: impl FnMut(ExemplarItem<'_>)) -> Result<(), FormatError> {
    while !items.is_empty() {
        let place = take_place(&mut items)?;
        let value = take_float(&mut items)?;
        let count = take(&mut items)?;
        // Two bytes or more per label, as in a series.
        let mut labels =
            Vec::with_capacity(usize::try_from(count).unwrap_or(usize::MAX).min(items.len() / 2));
        for _ in 0..count {
            labels.push((take_text(&mut items)?, take_text(&mut items)?));
        }
        visit(ExemplarItem { place, value, labels });
    }
    Ok(())
}

/// Appends an item of a [`super::DELETIONS`] record.
pub fn put_deletion(out: &mut Vec<u8>, item: DeletionItem) {
    put_place(out, item.place);
    put_varint(out, item.last_ms);
}

/// Walks the items of a [`super::DELETIONS`] record.
pub fn read_deletions(mut items: &[u8], mut visit: impl FnMut(DeletionItem)) -> Result<(), FormatError> {
    while !items.is_empty() {
        let place = take_place(&mut items)?;
        visit(DeletionItem { place, last_ms: take_int(&mut items)? });
    }
    Ok(())
}

fn put_float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_bits().to_be_bytes());
}

fn put_floats(out: &mut Vec<u8>, values: &[f64]) {
    put_uvarint(out, values.len() as u64);
    values.iter().for_each(|value| put_float(out, *value));
}

fn put_spans(out: &mut Vec<u8>, spans: &[BucketSpan]) {
    put_uvarint(out, spans.len() as u64);
    for span in spans {
        put_varint(out, i64::from(span.offset));
        put_uvarint(out, u64::from(span.length));
    }
}

fn take_byte(items: &mut &[u8]) -> Result<u8, FormatError> {
    let (&byte, rest) = items.split_first().ok_or_else(|| damaged("it ends inside an item"))?;
    *items = rest;
    Ok(byte)
}

fn take_int(items: &mut &[u8]) -> Result<i64, FormatError> {
    take_varint(items).ok_or_else(|| damaged("it ends inside a number"))
}

fn take_float(items: &mut &[u8]) -> Result<f64, FormatError> {
    let bytes = take_bytes(items, 8)?;
    let bytes = bytes.try_into().expect("eight bytes were taken");
    Ok(f64::from_bits(u64::from_be_bytes(bytes)))
}

/// A count of things that take at least `bytes` each, so that a false one reserves little.
fn take_count(items: &mut &[u8], bytes: usize) -> Result<usize, FormatError> {
    let count = usize::try_from(take(items)?).unwrap_or(usize::MAX);
    if count > items.len() / bytes {
        return Err(damaged("a count passes its end"));
    }
    Ok(count)
}

fn take_floats(items: &mut &[u8]) -> Result<Vec<f64>, FormatError> {
    let count = take_count(items, 8)?;
    (0..count).map(|_| take_float(items)).collect()
}

fn take_custom(items: &mut &[u8], flags: u8) -> Result<Option<Arc<[f64]>>, FormatError> {
    if flags & CUSTOM == 0 { Ok(None) } else { Ok(Some(take_floats(items)?.into())) }
}

fn take_spans(items: &mut &[u8]) -> Result<Vec<BucketSpan>, FormatError> {
    let count = take_count(items, 2)?;
    let span = |_| {
        let offset =
            i32::try_from(take_int(items)?).map_err(|_| damaged("an offset of a span is over 32 bits"))?;
        Ok(BucketSpan { offset, length: take_u32(items)? })
    };
    (0..count).map(span).collect()
}

fn take_integers(items: &mut &[u8]) -> Result<IntegerBuckets, FormatError> {
    let spans = take_spans(items)?;
    let count = take_count(items, 1)?;
    let deltas = (0..count).map(|_| take_int(items)).collect::<Result<_, _>>()?;
    Ok(IntegerBuckets { spans, deltas })
}

#[cfg(test)]
mod tests;
