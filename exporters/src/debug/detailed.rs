//! The `detailed` text: every field of every item (debugexporter/internal/otlptext).

use std::fmt::Write as _;

use model::Signal;
use wire::DecodeError;
use wire::otlp::{
    self, AnyValue, Attributes, Buckets, Exemplar, ExponentialHistogramPoint, HistogramPoint, LogRecord,
    Metric, MetricData, NumberPoint, NumberValue, Scope, Span, SummaryPoint, Temporality, Views,
};

use super::go_format::{fixed, hex, time};

const NO_FAILURE: &str = "writing to a string cannot fail";

/// The text of a request.
pub(super) fn text(signal: Signal, payload: &[u8]) -> Result<String, DecodeError> {
    let (resource_name, scope_name) = match signal {
        Signal::Metrics => ("ResourceMetrics", "ScopeMetrics"),
        Signal::Logs => ("ResourceLog", "ScopeLogs"),
        Signal::Traces => ("ResourceSpans", "ScopeSpans"),
    };
    let mut out = Text(String::new());
    for (index, group) in otlp::resources(payload).enumerate() {
        let group = group?;
        out.line(format_args!("{resource_name} #{index}"));
        out.line(format_args!("Resource SchemaURL: {}", group.schema_url()?));
        out.attributes("", "Resource attributes", &group.resource()?.attributes)?;
        for (index, scope_group) in group.scopes().enumerate() {
            let scope_group = scope_group?;
            out.line(format_args!("{scope_name} #{index}"));
            out.line(format_args!("{scope_name} SchemaURL: {}", scope_group.schema_url()?));
            out.scope(&scope_group.scope()?)?;
            match signal {
                Signal::Metrics => each(scope_group.metrics(), |index, metric| out.metric(index, &metric))?,
                Signal::Logs => {
                    each(scope_group.log_records(), |index, record| out.log_record(index, &record))?
                }
                Signal::Traces => each(scope_group.spans(), |index, span| out.span(index, &span))?,
            }
        }
    }
    Ok(out.0)
}

fn each<'a, T: otlp::View<'a>>(
    views: Views<'a, T>,
    mut write: impl FnMut(usize, T) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    for (index, view) in views.enumerate() {
        write(index, view?)?;
    }
    Ok(())
}

struct Text(String);

impl Text {
    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{text}").expect(NO_FAILURE);
    }

    /// A header and one line for each attribute, or nothing when there is none.
    fn attributes(&mut self, indent: &str, header: &str, list: &Attributes<'_>) -> Result<(), DecodeError> {
        if list.is_empty() {
            return Ok(());
        }
        self.line(format_args!("{indent}{header}:"));
        for attribute in list.iter() {
            let attribute = attribute?;
            write!(self.0, "{}     -> {}: ", indent_of(indent), attribute.key()?).expect(NO_FAILURE);
            self.value(&attribute.value()?)?;
            self.0.push('\n');
        }
        Ok(())
    }

    /// `Type(text)`.
    fn value(&mut self, value: &AnyValue<'_>) -> Result<(), DecodeError> {
        self.0.push_str(match value {
            AnyValue::Empty => "Empty(",
            AnyValue::String(_) => "Str(",
            AnyValue::Bool(_) => "Bool(",
            AnyValue::Int(_) => "Int(",
            AnyValue::Double(_) => "Double(",
            AnyValue::Array(_) => "Slice(",
            AnyValue::Map(_) => "Map(",
            AnyValue::Bytes(_) => "Bytes(",
        });
        value.append_as_string(&mut self.0)?;
        self.0.push(')');
        Ok(())
    }

    fn scope(&mut self, scope: &Scope<'_>) -> Result<(), DecodeError> {
        self.line(format_args!("InstrumentationScope {} {}", scope.name()?, scope.version()?));
        self.attributes("", "InstrumentationScope attributes", &scope.attributes)
    }

    fn log_record(&mut self, index: usize, record: &LogRecord<'_>) -> Result<(), DecodeError> {
        self.line(format_args!("LogRecord #{index}"));
        self.line(format_args!("ObservedTimestamp: {}", time(record.observed_time_unix_nano)));
        self.line(format_args!("Timestamp: {}", time(record.time_unix_nano)));
        self.line(format_args!("SeverityText: {}", record.severity_text()?));
        let number = record.severity_number;
        self.line(format_args!("SeverityNumber: {}({number})", severity(number)));
        let event_name = record.event_name()?;
        if !event_name.is_empty() {
            self.line(format_args!("EventName: {event_name}"));
        }
        self.0.push_str("Body: ");
        self.value(&record.body()?)?;
        self.0.push('\n');
        self.attributes("", "Attributes", &record.attributes)?;
        self.line(format_args!("Trace ID: {}", hex(record.trace_id)));
        self.line(format_args!("Span ID: {}", hex(record.span_id)));
        self.line(format_args!("Flags: {}", record.flags));
        Ok(())
    }

    fn span(&mut self, index: usize, span: &Span<'_>) -> Result<(), DecodeError> {
        self.line(format_args!("Span #{index}"));
        let status = span.status()?;
        self.field("Trace ID", &hex(span.trace_id));
        self.field("Parent ID", &hex(span.parent_span_id));
        self.field("ID", &hex(span.span_id));
        self.field("Name", span.name()?);
        self.field("Kind", kind(span.kind));
        let trace_state = span.trace_state()?;
        if !trace_state.is_empty() {
            self.field("TraceState", trace_state);
        }
        self.field("Start time", &time(span.start_time_unix_nano));
        self.field("End time", &time(span.end_time_unix_nano));
        let code = match status.code {
            0 => "Unset",
            1 => "Ok",
            2 => "Error",
            _ => "",
        };
        self.field("Status code", code);
        self.field("Status message", status.message()?);
        self.line(format_args!("    DroppedAttributesCount: {}", span.dropped_attributes_count));
        self.attributes("", "Attributes", &span.attributes)?;
        self.events(span)?;
        self.line(format_args!("    DroppedEventsCount: {}", span.dropped_events_count));
        self.links(span)?;
        self.line(format_args!("    DroppedLinksCount: {}", span.dropped_links_count));
        Ok(())
    }

    fn field(&mut self, name: &str, value: &str) {
        self.line(format_args!("    {name:<15}: {value}"));
    }

    fn events(&mut self, span: &Span<'_>) -> Result<(), DecodeError> {
        for (index, event) in span.events().enumerate() {
            let event = event?;
            if index == 0 {
                self.line(format_args!("Events:"));
            }
            self.line(format_args!("SpanEvent #{index}"));
            self.line(format_args!("     -> Name: {}", event.name()?));
            self.line(format_args!("     -> Timestamp: {}", time(event.time_unix_nano)));
            self.line(format_args!("     -> DroppedAttributesCount: {}", event.dropped_attributes_count));
            // The doubled colon is upstream's.
            self.attributes(ARROW, "Attributes:", &event.attributes)?;
        }
        Ok(())
    }

    fn links(&mut self, span: &Span<'_>) -> Result<(), DecodeError> {
        for (index, link) in span.links().enumerate() {
            let link = link?;
            if index == 0 {
                self.line(format_args!("Links:"));
            }
            self.line(format_args!("SpanLink #{index}"));
            self.line(format_args!("     -> Trace ID: {}", hex(link.trace_id)));
            self.line(format_args!("     -> ID: {}", hex(link.span_id)));
            self.line(format_args!("     -> TraceState: {}", link.trace_state()?));
            self.line(format_args!("     -> DroppedAttributesCount: {}", link.dropped_attributes_count));
            self.attributes(ARROW, "Attributes:", &link.attributes)?;
        }
        Ok(())
    }

    fn metric(&mut self, index: usize, metric: &Metric<'_>) -> Result<(), DecodeError> {
        let data = metric.data()?;
        self.line(format_args!("Metric #{index}"));
        self.line(format_args!("Descriptor:"));
        self.line(format_args!("     -> Name: {}", metric.name()?));
        self.line(format_args!("     -> Description: {}", metric.description()?));
        self.line(format_args!("     -> Unit: {}", metric.unit()?));
        let data_type = match &data {
            MetricData::Empty => "Empty",
            MetricData::Gauge { .. } => "Gauge",
            MetricData::Sum { .. } => "Sum",
            MetricData::Histogram { .. } => "Histogram",
            MetricData::ExponentialHistogram { .. } => "ExponentialHistogram",
            MetricData::Summary { .. } => "Summary",
        };
        self.line(format_args!("     -> DataType: {data_type}"));
        self.attributes(ARROW, "Metadata", &metric.metadata)?;
        match data {
            MetricData::Empty => Ok(()),
            MetricData::Gauge { points } => each(points, |index, point| self.number_point(index, &point)),
            MetricData::Sum { points, temporality, monotonic } => {
                self.line(format_args!("     -> IsMonotonic: {monotonic}"));
                self.temporality(temporality);
                each(points, |index, point| self.number_point(index, &point))
            }
            MetricData::Histogram { points, temporality } => {
                self.temporality(temporality);
                each(points, |index, point| self.histogram_point(index, &point))
            }
            MetricData::ExponentialHistogram { points, temporality } => {
                self.temporality(temporality);
                each(points, |index, point| self.exponential_point(index, &point))
            }
            MetricData::Summary { points } => each(points, |index, point| self.summary_point(index, &point)),
        }
    }

    fn temporality(&mut self, temporality: Temporality) {
        let name = match temporality {
            Temporality::Unspecified => "Unspecified",
            Temporality::Delta => "Delta",
            Temporality::Cumulative => "Cumulative",
        };
        self.line(format_args!("     -> AggregationTemporality: {name}"));
    }

    fn point_head(
        &mut self,
        kind: &str,
        index: usize,
        attributes: &Attributes<'_>,
        start: u64,
        at: u64,
    ) -> Result<(), DecodeError> {
        self.line(format_args!("{kind} #{index}"));
        self.attributes("", "Data point attributes", attributes)?;
        self.line(format_args!("StartTimestamp: {}", time(start)));
        self.line(format_args!("Timestamp: {}", time(at)));
        Ok(())
    }

    fn number(&mut self, indent: &str, value: Option<NumberValue>) {
        match value {
            Some(NumberValue::Int(value)) => self.line(format_args!("{indent}Value: {value}")),
            Some(NumberValue::Double(value)) => self.line(format_args!("{indent}Value: {}", fixed(value))),
            None => {}
        }
    }

    fn number_point(&mut self, index: usize, point: &NumberPoint<'_>) -> Result<(), DecodeError> {
        let (start, at) = (point.start_time_unix_nano, point.time_unix_nano);
        self.point_head("NumberDataPoints", index, &point.attributes, start, at)?;
        self.number("", point.value);
        self.exemplars(point.exemplars())
    }

    fn count_and_sums(&mut self, count: u64, sums: [(&str, Option<f64>); 3]) {
        self.line(format_args!("Count: {count}"));
        for (name, value) in sums {
            if let Some(value) = value {
                self.line(format_args!("{name}: {}", fixed(value)));
            }
        }
    }

    fn histogram_point(&mut self, index: usize, point: &HistogramPoint<'_>) -> Result<(), DecodeError> {
        let (start, at) = (point.start_time_unix_nano, point.time_unix_nano);
        self.point_head("HistogramDataPoints", index, &point.attributes, start, at)?;
        self.count_and_sums(point.count, [("Sum", point.sum), ("Min", point.min), ("Max", point.max)]);
        for (index, bound) in point.explicit_bounds.iter().enumerate() {
            self.line(format_args!("ExplicitBounds #{index}: {}", fixed(bound)));
        }
        for (index, count) in point.bucket_counts.iter().enumerate() {
            self.line(format_args!("Buckets #{index}, Count: {count}"));
        }
        self.exemplars(point.exemplars())
    }

    fn exponential_point(
        &mut self,
        index: usize,
        point: &ExponentialHistogramPoint<'_>,
    ) -> Result<(), DecodeError> {
        let (start, at) = (point.start_time_unix_nano, point.time_unix_nano);
        self.point_head("ExponentialHistogramDataPoints", index, &point.attributes, start, at)?;
        self.count_and_sums(point.count, [("Sum", point.sum), ("Min", point.min), ("Max", point.max)]);
        // A bucket i reaches from exp(i × factor) to exp((i + 1) × factor).
        let factor = std::f64::consts::LN_2 * 2_f64.powi(point.scale.saturating_neg());
        for (index, count) in bucket_list(&point.negative)?.into_iter().rev() {
            let (lower, upper) = ((index * factor).exp(), ((index + 1.0) * factor).exp());
            self.line(format_args!("Bucket [{}, {}), Count: {count}", fixed(-upper), fixed(-lower)));
        }
        if point.zero_count != 0 {
            self.line(format_args!("Bucket [0, 0], Count: {}", point.zero_count));
        }
        for (index, count) in bucket_list(&point.positive)? {
            let (lower, upper) = ((index * factor).exp(), ((index + 1.0) * factor).exp());
            self.line(format_args!("Bucket ({}, {}], Count: {count}", fixed(lower), fixed(upper)));
        }
        self.exemplars(point.exemplars())
    }

    fn summary_point(&mut self, index: usize, point: &SummaryPoint<'_>) -> Result<(), DecodeError> {
        let (start, at) = (point.start_time_unix_nano, point.time_unix_nano);
        self.point_head("SummaryDataPoints", index, &point.attributes, start, at)?;
        self.line(format_args!("Count: {}", point.count));
        self.line(format_args!("Sum: {}", fixed(point.sum)));
        for (index, quantile) in point.quantile_values().enumerate() {
            let quantile = quantile?;
            let (at, value) = (fixed(quantile.quantile), fixed(quantile.value));
            self.line(format_args!("QuantileValue #{index}: Quantile {at}, Value {value}"));
        }
        Ok(())
    }

    fn exemplars<'a>(&mut self, exemplars: Views<'a, Exemplar<'a>>) -> Result<(), DecodeError> {
        for (index, exemplar) in exemplars.enumerate() {
            let exemplar = exemplar?;
            if index == 0 {
                self.line(format_args!("Exemplars:"));
            }
            self.line(format_args!("Exemplar #{index}"));
            self.line(format_args!("     -> Trace ID: {}", hex(exemplar.trace_id)));
            self.line(format_args!("     -> Span ID: {}", hex(exemplar.span_id)));
            self.line(format_args!("     -> Timestamp: {}", time(exemplar.time_unix_nano)));
            self.number(ARROW, exemplar.value);
            self.attributes(ARROW, "FilteredAttributes", &exemplar.filtered_attributes)?;
        }
        Ok(())
    }
}

/// How a field of an inner thing begins.
const ARROW: &str = "     -> ";

/// Attributes of an inner thing are set in by its indent without the arrow.
fn indent_of(header: &str) -> &str {
    header.strip_suffix("-> ").unwrap_or(header)
}

/// Index and count of each bucket.
fn bucket_list(buckets: &Buckets<'_>) -> Result<Vec<(f64, u64)>, DecodeError> {
    let first = f64::from(buckets.offset);
    buckets.counts().enumerate().map(|(index, count)| Ok((first + index as f64, count?))).collect()
}

/// Names of `plog.SeverityNumber`.
fn severity(number: i32) -> String {
    let names = ["Trace", "Debug", "Info", "Warn", "Error", "Fatal"];
    match usize::try_from(number) {
        Ok(0) => "Unspecified".to_owned(),
        Ok(number @ 1..=24) => {
            let (name, step) = (names[(number - 1) / 4], (number - 1) % 4 + 1);
            if step == 1 { name.to_owned() } else { format!("{name}{step}") }
        }
        _ => String::new(),
    }
}

/// Names of `ptrace.SpanKind`.
fn kind(number: i32) -> &'static str {
    match number {
        0 => "Unspecified",
        1 => "Internal",
        2 => "Server",
        3 => "Client",
        4 => "Producer",
        5 => "Consumer",
        _ => "",
    }
}
