//! Comparisons (compare.go of `pkg/ottl`): numbers with numbers, everything else within its type; what cannot be compared
//! is unequal.

use std::cmp::Ordering;

use crate::ast::Comparison;
use crate::error::Eval;
use crate::value::{Filling, Map, Value};

/// Compares two values.
pub(crate) fn compare(a: &Value<'_>, comparison: Comparison, b: &Value<'_>) -> Eval<bool> {
    use Comparison::{Equal, GreaterOrEqual, LessOrEqual, NotEqual};
    Ok(match (a, b) {
        (Value::Nil, Value::Nil) => matches!(comparison, Equal | LessOrEqual | GreaterOrEqual),
        (Value::Bool(a), Value::Bool(b)) => ordered(Some(a.cmp(b)), comparison),
        (Value::Int(a), Value::Int(b)) => ordered(Some(a.cmp(b)), comparison),
        (Value::Int(a), Value::Double(b)) => ordered((*a as f64).partial_cmp(b), comparison),
        (Value::Double(a), Value::Int(b)) => ordered(a.partial_cmp(&(*b as f64)), comparison),
        (Value::Double(a), Value::Double(b)) => ordered(a.partial_cmp(b), comparison),
        (Value::Text(a), Value::Text(b)) => ordered(Some(a.cmp(b)), comparison),
        (Value::Bytes(a), Value::Bytes(b)) => ordered(Some(a.cmp(b)), comparison),
        (Value::Duration(a), Value::Duration(b)) => ordered(Some(a.cmp(b)), comparison),
        (Value::Time(a), Value::Time(b)) => ordered(Some(a.unix_ns.cmp(&b.unix_ns)), comparison),
        _ => match comparison {
            Equal => is_equal(a, b)?,
            NotEqual => !is_equal(a, b)?,
            _ => false,
        },
    })
}

/// `None` for a NaN, which is unequal to everything and neither less nor greater.
fn ordered(ordering: Option<Ordering>, comparison: Comparison) -> bool {
    let Some(ordering) = ordering else { return comparison == Comparison::NotEqual };
    match comparison {
        Comparison::Equal => ordering.is_eq(),
        Comparison::NotEqual => ordering.is_ne(),
        Comparison::Less => ordering.is_lt(),
        Comparison::LessOrEqual => ordering.is_le(),
        Comparison::Greater => ordering.is_gt(),
        Comparison::GreaterOrEqual => ordering.is_ge(),
    }
}

/// Whether two values are of one type and equal, to their depth; the order of a map's keys does not count.
fn is_equal(a: &Value<'_>, b: &Value<'_>) -> Eval<bool> {
    Ok(match (a, b) {
        (Value::Raw(_), _) => is_equal(&a.resolved()?, b)?,
        (_, Value::Raw(_)) => is_equal(a, &b.resolved()?)?,
        (Value::Nil, Value::Nil) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Double(a), Value::Double(b)) => a == b,
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::TraceId(a), Value::TraceId(b)) => a == b,
        (Value::SpanId(a), Value::SpanId(b)) => a == b,
        (Value::Messages(a), Value::Messages(b)) => a.kind == b.kind && a.items == b.items,
        (Value::List(a), Value::List(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (x, y) in a.iter().zip(b) {
                if !is_equal(x, y)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Map(a), Value::Map(b)) => is_equal_map(a, b)?,
        _ => false,
    })
}

fn is_equal_map(a: &Map<'_>, b: &Map<'_>) -> Eval<bool> {
    if a.0.len() != b.0.len() {
        return Ok(false);
    }
    let b = Filling::of(b.clone());
    for (key, value) in &a.0 {
        match b.get(key) {
            Some(other) if is_equal(value, other)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}
