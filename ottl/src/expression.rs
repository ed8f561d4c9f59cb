//! Expressions and conditions that are settled, and their evaluation.

use crate::ast::{Comparison, MathOp};
use crate::compare::compare;
use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::functions::Call;
use crate::path::{Key, Path};
use crate::path_read::Index;
use crate::time::Time;
use crate::value::{Map, Value};

/// Something that has a value.
#[derive(Debug)]
pub(crate) enum Expr {
    Literal(Value<'static>),
    Path(Box<Path>),
    /// A converter's answer, and keys into it.
    Call(Box<Call>, Vec<Key>),
    Math(Box<Self>, MathOp, Box<Self>),
    Negative(Box<Self>),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

/// A boolean expression.
#[derive(Debug)]
pub(crate) enum Condition {
    Constant(bool),
    Compare(Expr, Comparison, Expr),
    /// A converter that answers with a boolean.
    Call(Expr),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

impl Expr {
    /// The value of a literal.
    pub(crate) fn literal(&self) -> Option<&Value<'static>> {
        match self {
            Self::Literal(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn eval<'p>(&'p self, frame: &Frame<'p>) -> Eval<Value<'p>> {
        match self {
            Self::Literal(value) => Ok(value.shared()),
            Self::Path(path) => path.get(frame),
            Self::Call(call, keys) => {
                let mut value = call.convert(frame)?;
                for key in keys {
                    value = element(value, key, frame)?;
                }
                Ok(value)
            }
            Self::Math(left, op, right) => calculate(left.eval(frame)?, *op, right.eval(frame)?),
            Self::Negative(inner) => match inner.eval(frame)? {
                Value::Int(int) => Ok(Value::Int(int.wrapping_neg())),
                Value::Double(double) => Ok(Value::Double(-double)),
                other => Err(RunError::new(format!(
                    "unsupported unary minus operation on type {}",
                    other.type_name()
                ))),
            },
            Self::List(list) => {
                list.iter().map(|expr| expr.eval(frame)).collect::<Eval<_>>().map(Value::List)
            }
            Self::Map(entries) => {
                let mut map = Map::default();
                for (key, expr) in entries {
                    map.put(key.as_str().into(), expr.eval(frame)?);
                }
                Ok(Value::Map(map))
            }
        }
    }
}

/// What a key leads to in a converter's answer; unlike in a path, what is not there is an error.
fn element<'p>(value: Value<'p>, key: &'p Key, frame: &Frame<'p>) -> Eval<Value<'p>> {
    match (key.index(frame)?, value) {
        (Index::Text(key), Value::Map(map)) => match map.get(&key) {
            Some(found) => found.resolved(),
            None => Err(RunError::new("key not found in map")),
        },
        (Index::Int(int), Value::List(list)) => {
            match usize::try_from(int).ok().and_then(|index| list.get(index)) {
                Some(found) => found.resolved(),
                None => Err(RunError::new(format!("index {int} out of bounds"))),
            }
        }
        (Index::Int(int), Value::Bytes(bytes)) => {
            match usize::try_from(int).ok().and_then(|index| bytes.get(index)) {
                Some(byte) => Ok(Value::Int(i64::from(*byte))),
                None => Err(RunError::new(format!("index {int} out of bounds"))),
            }
        }
        (Index::Text(_), other) => {
            Err(RunError::new(format!("type {} does not support string indexing", other.type_name())))
        }
        (Index::Int(_), other) => {
            Err(RunError::new(format!("type {} does not support int indexing", other.type_name())))
        }
    }
}

fn calculate<'p>(left: Value<'p>, op: MathOp, right: Value<'p>) -> Eval<Value<'p>> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => Ok(Value::Int(match op {
            MathOp::Add => a.wrapping_add(b),
            MathOp::Subtract => a.wrapping_sub(b),
            MathOp::Multiply => a.wrapping_mul(b),
            MathOp::Divide if b == 0 => return Err(RunError::new("attempted to divide by 0")),
            MathOp::Divide => a.wrapping_div(b),
        })),
        (Value::Int(a), Value::Double(b)) => floats(a as f64, op, b),
        (Value::Double(a), Value::Int(b)) => floats(a, op, b as f64),
        (Value::Double(a), Value::Double(b)) => floats(a, op, b),
        (Value::Time(a), Value::Duration(b)) if op == MathOp::Add => Ok(Value::Time(a.plus(b))),
        (Value::Time(a), Value::Duration(b)) if op == MathOp::Subtract => {
            Ok(Value::Time(a.plus(b.wrapping_neg())))
        }
        (Value::Time(a), Value::Time(b)) if op == MathOp::Subtract => {
            Ok(Value::Duration(a.unix_ns.saturating_sub(b.unix_ns)))
        }
        (Value::Duration(a), Value::Time(b)) if op == MathOp::Add => Ok(Value::Time(Time::plus(b, a))),
        (Value::Duration(a), Value::Duration(b)) if op == MathOp::Add => {
            Ok(Value::Duration(a.wrapping_add(b)))
        }
        (Value::Duration(a), Value::Duration(b)) if op == MathOp::Subtract => {
            Ok(Value::Duration(a.wrapping_sub(b)))
        }
        (Value::Time(_) | Value::Duration(_), Value::Time(_) | Value::Duration(_)) => {
            let message = "only addition and subtraction supported for time.Time and time.Duration";
            Err(RunError::new(message))
        }
        (Value::Int(_) | Value::Double(_), other) => {
            Err(RunError::new(format!("{} must be int64 or float64", other.type_name())))
        }
        (other, _) => Err(RunError::new(format!(
            "{} must be int64, float64, time.Time or time.Duration",
            other.type_name()
        ))),
    }
}

fn floats<'p>(a: f64, op: MathOp, b: f64) -> Eval<Value<'p>> {
    Ok(Value::Double(match op {
        MathOp::Add => a + b,
        MathOp::Subtract => a - b,
        MathOp::Multiply => a * b,
        MathOp::Divide if b == 0.0 => return Err(RunError::new("attempted to divide by 0")),
        MathOp::Divide => a / b,
    }))
}

impl Condition {
    pub(crate) fn eval<'p>(&'p self, frame: &Frame<'p>) -> Eval<bool> {
        match self {
            Self::Constant(flag) => Ok(*flag),
            Self::Compare(left, comparison, right) => {
                let left = left.eval(frame)?;
                let right = right.eval(frame)?;
                compare(&left, *comparison, &right)
            }
            Self::Call(expr) => match expr.eval(frame)? {
                Value::Bool(flag) => Ok(flag),
                other => Err(RunError::new(format!(
                    "value returned from converter in constant expression must be bool but got {}",
                    other.type_name()
                ))),
            },
            Self::Not(inner) => inner.eval(frame).map(|flag| !flag),
            Self::And(all) => {
                for condition in all {
                    if !condition.eval(frame)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Or(all) => {
                for condition in all {
                    if condition.eval(frame)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}
