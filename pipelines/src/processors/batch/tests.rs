use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{AppendReport, ErrorKind, Rejection, Signal, TenantId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use runtime::{MemoryBudget, SystemClock, Tasks};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::testing::{Destination, invalid, unavailable};
use crate::{
    Batch, ClientMetadata, ComponentConfig, ComponentId, ConfigError, Consumer, Processor, ProcessorContext,
};

fn create(
    value: &Value,
    next: &Arc<Destination>,
    budget: &Arc<MemoryBudget>,
) -> Result<Arc<dyn Processor>, ConfigError> {
    let id = ComponentId::parse("batch").expect("an id");
    let context =
        ProcessorContext { clock: Arc::new(SystemClock), tasks: Tasks::new(), budget: Arc::clone(budget) };
    let next = Arc::clone(next) as Arc<dyn Consumer>;
    (super::FACTORY.create)(&ComponentConfig { id: &id, value }, Signal::Logs, &context, next)
}

fn processor(value: Value, next: &Arc<Destination>) -> Arc<dyn Processor> {
    create(&value, next, &MemoryBudget::new(u64::MAX)).expect("a good config")
}

/// A request whose records carry the severities `numbers`.
fn request(numbers: &[i32]) -> Batch {
    let log_records = numbers
        .iter()
        .map(|&severity_number| LogRecord { severity_number, ..LogRecord::default() })
        .collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
    };
    let payload = Bytes::from(request.encode_to_vec());
    Batch { payload, ..crate::testing::batch("", numbers.len() as u64) }
}

/// The severities in each delivered batch.
fn delivered(next: &Destination) -> Vec<Vec<i32>> {
    let numbers = |batch: &Batch| {
        let request = ExportLogsServiceRequest::decode(batch.payload.clone()).expect("well-formed");
        let scopes = request.resource_logs.into_iter().flat_map(|group| group.scope_logs);
        let numbers: Vec<i32> = scopes.flat_map(|s| s.log_records).map(|r| r.severity_number).collect();
        assert_eq!(batch.items, numbers.len() as u64);
        numbers
    };
    next.seen.lock().iter().map(numbers).collect()
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_goes_at_once_and_acknowledges_every_request_in_it() {
    let next = Destination::new();
    let processor = processor(json!({"send_batch_size": 3}), &next);
    let began = Instant::now();
    let (first, second) = tokio::join!(processor.consume(request(&[1])), processor.consume(request(&[2, 3])));
    assert_eq!((first.expect("taken").stored, second.expect("taken").stored), (1, 2));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(delivered(&next), [[1, 2, 3]]);
}

#[tokio::test(start_paused = true)]
async fn a_lone_request_goes_after_the_timeout() {
    let next = Destination::new();
    let processor = processor(Value::Null, &next);
    let began = Instant::now();
    processor.consume(request(&[1])).await.expect("taken");
    assert_eq!(began.elapsed().as_millis(), 200);
    assert_eq!(delivered(&next), [[1]]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_zero_passes_requests_on_as_they_come() {
    let next = Destination::new();
    let processor = processor(json!({"timeout": 0}), &next);
    let began = Instant::now();
    processor.consume(request(&[1])).await.expect("taken");
    processor.consume(request(&[2])).await.expect("taken");
    assert_eq!((began.elapsed(), delivered(&next)), (Duration::ZERO, vec![vec![1], vec![2]]));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_before_it_is_delivered_and_a_failure_reaches_every_request() {
    let next = Destination::answering([Err(unavailable().with_retry_after(Duration::from_secs(3)))]);
    let processor = processor(Value::Null, &next);
    let (first, second) = tokio::join!(processor.consume(request(&[1])), processor.consume(request(&[2])));
    for outcome in [first, second] {
        let error = outcome.expect_err("the destination is away");
        assert_eq!(
            (error.kind(), error.retry_after()),
            (ErrorKind::Unavailable, Some(Duration::from_secs(3)))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_refused_for_good_refuses_only_the_request_at_fault() {
    let taken = || Ok(AppendReport { stored: 1, rejected: Vec::new() });
    let next = Destination::answering([Err(invalid()), taken(), Err(invalid()), taken()]);
    let processor = processor(json!({"send_batch_size": 3}), &next);
    let from = |number: i32| {
        let mut request = request(&[number]);
        let address = Some(format!("10.0.0.{number}"));
        request.client = Arc::new(ClientMetadata { address, metadata: Vec::new() });
        request
    };
    let (first, second, third) =
        tokio::join!(processor.consume(from(1)), processor.consume(from(2)), processor.consume(from(3)));
    assert_eq!((first.expect("taken").stored, third.expect("taken").stored), (1, 1));
    assert_eq!(second.expect_err("at fault").kind(), ErrorKind::Invalid);
    assert_eq!(delivered(&next), [vec![1, 2, 3], vec![1], vec![2], vec![3]]);
    let senders: Vec<_> = next.seen.lock()[1..].iter().map(|batch| batch.client.address.clone()).collect();
    assert_eq!(senders, ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|address| Some(address.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_piece_that_is_refused_for_good_does_not_keep_the_others_back() {
    let config = json!({"send_batch_size": 2, "send_batch_max_size": 2});
    let taken = || Ok(AppendReport { stored: 2, rejected: Vec::new() });
    let next = Destination::answering([taken(), Err(invalid()), taken()]);
    let report =
        processor(config.clone(), &next).consume(request(&[1, 2, 3, 4, 5, 6])).await.expect("partly");
    assert_eq!((report.stored, report.rejected_count()), (4, 2));
    assert_eq!(report.rejected[0].message, "not what I take");
    assert_eq!(delivered(&next), [[1, 2], [3, 4], [5, 6]]);

    let next = Destination::answering([Err(invalid()), Err(invalid())]);
    let error = processor(config.clone(), &next).consume(request(&[1, 2, 3])).await.expect_err("refused");
    assert_eq!((error.kind(), delivered(&next).len()), (ErrorKind::Invalid, 2));

    let next = Destination::answering([Err(invalid()), Err(unavailable())]);
    let error = processor(config, &next).consume(request(&[1, 2, 3])).await.expect_err("comes again");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_goes_away_does_not_take_its_companions_with_it() {
    let next = Destination::new();
    let processor = processor(json!({"send_batch_size": 2}), &next);
    let stays = processor.consume(request(&[1]));
    let mut leaves = processor.consume(request(&[2]));
    let mut stays = std::pin::pin!(stays);
    assert!(futures_util::poll!(&mut stays).is_pending());
    assert!(futures_util::poll!(&mut leaves).is_pending());
    drop(leaves);
    assert_eq!(stays.await.expect("taken").stored, 1);
    assert_eq!(delivered(&next), [[1, 2]]);
}

#[tokio::test(start_paused = true)]
async fn no_batch_is_larger_than_the_maximum() {
    let next = Destination::new();
    let processor = processor(json!({"send_batch_size": 4, "send_batch_max_size": 4}), &next);
    let (a, b, c) = tokio::join!(
        processor.consume(request(&[1, 2, 3])),
        processor.consume(request(&[4, 5])),
        processor.consume(request(&[6, 7, 8, 9, 10])),
    );
    assert_eq!((a.expect("taken").stored, b.expect("taken").stored, c.expect("taken").stored), (3, 2, 5));
    let mut batches = delivered(&next);
    batches.sort();
    assert_eq!(batches, [vec![1, 2, 3], vec![4, 5], vec![6, 7, 8, 9], vec![10]]);
}

#[tokio::test(start_paused = true)]
async fn with_the_sizer_bytes_sizes_are_bytes() {
    let next = Destination::new();
    let one = request(&[1]);
    let bytes = one.payload.len() as u64;
    let config = json!({"sizer": "bytes", "send_batch_size": 2 * bytes, "send_batch_max_size": 2 * bytes});
    let batch = processor(config, &next);
    // Two are a full batch: nothing waits for the timeout.
    let began = Instant::now();
    let (first, second) = tokio::join!(batch.consume(one), batch.consume(request(&[2])));
    assert_eq!((first.expect("taken").stored, second.expect("taken").stored), (1, 1));
    assert_eq!((began.elapsed(), delivered(&next)), (Duration::ZERO, vec![vec![1, 2]]));
    // One that is too large leaves in parts that are not.
    next.seen.lock().clear();
    let large: Vec<i32> = (1..=20).collect();
    assert_eq!(batch.consume(request(&large)).await.expect("taken").stored, 20);
    assert_eq!(delivered(&next).concat(), large);
    let sizes: Vec<u64> = next.seen.lock().iter().map(|batch| batch.payload.len() as u64).collect();
    assert!(sizes.len() > 2 && sizes.iter().all(|size| *size <= 2 * bytes), "{sizes:?} of {bytes}");
}

#[tokio::test(start_paused = true)]
async fn tenants_and_metadata_are_kept_apart_up_to_the_limit() {
    let next = Destination::new();
    let config = json!({"metadata_keys": ["X-Team"], "metadata_cardinality_limit": 2});
    let processor = processor(config, &next);
    let from = |team: &str, tenant: &str, number: i32| {
        let mut request = request(&[number]);
        let metadata =
            vec![("x-team".to_owned(), team.to_owned()), ("x-other".to_owned(), number.to_string())];
        request.client = Arc::new(ClientMetadata { address: None, metadata });
        request.tenant = TenantId::new(tenant).expect("an id");
        request
    };
    let outcomes = futures_util::future::join_all([
        processor.consume(from("a", "t", 1)),
        processor.consume(from("a", "t", 2)),
        processor.consume(from("b", "t", 3)),
        processor.consume(from("b", "u", 4)),
        processor.consume(from("c", "t", 5)),
    ])
    .await;
    let kinds: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().err().map(|error| error.kind())).collect();
    assert_eq!(kinds, [None, None, None, None, Some(ErrorKind::Invalid)]);
    let mut batches = delivered(&next);
    batches.sort();
    assert_eq!(batches, [vec![1, 2], vec![3], vec![4]]);
    let joined = next.seen.lock().iter().find(|batch| batch.items == 2).expect("two joined").client.clone();
    assert_eq!(joined.metadata, [("x-team".to_owned(), "a".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn refused_items_are_told_with_an_exact_sum() {
    let rejected = vec![Rejection { reason: "too_old", count: 3, message: "x".to_owned() }];
    let next = Destination::answering([Ok(AppendReport { stored: 1, rejected })]);
    let processor = processor(json!({"send_batch_size": 4}), &next);
    let (first, second) =
        tokio::join!(processor.consume(request(&[1, 2])), processor.consume(request(&[3, 4])));
    let (first, second) = (first.expect("taken"), second.expect("taken"));
    assert_eq!((first.stored, first.rejected_count()), (0, 2));
    assert_eq!((second.stored, second.rejected_count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_batch_counts_against_the_budget_until_it_is_delivered() {
    let budget = MemoryBudget::new(u64::MAX);
    let next = Destination::stalled();
    let processor = create(&json!({"send_batch_size": 2}), &next, &budget).expect("a good config");
    let held = |numbers: &[i32]| {
        let mut request = request(numbers);
        request.reservation = budget.try_reserve(100).map(Arc::new);
        request
    };
    let sent = async { tokio::join!(processor.consume(held(&[1])), processor.consume(held(&[2]))) };
    let mut sent = std::pin::pin!(sent);
    assert!(futures_util::poll!(&mut sent).is_pending());
    next.came.notified().await;
    let joined_bytes = next.seen.lock()[0].payload.len() as u64;
    assert_eq!(budget.reserved_bytes(), joined_bytes, "the copy counts, the originals are gone");
    next.release(1);
    let (first, second) = sent.await;
    assert!(first.is_ok() && second.is_ok());
    next.seen.lock().clear();
    assert_eq!(budget.reserved_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_delivers_what_waits_and_takes_nothing_more() {
    let next = Destination::new();
    let processor = processor(json!({"timeout": "1h"}), &next);
    let mut waiting = processor.consume(request(&[1]));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    processor.shutdown().await;
    waiting.await.expect("delivered");
    assert_eq!(delivered(&next), [[1]]);
    assert!(processor.consume(request(&[2])).await.expect_err("closed").kind().is_retryable());
}

#[test]
fn a_config_that_the_collector_refuses_is_refused() {
    let check = |value: Value, want: &str| {
        let error = create(&value, &Destination::new(), &MemoryBudget::new(1)).err().expect("a fault");
        assert!(error.to_string().starts_with(want), "{error}");
    };
    check(
        json!({"send_batch_max_size": 10}),
        "send_batch_max_size must be greater or equal to send_batch_size",
    );
    check(json!({"metadata_keys": ["a", "A"]}), "duplicate entry in metadata_keys: \"a\" (case-insensitive)");
    check(json!({"sizer": "requests"}), "sizer: requests cannot be the unit of a batch");
    check(json!({"size": 1}), "size: unknown field `size`");
}
