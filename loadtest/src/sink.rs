//! A sink behind the target: receives as OTLP/HTTP with protobuf what a pipeline forwards, and keeps of each item what
//! is needed to compare it: 32 bytes.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, metric, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use wire::compression;

use crate::cli::Signal;
use crate::clock::now_ns;

/// The largest request, packed and unpacked.
const REQUEST_BYTES_MAX: usize = 256 << 20;

/// An item that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Hash of the stream's instance, the number of the series, or the span's id.
    pub(crate) key: u64,
    /// Its own time.
    pub(crate) time_ns: i64,
    /// Hash of the line or of the whole span, bits of the value.
    pub(crate) content: u64,
    /// When it came.
    pub(crate) arrived_ns: i64,
}

type Received = Arc<Mutex<Vec<Arrived>>>;

/// A listening sink; it ends when it is dropped.
pub(crate) struct Sink {
    received: Received,
    /// Accepts connections.
    _listener: JoinSet<()>,
}

impl Sink {
    /// Listens.
    pub(crate) async fn start(address: SocketAddr, signal: Signal) -> anyhow::Result<Self> {
        if signal == Signal::Queries {
            bail!("--verify-sink takes metrics, logs or traces, not {}", signal.name());
        }
        let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
        let received = Received::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&received)));
        Ok(Self { received, _listener: tasks })
    }

    /// Items so far.
    pub(crate) fn count(&self) -> usize {
        lock(&self.received).len()
    }

    /// All of them.
    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        lock(&self.received).clone()
    }
}

fn lock(received: &Received) -> MutexGuard<'_, Vec<Arrived>> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, received: Received) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let received = Arc::clone(&received);
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(request, Arc::clone(&received)));
                    let connection = hyper::server::conn::http1::Builder::new();
                    // A peer that goes away is its own affair; what it sent in full is kept.
                    let _ended = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(request: Request<Incoming>, received: Received) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match take(request, &received).await {
        Ok(()) => (StatusCode::OK, String::new()),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error:#}")),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let media_type = http::HeaderValue::from_static(wire::remote_write::MEDIA_TYPE);
    response.headers_mut().insert(http::header::CONTENT_TYPE, media_type);
    Ok(response)
}

async fn take(request: Request<Incoming>, received: &Received) -> anyhow::Result<()> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, REQUEST_BYTES_MAX).collect().await;
    let mut body = body.map_err(|error| anyhow::anyhow!("reading the request: {error}"))?.to_bytes();
    if let Some(encoding) = head.headers.get(CONTENT_ENCODING) {
        body = compression::decode(encoding.to_str()?, &body, REQUEST_BYTES_MAX)?;
    }
    let arrived_ns = now_ns();
    let items = match head.uri.path() {
        "/v1/logs" => logs(&ExportLogsServiceRequest::decode(body)?, arrived_ns),
        "/v1/metrics" => metrics(&ExportMetricsServiceRequest::decode(body)?, arrived_ns),
        "/v1/traces" => spans(&ExportTraceServiceRequest::decode(body)?, arrived_ns),
        path => bail!("{path} is not a path of this sink; want /v1/logs, /v1/metrics or /v1/traces"),
    };
    lock(received).extend(items);
    Ok(())
}

fn logs(request: &ExportLogsServiceRequest, arrived_ns: i64) -> Vec<Arrived> {
    let mut items = Vec::new();
    for group in &request.resource_logs {
        let attributes = group.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
        let key = key_of_instance(text(attributes, "service.instance.id"));
        for record in group.scope_logs.iter().flat_map(|scope| &scope.log_records) {
            let line = match record.body.as_ref().and_then(|body| body.value.as_ref()) {
                Some(any_value::Value::StringValue(line)) => line.as_str(),
                _ => "",
            };
            let time_ns = i64::try_from(record.time_unix_nano).unwrap_or(i64::MAX);
            items.push(Arrived { key, time_ns, content: content_of_line(line), arrived_ns });
        }
    }
    items
}

fn metrics(request: &ExportMetricsServiceRequest, arrived_ns: i64) -> Vec<Arrived> {
    let mut items = Vec::new();
    let scopes = request.resource_metrics.iter().flat_map(|group| &group.scope_metrics);
    for metric in scopes.flat_map(|scope| &scope.metrics) {
        let mut put = |attributes: &[KeyValue], time: u64, content: u64| {
            // Another program's series have no number, and are no item of this run.
            let key = text(attributes, "series.id").parse().unwrap_or(u64::MAX);
            let time_ns = i64::try_from(time).unwrap_or(i64::MAX);
            items.push(Arrived { key, time_ns, content, arrived_ns });
        };
        let number = |point: &NumberDataPoint| match point.value {
            Some(number_data_point::Value::AsDouble(value)) => content_of_number(value),
            _ => u64::MAX,
        };
        match &metric.data {
            Some(metric::Data::Sum(sum)) => {
                sum.data_points.iter().for_each(|p| put(&p.attributes, p.time_unix_nano, number(p)));
            }
            Some(metric::Data::Gauge(gauge)) => {
                gauge.data_points.iter().for_each(|p| put(&p.attributes, p.time_unix_nano, number(p)));
            }
            Some(metric::Data::Histogram(histogram)) => {
                for point in &histogram.data_points {
                    let content = content_of_histogram(point.sum.unwrap_or(f64::NAN), &point.bucket_counts);
                    put(&point.attributes, point.time_unix_nano, content);
                }
            }
            _ => {}
        }
    }
    items
}

/// The spans of a request.
pub(crate) fn spans(request: &ExportTraceServiceRequest, arrived_ns: i64) -> Vec<Arrived> {
    let scopes = request.resource_spans.iter().flat_map(|group| &group.scope_spans);
    let item = |span: &Span| Arrived {
        key: hash(&span.span_id),
        time_ns: i64::try_from(span.start_time_unix_nano).unwrap_or(i64::MAX),
        // Decoded and encoded again, so that the order of fields on the wire does not count.
        content: hash(&span.encode_to_vec()),
        arrived_ns,
    };
    scopes.flat_map(|scope| &scope.spans).map(item).collect()
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    let value = attributes.iter().find(|attribute| attribute.key == key).and_then(|a| a.value.as_ref());
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text,
        _ => "",
    }
}

/// The key of a stream.
pub(crate) fn key_of_instance(instance: &str) -> u64 {
    hash(&instance)
}

/// What a line is compared by.
pub(crate) fn content_of_line(line: &str) -> u64 {
    hash(&line)
}

/// What a value is compared by.
pub(crate) fn content_of_number(value: f64) -> u64 {
    value.to_bits()
}

/// What a histogram is compared by.
pub(crate) fn content_of_histogram(sum: f64, buckets: &[u64]) -> u64 {
    hash(&(sum.to_bits(), buckets))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
