//! Checks on a whole tree that no single production can make.

use super::ast::{Expr, LogExpr, MetricExpr, MetricKind};
use crate::{LogqlError, LogqlResult};

const MATCHER_REQUIRED: &str = "queries require at least one regexp or equality matcher that does not have an \
     empty-compatible value. For instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will";

/// Every selector must narrow the streams: at least one matcher that an absent label does not satisfy.
pub(super) fn require_matchers(expr: &Expr) -> LogqlResult<()> {
    match expr {
        Expr::Log(log) => require_in_log(log),
        Expr::Metric(metric) => require_in_metric(metric),
    }
}

fn require_in_metric(metric: &MetricExpr) -> LogqlResult<()> {
    match &metric.kind {
        MetricKind::Range(range) => require_in_log(&range.range.log),
        MetricKind::Vector(vector) => require_in_metric(&vector.inner),
        MetricKind::Binary(binary) => {
            require_in_metric(&binary.left)?;
            require_in_metric(&binary.right)
        }
        MetricKind::LabelReplace(replace) => require_in_metric(&replace.inner),
        MetricKind::Literal(_) | MetricKind::Constant(_) => Ok(()),
    }
}

fn require_in_log(log: &LogExpr) -> LogqlResult<()> {
    for matcher in &log.matchers {
        if !matcher.to_matcher()?.matches_empty() {
            return Ok(());
        }
    }
    Err(LogqlError::parse(MATCHER_REQUIRED))
}
