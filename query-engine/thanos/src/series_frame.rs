//! Messages of `Series`: `thanos.SeriesResponse` (pkg/store/storepb/{rpc,types}.proto), written and read without objects
//! in between. What is read keeps slices of the message: chunks are not copied.

use bytes::Bytes;
use model::{Labels, TimeRange};
use wire::protobuf::{Fields, Value, begin_message, put_bytes_field, put_message, put_varint_field};
use xxhash_rust::xxh64::xxh64;

use crate::error::{ThanosError, ThanosResult};

/// Fields of `SeriesResponse`.
pub(crate) const SERIES: u32 = 1;
const WARNING: u32 = 2;
const BATCH: u32 = 4;

/// Most labels of a series that is read; Prometheus' default limit is 30 to 60.
const LABELS_MAX: usize = 4096;

/// A chunk: its encoding's number in files (1 to 3) and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawChunk {
    /// 1 floats, 2 integer histograms, 3 float histograms.
    pub(crate) encoding: u8,
    /// Without length, encoding and checksum.
    pub(crate) data: Bytes,
}

/// Which aggregate of downsampled data, by the number that requests have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Aggregate {
    /// The samples themselves.
    Raw = 0,
    /// How many samples.
    Count = 1,
    /// Their sum.
    Sum = 2,
    /// The least.
    Min = 3,
    /// The greatest.
    Max = 4,
    /// The counter with its resets taken out.
    Counter = 5,
}

impl Aggregate {
    /// By the number that requests have.
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        use Aggregate::{Count, Counter, Max, Min, Raw, Sum};
        [Raw, Count, Sum, Min, Max, Counter].into_iter().find(|aggregate| *aggregate as i32 == number)
    }

    /// The aggregate in a file; `None` for samples.
    pub(crate) fn of_file(self) -> Option<format::Aggregate> {
        Some(match self {
            Self::Raw => return None,
            Self::Count => format::Aggregate::Count,
            Self::Sum => format::Aggregate::Sum,
            Self::Min => format::Aggregate::Min,
            Self::Max => format::Aggregate::Max,
            Self::Counter => format::Aggregate::Counter,
        })
    }
}

/// A chunk of samples, or of aggregates of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AggrChunk {
    /// Times of the first and last sample, ms.
    pub(crate) range: TimeRange,
    /// The samples.
    pub(crate) raw: Option<RawChunk>,
    /// Count, sum, min, max and counter of downsampled data.
    pub(crate) aggregates: Option<Box<[Option<RawChunk>; 5]>>,
}

impl AggrChunk {
    /// One of the parts.
    pub(crate) fn get(&self, aggregate: Aggregate) -> Option<&RawChunk> {
        match aggregate {
            Aggregate::Raw => self.raw.as_ref(),
            other => self.aggregates.as_ref()?[other as usize - 1].as_ref(),
        }
    }

    /// The parts that are there, in the order of their numbers.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &RawChunk> {
        self.raw.iter().chain(self.aggregates.iter().flat_map(|parts| parts.iter().flatten()))
    }
}

/// A series, or a piece of one, from a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreSeries {
    /// Labels as the store shows them.
    pub(crate) labels: Labels,
    /// In the order of their first samples.
    pub(crate) chunks: Vec<AggrChunk>,
}

impl StoreSeries {
    /// Bytes of memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let parts = self.chunks.iter().flat_map(AggrChunk::parts);
        let data: usize = parts.map(|part| size_of::<AggrChunk>() + part.data.len()).sum();
        size_of::<Self>() + self.labels.text_bytes() + data
    }
}

/// What a message of `Series` carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Series; none for a message of a kind that is not known.
    Series(Vec<StoreSeries>),
    /// Something is missing.
    Warning(String),
}

/// Appends a series as field `number`: [`SERIES`] of a response, or an element of a batch.
pub(crate) fn put_series(out: &mut Vec<u8>, number: u32, labels: &Labels, chunks: &[AggrChunk]) {
    let series = begin_message(out, number);
    for (name, value) in labels.iter() {
        put_message(out, 1, |out| {
            put_bytes_field(out, 1, name.as_bytes());
            put_bytes_field(out, 2, value.as_bytes());
        });
    }
    for chunk in chunks {
        let aggregated = begin_message(out, 2);
        put_varint_field(out, 1, chunk.range.min.cast_unsigned());
        put_varint_field(out, 2, chunk.range.max.cast_unsigned());
        let aggregates = chunk.aggregates.iter().flat_map(|parts| (4..).zip(parts.iter()));
        let raw = chunk.raw.iter().map(|part| (3, part));
        for (field, part) in raw.chain(aggregates.filter_map(|(field, part)| Some((field, part.as_ref()?)))) {
            put_chunk(out, field, part);
        }
        aggregated.end(out);
    }
    series.end(out);
}

fn put_chunk(out: &mut Vec<u8>, field: u32, part: &RawChunk) {
    let chunk = begin_message(out, field);
    let kind = u64::from(part.encoding - 1);
    if kind > 0 {
        put_varint_field(out, 1, kind);
    }
    put_bytes_field(out, 2, &part.data);
    put_varint_field(out, 3, xxh64(&part.data, 0));
    chunk.end(out);
}

/// Appends the field `batch` of a response around series that `content` appends as elements.
pub(crate) fn put_batch(out: &mut Vec<u8>, content: &[u8]) {
    put_bytes_field(out, BATCH, content);
}

/// Number of the elements of a batch.
pub(crate) const BATCH_SERIES: u32 = 1;

/// Reads a message.
pub(crate) fn read(message: &Bytes) -> ThanosResult<Received> {
    let mut series = Vec::new();
    let mut fields = Fields::new(message);
    while let Some(field) = fields.next_field().map_err(damaged)? {
        match (field.number, field.value) {
            (SERIES, Value::Bytes(bytes)) => series.push(read_series(message, bytes)?),
            (WARNING, Value::Bytes(text)) => {
                return Ok(Received::Warning(String::from_utf8_lossy(text).into_owned()));
            }
            (BATCH, Value::Bytes(batch)) => {
                let mut elements = Fields::new(batch);
                while let Some(element) = elements.next_field().map_err(damaged)? {
                    if let (BATCH_SERIES, Value::Bytes(bytes)) = (element.number, element.value) {
                        series.push(read_series(message, bytes)?);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(Received::Series(series))
}

fn damaged(error: wire::DecodeError) -> ThanosError {
    ThanosError::new(model::ErrorKind::Corrupt, format!("a series of a store cannot be read: {error}"))
}

fn read_series(message: &Bytes, bytes: &[u8]) -> ThanosResult<StoreSeries> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let mut chunks = Vec::new();
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next_field().map_err(damaged)? {
        match (field.number, field.value) {
            (1, Value::Bytes(label)) => {
                if pairs.len() == LABELS_MAX {
                    let text = format!("a series of a store has more than {LABELS_MAX} labels");
                    return Err(ThanosError::new(model::ErrorKind::Corrupt, text));
                }
                pairs.push(read_label(label).map_err(damaged)?);
            }
            (2, Value::Bytes(chunk)) => chunks.push(read_chunk(message, chunk)?),
            _ => {}
        }
    }
    let labels = Labels::try_from_sorted(&pairs).unwrap_or_else(|| Labels::from_pairs(pairs));
    Ok(StoreSeries { labels, chunks })
}

fn read_label(bytes: &[u8]) -> Result<(&str, &str), wire::DecodeError> {
    let (mut name, mut value) = ("", "");
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => name = field.str()?,
            2 => value = field.str()?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn read_chunk(message: &Bytes, bytes: &[u8]) -> ThanosResult<AggrChunk> {
    let mut chunk = AggrChunk { range: TimeRange::new(0, 0), raw: None, aggregates: None };
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next_field().map_err(damaged)? {
        match (field.number, field.value) {
            (1, Value::Varint(time)) => chunk.range.min = time.cast_signed(),
            (2, Value::Varint(time)) => chunk.range.max = time.cast_signed(),
            (3, Value::Bytes(raw)) => chunk.raw = Some(read_raw(message, raw)?),
            (part @ 4..=8, Value::Bytes(raw)) => {
                let parts = chunk.aggregates.get_or_insert_default();
                parts[part as usize - 4] = Some(read_raw(message, raw)?);
            }
            _ => {}
        }
    }
    Ok(chunk)
}

fn read_raw(message: &Bytes, bytes: &[u8]) -> ThanosResult<RawChunk> {
    let (mut kind, mut data) = (0, &[][..]);
    let mut fields = Fields::new(bytes);
    while let Some(field) = fields.next_field().map_err(damaged)? {
        match (field.number, field.value) {
            (1, Value::Varint(number)) => kind = number,
            (2, Value::Bytes(bytes)) => data = bytes,
            _ => {}
        }
    }
    // 0 XOR, 1 HISTOGRAM, 2 FLOAT_HISTOGRAM: one less than in files.
    let encoding = match kind {
        0..=2 => kind as u8 + 1,
        other => {
            let text = format!("a store sent a chunk of type {other}, known are 0, 1 and 2");
            return Err(ThanosError::new(model::ErrorKind::Corrupt, text));
        }
    };
    Ok(RawChunk { encoding, data: if data.is_empty() { Bytes::new() } else { message.slice_ref(data) } })
}

#[cfg(test)]
mod tests;
