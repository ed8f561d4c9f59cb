//! Log requests: access lines, JSON, logfmt and stack traces, each line with its own sequence number.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::metrics::{resource, scope, string};
use super::{Template, find_placeholders, placeholder};
use crate::cli::OtlpArgs;

/// Sixteen hexadecimal digits after this text are the line's sequence number.
const SEQUENCE_KEY: &str = "seq=";
const SEQUENCE_BLANK: &str = "seq=0000000000000000";

/// A request with the lines of one stream.
pub(crate) struct LogsTemplate {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    /// Value of `service.instance.id`, by which the stream is found again.
    pub(crate) instance: String,
}

struct Line {
    text: String,
    time_offset: usize,
    sequence_offset: usize,
}

impl LogsTemplate {
    /// The request for `round`: record `i` at `time_ns + i`.
    pub(crate) fn render(&self, round: u64, time_ns: i64) -> Bytes {
        let mut bytes = self.bytes.clone();
        for (index, line) in self.lines.iter().enumerate() {
            let time = (time_ns + index as i64).to_le_bytes();
            bytes[line.time_offset..line.time_offset + 8].copy_from_slice(&time);
            let digits = hex16(self.sequence(round, index));
            bytes[line.sequence_offset..line.sequence_offset + 16].copy_from_slice(&digits);
        }
        Bytes::from(bytes)
    }

    pub(crate) fn items(&self) -> u64 {
        self.lines.len() as u64
    }

    /// The line that record `index` of `round` carries.
    pub(crate) fn line(&self, round: u64, index: usize) -> String {
        let digits = hex16(self.sequence(round, index));
        let digits = std::str::from_utf8(&digits).expect("hexadecimal digits are ASCII");
        self.lines[index].text.replacen(SEQUENCE_BLANK, &format!("{SEQUENCE_KEY}{digits}"), 1)
    }

    fn sequence(&self, round: u64, index: usize) -> u64 {
        round * self.lines.len() as u64 + index as u64
    }
}

fn hex16(number: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|i| DIGITS[(number >> (60 - 4 * i)) as usize & 15])
}

/// Templates of each connection: the streams are dealt out in turn.
pub(crate) fn templates(args: &OtlpArgs, run_id: &str) -> Vec<Vec<Template>> {
    let workers = args.connections.min(args.streams);
    let mut templates: Vec<Vec<Template>> = (0..workers).map(|_| Vec::new()).collect();
    for stream in 0..args.streams {
        let instance = format!("{run_id}-{stream}");
        templates[(stream % workers) as usize].push(Template::Logs(template(args, instance, stream)));
    }
    templates
}

fn template(args: &OtlpArgs, instance: String, stream: u32) -> LogsTemplate {
    let mut rng = SmallRng::seed_from_u64(args.seed.wrapping_mul(1_000_003) ^ u64::from(stream));
    let mut texts = Vec::new();
    let log_records = (0..args.batch as usize)
        .map(|index| {
            let text = line(&mut rng);
            texts.push(text.clone());
            record(&mut rng, index, text)
        })
        .collect();
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource(&instance)),
            scope_logs: vec![ScopeLogs { scope: Some(scope()), log_records, schema_url: String::new() }],
            schema_url: String::new(),
        }],
    };
    let bytes = request.encode_to_vec();
    let times = find_placeholders(&bytes, texts.len());
    let sequences = find_all(&bytes, SEQUENCE_BLANK.as_bytes());
    assert_eq!(sequences.len(), texts.len(), "each line has one sequence number");
    let lines = texts
        .into_iter()
        .zip(times)
        .zip(sequences)
        .map(|((text, time_offset), at)| Line { text, time_offset, sequence_offset: at + SEQUENCE_KEY.len() })
        .collect();
    LogsTemplate { bytes, lines, instance }
}

fn find_all(haystack: &[u8], needle: &[u8]) -> Vec<usize> {
    let hits = haystack.windows(needle.len()).enumerate();
    hits.filter(|(_, window)| *window == needle).map(|(offset, _)| offset).collect()
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

/// A line of one of four shapes, 100 to 300 bytes.
fn line(rng: &mut SmallRng) -> String {
    let route = pick(rng, &["/api/cart", "/api/checkout", "/api/product/4711", "/healthz", "/login"]);
    let status = pick(rng, &["200", "200", "200", "304", "404", "500"]);
    let took = rng.random_range(1..2000);
    let id: u64 = rng.random();
    match rng.random_range(0..4) {
        0 => format!(
            "10.0.{}.{} - - \"GET {route}?q={id:x} HTTP/1.1\" {status} {} \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\" {SEQUENCE_BLANK}",
            rng.random_range(0..256),
            rng.random_range(0..256),
            rng.random_range(200..90_000)
        ),
        1 => format!(
            "{{\"level\":\"info\",\"route\":\"{route}\",\"status\":{status},\"took_ms\":{took},\"request\":\"{id:016x}\",\"note\":\"{SEQUENCE_BLANK}\"}}"
        ),
        2 => format!(
            "level=info msg=\"request served\" route={route} status={status} took={took}ms request_id={id:016x} caller=server.rs:214 {SEQUENCE_BLANK}"
        ),
        _ => format!(
            "request {id:016x} failed {SEQUENCE_BLANK}\n  at shop::cart::reserve (src/cart.rs:{})\n  at shop::http::handle (src/http.rs:88)\n  caused by: größe überschritten after {took} ms",
            rng.random_range(10..900)
        ),
    }
}
