use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use model::TimeRange;
use prost::Message;
use runtime::{MemoryBudget, Tasks};

use super::{Queries, Sources, StoreApiServer};
use crate::grpc::{Compression, MessageReader, put_message};
use crate::local::{LocalSettings, LocalStore};
use crate::proto::{
    HealthCheckRequest, InfoRequest, InfoResponse, LabelMatcher, LabelValuesRequest, LabelValuesResponse,
    QueryRangeRequest, QueryRequest, SeriesRequest,
};
use crate::series_frame::{Received, StoreSeries, read};
use crate::testing::{Memory, labels, samples, xor};

fn server() -> StoreApiServer {
    let mut memory = Memory::default();
    for index in 0..200 {
        let n = format!("{index:03}");
        let pairs = [("__name__", "up"), ("n", n.as_str()), ("replica", "inner")];
        memory = memory.with(&pairs, vec![xor(&[(index, 1.0)]), xor(&[(index + 1000, 2.0)])]);
    }
    let settings = LocalSettings {
        external_labels: labels(&[("cluster", "c"), ("replica", "r")]),
        tenant_label: "tenant_id".to_owned(),
        component: "sidecar".to_owned(),
    };
    let local = Some(LocalStore::new(Arc::new(memory), settings));
    StoreApiServer::new(Sources { local, bucket: None }, None, None, Tasks::new())
}

/// Messages and status of a call.
async fn call(path: &str, message: &impl Message, compression: Compression) -> (Vec<Bytes>, String, String) {
    call_of(&server(), path, message, compression).await
}

async fn call_of(
    server: &StoreApiServer,
    path: &str,
    message: &impl Message,
    compression: Compression,
) -> (Vec<Bytes>, String, String) {
    let mut body = Vec::new();
    put_message(&mut body, &message.encode_to_vec(), compression).expect("fits");
    let request = Request::post(path)
        .header("content-type", "application/grpc")
        .header("grpc-encoding", compression.name())
        .body(Full::new(Bytes::from(body)))
        .expect("a request");
    let (head, body) = server.answer(request).await.into_parts();
    let collected = body.collect().await.unwrap_or_else(|never| match never {});
    let trailers = collected.trailers().cloned().unwrap_or(head.headers);
    let text = |name| trailers.get(name).map_or("", |value| value.to_str().expect("text")).to_owned();
    let mut reader = MessageReader::new(compression, 1 << 30);
    reader.push(&collected.to_bytes());
    let mut messages = Vec::new();
    while let Some(message) = reader.next_message().expect("sound") {
        messages.push(message);
    }
    assert!(reader.is_empty());
    (messages, text("grpc-status"), text("grpc-message"))
}

fn up() -> SeriesRequest {
    SeriesRequest {
        max_time: 5000,
        matchers: vec![LabelMatcher { op: 0, name: "__name__".to_owned(), value: "up".to_owned() }],
        ..SeriesRequest::default()
    }
}

fn series(messages: &[Bytes]) -> Vec<StoreSeries> {
    let read = |message: &Bytes| match read(message).expect("sound") {
        Received::Series(series) => series,
        Received::Warning(text) => panic!("a warning: {text}"),
    };
    messages.iter().flat_map(read).collect()
}

#[tokio::test]
async fn info_tells_labels_and_times() {
    let (messages, status, _) = call("/thanos.info.Info/Info", &InfoRequest {}, Compression::None).await;
    let info = InfoResponse::decode(&messages[0][..]).expect("a message");
    assert_eq!((status.as_str(), info.component_type.as_str()), ("0", "sidecar"));
    assert_eq!(info.label_sets[0].to_labels(), labels(&[("cluster", "c"), ("replica", "r")]));
    assert_eq!(info.store.expect("a store").max_time, i64::MAX);
}

#[tokio::test]
async fn series_come_in_messages_of_the_size_that_was_asked_for() {
    for (response_batch_size, count) in [(0, 200), (1, 200), (64, 4), (1000, 1)] {
        let request = SeriesRequest { response_batch_size, ..up() };
        for compression in [Compression::None, Compression::Snappy, Compression::Gzip, Compression::Zstd] {
            let (messages, status, _) = call("/thanos.Store/Series", &request, compression).await;
            assert_eq!(
                (messages.len(), status.as_str()),
                (count, "0"),
                "{response_batch_size} {compression:?}"
            );
            let found = series(&messages);
            assert_eq!(found.len(), 200);
            assert!(found.is_sorted_by(|a, b| a.labels < b.labels));
            assert_eq!(found[7].labels.to_string(), r#"{__name__="up", cluster="c", n="007", replica="r"}"#);
            let chunk = found[7].chunks[1].raw.as_ref().expect("raw");
            assert_eq!(samples(chunk.encoding, &chunk.data), [(1007, 2.0)]);
        }
    }
}

#[tokio::test]
async fn chunks_outside_the_range_and_series_without_any_are_left_out() {
    let request = SeriesRequest { min_time: 1100, max_time: 1149, ..up() };
    let (messages, ..) = call("/thanos.Store/Series", &request, Compression::None).await;
    let found = series(&messages);
    assert_eq!(found.len(), 50);
    assert!(found.iter().all(|series| series.chunks.len() == 1));
    let request = SeriesRequest {
        skip_chunks: true,
        limit: 3,
        without_replica_labels: vec!["replica".to_owned()],
        ..up()
    };
    let (messages, ..) = call("/thanos.Store/Series", &request, Compression::None).await;
    let found = series(&messages);
    assert_eq!(found.len(), 3);
    assert_eq!(found[0].labels.to_string(), r#"{__name__="up", cluster="c", n="000"}"#);
    assert!(found[0].chunks.is_empty());
}

#[tokio::test]
async fn wrong_calls_get_the_status_of_grpc() {
    let external = SeriesRequest {
        matchers: vec![LabelMatcher { op: 0, name: "cluster".to_owned(), value: "c".to_owned() }],
        ..up()
    };
    for (path, code, text) in [
        ("/thanos.Store/Series", "3", "no matchers specified (excluding external labels)"),
        ("/thanos.Store/Other", "12", "unknown method Other for service thanos.Store"),
        ("/thanos.Other/Rules", "12", "unknown service thanos.Other"),
        ("/thanos.WriteableStore/RemoteWrite", "14", "this store takes no writes"),
    ] {
        let (messages, status, message) = call(path, &external, Compression::None).await;
        assert!(messages.is_empty());
        assert_eq!((status.as_str(), message.replace("%20", " ").as_str()), (code, text), "{path}");
    }
    let values = LabelValuesRequest::default();
    let (_, status, _) = call("/thanos.Store/LabelValues", &values, Compression::None).await;
    assert_eq!(status, "3");
}

#[tokio::test]
async fn label_values_are_limited_and_ranged() {
    let request = LabelValuesRequest {
        label: "n".to_owned(),
        start: TimeRange::ALL.min,
        end: 9,
        limit: 4,
        ..LabelValuesRequest::default()
    };
    let (messages, ..) = call("/thanos.Store/LabelValues", &request, Compression::Gzip).await;
    let found = LabelValuesResponse::decode(&messages[0][..]).expect("a message");
    assert_eq!(found.values, ["000", "001", "002", "003"]);
}

#[tokio::test]
async fn what_there_is_none_of_is_an_empty_answer_and_health_is_told() {
    let (messages, status, _) = call("/thanos.Rules/Rules", &InfoRequest {}, Compression::None).await;
    assert_eq!((messages.len(), status.as_str()), (0, "0"));
    for (service, want) in [("", "0"), ("thanos.Store", "0"), ("thanos.Nothing", "5")] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let (messages, status, _) = call("/grpc.health.v1.Health/Check", &request, Compression::None).await;
        assert_eq!(status, want, "{service}");
        // `SERVING` is 1 in field 1.
        assert!(status != "0" || messages[0][..] == [8, 1]);
    }
    let (_, status, _) = call("/thanos.Query/Query", &QueryRequest::default(), Compression::None).await;
    assert_eq!(status, "5", "a server without an engine");
}

/// What `querypb` has of an answer, for an independent view.
#[derive(Clone, PartialEq, Message)]
struct Answered {
    #[prost(message, optional, tag = "2")]
    alone: Option<AnsweredSeries>,
    #[prost(message, optional, tag = "4")]
    batch: Option<AnsweredBatch>,
    #[prost(message, optional, tag = "3")]
    stats: Option<crate::proto::Empty>,
}

#[derive(Clone, PartialEq, Message)]
struct AnsweredBatch {
    #[prost(message, repeated, tag = "1")]
    series: Vec<AnsweredSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct AnsweredSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<crate::proto::Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<AnsweredSample>,
}

#[derive(Clone, PartialEq, Message)]
struct AnsweredSample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    time_ms: i64,
}

#[tokio::test]
async fn queries_are_evaluated_over_all_series_with_their_external_labels() {
    let tasks = Tasks::new();
    let clock: Arc<dyn runtime::Clock> = Arc::new(runtime::SystemClock);
    let endpoints = crate::EndpointSet::start(&[], clock, &tasks).expect("there are none");
    let settings = crate::FanoutSettings {
        replica_labels: Vec::new(),
        dedup: crate::DedupFunction::Penalty,
        partial_response: false,
        response_timeout: None,
        tenant_label: "tenant_id".to_owned(),
    };
    let sources = server().sources;
    let stores = Arc::new(crate::Fanout::new(sources, endpoints, settings, tasks.clone()));
    let queries = || Queries {
        engine: promql::Engine::new(promql::EngineSettings::default(), tasks.clone()),
        stores: Arc::clone(&stores),
    };
    for (batch, want) in [(0, 1), (1, 1), (64, 1)] {
        let request = QueryRangeRequest {
            query: "count by (cluster) (up)".to_owned(),
            start_time_seconds: 0,
            end_time_seconds: 2,
            interval_seconds: 1,
            response_batch_size: batch,
            ..QueryRangeRequest::default()
        };
        let server = server().with_queries(queries());
        let (messages, status, text) =
            call_of(&server, "/thanos.Query/QueryRange", &request, Compression::Gzip).await;
        assert_eq!(status, "0", "{text}");
        let answers: Vec<Answered> =
            messages.iter().map(|message| Answered::decode(&message[..]).expect("a message")).collect();
        assert!(answers.last().expect("the last").stats.is_some());
        let series: Vec<AnsweredSeries> = answers
            .into_iter()
            .flat_map(|answer| {
                answer.alone.into_iter().chain(answer.batch.into_iter().flat_map(|batch| batch.series))
            })
            .collect();
        assert_eq!(series.len(), want);
        assert_eq!((series[0].labels[0].name.as_str(), series[0].labels[0].value.as_str()), ("cluster", "c"));
        let samples: Vec<(i64, f64)> =
            series[0].samples.iter().map(|sample| (sample.time_ms, sample.value)).collect();
        // At 0 s one series has begun, at 1 s all of them.
        assert_eq!(samples, [(0, 1.0), (1000, 200.0), (2000, 200.0)]);
    }
}

/// Tells what is reserved while it writes.
struct Watches(Arc<MemoryBudget>, parking_lot::Mutex<Vec<u64>>);

impl crate::WriteTarget for Watches {
    fn remote_write(&self, _: Bytes) -> storage_api::BoxFuture<'_, crate::ThanosResult<()>> {
        self.1.lock().push(self.0.reserved_bytes());
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test]
async fn writes_are_read_within_the_budget_and_held_until_they_are_written() {
    const PATH: &str = "/thanos.WriteableStore/RemoteWrite";
    let budget = MemoryBudget::new(4 << 20);
    let target = Arc::new(Watches(Arc::clone(&budget), parking_lot::Mutex::default()));
    let write = Some(Arc::clone(&target) as Arc<dyn crate::WriteTarget>);
    let server =
        StoreApiServer::new(server().sources, None, write, Tasks::new()).with_budget(Arc::clone(&budget));
    // An unknown field: a message that is as large as wanted.
    let message = |bytes: usize| LabelValuesRequest { label: "x".repeat(bytes), ..Default::default() };
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Snappy] {
        let (_, status, _) = call_of(&server, PATH, &message(500_000), compression).await;
        assert_eq!(status, "0", "{compression:?}");
        let held = target.1.lock().pop().expect("it was written");
        assert!((500_000..501_000).contains(&held), "{compression:?}: {held}");
        let (_, status, text) = call_of(&server, PATH, &message(5 << 20), compression).await;
        assert_eq!(
            (status.as_str(), text.as_str()),
            ("14", "data%20refused%20due%20to%20high%20memory%20usage")
        );
        assert_eq!((target.1.lock().len(), budget.reserved_bytes()), (0, 0), "{compression:?}");
    }
    budget.set_closed(true);
    let (_, status, _) = call_of(&server, "/thanos.info.Info/Info", &InfoRequest {}, Compression::None).await;
    assert_eq!(status, "0", "who is short of memory still lives");
    let (_, status, _) = call_of(&server, PATH, &message(1), Compression::None).await;
    assert_eq!(status, "14");
}
