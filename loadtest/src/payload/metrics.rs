//! Metric requests: counters, gauges and histograms of an HTTP service.
//!
//! The value of a series in a round is a formula of its number and the round, exact in a double, so that the ledger
//! need not keep values. Names and units are chosen so that the name in Prometheus is known beforehand from the
//! OpenTelemetry compatibility specification, not computed by the code under test.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::{Template, find_placeholders, placeholder};
use crate::cli::OtlpArgs;

/// Bounds of every histogram, seconds.
pub(crate) const BOUNDS: [f64; 3] = [0.25, 1.0, 5.0];

/// What a series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// OTLP `loadtest.requests`, in Prometheus `loadtest_requests_total`.
    Counter,
    /// OTLP `loadtest.queue.depth`, in Prometheus `loadtest_queue_depth`.
    Gauge,
    /// OTLP `loadtest.duration` in s, in Prometheus `loadtest_duration_seconds_{bucket,sum,count}`.
    Histogram,
}

/// A request over a fixed set of series.
pub(crate) struct MetricsTemplate {
    bytes: Vec<u8>,
    points: Vec<Point>,
    /// Value of the `slice` attribute of all its series.
    pub(crate) slice: u32,
}

/// One data point of the template.
pub(crate) struct Point {
    /// Number of the series, also its `series.id` attribute.
    pub(crate) series: u32,
    /// What it is.
    pub(crate) kind: Kind,
    time_offset: usize,
    /// Counter, gauge: the value. Histogram: count, sum, then the four buckets.
    value_offsets: Vec<usize>,
}

impl MetricsTemplate {
    /// The request for `round`, all points at `time_ns`.
    pub(crate) fn render(&self, round: u64, time_ns: i64) -> Bytes {
        let mut bytes = self.bytes.clone();
        let mut store = |offset: usize, word: [u8; 8]| bytes[offset..offset + 8].copy_from_slice(&word);
        for point in &self.points {
            store(point.time_offset, time_ns.to_le_bytes());
            match point.kind {
                Kind::Counter | Kind::Gauge => {
                    store(point.value_offsets[0], number(point.kind, point.series, round).to_le_bytes());
                }
                Kind::Histogram => {
                    let buckets = buckets(point.series, round);
                    store(point.value_offsets[0], buckets.iter().sum::<u64>().to_le_bytes());
                    store(point.value_offsets[1], sum(point.series, round).to_le_bytes());
                    for (offset, count) in point.value_offsets[2..].iter().zip(buckets) {
                        store(*offset, count.to_le_bytes());
                    }
                }
            }
        }
        Bytes::from(bytes)
    }

    pub(crate) fn items(&self) -> u64 {
        self.points.len() as u64
    }

    pub(crate) fn points(&self) -> &[Point] {
        &self.points
    }
}

/// Value of a counter or gauge.
pub(crate) fn number(kind: Kind, series: u32, round: u64) -> f64 {
    let step = f64::from(series % 7 + 1);
    match kind {
        Kind::Counter => f64::from(series % 1000) + round as f64 * step,
        // Goes up and down in quarters, which a double holds exactly.
        _ => f64::from(series % 100) + ((round * 13 + u64::from(series)) % 64) as f64 * 0.25,
    }
}

/// Bucket counts of a histogram, the last one above all bounds.
pub(crate) fn buckets(series: u32, round: u64) -> [u64; 4] {
    let per_round = u64::from(series % 5 + 1);
    [4, 3, 2, 1].map(|share| share * per_round * (round + 1))
}

/// Sum of a histogram.
pub(crate) fn sum(series: u32, round: u64) -> f64 {
    buckets(series, round).iter().sum::<u64>() as f64 * 0.5
}

/// Templates of each connection: the series are cut into slices of a request each, dealt out in turn.
pub(crate) fn templates(args: &OtlpArgs, run_id: &str) -> Vec<Vec<Template>> {
    let mut workers: Vec<Vec<Template>> = (0..args.connections).map(|_| Vec::new()).collect();
    // At least one slice a connection, so that no connection idles.
    let batch = args.batch.min(args.series.div_ceil(args.connections)).max(1);
    for slice in 0..args.series.div_ceil(batch) {
        let series = slice * batch..((slice + 1) * batch).min(args.series);
        let worker = slice as usize % workers.len();
        workers[worker].push(Template::Metrics(template(args, run_id, slice, series)));
    }
    workers.retain(|templates| !templates.is_empty());
    workers
}

fn template(args: &OtlpArgs, run_id: &str, slice: u32, series: std::ops::Range<u32>) -> MetricsTemplate {
    let mut placeholders = 0;
    let mut next = || {
        placeholders += 1;
        placeholder(placeholders - 1)
    };
    let (mut counters, mut gauges, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    let mut kinds = Vec::new();
    for number in series {
        let attributes = attributes(args.seed, run_id, slice, number);
        let kind = kind(args, number);
        kinds.push((number, kind));
        match kind {
            Kind::Counter | Kind::Gauge => {
                let point = NumberDataPoint {
                    attributes,
                    time_unix_nano: next(),
                    value: Some(number_data_point::Value::AsDouble(f64::from_bits(next()))),
                    ..Default::default()
                };
                if kind == Kind::Counter { &mut counters } else { &mut gauges }.push(point);
            }
            Kind::Histogram => histograms.push(HistogramDataPoint {
                attributes,
                time_unix_nano: next(),
                count: next(),
                sum: Some(f64::from_bits(next())),
                bucket_counts: (0..=BOUNDS.len()).map(|_| next()).collect(),
                explicit_bounds: BOUNDS.to_vec(),
                ..Default::default()
            }),
        }
    }
    let bytes = request(counters, gauges, histograms).encode_to_vec();
    let offsets = find_placeholders(&bytes, placeholders);
    let mut rest = offsets.into_iter();
    let points = kinds
        .into_iter()
        .map(|(series, kind)| {
            let values = if kind == Kind::Histogram { 2 + BOUNDS.len() + 1 } else { 1 };
            let time_offset = rest.next().expect("each point has a time");
            Point { series, kind, time_offset, value_offsets: rest.by_ref().take(values).collect() }
        })
        .collect();
    MetricsTemplate { bytes, points, slice }
}

fn kind(args: &OtlpArgs, series: u32) -> Kind {
    if args.histogram_every > 0 && series.is_multiple_of(args.histogram_every) {
        Kind::Histogram
    } else if series.is_multiple_of(3) {
        Kind::Gauge
    } else {
        Kind::Counter
    }
}

fn attributes(seed: u64, run_id: &str, slice: u32, series: u32) -> Vec<KeyValue> {
    const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
    const ROUTES: [&str; 5] = ["/api/cart", "/api/checkout", "/api/product/{id}", "/healthz", "/login"];
    const CODES: [&str; 5] = ["200", "201", "404", "429", "500"];
    let pick = (u64::from(series) ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let pick = |choices: &[&'static str], salt: u64| choices[((pick >> salt) as usize) % choices.len()];
    [
        ("run.id", run_id.to_owned()),
        ("slice", slice.to_string()),
        ("series.id", series.to_string()),
        ("http.request.method", pick(&METHODS, 0).to_owned()),
        ("http.route", pick(&ROUTES, 3).to_owned()),
        ("http.response.status_code", pick(&CODES, 7).to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| string(key, value))
    .collect()
}

fn request(
    counters: Vec<NumberDataPoint>,
    gauges: Vec<NumberDataPoint>,
    histograms: Vec<HistogramDataPoint>,
) -> ExportMetricsServiceRequest {
    let cumulative = AggregationTemporality::Cumulative as i32;
    let counter = metric::Data::Sum(Sum {
        data_points: counters,
        aggregation_temporality: cumulative,
        is_monotonic: true,
    });
    let histogram =
        metric::Data::Histogram(Histogram { data_points: histograms, aggregation_temporality: cumulative });
    let metric = |name: &str, unit: &str, data| Metric {
        name: name.to_owned(),
        description: "made by the load tester".to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Default::default()
    };
    let mut metrics = vec![
        metric("loadtest.requests", "", counter),
        metric("loadtest.queue.depth", "", metric::Data::Gauge(Gauge { data_points: gauges })),
        metric("loadtest.duration", "s", histogram),
    ];
    metrics.retain(|metric| match &metric.data {
        Some(metric::Data::Sum(sum)) => !sum.data_points.is_empty(),
        Some(metric::Data::Gauge(gauge)) => !gauge.data_points.is_empty(),
        Some(metric::Data::Histogram(histogram)) => !histogram.data_points.is_empty(),
        _ => false,
    });
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource("loadtest")),
            scope_metrics: vec![ScopeMetrics { scope: Some(scope()), metrics, schema_url: String::new() }],
            schema_url: String::new(),
        }],
    }
}

pub(super) fn string(key: &str, value: impl Into<String>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.into())) }),
        ..Default::default()
    }
}

pub(super) fn resource(instance: &str) -> Resource {
    let attributes = [
        ("service.name", "loadtest"),
        ("service.instance.id", instance),
        ("service.version", "1.4.2"),
        ("host.name", "node-07.example.test"),
        ("telemetry.sdk.language", "rust"),
    ];
    Resource { attributes: attributes.map(|(k, v)| string(k, v)).to_vec(), ..Default::default() }
}

pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope { name: "loadtest".to_owned(), version: "1.0.0".to_owned(), ..Default::default() }
}
