//! Editors of histogram buckets: exponential ones to explicit ones, and fewer explicit ones
//! (func_convert_exponential_hist_to_explicit_hist.go and func_merge_histogram_buckets.go of the collector's contrib
//! repository).

use std::borrow::Cow;

use wire::protobuf::{put_bytes_field, put_double_field, put_fixed64_field, zigzag_decode};

use super::derive::parsed;
use super::{BOUNDS, BUCKET_COUNTS, COUNT, EXPONENTIAL, HISTOGRAM, POINTS, SUM_OF, packed_fixed};
use crate::context::Context;
use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::functions::{Args, Function, Kind, Prepared, editor, may, need};
use crate::message::{Message, Scalar};
use crate::number_format::go_verb_v;
use crate::path::Point;

pub(in crate::functions) const TABLE: &[Function] = &[
    editor(
        "convert_exponential_histogram_to_histogram",
        &[need("distribution_fn", Kind::LiteralText), need("explicit_bounds", Kind::LiteralDoubles)],
        to_explicit,
    )
    .prepared(|args| match args.literal_text(0) {
        None | Some("" | "upper" | "midpoint" | "random" | "uniform") if args.elements(1).is_empty() => {
            Err("explicit bounds cannot be empty: []".to_owned())
        }
        None | Some("" | "upper" | "midpoint" | "random" | "uniform") => Ok(Prepared::Nothing),
        Some(other) => Err(format!(
            "invalid conversion function: {other}, must be one of [upper, midpoint, random, uniform]"
        )),
    })
    .only(Context::Metric),
    editor(
        "merge_histogram_buckets",
        &[need("target_value", Kind::DoubleLike), may("method", Kind::LiteralText)],
        merge,
    )
    .prepared(check_merge)
    .only(Context::DataPoint),
];

fn to_explicit(args: &Args, frame: &mut Frame<'_>) -> Eval<()> {
    if frame.data_number != EXPONENTIAL {
        return Ok(());
    }
    let bounds = args.literal_doubles(1);
    let method = args.literal_text(0).unwrap_or_default();
    let mut points: Vec<Cow<'_, [u8]>> = Vec::new();
    for bytes in frame.data.all_bytes(POINTS) {
        let point = parsed(&bytes)?;
        let mut out = Vec::new();
        for pair in point.all_bytes(Point::Attributes.field(EXPONENTIAL).unwrap_or_default()) {
            put_bytes_field(&mut out, Point::Attributes.field(HISTOGRAM).unwrap_or_default(), &pair);
        }
        put_fixed64_field(&mut out, 2, point.bits(2));
        put_fixed64_field(&mut out, 3, point.bits(3));
        put_fixed64_field(&mut out, COUNT, point.bits(COUNT));
        put_double_field(&mut out, SUM_OF, f64::from_bits(point.bits(SUM_OF)));
        put_bytes_field(&mut out, BUCKET_COUNTS, &packed_fixed(distribute(&point, &bounds, method)?));
        put_bytes_field(&mut out, BOUNDS, &packed_fixed(bounds.iter().map(|bound| bound.to_bits())));
        for exemplar in point.all_bytes(11) {
            put_bytes_field(&mut out, 8, &exemplar);
        }
        put_double_field(&mut out, 11, f64::from_bits(point.bits(12)));
        put_double_field(&mut out, 12, f64::from_bits(point.bits(13)));
        points.push(Cow::Owned(out));
    }
    frame.data_number = HISTOGRAM;
    frame.data.set_all(POINTS, points);
    frame.record.remove(12);
    Ok(())
}

/// The counts of explicit buckets. As upstream there are as many as bounds, and only positive values count.
fn distribute(point: &Message<'_>, bounds: &[f64], method: &str) -> Eval<Vec<u64>> {
    let mut counts = vec![0_u64; bounds.len()];
    let last = bounds.len() - 1;
    let scale = zigzag_decode(point.bits(6)).clamp(-2000, 2000) as i32;
    let factor = std::f64::consts::LN_2 * 2_f64.powi(-scale);
    if bounds[0] == 0.0 {
        counts[0] += point.bits(7);
    }
    let bytes = point.bytes(8);
    let positive = parsed(&bytes)?;
    let offset = zigzag_decode(positive.bits(1)) as i32;
    for (position, count) in positive.repeated(2, false)?.into_iter().enumerate() {
        let index = offset.wrapping_add(position as i32);
        let upper = (f64::from(index.wrapping_add(1)) * factor).exp();
        let lower = (f64::from(index) * factor).exp();
        let within = bounds.windows(2).position(|pair| lower > pair[0] && upper <= pair[1]);
        let add = |counts: &mut [u64], place: usize, count: u64| {
            counts[place] = counts[place].wrapping_add(count);
        };
        if lower > bounds[last] {
            add(&mut counts, last, count);
        } else if let Some(place) = within {
            add(&mut counts, place, count);
        } else {
            match method {
                "upper" => {
                    let place = bounds.iter().position(|bound| upper <= *bound).unwrap_or(last);
                    add(&mut counts, place, count);
                }
                "midpoint" => {
                    let middle = (upper + lower) / 2.0;
                    let place = bounds.iter().position(|bound| middle <= *bound);
                    add(&mut counts, place.map_or(last, |place| place.saturating_sub(1)), count);
                }
                "uniform" => {
                    let (start, end) = touched(bounds, lower, upper);
                    let parts = (end - start + 1) as u64;
                    for (nth, place) in (start..=end).enumerate() {
                        add(&mut counts, place, count / parts + u64::from((nth as u64) < count % parts));
                    }
                }
                _ => scatter(&mut counts, bounds, lower, upper, count),
            }
        }
    }
    Ok(counts)
}

/// The first and the last bound that a bucket reaches.
fn touched(bounds: &[f64], lower: f64, upper: f64) -> (usize, usize) {
    let last = bounds.len() - 1;
    let start = bounds.iter().position(|bound| lower <= *bound).unwrap_or(last);
    let end = bounds[start..].iter().position(|bound| upper <= *bound).map_or(last, |at| start + at);
    (start, end)
}

/// Spreads a count by chance over the bounds that a bucket reaches.
fn scatter(counts: &mut [u64], bounds: &[f64], lower: f64, upper: f64, count: u64) {
    /// Counts beyond this are spread evenly, because each that is left takes a throw of the dice.
    const THROWS_MAX: u64 = 4096;
    let (start, end) = touched(bounds, lower, upper);
    if end == start {
        counts[start] = counts[start].wrapping_add(count);
        return;
    }
    let mut left = count;
    for place in start..=end {
        let from = if place == 0 { lower } else { bounds[place - 1] };
        let overlap = bounds[place].min(upper) - from.max(lower);
        let share = (count as f64 * (overlap / (upper - lower))).max(0.0) as u64;
        let taken = ((rand::random::<f64>() * share as f64) as u64).min(left);
        counts[place] = counts[place].wrapping_add(taken);
        left -= taken;
    }
    let places = (end - start + 1) as u64;
    if left > THROWS_MAX {
        let each = (left - THROWS_MAX) / places;
        for count in &mut counts[start..=end] {
            *count = count.wrapping_add(each);
        }
        left -= each * places;
    }
    for _ in 0..left {
        let place = start + (rand::random::<u64>() % places) as usize;
        counts[place] = counts[place].wrapping_add(1);
    }
}

const REMOVE_BOUND: &str = "remove_explicit_bound";
const LIMIT_BUCKETS: &str = "limit_buckets";

fn check_merge(args: &Args) -> Result<Prepared, String> {
    let method = args.literal_text(1).unwrap_or(REMOVE_BOUND);
    if ![REMOVE_BOUND, LIMIT_BUCKETS].contains(&method) {
        return Err(format!("unsupported method {method:?}, expected {REMOVE_BOUND:?} or {LIMIT_BUCKETS:?}"));
    }
    let Some(literal) = args.values[0].literal() else { return Ok(Prepared::Nothing) };
    match literal.clone().into_double_like().map_err(|error| error.to_string())? {
        None => Err("target_value must not be nil".to_owned()),
        Some(target) if method == LIMIT_BUCKETS => {
            buckets_max(target).map(|_| Prepared::Nothing).map_err(|error| error.to_string())
        }
        Some(_) => Ok(Prepared::Nothing),
    }
}

fn buckets_max(target: f64) -> Eval<usize> {
    if target < 1.0 || target.trunc() != target || target > i64::MAX as f64 {
        return Err(RunError::new(format!(
            "target_value must be a positive integer when method is {LIMIT_BUCKETS:?}, got {}",
            go_verb_v(target)
        )));
    }
    Ok(target as usize)
}

fn merge(args: &Args, frame: &mut Frame<'_>) -> Eval<()> {
    if frame.data_number != HISTOGRAM {
        return Ok(());
    }
    let target = args.value(0, frame)?.into_double_like()?;
    let target = target.ok_or_else(|| RunError::new("target_value must not be nil"))?;
    let point = &mut frame.item;
    let bounds: Vec<f64> = point.repeated(BOUNDS, true)?.into_iter().map(f64::from_bits).collect();
    let counts = point.repeated(BUCKET_COUNTS, true)?;
    let merged = match args.literal_text(1) {
        Some(LIMIT_BUCKETS) => limited(&bounds, &counts, buckets_max(target)?),
        _ => without_bound(&bounds, &counts, target),
    };
    if let Some((bounds, counts)) = merged {
        let bounds = packed_fixed(bounds.into_iter().map(f64::to_bits));
        point.set(BOUNDS, Scalar::Bytes(bounds));
        point.set(BUCKET_COUNTS, Scalar::Bytes(packed_fixed(counts)));
    }
    Ok(())
}

/// The buckets without the bound at `target`, if there is one.
fn without_bound(bounds: &[f64], counts: &[u64], target: f64) -> Option<(Vec<f64>, Vec<u64>)> {
    /// Bounds closer than this are the same.
    const EPSILON: f64 = 1e-12;
    if bounds.len() + 1 != counts.len() {
        return None;
    }
    let place = bounds.iter().position(|bound| (bound - target).abs() < EPSILON)?;
    let (mut bounds, mut counts) = (bounds.to_vec(), counts.to_vec());
    counts[place + 1] = counts[place + 1].wrapping_add(counts[place]);
    counts.remove(place);
    bounds.remove(place);
    Some((bounds, counts))
}

/// At most `max` buckets, each of as many neighbours as it takes.
fn limited(bounds: &[f64], counts: &[u64], max: usize) -> Option<(Vec<f64>, Vec<u64>)> {
    let is_sorted = bounds.windows(2).all(|pair| pair[1] > pair[0]);
    if bounds.len() + 1 != counts.len() || counts.len() <= max.max(1) || !is_sorted {
        return None;
    }
    let each = counts.len().div_ceil(max);
    let merged = counts.chunks(each).map(|chunk| chunk.iter().copied().fold(0, u64::wrapping_add)).collect();
    Some((bounds.iter().copied().skip(each - 1).step_by(each).collect(), merged))
}
