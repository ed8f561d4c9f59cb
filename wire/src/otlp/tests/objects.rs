//! Reads a request through the views into prost's objects, and encodes those.

use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::logs::v1 as logs;
use opentelemetry_proto::tonic::metrics::v1 as metrics;
use opentelemetry_proto::tonic::resource::v1 as resource;
use opentelemetry_proto::tonic::trace::v1 as trace;
use prost::Message;

use crate::DecodeError;
use crate::otlp::{
    AnyValue, Attributes, Buckets, Exemplar, ExponentialHistogramPoint, HistogramPoint, LogRecord, Metric,
    MetricData, NumberPoint, NumberValue, ResourceGroup, ScopeGroup, Span, SummaryPoint, Temporality, Views,
    resources,
};

type Result<T> = std::result::Result<T, DecodeError>;

pub(super) fn through_views(signal: Signal, bytes: &[u8]) -> Vec<u8> {
    try_through_views(signal, bytes).expect("well-formed")
}

pub(super) fn try_through_views(signal: Signal, bytes: &[u8]) -> Result<Vec<u8>> {
    let groups = resources(bytes);
    Ok(match signal {
        Signal::Metrics => {
            let resource_metrics = groups.map(|group| resource_metrics(group?)).collect::<Result<_>>()?;
            ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
        }
        Signal::Logs => {
            let resource_logs = groups.map(|group| resource_logs(group?)).collect::<Result<_>>()?;
            ExportLogsServiceRequest { resource_logs }.encode_to_vec()
        }
        Signal::Traces => {
            let resource_spans = groups.map(|group| resource_spans(group?)).collect::<Result<_>>()?;
            ExportTraceServiceRequest { resource_spans }.encode_to_vec()
        }
    })
}

fn value(value: AnyValue<'_>) -> Result<common::AnyValue> {
    use common::any_value::Value;
    let value = match value {
        AnyValue::Empty => None,
        AnyValue::String(text) => Some(Value::StringValue(text.into())),
        AnyValue::Bool(value) => Some(Value::BoolValue(value)),
        AnyValue::Int(value) => Some(Value::IntValue(value)),
        AnyValue::Double(value) => Some(Value::DoubleValue(value)),
        AnyValue::Array(array) => {
            let values = array.iter().map(|element| self::value(element?)).collect::<Result<_>>()?;
            Some(Value::ArrayValue(common::ArrayValue { values }))
        }
        AnyValue::Map(map) => Some(Value::KvlistValue(common::KeyValueList { values: attributes(map)? })),
        AnyValue::Bytes(bytes) => Some(Value::BytesValue(bytes.into())),
    };
    Ok(common::AnyValue { value })
}

fn attributes(attributes: Attributes<'_>) -> Result<Vec<common::KeyValue>> {
    let pair = |pair: Result<crate::otlp::KeyValue<'_>>| {
        let pair = pair?;
        Ok(common::KeyValue { key: pair.key()?.into(), value: Some(value(pair.value()?)?), key_strindex: 0 })
    };
    attributes.iter().map(pair).collect()
}

fn resource(group: &ResourceGroup<'_>) -> Result<Option<resource::Resource>> {
    let resource = group.resource()?;
    Ok(Some(resource::Resource {
        attributes: attributes(resource.attributes)?,
        dropped_attributes_count: resource.dropped_attributes_count,
        entity_refs: Vec::new(),
    }))
}

fn scope(group: &ScopeGroup<'_>) -> Result<Option<common::InstrumentationScope>> {
    let scope = group.scope()?;
    Ok(Some(common::InstrumentationScope {
        name: scope.name()?.into(),
        version: scope.version()?.into(),
        attributes: attributes(scope.attributes)?,
        dropped_attributes_count: scope.dropped_attributes_count,
    }))
}

fn resource_logs(group: ResourceGroup<'_>) -> Result<logs::ResourceLogs> {
    let scope_logs = |group: Result<ScopeGroup<'_>>| {
        let group = group?;
        let log_records = group.log_records().map(|record| log_record(record?)).collect::<Result<_>>()?;
        Ok(logs::ScopeLogs { scope: scope(&group)?, log_records, schema_url: group.schema_url()?.into() })
    };
    Ok(logs::ResourceLogs {
        resource: resource(&group)?,
        scope_logs: group.scopes().map(scope_logs).collect::<Result<_>>()?,
        schema_url: group.schema_url()?.into(),
    })
}

fn log_record(record: LogRecord<'_>) -> Result<logs::LogRecord> {
    Ok(logs::LogRecord {
        time_unix_nano: record.time_unix_nano,
        observed_time_unix_nano: record.observed_time_unix_nano,
        severity_number: record.severity_number,
        severity_text: record.severity_text()?.into(),
        body: Some(value(record.body()?)?),
        attributes: attributes(record.attributes)?,
        dropped_attributes_count: record.dropped_attributes_count,
        flags: record.flags,
        trace_id: record.trace_id.into(),
        span_id: record.span_id.into(),
        event_name: record.event_name()?.into(),
    })
}

fn resource_spans(group: ResourceGroup<'_>) -> Result<trace::ResourceSpans> {
    let scope_spans = |group: Result<ScopeGroup<'_>>| {
        let group = group?;
        let spans = group.spans().map(|span| self::span(span?)).collect::<Result<_>>()?;
        Ok(trace::ScopeSpans { scope: scope(&group)?, spans, schema_url: group.schema_url()?.into() })
    };
    Ok(trace::ResourceSpans {
        resource: resource(&group)?,
        scope_spans: group.scopes().map(scope_spans).collect::<Result<_>>()?,
        schema_url: group.schema_url()?.into(),
    })
}

fn span(span: Span<'_>) -> Result<trace::Span> {
    let event = |event: Result<crate::otlp::SpanEvent<'_>>| {
        let event = event?;
        Ok(trace::span::Event {
            time_unix_nano: event.time_unix_nano,
            name: event.name()?.into(),
            attributes: attributes(event.attributes)?,
            dropped_attributes_count: event.dropped_attributes_count,
        })
    };
    let link = |link: Result<crate::otlp::SpanLink<'_>>| {
        let link = link?;
        Ok(trace::span::Link {
            trace_id: link.trace_id.into(),
            span_id: link.span_id.into(),
            trace_state: link.trace_state()?.into(),
            attributes: attributes(link.attributes)?,
            dropped_attributes_count: link.dropped_attributes_count,
            flags: link.flags,
        })
    };
    let status = span.status()?;
    Ok(trace::Span {
        trace_id: span.trace_id.into(),
        span_id: span.span_id.into(),
        trace_state: span.trace_state()?.into(),
        parent_span_id: span.parent_span_id.into(),
        flags: span.flags,
        name: span.name()?.into(),
        kind: span.kind,
        start_time_unix_nano: span.start_time_unix_nano,
        end_time_unix_nano: span.end_time_unix_nano,
        attributes: attributes(span.attributes)?,
        dropped_attributes_count: span.dropped_attributes_count,
        events: span.events().map(event).collect::<Result<_>>()?,
        dropped_events_count: span.dropped_events_count,
        links: span.links().map(link).collect::<Result<_>>()?,
        dropped_links_count: span.dropped_links_count,
        status: Some(trace::Status { message: status.message()?.into(), code: status.code }),
    })
}

fn resource_metrics(group: ResourceGroup<'_>) -> Result<metrics::ResourceMetrics> {
    let scope_metrics = |group: Result<ScopeGroup<'_>>| {
        let group = group?;
        let metrics = group.metrics().map(|metric| self::metric(metric?)).collect::<Result<_>>()?;
        Ok(metrics::ScopeMetrics { scope: scope(&group)?, metrics, schema_url: group.schema_url()?.into() })
    };
    Ok(metrics::ResourceMetrics {
        resource: resource(&group)?,
        scope_metrics: group.scopes().map(scope_metrics).collect::<Result<_>>()?,
        schema_url: group.schema_url()?.into(),
    })
}

fn metric(metric: Metric<'_>) -> Result<metrics::Metric> {
    use metrics::metric::Data;
    let number = |temporality: Temporality| match temporality {
        Temporality::Unspecified => 0,
        Temporality::Delta => 1,
        Temporality::Cumulative => 2,
    };
    let data = match metric.data()? {
        MetricData::Empty => None,
        MetricData::Gauge { points } => {
            Some(Data::Gauge(metrics::Gauge { data_points: collect(points, number_point)? }))
        }
        MetricData::Sum { points, temporality, monotonic } => Some(Data::Sum(metrics::Sum {
            data_points: collect(points, number_point)?,
            aggregation_temporality: number(temporality),
            is_monotonic: monotonic,
        })),
        MetricData::Histogram { points, temporality } => Some(Data::Histogram(metrics::Histogram {
            data_points: collect(points, histogram_point)?,
            aggregation_temporality: number(temporality),
        })),
        MetricData::ExponentialHistogram { points, temporality } => {
            Some(Data::ExponentialHistogram(metrics::ExponentialHistogram {
                data_points: collect(points, exponential_point)?,
                aggregation_temporality: number(temporality),
            }))
        }
        MetricData::Summary { points } => {
            Some(Data::Summary(metrics::Summary { data_points: collect(points, summary_point)? }))
        }
    };
    Ok(metrics::Metric {
        name: metric.name()?.into(),
        description: metric.description()?.into(),
        unit: metric.unit()?.into(),
        metadata: attributes(metric.metadata)?,
        data,
    })
}

fn collect<'a, P: crate::otlp::View<'a>, T>(
    points: Views<'a, P>,
    object: impl Fn(P) -> Result<T>,
) -> Result<Vec<T>> {
    points.map(|point| object(point?)).collect()
}

fn exemplar(exemplar: Result<Exemplar<'_>>) -> Result<metrics::Exemplar> {
    use metrics::exemplar::Value;
    let exemplar = exemplar?;
    Ok(metrics::Exemplar {
        filtered_attributes: attributes(exemplar.filtered_attributes)?,
        time_unix_nano: exemplar.time_unix_nano,
        span_id: exemplar.span_id.into(),
        trace_id: exemplar.trace_id.into(),
        value: exemplar.value.map(|value| match value {
            NumberValue::Double(value) => Value::AsDouble(value),
            NumberValue::Int(value) => Value::AsInt(value),
        }),
    })
}

fn number_point(point: NumberPoint<'_>) -> Result<metrics::NumberDataPoint> {
    use metrics::number_data_point::Value;
    Ok(metrics::NumberDataPoint {
        attributes: attributes(point.attributes)?,
        start_time_unix_nano: point.start_time_unix_nano,
        time_unix_nano: point.time_unix_nano,
        exemplars: point.exemplars().map(exemplar).collect::<Result<_>>()?,
        flags: point.flags,
        value: point.value.map(|value| match value {
            NumberValue::Double(value) => Value::AsDouble(value),
            NumberValue::Int(value) => Value::AsInt(value),
        }),
    })
}

fn histogram_point(point: HistogramPoint<'_>) -> Result<metrics::HistogramDataPoint> {
    let bucket_counts: Vec<_> = point.bucket_counts.iter().collect();
    let explicit_bounds: Vec<_> = point.explicit_bounds.iter().collect();
    assert_eq!(
        (bucket_counts.len(), explicit_bounds.len()),
        (point.bucket_counts.len(), point.explicit_bounds.len())
    );
    Ok(metrics::HistogramDataPoint {
        attributes: attributes(point.attributes)?,
        start_time_unix_nano: point.start_time_unix_nano,
        time_unix_nano: point.time_unix_nano,
        count: point.count,
        sum: point.sum,
        bucket_counts,
        explicit_bounds,
        exemplars: point.exemplars().map(exemplar).collect::<Result<_>>()?,
        flags: point.flags,
        min: point.min,
        max: point.max,
    })
}

fn exponential_point(point: ExponentialHistogramPoint<'_>) -> Result<metrics::ExponentialHistogramDataPoint> {
    let buckets = |buckets: &Buckets<'_>| -> Result<_> {
        let bucket_counts = buckets.counts().collect::<Result<_>>()?;
        Ok(Some(metrics::exponential_histogram_data_point::Buckets { offset: buckets.offset, bucket_counts }))
    };
    Ok(metrics::ExponentialHistogramDataPoint {
        attributes: attributes(point.attributes)?,
        start_time_unix_nano: point.start_time_unix_nano,
        time_unix_nano: point.time_unix_nano,
        count: point.count,
        sum: point.sum,
        scale: point.scale,
        zero_count: point.zero_count,
        positive: buckets(&point.positive)?,
        negative: buckets(&point.negative)?,
        flags: point.flags,
        exemplars: point.exemplars().map(exemplar).collect::<Result<_>>()?,
        min: point.min,
        max: point.max,
        zero_threshold: point.zero_threshold,
    })
}

fn summary_point(point: SummaryPoint<'_>) -> Result<metrics::SummaryDataPoint> {
    let quantile = |pair: Result<crate::otlp::QuantileValue>| {
        let pair = pair?;
        Ok(metrics::summary_data_point::ValueAtQuantile { quantile: pair.quantile, value: pair.value })
    };
    Ok(metrics::SummaryDataPoint {
        attributes: attributes(point.attributes)?,
        start_time_unix_nano: point.start_time_unix_nano,
        time_unix_nano: point.time_unix_nano,
        count: point.count,
        sum: point.sum,
        quantile_values: point.quantile_values().map(quantile).collect::<Result<_>>()?,
        flags: point.flags,
    })
}
