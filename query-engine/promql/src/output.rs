//! What a query answers.

use std::sync::Arc;

use model::{FloatHistogram, Labels, Sample};

/// The answer to a query.
#[derive(Clone, Debug)]
pub struct QueryOutput {
    /// The result.
    pub value: QueryValue,
    /// Warnings with their position, sorted.
    pub warnings: Vec<String>,
    /// Informational notes with their position, sorted.
    pub infos: Vec<String>,
    /// What it cost.
    pub stats: QueryStats,
}

/// What a query cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueryStats {
    /// Most samples that were held at one time.
    pub peak_samples: u64,
    /// Samples that were decoded from storage.
    pub samples_read: u64,
    /// Series that were selected.
    pub series_selected: u64,
}

/// A result of one of the four types.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryValue {
    /// One number.
    Scalar(Sample),
    /// A string, at a time in ms.
    String {
        /// Time of the query, ms.
        timestamp_ms: i64,
        /// The text.
        value: String,
    },
    /// One sample per series; the order is part of the result.
    Vector(Vec<VectorSample>),
    /// A range of samples per series, sorted by labels.
    Matrix(Vec<MatrixSeries>),
}

/// A sample's value.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

/// A series with one sample.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// The series.
    pub labels: Labels,
    /// Time of the query, ms.
    pub timestamp_ms: i64,
    /// The value.
    pub value: SampleValue,
}

/// A series with its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSeries {
    /// The series.
    pub labels: Labels,
    /// Float samples in time order.
    pub floats: Vec<Sample>,
    /// Native histogram samples in time order: ms and value.
    pub histograms: Vec<(i64, Arc<FloatHistogram>)>,
}
