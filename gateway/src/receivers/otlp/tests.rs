use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use model::{AppendReport, ErrorKind, Signal};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use parking_lot::Mutex;
use pipelines::{Batch, ComponentConfig, ComponentId, ConfigError, Consumer, PipelineError, PipelineResult};
use prost::Message;
use runtime::{MemoryBudget, Tasks};
use serde_json::json;

use crate::receivers::{Entries, Receiver, ReceiverContext};
use crate::server::Handler;

/// A pipeline that keeps what it gets, or refuses it.
#[derive(Default)]
struct Sink {
    batches: Mutex<Vec<Batch>>,
    refuse: Mutex<Option<PipelineError>>,
}

impl Consumer for Sink {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(async move {
            if let Some(error) = self.refuse.lock().clone() {
                return Err(error);
            }
            let stored = batch.items;
            self.batches.lock().push(batch);
            Ok(AppendReport { stored, rejected: Vec::new() })
        })
    }
}

struct Rig {
    sink: Arc<Sink>,
    budget: Arc<MemoryBudget>,
    grpc: Handler,
    http: Handler,
}

fn create(config: serde_json::Value, context: &ReceiverContext) -> Result<Receiver, ConfigError> {
    let id = ComponentId::parse("otlp").expect("a valid id");
    super::create(&ComponentConfig { id: &id, value: &config }, context)
}

fn rig(config: serde_json::Value) -> Rig {
    let sink = Arc::new(Sink::default());
    let budget = MemoryBudget::new(u64::MAX);
    let entries =
        Entries::new(|signal| (signal != Signal::Traces).then(|| Arc::clone(&sink) as Arc<dyn Consumer>));
    let context = ReceiverContext {
        entries,
        budget: Arc::clone(&budget),
        tasks: Tasks::new(),
        auths: Default::default(),
    };
    let receiver = create(config, &context).expect("a good config");
    let handler = |what: &str| {
        let listener =
            receiver.listeners.iter().find(|listener| listener.what == what).expect("is configured");
        Arc::clone(&listener.handler)
    };
    Rig { sink, budget, grpc: handler("OTLP gRPC"), http: handler("OTLP HTTP") }
}

fn both() -> serde_json::Value {
    json!({"protocols": {"grpc": null, "http": null}})
}

fn logs(lines: &[&str]) -> Vec<u8> {
    let record = |line: &&str| LogRecord {
        time_unix_nano: 1,
        body: Some(AnyValue { value: Some(Value::StringValue((*line).to_owned())) }),
        ..LogRecord::default()
    };
    let scope_logs =
        vec![ScopeLogs { log_records: lines.iter().map(record).collect(), ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

fn post(path: &str, content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header("content-type", content_type).body(body.into()).expect("a valid request")
}

fn grpc(path: &str, compressed: bool, message: &[u8]) -> Request<Body> {
    let mut body = vec![u8::from(compressed)];
    body.extend_from_slice(&u32::try_from(message.len()).expect("a small message").to_be_bytes());
    body.extend_from_slice(message);
    post(path, "application/grpc", body)
}

const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

async fn body(response: Response<Body>) -> Bytes {
    response.into_body().collect().await.expect("a body in memory").to_bytes()
}

/// gRPC status and message, from the trailers or the head.
async fn grpc_status(response: Response<Body>) -> (String, String) {
    let head = response.headers().clone();
    let trailers = response.into_body().collect().await.expect("a body in memory").trailers().cloned();
    let from = if head.contains_key("grpc-status") { head } else { trailers.expect("trailers") };
    let status = tonic::Status::from_header_map(&from).expect("a gRPC status");
    ((status.code() as i32).to_string(), status.message().to_owned())
}

#[tokio::test]
async fn a_grpc_message_reaches_the_pipeline_without_a_copy() {
    let rig = rig(both());
    let message = logs(&["a", "b"]);
    let request = grpc(LOGS, false, &message);
    let sent = request.into_body().collect().await.expect("a body in memory").to_bytes();
    let response = (rig.grpc)(post(LOGS, "application/grpc+proto", sent.clone())).await;
    assert_eq!(response.headers()["content-type"], "application/grpc");
    assert_eq!(grpc_status(response).await, ("0".to_owned(), String::new()));
    let batches = rig.sink.batches.lock();
    assert_eq!(batches[0].items, 2);
    assert_eq!(batches[0].payload, message);
    assert_eq!(batches[0].payload.as_ptr(), sent[5..].as_ptr());
}

#[tokio::test]
async fn every_grpc_compression_is_taken() {
    for encoding in ["gzip", "zstd", "snappy"] {
        let rig = rig(both());
        let message = logs(&["a"]);
        let compressed = wire::compression::encode(encoding, None, &message).expect("a known encoding");
        let mut request = grpc(LOGS, true, &compressed);
        request.headers_mut().insert("grpc-encoding", encoding.parse().expect("a header value"));
        assert_eq!(grpc_status((rig.grpc)(request).await).await.0, "0", "{encoding}");
        assert_eq!(rig.sink.batches.lock()[0].payload, message, "{encoding}");
    }
}

#[tokio::test]
async fn grpc_refusals_have_the_codes_and_texts_of_grpc_go() {
    let small = json!({"protocols": {"grpc": {"max_recv_msg_size_mib": 1}, "http": null}});
    let rig = rig(small);
    let large = vec![0_u8; (1 << 20) + 1];
    let bomb = wire::compression::encode("gzip", None, &vec![0_u8; 4 << 20]).expect("a known encoding");
    let with = |mut request: Request<Body>, name: &'static str, value: &str| {
        request.headers_mut().insert(name, value.parse().expect("a header value"));
        request
    };
    for (request, code, message) in [
        (grpc("/nope.Service/Export", false, b""), "12", "unknown service nope.Service"),
        (
            grpc(TRACES, false, b""),
            "12",
            "unknown service opentelemetry.proto.collector.trace.v1.TraceService",
        ),
        (
            grpc("/opentelemetry.proto.collector.logs.v1.LogsService/Nope", false, b""),
            "12",
            "unknown method Nope for service opentelemetry.proto.collector.logs.v1.LogsService",
        ),
        (
            with(grpc(LOGS, true, b"x"), "grpc-encoding", "br"),
            "12",
            "grpc: Decompressor is not installed for grpc-encoding \"br\"",
        ),
        (grpc(LOGS, true, b"x"), "13", "grpc: compressed flag set with identity or empty encoding"),
        (grpc(LOGS, false, &large), "8", "grpc: received message larger than max (1048577 vs. 1048576)"),
        (
            with(grpc(LOGS, true, &bomb), "grpc-encoding", "gzip"),
            "8",
            "decompressed body is larger than the allowed 1048576 bytes",
        ),
        (post(LOGS, "application/grpc", vec![0, 0, 0, 0, 9, 1]), "13", "unexpected EOF"),
        (post(LOGS, "application/grpc", ""), "13", "grpc: no message in a unary request"),
        (
            post(LOGS, "application/grpc", vec![7, 0, 0, 0, 0]),
            "13",
            "grpc: received unexpected payload format 7",
        ),
        (
            with(grpc(LOGS, false, b""), "x-scope-orgid", "a/b"),
            "3",
            "tenant id \"a/b\" contains '/'; allowed are letters, digits and !_.*'()-",
        ),
    ] {
        let (got_code, got_message) = grpc_status((rig.grpc)(request).await).await;
        assert_eq!((got_code.as_str(), got_message.as_str()), (code, message));
    }
    assert!(rig.sink.batches.lock().is_empty());
    assert_eq!(rig.budget.reserved_bytes(), 0);
    let wrong_type = (rig.grpc)(post(LOGS, "application/json", "{}")).await;
    assert_eq!(wrong_type.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn every_http_encoding_is_taken_in_both_notations() {
    let text = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a"}}]}]}]}"#;
    for encoding in ["", "identity", "gzip", "zstd", "zlib", "deflate", "snappy", "x-snappy-framed", "lz4"] {
        for (content_type, plain) in
            [("application/x-protobuf", logs(&["a"])), ("Application/JSON; x=y", text.to_vec())]
        {
            let rig = rig(both());
            let sent = wire::compression::encode(encoding, None, &plain).expect("a known encoding");
            let mut request = post("/v1/logs", content_type, sent);
            if !encoding.is_empty() {
                request.headers_mut().insert("content-encoding", encoding.parse().expect("a header value"));
            }
            let response = (rig.http)(request).await;
            assert_eq!(response.status(), StatusCode::OK, "{encoding} {content_type}");
            let json = content_type.starts_with("App");
            let want = if json { "application/json" } else { "application/x-protobuf" };
            assert_eq!(response.headers()["content-type"], want);
            assert_eq!(body(response).await, if json { &b"{}"[..] } else { b"" });
            assert_eq!(rig.sink.batches.lock()[0].items, 1);
        }
    }
}

#[tokio::test]
async fn a_pipeline_that_is_busy_answers_with_a_retry_hint() {
    let rig = rig(both());
    let busy = PipelineError::new(ErrorKind::Unavailable, "queue is full")
        .with_retry_after(Duration::from_millis(1500));
    *rig.sink.refuse.lock() = Some(busy);
    let response = (rig.http)(post("/v1/logs", "application/json", logs_json())).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "2");
    assert_eq!(
        body(response).await,
        &br#"{"code":14,"message":"queue is full","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.500s"}]}"#[..]
    );
    let response = (rig.grpc)(grpc(LOGS, false, &logs(&["a"]))).await;
    assert!(response.headers().contains_key("grpc-status-details-bin"));
    assert_eq!(grpc_status(response).await, ("14".to_owned(), "queue is full".to_owned()));
    for (kind, http, code) in
        [(ErrorKind::Invalid, 400, 3), (ErrorKind::Internal, 500, 13), (ErrorKind::Closed, 503, 14)]
    {
        *rig.sink.refuse.lock() = Some(PipelineError::new(kind, "x"));
        let response = (rig.http)(post("/v1/logs", "application/json", logs_json())).await;
        assert_eq!(response.status().as_u16(), http);
        let status: serde_json::Value = serde_json::from_slice(&body(response).await).expect("JSON");
        assert_eq!(status["code"], code);
    }
}

fn logs_json() -> &'static str {
    r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a"}}]}]}]}"#
}

#[tokio::test]
async fn a_full_budget_refuses_before_the_body_is_read() {
    let rig = rig(both());
    rig.budget.set_limit_bytes(50);
    let response = (rig.http)(post("/v1/logs", "application/json", logs_json())).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    let response = (rig.grpc)(grpc(LOGS, false, &logs(&[&"a".repeat(100)]))).await;
    assert_eq!(
        grpc_status(response).await,
        ("14".to_owned(), "data refused due to high memory usage".to_owned())
    );
    assert_eq!(rig.budget.reserved_bytes(), 0);
    rig.budget.set_limit_bytes(1000);
    assert_eq!((rig.http)(post("/v1/logs", "application/json", logs_json())).await.status(), StatusCode::OK);
    assert!(rig.budget.reserved_bytes() > 0, "the batch holds its bytes as long as it lives");
    rig.sink.batches.lock().clear();
    assert_eq!(rig.budget.reserved_bytes(), 0);
}

#[test]
fn a_body_that_does_not_go_on_is_a_request_timeout() {
    let refusal = super::answer::Refusal::from_body(crate::server::body::BodyError::Idle);
    assert_eq!(refusal.http_status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(refusal.message, "the request body did not go on for 30 seconds");
}

#[tokio::test]
async fn a_small_body_that_grows_past_the_budget_is_refused_with_a_retry_hint() {
    let rig = rig(both());
    rig.budget.set_limit_bytes(1 << 20);
    let bomb = wire::compression::encode("gzip", None, &vec![0_u8; 16 << 20]).expect("a known encoding");
    let mut request = post("/v1/logs", "application/x-protobuf", bomb.clone());
    request.headers_mut().insert("content-encoding", "gzip".parse().expect("a header value"));
    let response = (rig.http)(request).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    let mut request = grpc(LOGS, true, &bomb);
    request.headers_mut().insert("grpc-encoding", "gzip".parse().expect("a header value"));
    let (code, message) = grpc_status((rig.grpc)(request).await).await;
    assert_eq!((code.as_str(), message.as_str()), ("14", "data refused due to high memory usage"));
    assert_eq!(rig.budget.reserved_bytes(), 0);
}

#[tokio::test]
async fn items_with_bad_ids_are_a_partial_success() {
    let rig = rig(both());
    let text = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"abcd"},{"body":{"stringValue":"a"}}]}]}]}"#;
    let response = (rig.http)(post("/v1/logs", "application/json", text)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let answer: serde_json::Value = serde_json::from_slice(&body(response).await).expect("JSON");
    assert_eq!(answer["partialSuccess"]["rejectedLogRecords"], "1");
    assert_eq!(rig.sink.batches.lock()[0].items, 1);
}

#[tokio::test]
async fn requests_without_items_succeed_without_entering_a_pipeline() {
    let rig = rig(both());
    assert_eq!((rig.http)(post("/v1/metrics", "application/json", "{}")).await.status(), StatusCode::OK);
    assert_eq!((rig.http)(post("/v1/logs", "application/x-protobuf", "")).await.status(), StatusCode::OK);
    assert_eq!(grpc_status((rig.grpc)(grpc(LOGS, false, b"")).await).await.0, "0");
    assert!(rig.sink.batches.lock().is_empty());
}

#[test]
fn configs_are_checked_with_their_path() {
    let context = || ReceiverContext {
        entries: Entries::default(),
        budget: MemoryBudget::new(u64::MAX),
        tasks: Tasks::new(),
        auths: Default::default(),
    };
    for (config, want) in [
        (json!({}), "must specify at least one protocol when using the OTLP receiver"),
        (
            json!({"protocols": {"thrift": null}}),
            "protocols::thrift: unknown field `thrift`, expected `grpc` or `http`",
        ),
        (
            json!({"protocols": {"grpc": {"tls": {"cert_file": "x"}}}}),
            "protocols::grpc::tls::cert_file: a server must have both certificate and key",
        ),
        (
            json!({"protocols": {"http": {"auth": {"authenticator": "basicauth"}}}}),
            "protocols::http::auth::authenticator: failed to resolve authenticator \"basicauth\": authenticator not found in service::extensions",
        ),
        (
            json!({"protocols": {"grpc": {"max_recv_msg_size_mib": 0}}}),
            "protocols::grpc::max_recv_msg_size_mib: must be from 1 to 2047, got 0",
        ),
        (
            json!({"protocols": {"grpc": {"transport": "udp"}}}),
            "protocols::grpc::transport: unknown variant `udp`, expected one of `tcp`, `tcp4`, `tcp6`, `unix`",
        ),
        (
            json!({"protocols": {"http": {"compression_algorithms": ["br"]}}}),
            "protocols::http::compression_algorithms: unsupported compression algorithm \"br\", have , gzip, zstd, zlib, snappy, deflate, lz4, x-snappy-framed",
        ),
    ] {
        let error = create(config, &context()).err().expect("a bad config");
        assert_eq!(error.to_string(), want);
    }
    let tuned = json!({"protocols": {"grpc": {
        "endpoint": "0.0.0.0:4317", "read_buffer_size": 524_288, "max_concurrent_streams": 16,
        "keepalive": {"server_parameters": {"max_connection_age": "30s", "time": "10s"},
            "enforcement_policy": {"min_time": "5s", "permit_without_stream": true}},
    }}});
    let receiver = create(tuned, &context()).expect("a good config");
    let settings = &receiver.listeners[0].settings;
    assert_eq!(settings.connection_age_max, Some(Duration::from_secs(30)));
    assert_eq!(settings.ping_interval, Some(Duration::from_secs(10)));
    assert_eq!(settings.concurrent_streams_max, Some(16));
    for streams in [json!(null), json!(0)] {
        let defaults = json!({"protocols": {"grpc": {"max_concurrent_streams": streams}}});
        let receiver = create(defaults, &context()).expect("a good config");
        assert_eq!(receiver.listeners[0].settings.concurrent_streams_max, Some(200));
    }
}

#[tokio::test]
async fn custom_paths_are_served_and_the_front_page_answers() {
    let rig = rig(json!({"protocols": {"grpc": null, "http": {"logs_url_path": "in/logs"}}}));
    assert_eq!((rig.http)(post("/in/logs", "application/json", logs_json())).await.status(), StatusCode::OK);
    assert_eq!(
        (rig.http)(post("/v1/logs", "application/json", logs_json())).await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        (rig.http)(post("/v1/traces", "application/json", "{}")).await.status(),
        StatusCode::NOT_FOUND
    );
    let front = Request::get("/").body(Body::empty()).expect("a valid request");
    assert_eq!((rig.http)(front).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_gzip_body_of_two_members_is_one_body() {
    let rig = rig(both());
    let message = logs(&["a", "b"]);
    let (first, second) = message.split_at(message.len() / 2);
    let mut sent = Vec::new();
    for part in [first, second] {
        let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        member.write_all(part).expect("memory takes all");
        sent.extend(member.finish().expect("memory takes all"));
    }
    let mut request = post("/v1/logs", "application/x-protobuf", sent);
    request.headers_mut().insert("content-encoding", "gzip".parse().expect("a header value"));
    assert_eq!((rig.http)(request).await.status(), StatusCode::OK);
    assert_eq!(rig.sink.batches.lock()[0].payload, message);
}
