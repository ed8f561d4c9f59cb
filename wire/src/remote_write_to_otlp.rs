//! Remote write requests as OTLP, for processors and exporters that know nothing else.
//!
//! Each series becomes a metric in the scope `otlp_to_prometheus::VERBATIM_SCOPE`, its labels the attributes of its points
//! and its name the metric's: what leaves through the translation back is the same series with the same values, stale
//! markers included. Floats become gauges, or sums where metadata says counter; exponential native histograms become
//! exponential histograms, those with custom buckets explicit ones.
//!
//! - RW2O-1: every sample and histogram is in the payload or counted as refused. OTLP has no float counts: a histogram
//!   whose float counts are whole numbers is carried, another one is refused. The reset hint is lost but for gauges.
//! - RW2O-2: labels are repeated with each sample, so a payload may be far larger than its request: room is claimed
//!   before it is written. Dense buckets of a histogram whose spans lie far apart are refused.

use model::{
    AppendReport, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, Exemplar, Labels, METRIC_NAME, MetricMetadata,
    MetricType, NativeHistogram, is_stale_nan,
};

use crate::DecodeError;
use crate::otlp_to_prometheus::{TYPE_KEY, VERBATIM_SCOPE};
use crate::protobuf::{
    put_bytes_field, put_double_field, put_fixed64_field, put_len_header, put_message, put_varint,
    put_varint_field, varint_len, zigzag_encode,
};
use crate::remote_write::{
    EMPTY_SERIES, INVALID_LABELS, Request, SampleWithStart, Series, Version, empty_series, read_histogram,
};

/// A request as OTLP.
#[derive(Clone, Debug, Default)]
pub struct Translated {
    /// An `ExportMetricsServiceRequest`; empty if nothing is left.
    pub payload: Vec<u8>,
    /// Data points inside.
    pub items: u64,
    /// Those of them that are histograms.
    pub histograms: u64,
    /// Exemplars inside.
    pub exemplars: u64,
    /// What could not be carried; its `stored` is 0.
    pub report: AppendReport,
}

/// Empty buckets that one histogram may gain besides as many as it has.
const DENSE_BUCKETS_SLACK: usize = 512;

/// Numbers, lengths and type of a point or an exemplar; a little more than they are.
const POINT_BYTES: usize = 160;

/// The flag "no recorded value".
const NO_RECORDED_VALUE: u64 = 1;
const CUMULATIVE: u64 = 2;

/// Translates a request. Malformed bytes are an error. Before the payload grows, `claim` is asked whether it may have so
/// many bytes in all; after a no the translation ends with what it has.
pub fn translate(
    version: Version,
    bytes: &[u8],
    claim: impl FnMut(usize) -> bool,
) -> Result<Translated, DecodeError> {
    let request = Request::new(version, bytes, 0)?;
    let mut writer = Writer { metrics: Vec::new(), out: Translated::default(), claimed: 0, claim };
    let mut series = Series::default();
    for encoded in request.series() {
        request.read(encoded?, &mut series)?;
        let labels = match request.labels(&series) {
            Ok(labels) => labels,
            Err(error) => {
                let points = series.points() as u64;
                writer.out.report.reject(INVALID_LABELS, points, || error.to_string());
                continue;
            }
        };
        let metadata = request.series_metadata(&series)?.unwrap_or_default();
        if !writer.series(&request, &series, &labels, &metadata)? {
            break;
        }
    }
    Ok(writer.finish())
}

struct Writer<C> {
    /// The metrics, as fields of the one scope.
    metrics: Vec<u8>,
    out: Translated,
    /// Bytes that `claim` allowed.
    claimed: usize,
    claim: C,
}

impl<C: FnMut(usize) -> bool> Writer<C> {
    /// Whether the metrics may grow by `bytes`.
    fn may_grow(&mut self, bytes: usize) -> bool {
        // The payload is written beside them in the end.
        let wanted = 2 * (self.metrics.len() + bytes);
        if wanted > self.claimed {
            // Some in advance: claims cost more than a series.
            let ahead = wanted + wanted / 4;
            if !(self.claim)(ahead) {
                return false;
            }
            self.claimed = ahead;
        }
        true
    }

    /// `false` when there is no room for the series.
    fn series(
        &mut self,
        request: &Request<'_>,
        series: &Series<'_>,
        labels: &Labels,
        metadata: &MetricMetadata,
    ) -> Result<bool, DecodeError> {
        if series.points() == 0 && request.version() == Version::V2 {
            self.out.report.reject(EMPTY_SERIES, 0, || empty_series(labels));
            return Ok(true);
        }
        let exemplars =
            series.exemplars.iter().map(|bytes| request.exemplar(bytes)).collect::<Result<Vec<_>, _>>()?;
        let attributes = |number: u32| {
            let mut out = Vec::new();
            put_attributes(&mut out, number, labels.iter().filter(|(name, _)| *name != METRIC_NAME));
            out
        };
        let mut exemplars = exemplars.as_slice();
        let label_bytes = attributes(7).len() + metadata.help.len() + metadata.unit.len() + POINT_BYTES;
        let exemplar_bytes: usize = series.exemplars.iter().map(|bytes| 4 * bytes.len() + POINT_BYTES).sum();
        if !self.may_grow(series.samples.len() * label_bytes + label_bytes + exemplar_bytes) {
            return Ok(false);
        }
        if !series.samples.is_empty() {
            let attributes = attributes(7);
            let number = if metadata.metric_type == MetricType::Counter { 7 } else { 5 };
            put_message(&mut self.metrics, 2, |out| {
                put_head(out, labels, metadata);
                put_message(out, number, |out| {
                    for sample in &series.samples {
                        put_number(out, &attributes, sample, std::mem::take(&mut exemplars));
                    }
                    if number == 7 {
                        put_varint_field(out, 2, CUMULATIVE);
                        put_varint_field(out, 3, 1);
                    }
                });
            });
            self.out.items += series.samples.len() as u64;
            self.out.exemplars += series.exemplars.len() as u64;
        }
        for bytes in &series.histograms {
            // Each bucket of a span is a byte at least, and has ten at most.
            let buckets = 10 * (2 * bytes.len() + 2 * DENSE_BUCKETS_SLACK);
            if !self.may_grow(2 * label_bytes + exemplar_bytes + buckets) {
                return Ok(false);
            }
            let timed = read_histogram(bytes)?;
            let written = timed.histogram.map_err(|error| error.to_string()).and_then(|histogram| {
                let point = Point { timestamp_ms: timed.timestamp_ms, start_ms: timed.start_ms, exemplars };
                put_histogram(&mut self.metrics, labels, metadata, &attributes, &histogram, &point)
            });
            match written {
                Ok(()) => {
                    self.out.items += 1;
                    self.out.histograms += 1;
                    self.out.exemplars += exemplars.len() as u64;
                    exemplars = &[];
                }
                Err(fault) => {
                    self.out.report.reject("invalid_histogram", 1, || format!("{fault} for series {labels}"));
                }
            }
        }
        Ok(true)
    }

    fn finish(mut self) -> Translated {
        if self.out.items > 0 {
            let mut payload = Vec::with_capacity(self.metrics.len() + 64);
            put_message(&mut payload, 1, |out| {
                put_message(out, 2, |out| {
                    put_message(out, 1, |out| put_bytes_field(out, 1, VERBATIM_SCOPE.as_bytes()));
                    out.extend_from_slice(&self.metrics);
                });
            });
            self.out.payload = payload;
        }
        self.out
    }
}

struct Point<'a> {
    timestamp_ms: i64,
    start_ms: i64,
    exemplars: &'a [Exemplar],
}

fn put_attributes<'a>(out: &mut Vec<u8>, number: u32, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    for (name, value) in pairs {
        put_message(out, number, |out| {
            put_bytes_field(out, 1, name.as_bytes());
            put_message(out, 2, |out| put_bytes_field(out, 1, value.as_bytes()));
        });
    }
}

/// Name, description, unit and type of a metric.
fn put_head(out: &mut Vec<u8>, labels: &Labels, metadata: &MetricMetadata) {
    put_bytes_field(out, 1, labels.metric_name().unwrap_or_default().as_bytes());
    if !metadata.help.is_empty() {
        put_bytes_field(out, 2, metadata.help.as_bytes());
    }
    if !metadata.unit.is_empty() {
        put_bytes_field(out, 3, metadata.unit.as_bytes());
    }
    put_attributes(out, 12, [(TYPE_KEY, metadata.metric_type.name())].into_iter());
}

/// Milliseconds as nanoseconds; times that OTLP cannot say are the nearest that it can.
fn nanos(ms: i64) -> u64 {
    (i128::from(ms) * 1_000_000).clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64 as u64
}

fn put_times(out: &mut Vec<u8>, start_ms: i64, timestamp_ms: i64) {
    if start_ms != 0 {
        put_fixed64_field(out, 2, nanos(start_ms));
    }
    put_fixed64_field(out, 3, nanos(timestamp_ms));
}

fn put_exemplars(out: &mut Vec<u8>, number: u32, exemplars: &[Exemplar]) {
    for exemplar in exemplars {
        put_message(out, number, |out| {
            put_fixed64_field(out, 2, nanos(exemplar.timestamp_ms));
            put_double_field(out, 3, exemplar.value);
            let mut others = Vec::new();
            for (name, value) in exemplar.labels.iter() {
                match (name, from_hex(value)) {
                    ("span_id", Some(id)) if id.len() == 8 => put_bytes_field(out, 4, &id),
                    ("trace_id", Some(id)) if id.len() == 16 => put_bytes_field(out, 5, &id),
                    _ => others.push((name, value)),
                }
            }
            put_attributes(out, 7, others.into_iter());
        });
    }
}

/// Bytes of lower-case hexadecimal text that is not all zero, so that it reads back as the same text.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs
        .iter()
        .map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?))
        .collect::<Option<Vec<u8>>>()?;
    (rest.is_empty() && bytes.iter().any(|byte| *byte != 0)).then_some(bytes)
}

fn put_number(out: &mut Vec<u8>, attributes: &[u8], sample: &SampleWithStart, exemplars: &[Exemplar]) {
    put_message(out, 1, |out| {
        put_times(out, sample.start_ms, sample.sample.timestamp_ms);
        // The marker's bits travel as any other value's do; the flag is for those who do not look at them.
        put_double_field(out, 4, sample.sample.value);
        put_exemplars(out, 5, exemplars);
        out.extend_from_slice(attributes);
        if is_stale_nan(sample.sample.value) {
            put_varint_field(out, 8, NO_RECORDED_VALUE);
        }
    });
}

/// The counts of one side, dense from the index of the first bucket on.
type Dense = (i32, Vec<u64>);

fn put_histogram(
    out: &mut Vec<u8>,
    labels: &Labels,
    metadata: &MetricMetadata,
    attributes: &impl Fn(u32) -> Vec<u8>,
    histogram: &NativeHistogram,
    point: &Point<'_>,
) -> Result<(), String> {
    let float = histogram.to_float();
    let whole = |count: f64| {
        let is_whole = count >= 0.0 && count.fract() == 0.0 && count < 2.0_f64.powi(63);
        is_whole.then_some(count as u64).ok_or("OTLP has no histograms with fractions of observations")
    };
    // Integer counts are taken as they are: floats would round those above 2^53.
    let (count, zero_count, positive, negative) = match histogram {
        NativeHistogram::Integer(h) => {
            let side = |side: &model::IntegerBuckets| {
                let mut count = 0_i64;
                let counts = side.deltas.iter().map(|delta| {
                    count = count.wrapping_add(*delta);
                    count as u64
                });
                dense(side.to_float().iter().map(|(index, _)| index).zip(counts))
            };
            (h.count, h.zero_count, side(&h.positive)?, side(&h.negative)?)
        }
        NativeHistogram::Float(h) => {
            let side = |side: &model::Buckets| {
                let pairs = side.iter().map(|(index, count)| Ok((index, whole(count)?)));
                dense(pairs.collect::<Result<Vec<_>, &str>>()?.into_iter())
            };
            (whole(h.count)?, whole(h.zero_count)?, side(&h.positive)?, side(&h.negative)?)
        }
    };
    let is_gauge = float.counter_reset_hint == CounterResetHint::Gauge;
    let metric_type = if is_gauge { MetricType::GaugeHistogram } else { metadata.metric_type };
    let metadata = MetricMetadata { metric_type, ..metadata.clone() };
    let is_custom = float.schema == CUSTOM_BUCKETS_SCHEMA;
    let flags = if histogram.is_stale() { NO_RECORDED_VALUE } else { 0 };
    put_message(out, 2, |out| {
        put_head(out, labels, &metadata);
        put_message(out, if is_custom { 9 } else { 10 }, |out| {
            put_message(out, 1, |out| {
                put_times(out, point.start_ms, point.timestamp_ms);
                put_fixed64_field(out, 4, count);
                put_double_field(out, 5, float.sum);
                if is_custom {
                    put_explicit(out, positive, float.custom_bounds());
                    put_exemplars(out, 8, point.exemplars);
                    out.extend_from_slice(&attributes(9));
                    put_varint_field(out, 10, flags);
                } else {
                    out.extend_from_slice(&attributes(1));
                    put_varint_field(out, 6, zigzag_encode(i64::from(float.schema)));
                    put_fixed64_field(out, 7, zero_count);
                    put_exponential(out, 8, positive);
                    put_exponential(out, 9, negative);
                    put_varint_field(out, 10, flags);
                    put_exemplars(out, 11, point.exemplars);
                    put_double_field(out, 14, float.zero_threshold);
                }
            });
            put_varint_field(out, 2, CUMULATIVE);
        });
    });
    Ok(())
}

fn dense(pairs: impl Iterator<Item = (i32, u64)>) -> Result<Dense, String> {
    let mut first = None;
    let mut counts: Vec<u64> = Vec::new();
    for (given, (index, count)) in pairs.enumerate() {
        let start = *first.get_or_insert(index);
        // Indices ascend: spans after the first have no negative offset.
        let at =
            usize::try_from(i64::from(index) - i64::from(start)).map_err(|_| "bucket indices overflow")?;
        let gained = at.saturating_sub(given);
        if gained > given + DENSE_BUCKETS_SLACK {
            return Err(format!("the histogram has {gained} empty buckets inside, too many for OTLP"));
        }
        counts.resize(at, 0);
        counts.push(count);
    }
    Ok((first.unwrap_or(0), counts))
}

fn put_exponential(out: &mut Vec<u8>, number: u32, (first, counts): Dense) {
    if counts.is_empty() {
        return;
    }
    put_message(out, number, |out| {
        // OTLP's bucket 0 begins at 1, ours ends there.
        put_varint_field(out, 1, zigzag_encode(i64::from(first) - 1));
        put_len_header(out, 2, counts.iter().map(|count| varint_len(*count)).sum());
        counts.iter().for_each(|count| put_varint(out, *count));
    });
}

fn put_explicit(out: &mut Vec<u8>, (first, counts): Dense, bounds: &[f64]) {
    // One more than there are bounds; buckets that are not in a span are empty.
    let mut all = vec![0_u64; bounds.len() + 1];
    for (at, count) in (usize::try_from(first).unwrap_or(0)..).zip(counts) {
        if let Some(bucket) = all.get_mut(at) {
            *bucket = count;
        }
    }
    put_len_header(out, 6, 8 * all.len());
    all.iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
    put_len_header(out, 7, 8 * bounds.len());
    bounds.iter().for_each(|bound| out.extend_from_slice(&bound.to_bits().to_le_bytes()));
}

#[cfg(test)]
mod tests;
