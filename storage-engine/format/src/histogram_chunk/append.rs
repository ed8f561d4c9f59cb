//! Appending: whether a histogram can follow in a chunk, with what change of the layout, and the writing.

use model::{BucketSpan, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, is_stale_nan};

use super::decode::Reader;
use super::kind::ChunkHistogram;
use super::layout::{Bits, Layout, reset_flags};
use super::relayout::{Side, compare_counters, compare_layouts, spread};
use super::state::State;

/// What became of a histogram that was offered to a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistogramOffer {
    /// It is the chunk's last sample.
    Appended,
    /// It is, and the whole chunk was written anew because it had no place for some of its buckets.
    Recoded,
    /// It cannot follow in this chunk, which was left as it is: begin another with this header.
    NeedsNewChunk(CounterResetHint),
}

/// Where a chunk's last histogram left off. Its size depends on the number of buckets: keep it boxed.
#[derive(Clone, Debug)]
pub struct HistogramAppender<H: ChunkHistogram> {
    timestamp_ms: i64,
    delta: i64,
    samples: u16,
    header: CounterResetHint,
    /// Unused bits of the last byte.
    free: u8,
    layout: Layout,
    state: H::State,
}

/// Memory of the running values of one bucket.
const BUCKET_BYTES: usize = 16;

/// Whether a histogram can follow.
enum Fit {
    /// With this change of layouts.
    Yes { positive: Side, negative: Side },
    /// Not, and that is what the comparison found out.
    No(CounterResetHint),
}

impl<H: ChunkHistogram> HistogramAppender<H> {
    /// Begins a chunk in `chunk`, whose bytes are replaced. `header` is what [`Self::first_header`] or a refused offer
    /// said. The histogram must be well formed.
    pub fn begin(chunk: &mut Vec<u8>, timestamp_ms: i64, histogram: &H, header: CounterResetHint) -> Self {
        let stale = H::stale(histogram.totals().sum);
        let histogram = if is_stale_nan(histogram.totals().sum) { &stale } else { histogram };
        assert!(
            histogram.is_well_formed(),
            "a chunk with more or fewer counts than buckets could not be read"
        );
        let (positive, negative) = histogram.spans();
        let layout = histogram.layout(positive.to_vec(), negative.to_vec());
        let first = (timestamp_ms, histogram.totals());
        Self::begin_with(chunk, layout, header, first, histogram.positive(), histogram.negative())
    }

    fn begin_with(
        chunk: &mut Vec<u8>,
        layout: Layout,
        header: CounterResetHint,
        (timestamp_ms, totals): (i64, super::state::Totals<<H::State as State>::Count>),
        positive: impl Iterator<Item = <H::State as State>::Bucket>,
        negative: impl Iterator<Item = <H::State as State>::Bucket>,
    ) -> Self {
        chunk.clear();
        chunk.extend_from_slice(&[0, 1, reset_flags(header)]);
        let mut free = 0;
        let mut bits = Bits { out: chunk, free: &mut free };
        layout.write(&mut bits);
        bits.int(timestamp_ms);
        let state = H::State::write_first(&mut bits, totals, positive, negative);
        Self { timestamp_ms, delta: 0, samples: 1, header, free, layout, state }
    }

    /// The header of a chunk that begins with `histogram`, after `previous` of the same series and kind if there is
    /// one (first sample in `AppendHistogram` and `AppendFloatHistogram`).
    pub fn first_header(previous: Option<&Self>, histogram: &H) -> CounterResetHint {
        match (histogram.hint(), previous) {
            (hint @ (CounterResetHint::Gauge | CounterResetHint::Reset), _) => hint,
            (_, None) => CounterResetHint::Unknown,
            (_, Some(previous)) => match previous.fit_counter(histogram) {
                Fit::No(found) if H::NAMES_HEADER || found == CounterResetHint::Reset => found,
                _ => CounterResetHint::NotReset,
            },
        }
    }

    /// Number of the encoding of the chunk.
    pub fn encoding() -> u8 {
        H::ENCODING
    }

    /// Samples in the chunk.
    pub fn samples(&self) -> u16 {
        self.samples
    }

    /// Time of the last sample, ms.
    pub fn last_timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }

    /// The last histogram, with the hint that a reader would see.
    pub fn last(&self) -> H {
        let sum = self.state.totals().sum;
        if is_stale_nan(sum) {
            return H::stale(sum);
        }
        H::from_state(&self.state, &self.layout, reader_hint(self.header, self.samples - 1))
    }

    /// Bytes of memory beside the struct itself, about.
    pub fn heap_bytes(&self) -> usize {
        let (positive, negative) = self.layout.buckets();
        let spans = self.layout.positive.capacity() + self.layout.negative.capacity();
        spans * size_of::<BucketSpan>() + (positive + negative) * BUCKET_BYTES
    }

    /// Appends a histogram to `chunk`, which only this appender writes, if it can follow there. It must be well
    /// formed, times must ascend, and the chunk must have fewer than 65,535 samples.
    pub fn offer(&mut self, chunk: &mut Vec<u8>, timestamp_ms: i64, histogram: &H) -> HistogramOffer {
        assert!(
            histogram.is_well_formed(),
            "a chunk with more or fewer counts than buckets could not be read"
        );
        let is_gauge = histogram.hint() == CounterResetHint::Gauge;
        let fit = if is_gauge { self.fit_gauge(histogram) } else { self.fit_counter(histogram) };
        let (positive, negative) = match fit {
            Fit::Yes { positive, negative } => (positive, negative),
            Fit::No(found) => {
                // A float chunk says no more than that there was a reset.
                let header = match found {
                    CounterResetHint::NotReset | CounterResetHint::Unknown if !H::NAMES_HEADER => {
                        CounterResetHint::Unknown
                    }
                    found => found,
                };
                return HistogramOffer::NeedsNewChunk(header);
            }
        };
        let is_recoded = positive.has_new || negative.has_new;
        if is_recoded {
            let (of_positive, of_negative) = histogram.spans();
            let has_missing = positive.has_missing || negative.has_missing;
            let target = |side: &Side, spans: &[BucketSpan]| {
                let is_union = if is_gauge { has_missing } else { side.has_missing };
                if is_union { side.union_spans() } else { spans.to_vec() }
            };
            let target = (target(&positive, of_positive), target(&negative, of_negative));
            self.recode(chunk, target);
        }
        self.write(chunk, timestamp_ms, histogram);
        if is_recoded { HistogramOffer::Recoded } else { HistogramOffer::Appended }
    }

    /// Whether a counter histogram can follow (`appendable`).
    fn fit_counter(&self, histogram: &H) -> Fit {
        if self.header == CounterResetHint::Gauge {
            return Fit::No(CounterResetHint::NotReset);
        }
        if histogram.hint() == CounterResetHint::Reset {
            return Fit::No(CounterResetHint::Reset);
        }
        let (totals, last) = (histogram.totals(), self.state.totals());
        if is_stale_nan(totals.sum) {
            return Fit::Yes { positive: Side::default(), negative: Side::default() };
        }
        if is_stale_nan(last.sum) {
            return Fit::No(CounterResetHint::Unknown);
        }
        if totals.count < last.count {
            return Fit::No(CounterResetHint::Reset);
        }
        let layout = histogram.layout(Vec::new(), Vec::new());
        if layout.schema != self.layout.schema || layout.zero_threshold != self.layout.zero_threshold {
            return Fit::No(CounterResetHint::Unknown);
        }
        if !self.has_bounds_of(&layout) || totals.zero_count < last.zero_count {
            return Fit::No(CounterResetHint::Reset);
        }
        let (of_positive, of_negative) = histogram.spans();
        let positive =
            compare_counters(&self.layout.positive, self.state.positive(), of_positive, histogram.positive());
        let negative =
            compare_counters(&self.layout.negative, self.state.negative(), of_negative, histogram.negative());
        match (positive, negative) {
            (Some(positive), Some(negative)) => Fit::Yes { positive, negative },
            _ => Fit::No(CounterResetHint::Reset),
        }
    }

    /// Whether a gauge histogram can follow (`appendableGauge`).
    fn fit_gauge(&self, histogram: &H) -> Fit {
        let refused = Fit::No(CounterResetHint::Gauge);
        if self.header != CounterResetHint::Gauge {
            return refused;
        }
        if is_stale_nan(histogram.totals().sum) {
            return Fit::Yes { positive: Side::default(), negative: Side::default() };
        }
        let layout = histogram.layout(Vec::new(), Vec::new());
        let is_alike =
            layout.schema == self.layout.schema && layout.zero_threshold == self.layout.zero_threshold;
        if is_stale_nan(self.state.totals().sum) || !is_alike || !self.has_bounds_of(&layout) {
            return refused;
        }
        let (of_positive, of_negative) = histogram.spans();
        Fit::Yes {
            positive: compare_layouts(&self.layout.positive, of_positive),
            negative: compare_layouts(&self.layout.negative, of_negative),
        }
    }

    fn has_bounds_of(&self, other: &Layout) -> bool {
        let bounds = |layout: &Layout| layout.custom_values.clone().unwrap_or_default();
        other.schema != CUSTOM_BUCKETS_SCHEMA || bounds(other) == bounds(&self.layout)
    }

    /// Writes all samples anew with more buckets.
    fn recode(&mut self, chunk: &mut Vec<u8>, (positive, negative): (Vec<BucketSpan>, Vec<BucketSpan>)) {
        let old = std::mem::take(chunk);
        let mut reader: Reader<'_, H> = Reader::new(&old, false).expect("this appender wrote the header");
        let mut recoded: Option<Self> = None;
        while reader.next().expect("this appender wrote the samples").is_some() {
            let (from, state) = reader.current();
            let values = (reader.timestamp_ms(), state.totals());
            let of_positive = spread(&from.positive, state.positive(), &positive);
            let of_negative = spread(&from.negative, state.negative(), &negative);
            match &mut recoded {
                Some(appender) => appender.write_values(chunk, values, of_positive, of_negative),
                None => {
                    let layout =
                        Layout { positive: positive.clone(), negative: negative.clone(), ..from.clone() };
                    let begun =
                        Self::begin_with(chunk, layout, self.header, values, of_positive, of_negative);
                    recoded = Some(begun);
                }
            }
        }
        *self = recoded.expect("a chunk has a sample from its beginning");
    }

    /// Appends a histogram whose buckets the layout has.
    fn write(&mut self, chunk: &mut Vec<u8>, timestamp_ms: i64, histogram: &H) {
        let values = (timestamp_ms, histogram.totals());
        if histogram.spans() == (&self.layout.positive, &self.layout.negative) {
            return self.write_values(chunk, values, histogram.positive(), histogram.negative());
        }
        let (of_positive, of_negative) = histogram.spans();
        let (positive, negative) = (self.layout.positive.clone(), self.layout.negative.clone());
        let of_positive = spread(of_positive, histogram.positive(), &positive);
        let of_negative = spread(of_negative, histogram.negative(), &negative);
        self.write_values(chunk, values, of_positive, of_negative);
    }

    fn write_values(
        &mut self,
        chunk: &mut Vec<u8>,
        (timestamp_ms, totals): (i64, super::state::Totals<<H::State as State>::Count>),
        positive: impl Iterator<Item = <H::State as State>::Bucket>,
        negative: impl Iterator<Item = <H::State as State>::Bucket>,
    ) {
        let delta = timestamp_ms.wrapping_sub(self.timestamp_ms);
        let mut bits = Bits { out: chunk, free: &mut self.free };
        bits.int(delta.wrapping_sub(self.delta));
        self.state.write_next(&mut bits, totals, positive, negative);
        (self.timestamp_ms, self.delta) = (timestamp_ms, delta);
        self.samples = self.samples.checked_add(1).expect("the caller cuts chunks long before 65535 samples");
        chunk[..2].copy_from_slice(&self.samples.to_be_bytes());
    }
}

/// What a reader is told about a reset: a chunk has none inside, and its beginning is not trusted, because the chunk
/// before it may be gone (`counterResetHint` in histogram_meta.go). `index` is the sample's, from 0.
pub(super) fn reader_hint(header: CounterResetHint, index: u16) -> CounterResetHint {
    match header {
        CounterResetHint::Gauge => CounterResetHint::Gauge,
        _ if index > 0 => CounterResetHint::NotReset,
        _ => CounterResetHint::Unknown,
    }
}
