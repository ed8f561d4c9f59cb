//! The program against a server of the tests: what it sends and measures, every output and every exit code.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A request that the server answered: when it came, how long it took, and its target.
type Seen = Arc<Mutex<Vec<(Instant, Duration, String)>>>;

/// An HTTP/1.1 server that answers each request as `answer` says: after a wait, with a status.
struct Server {
    url: String,
    seen: Seen,
}

impl Server {
    fn start(answer: impl Fn(usize) -> (Duration, u16) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (seen, answer) = (Seen::default(), Arc::new(answer));
        let kept = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                std::thread::spawn(move || serve(&stream, &seen, answer.as_ref()));
            }
        });
        Self { url, seen }
    }

    fn requests(&self) -> Vec<(Instant, Duration, String)> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

fn serve(stream: &TcpStream, seen: &Seen, answer: &(dyn Fn(usize) -> (Duration, u16) + Send + Sync)) {
    stream.set_nodelay(true).expect("a socket");
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
        seen.lock().expect("not poisoned").push((came, Duration::ZERO, first.clone()));
        // How long a slow server takes; nothing waits for it but the client under test.
        let (_open, never) = sync_channel::<()>(1);
        let _elapsed = never.recv_timeout(wait);
        let body = if first.starts_with("GET") { "{\"status\":\"success\",\"data\":{}}" } else { "" };
        let text = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if (&*stream).write_all(text.as_bytes()).is_err() {
            return;
        }
        seen.lock().expect("not poisoned")[number].1 = came.elapsed();
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
}

#[test]
fn batches_shrink_so_that_a_middle_rate_is_even() {
    let server = Server::start(|_| (Duration::ZERO, 200));
    let report = json(&http(&server, &["--rate", "500", "--duration", "2s", "--signal", "logs"]));
    assert_eq!(number(&report, "/sent"), 1000.0);
    assert_eq!(number(&report, "/batch"), 50.0);
}

/// 40 ms for each request, but one in the middle that takes a second: of the requests that were due every 100 ms on that
/// connection, ten or so waited behind it. Expected is computed from the server's own times.
#[test]
fn a_stall_counts_for_all_that_had_to_wait_behind_it() {
    let server = Server::start(|number| (Duration::from_millis(if number == 20 { 1000 } else { 40 }), 200));
    let arguments = ["--rate", "10", "--duration", "5s", "--connections", "1"];
    let report = json(&http(&server, &arguments));
    let requests = server.requests();
    assert_eq!(requests.len(), 50);
    // An ideal sender: each request leaves when it is due or when the one before is answered.
    let (mut free, mut latencies) = (0.0_f64, Vec::new());
    for (number, (_, took, _)) in requests.iter().enumerate() {
        let due = number as f64 * 100.0;
        free = free.max(due) + took.as_secs_f64() * 1000.0;
        latencies.push(free - due);
    }
    latencies.sort_by(f64::total_cmp);
    for (pointer, rank) in [("/latency_ms/p50", 25), ("/latency_ms/p90", 45), ("/latency_ms/p99", 50)] {
        let (got, expected) = (number(&report, pointer), latencies[rank - 1]);
        // 2 %, and 40 ms for a machine that does other things too.
        assert!((got - expected).abs() <= expected * 0.02 + 40.0, "{pointer}: {got}, expected {expected}");
    }
    assert!(number(&report, "/latency_ms/p90") > 500.0, "waiting counts: {report}");
    assert!(number(&report, "/service_ms/p90") < 300.0, "service does not: {report}");
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

#[test]
fn stages_send_the_area_under_their_lines() {
    let server = Server::start(|_| (Duration::ZERO, 200));
    let report = json(&http(&server, &["--stages", "2s:100,1s:100", "--batch", "1"]));
    assert_eq!(number(&report, "/sent"), 200.0);
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
    assert!((500.0..=1050.0).contains(&found), "{found}");
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
