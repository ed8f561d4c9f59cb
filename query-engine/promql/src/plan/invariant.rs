//! Rewrite: parts of a query that do not depend on the step are wrapped, so that they are evaluated once. Also resolves
//! `@ start()` and `@ end()` and removes parentheses around arguments (promql/engine.go, PreprocessExpr).

use super::PlanContext;
use crate::syntax::{At, Call, Expr, ExprKind, Span};

/// Functions whose value depends on the step even if their arguments do not.
const STEP_DEPENDENT: [&str; 15] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "end",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
];

pub(super) fn wrap_step_invariants(expr: &mut Expr, context: &PlanContext) {
    if visit(expr, context).wrap {
        wrap(expr);
    }
}

/// What is known about an expression.
#[derive(Clone, Copy)]
struct Invariance {
    invariant: bool,
    /// Invariant, and worth wrapping or allowed to be.
    wrap: bool,
}

fn wrap(expr: &mut Expr) {
    let inner = std::mem::replace(expr, Expr::new(ExprKind::String(String::new()), Span::default()));
    let span = inner.span;
    *expr = Expr::new(ExprKind::StepInvariant(Box::new(inner)), span);
}

fn unwrap_parens(expr: &mut Expr) {
    while let ExprKind::Paren(inner) = &mut expr.kind {
        let inner =
            std::mem::replace(&mut **inner, Expr::new(ExprKind::String(String::new()), Span::default()));
        *expr = inner;
    }
}

fn resolve(at: &mut Option<At>, context: &PlanContext) -> bool {
    match at {
        Some(At::Start) => *at = Some(At::Timestamp(context.grid.start_ms)),
        Some(At::End) => *at = Some(At::Timestamp(context.end_ms)),
        Some(At::Timestamp(_)) | None => {}
    }
    at.is_some()
}

fn visit(expr: &mut Expr, context: &PlanContext) -> Invariance {
    let both = |invariant| Invariance { invariant, wrap: invariant };
    match &mut expr.kind {
        ExprKind::Number { .. } | ExprKind::String(_) | ExprKind::Bytes(_) => {
            Invariance { invariant: true, wrap: false }
        }
        ExprKind::Vector(selector) => both(resolve(&mut selector.at, context)),
        ExprKind::Matrix(matrix) => {
            Invariance { invariant: resolve(&mut matrix.vector.at, context), wrap: false }
        }
        ExprKind::Subquery(subquery) => {
            if visit(&mut subquery.expr, context).invariant {
                wrap(&mut subquery.expr);
            }
            Invariance { invariant: resolve(&mut subquery.at, context), wrap: false }
        }
        ExprKind::Aggregate(aggregate) => {
            unwrap_parens(&mut aggregate.expr);
            let inner = visit(&mut aggregate.expr, context);
            // A parameter that depends on the step keeps the whole from being invariant.
            let param = aggregate.param.as_mut().is_none_or(|param| {
                unwrap_parens(param);
                let found = visit(param, context);
                if found.wrap && !inner.invariant {
                    wrap(param);
                }
                found.invariant
            });
            if inner.wrap && !param {
                wrap(&mut aggregate.expr);
            }
            both(inner.invariant && param)
        }
        ExprKind::Binary(binary) => {
            let left = visit(&mut binary.lhs, context);
            let right = visit(&mut binary.rhs, context);
            if left.invariant && right.invariant {
                return both(true);
            }
            if left.wrap {
                wrap(&mut binary.lhs);
            }
            if right.wrap {
                wrap(&mut binary.rhs);
            }
            both(false)
        }
        ExprKind::Call(call) => both(visit_call(call, context)),
        ExprKind::Paren(inner) | ExprKind::StepInvariant(inner) | ExprKind::Unary { expr: inner, .. } => {
            visit(inner, context)
        }
    }
}

/// Whether a call is the same at every step; what is so inside one that is not is wrapped.
fn visit_call(call: &mut Call, context: &PlanContext) -> bool {
    let name = call.function.name;
    let mut invariant = !STEP_DEPENDENT.contains(&name);
    // timestamp(metric @ 1) is invariant, timestamp(abs(metric @ 1)) is not.
    let mut timestamps = name == "timestamp";
    let mut found = Vec::with_capacity(call.args.len());
    let is_info = name == "info";
    for (index, arg) in call.args.iter_mut().enumerate() {
        unwrap_parens(arg);
        if is_info && index == 1 {
            // A set of matchers, not evaluated.
            visit(arg, context);
            found.push(false);
            continue;
        }
        let is_selector = matches!(arg.kind, ExprKind::Vector(_));
        let arg = visit(arg, context);
        invariant &= arg.invariant;
        timestamps &= arg.invariant && is_selector;
        found.push(arg.wrap);
    }
    if is_info {
        invariant &= super::info::complete(&mut call.args);
        found.resize(call.args.len(), false);
    }
    if invariant || timestamps {
        return true;
    }
    for (arg, _) in call.args.iter_mut().zip(found).filter(|(_, wrap)| *wrap) {
        wrap(arg);
    }
    false
}
