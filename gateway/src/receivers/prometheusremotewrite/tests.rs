use std::sync::Arc;

use axum::body::Body;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use model::{AppendReport, ErrorKind, Labels, Rejection, Sample, Signal};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use parking_lot::Mutex;
use pipelines::{
    Batch, ComponentConfig, ComponentId, Consumer, PipelineError, PipelineResult, RemoteWriteBatch,
    RemoteWriteConsumer,
};
use prost::Message;
use runtime::{MemoryBudget, Tasks};
use serde_json::{Value, json};
use wire::compression::Encoding;
use wire::remote_write::{RequestWriter, SeriesParts, Version, put_series};

use crate::receivers::{ApiServer, Entries, ReceiverContext};
use crate::server::{Handler, router_handler};

/// A pipeline that keeps what it gets and refuses what it is told to.
#[derive(Default)]
struct Sink {
    /// Whether it takes requests as they came.
    takes_remote_write: bool,
    requests: Mutex<Vec<RemoteWriteBatch>>,
    batches: Mutex<Vec<Batch>>,
    refuse: Mutex<Option<PipelineError>>,
    rejected: Mutex<Vec<Rejection>>,
}

impl Consumer for Sink {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        Box::pin(async move {
            if let Some(error) = self.refuse.lock().clone() {
                return Err(error);
            }
            let mut report = AppendReport { stored: batch.items, rejected: self.rejected.lock().clone() };
            report.stored -= report.rejected_count();
            self.batches.lock().push(batch);
            Ok(report)
        })
    }

    fn remote_write(&self) -> Option<&dyn RemoteWriteConsumer> {
        self.takes_remote_write.then_some(self as _)
    }
}

impl RemoteWriteConsumer for Sink {
    fn consume_remote_write(&self, request: RemoteWriteBatch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        let batch = request.batch.clone();
        self.requests.lock().push(request);
        self.consume(batch)
    }
}

fn rig() -> (Arc<Sink>, Handler) {
    rig_within(u64::MAX)
}

fn rig_within(budget_bytes: u64) -> (Arc<Sink>, Handler) {
    rig_of(Sink::default(), budget_bytes)
}

fn rig_of(sink: Sink, budget_bytes: u64) -> (Arc<Sink>, Handler) {
    let sink = Arc::new(sink);
    let entries =
        Entries::new(|signal| (signal == Signal::Metrics).then(|| Arc::clone(&sink) as Arc<dyn Consumer>));
    let budget = MemoryBudget::new(budget_bytes);
    let context = ReceiverContext { entries, budget, tasks: Tasks::new(), auths: Default::default() };
    let id = ComponentId::parse("prometheusremotewrite").expect("a valid id");
    let mut receiver =
        super::create(&ComponentConfig { id: &id, value: &Value::Null }, &context).expect("a good config");
    let mount = receiver.mounts.pop().expect("without an endpoint it is mounted");
    assert_eq!(mount.server, ApiServer::Prometheus);
    (sink, router_handler(mount.routes))
}

async fn send(
    handler: &Handler,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::builder().method(Method::POST).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = handler(request.body(Body::from(body)).expect("a valid request")).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    (head.status, head.headers, String::from_utf8(body.to_vec()).expect("text"))
}

fn snappy(body: &[u8]) -> Vec<u8> {
    Encoding::Snappy.encode(None, body)
}

fn up() -> Labels {
    Labels::from_pairs([("__name__", "up"), ("job", "j")])
}

fn samples() -> [Sample; 2] {
    [1, 2].map(|timestamp_ms| Sample { timestamp_ms, value: 0.5 })
}

fn v1(labels: &Labels) -> Vec<u8> {
    let mut body = Vec::new();
    put_series(&mut body, labels, SeriesParts { samples: &samples(), ..SeriesParts::default() });
    snappy(&body)
}

fn v2(labels: &Labels) -> Vec<u8> {
    let mut writer = RequestWriter::default();
    writer.put_series(labels, SeriesParts { samples: &samples(), ..SeriesParts::default() }, None);
    snappy(&writer.finish())
}

const V2: &[(&str, &str)] =
    &[("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")];

fn counts(headers: &HeaderMap) -> Vec<&str> {
    super::WRITTEN_HEADERS.iter().filter_map(|name| headers.get(*name)?.to_str().ok()).collect()
}

#[tokio::test]
async fn both_versions_reach_the_pipeline_and_version_2_is_told_what_was_written() {
    let (sink, handler) = rig();
    for path in ["/api/v1/write", "/api/v1/receive"] {
        let (status, headers, text) = send(&handler, path, &[], v1(&up())).await;
        assert_eq!((status, text.as_str(), counts(&headers).len()), (StatusCode::NO_CONTENT, "", 0));
    }
    let (status, headers, _) = send(&handler, "/api/v1/write", V2, v2(&up())).await;
    assert_eq!((status, counts(&headers)), (StatusCode::NO_CONTENT, vec!["2", "0", "0"]));
    for batch in sink.batches.lock().iter() {
        assert_eq!((batch.items, batch.tenant.as_str()), (2, "default"));
        let request = ExportMetricsServiceRequest::decode(&batch.payload[..]).expect("OTLP");
        let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
        assert_eq!(metric.name, "up");
        assert!(matches!(&metric.data, Some(Data::Gauge(gauge)) if gauge.data_points.len() == 2));
    }
}

#[tokio::test]
async fn pipelines_that_take_requests_as_they_came_get_them_so() {
    let (sink, handler) = rig_of(Sink { takes_remote_write: true, ..Sink::default() }, u64::MAX);
    let sent = [(Version::V1, &[][..], v1(&up())), (Version::V2, V2, v2(&up()))];
    for (version, headers, body) in sent {
        let (status, headers, _) = send(&handler, "/api/v1/write", headers, body.clone()).await;
        let told = if version == Version::V2 { vec!["2", "0", "0"] } else { vec![] };
        assert_eq!((status, counts(&headers)), (StatusCode::NO_CONTENT, told));
        let request = sink.requests.lock().pop().expect("it came");
        assert_eq!((request.version, request.batch.items), (version, 2));
        assert_eq!(snappy(&request.batch.payload), body);
    }
    *sink.rejected.lock() = vec![Rejection { reason: "invalid_labels", count: 1, message: "so".to_owned() }];
    let (status, ..) = send(&handler, "/api/v1/write", &[], v1(&up())).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "version 1 leaves such series out without a word");
    let (status, headers, text) = send(&handler, "/api/v1/write", V2, v2(&up())).await;
    assert_eq!((status, text.as_str()), (StatusCode::BAD_REQUEST, "so\n"));
    assert_eq!(counts(&headers), ["1", "0", "0"]);
    // A request without samples says what is wrong with it, and nothing reaches the pipelines.
    let before = sink.batches.lock().len();
    let mut writer = RequestWriter::default();
    writer.put_series(&up(), SeriesParts::default(), None);
    let (status, _, text) = send(&handler, "/api/v1/write", V2, snappy(&writer.finish())).await;
    assert_eq!((status, sink.batches.lock().len()), (StatusCode::BAD_REQUEST, before));
    assert!(text.starts_with("TimeSeries must contain at least one sample"), "{text}");
}

#[tokio::test]
async fn refused_samples_are_400_with_the_reason_and_the_count_of_the_others() {
    let (sink, handler) = rig();
    let message = "out of order sample for series {__name__=\"up\"}".to_owned();
    *sink.rejected.lock() = vec![Rejection { reason: "out_of_order", count: 1, message: message.clone() }];
    for (headers, body, told) in [(&[][..], v1(&up()), vec![]), (V2, v2(&up()), vec!["1", "0", "0"])] {
        let (status, headers, text) = send(&handler, "/api/v1/write", headers, body).await;
        assert_eq!((status, text, counts(&headers)), (StatusCode::BAD_REQUEST, format!("{message}\n"), told));
    }
}

#[tokio::test]
async fn series_with_bad_labels_are_left_out_by_version_1_and_refused_by_version_2() {
    let (sink, handler) = rig();
    let nameless = Labels::from_pairs([("job", "j")]);
    let (status, ..) = send(&handler, "/api/v1/write", &[], v1(&nameless)).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, headers, text) = send(&handler, "/api/v1/write", V2, v2(&nameless)).await;
    assert_eq!((status, counts(&headers)), (StatusCode::BAD_REQUEST, vec!["0", "0", "0"]));
    assert_eq!(text, "invalid metric name or labels, got {job=\"j\"}\n");
    let mut writer = RequestWriter::default();
    writer.put_series(&up(), SeriesParts::default(), None);
    let (status, _, text) = send(&handler, "/api/v1/write", V2, snappy(&writer.finish())).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        text.starts_with("TimeSeries must contain at least one sample or histogram for series"),
        "{text}"
    );
    assert!(sink.batches.lock().is_empty());
}

#[tokio::test]
async fn requests_of_another_form_are_refused_with_prometheus_statuses() {
    let (_, handler) = rig();
    let check = async |headers: &[(&str, &str)], body: Vec<u8>, want: StatusCode, text: &str| {
        let (status, _, told) = send(&handler, "/api/v1/write", headers, body).await;
        assert_eq!(status, want, "{told}");
        assert!(told.contains(text), "{told}");
    };
    let unsupported = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    check(&[("content-encoding", "gzip")], v1(&up()), unsupported, "only snappy is acceptable").await;
    check(&[("content-type", "text/plain")], v1(&up()), unsupported, "expected application/x-protobuf").await;
    check(&[], vec![], StatusCode::BAD_REQUEST, "snappy").await;
    check(&[], b"no snappy".to_vec(), StatusCode::BAD_REQUEST, "snappy").await;
    check(&[], snappy(&[0xff; 9]), StatusCode::BAD_REQUEST, "varint").await;
}

#[tokio::test]
async fn a_full_house_asks_for_the_request_again() {
    let (sink, handler) = rig();
    *sink.refuse.lock() = Some(PipelineError::new(ErrorKind::Throttled, "later"));
    let (status, headers, text) = send(&handler, "/api/v1/write", V2, v2(&up())).await;
    assert_eq!((status, text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "later\n"));
    assert_eq!((headers["retry-after"].to_str().ok(), counts(&headers)), (Some("1"), vec!["0", "0", "0"]));
}

#[tokio::test]
async fn otlp_is_taken_where_prometheus_takes_it() {
    let (sink, handler) = rig();
    let metric = json!({"name": "m", "gauge": {"dataPoints": [{"timeUnixNano": "1", "asInt": 5}]}});
    let body = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}).to_string();
    let path = "/api/v1/otlp/v1/metrics";
    let gzip = Encoding::Gzip.encode(None, body.as_bytes());
    let (status, _, text) =
        send(&handler, path, &[("content-type", "application/json"), ("content-encoding", "gzip")], gzip)
            .await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, ""));
    assert_eq!(sink.batches.lock().len(), 1);
    let (status, _, text) = send(&handler, path, &[("content-type", "text/plain")], body.into_bytes()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(
        text,
        "unsupported content type: text/plain, supported: [application/json, application/x-protobuf]\n"
    );
}

#[test]
fn versions_name_themselves() {
    assert_eq!(V2[0].1, Version::V2.content_type());
}

#[tokio::test]
async fn labels_that_are_repeated_with_each_sample_stay_inside_the_memory_budget() {
    // A request of 300 kB before and 40 kB after compression, and a payload of a gigabyte.
    let long = Labels::from_pairs([("__name__", "up"), ("text", &"x".repeat(50_000))]);
    let body = |samples: i64| {
        let samples: Vec<_> = (0..samples).map(|timestamp_ms| Sample { timestamp_ms, value: 0.5 }).collect();
        let mut body = Vec::new();
        put_series(&mut body, &long, SeriesParts { samples: &samples, ..SeriesParts::default() });
        snappy(&body)
    };
    let (sink, handler) = rig();
    let (status, _, text) = send(&handler, "/api/v1/write", &[], body(20_000)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("send fewer samples of a series at a time"), "{text}");
    let (status, ..) = send(&handler, "/api/v1/write", &[], body(500)).await;
    assert_eq!((status, sink.batches.lock().len()), (StatusCode::NO_CONTENT, 1));
    let (sink, handler) = rig_within(10 << 20);
    let (status, headers, _) = send(&handler, "/api/v1/write", &[], body(500)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(headers.contains_key("retry-after") && sink.batches.lock().is_empty());
}
