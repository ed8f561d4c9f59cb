use std::sync::Arc;

use super::store::Store;
use super::{QueryParams, instant, range, shown, steps};

async fn check_instant(store: &Arc<Store>, query: &str, at: i64, expected: &[&str]) {
    let output = instant(store, query, at).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    assert_eq!(shown(&output.result), expected, "{query}");
}

async fn check_range(store: &Arc<Store>, query: &str, params: QueryParams, expected: &[&str]) {
    let output = range(store, query, params).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    assert_eq!(shown(&output.result), expected, "{query}");
}

fn sample() -> Arc<Store> {
    Store::new()
        .stream("app=x,pod=1", &[(10, "aa"), (20, "b"), (30, "ccc"), (40, "d")])
        .stream("app=x,pod=2", &[(10, "aaaa"), (40, "dddd")])
        .stream("app=y,pod=1", &[(40, "zz")])
        .done()
}

#[tokio::test]
async fn windows_exclude_their_start_and_include_their_end() {
    let store = sample();
    check_instant(&store, r#"count_over_time({pod="1",app="x"}[20s])"#, 40, &[r#"{app="x", pod="1"} 2"#])
        .await;
    check_instant(&store, r#"count_over_time({pod="1",app="x"}[20s])"#, 60, &[]).await;
    check_instant(&store, r#"count_over_time({pod="1",app="x"}[20s])"#, 59, &[r#"{app="x", pod="1"} 1"#])
        .await;
    check_instant(
        &store,
        r#"count_over_time({pod="1",app="x"}[20s] offset 20s)"#,
        59,
        &[r#"{app="x", pod="1"} 2"#],
    )
    .await;
    check_instant(
        &store,
        r#"count_over_time({pod="1",app="x"}[20s] offset -20s)"#,
        20,
        &[r#"{app="x", pod="1"} 2"#],
    )
    .await;
}

#[tokio::test]
async fn counts_and_sizes_of_lines() {
    let store = sample();
    check_instant(
        &store,
        r#"bytes_over_time({app="x"}[1m])"#,
        40,
        &[r#"{app="x", pod="1"} 7"#, r#"{app="x", pod="2"} 8"#],
    )
    .await;
    check_instant(&store, r#"rate({app="x",pod="1"}[40s])"#, 40, &[r#"{app="x", pod="1"} 0.1"#]).await;
    check_instant(&store, r#"bytes_rate({app="x",pod="2"}[40s])"#, 40, &[r#"{app="x", pod="2"} 0.2"#]).await;
    check_instant(
        &store,
        r#"count_over_time({app="x"} |= "d" [1m])"#,
        40,
        &[r#"{app="x", pod="1"} 1"#, r#"{app="x", pod="2"} 1"#],
    )
    .await;
}

/// A real Loki counted 1 and 3 for such queries over twenty steps.
#[tokio::test]
async fn what_is_returned_is_counted_in_series_and_in_lines() {
    let store = sample();
    for (query, expected) in [
        (r#"sum(count_over_time({app="x"}[15s]))"#, 1),
        (r#"count_over_time({app=~"x|y"}[15s])"#, 3),
        (r#"{app="x"}"#, 6),
    ] {
        let output = range(&store, query, steps(5, 65, 10)).await.expect("a good query");
        assert_eq!(output.stats.entries_returned, expected, "{query}");
    }
}

#[tokio::test]
async fn ranges_step_from_the_start_and_skip_empty_windows() {
    let store = sample();
    check_range(
        &store,
        r#"sum by (app) (count_over_time({app=~"x|y"}[15s]))"#,
        steps(5, 65, 10),
        &[r#"{app="x"} 15:2 25:1 35:1 45:2"#, r#"{app="y"} 45:1"#],
    )
    .await;
    // Windows shorter than the step: samples between them count nowhere.
    check_range(&store, r#"sum(count_over_time({app="x"}[5s]))"#, steps(0, 60, 20), &["{} 20:1 40:2"]).await;
}

#[tokio::test]
async fn aggregations_group_and_choose() {
    let store = Store::new()
        .stream("a=1,b=x", &[(1, "."), (2, "."), (3, "."), (4, ".")])
        .stream("a=1,b=y", &[(1, "."), (2, ".")])
        .stream("a=2,b=x", &[(1, ".")])
        .done();
    let of = |outer: &str| outer.replace('R', r#"count_over_time({b=~".+"}[1m])"#);
    for (query, expected) in [
        ("sum(R)", vec!["{} 7"]),
        ("sum by (a) (R)", vec![r#"{a="1"} 6"#, r#"{a="2"} 1"#]),
        ("sum without (a) (R)", vec![r#"{b="x"} 5"#, r#"{b="y"} 2"#]),
        ("avg by (a) (R)", vec![r#"{a="1"} 3"#, r#"{a="2"} 1"#]),
        ("min(R)", vec!["{} 1"]),
        ("max(R)", vec!["{} 4"]),
        ("count by (b) (R)", vec![r#"{b="x"} 2"#, r#"{b="y"} 1"#]),
        ("stdvar by (a) (R)", vec![r#"{a="1"} 1"#, r#"{a="2"} 0"#]),
        ("stddev by (a) (R)", vec![r#"{a="1"} 1"#, r#"{a="2"} 0"#]),
        ("topk(1, R)", vec![r#"{a="1", b="x"} 4"#]),
        ("topk by (a) (1, R)", vec![r#"{a="1", b="x"} 4"#, r#"{a="2", b="x"} 1"#]),
        ("bottomk(2, R)", vec![r#"{a="1", b="y"} 2"#, r#"{a="2", b="x"} 1"#]),
        ("approx_topk(2, R)", vec![r#"{a="1", b="x"} 4"#, r#"{a="1", b="y"} 2"#]),
        ("sort(R)", vec![r#"{a="2", b="x"} 1"#, r#"{a="1", b="y"} 2"#, r#"{a="1", b="x"} 4"#]),
        ("sort_desc(R)", vec![r#"{a="1", b="x"} 4"#, r#"{a="1", b="y"} 2"#, r#"{a="2", b="x"} 1"#]),
        ("sum by (missing) (R)", vec!["{} 7"]),
    ] {
        check_instant(&store, &of(query), 10, &expected).await;
    }
}

#[tokio::test]
async fn binary_operations_match_as_in_promql() {
    let store = Store::new()
        .stream("s=l,a=1,b=x", &[(1, "."), (2, "."), (3, ".")])
        .stream("s=l,a=1,b=y", &[(1, ".")])
        .stream("s=l,a=2,b=x", &[(1, "."), (2, ".")])
        .stream("s=r,a=1,t=one", &[(1, "."), (2, ".")])
        .stream("s=r,a=3,t=three", &[(1, ".")])
        .done();
    let l = r#"sum by (a, b) (count_over_time({s="l"}[1m]))"#;
    let r = r#"sum by (a, t) (count_over_time({s="r"}[1m]))"#;
    let la = r#"sum by (a) (count_over_time({s="l"}[1m]))"#;
    let ra = r#"sum by (a) (count_over_time({s="r"}[1m]))"#;
    for (query, expected) in [
        ("1 + 2".to_owned(), vec!["scalar 3"]),
        (format!("{l} * 10"), vec![r#"{a="1", b="x"} 30"#, r#"{a="1", b="y"} 10"#, r#"{a="2", b="x"} 20"#]),
        (format!("10 - {la}"), vec![r#"{a="1"} 6"#, r#"{a="2"} 8"#]),
        (format!("{l} > 1"), vec![r#"{a="1", b="x"} 3"#, r#"{a="2", b="x"} 2"#]),
        (format!("2 < {l}"), vec![r#"{a="1", b="x"} 3"#]),
        (format!("{l} > bool 1"), vec![r#"{a="1", b="x"} 1"#, r#"{a="1", b="y"} 0"#, r#"{a="2", b="x"} 1"#]),
        (format!("{la} / {ra}"), vec![r#"{a="1"} 2"#]),
        (format!("{la} > {ra}"), vec![r#"{a="1"} 4"#]),
        (format!("{la} == bool {ra}"), vec![r#"{a="1"} 0"#]),
        (format!("{la} % 0"), vec![r#"{a="1"} NaN"#, r#"{a="2"} NaN"#]),
        (format!("{la} / 0"), vec![r#"{a="1"} NaN"#, r#"{a="2"} NaN"#]),
        (
            format!("{l} / on (a) group_left (t) {r}"),
            vec![r#"{a="1", b="x", t="one"} 1.5"#, r#"{a="1", b="y", t="one"} 0.5"#],
        ),
        (format!("{r} - on (a) group_right {l}"), vec![r#"{a="1", b="x"} -1"#, r#"{a="1", b="y"} 1"#]),
        (format!("{la} and {ra}"), vec![r#"{a="1"} 4"#]),
        (format!("{la} unless {ra}"), vec![r#"{a="2"} 2"#]),
        (format!("{la} or {ra}"), vec![r#"{a="1"} 4"#, r#"{a="2"} 2"#, r#"{a="3"} 1"#]),
        (format!("{la} or vector(9)"), vec!["{} 9", r#"{a="1"} 4"#, r#"{a="2"} 2"#]),
        (
            format!("label_replace({la}, \"n\", \"a-$1\", \"a\", \"(1)\")"),
            vec![r#"{a="1", n="a-1"} 4"#, r#"{a="2"} 2"#],
        ),
    ] {
        check_instant(&store, &query, 10, &expected).await;
    }
    for (query, expected) in [
        (
            format!("{l} / on (a) {ra}"),
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
        ),
        (
            format!("{ra} / on (a) {l}"),
            "found duplicate series on the right hand-side;many-to-many matching not allowed: matching labels must be unique on one side",
        ),
    ] {
        let error = instant(&store, &query, 10).await.expect_err(&query);
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn unwrapped_values_aggregate_over_time() {
    let store = Store::new()
        .stream(
            "app=x",
            &[(10, "v=1 d=100ms"), (20, "v=5 d=2s"), (30, "v=3 d=1m"), (40, "w=1"), (50, "v=nope")],
        )
        .done();
    let of = |op: &str| format!(r#"{op}({{app="x"}} | logfmt | unwrap v | __error__="" [1m])"#);
    for (op, value) in [("sum_over_time", "9"), ("rate", "0.15")] {
        let query = format!("sum by (app) ({})", of(op));
        check_instant(&store, &query, 60, &[&format!(r#"{{app="x"}} {value}"#)]).await;
    }
    for (op, value) in [
        ("avg_over_time", "3"),
        ("min_over_time", "1"),
        ("max_over_time", "5"),
        ("first_over_time", "1"),
        ("last_over_time", "3"),
    ] {
        let query = format!("{} by (app)", of(op));
        check_instant(&store, &query, 60, &[&format!(r#"{{app="x"}} {value}"#)]).await;
    }
    check_instant(
        &store,
        r#"stdvar_over_time({app="x"} | logfmt | unwrap v | __error__="" [1m]) by (app)"#,
        60,
        &[r#"{app="x"} 2.6666666666666665"#],
    )
    .await;
    check_instant(
        &store,
        r#"quantile_over_time(0.5, {app="x"} | logfmt | unwrap v | __error__="" [1m]) by (app)"#,
        60,
        &[r#"{app="x"} 3"#],
    )
    .await;
    check_instant(
        &store,
        r#"sum(sum_over_time({app="x"} | logfmt | unwrap duration(d) [1m]))"#,
        60,
        &["{} 62.1"],
    )
    .await;
    check_range(
        &store,
        r#"max(max_over_time({app="x"} | logfmt | unwrap v | __error__="" [20s]))"#,
        steps(10, 50, 10),
        &["{} 10:1 20:5 30:5 40:3"],
    )
    .await;
    let error =
        instant(&store, r#"sum_over_time({app="x"} | logfmt | unwrap v [1m])"#, 60).await.expect_err("nope");
    assert!(error.to_string().starts_with("pipeline error: 'SampleExtractionErr' for series: '{"), "{error}");
}

#[tokio::test]
async fn a_line_format_that_nothing_reads_fails_no_metric_query() {
    let store = sample();
    let failing = "line_format `{{ .gone | duration }}`";
    check_instant(&store, &format!(r#"sum(count_over_time({{app="x"}} | {failing} [1m]))"#), 40, &["{} 6"])
        .await;
    for after in ["| json", "!= `zz`", "| pod=`1` | logfmt"] {
        let query = format!(r#"count_over_time({{app="x"}} | {failing} {after} [1m])"#);
        let error = instant(&store, &query, 40).await.expect_err(&query).to_string();
        assert!(error.starts_with("pipeline error: "), "{query}: {error}");
    }
    let bytes = format!(r#"bytes_over_time({{app="x"}} | {failing} [1m])"#);
    assert!(instant(&store, &bytes, 40).await.is_err(), "the line is what is counted");
    // Nor does it make a parser run that nothing else needs: `plain` is no JSON.
    let store = Store::new().stream("app=x", &[(1, "plain")]).done();
    let absent = r#"absent_over_time({app="x"} | json | line_format `{{.gone}}` [1m])"#;
    check_instant(&store, absent, 10, &[]).await;
}

#[tokio::test]
async fn an_absent_selector_gives_its_labels() {
    let store = sample();
    check_instant(&store, r#"absent_over_time({app="gone",pod=~".+"}[1m])"#, 40, &[r#"{app="gone"} 1"#])
        .await;
    check_range(
        &store,
        r#"absent_over_time({app="y"}[10s])"#,
        steps(20, 60, 10),
        &[r#"{app="y"} 20:1 30:1 50:1 60:1"#],
    )
    .await;
}

#[tokio::test]
async fn a_parser_error_fails_a_metric_query_unless_it_cannot_matter() {
    let store = Store::new().stream("app=x", &[(1, r#"{"a":"1"}"#), (2, "plain")]).done();
    let error =
        instant(&store, r#"count_over_time({app="x"} | json [1m])"#, 10).await.expect_err("plain text");
    assert!(error.to_string().starts_with("pipeline error: 'JSONParserErr' for series: '{"), "{error}");
    // A label that is asked for makes the parser run.
    let absent = r#"absent_over_time({app="x"} | json | a > 5s [1m])"#;
    assert!(instant(&store, absent, 10).await.is_err(), "`1` is no duration");
    check_instant(&store, r#"absent_over_time({app="x"} | json [1m])"#, 10, &[]).await;
    // No label is needed, so the parser does not run.
    check_instant(&store, r#"sum(count_over_time({app="x"} | json [1m]))"#, 10, &["{} 2"]).await;
    check_instant(
        &store,
        r#"count_over_time({app="x"} | json | __error__="" [1m])"#,
        10,
        &[r#"{a="1", app="x"} 1"#],
    )
    .await;
    check_instant(
        &store,
        r#"count_over_time({app="x"} | json | drop __error__, __error_details__, a [1m])"#,
        10,
        &[r#"{app="x"} 2"#],
    )
    .await;
    // Asking for errors keeps them.
    check_instant(
        &store,
        r#"sum by (__error__) (count_over_time({app="x"} | json [1m]))"#,
        10,
        &["{} 1", r#"{__error__="JSONParserErr"} 1"#],
    )
    .await;
}

#[tokio::test]
async fn copies_of_entries_count_once() {
    let store = Store::new()
        .stream("app=x", &[(1, "a"), (2, "b"), (3, "c")])
        .stream("app=x", &[(2, "b"), (3, "c"), (4, "d")])
        .done();
    check_instant(&store, r#"count_over_time({app="x"}[1m])"#, 10, &[r#"{app="x"} 4"#]).await;
    check_instant(&store, r#"sum(bytes_over_time({app="x"} | app="x" [1m]))"#, 10, &["{} 4"]).await;
}

#[tokio::test]
async fn metadata_splits_series_and_groups() {
    let store = Store::new()
        .page(
            "app=x",
            &[(1, "a", &[("level", "info")]), (2, "b", &[("level", "warn")]), (3, "c", &[("level", "info")])],
        )
        .done();
    check_instant(
        &store,
        r#"count_over_time({app="x"}[1m])"#,
        10,
        &[r#"{app="x", level="info"} 2"#, r#"{app="x", level="warn"} 1"#],
    )
    .await;
    check_instant(
        &store,
        r#"sum by (level) (count_over_time({app="x"}[1m]))"#,
        10,
        &[r#"{level="info"} 2"#, r#"{level="warn"} 1"#],
    )
    .await;
    check_instant(
        &store,
        r#"sum by (app) (count_over_time({app="x"} | level="info" [1m]))"#,
        10,
        &[r#"{app="x"} 2"#],
    )
    .await;
    check_instant(&store, r#"sum(count_over_time({app="x"}[1m]))"#, 10, &["{} 3"]).await;
}
