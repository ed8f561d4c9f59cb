//! A sink behind the target: receives as OTLP/HTTP with protobuf what a pipeline forwards, and keeps of each item what
//! is needed to compare it: 32 bytes.
//!
//! Items of other runs are none of its business. What a pipeline adds to an item, such as an attribute of its own, is in
//! order; what was sent must come unchanged.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, metric, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use wire::compression;

use crate::cli::Signal;
use crate::clock::now_ns;
use crate::payload::metrics::resource_attributes;

/// The largest request, packed and unpacked.
const REQUEST_BYTES_MAX: usize = 256 << 20;
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Attributes of data points, records and spans.
const ATTRIBUTES: [&str; 14] = [
    "run.id",
    "slice",
    "series.id",
    "pod",
    "http.request.method",
    "http.route",
    "http.response.status_code",
    "client.address",
    "user.id",
    "thread.name",
    "code.function",
    "deployment",
    "server.address",
    "db.system",
];

/// An item that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Hash of the stream's instance, the number of the series, or the span's id.
    pub(crate) key: u64,
    /// Its own time.
    pub(crate) time_ns: i64,
    /// Hash of everything that was sent of it.
    pub(crate) content: u64,
    /// When it came.
    pub(crate) arrived_ns: i64,
}

/// What came since it was last taken.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) items: Vec<Arrived>,
    /// Requests that could not be read.
    pub(crate) unreadable: u64,
    /// Why the first of them could not.
    pub(crate) example: Option<String>,
}

type Shared = Arc<Mutex<Received>>;

/// A listening sink.
pub(crate) struct Sink {
    received: Shared,
    /// Accepts connections; ends with it.
    listener: JoinSet<()>,
}

impl Sink {
    /// Listens for the items of a run.
    pub(crate) async fn start(address: SocketAddr, run_id: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
        let received = Shared::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&received), run_id.into()));
        Ok(Self { received, listener: tasks })
    }

    /// What came since the last call.
    pub(crate) fn take(&self) -> Received {
        std::mem::take(&mut lock(&self.received))
    }

    /// Ends it; the address is free again.
    pub(crate) async fn stop(mut self) {
        self.listener.shutdown().await;
    }
}

fn lock(received: &Shared) -> MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, received: Shared, run_id: Arc<str>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (received, run_id) = (Arc::clone(&received), Arc::clone(&run_id));
                    connections.spawn(async move {
                        let service =
                            service_fn(move |request| answer(request, Arc::clone(&received), Arc::clone(&run_id)));
                        let connection = hyper::server::conn::http1::Builder::new();
                        // A peer that goes away is its own affair; what it sent in full is kept.
                        let _ended = connection.serve_connection(TokioIo::new(stream), service).await;
                    });
                }
                // Such as too many open files, which closes itself: there may be room again soon.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    received: Shared,
    run_id: Arc<str>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match take(request, &run_id).await {
        Ok(items) => {
            lock(&received).items.extend(items);
            (StatusCode::OK, String::new())
        }
        Err(error) => {
            let text = format!("{error:#}");
            let mut received = lock(&received);
            received.unreadable += 1;
            received.example.get_or_insert_with(|| text.clone());
            (StatusCode::BAD_REQUEST, text)
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let media_type = http::HeaderValue::from_static(wire::remote_write::MEDIA_TYPE);
    response.headers_mut().insert(http::header::CONTENT_TYPE, media_type);
    Ok(response)
}

async fn take(request: Request<Incoming>, run_id: &str) -> anyhow::Result<Vec<Arrived>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, REQUEST_BYTES_MAX).collect().await;
    let mut body = body.map_err(|error| anyhow::anyhow!("reading the request: {error}"))?.to_bytes();
    if let Some(encoding) = head.headers.get(CONTENT_ENCODING) {
        body = compression::decode(encoding.to_str()?, &body, REQUEST_BYTES_MAX)?;
    }
    let signal = match head.uri.path() {
        "/v1/logs" => Signal::Logs,
        "/v1/metrics" => Signal::Metrics,
        "/v1/traces" => Signal::Traces,
        path => bail!("{path} is not a path of this sink; want /v1/logs, /v1/metrics or /v1/traces"),
    };
    items(signal, body, run_id, now_ns())
}

/// The items of a request that belong to a run.
pub(crate) fn items(
    signal: Signal,
    body: Bytes,
    run_id: &str,
    arrived_ns: i64,
) -> anyhow::Result<Vec<Arrived>> {
    let items = Items { run_id, arrived_ns };
    Ok(match signal {
        Signal::Logs => items.logs(&ExportLogsServiceRequest::decode(body)?),
        Signal::Metrics => items.metrics(&ExportMetricsServiceRequest::decode(body)?),
        Signal::Traces => items.spans(&ExportTraceServiceRequest::decode(body)?),
        Signal::Queries => bail!("queries come to no sink"),
    })
}

/// Reads requests.
struct Items<'a> {
    run_id: &'a str,
    arrived_ns: i64,
}

impl Items<'_> {
    /// Whether a resource of logs or spans is of this run: its instance is the run and a number.
    fn is_of_run(&self, instance: &str) -> bool {
        instance.strip_prefix(self.run_id).is_some_and(|rest| rest.starts_with('-'))
    }

    fn item(&self, key: u64, time: u64, content: u64) -> Arrived {
        let time_ns = i64::try_from(time).unwrap_or(i64::MAX);
        Arrived { key, time_ns, content, arrived_ns: self.arrived_ns }
    }

    fn logs(&self, request: &ExportLogsServiceRequest) -> Vec<Arrived> {
        let mut items = Vec::new();
        for group in &request.resource_logs {
            let resource = attributes(group.resource.as_ref());
            let instance = text(resource, "service.instance.id");
            if !self.is_of_run(instance) {
                continue;
            }
            for scope in &group.scope_logs {
                let around = (ours(resource), scope_of(scope.scope.as_ref()));
                for record in &scope.log_records {
                    let body = record.body.as_ref().and_then(|body| body.value.as_ref());
                    let line = match body {
                        Some(any_value::Value::StringValue(line)) => line.as_str(),
                        _ => "",
                    };
                    let content = hash(&(
                        &around,
                        line,
                        (record.severity_number, &record.severity_text),
                        ours(&record.attributes),
                        (&record.trace_id, &record.span_id),
                    ));
                    items.push(self.item(hash(&instance), record.time_unix_nano, content));
                }
            }
        }
        items
    }

    fn metrics(&self, request: &ExportMetricsServiceRequest) -> Vec<Arrived> {
        let mut items = Vec::new();
        for group in &request.resource_metrics {
            let resource = ours(attributes(group.resource.as_ref()));
            for scope in &group.scope_metrics {
                let around = hash(&(&resource, scope_of(scope.scope.as_ref())));
                scope.metrics.iter().for_each(|metric| self.metric(metric, around, &mut items));
            }
        }
        items
    }

    fn metric(&self, metric: &Metric, around: u64, items: &mut Vec<Arrived>) {
        let mut put = |attributes: &[KeyValue], time: u64, content: u64| {
            if text(attributes, "run.id") == self.run_id {
                let key = text(attributes, "series.id").parse().unwrap_or(u64::MAX);
                let what = hash(&(around, &metric.name, &metric.unit, ours(attributes), content));
                items.push(self.item(key, time, what));
            }
        };
        let number = |point: &NumberDataPoint, kind: u64| match point.value {
            Some(number_data_point::Value::AsDouble(value)) => hash(&(kind, value.to_bits())),
            _ => u64::MAX,
        };
        match &metric.data {
            Some(metric::Data::Sum(sum)) => {
                let kind = hash(&(sum.aggregation_temporality, sum.is_monotonic));
                for point in &sum.data_points {
                    put(&point.attributes, point.time_unix_nano, number(point, kind));
                }
            }
            Some(metric::Data::Gauge(gauge)) => {
                for point in &gauge.data_points {
                    put(&point.attributes, point.time_unix_nano, number(point, 0));
                }
            }
            Some(metric::Data::Histogram(histogram)) => {
                for point in &histogram.data_points {
                    let bounds =
                        point.explicit_bounds.iter().map(|bound| bound.to_bits()).collect::<Vec<_>>();
                    let sum = point.sum.map(f64::to_bits);
                    let content = (point.count, sum, &point.bucket_counts, bounds);
                    let content = hash(&(histogram.aggregation_temporality, content));
                    put(&point.attributes, point.time_unix_nano, content);
                }
            }
            _ => {}
        }
    }

    fn spans(&self, request: &ExportTraceServiceRequest) -> Vec<Arrived> {
        let mut items = Vec::new();
        for group in &request.resource_spans {
            let resource = attributes(group.resource.as_ref());
            if !self.is_of_run(text(resource, "service.instance.id")) {
                continue;
            }
            for scope in &group.scope_spans {
                let around = (ours(resource), scope_of(scope.scope.as_ref()));
                for span in &scope.spans {
                    let attributes = ours(&span.attributes);
                    // Decoded and encoded again, so that the order of fields on the wire does not count.
                    let rest = Span { attributes: Vec::new(), ..span.clone() }.encode_to_vec();
                    let content = hash(&(&around, attributes, rest));
                    items.push(self.item(hash(&span.span_id), span.start_time_unix_nano, content));
                }
            }
        }
        items
    }
}

/// Attributes of a resource.
fn attributes(resource: Option<&Resource>) -> &[KeyValue] {
    resource.map_or(&[][..], |resource| &resource.attributes)
}

/// Name and version of a scope.
fn scope_of(scope: Option<&InstrumentationScope>) -> (&str, &str) {
    scope.map_or(("", ""), |scope| (&scope.name, &scope.version))
}

/// The attributes that a load has, sorted, without those that were added on the way.
fn ours(attributes: &[KeyValue]) -> Vec<(&str, &str)> {
    let is_ours =
        |key: &str| ATTRIBUTES.contains(&key) || resource_attributes("").iter().any(|(own, _)| *own == key);
    let mut ours: Vec<_> = attributes
        .iter()
        .filter(|attribute| is_ours(&attribute.key))
        .map(|attribute| (attribute.key.as_str(), text(attributes, &attribute.key)))
        .collect();
    ours.sort_unstable();
    ours
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    let value = attributes.iter().find(|attribute| attribute.key == key).and_then(|a| a.value.as_ref());
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text,
        _ => "",
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
