//! Loki push requests as OTLP logs, so that they can travel the pipelines with everything else.
//!
//! A stream becomes a resource whose attributes are its labels, together with the attribute
//! [`LABELS_HINT`](crate::otlp_to_loki::LABELS_HINT) that lists their names; an entry becomes a record with time, body
//! and its structured metadata as attributes. `otlp_to_loki` reads that back.
//!
//! - L2O-1: labels, lines, times and metadata come back exactly as Loki would have stored the push. The one exception
//!   is an entry of time 0, which OTLP cannot tell from one without time: it is refused, as Loki refuses it for its age.

use model::{AppendReport, Labels};

use crate::DecodeError;
use crate::loki_push::{self, PushRequest};
use crate::otlp_to_loki::{DEFAULT_DISCOVER_SERVICE_NAME, LABELS_HINT, Pairs};
use crate::protobuf::{
    begin_large_message, len_delimited_len, put_bytes_field, put_fixed64_field, put_len_header, put_message,
};

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
        translated.put_stream(&stream.labels, settings, |out, report| {
            for entry in stream.entries.iter() {
                put_record(&stream.labels, (entry.timestamp_ns, entry.line), entry.metadata, out, report);
            }
        });
    }
    translated
}

/// Translates an uncompressed `logproto.PushRequest` as [`loki_push::decode_proto`] and [`translate`] would, without the
/// columns between them: each line is copied once. Gives also the number of streams.
pub fn translate_proto(message: &[u8], settings: &Settings) -> Result<(Translated, usize), DecodeError> {
    // A record takes some bytes more than an entry: without metadata 12 at most.
    let payload = Vec::with_capacity(message.len() + message.len() / 8);
    let (mut translated, mut count) = (Translated { payload, ..Translated::default() }, 0);
    let mut metadata = Pairs::default();
    for stream in loki_push::sent_streams(message) {
        let stream = stream?;
        let labels = stream.labels()?;
        count += 1;
        translated.put_stream(&labels, settings, |out, report| {
            for entry in stream.entries() {
                let entry = entry?;
                metadata.clear();
                for pair in entry.metadata() {
                    let (name, value) = pair?;
                    metadata.push(&name, &value);
                }
                put_record(&labels, (entry.timestamp_ns, &*entry.line), metadata.iter(), out, report);
            }
            Ok::<_, DecodeError>(())
        })?;
    }
    Ok((translated, count))
}

impl Translated {
    /// Writes a stream as a resource with the records that `records` writes.
    fn put_stream<T>(
        &mut self,
        labels: &Labels,
        settings: &Settings,
        records: impl FnOnce(&mut Vec<u8>, &mut AppendReport) -> T,
    ) -> T {
        let group = begin_large_message(&mut self.payload, 1);
        put_message(&mut self.payload, 1, |out| resource(labels, settings, out));
        let scope = begin_large_message(&mut self.payload, 2);
        let outcome = records(&mut self.payload, &mut self.report);
        scope.end(&mut self.payload);
        group.end(&mut self.payload);
        outcome
    }
}

fn resource(labels: &Labels, settings: &Settings, out: &mut Vec<u8>) {
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

/// Tag and value of a time.
const TIME_FIELD_LEN: usize = 9;

/// Writes an entry as a record, its lengths in front so that no content is moved, or counts it as refused.
fn put_record<'m>(
    labels: &Labels,
    (timestamp_ns, line): (i64, &str),
    metadata: impl IntoIterator<Item = (&'m str, &'m str)> + Clone,
    out: &mut Vec<u8>,
    report: &mut AppendReport,
) {
    if timestamp_ns == 0 {
        report.reject("invalid_timestamp", 1, || format!("an entry of stream {labels} has the timestamp 0"));
        return;
    }
    report.stored += 1;
    let body_len = len_delimited_len(1, line.len());
    let own_len = TIME_FIELD_LEN + len_delimited_len(5, body_len);
    let metadata_len = metadata
        .clone()
        .into_iter()
        .map(|(name, value)| len_delimited_len(6, pair_len(name, value)))
        .sum::<usize>();
    put_len_header(out, 2, own_len + metadata_len);
    put_fixed64_field(out, 1, timestamp_ns as u64);
    put_len_header(out, 5, body_len);
    put_bytes_field(out, 1, line.as_bytes());
    for (name, value) in metadata {
        attribute(6, name, value, out);
    }
}

fn pair_len(key: &str, value: &str) -> usize {
    len_delimited_len(1, key.len()) + len_delimited_len(2, len_delimited_len(1, value.len()))
}

/// A `KeyValue` with a text.
fn attribute(number: u32, key: &str, value: &str, out: &mut Vec<u8>) {
    put_len_header(out, number, pair_len(key, value));
    put_bytes_field(out, 1, key.as_bytes());
    put_len_header(out, 2, len_delimited_len(1, value.len()));
    put_bytes_field(out, 1, value.as_bytes());
}

#[cfg(test)]
mod tests;
