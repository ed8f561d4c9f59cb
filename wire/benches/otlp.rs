//! What the OTLP half costs a core: walks, `check`, JSON, split. One request is 1000 items, some 200 bytes a point
//! and 370 bytes a record, as in a Collector batch.

mod cpu_time;

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use wire::DecodeError;
use wire::otlp::{self, Attributes, MetricData, json};

use self::cpu_time::CpuTime;

const ITEMS: u64 = 1000;
const POINTS_PER_METRIC: u64 = 50;

fn attribute(key: &str, value: String) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(Value::StringValue(value)) }),
        key_strindex: 0,
    }
}

fn resource() -> Option<Resource> {
    let attributes = vec![
        attribute("service.name", "checkout".into()),
        attribute("service.namespace", "shop".into()),
        attribute("service.instance.id", "627cc493-f310-47de-96bd-71410b7dec09".into()),
        attribute("k8s.pod.name", "checkout-7d4f9c6b8-x2x9z".into()),
        attribute("host.name", "node-17.example.internal".into()),
    ];
    Some(Resource { attributes, ..Resource::default() })
}

fn point_attributes(index: u64) -> Vec<KeyValue> {
    vec![
        attribute("http.request.method", ["GET", "POST", "PUT"][index as usize % 3].into()),
        attribute("http.route", format!("/api/v1/items/{}", index % 40)),
        attribute("http.response.status_code", format!("{}", 200 + index % 5)),
        attribute("server.address", "shop.example.com".into()),
        attribute("network.protocol.version", "1.1".into()),
        attribute("url.scheme", "https".into()),
    ]
}

fn metrics_request(metric: impl Fn(u64) -> Metric) -> Bytes {
    let metrics = (0..ITEMS / POINTS_PER_METRIC).map(metric).collect();
    let scope =
        Some(InstrumentationScope { name: "io.example.http".into(), ..InstrumentationScope::default() });
    let scope_metrics = vec![ScopeMetrics { scope, metrics, ..ScopeMetrics::default() }];
    let resource_metrics =
        vec![ResourceMetrics { resource: resource(), scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec().into()
}

fn gauges() -> Bytes {
    metrics_request(|metric| {
        let point = |index| NumberDataPoint {
            attributes: point_attributes(metric * POINTS_PER_METRIC + index),
            start_time_unix_nano: 1_700_000_000_000_000_000,
            time_unix_nano: 1_700_000_060_000_000_000,
            value: Some(number_data_point::Value::AsDouble(index as f64 * 0.1)),
            ..NumberDataPoint::default()
        };
        let data = Data::Gauge(Gauge { data_points: (0..POINTS_PER_METRIC).map(point).collect() });
        Metric {
            name: format!("http.server.gauge.{metric}"),
            unit: "s".into(),
            data: Some(data),
            ..Metric::default()
        }
    })
}

fn histograms() -> Bytes {
    metrics_request(|metric| {
        let point = |index| HistogramDataPoint {
            attributes: point_attributes(metric * POINTS_PER_METRIC + index),
            time_unix_nano: 1_700_000_060_000_000_000,
            count: 100,
            sum: Some(12.5),
            bucket_counts: (0..16).collect(),
            explicit_bounds: (0..15).map(f64::from).collect(),
            ..HistogramDataPoint::default()
        };
        let data_points = (0..POINTS_PER_METRIC).map(point).collect();
        let data = Data::Histogram(Histogram { data_points, aggregation_temporality: 2 });
        Metric {
            name: format!("http.server.duration.{metric}"),
            unit: "s".into(),
            data: Some(data),
            ..Metric::default()
        }
    })
}

fn logs() -> Bytes {
    let record = |index: u64| LogRecord {
        time_unix_nano: 1_700_000_060_000_000_000 + index,
        observed_time_unix_nano: 1_700_000_060_000_100_000,
        severity_number: 9,
        severity_text: "INFO".into(),
        body: Some(AnyValue {
            value: Some(Value::StringValue(format!(
                "GET /api/v1/items/{index} 200 12ms user=u{index} request finished without errors, cache hit"
            ))),
        }),
        attributes: point_attributes(index),
        trace_id: vec![7; 16],
        span_id: vec![9; 8],
        ..LogRecord::default()
    };
    let log_records = (0..ITEMS).map(record).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { resource: resource(), scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec().into()
}

/// Reads every key as text and leaves the values alone.
fn read_keys(attributes: Attributes<'_>) -> Result<usize, DecodeError> {
    let mut bytes = 0;
    for attribute in attributes.iter() {
        let attribute = attribute?;
        bytes += attribute.key()?.len() + attribute.value_bytes().len();
    }
    Ok(bytes)
}

/// Reads every key and value as text, as a consumer that has to look at them does.
fn read_all(attributes: Attributes<'_>) -> Result<usize, DecodeError> {
    let mut bytes = 0;
    for attribute in attributes.iter() {
        let attribute = attribute?;
        bytes += attribute.key()?.len();
        if let otlp::AnyValue::String(text) = attribute.value()? {
            bytes += text.len();
        }
    }
    Ok(bytes)
}

fn walk_metrics(
    payload: &[u8],
    look: impl Fn(Attributes<'_>) -> Result<usize, DecodeError>,
) -> Result<usize, DecodeError> {
    let mut sum = 0;
    for group in otlp::resources(payload) {
        for scope in group?.scopes() {
            for metric in scope?.metrics() {
                let metric = metric?;
                sum += metric.name()?.len();
                match metric.data()? {
                    MetricData::Gauge { points } => {
                        for point in points {
                            let point = point?;
                            sum += look(point.attributes)? + point.time_unix_nano as usize;
                            black_box(point.value);
                        }
                    }
                    MetricData::Histogram { points, .. } => {
                        for point in points {
                            let point = point?;
                            sum += look(point.attributes)? + point.time_unix_nano as usize;
                            sum += point.bucket_counts.iter().sum::<u64>() as usize;
                            black_box(point.explicit_bounds.iter().sum::<f64>());
                        }
                    }
                    _ => (),
                }
            }
        }
    }
    Ok(sum)
}

fn walk_logs(payload: &[u8]) -> Result<usize, DecodeError> {
    let mut sum = 0;
    for group in otlp::resources(payload) {
        for scope in group?.scopes() {
            for record in scope?.log_records() {
                let record = record?;
                sum += read_all(record.attributes)? + record.severity_text()?.len();
                if let otlp::AnyValue::String(body) = record.body()? {
                    sum += body.len();
                }
                black_box(record.time_unix_nano);
            }
        }
    }
    Ok(sum)
}

fn otlp_benchmarks(c: &mut Criterion<CpuTime>) {
    let (gauges, histograms, logs) = (gauges(), histograms(), logs());
    let mut group = c.benchmark_group("otlp");
    group.throughput(Throughput::Elements(ITEMS));
    group.bench_function("walk/gauges, attributes as runs", |b| {
        b.iter(|| {
            walk_metrics(&gauges, |attributes| Ok(attributes.contiguous_bytes().map_or(0, <[u8]>::len)))
        })
    });
    group.bench_function("walk/gauges, keys as text, values raw", |b| {
        b.iter(|| walk_metrics(&gauges, read_keys))
    });
    group.bench_function("walk/gauges, keys and values as text", |b| {
        b.iter(|| walk_metrics(&gauges, read_all))
    });
    group.bench_function("walk/histograms of 16 buckets", |b| b.iter(|| walk_metrics(&histograms, read_all)));
    group.bench_function("walk/logs, everything as text", |b| b.iter(|| walk_logs(&logs)));
    group.bench_function("prost/gauges", |b| b.iter(|| ExportMetricsServiceRequest::decode(gauges.clone())));
    let inputs = [
        ("gauges", Signal::Metrics, &gauges),
        ("histograms", Signal::Metrics, &histograms),
        ("logs", Signal::Logs, &logs),
    ];
    for (name, signal, payload) in inputs {
        let mut json = Vec::new();
        json::from_protobuf(signal, payload, &mut json).expect("well-formed");
        group.bench_function(BenchmarkId::new("check", name), |b| {
            b.iter(|| otlp::check(signal, payload.clone()))
        });
        group.bench_function(BenchmarkId::new("split in 7", name), |b| {
            b.iter(|| otlp::split(signal, payload, 143))
        });
        group.bench_function(BenchmarkId::new("from json", name), |b| {
            b.iter(|| json::to_protobuf(signal, &json))
        });
        group.bench_function(BenchmarkId::new("to json", name), |b| {
            b.iter(|| {
                json.clear();
                json::from_protobuf(signal, payload, &mut json)
            })
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = otlp_benchmarks
}
criterion_main!(benches);
