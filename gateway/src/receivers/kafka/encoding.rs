//! How messages in a topic are written, and the OTLP payload of one.
//!
//! Names are those of receiver/kafkareceiver of the collector's contrib repository. Beside OTLP there are three ways for
//! logs that other programs write: a message is a log record then, whose body is its bytes (`raw`), its text (`text`) or
//! the object that it is in JSON (`json`, whose numbers are doubles there as here).

use bytes::Bytes;
use model::Signal;
use pipelines::ConfigError;
use serde::Deserialize;
use serde_json::Value;
use wire::DecodeError;
use wire::otlp::json;
use wire::protobuf::{put_bytes_field, put_double_field, put_fixed64_field, put_message, put_varint_field};

/// How a message is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(super) enum Encoding {
    /// The protobuf message `Export…ServiceRequest`.
    #[default]
    OtlpProto,
    /// The same as OTLP/JSON.
    OtlpJson,
    /// Bytes of a log record.
    Raw,
    /// Text of a log record; what is not UTF-8 is replaced.
    Text,
    /// A log record as an object of JSON.
    Json,
}

impl TryFrom<String> for Encoding {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "otlp_proto" => Ok(Self::OtlpProto),
            "otlp_json" => Ok(Self::OtlpJson),
            "raw" => Ok(Self::Raw),
            "text" | "text_utf-8" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!(
                "the encoding {name:?} is not supported, supported are otlp_proto and otlp_json, for logs also raw, \
                 text and json"
            )),
        }
    }
}

impl Encoding {
    /// Refuses what a signal cannot be written in; `section` is the signal's.
    pub(super) fn check(self, signal: Signal, section: &str) -> Result<(), ConfigError> {
        let is_any = matches!(self, Self::OtlpProto | Self::OtlpJson);
        if is_any || signal == Signal::Logs {
            return Ok(());
        }
        let message = format!("only logs can be written so, {signal} as otlp_proto or otlp_json");
        Err(ConfigError::at(&format!("{section}.encoding"), message))
    }

    /// The OTLP payload of a message that is seen at `now_ns`. That it is sound is not checked.
    pub(super) fn payload(self, signal: Signal, body: &[u8], now_ns: u64) -> Result<Bytes, DecodeError> {
        let mut value = Vec::with_capacity(body.len() + 16);
        let observed_ns = match self {
            Self::OtlpProto => return Ok(Bytes::copy_from_slice(body)),
            Self::OtlpJson => return Ok(Bytes::from(json::to_protobuf(signal, body)?)),
            Self::Raw => {
                put_bytes_field(&mut value, 7, body);
                None
            }
            Self::Text => {
                put_bytes_field(&mut value, 1, String::from_utf8_lossy(body).as_bytes());
                Some(now_ns)
            }
            Self::Json => {
                let read: serde_json::Map<String, Value> = serde_json::from_slice(body)
                    .map_err(|error| DecodeError::invalid(format!("want an object of JSON: {error}")))?;
                put_value(&mut value, &Value::Object(read));
                Some(now_ns)
            }
        };
        let mut payload = Vec::with_capacity(value.len() + 48);
        put_message(&mut payload, 1, |group| {
            put_message(group, 2, |scope| {
                put_message(scope, 2, |record| {
                    put_bytes_field(record, 5, &value);
                    if let Some(now_ns) = observed_ns {
                        put_fixed64_field(record, 11, now_ns);
                    }
                });
            });
        });
        Ok(payload.into())
    }
}

/// Appends the content of an `AnyValue`. Depth is bounded by what read the JSON.
fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => {}
        Value::Bool(value) => put_varint_field(out, 2, (*value).into()),
        Value::Number(number) => put_double_field(out, 4, number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => put_bytes_field(out, 1, text.as_bytes()),
        Value::Array(values) => put_message(out, 5, |array| {
            for value in values {
                put_message(array, 1, |element| put_value(element, value));
            }
        }),
        Value::Object(pairs) => put_message(out, 6, |map| {
            for (key, value) in pairs {
                put_message(map, 1, |pair| {
                    put_bytes_field(pair, 1, key.as_bytes());
                    put_message(pair, 2, |inner| put_value(inner, value));
                });
            }
        }),
    }
}

#[cfg(test)]
mod tests;
