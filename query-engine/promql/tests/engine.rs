//! What the engine promises beside correct values: limits, cancellation, and results that do not depend on threads.

#![expect(unreachable_pub, reason = "the modules of a test program have no other user")]

#[path = "promqltest/memory_storage.rs"]
mod memory_storage;

use std::time::Duration;

use memory_storage::MemoryStorage;
use model::{BucketSpan, Buckets, ErrorKind, FloatHistogram, Labels, SampleColumns};
use promql::{Cancel, Engine, EngineSettings, PromqlError, QueryOptions, QueryOutput, QueryValue, Stage};
use runtime::Tasks;

const MINUTE: i64 = 60_000;

/// `series` counters with a sample every 15 s over an hour, of differing slopes, with resets and gaps.
fn storage(series: usize) -> MemoryStorage {
    let mut storage = MemoryStorage::default();
    for index in 0..series {
        let mut samples = SampleColumns::default();
        let mut value = 0.0;
        for sample in 0..240_i64 {
            let step = (index as i64 * 7 + sample * 13) % 17;
            value = if (sample + index as i64) % 97 == 0 { 0.1 } else { value + step as f64 * 0.37 };
            if (sample + index as i64) % 31 != 0 {
                samples.push(sample * 15_000, value);
            }
        }
        let labels = Labels::from_pairs([
            ("__name__", "requests_total".to_owned()),
            ("instance", format!("host-{}", index % 50)),
            ("path", format!("/p{}", index / 50)),
            ("le", format!("{}", index % 10)),
        ]);
        storage.append(labels, &samples);
    }
    storage
}

fn engine(change: impl FnOnce(&mut EngineSettings)) -> Engine {
    let mut settings = EngineSettings::default();
    change(&mut settings);
    Engine::new(settings, Tasks::new())
}

async fn range(engine: &Engine, storage: &MemoryStorage, query: &str) -> Result<QueryOutput, PromqlError> {
    engine.range(query, 0, 60 * MINUTE, MINUTE / 2, storage, QueryOptions::default()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_do_not_depend_on_the_number_of_threads() {
    let storage = storage(2_000);
    for query in [
        "rate(requests_total[5m])",
        "sum by (instance) (rate(requests_total[5m]))",
        "avg(increase(requests_total[10m]))",
        "stddev by (path) (requests_total)",
        "topk(5, rate(requests_total[3m]))",
        "quantile by (instance) (0.9, requests_total)",
        "histogram_quantile(0.9, sum by (le, instance) (rate(requests_total[5m])))",
        "requests_total / on (instance, path, le) rate(requests_total[5m])",
        "max_over_time(rate(requests_total[5m])[10m:1m])",
    ] {
        let mut answers = Vec::new();
        for threads in [1, 2, 5] {
            let engine = engine(|settings| settings.threads = threads);
            let output = range(&engine, &storage, query).await.expect("a valid query");
            // NaN is not equal to itself, but its text is.
            answers.push((format!("{:?}", output.value), output.warnings, output.infos));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{query}");
    }
}

#[tokio::test]
async fn a_query_over_its_limits_fails_with_the_text_of_prometheus() {
    let storage = storage(100);
    let small = engine(|settings| settings.samples_max = 5_000);
    let error = range(&small, &storage, "requests_total").await.expect_err("12,000 samples");
    assert_eq!(
        error.to_string(),
        "query processing would load too many samples into memory in query execution"
    );
    assert_eq!((error.kind(), error.stage()), (ErrorKind::Invalid, Stage::Execution));
    let sum = range(&small, &storage, "sum(requests_total{path=\"/p0\"}) > 1e9").await;
    assert!(sum.is_ok(), "samples of an operator's input do not stay held: {sum:?}");

    let small = engine(|settings| settings.memory_bytes_max = 10_000);
    let error = range(&small, &storage, "requests_total").await.expect_err("97 kB of columns");
    assert!(error.to_string().contains("more than 10000 bytes of memory"), "{error}");
}

/// `series` native histograms of 60 buckets, each of which counts for 41 samples, at 121 half minutes.
fn histogram_storage(series: usize) -> MemoryStorage {
    let mut storage = MemoryStorage::default();
    for index in 0..series {
        let mut samples = SampleColumns::default();
        for step in 0..121_i64 {
            let counts: Vec<f64> = (0..60).map(|bucket| (step * 60 + bucket + index as i64) as f64).collect();
            let histogram = FloatHistogram {
                count: counts.iter().sum(),
                sum: step as f64,
                positive: Buckets { spans: vec![BucketSpan { offset: 0, length: 60 }], counts },
                ..FloatHistogram::default()
            };
            samples.push_histogram(step * MINUTE / 2, histogram.into());
        }
        let labels = [("__name__", "latency".to_owned()), ("instance", index.to_string())];
        storage.append(Labels::from_pairs(labels), &samples);
    }
    storage
}

#[tokio::test]
async fn histograms_that_an_aggregation_holds_count_for_its_samples() {
    let storage = histogram_storage(24);
    let whole = range(&engine(|_| ()), &storage, "sum(latency)").await.expect("far below the limit");
    for threads in [1, 4] {
        let small = engine(|settings| {
            settings.samples_max = 50_000;
            settings.threads = threads;
            settings.cells_per_thread_min = 1;
        });
        // What goes into one sum is 119,000 samples, two series or so at a time.
        for query in ["sum(latency)", "count(sum(rate(latency[1m])))"] {
            let output = range(&small, &storage, query).await.expect(query);
            let peak = output.stats.peak_samples;
            assert!((50_000 / 8..50_000).contains(&peak), "{query} with {threads} threads: {peak}");
            if query == "sum(latency)" {
                assert_eq!(output.value, whole.value);
            }
        }
        for query in ["count(sum by (instance) (latency))", "count(avg by (instance) (rate(latency[1m])))"] {
            let error = range(&small, &storage, query).await.expect_err(query);
            assert!(error.to_string().contains("too many samples"), "{query}: {error}");
        }
    }
}

#[tokio::test]
async fn a_huge_subquery_is_refused_and_not_allocated() {
    let storage = storage(100);
    for inner in [
        "max_over_time(requests_total[5m])",
        "requests_total",
        "sum(requests_total)",
        "absent(nothing)",
        "absent_over_time(nothing[5m])",
        "vector(1)",
        "hour()",
        "requests_total + requests_total",
        "requests_total or requests_total",
        "topk(1, requests_total)",
        "quantile(0.5, requests_total)",
        "histogram_quantile(0.5, requests_total)",
        "label_replace(requests_total, \"a\", \"b\", \"c\", \"\")",
        "vector(scalar(nothing))",
        "clamp(requests_total, 0, 1)",
        "vector(time() + 1)",
        "requests_total @ 0",
        "nothing > bool 1",
    ] {
        let query = format!("sum(max_over_time(({inner})[30y:1ms]))");
        let error = engine(|_| ())
            .instant(&query, 0, &storage, QueryOptions::default())
            .await
            .map(|output| format!("{:?}", output.value));
        match error {
            Err(error) => assert!(error.to_string().contains("bytes of memory"), "{query}: {error}"),
            // Without series nothing is allocated.
            Ok(value) => assert!(inner.contains("nothing"), "{query}: {value}"),
        }
    }
}

#[tokio::test]
async fn count_values_of_many_values_is_refused_and_not_allocated() {
    let storage = storage(100);
    let engine = engine(|settings| settings.memory_bytes_max = 2 << 20);
    // 2 MiB hold the 100 series, and not a series for each of their 12,000 values.
    assert!(range(&engine, &storage, "requests_total").await.is_ok());
    let error = range(&engine, &storage, "count_values(\"v\", requests_total)").await.expect_err("too many");
    assert!(error.to_string().contains("bytes of memory"), "{error}");
}

#[tokio::test]
async fn a_cancelled_query_and_one_out_of_time_stop() {
    let storage = storage(100);
    let cancel = Cancel::default();
    cancel.cancel();
    let options = QueryOptions { cancel, ..QueryOptions::default() };
    let error = engine(|_| ())
        .instant("requests_total", 0, &storage, options)
        .await
        .expect_err("cancelled before it began");
    assert_eq!(error.kind(), ErrorKind::Canceled);

    let options = QueryOptions { timeout: Some(Duration::ZERO), ..QueryOptions::default() };
    let error =
        engine(|_| ()).instant("requests_total", 0, &storage, options).await.expect_err("no time at all");
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_long_chain_of_operators_is_evaluated() {
    let storage = storage(1);
    let query = vec!["requests_total"; 250].join(" or ");
    let output = range(&engine(|_| ()), &storage, &query).await.expect("deep, but allowed");
    let QueryValue::Matrix(series) = output.value else { panic!("no matrix") };
    assert_eq!(series.len(), 1);
}

#[tokio::test]
async fn a_range_query_needs_values_per_step_and_a_step() {
    let storage = storage(1);
    let engine = engine(|_| ());
    for (query, expected) in [
        (
            "requests_total[5m]",
            "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector",
        ),
        ("\"text\"", "invalid expression type \"string\" for range query, must be Scalar or instant Vector"),
    ] {
        let error = range(&engine, &storage, query).await.expect_err(query);
        assert_eq!((error.to_string().as_str(), error.stage()), (expected, Stage::Parse));
    }
    assert!(engine.range("1", 0, 1, 0, &storage, QueryOptions::default()).await.is_err());
    let empty = engine.range("1", 10, 5, 1, &storage, QueryOptions::default()).await.expect("ends early");
    let QueryValue::Matrix(series) = empty.value else { panic!("no matrix") };
    assert!(series.iter().all(|series| series.floats.is_empty()));
}

#[tokio::test]
async fn metric_names_go_at_once_unless_removal_is_delayed() {
    let storage = storage(1);
    for (is_delayed, expected) in [(false, ""), (true, "requests_total")] {
        let engine = engine(|settings| settings.delayed_name_removal = is_delayed);
        let query = "label_replace(abs(requests_total), \"was\", \"$1\", \"__name__\", \"(.*)\")";
        let output = engine
            .instant(query, 30 * MINUTE, &storage, QueryOptions::default())
            .await
            .expect("a valid query");
        let QueryValue::Vector(samples) = output.value else { panic!("no vector") };
        assert_eq!(samples.len(), 1);
        assert_eq!(samples[0].labels.get("was").unwrap_or(""), expected);
        assert_eq!(samples[0].labels.metric_name(), None);
    }
}

/// Values with everything that makes sliding windows hard: NaN, infinities, ties, huge next to small, negative zero.
fn awkward_storage() -> MemoryStorage {
    let mut storage = storage(20);
    let odd = [0.0, -0.0, 1.0, 1.0, f64::NAN, 1e16, -1e16, 3.5, 2.0, -7.0, 0.1, 1e-9];
    for index in 0..8_usize {
        let mut samples = SampleColumns::default();
        for sample in 0..240_usize {
            let pick = (sample * (index + 3) + sample / 7) % (odd.len() + index % 3);
            let value = match odd.get(pick) {
                // Only some of the series have NaN and infinities.
                Some(value) if value.is_nan() && index < 3 => 4.25,
                Some(value) => *value,
                None if sample % 5 == 0 => f64::INFINITY,
                None => f64::NEG_INFINITY,
            };
            if (sample * 7 + index) % 11 != 0 {
                samples.push(sample as i64 * 15_000, value);
            }
        }
        let labels = Labels::from_pairs([("__name__", "odd".to_owned()), ("series", index.to_string())]);
        storage.append(labels, &samples);
    }
    storage
}

#[tokio::test]
async fn a_range_query_equals_instant_queries_at_its_steps() {
    let storage = awkward_storage();
    let engine = engine(|_| ());
    let functions = [
        "rate",
        "increase",
        "delta",
        "irate",
        "idelta",
        "resets",
        "changes",
        "deriv",
        "sum_over_time",
        "avg_over_time",
        "min_over_time",
        "max_over_time",
        "count_over_time",
        "stddev_over_time",
        "last_over_time",
        "first_over_time",
        "present_over_time",
    ];
    let mut queries: Vec<String> = Vec::new();
    for metric in ["odd", "requests_total"] {
        queries.extend(functions.map(|function| format!("{function}({metric}[5m])")));
        queries.push(format!("quantile_over_time(0.7, {metric}[5m])"));
        queries.push(format!("predict_linear({metric}[5m] offset 1m, 60)"));
        queries.push(format!("sum(max_over_time({metric}[4m]))"));
        queries.push(format!("{metric} @ 600 + {metric}"));
        queries.push(format!("max_over_time(sum(rate({metric}[1m]))[5m:30s])"));
    }
    for query in queries {
        let (start, end, step) = (0, 60 * MINUTE, 20_000);
        let whole = engine.range(&query, start, end, step, &storage, QueryOptions::default()).await;
        let QueryValue::Matrix(whole) = whole.expect("a valid query").value else { panic!("no matrix") };
        for at in (start..=end).step_by(step as usize * 7) {
            let alone = engine.instant(&query, at, &storage, QueryOptions::default()).await;
            let QueryValue::Vector(alone) = alone.expect("a valid query").value else { panic!("no vector") };
            let of_whole = |labels: &Labels| {
                let series = whole.iter().find(|series| series.labels == *labels)?;
                series.floats.iter().find(|sample| sample.timestamp_ms == at).map(|sample| sample.value)
            };
            let points = whole.iter().filter(|s| s.floats.iter().any(|f| f.timestamp_ms == at)).count();
            assert_eq!(points, alone.len(), "{query} at {at}");
            for sample in alone {
                let promql::SampleValue::Float(expected) = sample.value else { panic!("no float") };
                let got = of_whole(&sample.labels).expect("the series is there");
                let same = expected.is_nan() && got.is_nan()
                    || expected == got
                    || (expected - got).abs() <= 1e-9 * expected.abs().max(got.abs());
                assert!(same, "{query} at {at} {}: {expected} alone, {got} in the range", sample.labels);
            }
        }
    }
}

#[tokio::test]
async fn labels_that_double_with_each_call_are_refused_before_they_take_memory() {
    let storage = storage(100);
    let nested = |calls: usize| {
        let open = "label_replace(".repeat(calls);
        let close = ",\"path\",\"$1$1\",\"path\",\"(.*)\")".repeat(calls);
        format!("count({open}requests_total{close})")
    };
    let ample = engine(|_| ());
    assert!(range(&ample, &storage, &nested(10)).await.is_ok());
    let error = range(&ample, &storage, &nested(25)).await.expect_err("64 MiB a value");
    assert!(
        error.to_string().contains("label \"path\" would get a value of more than 1048576 bytes"),
        "{error}"
    );
    let small = engine(|settings| settings.memory_bytes_max = 2 << 20);
    let error = range(&small, &storage, &nested(16)).await.expect_err("100 series of 128 KiB");
    assert!(error.to_string().contains("more than 2097152 bytes of memory for labels"), "{error}");
    let long = format!("label_join(requests_total, \"x\", \"{}\", \"path\", \"path\")", "y".repeat(2 << 20));
    let error = range(&ample, &storage, &long).await.expect_err("2 MiB a value");
    assert!(error.to_string().contains("1048576 bytes"), "{error}");
}

#[tokio::test]
async fn series_that_take_turns_join_without_memory_for_pairs_that_never_meet() {
    // 300 pods, one after the other: at each step one of each metric is there.
    const TURN_MS: i64 = 6 * MINUTE;
    let mut storage = MemoryStorage::default();
    for pod in 0..300_i64 {
        for (name, value) in [("seconds", 2.0), ("price", 3.0)] {
            let mut samples = SampleColumns::default();
            samples.push(pod * TURN_MS, value);
            storage.append(
                Labels::from_pairs([("__name__", name.to_owned()), ("pod", pod.to_string())]),
                &samples,
            );
        }
    }
    // All pairs would need 300 * 300 columns of 300 steps, 216 MB.
    let engine = engine(|settings| settings.memory_bytes_max = 8 << 20);
    let query = "sum(seconds * on () group_left () price)";
    let output = engine.range(query, 0, 299 * TURN_MS, TURN_MS, &storage, QueryOptions::default()).await;
    let value = output.expect("it fits").value;
    let QueryValue::Matrix(series) = value else { panic!("a matrix: {value:?}") };
    assert_eq!(series.len(), 1);
    let points: Vec<(i64, f64)> =
        series[0].floats.iter().map(|sample| (sample.timestamp_ms, sample.value)).collect();
    assert_eq!(points, (0..300).map(|pod| (pod * TURN_MS, 6.0)).collect::<Vec<_>>());
}
