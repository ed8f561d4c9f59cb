//! Query results as JSON, written series by series while they are sent (web/api/v1/json_codec.go, util/jsonutil).

use axum::body::Body;
use http::{Response, StatusCode};
use model::{FloatHistogram, Labels, Sample};
use promql::{MatrixSeries, QueryOutput, QueryStats, QueryValue, SampleValue, VectorSample};

use super::histogram;
use crate::api::answers::HeldBytes;
use crate::api::json::{self, Html};
use crate::api::streamed;

/// Annotations of each kind that are shown (`AsStrings(query, 10, 10)`).
const ANNOTATIONS_MAX: usize = 10;

/// How an answer is cut and what it tells about itself.
pub(super) struct Options {
    /// Most series; 0 is no limit.
    pub(super) limit: usize,
    /// Whether the query's cost is part of the answer.
    pub(super) stats: bool,
    /// Seconds that the query took.
    pub(super) seconds: f64,
}

/// The whole answer to a query.
pub(super) fn answer(mut output: QueryOutput, options: &Options) -> Response<Body> {
    let dropped = match &mut output.value {
        QueryValue::Vector(samples) => truncate(samples, options.limit),
        QueryValue::Matrix(series) => truncate(series, options.limit),
        QueryValue::Scalar(_) | QueryValue::String { .. } => false,
    };
    let mut tail = vec![];
    if options.stats {
        stats(&mut tail, output.stats, options.seconds);
    }
    tail.push(b'}');
    if dropped {
        output.warnings.push("results truncated due to limit".to_owned());
    }
    annotations(&mut tail, "warnings", &output.warnings);
    annotations(&mut tail, "infos", &output.infos);
    tail.push(b'}');

    let held = HeldBytes(held_bytes(&output.value));
    let mut items = Items::new(output.value);
    let mut head = Some(items.result_type());
    let mut answer = streamed(StatusCode::OK, "application/json", move |out| {
        if let Some(result_type) = head.take() {
            out.extend_from_slice(br#"{"status":"success","data":{"resultType":""#);
            out.extend_from_slice(result_type.as_bytes());
            out.extend_from_slice(br#"","result":"#);
            items.open(out);
        }
        if items.next(out) {
            return true;
        }
        out.extend_from_slice(&tail);
        false
    });
    answer.extensions_mut().insert(held);
    answer
}

/// About what a result takes in memory; histograms are shared and counted by their usual size.
fn held_bytes(value: &QueryValue) -> u64 {
    const HISTOGRAM_BYTES: usize = 512;
    let bytes = match value {
        QueryValue::Scalar(_) => 0,
        QueryValue::String { value, .. } => value.len(),
        QueryValue::Vector(samples) => {
            samples.iter().map(|sample| size_of::<VectorSample>() + sample.labels.text_bytes()).sum()
        }
        QueryValue::Matrix(series) => {
            let own = |series: &MatrixSeries| {
                size_of::<MatrixSeries>()
                    + series.labels.text_bytes()
                    + series.floats.len() * size_of::<Sample>()
                    + series.histograms.len() * HISTOGRAM_BYTES
            };
            series.iter().map(own).sum()
        }
    };
    bytes as u64
}

fn truncate<T>(items: &mut Vec<T>, limit: usize) -> bool {
    let over = limit > 0 && items.len() > limit;
    if over {
        items.truncate(limit);
    }
    over
}

/// What of a result is still to be written.
enum Items {
    Scalar(Sample),
    String(i64, String),
    Vector(std::vec::IntoIter<VectorSample>, bool),
    Matrix(std::vec::IntoIter<MatrixSeries>, bool),
    Done,
}

impl Items {
    fn new(value: QueryValue) -> Self {
        match value {
            QueryValue::Scalar(sample) => Self::Scalar(sample),
            QueryValue::String { timestamp_ms, value } => Self::String(timestamp_ms, value),
            QueryValue::Vector(samples) => Self::Vector(samples.into_iter(), true),
            QueryValue::Matrix(series) => Self::Matrix(series.into_iter(), true),
        }
    }

    fn result_type(&self) -> &'static str {
        match self {
            Self::Scalar(_) => "scalar",
            Self::String(..) => "string",
            Self::Vector(..) => "vector",
            Self::Matrix(..) | Self::Done => "matrix",
        }
    }

    fn open(&self, out: &mut Vec<u8>) {
        if matches!(self, Self::Vector(..) | Self::Matrix(..)) {
            out.push(b'[');
        }
    }

    /// Writes one more item; `false` when the result has been closed.
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Scalar(sample) => {
                point(out, sample.timestamp_ms, sample.value);
                *self = Self::Done;
                false
            }
            Self::String(timestamp_ms, value) => {
                out.push(b'[');
                json::timestamp(out, *timestamp_ms);
                out.push(b',');
                json::string(out, value, Html::Plain);
                out.push(b']');
                *self = Self::Done;
                false
            }
            Self::Vector(samples, first) => match samples.next() {
                Some(sample) => {
                    comma(out, first);
                    vector_sample(out, &sample);
                    true
                }
                None => {
                    out.push(b']');
                    false
                }
            },
            Self::Matrix(series, first) => match series.next() {
                Some(series) => {
                    comma(out, first);
                    matrix_series(out, &series);
                    true
                }
                None => {
                    out.push(b']');
                    false
                }
            },
            Self::Done => false,
        }
    }
}

fn comma(out: &mut Vec<u8>, first: &mut bool) {
    if !std::mem::take(first) {
        out.push(b',');
    }
}

fn metric(out: &mut Vec<u8>, labels: &Labels) {
    out.extend_from_slice(br#"{"metric":"#);
    json::labels(out, labels, Html::Plain);
}

fn vector_sample(out: &mut Vec<u8>, sample: &VectorSample) {
    metric(out, &sample.labels);
    match &sample.value {
        SampleValue::Float(value) => {
            out.extend_from_slice(br#","value":"#);
            point(out, sample.timestamp_ms, *value);
        }
        SampleValue::Histogram(value) => {
            out.extend_from_slice(br#","histogram":"#);
            histogram_point(out, sample.timestamp_ms, value);
        }
    }
    out.push(b'}');
}

fn matrix_series(out: &mut Vec<u8>, series: &MatrixSeries) {
    metric(out, &series.labels);
    if !series.floats.is_empty() {
        out.extend_from_slice(br#","values":["#);
        for (index, sample) in series.floats.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            point(out, sample.timestamp_ms, sample.value);
        }
        out.push(b']');
    }
    if !series.histograms.is_empty() {
        out.extend_from_slice(br#","histograms":["#);
        for (index, (timestamp_ms, value)) in series.histograms.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            histogram_point(out, *timestamp_ms, value);
        }
        out.push(b']');
    }
    out.push(b'}');
}

fn point(out: &mut Vec<u8>, timestamp_ms: i64, value: f64) {
    out.push(b'[');
    json::timestamp(out, timestamp_ms);
    out.extend_from_slice(b",\"");
    json::float(out, value);
    out.extend_from_slice(b"\"]");
}

fn histogram_point(out: &mut Vec<u8>, timestamp_ms: i64, value: &FloatHistogram) {
    out.push(b'[');
    json::timestamp(out, timestamp_ms);
    out.push(b',');
    histogram::write(out, value);
    out.push(b']');
}

fn stats(out: &mut Vec<u8>, stats: QueryStats, seconds: f64) {
    // The phases run interleaved here; all of the time is evaluation.
    out.extend_from_slice(br#","stats":{"timings":{"evalTotalTime":"#);
    json::float(out, seconds);
    out.extend_from_slice(
        br#","resultSortTime":0,"queryPreparationTime":0,"innerEvalTime":0,"execQueueTime":0,"execTotalTime":"#,
    );
    json::float(out, seconds);
    out.extend_from_slice(br#"},"samples":{"totalQueryableSamples":"#);
    json::integer(out, stats.samples_read);
    out.extend_from_slice(br#","peakSamples":"#);
    json::integer(out, stats.peak_samples);
    out.extend_from_slice(b"}}");
}

/// `,"warnings":[…]`, or nothing.
pub(super) fn annotations(out: &mut Vec<u8>, name: &str, notes: &[String]) {
    if notes.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    let shown = notes.iter().take(ANNOTATIONS_MAX).map(String::as_str);
    if notes.len() <= ANNOTATIONS_MAX {
        json::strings(out, shown, Html::Plain);
        return;
    }
    let more = format!("{} more {name} not shown", notes.len() - ANNOTATIONS_MAX);
    json::strings(out, shown.chain([more.as_str()]), Html::Plain);
}

#[cfg(test)]
mod tests;
