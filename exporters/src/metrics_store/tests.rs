use std::sync::Arc;
use std::time::Duration;

use model::{AppendReport, ErrorKind, Labels, MetricMetadata, MetricType, Sample, Signal, TenantId};
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, Sum, metric::Data, number_data_point,
};
use pipelines::RemoteWriteBatch;
use pipelines::{Exporter, PipelineResult};
use serde_json::{Value, json};
use storage_api::StorageError;
use wire::remote_write::{RequestWriter, SeriesParts, Version, put_metadata, put_series};

use crate::Stores;
use crate::testing::{MemoryMetrics, batch, context, create, gauge, metrics};

fn exporter(store: &Arc<MemoryMetrics>) -> Arc<dyn Exporter> {
    let stores = Stores { metrics: Some(Arc::clone(store) as _), logs: None };
    create("metrics_store", &Value::Null, &context(), &stores).expect("a good config")
}

fn told(outcome: PipelineResult<AppendReport>) -> (u64, Vec<(&'static str, u64)>) {
    let report = outcome.expect("taken");
    (report.stored, report.rejected.iter().map(|rejection| (rejection.reason, rejection.count)).collect())
}

const A: &str = r#"{__name__="level", job="shop", n="a"}"#;
const B: &str = r#"{__name__="level", job="shop", n="b"}"#;

#[tokio::test]
async fn points_are_stored_under_their_labels_and_known_series_are_not_resolved_again() {
    let store = Arc::new(MemoryMetrics::default());
    let exporter = exporter(&store);
    let first = exporter.consume(gauge(&[("a", 1000, 1.5), ("b", 1000, 2.5)])).await;
    assert_eq!(told(first), (2, vec![]));
    let lookups = store.lookups();
    assert_eq!(told(exporter.consume(gauge(&[("b", 2000, 3.5), ("a", 2000, 4.5)])).await), (2, vec![]));
    assert_eq!(store.lookups(), lookups);
    assert_eq!(
        store.dump("default"),
        [(A.to_owned(), vec![(1000, 1.5), (2000, 4.5)]), (B.to_owned(), vec![(1000, 2.5), (2000, 3.5)]),]
    );
    assert_eq!(store.metadata(), ["level gauge"]);
}

#[tokio::test]
async fn tenants_do_not_share_series() {
    let store = Arc::new(MemoryMetrics::default());
    let exporter = exporter(&store);
    exporter.consume(gauge(&[("a", 1, 1.0)])).await.expect("taken");
    let mut other = gauge(&[("a", 2, 2.0)]);
    other.tenant = TenantId::new("other").expect("an id");
    exporter.consume(other).await.expect("taken");
    assert_eq!(store.dump("default"), [(A.to_owned(), vec![(1, 1.0)])]);
    assert_eq!(store.dump("other"), [(A.to_owned(), vec![(2, 2.0)])]);
}

#[tokio::test]
async fn series_that_the_store_forgot_are_resolved_and_stored_all_the_same() {
    let store = Arc::new(MemoryMetrics::default());
    let exporter = exporter(&store);
    let histogram = |time: u64, counts: Vec<u64>| {
        let point = HistogramDataPoint {
            time_unix_nano: time * 1_000_000,
            count: counts.iter().sum(),
            sum: Some(7.0),
            explicit_bounds: vec![1.0],
            bucket_counts: counts,
            ..HistogramDataPoint::default()
        };
        let data = Histogram { data_points: vec![point], aggregation_temporality: 2 };
        let metric = Metric { name: "h".to_owned(), data: Some(Data::Histogram(data)), ..Metric::default() };
        metrics(vec![metric], 1)
    };
    for (time, counts) in [(1, vec![1, 2]), (2, vec![2, 3])] {
        exporter.consume(gauge(&[("a", time, 1.0), ("b", time, 2.0)])).await.expect("taken");
        let report = exporter.consume(histogram(u64::try_from(time).expect("small"), counts)).await;
        assert_eq!(told(report), (1, vec![]));
        store.forget();
    }
    let two = |first, second| vec![(1, first), (2, second)];
    let bucket = |le: &str| format!(r#"{{__name__="h_bucket", job="shop", le="{le}"}}"#);
    assert_eq!(
        store.dump("default"),
        [
            (bucket("+Inf"), two(3.0, 5.0)),
            (bucket("1"), two(1.0, 2.0)),
            (r#"{__name__="h_count", job="shop"}"#.to_owned(), two(3.0, 5.0)),
            (r#"{__name__="h_sum", job="shop"}"#.to_owned(), two(7.0, 7.0)),
            (A.to_owned(), two(1.0, 1.0)),
            (B.to_owned(), two(2.0, 2.0)),
        ]
    );
}

#[tokio::test]
async fn refused_points_are_counted_exactly_and_the_others_are_stored() {
    let store = Arc::new(MemoryMetrics::default());
    let exporter = exporter(&store);
    store.refuse(13.0);
    let report =
        exporter.consume(gauge(&[("a", 1, 13.0), ("b", 1, 1.0), ("a", 2, 13.0), ("a", 3, 2.0)])).await;
    assert_eq!(told(report), (2, vec![("refused", 2)]));

    // A histogram point of which several samples are refused is one point.
    let point = HistogramDataPoint {
        count: 13,
        sum: Some(13.0),
        explicit_bounds: vec![1.0],
        bucket_counts: vec![13, 0],
        ..HistogramDataPoint::default()
    };
    let data = Histogram { data_points: vec![point], aggregation_temporality: 2 };
    let histogram = Metric { name: "h".to_owned(), data: Some(Data::Histogram(data)), ..Metric::default() };
    let too_coarse = ExponentialHistogramDataPoint { scale: -9, ..Default::default() };
    let exponential = ExponentialHistogram { data_points: vec![too_coarse; 3], aggregation_temporality: 2 };
    let exponential = Metric {
        name: "e".to_owned(),
        data: Some(Data::ExponentialHistogram(exponential)),
        ..Metric::default()
    };
    let report = exporter.consume(metrics(vec![histogram, exponential], 4)).await;
    assert_eq!(told(report), (0, vec![("invalid_histogram", 3), ("refused", 1)]));
}

#[tokio::test]
async fn points_over_the_series_limit_are_refused_with_its_text() {
    let store = Arc::new(MemoryMetrics::default());
    let exporter = exporter(&store);
    store.limit_series(1);
    let report = exporter.consume(gauge(&[("a", 1, 1.0), ("b", 1, 2.0)])).await.expect("taken");
    assert_eq!((report.stored, report.rejected[0].reason, report.rejected[0].count), (1, "series_limit", 1));
    assert!(report.rejected[0].message.contains("series limit reached at"), "{report:?}");
}

#[tokio::test]
async fn a_store_that_takes_no_new_tenant_asks_for_the_whole_request_again() {
    let store = Arc::new(MemoryMetrics::default());
    let exporter = exporter(&store);
    let hint = Duration::from_secs(30);
    let full = StorageError::new(ErrorKind::Unavailable, "tenants_max").with_retry_after(hint);
    store.fail_series(Some(full));
    let error = exporter.consume(gauge(&[("a", 1, 1.0)])).await.expect_err("no room for the tenant");
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Unavailable, Some(hint)));
    assert_eq!(error.to_string(), "tenants_max");
    store.fail_series(None);
    assert_eq!(told(exporter.consume(gauge(&[("a", 1, 1.0)])).await), (1, vec![]));
}

#[tokio::test]
async fn a_store_that_is_away_is_told_with_its_hint_and_nothing_is_acknowledged() {
    let store = Arc::new(MemoryMetrics::default());
    let exporter = exporter(&store);
    let hint = Duration::from_secs(2);
    store.fail(StorageError::new(ErrorKind::Unavailable, "disk full").with_retry_after(hint));
    let error = exporter.consume(gauge(&[("a", 1, 1.0)])).await.expect_err("the store is away");
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Unavailable, Some(hint)));
    assert!(store.dump("default").is_empty());
    assert_eq!(told(exporter.consume(gauge(&[("a", 1, 1.0)])).await), (1, vec![]));
}

#[tokio::test]
async fn large_requests_are_translated_off_the_async_threads_with_the_same_outcome() {
    let store = Arc::new(MemoryMetrics::default());
    let exporter = exporter(&store);
    let names: Vec<String> = (0..20_000).map(|number| format!("{number:05}")).collect();
    let points: Vec<(&str, i64, f64)> = names.iter().map(|name| (name.as_str(), 1, 1.0)).collect();
    let batch = gauge(&points);
    assert!(batch.payload.len() > super::INLINE_BYTES_MAX);
    assert_eq!(told(exporter.consume(batch).await), (20_000, vec![]));
    assert_eq!(store.dump("default").len(), 20_000);
}

#[test]
fn faulty_configs_are_refused() {
    let check = |value: Value, want: &str| {
        let stores = Stores { metrics: Some(Arc::new(MemoryMetrics::default())), logs: None };
        let error = create("metrics_store", &value, &context(), &stores).err().expect("a fault").to_string();
        assert!(error.starts_with(want), "{error}");
    };
    check(json!({"endpoint": "x"}), "endpoint: unknown field `endpoint`");
    check(json!({"translation_strategy": "None"}), "translation_strategy: unknown variant `None`");
    check(
        json!({"promote_all_resource_attributes": true, "promote_resource_attributes": ["a"]}),
        "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured simultaneously",
    );
    let none = create("metrics_store", &Value::Null, &context(), &Stores::default()).err().expect("no store");
    assert_eq!(none.to_string(), "this process has no metrics store");
}

#[tokio::test]
async fn deltas_are_added_up_when_they_are_to_be() {
    let store = Arc::new(MemoryMetrics::default());
    let stores = Stores { metrics: Some(Arc::clone(&store) as _), logs: None };
    let cumulative =
        create("metrics_store", &json!({"delta": "cumulative"}), &context(), &stores).expect("good");
    let delta = |time: u64, value: f64| {
        let point = NumberDataPoint {
            time_unix_nano: time * 1_000_000,
            value: Some(number_data_point::Value::AsDouble(value)),
            ..NumberDataPoint::default()
        };
        let data = Sum { data_points: vec![point], aggregation_temporality: 1, is_monotonic: true };
        metrics(vec![Metric { name: "d".to_owned(), data: Some(Data::Sum(data)), ..Metric::default() }], 1)
    };
    let refused = exporter(&store).consume(delta(1, 1.0)).await.expect("taken in part");
    assert_eq!(
        refused.rejected[0].message,
        "invalid temporality and type combination for metric \"d\": delta temporality is not taken here, unless \
         `delta` of the exporter is `cumulative` or `native`"
    );
    for (time, value, becomes) in [
        (1, 1.5, (1, vec![])),
        (2, 2.0, (1, vec![])),
        (1, 4.0, (0, vec![("delta_out_of_order", 1)])),
        (3, 4.0, (1, vec![])),
    ] {
        assert_eq!(told(cumulative.consume(delta(time, value)).await), becomes, "{value} at {time}");
    }
    let expected = vec![(1, 1.5), (2, 3.5), (3, 7.5)];
    assert_eq!(store.dump("default"), [(r#"{__name__="d_total", job="shop"}"#.to_owned(), expected)]);
    assert_eq!(store.metadata(), ["d_total counter"]);
}

/// A remote write request with the samples of each series, by the value of its label `n`.
fn remote_write(version: Version, series: &[(&str, &[(i64, f64)])]) -> RemoteWriteBatch {
    let (mut first, mut second) = (Vec::new(), RequestWriter::default());
    let mut items = 0;
    for (name, samples) in series {
        let labels = Labels::from_pairs([("__name__", "level"), ("job", "shop"), ("n", name)]);
        let samples: Vec<Sample> =
            samples.iter().map(|&(timestamp_ms, value)| Sample { timestamp_ms, value }).collect();
        items += samples.len() as u64;
        let parts = SeriesParts { samples: &samples, ..SeriesParts::default() };
        put_series(&mut first, &labels, parts);
        second.put_series(&labels, parts, None);
    }
    let payload = if version == Version::V1 { first } else { second.finish() };
    RemoteWriteBatch { version, batch: batch(Signal::Metrics, payload, items) }
}

#[tokio::test]
async fn remote_write_requests_are_stored_as_they_came() {
    for version in Version::ALL {
        let store = Arc::new(MemoryMetrics::default());
        let exporter = exporter(&store);
        let taker = exporter.remote_write().expect("a store takes them");
        let send =
            |series: &[(&str, &[(i64, f64)])]| taker.consume_remote_write(remote_write(version, series));
        assert_eq!(told(send(&[("a", &[(1, 1.0), (2, 2.0)]), ("b", &[(1, 3.0)])]).await), (3, vec![]));
        let lookups = store.lookups();
        assert_eq!(told(send(&[("b", &[(2, 4.0)]), ("a", &[(3, 5.0)])]).await), (2, vec![]));
        assert_eq!(store.lookups(), lookups, "known series are not resolved again");
        // What the store forgot is resolved again, and each refused sample counts once.
        store.forget();
        store.refuse(13.0);
        let report = send(&[("a", &[(4, 13.0), (5, 6.0), (6, 13.0)]), ("b", &[(4, 7.0)])]).await;
        assert_eq!(told(report), (2, vec![("refused", 2)]));
        let expected = [
            (A.to_owned(), vec![(1, 1.0), (2, 2.0), (3, 5.0), (5, 6.0)]),
            (B.to_owned(), vec![(1, 3.0), (2, 4.0), (4, 7.0)]),
        ];
        assert_eq!(store.dump("default"), expected);
        store.limit_series(2);
        let report = send(&[("c", &[(1, 1.0), (2, 1.0)]), ("a", &[(7, 8.0)])]).await;
        assert_eq!(told(report), (1, vec![("series_limit", 2)]));
    }
}

#[tokio::test]
async fn metadata_of_remote_write_is_kept_even_without_samples() {
    let store = Arc::new(MemoryMetrics::default());
    let exporter = exporter(&store);
    let mut payload = Vec::new();
    let metadata = MetricMetadata { metric_type: MetricType::Counter, ..MetricMetadata::default() };
    put_metadata(&mut payload, "requests", &metadata);
    let request = RemoteWriteBatch { version: Version::V1, batch: batch(Signal::Metrics, payload, 0) };
    let taker = exporter.remote_write().expect("a store takes them");
    assert_eq!(told(taker.consume_remote_write(request).await), (0, vec![]));
    assert_eq!(store.metadata(), ["requests counter"]);
}
