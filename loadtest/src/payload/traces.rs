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
/// Spans of a trace.
const SPANS_PER_TRACE: u64 = 5;
/// The first half of every trace id; the second is different in each trace.
const TRACE_ID_FRONT: u64 = 0x1d8e_77c2_90ab_4f63;
/// How long each span lasts.
const SPAN_NS: i64 = 25_000_000;

/// A request of spans.
pub(crate) struct TracesTemplate {
    bytes: Vec<u8>,
    /// Offsets of what differs from round to round.
    places: Vec<(usize, Field)>,
    spans: u64,
    /// Where this template's ids begin.
    first_id: u64,
}

/// What is written at a place.
#[derive(Clone, Copy)]
enum Field {
    Start,
    End,
    /// The id of this span of the request.
    Span(u64),
    /// The second half of the id of the trace that this span belongs to.
    Trace(u64),
}

impl TracesTemplate {
    /// The request for `round` with every span from `time_ns` on; no id comes twice.
    pub(crate) fn render(&self, round: u64, time_ns: i64) -> Bytes {
        let mut bytes = self.bytes.clone();
        let first = round.wrapping_mul(self.spans);
        for (at, field) in &self.places {
            let word = match field {
                Field::Start => time_ns.cast_unsigned(),
                Field::End => (time_ns + SPAN_NS).cast_unsigned(),
                Field::Span(index) => self.id(first + index),
                Field::Trace(index) => !self.id(first + index / SPANS_PER_TRACE * SPANS_PER_TRACE),
            };
            bytes[*at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        Bytes::from(bytes)
    }

    pub(crate) fn items(&self) -> u64 {
        self.spans
    }

    /// Different for each number: every step can be undone (splitmix64).
    fn id(&self, number: u64) -> u64 {
        let mut id = self.first_id.wrapping_add(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        id = (id ^ (id >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        id = (id ^ (id >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        id ^ (id >> 31)
    }
}

/// Templates of each connection.
pub(crate) fn templates(load: &Load, batch: u32, run_id: &str) -> Vec<Vec<Template>> {
    let seed = load.data().map_or(0, |data: &DataArgs| data.seed);
    let numbers = |worker: u32| (0..TEMPLATES_PER_CONNECTION).map(move |t| worker * 1000 + t);
    (0..load.connections())
        .map(|worker| numbers(worker).map(|n| Template::Traces(template(seed, batch, run_id, n))).collect())
        .collect()
}

fn template(seed: u64, batch: u32, run_id: &str, number: u32) -> TracesTemplate {
    let mut rng = SmallRng::seed_from_u64(seed.wrapping_mul(7_368_787) ^ u64::from(number));
    let mut fields = Vec::new();
    let spans: Vec<Span> =
        (0..u64::from(batch)).map(|index| span(&mut rng, index, &mut Blanks(&mut fields))).collect();
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource(&format!("{run_id}-{number}"))),
            scope_spans: vec![ScopeSpans { scope: Some(scope()), spans, schema_url: String::new() }],
            schema_url: String::new(),
        }],
    };
    let bytes = request.encode_to_vec();
    let places = find_placeholders(&bytes, fields.len()).into_iter().zip(fields).collect();
    // Equal seeds send equal ids; templates are far apart.
    let first_id = (seed << 48) ^ (u64::from(number) << 32);
    TracesTemplate { bytes, places, spans: u64::from(batch), first_id }
}

/// The fields that differ from round to round, each with a placeholder of its own.
struct Blanks<'a>(&'a mut Vec<Field>);

impl Blanks<'_> {
    fn next(&mut self, field: Field) -> u64 {
        self.0.push(field);
        placeholder(self.0.len() - 1)
    }

    fn id(&mut self, field: Field) -> Vec<u8> {
        self.next(field).to_le_bytes().to_vec()
    }
}

fn span(rng: &mut SmallRng, index: u64, blanks: &mut Blanks<'_>) -> Span {
    // The spans of a trace follow each other, the root first.
    let root = index / SPANS_PER_TRACE * SPANS_PER_TRACE;
    let trace_id = |blanks: &mut Blanks<'_>| {
        let mut id = TRACE_ID_FRONT.to_le_bytes().to_vec();
        id.extend(blanks.id(Field::Trace(index)));
        id
    };
    Span {
        trace_id: trace_id(blanks),
        span_id: blanks.id(Field::Span(index)),
        parent_span_id: if index == root { Vec::new() } else { blanks.id(Field::Span(root)) },
        name: ["GET /api/cart", "SELECT product", "reserve", "render"][index as usize % 4].to_owned(),
        kind: (index % 5 + 1) as i32,
        start_time_unix_nano: blanks.next(Field::Start),
        end_time_unix_nano: blanks.next(Field::End),
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
            vec![span::Link {
                trace_id: trace_id(blanks),
                span_id: rng.random::<[u8; 8]>().to_vec(),
                ..Default::default()
            }]
        } else {
            Vec::new()
        },
        status: Some(Status { message: String::new(), code: i32::from(index.is_multiple_of(20)) * 2 }),
        ..Default::default()
    }
}
