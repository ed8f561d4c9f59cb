//! Rewrite: `start()`, `end()`, `range()` and `step()` are numbers once the query's range is known.

use super::PlanContext;
use crate::syntax::{Expr, ExprKind};

pub(super) fn fold_context_functions(expr: &mut Expr, context: &PlanContext) {
    if let ExprKind::Call(call) = &expr.kind {
        let start = context.grid.start_ms;
        let ms = match call.function.name {
            "start" => Some(start),
            "end" => Some(context.end_ms),
            "range" => Some(context.end_ms - start),
            "step" if context.end_ms == start => Some(0),
            "step" => Some(context.step_ms),
            _ => None,
        };
        if let Some(ms) = ms {
            expr.kind = ExprKind::Number { value: ms as f64 / 1000.0, is_duration: false };
            return;
        }
    }
    for child in expr.children_mut() {
        fold_context_functions(child, context);
    }
}
