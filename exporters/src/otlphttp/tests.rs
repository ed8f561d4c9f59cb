use std::sync::Arc;

use model::{ErrorKind, Signal};
use pipelines::Exporter;
use serde_json::{Value, json};
use wire::compression::decode;

use super::HttpClientConfig;
use crate::Stores;
use crate::testing::{Answer, Server, context, create, gauge, logs};

async fn start(server: &Server, more: Value) -> Arc<dyn Exporter> {
    let mut config = json!({
        "endpoint": format!("http://{}/base/", server.address),
        "sending_queue": {"enabled": false},
        "retry_on_failure": {"initial_interval": "1ms", "max_interval": "1ms", "max_elapsed_time": "0"},
    });
    for (key, value) in more.as_object().expect("a map") {
        config[key] = value.clone();
    }
    let exporter = create("otlphttp", &config, &context(), &Stores::default()).expect("a good config");
    exporter.start().await.expect("starts");
    exporter
}

#[tokio::test]
async fn a_payload_arrives_as_it_was_in_every_compression() {
    let all = ["none", "gzip", "zstd", "zlib", "deflate", "snappy", "x-snappy-framed", "lz4"];
    for compression in all {
        let server = Server::start([], Answer::status(200)).await;
        let exporter = start(&server, json!({"compression": compression, "headers": {"X-Team": "a"}})).await;
        let batch = logs(&["first", "second"]);
        assert_eq!(exporter.consume(batch.clone()).await.expect("taken").stored, 2);
        let asked = &server.asked()[0];
        assert_eq!(asked.path, "/base/v1/logs");
        let have = |name: &str| asked.headers.get(name).map(|value| value.to_str().expect("text").to_owned());
        assert_eq!(have("content-type").as_deref(), Some("application/x-protobuf"));
        assert_eq!(have("x-team").as_deref(), Some("a"));
        let encoding = have("content-encoding");
        assert_eq!(encoding.is_none(), compression == "none");
        let decoded = decode(encoding.as_deref().unwrap_or(""), &asked.body, 1 << 20).expect("well-formed");
        assert_eq!(decoded, batch.payload, "{compression}");
    }
}

#[tokio::test]
async fn json_bodies_say_the_same_as_the_protobuf_ones() {
    let answer = r#"{"partialSuccess":{"rejectedDataPoints":"1","errorMessage":"no"}}"#;
    let answer = Answer { body: answer.as_bytes().to_vec(), ..Answer::status(200) };
    let server = Server::start([], answer).await;
    let exporter = start(&server, json!({"encoding": "json", "compression": "none"})).await;
    let report = exporter.consume(gauge(&[("a", 1, 1.5), ("b", 2, 2.5)])).await.expect("taken");
    assert_eq!((report.stored, report.rejected_count(), report.rejected[0].message.as_str()), (1, 1, "no"));
    let asked = &server.asked()[0];
    assert_eq!(
        (asked.path.as_str(), asked.headers["content-type"].as_bytes()),
        ("/base/v1/metrics", &b"application/json"[..])
    );
    let body: Value = serde_json::from_slice(&asked.body).expect("json");
    let points = &body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["gauge"]["dataPoints"];
    assert_eq!((&points[0]["asDouble"], &points[1]["timeUnixNano"]), (&json!(1.5), &json!("2000000")));
}

#[tokio::test]
async fn each_signal_may_have_an_endpoint_of_its_own() {
    let server = Server::start([], Answer::status(200)).await;
    let own = format!("http://{}/only/traces", server.address);
    let exporter = start(&server, json!({"traces_endpoint": own})).await;
    let mut spans = logs(&[]);
    spans.signal = Signal::Traces;
    exporter.consume(spans).await.expect("taken");
    exporter.consume(logs(&["a"])).await.expect("taken");
    let paths: Vec<String> = server.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths, ["/only/traces", "/base/v1/logs"]);

    let only = json!({"traces_endpoint": own, "sending_queue": {"enabled": false}});
    let exporter = create("otlp_http", &only, &context(), &Stores::default()).expect("a good config");
    exporter.start().await.expect("starts");
    let error = exporter.consume(logs(&["a"])).await.expect_err("no endpoint for logs");
    assert_eq!(error.to_string(), "exporter otlp_http: no endpoint for logs is configured");
}

#[tokio::test]
async fn busy_servers_are_tried_again_and_others_are_not() {
    let busy = [429, 502, 503, 504].map(|status| Answer::status(status).header("retry-after", "0"));
    let server = Server::start(busy, Answer::status(200)).await;
    let exporter = start(&server, json!({})).await;
    exporter.consume(logs(&["a"])).await.expect("the fifth attempt");
    assert_eq!(server.asked().len(), 5);
    for status in [400, 401, 404, 408, 413, 500, 301] {
        // google.rpc.Status{message: "why"}.
        let answer = Answer { body: vec![0x12, 3, b'w', b'h', b'y'], ..Answer::status(status) };
        let server = Server::start([], answer).await;
        let exporter = start(&server, json!({})).await;
        let error = exporter.consume(logs(&["a"])).await.expect_err("final");
        assert!(!error.kind().is_retryable(), "{error}");
        assert!(error.to_string().ends_with(&format!("HTTP Status Code {status}, Message=why")), "{error}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_transient_failure() {
    let address = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        listener.local_addr().expect("bound")
    };
    let config = json!({
        "endpoint": format!("http://{address}"),
        "sending_queue": {"enabled": false},
        "retry_on_failure": {"enabled": false},
    });
    let exporter = create("otlphttp", &config, &context(), &Stores::default()).expect("a good config");
    exporter.start().await.expect("starts without its peer");
    assert_eq!(exporter.consume(logs(&["a"])).await.expect_err("nobody").kind(), ErrorKind::Unavailable);
}

#[test]
fn faulty_configs_are_refused_by_path() {
    let check = |value: Value, want: &str| {
        let error =
            create("otlphttp", &value, &context(), &Stores::default()).err().expect("a fault").to_string();
        assert!(error.starts_with(want), "{error}");
    };
    let url = "http://x";
    check(Value::Null, "endpoint: at least one endpoint must be specified");
    check(json!({"endpoint": "localhost:4318"}), "endpoint: \"localhost:4318\" is not a URL");
    check(json!({"logs_endpoint": "x"}), "logs_endpoint: \"x\" is not a URL");
    check(json!({"endpoint": url, "compression": "br"}), "compression: unsupported content encoding \"br\"");
    check(json!({"endpoint": url, "encoding": "xml"}), "encoding: unknown variant `xml`");
    check(json!({"endpoint": url, "auth": {}}), "auth: missing field `authenticator`");
    check(
        json!({"endpoint": url, "tls": {"min_version": "1.1"}}),
        "tls::min_version: unsupported TLS version",
    );
    check(
        json!({"endpoint": url, "tls": {"min_version": "1.3", "max_version": 1.2}}),
        "tls::min_version: must not be higher than max_version",
    );
    check(
        json!({"endpoint": url, "events_endpoint": url}),
        "events_endpoint: unknown field `events_endpoint`",
    );
}

#[test]
fn every_listed_client_key_is_known_to_the_client() {
    for key in HttpClientConfig::KEYS {
        // A wrong type is a fault of its own; an unknown key would be called that.
        let error = serde_json::from_value::<HttpClientConfig>(json!({*key: [[]]})).err();
        let text = error.map_or_else(String::new, |error| error.to_string());
        assert!(!text.contains("unknown field"), "{text}");
    }
}
