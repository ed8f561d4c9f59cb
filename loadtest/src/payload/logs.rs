//! Log requests: access lines, JSON, logfmt and stack traces, each line with its own sequence number.

use std::collections::BTreeSet;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use wire::protobuf::{put_bytes_field, put_message, put_varint_field};

use super::metrics::{SCOPE, resource, resource_attributes, scope, string};
use super::{Template, find_all, find_placeholders, hex, placeholder};
use crate::cli::{Load, LogsArgs, PushForm, Shape};

/// Sixteen hexadecimal digits after this text are the line's sequence number.
pub(crate) const SEQUENCE_KEY: &str = "seq=";
const SEQUENCE_BLANK: &str = "seq=0000000000000000";
const NS_PER_S: i64 = 1_000_000_000;

/// A request with the lines of one stream.
pub(crate) struct LogsTemplate {
    form: Form,
    lines: Vec<Line>,
    /// Value of `service.instance.id`, by which the stream is found again.
    pub(crate) instance: String,
    /// Lines that have the needle.
    pub(crate) needles: u64,
}

enum Form {
    /// Encoded, with the places of each line's time and sequence number.
    Otlp { bytes: Vec<u8>, places: Vec<(usize, usize)> },
    /// `logproto.PushRequest`, written anew each time.
    Push,
    /// The same as JSON.
    PushJson,
}

struct Line {
    text: String,
    /// Where the digits of the sequence number begin.
    sequence_at: usize,
}

impl LogsTemplate {
    /// The request for `round`: record `i` at `time_ns + i`.
    pub(crate) fn render(&self, round: u64, time_ns: i64) -> Bytes {
        match &self.form {
            Form::Otlp { bytes, places } => {
                let mut bytes = bytes.clone();
                for (index, (time_at, sequence_at)) in places.iter().enumerate() {
                    let time = (time_ns + index as i64).to_le_bytes();
                    bytes[*time_at..time_at + 8].copy_from_slice(&time);
                    let digits = hex::<16>(self.sequence(round, index));
                    bytes[*sequence_at..sequence_at + 16].copy_from_slice(&digits);
                }
                Bytes::from(bytes)
            }
            Form::Push => Bytes::from(self.push(round, time_ns)),
            Form::PushJson => Bytes::from(self.push_json(round, time_ns)),
        }
    }

    fn push(&self, round: u64, time_ns: i64) -> Vec<u8> {
        let labels = format!("{{service_instance_id=\"{}\", service_name=\"loadtest\"}}", self.instance);
        let mut out = Vec::new();
        put_message(&mut out, 1, |out| {
            put_bytes_field(out, 1, labels.as_bytes());
            for (index, line) in self.lines.iter().enumerate() {
                let time = time_ns + index as i64;
                put_message(out, 2, |out| {
                    put_message(out, 1, |out| {
                        put_varint_field(out, 1, time.div_euclid(NS_PER_S) as u64);
                        put_varint_field(out, 2, time.rem_euclid(NS_PER_S) as u64);
                    });
                    put_bytes_field(out, 2, line.text.as_bytes());
                    let at = out.len() - line.text.len() + line.sequence_at;
                    out[at..at + 16].copy_from_slice(&hex::<16>(self.sequence(round, index)));
                });
            }
        });
        out
    }

    fn push_json(&self, round: u64, time_ns: i64) -> Vec<u8> {
        let values: Vec<_> = (0..self.lines.len())
            .map(|index| ((time_ns + index as i64).to_string(), self.line(round, index)))
            .collect();
        let stream = serde_json::json!({"service_name": "loadtest", "service_instance_id": self.instance});
        let push = serde_json::json!({"streams": [{"stream": stream, "values": values}]});
        serde_json::to_vec(&push).expect("strings serialise")
    }

    pub(crate) fn items(&self) -> u64 {
        self.lines.len() as u64
    }

    /// The line that record `index` of `round` carries.
    pub(crate) fn line(&self, round: u64, index: usize) -> String {
        let line = &self.lines[index];
        let digits = hex::<16>(self.sequence(round, index));
        let digits = std::str::from_utf8(&digits).expect("hexadecimal digits are ASCII");
        let mut text = line.text.clone();
        text.replace_range(line.sequence_at..line.sequence_at + 16, digits);
        text
    }

    /// Labels and metadata of each line in Loki: what must be there, and what may be besides.
    pub(crate) fn labels(&self) -> LineLabels {
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| (name.replace('.', "_"), (*value).to_owned())).collect()
        };
        let Form::Otlp { bytes, .. } = &self.form else {
            let pushed = own(&[("service_name", "loadtest"), ("service_instance_id", &self.instance)]);
            return LineLabels { required: vec![pushed; self.lines.len()], allowed: Vec::new() };
        };
        let request =
            ExportLogsServiceRequest::decode(bytes.as_slice()).expect("our own templates are well-formed");
        let records = &request.resource_logs[0].scope_logs[0].log_records;
        let mut allowed = own(&resource_attributes(&self.instance));
        allowed.extend(own(&[("scope_name", SCOPE.0), ("scope_version", SCOPE.1)]));
        // Equal in all records or not, it is only compared where a target keeps it.
        let numbers: BTreeSet<_> = records.iter().map(|record| record.severity_number.to_string()).collect();
        allowed.extend(numbers.into_iter().map(|number| ("severity_number".to_owned(), number)));
        LineLabels { required: records.iter().map(record_labels).collect(), allowed }
    }

    fn sequence(&self, round: u64, index: usize) -> u64 {
        round * self.lines.len() as u64 + index as u64
    }
}

/// What lines are called in Loki.
pub(crate) struct LineLabels {
    /// By the line's place in its request.
    pub(crate) required: Vec<Vec<(String, String)>>,
    /// With these values only.
    pub(crate) allowed: Vec<(String, String)>,
}

/// Attributes, severity and ids of a record as Loki keeps them in structured metadata (pkg/loghttp/push/otlp.go).
fn record_labels(record: &LogRecord) -> Vec<(String, String)> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let text = |value: Option<&AnyValue>| match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        _ => String::new(),
    };
    let attributes = record.attributes.iter();
    let mut labels: Vec<_> =
        attributes.map(|pair| (pair.key.replace('.', "_"), text(pair.value.as_ref()))).collect();
    labels.push(("severity_text".to_owned(), record.severity_text.clone()));
    labels.push(("trace_id".to_owned(), hex(&record.trace_id)));
    labels.push(("span_id".to_owned(), hex(&record.span_id)));
    labels
}

/// Templates of each connection: the streams are dealt out in turn.
pub(crate) fn templates(load: &Load, batch: u32, run_id: &str) -> Vec<Vec<Template>> {
    let (args, seed, push) = match load {
        Load::Otlp(args) => (&args.logs, args.sending.data.seed, None),
        Load::LokiPush(args) => (&args.logs, args.sending.data.seed, Some(args.form)),
        _ => return Vec::new(),
    };
    let workers = load.connections().min(args.streams);
    let mut templates: Vec<Vec<Template>> = (0..workers).map(|_| Vec::new()).collect();
    for stream in 0..args.streams {
        let instance = format!("{run_id}-{stream}");
        let rng = SmallRng::seed_from_u64(seed.wrapping_mul(1_000_003) ^ u64::from(stream));
        let template = template(args, push, batch, instance, rng);
        templates[(stream % workers) as usize].push(Template::Logs(template));
    }
    templates
}

fn template(
    args: &LogsArgs,
    push: Option<PushForm>,
    batch: u32,
    instance: String,
    mut rng: SmallRng,
) -> LogsTemplate {
    let mut texts = Vec::new();
    // Somewhere in the stream's lines, the same place in all of its requests.
    let first_needle = rng.random_range(0..args.needle_every).min(batch - 1);
    let mut needles = 0;
    let log_records: Vec<LogRecord> = (0..batch)
        .map(|index| {
            let mut text = line(&mut rng, &args.shapes);
            if let Some(needle) = &args.needle
                && index % args.needle_every == first_needle % args.needle_every
            {
                text.push(' ');
                text.push_str(needle);
                needles += 1;
            }
            texts.push(text.clone());
            record(&mut rng, index as usize, text)
        })
        .collect();
    let form = match push {
        Some(PushForm::Protobuf) => Form::Push,
        Some(PushForm::Json) => Form::PushJson,
        None => otlp(&instance, log_records),
    };
    let lines = texts.into_iter().map(|text| {
        let sequence_at = text.find(SEQUENCE_BLANK).expect("each line has one") + SEQUENCE_KEY.len();
        Line { text, sequence_at }
    });
    LogsTemplate { form, lines: lines.collect(), instance, needles }
}

fn otlp(instance: &str, log_records: Vec<LogRecord>) -> Form {
    let count = log_records.len();
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource(instance)),
            scope_logs: vec![ScopeLogs { scope: Some(scope()), log_records, schema_url: String::new() }],
            schema_url: String::new(),
        }],
    };
    let bytes = request.encode_to_vec();
    let times = find_placeholders(&bytes, count);
    let sequences = find_all(&bytes, SEQUENCE_BLANK.as_bytes());
    assert_eq!(sequences.len(), count, "each line has one sequence number");
    let places = times.into_iter().zip(sequences).map(|(time, at)| (time, at + SEQUENCE_KEY.len())).collect();
    Form::Otlp { bytes, places }
}

fn record(rng: &mut SmallRng, index: usize, text: String) -> LogRecord {
    const SEVERITIES: [(i32, &str); 5] =
        [(5, "DEBUG"), (9, "INFO"), (9, "INFO"), (13, "WARN"), (17, "ERROR")];
    let (severity_number, severity_text) = SEVERITIES[rng.random_range(0..SEVERITIES.len())];
    LogRecord {
        time_unix_nano: placeholder(index),
        severity_number,
        severity_text: severity_text.to_owned(),
        body: Some(AnyValue { value: Some(any_value::Value::StringValue(text)) }),
        attributes: vec![
            string("http.request.method", pick(rng, &["GET", "POST", "PUT"])),
            string("client.address", format!("10.{}.{}.7", rng.random_range(0..8), rng.random_range(0..256))),
            string("user.id", format!("u-{:06}", rng.random_range(0..1_000_000))),
            string("thread.name", format!("worker-{}", rng.random_range(0..32))),
            string("code.function", pick(rng, &["handle", "commit", "reserve", "render", "lookup"])),
            string("deployment", "blue"),
        ],
        trace_id: rng.random::<[u8; 16]>().to_vec(),
        span_id: rng.random::<[u8; 8]>().to_vec(),
        ..Default::default()
    }
}

fn pick(rng: &mut SmallRng, choices: &[&'static str]) -> &'static str {
    choices[rng.random_range(0..choices.len())]
}

/// A line of one of the shapes, 100 to 300 bytes.
fn line(rng: &mut SmallRng, shapes: &[Shape]) -> String {
    let route = pick(rng, &["/api/cart", "/api/checkout", "/api/product/4711", "/healthz", "/login"]);
    let status = pick(rng, &["200", "200", "200", "304", "404", "500"]);
    let took = rng.random_range(1..2000);
    let id: u64 = rng.random();
    match shapes[rng.random_range(0..shapes.len())] {
        Shape::Access => format!(
            "10.0.{}.{} - - \"GET {route}?q={id:x} HTTP/1.1\" {status} {} \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\" {SEQUENCE_BLANK}",
            rng.random_range(0..256),
            rng.random_range(0..256),
            rng.random_range(200..90_000)
        ),
        Shape::Json => format!(
            "{{\"level\":\"info\",\"route\":\"{route}\",\"status\":{status},\"took_ms\":{took},\"request\":\"{id:016x}\",\"note\":\"{SEQUENCE_BLANK}\"}}"
        ),
        Shape::Logfmt => format!(
            "level=info msg=\"request served\" route={route} status={status} took={took}ms request_id={id:016x} caller=server.rs:214 {SEQUENCE_BLANK}"
        ),
        Shape::Trace => format!(
            "request {id:016x} failed {SEQUENCE_BLANK}\n  at shop::cart::reserve (src/cart.rs:{})\n  at shop::http::handle (src/http.rs:88)\n  caused by: größe überschritten after {took} ms",
            rng.random_range(10..900)
        ),
    }
}
