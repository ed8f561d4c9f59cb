use std::sync::Arc;

use opentelemetry_proto::tonic::metrics::v1::{
    Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data, number_data_point,
};
use pipelines::{Exporter, ExporterContext};
use runtime::ManualClock;
use serde_json::{Value, json};

use crate::Stores;
use crate::testing::{context, create, gauge, metrics, text};

async fn start(more: Value, context: &ExporterContext) -> Arc<dyn Exporter> {
    let mut config = json!({"endpoint": "localhost:8889"});
    for (key, value) in more.as_object().expect("a section") {
        config[key] = value.clone();
    }
    let exporter = create("prometheus", &config, context, &Stores::default()).expect("a good config");
    exporter.start().await.expect("starts");
    exporter
}

async fn scrape(exporter: &Arc<dyn Exporter>) -> String {
    let page = exporter.page().expect("has one");
    assert_eq!((page.endpoint.as_str(), page.path), ("localhost:8889", "/metrics"));
    assert_eq!(page.content_type, "text/plain; version=0.0.4; charset=utf-8");
    (page.render)().await.expect("text")
}

#[tokio::test]
async fn the_page_has_the_last_value_of_every_series() {
    let more = json!({"namespace": "app", "const_labels": {"zone": "a"}, "send_timestamps": true});
    let exporter = start(more, &context()).await;
    exporter.consume(gauge(&[("x", 1000, 1.0), ("y", 1000, 2.0)])).await.expect("taken");
    let report = exporter.consume(gauge(&[("x", 2000, 3.0)])).await.expect("taken");
    assert_eq!((report.stored, report.rejected.len()), (1, 0));
    exporter.consume(gauge(&[("x", 1500, 9.0)])).await.expect("an older value changes nothing");
    let page = scrape(&exporter).await;
    let series = |n: &str, rest: &str| format!("app_level{{job=\"shop\",n=\"{n}\",zone=\"a\"}} {rest}\n");
    assert!(page.contains(&series("x", "3 2000")) && page.contains(&series("y", "2 1000")), "{page}");
    assert!(page.contains("# TYPE app_level gauge\n"), "{page}");
    exporter.shutdown().await.expect("ends");
}

#[tokio::test]
async fn histograms_and_counters_are_families_of_their_types() {
    let exporter = start(json!({}), &context()).await;
    let value = Some(number_data_point::Value::AsInt(7));
    let number = NumberDataPoint { time_unix_nano: 1, value, ..NumberDataPoint::default() };
    let sum = Sum { data_points: vec![number], aggregation_temporality: 2, is_monotonic: true };
    let point = HistogramDataPoint {
        time_unix_nano: 1,
        count: 3,
        sum: Some(4.5),
        bucket_counts: vec![1, 2],
        explicit_bounds: vec![2.0],
        attributes: vec![text("k", "v")],
        ..HistogramDataPoint::default()
    };
    let histogram = Histogram { data_points: vec![point], aggregation_temporality: 2 };
    let metric = |name: &str, data| Metric {
        name: name.to_owned(),
        description: "What it is".to_owned(),
        data: Some(data),
        ..Metric::default()
    };
    let list = vec![metric("requests", Data::Sum(sum)), metric("latency", Data::Histogram(histogram))];
    exporter.consume(metrics(list, 2)).await.expect("taken");
    let page = scrape(&exporter).await;
    let want = "# HELP latency What it is\n# TYPE latency histogram\n\
                latency_bucket{job=\"shop\",k=\"v\",le=\"2\"} 1\n\
                latency_bucket{job=\"shop\",k=\"v\",le=\"+Inf\"} 3\n\
                latency_sum{job=\"shop\",k=\"v\"} 4.5\nlatency_count{job=\"shop\",k=\"v\"} 3\n\
                # HELP requests_total What it is\n# TYPE requests_total counter\n\
                requests_total{job=\"shop\"} 7\n";
    assert!(page.contains(want), "{page}");
    exporter.shutdown().await.expect("ends");
}

#[tokio::test]
async fn a_series_without_new_values_leaves_the_page() {
    let clock = Arc::new(ManualClock::at_ns(0));
    let context = ExporterContext { clock: Arc::clone(&clock) as _, ..context() };
    let exporter = start(json!({"metric_expiration": "1m"}), &context).await;
    exporter.consume(gauge(&[("old", 1, 1.0)])).await.expect("taken");
    clock.set_ns(50_000_000_000);
    exporter.consume(gauge(&[("new", 1, 1.0)])).await.expect("taken");
    clock.set_ns(61_000_000_000);
    let page = scrape(&exporter).await;
    assert!(page.contains("n=\"new\"") && !page.contains("n=\"old\""), "{page}");
    exporter.consume(gauge(&[("old", 2, 4.0)])).await.expect("taken");
    assert!(scrape(&exporter).await.contains("level{job=\"shop\",n=\"old\"} 4\n"), "it may come back");
    exporter.shutdown().await.expect("ends");
}

#[tokio::test]
async fn series_above_the_limit_are_refused_until_others_have_expired_even_if_nobody_scrapes() {
    let clock = Arc::new(ManualClock::at_ns(0));
    let context = ExporterContext { clock: Arc::clone(&clock) as _, ..context() };
    let exporter = start(json!({"metric_expiration": "1m", "max_series": 2}), &context).await;
    let three = exporter.consume(gauge(&[("a", 1, 1.0), ("b", 1, 1.0), ("c", 1, 1.0)])).await.expect("taken");
    assert_eq!((three.stored, three.rejected_count()), (2, 1));
    assert!(three.rejected[0].message.contains("max_series"), "{}", three.rejected[0].message);
    clock.set_ns(61_000_000_000);
    let later = exporter.consume(gauge(&[("c", 2, 1.0)])).await.expect("taken");
    assert_eq!((later.stored, later.rejected_count()), (1, 0));
    assert!(scrape(&exporter).await.contains("n=\"c\""));
    exporter.shutdown().await.expect("ends");
}

#[test]
fn faulty_configs_are_refused_by_path() {
    let check = |value: Value, want: &str| {
        let error = create("prometheus", &value, &context(), &Stores::default()).err();
        let error = error.expect("a fault").to_string();
        assert!(error.starts_with(want), "{error}");
    };
    check(json!({}), "endpoint: \"\": want host:port");
    check(json!({"endpoint": "x:1", "enable_open_metrics": true}), "enable_open_metrics: is not supported");
    check(json!({"endpoint": 7}), "endpoint: \"\": want host:port");
    check(json!({"endpoint": "x:1", "nope": {}}), "nope: unknown field");
    for own in ["unix:/run/page", "x:1"] {
        create(
            "prometheus",
            &json!({"endpoint": own, "tls": {}, "auth": {}}),
            &context(),
            &Stores::default(),
        )
        .map(drop)
        .expect("what is about the listener is for the process");
    }
}
