//! Aggregation of a metric's points over attributes: points of equal attributes and time become one
//! (internal/coreinternal/aggregateutil of the collector's contrib repository).
//!
//! Groups come in the order of their first points; in the collector they come in none.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use wire::protobuf::{zigzag_decode, zigzag_encode};

use super::derive::parsed;
use super::{BUCKET_COUNTS, COUNT, EXPONENTIAL, GAUGE, HISTOGRAM, POINTS, SUM, SUM_OF, SUMMARY, TEMPORALITY};
use crate::context::Context;
use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::functions::{Args, Function, Kind, Prepared, editor, may, need};
use crate::message::{Message, Scalar};
use crate::path::Point;
use crate::value::Value;

pub(in crate::functions) const TABLE: &[Function] = &[
    editor(
        "aggregate_on_attributes",
        &[need("aggregation_function", Kind::LiteralText), may("attributes", Kind::LiteralTexts)],
        on_attributes,
    )
    .prepared(check_function)
    .only(Context::Metric),
    editor(
        "aggregate_on_attribute_value",
        &[
            need("aggregation_function", Kind::LiteralText),
            need("attribute", Kind::LiteralText),
            need("values", Kind::LiteralTexts),
            need("new_value", Kind::LiteralText),
        ],
        on_attribute_value,
    )
    .prepared(check_function)
    .only(Context::Metric),
];

const FUNCTIONS: [&str; 6] = ["sum", "mean", "min", "max", "median", "count"];

fn check_function(args: &Args) -> Result<Prepared, String> {
    let function = args.literal_text(0).unwrap_or_default();
    match FUNCTIONS.contains(&function) {
        true => Ok(Prepared::Nothing),
        false => Err(format!(
            "invalid aggregation function: 'unsupported function: '{function}'', valid options: {}",
            FUNCTIONS.join(", ")
        )),
    }
}

/// Field of `Metric` that an aggregated one loses.
const METADATA: u32 = 12;

// Fields of histogram points (opentelemetry/proto/metrics/v1/metrics.proto).
const START: u32 = 2;
const TIME: u32 = 3;

fn on_attributes(args: &Args, frame: &mut Frame<'_>) -> Eval<()> {
    if frame.data_number == SUMMARY {
        return Err(RunError::new("aggregate_on_attributes does not support aggregating Summary metrics"));
    }
    // An empty list keeps no attribute, none keeps all.
    let kept = args.is_given(1).then(|| args.literal_texts(1));
    aggregate(args, frame, |message, attributes| {
        if let Some(kept) = &kept {
            message.map_mut(attributes)?.0.retain(|(key, _)| kept.contains(&&**key));
        }
        Ok(())
    })
}

fn on_attribute_value(args: &Args, frame: &mut Frame<'_>) -> Eval<()> {
    let attribute = args.literal_text(1).unwrap_or_default();
    let values = args.literal_texts(2);
    let new = args.literal_text(3).unwrap_or_default();
    if frame.data_number == SUMMARY {
        // Upstream groups no summaries: nothing of the points is left.
        frame.data.set_all(POINTS, Vec::new());
        frame.record.remove(METADATA);
        return Ok(());
    }
    aggregate(args, frame, |message, attributes| {
        let map = message.map_mut(attributes)?;
        let Some(place) = map.position(attribute) else { return Ok(()) };
        let is_named = match map.0[place].1.resolve_in_place()? {
            Value::Text(text) => values.contains(&&**text),
            _ => values.contains(&""),
        };
        if is_named {
            map.0[place].1 = Value::text(new);
        }
        Ok(())
    })
}

/// Changes the attributes of every point, and merges those that then are of one group.
fn aggregate(
    args: &Args,
    frame: &mut Frame<'_>,
    change: impl for<'a> Fn(&mut Message<'a>, u32) -> Eval<()>,
) -> Eval<()> {
    frame.record.remove(METADATA);
    let data = frame.data_number;
    let Some(attributes) = Point::Attributes.field(data) else { return Ok(()) };
    if data == 0 {
        return Ok(());
    }
    let is_delta = data != GAUGE && frame.data.bits(TEMPORALITY) == 1;
    let bytes = frame.data.all_bytes(POINTS);
    let mut groups: Vec<Vec<Message<'_>>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for point in &bytes {
        let mut message = parsed(point)?;
        change(&mut message, attributes)?;
        let key = group_key(&message, data, attributes, is_delta)?;
        let place = *places.entry(key).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(message),
            None => groups.push(vec![message]),
        }
    }
    let function = args.literal_text(0).unwrap_or_default();
    let mut points = Vec::with_capacity(groups.len());
    for mut group in groups {
        match data {
            GAUGE | SUM => merge_numbers(&mut group, function),
            HISTOGRAM => merge_histograms(&mut group)?,
            _ => merge_exponentials(&mut group)?,
        }
        let mut out = Vec::new();
        group[0].write(&mut out)?;
        points.push(Cow::Owned(out));
    }
    frame.data.set_all(POINTS, points);
    Ok(())
}

fn group_key(message: &Message<'_>, data: u32, attributes: u32, is_delta: bool) -> Eval<String> {
    let mut key = Value::Map(message.map(attributes)?).as_text()?;
    let mut put = |part: u64| write!(key, ",{part}").expect("writing to a string cannot fail");
    put(message.bits(TIME));
    if is_delta {
        put(message.bits(START));
    }
    if matches!(data, HISTOGRAM | EXPONENTIAL) {
        let (min, max) = extremes(data);
        put(message.has(min).into());
        put(message.has(max).into());
        put(message.bits(10));
        match data {
            HISTOGRAM => message.repeated(7, true)?.into_iter().for_each(put),
            _ => put(message.bits(6)),
        }
    }
    Ok(key)
}

/// Fields of the smallest and the largest value.
fn extremes(data: u32) -> (u32, u32) {
    if data == HISTOGRAM { (11, 12) } else { (12, 13) }
}

const DOUBLE: u32 = 4;
const INT: u32 = 6;

/// The numbers of a group become that of its first point.
fn merge_numbers(group: &mut [Message<'_>], function: &str) {
    let earliest = group.iter().map(|point| point.bits(START)).min().unwrap_or(0);
    if group[0].has(INT) {
        let of = |point: &Message<'_>| match point.has(INT) {
            true => point.bits(INT).cast_signed(),
            false => f64::from_bits(point.bits(DOUBLE)) as i64,
        };
        let all: Vec<i64> = group.iter().map(of).collect();
        // Sums count the integers only, as upstream.
        let sum = group.iter().filter(|point| point.has(INT)).map(|point| point.bits(INT).cast_signed());
        let merged = match function {
            "sum" => sum.fold(0, i64::wrapping_add),
            "mean" => sum.fold(0, i64::wrapping_add) / all.len() as i64,
            "min" => all.iter().copied().fold(all[0], i64::min),
            "max" => all.iter().copied().fold(all[0], i64::max),
            "count" if all.len() > 1 => all.len() as i64,
            "median" => median(all, i64::cmp, |a, b| a.wrapping_add(b) / 2),
            _ => all[0],
        };
        group[0].set(INT, Scalar::Fixed64(merged.cast_unsigned()));
    } else if group[0].has(DOUBLE) {
        let of = |point: &Message<'_>| match (point.has(INT), point.has(DOUBLE)) {
            (true, _) => point.bits(INT).cast_signed() as f64,
            (_, true) => f64::from_bits(point.bits(DOUBLE)),
            _ => 0.0,
        };
        let all: Vec<f64> = group.iter().map(of).collect();
        let has_nan = all.iter().any(|double| double.is_nan());
        let merged = match function {
            "sum" => all[1..].iter().fold(all[0], |sum, double| sum + double),
            "mean" => all[1..].iter().fold(all[0], |sum, double| sum + double) / all.len() as f64,
            "min" | "max" if has_nan => f64::NAN,
            "min" => all.iter().copied().fold(all[0], f64::min),
            "max" => all.iter().copied().fold(all[0], f64::max),
            "count" if all.len() > 1 => all.len() as f64,
            "median" => median(all, f64::total_cmp, f64::midpoint),
            _ => all[0],
        };
        group[0].set(DOUBLE, Scalar::Fixed64(merged.to_bits()));
    } else {
        return;
    }
    set_start(group, earliest);
}

fn set_start(group: &mut [Message<'_>], earliest: u64) {
    if earliest < group[0].bits(START) {
        group[0].set(START, Scalar::Fixed64(earliest));
    }
}

fn median<T: Copy>(
    mut all: Vec<T>,
    order: impl Fn(&T, &T) -> std::cmp::Ordering,
    middle: impl Fn(T, T) -> T,
) -> T {
    all.sort_by(order);
    let half = all.len() / 2;
    if all.len() % 2 == 1 { all[half] } else { middle(all[half - 1], all[half]) }
}

/// Adds what histograms of both kinds have: count, sum, extremes, exemplars, start.
fn merge_common(first: &mut Message<'_>, other: &Message<'_>, data: u32, exemplars: u32) {
    first.set(COUNT, Scalar::Fixed64(first.bits(COUNT).wrapping_add(other.bits(COUNT))));
    let sum = f64::from_bits(first.bits(SUM_OF)) + f64::from_bits(other.bits(SUM_OF));
    first.set(SUM_OF, Scalar::Fixed64(sum.to_bits()));
    let (min, max) = extremes(data);
    for (number, is_better) in [(min, f64::lt as fn(&f64, &f64) -> bool), (max, f64::gt)] {
        let theirs = f64::from_bits(other.bits(number));
        if first.has(number) && is_better(&theirs, &f64::from_bits(first.bits(number))) {
            first.set(number, Scalar::Fixed64(theirs.to_bits()));
        }
    }
    let mut all: Vec<Cow<'_, [u8]>> =
        first.all_bytes(exemplars).into_iter().map(|exemplar| Cow::Owned(exemplar.into_owned())).collect();
    let theirs = other.all_bytes(exemplars);
    if !theirs.is_empty() {
        all.extend(theirs.into_iter().map(|exemplar| Cow::Owned(exemplar.into_owned())));
        first.set_all(exemplars, all.into_iter().map(|e| Cow::Owned(e.into_owned())).collect());
    }
    if other.bits(START) < first.bits(START) {
        first.set(START, Scalar::Fixed64(other.bits(START)));
    }
}

fn merge_histograms(group: &mut [Message<'_>]) -> Eval<()> {
    let (first, others) = group.split_at_mut(1);
    let first = &mut first[0];
    let mut counts = first.repeated(BUCKET_COUNTS, true)?;
    for other in others.iter().filter(|other| other.bits(COUNT) != 0) {
        merge_common(first, other, HISTOGRAM, 8);
        for (count, theirs) in counts.iter_mut().zip(other.repeated(BUCKET_COUNTS, true)?) {
            *count = count.wrapping_add(theirs);
        }
    }
    if !others.is_empty() {
        first.set(BUCKET_COUNTS, Scalar::Bytes(super::packed_fixed(counts)));
    }
    Ok(())
}

/// Buckets of one sign of an exponential histogram.
struct Buckets {
    offset: i64,
    counts: Vec<u64>,
}

fn merge_exponentials(group: &mut [Message<'_>]) -> Eval<()> {
    const ZEROS: u32 = 7;
    let (first, others) = group.split_at_mut(1);
    let first = &mut first[0];
    for other in others.iter().filter(|other| other.bits(COUNT) != 0) {
        merge_common(first, other, EXPONENTIAL, 11);
        first.set(ZEROS, Scalar::Fixed64(first.bits(ZEROS).wrapping_add(other.bits(ZEROS))));
        for number in [8, 9] {
            let mut mine = read_buckets(first, number)?;
            mine.merge(&read_buckets(other, number)?)?;
            write_buckets(first, number, &mine)?;
        }
    }
    Ok(())
}

fn read_buckets(point: &Message<'_>, number: u32) -> Eval<Buckets> {
    let bytes = point.bytes(number);
    let buckets = parsed(&bytes)?;
    Ok(Buckets { offset: zigzag_decode(buckets.bits(1)), counts: buckets.repeated(2, false)? })
}

fn write_buckets(point: &mut Message<'_>, number: u32, buckets: &Buckets) -> Eval<()> {
    let mut packed = Vec::new();
    buckets.counts.iter().for_each(|count| wire::protobuf::put_varint(&mut packed, *count));
    let mut out = Vec::new();
    wire::protobuf::put_varint_field(&mut out, 1, zigzag_encode(buckets.offset));
    wire::protobuf::put_bytes_field(&mut out, 2, &packed);
    point.set(number, Scalar::Bytes(out));
    Ok(())
}

impl Buckets {
    /// Adds other buckets as upstream does, which for a lower offset puts every count that is not zero in front.
    fn merge(&mut self, other: &Self) -> Eval<()> {
        /// Most buckets that a merge may make: far more than any exponential histogram has.
        const LEN_MAX: usize = 1 << 16;
        let shift = other.offset.saturating_sub(self.offset);
        if shift < 0 {
            let front = other.counts.iter().filter(|count| **count > 0).copied();
            let front: Vec<u64> = front.chain(self.counts.iter().copied()).collect();
            self.counts = front;
        } else {
            for (index, count) in other.counts.iter().enumerate() {
                if *count == 0 && shift != 0 {
                    continue;
                }
                let place = usize::try_from(shift).unwrap_or(usize::MAX).saturating_add(index);
                if place >= LEN_MAX {
                    return Err(RunError::new(format!(
                        "merged exponential histograms would have more than {LEN_MAX} buckets"
                    )));
                }
                if place >= self.counts.len() {
                    self.counts.resize(place + 1, 0);
                }
                self.counts[place] = self.counts[place].wrapping_add(*count);
            }
        }
        if shift != 0 && !other.counts.is_empty() {
            self.offset = self.offset.min(other.offset);
            let zeros = self.counts.iter().take_while(|count| **count == 0).count();
            self.counts.drain(..zeros);
        }
        Ok(())
    }
}
