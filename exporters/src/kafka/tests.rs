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

use super::messages::{Keys, Message, Recipe, messages};
use super::{KafkaEncoding, Signal};
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

fn recipe(signal: Signal) -> Recipe {
    let (encoding, keys) = (KafkaEncoding::OtlpProto, Keys::None);
    Recipe { signal, encoding, keys, key: None, topic_attribute: None, bytes_max: 1 << 20 }
}

fn made(recipe: &Recipe, batch: &Batch) -> Vec<Message> {
    messages(recipe, &batch.payload, batch.items).expect("well-formed")
}

#[test]
fn a_batch_larger_than_a_message_is_split_down_to_single_items() {
    let lines: Vec<String> = (0..100).map(|n| format!("{n:0>100}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let batch = logs(&lines);
    for encoding in [KafkaEncoding::OtlpProto, KafkaEncoding::OtlpJson] {
        let made = made(&Recipe { encoding, bytes_max: 2000, ..recipe(Signal::Logs) }, &batch);
        assert!(made.len() > 5 && made.iter().all(|message| message.payload.len() <= 2000), "{encoding:?}");
        assert_eq!(made.iter().map(|message| message.items).sum::<u64>(), 100);
    }
    let tiny = made(&Recipe { bytes_max: 10, ..recipe(Signal::Logs) }, &batch);
    assert_eq!(tiny.len(), 100, "single items go out whatever their size");
}

#[test]
fn the_key_of_a_resource_does_not_depend_on_the_order_of_its_attributes() {
    let by_resource = Recipe { keys: Keys::Resource, ..recipe(Signal::Logs) };
    let key = |lines: &Batch| made(&by_resource, lines).remove(0).key.expect("a key");
    let (one, other) = (key(&logs(&["a"])), key(&logs(&["b"])));
    assert_eq!((one.len(), &one), (16, &other));
}

/// Log records of resources; a resource has a value of attribute `topic` and the traces of its records.
fn log_records(groups: &[(Option<Value>, &[u8])]) -> Batch {
    let mut resources = Vec::new();
    for (topic, traces) in groups {
        let attributes: Vec<Value> =
            topic.iter().map(|topic| json!({"key": "topic", "value": topic})).collect();
        let records: Vec<Value> = traces
            .iter()
            .map(|trace| match trace {
                0 => json!({"body": {"stringValue": "no trace"}}),
                id => json!({"traceId": format!("{id:02x}").repeat(16)}),
            })
            .collect();
        let scopes = json!([{"logRecords": records}]);
        resources.push(json!({"resource": {"attributes": attributes}, "scopeLogs": scopes}));
    }
    let text = json!({"resourceLogs": resources}).to_string();
    let payload = wire::otlp::json::to_protobuf(Signal::Logs, text.as_bytes()).expect("OTLP/JSON");
    batch(Signal::Logs, payload, groups.iter().map(|(_, traces)| traces.len() as u64).sum())
}

type Seen3<'a> = (Option<&'a str>, Option<String>, u64);

fn seen(made: &[Message]) -> Vec<Seen3<'_>> {
    let key = |message: &Message| message.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned());
    made.iter().map(|message| (message.topic.as_deref(), key(message), message.items)).collect()
}

#[test]
fn log_records_of_a_trace_share_a_message_and_those_of_none_have_no_key() {
    let batch = log_records(&[(None, &[1, 0, 2, 1, 0])]);
    let made = made(&Recipe { keys: Keys::Trace, ..recipe(Signal::Logs) }, &batch);
    let key = |id: u8| Some(format!("{id:02x}").repeat(16));
    assert_eq!(seen(&made), [(None, key(1), 2), (None, None, 2), (None, key(2), 1)]);
}

#[test]
fn the_topic_is_the_text_of_a_resources_attribute_if_it_has_one() {
    let text = |topic: &str| Some(json!({"stringValue": topic}));
    let groups = [
        (text("a"), &[1_u8, 1][..]),
        (None, &[1]),
        (Some(json!({"intValue": 7})), &[1]),
        (text(""), &[1]),
        (text("b"), &[1]),
    ];
    let batch = log_records(&groups);
    let topic_attribute = Some("topic".to_owned());
    let plain = Recipe { topic_attribute: topic_attribute.clone(), ..recipe(Signal::Logs) };
    let want = [(Some("a"), 2), (None, 1), (None, 1), (None, 1), (Some("b"), 1)];
    assert_eq!(seen(&made(&plain, &batch)), want.map(|(topic, items)| (topic, None, items)));
    // A trace with records in two topics has a message in each.
    let by_trace = Recipe { topic_attribute, keys: Keys::Trace, ..recipe(Signal::Logs) };
    let key = Some("01".repeat(16));
    assert_eq!(seen(&made(&by_trace, &batch)), want.map(|(topic, items)| (topic, key.clone(), items)));
}

fn from(metadata: &[(&str, &str)], batch: Batch) -> Batch {
    let metadata = metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Batch { client: Arc::new(ClientMetadata { address: None, metadata }), ..batch }
}

#[tokio::test]
async fn the_sender_chooses_topic_and_key_where_the_config_lets_it() {
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    let more = json!({
        "topic_from_attribute": "topic",
        "logs": {"topic": "usual", "topic_from_metadata_key": "X-Topic", "message_key_from_metadata_key": "X-Key"},
    });
    let exporter = start(&brokers, more).await;
    let of_data = || log_records(&[(Some(json!({"stringValue": "by-data"})), &[1])]);
    for sent in [
        from(&[("x-topic", "by-sender"), ("x-key", "k")], of_data()),
        from(&[("x-topic", ""), ("x-key", "")], of_data()),
        logs(&["neither"]),
    ] {
        assert_eq!(exporter.consume(sent).await.expect("delivered").stored, 1);
    }
    for (topic, key) in [("by-sender", Some(b"k".to_vec())), ("by-data", None), ("usual", None)] {
        assert_eq!(read(&brokers, topic, 1).await[0].key, key, "{topic}");
    }
    let error = exporter.consume(from(&[("x-topic", "a/b")], of_data())).await.expect_err("no such name");
    assert!(!error.kind().is_retryable(), "{error}");
    assert!(error.to_string().contains("topic \"a/b\" is not a name"), "{error}");
    exporter.shutdown().await.expect("ends");
}

#[tokio::test]
async fn messages_go_where_the_partitioner_says() {
    let cluster = cluster();
    let brokers = cluster.bootstrap_servers();
    // Partitions of 4 for the keys a to d: FNV-1a as Sarama makes it non-negative, murmur2 as Java's client; computed
    // apart by the published algorithms (Kafka's UtilsTest has values of the latter).
    let cases = [
        ("round", json!({"round_robin": {}}), None),
        ("fnv", json!({}), Some(FNV_OF_A_TO_D)),
        ("fnv-named", json!({"sticky_key": {"hasher": "sarama_compat"}}), Some(FNV_OF_A_TO_D)),
        ("murmur", json!({"sticky_key": {"hasher": "murmur2"}}), Some(MURMUR_OF_A_TO_D)),
    ];
    for (topic, partitioner, want) in cases {
        cluster.create_topic(topic, 4, 1).expect("a topic");
        let logs_section = json!({"topic": topic, "message_key_from_metadata_key": "k"});
        let more = json!({"record_partitioner": partitioner, "logs": logs_section});
        let exporter = start(&brokers, more).await;
        for key in ["a", "b", "c", "d"] {
            exporter.consume(from(&[("k", key)], logs(&["x"]))).await.expect("delivered");
        }
        let mut got: Vec<_> =
            read(&brokers, topic, 4).await.into_iter().map(|seen| (seen.key, seen.partition)).collect();
        got.sort();
        let partitions: Vec<i32> = got.iter().map(|(_, partition)| *partition).collect();
        match want {
            Some(want) => assert_eq!(partitions, want, "{topic}"),
            None => assert_eq!(partitions.iter().collect::<BTreeSet<_>>().len(), 4, "{topic}: {got:?}"),
        }
        exporter.shutdown().await.expect("ends");
    }
}

const FNV_OF_A_TO_D: [i32; 4] = [0, 3, 2, 1];
const MURMUR_OF_A_TO_D: [i32; 4] = [0, 0, 2, 1];

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
    check(json!({"producer": {"required_acks": 2}}), "producer::required_acks: 2: want -1 or all, 1 or 0");
    check(
        json!({"producer": {"max_broker_write_bytes": 1}}),
        "producer::max_broker_write_bytes: must be at least 104857600",
    );
    check(
        json!({"partition_logs_by_trace_id": true, "partition_logs_by_resource_attributes": true}),
        "partition_logs_by_trace_id: cannot be combined",
    );
    check(
        json!({"partition_traces_by_id": true, "traces": {"message_key_from_metadata_key": "k"}}),
        "traces::message_key_from_metadata_key: cannot be combined",
    );
    check(
        json!({"logs": {"topic_from_metadata_key": "k"}, "sending_queue": {"batch": {}}}),
        "logs::topic_from_metadata_key: \"k\" must be in sending_queue::batch::partition::metadata_keys",
    );
    check(
        json!({"record_partitioner": {"round_robin": {}, "sticky_key": {"hasher": "murmur2"}}}),
        "record_partitioner: at most one",
    );
    check(
        json!({"record_partitioner": {"least_backup": {}}}),
        "record_partitioner::least_backup: is not supported",
    );
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
