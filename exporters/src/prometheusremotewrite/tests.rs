use std::sync::Arc;

use model::ErrorKind;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Metric, NumberDataPoint, metric::Data,
    number_data_point,
};
use pipelines::Exporter;
use serde_json::{Value, json};
use wire::compression::decode;
use wire::remote_write::{Request, Series, Version, WRITTEN_HEADERS};

use crate::Stores;
use crate::testing::{Answer, Asked, Server, context, create, gauge, metrics};

async fn start(server: &Server, more: Value) -> Arc<dyn Exporter> {
    let mut config = json!({
        "endpoint": format!("http://{}/api/v1/write", server.address),
        "remote_write_queue": {"enabled": false, "num_consumers": 1},
        "retry_on_failure": {"initial_interval": "1ms", "max_interval": "1ms", "max_elapsed_time": "0"},
    });
    for (key, value) in more.as_object().expect("a map") {
        config[key] = value.clone();
    }
    let exporter =
        create("prometheusremotewrite", &config, &context(), &Stores::default()).expect("a good config");
    exporter.start().await.expect("starts");
    exporter
}

/// The series of a request: labels as text, and (ms, value).
fn series(asked: &Asked) -> Vec<(String, Vec<(i64, f64)>)> {
    let version = Version::from_content_type(asked.headers["content-type"].to_str().expect("text"));
    let body = decode("snappy", &asked.body, 1 << 20).expect("snappy");
    let request = Request::new(version.expect("a version"), &body, 0).expect("well-formed");
    let mut series = Series::default();
    let mut list = Vec::new();
    for encoded in request.series() {
        request.read(encoded.expect("well-formed"), &mut series).expect("well-formed");
        let labels = request.labels(&series).expect("sound labels");
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let samples = series.samples.iter().map(|sample| (sample.sample.timestamp_ms, sample.sample.value));
        list.push((labels.join(","), samples.collect()));
    }
    list.sort_by(|left: &(String, Vec<_>), right| left.partial_cmp(right).expect("no NaN"));
    list
}

#[tokio::test]
async fn series_arrive_sorted_with_their_samples_in_time_order() {
    let server = Server::start([], Answer::status(204)).await;
    let exporter = start(&server, json!({"external_labels": {"cluster": "ha"}, "namespace": "app"})).await;
    let report = exporter
        .consume(gauge(&[("a", 3000, 3.0), ("b", 1000, 9.0), ("a", 1000, 1.0), ("a", 2000, 2.0)]))
        .await;
    assert_eq!(report.expect("taken").stored, 4);
    let asked = &server.asked()[0];
    assert_eq!(asked.path, "/api/v1/write");
    let have = |name: &str| asked.headers[name].to_str().expect("text").to_owned();
    assert_eq!(have("content-encoding"), "snappy");
    assert_eq!(have("content-type"), "application/x-protobuf");
    assert_eq!(have("x-prometheus-remote-write-version"), "0.1.0");
    assert_eq!(
        series(asked),
        [
            (
                "__name__=app_level,cluster=ha,job=shop,n=a".to_owned(),
                vec![(1000, 1.0), (2000, 2.0), (3000, 3.0)]
            ),
            ("__name__=app_level,cluster=ha,job=shop,n=b".to_owned(), vec![(1000, 9.0)]),
        ]
    );
    // Known series the second time.
    exporter.consume(gauge(&[("b", 4000, 4.0)])).await.expect("taken");
    assert_eq!(series(&server.asked()[1])[0].1, [(4000, 4.0)]);
}

#[tokio::test]
async fn a_series_never_leaves_its_lane_and_no_request_outgrows_its_size_by_more_than_a_series() {
    let server = Server::start([], Answer::status(200)).await;
    let queue = json!({"enabled": false, "num_consumers": 4});
    let exporter = start(&server, json!({"remote_write_queue": queue, "max_batch_size_bytes": 200})).await;
    let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let points: Vec<(&str, i64, f64)> =
        (1..=3).flat_map(|time| names.iter().map(move |name| (name.as_str(), time, 0.0))).collect();
    exporter.consume(gauge(&points)).await.expect("taken");
    let mut all = Vec::new();
    for asked in server.asked() {
        let list = series(&asked);
        assert!(list.len() <= 4, "{} series of about 100 bytes", list.len());
        all.extend(list);
    }
    all.sort_by(|left, right| left.partial_cmp(right).expect("no NaN"));
    assert_eq!(all.len(), 100, "each series is in one request");
    assert!(all.iter().all(|(_, samples)| *samples == [(1, 0.0), (2, 0.0), (3, 0.0)]));
}

#[tokio::test]
async fn busy_endpoints_are_tried_again_and_refusals_are_dropped_and_counted() {
    let busy = [503, 429, 500].map(|status| Answer::status(status).header("retry-after", "0"));
    let server = Server::start(busy, Answer::status(200)).await;
    let exporter = start(&server, json!({})).await;
    assert_eq!(exporter.consume(gauge(&[("a", 1, 1.0)])).await.expect("the fourth attempt").stored, 1);
    assert_eq!(server.asked().len(), 4);

    let refusal = Answer { body: b"out of order sample\n".to_vec(), ..Answer::status(400) };
    let server = Server::start([refusal], Answer::status(200)).await;
    let exporter = start(&server, json!({"max_batch_size_bytes": 1})).await;
    let report =
        exporter.consume(gauge(&[("a", 1, 1.0), ("a", 2, 1.0), ("b", 1, 1.0)])).await.expect("settled");
    assert_eq!(report.stored + report.rejected_count(), 3);
    assert_eq!(report.rejected[0].reason, "refused_by_endpoint");
    assert!(report.rejected[0].message.ends_with("HTTP Status Code 400: out of order sample"), "{report:?}");
    assert_eq!(server.asked().len(), 2, "the requests after a refused one are sent");
}

#[tokio::test]
async fn what_could_not_be_delivered_is_an_error_of_the_batch() {
    let server = Server::start([], Answer::status(503)).await;
    let exporter = start(&server, json!({"retry_on_failure": {"enabled": false}})).await;
    let error = exporter.consume(gauge(&[("a", 1, 1.0)])).await.expect_err("the endpoint is busy");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn what_the_protocol_cannot_carry_is_counted_each_time_also_when_the_endpoint_is_away() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let exponential = ExponentialHistogram {
        data_points: vec![ExponentialHistogramDataPoint { scale: -9, ..Default::default() }; 3],
        aggregation_temporality: 2,
    };
    let value = Some(number_data_point::Value::AsDouble(1.0));
    let number = NumberDataPoint { time_unix_nano: 1, value, ..NumberDataPoint::default() };
    let list = [
        ("e", Data::ExponentialHistogram(exponential)),
        ("g", Data::Gauge(Gauge { data_points: vec![number] })),
    ];
    let list =
        list.map(|(name, data)| Metric { name: name.to_owned(), data: Some(data), ..Metric::default() });
    let batch = metrics(list.into(), 4);
    let server = Server::start([Answer::status(503)], Answer::status(200)).await;
    let exporter = start(&server, json!({"retry_on_failure": {"enabled": false}})).await;
    let consume = |batch| {
        let mut delivery = exporter.consume(batch);
        let recorder = &recorder;
        std::future::poll_fn(move |context| {
            ::metrics::with_local_recorder(recorder, || delivery.as_mut().poll(context))
        })
    };
    let counted = |want: u64| {
        let text = recorder.handle().render();
        let series = "tidegate_exporter_rejected_items";
        let labels = "{exporter=\"prometheusremotewrite\",reason=\"invalid_histogram\"}";
        assert!(text.contains(&format!("{series}{labels} {want}\n")), "{text}");
    };
    consume(batch.clone()).await.expect_err("the endpoint is away");
    assert_eq!(consume(batch).await.expect("taken").rejected_count(), 3);
    counted(3);
}

fn written(answer: Answer, counts: [&'static str; 3]) -> Answer {
    WRITTEN_HEADERS.into_iter().zip(counts).fold(answer, |answer, (name, count)| answer.header(name, count))
}

#[tokio::test]
async fn version_2_is_spoken_when_asked_and_what_was_not_written_counts_as_refused() {
    let short = written(Answer::status(400), ["1", "0", "0"]);
    let server = Server::start([short], written(Answer::status(204), ["2", "0", "0"])).await;
    let message = "io.prometheus.write.v2.Request";
    let exporter = start(&server, json!({"protobuf_message": message})).await;
    let batch = || gauge(&[("a", 1, 1.0), ("b", 1, 2.0)]);
    let report = exporter.consume(batch()).await.expect("settled");
    assert_eq!((report.stored, report.rejected_count()), (1, 1));
    assert_eq!(exporter.consume(batch()).await.expect("taken").stored, 2);
    let asked = &server.asked()[1];
    assert_eq!(asked.headers["content-type"], "application/x-protobuf;proto=io.prometheus.write.v2.Request");
    assert_eq!(asked.headers["x-prometheus-remote-write-version"], "2.0.0");
    assert_eq!(
        series(asked),
        [
            ("__name__=level,job=shop,n=a".to_owned(), vec![(1, 1.0)]),
            ("__name__=level,job=shop,n=b".to_owned(), vec![(1, 2.0)]),
        ]
    );
}

#[tokio::test]
async fn endpoints_that_do_not_take_version_2_get_version_1_from_then_on() {
    // 415 says so, and success that does not say what was written.
    for refusal in [Answer::status(415), Answer::status(204)] {
        let server = Server::start([refusal], Answer::status(204)).await;
        let exporter = start(&server, json!({"protobuf_message": "io.prometheus.write.v2.Request"})).await;
        for time in [1, 2] {
            let report = exporter.consume(gauge(&[("a", time, 1.0)])).await.expect("taken");
            assert_eq!((report.stored, report.rejected.len()), (1, 0));
        }
        let types: Vec<_> =
            server.asked().iter().map(|asked| asked.headers["content-type"].clone()).collect();
        assert_eq!(
            types,
            [
                "application/x-protobuf;proto=io.prometheus.write.v2.Request",
                "application/x-protobuf",
                "application/x-protobuf"
            ]
        );
    }
}

#[tokio::test]
async fn queued_batches_are_sent_in_order_at_shutdown() {
    let server = Server::start([], Answer::status(200)).await;
    let exporter = start(&server, json!({"remote_write_queue": {}})).await;
    for time in 1..=20 {
        exporter.consume(gauge(&[("a", time, 0.0)])).await.expect("queued");
    }
    exporter.shutdown().await.expect("drained");
    let times: Vec<i64> = server.wait_for(20).await.iter().map(|asked| series(asked)[0].1[0].0).collect();
    assert_eq!(times, (1..=20).collect::<Vec<i64>>());
}

#[test]
fn faulty_configs_are_refused_by_path() {
    let check = |value: Value, want: &str| {
        let error = create("prometheusremotewrite", &value, &context(), &Stores::default()).err();
        let error = error.expect("a fault").to_string();
        assert!(error.starts_with(want), "{error}");
    };
    let url = "http://x/api/v1/write";
    check(Value::Null, "endpoint: \"\" is not a URL");
    check(
        json!({"endpoint": url, "compression": "gzip"}),
        "compression: \"gzip\" is not supported, want snappy",
    );
    check(json!({"endpoint": url, "wal": {"directory": "x"}}), "wal: is not supported yet");
    check(
        json!({"endpoint": url, "protobuf_message": "x"}),
        "protobuf_message: \"x\" is not known, want prometheus.WriteRequest or io.prometheus.write.v2.Request",
    );
    check(
        json!({"endpoint": url, "remote_write_queue": {"queue_size": 0}}),
        "remote_write_queue::queue_size: a 0 size",
    );
    check(
        json!({"endpoint": url, "remote_write_queue": {"num_consumers": 0}}),
        "remote_write_queue::num_consumers: must be",
    );
    check(
        json!({"endpoint": url, "remote_write_queue": {"storage": "file_storage"}}),
        "remote_write_queue::storage: storage client extension \"file_storage\" not found",
    );
    check(json!({"endpoint": url, "target_info": {"on": true}}), "target_info::on: unknown field `on`");
    check(json!({"endpoint": url, "sending_queue": {}}), "sending_queue: is not supported yet");
}
