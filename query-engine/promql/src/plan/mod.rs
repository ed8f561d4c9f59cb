//! A checked syntax tree to a plan: rewrites, one file each, then the list of selects with their time ranges.
//!
//! Planning is pure: a function of the tree, the time range and the settings.

mod durations;
mod fold;
mod hints;
mod histogram_stats;
mod info;
mod invariant;
mod selects;

use model::{Matcher, TimeRange};

use crate::error::PromqlResult;
use crate::exec::grid::Grid;
use crate::syntax::Expr;

pub(crate) use hints::split;
pub(crate) use info::{INFO_LABELS, info_name_matchers};

/// What planning needs to know beside the tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlanContext {
    /// The steps of the query.
    pub(crate) grid: Grid,
    /// End of the range that was asked for; the last step may lie before it.
    pub(crate) end_ms: i64,
    /// The step that was asked for; 0 for an instant query.
    pub(crate) step_ms: i64,
    /// How far back an instant selector looks.
    pub(crate) lookback_ms: i64,
    /// Step of subqueries that name none.
    pub(crate) subquery_step_ms: i64,
}

/// One read from storage. Selectors with the same matchers and overlapping ranges share one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Select {
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) range: TimeRange,
}

/// A query that is ready to be evaluated.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) expr: Expr,
    pub(crate) selects: Vec<Select>,
}

/// Plans `expr`.
pub(crate) fn plan(mut expr: Expr, context: &PlanContext) -> PromqlResult<Plan> {
    histogram_stats::skip_buckets(&mut expr);
    fold::fold_context_functions(&mut expr, context);
    durations::evaluate_durations(&mut expr, context)?;
    invariant::wrap_step_invariants(&mut expr, context);
    let selects = selects::collect(&mut expr, context);
    Ok(Plan { expr, selects })
}
