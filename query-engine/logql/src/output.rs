//! What a query answers.

mod grouped;

use std::time::Duration;

use model::Labels;

pub use self::grouped::{GroupedStreams, Grouping};

/// A query's answer.
#[derive(Clone, Debug)]
pub struct QueryOutput {
    /// The data.
    pub result: QueryResult,
    /// What it cost.
    pub stats: QueryStats,
    /// Sentences for the user about an answer that is not whole.
    pub warnings: Vec<String>,
}

/// The data of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryResult {
    /// Log lines.
    Streams(Streams),
    /// Series over steps, sorted by labels.
    Matrix(Vec<MatrixSeries>),
    /// One value per series, sorted by labels, or by value after `sort`.
    Vector(Vec<VectorSample>),
    /// A number at a time.
    Scalar {
        /// Milliseconds since the epoch.
        timestamp_ms: i64,
        /// The number.
        value: f64,
    },
}

/// One series of a matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSeries {
    /// Its labels.
    pub labels: Labels,
    /// Milliseconds since the epoch and values, ascending in time.
    pub points: Vec<(i64, f64)>,
}

/// One series of a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// Its labels.
    pub labels: Labels,
    /// Milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// The value.
    pub value: f64,
}

/// Log lines in the order that the query asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Streams {
    /// The entries.
    pub entries: Vec<ResultEntry>,
}

/// One log line of an answer, with its three kinds of labels apart.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultEntry {
    /// Nanoseconds since the epoch.
    pub timestamp_ns: i64,
    /// The line after the pipeline.
    pub line: String,
    /// Labels of the stream that the pipeline left.
    pub stream: Labels,
    /// Structured metadata that the pipeline left.
    pub structured_metadata: Vec<(String, String)>,
    /// Labels that the pipeline made, errors included.
    pub parsed: Vec<(String, String)>,
}

impl ResultEntry {
    /// Bytes of its line and of the names and values of its own labels; its stream's are shared.
    pub fn text_bytes(&self) -> usize {
        let own = self.structured_metadata.iter().chain(&self.parsed);
        self.line.len() + own.map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }

    /// All labels together, as Loki shows them unless asked to categorize.
    pub fn all_labels(&self) -> Labels {
        if self.structured_metadata.is_empty() && self.parsed.is_empty() {
            return self.stream.clone();
        }
        let extra = self.structured_metadata.iter().chain(&self.parsed);
        Labels::from_pairs(self.stream.iter().chain(extra.map(|(n, v)| (n.as_str(), v.as_str()))))
    }
}

/// What a query cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Time from start to end.
    pub exec_time: Duration,
    /// Bytes of lines and structured metadata that were looked at.
    pub bytes_processed: u64,
    /// Bytes of structured metadata among them.
    pub metadata_bytes_processed: u64,
    /// Lines that were looked at.
    pub lines_processed: u64,
    /// Lines that the pipeline kept.
    pub lines_after_filters: u64,
    /// Pages that were read.
    pub pages_read: u64,
    /// Pages that the store offered.
    pub pages_selected: u64,
    /// Lines, or series, in the answer.
    pub entries_returned: u64,
}

impl QueryStats {
    /// Bytes per second of execution time.
    pub fn bytes_per_second(&self) -> u64 {
        per_second(self.bytes_processed, self.exec_time)
    }

    /// Lines per second of execution time.
    pub fn lines_per_second(&self) -> u64 {
        per_second(self.lines_processed, self.exec_time)
    }
}

fn per_second(count: u64, time: Duration) -> u64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { (count as f64 / seconds) as u64 } else { 0 }
}
