use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{ErrorKind, Signal};
use pipelines::Exporter;
use serde_json::{Value, json};
use wire::compression::decode;

use crate::Stores;
use crate::testing::{Answer, Server, context, create, gauge, logs};

/// A gRPC answer of one message.
fn grpc(message: &[u8]) -> Answer {
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(message.len()).expect("small").to_be_bytes());
    body.extend_from_slice(message);
    let trailers = vec![("grpc-status", "0".to_owned())];
    Answer { body, trailers, ..Answer::status(200) }
}

fn failing(code: &str) -> Answer {
    Answer::status(200).header("grpc-status", code).header("grpc-message", "try%20later")
}

async fn start(server: &Server, more: Value) -> Arc<dyn Exporter> {
    let mut config = json!({
        "endpoint": format!("http://{}", server.address),
        "sending_queue": {"enabled": false},
        "retry_on_failure": {"initial_interval": "1ms", "max_interval": "1ms", "max_elapsed_time": "0"},
    });
    for (key, value) in more.as_object().expect("a map") {
        config[key] = value.clone();
    }
    let exporter = create("otlp", &config, &context(), &Stores::default()).expect("a good config");
    exporter.start().await.expect("starts");
    exporter
}

#[tokio::test]
async fn a_payload_arrives_as_it_was_in_every_compression() {
    for (compression, header) in
        [("none", None), ("gzip", Some("gzip")), ("zstd", Some("zstd")), ("snappy", Some("snappy"))]
    {
        let server = Server::start([], grpc(&[])).await;
        let exporter = start(&server, json!({"compression": compression, "headers": {"X-Team": "a"}})).await;
        let batch = logs(&["first", "second"]);
        let report = exporter.consume(batch.clone()).await.expect("taken");
        assert_eq!((report.stored, report.rejected.len()), (2, 0));
        let asked = &server.asked()[0];
        assert_eq!(asked.path, "/opentelemetry.proto.collector.logs.v1.LogsService/Export");
        let have = |name: &str| asked.headers.get(name).map(|value| value.to_str().expect("text").to_owned());
        assert_eq!(have("grpc-encoding").as_deref(), header);
        assert_eq!(have("x-team").as_deref(), Some("a"));
        assert_eq!(have("te").as_deref(), Some("trailers"));
        assert_eq!(have("content-type").as_deref(), Some("application/grpc"));
        assert_eq!(have("grpc-timeout").as_deref(), Some("5000m"));
        assert!(have("user-agent").is_some_and(|agent| agent.starts_with("Tidegate/")));
        assert_eq!(asked.body[0], u8::from(header.is_some()));
        assert_eq!(
            u32::from_be_bytes(asked.body[1..5].try_into().expect("four")) as usize,
            asked.body.len() - 5
        );
        let decoded: Bytes =
            decode(header.unwrap_or(""), &asked.body.slice(5..), 1 << 20).expect("well-formed");
        assert_eq!(decoded, batch.payload);
    }
}

#[tokio::test]
async fn each_signal_goes_to_its_own_service() {
    let server = Server::start([], grpc(&[])).await;
    let exporter = start(&server, json!({})).await;
    exporter.consume(gauge(&[("a", 1, 1.0)])).await.expect("taken");
    let mut spans = logs(&[]);
    spans.signal = Signal::Traces;
    exporter.consume(spans).await.expect("taken");
    let paths: Vec<String> = server.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(
        paths,
        [
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
        ]
    );
}

#[tokio::test]
async fn transient_failures_are_tried_again_and_permanent_ones_are_told() {
    let server = Server::start([failing("14"), failing("4"), grpc(&[])], failing("3")).await;
    let exporter = start(&server, json!({})).await;
    exporter.consume(logs(&["a"])).await.expect("the third attempt");
    assert_eq!(server.asked().len(), 3);
    let error = exporter.consume(logs(&["b"])).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), "rpc error: code = InvalidArgument desc = try later");
}

#[tokio::test]
async fn an_exhausted_server_is_tried_again_only_if_it_says_when() {
    // google.rpc.Status{code: 8, details: [RetryInfo{retry_delay: 1ms}]}, encoded by hand.
    let details = "CAgaMgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIGCgQQwIQ9";
    let hinted = failing("8").header("grpc-status-details-bin", details);
    let server = Server::start([hinted, grpc(&[])], failing("8")).await;
    let exporter = start(&server, json!({})).await;
    exporter.consume(logs(&["a"])).await.expect("the second attempt");
    let error = exporter.consume(logs(&["b"])).await.expect_err("without a hint it is final");
    assert!(!error.kind().is_retryable(), "{error}");
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn what_the_server_refuses_in_part_is_counted_and_not_sent_again() {
    // partial_success {rejected: 1, error_message: "no"}.
    let server = Server::start([], grpc(&[0x0a, 6, 8, 1, 0x12, 2, b'n', b'o'])).await;
    let exporter = start(&server, json!({})).await;
    let report = exporter.consume(logs(&["a", "b", "c"])).await.expect("taken");
    assert_eq!((report.stored, report.rejected_count(), report.rejected[0].message.as_str()), (2, 1, "no"));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn broken_answers_are_errors_and_never_panics() {
    let check = async |answer: Answer, retryable: Option<bool>| {
        let text = format!("{answer:?}");
        let server = Server::start([answer], grpc(&[])).await;
        let exporter = start(&server, json!({"retry_on_failure": {"enabled": false}})).await;
        let outcome = exporter.consume(logs(&["a"])).await;
        assert_eq!(outcome.err().map(|error| error.kind().is_retryable()), retryable, "{text}");
    };
    check(Answer::status(503), Some(true)).await;
    check(Answer::status(404), Some(false)).await;
    check(Answer::status(200), Some(false)).await;
    check(failing("not a number"), Some(false)).await;
    check(failing("14").header("grpc-status-details-bin", "%%%"), Some(true)).await;
    // Status 0 with a body that is no message: the server took it.
    let trailers = vec![("grpc-status", "0".to_owned())];
    check(Answer { body: vec![1, 2, 3], trailers, ..Answer::status(200) }, None).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again_until_it_is() {
    let address = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        listener.local_addr().expect("bound")
    };
    let config = json!({
        "endpoint": address.to_string(),
        "tls": {"insecure": true},
        "sending_queue": {"enabled": false},
        "retry_on_failure": {"initial_interval": "1ms", "max_interval": "2ms", "max_elapsed_time": "20ms"},
    });
    let exporter = create("otlp_grpc", &config, &context(), &Stores::default()).expect("a good config");
    exporter.start().await.expect("starts without its peer");
    let error = exporter.consume(logs(&["a"])).await.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("no more retries left after 20ms"), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_stalled_server_meets_the_timeout() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let config = json!({
        "endpoint": format!("http://{}", listener.local_addr().expect("bound")),
        "timeout": "50ms",
        "sending_queue": {"enabled": false},
        "retry_on_failure": {"enabled": false},
    });
    let exporter = create("otlp", &config, &context(), &Stores::default()).expect("a good config");
    exporter.start().await.expect("starts");
    let sent = tokio::time::timeout(Duration::from_secs(20), exporter.consume(logs(&["a"])));
    let error = sent.await.expect("ends").expect_err("no answer");
    assert!(error.kind().is_retryable(), "{error}");
}

#[test]
fn faulty_configs_are_refused_by_path() {
    let check = |value: Value, want: &str| {
        let error =
            create("otlp", &value, &context(), &Stores::default()).err().expect("a fault").to_string();
        assert!(error.starts_with(want), "{error}");
    };
    check(Value::Null, "endpoint: requires a non-empty \"endpoint\"");
    check(json!({"endpoint": "localhost"}), "endpoint: invalid port \"\" in \"localhost\"");
    check(json!({"endpoint": "localhost:99999"}), "endpoint: invalid port \"99999\"");
    check(
        json!({"endpoint": "unix:///run/x.sock"}),
        "endpoint: \"unix:///run/x.sock\": the scheme unix is not supported",
    );
    check(json!({"endpoint": "ftp://x:1"}), "endpoint: \"ftp://x:1\": unknown scheme \"ftp\"");
    check(
        json!({"endpoint": "x:1", "compression": "lz4"}),
        "compression: unsupported compression type \"lz4\"",
    );
    check(
        json!({"endpoint": "x:1", "auth": {"authenticator": "a"}}),
        "auth::authenticator: failed to resolve authenticator \"a\"",
    );
    check(json!({"endpoint": "x:1", "tls": {"tpm": {"enabled": true}}}), "tls::tpm: is not supported");
    check(
        json!({"endpoint": "x:1", "tls": {"cipher_suites": ["RC4"]}}),
        "tls::cipher_suites: invalid TLS cipher suite: \"RC4\", have TLS_ECDHE",
    );
    check(
        json!({"endpoint": "x:1", "tls": {"curve_preferences": ["P521"]}}),
        "tls::curve_preferences: invalid curve \"P521\", have X25519",
    );
    check(
        json!({"endpoint": "x:1", "tls": {"ca_file": "a", "ca_pem": "b"}}),
        "tls::ca_file: provide either a CA file",
    );
    check(
        json!({"endpoint": "x:1", "tls": {"cert_file": "a"}}),
        "tls::cert_file: provide both certificate and key",
    );
    check(json!({"endpoint": "x:1", "tls": {"insecur": true}}), "tls::insecur: unknown field `insecur`");
    check(
        json!({"endpoint": "x:1", "balancer_name": "round_robin"}),
        "balancer_name: \"round_robin\" is not supported",
    );
    check(json!({"endpoint": "x:1", "headers": {"a b": "c"}}), "headers: \"a b\": is not a header name");
    check(
        json!({"endpoint": "x:1", "sending_queue": {"storage": "f"}}),
        "sending_queue::storage: storage client extension \"f\" not found in service::extensions",
    );
    check(
        json!({"endpoint": "x:1", "retry_on_failure": {"multiplier": -1}}),
        "retry_on_failure::multiplier: 'multiplier'",
    );
    check(json!({"endpoint": "x:1", "endpiont": "y"}), "endpiont: unknown field `endpiont`");
}

#[test]
fn endpoints_say_whether_the_connection_is_plain() {
    let check = |endpoint: &str, insecure: bool, want: &str| {
        let uri = super::uri(endpoint, insecure).expect("a good endpoint");
        assert_eq!(uri.to_string(), want, "{endpoint}");
    };
    check("example.test:4317", true, "http://example.test:4317/");
    check("example.test:4317", false, "https://example.test:4317/");
    check("http://example.test:4317", false, "http://example.test:4317/");
    check("https://example.test:4317", true, "https://example.test:4317/");
    check("dns:///example.test:4317", true, "http://example.test:4317/");
    check("[::1]:4317", true, "http://[::1]:4317/");
}
