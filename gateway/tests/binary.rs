//! The real binary: its commands, its start and its end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const START_TIME_MAX: Duration = Duration::from_secs(60);

fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).env_remove("RUST_LOG");
    command
}

fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = tidegate(arguments).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is one level up").to_owned()
}

/// A running gateway on free ports; killed when the test gives it up.
struct Running {
    child: Option<Child>,
    listeners: Vec<Value>,
}

impl Running {
    async fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[]).await
    }

    /// With further arguments of the command.
    async fn start_with(folder: &Path, further: &[&str]) -> Self {
        let ports = folder.join("ports.json");
        let mut arguments = vec![format!("--ports-file={}", ports.display())];
        for set in [
            format!("storage.directory={}", folder.join("data").display()),
            "receivers.otlp.protocols.grpc.endpoint=127.0.0.1:0".to_owned(),
            "receivers.otlp.protocols.http.endpoint=127.0.0.1:0".to_owned(),
            "server.prometheus.endpoint=127.0.0.1:0".to_owned(),
            "server.loki.endpoint=127.0.0.1:0".to_owned(),
            "server.store_api.endpoint=127.0.0.1:0".to_owned(),
        ] {
            arguments.push(format!("--set={set}"));
        }
        let arguments: Vec<&str> =
            arguments.iter().map(String::as_str).chain(further.iter().copied()).collect();
        let child = tidegate(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut running = Self { child: Some(child.expect("the binary runs")), listeners: Vec::new() };
        let wait = async {
            let mut look = tokio::time::interval(Duration::from_millis(20));
            loop {
                look.tick().await;
                if let Ok(text) = std::fs::read_to_string(&ports) {
                    return text;
                }
                if let Some(status) =
                    running.child.as_mut().expect("runs").try_wait().expect("the child can be asked")
                {
                    panic!("the gateway ended early: {status}");
                }
            }
        };
        let text = tokio::time::timeout(START_TIME_MAX, wait).await.expect("the ports file is written");
        let ports: Value = serde_json::from_str(&text).expect("the ports file is JSON");
        running.listeners = ports["listeners"].as_array().expect("a list").clone();
        running
    }

    fn address(&self, name: &str) -> &str {
        let found = self.listeners.iter().find(|listener| listener["name"] == name);
        found.and_then(|listener| listener["address"].as_str()).expect("is listened on")
    }

    /// Sends a signal and waits for the end.
    async fn end(mut self, signal: Signal) -> Output {
        let mut child = self.child.take().expect("runs");
        kill_process(Pid::from_child(&child), signal).expect("the child is there");
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let wait = async {
            while child.try_wait().expect("the child can be asked").is_none() {
                look.tick().await;
            }
        };
        tokio::time::timeout(START_TIME_MAX, wait).await.expect("ends in time");
        child.wait_with_output().expect("the child can be waited for")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[tokio::test]
async fn it_starts_without_a_config_serves_and_drains_on_sigterm() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let running = Running::start(folder.path()).await;
    let logs = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}"#;
    let client = reqwest::Client::new();
    let url = format!("http://{}/v1/logs", running.address("OTLP HTTP"));
    let post = client.post(url).header("content-type", "application/json").body(logs);
    assert_eq!(post.send().await.expect("an answer").status(), 200);
    let url = format!("http://{}/v1/traces", running.address("OTLP HTTP"));
    let post = client.post(url).header("content-type", "application/json").body("{}");
    assert_eq!(post.send().await.expect("an answer").status(), 404);
    let url = format!("http://{}/-/ready", running.address("Prometheus API"));
    assert_eq!(client.get(url).send().await.expect("an answer").status(), 200);
    let address = running.address("Loki API").to_owned();
    let ended = running.end(Signal::TERM).await;
    let (stdout, stderr) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert_eq!(ended.status.code(), Some(0), "{stderr}");
    assert!(stdout.contains(&address) && stdout.contains("curl"), "{stdout}");
    assert!(stdout.contains("traces: not in any pipeline, refused\n"), "{stdout}");
    assert!(stderr.contains("Everything is ready. Begin running and processing data."), "{stderr}");
}

#[tokio::test]
async fn a_reload_is_answered_when_the_new_config_runs_although_its_request_is_one_of_the_old() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let running =
        Running::start_with(folder.path(), &["--set=server.prometheus.enable_lifecycle=true"]).await;
    let url = format!("http://{}/-/reload", running.address("Prometheus API"));
    let client = reqwest::Client::new();
    let begun = std::time::Instant::now();
    for _ in 0..2 {
        assert_eq!(client.post(&url).send().await.expect("an answer").status(), 200);
    }
    // Requests that are inside get 30 s.
    assert!(begun.elapsed() < Duration::from_secs(20), "took {:?}", begun.elapsed());
    assert_eq!(running.end(Signal::TERM).await.status.code(), Some(0));
}

#[tokio::test]
async fn a_config_that_cannot_be_read_again_shows_in_the_metric_of_reloads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("config.yaml");
    let config = "{receivers: {otlp: {protocols: {grpc: {}, http: {}}}}, exporters: {metrics_store: {}, log_store: {}}, \
                  service: {pipelines: {metrics: {receivers: [otlp], exporters: [metrics_store]}, \
                  logs: {receivers: [otlp], exporters: [log_store]}}}}";
    std::fs::write(&path, config).expect("a writable folder");
    let arguments =
        [&format!("--config={}", path.display()), "--set=server.prometheus.enable_lifecycle=true"];
    let running = Running::start_with(folder.path(), &arguments).await;
    let address = running.address("Prometheus API");
    let client = reqwest::Client::new();
    for (text, status, expected) in [("x: [", 500, "0"), ("unknown: 1", 500, "0"), (config, 200, "1")] {
        std::fs::write(&path, text).expect("a writable folder");
        let reload = client.post(format!("http://{address}/-/reload")).send().await.expect("an answer");
        assert_eq!(reload.status(), status, "{text}");
        let metrics = client.get(format!("http://{address}/metrics")).send().await.expect("an answer");
        let metrics = metrics.text().await.expect("a text");
        let line = format!("\nprometheus_config_last_reload_successful {expected}\n");
        assert!(metrics.contains(&line), "{text}: {metrics}");
    }
    assert_eq!(running.end(Signal::TERM).await.status.code(), Some(0));
}

#[tokio::test]
async fn an_acknowledged_line_survives_kill_9() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let client = reqwest::Client::new();
    let running = Running::start(folder.path()).await;
    let logs = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"kept"}}]}]}]}"#;
    let url = format!("http://{}/v1/logs", running.address("OTLP HTTP"));
    let post = client.post(url).header("content-type", "application/json").body(logs);
    assert_eq!(post.send().await.expect("an answer").status(), 200);
    running.end(Signal::KILL).await;
    std::fs::remove_file(folder.path().join("ports.json")).expect("the file of the first start");
    let running = Running::start(folder.path()).await;
    let url = format!("http://{}/loki/api/v1/query_range", running.address("Loki API"));
    let found =
        client.get(url).query(&[("query", r#"{service_name=~".+"}"#)]).send().await.expect("an answer");
    let found: Value = found.json().await.expect("JSON");
    assert_eq!(found["data"]["result"][0]["values"][0][1], "kept", "{found}");
    assert_eq!(running.end(Signal::INT).await.status.code(), Some(0));
}

#[test]
fn every_example_is_a_valid_config() {
    let mut checked = 0;
    let mut folders = vec![root().join("configs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("the folder is readable").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let (code, _, stderr) = output(&["validate", "--config", &path.display().to_string()]);
            assert_eq!(code, Some(0), "{}: {stderr}", path.display());
            checked += 1;
        }
    }
    assert!(checked >= 10, "{checked} examples");
}

#[test]
fn bad_configs_are_refused_with_place_path_and_choice() {
    let pipeline = "service: {pipelines: {logs: {receivers: [otlp], exporters: [nop]}}}";
    for (yaml, want) in [
        (
            "receivers: {zipkin: null}\nexporters: {nop: null}\nservice: {pipelines: {traces: {receivers: [zipkin], exporters: [nop]}}}".to_owned(),
            "receivers::zipkin: unknown type: \"zipkin\" for id: \"zipkin\" (valid values: [kafka loki otlp prometheusremotewrite])",
        ),
        (
            format!(
                "receivers: {{otlp: {{protocols: {{grpc: null}}}}}}\nexporters: {{nop: null, elastic: null}}\n{pipeline}"
            ),
            "unknown type: \"elastic\"",
        ),
        (
            format!(
                "receivers:\n  otlp:\n    protocols: {{http: {{endpont: x}}}}\nexporters: {{nop: null}}\n{pipeline}"
            ),
            "yaml::3:24: receivers::otlp::protocols::http::endpont: unknown field `endpont`",
        ),
        (
            format!(
                "receivers: {{otlp: {{protocols: {{grpc: null}}}}}}\nexporters: {{debug: null}}\n{pipeline}"
            ),
            "service::pipelines::logs: references exporter \"nop\" which is not configured",
        ),
        (
            "receivers: {loki: null}\nexporters: {nop: null}\nservice: {pipelines: {metrics: {receivers: [loki], exporters: [nop]}}}".to_owned(),
            "receiver \"loki\" does not produce metrics",
        ),
        (
            "receivers: {loki: null, loki/2: null}\nexporters: {nop: null}\nservice: {pipelines: {logs: {receivers: [loki, loki/2], exporters: [nop]}}}".to_owned(),
            "another receiver already serves /loki/api/v1/push",
        ),
        (
            format!(
                "receivers:\n  otlp:\n    protocols:\n      grpc: {{endpoint: '0.0.0.0:99999'}}\nexporters: {{nop: null}}\n{pipeline}"
            ),
            "yaml::4:14: receivers::otlp::protocols::grpc::endpoint: port \"99999\" is not a number up to 65535",
        ),
        (
            format!(
                "receivers: {{otlp: {{protocols: {{grpc: null}}}}}}\nexporters: {{nop: null}}\nserver:\n  loki: {{endpoint: 'localhost'}}\n{pipeline}"
            ),
            "yaml::4:10: server::loki::endpoint: want host:port, got \"localhost\"",
        ),
        (
            "receivers: {otlp: {protocols: {grpc: null}}}\nexporters: {nop: null}\nextensions: {zpages: {endpoint: ':x'}}\nservice: {extensions: [zpages], pipelines: {logs: {receivers: [otlp], exporters: [nop]}}}".to_owned(),
            "extensions::zpages::endpoint: port \"x\" is not a number up to 65535",
        ),
    ] {
        let (code, _, stderr) = output(&["validate", "--config", &format!("yaml:{yaml}")]);
        assert_eq!(code, Some(1), "{yaml}");
        assert!(stderr.contains(want), "{stderr}\nwant {want}");
    }
}

#[test]
fn validate_tells_every_fault_at_once() {
    let yaml = "receivers:\n  otlp: {protocols: {http: {endpont: x}}}\nprocessors:\n  batch: {size: 1}\n  btach:\n\
                exporters: {nop: null, otlp: {}}\nextensions: {nosuch: null}\nserver: {lokki: {}}\nbogus: 1\n\
                service:\n  pipelines:\n    logs: {receivers: [otlp], exporters: [none]}\n    metrics: {receivers: [], exporters: [nop]}\n";
    let (code, _, stderr) = output(&["validate", "--config", &format!("yaml:{yaml}")]);
    assert_eq!(code, Some(1), "{stderr}");
    for want in [
        ":8:10: server::lokki: unknown field",
        ":9:1: unknown section \"bogus\"",
        ":5:3: processors::btach: unknown type: \"btach\"",
        "extensions::nosuch: unknown type",
        "receivers::otlp::protocols::http::endpont: unknown field",
        "processors::batch::size: unknown field",
        "exporters::otlp",
        "service::pipelines::logs: references exporter \"none\" which is not configured",
        "service::pipelines::metrics: must have at least one receiver",
    ] {
        assert_eq!(stderr.matches(want).count(), 1, "{stderr}\nwant {want}");
    }
}

#[test]
fn print_config_hides_secrets_unless_told_not_to() {
    let yaml = "yaml:exporters: {otlphttp: {endpoint: 'http://x', headers: {Authorization: hunter2}}}";
    let (code, redacted, _) = output(&["print-config", "--config", yaml]);
    assert_eq!(code, Some(0));
    assert!(redacted.contains("[REDACTED]") && !redacted.contains("hunter2"), "{redacted}");
    let (_, open, _) =
        output(&["print-config", "--mode", "unredacted", "--format", "json", "--config", yaml]);
    let open: Value = serde_json::from_str(&open).expect("JSON");
    assert_eq!(open["exporters"]["otlphttp"]["headers"]["Authorization"], "hunter2");
}

#[test]
fn a_taken_port_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let directory = format!("storage.directory={}", folder.path().display());
    let loki = format!("server.loki.endpoint={address}");
    let prometheus = "server.prometheus.endpoint=127.0.0.1:0";
    let grpc = "receivers.otlp.protocols.grpc.endpoint=127.0.0.1:0";
    let http = "receivers.otlp.protocols.http.endpoint=127.0.0.1:0";
    let (code, _, stderr) =
        output(&["--set", &directory, "--set", prometheus, "--set", grpc, "--set", http, "--set", &loki]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(&format!("Loki API: cannot listen on {address}")), "{stderr}");
}
