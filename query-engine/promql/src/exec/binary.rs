//! Binary operators: on two floats, on a vector and a scalar, and the choice of the operator for two vectors.

use super::Evaluator;
use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram};

use super::column::{ABSENT, Cell, Column, is_float};
use super::grid::Grid;
use super::merge::Duplicates;
use super::source::Source;
use crate::annotations::{Annotation, HistogramOperation};
use crate::error::{PromqlError, PromqlResult};
use crate::syntax::{Binary, BinaryOp, Span, ValueType};

/// An operator on two scalars; a comparison answers 0 or 1.
pub(super) fn scalar_op(op: BinaryOp, left: f64, right: f64) -> f64 {
    if op.is_comparison() {
        return f64::from(u8::from(compare(op, left, right)));
    }
    arithmetic(op, left, right)
}

/// An arithmetic operator on two floats.
#[inline]
pub(super) fn arithmetic(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        _ => f64::NAN,
    }
}

/// A comparison of two floats.
#[inline]
pub(super) fn compare(op: BinaryOp, left: f64, right: f64) -> bool {
    match op {
        BinaryOp::Equal => left == right,
        BinaryOp::NotEqual => left != right,
        BinaryOp::Less => left < right,
        BinaryOp::LessEqual => left <= right,
        BinaryOp::Greater => left > right,
        BinaryOp::GreaterEqual => left >= right,
        _ => false,
    }
}

/// The result of an operator on two samples, and what is to be said about it.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) value: Option<Computed>,
    pub(super) notes: Vec<Annotation>,
}

/// A computed sample; for a comparison the left operand and whether it holds.
pub(super) enum Computed {
    Float(f64, bool),
    Histogram(Arc<FloatHistogram>, bool),
}

impl Outcome {
    fn float(value: f64, holds: bool) -> Self {
        Self { value: Some(Computed::Float(value, holds)), notes: Vec::new() }
    }

    fn histogram(mut value: FloatHistogram) -> Self {
        value.compact();
        Self { value: Some(Computed::Histogram(Arc::new(value), true)), notes: Vec::new() }
    }

    fn nothing(note: Annotation) -> Self {
        Self { value: None, notes: vec![note] }
    }
}

/// An operator on two samples of vectors.
pub(super) fn sample_op(op: BinaryOp, left: Cell<'_>, right: Cell<'_>, span: Span) -> Outcome {
    let incompatible = |a, b| Outcome::nothing(Annotation::incompatible_types(span, a, op.symbol(), b));
    match (left, right) {
        (Cell::Float(left), Cell::Float(right)) => match op {
            BinaryOp::TrimUpper | BinaryOp::TrimLower => incompatible("float", "float"),
            _ if op.is_comparison() => Outcome::float(left, compare(op, left, right)),
            _ => Outcome::float(arithmetic(op, left, right), true),
        },
        (Cell::Float(left), Cell::Histogram(right)) => match op {
            BinaryOp::Mul => {
                let mut result = (**right).clone();
                result.multiply(left);
                Outcome::histogram(result)
            }
            _ => incompatible("float", "histogram"),
        },
        (Cell::Histogram(left), Cell::Float(right)) => {
            let mut result = (**left).clone();
            match op {
                BinaryOp::Mul => result.multiply(right),
                BinaryOp::Div => result.divide(right),
                BinaryOp::TrimUpper | BinaryOp::TrimLower => {
                    result.trim(right, op == BinaryOp::TrimUpper);
                    return Outcome {
                        value: Some(Computed::Histogram(Arc::new(result), true)),
                        notes: Vec::new(),
                    };
                }
                _ => return incompatible("histogram", "float"),
            }
            Outcome::histogram(result)
        }
        (Cell::Histogram(left), Cell::Histogram(right)) => match op {
            BinaryOp::Add | BinaryOp::Sub => add_histograms(op, left, right, span),
            BinaryOp::Equal | BinaryOp::NotEqual => {
                let holds = left.equals(right) == (op == BinaryOp::Equal);
                Outcome { value: Some(Computed::Histogram(Arc::clone(left), holds)), notes: Vec::new() }
            }
            _ => incompatible("histogram", "histogram"),
        },
    }
}

fn add_histograms(op: BinaryOp, left: &FloatHistogram, right: &FloatHistogram, span: Span) -> Outcome {
    let mut result = left.clone();
    let is_sum = op == BinaryOp::Add;
    let combined = if is_sum { result.add(right) } else { result.subtract(right) };
    let Ok(combined) = combined else {
        return Outcome::nothing(Annotation::incompatible_bucket_layout(span, op.symbol()));
    };
    let operation = if is_sum {
        HistogramOperation::Addition
    } else {
        result.counter_reset_hint = CounterResetHint::Gauge;
        HistogramOperation::Subtraction
    };
    let mut outcome = Outcome::histogram(result);
    if combined.counter_reset_collision {
        outcome.notes.push(Annotation::counter_reset_collision(span, operation));
    }
    if combined.bounds_reconciled {
        outcome.notes.push(Annotation::mismatched_custom_buckets(span, operation));
    }
    outcome
}

impl Column {
    /// Replaces the sample of a step.
    pub(super) fn set_computed(&mut self, step: usize, value: Computed) {
        self.clear_at(step);
        match value {
            Computed::Float(value, _) => self.values[step] = value,
            Computed::Histogram(value, _) => self.set_histogram(step, value),
        }
    }
}

impl<'q> Evaluator<'q> {
    pub(super) fn binary(&self, binary: &'q Binary, span: Span, grid: Grid) -> PromqlResult<Source<'q>> {
        match (binary.lhs.value_type(), binary.rhs.value_type()) {
            (ValueType::Vector, ValueType::Vector) => {
                let matching = binary.matching.as_ref().ok_or_else(no_matching)?;
                if binary.op.is_set() {
                    self.set_operator(binary, matching, grid)
                } else {
                    self.join(binary, matching, span, grid)
                }
            }
            (ValueType::Vector, _) => self.vector_scalar(binary, span, grid, false),
            _ => self.vector_scalar(binary, span, grid, true),
        }
    }

    fn vector_scalar(
        &self,
        binary: &'q Binary,
        span: Span,
        grid: Grid,
        is_swapped: bool,
    ) -> PromqlResult<Source<'q>> {
        let (vector, scalar) =
            if is_swapped { (&binary.rhs, &binary.lhs) } else { (&binary.lhs, &binary.rhs) };
        let operation = VectorScalar {
            op: binary.op,
            return_bool: binary.return_bool,
            is_swapped,
            span,
            scalars: self.scalar(scalar, grid)?,
        };
        let context = self.context;
        let source = self.source(vector, grid)?.map_columns(move |column| {
            for note in operation.apply(column) {
                context.annotate(note);
            }
        });
        if binary.op.changes_metric() || binary.return_bool {
            return self.without_names(source, grid, Duplicates::Merge);
        }
        Ok(source)
    }
}

fn no_matching() -> PromqlError {
    PromqlError::execution("a vector operation without matching")
}

/// An operator with a vector on one side and a number per step on the other.
struct VectorScalar {
    op: BinaryOp,
    return_bool: bool,
    is_swapped: bool,
    span: Span,
    scalars: Vec<f64>,
}

impl VectorScalar {
    fn apply(&self, column: &mut Column) -> Vec<Annotation> {
        let mut notes = Vec::new();
        if !column.has_histograms() && !matches!(self.op, BinaryOp::TrimLower | BinaryOp::TrimUpper) {
            self.apply_floats(&mut column.values);
            return notes;
        }
        for step in 0..column.values.len() {
            let Some(cell) = column.get(step) else { continue };
            let scalar = Cell::Float(self.scalars[step]);
            let (left, right) = if self.is_swapped { (scalar, cell) } else { (cell, scalar) };
            let Outcome { value, notes: more } = sample_op(self.op, left, right, self.span);
            notes.extend(more);
            let Some(value) = value else {
                column.clear_at(step);
                continue;
            };
            let holds = match &value {
                Computed::Float(_, holds) | Computed::Histogram(_, holds) => *holds,
            };
            if self.return_bool {
                column.clear_at(step);
                column.values[step] = f64::from(u8::from(holds));
            } else if !holds {
                column.clear_at(step);
            } else if !self.op.is_comparison() {
                column.set_computed(step, value);
            }
        }
        notes
    }

    fn apply_floats(&self, values: &mut [f64]) {
        for (value, scalar) in values.iter_mut().zip(&self.scalars) {
            if !is_float(*value) {
                continue;
            }
            let (left, right) = if self.is_swapped { (*scalar, *value) } else { (*value, *scalar) };
            if self.op.is_comparison() {
                let holds = compare(self.op, left, right);
                if self.return_bool {
                    *value = f64::from(u8::from(holds));
                } else if !holds {
                    *value = ABSENT;
                }
            } else {
                *value = arithmetic(self.op, left, right);
            }
        }
    }
}
