//! Requests made from a string of random choices, so that shrinking the choices shrinks the request.

use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    exponential_histogram_data_point::Buckets, metric, number_data_point,
    summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, Status,
    span::{Event, Link},
};
use proptest::prelude::*;
use prost::Message;

use crate::protobuf::{put_bytes_field, put_message};

/// The random choices of a request.
pub(in crate::otlp) fn choices() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..600)
}

/// Any signal.
pub(in crate::otlp) fn signal() -> impl Strategy<Value = Signal> {
    prop::sample::select(&Signal::ALL[..])
}

/// A request with every field of every message set.
pub(in crate::otlp) fn full_request(signal: Signal) -> Vec<u8> {
    let choices: Vec<u8> =
        (0..9000u32).map(|index| (index.wrapping_mul(0x9e37_79b9) >> 13) as u8 | 1).collect();
    let mut samples = Samples::new(&choices);
    samples.always_present = true;
    samples.request(signal)
}

/// An `AnyValue` of so many levels: arrays and maps in turn around an integer.
pub(in crate::otlp) fn nested_value(levels: usize) -> Vec<u8> {
    let mut value = b"\x18\x01".to_vec();
    for level in 1..levels {
        let mut outer = Vec::new();
        if level % 2 == 0 {
            put_message(&mut outer, 5, |out| put_bytes_field(out, 1, &value));
        } else {
            put_message(&mut outer, 6, |out| put_message(out, 1, |out| put_bytes_field(out, 2, &value)));
        }
        value = outer;
    }
    value
}

/// Makes requests from choices; when those run out, everything is zero and empty.
pub(in crate::otlp) struct Samples<'a> {
    choices: &'a [u8],
    /// Whether singular messages are never left out.
    pub(in crate::otlp) always_present: bool,
}

impl<'a> Samples<'a> {
    pub(in crate::otlp) fn new(choices: &'a [u8]) -> Self {
        Self { choices, always_present: false }
    }

    /// The encoded request.
    pub(in crate::otlp) fn request(&mut self, signal: Signal) -> Vec<u8> {
        match signal {
            Signal::Metrics => self.metrics().encode_to_vec(),
            Signal::Logs => self.logs().encode_to_vec(),
            Signal::Traces => self.traces().encode_to_vec(),
        }
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.choices.split_first() else { return 0 };
        self.choices = rest;
        *first
    }

    fn up_to(&mut self, max: u8) -> u8 {
        self.byte() % (max + 1)
    }

    fn many<T>(&mut self, max: u8, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.up_to(max)).map(|_| one(self)).collect()
    }

    fn maybe<T>(&mut self, one: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.always_present || !self.byte().is_multiple_of(4)).then(|| one(self))
    }

    fn u64(&mut self) -> u64 {
        match self.byte() % 6 {
            0 => 0,
            1 => u64::MAX,
            2 => 1_700_000_000_000_000_000 + u64::from(self.byte()),
            3 => i64::MAX as u64,
            _ => self.byte().into(),
        }
    }

    fn u32(&mut self) -> u32 {
        [0, 1, 257, u32::MAX][usize::from(self.byte() % 4)]
    }

    fn f64(&mut self) -> f64 {
        const VALUES: [f64; 10] = [
            0.0,
            1.0,
            -0.0,
            0.1,
            -1.5e300,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN_POSITIVE,
            1e21,
        ];
        VALUES[usize::from(self.byte()) % VALUES.len()]
    }

    fn text(&mut self) -> String {
        const TEXTS: [&str; 9] = [
            "",
            "a",
            "service.name",
            "/api/v1/read?x=1",
            "zwölf Ω 😀",
            "say \"hi\"\\\n\t\u{1}\u{2028}",
            "a longer value, beyond thirty-two bytes of text",
            "\u{0}",
            "k8s.pod.uid",
        ];
        TEXTS[usize::from(self.byte()) % TEXTS.len()].to_owned()
    }

    fn long_text(&mut self) -> String {
        self.text().repeat(usize::from(self.byte() % 12))
    }

    fn id(&mut self, len: usize) -> Vec<u8> {
        if self.byte().is_multiple_of(3) { Vec::new() } else { (0..len).map(|_| self.byte()).collect() }
    }

    fn value(&mut self, depth: u8) -> AnyValue {
        let value = match self.byte() % 10 {
            0 => return AnyValue::default(),
            1 => any_value::Value::BoolValue(self.byte().is_multiple_of(2)),
            2 => any_value::Value::IntValue(self.u64() as i64),
            3 => any_value::Value::DoubleValue(self.f64()),
            4 if depth < 4 => {
                any_value::Value::ArrayValue(ArrayValue { values: self.many(3, |s| s.value(depth + 1)) })
            }
            5 if depth < 4 => any_value::Value::KvlistValue(KeyValueList {
                values: self.many(3, |s| s.key_value(depth + 1)),
            }),
            6 => any_value::Value::BytesValue(self.many(5, Self::byte)),
            7 => any_value::Value::StringValue(self.long_text()),
            _ => any_value::Value::StringValue(self.text()),
        };
        AnyValue { value: Some(value) }
    }

    fn key_value(&mut self, depth: u8) -> KeyValue {
        KeyValue { key: self.text(), value: self.maybe(|s| s.value(depth)), key_strindex: 0 }
    }

    fn attributes(&mut self) -> Vec<KeyValue> {
        self.many(4, |s| s.key_value(0))
    }

    fn resource(&mut self) -> Option<Resource> {
        self.maybe(|s| Resource {
            attributes: s.attributes(),
            dropped_attributes_count: s.u32(),
            entity_refs: Vec::new(),
        })
    }

    fn entity_ref(&mut self) -> EntityRef {
        EntityRef {
            schema_url: self.text(),
            r#type: self.text(),
            id_keys: self.many(2, Self::text),
            description_keys: self.many(2, Self::text),
        }
    }

    fn scope(&mut self) -> Option<InstrumentationScope> {
        self.maybe(|s| InstrumentationScope {
            name: s.text(),
            version: s.text(),
            attributes: s.attributes(),
            dropped_attributes_count: s.u32(),
        })
    }

    /// A logs request.
    pub(in crate::otlp) fn logs(&mut self) -> ExportLogsServiceRequest {
        let resource_logs = self.many(2, |s| ResourceLogs {
            resource: s.resource(),
            scope_logs: s.many(2, |s| ScopeLogs {
                scope: s.scope(),
                log_records: s.many(3, Self::log_record),
                schema_url: s.text(),
            }),
            schema_url: s.text(),
        });
        ExportLogsServiceRequest { resource_logs }
    }

    fn log_record(&mut self) -> LogRecord {
        LogRecord {
            time_unix_nano: self.u64(),
            observed_time_unix_nano: self.u64(),
            severity_number: self.up_to(24).into(),
            severity_text: self.text(),
            body: self.maybe(|s| s.value(0)),
            attributes: self.attributes(),
            dropped_attributes_count: self.u32(),
            flags: self.u32(),
            trace_id: self.id(16),
            span_id: self.id(8),
            event_name: self.text(),
        }
    }

    /// A traces request; the only one with entity references, which the views do not show.
    pub(in crate::otlp) fn traces(&mut self) -> ExportTraceServiceRequest {
        let resource_spans = self.many(2, |s| {
            let mut resource = s.resource();
            if let Some(resource) = resource.as_mut().filter(|_| !s.always_present) {
                resource.entity_refs = s.many(2, Self::entity_ref);
            }
            ResourceSpans {
                resource,
                scope_spans: s.many(2, |s| ScopeSpans {
                    scope: s.scope(),
                    spans: s.many(3, Self::span),
                    schema_url: s.text(),
                }),
                schema_url: s.text(),
            }
        });
        ExportTraceServiceRequest { resource_spans }
    }

    fn span(&mut self) -> Span {
        Span {
            trace_id: self.id(16),
            span_id: self.id(8),
            trace_state: self.text(),
            parent_span_id: self.id(8),
            flags: self.u32(),
            name: self.text(),
            kind: self.up_to(5).into(),
            start_time_unix_nano: self.u64(),
            end_time_unix_nano: self.u64(),
            attributes: self.attributes(),
            dropped_attributes_count: self.u32(),
            events: self.many(2, |s| Event {
                time_unix_nano: s.u64(),
                name: s.text(),
                attributes: s.attributes(),
                dropped_attributes_count: s.u32(),
            }),
            dropped_events_count: self.u32(),
            links: self.many(2, |s| Link {
                trace_id: s.id(16),
                span_id: s.id(8),
                trace_state: s.text(),
                attributes: s.attributes(),
                dropped_attributes_count: s.u32(),
                flags: s.u32(),
            }),
            dropped_links_count: self.u32(),
            status: self.maybe(|s| Status { message: s.text(), code: s.up_to(2).into() }),
        }
    }

    /// A metrics request.
    pub(in crate::otlp) fn metrics(&mut self) -> ExportMetricsServiceRequest {
        let resource_metrics = self.many(2, |s| ResourceMetrics {
            resource: s.resource(),
            scope_metrics: s.many(2, |s| ScopeMetrics {
                scope: s.scope(),
                metrics: s.many(6, Self::metric),
                schema_url: s.text(),
            }),
            schema_url: s.text(),
        });
        ExportMetricsServiceRequest { resource_metrics }
    }

    fn metric(&mut self) -> Metric {
        let data = match self.byte() % 6 {
            0 => None,
            1 => Some(metric::Data::Gauge(Gauge { data_points: self.many(3, Self::number_point) })),
            2 => Some(metric::Data::Sum(Sum {
                data_points: self.many(3, Self::number_point),
                aggregation_temporality: self.up_to(2).into(),
                is_monotonic: self.byte() % 2 == 1,
            })),
            3 => Some(metric::Data::Histogram(Histogram {
                data_points: self.many(3, Self::histogram_point),
                aggregation_temporality: self.up_to(2).into(),
            })),
            4 => Some(metric::Data::ExponentialHistogram(ExponentialHistogram {
                data_points: self.many(3, Self::exponential_point),
                aggregation_temporality: self.up_to(2).into(),
            })),
            _ => Some(metric::Data::Summary(Summary { data_points: self.many(3, Self::summary_point) })),
        };
        Metric {
            name: self.text(),
            description: self.text(),
            unit: self.text(),
            metadata: self.attributes(),
            data,
        }
    }

    fn exemplars(&mut self) -> Vec<Exemplar> {
        self.many(2, |s| Exemplar {
            filtered_attributes: s.attributes(),
            time_unix_nano: s.u64(),
            span_id: s.id(8),
            trace_id: s.id(16),
            value: match s.byte() % 3 {
                0 => None,
                1 => Some(exemplar::Value::AsDouble(s.f64())),
                _ => Some(exemplar::Value::AsInt(s.u64() as i64)),
            },
        })
    }

    fn number_point(&mut self) -> NumberDataPoint {
        NumberDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.u64(),
            time_unix_nano: self.u64(),
            exemplars: self.exemplars(),
            flags: self.u32(),
            value: match self.byte() % 3 {
                0 => None,
                1 => Some(number_data_point::Value::AsDouble(self.f64())),
                _ => Some(number_data_point::Value::AsInt(self.u64() as i64)),
            },
        }
    }

    fn histogram_point(&mut self) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.u64(),
            time_unix_nano: self.u64(),
            count: self.u64(),
            sum: self.maybe(Self::f64),
            bucket_counts: self.many(5, Self::u64),
            explicit_bounds: self.many(5, Self::f64),
            exemplars: self.exemplars(),
            flags: self.u32(),
            min: self.maybe(Self::f64),
            max: self.maybe(Self::f64),
        }
    }

    fn exponential_point(&mut self) -> ExponentialHistogramDataPoint {
        ExponentialHistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.u64(),
            time_unix_nano: self.u64(),
            count: self.u64(),
            sum: self.maybe(Self::f64),
            scale: i32::from(self.byte() as i8),
            zero_count: self.u64(),
            positive: self.buckets(),
            negative: self.buckets(),
            flags: self.u32(),
            exemplars: self.exemplars(),
            min: self.maybe(Self::f64),
            max: self.maybe(Self::f64),
            zero_threshold: self.f64(),
        }
    }

    fn buckets(&mut self) -> Option<Buckets> {
        self.maybe(|s| Buckets { offset: s.u32() as i32, bucket_counts: s.many(5, Self::u64) })
    }

    fn summary_point(&mut self) -> SummaryDataPoint {
        SummaryDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.u64(),
            time_unix_nano: self.u64(),
            count: self.u64(),
            sum: self.f64(),
            quantile_values: self.many(3, |s| ValueAtQuantile { quantile: s.f64(), value: s.f64() }),
            flags: self.u32(),
        }
    }
}
