//! `extract_percentile_metric`: a gauge with a percentile of each point of a histogram, interpolated within its bucket
//! (func_extract_percentile_metric.go of the collector's contrib repository).

use wire::protobuf::zigzag_decode;

use super::derive::{Made, Number, number_point, parsed, suffixed};
use super::{BOUNDS, BUCKET_COUNTS, COUNT, EXPONENTIAL, HISTOGRAM, POINTS};
use crate::context::Context;
use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::functions::{Args, Function, Kind, Prepared, editor, may, need};
use crate::message::Message;
use crate::number_format::go_verb_v;

pub(in crate::functions) const TABLE: &[Function] = &[editor(
    "extract_percentile_metric",
    &[need("percentile", Kind::LiteralDouble), may("suffix", Kind::LiteralText)],
    extract,
)
.prepared(|args| match args.literal_double(0) {
    Some(percentile) if percentile > 0.0 && percentile < 100.0 => Ok(Prepared::Nothing),
    other => Err(format!(
        "percentile must be greater than 0 and less than 100, got {:.6}",
        other.unwrap_or_default()
    )),
})
.only(Context::Metric)];

fn extract(args: &Args, frame: &mut Frame<'_>) -> Eval<()> {
    let percentile = args.literal_double(0).unwrap_or_default();
    let data = frame.data_number;
    let of_point: fn(&Message<'_>, f64) -> Eval<Option<f64>> = match data {
        HISTOGRAM => of_histogram,
        EXPONENTIAL => of_exponential,
        _ => return Ok(()),
    };
    let mut points = Vec::new();
    for point in frame.data.all_bytes(POINTS) {
        let point = parsed(&point)?;
        if let Some(value) = of_point(&point, percentile)? {
            points.push(number_point(&point, data, Number::Double(value), None)?);
        }
    }
    if points.is_empty() {
        return Ok(());
    }
    let short = format!("p{}", go_verb_v(percentile));
    let description = frame.record.text(2)?;
    let description = match description.is_empty() {
        true => short.clone(),
        false => format!("{description} ({short})"),
    };
    let suffix = match args.literal_text(1) {
        None | Some("") => format!("_{short}"),
        Some(suffix) => suffix.to_owned(),
    };
    let made = Made {
        name: suffixed(frame, &suffix)?,
        description: description.into_bytes().into(),
        unit: frame.record.bytes(3),
        sum: None,
        points,
    };
    let encoded = made.encode();
    frame.add(encoded)
}

/// How many of `count` values are at or below the percentile.
fn target(count: u64, percentile: f64) -> u64 {
    (count as f64 * (percentile / 100.0)).ceil() as u64
}

fn double(point: &Message<'_>, number: u32) -> Option<f64> {
    point.has(number).then(|| f64::from_bits(point.bits(number)))
}

fn of_histogram(point: &Message<'_>, percentile: f64) -> Eval<Option<f64>> {
    let what = "calculating histogram percentile: malformed data";
    let count = point.bits(COUNT);
    let counts = point.repeated(BUCKET_COUNTS, true)?;
    if count == 0 || counts.is_empty() {
        return Ok(None);
    }
    let target = target(count, percentile);
    let bounds: Vec<f64> = point.repeated(BOUNDS, true)?.into_iter().map(f64::from_bits).collect();
    let (min, max) = (double(point, 11), double(point, 12));
    if counts.len() != bounds.len() + 1 {
        return Err(RunError::new(format!(
            "{what}: bucketCounts length ({}) != explicitBounds length ({}) + 1",
            counts.len(),
            bounds.len()
        )));
    }
    if bounds.is_empty() {
        let (Some(min), Some(max)) = (min, max) else { return Ok(None) };
        return linear(min, max, target as f64 / counts[0] as f64).map(Some);
    }
    let mut sum = 0_u64;
    for (index, in_bucket) in counts.iter().enumerate() {
        let before = sum;
        sum = sum.wrapping_add(*in_bucket);
        if sum < target {
            continue;
        }
        let (lower, upper) = if index == 0 {
            let upper = bounds[0];
            match min {
                Some(min) if min < upper => (min, upper),
                _ if 0.0 > upper => return Ok(Some(upper)),
                _ => (0.0, upper),
            }
        } else {
            let lower = bounds[index - 1];
            match bounds.get(index) {
                Some(upper) => (lower, *upper),
                // The last bucket has no end but the largest value that was seen.
                None => match max {
                    Some(max) if max > lower => (lower, max),
                    _ => return Ok(Some(lower)),
                },
            }
        };
        return linear(lower, upper, (target - before) as f64 / *in_bucket as f64).map(Some);
    }
    Err(unreached(what, target, sum))
}

fn unreached(what: &str, target: u64, sum: u64) -> RunError {
    RunError::new(format!(
        "{what}: cumulative count doesn't reach target count corresponding to percentile. targetCount={target}, total \
         count={sum}"
    ))
}

/// The buckets of one sign: their offset and counts.
fn buckets(point: &Message<'_>, number: u32) -> Eval<(i64, Vec<u64>)> {
    let bytes = point.bytes(number);
    let buckets = parsed(&bytes)?;
    Ok((zigzag_decode(buckets.bits(1)), buckets.repeated(2, false)?))
}

fn of_exponential(point: &Message<'_>, percentile: f64) -> Eval<Option<f64>> {
    let count = point.bits(COUNT);
    let scale = zigzag_decode(point.bits(6));
    let zeros = point.bits(7);
    let (positive_offset, positive) = buckets(point, 8)?;
    let (negative_offset, negative) = buckets(point, 9)?;
    if count == 0 || (negative.is_empty() && positive.is_empty() && zeros == 0) {
        return Ok(None);
    }
    let target = target(count, percentile);
    let mut sum = 0_u64;
    for (index, in_bucket) in negative.iter().enumerate().rev() {
        let before = sum;
        sum = sum.wrapping_add(*in_bucket);
        if sum >= target {
            let at = negative_offset.saturating_add(index as i64);
            let (small, large) = (bound(at, scale), bound(at.saturating_add(1), scale));
            let ratio = (target - before) as f64 / *in_bucket as f64;
            // The most negative end comes first.
            return logarithmic(small, large, 1.0 - ratio).map(|value| Some(-value));
        }
    }
    if sum.wrapping_add(zeros) >= target {
        let width = f64::from_bits(point.bits(14));
        let lower = if negative.is_empty() && !positive.is_empty() { 0.0 } else { -width };
        let upper = if positive.is_empty() && !negative.is_empty() { 0.0 } else { width };
        return linear(lower, upper, (target - sum) as f64 / zeros as f64).map(Some);
    }
    sum = sum.wrapping_add(zeros);
    for (index, in_bucket) in positive.iter().enumerate() {
        let before = sum;
        sum = sum.wrapping_add(*in_bucket);
        if sum >= target {
            let at = positive_offset.saturating_add(index as i64);
            let ratio = (target - before) as f64 / *in_bucket as f64;
            return logarithmic(bound(at, scale), bound(at.saturating_add(1), scale), ratio).map(Some);
        }
    }
    Err(unreached("calculating exponential histogram percentile: malformed data", target, sum))
}

/// The lower end of an exponential bucket (specs/otel/metrics/data-model, exponential scale).
fn bound(index: i64, scale: i64) -> f64 {
    if scale <= 0 {
        let exponent =
            index.checked_shl(u32::try_from(scale.saturating_neg()).unwrap_or(u32::MAX)).unwrap_or(0);
        return 2_f64.powi(exponent.clamp(-2000, 2000) as i32);
    }
    (index as f64 * (std::f64::consts::LN_2 * 2_f64.powi(-(scale.min(2000) as i32)))).exp()
}

fn check(kind: &str, ratio: f64) -> Eval<()> {
    match (0.0..=1.0).contains(&ratio) {
        true => Ok(()),
        false => Err(RunError::new(format!(
            "{kind} interpolation: invalid ratio {ratio:.6}, must be between 0 and 1"
        ))),
    }
}

fn linear(lower: f64, upper: f64, ratio: f64) -> Eval<f64> {
    check("linear", ratio)?;
    Ok(lower + ratio * (upper - lower))
}

fn logarithmic(lower: f64, upper: f64, ratio: f64) -> Eval<f64> {
    check("logarithmic", ratio)?;
    if lower <= 0.0 || upper <= 0.0 {
        return Err(RunError::new(format!(
            "logarithmic interpolation: bounds must be positive, got lowerBound={lower:.6}, upperBound={upper:.6}"
        )));
    }
    let (lower, upper) = (log2(lower), log2(upper));
    Ok(exp2(lower + (upper - lower) * ratio))
}

/// `math.Log2` of Go to its last digit, by which values are compared with those of other programs.
fn log2(x: f64) -> f64 {
    const MANTISSA_BITS: u32 = 52;
    const EXPONENT_MASK: u64 = 0x7ff;
    let bits = x.to_bits();
    let exponent = (bits >> MANTISSA_BITS & EXPONENT_MASK) as i32 - 1022;
    let fraction = f64::from_bits(bits & !(EXPONENT_MASK << MANTISSA_BITS) | 1022 << MANTISSA_BITS);
    match fraction == 0.5 {
        true => f64::from(exponent - 1),
        false => fraction.ln() * (1.0 / std::f64::consts::LN_2) + f64::from(exponent),
    }
}

/// `math.Exp2` of Go (FreeBSD's e_exp.c): powers of two in whole steps, the rest by a polynomial.
fn exp2(x: f64) -> f64 {
    /// Coefficients of the polynomial, the highest power last.
    const P: [f64; 5] = [
        1.666_666_666_666_666_6e-1,
        -2.777_777_777_701_559_3e-3,
        6.613_756_321_437_934e-5,
        -1.653_390_220_546_525_2e-6,
        4.138_136_797_057_238_5e-8,
    ];
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let whole = (x + 0.5_f64.copysign(x)).trunc();
    let t = x - whole;
    let (high, low) = (t * LN2_HIGH, -t * LN2_LOW);
    let r = high - low;
    let t = r * r;
    let c = r - t * (P[0] + t * (P[1] + t * (P[2] + t * (P[3] + t * P[4]))));
    let y = 1.0 - ((low - (r * c) / (2.0 - c)) - high);
    y * 2_f64.powi(whole.clamp(-2000.0, 2000.0) as i32)
}
