//! What the metrics store writes into its log and its checkpoints (`docs/formats/head-records.md`).
//!
//! A record is a kind byte and its items. Samples are columns per shard: series as deltas, times as runs, values with
//! the bytes that they need; about 5 bytes a sample for counters scraped together. Decoders walk the bytes and
//! allocate nothing.

mod checkpoint;
mod histograms;

use crate::FormatError;
use crate::varint::{put_uvarint, put_varint, take_uvarint, take_varint, unzigzag, zigzag};

/// Kind byte of a record with new series.
pub const SERIES: u8 = 1;
/// Kind byte of a record with float samples.
pub const SAMPLES: u8 = 2;
/// Kind byte of a record with metric metadata.
pub const METADATA: u8 = 3;
/// Kind byte of a record with native histograms.
pub const HISTOGRAMS: u8 = 4;
/// Kind byte of a record with exemplars.
pub const EXEMPLARS: u8 = 5;
/// Kind byte of a record that says what was deleted.
pub const DELETIONS: u8 = 6;
/// Kind byte of a record with chunks; only in checkpoints.
pub const CHUNKS: u8 = 7;
/// Kind byte of the last record of a checkpoint.
pub const END: u8 = 8;
/// Kind byte of a record that says how many numbers were given out; in front of the series of a checkpoint.
pub const NUMBERS: u8 = 9;

pub use checkpoint::{ChunkItem, put_chunk, put_end, read_chunks, read_end};
pub use histograms::{
    DeletionItem, ExemplarItem, ItemPlace, put_deletion, put_exemplar, put_histogram, read_deletions,
    read_exemplars, read_histogram_items,
};

/// Half bytes from here on say how many leading bytes of a float follow (minus this, plus one); below, how many bytes
/// of a zig-zagged integer.
const FLOAT_CODE: u8 = 8;

/// A series of a [`SERIES`] record: its shard, its number there and its labels as alternating names and values.
#[derive(Debug)]
pub struct SeriesItem<'a> {
    /// The shard.
    pub shard: u32,
    /// The number inside the shard.
    pub local: u32,
    /// Names and values in label order.
    pub labels: Vec<(&'a str, &'a str)>,
}

/// An entry of a [`METADATA`] record.
#[derive(Debug, PartialEq, Eq)]
pub struct MetadataItem<'a> {
    /// The metric family.
    pub metric: &'a str,
    /// Number of the type, as in Prometheus' log (record.go): 0 unknown, 1 counter, … 7 state set.
    pub metric_type: u8,
    /// Help text.
    pub help: &'a str,
    /// Unit.
    pub unit: &'a str,
}

/// The samples of one shard in a [`SAMPLES`] record, still encoded.
#[derive(Clone, Copy, Debug)]
pub struct SampleSection<'a> {
    /// The shard.
    pub shard: u32,
    samples: u64,
    refs: &'a [u8],
    times: &'a [u8],
    codes: &'a [u8],
    values: &'a [u8],
}

/// Appends a series item.
pub fn put_series<'a>(
    out: &mut Vec<u8>,
    shard: u32,
    local: u32,
    labels: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
) {
    put_uvarint(out, u64::from(shard));
    put_uvarint(out, u64::from(local));
    put_uvarint(out, labels.len() as u64);
    for (name, value) in labels {
        put_text(out, name);
        put_text(out, value);
    }
}

/// Appends a metadata item.
pub fn put_metadata(out: &mut Vec<u8>, item: &MetadataItem<'_>) {
    put_text(out, item.metric);
    out.push(item.metric_type);
    put_text(out, item.help);
    put_text(out, item.unit);
}

/// Walks the items of a [`SERIES`] record (the bytes behind its kind byte).
pub fn read_series(mut items: &[u8], mut visit: impl FnMut(SeriesItem<'_>)) -> Result<(), FormatError> {
    while !items.is_empty() {
        let shard = take_u32(&mut items)?;
        let local = take_u32(&mut items)?;
        let count = take(&mut items)?;
        // Two bytes or more per label: a false count reserves no more than the record's size allows.
        let mut labels =
            Vec::with_capacity(usize::try_from(count).unwrap_or(usize::MAX).min(items.len() / 2));
        for _ in 0..count {
            labels.push((take_text(&mut items)?, take_text(&mut items)?));
        }
        visit(SeriesItem { shard, local, labels });
    }
    Ok(())
}

/// Walks the items of a [`METADATA`] record.
pub fn read_metadata(mut items: &[u8], mut visit: impl FnMut(MetadataItem<'_>)) -> Result<(), FormatError> {
    while !items.is_empty() {
        let metric = take_text(&mut items)?;
        let (&metric_type, rest) = items.split_first().ok_or_else(|| damaged("it ends inside an item"))?;
        items = rest;
        visit(MetadataItem {
            metric,
            metric_type,
            help: take_text(&mut items)?,
            unit: take_text(&mut items)?,
        });
    }
    Ok(())
}

/// Encodes the sections of a [`SAMPLES`] record; keeps its memory from record to record.
#[derive(Debug, Default)]
pub struct SampleEncoder {
    samples: u64,
    last_local: u32,
    run: u64,
    run_time: i64,
    last_run_time: i64,
    refs: Vec<u8>,
    times: Vec<u8>,
    codes: Vec<u8>,
    values: Vec<u8>,
}

impl SampleEncoder {
    /// Adds a sample to the section.
    #[inline]
    pub fn push(&mut self, local: u32, timestamp_ms: i64, value: f64) {
        put_varint(&mut self.refs, i64::from(local) - i64::from(self.last_local));
        self.last_local = local;
        if self.run > 0 && timestamp_ms != self.run_time {
            self.end_run();
        }
        self.run_time = timestamp_ms;
        self.run += 1;
        self.push_value(value);
        self.samples += 1;
    }

    /// Appends the section to `out` if it has samples, and starts the next.
    pub fn finish(&mut self, shard: u32, out: &mut Vec<u8>) {
        if self.samples == 0 {
            return;
        }
        self.end_run();
        put_uvarint(out, u64::from(shard));
        put_uvarint(out, self.samples);
        for column in [&self.refs, &self.times, &self.values] {
            put_uvarint(out, column.len() as u64);
        }
        for column in [&mut self.refs, &mut self.times, &mut self.codes, &mut self.values] {
            out.extend_from_slice(column);
            column.clear();
        }
        (self.samples, self.last_local, self.last_run_time) = (0, 0, 0);
    }

    fn end_run(&mut self) {
        put_uvarint(&mut self.times, self.run);
        put_varint(&mut self.times, self.run_time.wrapping_sub(self.last_run_time));
        self.last_run_time = self.run_time;
        self.run = 0;
    }

    #[inline]
    fn push_value(&mut self, value: f64) {
        #[expect(clippy::cast_possible_truncation, reason = "the bits are compared after the way back")]
        let integer = value as i64;
        #[expect(clippy::cast_precision_loss, reason = "the bits are compared")]
        let back = integer as f64;
        let zigzagged = zigzag(integer);
        let code = if back.to_bits() == value.to_bits() && zigzagged < 1 << 56 {
            let bytes = (64 - zigzagged.leading_zeros()).div_ceil(8);
            self.values.extend_from_slice(&zigzagged.to_le_bytes()[..bytes as usize]);
            bytes
        } else {
            // Not 0.0, which is an integer: some bit is set, so at least one byte is kept.
            let bytes = 8 - value.to_bits().trailing_zeros() / 8;
            self.values.extend_from_slice(&value.to_bits().to_be_bytes()[..bytes as usize]);
            u32::from(FLOAT_CODE) + bytes - 1
        };
        let code = u8::try_from(code).expect("below 16");
        if self.samples.is_multiple_of(2) {
            self.codes.push(code);
        } else {
            *self.codes.last_mut().expect("the sample before pushed it") |= code << 4;
        }
    }
}

/// Walks the sections of a [`SAMPLES`] record.
pub fn read_sections<'a>(
    mut items: &'a [u8],
    mut visit: impl FnMut(SampleSection<'a>),
) -> Result<(), FormatError> {
    while !items.is_empty() {
        let shard = take_u32(&mut items)?;
        let samples = take(&mut items)?;
        let (refs, times, values) = (take(&mut items)?, take(&mut items)?, take(&mut items)?);
        let refs = take_bytes(&mut items, refs)?;
        let times = take_bytes(&mut items, times)?;
        // The length of the codes is not written, it follows from the count.
        let codes = take_bytes(&mut items, samples.div_ceil(2))?;
        let values = take_bytes(&mut items, values)?;
        visit(SampleSection { shard, samples, refs, times, codes, values });
    }
    Ok(())
}

impl SampleSection<'_> {
    /// Number of samples that the section claims to have.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Walks the samples: number of the series in its shard, time in ms, value.
    pub fn read(&self, mut visit: impl FnMut(u32, i64, f64)) -> Result<(), FormatError> {
        let Self { mut refs, mut times, codes, mut values, .. } = *self;
        let (mut local, mut time, mut run) = (0i64, 0i64, 0u64);
        for index in 0..self.samples {
            let delta = take_varint(&mut refs).ok_or_else(|| damaged("it ends inside the series"))?;
            local = local.wrapping_add(delta);
            let local = u32::try_from(local).map_err(|_| damaged("a series number is over 32 bits"))?;
            if run == 0 {
                run = take(&mut times)?;
                let delta = take_varint(&mut times).filter(|_| run > 0);
                time = time.wrapping_add(delta.ok_or_else(|| damaged("it ends inside the times"))?);
            }
            run -= 1;
            let byte = codes[usize::try_from(index / 2).expect("below the length of a slice")];
            let value = take_value(&mut values, if index.is_multiple_of(2) { byte & 15 } else { byte >> 4 })?;
            visit(local, time, value);
        }
        Ok(())
    }
}

#[inline]
fn take_value(values: &mut &[u8], code: u8) -> Result<f64, FormatError> {
    let integer = code < FLOAT_CODE;
    let len = usize::from(if integer { code } else { code - FLOAT_CODE + 1 });
    let (bytes, rest) = values.split_at_checked(len).ok_or_else(|| damaged("it ends inside the values"))?;
    *values = rest;
    let mut eight = [0; 8];
    eight[..len].copy_from_slice(bytes);
    if integer {
        #[expect(clippy::cast_precision_loss, reason = "made from a float that was this integer")]
        return Ok(unzigzag(u64::from_le_bytes(eight)) as f64);
    }
    Ok(f64::from_bits(u64::from_be_bytes(eight)))
}

fn damaged(reason: &'static str) -> FormatError {
    FormatError::new("head record", reason)
}

fn take(bytes: &mut &[u8]) -> Result<u64, FormatError> {
    take_uvarint(bytes).ok_or_else(|| damaged("it ends inside a number"))
}

fn take_u32(bytes: &mut &[u8]) -> Result<u32, FormatError> {
    u32::try_from(take(bytes)?).map_err(|_| damaged("a number is over 32 bits"))
}

fn take_bytes<'a>(bytes: &mut &'a [u8], len: u64) -> Result<&'a [u8], FormatError> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let (taken, rest) = bytes.split_at_checked(len).ok_or_else(|| damaged("a length passes its end"))?;
    *bytes = rest;
    Ok(taken)
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Result<&'a str, FormatError> {
    let len = take(bytes)?;
    std::str::from_utf8(take_bytes(bytes, len)?).map_err(|_| damaged("a text is not UTF-8"))
}

#[cfg(test)]
mod tests;
