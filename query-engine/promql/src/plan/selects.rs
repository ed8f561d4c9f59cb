//! The last step of planning: which series are read and over which exact time range.

use model::{Matcher, TimeRange};

use super::{PlanContext, Select};
use crate::exec::grid::{Grid, Reference};
use crate::syntax::{Expr, ExprKind, Extension, VectorSelector};

/// Numbers the selectors of `expr` and lists what they read.
pub(super) fn collect(expr: &mut Expr, context: &PlanContext) -> Vec<Select> {
    let mut collector = Collector { context, selects: Vec::new() };
    collector.visit(expr, context.grid);
    collector.selects
}

struct Collector<'c> {
    context: &'c PlanContext,
    selects: Vec<Select>,
}

impl Collector<'_> {
    fn visit(&mut self, expr: &mut Expr, grid: Grid) {
        match &mut expr.kind {
            ExprKind::Vector(selector) => self.selector(selector, grid, 0),
            ExprKind::Matrix(matrix) => {
                let range = matrix.range.ms;
                self.selector(&mut matrix.vector, grid, range);
            }
            ExprKind::Subquery(subquery) => {
                let reference = Reference::new(subquery.at, subquery.offset.ms);
                let step = match subquery.step.ms {
                    0 => self.context.subquery_step_ms,
                    step => step,
                };
                let inner = Grid::of_subquery(grid, reference, subquery.range.ms, step);
                self.visit(&mut subquery.expr, inner);
            }
            ExprKind::StepInvariant(inner) => self.visit(inner, grid.first_step()),
            _ => {
                for child in expr.children_mut() {
                    self.visit(child, grid);
                }
            }
        }
    }

    fn selector(&mut self, selector: &mut VectorSelector, grid: Grid, range_ms: i64) {
        let range = self.time_range(selector, grid, range_ms);
        selector.slot = self.slot(selector.matchers.clone(), range);
    }

    fn time_range(&self, selector: &VectorSelector, grid: Grid, range_ms: i64) -> TimeRange {
        let reference = Reference::new(selector.at, selector.offset.ms);
        let lookback = self.context.lookback_ms;
        let (before, after) = match (range_ms, selector.extension) {
            (0, Extension::Smoothed) => (lookback, lookback),
            (0, _) => (lookback, 0),
            (range, Extension::None) => (range, 0),
            (range, Extension::Anchored) => (range.saturating_add(lookback), 0),
            (range, Extension::Smoothed) => (range.saturating_add(lookback), lookback),
        };
        let first = reference.at(grid, 0);
        let last = reference.at(grid, grid.steps.saturating_sub(1));
        // Ranges are open on the left.
        TimeRange::new(first.saturating_sub(before).saturating_add(1), last.saturating_add(after))
    }

    /// The place of a select, shared where possible.
    fn slot(&mut self, matchers: Vec<Matcher>, range: TimeRange) -> usize {
        let shared = self.selects.iter().position(|s| s.matchers == matchers && s.range.overlaps(range));
        if let Some(index) = shared {
            let known = &mut self.selects[index].range;
            known.min = known.min.min(range.min);
            known.max = known.max.max(range.max);
            return index;
        }
        self.selects.push(Select { matchers, range });
        self.selects.len() - 1
    }
}
