//! Trace requests: spans of a request through a shop, with events and links.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use prost::Message;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::metrics::{resource, scope, string};
use super::{Template, find_placeholders, placeholder};
use crate::cli::{DataArgs, Load};

/// How many different requests each connection cycles through.
const TEMPLATES_PER_CONNECTION: u32 = 8;
/// How long each span lasts.
const SPAN_NS: i64 = 25_000_000;

/// A request of spans.
pub(crate) struct TracesTemplate {
    bytes: Vec<u8>,
    /// Offsets of each span's start and end.
    times: Vec<usize>,
}

impl TracesTemplate {
    /// The request with every span from `time_ns` on.
    pub(crate) fn render(&self, time_ns: i64) -> Bytes {
        let mut bytes = self.bytes.clone();
        for pair in self.times.chunks_exact(2) {
            bytes[pair[0]..pair[0] + 8].copy_from_slice(&time_ns.to_le_bytes());
            bytes[pair[1]..pair[1] + 8].copy_from_slice(&(time_ns + SPAN_NS).to_le_bytes());
        }
        Bytes::from(bytes)
    }

    pub(crate) fn items(&self) -> u64 {
        self.times.len() as u64 / 2
    }
}

/// Templates of each connection.
pub(crate) fn templates(load: &Load, batch: u32, run_id: &str) -> Vec<Vec<Template>> {
    let seed = load.data().map_or(0, |data: &DataArgs| data.seed);
    let numbers = |worker: u32| (0..TEMPLATES_PER_CONNECTION).map(move |t| worker * 1000 + t);
    (0..load.pace().connections)
        .map(|worker| numbers(worker).map(|n| Template::Traces(template(seed, batch, run_id, n))).collect())
        .collect()
}

fn template(seed: u64, batch: u32, run_id: &str, number: u32) -> TracesTemplate {
    let mut rng = SmallRng::seed_from_u64(seed.wrapping_mul(7_368_787) ^ u64::from(number));
    let spans: Vec<Span> = (0..batch as usize).map(|index| span(&mut rng, index)).collect();
    let count = spans.len() * 2;
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource(&format!("{run_id}-{number}"))),
            scope_spans: vec![ScopeSpans { scope: Some(scope()), spans, schema_url: String::new() }],
            schema_url: String::new(),
        }],
    };
    let bytes = request.encode_to_vec();
    let times = find_placeholders(&bytes, count);
    TracesTemplate { bytes, times }
}

fn span(rng: &mut SmallRng, index: usize) -> Span {
    let trace_id = rng.random::<[u8; 16]>().to_vec();
    Span {
        trace_id: trace_id.clone(),
        span_id: rng.random::<[u8; 8]>().to_vec(),
        parent_span_id: if index.is_multiple_of(5) { Vec::new() } else { rng.random::<[u8; 8]>().to_vec() },
        name: ["GET /api/cart", "SELECT product", "reserve", "render"][index % 4].to_owned(),
        kind: (index % 5 + 1) as i32,
        start_time_unix_nano: placeholder(2 * index),
        end_time_unix_nano: placeholder(2 * index + 1),
        attributes: vec![
            string("http.request.method", "GET"),
            string("http.route", "/api/cart"),
            string("server.address", format!("10.0.0.{}", index % 250)),
            string("db.system", "postgresql"),
            string("user.id", format!("u-{:06}", rng.random_range(0..1_000_000))),
        ],
        events: vec![span::Event {
            time_unix_nano: 1,
            name: "cache miss".to_owned(),
            attributes: vec![string("cache.key", format!("product-{}", rng.random_range(0..9999)))],
            ..Default::default()
        }],
        links: if index.is_multiple_of(10) {
            vec![span::Link { trace_id, span_id: rng.random::<[u8; 8]>().to_vec(), ..Default::default() }]
        } else {
            Vec::new()
        },
        status: Some(Status { message: String::new(), code: i32::from(index.is_multiple_of(20)) * 2 }),
        ..Default::default()
    }
}
