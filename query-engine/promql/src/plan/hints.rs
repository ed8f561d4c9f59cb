//! Selects of their own for selectors in different surroundings, for stores that want to know these.
//!
//! Times and functions are exactly those that Prometheus' engine hands to a store (promql/engine.go: `FindMinMaxTime`,
//! `getTimeRangesForSelector`, `extractFuncFromPath`), since deduplication depends on where it begins.

use model::TimeRange;
use storage_api::SelectHints;

use super::{Plan, PlanContext, Select};
use crate::syntax::{At, Expr, ExprKind, VectorSelector};

/// Gives every selector a select that only selectors of the same surroundings share, and says what these are.
pub(crate) fn split(plan: &mut Plan, context: &PlanContext) -> Vec<SelectHints> {
    let mut splitter =
        Splitter { context, old: std::mem::take(&mut plan.selects), selects: Vec::new(), hints: Vec::new() };
    splitter.visit(&mut plan.expr, "", Path::default());
    let Splitter { selects, mut hints, .. } = splitter;
    let ranges = selects.iter().map(|select| select.range);
    let bounds = ranges.reduce(|all, range| TimeRange::new(all.min.min(range.min), all.max.max(range.max)));
    hints.iter_mut().for_each(|one| one.bounds = bounds.unwrap_or(TimeRange::ALL));
    plan.selects = selects;
    hints
}

/// The subqueries around an expression (`subqueryTimes`).
#[derive(Clone, Copy, Default)]
struct Path {
    offset_ms: i64,
    range_ms: i64,
    at_ms: Option<i64>,
}

struct Splitter<'c> {
    context: &'c PlanContext,
    old: Vec<Select>,
    selects: Vec<Select>,
    hints: Vec<SelectHints>,
}

impl Splitter<'_> {
    fn visit(&mut self, expr: &mut Expr, function: &str, path: Path) {
        match &mut expr.kind {
            ExprKind::Vector(selector) => self.selector(selector, 0, function, path),
            ExprKind::Matrix(matrix) => {
                let range_ms = matrix.range.ms;
                self.selector(&mut matrix.vector, range_ms, function, path);
            }
            ExprKind::Subquery(subquery) => {
                let (offset_ms, range_ms) = (subquery.offset.ms, subquery.range.ms);
                let path = match timestamp(subquery.at) {
                    // `@` makes nothing of what is outside.
                    Some(at) => Path { offset_ms, range_ms, at_ms: Some(at) },
                    None => Path {
                        offset_ms: path.offset_ms.saturating_add(offset_ms),
                        range_ms: path.range_ms.saturating_add(range_ms),
                        ..path
                    },
                };
                self.visit(&mut subquery.expr, function, path);
            }
            ExprKind::Call(call) => {
                let name = call.function.name;
                call.args.iter_mut().for_each(|arg| self.visit(arg, name, path));
            }
            ExprKind::Aggregate(aggregate) => {
                let name = aggregate.op.name();
                if let Some(param) = &mut aggregate.param {
                    self.visit(param, name, path);
                }
                self.visit(&mut aggregate.expr, name, path);
            }
            ExprKind::Binary(binary) => {
                self.visit(&mut binary.lhs, "", path);
                self.visit(&mut binary.rhs, "", path);
            }
            _ => {
                for child in expr.children_mut() {
                    self.visit(child, function, path);
                }
            }
        }
    }

    fn selector(&mut self, selector: &mut VectorSelector, range_ms: i64, function: &str, path: Path) {
        let matchers = self.old[selector.slot].matchers.clone();
        let select = Select { matchers, range: self.time_range(selector, range_ms, path) };
        let hints = SelectHints { function: function.to_owned(), range_ms, ..SelectHints::default() };
        let same = self.selects.iter().zip(&self.hints).position(|known| known == (&select, &hints));
        selector.slot = same.unwrap_or_else(|| {
            self.selects.push(select);
            self.hints.push(hints);
            self.selects.len() - 1
        });
    }

    /// What Prometheus reads for a selector; anchored and smoothed ones, which it reads wider, keep what was planned.
    fn time_range(&self, selector: &VectorSelector, range_ms: i64, path: Path) -> TimeRange {
        let planned = self.old[selector.slot].range;
        if selector.extension != crate::syntax::Extension::None {
            return planned;
        }
        let context = self.context;
        let (start, end) = match (timestamp(selector.at), path.at_ms) {
            (Some(at), _) => (at, at),
            (None, at) => {
                let (start, end) = at.map_or((context.grid.start_ms, context.end_ms), |at| (at, at));
                let start = start.saturating_sub(path.offset_ms).saturating_sub(path.range_ms);
                (start, end.saturating_sub(path.offset_ms))
            }
        };
        let before = if range_ms == 0 { context.lookback_ms } else { range_ms };
        let offset = selector.offset.ms;
        // Ranges are open on the left.
        let start = start.saturating_sub(before).saturating_add(1).saturating_sub(offset);
        TimeRange::new(start, end.saturating_sub(offset))
    }
}

fn timestamp(at: Option<At>) -> Option<i64> {
    match at {
        Some(At::Timestamp(ms)) => Some(ms),
        Some(At::Start | At::End) | None => None,
    }
}
