//! Arithmetic and comparison between two vectors: series are paired once by their signature, then column by column.

use hashbrown::HashMap;
use model::{Labels, METRIC_NAME};

use super::Evaluator;
use super::binary::{Computed, arithmetic, compare, sample_op};
use super::column::{Cell, Column, Key, SeriesColumn, is_float};
use super::grid::Grid;
use super::merge::{Duplicates, merge, without_metadata};
use super::parallel;
use super::source::Source;
use crate::error::{PromqlError, PromqlResult};
use crate::syntax::{Binary, BinaryOp, Cardinality, Matching, Span};

/// The labels by which series of two vectors meet.
pub(super) fn signature(labels: &Labels, matching: &Matching) -> Labels {
    if matching.is_on {
        labels.without(|name| !matching.labels.iter().any(|l| l == name))
    } else {
        labels.without(|name| name == METRIC_NAME || matching.labels.iter().any(|l| l == name))
    }
}

/// Numbers signatures in the order in which they are met.
#[derive(Default)]
pub(super) struct Signatures {
    ordinals: HashMap<Labels, usize>,
}

impl Signatures {
    /// Positions of `series` by signature.
    pub(super) fn group(&mut self, series: &[SeriesColumn], matching: &Matching) -> Vec<usize> {
        series
            .iter()
            .map(|s| {
                let next = self.ordinals.len();
                *self.ordinals.entry(signature(&s.key.labels, matching)).or_insert(next)
            })
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.ordinals.len()
    }
}

/// Positions of series, by the ordinal of their signature.
fn by_ordinal(ordinals: &[usize], count: usize) -> Vec<Vec<usize>> {
    let mut positions = vec![Vec::new(); count];
    for (position, ordinal) in ordinals.iter().enumerate() {
        positions[*ordinal].push(position);
    }
    positions
}

/// One output column: the series it is made from.
#[derive(Clone, Copy)]
struct Pair {
    many: Option<usize>,
    one: Option<usize>,
    ordinal: usize,
}

/// First and last step at which each series of the two sides has a sample.
struct Present {
    many: Vec<Option<(usize, usize)>>,
    one: Vec<Option<(usize, usize)>>,
}

fn meets(a: Option<(usize, usize)>, b: Option<(usize, usize)>) -> bool {
    matches!((a, b), (Some((a_first, a_last)), Some((b_first, b_last))) if a_first <= b_last && b_first <= a_last)
}

struct Join<'j> {
    op: BinaryOp,
    return_bool: bool,
    matching: &'j Matching,
    span: Span,
    delayed_name_removal: bool,
    /// The side of which several series may have one signature; the right one for `group_right`.
    many: Vec<SeriesColumn>,
    one: Vec<SeriesColumn>,
    many_of: Vec<Vec<usize>>,
    one_of: Vec<Vec<usize>>,
    steps: usize,
    /// Value of a missing series of each side.
    fill_many: Option<f64>,
    fill_one: Option<f64>,
}

impl<'q> Evaluator<'q> {
    pub(super) fn join(
        &self,
        binary: &'q Binary,
        matching: &'q Matching,
        span: Span,
        grid: Grid,
    ) -> PromqlResult<Source<'q>> {
        let lhs = self.vector(&binary.lhs, grid)?;
        let rhs = self.vector(&binary.rhs, grid)?;
        let is_swapped = matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if is_swapped { (rhs, lhs) } else { (lhs, rhs) };
        let mut signatures = Signatures::default();
        let many_ordinals = signatures.group(&many, matching);
        let one_ordinals = signatures.group(&one, matching);
        let (fill_many, fill_one) = (matching.fill_left, matching.fill_right);
        let join = Join {
            op: binary.op,
            return_bool: binary.return_bool,
            matching,
            span,
            delayed_name_removal: self.context.delayed_name_removal,
            many_of: by_ordinal(&many_ordinals, signatures.len()),
            one_of: by_ordinal(&one_ordinals, signatures.len()),
            many,
            one,
            steps: grid.steps,
            fill_many,
            fill_one,
        };
        if (join.many.is_empty() || join.one.is_empty()) && fill_many.is_none() && fill_one.is_none() {
            return Ok(Source::ready(Vec::new()));
        }
        join.check_one_side()?;
        let context = self.context;
        let present = join.present();
        context.hold_columns(join.pair_count(&present), grid.steps)?;
        let pairs = join.pairs(&present);
        let keys: Vec<Key> = pairs.iter().map(|pair| join.key(*pair)).collect();
        join.check_many_side(&pairs, &keys)?;
        let columns = parallel::map(context, pairs.len(), grid.steps, |index, _| {
            let mut column = Column::absent(join.steps);
            for note in join.fill_column(pairs[index], &mut column) {
                context.annotate(note);
            }
            Ok(column)
        })?;
        let series = keys
            .into_iter()
            .zip(columns)
            .map(|(key, column)| SeriesColumn { key, column })
            .filter(|series| !series.column.is_empty())
            .collect();
        Ok(Source::ready(merge(series, Duplicates::Merge)?))
    }
}

impl Join<'_> {
    /// Steps at which both sides have samples, or a missing one is filled in: elsewhere nothing is matched.
    fn active_steps(&self) -> Vec<bool> {
        let any = |series: &[SeriesColumn], step| series.iter().any(|s| s.column.is_present(step));
        let fills = self.fill_many.is_some() || self.fill_one.is_some();
        (0..self.steps).map(|step| fills || (any(&self.many, step) && any(&self.one, step))).collect()
    }

    /// The "one" side must have one sample per signature and step.
    fn check_one_side(&self) -> PromqlResult<()> {
        let mut active = None;
        for ones in self.one_of.iter().filter(|ones| ones.len() > 1) {
            let active = active.get_or_insert_with(|| self.active_steps());
            for step in (0..self.steps).filter(|step| active[*step]) {
                let mut present = ones.iter().filter(|&&one| self.one[one].column.is_present(step));
                if let (Some(&first), Some(&second)) = (present.next(), present.next()) {
                    return Err(self.duplicate(first, second));
                }
            }
        }
        Ok(())
    }

    fn duplicate(&self, first: usize, second: usize) -> PromqlError {
        let side = if self.matching.cardinality == Cardinality::OneToMany { "left" } else { "right" };
        let labels = &self.one[second].key.labels;
        let group = self.match_labels(labels);
        let (mut a, mut b) = (self.one[first].key.labels.to_string(), labels.to_string());
        if a > b {
            std::mem::swap(&mut a, &mut b);
        }
        PromqlError::execution(format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{a}, {b}]\
             ;many-to-many matching not allowed: matching labels must be unique on one side"
        ))
    }

    /// The labels that matched, as Prometheus shows them.
    fn match_labels(&self, labels: &Labels) -> Labels {
        signature(labels, self.matching)
    }

    fn present(&self) -> Present {
        let of = |series: &[SeriesColumn]| {
            let steps = |s: &SeriesColumn| {
                let first = (0..self.steps).find(|step| s.column.is_present(*step))?;
                Some((first, (0..self.steps).rfind(|step| s.column.is_present(*step))?))
            };
            series.iter().map(steps).collect()
        };
        Present { many: of(&self.many), one: of(&self.one) }
    }

    /// How many [`Join::pairs`] there are, told without making them: series that come and go under one signature would
    /// make more of them than there is memory.
    fn pair_count(&self, present: &Present) -> usize {
        let mut count = 0usize;
        for (manys, ones) in self.many_of.iter().zip(&self.one_of) {
            let mut firsts: Vec<usize> = ones.iter().filter_map(|&one| Some(present.one[one]?.0)).collect();
            let mut lasts: Vec<usize> = ones.iter().filter_map(|&one| Some(present.one[one]?.1)).collect();
            firsts.sort_unstable();
            lasts.sort_unstable();
            for (first, last) in manys.iter().filter_map(|&many| present.many[many]) {
                let begun = firsts.partition_point(|start| *start <= last);
                let over = lasts.partition_point(|end| *end < first);
                count = count.saturating_add(begun - over);
            }
            count = count.saturating_add(if self.fill_one.is_some() { manys.len() } else { 0 });
            count = count.saturating_add(if self.fill_many.is_some() { ones.len() } else { 0 });
        }
        count
    }

    /// Series of one signature whose samples may meet, and what is filled in.
    fn pairs(&self, present: &Present) -> Vec<Pair> {
        let mut pairs = Vec::with_capacity(self.many.len());
        for (ordinal, (manys, ones)) in self.many_of.iter().zip(&self.one_of).enumerate() {
            for &many in manys {
                let meet = ones.iter().filter(|&&one| meets(present.many[many], present.one[one]));
                pairs.extend(meet.map(|&one| Pair { many: Some(many), one: Some(one), ordinal }));
                if self.fill_one.is_some() {
                    pairs.push(Pair { many: Some(many), one: None, ordinal });
                }
            }
            if self.fill_many.is_some() {
                pairs.extend(ones.iter().map(|&one| Pair { many: None, one: Some(one), ordinal }));
            }
        }
        // In the order of the "many" side, then what was filled in for it.
        pairs.sort_by_key(|pair| (pair.many.is_none(), pair.many, pair.one.is_none(), pair.one));
        pairs
    }

    /// Labels of a result.
    fn key(&self, pair: Pair) -> Key {
        let many = pair.many.map(|many| &self.many[many].key.labels);
        let one = pair.one.map(|one| &self.one[one].key.labels);
        let filled;
        let base = match (many, one) {
            (Some(many), _) => many,
            (None, Some(one)) => {
                filled = self.match_labels(one);
                &filled
            }
            (None, None) => unreachable!("a pair has a series"),
        };
        let drops_name = self.op.changes_metric() || (self.return_bool && !self.delayed_name_removal);
        let mut labels = if drops_name { without_metadata(base) } else { base.clone() };
        let matching = self.matching;
        if matching.cardinality == Cardinality::OneToOne {
            labels = labels.without(|name| matching.labels.iter().any(|l| l == name) != matching.is_on);
        }
        if !matching.include.is_empty() {
            let mut builder = labels.to_builder();
            let from = match one {
                Some(one) => one.clone(),
                None => self.match_labels(base),
            };
            for name in &matching.include {
                builder.set(name, from.get(name).unwrap_or(""));
            }
            labels = builder.build();
        }
        Key { labels, drop_name: self.return_bool }
    }

    /// No two samples of the "many" side may become one result at one step.
    fn check_many_side(&self, pairs: &[Pair], keys: &[Key]) -> PromqlResult<()> {
        let is_one_to_one = self.matching.cardinality == Cardinality::OneToOne;
        let mut pairs_of: Vec<Vec<usize>> = vec![Vec::new(); self.many_of.len()];
        for (index, pair) in pairs.iter().enumerate().filter(|(_, pair)| pair.many.is_some()) {
            pairs_of[pair.ordinal].push(index);
        }
        for group in pairs_of.iter().filter(|group| group.len() > 1) {
            let mut seen: HashMap<Option<&Labels>, Vec<bool>> = HashMap::new();
            for &index in group {
                let result = (!is_one_to_one).then_some(&keys[index].labels);
                let steps = seen.entry(result).or_insert_with(|| vec![false; self.steps]);
                for (step, seen) in steps.iter_mut().enumerate() {
                    if self.operands(pairs[index], step).is_none() {
                        continue;
                    }
                    if std::mem::replace(seen, true) {
                        return Err(PromqlError::execution(if is_one_to_one {
                            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                        } else {
                            "multiple matches for labels: grouping labels must ensure unique matches"
                        }));
                    }
                }
            }
        }
        Ok(())
    }

    /// The two samples of a pair at a step, left and right, if the pair has a result there.
    fn operands(&self, pair: Pair, step: usize) -> Option<(Cell<'_>, Cell<'_>)> {
        let present = |of: &[usize], series: &[SeriesColumn]| {
            of.iter().any(|&index| series[index].column.is_present(step))
        };
        let many = match pair.many {
            Some(many) => self.many[many].column.get(step)?,
            None if present(&self.many_of[pair.ordinal], &self.many) => return None,
            None => Cell::Float(self.fill_many?),
        };
        let one = match pair.one {
            Some(one) => self.one[one].column.get(step)?,
            None if present(&self.one_of[pair.ordinal], &self.one) => return None,
            None => Cell::Float(self.fill_one?),
        };
        Some(if self.matching.cardinality == Cardinality::OneToMany { (one, many) } else { (many, one) })
    }

    fn fill_column(&self, pair: Pair, out: &mut Column) -> Vec<crate::annotations::Annotation> {
        if let (Some(many), Some(one)) = (pair.many, pair.one) {
            let (many, one) = (&self.many[many].column, &self.one[one].column);
            if !many.has_histograms() && !one.has_histograms() && !is_trim(self.op) {
                let is_swapped = self.matching.cardinality == Cardinality::OneToMany;
                let (left, right) = if is_swapped { (one, many) } else { (many, one) };
                self.float_columns(&left.values, &right.values, &mut out.values);
                return Vec::new();
            }
        }
        let mut notes = Vec::new();
        for step in 0..self.steps {
            let Some((left, right)) = self.operands(pair, step) else { continue };
            let outcome = sample_op(self.op, left, right, self.span);
            notes.extend(outcome.notes);
            let Some(value) = outcome.value else { continue };
            let holds = match &value {
                Computed::Float(_, holds) | Computed::Histogram(_, holds) => *holds,
            };
            if self.return_bool {
                out.values[step] = f64::from(u8::from(holds));
            } else if holds {
                out.set_computed(step, value);
            }
        }
        notes
    }

    fn float_columns(&self, left: &[f64], right: &[f64], out: &mut [f64]) {
        let present = left.iter().zip(right).zip(out).filter(|((l, r), _)| is_float(**l) && is_float(**r));
        if !self.op.is_comparison() {
            for ((left, right), out) in present {
                *out = arithmetic(self.op, *left, *right);
            }
        } else if self.return_bool {
            for ((left, right), out) in present {
                *out = f64::from(u8::from(compare(self.op, *left, *right)));
            }
        } else {
            for ((left, right), out) in present {
                if compare(self.op, *left, *right) {
                    *out = *left;
                }
            }
        }
    }
}

fn is_trim(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::TrimLower | BinaryOp::TrimUpper)
}
