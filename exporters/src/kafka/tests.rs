//! Against the mock cluster of librdkafka, which speaks the real protocol inside this process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::TenantId;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use pipelines::{Batch, ClientMetadata, Exporter};
use prost::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use super::KafkaEncoding;
use super::Signal;
use super::messages::{Keys, messages};
use crate::Stores;
use crate::testing::{batch, context, create, gauge, logs};

type Cluster = MockCluster<'static, rdkafka::producer::DefaultProducerContext>;

fn cluster() -> Cluster {
    MockCluster::new(1).expect("a mock cluster")
}

async fn start(brokers: &str, more: Value) -> Arc<dyn Exporter> {
    let mut config = json!({"brokers": [brokers], "sending_queue": {"enabled": false}, "timeout": "30s"});
    for (key, value) in more.as_object().expect("a section") {
        config[key] = value.clone();
    }
    let exporter = create("kafka", &config, &context(), &Stores::default()).expect("a good config");
    exporter.start().await.expect("starts");
    exporter
}

/// What a message is made of, as a reader sees it.
#[derive(Debug)]
struct Seen {
    key: Option<Vec<u8>>,
    payload: Bytes,
    headers: Vec<(String, String)>,
    partition: i32,
}

/// The first `count` messages of a topic, read without a group, which would take seconds to form.
async fn read(brokers: &str, topic: &str, count: usize) -> Vec<Seen> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "test")
        .create()
        .expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("known");
    let mut places = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        places.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("an offset");
    }
    consumer.assign(&places).expect("assigned");
    let message = |_| {
        let message = consumer.poll(PATIENCE).expect("comes in time").expect("a message");
        let headers = message.headers().map(|headers| {
            let text = |header: rdkafka::message::Header<'_, &[u8]>| {
                let value = header.value.map(|value| String::from_utf8_lossy(value).into_owned());
                (header.key.to_owned(), value.unwrap_or_default())
            };
            headers.iter().map(text).collect()
        });
        Seen {
            key: message.key().map(<[u8]>::to_vec),
            payload: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
            headers: headers.unwrap_or_default(),
            partition: message.partition(),
        }
    };
    (0..count).map(message).collect()
}

fn traces(ids: &[u8]) -> Batch {
    let span = |id: &u8| Span { trace_id: vec![*id; 16], span_id: vec![1; 8], ..Span::default() };
    let scope = ScopeSpans { spans: ids.iter().map(span).collect(), ..ScopeSpans::default() };
    let group = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
    let request = ExportTraceServiceRequest { resource_spans: vec![group] };
    batch(Signal::Traces, request.encode_to_vec(), ids.len() as u64)
}

#[tokio::test]
async fn each_signal_arrives_in_its_topic_as_it_was_with_tenant_and_chosen_headers() {
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    let exporter =
        start(&brokers, json!({"include_metadata_keys": ["X-Team"], "logs": {"topic": "mine"}})).await;
    let client = ClientMetadata {
        address: None,
        metadata: vec![("x-team".to_owned(), "a".to_owned()), ("x-other".to_owned(), "b".to_owned())],
    };
    let tenant = TenantId::new("shop").expect("a tenant");
    let (points, lines, spans) = (gauge(&[("a", 1, 1.0)]), logs(&["one"]), traces(&[1]));
    let sent_logs = Batch { client: Arc::new(client), tenant, ..lines.clone() };
    for sent in [points.clone(), sent_logs, spans.clone()] {
        assert_eq!(exporter.consume(sent).await.expect("delivered").stored, 1);
    }
    let seen = read(&brokers, "mine", 1).await;
    assert_eq!((&seen[0].payload, &seen[0].key), (&lines.payload, &None));
    let want = [("X-Team", "a"), ("x-scope-orgid", "shop")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(seen[0].headers, want);
    assert_eq!(read(&brokers, "otlp_metrics", 1).await[0].payload, points.payload);
    assert_eq!(read(&brokers, "otlp_spans", 1).await[0].payload, spans.payload);
    exporter.shutdown().await.expect("ends");
}

#[tokio::test]
async fn spans_of_a_trace_share_a_key_and_so_a_partition() {
    let cluster = cluster();
    cluster.create_topic("otlp_spans", 8, 1).expect("a topic");
    let brokers = cluster.bootstrap_servers();
    let exporter = start(&brokers, json!({"partition_traces_by_id": true})).await;
    for _ in 0..2 {
        assert_eq!(exporter.consume(traces(&[1, 2, 1, 3])).await.expect("delivered").stored, 4);
    }
    let seen = read(&brokers, "otlp_spans", 6).await;
    let keys: BTreeSet<_> =
        seen.iter().map(|seen| (seen.key.clone().expect("a key"), seen.partition)).collect();
    let hex = |id: u8| format!("{id:02x}").repeat(16).into_bytes();
    assert_eq!(keys.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), [hex(1), hex(2), hex(3)]);
    exporter.shutdown().await.expect("ends");
}

#[tokio::test]
async fn every_compression_and_json_are_readable() {
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let more = json!({"topic": format!("t-{codec}"), "producer": {"compression": codec}});
        let exporter = start(&brokers, more).await;
        let sent = logs(&["a line of text that repeats, a line of text that repeats"; 50]);
        exporter.consume(sent.clone()).await.expect("delivered");
        assert_eq!(read(&brokers, &format!("t-{codec}"), 1).await[0].payload, sent.payload, "{codec}");
    }
    let exporter = start(&brokers, json!({"topic": "json", "encoding": "otlp_json"})).await;
    exporter.consume(logs(&["hello"])).await.expect("delivered");
    let text = &read(&brokers, "json", 1).await[0].payload;
    let value: Value = serde_json::from_slice(text).expect("JSON");
    let body = &value["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["body"];
    assert_eq!(body, &json!({"stringValue": "hello"}));
}

#[tokio::test]
async fn a_broker_that_is_away_is_a_failure_that_may_pass_and_nothing_is_acknowledged() {
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    let exporter = start(&brokers, json!({})).await;
    exporter.consume(logs(&["before"])).await.expect("delivered");
    cluster.broker_down(1).expect("stopped");
    let quick = json!({"timeout": "1s", "retry_on_failure": {"enabled": false}});
    let impatient = start(&brokers, quick).await;
    let error = impatient.consume(logs(&["lost"])).await.expect_err("nobody there");
    assert!(error.kind().is_retryable(), "{error}");
    cluster.broker_up(1).expect("started");
    exporter.consume(logs(&["after"])).await.expect("the same client goes on");
}

#[test]
fn a_batch_larger_than_a_message_is_split_down_to_single_items() {
    let lines: Vec<String> = (0..100).map(|n| format!("{n:0>100}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let batch = logs(&lines);
    for encoding in [KafkaEncoding::OtlpProto, KafkaEncoding::OtlpJson] {
        let made =
            messages(Signal::Logs, &batch.payload, 100, encoding, Keys::None, 2000).expect("well-formed");
        assert!(made.len() > 5 && made.iter().all(|message| message.payload.len() <= 2000), "{encoding:?}");
        assert_eq!(made.iter().map(|message| message.items).sum::<u64>(), 100);
    }
    let tiny = messages(Signal::Logs, &batch.payload, 100, KafkaEncoding::OtlpProto, Keys::None, 10);
    assert_eq!(tiny.expect("well-formed").len(), 100, "single items go out whatever their size");
}

#[test]
fn the_key_of_a_resource_does_not_depend_on_the_order_of_its_attributes() {
    let made = |lines: &Batch| {
        let made =
            messages(Signal::Logs, &lines.payload, 1, KafkaEncoding::OtlpProto, Keys::Resource, 1 << 20);
        made.expect("well-formed").remove(0).key.expect("a key")
    };
    let key = made(&logs(&["a"]));
    assert_eq!((key.len(), &key), (16, &made(&logs(&["b"]))));
}

#[test]
fn faulty_configs_are_refused_by_path() {
    let check = |value: Value, want: &str| {
        let error =
            create("kafka", &value, &context(), &Stores::default()).err().expect("a fault").to_string();
        assert!(error.starts_with(want), "{error}");
    };
    check(json!({"brokers": []}), "brokers: want host:port");
    check(
        json!({"include_metadata_keys": ["k"], "sending_queue": {"batch": {}}}),
        "sending_queue::batch::partition::metadata_keys: must be configured when include_metadata_keys is set",
    );
    check(
        json!({"include_metadata_keys": ["k"], "sending_queue": {"batch": {"partition": {"metadata_keys": ["x"]}}}}),
        "sending_queue::batch::partition::metadata_keys: must include all include_metadata_keys values: missing \"k\"",
    );
    check(json!({"producer": {"required_acks": 2}}), "producer::required_acks: 2: want -1 (all), 1 or 0");
    check(
        json!({"producer": {"compression": "brotli"}}),
        "producer::compression: \"brotli\" is not supported",
    );
    check(
        json!({"auth": {"sasl": {"username": "a", "password": "b", "mechanism": "GSSAPI"}}}),
        "auth::sasl::mechanism: \"GSSAPI\" is not supported, supported are PLAIN",
    );
    check(json!({"encoding": "jaeger_proto"}), "encoding: the encoding \"jaeger_proto\" is not supported");
}
