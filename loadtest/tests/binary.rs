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

/// A wait, a status and a body for a request, by its number and first line.
type AnswerOf = dyn Fn(usize, &str) -> (Duration, u16, Vec<u8>) + Send + Sync;

impl Server {
    fn start(answer: impl Fn(usize) -> (Duration, u16) + Send + Sync + 'static) -> Self {
        let success = br#"{"status":"success","data":{}}"#;
        Self::start_with(move |number, first| {
            let (wait, status) = answer(number);
            (wait, status, if first.starts_with("GET") { success.to_vec() } else { Vec::new() })
        })
    }

    fn start_with(answer: impl Fn(usize, &str) -> (Duration, u16, Vec<u8>) + Send + Sync + 'static) -> Self {
        Self::over("http", answer, Some)
    }

    /// A store that takes what it is sent with this answer and has nothing of it when it is asked.
    fn forgetful(answer: &'static [u8]) -> Self {
        let nothing = br#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        Self::start_with(move |_, first| {
            (Duration::ZERO, 200, if first.starts_with("GET") { nothing.to_vec() } else { answer.to_vec() })
        })
    }

    /// Behind TLS with a certificate of its own, which is written to `ca`; each handshake begins after a wait.
    fn start_tls(ca: &Path, wait: Duration) -> Self {
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
            |_, _| (Duration::ZERO, 200, Vec::new()),
            move |stream| {
                pause(wait);
                let session = rustls::ServerConnection::new(Arc::clone(&config)).ok()?;
                Some(rustls::StreamOwned::new(session, stream))
            },
        )
    }

    fn over<S: Read + Write>(
        scheme: &str,
        answer: impl Fn(usize, &str) -> (Duration, u16, Vec<u8>) + Send + Sync + 'static,
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
        let (wait, status, body) = answer(number, &first);
        seen.lock().expect("not poisoned").push((came, came, first.clone()));
        pause(wait);
        let mut text = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
        text.extend(body);
        if reader.get_mut().write_all(&text).is_err() {
            return;
        }
        seen.lock().expect("not poisoned")[number].1 = Instant::now();
    }
}

/// How long a slow server takes; nothing waits for it but the client under test.
fn pause(wait: Duration) {
    let (_open, never) = sync_channel::<()>(1);
    let _elapsed = never.recv_timeout(wait);
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

/// Items that were due: what a busy machine did not get to is counted too.
fn due(report: &Value) -> f64 {
    number(report, "/sent") + number(report, "/unsent")
}

fn http(server: &Server, more: &[&str]) -> Output {
    let mut arguments =
        vec!["otlp", "--transport", "http", "--endpoint", &server.url, "--output", "json", "-q"];
    arguments.extend(more);
    run(&arguments)
}

#[test]
fn a_low_rate_is_kept_to_the_item_and_lasts_as_long_as_asked_for() {
    let server = Server::start(|_| (Duration::ZERO, 200));
    let began = Instant::now();
    let output = http(&server, &["--rate", "10", "--duration", "3s"]);
    assert!(began.elapsed().as_secs_f64() > 2.5, "{:?}", began.elapsed());
    let report = json(&output);
    assert_eq!(code(&output), 0, "{report}");
    assert_eq!(due(&report), 30.0, "{report}");
    assert_eq!(number(&report, "/sent"), number(&report, "/acked"));
    assert_eq!(server.requests().len() as f64, number(&report, "/requests"));
    assert!(output.stderr.is_empty(), "-q says nothing: {output:?}");
}

#[test]
fn batches_shrink_so_that_a_middle_rate_is_even() {
    let server = Server::start(|_| (Duration::ZERO, 200));
    let report = json(&http(&server, &["--rate", "500", "--duration", "2s", "--signal", "logs"]));
    assert_eq!(due(&report), 1000.0);
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
    let server = Server::start_tls(&ca, Duration::ZERO);
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
    assert_eq!(due(&report), 200.0);
    assert!(number(&report, "/unsent") > 50.0, "{report}");
    assert_eq!(report["generator"]["is_limit"], false);
    let warning = report["generator"]["warning"].as_str().unwrap_or_default();
    assert!(warning.contains("the target did not keep up"), "{warning}");
}

/// After half a second nothing is answered any more until the run is over: what waits behind that counts, or else nine in
/// ten would have been quick.
#[test]
fn what_a_stall_to_the_end_leaves_unsent_has_waited_too() {
    let server = Server::start(|number| (Duration::from_secs(if number < 50 { 0 } else { 3 }), 200));
    let arguments = ["--rate", "100", "--batch", "1", "--duration", "2s", "--connections", "1"];
    let output = http(&server, &[&arguments[..], &["--threshold", "p(90)<200ms"]].concat());
    let report = json(&output);
    assert_eq!(code(&output), 99, "{report}");
    assert_eq!(due(&report), 200.0);
    assert!(number(&report, "/latency_ms/p90") > 1000.0, "{report}");
    let server = Server::start(|number| (Duration::from_secs(if number < 50 { 0 } else { 9 }), 200));
    let output = http(&server, &[&arguments[..], &["--timeout", "1s"]].concat());
    assert!(
        number(&json(&output), "/service_ms/max") >= 999.0,
        "so long it waited for an answer: {output:?}"
    );
}

#[test]
fn connecting_is_not_in_the_time_of_a_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    let server = Server::start_tls(&ca, Duration::from_secs(2));
    let trust = ["--ca", ca.to_str().expect("text")];
    let report = json(&http(&server, &[&trust[..], &["--rate", "20", "--duration", "500ms"]].concat()));
    assert!(number(&report, "/acked") > 0.0, "{report}");
    assert!(number(&report, "/service_ms/max") < 2000.0, "{report}");
}

#[test]
fn stages_send_the_area_under_their_lines() {
    let server = Server::start(|_| (Duration::ZERO, 200));
    let report = json(&http(&server, &["--stages", "2s:100,1s:100", "--batch", "1"]));
    assert_eq!(due(&report), 200.0);
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
    assert_eq!(with(&bad, &["--threshold", "errors<0.5"]), 1, "which says more than a threshold");
    assert_eq!(with(&good, &["--threshold", "errors>0.5"]), 99);
    assert_eq!(with(&good, &["--threshold", "speed>9"]), 2, "an unknown threshold");
    assert_eq!(with(&good, &["--signal", "traces", "--verify"]), 2, "no API shows traces");
}

/// One item of each request is refused, and none of the others is stored.
#[test]
fn a_request_taken_in_part_is_verified_too() {
    // ExportMetricsPartialSuccess with rejected_data_points 1.
    let server = Server::forgetful(b"\x0a\x02\x08\x01");
    let verify = ["--verify", "--prometheus", &server.url, "--grace", "0s", "--threshold", "p(99)<1us"];
    let arguments = ["--rate", "1000", "--batch", "100", "--series", "100", "--duration", "500ms"];
    let output = http(&server, &[&arguments[..], &verify[..]].concat());
    let report = json(&output);
    let requests = number(&report, "/requests");
    assert_eq!(code(&output), 1, "lost data says more than a missed threshold: {report}");
    assert_eq!(number(&report, "/rejected"), requests, "{report}");
    assert_eq!(number(&report, "/verify/lost"), number(&report, "/acked"), "{report}");
    assert_eq!(number(&report, "/verify/checked"), number(&report, "/acked"), "{report}");
}

#[test]
fn what_cannot_be_read_back_is_said_in_the_result() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path of text").to_owned();
    let server = Server::start(|_| (Duration::ZERO, 200));
    let api = "http://127.0.0.1:1";
    let (file, junit) = (path("result.json"), path("junit.xml"));
    let verify = ["--verify", "--prometheus", api, "--grace", "100ms", "--json", &file, "--junit", &junit];
    let output = http(&server, &[&["--rate", "100", "--duration", "500ms"], &verify[..]].concat());
    let report = json(&output);
    assert_eq!(code(&output), 2, "{report}");
    assert!(number(&report, "/acked") > 0.0 && report["not_verified"].to_string().contains(api), "{report}");
    let read = |path: &str| std::fs::read_to_string(path).expect("written");
    assert_eq!(serde_json::from_str::<Value>(&read(&file)).expect("JSON")["acked"], report["acked"]);
    assert!(read(&junit).contains("failures=\"1\""), "{}", read(&junit));
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
    assert_eq!(due(&result), 50.0);
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
    assert!(
        !requests.is_empty()
            && requests
                .iter()
                .all(|(_, _, target)| target.starts_with("GET /api/v1/query_range?query=up&start="))
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
        .map(|load| (load["name"].as_str().expect("a name").to_owned(), due(load)))
        .collect();
    assert_eq!(sent, [("ask".to_owned(), 5.0), ("push".to_owned(), 10.0), ("write".to_owned(), 30.0)]);
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
    assert_eq!(code(&run(&arguments)), 1, "nothing is acknowledged");
    let mut slow = arguments.to_vec();
    *slow.last_mut().expect("the address") = &server.url;
    slow.extend(["--threshold", "p(99)<1us"]);
    assert_eq!(code(&run(&slow)), 99, "no rate passes");
}

/// As a newcomer would: the line of `--help`, with the address of an own endpoint.
#[test]
fn help_has_the_one_command_that_finds_an_endpoint_s_maximum() {
    let help = String::from_utf8_lossy(&run(&["--help"]).stdout).into_owned();
    let line = help.lines().find(|line| line.contains("find-max remote-write")).expect("an example");
    let server = Server::start(|_| (Duration::from_millis(20), 200));
    let words = line.split_whitespace().skip(1);
    let words = words.map(|word| if word.starts_with("http://") { &server.url } else { word });
    // Quicker than a newcomer's, and over as many connections as this server takes.
    let mut arguments: Vec<_> = words.chain(["--connections", "2"]).collect();
    arguments.splice(1..1, ["--probe", "300ms", "--precision", "50"]);
    let output = run(&arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(
        text.lines().last().is_some_and(|last| last.starts_with("maximum ") || last.starts_with("warning ")),
        "{text}"
    );
    assert!(text.contains(" items/s over 2 connections"), "{text}");
}

/// 20 ms a request of ten items: over four connections no more than 2000 items a second would be found. More connections
/// than streams bring nothing.
#[test]
fn find_max_takes_as_many_connections_as_bring_more() {
    let server = Server::start(|_| (Duration::from_millis(20), 200));
    let search = ["find-max", "--probe", "500ms", "--precision", "50", "--output", "json", "-q"];
    let load = ["otlp", "--transport", "http", "--endpoint", &server.url, "--batch", "10"];
    let streams = ["--signal", "logs", "--streams", "16"];
    let output = run(&[&search[..], &load[..], &streams[..]].concat());
    let report = json(&output);
    let connections = number(&report, "/search/connections");
    assert!(connections > 4.0 && connections <= 16.0, "{report}");
    let closed =
        report["search"]["probes"].as_array().expect("probes").iter().filter(|probe| probe["rate"].is_null());
    assert!(closed.count() > 1, "{report}");
}

#[test]
fn find_max_fails_where_data_is_lost_whatever_the_rate() {
    let server = Server::forgetful(b"");
    let search = ["find-max", "--probe", "300ms", "--precision", "50", "--output", "json", "-q"];
    let load =
        ["otlp", "--transport", "http", "--endpoint", &server.url, "--series", "100", "--connections", "1"];
    let folder = tempfile::tempdir().expect("a folder");
    let junit = folder.path().join("junit.xml");
    let file = junit.to_str().expect("text");
    let verify = ["--verify", "--prometheus", &server.url, "--grace", "0s", "--junit", file];
    let output = run(&[&search[..], &load[..], &verify[..]].concat());
    let report = json(&output);
    assert_eq!(code(&output), 1, "{report}");
    assert_eq!(report["search"]["found_per_second"], Value::Null, "{report}");
    assert!(report["search"]["fault"].to_string().contains("lost"), "{report}");
    let junit = std::fs::read_to_string(&junit).expect("written");
    assert!(junit.contains("name=\"what any probe sent is there once and right\"><failure"), "{junit}");
    let runs: std::collections::HashSet<_> = server
        .requests()
        .iter()
        .filter_map(|(_, _, target)| {
            Some(target.split("run_id").nth(1)?.chars().take(40).collect::<String>())
        })
        .collect();
    let probes = report["search"]["probes"].as_array().expect("probes").len();
    assert_eq!(runs.len(), probes, "each probe has data of its own: {runs:?}");
}

/// A gRPC server whose refusals say more than can be read.
#[test]
fn a_broken_refusal_is_counted_and_no_end_of_the_run() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    listener.set_nonblocking(true).expect("a socket");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(tokio::task::LocalSet::new().run_until(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            while let Ok((stream, _)) = listener.accept().await {
                let service = hyper::service::service_fn(|_| async {
                    http::Response::builder()
                        .header("content-type", "application/grpc")
                        .header("grpc-status", "14")
                        .header("grpc-message", "queue%20is full")
                        .header("grpc-status-details-bin", "not base64!")
                        .body(http_body_util::Empty::<bytes::Bytes>::new())
                });
                let connection =
                    hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
                let stream = hyper_util::rt::TokioIo::new(stream);
                tokio::task::spawn_local(connection.serve_connection(stream, service));
            }
        }));
    });
    let short = ["--rate", "100", "--duration", "500ms", "--output", "json", "-q"];
    let output = run(&[&["otlp", "--endpoint", &url], &short[..]].concat());
    let report = json(&output);
    assert_eq!(code(&output), 1, "nothing was acknowledged: {report}");
    assert_eq!(number(&report, "/refused_requests"), number(&report, "/requests"), "{report}");
    assert_eq!(report["example_failure"], "Unavailable: queue is full", "{report}");
    assert_eq!(number(&report, "/failed_connections"), 0.0);
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
    for (name, text) in [
        (
            "null.json",
            r#"{"name":"otlp","acked_per_second":1000,"errors":0,"latency_ms":{"p99":null},"verify":{"lost":0}}"#,
        ),
        ("unproven.json", r#"{"name":"otlp","acked_per_second":1000,"errors":0,"latency_ms":{"p99":100}}"#),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        let less = compare(&old, &path);
        assert_eq!(code(&less), 99, "what is not known any more is worse: {less:?}");
        assert!(String::from_utf8_lossy(&less.stdout).contains("missing           worse"), "{less:?}");
        assert_eq!(code(&compare(&path, &old)), 0, "what is known now is not");
    }
}
