//! Functions of templates: Go's own, Loki's, and those of sprig that Loki lets through (pkg/logql/log/fmt.go).

mod decimal;
mod numbers;
mod texts;
mod times;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::execute::OUTPUT_BYTES_MAX;
use super::patterns::Patterns;
use super::{Context, Value, printf};

pub(super) use times::method as time_method;

/// Arguments of a function.
type Arguments<'v, 'a> = &'v [Value<'a>];
/// What a function gives, or its error's text.
type Outcome<'a> = Result<Value<'a>, String>;

/// How many arguments a function takes.
#[derive(Clone, Copy, Debug)]
enum Takes {
    Just(usize),
    AtLeast(usize),
}

use Takes::{AtLeast, Just};

const FUNCTIONS: [(&str, Takes); 85] = [
    ("and", AtLeast(1)),
    ("or", AtLeast(1)),
    ("not", Just(1)),
    ("len", Just(1)),
    ("index", AtLeast(1)),
    ("slice", AtLeast(1)),
    ("print", AtLeast(0)),
    ("printf", AtLeast(1)),
    ("println", AtLeast(0)),
    ("html", AtLeast(0)),
    ("js", AtLeast(0)),
    ("urlquery", AtLeast(0)),
    ("eq", AtLeast(1)),
    ("ne", Just(2)),
    ("lt", Just(2)),
    ("le", Just(2)),
    ("gt", Just(2)),
    ("ge", Just(2)),
    ("ToLower", Just(1)),
    ("ToUpper", Just(1)),
    ("Replace", Just(4)),
    ("Trim", Just(2)),
    ("TrimLeft", Just(2)),
    ("TrimRight", Just(2)),
    ("TrimPrefix", Just(2)),
    ("TrimSuffix", Just(2)),
    ("TrimSpace", Just(1)),
    ("regexReplaceAll", Just(3)),
    ("regexReplaceAllLiteral", Just(3)),
    ("count", Just(2)),
    ("urldecode", Just(1)),
    ("urlencode", Just(1)),
    ("bytes", Just(1)),
    ("duration", Just(1)),
    ("duration_seconds", Just(1)),
    ("unixEpochMillis", Just(1)),
    ("unixEpochNanos", Just(1)),
    ("toDateInZone", Just(3)),
    ("unixToTime", Just(1)),
    ("alignLeft", Just(2)),
    ("alignRight", Just(2)),
    ("b64enc", Just(1)),
    ("b64dec", Just(1)),
    ("lower", Just(1)),
    ("upper", Just(1)),
    ("title", Just(1)),
    ("trunc", Just(2)),
    ("substr", Just(3)),
    ("contains", Just(2)),
    ("hasPrefix", Just(2)),
    ("hasSuffix", Just(2)),
    ("indent", Just(2)),
    ("nindent", Just(2)),
    ("replace", Just(3)),
    ("repeat", Just(2)),
    ("trim", Just(1)),
    ("trimAll", Just(2)),
    ("trimSuffix", Just(2)),
    ("trimPrefix", Just(2)),
    ("int", Just(1)),
    ("float64", Just(1)),
    ("add", AtLeast(0)),
    ("sub", Just(2)),
    ("mul", AtLeast(1)),
    ("div", Just(2)),
    ("mod", Just(2)),
    ("addf", AtLeast(0)),
    ("subf", AtLeast(1)),
    ("mulf", AtLeast(1)),
    ("divf", AtLeast(1)),
    ("max", AtLeast(1)),
    ("min", AtLeast(1)),
    ("maxf", AtLeast(1)),
    ("minf", AtLeast(1)),
    ("ceil", Just(1)),
    ("floor", Just(1)),
    ("round", AtLeast(2)),
    ("fromJson", Just(1)),
    ("date", Just(2)),
    ("toDate", Just(2)),
    ("now", Just(0)),
    ("unixEpoch", Just(1)),
    ("default", AtLeast(1)),
    ("__line__", Just(0)),
    ("__timestamp__", Just(0)),
];

/// Whether there is a function of this name.
pub(super) fn exists(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, _)| *known == name)
}

/// The error of a call with `written` arguments, and one more where a value is `piped` in, if it takes another number.
/// Go's text counts the one that is piped in for some functions only.
pub(super) fn check_count(name: &str, written: usize, piped: bool) -> Result<(), String> {
    let given = written + usize::from(piped);
    let wrong = match FUNCTIONS.iter().find(|(known, _)| *known == name) {
        Some((_, Just(wanted))) if given != *wanted => format!("want {wanted} got {given}"),
        Some((_, AtLeast(least))) if given < *least => format!("want at least {least} got {written}"),
        _ => return Ok(()),
    };
    Err(format!("wrong number of args for {name}: {wrong}"))
}

/// Calls a function.
pub(super) fn call<'a>(
    name: &str,
    arguments: Arguments<'_, 'a>,
    patterns: &Patterns,
    context: &'a Context<'a>,
) -> Outcome<'a> {
    let value = match name {
        "__line__" => Ok(Value::text(context.line)),
        "__timestamp__" => Ok(Value::Time(super::go_time::GoTime::utc(context.timestamp_ns))),
        "now" => Ok(Value::Time(super::go_time::GoTime::utc(context.now_ns))),
        _ => builtin(name, arguments)
            .or_else(|| texts::call(name, arguments, patterns))
            .or_else(|| numbers::call(name, arguments))
            .or_else(|| times::call(name, arguments))
            .unwrap_or_else(|| Err("not supported".to_owned())),
    }?;
    // A long line may be in upper case.
    if value.own_bytes() > context.line.len() {
        checked_size(value.own_bytes())?;
    }
    Ok(value)
}

/// Functions of `text/template` itself.
fn builtin<'a>(name: &str, arguments: Arguments<'_, 'a>) -> Option<Outcome<'a>> {
    Some(match name {
        "not" => one(arguments).map(|value| Value::Bool(!value.is_true())),
        "len" => one(arguments).and_then(length),
        "index" => index(arguments),
        "slice" => slice(arguments),
        "print" => printed(arguments, false).map(Value::text),
        "println" => printed(arguments, true).map(|text| Value::text(text + "\n")),
        "printf" => match arguments.split_first() {
            Some((Value::Text(format), rest)) => printf::format(format, rest).map(Value::text),
            _ => Err("wrong type for value; expected string".to_owned()),
        },
        "html" => printed(arguments, false).map(|text| Value::text(escaped(&text, html_escape))),
        "js" => printed(arguments, false).map(|text| Value::text(escaped(&text, js_escape))),
        "urlquery" => printed(arguments, false).map(|text| Value::text(texts::query_escape(&text))),
        "eq" => equal(arguments).map(Value::Bool),
        "ne" => two(arguments).and_then(|(a, b)| equal_pair(a, b)).map(|equal| Value::Bool(!equal)),
        "lt" => compare(arguments, |order| order == Ordering::Less),
        "le" => compare(arguments, |order| order != Ordering::Greater),
        "gt" => compare(arguments, |order| order == Ordering::Greater),
        "ge" => compare(arguments, |order| order != Ordering::Less),
        _ => return None,
    })
}

fn one<'v, 'a>(arguments: Arguments<'v, 'a>) -> Result<&'v Value<'a>, String> {
    match arguments {
        [value] => Ok(value),
        other => Err(format!("wrong number of args: want 1 got {}", other.len())),
    }
}

fn two<'v, 'a>(arguments: Arguments<'v, 'a>) -> Result<(&'v Value<'a>, &'v Value<'a>), String> {
    match arguments {
        [a, b] => Ok((a, b)),
        other => Err(format!("wrong number of args: want 2 got {}", other.len())),
    }
}

fn three<'v, 'a>(arguments: Arguments<'v, 'a>) -> Result<[&'v Value<'a>; 3], String> {
    match arguments {
        [a, b, c] => Ok([a, b, c]),
        other => Err(format!("wrong number of args: want 3 got {}", other.len())),
    }
}

/// A text where Go's function takes a string.
fn text<'v>(value: &'v Value<'_>) -> Result<&'v str, String> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(format!("wrong type for value; expected string; got {}", other.type_name())),
    }
}

/// A number where Go's function takes an int.
fn int(value: &Value<'_>) -> Result<i64, String> {
    match value {
        Value::Int(value) => Ok(*value),
        Value::Float(value) if value.fract() == 0.0 => Ok(*value as i64),
        other => Err(format!("wrong type for value; expected int; got {}", other.type_name())),
    }
}

/// Refuses texts that a run may not make.
fn checked_size(bytes: usize) -> Result<(), String> {
    if bytes > OUTPUT_BYTES_MAX {
        return Err(format!("the result would be longer than {OUTPUT_BYTES_MAX} bytes"));
    }
    Ok(())
}

fn length<'a>(value: &Value<'a>) -> Outcome<'a> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        Value::Labels(fields) => fields.sorted().len(),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(length as i64))
}

fn index<'a>(arguments: Arguments<'_, 'a>) -> Outcome<'a> {
    let (first, keys) =
        arguments.split_first().ok_or("wrong number of args for index: want at least 1 got 0")?;
    let mut value = first.clone();
    for key in keys {
        value = match &value {
            Value::Labels(fields) => Value::text(fields.get(text(key)?).unwrap_or("")),
            Value::Map(map) => map.get(text(key)?).cloned().unwrap_or(Value::Nil),
            Value::List(list) => {
                let at = int(key)?;
                let item = usize::try_from(at).ok().and_then(|at| list.get(at));
                item.cloned().ok_or_else(|| format!("index out of range: {at}"))?
            }
            Value::Text(text) => {
                let at = int(key)?;
                let byte = usize::try_from(at).ok().and_then(|at| text.as_bytes().get(at));
                Value::Int(i64::from(*byte.ok_or_else(|| format!("index out of range: {at}"))?))
            }
            other => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(value)
}

fn slice<'a>(arguments: Arguments<'_, 'a>) -> Outcome<'a> {
    let (value, bounds) =
        arguments.split_first().ok_or("wrong number of args for slice: want at least 1 got 0")?;
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(list) => list.len(),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let bound = |at: usize, default: usize| match bounds.get(at) {
        None => Ok(default),
        Some(value) => {
            let bound = int(value)?;
            usize::try_from(bound).ok().filter(|&b| b <= length).ok_or(format!("index out of range: {bound}"))
        }
    };
    let (start, end) = (bound(0, 0)?, bound(1, length)?);
    if start > end {
        return Err(format!("invalid slice index: {start} > {end}"));
    }
    Ok(match value {
        Value::List(list) => Value::List(Rc::new(list[start..end].to_vec())),
        other => Value::text(String::from_utf8_lossy(&other.to_text().as_bytes()[start..end]).into_owned()),
    })
}

/// `fmt.Sprint`: blanks between neighbours that are both no texts; `spaced` puts them everywhere.
fn printed(arguments: Arguments<'_, '_>, spaced: bool) -> Result<String, String> {
    let mut out = String::new();
    for (position, value) in arguments.iter().enumerate() {
        let is_text = |value: &Value<'_>| matches!(value, Value::Text(_));
        if position > 0 && (spaced || !(is_text(value) || is_text(&arguments[position - 1]))) {
            out.push(' ');
        }
        value.print_inner(&mut out);
        // The last one is looked at where the whole value is.
        if position + 1 < arguments.len() {
            checked_size(out.len())?;
        }
    }
    Ok(out)
}

fn html_escape(c: char) -> Option<&'static str> {
    Some(match c {
        '"' => "&#34;",
        '\'' => "&#39;",
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        '\0' => "\u{fffd}",
        _ => return None,
    })
}

fn js_escape(c: char) -> Option<&'static str> {
    Some(match c {
        '\\' => "\\\\",
        '\'' => "\\'",
        '"' => "\\\"",
        '<' => "\\u003C",
        '>' => "\\u003E",
        '&' => "\\u0026",
        '=' => "\\u003D",
        '\n' => "\\u000A",
        '\r' => "\\u000D",
        '\t' => "\\u0009",
        _ => return None,
    })
}

fn escaped(text: &str, escape: impl Fn(char) -> Option<&'static str>) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match escape(c) {
            Some(replacement) => out.push_str(replacement),
            None => out.push(c),
        }
    }
    out
}

fn equal(arguments: Arguments<'_, '_>) -> Result<bool, String> {
    let (first, others) = arguments.split_first().ok_or("missing argument for comparison")?;
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if equal_pair(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal_pair(a: &Value<'_>, b: &Value<'_>) -> Result<bool, String> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(a), Value::Int(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::Text(a), Value::Text(b)) => Ok(a == b),
        (Value::Nil, other) | (other, Value::Nil) => Ok(matches!(other, Value::Nil)),
        (Value::List(_) | Value::Map(_) | Value::Labels(_), _) => Err("non-comparable type".to_owned()),
        _ => Err("incompatible types for comparison".to_owned()),
    }
}

fn compare<'a>(arguments: Arguments<'_, 'a>, holds: impl Fn(Ordering) -> bool) -> Outcome<'a> {
    let (a, b) = two(arguments)?;
    let order = match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (
            Value::Bool(_) | Value::List(_) | Value::Map(_) | Value::Labels(_) | Value::Nil | Value::Time(_),
            _,
        ) => {
            return Err("invalid type for comparison".to_owned());
        }
        _ => return Err("incompatible types for comparison".to_owned()),
    };
    Ok(Value::Bool(order.is_some_and(holds)))
}

/// A JSON value as `encoding/json` gives it: numbers are floats.
fn from_json<'a>(json: serde_json::Value) -> Value<'a> {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Value::text(text),
        serde_json::Value::Array(items) => Value::List(Rc::new(items.into_iter().map(from_json).collect())),
        serde_json::Value::Object(members) => {
            let members: BTreeMap<String, Value<'a>> =
                members.into_iter().map(|(name, value)| (name, from_json(value))).collect();
            Value::Map(Rc::new(members))
        }
    }
}
