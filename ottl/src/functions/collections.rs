//! Converters of lists and maps.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::{Args, Function, Kind, Prepared, converter, may, need};
use crate::ast::Comparison;
use crate::compare::compare;
use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::value::{Filling, Value};

pub(super) const TABLE: &[Function] = &[
    converter("Coalesce", &[need("values", Kind::Values)], |args, frame| {
        for arg in args.elements(0) {
            let value = arg.value(frame)?;
            if !value.is_nil() {
                return Ok(value);
            }
        }
        Ok(Value::Nil)
    })
    .prepared(|args| match args.elements(0) {
        [] => Err("Coalesce requires at least one argument".to_owned()),
        _ => Ok(Prepared::Nothing),
    }),
    converter("ContainsValue", &[need("target", Kind::List), need("item", Kind::Value)], |args, frame| {
        let item = args.value(1, frame)?;
        position(&args.list(0, frame)?, &item).map(|found| Value::Bool(found.is_some()))
    }),
    converter("Index", &[need("target", Kind::Value), need("value", Kind::Value)], |args, frame| {
        let wanted = args.value(1, frame)?;
        let found = match args.value(0, frame)? {
            Value::Text(text) => match wanted {
                Value::Text(wanted) => text.find(&*wanted),
                _ => {
                    return Err(RunError::new(
                        "invalid value type for Index function, value must be a string",
                    ));
                }
            },
            other => position(&other.into_list()?, &wanted)?,
        };
        Ok(Value::Int(found.map_or(-1, |index| index as i64)))
    }),
    converter("Keys", &[need("target", Kind::Map)], |args, frame| {
        let keys = args.map(0, frame)?.0.into_iter().map(|(key, _)| Value::Text(key));
        Ok(Value::List(keys.collect()))
    }),
    converter("Values", &[need("target", Kind::Map)], |args, frame| {
        Ok(Value::List(args.map(0, frame)?.0.into_iter().map(|(_, value)| value).collect()))
    }),
    converter(
        "SliceToMap",
        &[
            need("target", Kind::List),
            may("key_path", Kind::LiteralTexts),
            may("value_path", Kind::LiteralTexts),
        ],
        slice_to_map,
    ),
    converter("Sort", &[need("target", Kind::Value), may("order", Kind::LiteralText)], |args, frame| {
        let list = match args.value(0, frame)? {
            Value::List(list) => list,
            other => {
                return Err(RunError::new(format!(
                    "sort with unsupported type: '{}'. Target is not a list",
                    other.type_name()
                )));
            }
        };
        sort(list, args.literal_text(1) == Some("desc")).map(Value::List)
    })
    .prepared(|args| match args.literal_text(1) {
        None | Some("asc" | "desc") => Ok(Prepared::Nothing),
        Some(other) => Err(format!("invalid arguments: {other}. Order should be either \"asc\" or \"desc\"")),
    }),
];

fn position(list: &[Value<'_>], wanted: &Value<'_>) -> Eval<Option<usize>> {
    for (index, element) in list.iter().enumerate() {
        if compare(&element.resolved()?, Comparison::Equal, wanted)? {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

fn slice_to_map<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let mut map = Filling::default();
    for (index, element) in args.list(0, frame)?.into_iter().enumerate() {
        let element = element.resolve()?;
        let has_path = args.is_given(1) || args.is_given(2);
        if has_path && !matches!(element, Value::Map(_)) {
            return Err(RunError::new(format!(
                "slice elements must be maps when using `key_path` or `value_path`, but could not cast element of type \
                 `{}` to a map",
                element.any_type_name()
            )));
        }
        let key = match args.is_given(1) {
            false => index.to_string(),
            true => match at_path(&element, &args.literal_texts(1)) {
                Ok(Value::Text(key)) => key.into_owned(),
                Ok(other) => {
                    return Err(RunError::new(format!(
                        "element {index}: extracted key attribute is not of type string, got {:?}",
                        other.any_type_name()
                    )));
                }
                Err(error) => {
                    return Err(RunError::new(format!(
                        "could not extract key from element {index}: {error}"
                    )));
                }
            },
        };
        let value = match args.is_given(2) {
            false => element,
            true => at_path(&element, &args.literal_texts(2)).map_err(|error| {
                RunError::new(format!("could not extract value from element {index}: {error}"))
            })?,
        };
        map.put(Cow::Owned(key), value);
    }
    Ok(Value::Map(map.finish()))
}

fn at_path<'p>(value: &Value<'p>, path: &[&str]) -> Eval<Value<'p>> {
    if path.is_empty() {
        return Err(RunError::new("must provide at least one path item"));
    }
    let mut value = value.resolved()?;
    for key in path {
        let inner = match &value {
            Value::Map(map) => map.get(key).map(Value::resolved).transpose()?,
            _ => None,
        };
        value = inner.ok_or_else(|| {
            RunError::new(format!("provided object does not contain the path [{}]", path.join(" ")))
        })?;
    }
    Ok(value)
}

/// Sorts as upstream: numbers as numbers, a list with a text, boolean or nothing in it as texts, anything else not at all.
fn sort(list: Vec<Value<'_>>, descending: bool) -> Eval<Vec<Value<'_>>> {
    let list: Vec<Value<'_>> = list.into_iter().map(Value::resolve).collect::<Eval<_>>()?;
    let is_plain = |value: &Value<'_>| {
        matches!(value, Value::Int(_) | Value::Double(_) | Value::Text(_) | Value::Bool(_) | Value::Nil)
    };
    if !list.iter().all(is_plain) {
        return Ok(list);
    }
    let is_number = |value: &Value<'_>| matches!(value, Value::Int(_) | Value::Double(_));
    let as_texts = !list.iter().all(is_number);
    let has_doubles = list.iter().any(|value| matches!(value, Value::Double(_)));
    let mut keyed = Vec::with_capacity(list.len());
    for value in list {
        let text = if as_texts { value.as_text()? } else { String::new() };
        keyed.push((text, value));
    }
    keyed.sort_by(|(a_text, a), (b_text, b)| {
        let ordering = match (as_texts, a, b) {
            (true, ..) => a_text.cmp(b_text),
            // One order for all numbers of a list, NaN first as in Go: integers that are compared exactly beside doubles, or
            // NaN equal to everything, would make none.
            (false, a, b) if has_doubles => {
                let (a, b) = (number(a), number(b));
                b.is_nan().cmp(&a.is_nan()).then(a.partial_cmp(&b).unwrap_or(Ordering::Equal))
            }
            (false, a, b) => integer(a).cmp(&integer(b)),
        };
        if descending { ordering.reverse() } else { ordering }
    });
    Ok(keyed.into_iter().map(|(_, value)| value).collect())
}

fn integer(value: &Value<'_>) -> i64 {
    if let Value::Int(int) = value { *int } else { 0 }
}

fn number(value: &Value<'_>) -> f64 {
    match value {
        Value::Int(int) => *int as f64,
        Value::Double(double) => *double,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests;
