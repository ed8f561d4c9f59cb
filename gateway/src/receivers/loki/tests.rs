use std::sync::Arc;

use axum::body::Body;
use futures_util::future::BoxFuture;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use model::{AppendReport, ErrorKind, Signal};
use parking_lot::Mutex;
use pipelines::{Batch, ComponentConfig, ComponentId, Consumer, PipelineError, PipelineResult};
use runtime::{MemoryBudget, Tasks};
use serde_json::{Value, json};

use crate::receivers::{ApiServer, Entries, ReceiverContext};
use crate::server::{Handler, router_handler};

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

fn rig() -> (Arc<Sink>, Handler) {
    let sink = Arc::new(Sink::default());
    let entries =
        Entries::new(|signal| (signal == Signal::Logs).then(|| Arc::clone(&sink) as Arc<dyn Consumer>));
    let context = ReceiverContext {
        entries,
        budget: MemoryBudget::new(u64::MAX),
        tasks: Tasks::new(),
        auths: Default::default(),
    };
    let id = ComponentId::parse("loki").expect("a valid id");
    let mut receiver =
        super::create(&ComponentConfig { id: &id, value: &Value::Null }, &context).expect("a good config");
    let mount = receiver.mounts.pop().expect("without an endpoint it is mounted");
    assert_eq!(mount.server, ApiServer::Loki);
    (sink, router_handler(mount.routes))
}

async fn send(
    handler: &Handler,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> (StatusCode, String) {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = handler(request.body(Body::from(body)).expect("a valid request")).await;
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body in memory").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

fn push() -> Vec<u8> {
    json!({"streams": [{"stream": {"app": "shop"}, "values": [["1700000000000000000", "a line", {"k": "v"}]]}]})
        .to_string()
        .into_bytes()
}

/// As clients from before Loki 1.0 push.
fn legacy(time: &str) -> Vec<u8> {
    json!({"streams": [{"labels": "{app=\"shop\"}", "entries": [{"ts": time, "line": "a line"}]}]})
        .to_string()
        .into()
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn pushes_are_taken_in_every_form() {
    let request = wire::loki_push::decode_json(&push()).expect("a good push");
    let message = wire::loki_push::encode_proto(&request);
    let encode =
        |name: &str, body: &[u8]| wire::compression::encode(name, None, body).expect("a known encoding");
    let snappy = encode("snappy", &message);
    for (path, headers, body) in [
        ("/loki/api/v1/push", vec![JSON], push()),
        ("/api/prom/push", vec![("content-type", "application/json; charset=utf-8")], push()),
        ("/api/prom/push", vec![JSON], legacy("2023-11-14T22:13:20Z")),
        ("/loki/api/v1/push", vec![JSON, ("content-encoding", "gzip")], encode("gzip", &push())),
        ("/loki/api/v1/push", vec![("content-type", "application/x-protobuf")], snappy.clone()),
        (
            "/loki/api/v1/push",
            vec![("content-type", "anything/else"), ("content-encoding", "snappy")],
            snappy.clone(),
        ),
        (
            "/loki/api/v1/push",
            vec![("content-type", "application/x-protobuf"), ("content-encoding", "gzip")],
            encode("gzip", &snappy),
        ),
    ] {
        let (sink, handler) = rig();
        let answer = send(&handler, path, &headers, body).await;
        assert_eq!(answer, (StatusCode::NO_CONTENT, String::new()), "{path} {headers:?}");
        let batches = sink.batches.lock();
        assert_eq!((batches[0].items, batches[0].signal), (1, Signal::Logs));
    }
}

#[tokio::test]
async fn refusals_are_plain_text_with_the_texts_of_loki() {
    let (sink, handler) = rig();
    for (headers, body, status, text) in [
        (vec![], push(), 400, "mime: no media type\n"),
        (vec![JSON, ("content-encoding", "br")], push(), 400, "Content-Encoding \"br\" not supported\n"),
        (
            vec![JSON],
            br#"{"streams":[]}"#.to_vec(),
            422,
            "error at least one valid stream is required for ingestion\n",
        ),
        (vec![JSON, ("x-scope-orgid", "..")], push(), 400, "tenant id \"..\" is not allowed\n"),
    ] {
        let answer = send(&handler, "/loki/api/v1/push", &headers, body).await;
        assert_eq!((answer.0.as_u16(), answer.1.as_str()), (status, text));
    }
    assert_eq!(send(&handler, "/loki/api/v1/push", &[JSON], b"{".to_vec()).await.0, StatusCode::BAD_REQUEST);
    assert!(sink.batches.lock().is_empty());
    *sink.refuse.lock() = Some(PipelineError::new(ErrorKind::Unavailable, "queue is full"));
    let answer = send(&handler, "/loki/api/v1/push", &[JSON], push()).await;
    assert_eq!(answer, (StatusCode::SERVICE_UNAVAILABLE, "queue is full\n".to_owned()));
}

#[tokio::test]
async fn otlp_logs_are_answered_as_loki_answers_them() {
    let (sink, handler) = rig();
    let logs =
        br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a"}}]}]}]}"#.to_vec();
    let answer = send(&handler, "/otlp/v1/logs", &[JSON], logs.clone()).await;
    assert_eq!(answer, (StatusCode::NO_CONTENT, String::new()));
    assert_eq!(sink.batches.lock().len(), 1);
    let answer = send(&handler, "/otlp/v1/logs", &[JSON, ("content-encoding", "snappy")], logs.clone()).await;
    assert_eq!(answer.0, StatusCode::BAD_REQUEST);
    *sink.refuse.lock() = Some(PipelineError::new(ErrorKind::Internal, "broken"));
    assert_eq!(send(&handler, "/otlp/v1/logs", &[JSON], logs).await.0, StatusCode::SERVICE_UNAVAILABLE);
}
