//! What a frontend answers is what the engine would have answered, whatever it knows already.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use model::{ErrorKind, Labels, Sample};
use promql::{MatrixSeries, PromqlError, PromqlResult, QueryOutput, QueryStats, QueryValue};
use runtime::{Clock, ManualClock};
use storage_api::StorageError;

use super::{Frontend, FrontendSettings, RangeQuery};

const HOUR: i64 = 3_600_000;
const NOW: i64 = 1_700_000_000_000;

/// An engine of which each step's values follow from its time; remembers what it was asked.
#[derive(Default)]
struct Engine {
    asked: RefCell<Vec<(i64, i64)>>,
    step: i64,
    failures: Cell<usize>,
}

impl Engine {
    fn answer(&self, start: i64, end: i64) -> PromqlResult<QueryOutput> {
        self.asked.borrow_mut().push((start, end));
        if self.failures.get() > 0 {
            self.failures.set(self.failures.get() - 1);
            return Err(PromqlError::from(StorageError::new(ErrorKind::Unavailable, "away")));
        }
        let times: Vec<i64> = (start..=end).step_by(self.step as usize).collect();
        let series = |name: &str, keep: fn(i64) -> bool| {
            let floats = times.iter().filter(|time| keep(**time));
            let floats = floats.map(|time| Sample { timestamp_ms: *time, value: *time as f64 }).collect();
            MatrixSeries { labels: Labels::from_pairs([("n", name)]), floats, histograms: Vec::new() }
        };
        let all = [series("always", |_| true), series("sometimes", |time| time / (7 * HOUR) % 2 == 0)];
        let value = QueryValue::Matrix(all.into_iter().filter(|series| !series.floats.is_empty()).collect());
        let infos = vec!["a note".to_owned()];
        Ok(QueryOutput { value, warnings: Vec::new(), infos, stats: QueryStats::default() })
    }

    fn take(&self) -> Vec<(i64, i64)> {
        let mut asked = std::mem::take(&mut *self.asked.borrow_mut());
        asked.sort_unstable();
        asked
    }
}

fn frontend(cache_bytes: u64) -> Frontend {
    let settings = FrontendSettings {
        split_interval_ms: 24 * HOUR,
        cache_bytes,
        max_freshness_ms: HOUR,
        retries: 2,
        parallelism: 3,
    };
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at_ns(NOW * 1_000_000));
    Frontend::new(settings, clock)
}

fn query(start_ms: i64, end_ms: i64, step_ms: i64) -> RangeQuery<'static> {
    RangeQuery { scope: Some("tenant"), query: "up", start_ms, end_ms, step_ms }
}

async fn ask(frontend: &Frontend, engine: &Engine, query: &RangeQuery<'_>) -> QueryOutput {
    let run = |start, end| std::future::ready(engine.answer(start, end));
    let (output, answered) = frontend.range(query, run).await.expect("it is answered");
    frontend.keep(answered);
    let engine = Engine { step: query.step_ms, ..Engine::default() };
    let direct = engine.answer(query.start_ms, query.end_ms).expect("it is answered");
    assert_eq!((&output.value, &output.infos), (&direct.value, &direct.infos), "{query:?}");
    output
}

#[tokio::test]
async fn any_ranges_in_any_order_are_answered_as_without_a_frontend() {
    let frontend = frontend(1 << 20);
    let engine = Engine { step: HOUR, ..Engine::default() };
    let base = NOW / HOUR * HOUR - 240 * HOUR;
    let mut seed = 7_u64;
    let mut random = |below: i64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((seed >> 33) as i64) % below
    };
    for _ in 0..300 {
        let start = base + random(200) * HOUR + [0, 0, 0, 60_000][random(4) as usize];
        let end = start + random(100) * HOUR + random(1000);
        ask(&frontend, &engine, &query(start, end, HOUR)).await;
    }
}

#[tokio::test]
async fn only_what_is_not_known_is_asked() {
    let frontend = frontend(1 << 20);
    let engine = Engine { step: HOUR, ..Engine::default() };
    let day = |number: i64| (NOW / (24 * HOUR) - 10 + number) * 24 * HOUR;
    ask(&frontend, &engine, &query(day(0) + 5 * HOUR, day(2) - HOUR, HOUR)).await;
    assert_eq!(engine.take(), [(day(0) + 5 * HOUR, day(1) - HOUR), (day(1), day(2) - HOUR)]);
    ask(&frontend, &engine, &query(day(0) + 5 * HOUR, day(2) - HOUR, HOUR)).await;
    assert_eq!(engine.take(), []);
    ask(&frontend, &engine, &query(day(0), day(2) + 3 * HOUR, HOUR)).await;
    assert_eq!(engine.take(), [(day(0), day(0) + 4 * HOUR), (day(2), day(2) + 3 * HOUR)]);
    ask(&frontend, &engine, &query(day(0), day(2) + 3 * HOUR, HOUR)).await;
    assert_eq!(engine.take(), []);
    // Another tenant, query, step or place of the steps is another question.
    let first = query(day(0), day(0) + 4 * HOUR, HOUR);
    for other in [
        RangeQuery { scope: Some("other"), ..first },
        RangeQuery { query: "down", ..first },
        RangeQuery { start_ms: day(0) + 1, ..first },
        RangeQuery { scope: None, ..first },
    ] {
        ask(&frontend, &engine, &other).await;
        assert_eq!(engine.take().len(), 1, "{other:?}");
    }
    frontend.forget();
    ask(&frontend, &engine, &first).await;
    assert_eq!(engine.take().len(), 1);
}

#[tokio::test]
async fn what_is_fresh_is_asked_again() {
    let frontend = frontend(1 << 20);
    let engine = Engine { step: 600_000, ..Engine::default() };
    let end = NOW / 600_000 * 600_000;
    let recent = query(end - 3 * HOUR, end, 600_000);
    ask(&frontend, &engine, &recent).await;
    engine.take();
    ask(&frontend, &engine, &recent).await;
    let asked = engine.take();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].0 >= end - HOUR && asked[0].1 == end, "{asked:?}");
}

#[tokio::test]
async fn what_was_not_kept_is_not_known() {
    let frontend = frontend(1 << 20);
    let engine = Engine { step: HOUR, ..Engine::default() };
    let old = query(NOW - 100 * HOUR, NOW - 99 * HOUR, HOUR);
    let run = |start, end| std::future::ready(engine.answer(start, end));
    // Something was missing: the caller keeps nothing.
    frontend.range(&old, run).await.expect("it is answered");
    engine.take();
    ask(&frontend, &engine, &old).await;
    assert_eq!(engine.take().len(), 1);
}

#[tokio::test]
async fn a_store_that_is_away_for_a_moment_is_asked_again_and_one_that_stays_away_is_an_error() {
    let frontend = frontend(0);
    let engine = Engine { step: HOUR, failures: Cell::new(2), ..Engine::default() };
    let old = query(NOW - 3 * HOUR, NOW - 2 * HOUR, HOUR);
    ask(&frontend, &engine, &old).await;
    assert_eq!(engine.take().len(), 3);
    engine.failures.set(3);
    let run = |start, end| std::future::ready(engine.answer(start, end));
    let Err(error) = frontend.range(&old, run).await else { panic!("it is away for too long") };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
