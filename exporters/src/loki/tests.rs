use std::sync::Arc;

use model::{Signal, TenantId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource;
use pipelines::{Batch, Exporter};
use prost::Message;
use serde_json::{Value, json};
use wire::loki_push::decode_proto;

use crate::Stores;
use crate::testing::{Answer, Asked, Server, context, create, logs, text};

async fn start(server: &Server, more: Value) -> Arc<dyn Exporter> {
    let endpoint = format!("http://{}/loki/api/v1/push", server.address);
    let mut config = json!({"endpoint": endpoint, "sending_queue": {"enabled": false}});
    for (key, value) in more.as_object().expect("a section") {
        config[key] = value.clone();
    }
    let exporter = create("loki", &config, &context(), &Stores::default()).expect("a good config");
    exporter.start().await.expect("starts");
    exporter
}

/// Streams of a push as text: labels, and time and line of each entry.
fn streams(asked: &Asked) -> Vec<(String, Vec<(i64, String)>)> {
    let body = snap::raw::Decoder::new().decompress_vec(&asked.body).expect("snappy");
    let request = decode_proto(&body).expect("well-formed");
    let entries = |entries: &model::LogEntries| {
        entries.iter().map(|entry| (entry.timestamp_ns, entry.line.to_owned())).collect()
    };
    request.streams.iter().map(|stream| (stream.labels.to_string(), entries(&stream.entries))).collect()
}

fn with_resource(batch: &Batch, attributes: &[(&str, &str)]) -> Batch {
    let mut request = ExportLogsServiceRequest::decode(batch.payload.clone()).expect("well-formed");
    let attributes = attributes.iter().map(|(key, value)| text(key, value)).collect();
    request.resource_logs[0].resource = Some(Resource { attributes, ..Resource::default() });
    crate::testing::batch(Signal::Logs, request.encode_to_vec(), batch.items)
}

#[tokio::test]
async fn records_arrive_as_entries_of_the_streams_that_loki_would_make() {
    let server = Server::start([], Answer::status(204)).await;
    let exporter = start(&server, json!({})).await;
    assert_eq!(exporter.consume(logs(&["one", "two"])).await.expect("stored").stored, 2);
    let hinted = [("team", "a"), ("zone", "b"), ("loki.resource.labels", "team")];
    let other = Batch {
        tenant: TenantId::new("shop").expect("a tenant"),
        ..with_resource(&logs(&["three"]), &hinted)
    };
    exporter.consume(other).await.expect("stored");
    let asked = server.asked();
    let entry = |ms: i64, line: &str| (ms * 1_000_000, line.to_owned());
    let want = vec![("{service_name=\"shop\"}".to_owned(), vec![entry(1, "one"), entry(2, "two")])];
    assert_eq!(streams(&asked[0]), want);
    assert_eq!(asked[0].path, "/loki/api/v1/push");
    assert_eq!(asked[0].headers["content-type"], "application/x-protobuf");
    assert!(!asked[0].headers.contains_key("x-scope-orgid"), "the default tenant has no name");
    assert_eq!(asked[1].headers["x-scope-orgid"], "shop");
    let labels = &streams(&asked[1])[0].0;
    assert!(labels.contains("team=\"a\"") && !labels.contains("zone"), "{labels}");
}

#[tokio::test]
async fn refused_entries_are_counted_and_not_sent_again() {
    let mut refusal = Answer::status(400);
    refusal.body =
        b"entry with timestamp 1970-01-01 00:00:00 +0000 UTC ignored, reason: 'entry too far behind',\n\
        user 'fake', total ignored: 2 out of 3 for stream: {a=\"b\"}"
            .to_vec();
    let server = Server::start([Answer::status(503), refusal], Answer::status(204)).await;
    let quick = json!({"retry_on_failure": {"initial_interval": "1ms"}});
    let exporter = start(&server, quick).await;
    let report = exporter.consume(logs(&["1", "2", "3"])).await.expect("partly stored");
    assert_eq!((report.stored, report.rejected_count(), server.asked().len()), (1, 2, 2));
}

#[tokio::test]
async fn a_whole_request_that_is_refused_fails_for_good() {
    let mut refusal = Answer::status(400);
    refusal.body = b"max line size exceeded".to_vec();
    let server = Server::start([refusal], Answer::status(204)).await;
    let exporter = start(&server, json!({})).await;
    let error = exporter.consume(logs(&["1"])).await.expect_err("refused");
    assert!(!error.kind().is_retryable());
    assert!(error.to_string().ends_with("HTTP Status Code 400: max line size exceeded"), "{error}");
}

#[test]
fn faulty_configs_are_refused_by_path() {
    let check = |value: Value, want: &str| {
        let error =
            create("loki", &value, &context(), &Stores::default()).err().expect("a fault").to_string();
        assert!(error.starts_with(want), "{error}");
    };
    check(json!({}), "endpoint: \"\" is not a URL");
    check(json!({"endpoint": "http://x", "compression": "gzip"}), "compression: \"gzip\" is not supported");
    check(
        json!({"endpoint": "http://x", "default_labels_enabled": {"job": false}}),
        "default_labels_enabled: is not supported yet",
    );
}
