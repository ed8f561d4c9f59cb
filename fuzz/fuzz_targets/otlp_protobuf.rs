//! OTLP requests as protobuf: the views on any bytes, and everything that works on checked payloads. The first byte
//! chooses the signal and the size of parts.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use model::Signal;
use wire::DecodeError;
use wire::otlp::edit::{Edited, ResourceMemo, edit_resources, put_any_value, put_resource};
use wire::otlp::{self, AnyValue, Attributes, Exemplar, MetricData, Resource, View, Views, json};

fuzz_target!(|data: &[u8]| {
    let Some((choice, payload)) = data.split_first() else { return };
    let signal = Signal::ALL[usize::from(choice % 3)];
    let _ = walk(signal, payload);
    let _ = json::from_protobuf(signal, payload, &mut Vec::new());
    let payload = Bytes::copy_from_slice(payload);
    let _ = otlp::split(signal, &payload, 1);
    let _ = edit_resources(&payload, add_attribute);
    if let Ok(checked) = otlp::check(signal, payload) {
        checked_payload(signal, &checked.payload, checked.items, u64::from(choice / 3 % 8));
    }
});

/// Nothing may fail on a payload that `check` let through.
fn checked_payload(signal: Signal, payload: &Bytes, items: u64, items_max: u64) {
    walk(signal, payload).expect("checked");
    let again = otlp::check(signal, payload.clone()).expect("checked");
    assert_eq!((&again.payload, again.items), (payload, items));
    assert!(again.report.rejected.is_empty());
    assert_eq!(otlp::item_count(signal, payload), Ok(items));

    let parts = otlp::split(signal, payload, items_max).expect("checked");
    assert_eq!(parts.iter().map(|(_, items)| items).sum::<u64>(), items);
    for (part, count) in &parts {
        assert!(items_max == 0 || *count <= items_max);
        assert_eq!(otlp::check(signal, part.clone()).expect("well-formed").items, *count);
    }

    let edited = edit_resources(payload, add_attribute).expect("checked");
    assert_eq!(otlp::check(signal, edited.clone()).expect("well-formed").items, items);
    let mut memo = ResourceMemo::new(1 << 16);
    assert_eq!(memo.edit_resources(payload, add_attribute), Ok(edited));

    let mut text = Vec::new();
    json::from_protobuf(signal, payload, &mut text).expect("checked");
    let read = json::to_protobuf(signal, &text).expect("our own json");
    assert_eq!(otlp::item_count(signal, &read), Ok(items));
    let mut again = Vec::new();
    json::from_protobuf(signal, &read, &mut again).expect("our own protobuf");
    assert_eq!(text, again);
}

fn add_attribute(resource: &[u8], out: &mut Vec<u8>) -> Result<Edited, DecodeError> {
    let mut value = Vec::new();
    put_any_value(&mut value, &AnyValue::Int(-1));
    let mut attributes = Vec::new();
    for attribute in Resource::parse(resource)?.attributes.iter() {
        let attribute = attribute?;
        attributes.push((attribute.key()?, attribute.value_bytes()));
    }
    attributes.push(("added", &value));
    put_resource(out, resource, attributes)?;
    Ok(Edited::Replaced)
}

fn walk(signal: Signal, payload: &[u8]) -> Result<(), DecodeError> {
    for group in otlp::resources(payload) {
        let group = group?;
        attributes(group.resource()?.attributes)?;
        group.schema_url()?;
        for scope in group.scopes() {
            let scope = scope?;
            let of = scope.scope()?;
            (of.name()?, of.version()?, scope.schema_url()?);
            attributes(of.attributes)?;
            match signal {
                Signal::Metrics => scope.metrics().try_for_each(|metric| walk_metric(metric?))?,
                Signal::Logs => scope.log_records().try_for_each(|record| walk_record(record?))?,
                Signal::Traces => scope.spans().try_for_each(|span| walk_span(span?))?,
            }
        }
    }
    Ok(())
}

fn walk_metric(metric: otlp::Metric<'_>) -> Result<(), DecodeError> {
    (metric.name()?, metric.description()?, metric.unit()?);
    attributes(metric.metadata)?;
    match metric.data()? {
        MetricData::Empty => Ok(()),
        MetricData::Gauge { points } | MetricData::Sum { points, .. } => each(points, |point| {
            exemplars(point.exemplars())?;
            attributes(point.attributes)
        }),
        MetricData::Histogram { points, .. } => each(points, |point| {
            assert_eq!(point.bucket_counts.iter().count(), point.bucket_counts.len());
            assert_eq!(point.explicit_bounds.iter().count(), point.explicit_bounds.len());
            exemplars(point.exemplars())?;
            attributes(point.attributes)
        }),
        MetricData::ExponentialHistogram { points, .. } => each(points, |point| {
            point.positive.counts().try_for_each(|count| count.map(drop))?;
            point.negative.counts().try_for_each(|count| count.map(drop))?;
            exemplars(point.exemplars())?;
            attributes(point.attributes)
        }),
        MetricData::Summary { points } => each(points, |point| {
            each(point.quantile_values(), |_| Ok(()))?;
            attributes(point.attributes)
        }),
    }
}

fn each<'a, T: View<'a>>(
    views: Views<'a, T>,
    one: impl Fn(T) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    for view in views {
        one(view?)?;
    }
    Ok(())
}

fn exemplars(exemplars: Views<'_, Exemplar<'_>>) -> Result<(), DecodeError> {
    each(exemplars, |exemplar| attributes(exemplar.filtered_attributes))
}

fn walk_record(record: otlp::LogRecord<'_>) -> Result<(), DecodeError> {
    (record.severity_text()?, record.event_name()?);
    value(record.body()?)?;
    attributes(record.attributes)
}

fn walk_span(span: otlp::Span<'_>) -> Result<(), DecodeError> {
    (span.name()?, span.trace_state()?, span.status()?.message()?);
    each(span.events(), |event| event.name().and_then(|_| attributes(event.attributes)))?;
    each(span.links(), |link| link.trace_state().and_then(|_| attributes(link.attributes)))?;
    attributes(span.attributes)
}

fn attributes(attributes: Attributes<'_>) -> Result<(), DecodeError> {
    for attribute in attributes.iter() {
        let attribute = attribute?;
        attribute.key()?;
        value(attribute.value()?)?;
    }
    Ok(())
}

fn value(any: AnyValue<'_>) -> Result<(), DecodeError> {
    match any {
        AnyValue::Array(array) => array.iter().try_for_each(|element| value(element?)),
        AnyValue::Map(map) => attributes(map),
        _ => Ok(()),
    }
}
