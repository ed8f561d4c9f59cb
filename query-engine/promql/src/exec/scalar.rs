//! Expressions that are one number per step.

use super::Evaluator;
use super::binary::scalar_op;
use super::column::is_float;
use super::grid::Grid;
use crate::error::{PromqlError, PromqlResult};
use crate::syntax::{Call, Expr, ExprKind};

impl<'q> Evaluator<'q> {
    pub(super) fn scalar(&self, expr: &'q Expr, grid: Grid) -> PromqlResult<Vec<f64>> {
        self.context.hold_columns(1, grid.steps)?;
        Ok(match &expr.kind {
            ExprKind::Number { value, .. } => vec![*value; grid.steps],
            ExprKind::Paren(inner) => self.scalar(inner, grid)?,
            ExprKind::StepInvariant(inner) => {
                let value = self.scalar(inner, grid.first_step())?;
                value.first().map_or_else(Vec::new, |value| vec![*value; grid.steps])
            }
            ExprKind::Unary { negative, expr: inner } => {
                let mut values = self.scalar(inner, grid)?;
                if *negative {
                    values.iter_mut().for_each(|value| *value = -*value);
                }
                values
            }
            ExprKind::Binary(binary) => {
                let mut left = self.scalar(&binary.lhs, grid)?;
                let right = self.scalar(&binary.rhs, grid)?;
                for (left, right) in left.iter_mut().zip(right) {
                    *left = scalar_op(binary.op, *left, right);
                }
                left
            }
            ExprKind::Call(call) => self.scalar_call(call, grid)?,
            _ => return Err(PromqlError::execution(format!("{expr} is no scalar"))),
        })
    }

    fn scalar_call(&self, call: &'q Call, grid: Grid) -> PromqlResult<Vec<f64>> {
        let args = &call.args;
        Ok(match call.function.name {
            "time" => (0..grid.steps).map(|step| grid.time(step) as f64 / 1000.0).collect(),
            "pi" => vec![std::f64::consts::PI; grid.steps],
            "scalar" => self.only_float(&args[0], grid)?,
            name @ ("max_of" | "min_of") => {
                let pick = if name == "max_of" { go_max } else { go_min };
                let mut left = self.scalar(&args[0], grid)?;
                let right = self.scalar(&args[1], grid)?;
                for (left, right) in left.iter_mut().zip(right) {
                    *left = pick(*left, right);
                }
                left
            }
            name => return Err(PromqlError::execution(format!("function {name} is not supported"))),
        })
    }

    /// `scalar(v)`: the value where there is exactly one float.
    fn only_float(&self, arg: &'q Expr, grid: Grid) -> PromqlResult<Vec<f64>> {
        let series = self.vector(arg, grid)?;
        let pick = |step: usize| {
            let mut floats = series.iter().map(|s| s.column.values[step]).filter(|v| is_float(*v));
            match (floats.next(), floats.next()) {
                (Some(value), None) => value,
                _ => f64::NAN,
            }
        };
        Ok((0..grid.steps).map(pick).collect())
    }
}

/// Go's `math.Max`: NaN wins over all but +Inf.
pub(super) fn go_max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// Go's `math.Min`: NaN wins over all but -Inf.
pub(super) fn go_min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.min(b)
    }
}
