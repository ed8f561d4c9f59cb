//! `and`, `or`, `unless`: which samples stay depends only on which signatures are present at a step.

use super::Evaluator;
use super::column::SeriesColumn;
use super::grid::Grid;
use super::join::Signatures;
use super::merge::{Duplicates, merge};
use super::source::Source;
use crate::error::PromqlResult;
use crate::syntax::{Binary, BinaryOp, Matching};

impl<'q> Evaluator<'q> {
    pub(super) fn set_operator(
        &self,
        binary: &'q Binary,
        matching: &'q Matching,
        grid: Grid,
    ) -> PromqlResult<Source<'q>> {
        let mut lhs = self.vector(&binary.lhs, grid)?;
        let mut rhs = self.vector(&binary.rhs, grid)?;
        let mut signatures = Signatures::default();
        let left = signatures.group(&lhs, matching);
        let right = signatures.group(&rhs, matching);
        self.context.hold_columns(signatures.len() / 8 + 1, grid.steps)?;
        let is_or = binary.op == BinaryOp::Or;
        let (kept_by, kept_of) = if is_or { (&lhs, &left) } else { (&rhs, &right) };
        let present = presence(kept_by, kept_of, signatures.len(), grid.steps);
        match binary.op {
            BinaryOp::And => keep(&mut lhs, &left, &present, grid.steps, true),
            BinaryOp::Unless => keep(&mut lhs, &left, &present, grid.steps, false),
            _ => {
                keep(&mut rhs, &right, &present, grid.steps, false);
                lhs.append(&mut rhs);
            }
        }
        lhs.retain(|series| !series.column.is_empty());
        Ok(Source::ready(if is_or { merge(lhs, Duplicates::Merge)? } else { lhs }))
    }
}

/// For each signature and step whether some series has a sample.
fn presence(series: &[SeriesColumn], ordinals: &[usize], count: usize, steps: usize) -> Vec<bool> {
    let mut present = vec![false; count * steps];
    for (series, ordinal) in series.iter().zip(ordinals) {
        for (step, present) in present[ordinal * steps..][..steps].iter_mut().enumerate() {
            *present |= series.column.is_present(step);
        }
    }
    present
}

/// Keeps the samples whose signature's presence is `wanted`.
fn keep(series: &mut [SeriesColumn], ordinals: &[usize], present: &[bool], steps: usize, wanted: bool) {
    for (series, ordinal) in series.iter_mut().zip(ordinals) {
        for step in 0..steps {
            if present[ordinal * steps + step] != wanted {
                series.column.clear_at(step);
            }
        }
    }
}
