//! The edge of a whole gateway: who may send, over which transports, and what happens to them while the config changes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{FutureProducer, FutureRecord};
use reqwest::{Client, StatusCode};
use serde_json::json;
use tidegate::config::Config;
use tidegate::config::expand::ProcessSurroundings;
use tidegate::config::load::load;
use tidegate::wiring::Gateway;
use tokio_util::sync::CancellationToken;

const BASE: &str = r#"
receivers:
  otlp: {protocols: {grpc: {endpoint: "127.0.0.1:0"}, http: {endpoint: "127.0.0.1:0"}}}
processors:
  batch: {timeout: 1ms}
exporters:
  nop:
service:
  pipelines:
    logs: {receivers: [otlp], processors: [batch], exporters: [nop]}
server:
  prometheus: {endpoint: "127.0.0.1:0"}
"#;

fn config(folder: &Path, sets: &[&str]) -> Config {
    tidegate::install_crypto_provider();
    let mut all = vec![format!("storage.directory={}", folder.display())];
    all.extend(sets.iter().map(|set| (*set).to_owned()));
    let loaded = load(&[format!("yaml:{BASE}")], &all, &ProcessSurroundings).expect("the config loads");
    Config::new(loaded).expect("the config is good")
}

async fn reload(gateway: &mut Gateway, config: Config) -> Result<(), String> {
    let reloaded = gateway.reload(config, &CancellationToken::new()).await;
    reloaded.map_err(|error| format!("{error:#}"))
}

async fn start(folder: &Path, sets: &[&str]) -> Gateway {
    Gateway::start(config(folder, sets)).await.expect("starts")
}

fn url(gateway: &Gateway, what: &str, path: &str) -> String {
    format!("http://{}{path}", gateway.address(what).expect("is listened on"))
}

fn line() -> serde_json::Value {
    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "x"}}]}]}]})
}

#[tokio::test]
async fn only_those_with_a_token_may_send() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sets = [
        "extensions={bearertokenauth: {token: secret}}",
        "service.extensions=[bearertokenauth]",
        "receivers.otlp.protocols.http.auth={authenticator: bearertokenauth}",
        "receivers.otlp.protocols.grpc.auth={authenticator: bearertokenauth}",
    ];
    let gateway = start(folder.path(), &sets).await;
    let logs = url(&gateway, "OTLP HTTP", "/v1/logs");
    let client = Client::new();
    let answer = client.post(&logs).json(&line()).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    let refusal: serde_json::Value = answer.json().await.expect("a status in JSON");
    assert_eq!(refusal["code"], 16, "{refusal}");
    let sent = client.post(&logs).bearer_auth("secret").json(&line()).send().await.expect("an answer");
    assert_eq!(sent.status(), StatusCode::OK);

    let grpc = Client::builder().http2_prior_knowledge().build().expect("a client");
    let export = url(&gateway, "OTLP gRPC", "/opentelemetry.proto.collector.logs.v1.LogsService/Export");
    let call = async |token: &str| {
        let empty_message = vec![0_u8; 5];
        let call = grpc.post(&export).header("content-type", "application/grpc").header("te", "trailers");
        let answer = call.bearer_auth(token).body(empty_message).send().await.expect("an answer");
        answer.headers().get("grpc-status").map(|code| code.to_str().expect("a number").to_owned())
    };
    assert_eq!(call("wrong").await.as_deref(), Some("16"));
    assert_eq!(call("secret").await, None, "the status of a success comes in the trailers");
    gateway.shutdown().await.expect("drains in time");
}

#[tokio::test]
async fn pages_of_allowed_origins_may_send_and_others_may_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cors = "receivers.otlp.protocols.http.cors={allowed_origins: ['https://*.example.com'], max_age: 60}";
    let gateway = start(folder.path(), &[cors]).await;
    let logs = url(&gateway, "OTLP HTTP", "/v1/logs");
    let client = Client::new();
    let preflight = async |origin: &str, header: &str| {
        let ask = client.request(reqwest::Method::OPTIONS, &logs).header("origin", origin);
        let ask = ask.header("access-control-request-method", "POST");
        let answer = ask.header("access-control-request-headers", header).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        answer.headers().get("access-control-allow-origin").map(|o| o.to_str().expect("text").to_owned())
    };
    let good = "https://app.example.com";
    assert_eq!(preflight(good, "content-type").await.as_deref(), Some(good));
    assert_eq!(preflight(good, "x-other").await, None);
    assert_eq!(preflight("https://example.org", "content-type").await, None);
    let sent = client.post(&logs).header("origin", good).json(&line()).send().await.expect("an answer");
    assert_eq!(sent.status(), StatusCode::OK);
    assert_eq!(sent.headers()["access-control-allow-origin"], good);
    gateway.shutdown().await.expect("drains in time");
}

#[tokio::test]
async fn health_and_pages_tell_how_the_process_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sets = [
        "extensions={health_check: {endpoint: '127.0.0.1:0'}, zpages: {endpoint: '127.0.0.1:0'}}",
        "service.extensions=[health_check, zpages]",
    ];
    let gateway = start(folder.path(), &sets).await;
    let client = Client::new();
    let answer = client.get(url(&gateway, "Health check", "/")).send().await.expect("an answer");
    assert_eq!(
        (answer.status(), answer.headers()["content-type"].as_bytes()),
        (StatusCode::OK, &b"application/json"[..])
    );
    let health: serde_json::Value = answer.json().await.expect("JSON");
    assert_eq!(health["status"], "Server available");
    // The path "/" of the default has every other path below it, as in the collector.
    let below = client.get(url(&gateway, "Health check", "/health/status")).send().await.expect("an answer");
    assert_eq!(below.status(), StatusCode::OK);
    for (page, want) in [
        ("servicez", "tidegate"),
        ("pipelinez", "<td>otlp</td><td>batch</td><td>nop</td>"),
        ("extensionz", "<td>zpages</td>"),
        ("tracez", "<table"),
    ] {
        let page =
            client.get(url(&gateway, "zPages", &format!("/debug/{page}"))).send().await.expect("an answer");
        let text = page.text().await.expect("a page");
        assert!(text.contains(want), "{text}");
    }
    gateway.shutdown().await.expect("drains in time");
}

#[tokio::test]
async fn pages_of_extensions_and_exporters_have_the_edge_of_every_server() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("names");
    let own = params.self_signed(&key).expect("a certificate");
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path.display().to_string()
    };
    let (certificate, key) = (write("c.pem", own.pem()), write("k.pem", key.serialize_pem()));
    let edge = format!(
        "endpoint: '127.0.0.1:0', tls: {{cert_file: {certificate}, key_file: {key}}}, \
         auth: {{authenticator: bearertokenauth}}, cors: {{allowed_origins: ['https://example.com']}}, \
         response_headers: {{x-own: yes}}"
    );
    let extensions = format!(
        "extensions={{bearertokenauth: {{token: secret}}, health_check: {{{edge}}}, zpages: {{{edge}}}}}"
    );
    let exporter = format!("exporters.prometheus={{{edge}}}");
    let sets = [
        extensions.as_str(),
        "service.extensions=[health_check, zpages, bearertokenauth]",
        exporter.as_str(),
        "service.pipelines.metrics={receivers: [otlp], exporters: [prometheus]}",
    ];
    let gateway = start(folder.path(), &sets).await;
    let authority = reqwest::Certificate::from_pem(own.pem().as_bytes()).expect("a certificate");
    let client = Client::builder().tls_certs_only([authority]).build().expect("a client");
    for (what, path) in
        [("Health check", "/"), ("zPages", "/debug/servicez"), ("Prometheus exporter", "/metrics")]
    {
        let url = url(&gateway, what, path).replace("http:", "https:");
        let unknown = client.get(&url).send().await.expect("an answer");
        assert_eq!(unknown.status(), StatusCode::UNAUTHORIZED, "{what}");
        let ask = client.get(&url).bearer_auth("secret").header("origin", "https://example.com");
        let answer = ask.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{what}");
        assert_eq!(answer.headers()["access-control-allow-origin"], "https://example.com", "{what}");
        assert_eq!(answer.headers()["x-own"], "yes", "{what}");
    }
    gateway.shutdown().await.expect("drains in time");
    let nobody = "exporters.prometheus.auth={authenticator: nobody}";
    let faulty = config(folder.path(), &[sets.as_slice(), &[nobody]].concat());
    let error = tidegate::wiring::check(&faulty).expect_err("there is no such extension").to_string();
    assert!(error.contains("exporters::prometheus::auth::authenticator"), "{error}");
}

#[tokio::test]
async fn a_process_that_only_forwards_keeps_nothing_and_still_tells_how_it_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let gateway = start(folder.path(), &[]).await;
    assert!(!gateway.has_stores());
    let client = Client::new();
    for (path, want) in [
        (
            "/api/v1/query?query=1%2B1&time=4",
            r#"{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}"#,
        ),
        ("/api/v1/query?query=up", r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#),
        ("/-/ready", "Tidegate is Ready.\n"),
    ] {
        let answer = client.get(url(&gateway, "Prometheus API", path)).send().await.expect("an answer");
        assert_eq!(answer.text().await.expect("a body"), want);
    }
    let gateway_names: Vec<&str> = gateway.listeners().iter().map(|listener| listener.what).collect();
    assert_eq!(gateway_names, ["OTLP gRPC", "OTLP HTTP", "Prometheus API"]);
    gateway.shutdown().await.expect("drains in time");
    assert_eq!(std::fs::read_dir(folder.path()).expect("is there").count(), 0);
}

#[tokio::test]
async fn the_own_metrics_are_named_as_a_reader_asks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let readers =
        "service.telemetry.metrics.readers=[{pull: {exporter: {prometheus: {host: 127.0.0.1, port: 0}}}}]";
    let gateway =
        start(folder.path(), &[readers, "service.telemetry.resource={service.instance.id: a-1}"]).await;
    let client = Client::new();
    let logs = url(&gateway, "OTLP HTTP", "/v1/logs");
    assert_eq!(client.post(&logs).json(&line()).send().await.expect("an answer").status(), StatusCode::OK);
    let page = async |what: &str| {
        let answer = client.get(url(&gateway, what, "/metrics")).send().await.expect("an answer");
        answer.text().await.expect("a page")
    };
    let (reader, api) = (page("Metrics").await, page("Prometheus API").await);
    assert!(reader.contains("# TYPE otelcol_receiver_accepted_log_records_total counter\n"), "{reader}");
    assert!(reader.contains("# HELP otelcol_receiver_accepted_log_records_total "), "{reader}");
    assert!(api.contains("# TYPE otelcol_receiver_accepted_log_records counter\n"), "{api}");
    assert!(api.contains("# TYPE process_cpu_seconds_total counter\n"), "{api}");
    assert!(api.contains("service_instance_id=\"a-1\""), "{api}");
    gateway.shutdown().await.expect("drains in time");
}

/// A gateway whose senders need a certificate and a password, and one that has them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gateway_sends_to_another_over_mutual_tls_with_a_password() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["authority".to_owned()]).expect("a name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, key).expect("a certificate");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path.display().to_string()
    };
    let issue = |name: &str| {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let cert = params.signed_by(&key, &authority).expect("a certificate");
        (write(&format!("{name}.pem"), &cert.pem()), write(&format!("{name}-key.pem"), &key.serialize_pem()))
    };
    let ca = write("ca.pem", &authority.pem());
    let ((cert, key), (client_cert, client_key)) = (issue("localhost"), issue("sender"));
    let hash = bcrypt::hash("pw", 4).expect("a hash");
    let tls = format!("{{cert_file: {cert}, key_file: {key}, client_ca_file: {ca}, min_version: '1.3'}}");
    let central = start(
        &folder.path().join("central"),
        &[
            &format!(
                "extensions={{basicauth: {{htpasswd: {{inline: 'agent:{}'}}}}}}",
                hash.replace('$', "$$")
            ),
            "service.extensions=[basicauth]",
            &format!("receivers.otlp.protocols.grpc.tls={tls}"),
            &format!("receivers.otlp.protocols.http.tls={tls}"),
            "receivers.otlp.protocols.grpc.auth={authenticator: basicauth}",
            "receivers.otlp.protocols.http.auth={authenticator: basicauth}",
            "exporters={log_store: null}",
            "service.pipelines.logs.exporters=[log_store]",
            "server.loki.endpoint=127.0.0.1:0",
        ],
    )
    .await;
    let port = |what: &str| central.address(what).expect("is listened on").port();
    let tls = format!("{{ca_file: {ca}, cert_file: {client_cert}, key_file: {client_key}}}");
    let client = "auth: {authenticator: basicauth/client}, sending_queue: {enabled: false}";
    let exporters = [
        format!("otlp: {{endpoint: 'localhost:{}', tls: {tls}, {client}}}", port("OTLP gRPC")),
        format!("otlphttp: {{endpoint: 'https://localhost:{}', tls: {tls}, {client}}}", port("OTLP HTTP")),
    ];
    for exporter in exporters {
        let kind = exporter.split(':').next().expect("starts with its type");
        let sets = [
            "extensions={basicauth/client: {client_auth: {username: agent, password: pw}}}",
            "service.extensions=[basicauth/client]",
            &format!("exporters={{{exporter}}}"),
            "service.pipelines.logs.processors=[]",
            &format!("service.pipelines.logs.exporters=[{kind}]"),
        ];
        let agent = start(&folder.path().join("agent"), &sets).await;
        let sent = Client::new().post(url(&agent, "OTLP HTTP", "/v1/logs")).json(&line()).send().await;
        let sent = sent.expect("an answer");
        let status = sent.status();
        assert_eq!(status, StatusCode::OK, "{kind}: {}", sent.text().await.expect("a body"));
        agent.shutdown().await.expect("drains in time");
    }
    let lines = url(
        &central,
        "Loki API",
        "/loki/api/v1/query?query=sum(count_over_time({service_name=~\".%2B\"}[1h]))",
    );
    let lines: serde_json::Value =
        Client::new().get(lines).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(lines["data"]["result"][0]["value"][1], "2", "one over each protocol: {lines}");
    central.shutdown().await.expect("drains in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_under_load_refuses_no_request() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut gateway = start(folder.path(), &[]).await;
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let tasks = runtime::Tasks::new();
    let mut senders = Vec::new();
    for _ in 0..4 {
        let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
        let logs = url(&gateway, "OTLP HTTP", "/v1/logs");
        senders.push(tasks.spawn("sender", async move {
            let client = Client::new();
            while !stop.load(Ordering::Relaxed) {
                let answer = client.post(&logs).json(&line()).send().await.expect("an answer");
                assert_eq!(answer.status(), StatusCode::OK);
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let address = gateway.address("OTLP HTTP");
    for round in 0..25 {
        let before = sent.load(Ordering::Relaxed);
        let set = format!("processors.batch.timeout={}ms", 1 + round % 3);
        reload(&mut gateway, config(folder.path(), &[&set])).await.expect("the new config is good");
        // Each config serves at least one request.
        while sent.load(Ordering::Relaxed) < before + 4 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(gateway.address("OTLP HTTP"), address, "the listener stayed open");
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.expect("every request was taken");
    }
    gateway.shutdown().await.expect("drains in time");
}

#[tokio::test]
async fn a_config_that_cannot_run_leaves_the_old_one_running() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut gateway = start(folder.path(), &[]).await;
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint =
        format!("receivers.otlp.protocols.http.endpoint={}", occupied.local_addr().expect("is bound"));
    for (sets, want) in [
        (&[endpoint.as_str()][..], "cannot listen on"),
        (
            &["service.pipelines.logs.processors=[none]"],
            "references processor \"none\" which is not configured",
        ),
        (&["query.max_concurrency=3"], "query::max_concurrency changed, which needs a restart"),
        (
            &["query.max_concurrency=3", "query.timeout=1m", "service.telemetry.logs.level=debug"],
            "query::max_concurrency, query::timeout, service::telemetry::logs::level changed, which needs a restart",
        ),
    ] {
        let error = reload(&mut gateway, config(folder.path(), sets)).await.expect_err("cannot run");
        assert!(error.contains(want), "{error}");
    }
    let logs = url(&gateway, "OTLP HTTP", "/v1/logs");
    let sent = Client::new().post(&logs).json(&line()).send().await.expect("an answer");
    assert_eq!(sent.status(), StatusCode::OK);
    let info = url(&gateway, "Prometheus API", "/api/v1/status/runtimeinfo");
    let info: serde_json::Value =
        Client::new().get(info).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(info["data"]["reloadConfigSuccess"], false);
    gateway.shutdown().await.expect("drains in time");
}

#[tokio::test]
async fn the_page_of_an_exporter_stays_reachable_when_its_section_changes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pipeline = "service.pipelines.metrics={receivers: [otlp], exporters: [prometheus]}";
    let page = |namespace: &str| {
        format!("exporters.prometheus={{endpoint: \"127.0.0.1:0\", namespace: {namespace}}}")
    };
    let mut gateway = start(folder.path(), &[pipeline, &page("one")]).await;
    let url = url(&gateway, "Prometheus exporter", "/metrics");
    let metrics = self::url(&gateway, "OTLP HTTP", "/v1/metrics");
    let point = json!({"timeUnixNano": "1", "asDouble": 2.5});
    let metric = json!({"name": "level", "gauge": {"dataPoints": [point]}});
    let request = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]});
    for namespace in ["one", "two"] {
        if namespace == "two" {
            let changed = config(folder.path(), &[pipeline, &page(namespace)]);
            reload(&mut gateway, changed).await.expect("the new config is good");
        }
        let sent = Client::new().post(&metrics).json(&request).send().await.expect("an answer");
        assert_eq!(sent.status(), StatusCode::OK);
        let shown = Client::new().get(&url).send().await.expect("an answer");
        assert_eq!(shown.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let shown = shown.text().await.expect("text");
        assert!(shown.contains(&format!("\n{namespace}_level 2.5\n")), "{shown}");
    }
    gateway.shutdown().await.expect("drains in time");
}

#[tokio::test]
async fn the_storage_of_a_queue_on_disk_does_not_move_under_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let storage = |name: &str| {
        let directory = folder.path().join(name);
        format!("extensions={{file_storage: {{directory: {}, create_directory: true}}}}", directory.display())
    };
    let (first, second) = (storage("first"), storage("second"));
    let others = [
        "service.extensions=[file_storage]",
        "exporters={otlphttp: {endpoint: \"http://127.0.0.1:1\", sending_queue: {storage: file_storage}}}",
        "service.pipelines.logs.exporters=[otlphttp]",
    ];
    let mut gateway = start(folder.path(), &[&[first.as_str()], &others[..]].concat()).await;
    let moved = config(folder.path(), &[&[second.as_str()], &others[..]].concat());
    let error = reload(&mut gateway, moved).await.expect_err("what waits in the first folder would be lost");
    let want =
        "extension file_storage changed, where the queue of exporter otlphttp is, which needs a restart";
    assert!(error.contains(want), "{error}");
    gateway.shutdown().await.expect("drains in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_does_not_start_fails_the_reload_and_the_old_one_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic("otlp_logs", 1, 1).expect("a topic");
    let brokers = cluster.bootstrap_servers();
    let kafka = format!(
        "receivers.kafka={{brokers: [\"{brokers}\"], initial_offset: earliest, session_timeout: 6s, heartbeat_interval: 500ms}}"
    );
    let sets = [
        kafka.as_str(),
        "exporters={log_store: {}}",
        "service.pipelines.logs={receivers: [otlp, kafka], exporters: [log_store]}",
        "server.loki.endpoint=127.0.0.1:0",
    ];
    let mut gateway = start(folder.path(), &sets).await;
    // A regular expression for us and not for Kafka's client.
    let broken = "receivers.kafka.logs.topics=[\"^(?i)otlp_logs\"]";
    let error = reload(&mut gateway, config(folder.path(), &[&sets[..], &[broken]].concat())).await;
    let error = error.expect_err("the receiver cannot subscribe");
    assert!(error.contains("a receiver does not start: receiver kafka"), "{error}");

    let producer: FutureProducer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", &brokers).create().expect("a producer");
    let payload = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs { log_records: vec![LogRecord::default()], ..Default::default() }],
            ..Default::default()
        }],
    };
    let record: FutureRecord<'_, [u8], _> = FutureRecord::to("otlp_logs");
    let payload = payload.encode_to_vec();
    let sent = producer.send_result(record.payload(&payload)).expect("queued").await;
    sent.expect("kept").expect("delivered");
    let lines = url(&gateway, "Loki API", "/loki/api/v1/labels");
    let arrives = async {
        loop {
            let labels =
                Client::new().get(&lines).send().await.expect("an answer").text().await.expect("text");
            if labels.contains("service_name") {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let arrived = tokio::time::timeout(std::time::Duration::from_secs(60), arrives).await;
    arrived.expect("the receiver of the old config reads again");
    gateway.shutdown().await.expect("drains in time");
}
