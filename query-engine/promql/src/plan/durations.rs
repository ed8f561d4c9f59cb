//! Rewrite: duration expressions become milliseconds (promql/durations.go).

use super::PlanContext;
use crate::error::{PromqlError, PromqlResult};
use crate::syntax::{
    DurationExpr, DurationKind, DurationOp, DurationValue, Expr, ExprKind, Span, VectorSelector,
};

/// Seconds that 64-bit nanoseconds hold.
const SECONDS_MAX: f64 = 9_223_372_036.854_776;

pub(super) fn evaluate_durations(expr: &mut Expr, context: &PlanContext) -> PromqlResult<()> {
    match &mut expr.kind {
        ExprKind::Vector(VectorSelector { offset, .. }) => evaluate(offset, true, context)?,
        ExprKind::Matrix(matrix) => {
            evaluate(&mut matrix.range, false, context)?;
            evaluate(&mut matrix.vector.offset, true, context)?;
        }
        ExprKind::Subquery(subquery) => {
            evaluate(&mut subquery.offset, true, context)?;
            evaluate(&mut subquery.step, false, context)?;
            evaluate(&mut subquery.range, false, context)?;
        }
        _ => {}
    }
    for child in expr.children_mut() {
        evaluate_durations(child, context)?;
    }
    Ok(())
}

fn evaluate(value: &mut DurationValue, may_be_negative: bool, context: &PlanContext) -> PromqlResult<()> {
    let Some(expr) = &value.expr else { return Ok(()) };
    let seconds = seconds(expr, context)?;
    if !seconds.is_finite() {
        return Err(error(expr.span, "duration is NaN or infinite"));
    }
    if seconds <= 0.0 && !may_be_negative {
        return Err(error(expr.span, "duration must be greater than 0"));
    }
    if seconds.abs() > SECONDS_MAX {
        return Err(error(expr.span, "duration is out of range"));
    }
    value.ms = (seconds * 1000.0) as i64;
    Ok(())
}

/// Prometheus shows the byte range here, not line and column.
fn error(span: Span, text: &str) -> PromqlError {
    PromqlError::execution(format!("{}:{}: {text}", span.start, span.end))
}

fn seconds(expr: &DurationExpr, context: &PlanContext) -> PromqlResult<f64> {
    Ok(match &expr.kind {
        DurationKind::Literal { seconds, .. } => *seconds,
        DurationKind::Step => context.step_ms as f64 / 1000.0,
        DurationKind::Range => (context.end_ms - context.grid.start_ms) as f64 / 1000.0,
        DurationKind::Negate(inner) => -seconds(inner, context)?,
        DurationKind::Plus(inner) => seconds(inner, context)?,
        DurationKind::Binary(op, left, right) => {
            let (left, right) = (seconds(left, context)?, seconds(right, context)?);
            match op {
                DurationOp::Add => left + right,
                DurationOp::Sub => left - right,
                DurationOp::Mul => left * right,
                DurationOp::Div if right == 0.0 => return Err(error(expr.span, "division by zero")),
                DurationOp::Div => left / right,
                DurationOp::Mod if right == 0.0 => return Err(error(expr.span, "modulo by zero")),
                DurationOp::Mod => left % right,
                DurationOp::Pow => left.powf(right),
                DurationOp::MaxOf => left.max(right),
                DurationOp::MinOf => left.min(right),
            }
        }
    })
}
