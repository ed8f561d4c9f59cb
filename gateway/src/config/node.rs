//! The config tree before it is typed: YAML with the place of every key and value.
//!
//! Typing a scalar waits until everything is expanded and merged, because `${env:X}` decides its type late. Invariant
//! CONF-1: a scalar keeps the text it was written with, so that a text field gets `014` and not `12`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Number, Value};

/// Where something stands in a config.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file's path, or `env:NAME`, `yaml:` or `--set` for other sources.
    pub source: Arc<str>,
    /// First line is 1.
    pub line: usize,
    /// First column is 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source, self.line, self.column)
    }
}

/// A value and where it starts.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub value: NodeValue,
    /// Where it starts.
    pub place: Place,
}

/// A YAML value.
#[derive(Clone, Debug)]
pub enum NodeValue {
    /// Null, bool, number or text: not decided yet.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file, keys unique.
    Map(Vec<Entry>),
}

/// A key, where it stands, and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// The value.
    pub node: Node,
}

/// A scalar as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scalar {
    /// The text after YAML escapes.
    pub text: String,
    /// Quoted, a block scalar or tagged `!!str`: text whatever it looks like.
    pub is_text: bool,
    /// The text of the expanded reference that this whole scalar came from; a text field gets it unchanged.
    pub original: Option<String>,
}

impl Scalar {
    /// The JSON value: types as go-yaml v3 resolves them, which is what the collector reads with. A float that JSON
    /// cannot carry (`.inf`, `.nan`) stays text. Text that a reference brought is that reference's whole text.
    pub fn to_json(&self) -> Value {
        let as_text = || Value::String(self.original.as_ref().unwrap_or(&self.text).clone());
        if self.is_text {
            return as_text();
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Value::Null,
            "true" | "True" | "TRUE" => Value::Bool(true),
            "false" | "False" | "FALSE" => Value::Bool(false),
            text => number(text).map_or_else(as_text, Value::Number),
        }
    }
}

impl Node {
    /// A null.
    pub fn null(place: Place) -> Self {
        Self { value: NodeValue::Scalar(Scalar::default()), place }
    }

    /// The entries, if this is a map.
    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            NodeValue::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of `key`, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries()?.iter().find(|entry| entry.key == key)
    }

    /// Whether this is nothing: null, `~`, or no text at all.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, NodeValue::Scalar(scalar) if scalar.to_json().is_null())
    }

    /// The place of the deepest part of `path` that exists: the key of a map, the value in a list. A segment is a
    /// key, a list index, or both as `key[index]`.
    pub fn locate(&self, path: &[String]) -> &Place {
        let mut node = self;
        let mut place = &self.place;
        for segment in path {
            let (key, indices) = split_indices(segment);
            if !key.is_empty() {
                match &node.value {
                    NodeValue::Map(entries) => match entries.iter().find(|entry| entry.key == key) {
                        Some(entry) => (node, place) = (&entry.node, &entry.place),
                        None => return place,
                    },
                    NodeValue::List(items) => match key.parse().ok().and_then(|i: usize| items.get(i)) {
                        Some(item) => (node, place) = (item, &item.place),
                        None => return place,
                    },
                    NodeValue::Scalar(_) => return place,
                }
            }
            for index in indices {
                match &node.value {
                    NodeValue::List(items) if index < items.len() => {
                        (node, place) = (&items[index], &items[index].place);
                    }
                    _ => return place,
                }
            }
        }
        place
    }

    /// The tree as JSON.
    pub fn to_json(&self) -> Value {
        self.render(&mut Vec::new(), &mut BTreeMap::new())
    }

    /// The tree as JSON, with the original texts of those scalars that are a whole expanded reference and were not
    /// typed as text, by path.
    pub fn to_json_with_originals(&self) -> (Value, BTreeMap<Vec<String>, String>) {
        let mut originals = BTreeMap::new();
        let value = self.render(&mut Vec::new(), &mut originals);
        (value, originals)
    }

    fn render(&self, path: &mut Vec<String>, originals: &mut BTreeMap<Vec<String>, String>) -> Value {
        match &self.value {
            NodeValue::Scalar(scalar) => {
                let value = scalar.to_json();
                if let (Some(original), false) = (&scalar.original, value.is_string()) {
                    originals.insert(path.clone(), original.clone());
                }
                value
            }
            NodeValue::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    list.push(item.render(path, originals));
                    path.pop();
                }
                Value::Array(list)
            }
            NodeValue::Map(entries) => {
                let mut map = Map::new();
                for entry in entries {
                    path.push(entry.key.clone());
                    map.insert(entry.key.clone(), entry.node.render(path, originals));
                    path.pop();
                }
                Value::Object(map)
            }
        }
    }
}

/// `key[1][2]` as the key and its indices; text that is not of this form is all key.
fn split_indices(segment: &str) -> (&str, Vec<usize>) {
    let Some((key, rest)) = segment.split_once('[') else { return (segment, Vec::new()) };
    let indices: Option<Vec<usize>> =
        rest.strip_suffix(']').and_then(|rest| rest.split("][").map(|index| index.parse().ok()).collect());
    match indices {
        Some(indices) => (key, indices),
        None => (segment, Vec::new()),
    }
}

/// A plain scalar as a number, by the rules of go-yaml v3 (resolve.go): Go integer literals with `_`, then
/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn number(text: &str) -> Option<Number> {
    let first = *text.as_bytes().first()?;
    if !(first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.')) {
        return None;
    }
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = if let Some(hex) = lower.strip_prefix("0x") {
        (16, hex)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (2, binary)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (8, octal)
    } else if lower.len() > 1 && lower.starts_with('0') && lower.bytes().all(|b| b.is_ascii_digit()) {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if body.bytes().all(|b| b.is_ascii_alphanumeric())
        && let Ok(magnitude) = u64::from_str_radix(body, radix)
    {
        if !negative {
            return Some(Number::from(magnitude));
        }
        if let Ok(value) = i64::from_str_radix(&format!("-{body}"), radix) {
            return Some(Number::from(value));
        }
    }
    if !is_float(digits) {
        return None;
    }
    let value: f64 = digits.parse().ok()?;
    Number::from_f64(if negative { -value } else { value })
}

fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some((whole, part)) => {
            all_digits(whole) && all_digits(part) && !(whole.is_empty() && part.is_empty())
        }
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    let exponent_ok = exponent.is_none_or(|e| {
        let digits = e.strip_prefix(['+', '-']).unwrap_or(e);
        !digits.is_empty() && all_digits(digits)
    });
    mantissa_ok && exponent_ok
}
