use std::sync::Arc;
use std::time::Duration;

use model::{AppendReport, ErrorKind, Rejection};

use super::FanOut;
use crate::settled::{REMEMBERED_MAX, RETRY_WINDOW};
use crate::testing::{Destination, batch, invalid, unavailable};
use crate::{Batch, ClientMetadata, Consumer, PipelineResult};

fn over(destinations: &[&Arc<Destination>]) -> Arc<dyn Consumer> {
    FanOut::over(
        destinations.iter().map(|&destination| Arc::clone(destination) as Arc<dyn Consumer>).collect(),
    )
}

fn refusing(reason: &'static str, count: u64, stored: u64) -> PipelineResult<AppendReport> {
    Ok(AppendReport { stored, rejected: vec![Rejection { reason, count, message: reason.to_owned() }] })
}

#[tokio::test]
async fn a_batch_is_acknowledged_only_when_every_destination_has_it() {
    let (good, stalled) = (Destination::new(), Destination::stalled());
    let fan_out = over(&[&good, &stalled]);
    let mut sent = fan_out.consume(batch("a", 2));
    assert!(futures_util::poll!(&mut sent).is_pending());
    assert_eq!(good.payloads(), ["a"]);
    stalled.release(1);
    assert_eq!(sent.await.expect("both have it").stored, 2);
}

#[tokio::test]
async fn a_retry_of_the_sender_does_not_reach_those_that_have_the_batch() {
    let good = Destination::new();
    let away = Destination::answering([Err(unavailable()), Err(unavailable())]);
    let fan_out = over(&[&good, &away]);
    for _ in 0..2 {
        assert_eq!(
            fan_out.consume(batch("a", 1)).await.expect_err("one is away").kind(),
            ErrorKind::Unavailable
        );
    }
    assert_eq!(fan_out.consume(batch("a", 1)).await.expect("back").stored, 1);
    assert_eq!((good.payloads().len(), away.payloads().len()), (1, 3));
    // Acknowledged as a whole: the same bytes again are a new batch.
    fan_out.consume(batch("a", 1)).await.expect("all there");
    assert_eq!(good.payloads().len(), 2);
}

#[tokio::test]
async fn what_differs_in_tenant_is_not_taken_for_a_retry() {
    let good = Destination::new();
    let away = Destination::answering([Err(unavailable())]);
    let fan_out = over(&[&good, &away]);
    fan_out.consume(batch("a", 1)).await.expect_err("one is away");
    let mut other = batch("a", 1);
    other.tenant = model::TenantId::new("other").expect("an id");
    fan_out.consume(other).await.expect("all there");
    assert_eq!(good.payloads().len(), 2);
}

#[tokio::test]
async fn a_permanent_failure_is_told_once_the_others_are_settled_and_is_not_repeated() {
    let (refuses, away) =
        (Destination::answering([Err(invalid())]), Destination::answering([Err(unavailable())]));
    let fan_out = over(&[&refuses, &away]);
    assert_eq!(fan_out.consume(batch("a", 1)).await.expect_err("away").kind(), ErrorKind::Unavailable);
    assert_eq!(fan_out.consume(batch("a", 1)).await.expect_err("refused").kind(), ErrorKind::Invalid);
    assert_eq!((refuses.payloads().len(), away.payloads().len()), (1, 2));
}

#[tokio::test]
async fn the_longest_hint_of_several_failures_is_told() {
    let hint = |secs| Err(unavailable().with_retry_after(Duration::from_secs(secs)));
    let (short, long) = (Destination::answering([hint(1)]), Destination::answering([hint(9)]));
    let error = over(&[&short, &long, &short]).consume(batch("a", 1)).await.expect_err("away");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(9)));
}

#[tokio::test]
async fn an_item_that_two_destinations_refuse_counts_once() {
    let first = Destination::answering([refusing("too_old", 3, 7)]);
    let second = Destination::answering([refusing("too_old", 5, 5)]);
    let report = over(&[&first, &second]).consume(batch("a", 10)).await.expect("taken");
    assert_eq!(report.rejected_count(), 5);
    assert_eq!(report.stored, 5);
}

#[tokio::test]
async fn the_memory_of_partial_deliveries_is_bounded() {
    let good = Destination::new();
    let away = Destination::answering((0..REMEMBERED_MAX + 1).map(|_| Err(unavailable())));
    let fan_out = over(&[&good, &away]);
    for number in 0..=REMEMBERED_MAX {
        fan_out.consume(batch(&number.to_string(), 1)).await.expect_err("away");
    }
    good.seen.lock().clear();
    fan_out.consume(batch("0", 1)).await.expect("back");
    fan_out.consume(batch("1", 1)).await.expect("back");
    assert_eq!(good.payloads(), ["0"], "the oldest was forgotten, the next was not");
}

#[tokio::test(start_paused = true)]
async fn equal_bytes_that_come_after_the_time_of_retries_reach_every_destination() {
    let good = Destination::new();
    let away = Destination::answering([Err(unavailable()), Err(unavailable())]);
    let fan_out = over(&[&good, &away]);
    fan_out.consume(batch("a", 1)).await.expect_err("one is away");
    // Within the longest interval of the collector's retries, and again after the failure of the retry.
    tokio::time::advance(Duration::from_secs(45)).await;
    fan_out.consume(batch("a", 1)).await.expect_err("still away");
    assert_eq!(good.payloads().len(), 1);
    tokio::time::advance(RETRY_WINDOW + Duration::from_secs(1)).await;
    fan_out.consume(batch("a", 1)).await.expect("a new event that looks the same");
    assert_eq!(good.payloads().len(), 2);
}

#[tokio::test]
async fn equal_bytes_of_another_sender_are_not_taken_for_a_retry() {
    let good = Destination::new();
    let away = Destination::answering([Err(unavailable())]);
    let fan_out = over(&[&good, &away]);
    fan_out.consume(batch("a", 1)).await.expect_err("one is away");
    let client =
        Arc::new(ClientMetadata { address: Some("10.0.0.2".to_owned()), ..ClientMetadata::default() });
    fan_out.consume(Batch { client, ..batch("a", 1) }).await.expect("all there");
    assert_eq!(good.payloads().len(), 2);
}
