//! Editors of whole metrics (processor/transformprocessor/internal/metrics of the collector's contrib repository): here
//! those that keep the points, further down those that make metrics, aggregate points or change buckets.

pub(super) mod aggregate;
pub(super) mod buckets;
pub(super) mod derive;
pub(super) mod percentile;

use wire::protobuf::{Fields, Value as Wire, put_bytes_field, put_double_field, put_fixed64_field};

use super::{Args, Function, Kind, editor, may, need};
use crate::context::Context;
use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::message::Scalar;
use crate::path::{EXPONENTIAL, GAUGE, HISTOGRAM, SUM, SUMMARY};

pub(super) const TABLE: &[Function] = &[
    editor("convert_sum_to_gauge", &[], |_, frame| {
        if frame.data_number == SUM {
            frame.data_number = GAUGE;
            frame.data.remove(TEMPORALITY);
            frame.data.remove(MONOTONIC);
        }
        Ok(())
    })
    .only(Context::Metric),
    editor(
        "convert_gauge_to_sum",
        &[need("aggregation_temporality", Kind::LiteralText), need("is_monotonic", Kind::LiteralBool)],
        gauge_to_sum,
    )
    .prepared(derive::check_temporality)
    .only(Context::Metric),
    editor("scale_metric", &[need("multiplier", Kind::LiteralDouble), may("unit", Kind::Text)], scale)
        .only(Context::Metric),
];

// Fields of `Metric`, of `Sum` and its like, and of points (opentelemetry/proto/metrics/v1/metrics.proto).
const UNIT: u32 = 3;
const POINTS: u32 = 1;
const COUNT: u32 = 4;
const SUM_OF: u32 = 5;
const BUCKET_COUNTS: u32 = 6;
const BOUNDS: u32 = 7;
const TEMPORALITY: u32 = 2;
const MONOTONIC: u32 = 3;

/// Numbers of 64 bits as a packed field holds them.
fn packed_fixed(bits: impl IntoIterator<Item = u64>) -> Vec<u8> {
    bits.into_iter().flat_map(u64::to_le_bytes).collect()
}

fn gauge_to_sum(args: &Args, frame: &mut Frame<'_>) -> Eval<()> {
    if frame.data_number == GAUGE {
        frame.data_number = SUM;
        frame.data.set(TEMPORALITY, Scalar::Varint(derive::temporality(args)));
        frame.data.set(MONOTONIC, Scalar::Varint(args.literal_bool(1).unwrap_or_default().into()));
    }
    Ok(())
}

/// What scaling does to a field.
#[derive(Clone, Copy)]
enum Part {
    Kept,
    /// A double, or several in one field.
    Doubles,
    /// An integer, of which the fraction is cut off.
    Int,
    /// A message with parts of its own.
    Inside(fn(u32) -> Part),
}

fn scale(args: &Args, frame: &mut Frame<'_>) -> Eval<()> {
    let by = args.literal_double(0).unwrap_or_default();
    let unit = match args.is_given(1) {
        true => Some(args.text(1, frame)?.into_owned()),
        false => None,
    };
    let part: fn(u32) -> Part = match frame.data_number {
        GAUGE | SUM => number_part,
        HISTOGRAM => histogram_part,
        SUMMARY => summary_part,
        EXPONENTIAL => {
            return Err(RunError::new(
                "exponential histograms are not supported by the 'scale_metric' function",
            ));
        }
        _ => return Err(RunError::new("unsupported metric type: 'Empty'")),
    };
    let points = frame.data.all_bytes(POINTS).into_iter();
    let points = points.map(|point| Ok(scaled(&point, by, part)?.into())).collect::<Eval<Vec<_>>>()?;
    frame.data.set_all(POINTS, points);
    if let Some(unit) = unit {
        frame.record.set(UNIT, Scalar::Bytes(unit.into_bytes()));
    }
    Ok(())
}

/// Parts of `NumberDataPoint`; its exemplars stay as they are, as upstream.
fn number_part(number: u32) -> Part {
    match number {
        4 => Part::Doubles,
        6 => Part::Int,
        _ => Part::Kept,
    }
}

/// Parts of `HistogramDataPoint`: sum, bounds, exemplars, min, max.
fn histogram_part(number: u32) -> Part {
    match number {
        5 | 7 | 11 | 12 => Part::Doubles,
        8 => Part::Inside(exemplar_part),
        _ => Part::Kept,
    }
}

fn exemplar_part(number: u32) -> Part {
    match number {
        3 => Part::Doubles,
        6 => Part::Int,
        _ => Part::Kept,
    }
}

/// Parts of `SummaryDataPoint`: sum and values of quantiles.
fn summary_part(number: u32) -> Part {
    let quantile_part = |number| if number == 2 { Part::Doubles } else { Part::Kept };
    match number {
        5 => Part::Doubles,
        6 => Part::Inside(quantile_part),
        _ => Part::Kept,
    }
}

fn scaled(message: &[u8], by: f64, part: fn(u32) -> Part) -> Eval<Vec<u8>> {
    let mut out = Vec::with_capacity(message.len());
    let mut fields = Fields::new(message);
    let mut start = 0;
    while let Some(field) = fields.next_field()? {
        let end = fields.offset();
        let number = field.number;
        match (part(number), field.value) {
            (Part::Doubles, Wire::Fixed64(bits)) => {
                put_double_field(&mut out, number, f64::from_bits(bits) * by)
            }
            (Part::Doubles, Wire::Bytes(packed)) => {
                let mut all = Vec::with_capacity(packed.len());
                field.fixed64s(|bits| all.extend_from_slice(&(f64::from_bits(bits) * by).to_le_bytes()))?;
                put_bytes_field(&mut out, number, &all);
            }
            (Part::Int, Wire::Fixed64(bits)) => {
                let int = (bits.cast_signed() as f64 * by) as i64;
                put_fixed64_field(&mut out, number, int.cast_unsigned());
            }
            (Part::Inside(part), Wire::Bytes(inside)) => {
                put_bytes_field(&mut out, number, &scaled(inside, by, part)?);
            }
            _ => out.extend_from_slice(&message[start..end]),
        }
        start = end;
    }
    Ok(out)
}
