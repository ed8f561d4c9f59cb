//! Loki push requests as OTLP logs, so that they can travel the pipelines with everything else.
//!
//! A stream becomes a resource whose attributes are its labels, together with the attribute
//! [`LABELS_HINT`](crate::otlp_to_loki::LABELS_HINT) that lists their names; an entry becomes a record with time, body
//! and its structured metadata as attributes. `otlp_to_loki` reads that back.
//!
//! - L2O-1: labels, lines, times and metadata come back exactly as Loki would have stored the push. The one exception
//!   is an entry of time 0, which OTLP cannot tell from one without time: it is refused, as Loki refuses it for its age.

use model::{AppendReport, LogEntry};

use crate::loki_push::{PushRequest, PushStream};
use crate::otlp_to_loki::{DEFAULT_DISCOVER_SERVICE_NAME, LABELS_HINT};
use crate::protobuf::{put_bytes_field, put_fixed64_field, put_message};

const SERVICE_NAME: &str = "service_name";
const UNKNOWN_SERVICE: &str = "unknown_service";

/// Labels of streams that Loki's own services write: they get no service name.
const INTERNAL_LABELS: [&str; 2] = ["__aggregated_metric__", "__pattern__"];

/// How a push becomes logs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Labels whose value a stream without `service_name` takes for it, the first that it has; else it takes
    /// `unknown_service`. Empty: streams stay as they are.
    pub discover_service_name: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { discover_service_name: DEFAULT_DISCOVER_SERVICE_NAME.map(String::from).to_vec() }
    }
}

/// A push as logs.
#[derive(Clone, Debug, Default)]
pub struct Translated {
    /// An `ExportLogsServiceRequest`.
    pub payload: Vec<u8>,
    /// Entries in the payload count as stored.
    pub report: AppendReport,
}

/// Translates a push request.
pub fn translate(request: &PushRequest, settings: &Settings) -> Translated {
    let mut translated = Translated::default();
    for stream in &request.streams {
        put_message(&mut translated.payload, 1, |out| {
            put_message(out, 1, |out| resource(stream, settings, out));
            put_message(out, 2, |out| {
                for entry in stream.entries.iter() {
                    if entry.timestamp_ns == 0 {
                        translated.report.reject("invalid_timestamp", 1, || {
                            format!("an entry of stream {} has the timestamp 0", stream.labels)
                        });
                        continue;
                    }
                    translated.report.stored += 1;
                    put_message(out, 2, |out| record(&entry, out));
                }
            });
        });
    }
    translated
}

fn resource(stream: &PushStream, settings: &Settings, out: &mut Vec<u8>) {
    let labels = &stream.labels;
    let service_name = match settings.discover_service_name.as_slice() {
        [] => None,
        _ if labels.get(SERVICE_NAME).is_some() => None,
        _ if INTERNAL_LABELS.iter().any(|name| labels.get(name).is_some()) => None,
        names => Some(names.iter().find_map(|name| labels.get(name)).unwrap_or(UNKNOWN_SERVICE)),
    };
    let mut hint = String::new();
    let discovered = service_name.map(|value| (SERVICE_NAME, value));
    for (name, value) in labels.iter().chain(discovered) {
        hint.push_str(if hint.is_empty() { "" } else { "," });
        hint.push_str(name);
        attribute(1, name, value, out);
    }
    attribute(1, LABELS_HINT, &hint, out);
}

fn record(entry: &LogEntry<'_>, out: &mut Vec<u8>) {
    put_fixed64_field(out, 1, entry.timestamp_ns as u64);
    put_message(out, 5, |out| put_bytes_field(out, 1, entry.line.as_bytes()));
    for (name, value) in entry.metadata {
        attribute(6, name, value, out);
    }
}

/// A `KeyValue` with a text.
fn attribute(number: u32, key: &str, value: &str, out: &mut Vec<u8>) {
    put_message(out, number, |out| {
        put_bytes_field(out, 1, key.as_bytes());
        put_message(out, 2, |out| put_bytes_field(out, 1, value.as_bytes()));
    });
}

#[cfg(test)]
mod tests;
