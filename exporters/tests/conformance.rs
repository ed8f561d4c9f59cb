//! What every exporter promises, checked for every row of the registry, and shown to be noticed when broken.
//!
//! A peer at the far end (a gRPC server, an HTTP server, a store) can be open, stalled or refusing, and counts the items
//! that it took. Each promise is a function that says what is wrong; the same functions run over four exporters that
//! break one promise each and must complain.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use bytes::Bytes;
use exporters::{EXPORTERS, Stores};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use metrics_exporter_prometheus::PrometheusBuilder;
use model::{AppendReport, ErrorKind, Labels, MetricMetadata, Rejection, Signal, TenantId};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point,
};
use parking_lot::Mutex;
use pipelines::{
    Batch, ClientMetadata, ComponentConfig, ComponentId, Consumer, Exporter, ExporterContext, Graph,
    GraphContext, PROCESSORS, PipelineError, PipelineResult, PipelinesConfig, Registries,
};
use prost::Message;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use runtime::{MemoryBudget, SystemClock, Tasks};
use serde_json::{Value, json};
use storage_api::{
    AppendOutcome, LogAppender, LogBatch, MetricsAppender, SampleBatch, SeriesRef, StorageError,
    StorageResult,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use wire::remote_write::{Request, Series, Version};

/// Long enough for a busy machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    /// Takes requests and does not answer.
    Stalled,
    /// Answers that it will never take this.
    Refusing,
}

/// The far end.
struct Peer {
    mode: watch::Sender<Mode>,
    /// Requests that came, answered or not.
    came: watch::Sender<u64>,
    /// Items that it took.
    delivered: AtomicU64,
    /// A broker in place of the counters.
    broker: Option<Broker>,
}

impl Peer {
    fn new(mode: Mode) -> Arc<Self> {
        Arc::new(Self {
            mode: watch::Sender::new(mode),
            came: watch::Sender::new(0),
            delivered: AtomicU64::new(0),
            broker: None,
        })
    }

    /// A peer that is a Kafka cluster. What asks it is not told here, so it counts as asked from the beginning.
    fn kafka(mode: Mode) -> Arc<Self> {
        let peer = Self {
            mode: watch::Sender::new(mode),
            came: watch::Sender::new(1),
            delivered: AtomicU64::new(0),
            broker: Some(Broker::new()),
        };
        peer.set(mode);
        Arc::new(peer)
    }

    /// Takes `items`, or says no.
    async fn receive(&self, items: u64) -> bool {
        self.came.send_modify(|came| *came += 1);
        let mut mode = self.mode.subscribe();
        let answer =
            *mode.wait_for(|mode| *mode != Mode::Stalled).await.expect("the peer outlives its server");
        if answer == Mode::Open {
            self.delivered.fetch_add(items, Ordering::SeqCst);
        }
        answer == Mode::Open
    }

    fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
        if let Some(broker) = &self.broker {
            broker.set(mode);
        }
    }

    fn delivered(&self) -> u64 {
        self.broker.as_ref().map_or_else(|| self.delivered.load(Ordering::SeqCst), Broker::delivered)
    }

    async fn wait_until_asked(&self) -> Result<(), String> {
        let mut came = self.came.subscribe();
        let asked = tokio::time::timeout(PATIENCE, came.wait_for(|came| *came > 0)).await;
        asked.map(drop).map_err(|_| "the peer is never asked".to_owned())
    }
}

/// A Kafka cluster inside this process (librdkafka's), which speaks the real protocol. It lives on a thread of its own,
/// because its handle must not leave the one that made it.
struct Broker {
    brokers: String,
    modes: Mutex<std::sync::mpsc::SyncSender<Mode>>,
    /// One word for each mode that is in force.
    in_force: Mutex<std::sync::mpsc::Receiver<()>>,
}

/// How long a stalled broker keeps an answer back: longer than what a test does with a stalled peer.
const STALL: Duration = Duration::from_secs(5);

impl Broker {
    fn new() -> Self {
        let (modes, wanted) = std::sync::mpsc::sync_channel::<Mode>(1);
        let (told, in_force) = std::sync::mpsc::sync_channel(1);
        let (brokers_sender, brokers) = std::sync::mpsc::sync_channel(1);
        let cluster = move || {
            let cluster = MockCluster::new(1).expect("a mock cluster");
            cluster.create_topic("otlp_logs", 1, 1).expect("a topic");
            brokers_sender.send(cluster.bootstrap_servers()).expect("waited for");
            // Until the peer is dropped.
            while let Ok(mode) = wanted.recv() {
                let delay = if mode == Mode::Stalled { STALL } else { Duration::ZERO };
                cluster.broker_round_trip_time(1, delay).expect("set");
                if mode == Mode::Refusing {
                    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
                    cluster.request_errors(RDKafkaApiKey::Produce, &[refusal]);
                }
                told.send(()).expect("waited for");
            }
        };
        Tasks::new().spawn_thread("kafka cluster", cluster).expect("a thread");
        let brokers = brokers.recv().expect("a cluster");
        Self { brokers, modes: Mutex::new(modes), in_force: Mutex::new(in_force) }
    }

    fn set(&self, mode: Mode) {
        self.modes.lock().send(mode).expect("the cluster lives");
        self.in_force.lock().recv().expect("the cluster lives");
    }

    /// Log records in all messages of the topic.
    fn delivered(&self) -> u64 {
        let reader: BaseConsumer = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", "conformance")
            .create()
            .expect("a consumer");
        let (_, end) = reader.fetch_watermarks("otlp_logs", 0, PATIENCE).expect("known");
        let mut place = TopicPartitionList::new();
        place.add_partition_offset("otlp_logs", 0, Offset::Beginning).expect("an offset");
        reader.assign(&place).expect("assigned");
        let messages = (0..end).map(|_| reader.poll(PATIENCE).expect("in time").expect("a message"));
        messages.map(|message| records(Bytes::copy_from_slice(message.payload().expect("a body")))).sum()
    }
}

fn records(request: Bytes) -> u64 {
    let request = ExportLogsServiceRequest::decode(request).expect("well-formed");
    let groups = request.resource_logs.into_iter().flat_map(|group| group.scope_logs);
    groups.map(|scope| scope.log_records.len() as u64).sum()
}

struct LogsServer(Arc<Peer>);

#[tonic::async_trait]
impl LogsService for LogsServer {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, tonic::Status> {
        let groups = request.into_inner().resource_logs.into_iter().flat_map(|group| group.scope_logs);
        let records = groups.map(|scope| scope.log_records.len() as u64).sum();
        match self.0.receive(records).await {
            true => Ok(tonic::Response::new(ExportLogsServiceResponse::default())),
            false => Err(tonic::Status::invalid_argument("refusing")),
        }
    }
}

async fn serve_grpc(peer: Arc<Peer>, tasks: &Tasks) -> SocketAddr {
    let service = LogsServiceServer::new(LogsServer(peer))
        .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
        .accept_compressed(tonic::codec::CompressionEncoding::Zstd);
    let router = tonic::service::Routes::new(service).prepare().into_axum_router();
    serve(router, tasks).await
}

async fn serve_http(peer: Arc<Peer>, tasks: &Tasks) -> SocketAddr {
    let router = axum::Router::new()
        .route("/v1/logs", axum::routing::post(otlp_logs))
        .route("/write", axum::routing::post(remote_write))
        .route("/loki/api/v1/push", axum::routing::post(loki_push))
        .with_state(peer);
    serve(router, tasks).await
}

async fn serve(router: axum::Router, tasks: &Tasks) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let stop = tasks.clone();
    tasks.spawn("peer", async move {
        let serve =
            axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
        serve.await.expect("serves until it is stopped");
    });
    address
}

async fn otlp_logs(State(peer): State<Arc<Peer>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let encoding = headers.get("content-encoding").map_or("", |value| value.to_str().expect("text"));
    let body = wire::compression::decode(encoding, &body, 1 << 24).expect("well-formed");
    answer(&peer, records(body)).await
}

async fn loki_push(State(peer): State<Arc<Peer>>, body: Bytes) -> StatusCode {
    let body = wire::compression::decode("snappy", &body, 1 << 24).expect("well-formed");
    let request = wire::loki_push::decode_proto(&body).expect("well-formed");
    answer(&peer, request.streams.iter().map(|stream| stream.entries.len() as u64).sum()).await
}

async fn remote_write(State(peer): State<Arc<Peer>>, body: Bytes) -> StatusCode {
    let body = wire::compression::decode("snappy", &body, 1 << 24).expect("well-formed");
    let request = Request::new(Version::V1, &body, 0).expect("well-formed");
    let mut series = Series::default();
    let mut samples = 0;
    for encoded in request.series() {
        request.read(encoded.expect("well-formed"), &mut series).expect("well-formed");
        samples += series.points() as u64;
    }
    answer(&peer, samples).await
}

async fn answer(peer: &Peer, items: u64) -> StatusCode {
    if peer.receive(items).await { StatusCode::OK } else { StatusCode::BAD_REQUEST }
}

struct Store(Arc<Peer>);

fn refused() -> StorageError {
    StorageError::new(ErrorKind::Invalid, "refusing")
}

impl MetricsAppender for Store {
    fn series(&self, _tenant: &TenantId, labels: &Labels) -> StorageResult<SeriesRef> {
        Ok(SeriesRef(labels.len() as u64))
    }

    fn append<'a>(
        &'a self,
        _: &'a TenantId,
        batch: SampleBatch,
    ) -> BoxFuture<'a, StorageResult<AppendOutcome>> {
        Box::pin(async move {
            let stored = batch.len() as u64;
            if !self.0.receive(stored).await {
                return Err(refused());
            }
            let report = AppendReport { stored, rejected: Vec::new() };
            Ok(AppendOutcome { report, ..AppendOutcome::default() })
        })
    }

    fn set_metadata(&self, _tenant: &TenantId, _metric: &str, _metadata: &MetricMetadata) {}
}

impl LogAppender for Store {
    fn append<'a>(&'a self, _: &'a TenantId, batch: LogBatch) -> BoxFuture<'a, StorageResult<AppendReport>> {
        Box::pin(async move {
            let stored = batch.streams.iter().map(|stream| stream.entries.len() as u64).sum();
            match self.0.receive(stored).await {
                true => Ok(AppendReport { stored, rejected: Vec::new() }),
                false => Err(refused()),
            }
        })
    }
}

/// How a row is put to the test.
struct Row {
    kind: &'static str,
    signal: Signal,
    /// Whether there is anything at the far end.
    has_peer: bool,
    /// The key of its queue, if it has one.
    queue: Option<&'static str>,
}

const ROWS: &[Row] = &[
    Row { kind: "debug", signal: Signal::Logs, has_peer: false, queue: None },
    Row { kind: "file", signal: Signal::Logs, has_peer: false, queue: None },
    Row { kind: "kafka", signal: Signal::Logs, has_peer: true, queue: Some("sending_queue") },
    Row { kind: "log_store", signal: Signal::Logs, has_peer: true, queue: None },
    Row { kind: "loki", signal: Signal::Logs, has_peer: true, queue: Some("sending_queue") },
    Row { kind: "metrics_store", signal: Signal::Metrics, has_peer: true, queue: None },
    Row { kind: "nop", signal: Signal::Logs, has_peer: false, queue: None },
    Row { kind: "otlp", signal: Signal::Logs, has_peer: true, queue: Some("sending_queue") },
    Row { kind: "otlphttp", signal: Signal::Logs, has_peer: true, queue: Some("sending_queue") },
    Row { kind: "parquet", signal: Signal::Logs, has_peer: false, queue: None },
    Row { kind: "prometheus", signal: Signal::Metrics, has_peer: false, queue: None },
    Row {
        kind: "prometheusremotewrite",
        signal: Signal::Metrics,
        has_peer: true,
        queue: Some("remote_write_queue"),
    },
];

/// An exporter in front of its peer.
struct Subject {
    exporter: Arc<dyn Exporter>,
    peer: Arc<Peer>,
    signal: Signal,
    has_peer: bool,
    has_queue: bool,
    budget: Arc<MemoryBudget>,
    tasks: Tasks,
    /// Removed with the subject.
    _folder: Option<tempfile::TempDir>,
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

const QUEUE_SIZE: u64 = 4;

fn context(budget: &Arc<MemoryBudget>, tasks: &Tasks) -> ExporterContext {
    ExporterContext {
        clock: Arc::new(SystemClock),
        tasks: tasks.clone(),
        budget: Arc::clone(budget),
        extensions: pipelines::Extensions::default(),
    }
}

impl Row {
    /// A started exporter of this row; with `queued`, behind a queue of [`QUEUE_SIZE`] batches if it can have one.
    async fn subject(&self, mode: Mode, queued: bool) -> Subject {
        let (tasks, budget) = (Tasks::new(), MemoryBudget::new(u64::MAX));
        let peer = if self.kind == "kafka" { Peer::kafka(mode) } else { Peer::new(mode) };
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = match self.kind {
            "otlp" => json!({"endpoint": format!("http://{}", serve_grpc(Arc::clone(&peer), &tasks).await)}),
            "otlphttp" | "prometheusremotewrite" | "loki" => {
                let path = match self.kind {
                    "otlphttp" => "",
                    "loki" => "/loki/api/v1/push",
                    _ => "/write",
                };
                json!({"endpoint": format!("http://{}{path}", serve_http(Arc::clone(&peer), &tasks).await)})
            }
            "kafka" => {
                let broker = peer.broker.as_ref().expect("a peer of kafka");
                json!({"brokers": [broker.brokers]})
            }
            "prometheus" => json!({"endpoint": "127.0.0.1:0"}),
            "file" => json!({"path": folder.path().join("out.json")}),
            "parquet" => json!({"directory": folder.path(), "sending_queue": {"enabled": false}}),
            _ => Value::Null,
        };
        if let Some(queue) = self.queue {
            config["timeout"] = json!("0");
            config[queue] = match queued {
                true => json!({"queue_size": QUEUE_SIZE, "num_consumers": 2}),
                false => json!({"enabled": false}),
            };
        }
        let store = Arc::new(Store(Arc::clone(&peer)));
        let stores = Stores { metrics: Some(Arc::clone(&store) as _), logs: Some(store as _) };
        let id = ComponentId::parse(self.kind).expect("an id");
        let row = EXPORTERS.iter().find(|row| row.kind == self.kind).expect("a row of the registry");
        let config = ComponentConfig { id: &id, value: &config };
        let exporter = (row.create)(&config, &context(&budget, &tasks), &stores).expect("a good config");
        exporter.start().await.expect("starts");
        let (signal, has_peer) = (self.signal, self.has_peer);
        let has_queue = queued && self.queue.is_some();
        Subject { exporter, peer, signal, has_peer, has_queue, budget, tasks, _folder: Some(folder) }
    }
}

impl Subject {
    /// A batch of `items` items that holds a reservation of its size.
    fn batch(&self, items: usize) -> Batch {
        let payload = Bytes::from(match self.signal {
            Signal::Metrics => metrics(items),
            Signal::Logs | Signal::Traces => logs(items),
        });
        let reservation = self.budget.try_reserve(payload.len() as u64).expect("no limit");
        Batch {
            signal: self.signal,
            tenant: TenantId::default(),
            payload,
            items: items as u64,
            client: Arc::new(ClientMetadata::default()),
            reservation: Some(Arc::new(reservation)),
        }
    }
}

fn logs(items: usize) -> Vec<u8> {
    let log_records = vec![LogRecord { time_unix_nano: 1, ..LogRecord::default() }; items];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

fn metrics(items: usize) -> Vec<u8> {
    let point = |time: usize| NumberDataPoint {
        time_unix_nano: 1_000_000 * time as u64,
        value: Some(number_data_point::Value::AsInt(1)),
        ..NumberDataPoint::default()
    };
    let data = Data::Gauge(Gauge { data_points: (0..items).map(point).collect() });
    let metrics = vec![Metric { name: "m".to_owned(), data: Some(data), ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}

/// A batch is acknowledged after its destination has it. The subject has no queue and its peer is stalled.
async fn acknowledges_only_after_delivery(subject: &Subject) -> Result<(), String> {
    let mut sent = subject.exporter.consume(subject.batch(3));
    if subject.has_peer {
        let asked = subject.peer.wait_until_asked();
        tokio::select! {
            early = &mut sent => return Err(format!("answered {early:?} while its peer was stalled")),
            asked = asked => asked?,
        }
        if let Some(early) = (&mut sent).now_or_never() {
            return Err(format!("answered {early:?} while its peer was stalled"));
        }
        subject.peer.set(Mode::Open);
    }
    let report = tokio::time::timeout(PATIENCE, sent).await.map_err(|_| "never acknowledges".to_owned())?;
    let report = report.map_err(|error| format!("fails with an open peer: {error}"))?;
    let delivered = subject.peer.delivered();
    if subject.has_peer && (delivered, report.stored) != (3, 3) {
        return Err(format!("acknowledged {} of 3 items, {delivered} were delivered", report.stored));
    }
    Ok(())
}

/// With a stalled peer a bounded number of batches is taken; further ones are refused with a hint or kept waiting, and
/// what the exporter does not hold is given back.
async fn stays_bounded_on_a_stalled_peer(subject: &Subject) -> Result<(), String> {
    let payload_bytes = subject.batch(1).payload.len() as u64;
    let (mut taken, mut waiting) = (0_u64, Vec::new());
    for _ in 0..200 {
        let mut sent = subject.exporter.consume(subject.batch(1));
        // A queue answers at once; let its consumers run in between, as they would.
        match (&mut sent).now_or_never() {
            None => waiting.push(sent),
            Some(Ok(_)) => taken += 1,
            Some(Err(error)) if error.kind().is_retryable() && error.retry_after().is_some() => {}
            Some(Err(error)) => return Err(format!("refuses without saying when to come again: {error}")),
        }
        tokio::task::yield_now().await;
    }
    if subject.has_queue && taken > QUEUE_SIZE {
        return Err(format!("took {taken} batches into a queue of {QUEUE_SIZE}"));
    }
    drop(waiting);
    let allowed = if subject.has_queue { QUEUE_SIZE * payload_bytes } else { 0 };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        // What a thread has in hand when its sender goes away it may finish.
        let held = subject.budget.reserved_bytes();
        if held <= allowed {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            return Err(format!("holds {held} bytes for batches that it took, {allowed} are allowed"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What was acknowledged is delivered before the end of the shutdown, and nothing stays reserved.
async fn drains_on_shutdown(subject: &Subject) -> Result<(), String> {
    let mut acknowledged = 0;
    let mut waiting = Vec::new();
    for _ in 0..QUEUE_SIZE {
        let mut sent = subject.exporter.consume(subject.batch(2));
        match (&mut sent).now_or_never() {
            Some(Ok(report)) => acknowledged += report.stored,
            Some(Err(error)) => return Err(format!("refuses with room: {error}")),
            None => waiting.push(sent),
        }
    }
    subject.peer.set(Mode::Open);
    for sent in waiting {
        let outcome =
            tokio::time::timeout(PATIENCE, sent).await.map_err(|_| "never acknowledges".to_owned())?;
        acknowledged += outcome.map_err(|error| format!("fails with an open peer: {error}"))?.stored;
    }
    let ended = tokio::time::timeout(PATIENCE, subject.exporter.shutdown()).await;
    ended.map_err(|_| "does not end".to_owned())?.map_err(|error| format!("ends with an error: {error}"))?;
    let delivered = subject.peer.delivered();
    if subject.has_peer && delivered != acknowledged {
        return Err(format!("acknowledged {acknowledged} items and delivered {delivered}"));
    }
    match subject.budget.reserved_bytes() {
        0 => Ok(()),
        held => Err(format!("still holds {held} bytes after the shutdown")),
    }
}

/// Items are counted under the collector's names as sent, or as failed.
async fn emits_its_metrics(subject: &Subject, rendered: impl Fn() -> String) -> Result<(), String> {
    let send = async || {
        let sent = tokio::time::timeout(PATIENCE, subject.exporter.consume(subject.batch(5))).await;
        sent.map_err(|_| "never answers".to_owned())
    };
    send().await?.map_err(|error| format!("fails with an open peer: {error}"))?;
    let mut want = vec![("otelcol_exporter_sent", 5)];
    if subject.has_peer {
        subject.peer.set(Mode::Refusing);
        // Refused as a whole or item by item, by protocol.
        let _ = send().await?;
        want.push(("otelcol_exporter_send_failed", 5));
    }
    let text = rendered();
    for (name, items) in want {
        let name = format!("{name}_{}", subject.signal.items_name());
        let counted = text
            .lines()
            .any(|line| line.starts_with(&format!("{name}{{")) && line.ends_with(&format!(" {items}")));
        if !counted {
            return Err(format!("{name} does not say {items}:\n{text}"));
        }
    }
    Ok(())
}

#[test]
fn every_row_of_the_registry_is_put_to_the_test() {
    let tested: Vec<&str> = ROWS.iter().map(|row| row.kind).collect();
    let registered: Vec<&str> = EXPORTERS.iter().map(|row| row.kind).collect();
    assert_eq!(tested, registered, "rows are in the order of the registry, which is that of their names");
}

#[tokio::test]
async fn every_exporter_acknowledges_only_after_delivery() {
    for row in ROWS {
        let subject = row.subject(Mode::Stalled, false).await;
        acknowledges_only_after_delivery(&subject)
            .await
            .unwrap_or_else(|fault| panic!("{}: {fault}", row.kind));
    }
}

#[tokio::test]
async fn every_exporter_stays_bounded_on_a_stalled_peer() {
    for row in ROWS {
        let subject = row.subject(Mode::Stalled, true).await;
        stays_bounded_on_a_stalled_peer(&subject)
            .await
            .unwrap_or_else(|fault| panic!("{}: {fault}", row.kind));
    }
}

#[tokio::test]
async fn every_exporter_drains_on_shutdown() {
    for row in ROWS {
        let subject = row.subject(Mode::Stalled, true).await;
        drains_on_shutdown(&subject).await.unwrap_or_else(|fault| panic!("{}: {fault}", row.kind));
    }
}

#[test]
fn every_exporter_emits_its_metrics() {
    for row in ROWS {
        // Handles are taken when an exporter is made, from the recorder of the thread.
        let recorder = PrometheusBuilder::new().build_recorder();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        metrics::with_local_recorder(&recorder, || {
            runtime.block_on(async {
                let subject = row.subject(Mode::Open, false).await;
                let checked = emits_its_metrics(&subject, || recorder.handle().render()).await;
                checked.unwrap_or_else(|fault| panic!("{}: {fault}", row.kind));
            });
        });
    }
}

#[test]
fn every_component_has_an_example_that_builds() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs");
    let kinds = EXPORTERS.iter().map(|row| ("exporters", row.kind));
    let kinds = kinds.chain(PROCESSORS.iter().map(|row| ("processors", row.kind)));
    for (folder, kind) in kinds {
        let path = format!("{root}/{folder}/{kind}.yaml");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let value: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(value[folder].get(kind).is_some(), "{path} configures {kind}");
        let store = Arc::new(Store(Peer::new(Mode::Open)));
        let stores = Stores { metrics: Some(Arc::clone(&store) as _), logs: Some(store as _) };
        let registries = Registries { processors: PROCESSORS, exporters: EXPORTERS, stores: &stores };
        let storage = pipelines::FileStorage {
            directory: "unused".into(),
            create_directory: true,
            directory_permissions: 0o750,
            timeout: Duration::from_secs(1),
            free_bytes_min: 0,
        };
        let offer = pipelines::Offer { storage: Some(Arc::new(storage)), ..pipelines::Offer::default() };
        let name = ComponentId::parse("file_storage").expect("an id");
        let context = GraphContext {
            clock: Arc::new(SystemClock),
            tasks: Tasks::new(),
            budget: MemoryBudget::new(u64::MAX),
            extensions: pipelines::Extensions::new([(name, offer)]),
        };
        let config = PipelinesConfig::parse(&value).unwrap_or_else(|error| panic!("{path}: {error}"));
        Graph::build(&config, &registries, &context).unwrap_or_else(|error| panic!("{path}: {error}"));
        let used = config
            .pipelines
            .values()
            .any(|pipeline| pipeline.exporters.iter().chain(&pipeline.processors).any(|id| id.kind == kind));
        assert!(used, "{path} has a pipeline through {kind}");
    }
}

/// Which promise a deliberately broken exporter breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Broken {
    AcksEarly,
    LeaksOnAStalledPeer,
    LosesAtShutdown,
    CountsNothing,
}

/// Breaks one promise, and would pass for an exporter otherwise.
struct BrokenExporter {
    broken: Broken,
    peer: Arc<Peer>,
    kept: Mutex<Vec<Batch>>,
    metrics: pipelines::ExporterMetrics,
}

impl BrokenExporter {
    async fn send(&self, batch: Batch) -> PipelineResult<AppendReport> {
        let items = batch.items;
        let taken = Ok(AppendReport { stored: items, rejected: Vec::<Rejection>::new() });
        match self.broken {
            // Says that it has what it only put aside.
            Broken::AcksEarly | Broken::LeaksOnAStalledPeer | Broken::LosesAtShutdown => {
                self.kept.lock().push(batch)
            }
            Broken::CountsNothing => {
                if !self.peer.receive(items).await {
                    return Err(PipelineError::new(ErrorKind::Invalid, "refusing"));
                }
                return taken;
            }
        }
        self.metrics.count(Signal::Logs, items, &taken);
        taken
    }
}

impl Consumer for BrokenExporter {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(self.send(batch))
    }
}

impl Exporter for BrokenExporter {
    fn start(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn shutdown(&self) -> BoxFuture<'_, PipelineResult<()>> {
        Box::pin(async move {
            let kept = std::mem::take(&mut *self.kept.lock());
            if self.broken != Broken::LosesAtShutdown {
                for batch in kept {
                    self.peer.receive(batch.items).await;
                }
            }
            Ok(())
        })
    }
}

fn broken(broken: Broken, mode: Mode) -> Subject {
    let (peer, tasks, budget) = (Peer::new(mode), Tasks::new(), MemoryBudget::new(u64::MAX));
    let metrics = pipelines::ExporterMetrics::new(&ComponentId::parse("broken").expect("an id"));
    let exporter =
        Arc::new(BrokenExporter { broken, peer: Arc::clone(&peer), kept: Mutex::default(), metrics });
    Subject {
        exporter,
        peer,
        signal: Signal::Logs,
        has_peer: true,
        has_queue: true,
        budget,
        tasks,
        _folder: None,
    }
}

#[test]
fn broken_exporters_are_noticed() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut faults = BTreeMap::new();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let early = broken(Broken::AcksEarly, Mode::Stalled);
            faults.insert(Broken::AcksEarly, acknowledges_only_after_delivery(&early).await);
            let leaking = broken(Broken::LeaksOnAStalledPeer, Mode::Stalled);
            faults.insert(Broken::LeaksOnAStalledPeer, stays_bounded_on_a_stalled_peer(&leaking).await);
            let losing = broken(Broken::LosesAtShutdown, Mode::Stalled);
            faults.insert(Broken::LosesAtShutdown, drains_on_shutdown(&losing).await);
        });
    });
    let silent_recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&silent_recorder, || {
        runtime.block_on(async {
            let silent = broken(Broken::CountsNothing, Mode::Open);
            let checked = emits_its_metrics(&silent, || silent_recorder.handle().render()).await;
            faults.insert(Broken::CountsNothing, checked);
        });
    });
    let told = |broken: Broken| faults[&broken].clone().expect_err("the suite notices");
    assert!(told(Broken::AcksEarly).contains("while its peer was stalled"));
    assert!(told(Broken::LeaksOnAStalledPeer).starts_with("took 200 batches into a queue of 4"));
    assert_eq!(told(Broken::LosesAtShutdown), "acknowledged 8 items and delivered 0");
    assert!(told(Broken::CountsNothing).starts_with("otelcol_exporter_sent_log_records does not say 5"));
}
