//! Functions on numbers. Those of sprig take anything and read a number from it; what is none counts as 0.

use super::decimal::Decimal;
use super::{Arguments, Outcome, one, text, two};
use crate::template::Value;
use crate::units::{go_seconds, parse_bytes, parse_go_duration, parse_go_float};

/// Calls a function on numbers; `None` when there is none of this name.
pub(super) fn call<'a>(name: &str, arguments: Arguments<'_, 'a>) -> Option<Outcome<'a>> {
    Some(match name {
        "int" => one(arguments).map(|value| Value::Int(to_int(value))),
        "float64" => one(arguments).map(|value| Value::Float(to_float(value))),
        "add" => fold_int(arguments, 0, |a, b| Ok(a.wrapping_add(b))),
        "mul" => reduce_int(arguments, |a, b| Ok(a.wrapping_mul(b))),
        "sub" => pair_int(arguments, |a, b| Ok(a.wrapping_sub(b))),
        "div" => pair_int(arguments, |a, b| a.checked_div(b).ok_or_else(divided_by_zero)),
        "mod" => pair_int(arguments, |a, b| a.checked_rem(b).ok_or_else(divided_by_zero)),
        "max" => reduce_int(arguments, |a, b| Ok(a.max(b))),
        "min" => reduce_int(arguments, |a, b| Ok(a.min(b))),
        "addf" => in_decimals(arguments, Decimal::plus, |a, b| a + b),
        "subf" => in_decimals(arguments, Decimal::minus, |a, b| a - b),
        "mulf" => in_decimals(arguments, Decimal::times, |a, b| a * b),
        "divf" => {
            if arguments.iter().skip(1).any(|by| to_float(by) == 0.0) {
                return Some(Err("decimal division by 0".to_owned()));
            }
            in_decimals(arguments, Decimal::over, |a, b| a / b)
        }
        "maxf" => reduce_float(arguments, f64::max),
        "minf" => reduce_float(arguments, f64::min),
        "ceil" => one(arguments).map(|value| Value::Float(to_float(value).ceil())),
        "floor" => one(arguments).map(|value| Value::Float(to_float(value).floor())),
        "round" => round(arguments),
        "bytes" => convert(arguments, |text| parse_bytes(text).map(|bytes| bytes as f64)),
        "duration" | "duration_seconds" => convert(arguments, |text| parse_go_duration(text).map(go_seconds)),
        _ => return None,
    })
}

fn divided_by_zero() -> String {
    "runtime error: integer divide by zero".to_owned()
}

fn convert<'a>(arguments: Arguments<'_, 'a>, f: impl Fn(&str) -> Result<f64, String>) -> Outcome<'a> {
    f(text(one(arguments)?)?).map(Value::Float)
}

/// `cast.ToInt64`
pub(super) fn to_int(value: &Value<'_>) -> i64 {
    match value {
        Value::Int(value) => *value,
        Value::Float(value) => *value as i64,
        Value::Bool(value) => i64::from(*value),
        Value::Text(text) => {
            let trimmed = text.strip_suffix(".0").unwrap_or(text);
            trimmed.parse().unwrap_or(0)
        }
        _ => 0,
    }
}

/// `cast.ToFloat64`
fn to_float(value: &Value<'_>) -> f64 {
    match value {
        Value::Int(value) => *value as f64,
        Value::Float(value) => *value,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Text(text) => parse_go_float(text).unwrap_or(0.0),
        _ => 0.0,
    }
}

fn fold_int<'a>(
    arguments: Arguments<'_, 'a>,
    start: i64,
    f: impl Fn(i64, i64) -> Result<i64, String>,
) -> Outcome<'a> {
    arguments.iter().map(to_int).try_fold(start, f).map(Value::Int)
}

fn reduce_int<'a>(arguments: Arguments<'_, 'a>, f: impl Fn(i64, i64) -> Result<i64, String>) -> Outcome<'a> {
    let (first, rest) = arguments.split_first().ok_or("wrong number of args: want at least 1 got 0")?;
    fold_int(rest, to_int(first), f)
}

fn pair_int<'a>(arguments: Arguments<'_, 'a>, f: impl Fn(i64, i64) -> Result<i64, String>) -> Outcome<'a> {
    let (a, b) = two(arguments)?;
    f(to_int(a), to_int(b)).map(Value::Int)
}

fn reduce_float<'a>(arguments: Arguments<'_, 'a>, f: impl Fn(f64, f64) -> f64) -> Outcome<'a> {
    let (first, rest) = arguments.split_first().ok_or("wrong number of args: want at least 1 got 0")?;
    Ok(Value::Float(rest.iter().map(to_float).fold(to_float(first), f)))
}

/// Computes in decimals, as sprig does, so that 0.1 and 0.2 make 0.3; in binary for what has too many digits.
fn in_decimals<'a>(
    arguments: Arguments<'_, 'a>,
    exact: fn(Decimal, Decimal) -> Option<Decimal>,
    inexact: fn(f64, f64) -> f64,
) -> Outcome<'a> {
    let (first, rest) = arguments.split_first().ok_or("wrong number of args: want at least 1 got 0")?;
    let result = rest.iter().try_fold(Decimal::of(to_float(first)), |value, next| {
        Some(exact(value?, Decimal::of(to_float(next))?))
    });
    match result.flatten().and_then(Decimal::to_float) {
        Some(value) => Ok(Value::Float(value)),
        None => reduce_float(arguments, inexact),
    }
}

/// `round value digits [roundOn]`
fn round<'a>(arguments: Arguments<'_, 'a>) -> Outcome<'a> {
    let (value, digits, round_on) = match arguments {
        [value, digits] => (value, digits, 0.5),
        [value, digits, on] => (value, digits, to_float(on)),
        other => return Err(format!("wrong number of args for round: want at least 2 got {}", other.len())),
    };
    let scale = 10f64.powi(i32::try_from(to_int(digits)).unwrap_or(0));
    let scaled = to_float(value) * scale;
    let fraction = scaled.fract();
    let rounded = if fraction.abs() >= round_on { scaled.ceil() } else { scaled.floor() };
    Ok(Value::Float(rounded / scale))
}
