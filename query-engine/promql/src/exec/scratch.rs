//! Buffers that a thread reuses from series to series.

use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram, SampleColumns, is_stale_nan};

use super::column::stored_float;

/// One thread's buffers.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Samples as they were decoded.
    pub(crate) samples: SampleColumns,
    /// The same samples without stale markers, floats and histograms apart.
    pub(crate) points: Points,
    /// For kernels that sort or keep a queue.
    pub(crate) floats: Vec<f64>,
    /// For kernels that keep positions.
    pub(crate) positions: Vec<usize>,
}

/// Samples of one series, floats and histograms apart, each in time order.
#[derive(Debug, Default)]
pub(crate) struct Points {
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<f64>,
    pub(crate) histograms: Vec<(i64, Arc<FloatHistogram>)>,
}

impl Points {
    pub(crate) fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.histograms.clear();
    }
}

impl Scratch {
    /// Reduces decoded histograms to count and sum. Whether a counter was reset can be found out only now, while the
    /// buckets are at hand.
    pub(crate) fn drop_buckets(&mut self) {
        let mut last: Option<Arc<FloatHistogram>> = None;
        for (_, histogram) in &mut self.samples.histograms {
            let known = histogram.counter_reset_hint;
            let mut hint = known;
            if !is_stale_nan(histogram.sum) {
                if let (CounterResetHint::Unknown, Some(last)) = (known, &last) {
                    let is_reset = histogram.detect_reset(last);
                    hint = if is_reset { CounterResetHint::Reset } else { CounterResetHint::NotReset };
                }
                last = Some(Arc::clone(histogram));
            }
            *histogram = Arc::new(FloatHistogram {
                counter_reset_hint: hint,
                schema: histogram.schema,
                count: histogram.count,
                sum: histogram.sum,
                ..FloatHistogram::default()
            });
        }
    }

    /// Moves the decoded samples to `points`, leaving out stale markers.
    pub(crate) fn split_samples(&mut self) {
        let (samples, points) = (&mut self.samples, &mut self.points);
        points.clear();
        if samples.histograms.is_empty() {
            // Without an early end, which would keep it from being done several values at a time.
            if samples.values.iter().fold(false, |found, value| found | is_stale_nan(*value)) {
                for (time, value) in samples.timestamps_ms.iter().zip(&samples.values) {
                    if !is_stale_nan(*value) {
                        points.times.push(*time);
                        points.values.push(*value);
                    }
                }
            } else {
                std::mem::swap(&mut points.times, &mut samples.timestamps_ms);
                std::mem::swap(&mut points.values, &mut samples.values);
            }
            return;
        }
        let mut histograms = samples.histograms.drain(..).peekable();
        for (index, (time, value)) in samples.timestamps_ms.iter().zip(&samples.values).enumerate() {
            if let Some((_, histogram)) = histograms.next_if(|(at, _)| *at == index) {
                if !is_stale_nan(histogram.sum) {
                    points.histograms.push((*time, histogram));
                }
            } else if !is_stale_nan(*value) {
                points.times.push(*time);
                points.values.push(stored_float(*value));
            }
        }
    }
}
