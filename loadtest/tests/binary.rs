//! The program against a server of the tests: what it sends and measures, every output and every exit code.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A request that the server answered: when it came, when it was answered, and its target.
type Seen = Arc<Mutex<Vec<(Instant, Instant, String)>>>;

/// An HTTP/1.1 server that answers each request as `answer` says: after a wait, with a status.
struct Server {
    url: String,
    seen: Seen,
}

type AnswerOf = dyn Fn(usize) -> (Duration, u16) + Send + Sync;

impl Server {
    fn start(answer: impl Fn(usize) -> (Duration, u16) + Send + Sync + 'static) -> Self {
        Self::over("http", answer, Some)
    }

    /// Behind TLS with a certificate of its own, which is written to `ca`.
    fn start_tls(ca: &Path) -> Self {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(ca, own.cert.pem()).expect("written");
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key.into())
            .expect("a key that fits");
        let config = Arc::new(config);
        Self::over(
            "https",
            |_| (Duration::ZERO, 200),
            move |stream| {
                let session = rustls::ServerConnection::new(Arc::clone(&config)).ok()?;
                Some(rustls::StreamOwned::new(session, stream))
            },
        )
    }

    fn over<S: Read + Write>(
        scheme: &str,
        answer: impl Fn(usize) -> (Duration, u16) + Send + Sync + 'static,
        open: impl Fn(TcpStream) -> Option<S> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("{scheme}://localhost:{}", listener.local_addr().expect("bound").port());
        let (seen, answer, open) = (Seen::default(), Arc::new(answer), Arc::new(open));
        let kept = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_nodelay(true).expect("a socket");
                let (seen, answer, open) = (Arc::clone(&kept), Arc::clone(&answer), Arc::clone(&open));
                std::thread::spawn(move || open(stream).map(|stream| serve(stream, &seen, answer.as_ref())));
            }
        });
        Self { url, seen }
    }

    fn requests(&self) -> Vec<(Instant, Instant, String)> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

fn serve(stream: impl Read + Write, seen: &Seen, answer: &AnswerOf) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let came = Instant::now();
        let mut length = 0;
        loop {
            let mut row = String::new();
            if reader.read_line(&mut row).unwrap_or(0) == 0 || row == "\r\n" {
                break;
            }
            if let Some(value) = row.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let number = seen.lock().expect("not poisoned").len();
        let (wait, status) = answer(number);
        seen.lock().expect("not poisoned").push((came, came, first.clone()));
        // How long a slow server takes; nothing waits for it but the client under test.
        let (_open, never) = sync_channel::<()>(1);
        let _elapsed = never.recv_timeout(wait);
        let body = if first.starts_with("GET") { "{\"status\":\"success\",\"data\":{}}" } else { "" };
        let text = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if reader.get_mut().write_all(text.as_bytes()).is_err() {
            return;
        }
        seen.lock().expect("not poisoned")[number].1 = Instant::now();
    }
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-loadtest"));
    command.args(arguments).output().expect("the program runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {output:?}"))
}

fn number(report: &Value, pointer: &str) -> f64 {
    report.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} in {report}"))
}

fn http(server: &Server, more: &[&str]) -> Output {
    let mut arguments =
        vec!["otlp", "--transport", "http", "--endpoint", &server.url, "--output", "json", "-q"];
    arguments.extend(more);
    run(&arguments)
}

#[test]
fn a_low_rate_is_kept_to_the_item_and_ends_in_time() {
    let server = Server::start(|_| (Duration::ZERO, 200));
    let began = Instant::now();
    let output = http(&server, &["--rate", "10", "--duration", "3s"]);
    assert!((2.5..9.0).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
    let report = json(&output);
    assert_eq!(code(&output), 0, "{report}");
    assert_eq!((number(&report, "/sent"), number(&report, "/acked")), (30.0, 30.0));
    assert_eq!(server.requests().len(), 30);
    assert!(output.stderr.is_empty(), "-q says nothing: {output:?}");
}

#[test]
fn batches_shrink_so_that_a_middle_rate_is_even() {
    let server = Server::start(|_| (Duration::ZERO, 200));
    let report = json(&http(&server, &["--rate", "500", "--duration", "2s", "--signal", "logs"]));
    assert_eq!(number(&report, "/sent"), 1000.0);
    assert_eq!(number(&report, "/batch"), 50.0);
}

/// Of requests that are due every 250 ms and take 200 ms the third takes a second. The fourth then begins 750 ms late and
/// each after it 50 ms less: the median of the first 20 is some 500 ms. A slow machine only adds to it. That both are right
/// to 2 % is shown in the suite beside real peers.
#[test]
fn a_stall_counts_for_all_that_had_to_wait_behind_it() {
    let server = Server::start(|number| (Duration::from_millis(if number == 2 { 1000 } else { 200 }), 200));
    let arguments = ["--rate", "4", "--batch", "1", "--duration", "5s", "--connections", "1"];
    let report = json(&http(&server, &arguments));
    let requests = server.requests().len();
    assert_eq!(requests as f64, number(&report, "/requests"));
    assert!(requests >= 10, "a slow machine leaves some unsent: {report}");
    let (latency, service) = (number(&report, "/latency_ms/p50"), number(&report, "/service_ms/p50"));
    assert!(latency > 400.0, "waiting counts: {report}");
    assert!((199.0..latency - 100.0).contains(&service), "service is what one request takes: {report}");
    assert!(number(&report, "/latency_ms/max") >= 999.0, "{report}");
}

#[test]
fn https_is_believed_by_its_authority_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    let server = Server::start_tls(&ca);
    let ca = ca.to_str().expect("text");
    for (more, expected) in [(&["--ca", ca][..], 0), (&["--insecure-skip-verify"], 0), (&[], 1)] {
        let output = http(&server, &[&["--rate", "20", "--duration", "500ms"], more].concat());
        assert_eq!(code(&output), expected, "{more:?}: {output:?}");
        let why = json(&output)["example_failure"].to_string();
        assert_eq!(why.contains("certificate"), expected == 1, "{more:?}: {why}");
    }
    let output = http(&server, &["--ca", "/nonexistent"]);
    assert_eq!(code(&output), 2, "{output:?}");
}

#[test]
fn a_target_that_is_too_slow_leaves_items_unsent_and_is_named_as_the_limit() {
    let server = Server::start(|_| (Duration::from_millis(200), 200));
    let arguments = ["--rate", "100", "--duration", "2s", "--connections", "1", "--threshold", "unsent==0"];
    let output = http(&server, &arguments);
    let report = json(&output);
    assert_eq!(code(&output), 99);
    assert_eq!(number(&report, "/sent") + number(&report, "/unsent"), 200.0);
    assert!(number(&report, "/unsent") > 50.0, "{report}");
    assert_eq!(report["generator"]["is_limit"], false);
    let warning = report["generator"]["warning"].as_str().unwrap_or_default();
    assert!(warning.contains("the target did not keep up"), "{warning}");
}

/// Compressing takes this side far longer than the server takes to read.
#[test]
fn a_generator_that_is_too_slow_says_that_it_is_the_limit() {
    let server = Server::start(|_| (Duration::ZERO, 200));
    let arguments = [
        "--rate",
        "50000000",
        "--batch",
        "5000",
        "--compression",
        "gzip",
        "--duration",
        "2s",
        "--connections",
        "2",
    ];
    let report = json(&http(&server, &arguments));
    assert_eq!(report["generator"]["is_limit"], true, "{report}");
    let warning = report["generator"]["warning"].as_str().unwrap_or_default();
    assert!(warning.contains("this load generator is the limit"), "{warning}");
}

#[test]
fn stages_send_the_area_under_their_lines() {
    let server = Server::start(|_| (Duration::ZERO, 200));
    let report = json(&http(&server, &["--stages", "2s:100,1s:100", "--batch", "1"]));
    // What a busy machine did not get to is counted too.
    assert_eq!(number(&report, "/sent") + number(&report, "/unsent"), 200.0);
    assert!(number(&report, "/sent") > 150.0, "{report}");
}

#[test]
fn exit_codes_tell_what_happened() {
    let good = Server::start(|_| (Duration::ZERO, 200));
    let bad = Server::start(|_| (Duration::ZERO, 503));
    let short = ["--rate", "20", "--duration", "500ms"];
    let with = |server: &Server, more: &[&str]| code(&http(server, &[&short[..], more].concat()));
    assert_eq!(with(&good, &[]), 0);
    assert_eq!(with(&good, &["--threshold", "p(99)<10s", "--threshold", "errors==0"]), 0);
    assert_eq!(with(&bad, &[]), 1, "nothing was acknowledged");
    assert_eq!(with(&bad, &["--threshold", "errors<0.5"]), 99);
    assert_eq!(with(&good, &["--threshold", "speed>9"]), 2, "an unknown threshold");
    assert_eq!(with(&good, &["--signal", "traces", "--verify"]), 2, "no API shows traces");
}

#[test]
fn junit_html_and_json_are_written_and_stand_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path of text").to_owned();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("written");
    let server = Server::start(|_| (Duration::ZERO, 200));
    let output = run(&[
        "otlp",
        "--transport",
        "http",
        "--endpoint",
        &server.url,
        "--rate",
        "50",
        "--duration",
        "1s",
        "--threshold",
        "max<1us",
        "--threshold",
        "errors==0",
        "--junit",
        &path("junit.xml"),
        "--html",
        &path("page.html"),
        "--json",
        &path("result.json"),
    ]);
    assert_eq!(code(&output), 99);
    let junit = read("junit.xml");
    assert!(junit.contains("tests=\"3\" failures=\"1\""), "{junit}");
    assert!(junit.contains("<testcase classname=\"otlp\" name=\"max&lt;1us\"><failure"), "{junit}");
    let page = read("page.html");
    assert!(page.contains("<svg") && page.contains("polyline") && page.contains("</html>"), "{page}");
    let mut lines = page.split("points=\"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
    assert!(lines.all(|points| points.contains(' ')), "a line of one point shows nothing: {page}");
    assert!(
        !page.contains("<script") && !page.contains("src=") && !page.contains("href="),
        "needs no other file"
    );
    let result: Value = serde_json::from_str(&read("result.json")).expect("JSON");
    assert_eq!(result["sent"], 50);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("threshold   MISSED: max<1us"), "{text}");
    assert!(!output.stderr.contains(&0x1b), "plain where there is no terminal");
}

#[test]
fn queries_are_asked_and_counted() {
    let server = Server::start(|_| (Duration::ZERO, 200));
    let output = run(&[
        "promql",
        "--endpoint",
        &server.url,
        "--query",
        "up",
        "--rate",
        "20",
        "--duration",
        "1s",
        "-q",
    ]);
    assert_eq!(code(&output), 0, "{output:?}");
    let requests = server.requests();
    assert_eq!(requests.len(), 20);
    assert!(
        requests.iter().all(|(_, _, target)| target.starts_with("GET /api/v1/query_range?query=up&start="))
    );
}

#[test]
fn a_scenario_runs_its_loads_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(|_| (Duration::ZERO, 200));
    let path = folder.path().join("scenario.yaml");
    let text = format!(
        "defaults: {{duration: 1s, endpoint: '{}'}}\nrate: 40\nloads:\n  write: {{kind: otlp, transport: http, weight: 3}}\n  push: {{kind: loki-push, weight: 1, threshold: 'errors==0'}}\n  ask: {{kind: logql, rate: 5}}\n",
        server.url
    );
    std::fs::write(&path, text).expect("written");
    let output = run(&["run", path.to_str().expect("text"), "--output", "json", "-q"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let sent: Vec<_> = json(&output)["loads"]
        .as_array()
        .expect("loads")
        .iter()
        .map(|load| {
            (load["name"].as_str().expect("a name").to_owned(), load["sent"].as_u64().expect("a count"))
        })
        .collect();
    assert_eq!(sent, [("ask".to_owned(), 5), ("push".to_owned(), 10), ("write".to_owned(), 30)]);
}

/// 20 ms a request of at most ten items over two connections: 1000 items a second are the most.
#[test]
fn find_max_finds_what_the_server_takes() {
    let server = Server::start(|_| (Duration::from_millis(20), 200));
    let output = run(&[
        "find-max",
        "--probe",
        "1s",
        "--precision",
        "20",
        "--output",
        "json",
        "-q",
        "otlp",
        "--transport",
        "http",
        "--endpoint",
        &server.url,
        "--connections",
        "2",
        "--batch",
        "10",
        "--series",
        "100",
    ]);
    assert_eq!(code(&output), 0, "{output:?}");
    let found = number(&json(&output), "/search/found_per_second");
    assert!((200.0..=1050.0).contains(&found), "{found}");
    let dead = Server::start(|_| (Duration::ZERO, 500));
    let arguments =
        ["find-max", "--probe", "100ms", "-q", "otlp", "--transport", "http", "--endpoint", &dead.url];
    assert_eq!(code(&run(&arguments)), 99, "no rate passes");
}

#[test]
fn compare_sees_what_got_worse_and_forgives_noise() {
    let folder = tempfile::tempdir().expect("a folder");
    let result = |name: &str, p99: f64, lost: u64| {
        let path = folder.path().join(name);
        let text = format!(
            "{{\"name\":\"otlp\",\"acked_per_second\":1000,\"errors\":0,\"latency_ms\":{{\"p99\":{p99}}},\"verify\":{{\"lost\":{lost}}}}}"
        );
        std::fs::write(&path, text).expect("written");
        path
    };
    let compare =
        |a: &Path, b: &Path| run(&["compare", a.to_str().expect("text"), b.to_str().expect("text")]);
    let old = result("old.json", 100.0, 0);
    assert_eq!(code(&compare(&old, &result("same.json", 109.0, 0))), 0);
    assert_eq!(code(&compare(&old, &result("fast.json", 50.0, 0))), 0);
    let slow = compare(&old, &result("slow.json", 120.0, 0));
    assert_eq!(code(&slow), 99);
    assert!(String::from_utf8_lossy(&slow.stdout).contains("+20.0% worse"), "{slow:?}");
    assert_eq!(code(&compare(&old, &result("lossy.json", 100.0, 1))), 99, "a lost item is no noise");
    assert_eq!(code(&compare(&old, Path::new("/nonexistent"))), 2);
}
