use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use model::ErrorKind;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Next, QueueBatchConfig, QueueConfig, RetryConfig, Sending, SendingSettings, Sizer, plan};
use crate::testing::{Destination, batch, exporter_context, invalid, unavailable};
use crate::{ComponentId, ConfigDuration, Consumer, PipelineError};

fn settings(queue: QueueConfig) -> SendingSettings {
    SendingSettings { queue, retry: RetryConfig::default(), timeout: Duration::from_secs(5) }
}

async fn sending(settings: SendingSettings, destination: &Arc<Destination>) -> Arc<Sending> {
    let id = ComponentId::parse("otlp/test").expect("an id");
    let destination = Arc::clone(destination) as Arc<dyn Consumer>;
    let sending = Sending::new(&id, settings, destination, CancellationToken::new(), &exporter_context());
    let sending = sending.expect("no storage is named");
    sending.start().await.expect("starts");
    Arc::new(sending)
}

#[test]
fn the_wait_grows_up_to_its_maximum_and_never_undercuts_the_hint() {
    let config = RetryConfig::default();
    let plain = unavailable();
    let secs = Duration::from_secs_f64;
    let check = |attempt, jitter, error: &PipelineError, want: Next| {
        assert_eq!(
            plan(&config, attempt, Duration::ZERO, error, jitter),
            want,
            "attempt {attempt} jitter {jitter}"
        );
    };
    // 5 s × 1.5^n, ±50 %.
    check(0, 0.5, &plain, Next::Wait(secs(5.0)));
    check(0, 0.0, &plain, Next::Wait(secs(2.5)));
    check(1, 0.5, &plain, Next::Wait(secs(7.5)));
    check(2, 0.5, &plain, Next::Wait(secs(11.25)));
    check(60, 0.5, &plain, Next::Wait(secs(30.0)));
    check(u32::MAX, 0.0, &plain, Next::Wait(secs(15.0)));
    check(0, 0.5, &unavailable().with_retry_after(secs(60.0)), Next::Wait(secs(60.0)));
    check(0, 0.5, &unavailable().with_retry_after(secs(1.0)), Next::Wait(secs(5.0)));
    check(0, 0.5, &invalid(), Next::Permanent);
}

#[test]
fn retries_end_when_their_time_is_over_unless_it_is_unlimited() {
    let error = unavailable();
    let limited = RetryConfig::default();
    assert_eq!(plan(&limited, 9, Duration::from_secs(290), &error, 0.5), Next::TooLate);
    let endless = RetryConfig { max_elapsed_time: ConfigDuration::default(), ..RetryConfig::default() };
    assert_eq!(
        plan(&endless, 9, Duration::from_secs(86_400), &error, 0.5),
        Next::Wait(Duration::from_secs(30))
    );
    let off = RetryConfig { enabled: false, ..RetryConfig::default() };
    assert_eq!(plan(&off, 0, Duration::ZERO, &error, 0.5), Next::Permanent);
}

#[test]
fn values_that_cannot_work_are_refused_by_path() {
    let check = |yaml: serde_json::Value, want: &str| {
        let config: QueueConfig = serde_json::from_value(yaml).expect("known keys");
        assert_eq!(config.validate().expect_err("a fault").to_string(), want);
    };
    check(
        serde_json::json!({"storage": "file_storage", "wait_for_result": true}),
        "sending_queue::wait_for_result: `wait_for_result` is not supported with a persistent queue configured with \
         `storage`",
    );
    check(
        serde_json::json!({"batch": {"min_size": 10, "max_size": 9}}),
        "sending_queue::batch::max_size: `max_size` must be greater or equal to `min_size`",
    );
    check(
        serde_json::json!({"batch": {"sizer": "requests"}}),
        "sending_queue::batch::sizer: `batch` supports only `items` or `bytes` sizer",
    );
    check(serde_json::json!({"queue_size": 0}), "sending_queue::queue_size: `queue_size` must be positive");
    check(
        serde_json::json!({"num_consumers": 0}),
        "sending_queue::num_consumers: `num_consumers` must be between 1 and 1000",
    );
    let backwards = RetryConfig { max_elapsed_time: ConfigDuration::from_secs(1), ..RetryConfig::default() };
    assert!(backwards.validate().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_queued_batch_is_delivered_once_after_the_peer_came_back() {
    let destination = Destination::answering([
        Err(unavailable()),
        Err(unavailable().with_retry_after(Duration::from_secs(100))),
    ]);
    let sending = sending(settings(QueueConfig::default()), &destination).await;
    let began = Instant::now();
    assert_eq!(sending.consume(batch("a", 3)).await.expect("queued").stored, 3);
    sending.shutdown().await;
    assert_eq!(destination.payloads(), ["a", "a", "a"]);
    let waited = began.elapsed();
    // 2.5–7.5 s, then the hint of 100 s.
    assert!((Duration::from_millis(102_500)..Duration::from_millis(107_600)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_is_away_is_told_and_so_is_its_return() {
    let destination = Destination::answering([Err(unavailable())]);
    let sending = sending(settings(QueueConfig::default()), &destination).await;
    sending.consume(batch("a", 1)).await.expect("queued");
    destination.came.notified().await;
    assert!(sending.shared.outage.is_told());
    sending.shutdown().await;
    assert_eq!(destination.payloads(), ["a", "a"]);
    assert!(!sending.shared.outage.is_told());
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_with_a_hint_and_takes_again_when_there_is_room() {
    let destination = Destination::stalled();
    let queue = QueueConfig { queue_size: 2, num_consumers: 1, ..QueueConfig::default() };
    let sending = sending(SendingSettings { timeout: Duration::ZERO, ..settings(queue) }, &destination).await;
    sending.consume(batch("1", 1)).await.expect("room for two");
    sending.consume(batch("2", 1)).await.expect("room for two");
    let refused = sending.consume(batch("3", 1)).await.expect_err("full");
    assert_eq!(
        (refused.kind(), refused.retry_after()),
        (ErrorKind::Unavailable, Some(Duration::from_secs(1)))
    );
    assert_eq!(refused.to_string(), "exporter otlp/test: sending queue is full (queue_size 2)");
    destination.release(3);
    while destination.seen.lock().len() < 2 {
        destination.came.notified().await;
    }
    sending.consume(batch("4", 1)).await.expect("room again");
    sending.shutdown().await;
    assert_eq!(destination.payloads(), ["1", "2", "4"]);
}

#[tokio::test(start_paused = true)]
async fn a_blocking_queue_waits_for_room() {
    let destination = Destination::stalled();
    let queue = QueueConfig {
        queue_size: 10,
        num_consumers: 1,
        sizer: Sizer::Items,
        block_on_overflow: true,
        ..QueueConfig::default()
    };
    let sending = sending(SendingSettings { timeout: Duration::ZERO, ..settings(queue) }, &destination).await;
    sending.consume(batch("1", 10)).await.expect("room");
    let mut second = sending.consume(batch("2", 1));
    assert!(futures_util::poll!(&mut second).is_pending());
    destination.release(2);
    second.await.expect("room after the first delivery");
    let too_large = sending.consume(batch("3", 11)).await.expect_err("larger than the queue");
    assert_eq!(too_large.kind(), ErrorKind::Invalid);
    sending.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_the_outcome_of_the_delivery_is_the_answer() {
    let off = QueueConfig { enabled: false, ..QueueConfig::default() };
    let destination = Destination::answering([Err(unavailable()), Err(invalid())]);
    let direct = sending(settings(off), &destination).await;
    assert_eq!(direct.consume(batch("a", 1)).await.expect_err("permanent").kind(), ErrorKind::Invalid);
    assert_eq!(destination.seen.lock().len(), 2);

    let waiting = QueueConfig { wait_for_result: true, ..QueueConfig::default() };
    let destination = Destination::answering([Err(invalid())]);
    let queued = sending(settings(waiting), &destination).await;
    assert_eq!(queued.consume(batch("a", 1)).await.expect_err("permanent").kind(), ErrorKind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_at_shutdown_ends_the_retries_and_frees_what_waits() {
    let context = exporter_context();
    let id = ComponentId::parse("otlp").expect("an id");
    let destination = Destination::answering((0..1000).map(|_| Err(unavailable())));
    let queue = QueueConfig { num_consumers: 1, ..QueueConfig::default() };
    let give_up = CancellationToken::new();
    let consumer = Arc::clone(&destination) as Arc<dyn Consumer>;
    let sending = Sending::new(&id, settings(queue), consumer, give_up.clone(), &context);
    let sending = sending.expect("no storage is named");
    sending.start().await.expect("starts");
    for payload in ["a", "b", "c"] {
        sending.consume(batch(payload, 1)).await.expect("queued");
    }
    assert_eq!(context.budget.reserved_bytes(), 3);
    tokio::time::timeout(Duration::from_secs(60), sending.shutdown()).await.expect_err("the peer is away");
    assert!(give_up.is_cancelled());
    let late = sending.consume(batch("d", 1)).await.expect_err("closed");
    assert_eq!(late.kind(), ErrorKind::Unavailable);
    context.tasks.shutdown(Duration::from_secs(1)).await.expect("the consumer ended");
    destination.seen.lock().clear();
    assert_eq!(context.budget.reserved_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_is_ended_by_the_timeout_and_tried_again() {
    let destination = Destination::stalled();
    let off = QueueConfig { enabled: false, ..QueueConfig::default() };
    let retry = RetryConfig { max_elapsed_time: ConfigDuration::from_secs(31), ..RetryConfig::default() };
    let sending = sending(SendingSettings { retry, ..settings(off) }, &destination).await;
    let error = sending.consume(batch("a", 1)).await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("no answer within 5s"), "{error}");
    assert!(destination.seen.lock().len() > 1);
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_goes_away_does_not_stay_counted_as_in_flight() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let destination = Destination::stalled();
    let off = QueueConfig { enabled: false, ..QueueConfig::default() };
    let sending = metrics::with_local_recorder(&recorder, || {
        // Handles are taken at once, so the recorder is needed only here.
        sending(settings(off), &destination).now_or_never().expect("nothing to wait for")
    });
    let in_flight = |want: &str| {
        let text = recorder.handle().render();
        let line = format!("otelcol_exporter_in_flight_requests{{exporter=\"otlp/test\"}} {want}\n");
        assert!(text.contains(&line), "{text}");
    };
    let mut delivery = sending.consume(batch("a", 1));
    assert!(futures_util::poll!(&mut delivery).is_pending());
    in_flight("1");
    drop(delivery);
    in_flight("0");
}

#[tokio::test(start_paused = true)]
async fn small_batches_are_joined_and_large_ones_split_behind_the_queue() {
    let destination = Destination::new();
    let batching = QueueBatchConfig { min_size: 10, max_size: 10, ..QueueBatchConfig::default() };
    let queue = QueueConfig { num_consumers: 1, batch: Some(batching), ..QueueConfig::default() };
    let sending = sending(settings(queue), &destination).await;
    for (payload, items) in [("a", 4), ("b", 4), ("c", 4), ("d", 10)] {
        // Not OTLP, so it cannot be split; four pieces are joined byte by byte.
        sending.consume(batch(payload, items)).await.expect("queued");
    }
    sending.shutdown().await;
    let seen = destination.seen.lock();
    let seen: Vec<(String, u64)> = seen
        .iter()
        .map(|batch| (String::from_utf8_lossy(&batch.payload).into_owned(), batch.items))
        .collect();
    let want = [("ab", 8), ("c", 4), ("d", 10)];
    assert_eq!(seen, want.map(|(payload, items)| (payload.to_owned(), items)));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_stays_small_leaves_after_the_flush_timeout() {
    let destination = Destination::new();
    let queue = QueueConfig { batch: Some(QueueBatchConfig::default()), ..QueueConfig::default() };
    let sending = sending(settings(queue), &destination).await;
    let began = Instant::now();
    sending.consume(batch("a", 1)).await.expect("queued");
    destination.came.notified().await;
    assert_eq!(began.elapsed(), Duration::from_millis(200));
    sending.shutdown().await;
    assert_eq!(destination.payloads(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn every_batch_that_a_deadline_drops_is_counted_wherever_it_is() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let (destination, context) = (Destination::stalled(), exporter_context());
    let batching = QueueBatchConfig { min_size: 1, ..QueueBatchConfig::default() };
    let queue = QueueConfig { num_consumers: 1, batch: Some(batching), ..QueueConfig::default() };
    let id = ComponentId::parse("otlp/test").expect("an id");
    let sending = metrics::with_local_recorder(&recorder, || {
        let consumer = Arc::clone(&destination) as Arc<dyn Consumer>;
        Sending::new(&id, settings(queue), consumer, CancellationToken::new(), &context)
    });
    let sending = sending.expect("no storage is named");
    sending.start().await.expect("starts");
    // One is being delivered, one waits for the consumer, one in the batcher's hands for that place, one in the queue.
    for payload in ["a", "b", "c", "d"] {
        sending.consume(batch(payload, 1)).await.expect("queued");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::timeout(Duration::from_secs(1), sending.shutdown()).await.expect_err("nothing is taken");
    context.tasks.shutdown(Duration::from_secs(60)).await.expect("the consumer ended");
    let text = recorder.handle().render();
    let want = "otelcol_exporter_send_failed_log_records{exporter=\"otlp/test\"} 4\n";
    assert!(text.contains(want), "{text}");
}

/// A queue on disk below `root`, as a start of the program makes it.
async fn on_disk(
    root: &tempfile::TempDir,
    queue: QueueConfig,
    destination: &Arc<Destination>,
) -> (Arc<Sending>, crate::ExporterContext) {
    let storage = crate::FileStorage {
        directory: root.path().join("storage"),
        create_directory: true,
        directory_permissions: 0o750,
        timeout: Duration::from_secs(5),
        free_bytes_min: 0,
    };
    let offer = crate::Offer { storage: Some(Arc::new(storage)), ..crate::Offer::default() };
    let id = ComponentId::parse("file_storage").expect("an id");
    let extensions = crate::Extensions::new([(id, offer)]);
    let context = crate::ExporterContext { extensions, ..exporter_context() };
    let id = ComponentId::parse("otlp/test").expect("an id");
    let queue = QueueConfig { storage: Some("file_storage".to_owned()), ..queue };
    let destination = Arc::clone(destination) as Arc<dyn Consumer>;
    let sending = Sending::new(&id, settings(queue), destination, CancellationToken::new(), &context);
    let sending = sending.expect("the storage is there");
    sending.start().await.expect("opens");
    (Arc::new(sending), context)
}

fn one_at_a_time() -> QueueConfig {
    QueueConfig { num_consumers: 1, ..QueueConfig::default() }
}

#[tokio::test]
async fn what_a_destination_did_not_take_comes_back_in_order_after_a_restart() {
    let root = tempfile::tempdir().expect("a folder");
    let away = Destination::answering((0..100).map(|_| Err(unavailable())));
    let (sending, context) = on_disk(&root, one_at_a_time(), &away).await;
    for number in 0..20 {
        sending.consume(batch(&format!("{number}"), 1)).await.expect("durable");
    }
    sending.shutdown().await;
    // What the destination keeps of the batches is not the queue's.
    away.seen.lock().clear();
    assert_eq!(context.budget.reserved_bytes(), 0);
    drop(sending);
    context.tasks.shutdown(Duration::from_secs(5)).await.expect("the worker ended");

    let there = Destination::new();
    let (sending, _) = on_disk(&root, one_at_a_time(), &there).await;
    sending.consume(batch("new", 1)).await.expect("durable");
    sending.shutdown().await;
    let mut want: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    want.push("new".to_owned());
    assert_eq!(there.payloads(), want);

    let (sending, _) = on_disk(&root, one_at_a_time(), &there).await;
    sending.shutdown().await;
    assert_eq!(there.payloads().len(), 21, "what was delivered does not come back");
}

#[tokio::test]
async fn a_full_queue_on_disk_refuses_and_takes_again_when_there_is_room() {
    let root = tempfile::tempdir().expect("a folder");
    let destination = Destination::stalled();
    let queue = QueueConfig { queue_size: 5, sizer: Sizer::Items, ..one_at_a_time() };
    let (sending, _) = on_disk(&root, queue, &destination).await;
    sending.consume(batch("1", 3)).await.expect("room");
    let refused = sending.consume(batch("2", 3)).await.expect_err("no room for 6");
    assert_eq!(
        (refused.kind(), refused.retry_after()),
        (ErrorKind::Unavailable, Some(Duration::from_secs(1)))
    );
    sending.consume(batch("3", 2)).await.expect("room for 5");
    destination.release(2);
    while destination.seen.lock().len() < 2 {
        destination.came.notified().await;
    }
    let waiting = QueueConfig { block_on_overflow: true, ..QueueConfig::default() };
    assert!(waiting.validate().is_ok());
    while sending.consume(batch("4", 5)).await.is_err() {
        tokio::task::yield_now().await;
    }
    destination.release(1);
    sending.shutdown().await;
    assert_eq!(destination.payloads(), ["1", "3", "4"]);
}

#[tokio::test]
async fn two_exporters_cannot_open_the_same_queue() {
    let root = tempfile::tempdir().expect("a folder");
    let destination = Destination::new();
    let (sending, context) = on_disk(&root, one_at_a_time(), &destination).await;
    let id = ComponentId::parse("otlp/test").expect("an id");
    let storage = crate::FileStorage {
        directory: root.path().join("storage"),
        create_directory: true,
        directory_permissions: 0o750,
        timeout: Duration::ZERO,
        free_bytes_min: 0,
    };
    let offer = crate::Offer { storage: Some(Arc::new(storage)), ..crate::Offer::default() };
    let name = ComponentId::parse("file_storage").expect("an id");
    let second =
        crate::ExporterContext { extensions: crate::Extensions::new([(name, offer)]), ..context.clone() };
    let queue = QueueConfig { storage: Some("file_storage".to_owned()), ..one_at_a_time() };
    let consumer = Arc::clone(&destination) as Arc<dyn Consumer>;
    let other =
        Sending::new(&id, settings(queue), consumer, CancellationToken::new(), &second).expect("known");
    let error = other.start().await.expect_err("in use").to_string();
    assert!(error.contains("is in use: another program, or an exporter of this one, has it open"), "{error}");
    sending.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_panics_is_tried_again() {
    struct Panics(std::sync::atomic::AtomicU32);
    impl Consumer for Panics {
        fn consume(
            &self,
            batch: crate::Batch,
        ) -> futures_util::future::BoxFuture<'_, crate::PipelineResult<model::AppendReport>> {
            let attempt = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Box::pin(async move {
                assert!(attempt > 0, "the first attempt panics");
                Ok(model::AppendReport { stored: batch.items, rejected: Vec::new() })
            })
        }
    }
    let id = ComponentId::parse("otlp/test").expect("an id");
    let queue = QueueConfig { wait_for_result: true, ..QueueConfig::default() };
    let destination = Arc::new(Panics(0.into()));
    let sending =
        Sending::new(&id, settings(queue), destination, CancellationToken::new(), &exporter_context())
            .expect("no storage is named");
    sending.start().await.expect("starts");
    assert_eq!(sending.consume(batch("a", 3)).await.expect("delivered").stored, 3);
    sending.shutdown().await;
}
