//! Rewrite: selectors under `histogram_count`, `histogram_sum` and `histogram_avg` need no buckets.
//!
//! Not inside a subquery, where resets are found by comparing buckets, nor where something else needs them.

use crate::syntax::{BinaryOp, Expr, ExprKind};

pub(super) fn skip_buckets(expr: &mut Expr) {
    visit(expr, false);
}

fn visit(expr: &mut Expr, only_stats: bool) {
    let inside = match &mut expr.kind {
        ExprKind::Vector(selector) => {
            selector.skips_buckets = only_stats;
            return;
        }
        ExprKind::Matrix(matrix) => {
            matrix.vector.skips_buckets = only_stats;
            return;
        }
        // What is inside needs its buckets, whatever else stands there.
        ExprKind::Subquery(_) => return,
        ExprKind::Binary(binary) if matches!(binary.op, BinaryOp::TrimLower | BinaryOp::TrimUpper) => return,
        ExprKind::Call(call) => match call.function.name {
            "histogram_count" | "histogram_sum" | "histogram_avg" => true,
            name if name.starts_with("histogram_") => return,
            _ => only_stats,
        },
        _ => only_stats,
    };
    for child in expr.children_mut() {
        visit(child, inside);
    }
}
