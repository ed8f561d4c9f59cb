//! Binary operations: arithmetic, comparisons and set operations between series and numbers
//! (`vectorBinop` and friends in Loki's pkg/logql/evaluator.go).

use hashbrown::HashMap;
use model::{ErrorKind, Labels};

use super::series::{Point, Series, SeriesBuilder, SeriesSet};
use crate::syntax::{BinaryExpr, BinaryOp, Cardinality, CompareOp, Matching};
use crate::{LogqlError, LogqlResult};

impl BinaryOp {
    /// The operation on two numbers; comparisons give 0 or 1. Division and remainder by zero give NaN, as in Loki.
    pub(crate) fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Sub => left - right,
            Self::Mul => left * right,
            Self::Div if right == 0.0 => f64::NAN,
            Self::Div => left / right,
            Self::Mod if right == 0.0 => f64::NAN,
            Self::Mod => left % right,
            Self::Pow => left.powf(right),
            Self::Compare(op) => f64::from(u8::from(op.holds(&left, &right))),
            Self::Or | Self::And | Self::Unless => f64::NAN,
        }
    }
}

/// What a pair of values gives: a comparison without `bool` keeps `kept` where it holds.
fn outcome(op: BinaryOp, return_bool: bool, left: f64, right: f64, kept: f64) -> Option<f64> {
    match op {
        BinaryOp::Compare(op) if !return_bool => holds(op, left, right).then_some(kept),
        _ => Some(op.apply(left, right)),
    }
}

fn holds(op: CompareOp, left: f64, right: f64) -> bool {
    op.holds(&left, &right)
}

/// An operation between series and a number, which stands left or right.
pub(super) fn with_number(
    binary: &BinaryExpr,
    mut series: SeriesSet,
    number: f64,
    number_left: bool,
) -> SeriesSet {
    for series in &mut series {
        series.points.retain_mut(|(_, value)| {
            let (left, right) = if number_left { (number, *value) } else { (*value, number) };
            match outcome(binary.op, binary.return_bool, left, right, *value) {
                Some(result) => {
                    *value = result;
                    true
                }
                None => false,
            }
        });
    }
    series.retain(|series| !series.points.is_empty());
    series
}

/// An operation between two sets of series.
pub(super) fn between(binary: &BinaryExpr, left: SeriesSet, right: SeriesSet) -> LogqlResult<SeriesSet> {
    match binary.op {
        BinaryOp::And => Ok(filter_by(&binary.matching, left, &right, true)),
        BinaryOp::Unless => Ok(filter_by(&binary.matching, left, &right, false)),
        BinaryOp::Or => {
            let added = filter_by(&binary.matching, right, &left, false);
            Ok(union(left, added))
        }
        _ => join(binary, left, right),
    }
}

/// The labels by which series of the two sides meet.
fn signature(matching: &Matching, labels: &Labels) -> Labels {
    let named = |name: &str| matching.labels.iter().any(|label| label == name);
    if matching.on { labels.without(|name| !named(name)) } else { labels.without(named) }
}

/// Points of `series` at steps where `others` have (`wanted`) or lack a series with the same signature.
fn filter_by(matching: &Matching, series: SeriesSet, others: &SeriesSet, wanted: bool) -> SeriesSet {
    let mut steps: HashMap<Labels, Vec<u32>> = HashMap::new();
    for other in others {
        let known = steps.entry(signature(matching, &other.labels)).or_default();
        known.extend(other.points.iter().map(|(step, _)| *step));
    }
    steps.values_mut().for_each(|steps| steps.sort_unstable());
    let keep = |mut series: Series| {
        let other = steps.get(&signature(matching, &series.labels)).map_or(&[][..], Vec::as_slice);
        series.points.retain(|(step, _)| other.binary_search(step).is_ok() == wanted);
        (!series.points.is_empty()).then_some(series)
    };
    series.into_iter().filter_map(keep).collect()
}

/// Both sets; a label set in both is one series. Where `on` lets both sides give a point at one step, left wins.
fn union(left: SeriesSet, right: SeriesSet) -> SeriesSet {
    let mut index: HashMap<Labels, usize> = HashMap::new();
    let mut output: SeriesSet = Vec::with_capacity(left.len() + right.len());
    for series in left.into_iter().chain(right) {
        match index.get(&series.labels) {
            Some(&position) => {
                let points: &mut Vec<Point> = &mut output[position].points;
                points.extend(series.points);
                points.sort_by_key(|(step, _)| *step);
                points.dedup_by_key(|(step, _)| *step);
            }
            None => {
                index.insert(series.labels.clone(), output.len());
                output.push(series);
            }
        }
    }
    output
}

/// A value of the "one" side at a step, and the series it comes from.
type OnePoint = (u32, f64, usize);

fn join(binary: &BinaryExpr, left: SeriesSet, right: SeriesSet) -> LogqlResult<SeriesSet> {
    let matching = &binary.matching;
    let swapped = matching.cardinality == Cardinality::OneToMany;
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let one_points = index_one_side(matching, &one, if swapped { "left" } else { "right" })?;
    let mut matched: HashMap<(Labels, u32), ()> = HashMap::new();
    // What a comparison leaves out counts as a match all the same (`vectorBinop` in pkg/logql/evaluator.go).
    let leaves_out = matches!(binary.op, BinaryOp::Compare(_)) && !binary.return_bool;
    let mut left_out: HashMap<(Labels, Labels, u32), ()> = HashMap::new();
    let mut builder = SeriesBuilder::default();
    for series in &many {
        let signature = signature(matching, &series.labels);
        let Some(points) = one_points.get(&signature) else { continue };
        for (point, (step, other, source)) in meet(&series.points, points) {
            if matching.cardinality == Cardinality::OneToOne
                && matched.insert((signature.clone(), step), ()).is_some()
            {
                return Err(many_matches("many-to-one matching must be explicit (group_left/group_right)"));
            }
            let (a, b) = if swapped { (other, point.1) } else { (point.1, other) };
            let value = outcome(binary.op, binary.return_bool, a, b, a);
            let labels = result_labels(matching, &series.labels, &one[source].labels);
            if leaves_out
                && matching.cardinality != Cardinality::OneToOne
                && left_out.insert((signature.clone(), labels.clone(), step), ()).is_some()
            {
                return Err(many_matches("grouping labels must ensure unique matches"));
            }
            if let Some(value) = value {
                builder.points(&labels).push((step, value));
            }
        }
    }
    builder.build().ok_or_else(|| many_matches("grouping labels must ensure unique matches"))
}

fn many_matches(reason: &str) -> LogqlError {
    LogqlError::new(ErrorKind::Invalid, format!("multiple matches for labels: {reason}"))
}

/// Points of the "one" side by signature, ascending by step; two series at one step are an error.
fn index_one_side(
    matching: &Matching,
    one: &SeriesSet,
    side: &str,
) -> LogqlResult<HashMap<Labels, Vec<OnePoint>>> {
    let mut index: HashMap<Labels, Vec<OnePoint>> = HashMap::new();
    for (source, series) in one.iter().enumerate() {
        let points = index.entry(signature(matching, &series.labels)).or_default();
        points.extend(series.points.iter().map(|&(step, value)| (step, value, source)));
    }
    for points in index.values_mut() {
        points.sort_by_key(|(step, ..)| *step);
        if points.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(LogqlError::new(
                ErrorKind::Invalid,
                format!(
                    "found duplicate series on the {side} hand-side;many-to-many matching not allowed: matching \
                     labels must be unique on one side"
                ),
            ));
        }
    }
    Ok(index)
}

/// Pairs of points at equal steps.
fn meet<'a>(points: &'a [Point], others: &'a [OnePoint]) -> impl Iterator<Item = (Point, OnePoint)> + 'a {
    let mut next = 0;
    points.iter().filter_map(move |&point| {
        next += others[next..].partition_point(|(step, ..)| *step < point.0);
        others.get(next).filter(|(step, ..)| *step == point.0).map(|&other| (point, other))
    })
}

fn result_labels(matching: &Matching, many: &Labels, one: &Labels) -> Labels {
    let kept = match matching.cardinality {
        Cardinality::OneToOne if matching.on || !matching.labels.is_empty() => signature(matching, many),
        _ => many.clone(),
    };
    let include = matching.include.as_deref().unwrap_or_default();
    if include.is_empty() {
        return kept;
    }
    let mut builder = kept.to_builder();
    for name in include {
        // An empty value removes the label, which is what an absent one on the other side asks for.
        builder.set(name, one.get(name).unwrap_or(""));
    }
    builder.build()
}
