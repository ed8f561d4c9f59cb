use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;

use super::listen::{BoundAddress, Transport};
use super::{Exchange, Handler, Listening, ServeSettings, router_handler};

const SOON: Duration = Duration::from_secs(60);

fn says(text: &'static str) -> Handler {
    router_handler(Router::new().route("/", get(move || async move { text })))
}

async fn listen(handler: Handler, settings: &ServeSettings) -> (Listening, SocketAddr) {
    let mut listening = Listening::bind("127.0.0.1:0", handler, settings).await.expect("a free port");
    listening.start();
    let BoundAddress::Tcp(address) = *listening.address() else { panic!("a TCP address") };
    (listening, address)
}

async fn ask(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("the server reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"new") && !answer.ends_with(b"old") {
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece).await.expect("the server answers");
        assert!(count > 0, "ended after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..count]);
    }
    String::from_utf8(answer).expect("an answer is text")
}

#[tokio::test]
async fn connections_without_a_request_do_not_delay_a_stop() {
    let (listening, address) = listen(says("old"), &ServeSettings::default()).await;
    let _silent = TcpStream::connect(address).await.expect("it listens");
    let mut asked = TcpStream::connect(address).await.expect("it listens");
    ask(&mut asked).await;
    let mut half = TcpStream::connect(address).await.expect("it listens");
    half.write_all(b"GET / HTTP/1.1\r\nho").await.expect("the server reads");
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    http2.get(format!("http://{address}/")).send().await.expect("an answer");
    let begun = Instant::now();
    listening.stop(SOON).await.expect("ends in time");
    assert!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
    assert_eq!(asked.read(&mut [0; 16]).await.expect("closed in order"), 0);
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_end() {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, waits) = (Arc::clone(&entered), Arc::clone(&go_on));
    let slow = move || {
        let (told, waits) = (Arc::clone(&told), Arc::clone(&waits));
        async move {
            told.notify_one();
            waits.notified().await;
            "old"
        }
    };
    let handler = router_handler(Router::new().route("/", get(slow)));
    let (listening, address) = listen(handler, &ServeSettings::default()).await;
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let mut half = TcpStream::connect(address).await.expect("it listens");
    half.write_all(b"GET / HTTP/1.1\r\nho").await.expect("the server reads");
    let ending = async {
        entered.notified().await;
        let later = async {
            // One without a whole request is kept for as long as any without one.
            let _closed_or_reset = half.read_to_end(&mut Vec::new()).await;
            go_on.notify_one();
        };
        tokio::join!(listening.stop(SOON), later).0.expect("ends in time");
    };
    let (answer, ()) = tokio::join!(ask(&mut stream), ending);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off_and_a_pause_between_requests_is_not() {
    let limit = Duration::from_millis(300);
    let settings = ServeSettings { header_read_timeout: Some(limit), ..ServeSettings::default() };
    let (listening, address) = listen(says("old"), &settings).await;
    let mut kept = TcpStream::connect(address).await.expect("it listens");
    ask(&mut kept).await;
    for start in [&b""[..], b"GET / HTTP/1.1\r\n", b"PRI * HT"] {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(start).await.expect("the server reads");
        let mut rest = Vec::new();
        let read = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await;
        // Closed or reset, but not held.
        let _ = read.unwrap_or_else(|_| panic!("{start:?} holds its connection"));
    }
    assert!(ask(&mut kept).await.starts_with("HTTP/1.1 200 OK"), "older than the limit by now");
    listening.stop(SOON).await.expect("ends in time");
}

#[tokio::test]
async fn targets_as_people_type_them_are_taken_on_a_connection_that_is_kept() {
    let shows = |request: axum::extract::Request| async move {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let body = axum::body::to_bytes(request.into_body(), 100).await.expect("a body");
        format!("{query} and {} bytes;", body.len())
    };
    let handler = router_handler(Router::new().route("/q", axum::routing::any(shows)));
    let (_listening, address) = listen(handler, &ServeSettings::default()).await;
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let mut ask = async |request: &str| {
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        let mut answer = Vec::new();
        while !answer.ends_with(b";") {
            let mut piece = [0; 1024];
            let count = stream.read(&mut piece).await.expect("the server answers");
            assert!(count > 0, "ended after {:?}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&piece[..count]);
        }
        let text = String::from_utf8(answer).expect("text");
        text.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
    };
    for _ in 0..3 {
        let get = "GET /q?query=up{job=\"x\"}#y HTTP/1.1\r\nhost: x\r\n\r\n";
        assert_eq!(ask(get).await, "query=up%7Bjob=%22x%22%7D%23y and 0 bytes;");
    }
    let body = "{\"a\": \"b\"}\r\n\r\n";
    let head = format!("POST /q?a HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    // The body comes on its own and looks as the end of a head does.
    assert_eq!(ask(&format!("{head}{body}")).await, format!("a and {} bytes;", body.len()));
    assert_eq!(ask("GET /q?\"a\" HTTP/1.1\r\nhost: x\r\n\r\n").await, "%22a%22 and 0 bytes;");
}

/// All that the server says to `request` until it closes the connection.
async fn last_answer(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut answer = String::new();
    let read = tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await;
    read.unwrap_or_else(|_| panic!("{request:?} is not the last one of its connection: {answer}"))
        .expect("closed in order");
    answer
}

#[tokio::test]
async fn a_request_without_exactly_one_host_is_refused() {
    let (listening, address) = listen(says("old"), &ServeSettings::default()).await;
    for (request, want) in [
        ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request: missing required Host header"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", "400 Bad Request: too many Host headers"),
        ("GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n", "400 Bad Request: too many Host headers"),
        ("GET / HTTP/1.0\r\n\r\n", "old"),
        ("GET / HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n", "old"),
    ] {
        let answer = last_answer(address, request).await;
        assert!(answer.ends_with(&format!("\r\n\r\n{want}")), "{request:?}: {answer}");
        let status = if want == "old" { " 200 OK" } else { " 400 Bad Request" };
        assert!(answer.lines().next().is_some_and(|line| line.ends_with(status)), "{request:?}: {answer}");
    }
    listening.stop(SOON).await.expect("ends in time");
}

#[tokio::test]
async fn an_answer_after_which_the_connection_ends_says_so() {
    let (listening, address) = listen(says("old"), &ServeSettings::default()).await;
    let request = "POST /no/such HTTP/1.1\r\nhost: x\r\ncontent-length: 400\r\n\r\nthe first piece";
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let count = stream.read_buf(&mut answer).await.expect("the server answers");
        assert!(count > 0, "ended after {:?}", String::from_utf8_lossy(&answer));
    }
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    // One that was read is followed by others.
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    assert!(!ask(&mut stream).await.contains("connection: close"));
    assert!(!ask(&mut stream).await.contains("connection: close"));
    listening.stop(SOON).await.expect("ends in time");
}

#[tokio::test]
async fn an_idle_connection_is_ended() {
    let settings =
        ServeSettings { idle_timeout: Some(Duration::from_millis(200)), ..ServeSettings::default() };
    let (listening, address) = listen(says("old"), &settings).await;
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    ask(&mut stream).await;
    let read = tokio::time::timeout(SOON, stream.read(&mut [0; 16])).await.expect("is ended");
    assert_eq!(read.expect("in order"), 0);
    listening.stop(SOON).await.expect("ends in time");
}

#[tokio::test]
async fn a_connection_survives_an_exchange_of_handlers() {
    let (listening, address) = listen(says("old"), &ServeSettings::default()).await;
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    assert!(ask(&mut stream).await.ends_with("old"));
    let exchange = Exchange::prepare(says("new"), &ServeSettings::default()).expect("nothing to read");
    listening.exchange(exchange);
    assert!(ask(&mut stream).await.ends_with("new"));
    listening.stop(SOON).await.expect("ends in time");
}

#[tokio::test]
async fn a_unix_socket_serves_and_only_a_dead_one_is_replaced() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("in.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket that is left behind"));
    let endpoint = path.to_str().expect("a path in ASCII");
    let settings = ServeSettings { transport: Transport::Unix, ..ServeSettings::default() };
    let mut listening =
        Listening::bind(endpoint, says("old"), &settings).await.expect("replaces a dead socket");
    listening.start();
    let mut stream = UnixStream::connect(&path).await.expect("it listens");
    assert!(ask(&mut stream).await.ends_with("old"));
    let second = Listening::bind(&format!("unix:{endpoint}"), says("new"), &ServeSettings::default()).await;
    let error = second.err().expect("somebody listens there").to_string();
    assert!(error.contains("address already in use"), "{error}");
    listening.stop(SOON).await.expect("ends in time");
    drop(listening);
    assert!(!path.exists(), "the socket goes with its listener");
}

/// An authority and certificates of it.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Certificate and key, PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        (params.signed_by(&key, &self.0).expect("a certificate").pem(), key.serialize_pem())
    }

    fn trusting(&self) -> reqwest::ClientBuilder {
        let root = reqwest::Certificate::from_pem(self.0.pem().as_bytes()).expect("a certificate");
        reqwest::Client::builder().tls_certs_only([root])
    }
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::File::create(&path).and_then(|mut file| file.write_all(text.as_bytes())).expect("writable");
    path.to_str().expect("a path in ASCII").to_owned()
}

fn tls(config: serde_json::Value) -> ServeSettings {
    crate::install_crypto_provider();
    let tls = serde_json::from_value(config).expect("a good config");
    ServeSettings { tls: Some(tls), ..ServeSettings::default() }
}

#[tokio::test]
async fn certificates_that_change_on_disk_are_used_and_broken_ones_are_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [first, second] = ["first", "second"].map(Authority::new);
    let (cert, key) = first.issue("localhost");
    let (cert_file, key_file) = (write(folder.path(), "c.pem", &cert), write(folder.path(), "k.pem", &key));
    let settings = tls(
        json!({"cert_file": cert_file, "key_file": key_file, "reload_interval": "0s", "min_version": 1.3}),
    );
    let (listening, address) = listen(says("old"), &settings).await;
    let url = format!("https://localhost:{}/", address.port());
    let ask = async |authority: &Authority| {
        let client = authority.trusting().resolve("localhost", address).build().expect("a client");
        client.get(&url).send().await.map(|answer| answer.status().as_u16()).map_err(|_| ())
    };
    assert_eq!((ask(&first).await, ask(&second).await), (Ok(200), Err(())));
    write(folder.path(), "c.pem", "not a certificate");
    assert_eq!(ask(&first).await, Ok(200), "the old one goes on");
    let (cert, key) = second.issue("localhost");
    write(folder.path(), "c.pem", &cert);
    write(folder.path(), "k.pem", &key);
    assert_eq!((ask(&first).await, ask(&second).await), (Err(()), Ok(200)));
    listening.stop(SOON).await.expect("ends in time");
}

#[tokio::test]
async fn a_client_must_show_a_certificate_of_the_authority_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [servers, clients, others] = ["servers", "clients", "others"].map(Authority::new);
    let (cert_pem, key_pem) = servers.issue("localhost");
    let client_ca_file = write(folder.path(), "clients.pem", &clients.0.pem());
    let settings = tls(json!({"cert_pem": cert_pem, "key_pem": key_pem, "client_ca_file": client_ca_file}));
    let (listening, address) = listen(says("old"), &settings).await;
    let ask = async |identity: Option<(String, String)>| {
        let mut client = servers.trusting().resolve("localhost", address);
        if let Some((cert, key)) = identity {
            let both = reqwest::Identity::from_pem(format!("{cert}\n{key}").as_bytes()).expect("PEM");
            client = client.identity(both);
        }
        let url = format!("https://localhost:{}/", address.port());
        client.build().expect("a client").get(url).send().await.is_ok()
    };
    assert!(ask(Some(clients.issue("app"))).await);
    assert!(!ask(Some(others.issue("app"))).await, "of another authority");
    assert!(!ask(None).await, "without one");
    listening.stop(SOON).await.expect("ends in time");
}

#[tokio::test]
async fn plain_http_on_a_port_with_tls_is_told_so() {
    let authority = Authority::new("servers");
    let (cert_pem, key_pem) = authority.issue("localhost");
    let (listening, address) =
        listen(says("old"), &tls(json!({"cert_pem": cert_pem, "key_pem": key_pem}))).await;
    assert_eq!(
        last_answer(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await,
        "HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
    );
    let client = authority.trusting().resolve("localhost", address).build().expect("a client");
    let answer = client.get(format!("https://localhost:{}/", address.port())).send().await;
    assert_eq!(answer.expect("TLS goes on").status(), 200);
    listening.stop(SOON).await.expect("ends in time");
}

#[test]
fn tls_configs_are_checked_with_their_path() {
    let good = json!({"cert_file": "c", "key_file": "k"});
    let with = |key: &str, value: serde_json::Value| {
        let mut config = good.clone();
        config[key] = value;
        config
    };
    for (config, want) in [
        (json!({"cert_file": "c"}), "tls::cert_file: a server must have both certificate and key"),
        (
            with("cert_pem", json!("c")),
            "tls::cert_file: provide either a certificate or the PEM-encoded string, but not both",
        ),
        (with("max_version", json!("1.2")), ""),
        (with("cipher_suites", json!(["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"])), ""),
        (with("curve_preferences", json!(["P256", "X25519"])), ""),
        (
            with("curve_preferences", json!(["P521"])),
            "tls::curve_preferences: invalid curve \"P521\", have X25519, P256, P384, X25519MLKEM768",
        ),
    ] {
        let config: super::tls::TlsServerConfig = serde_json::from_value(config).expect("known keys");
        let got = config.validate().err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(got, want);
    }
    let mut versions = with("min_version", json!("1.3"));
    versions["max_version"] = json!(1.2);
    let config: super::tls::TlsServerConfig = serde_json::from_value(versions).expect("known keys");
    assert!(config.validate().is_err());
    for (version, want) in [
        ("1.1", "TLS 1.1 is not safe, have 1.2 and 1.3"),
        ("2", "unsupported TLS version: \"2\", have 1.2 and 1.3"),
    ] {
        let config =
            serde_json::from_value::<super::tls::TlsServerConfig>(with("min_version", json!(version)));
        assert_eq!(config.expect_err("refused").to_string(), want);
    }
}

#[test]
fn a_blocking_client_sees_the_end_of_its_connection() {
    // The runtime is not the client's: what a client of another process sees.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("starts");
    let (listening, address) = runtime.block_on(listen(says("old"), &ServeSettings::default()));
    let mut client = std::net::TcpStream::connect(address).expect("it listens");
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("the server reads");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("closed in order");
    assert!(answer.ends_with("old"), "{answer}");
    runtime.block_on(listening.stop(SOON)).expect("ends in time");
}

/// A request on a connection of its own, to a handler that answers at once.
async fn post(address: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\n{head}\r\n");
    stream.write_all(head.as_bytes()).await.expect("the server reads");
    stream
}

#[tokio::test]
async fn an_answer_that_nobody_reads_over_http2_is_given_up_and_its_connection_goes_on() {
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    let large = move || {
        let inside = Arc::clone(&inside);
        async move {
            let pieces = futures_util::stream::repeat_with(move || {
                let _inside = &inside;
                Ok::<_, std::io::Error>(vec![b'x'; 1 << 10])
            });
            axum::body::Body::from_stream(pieces)
        }
    };
    let routes = Router::new().route("/large", get(large)).route("/", get(|| async { "old" }));
    let settings = ServeSettings { unread_time_max: Duration::from_millis(300), ..ServeSettings::default() };
    let (listening, address) = listen(router_handler(routes), &settings).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().http2_initial_stream_window_size(1);
    let client = client.build().expect("a client");
    let unread = client.get(format!("http://{address}/large")).send().await.expect("an answer begins");
    let given_up = async {
        while Arc::strong_count(&held) > 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(Arc::strong_count(&held), 3, "the answer holds its own");
    tokio::time::timeout(SOON, given_up).await.expect("what the answer held is let go");
    let other = client.get(format!("http://{address}/")).send().await.expect("the connection is there");
    assert_eq!(other.text().await.expect("an answer"), "old");
    drop(unread);
    listening.stop(SOON).await.expect("ends in time");
}

#[tokio::test]
async fn a_client_that_is_silent_within_a_request_does_not_hold_up_a_stop() {
    let take = |body: axum::body::Bytes| async move { format!("{} bytes", body.len()) };
    let handler = router_handler(Router::new().route("/", axum::routing::post(take)));
    let (listening, address) = listen(handler, &ServeSettings::default()).await;
    let mut stream = post(address, "content-length: 10\r\n").await;
    stream.write_all(b"ab").await.expect("the server reads");
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    http2.get(format!("http://{address}/")).send().await.expect("it listens");
    let begun = Instant::now();
    listening.stop(SOON).await.expect("ends without that client");
    assert!(begun.elapsed() < SOON / 2, "took {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_client_that_sends_on_after_it_was_refused_reads_the_answer() {
    const BODY_BYTES: usize = 48 << 20;
    let refuse = || async { (http::StatusCode::PAYLOAD_TOO_LARGE, "too much") };
    let handler = router_handler(Router::new().route("/", axum::routing::post(refuse)));
    let (listening, address) = listen(handler, &ServeSettings::default()).await;
    let mut stream = post(address, &format!("content-length: {BODY_BYTES}\r\n")).await;
    let piece = vec![0; 1 << 20];
    for _ in 0..BODY_BYTES >> 20 {
        stream.write_all(&piece).await.expect("the server takes everything");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer and an end in order");
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("too much"), "{answer}");
    listening.stop(SOON).await.expect("ends in time");
}

#[tokio::test]
async fn grpc_on_an_http_port_is_told_so_in_its_own_words() {
    let (listening, address) = listen(says("old"), &ServeSettings::default()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let call =
        client.post(format!("http://{address}/opentelemetry.proto.collector.logs.v1.LogsService/Export"));
    let answer = call.header("content-type", "application/grpc").body(vec![0; 5]).send().await;
    let answer = answer.expect("an answer");
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["grpc-status"]),
        (200, &http::HeaderValue::from(12))
    );
    let message = answer.headers()["grpc-message"].to_str().expect("a text");
    assert!(message.starts_with("this is an HTTP port"), "{message}");
    listening.stop(SOON).await.expect("ends in time");
}
