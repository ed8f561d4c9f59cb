//! Functions on numbers. Those of sprig take anything and read a number from it; what is none counts as 0.

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
        "addf" => reduce_float(arguments, |a, b| decimal(a, b, |a, b| a.checked_add(b)).unwrap_or(a + b)),
        "subf" => reduce_float(arguments, |a, b| decimal(a, b, |a, b| a.checked_sub(b)).unwrap_or(a - b)),
        "mulf" => reduce_float(arguments, |a, b| a * b),
        "divf" => reduce_float(arguments, |a, b| a / b),
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

/// Adds or subtracts in decimals, as sprig does, so that 0.1 and 0.2 make 0.3; `None` beyond 18 digits.
fn decimal(a: f64, b: f64, f: impl Fn(i128, i128) -> Option<i128>) -> Option<f64> {
    let digits = |value: f64| value.to_string().split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let scale = u32::try_from(digits(a).max(digits(b))).ok().filter(|scale| *scale <= 18)?;
    let scaled =
        |value: f64| -> Option<i128> { format!("{value:.*}", scale as usize).replace('.', "").parse().ok() };
    let sum = f(scaled(a)?, scaled(b)?)?;
    let unit = 10i128.pow(scale);
    let sign = if sum < 0 { "-" } else { "" };
    let sum = sum.unsigned_abs();
    let unit = unit.unsigned_abs();
    format!("{sign}{}.{:0>width$}", sum / unit, sum % unit, width = scale as usize).parse().ok()
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
