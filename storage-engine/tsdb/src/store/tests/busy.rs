//! Appends that must wait, or that take long, leave the async threads to others.

use std::pin::pin;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use runtime::SimulatedDisk;
use storage_api::{MetricsAppender, SampleBatch};

use super::{batch, open, series, tenant};
use crate::Tsdb;

/// An append under way on a thread of its own, and a query that waits for it.
struct LongAppend {
    end: mpsc::SyncSender<()>,
    append: JoinHandle<bool>,
    query: Option<JoinHandle<()>>,
}

impl LongAppend {
    fn begin(store: &Tsdb, with_query: bool) -> Self {
        let (end, ended) = mpsc::sync_channel(1);
        let (begun, begins) = mpsc::sync_channel(1);
        let head = || store.0.find(&tenant()).expect("it has a series");
        let of_append = head();
        let append = thread::spawn(move || {
            let _visible = of_append.head.begin_append();
            begun.send(()).expect("the test waits");
            ended.recv_timeout(Duration::from_secs(60)).is_ok()
        });
        begins.recv().expect("the append begins");
        let of_query = head();
        let query = with_query.then(|| thread::spawn(move || of_query.head.wait_for_appends()));
        let deadline = Instant::now() + Duration::from_secs(60);
        while with_query && head().head.try_begin_append().is_some() {
            assert!(Instant::now() < deadline, "the query waits");
            thread::yield_now();
        }
        Self { end, append, query }
    }

    /// Ends it; tells whether that was before it ended on its own.
    fn end(self) -> bool {
        // When it ended on its own nobody listens.
        let _ = self.end.send(());
        if let Some(query) = self.query {
            query.join().expect("it only waits");
        }
        self.append.join().expect("it only waits")
    }
}

#[tokio::test]
async fn appends_that_must_wait_hold_no_async_thread() {
    let store = open(&SimulatedDisk::new(0));
    let up = series(&store, "up");
    store.append(&tenant(), batch(&[(up, 1000, 1.0)])).await.expect("durable");
    for (time, value, with_query) in [(2000, 2.0, true), (1000, 1.0, false), (1000, 1.0, true)] {
        let long = LongAppend::begin(&store, with_query);
        let tenant = tenant();
        let mut append = pin!(store.append(&tenant, batch(&[(up, time, value)])));
        assert!(append.as_mut().now_or_never().is_none(), "{time} {with_query}");
        assert!(long.end(), "the thread was held: {time} {with_query}");
        assert_eq!(append.await.expect("durable").report.stored, 1, "{time} {with_query}");
    }
}

#[tokio::test]
async fn a_batch_of_samples_that_come_late_takes_long() {
    const HOUR: i64 = 3_600_000;
    let store = open(&SimulatedDisk::new(0));
    let up = series(&store, "up");
    store.append(&tenant(), batch(&[(up, 10 * HOUR, 1.0)])).await.expect("durable");
    let is_short = |samples: i64, from: i64| {
        let samples: SampleBatch = batch(&(0..samples).map(|i| (up, from + i, 1.0)).collect::<Vec<_>>());
        store.0.find(&tenant()).expect("it has a series").is_short(&samples)
    };
    // A late one counts for twenty of the 5,000 that are short. In order is what is less than half a block old.
    assert!(is_short(5000, 10 * HOUR) && !is_short(5001, 10 * HOUR));
    assert!(is_short(5000, 9 * HOUR));
    assert!(is_short(200, HOUR) && !is_short(300, HOUR));
}
