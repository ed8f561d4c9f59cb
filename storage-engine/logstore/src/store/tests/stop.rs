//! Queries that nobody waits for any more.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use model::ErrorKind;
use storage_api::LogCountSelect;

use super::super::stop::Stop;
use super::{Machine, append, everything, example, read_raw};
use crate::error::LogStoreResult;

/// A machine with other work is slow; a thread that is not told is so for ever.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_work_for_a_query_is_told_when_its_answer_is_waited_for_no_more() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (ended, has_ended) = mpsc::sync_channel(1);
    let work = store.0.off_the_async_threads(move |stop| -> LogStoreResult<()> {
        begun.send(()).expect("the test waits");
        let begun_at = Instant::now();
        while begun_at.elapsed() < PATIENCE {
            if let Err(error) = stop.check() {
                ended.send(error.kind()).expect("the test waits");
                return Err(error);
            }
            std::thread::yield_now();
        }
        Ok(())
    });
    tokio::select! {
        _ = work => panic!("somebody waited"),
        begun = has_begun => begun.expect("the work begins"),
    }
    assert_eq!(has_ended.recv_timeout(PATIENCE), Ok(ErrorKind::Canceled));
    machine.stop(store).await;
}

#[tokio::test]
async fn a_query_that_nobody_waits_for_looks_into_no_file() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    append(&store, &example()).await.expect("stored");
    store.flush().await.expect("flushed");
    let select = everything();
    let counted = LogCountSelect {
        tenant: select.tenant.clone(),
        range: select.range,
        matchers: Vec::new(),
        by: Some(Vec::new()),
        bucket_minutes: 1,
        origin_minute: 0,
    };
    let ask = |stop: &Stop| {
        let inner = &store.0;
        [
            inner.pages(&select, stop).map(|found| found.len()),
            inner.summaries(&select, stop).map(|found| found.len()),
            inner.counts(&counted, stop).map(|found| found.len()),
        ]
    };
    let (stop, waiting) = Stop::new();
    for answer in ask(&stop) {
        assert!(answer.expect("somebody waits") > 0);
    }
    drop(waiting);
    for answer in ask(&stop) {
        assert_eq!(answer.expect_err("nobody waits").kind(), ErrorKind::Canceled);
    }
    assert_eq!(store.quarantined(), []);
    assert!(!read_raw(&store, &select).await.is_empty());
    machine.stop(store).await;
}
