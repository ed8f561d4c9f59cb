//! Stand-ins that tests of this crate share: stores in memory, and requests to send.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hashbrown::{HashMap, HashSet};
use http::HeaderMap;
use http_body::Frame;
use model::{AppendReport, ErrorKind, Labels, MetricMetadata, Signal, TenantId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use parking_lot::Mutex;
use pipelines::{
    Batch, ClientMetadata, ComponentConfig, ComponentId, ConfigError, Exporter, ExporterContext,
};
use prost::Message;
use runtime::{MemoryBudget, SystemClock, Tasks};
use storage_api::{
    AppendOutcome, LogAppender, LogBatch, MetricsAppender, SampleBatch, SeriesRef, StorageError,
    StorageResult,
};

use crate::{EXPORTERS, Stores};

/// What one series holds: labels as text, and (ms, value).
pub(crate) type StoredSeries = (String, Vec<(i64, f64)>);

/// A metrics store in memory that can forget series, refuse samples and fail.
#[derive(Default)]
pub(crate) struct MemoryMetrics(Mutex<Metrics>);

type Owned = (TenantId, Labels, Vec<(i64, f64)>);

#[derive(Default)]
struct Metrics {
    refs: HashMap<(TenantId, Labels), u64>,
    series: HashMap<u64, Owned>,
    next: u64,
    lookups: u64,
    metadata: Vec<String>,
    refused_values: HashSet<u64>,
    series_limit: Option<usize>,
    /// Why no new series is taken.
    no_series: Option<StorageError>,
    failures: Vec<StorageError>,
}

impl MemoryMetrics {
    /// Forgets every series: references given out become stale, samples stay.
    pub(crate) fn forget(&self) {
        let mut store = self.0.lock();
        store.refs.clear();
        let stale: Vec<u64> = store.series.keys().copied().collect();
        for series in stale {
            if let Some((tenant, labels, samples)) = store.series.remove(&series) {
                // Kept under a reference that nobody has.
                store.next += 1;
                let hidden = u64::MAX - store.next;
                store.series.insert(hidden, (tenant, labels, samples));
            }
        }
    }

    /// Refuses samples of this value.
    pub(crate) fn refuse(&self, value: f64) {
        self.0.lock().refused_values.insert(value.to_bits());
    }

    pub(crate) fn limit_series(&self, limit: usize) {
        self.0.lock().series_limit = Some(limit);
    }

    /// Takes no new series, or takes them again.
    pub(crate) fn fail_series(&self, error: Option<StorageError>) {
        self.0.lock().no_series = error;
    }

    pub(crate) fn fail(&self, error: StorageError) {
        self.0.lock().failures.push(error);
    }

    /// How often labels were resolved.
    pub(crate) fn lookups(&self) -> u64 {
        self.0.lock().lookups
    }

    pub(crate) fn metadata(&self) -> Vec<String> {
        self.0.lock().metadata.clone()
    }

    /// Everything stored, merged by labels and sorted.
    pub(crate) fn dump(&self, tenant: &str) -> Vec<StoredSeries> {
        let store = self.0.lock();
        let mut merged: std::collections::BTreeMap<String, Vec<(i64, f64)>> =
            std::collections::BTreeMap::new();
        for (owner, labels, samples) in store.series.values() {
            if owner.as_str() == tenant && !samples.is_empty() {
                merged.entry(labels.to_string()).or_default().extend(samples);
            }
        }
        merged
            .into_iter()
            .map(|(labels, mut samples)| {
                samples.sort_by_key(|sample| sample.0);
                (labels, samples)
            })
            .collect()
    }
}

impl MetricsAppender for MemoryMetrics {
    fn series(&self, tenant: &TenantId, labels: &Labels) -> StorageResult<SeriesRef> {
        let mut store = self.0.lock();
        store.lookups += 1;
        let key = (tenant.clone(), labels.clone());
        if let Some(&known) = store.refs.get(&key) {
            return Ok(SeriesRef(known));
        }
        if let Some(error) = &store.no_series {
            return Err(error.clone());
        }
        if store.series_limit.is_some_and(|limit| store.refs.len() >= limit) {
            return Err(StorageError::new(ErrorKind::Throttled, format!("series limit reached at {labels}")));
        }
        store.next += 1;
        let series = store.next;
        store.refs.insert(key, series);
        store.series.insert(series, (tenant.clone(), labels.clone(), Vec::new()));
        Ok(SeriesRef(series))
    }

    fn append<'a>(
        &'a self,
        _tenant: &'a TenantId,
        batch: SampleBatch,
    ) -> BoxFuture<'a, StorageResult<AppendOutcome>> {
        let mut store = self.0.lock();
        let mut outcome = AppendOutcome::default();
        if let Some(failure) = store.failures.pop() {
            return Box::pin(std::future::ready(Err(failure)));
        }
        for position in 0..batch.len() {
            let (time, value) = (batch.timestamps_ms[position], batch.values[position]);
            let position = u32::try_from(position).expect("a small batch");
            if store.refused_values.contains(&value.to_bits()) {
                outcome.report.reject("refused", 1, || format!("{value} is refused"));
                outcome.refused.push((position, 0));
                continue;
            }
            match store.series.get_mut(&batch.refs[position as usize].0) {
                Some((_, _, samples)) => {
                    outcome.report.stored += 1;
                    if !samples.contains(&(time, value)) {
                        samples.push((time, value));
                    }
                }
                None => outcome.stale_refs.push(position),
            }
        }
        Box::pin(std::future::ready(Ok(outcome)))
    }

    fn set_metadata(&self, _tenant: &TenantId, metric: &str, metadata: &MetricMetadata) {
        self.0.lock().metadata.push(format!("{metric} {}", metadata.metric_type));
    }
}

/// A log store in memory.
#[derive(Default)]
pub(crate) struct MemoryLogs {
    stored: Mutex<Vec<(String, String)>>,
    failures: Mutex<Vec<StorageError>>,
}

impl MemoryLogs {
    /// Tenant and `{labels} time line` of each entry.
    pub(crate) fn dump(&self) -> Vec<(String, String)> {
        self.stored.lock().clone()
    }

    pub(crate) fn fail(&self, error: StorageError) {
        self.failures.lock().push(error);
    }
}

impl LogAppender for MemoryLogs {
    fn append<'a>(
        &'a self,
        tenant: &'a TenantId,
        batch: LogBatch,
    ) -> BoxFuture<'a, StorageResult<AppendReport>> {
        if let Some(failure) = self.failures.lock().pop() {
            return Box::pin(std::future::ready(Err(failure)));
        }
        let mut report = AppendReport::default();
        for stream in batch.streams {
            for entry in stream.entries.iter() {
                if entry.line == "refuse me" {
                    report.reject("too_old", 1, || "entry too old".to_owned());
                    continue;
                }
                report.stored += 1;
                let text = format!("{} {} {}", stream.labels, entry.timestamp_ns, entry.line);
                self.stored.lock().push((tenant.to_string(), text));
            }
        }
        Box::pin(std::future::ready(Ok(report)))
    }
}

pub(crate) fn context() -> ExporterContext {
    ExporterContext {
        clock: Arc::new(SystemClock),
        tasks: Tasks::new(),
        budget: MemoryBudget::new(u64::MAX),
        extensions: pipelines::Extensions::default(),
    }
}

/// Makes the exporter of a registry row, as the graph does.
pub(crate) fn create(
    id: &str,
    value: &serde_json::Value,
    context: &ExporterContext,
    stores: &Stores,
) -> Result<Arc<dyn Exporter>, ConfigError> {
    let id = ComponentId::parse(id).expect("an id");
    let row = EXPORTERS.iter().find(|row| row.kind == id.kind || row.aliases.contains(&id.kind.as_str()));
    (row.expect("a known kind").create)(&ComponentConfig { id: &id, value }, context, stores)
}

pub(crate) fn batch(signal: Signal, payload: Vec<u8>, items: u64) -> Batch {
    Batch {
        signal,
        tenant: TenantId::default(),
        payload: Bytes::from(payload),
        items,
        client: Arc::new(ClientMetadata::default()),
        reservation: None,
    }
}

pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    }
}

fn service(name: &str) -> Option<Resource> {
    Some(Resource { attributes: vec![text("service.name", name)], ..Resource::default() })
}

/// A request with one gauge `level` and a point for each (attribute `n`, ms, value).
pub(crate) fn gauge(points: &[(&str, i64, f64)]) -> Batch {
    let data_points = points.iter().map(|&(name, time_ms, value)| NumberDataPoint {
        attributes: vec![text("n", name)],
        time_unix_nano: u64::try_from(time_ms).expect("after 1970") * 1_000_000,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    });
    let gauge = Gauge { data_points: data_points.collect() };
    let metric = Metric { name: "level".to_owned(), data: Some(Data::Gauge(gauge)), ..Metric::default() };
    metrics(vec![metric], points.len() as u64)
}

/// A request with these metrics, `items` points in all, of service `shop`.
pub(crate) fn metrics(metrics: Vec<Metric>, items: u64) -> Batch {
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let group = ResourceMetrics { resource: service("shop"), scope_metrics, ..ResourceMetrics::default() };
    let request = ExportMetricsServiceRequest { resource_metrics: vec![group] };
    batch(Signal::Metrics, request.encode_to_vec(), items)
}

/// A request with these lines of service `shop`, at 1 ms, 2 ms, ….
pub(crate) fn logs(lines: &[&str]) -> Batch {
    let log_records = (1..).zip(lines).map(|(ms, line)| LogRecord {
        time_unix_nano: ms * 1_000_000,
        body: Some(AnyValue { value: Some(Value::StringValue((*line).to_owned())) }),
        ..LogRecord::default()
    });
    let scope_logs = vec![ScopeLogs { log_records: log_records.collect(), ..ScopeLogs::default() }];
    let group = ResourceLogs { resource: service("shop"), scope_logs, ..ResourceLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![group] };
    batch(Signal::Logs, request.encode_to_vec(), lines.len() as u64)
}

/// What a server was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What a server answers: status, headers, body, and trailers when it speaks gRPC.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(&'static str, String)>,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// An HTTP/1 and HTTP/2 server on a free port of this machine that keeps what it was asked and answers by script; when
/// the script is over, with the answer it was made with.
pub(crate) struct Server {
    pub(crate) address: std::net::SocketAddr,
    state: Arc<ServerState>,
    tasks: Tasks,
}

struct ServerState {
    asked: Mutex<Vec<Asked>>,
    came: tokio::sync::Notify,
    script: Mutex<VecDeque<Answer>>,
    otherwise: Answer,
}

impl Server {
    pub(crate) async fn start(script: impl IntoIterator<Item = Answer>, otherwise: Answer) -> Self {
        let state = Arc::new(ServerState {
            asked: Mutex::default(),
            came: tokio::sync::Notify::new(),
            script: Mutex::new(script.into_iter().collect()),
            otherwise,
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&state));
        let tasks = Tasks::new();
        let stop = tasks.clone();
        tasks.spawn("test server", async move {
            let serve =
                axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
            serve.await.expect("serves until it is stopped");
        });
        Self { address, state, tasks }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().clone()
    }

    /// Waits until `count` requests came.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Asked> {
        let all = async {
            loop {
                let came = self.state.came.notified();
                let asked = self.asked();
                if asked.len() >= count {
                    return asked;
                }
                came.await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), all).await.expect("requests come in time")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

async fn answer(
    axum::extract::State(state): axum::extract::State<Arc<ServerState>>,
    request: axum::extract::Request,
) -> axum::response::Response {
    let (head, body) = request.into_parts();
    let body = http_body_util::BodyExt::collect(body).await.expect("a whole body").to_bytes();
    let path = head.uri.path().to_owned();
    state.asked.lock().push(Asked { path, headers: head.headers, body });
    state.came.notify_waiters();
    let answer = state.script.lock().pop_front().unwrap_or_else(|| state.otherwise.clone());
    let mut frames = vec![Frame::data(Bytes::from(answer.body))];
    if !answer.trailers.is_empty() {
        let mut trailers = HeaderMap::new();
        for (name, value) in answer.trailers {
            trailers.insert(name, value.parse().expect("a header value"));
        }
        frames.push(Frame::trailers(trailers));
    }
    let frames = futures_util::stream::iter(frames.into_iter().map(Ok::<_, std::convert::Infallible>));
    let mut response =
        axum::response::Response::new(axum::body::Body::new(http_body_util::StreamBody::new(frames)));
    *response.status_mut() = http::StatusCode::from_u16(answer.status).expect("a status");
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value.parse().expect("a header value"));
    }
    response
}
