use std::sync::Arc;

use model::{Direction, ErrorKind, TenantId};
use tokio_util::sync::CancellationToken;

use super::{Engine, EngineSettings, QueryParams};
use crate::{LogqlError, QueryOutput, QueryResult};
use store::Store;

mod logs;
mod metrics;
pub(super) mod store;

const SECOND: i64 = 1_000_000_000;

fn engine() -> Engine {
    Engine::new(EngineSettings { threads: 2, ..EngineSettings::default() })
}

async fn instant(store: &Arc<Store>, query: &str, seconds: i64) -> Result<QueryOutput, LogqlError> {
    let (tenant, cancel) = (TenantId::default(), CancellationToken::new());
    engine().query_instant(query, seconds * SECOND, &tenant, Arc::clone(store) as _, &cancel).await
}

async fn range(store: &Arc<Store>, query: &str, params: QueryParams) -> Result<QueryOutput, LogqlError> {
    let (tenant, cancel) = (TenantId::default(), CancellationToken::new());
    engine().query_range(query, params, &tenant, Arc::clone(store) as _, &cancel).await
}

/// Everything, newest first.
fn whole() -> QueryParams {
    QueryParams {
        start_ns: 0,
        end_ns: 10_000 * SECOND,
        step_ns: 60 * SECOND,
        limit: 1000,
        direction: Direction::Backward,
        interval_ns: 0,
    }
}

/// A range of steps, in seconds.
fn steps(start: i64, end: i64, step: i64) -> QueryParams {
    QueryParams { start_ns: start * SECOND, end_ns: end * SECOND, step_ns: step * SECOND, ..whole() }
}

/// An instant answer as text: one line `{labels} value` per series.
fn shown(result: &QueryResult) -> Vec<String> {
    match result {
        QueryResult::Vector(samples) => {
            samples.iter().map(|sample| format!("{} {}", sample.labels, sample.value)).collect()
        }
        QueryResult::Scalar { value, .. } => vec![format!("scalar {value}")],
        QueryResult::Matrix(series) => series
            .iter()
            .map(|series| {
                let points: Vec<String> =
                    series.points.iter().map(|(time, value)| format!("{}:{value}", time / 1000)).collect();
                format!("{} {}", series.labels, points.join(" "))
            })
            .collect(),
        QueryResult::Streams(streams) => streams
            .entries
            .iter()
            .map(|e| format!("{} {} {}", e.timestamp_ns, e.all_labels(), e.line))
            .collect(),
    }
}

#[tokio::test]
async fn a_log_query_is_no_instant_query() {
    let error = instant(&Store::empty(), r#"{app="x"}"#, 1).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.to_string(),
        "log queries are not supported as an instant query type, please change your query to a range query type"
    );
}

#[tokio::test]
async fn grafana_s_health_check_answers_two() {
    let output = instant(&Store::empty(), "vector(1)+vector(1)", 4_000_000_000).await.expect("runs");
    assert_eq!(shown(&output.result), ["{} 2"]);
}

#[tokio::test]
async fn limits_of_a_request_are_named() {
    for (params, expected) in [
        (
            QueryParams { limit: 5001, ..whole() },
            "max entries limit per query exceeded, limit > max_entries_limit_per_query (5001 > 5000)",
        ),
        (QueryParams { limit: 0, ..whole() }, "limit must be a positive value"),
    ] {
        let error = range(&Store::empty(), r#"{app="x"}"#, params).await.expect_err("refused");
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Invalid, expected));
    }
    let error =
        range(&Store::empty(), r#"rate({a="b"}[1m])"#, steps(0, 11_001, 1)).await.expect_err("too many");
    assert!(error.to_string().starts_with("exceeded maximum resolution of 11,000 points per time series"));
    assert!(range(&Store::empty(), r#"rate({a="b"}[1m])"#, steps(0, 11_000, 1)).await.is_ok());
}

#[tokio::test]
async fn any_times_are_answered_or_refused() {
    const FAR: i64 = i64::MAX / 2;
    let store = Store::new().stream("app=x", &[(1, "a"), (2, "b")]).done();
    for (start_ns, end_ns, step_ns, refusal) in [
        (i64::MIN, 0, 1_000_000, "start and end must lie within 146 years of 1970"),
        (0, i64::MAX, i64::MAX, "start and end must lie within 146 years of 1970"),
        (i64::MIN, i64::MAX, 1, "start and end must lie within 146 years of 1970"),
        (i64::MAX, i64::MIN, i64::MIN, "end timestamp must not be before or equal to start time"),
        (0, 0, i64::MIN, "zero or negative query resolution step widths"),
        (0, 1, i64::MAX, ""),
        (-FAR, FAR, i64::MAX - 2, ""),
        (-FAR, FAR, FAR, ""),
        (FAR, FAR, 1, ""),
    ] {
        for query in [
            r#"count_over_time({app="x"}[1m])"#,
            r#"count_over_time({app="x"}[30y])"#,
            r#"rate({app="x"}[1m] offset 30y)"#,
        ] {
            let params = QueryParams { start_ns, end_ns, step_ns, ..whole() };
            let outcome = range(&store, query, params).await;
            let text = outcome.err().map_or_else(String::new, |error| error.to_string());
            let as_wanted = if refusal.is_empty() { text.is_empty() } else { text.starts_with(refusal) };
            assert!(as_wanted, "{start_ns} {end_ns} {step_ns} {query}: {text:?}");
        }
        for interval_ns in [0, i64::MAX, i64::MIN] {
            let params = QueryParams { start_ns, end_ns, interval_ns, ..whole() };
            let _ = range(&store, r#"{app="x"}"#, params).await;
        }
    }
    for seconds in [i64::MIN / SECOND, i64::MAX / SECOND] {
        let error = instant(&store, r#"rate({app="x"}[1m])"#, seconds).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_cancelled_query_ends_with_its_own_kind() {
    let store = Store::new().stream("app=x", &[(1, "a")]).done();
    let (tenant, cancel) = (TenantId::default(), CancellationToken::new());
    cancel.cancel();
    let error =
        engine().query_range(r#"{app="x"}"#, whole(), &tenant, store, &cancel).await.expect_err("cancelled");
    assert_eq!(error.kind(), ErrorKind::Canceled);
}

#[tokio::test]
async fn no_thread_goes_on_for_a_query_that_is_over_its_time() {
    // Each line takes some ms, all of them minutes.
    let line = (1, "x");
    let store = Store::new().stream("app=x", &vec![line; 100_000]).done();
    let slow = r#"{app="x"} | label_format z="{{range 20000}}{{$x := len $.app}}{{end}}""#;
    for query in [slow.to_owned(), format!("count_over_time({slow} [1h])")] {
        let tasks = runtime::Tasks::new();
        let settings = EngineSettings {
            tasks: tasks.clone(),
            timeout: std::time::Duration::from_millis(100),
            ..EngineSettings::default()
        };
        let (tenant, cancel) = (TenantId::default(), CancellationToken::new());
        let querier = Arc::clone(&store) as Arc<dyn storage_api::LogQuerier>;
        let params = QueryParams { limit: 5000, ..whole() };
        let answer = Engine::new(settings).query_range(&query, params, &tenant, querier, &cancel).await;
        assert_eq!(answer.expect_err("too slow").kind(), ErrorKind::Timeout);
        tasks.shutdown(std::time::Duration::from_secs(20)).await.expect("the threads have ended");
    }
}

#[tokio::test]
async fn a_query_over_its_budget_is_refused_by_name() {
    let store = Store::new().stream("app=x", &[(1, "aaaaaaaaaa"), (2, "bbbbbbbbbb")]).done();
    for (settings, expected) in [
        (EngineSettings { bytes_max: 15, ..EngineSettings::default() }, "more than 15 bytes"),
        (EngineSettings { lines_max: 1, ..EngineSettings::default() }, "more than 1 lines"),
        (EngineSettings { memory_max: 10, ..EngineSettings::default() }, "more than 10 bytes of results"),
    ] {
        let (tenant, cancel) = (TenantId::default(), CancellationToken::new());
        let querier = Arc::clone(&store) as Arc<dyn storage_api::LogQuerier>;
        let error = Engine::new(settings)
            .query_range(r#"{app="x"}"#, whole(), &tenant, querier, &cancel)
            .await
            .expect_err("over budget");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn labels_that_a_query_makes_count_towards_its_budget() {
    let lines: Vec<String> = (0..100).map(|i| format!("line {i}")).collect();
    let lines: Vec<(i64, &str)> = lines.iter().enumerate().map(|(i, line)| (i as i64 + 1, &**line)).collect();
    let store = Store::new().stream("app=x", &lines).done();
    let settings = EngineSettings { memory_max: 4 << 20, ..EngineSettings::default() };
    let made = r#"{app="x"} | label_format big="{{repeat 100000 `x`}}{{__line__}}""#;
    for query in [made.to_owned(), format!("count_over_time({made} [1h])")] {
        let (tenant, cancel) = (TenantId::default(), CancellationToken::new());
        let querier = Arc::clone(&store) as Arc<dyn storage_api::LogQuerier>;
        let answer =
            Engine::new(settings.clone()).query_range(&query, whole(), &tenant, querier, &cancel).await;
        let error = answer.expect_err("ten MB of labels");
        assert!(error.to_string().contains("more than 4194304 bytes of results"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_says_what_it_misses_because_it_is_damaged() {
    let store = Store::new().stream("app=a", &[(60, "x"), (120, "y")]);
    let store = store.damaged("one is torn", 100).damaged("one is gone", 5000).done();
    let warnings = |output: Result<QueryOutput, LogqlError>| output.expect("an answer").warnings;
    assert_eq!(warnings(range(&store, "{app=\"a\"}", whole()).await), ["one is torn", "one is gone"]);
    let early = QueryParams { end_ns: 1000 * SECOND, ..whole() };
    assert_eq!(warnings(range(&store, "{app=\"a\"}", early).await), ["one is torn"]);
    // Two reads of the same times are told of once.
    let twice = "sum(count_over_time({app=\"a\"}[1m])) + sum(count_over_time({app=\"a\"}[1m]))";
    assert_eq!(warnings(instant(&store, twice, 120).await), ["one is torn"]);
    assert_eq!(warnings(instant(&store, twice, 300).await), [""; 0]);
}
