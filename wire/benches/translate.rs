//! Speed of the translations on the ways into the stores and out to others, in items or bytes a second of one core's
//! time.

mod cpu_time;

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hashbrown::HashMap;
use model::{Exemplar, Labels, MetricMetadata, NativeHistogram};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use wire::DecodeError;
use wire::compression::Encoding;
use wire::otlp_to_prometheus::{Resolved, SampleSink, SeriesKey, SeriesResolver};
use wire::{loki_push, loki_to_otlp, otlp_to_loki, otlp_to_prometheus};

use self::cpu_time::CpuTime;

const T_NS: u64 = 1_700_000_000_000_000_000;
const ITEMS: usize = 1000;

fn attribute(key: &str, value: String) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value)) });
    KeyValue { key: key.into(), value, ..Default::default() }
}

/// Attributes as an HTTP server has them, the last of which tells the points apart.
fn attributes(count: usize, index: usize) -> Vec<KeyValue> {
    const KEYS: [&str; 6] = [
        "http.request.method",
        "http.route",
        "http.response.status_code",
        "server.address",
        "network.protocol.version",
        "url.scheme",
    ];
    let key = |at: usize| KEYS.get(at).map_or_else(|| format!("custom.attribute.{at}"), |key| (*key).into());
    (0..count)
        .map(|at| attribute(&key(at), format!("value-{at}-{}", if at + 1 == count { index } else { 0 })))
        .collect()
}

fn resource() -> Option<Resource> {
    let attributes = vec![
        attribute("service.name", "checkout".into()),
        attribute("service.namespace", "shop".into()),
        attribute("service.instance.id", "627cc493-f310-47de-96bd-71410b7dec09".into()),
        attribute("host.name", "node-17.eu-central-1.example".into()),
        attribute("os.type", "linux".into()),
        attribute("process.pid", "4711".into()),
    ];
    Some(Resource { attributes, ..Default::default() })
}

fn metrics(data: Data) -> Vec<u8> {
    let metric = Metric {
        name: "http.server.request".into(),
        unit: "s".into(),
        data: Some(data),
        ..Default::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource(),
            scope_metrics: vec![ScopeMetrics { metrics: vec![metric], ..Default::default() }],
            ..Default::default()
        }],
    }
    .encode_to_vec()
}

fn sums() -> Vec<u8> {
    let data_points = (0..ITEMS).map(|index| NumberDataPoint {
        attributes: attributes(6, index),
        start_time_unix_nano: T_NS,
        time_unix_nano: T_NS,
        value: Some(number_data_point::Value::AsDouble(index as f64)),
        ..Default::default()
    });
    metrics(Data::Sum(Sum {
        data_points: data_points.collect(),
        aggregation_temporality: AggregationTemporality::Cumulative as i32,
        is_monotonic: true,
    }))
}

fn histograms() -> Vec<u8> {
    let data_points = (0..ITEMS).map(|index| HistogramDataPoint {
        attributes: attributes(20, index),
        start_time_unix_nano: T_NS,
        time_unix_nano: T_NS,
        count: 15,
        sum: Some(1.5),
        bucket_counts: vec![1; 15],
        explicit_bounds: (0..14).map(f64::from).collect(),
        ..Default::default()
    });
    metrics(Data::Histogram(Histogram {
        data_points: data_points.collect(),
        aggregation_temporality: AggregationTemporality::Cumulative as i32,
    }))
}

#[derive(Default)]
struct Table {
    runs: HashMap<SeriesKey, Vec<u64>>,
    series: u64,
}

impl SeriesResolver for Table {
    type Handle = u64;
    type Error = DecodeError;

    fn lookup(&mut self, key: SeriesKey) -> Option<&[u64]> {
        self.runs.get(&key).map(Vec::as_slice)
    }

    fn insert(&mut self, key: SeriesKey, series: &[Labels]) -> Result<Resolved<'_, u64>, DecodeError> {
        let first = self.series;
        self.series += series.len() as u64;
        Ok(Resolved::Handles(self.runs.entry(key).or_insert((first..self.series).collect())))
    }

    fn metadata(&mut self, _: &str, _: &MetricMetadata) {}
}

/// Columns, as a store takes them.
#[derive(Default)]
struct Columns {
    handles: Vec<u64>,
    times: Vec<i64>,
    values: Vec<f64>,
}

impl SampleSink<u64> for Columns {
    fn point(&mut self, handles: &[u64], timestamp_ms: i64, values: &[f64]) {
        self.handles.extend_from_slice(handles);
        self.times.resize(self.handles.len(), timestamp_ms);
        self.values.extend_from_slice(values);
    }

    fn histogram(&mut self, handle: u64, timestamp_ms: i64, _: NativeHistogram) {
        self.point(&[handle], timestamp_ms, &[0.0]);
    }

    fn exemplar(&mut self, _: u64, _: Exemplar) {}

    fn target_info(&mut self, handle: u64, timestamp_ms: i64) {
        self.point(&[handle], timestamp_ms, &[1.0]);
    }
}

fn to_prometheus(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("otlp_to_prometheus");
    group.throughput(Throughput::Elements(ITEMS as u64));
    for (name, payload) in [("sums_6_attributes", sums()), ("histograms_20_attributes", histograms())] {
        let mut translator = otlp_to_prometheus::Translator::default();
        let mut table = Table::default();
        let mut columns = Columns::default();
        let mut translate = |table: &mut Table| {
            columns.handles.clear();
            columns.times.clear();
            columns.values.clear();
            let report = translator.translate(black_box(&payload), table, &mut columns);
            assert_eq!(report.map(|report| report.stored), Ok(ITEMS as u64));
        };
        group.bench_function(BenchmarkId::new("known", name), |bencher| {
            translate(&mut table);
            bencher.iter(|| translate(&mut table));
        });
        group.bench_function(BenchmarkId::new("new", name), |bencher| {
            bencher.iter(|| translate(&mut Table::default()));
        });
    }
    group.finish();
}

fn logs() -> Vec<u8> {
    let log_records = (0..ITEMS).map(|index| LogRecord {
        time_unix_nano: T_NS + index as u64,
        observed_time_unix_nano: T_NS,
        severity_number: 9,
        severity_text: "INFO".into(),
        body: attribute(
            "",
            format!(
                "10.0.{}.7 - - \"GET /api/orders/{index} HTTP/1.1\" 200 {} \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\" \
                 request completed in {} ms by worker {}",
                index % 256,
                index * 7 % 5000,
                index % 97,
                index % 8
            ),
        )
        .value,
        attributes: attributes(4, index),
        trace_id: vec![7; 16],
        span_id: vec![9; 8],
        ..Default::default()
    });
    let scope_logs = vec![ScopeLogs { log_records: log_records.collect(), ..Default::default() }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource: resource(), scope_logs, ..Default::default() }],
    }
    .encode_to_vec()
}

fn to_loki(criterion: &mut Criterion<CpuTime>) {
    let payload = logs();
    let mut group = criterion.benchmark_group("otlp_to_loki");
    let mut translator = otlp_to_loki::Translator::default();
    let translate = |translator: &mut otlp_to_loki::Translator| {
        translator.translate(black_box(&payload), 1).expect("well-formed")
    };
    assert_eq!(translate(&mut translator).report.stored, ITEMS as u64);
    group.throughput(Throughput::Bytes(payload.len() as u64));
    group.bench_function("bytes", |bencher| bencher.iter(|| translate(&mut translator)));
    group.throughput(Throughput::Elements(ITEMS as u64));
    group.bench_function("records", |bencher| bencher.iter(|| translate(&mut translator)));
    group.finish();

    let streams = translate(&mut translator).streams;
    let streams = streams.into_iter().map(|(labels, entries)| loki_push::PushStream { labels, entries });
    let push = loki_push::encode_proto(&loki_push::PushRequest { streams: streams.collect() });
    let mut group = criterion.benchmark_group("loki_push");
    group.throughput(Throughput::Bytes(push.len() as u64));
    group.bench_function("proto_to_otlp", |bencher| {
        bencher.iter(|| loki_to_otlp::translate_proto(black_box(&push), &loki_to_otlp::Settings::default()));
    });
    group.finish();
}

fn compression(criterion: &mut Criterion<CpuTime>) {
    let body = logs();
    let mut group = criterion.benchmark_group("compression");
    group.throughput(Throughput::Bytes(body.len() as u64));
    for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::Zlib, Encoding::Snappy, Encoding::Lz4] {
        let encoded = Bytes::from(encoding.encode(None, &body));
        group.bench_function(BenchmarkId::new("decode", encoding.name()), |bencher| {
            bencher.iter(|| encoding.decode(black_box(&encoded), 64 << 20).expect("well-formed"));
        });
        group.bench_function(BenchmarkId::new("encode", encoding.name()), |bencher| {
            bencher.iter(|| encoding.encode(None, black_box(&body)));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = to_prometheus, to_loki, compression
}
criterion_main!(benches);
