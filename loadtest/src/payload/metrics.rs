//! Metric requests: counters, gauges and histograms of an HTTP service.
//!
//! The value of a series in a round is a formula of its number and the round, exact in a double, so that the ledger
//! need not keep values. Names and units are chosen so that the name in Prometheus is known beforehand from the
//! OpenTelemetry compatibility specification, not computed by the code under test.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::{Template, find_all, find_placeholders, hex, placeholder, remote_write};
use crate::cli::Load;

/// Bounds of every histogram, seconds.
pub(crate) const BOUNDS: [f64; 3] = [0.25, 1.0, 5.0];

/// Eight hexadecimal digits after this text are the generation of a series that churns.
const GENERATION_KEY: &str = "gen-";

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

/// Values and names over the rounds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Course {
    /// Counters and histograms begin again after so many samples; 0 never.
    pub(crate) reset_every: u64,
    /// A series has another name after so many samples; 0 never.
    pub(crate) churn_every: u64,
}

impl Course {
    /// How often a series has been replaced; not all series at once.
    pub(crate) fn generation(self, series: u32, round: u64) -> u64 {
        (round + u64::from(series)).checked_div(self.churn_every).unwrap_or(0)
    }

    fn since_reset(self, series: u32, round: u64) -> u64 {
        let age = if self.churn_every == 0 { round } else { (round + u64::from(series)) % self.churn_every };
        if self.reset_every == 0 { age } else { age % self.reset_every }
    }

    /// Value of a counter or gauge.
    pub(crate) fn number(self, kind: Kind, series: u32, round: u64) -> f64 {
        let step = f64::from(series % 7 + 1);
        match kind {
            Kind::Counter => f64::from(series % 1000) + self.since_reset(series, round) as f64 * step,
            // Goes up and down in quarters, which a double holds exactly.
            _ => f64::from(series % 100) + ((round * 13 + u64::from(series)) % 64) as f64 * 0.25,
        }
    }

    /// Bucket counts of a histogram, the last one above all bounds.
    pub(crate) fn buckets(self, series: u32, round: u64) -> [u64; 4] {
        let per_round = u64::from(series % 5 + 1);
        [4, 3, 2, 1].map(|share| share * per_round * (self.since_reset(series, round) + 1))
    }

    /// Sum of a histogram.
    pub(crate) fn sum(self, series: u32, round: u64) -> f64 {
        self.buckets(series, round).iter().sum::<u64>() as f64 * 0.5
    }
}

/// Protocol of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Times and counts are fixed 64-bit fields.
    Otlp,
    /// Times are varints of six bytes, all values doubles, buckets cumulative.
    RemoteWrite,
}

/// A request over a fixed set of series.
pub(crate) struct MetricsTemplate {
    form: Form,
    bytes: Vec<u8>,
    points: Vec<Point>,
    /// Offsets of generations, each with its place in `points`.
    generations: Vec<(usize, usize)>,
    /// Items in a request: data points, or samples.
    items: u64,
    /// What its series are called and how their values go.
    pub(crate) identity: Identity,
}

/// One data point of the template.
pub(crate) struct Point {
    /// Number of the series, also its `series.id` attribute.
    pub(crate) series: u32,
    /// What it is.
    pub(crate) kind: Kind,
    /// One, or one for each series of a histogram.
    pub(super) times: Vec<usize>,
    /// Counter, gauge: the value. Histogram: count, sum, then the four buckets.
    pub(super) values: Vec<usize>,
}

impl MetricsTemplate {
    /// The request for `round`, all points at `time_ns`.
    pub(crate) fn render(&self, round: u64, time_ns: i64) -> Bytes {
        let mut bytes = self.bytes.clone();
        let time = match self.form {
            Form::Otlp => time_ns.to_le_bytes(),
            Form::RemoteWrite => remote_write::time(time_ns),
        };
        let time_width = if self.form == Form::Otlp { 8 } else { remote_write::TIME_BYTES };
        for point in &self.points {
            for at in &point.times {
                bytes[*at..at + time_width].copy_from_slice(&time[..time_width]);
            }
            let mut store = |index: usize, word: [u8; 8]| {
                let at = point.values[index];
                bytes[at..at + 8].copy_from_slice(&word);
            };
            if point.kind != Kind::Histogram {
                store(0, self.identity.course.number(point.kind, point.series, round).to_le_bytes());
                continue;
            }
            let buckets = self.identity.course.buckets(point.series, round);
            let count = buckets.iter().sum::<u64>();
            store(1, self.identity.course.sum(point.series, round).to_le_bytes());
            match self.form {
                Form::Otlp => {
                    store(0, count.to_le_bytes());
                    for (index, bucket) in buckets.into_iter().enumerate() {
                        store(2 + index, bucket.to_le_bytes());
                    }
                }
                Form::RemoteWrite => {
                    store(0, (count as f64).to_le_bytes());
                    let mut below = 0;
                    for (index, bucket) in buckets.into_iter().enumerate() {
                        below += bucket;
                        store(2 + index, (below as f64).to_le_bytes());
                    }
                }
            }
        }
        for (at, point) in &self.generations {
            let generation = self.identity.course.generation(self.points[*point].series, round);
            bytes[*at..at + 8].copy_from_slice(&hex::<8>(generation));
        }
        Bytes::from(bytes)
    }

    pub(crate) fn items(&self) -> u64 {
        self.items
    }

    /// Samples in Prometheus of one request.
    pub(crate) fn samples(&self) -> usize {
        let of = |point: &Point| if point.kind == Kind::Histogram { BOUNDS.len() + 3 } else { 1 };
        self.points.iter().map(of).sum()
    }

    /// Whether the items that are counted are samples, not data points.
    pub(crate) fn counts_samples(&self) -> bool {
        self.form == Form::RemoteWrite
    }

    pub(crate) fn points(&self) -> &[Point] {
        &self.points
    }

    /// Labels that each sample of a series has in a generation, but for its name and `le`, as Prometheus writes names.
    pub(crate) fn labels(&self, series: u32, generation: u64) -> Vec<(String, String)> {
        let attributes = self.identity.attributes(series, generation).into_iter();
        let mut labels: Vec<_> = attributes.map(|(name, value)| (name.replace('.', "_"), value)).collect();
        if self.form == Form::RemoteWrite {
            labels
                .extend(remote_write::TARGET_LABELS.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        labels
    }

    /// A template of encoded bytes in which the generations are still the places of their points.
    pub(super) fn new(
        form: Form,
        bytes: Vec<u8>,
        points: Vec<Point>,
        items: u64,
        identity: &Identity,
    ) -> Self {
        let generations = if identity.course.churn_every == 0 {
            Vec::new()
        } else {
            let hits = find_all(&bytes, GENERATION_KEY.as_bytes());
            let places = hits.into_iter().map(|hit| {
                let at = hit + GENERATION_KEY.len();
                let digits = std::str::from_utf8(&bytes[at..at + 8]).expect("hexadecimal digits are ASCII");
                (at, usize::from_str_radix(digits, 16).expect("only generations follow the key"))
            });
            places.collect()
        };
        Self { form, bytes, points, generations, items, identity: identity.clone() }
    }
}

/// Value of the `pod` label or attribute in a generation.
pub(crate) fn pod(generation: u64) -> String {
    format!("{GENERATION_KEY}{}", String::from_utf8_lossy(&hex::<8>(generation)))
}

/// Templates of each connection: the series are cut into slices of a request each, dealt out in turn.
pub(crate) fn templates(load: &Load, batch: u32, requests: Option<u32>, run_id: &str) -> Vec<Vec<Template>> {
    let (args, seed, version) = match load {
        Load::Otlp(args) => (&args.metrics, args.sending.data.seed, None),
        Load::RemoteWrite(args) => (&args.metrics, args.sending.data.seed, Some(args.protocol)),
        _ => return Vec::new(),
    };
    let connections = load.connections();
    let mut workers: Vec<Vec<Template>> = (0..connections).map(|_| Vec::new()).collect();
    // At least one slice a connection, so that no connection idles.
    let batch = batch.min(args.series.div_ceil(connections)).max(1);
    let needed = requests.map_or(u32::MAX, |requests| requests.saturating_add(connections));
    let course =
        Course { reset_every: u64::from(args.reset_every), churn_every: u64::from(args.churn_every) };
    let run_id: Arc<str> = run_id.into();
    for slice in 0..args.series.div_ceil(batch).min(needed) {
        let series = slice * batch..((slice + 1) * batch).min(args.series);
        let worker = slice as usize % workers.len();
        let histogram_every = args.histogram_every;
        let identity = Identity { run_id: Arc::clone(&run_id), seed, slice, histogram_every, course };
        workers[worker].push(Template::Metrics(match version {
            None => template(&identity, series),
            Some(version) => remote_write::template(&identity, series, version),
        }));
    }
    workers.retain(|templates| !templates.is_empty());
    workers
}

/// What the series of a slice have in common.
#[derive(Clone)]
pub(crate) struct Identity {
    run_id: Arc<str>,
    seed: u64,
    /// Value of the `slice` attribute of all its series.
    pub(crate) slice: u32,
    histogram_every: u32,
    /// How values go.
    pub(crate) course: Course,
}

impl Identity {
    pub(super) fn kind(&self, series: u32) -> Kind {
        let every = self.histogram_every;
        if every > 0 && series.is_multiple_of(every) {
            Kind::Histogram
        } else if series.is_multiple_of(3) {
            Kind::Gauge
        } else {
            Kind::Counter
        }
    }

    /// Attributes of a series in a generation.
    pub(super) fn attributes(&self, series: u32, generation: u64) -> Vec<(&'static str, String)> {
        const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
        const ROUTES: [&str; 5] = ["/api/cart", "/api/checkout", "/api/product/{id}", "/healthz", "/login"];
        const CODES: [&str; 5] = ["200", "201", "404", "429", "500"];
        let pick = (u64::from(series) ^ self.seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let pick = |choices: &[&'static str], salt: u64| choices[((pick >> salt) as usize) % choices.len()];
        let mut attributes = vec![
            ("run.id", self.run_id.to_string()),
            ("slice", self.slice.to_string()),
            ("series.id", series.to_string()),
            ("http.request.method", pick(&METHODS, 0).to_owned()),
            ("http.route", pick(&ROUTES, 3).to_owned()),
            ("http.response.status_code", pick(&CODES, 7).to_owned()),
        ];
        if self.course.churn_every > 0 {
            attributes.push(("pod", pod(generation)));
        }
        attributes
    }
}

fn template(identity: &Identity, series: std::ops::Range<u32>) -> MetricsTemplate {
    let mut placeholders = 0;
    let mut next = || {
        placeholders += 1;
        placeholder(placeholders - 1)
    };
    let (mut counters, mut gauges, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    let mut kinds = Vec::new();
    for number in series {
        let attributes = identity.attributes(number, kinds.len() as u64);
        let attributes = attributes.into_iter().map(|(key, value)| string(key, value)).collect();
        let kind = identity.kind(number);
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
    let mut rest = find_placeholders(&bytes, placeholders).into_iter();
    let points: Vec<Point> = kinds
        .into_iter()
        .map(|(series, kind)| {
            let values = if kind == Kind::Histogram { 2 + BOUNDS.len() + 1 } else { 1 };
            let times = vec![rest.next().expect("each point has a time")];
            Point { series, kind, times, values: rest.by_ref().take(values).collect() }
        })
        .collect();
    let items = points.len() as u64;
    MetricsTemplate::new(Form::Otlp, bytes, points, items, identity)
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

/// Attributes of the resource that everything comes from.
pub(crate) fn resource_attributes(instance: &str) -> [(&'static str, &str); 5] {
    [
        ("service.name", "loadtest"),
        ("service.instance.id", instance),
        ("service.version", "1.4.2"),
        ("host.name", "node-07.example.test"),
        ("telemetry.sdk.language", "rust"),
    ]
}

/// Name and version of the scope that everything comes from.
pub(crate) const SCOPE: (&str, &str) = ("loadtest", "1.0.0");

pub(super) fn resource(instance: &str) -> Resource {
    let attributes = resource_attributes(instance).map(|(key, value)| string(key, value)).to_vec();
    Resource { attributes, ..Default::default() }
}

pub(super) fn scope() -> InstrumentationScope {
    let (name, version) = SCOPE;
    InstrumentationScope { name: name.to_owned(), version: version.to_owned(), ..Default::default() }
}
