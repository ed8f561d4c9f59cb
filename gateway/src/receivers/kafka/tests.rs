//! Against the mock cluster of librdkafka, which speaks the real protocol inside this process.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::{AppendReport, ErrorKind, Signal};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use parking_lot::Mutex;
use pipelines::{Batch, ComponentConfig, ComponentId, Consumer, PipelineError, PipelineResult};
use prost::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use runtime::{MemoryBudget, Tasks};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::receivers::{Entries, Receiver, ReceiverContext};

/// A pipeline that answers by script and keeps what it took.
#[derive(Default)]
struct Pipeline {
    taken: Mutex<Vec<Batch>>,
    script: Mutex<VecDeque<ErrorKind>>,
    /// Deliveries that panic before the script begins.
    panics: Mutex<u32>,
    /// A batch with a record of these flags is refused for good.
    refused: Mutex<Option<u32>>,
    changed: Notify,
    attempts: Mutex<u64>,
}

impl Consumer for Pipeline {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, PipelineResult<AppendReport>> {
        *self.attempts.lock() += 1;
        let is_to_panic = {
            let mut panics = self.panics.lock();
            let left = *panics;
            *panics = left.saturating_sub(1);
            left > 0
        };
        assert!(!is_to_panic, "as told");
        let is_refused = self.refused.lock().is_some_and(|refused| flags(&batch.payload).contains(&refused));
        let failure = self.script.lock().pop_front().or(is_refused.then_some(ErrorKind::Invalid));
        let stored = batch.items;
        if failure.is_none() {
            self.taken.lock().push(batch);
        }
        self.changed.notify_one();
        let outcome = match failure {
            Some(kind) => Err(PipelineError::new(kind, "as told")),
            None => Ok(AppendReport { stored, rejected: Vec::new() }),
        };
        Box::pin(std::future::ready(outcome))
    }
}

impl Pipeline {
    /// Flags of the records that were taken, once there are `count`.
    async fn wait_for(&self, count: usize) -> Vec<u32> {
        let all = async {
            loop {
                let flags = self.flags();
                if flags.len() >= count {
                    return flags;
                }
                self.changed.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(90), all).await.expect("delivered in time")
    }

    fn flags(&self) -> Vec<u32> {
        self.taken.lock().iter().flat_map(|batch| flags(&batch.payload)).collect()
    }
}

fn flags(payload: &Bytes) -> Vec<u32> {
    let request = ExportLogsServiceRequest::decode(payload.clone()).expect("well-formed");
    let scopes = request.resource_logs.into_iter().flat_map(|group| group.scope_logs);
    scopes.flat_map(|scope| scope.log_records).map(|record| record.flags).collect()
}

fn logs(flags: u32) -> Vec<u8> {
    let scope =
        ScopeLogs { log_records: vec![LogRecord { flags, ..Default::default() }], ..Default::default() };
    let group = ResourceLogs { scope_logs: vec![scope], ..Default::default() };
    ExportLogsServiceRequest { resource_logs: vec![group] }.encode_to_vec()
}

type Cluster = MockCluster<'static, rdkafka::producer::DefaultProducerContext>;

struct Rig {
    cluster: Cluster,
    producer: FutureProducer,
    pipeline: Arc<Pipeline>,
    tasks: Tasks,
}

impl Rig {
    fn new() -> Self {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        cluster.create_topic("otlp_logs", 1, 1).expect("a topic");
        let mut client = rdkafka::ClientConfig::new();
        client.set("bootstrap.servers", cluster.bootstrap_servers());
        let producer = client.create().expect("a producer");
        Self { cluster, producer, pipeline: Arc::default(), tasks: Tasks::new() }
    }

    async fn send(&self, payload: &[u8], tenant: Option<&str>) {
        self.send_to("otlp_logs", payload, tenant).await;
    }

    async fn send_to(&self, topic: &str, payload: &[u8], tenant: Option<&str>) {
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic).payload(payload);
        if let Some(tenant) = tenant {
            let header = Header { key: "X-Scope-OrgID", value: Some(tenant) };
            record = record.headers(OwnedHeaders::new().insert(header));
        }
        self.producer.send_result(record).expect("queued").await.expect("kept").expect("delivered");
    }

    async fn start(&self, more: Value) -> Receiver {
        let mut config = json!({
            "brokers": [self.cluster.bootstrap_servers()], "initial_offset": "earliest", "group_id": "nodes",
            "session_timeout": "6s", "heartbeat_interval": "500ms", "autocommit": {"interval": "100ms"},
            "error_backoff": {"initial_interval": "1ms", "max_interval": "1ms"},
        });
        for (key, value) in more.as_object().expect("a section") {
            config[key] = value.clone();
        }
        let receiver = create(&config, &self.pipeline, &self.tasks).expect("a good config");
        receiver.workers[0].start().await.expect("starts");
        receiver
    }

    /// What the group has committed for the only partition.
    fn committed(&self) -> Option<i64> {
        let reader: BaseConsumer = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", "nodes")
            .create()
            .expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition("otlp_logs", 0);
        let committed = reader.committed_offsets(list, Duration::from_secs(30)).expect("known");
        match committed.elements()[0].offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }
}

fn create(
    config: &Value,
    pipeline: &Arc<Pipeline>,
    tasks: &Tasks,
) -> Result<Receiver, pipelines::ConfigError> {
    let id = ComponentId::parse("kafka").expect("an id");
    let pipeline = Arc::clone(pipeline) as Arc<dyn Consumer>;
    let context = ReceiverContext {
        entries: Entries::new(|signal| (signal == Signal::Logs).then(|| Arc::clone(&pipeline))),
        budget: MemoryBudget::new(u64::MAX),
        tasks: tasks.clone(),
        auths: Default::default(),
    };
    (super::FACTORY.create)(&ComponentConfig { id: &id, value: config }, &context)
}

#[tokio::test]
async fn messages_arrive_in_order_and_a_restart_goes_on_behind_the_last_delivered_one() {
    let rig = Rig::new();
    for number in 0..20 {
        rig.send(&logs(number), None).await;
    }
    let receiver = rig.start(json!({})).await;
    assert_eq!(rig.pipeline.wait_for(20).await, (0..20).collect::<Vec<_>>());
    receiver.workers[0].shutdown().await;
    assert_eq!(rig.committed(), Some(20));
    for number in 20..25 {
        rig.send(&logs(number), None).await;
    }
    let receiver = rig.start(json!({})).await;
    assert_eq!(rig.pipeline.wait_for(25).await, (0..25).collect::<Vec<_>>());
    receiver.workers[0].shutdown().await;
}

#[tokio::test]
async fn nothing_is_committed_before_it_is_delivered() {
    let rig = Rig::new();
    rig.pipeline.script.lock().extend([ErrorKind::Unavailable; 100_000]);
    rig.send(&logs(1), None).await;
    let receiver = rig.start(json!({})).await;
    let failing = async {
        while *rig.pipeline.attempts.lock() < 3 {
            rig.pipeline.changed.notified().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), failing).await.expect("it is tried again");
    receiver.workers[0].shutdown().await;
    assert_eq!((rig.committed(), rig.pipeline.flags()), (None, vec![]));

    rig.pipeline.script.lock().clear();
    let receiver = rig.start(json!({})).await;
    assert_eq!(rig.pipeline.wait_for(1).await, [1]);
    receiver.workers[0].shutdown().await;
    assert_eq!(rig.committed(), Some(1));
}

#[tokio::test]
async fn what_cannot_be_read_and_what_nobody_takes_is_passed() {
    let rig = Rig::new();
    rig.send(b"\xff\xff not OTLP", None).await;
    rig.pipeline.script.lock().push_back(ErrorKind::Invalid);
    rig.send(&logs(1), Some("refused")).await;
    rig.send(&logs(2), Some("shop")).await;
    let more = json!({"header_extraction": {"extract_headers": true, "headers": ["X-Scope-OrgID"]}});
    let receiver = rig.start(more).await;
    assert_eq!(rig.pipeline.wait_for(1).await, [2]);
    receiver.workers[0].shutdown().await;
    assert_eq!(rig.committed(), Some(3));
    let taken = rig.pipeline.taken.lock();
    assert_eq!(taken[0].tenant.as_str(), "shop");
    let request = ExportLogsServiceRequest::decode(taken[0].payload.clone()).expect("well-formed");
    let resource = request.resource_logs[0].resource.as_ref().expect("has one");
    assert_eq!(resource.attributes[0].key, "kafka.header.X-Scope-OrgID");
}

#[tokio::test]
async fn a_message_that_nobody_takes_takes_no_others_with_it() {
    let rig = Rig::new();
    *rig.pipeline.refused.lock() = Some(7);
    // The first one is held up, so that those behind it wait together.
    rig.pipeline.script.lock().extend([ErrorKind::Unavailable; 300]);
    for number in 0..20 {
        rig.send(&logs(number), None).await;
    }
    let receiver = rig.start(json!({})).await;
    let want: Vec<u32> = (0..20).filter(|number| *number != 7).collect();
    assert_eq!(rig.pipeline.wait_for(19).await, want);
    receiver.workers[0].shutdown().await;
    assert_eq!(rig.committed(), Some(20));
    let batches = rig.pipeline.taken.lock().len();
    assert!(batches <= 21, "{batches}: what is refused alone is not tried again");
}

#[tokio::test]
async fn a_delivery_that_panics_is_tried_again_and_then_passed_and_its_partition_goes_on() {
    let rig = Rig::new();
    rig.send(&logs(1), Some("a")).await;
    rig.send(&logs(2), Some("b")).await;
    *rig.pipeline.panics.lock() = 1;
    let receiver = rig.start(json!({})).await;
    assert_eq!(rig.pipeline.wait_for(2).await, [1, 2]);

    *rig.pipeline.panics.lock() = 3;
    rig.send(&logs(3), None).await;
    rig.send(&logs(4), Some("a")).await;
    let flags = rig.pipeline.wait_for(3).await;
    assert_eq!(flags, [1, 2, 4], "three panics are one too many");
    receiver.workers[0].shutdown().await;
    assert_eq!(rig.committed(), Some(4));
}

#[tokio::test]
async fn messages_of_a_topic_that_only_the_client_takes_for_a_match_are_not_passed() {
    let rig = Rig::new();
    rig.cluster.create_topic("other", 1, 1).expect("a topic");
    rig.send(&logs(1), None).await;
    rig.send_to("other", &logs(2), None).await;
    // In brackets a backslash is one for POSIX, and starts a class of whitespace for us.
    let receiver = rig.start(json!({"logs": {"topics": ["^otlp_log[\\s]", "other"]}})).await;
    assert_eq!(rig.pipeline.wait_for(1).await, [2]);
    receiver.workers[0].shutdown().await;
    assert_eq!((rig.committed(), rig.pipeline.flags()), (None, vec![2]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_are_excluded_are_not_read_and_lines_of_others_are_records() {
    let rig = Rig::new();
    for topic in ["lines-prod", "lines-dev"] {
        rig.cluster.create_topic(topic, 1, 1).expect("a topic");
    }
    let receiver = rig
        .start(json!({"logs": {"topics": ["^lines-"], "exclude_topics": ["-dev$"], "encoding": "text"}}))
        .await;
    rig.send_to("lines-dev", b"never", None).await;
    rig.send_to("lines-prod", b"one", None).await;
    rig.pipeline.wait_for(1).await;
    receiver.workers[0].shutdown().await;
    let taken = rig.pipeline.taken.lock();
    let bodies = taken.iter().flat_map(|batch| {
        let request = ExportLogsServiceRequest::decode(batch.payload.clone()).expect("well-formed");
        let scopes = request.resource_logs.into_iter().flat_map(|group| group.scope_logs);
        scopes.flat_map(|scope| scope.log_records).map(|record| format!("{:?}", record.body))
    });
    let bodies: Vec<String> = bodies.collect();
    assert!(bodies.len() == 1 && bodies[0].contains("\"one\""), "{bodies:?}");
    let metadata = &taken[0].client.metadata;
    let value = |name: &str| metadata.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!((value("kafka.topic"), value("kafka.partition")), (Some("lines-prod"), Some("0")));
}

#[test]
fn faulty_configs_are_refused_by_path() {
    let check = |config: Value, want: &str| {
        let error = create(&config, &Arc::default(), &Tasks::new()).err().expect("a fault").to_string();
        assert!(error.starts_with(want), "{error}");
    };
    check(json!({"brokers": []}), "brokers: want host:port");
    check(json!({"message_marking": {"after": false}}), "message_marking::after: false is not supported");
    check(json!({"autocommit": {"enable": false}}), "autocommit::enable: false is not supported");
    check(json!({"heartbeat_interval": "20s"}), "heartbeat_interval: must be less than session_timeout");
    check(json!({"logs": {"topics": ["^("]}}), "topic \"^(\"");
    let large = json!({"default_fetch_size": 4_000_000_000_u32});
    create(&large, &Arc::default(), &Tasks::new()).map(drop).expect("more than the client can, and clamped");
    check(json!({"use_leader_epoch": false}), "use_leader_epoch: false is not supported");
    check(json!({"max_fetch_size": 10, "min_fetch_size": 11}), "max_fetch_size: cannot be less");
    check(
        json!({"group_rebalance_strategy": "range", "group_rebalance_strategies": ["range"]}),
        "group_rebalance_strategy: cannot be combined",
    );
    check(json!({"group_rebalance_strategies": ["sticky"]}), "group_rebalance_strategy: \"sticky\" is not");
    check(
        json!({"logs": {"exclude_topics": ["^a"]}}),
        "logs::exclude_topics: want a topic that is a regular",
    );
    check(
        json!({"logs": {"topics": ["^a"], "exclude_topics": ["a{1,2}"]}}),
        "logs::exclude_topics: \"a{1,2}\": a comma",
    );
    check(json!({"metrics": {"encoding": "text"}}), "metrics::encoding: only logs can be written so");
    check(
        json!({"logs": {"encoding": "zipkin_json"}}),
        "logs::encoding: the encoding \"zipkin_json\" is not",
    );
    let all = json!({
        "rack_id": "a", "use_leader_epoch": true, "resolve_canonical_bootstrap_servers_only": true,
        "max_fetch_size": 4096, "max_partition_fetch_size": 4096, "metrics": {"encoding": "otlp_json"},
        "telemetry": {"metrics": {"kafka_receiver_records_delay": {"enabled": false}}},
    });
    create(&all, &Arc::default(), &Tasks::new()).map(drop).expect("keys of the collector");
}
