//! The `normal` text: one line for each resource, scope and item (debugexporter/internal/normal).

use std::fmt::Write as _;

use model::Signal;
use wire::DecodeError;
use wire::otlp::{
    self, AnyValue, Attributes, ExponentialHistogramPoint, Metric, MetricData, NumberPoint, NumberValue,
    Scope,
};

use super::go_format::{fixed, hex, shortest};

const NO_FAILURE: &str = "writing to a string cannot fail";

/// The text of a request.
pub(super) fn text(signal: Signal, payload: &[u8]) -> Result<String, DecodeError> {
    let (resource_name, scope_name) = match signal {
        Signal::Metrics => ("ResourceMetrics", "ScopeMetrics"),
        Signal::Logs => ("ResourceLog", "ScopeLog"),
        Signal::Traces => ("ResourceTraces", "ScopeTraces"),
    };
    let mut out = String::new();
    for (index, group) in otlp::resources(payload).enumerate() {
        let group = group?;
        let schema_url = group.schema_url()?;
        write!(out, "{resource_name} #{index}").expect(NO_FAILURE);
        if !schema_url.is_empty() {
            write!(out, " [{schema_url}]").expect(NO_FAILURE);
        }
        attributes(&mut out, &group.resource()?.attributes, " ", " ")?;
        out.push('\n');
        for scope_group in group.scopes() {
            let scope_group = scope_group?;
            // Upstream numbers scopes by their resource.
            write!(out, "{scope_name} #{index}").expect(NO_FAILURE);
            scope(&mut out, &scope_group.scope()?, scope_group.schema_url()?)?;
            match signal {
                Signal::Metrics => {
                    for item in scope_group.metrics() {
                        metric(&mut out, &item?)?;
                    }
                }
                Signal::Logs => {
                    for record in scope_group.log_records() {
                        let record = record?;
                        record.body()?.append_as_string(&mut out)?;
                        out.push(' ');
                        attributes(&mut out, &record.attributes, "", " ")?;
                        out.push('\n');
                    }
                }
                Signal::Traces => {
                    for span in scope_group.spans() {
                        let span = span?;
                        let (trace_id, span_id) = (hex(span.trace_id), hex(span.span_id));
                        write!(out, "{} {trace_id} {span_id}", span.name()?).expect(NO_FAILURE);
                        attributes(&mut out, &span.attributes, " ", " ")?;
                        out.push('\n');
                    }
                }
            }
        }
    }
    Ok(out)
}

/// `key=value` pairs joined by `between`, after `before` when there is one.
fn attributes(
    out: &mut String,
    list: &Attributes<'_>,
    before: &str,
    between: &str,
) -> Result<(), DecodeError> {
    for (index, attribute) in list.iter().enumerate() {
        let attribute = attribute?;
        out.push_str(if index == 0 { before } else { between });
        out.push_str(attribute.key()?);
        out.push('=');
        let value: AnyValue<'_> = attribute.value()?;
        value.append_as_string(out)?;
    }
    Ok(())
}

fn scope(out: &mut String, scope: &Scope<'_>, schema_url: &str) -> Result<(), DecodeError> {
    let (name, version) = (scope.name()?, scope.version()?);
    if !name.is_empty() || !version.is_empty() {
        write!(out, " {name}").expect(NO_FAILURE);
        if !version.is_empty() {
            write!(out, "@{version}").expect(NO_FAILURE);
        }
    }
    if !schema_url.is_empty() {
        write!(out, " [{schema_url}]").expect(NO_FAILURE);
    }
    attributes(out, &scope.attributes, " ", " ")?;
    out.push('\n');
    Ok(())
}

fn metric(out: &mut String, metric: &Metric<'_>) -> Result<(), DecodeError> {
    let name = metric.name()?;
    let mut line = |point: &Attributes<'_>, value: String| -> Result<(), DecodeError> {
        write!(out, "{name}{{").expect(NO_FAILURE);
        attributes(out, point, "", ",")?;
        writeln!(out, "}} {value}").expect(NO_FAILURE);
        Ok(())
    };
    match metric.data()? {
        MetricData::Empty => {}
        MetricData::Gauge { points } | MetricData::Sum { points, .. } => {
            for point in points {
                let point: NumberPoint<'_> = point?;
                let value = match point.value {
                    Some(NumberValue::Int(value)) => value.to_string(),
                    Some(NumberValue::Double(value)) => shortest(value),
                    None => String::new(),
                };
                line(&point.attributes, value)?;
            }
        }
        MetricData::Histogram { points, .. } => {
            for point in points {
                let point = point?;
                let mut value = summary_of(point.count, point.sum, point.min, point.max);
                let mut bounds = point.explicit_bounds.iter();
                for count in point.bucket_counts.iter() {
                    match bounds.next() {
                        Some(bound) => write!(value, " le{}={count}", shortest(bound)),
                        None => write!(value, " {count}"),
                    }
                    .expect(NO_FAILURE);
                }
                line(&point.attributes, value)?;
            }
        }
        MetricData::ExponentialHistogram { points, .. } => {
            for point in points {
                let point = point?;
                let mut value = summary_of(point.count, point.sum, point.min, point.max);
                exponential_buckets(&mut value, &point)?;
                line(&point.attributes, value)?;
            }
        }
        MetricData::Summary { points } => {
            for point in points {
                let point = point?;
                let mut value = format!("count={} sum={}", point.count, fixed(point.sum));
                for quantile in point.quantile_values() {
                    let quantile = quantile?;
                    let (at, quantile) = (shortest(quantile.quantile), shortest(quantile.value));
                    write!(value, " q{at}={quantile}").expect(NO_FAILURE);
                }
                line(&point.attributes, value)?;
            }
        }
    }
    Ok(())
}

fn summary_of(count: u64, sum: Option<f64>, min: Option<f64>, max: Option<f64>) -> String {
    let mut text = format!("count={count}");
    for (name, value) in [("sum", sum), ("min", min), ("max", max)] {
        if let Some(value) = value {
            write!(text, " {name}={}", shortest(value)).expect(NO_FAILURE);
        }
    }
    text
}

/// Buckets from the lowest values to the highest, each with its upper bound.
fn exponential_buckets(out: &mut String, point: &ExponentialHistogramPoint<'_>) -> Result<(), DecodeError> {
    let factor = std::f64::consts::LN_2 * 2_f64.powi(point.scale.saturating_neg());
    let bound = |offset: i32, index: usize| ((f64::from(offset) + index as f64) * factor).exp();
    let negative: Vec<u64> = point.negative.counts().collect::<Result<_, _>>()?;
    for (index, count) in negative.iter().enumerate().rev() {
        write!(out, " le{}={count}", shortest(-bound(point.negative.offset, index))).expect(NO_FAILURE);
    }
    if point.zero_count > 0 {
        write!(out, " zero={}", point.zero_count).expect(NO_FAILURE);
    }
    for (index, count) in point.positive.counts().enumerate() {
        write!(out, " le{}={}", shortest(bound(point.positive.offset, index + 1)), count?).expect(NO_FAILURE);
    }
    Ok(())
}
