//! Values as other types, by the rules of the getters in expression.go: `…Getter` wants the type, `…LikeGetter` converts.

use std::borrow::Cow;
use std::fmt::Write as _;

use wire::otlp::{AnyValue, View};

use crate::error::{Eval, RunError};
use crate::number_format::{go_float, parse_float};
use crate::time::Time;
use crate::value::{Map, Value};

fn expected<T>(what: &str, got: &Value<'_>) -> Eval<T> {
    Err(RunError::of_type(format!("expected {what} but got {}", got.type_name())))
}

/// Lower-case hex digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
    }
    hex
}

/// The bytes of an even number of hex digits.
pub(crate) fn from_hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}

impl<'p> Value<'p> {
    pub(crate) fn into_text(self) -> Eval<Cow<'p, str>> {
        match self {
            Self::Text(text) => Ok(text),
            other => expected("string", &other),
        }
    }

    pub(crate) fn into_int(self) -> Eval<i64> {
        match self {
            Self::Int(int) => Ok(int),
            other => expected("int64", &other),
        }
    }

    pub(crate) fn into_double(self) -> Eval<f64> {
        match self {
            Self::Double(double) => Ok(double),
            other => expected("float64", &other),
        }
    }

    pub(crate) fn into_bool(self) -> Eval<bool> {
        match self {
            Self::Bool(flag) => Ok(flag),
            other => expected("bool", &other),
        }
    }

    pub(crate) fn into_map(self) -> Eval<Map<'p>> {
        match self {
            Self::Map(map) => Ok(map),
            other => expected("pcommon.Map", &other),
        }
    }

    pub(crate) fn into_list(self) -> Eval<Vec<Self>> {
        match self {
            Self::List(list) => Ok(list),
            other => expected("pcommon.Slice", &other),
        }
    }

    pub(crate) fn into_time(self) -> Eval<Time> {
        match self {
            Self::Time(time) => Ok(time),
            other => expected("time", &other),
        }
    }

    pub(crate) fn into_duration(self) -> Eval<i64> {
        match self {
            Self::Duration(ns) => Ok(ns),
            other => expected("duration", &other),
        }
    }

    /// As a text: bytes as hex, everything else that is no text as JSON.
    pub(crate) fn into_text_like(self) -> Eval<Option<Cow<'p, str>>> {
        Ok(Some(match self {
            Self::Nil => return Ok(None),
            Self::Text(text) => text,
            Self::Bytes(bytes) => to_hex(&bytes).into(),
            other => other.json()?.into(),
        }))
    }

    /// The value as `json.Marshal` of Go writes it, HTML escapes included.
    fn json(&self) -> Eval<String> {
        Ok(match self {
            Self::Nil => "null".to_owned(),
            Self::Bool(flag) => flag.to_string(),
            Self::Int(int) | Self::Duration(int) => int.to_string(),
            Self::Double(double) if double.is_finite() => go_float(*double),
            Self::Double(double) => {
                return Err(RunError::new(format!("json: unsupported value: {double}")));
            }
            Self::Time(time) => format!("\"{}\"", time.rfc3339()),
            Self::TraceId(id) => json_bytes(id),
            Self::SpanId(id) => json_bytes(id),
            Self::Messages(messages) => {
                return Err(RunError::of_type(format!("unsupported type: {}", messages.kind)));
            }
            Self::Text(_) | Self::Bytes(_) | Self::List(_) | Self::Map(_) | Self::Raw(_) => {
                let text = self.as_text()?;
                // Only texts hold these characters in JSON.
                text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
            }
        })
    }

    /// The value as `pcommon.Value.AsString` writes it.
    pub(crate) fn as_text(&self) -> Eval<String> {
        if let Self::Text(text) = self {
            return Ok(text.clone().into_owned());
        }
        let encoded = self.encoded()?;
        let mut text = String::new();
        AnyValue::parse(&encoded)?.append_as_string(&mut text)?;
        Ok(text)
    }

    pub(crate) fn into_int_like(self) -> Eval<Option<i64>> {
        Ok(match self {
            Self::Nil => None,
            Self::Int(int) => Some(int),
            // What is no number is no error here.
            Self::Text(text) => text.parse().ok(),
            Self::Double(double) => Some(go_int(double)),
            Self::Bool(flag) => Some(i64::from(flag)),
            other => return unsupported(&other),
        })
    }

    pub(crate) fn into_double_like(self) -> Eval<Option<f64>> {
        Ok(match self {
            Self::Nil => None,
            Self::Double(double) => Some(double),
            Self::Int(int) => Some(int as f64),
            Self::Text(text) => Some(parse_float(&text).ok_or_else(|| {
                RunError::new(format!("strconv.ParseFloat: parsing {text:?}: invalid syntax"))
            })?),
            Self::Bool(flag) => Some(f64::from(u8::from(flag))),
            other => return unsupported(&other),
        })
    }

    pub(crate) fn into_bool_like(self) -> Eval<Option<bool>> {
        Ok(match self {
            Self::Nil => None,
            Self::Bool(flag) => Some(flag),
            Self::Int(int) => Some(int != 0),
            Self::Double(double) => Some(double != 0.0),
            Self::Text(text) => Some(match &*text {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
                "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
                _ => {
                    return Err(RunError::new(format!(
                        "strconv.ParseBool: parsing {text:?}: invalid syntax"
                    )));
                }
            }),
            other => return unsupported(&other),
        })
    }

    /// As bytes: numbers and booleans big-endian.
    pub(crate) fn into_bytes_like(self) -> Eval<Option<Cow<'p, [u8]>>> {
        Ok(Some(match self {
            Self::Nil => return Ok(None),
            Self::Bytes(bytes) => bytes,
            Self::Text(Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
            Self::Text(Cow::Owned(text)) => text.into_bytes().into(),
            Self::Int(int) => int.to_be_bytes().to_vec().into(),
            Self::Double(double) => double.to_bits().to_be_bytes().to_vec().into(),
            Self::Bool(flag) => vec![u8::from(flag)].into(),
            other => return unsupported(&other),
        }))
    }
}

fn unsupported<T>(value: &Value<'_>) -> Eval<T> {
    Err(RunError::of_type(format!("unsupported type: {}", value.type_name())))
}

fn json_bytes(bytes: &[u8]) -> String {
    let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
    format!("[{}]", numbers.join(","))
}

/// A float as Go on amd64 converts it: towards zero, and out of range (or NaN) to the smallest integer.
pub fn go_int(value: f64) -> i64 {
    let in_range = value >= i64::MIN as f64 && value < -(i64::MIN as f64);
    if in_range { value as i64 } else { i64::MIN }
}
