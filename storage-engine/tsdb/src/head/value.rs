//! A sample's value of whatever kind, and chunks taken apart into values and made from them again.
//!
//! This is the slow path of the head: samples that come late, deletions, the beginning of a chunk that has grown since.
//! What comes in order is encoded where it lies (`series.rs`).

use std::cell::RefCell;

use format::{
    ENCODING_FLOAT_HISTOGRAM, ENCODING_HISTOGRAM, ENCODING_XOR, FormatError, HistogramAppender,
    HistogramOffer, XOR_SAMPLES_MAX, XorAppender, decode_chunk, decode_xor, read_histograms,
};
use model::{FloatHistogram, IntegerHistogram, NativeHistogram, SampleColumns, TimeRange, is_stale_nan};

use super::series::{CHUNK_BYTES_MAX, SAMPLES_AIM};

/// A float or a native histogram.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Float(f64),
    Histogram(NativeHistogram),
}

impl Value {
    /// Whether this is the same value as `other`, bit by bit; stale markers of all kinds are the same.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Histogram(a), Self::Histogram(b)) => {
                (a.is_stale() && b.is_stale()) || a.to_float().equals(&b.to_float())
            }
            (Self::Float(float), Self::Histogram(histogram))
            | (Self::Histogram(histogram), Self::Float(float)) => {
                is_stale_nan(*float) && histogram.is_stale()
            }
        }
    }
}

/// A chunk that was made from values.
pub(crate) struct Built {
    pub(crate) range: TimeRange,
    pub(crate) data: Vec<u8>,
    pub(crate) appender: OpenAppender,
}

/// Where a chunk of some kind left off.
pub(crate) enum OpenAppender {
    Xor(XorAppender),
    Histogram(OpenHistogram),
}

/// Where a chunk of native histograms left off.
pub(crate) enum OpenHistogram {
    Integer(HistogramAppender<IntegerHistogram>),
    Float(HistogramAppender<FloatHistogram>),
}

impl OpenAppender {
    pub(crate) fn encoding(&self) -> u8 {
        match self {
            Self::Xor(_) => ENCODING_XOR,
            Self::Histogram(open) => open.encoding(),
        }
    }
}

impl OpenHistogram {
    pub(crate) fn encoding(&self) -> u8 {
        match self {
            Self::Integer(_) => ENCODING_HISTOGRAM,
            Self::Float(_) => ENCODING_FLOAT_HISTOGRAM,
        }
    }

    pub(crate) fn samples(&self) -> u16 {
        match self {
            Self::Integer(appender) => appender.samples(),
            Self::Float(appender) => appender.samples(),
        }
    }

    pub(crate) fn last_ms(&self) -> i64 {
        match self {
            Self::Integer(appender) => appender.last_timestamp_ms(),
            Self::Float(appender) => appender.last_timestamp_ms(),
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Integer(appender) => appender.heap_bytes(),
            Self::Float(appender) => appender.heap_bytes(),
        }
    }
}

/// The first `samples_max` samples of a chunk.
pub(crate) fn decode_values(
    encoding: u8,
    chunk: &[u8],
    samples_max: u16,
) -> Result<Vec<(i64, Value)>, FormatError> {
    let mut values = Vec::new();
    match encoding {
        ENCODING_HISTOGRAM => read_histograms::<IntegerHistogram>(chunk, |time, histogram| {
            values.push((time, Value::Histogram(NativeHistogram::Integer(histogram.into()))));
        })?,
        ENCODING_FLOAT_HISTOGRAM => read_histograms::<FloatHistogram>(chunk, |time, histogram| {
            values.push((time, Value::Histogram(NativeHistogram::Float(histogram.into()))));
        })?,
        _ => {
            let mut columns = SampleColumns::default();
            decode_xor(chunk, XOR_SAMPLES_MAX, TimeRange::ALL, &mut columns)?;
            values
                .extend(columns.timestamps_ms.into_iter().zip(columns.values.into_iter().map(Value::Float)));
        }
    }
    values.truncate(usize::from(samples_max));
    Ok(values)
}

/// Whether a chunk has samples, in time order, that begin and end where `range` does.
pub(crate) fn is_sound(encoding: u8, chunk: &[u8], range: TimeRange) -> bool {
    thread_local! {
        static COLUMNS: RefCell<SampleColumns> = RefCell::default();
    }
    COLUMNS.with_borrow_mut(|columns| {
        columns.clear();
        let is_read = matches!(encoding, ENCODING_XOR | ENCODING_HISTOGRAM | ENCODING_FLOAT_HISTOGRAM)
            && decode_chunk(encoding, chunk, XOR_SAMPLES_MAX, TimeRange::ALL, columns).is_ok();
        let times = &columns.timestamps_ms;
        is_read
            && times.first() == Some(&range.min)
            && times.last() == Some(&range.max)
            && times.windows(2).all(|pair| pair[0] < pair[1])
    })
}

/// Chunks with `values`, which are in time order and of one block.
pub(crate) fn encode_values(values: &[(i64, Value)]) -> Vec<Built> {
    let mut built = Vec::new();
    for run in values.chunk_by(|a, b| kind(&a.1) == kind(&b.1)) {
        match kind(&run[0].1) {
            ENCODING_XOR => encode_floats(run, &mut built),
            ENCODING_HISTOGRAM => encode_histograms(run, &mut built, |value| match value {
                Value::Histogram(NativeHistogram::Integer(histogram)) => &**histogram,
                _ => unreachable!("the run is of one kind"),
            }),
            _ => encode_histograms(run, &mut built, |value| match value {
                Value::Histogram(NativeHistogram::Float(histogram)) => &**histogram,
                _ => unreachable!("the run is of one kind"),
            }),
        }
    }
    built
}

fn kind(value: &Value) -> u8 {
    match value {
        Value::Float(_) => ENCODING_XOR,
        Value::Histogram(NativeHistogram::Integer(_)) => ENCODING_HISTOGRAM,
        Value::Histogram(NativeHistogram::Float(_)) => ENCODING_FLOAT_HISTOGRAM,
    }
}

/// One chunk, or two halves when it would be too large.
fn encode_floats(run: &[(i64, Value)], built: &mut Vec<Built>) {
    let (mut data, mut appender) = (Vec::new(), XorAppender::EMPTY);
    if run.len() <= 2 * usize::from(SAMPLES_AIM) {
        for (time_ms, value) in run {
            let Value::Float(value) = value else { unreachable!("the run is of one kind") };
            appender.append(&mut data, *time_ms, *value);
        }
    }
    // A chunk that is cut in order is at most one sample over the limit.
    if data.is_empty() || (data.len() > CHUNK_BYTES_MAX + super::series::SAMPLE_BYTES_MAX && run.len() > 1) {
        let (left, right) = run.split_at(run.len() / 2);
        encode_floats(left, built);
        encode_floats(right, built);
        return;
    }
    let range = TimeRange::new(run[0].0, run[run.len() - 1].0);
    built.push(Built { range, data, appender: OpenAppender::Xor(appender) });
}

fn encode_histograms<'a, H: Appendable + 'a>(
    run: &'a [(i64, Value)],
    built: &mut Vec<Built>,
    of: impl Fn(&'a Value) -> &'a H,
) {
    let (mut data, mut open, mut first_ms) = (Vec::new(), None::<HistogramAppender<H>>, run[0].0);
    let mut finish = |data: Vec<u8>, appender: HistogramAppender<H>, first_ms: i64| {
        let range = TimeRange::new(first_ms, appender.last_timestamp_ms());
        built.push(Built { range, data, appender: OpenAppender::Histogram(H::open(appender)) });
    };
    for (time_ms, value) in run {
        let histogram = of(value);
        let header = match open.take() {
            None => HistogramAppender::first_header(None, histogram),
            Some(mut appender) => match appender.offer(&mut data, *time_ms, histogram) {
                HistogramOffer::Appended | HistogramOffer::Recoded => {
                    open = Some(appender);
                    continue;
                }
                HistogramOffer::NeedsNewChunk(header) => {
                    finish(std::mem::take(&mut data), appender, first_ms);
                    header
                }
            },
        };
        first_ms = *time_ms;
        open = Some(HistogramAppender::begin(&mut data, *time_ms, histogram, header));
    }
    if let Some(appender) = open {
        finish(data, appender, first_ms);
    }
}

/// A histogram kind that chunks are made of.
pub(crate) trait Appendable: format::ChunkHistogram + Sized {
    fn open(appender: HistogramAppender<Self>) -> OpenHistogram;

    /// The appender of the open chunk if it is of this kind.
    fn take(open: Option<OpenHistogram>) -> Option<HistogramAppender<Self>>;
}

impl Appendable for IntegerHistogram {
    fn open(appender: HistogramAppender<Self>) -> OpenHistogram {
        OpenHistogram::Integer(appender)
    }

    fn take(open: Option<OpenHistogram>) -> Option<HistogramAppender<Self>> {
        match open {
            Some(OpenHistogram::Integer(appender)) => Some(appender),
            _ => None,
        }
    }
}

impl Appendable for FloatHistogram {
    fn open(appender: HistogramAppender<Self>) -> OpenHistogram {
        OpenHistogram::Float(appender)
    }

    fn take(open: Option<OpenHistogram>) -> Option<HistogramAppender<Self>> {
        match open {
            Some(OpenHistogram::Float(appender)) => Some(appender),
            _ => None,
        }
    }
}
