//! Samples of any kind into new chunks, cut as Prometheus' compaction cuts them (`seriesToChunkEncoder` in
//! storage/series.go): after 120 samples, where the kind changes, and where a histogram cannot follow.

use model::{FloatHistogram, IntegerHistogram, NativeHistogram, TimeRange};

use crate::chunk::{ChunkSample, ENCODING_XOR, read_chunk_samples};
use crate::{ChunkHistogram, FormatError, HistogramAppender, HistogramOffer, XorAppender};

/// Samples of a chunk (`seriesToChunkEncoderSplit`).
const SAMPLES_MAX: u16 = 120;

/// A chunk: times of its first and last sample (ms), number of its encoding, bytes.
pub type Recoded = (TimeRange, u8, Vec<u8>);

/// Collects samples, which must ascend in time, into chunks.
#[derive(Default)]
pub struct Recoder {
    done: Vec<Recoded>,
    open: Option<Open>,
}

struct Open {
    first_ms: i64,
    last_ms: i64,
    chunk: Vec<u8>,
    appender: Appender,
}

enum Appender {
    Floats(Box<XorAppender>),
    Integers(Box<HistogramAppender<IntegerHistogram>>),
    FloatHistograms(Box<HistogramAppender<FloatHistogram>>),
}

impl Appender {
    fn samples(&self) -> u16 {
        match self {
            Self::Floats(appender) => appender.samples(),
            Self::Integers(appender) => appender.samples(),
            Self::FloatHistograms(appender) => appender.samples(),
        }
    }

    fn encoding(&self) -> u8 {
        match self {
            Self::Floats(_) => ENCODING_XOR,
            Self::Integers(_) => HistogramAppender::<IntegerHistogram>::encoding(),
            Self::FloatHistograms(_) => HistogramAppender::<FloatHistogram>::encoding(),
        }
    }
}

impl Recoder {
    /// Adds the samples of a chunk whose times `keep` likes.
    pub fn read(&mut self, encoding: u8, data: &[u8], keep: impl Fn(i64) -> bool) -> Result<(), FormatError> {
        read_chunk_samples(encoding, data, |time, sample| {
            if keep(time) {
                self.push(time, &sample);
            }
        })
    }

    /// Adds a sample.
    pub fn push(&mut self, timestamp_ms: i64, sample: &ChunkSample) {
        if self.open.as_ref().is_some_and(|open| open.appender.samples() >= SAMPLES_MAX) {
            self.cut();
        }
        match sample {
            ChunkSample::Float(value) => self.push_float(timestamp_ms, *value),
            ChunkSample::Histogram(NativeHistogram::Integer(histogram)) => self.push_histogram(
                timestamp_ms,
                &**histogram,
                |appender| match appender {
                    Appender::Integers(appender) => Some(appender),
                    _ => None,
                },
                Appender::Integers,
            ),
            ChunkSample::Histogram(NativeHistogram::Float(histogram)) => self.push_histogram(
                timestamp_ms,
                &**histogram,
                |appender| match appender {
                    Appender::FloatHistograms(appender) => Some(appender),
                    _ => None,
                },
                Appender::FloatHistograms,
            ),
        }
    }

    /// The chunks.
    pub fn finish(mut self) -> Vec<Recoded> {
        self.cut();
        self.done
    }

    fn cut(&mut self) {
        if let Some(open) = self.open.take() {
            let range = TimeRange::new(open.first_ms, open.last_ms);
            self.done.push((range, open.appender.encoding(), open.chunk));
        }
    }

    fn push_float(&mut self, timestamp_ms: i64, value: f64) {
        if let Some(Open { appender: Appender::Floats(appender), chunk, last_ms, .. }) = &mut self.open {
            appender.append(chunk, timestamp_ms, value);
            *last_ms = timestamp_ms;
            return;
        }
        self.cut();
        let (mut appender, mut chunk) = (Box::new(XorAppender::EMPTY), Vec::new());
        appender.append(&mut chunk, timestamp_ms, value);
        self.begin(timestamp_ms, chunk, Appender::Floats(appender));
    }

    fn push_histogram<H: ChunkHistogram>(
        &mut self,
        timestamp_ms: i64,
        histogram: &H,
        same: impl Fn(&mut Appender) -> Option<&mut Box<HistogramAppender<H>>>,
        wrap: impl Fn(Box<HistogramAppender<H>>) -> Appender,
    ) {
        let mut header = HistogramAppender::first_header(None, histogram);
        if let Some(open) = &mut self.open
            && let Some(appender) = same(&mut open.appender)
        {
            match appender.offer(&mut open.chunk, timestamp_ms, histogram) {
                HistogramOffer::Appended | HistogramOffer::Recoded => {
                    open.last_ms = timestamp_ms;
                    return;
                }
                HistogramOffer::NeedsNewChunk(found) => header = found,
            }
        }
        self.cut();
        let mut chunk = Vec::new();
        let appender = HistogramAppender::begin(&mut chunk, timestamp_ms, histogram, header);
        self.begin(timestamp_ms, chunk, wrap(Box::new(appender)));
    }

    fn begin(&mut self, timestamp_ms: i64, chunk: Vec<u8>, appender: Appender) {
        self.open = Some(Open { first_ms: timestamp_ms, last_ms: timestamp_ms, chunk, appender });
    }
}
