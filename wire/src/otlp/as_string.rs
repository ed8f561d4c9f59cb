//! Values as text, as `pcommon.Value.AsString` of the collector writes them.
//!
//! Lists and maps become the compact JSON of Go's `encoding/json` without its HTML escapes: keys in byte order, floats
//! in its notation, bytes as base64. A NaN or infinity inside makes the whole text empty, as there (pdata/pcommon/value.go
//! from v1.59).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::AnyValue;
use crate::DecodeError;

impl AnyValue<'_> {
    /// Appends the value as text: strings as they are, numbers and booleans in Go's notation, bytes as base64, lists
    /// and maps as JSON, nothing for an empty value.
    pub fn append_as_string(&self, out: &mut String) -> Result<(), DecodeError> {
        match self {
            Self::Empty => {}
            Self::String(text) => out.push_str(text),
            Self::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Self::Int(int) => append_int(*int, out),
            Self::Double(double) if double.is_finite() => append_float(*double, out),
            Self::Double(double) => out.push_str(match double {
                double if double.is_nan() => "NaN",
                double if *double > 0.0 => "Infinity",
                _ => "-Infinity",
            }),
            Self::Bytes(bytes) => STANDARD.encode_string(bytes, out),
            Self::Array(_) | Self::Map(_) => {
                let start = out.len();
                if !append_json(self, out)? {
                    out.truncate(start);
                }
            }
        }
        Ok(())
    }
}

fn append_int(int: i64, out: &mut String) {
    write!(out, "{int}").expect("writing to a string cannot fail");
}

/// A finite float as `encoding/json` of Go writes it: shortest digits, with an exponent below 1e-6 and from 1e21 on.
fn append_float(double: f64, out: &mut String) {
    let size = double.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{double:e}");
        let exponent_sign = if size >= 1.0 { "e+" } else { "e" };
        out.push_str(&text.replacen('e', exponent_sign, 1));
    } else {
        write!(out, "{double}").expect("writing to a string cannot fail");
    }
}

/// Appends a value as JSON; `false` when there is a float in it that JSON cannot hold.
fn append_json(value: &AnyValue<'_>, out: &mut String) -> Result<bool, DecodeError> {
    match value {
        AnyValue::Empty => out.push_str("null"),
        AnyValue::String(text) => append_json_string(text, out),
        AnyValue::Bool(_) | AnyValue::Int(_) => value.append_as_string(out)?,
        AnyValue::Double(double) if double.is_finite() => append_float(*double, out),
        AnyValue::Double(_) => return Ok(false),
        AnyValue::Bytes(bytes) => {
            out.push('"');
            STANDARD.encode_string(bytes, out);
            out.push('"');
        }
        AnyValue::Array(array) => {
            out.push('[');
            for (index, element) in array.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                if !append_json(&element?, out)? {
                    return Ok(false);
                }
            }
            out.push(']');
        }
        AnyValue::Map(map) => {
            let mut sorted = BTreeMap::new();
            for attribute in map.iter() {
                let attribute = attribute?;
                // Of equal keys the last holds, as when Go fills its map.
                sorted.insert(attribute.key()?, attribute.value()?);
            }
            out.push('{');
            for (index, (key, value)) in sorted.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                append_json_string(key, out);
                out.push(':');
                if !append_json(value, out)? {
                    return Ok(false);
                }
            }
            out.push('}');
        }
    }
    Ok(true)
}

fn append_json_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                write!(out, "\\u{:04x}", character as u32).expect("writing to a string cannot fail");
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests;
