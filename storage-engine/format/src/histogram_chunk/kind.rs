//! Integer and float histograms behind one face, so that appending, re-coding and reading are written once.

use std::sync::Arc;

use model::{BucketSpan, Buckets, CounterResetHint, FloatHistogram, IntegerBuckets, IntegerHistogram};

use super::layout::{Layout, bucket_count};
use super::state::{FloatState, IntegerState, State, Totals};

/// A native histogram that chunks can hold: [`IntegerHistogram`] (encodings 2 and 5) or [`FloatHistogram`] (3 and 6).
pub trait ChunkHistogram: Kind {
    /// Whether there is one count for each bucket that the spans describe. One that is not cannot be encoded.
    fn is_well_formed(&self) -> bool {
        let (positive, negative) = self.spans();
        let (positive, negative) = (bucket_count(positive), bucket_count(negative));
        self.counts() == (positive, negative)
    }
}

impl ChunkHistogram for IntegerHistogram {}
impl ChunkHistogram for FloatHistogram {}

/// What the two kinds of histograms differ in.
pub trait Kind: Sized + Default {
    /// Running values of a chunk.
    type State: State;

    /// What a chunk says when it was begun because of nothing that is a counter reset: integer chunks name what they
    /// found out, float chunks only know resets (`AppendFloatHistogram` in float_histogram.go).
    const NAMES_HEADER: bool;

    /// Number of the encoding that is written.
    const ENCODING: u8;

    /// What is known about a counter reset.
    fn hint(&self) -> CounterResetHint;

    /// Positive and negative spans.
    fn spans(&self) -> (&[BucketSpan], &[BucketSpan]);

    /// Counts of positive and negative buckets that there are.
    fn counts(&self) -> (usize, usize);

    /// Schema, zero threshold and custom bounds, with these spans.
    fn layout(&self, positive: Vec<BucketSpan>, negative: Vec<BucketSpan>) -> Layout;

    /// Counts beside the buckets.
    fn totals(&self) -> Totals<<Self::State as State>::Count>;

    /// Absolute counts of the positive buckets.
    fn positive(&self) -> impl Iterator<Item = <Self::State as State>::Bucket>;

    /// Absolute counts of the negative buckets.
    fn negative(&self) -> impl Iterator<Item = <Self::State as State>::Bucket>;

    /// The last sample of a chunk.
    fn from_state(state: &Self::State, layout: &Layout, hint: CounterResetHint) -> Self;

    /// The stale marker, which has no buckets.
    fn stale(sum: f64) -> Self;

    /// As queries see it.
    fn into_float(self) -> FloatHistogram;
}

impl Kind for IntegerHistogram {
    type State = IntegerState;

    const NAMES_HEADER: bool = true;

    const ENCODING: u8 = crate::ENCODING_HISTOGRAM;

    fn hint(&self) -> CounterResetHint {
        self.counter_reset_hint
    }

    fn spans(&self) -> (&[BucketSpan], &[BucketSpan]) {
        (&self.positive.spans, &self.negative.spans)
    }

    fn counts(&self) -> (usize, usize) {
        (self.positive.deltas.len(), self.negative.deltas.len())
    }

    fn layout(&self, positive: Vec<BucketSpan>, negative: Vec<BucketSpan>) -> Layout {
        let custom_values = self.custom_values.clone();
        Layout { schema: self.schema, zero_threshold: self.zero_threshold, positive, negative, custom_values }
    }

    fn totals(&self) -> Totals<u64> {
        Totals { count: self.count, zero_count: self.zero_count, sum: self.sum }
    }

    fn positive(&self) -> impl Iterator<Item = i64> {
        absolute(&self.positive.deltas)
    }

    fn negative(&self) -> impl Iterator<Item = i64> {
        absolute(&self.negative.deltas)
    }

    fn from_state(state: &IntegerState, layout: &Layout, hint: CounterResetHint) -> Self {
        let totals = state.totals();
        let (positive, negative) = state.deltas();
        Self {
            counter_reset_hint: hint,
            schema: layout.schema,
            zero_threshold: layout.zero_threshold,
            zero_count: totals.zero_count,
            count: totals.count,
            sum: totals.sum,
            positive: IntegerBuckets { spans: layout.positive.clone(), deltas: positive },
            negative: IntegerBuckets { spans: layout.negative.clone(), deltas: negative },
            custom_values: layout.custom_values.as_ref().map(Arc::clone),
        }
    }

    fn stale(sum: f64) -> Self {
        Self { sum, ..Self::default() }
    }

    fn into_float(self) -> FloatHistogram {
        self.to_float()
    }
}

fn absolute(deltas: &[i64]) -> impl Iterator<Item = i64> {
    deltas.iter().scan(0_i64, |count, delta| {
        *count = count.wrapping_add(*delta);
        Some(*count)
    })
}

impl Kind for FloatHistogram {
    type State = FloatState;

    const NAMES_HEADER: bool = false;

    const ENCODING: u8 = crate::ENCODING_FLOAT_HISTOGRAM;

    fn hint(&self) -> CounterResetHint {
        self.counter_reset_hint
    }

    fn spans(&self) -> (&[BucketSpan], &[BucketSpan]) {
        (&self.positive.spans, &self.negative.spans)
    }

    fn counts(&self) -> (usize, usize) {
        (self.positive.counts.len(), self.negative.counts.len())
    }

    fn layout(&self, positive: Vec<BucketSpan>, negative: Vec<BucketSpan>) -> Layout {
        let custom_values = self.custom_values.clone();
        Layout { schema: self.schema, zero_threshold: self.zero_threshold, positive, negative, custom_values }
    }

    fn totals(&self) -> Totals<f64> {
        Totals { count: self.count, zero_count: self.zero_count, sum: self.sum }
    }

    fn positive(&self) -> impl Iterator<Item = f64> {
        self.positive.counts.iter().copied()
    }

    fn negative(&self) -> impl Iterator<Item = f64> {
        self.negative.counts.iter().copied()
    }

    fn from_state(state: &FloatState, layout: &Layout, hint: CounterResetHint) -> Self {
        let totals = state.totals();
        Self {
            counter_reset_hint: hint,
            schema: layout.schema,
            zero_threshold: layout.zero_threshold,
            zero_count: totals.zero_count,
            count: totals.count,
            sum: totals.sum,
            positive: Buckets { spans: layout.positive.clone(), counts: state.positive().collect() },
            negative: Buckets { spans: layout.negative.clone(), counts: state.negative().collect() },
            custom_values: layout.custom_values.as_ref().map(Arc::clone),
        }
    }

    fn stale(sum: f64) -> Self {
        Self { sum, ..Self::default() }
    }

    fn into_float(self) -> FloatHistogram {
        self
    }
}
