//! Values of a template while it runs, and how Go prints them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Fields;
use super::go_time::GoTime;

/// A value.
#[derive(Clone)]
pub(super) enum Value<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Rc<Vec<Self>>),
    Map(Rc<BTreeMap<String, Self>>),
    /// The labels: a map from text to text.
    Labels(&'a dyn Fields),
    Time(GoTime),
}

impl<'a> Value<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    /// Go's name of the type, for messages.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
            Self::Labels(_) => "map[string]string",
            Self::Time(_) => "time.Time",
        }
    }

    /// Bytes of a text, whoever owns it.
    pub(super) fn text_bytes(&self) -> usize {
        if let Self::Text(text) = self { text.len() } else { 0 }
    }

    /// Bytes that a copy of the value takes: lists and maps are shared.
    pub(super) fn own_bytes(&self) -> usize {
        if let Self::Text(Cow::Owned(text)) = self { text.len() } else { 0 }
    }

    /// Bytes that the value takes, what is in it included.
    pub(super) fn all_bytes(&self) -> usize {
        let inside: usize = match self {
            Self::List(list) => list.iter().map(Self::all_bytes).sum(),
            // Nodes of a tree are half full at worst.
            Self::Map(map) => map.iter().map(|(name, value)| 64 + name.len() + 2 * value.all_bytes()).sum(),
            other => other.own_bytes(),
        };
        size_of::<Self>() + inside
    }

    /// Go's truth: neither zero nor empty. A time is always true.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Labels(fields) => !fields.sorted().is_empty(),
            Self::Time(_) => true,
        }
    }

    /// Appends the value as `fmt.Fprint` prints it; nil as templates do.
    pub(super) fn print(&self, out: &mut String) {
        match self {
            Self::Nil => out.push_str("<no value>"),
            other => other.print_inner(out),
        }
    }

    /// The value as `%v` prints it.
    pub(super) fn print_inner(&self, out: &mut String) {
        match self {
            Self::Nil => out.push_str("<nil>"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Int(value) => out.push_str(&value.to_string()),
            Self::Float(value) => out.push_str(&format_float(*value)),
            Self::Text(text) => out.push_str(text),
            Self::List(list) => {
                out.push('[');
                for (index, item) in list.iter().enumerate() {
                    out.push_str(if index > 0 { " " } else { "" });
                    item.print_inner(out);
                }
                out.push(']');
            }
            Self::Map(map) => {
                out.push_str("map[");
                for (index, (name, value)) in map.iter().enumerate() {
                    out.push_str(if index > 0 { " " } else { "" });
                    out.push_str(name);
                    out.push(':');
                    value.print_inner(out);
                }
                out.push(']');
            }
            Self::Labels(fields) => {
                let pairs: Vec<String> =
                    fields.sorted().iter().map(|(name, value)| format!("{name}:{value}")).collect();
                out.push_str("map[");
                out.push_str(&pairs.join(" "));
                out.push(']');
            }
            Self::Time(time) => out.push_str(&time.to_string()),
        }
    }

    /// The value as text, borrowed if it is one.
    pub(super) fn to_text(&self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text.clone(),
            other => {
                let mut out = String::new();
                other.print_inner(&mut out);
                Cow::Owned(out)
            }
        }
    }
}

/// A float as Go's `%v`: shortest digits, an exponent below 1e-4 and from 1e6.
pub(super) fn format_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let magnitude = value.abs();
    if value == 0.0 || (1e-4..1e6).contains(&magnitude) {
        return value.to_string();
    }
    go_exponent(&format!("{value:e}"))
}

/// Rust's `1e-7` as Go's `1e-07`.
pub(super) fn go_exponent(text: &str) -> String {
    let Some((digits, exponent)) = text.split_once('e') else { return text.to_owned() };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}
