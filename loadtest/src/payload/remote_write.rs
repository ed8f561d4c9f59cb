//! The series of `metrics` as requests of Prometheus remote write 1 and 2.
//!
//! The sample of a series is the last field of its message, so that the places of its value and time are known while
//! writing. Times in milliseconds are varints of six bytes from 1971 to 2109.

use std::collections::HashMap;
use std::ops::Range;

use wire::protobuf::{put_bytes_field, put_message, put_tag, put_varint, put_varint_field};

use super::metrics::{BOUNDS, Form, Identity, Kind, MetricsTemplate, Point};
use crate::cli::WriteVersion;

/// Bytes of a time on the wire.
pub(super) const TIME_BYTES: usize = 6;
/// A time in the middle of the range, where the real one is written later.
const TIME_BLANK_MS: u64 = 1_763_000_000_000;
/// Labels as a scrape would have added them.
pub(super) const TARGET_LABELS: [(&str, &str); 2] = [("instance", "loadtest"), ("job", "loadtest")];
const LENGTH_DELIMITED: u32 = 2;
const VARINT: u32 = 0;
const FIXED64: u32 = 1;

/// A time as a varint in the first [`TIME_BYTES`] bytes.
pub(super) fn time(time_ns: i64) -> [u8; 8] {
    let mut ms = u64::try_from(time_ns / 1_000_000).unwrap_or(0);
    let mut bytes = [0; 8];
    for (index, byte) in bytes[..TIME_BYTES].iter_mut().enumerate() {
        let more = if index + 1 < TIME_BYTES { 0x80 } else { 0 };
        *byte = (ms & 0x7F) as u8 | more;
        ms >>= 7;
    }
    bytes
}

/// A request with these series.
pub(super) fn template(identity: &Identity, series: Range<u32>, version: WriteVersion) -> MetricsTemplate {
    let mut request = Request { version, body: Vec::new(), symbols: Symbols::default() };
    // Version 2 refers to the symbols in front, whose bytes are known only in the end; places are moved then.
    let mut points = Vec::new();
    for number in series {
        let labels = labels(identity, number, points.len() as u64);
        let mut point =
            Point { series: number, kind: identity.kind(number), times: Vec::new(), values: Vec::new() };
        match point.kind {
            Kind::Counter => request.put(&mut point, "loadtest_requests_total", &labels, None),
            Kind::Gauge => request.put(&mut point, "loadtest_queue_depth", &labels, None),
            Kind::Histogram => {
                request.put(&mut point, "loadtest_duration_seconds_count", &labels, None);
                request.put(&mut point, "loadtest_duration_seconds_sum", &labels, None);
                for bound in BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]) {
                    request.put(&mut point, "loadtest_duration_seconds_bucket", &labels, Some(&bound));
                }
            }
        }
        points.push(point);
    }
    let items = points.iter().map(|point| point.times.len() as u64).sum();
    let mut bytes = Vec::new();
    if version == WriteVersion::V2 {
        for symbol in &request.symbols.list {
            put_bytes_field(&mut bytes, 4, symbol.as_bytes());
        }
    }
    for point in &mut points {
        point.times.iter_mut().chain(&mut point.values).for_each(|place| *place += bytes.len());
    }
    bytes.extend_from_slice(&request.body);
    MetricsTemplate::new(Form::RemoteWrite, bytes, points, items, identity)
}

/// Labels but the name and `le`, sorted.
fn labels(identity: &Identity, series: u32, generation: u64) -> Vec<(String, String)> {
    let attributes = identity.attributes(series, generation);
    let mut labels: Vec<_> =
        attributes.into_iter().map(|(key, value)| (key.replace('.', "_"), value)).collect();
    labels.extend(TARGET_LABELS.map(|(name, value)| (name.to_owned(), value.to_owned())));
    labels.sort();
    labels
}

struct Request {
    version: WriteVersion,
    body: Vec<u8>,
    symbols: Symbols,
}

impl Request {
    /// Appends a series with one sample, whose places go to `point`.
    fn put(&mut self, point: &mut Point, name: &str, labels: &[(String, String)], le: Option<&str>) {
        let mut all: Vec<(&str, &str)> = vec![("__name__", name)];
        all.extend(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        all.extend(le.map(|le| ("le", le)));
        all.sort_unstable();
        let mut inner = Vec::new();
        match self.version {
            WriteVersion::V1 => {
                for (name, value) in all {
                    put_message(&mut inner, 1, |out| {
                        put_bytes_field(out, 1, name.as_bytes());
                        put_bytes_field(out, 2, value.as_bytes());
                    });
                }
            }
            WriteVersion::V2 => {
                let mut references = Vec::new();
                for text in all.into_iter().flat_map(|(name, value)| [name, value]) {
                    put_varint(&mut references, self.symbols.reference(text));
                }
                put_bytes_field(&mut inner, 1, &references);
                put_message(&mut inner, 5, |out| put_varint_field(out, 1, kind_number(point.kind)));
            }
        }
        put_tag(&mut inner, 2, LENGTH_DELIMITED);
        put_varint(&mut inner, (1 + 8 + 1 + TIME_BYTES) as u64);
        put_tag(&mut inner, 1, FIXED64);
        let value = inner.len();
        inner.extend_from_slice(&[0; 8]);
        put_tag(&mut inner, 2, VARINT);
        let time = inner.len();
        put_varint(&mut inner, TIME_BLANK_MS);
        let number = if self.version == WriteVersion::V1 { 1 } else { 5 };
        put_bytes_field(&mut self.body, number, &inner);
        let start = self.body.len() - inner.len();
        point.values.push(start + value);
        point.times.push(start + time);
    }
}

/// `Metadata.MetricType` of io/prometheus/write/v2/types.proto.
fn kind_number(kind: Kind) -> u64 {
    match kind {
        Kind::Counter => 1,
        Kind::Gauge => 2,
        Kind::Histogram => 3,
    }
}

/// The symbols of version 2; the first is empty.
struct Symbols {
    list: Vec<String>,
    known: HashMap<String, u64>,
}

impl Default for Symbols {
    fn default() -> Self {
        Self { list: vec![String::new()], known: HashMap::from([(String::new(), 0)]) }
    }
}

impl Symbols {
    fn reference(&mut self, text: &str) -> u64 {
        if let Some(known) = self.known.get(text) {
            return *known;
        }
        let number = self.list.len() as u64;
        self.list.push(text.to_owned());
        self.known.insert(text.to_owned(), number);
        number
    }
}
