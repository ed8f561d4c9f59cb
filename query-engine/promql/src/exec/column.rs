//! The values of one series at all steps of a grid.
//!
//! Invariant COLUMN-1: absence is a bit pattern that no value has. The stale marker ends a series in storage and so is
//! never a value; the pattern next to it says that the value is a native histogram. Both are signalling NaNs, which no
//! arithmetic produces. Storage could hold the second one as an odd NaN: the selectors turn it into the plain NaN.

use std::sync::Arc;

use model::{FloatHistogram, Labels, STALE_NAN_BITS};

const HISTOGRAM_BITS: u64 = STALE_NAN_BITS | 1;

/// The value of a step without sample.
pub(crate) const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

const HISTOGRAM: f64 = f64::from_bits(HISTOGRAM_BITS);

/// Whether there is no sample.
pub(crate) fn is_absent(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// Whether there is a sample and it is a float.
pub(crate) fn is_float(value: f64) -> bool {
    value.to_bits() & !1 != STALE_NAN_BITS
}

/// A float from storage; see COLUMN-1.
pub(crate) fn stored_float(value: f64) -> f64 {
    if value.to_bits() == HISTOGRAM_BITS { f64::NAN } else { value }
}

/// One value per step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    /// Floats, `ABSENT`, or the mark that `histograms` has the value.
    pub(crate) values: Vec<f64>,
    /// Empty for a column of floats, else one place per step.
    pub(crate) histograms: Vec<Option<Arc<FloatHistogram>>>,
}

/// A sample's value, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell<'c> {
    Float(f64),
    Histogram(&'c Arc<FloatHistogram>),
}

impl Column {
    /// A column without samples.
    pub(crate) fn absent(steps: usize) -> Self {
        Self { values: vec![ABSENT; steps], histograms: Vec::new() }
    }

    /// A column of floats.
    pub(crate) fn floats(values: Vec<f64>) -> Self {
        Self { values, histograms: Vec::new() }
    }

    /// Removes all samples and keeps the memory.
    pub(crate) fn reset(&mut self, steps: usize) {
        self.values.clear();
        self.values.resize(steps, ABSENT);
        self.histograms.clear();
    }

    pub(crate) fn get(&self, step: usize) -> Option<Cell<'_>> {
        let value = self.values[step];
        if is_float(value) {
            Some(Cell::Float(value))
        } else if is_absent(value) {
            None
        } else {
            self.histograms[step].as_ref().map(Cell::Histogram)
        }
    }

    pub(crate) fn set_histogram(&mut self, step: usize, histogram: Arc<FloatHistogram>) {
        if self.histograms.is_empty() {
            self.histograms.resize(self.values.len(), None);
        }
        self.values[step] = HISTOGRAM;
        self.histograms[step] = Some(histogram);
    }

    pub(crate) fn set(&mut self, step: usize, cell: Cell<'_>) {
        match cell {
            Cell::Float(value) => self.values[step] = value,
            Cell::Histogram(histogram) => self.set_histogram(step, Arc::clone(histogram)),
        }
    }

    pub(crate) fn clear_at(&mut self, step: usize) {
        self.values[step] = ABSENT;
        if let Some(place) = self.histograms.get_mut(step) {
            *place = None;
        }
    }

    pub(crate) fn is_present(&self, step: usize) -> bool {
        !is_absent(self.values[step])
    }

    pub(crate) fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.iter().all(|value| is_absent(*value))
    }

    /// Number of samples as Prometheus counts them: a float is 1, a histogram its size over 16 bytes.
    pub(crate) fn samples(&self) -> u64 {
        let floats = self.values.iter().filter(|value| is_float(**value)).count() as u64;
        let histograms: u64 = self.histograms.iter().flatten().map(|h| histogram_samples(h)).sum();
        floats + histograms
    }

    /// Replaces each float; histograms go, as they do in functions over floats.
    pub(crate) fn map_floats(&mut self, f: impl Fn(f64) -> f64) {
        for value in &mut self.values {
            if is_float(*value) {
                *value = f(*value);
            } else {
                *value = ABSENT;
            }
        }
        self.histograms.clear();
    }
}

/// Samples that a histogram counts for: its bytes and a timestamp over the 16 bytes of a float sample.
pub(crate) fn histogram_samples(histogram: &FloatHistogram) -> u64 {
    let spans = histogram.positive.spans.len() + histogram.negative.spans.len();
    let counts = histogram.positive.counts.len() + histogram.negative.counts.len();
    let bounds = histogram.custom_values.as_ref().map_or(0, |bounds| bounds.len());
    (168 + 8 * (spans + counts + bounds) + 8) as u64 / 16
}

/// A series' labels, and whether its metric name is to be dropped in the end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) labels: Labels,
    pub(crate) drop_name: bool,
}

/// A series with its values.
#[derive(Clone, Debug)]
pub(crate) struct SeriesColumn {
    pub(crate) key: Key,
    pub(crate) column: Column,
}
