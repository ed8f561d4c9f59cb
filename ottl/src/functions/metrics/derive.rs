//! Editors that make further metrics of the one at hand (processor/transformprocessor/internal/metrics of the collector's
//! contrib repository).
//!
//! A new metric comes behind the others of its scope, and the statements run over it in turn, as in the collector.

use std::borrow::Cow;

use wire::otlp::{KeyValue, View};
use wire::protobuf::{begin_message, put_bytes_field, put_double_field, put_fixed64_field, put_varint_field};

use super::{COUNT, EXPONENTIAL, GAUGE, HISTOGRAM, MONOTONIC, POINTS, SUM, SUM_OF, SUMMARY, TEMPORALITY};
use crate::context::Context;
use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::functions::{Args, Function, Kind, Parameter, Prepared, editor, may, need};
use crate::message::Message;
use crate::path::Point;

/// Parameters of the editors that make a sum of a part of a summary.
const SUMMARY_TO_SUM: &[Parameter] = &[
    need("string_agg_temp", Kind::LiteralText),
    need("monotonic", Kind::LiteralBool),
    may("suffix", Kind::LiteralText),
];

pub(in crate::functions) const TABLE: &[Function] = &[
    editor(
        "copy_metric",
        &[may("name", Kind::Text), may("description", Kind::Text), may("unit", Kind::Text)],
        copy_metric,
    )
    .only(Context::Metric),
    editor(
        "extract_count_metric",
        &[need("monotonic", Kind::LiteralBool), may("suffix", Kind::LiteralText)],
        |args, frame| extract(args, frame, Part::Count),
    )
    .only(Context::Metric),
    editor(
        "extract_sum_metric",
        &[need("monotonic", Kind::LiteralBool), may("suffix", Kind::LiteralText)],
        |args, frame| extract(args, frame, Part::Sum),
    )
    .only(Context::Metric),
    editor(
        "convert_summary_quantile_val_to_gauge",
        &[may("attribute_key", Kind::LiteralText), may("suffix", Kind::LiteralText)],
        quantiles_to_gauge,
    )
    .only(Context::Metric),
    editor("convert_summary_count_val_to_sum", SUMMARY_TO_SUM, |args, frame| {
        summary_to_sum(args, frame, Part::Count)
    })
    .prepared(check_temporality)
    .only(Context::DataPoint),
    editor("convert_summary_sum_val_to_sum", SUMMARY_TO_SUM, |args, frame| {
        summary_to_sum(args, frame, Part::Sum)
    })
    .prepared(check_temporality)
    .only(Context::DataPoint),
];

/// Whether a text names an aggregation temporality.
pub(super) fn check_temporality(args: &Args) -> Result<Prepared, String> {
    match args.literal_text(0) {
        Some("delta" | "cumulative") => Ok(Prepared::Nothing),
        other => Err(format!("unknown aggregation temporality: {}", other.unwrap_or_default())),
    }
}

/// The number of a temporality's name (`AggregationTemporality`).
pub(super) fn temporality(args: &Args) -> u64 {
    if args.literal_text(0) == Some("delta") { 1 } else { 2 }
}

// Fields of `Metric`.
const NAME: u32 = 1;
const DESCRIPTION: u32 = 2;
const UNIT: u32 = 3;

/// What is taken of a histogram or summary.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Count,
    Sum,
}

impl Part {
    fn suffix(self) -> &'static str {
        match self {
            Self::Count => "_count",
            Self::Sum => "_sum",
        }
    }
}

/// A number's field and value in `NumberDataPoint`.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Int(i64),
    Double(f64),
}

/// A point of a `Sum` or `Gauge` with the attributes and times of another point.
pub(super) fn number_point(
    of: &Message<'_>,
    data: u32,
    number: Number,
    extra: Option<(&str, f64)>,
) -> Eval<Vec<u8>> {
    let attributes = Point::Attributes.field(data).unwrap_or_default();
    let mut out = Vec::new();
    for pair in of.all_bytes(attributes) {
        let is_replaced = match extra {
            Some((key, _)) => KeyValue::parse(&pair)?.key_bytes() == key.as_bytes(),
            None => false,
        };
        if !is_replaced {
            put_bytes_field(&mut out, 7, &pair);
        }
    }
    if let Some((key, value)) = extra {
        let open = begin_message(&mut out, 7);
        put_bytes_field(&mut out, 1, key.as_bytes());
        let inner = begin_message(&mut out, 2);
        put_double_field(&mut out, 4, value);
        inner.end(&mut out);
        open.end(&mut out);
    }
    put_fixed64_field(&mut out, 2, of.bits(2));
    put_fixed64_field(&mut out, 3, of.bits(3));
    match number {
        Number::Int(int) => put_fixed64_field(&mut out, 6, int.cast_unsigned()),
        Number::Double(double) => put_double_field(&mut out, 4, double),
    }
    Ok(out)
}

/// A message that was parsed from bytes of its own.
pub(super) fn parsed(bytes: &[u8]) -> Eval<Message<'_>> {
    let mut message = Message::default();
    message.load(bytes, |_| false)?;
    Ok(message)
}

/// A new metric around encoded points.
pub(super) struct Made<'a> {
    pub(super) name: String,
    pub(super) description: Cow<'a, [u8]>,
    pub(super) unit: Cow<'a, [u8]>,
    /// Temporality and whether it only grows; `None` for a gauge.
    pub(super) sum: Option<(u64, bool)>,
    pub(super) points: Vec<Vec<u8>>,
}

impl Made<'_> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes_field(&mut out, NAME, self.name.as_bytes());
        put_bytes_field(&mut out, DESCRIPTION, &self.description);
        put_bytes_field(&mut out, UNIT, &self.unit);
        let open = begin_message(&mut out, if self.sum.is_some() { SUM } else { GAUGE });
        for point in &self.points {
            put_bytes_field(&mut out, POINTS, point);
        }
        if let Some((temporality, is_monotonic)) = self.sum {
            put_varint_field(&mut out, TEMPORALITY, temporality);
            put_varint_field(&mut out, MONOTONIC, is_monotonic.into());
        }
        open.end(&mut out);
        out
    }
}

/// The name of the metric at hand with something behind it.
pub(super) fn suffixed(frame: &Frame<'_>, suffix: &str) -> Eval<String> {
    Ok(format!("{}{suffix}", frame.record.text(NAME)?))
}

fn copy_metric<'p>(args: &'p Args, frame: &mut Frame<'p>) -> Eval<()> {
    let mut out = Vec::new();
    frame.record.write(&mut out)?;
    if frame.data_number != 0 {
        let open = begin_message(&mut out, frame.data_number);
        frame.data.write(&mut out)?;
        open.end(&mut out);
    }
    // Of a field that comes twice the last one counts.
    for (index, number) in [(0, NAME), (1, DESCRIPTION), (2, UNIT)] {
        if args.is_given(index) {
            put_bytes_field(&mut out, number, args.text(index, frame)?.as_bytes());
        }
    }
    frame.add(out)
}

/// What a metric without counts and sums is refused with.
fn wrong_type(function: &str, data: u32) -> RunError {
    let name = match data {
        GAUGE => "Gauge",
        SUM => "Sum",
        HISTOGRAM => "Histogram",
        EXPONENTIAL => "ExponentialHistogram",
        SUMMARY => "Summary",
        _ => "Empty",
    };
    RunError::new(format!(
        "{function} requires an input metric of type Histogram, ExponentialHistogram or Summary, got {name}"
    ))
}

fn number_of(point: &Message<'_>, part: Part) -> Number {
    match part {
        Part::Count => Number::Int(point.bits(COUNT).cast_signed()),
        Part::Sum => Number::Double(f64::from_bits(point.bits(SUM_OF))),
    }
}

fn extract(args: &Args, frame: &mut Frame<'_>, part: Part) -> Eval<()> {
    let data = frame.data_number;
    let temporality = match data {
        HISTOGRAM | EXPONENTIAL => frame.data.bits(TEMPORALITY),
        // Summaries are cumulative by OpenMetrics.
        SUMMARY => 2,
        _ => 0,
    };
    if temporality == 0 {
        return Err(wrong_type(&format!("extract{}_metric", part.suffix()), data));
    }
    let mut points = Vec::new();
    for point in frame.data.all_bytes(POINTS) {
        let point = parsed(&point)?;
        if part == Part::Count || data == SUMMARY || point.has(SUM_OF) {
            points.push(number_point(&point, data, number_of(&point, part), None)?);
        }
    }
    if points.is_empty() {
        return Ok(());
    }
    let made = Made {
        name: suffixed(frame, args.literal_text(1).unwrap_or(part.suffix()))?,
        description: frame.record.bytes(DESCRIPTION),
        // A count has no unit of what is counted.
        unit: if part == Part::Count { Cow::Borrowed(b"1") } else { frame.record.bytes(UNIT) },
        sum: Some((temporality, args.literal_bool(0).unwrap_or_default())),
        points,
    };
    let encoded = made.encode();
    frame.add(encoded)
}

fn summary_to_sum(args: &Args, frame: &mut Frame<'_>, part: Part) -> Eval<()> {
    if frame.data_number != SUMMARY {
        return Ok(());
    }
    let mut points = Vec::new();
    for point in frame.points_now()? {
        let point = parsed(&point)?;
        points.push(number_point(&point, SUMMARY, number_of(&point, part), None)?);
    }
    let made = Made {
        name: suffixed(frame, args.literal_text(2).unwrap_or(part.suffix()))?,
        description: frame.record.bytes(DESCRIPTION),
        unit: frame.record.bytes(UNIT),
        sum: Some((temporality(args), args.literal_bool(1).unwrap_or_default())),
        points,
    };
    let encoded = made.encode();
    frame.add(encoded)
}

fn quantiles_to_gauge(args: &Args, frame: &mut Frame<'_>) -> Eval<()> {
    /// Field of `SummaryDataPoint`; each has a quantile (1) and a value (2).
    const QUANTILES: u32 = 6;
    if frame.data_number != SUMMARY {
        return Ok(());
    }
    let key = args.literal_text(0).unwrap_or("quantile");
    let mut points = Vec::new();
    for point in frame.data.all_bytes(POINTS) {
        let point = parsed(&point)?;
        for quantile in point.all_bytes(QUANTILES) {
            let quantile = parsed(&quantile)?;
            let value = Number::Double(f64::from_bits(quantile.bits(2)));
            let extra = Some((key, f64::from_bits(quantile.bits(1))));
            points.push(number_point(&point, SUMMARY, value, extra)?);
        }
    }
    let made = Made {
        name: suffixed(frame, args.literal_text(1).unwrap_or(".quantiles"))?,
        description: frame.record.bytes(DESCRIPTION),
        unit: frame.record.bytes(UNIT),
        sum: None,
        points,
    };
    let encoded = made.encode();
    frame.add(encoded)
}
