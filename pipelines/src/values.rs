//! Value types of component configs: durations in Go's notation and strings that must not be shown.
//!
//! Source of the notation: `time.ParseDuration` of Go, which the collector's configs use (confmap decodes a bare
//! integer as nanoseconds). A negative duration is refused: no key that we have gives it a meaning.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A duration as configs write it: `200ms`, `1m30s`, `1.5h`, `0`; a bare integer counts nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigDuration(pub Duration);

/// A string that logs, errors and `print-config` must not show: a token, a header value (`configopaque.String` in the
/// collector).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Opaque(String);

impl ConfigDuration {
    /// A duration of `ms` milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// A duration of `secs` seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// Reads Go's notation.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid duration {text:?}: want a number and a unit (ns, us, ms, s, m, h)");
        let mut rest = text.strip_prefix('+').unwrap_or(text);
        if rest.starts_with('-') {
            return Err(format!("invalid duration {text:?}: must not be negative"));
        }
        if rest == "0" {
            return Ok(Self::default());
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total_ns = 0_f64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
            rest = &rest[digits..];
            let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
            let unit_ns = match &rest[..unit_end] {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                "" => return Err(format!("missing unit in duration {text:?}")),
                unit => return Err(format!("unknown unit {unit:?} in duration {text:?}")),
            };
            total_ns += number * unit_ns;
            rest = &rest[unit_end..];
        }
        // Go keeps durations in an i64 of nanoseconds.
        if total_ns > i64::MAX as f64 {
            return Err(format!("invalid duration {text:?}: at most 292 years are allowed"));
        }
        Ok(Self(Duration::from_nanos(total_ns.round() as u64)))
    }
}

impl<'de> Deserialize<'de> for ConfigDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DurationVisitor;

        impl Visitor<'_> for DurationVisitor {
            type Value = ConfigDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 200ms")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ConfigDuration, E> {
                ConfigDuration::parse(text).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, ns: u64) -> Result<ConfigDuration, E> {
                Ok(ConfigDuration(Duration::from_nanos(ns)))
            }

            fn visit_i64<E: Error>(self, ns: i64) -> Result<ConfigDuration, E> {
                u64::try_from(ns)
                    .map(|ns| ConfigDuration(Duration::from_nanos(ns)))
                    .map_err(|_| E::custom(format!("invalid duration {ns}: must not be negative")))
            }
        }

        deserializer.deserialize_any(DurationVisitor)
    }
}

impl Opaque {
    /// The hidden text. Give it to the wire, never to a log.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Opaque {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl<'de> Deserialize<'de> for Opaque {
    /// Takes any scalar: a header value `123` in YAML is text to its user.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(text)),
            scalar @ (serde_json::Value::Bool(_) | serde_json::Value::Number(_)) => {
                Ok(Self(scalar.to_string()))
            }
            _ => Err(D::Error::custom("want a text")),
        }
    }
}

#[cfg(test)]
mod tests;
