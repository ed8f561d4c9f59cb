use std::sync::Arc;

use bytes::Bytes;
use model::{AppendReport, Signal, TenantId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use runtime::MemoryBudget;
use tokio::time::Instant;

use super::super::config::QueueBatchConfig;
use super::super::taken::{Source, Taken};
use super::Batcher;
use crate::Sizer;
use crate::testing::batch;
use crate::{Batch, ClientMetadata};

fn logs(items: u32) -> Batch {
    let record = |flags| LogRecord { flags, ..LogRecord::default() };
    let scope = ScopeLogs { log_records: (1..=items).map(record).collect(), ..ScopeLogs::default() };
    let group = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![group] };
    Batch { payload: Bytes::from(request.encode_to_vec()), ..batch("", items.into()) }
}

fn flags(payload: &Bytes) -> Vec<u32> {
    let request = ExportLogsServiceRequest::decode(payload.clone()).expect("well-formed");
    let scopes = request.resource_logs.into_iter().flat_map(|group| group.scope_logs);
    scopes.flat_map(|scope| scope.log_records).map(|record| record.flags).collect()
}

/// A batch of a queue in memory and where its outcome comes.
fn taken() -> (Arc<Taken>, tokio::sync::oneshot::Receiver<crate::PipelineResult<AppendReport>>) {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let room = Arc::new(tokio::sync::Semaphore::new(1));
    let share = room.try_acquire_owned().expect("free");
    (Arc::new(Taken::new(Source::Memory { outcome: Some(sender), _share: share })), receiver)
}

fn batcher(config: QueueBatchConfig) -> Batcher {
    Batcher::new(config, MemoryBudget::new(u64::MAX))
}

#[tokio::test]
async fn a_split_batch_is_settled_when_its_last_piece_is() {
    let mut batcher = batcher(QueueBatchConfig { min_size: 3, max_size: 3, ..QueueBatchConfig::default() });
    let (batch_of_seven, mut outcome) = taken();
    let mut leaving = batcher.add(logs(7), batch_of_seven, Instant::now());
    leaving.extend(batcher.take_all());
    let pieces: Vec<_> = leaving.iter().map(|delivery| flags(&delivery.batch.payload)).collect();
    assert_eq!(pieces, [vec![1, 2, 3], vec![4, 5, 6], vec![7]]);
    for delivery in leaving {
        assert!(outcome.try_recv().is_err(), "not before the last piece");
        let stored = delivery.batch.items;
        delivery.of[0].settle(&Ok(AppendReport { stored, rejected: Vec::new() }), false);
    }
    assert_eq!(outcome.await.expect("told").expect("stored").stored, 7);
}

#[tokio::test]
async fn no_batch_is_larger_than_the_largest_size_in_bytes() {
    let whole = logs(200);
    let max = whole.payload.len() as u64 / 5;
    let sizes = QueueBatchConfig { min_size: 1, max_size: max, sizer: Sizer::Bytes, ..Default::default() };
    let mut batcher = batcher(sizes);
    let mut leaving = batcher.add(whole, taken().0, Instant::now());
    leaving.extend(batcher.take_all());
    assert!(leaving.iter().all(|delivery| delivery.batch.payload.len() as u64 <= max));
    let all: Vec<u32> = leaving.iter().flat_map(|delivery| flags(&delivery.batch.payload)).collect();
    assert_eq!(all, (1..=200).collect::<Vec<_>>());
}

#[tokio::test]
async fn signals_tenants_and_chosen_metadata_stay_apart() {
    let mut config = QueueBatchConfig::default();
    config.partition.metadata_keys = vec!["Team".to_owned()];
    let mut batcher = batcher(config);
    let team = |name: &str| {
        let metadata = vec![("team".to_owned(), name.to_owned()), ("other".to_owned(), "x".to_owned())];
        Arc::new(ClientMetadata { address: None, metadata })
    };
    let batches = [
        batch("a", 1),
        Batch { signal: Signal::Traces, ..batch("b", 1) },
        Batch { tenant: TenantId::new("other").expect("a tenant"), ..batch("c", 1) },
        Batch { client: team("x"), ..batch("d", 1) },
        Batch { client: team("y"), ..batch("e", 1) },
        Batch { client: team("x"), ..batch("f", 1) },
        batch("g", 1),
    ];
    for each in batches {
        assert!(batcher.add(each, taken().0, Instant::now()).is_empty());
    }
    let payloads: Vec<String> = batcher
        .take_all()
        .iter()
        .map(|delivery| String::from_utf8_lossy(&delivery.batch.payload).into_owned())
        .collect();
    assert_eq!(payloads, ["ag", "b", "c", "df", "e"]);
}

#[tokio::test]
async fn past_its_bytes_the_oldest_leaves_early() {
    let mut batcher = batcher(QueueBatchConfig { min_size: 1000, ..QueueBatchConfig::default() });
    batcher.bytes_max = 10;
    let of = |tenant: &str, payload: &str| Batch {
        tenant: TenantId::new(tenant).expect("a tenant"),
        ..batch(payload, 1)
    };
    let mut left = Vec::new();
    for each in
        [of("a", "aaaa"), of("b", "bbbb"), of("a", "AA"), of("c", "c"), of("b", "BBBB"), of("d", "dddd")]
    {
        let leaving = batcher.add(each, taken().0, Instant::now());
        left.push(leaving.iter().map(|joined| joined.batch.payload.clone()).collect::<Vec<_>>());
        assert!(batcher.bytes() <= 10);
    }
    let [none, aaaa_and_aa, bbbb_and_bbbb] = [vec![], vec![&b"aaaaAA"[..]], vec![&b"bbbbBBBB"[..]]];
    assert_eq!(left, [none.clone(), none.clone(), none.clone(), aaaa_and_aa, none, bbbb_and_bbbb]);
    assert_eq!(batcher.take_all().len(), 2, "c and d");
    assert_eq!(batcher.bytes(), 0);
    // One that is larger than all the room by itself is not held either.
    assert_eq!(batcher.add(of("a", "larger than ten"), taken().0, Instant::now()).len(), 1);
}
