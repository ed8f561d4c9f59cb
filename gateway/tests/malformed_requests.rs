//! Bad input at every door: each request gets its documented status and text, and the next good request works.

mod rig;

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use reqwest::{Client, Method};
use rig::Rig;
use serde_json::json;

struct Case {
    name: String,
    server: &'static str,
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    status: u16,
    /// Part of the body, or of the gRPC message.
    text: &'static str,
}

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn otlp(name: &str, content_type: &str, body: impl Into<Vec<u8>>, status: u16, text: &'static str) -> Case {
    Case {
        name: name.to_owned(),
        server: "OTLP HTTP",
        method: Method::POST,
        path: "/v1/logs".to_owned(),
        headers: vec![("content-type", content_type.to_owned())],
        body: body.into(),
        status,
        text,
    }
}

impl Case {
    fn to(mut self, path: &str) -> Self {
        self.path = path.to_owned();
        self
    }

    fn by(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    fn on(mut self, server: &'static str) -> Self {
        self.server = server;
        self
    }

    fn with(mut self, header: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((header, value.into()));
        self
    }
}

fn get(server: &'static str, path: &str, status: u16, text: &'static str) -> Case {
    Case { headers: Vec::new(), ..otlp(path, "", "", status, text).on(server).by(Method::GET).to(path) }
}

fn log_request(record: LogRecord) -> Vec<u8> {
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

fn text_value(text: &str) -> AnyValue {
    AnyValue { value: Some(Any::StringValue(text.to_owned())) }
}

fn good_logs() -> Vec<u8> {
    log_request(LogRecord { body: Some(text_value("a line")), ..LogRecord::default() })
}

fn nested(depth: usize) -> Vec<u8> {
    let value = (0..depth).fold(text_value("deep"), |inner, _| AnyValue {
        value: Some(Any::ArrayValue(ArrayValue { values: vec![inner] })),
    });
    log_request(LogRecord { body: Some(value), ..LogRecord::default() })
}

fn invalid_utf8() -> Vec<u8> {
    let mut bytes = log_request(LogRecord { body: Some(text_value("MARK")), ..LogRecord::default() });
    let at = bytes.windows(4).position(|window| window == b"MARK").expect("the text is in the request");
    bytes[at] = 0xff;
    bytes
}

fn encode(encoding: &str, body: &[u8]) -> Vec<u8> {
    wire::compression::encode(encoding, None, body).expect("a known encoding")
}

const ENCODINGS: [&str; 7] = ["gzip", "zstd", "zlib", "deflate", "snappy", "x-snappy-framed", "lz4"];

fn http_cases() -> Vec<Case> {
    let not_post = "405 method not allowed, supported: [POST]";
    let not_supported = "415 unsupported media type, supported: [application/json, application/x-protobuf]";
    let mut cases = vec![
        otlp("GET", PROTOBUF, "", 405, not_post).by(Method::GET),
        otlp("PUT", PROTOBUF, good_logs(), 405, not_post).by(Method::PUT),
        otlp("DELETE", JSON, "", 405, not_post).by(Method::DELETE),
        otlp("a content type without slash", "invalid", "{}", 415, not_supported),
        otlp("text", "text/plain", "{}", 415, not_supported),
        otlp("a longer content type", "application/x-protobufs", "", 415, not_supported),
        otlp("gRPC on the HTTP port", "application/grpc", "", 415, not_supported),
        otlp("an unknown path", JSON, "{}", 404, "404 page not found").to("/v2/logs"),
        otlp("an unknown encoding", JSON, "{}", 400, "unsupported Content-Encoding: br")
            .with("content-encoding", "br"),
        otlp("two encodings", JSON, "{}", 400, "unsupported Content-Encoding: gzip, gzip")
            .with("content-encoding", "gzip, gzip"),
        otlp(
            "a body over the limit",
            PROTOBUF,
            vec![0; (20 << 20) + 1],
            413,
            "request body too large, at most 20971520 bytes are allowed",
        ),
        otlp("a bad tenant", JSON, "{}", 400, "tenant id \\\"a/b\\\" contains '/'")
            .with("x-scope-orgid", "a/b"),
        otlp("a long tenant", JSON, "{}", 400, "tenant id has 151 bytes, at most 150 are allowed")
            .with("thanos-tenant", "a".repeat(151)),
        otlp("a tenant of dots", JSON, "{}", 400, "is not allowed").with("x-scope-orgid", ".."),
        otlp("an empty protobuf", PROTOBUF, "", 200, ""),
        otlp("an empty object", JSON, "{}", 200, "{}"),
        otlp("no list", JSON, r#"{"resourceLogs":null}"#, 200, "{}"),
        otlp("an empty JSON body", JSON, "", 400, "\"code\":3"),
        otlp("an open brace", JSON, "{", 400, "\"code\":3"),
        otlp("a number for a list", JSON, r#"{"resourceLogs":5}"#, 400, "resourceLogs"),
        otlp("a list at the top", JSON, "[]", 400, "\"code\":3"),
        otlp("text behind", JSON, "{} x", 400, "\"code\":3"),
        otlp("deep JSON", JSON, "[".repeat(100_000), 400, "\"code\":3"),
        otlp("deep unknown JSON", JSON, format!("{{\"x\":{}", "[".repeat(100_000)), 400, "\"code\":3"),
        otlp(
            "bad UTF-8 in JSON",
            JSON,
            b"{\"resourceLogs\":[{\"schemaUrl\":\"\xff\"}]}".to_vec(),
            400,
            "utf-8",
        ),
        // Go's decoders, and so every Collector, read it as U+FFFD.
        otlp("a lone surrogate", JSON, r#"{"resourceLogs":[{"schemaUrl":"\ud800"}]}"#, 200, "{}"),
        otlp(
            "a time too large",
            JSON,
            record_json(r#""timeUnixNano":"99999999999999999999999""#),
            400,
            "timeUnixNano",
        ),
        otlp("a negative time", JSON, record_json(r#""timeUnixNano":"-1""#), 400, "timeUnixNano"),
        otlp("an unknown severity", JSON, record_json(r#""severityNumber":"LOUD""#), 400, "severityNumber"),
        otlp("an id that is not hex", JSON, record_json(r#""traceId":"zz""#), 400, "traceId"),
        otlp("base64 that is not", JSON, record_json(r#""body":{"bytesValue":"%%%"}"#), 400, "bytesValue"),
        otlp(
            "a short trace id",
            JSON,
            record_json(r#""traceId":"abcd""#),
            200,
            "\"rejectedLogRecords\":\"1\"",
        ),
        otlp(
            "a long span id",
            JSON,
            record_json(r#""spanId":"00112233445566778899""#),
            200,
            "\"rejectedLogRecords\":\"1\"",
        ),
        otlp(
            "a short id in protobuf",
            PROTOBUF,
            log_request(LogRecord { trace_id: vec![1, 2, 3], ..LogRecord::default() }),
            200,
            "trace_id",
        ),
        otlp("protobuf that ends early", PROTOBUF, good_logs()[..6].to_vec(), 400, ""),
        otlp("a length past the end", PROTOBUF, vec![0x0a, 0x7f, 0x00], 400, ""),
        otlp("a huge length", PROTOBUF, vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], 400, ""),
        otlp("a wrong wire type", PROTOBUF, vec![0x08, 0x01], 400, ""),
        otlp("an endless varint", PROTOBUF, vec![0xff; 12], 400, ""),
        otlp("field number 0", PROTOBUF, vec![0x02, 0x00], 400, ""),
        otlp("deep values", PROTOBUF, nested(1000), 400, ""),
        otlp("bad UTF-8 in protobuf", PROTOBUF, invalid_utf8(), 400, "utf-8"),
        otlp(
            "a line over the limit",
            PROTOBUF,
            log_request(LogRecord { body: Some(text_value(&"x".repeat(300 << 10))), ..LogRecord::default() }),
            200,
            "line",
        ),
        metric(
            "a metric without a name",
            json!({"name": "", "gauge": {"dataPoints": [{"asDouble": 1}]}}),
            "rejectedDataPoints",
        ),
        metric(
            "delta temporality",
            json!({"name": "d", "sum": {"aggregationTemporality": 1, "dataPoints": [{"asInt": "1"}]}}),
            "delta",
        ),
        metric(
            "a huge label",
            json!({"name": "huge", "gauge": {"dataPoints": [{"asDouble": 1, "timeUnixNano": now(), "attributes": [{"key": "k", "value": {"stringValue": "v".repeat(1 << 20)}}]}]}}),
            "rejectedDataPoints",
        ),
        metric(
            "a name of NaN",
            json!({"name": "NaN", "gauge": {"dataPoints": [{"asDouble": "NaN", "timeUnixNano": now()}]}}),
            "{}",
        ),
        metric(
            "a point from the future",
            json!({"name": "f", "gauge": {"dataPoints": [{"asDouble": 1, "timeUnixNano": "4102444800000000000"}]}}),
            "too_far_in_future",
        ),
    ];
    cases.push(Case { headers: Vec::new(), ..otlp("no content type", "", "{}", 415, not_supported) });
    for encoding in ENCODINGS {
        let header = |case: Case| case.with("content-encoding", encoding);
        cases.push(header(otlp(
            &format!("garbage as {encoding}"),
            PROTOBUF,
            b"\x01garbage".to_vec(),
            400,
            "is not valid",
        )));
        let cut = encode(encoding, &good_logs());
        cases.push(header(otlp(
            &format!("{encoding} cut short"),
            PROTOBUF,
            cut[..cut.len() - 5].to_vec(),
            400,
            "",
        )));
        let bomb = encode(encoding, &vec![0; 64 << 20]);
        cases.push(header(otlp(
            &format!("a bomb of {encoding}"),
            PROTOBUF,
            bomb,
            413,
            "larger than the allowed 20971520 bytes",
        )));
    }
    cases
}

fn now() -> String {
    runtime::Clock::now_ns(&runtime::SystemClock).to_string()
}

fn record_json(field: &str) -> String {
    format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{{field}}}]}}]}}]}}")
}

fn metric(name: &str, metric: serde_json::Value, text: &'static str) -> Case {
    let body = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}).to_string();
    otlp(name, JSON, body, 200, text).to("/v1/metrics")
}

fn loki_cases() -> Vec<Case> {
    let push = |name: &str, body: &[u8], status, text| {
        otlp(name, JSON, body, status, text).on("Loki API").to("/loki/api/v1/push")
    };
    let values = |value: &str| {
        format!("{{\"streams\":[{{\"stream\":{{\"a\":\"b\"}},\"values\":[{value}]}}]}}").into_bytes()
    };
    vec![
        push("an unknown push encoding", b"{}", 400, "Content-Encoding \"br\" not supported")
            .with("content-encoding", "br"),
        push(
            "no streams",
            b"{\"streams\":[]}",
            422,
            "error at least one valid stream is required for ingestion",
        ),
        push("an open push", b"{\"streams\":[", 400, ""),
        push("a number for a line", &values("[\"1\",2]"), 400, ""),
        push("a number for a time", &values("[1,\"line\"]"), 400, ""),
        push("metadata that is text", &values("[\"1\",\"line\",\"x\"]"), 400, ""),
        push("gzip that is not", b"{}", 400, "is not valid gzip").with("content-encoding", "gzip"),
        push("a push by GET", b"", 405, "").by(Method::GET),
        push("a push of a bad tenant", b"{}", 400, "tenant id").with("x-scope-orgid", "a b"),
        otlp("garbage for snappy", PROTOBUF, b"garbage".to_vec(), 400, "is not valid snappy")
            .on("Loki API")
            .to("/loki/api/v1/push"),
        otlp(
            "a bomb for a push",
            PROTOBUF,
            encode("gzip", &vec![0; 300 << 20]),
            413,
            "larger than the allowed",
        )
        .on("Loki API")
        .to("/loki/api/v1/push")
        .with("content-encoding", "gzip"),
        otlp("OTLP text to Loki", "text/plain", "", 415, "").on("Loki API").to("/otlp/v1/logs"),
        otlp("OTLP snappy to Loki", PROTOBUF, "", 400, "unsupported Content-Encoding: snappy")
            .on("Loki API")
            .to("/otlp/v1/logs")
            .with("content-encoding", "snappy"),
        get("Loki API", "/loki/api/v1/nope", 404, "\"message\":\"not found\""),
        get("Loki API", "/loki/api/v1/query_range", 400, "parse error"),
        get("Loki API", "/loki/api/v1/query_range?query=%7B", 400, "parse error at line 1, col "),
        get(
            "Loki API",
            "/loki/api/v1/query_range?query=%7Ba%3D~%22.*%22%7D",
            400,
            "queries require at least one regexp or equality matcher",
        ),
        get(
            "Loki API",
            "/loki/api/v1/query?query=%7Ba%3D%22b%22%7D",
            400,
            "log queries are not supported as an instant query type, please change your query to a range query type",
        ),
        get(
            "Loki API",
            "/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D&limit=5001",
            400,
            "max entries limit per query exceeded, limit > max_entries_limit_per_query (5001 > 5000)",
        ),
        get(
            "Loki API",
            "/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D&limit=0",
            400,
            "limit must be a positive value",
        ),
        get(
            "Loki API",
            "/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D&direction=up",
            400,
            "invalid direction 'up'",
        ),
        get(
            "Loki API",
            "/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D&start=soon",
            400,
            "could not parse 'start' parameter",
        ),
        get(
            "Loki API",
            "/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D&start=5&end=4",
            400,
            "end timestamp must not be before or equal to start time",
        ),
        get(
            "Loki API",
            "/loki/api/v1/query_range?query=rate(%7Ba%3D%22b%22%7D[1m])&step=0",
            400,
            "zero or negative query resolution step widths are not accepted",
        ),
        get("Loki API", "/loki/api/v1/labels?query=%7B", 400, "parse error"),
        otlp(
            "a long query",
            "application/x-www-form-urlencoded",
            format!("query={}", "x".repeat(200_000)),
            400,
            "input size too long",
        )
        .on("Loki API")
        .to("/loki/api/v1/query_range"),
    ]
}

fn prometheus_cases() -> Vec<Case> {
    let form = |name: &str, body: String, status, text| {
        otlp(name, "application/x-www-form-urlencoded", body, status, text)
            .on("Prometheus API")
            .to("/api/v1/query")
    };
    let query = |rest: &str, status, text| get("Prometheus API", &format!("/api/v1/{rest}"), status, text);
    vec![
        query("query", 400, "\"errorType\":\"bad_data\""),
        query("query?query=sum(", 400, "parse error"),
        query(
            "query?query=1&time=soon",
            400,
            "invalid parameter \\\"time\\\": cannot parse \\\"soon\\\" to a valid timestamp",
        ),
        query(
            "query?query=1&timeout=x",
            400,
            "invalid parameter \\\"timeout\\\": cannot parse \\\"x\\\" to a valid duration",
        ),
        query("query?query=1&limit=-1", 400, "invalid parameter \\\"limit\\\": limit must be non-negative"),
        query("query?query=%zz", 400, "invalid URL escape"),
        query("query?query=%ff", 400, "not valid UTF-8"),
        query(
            "query_range?query=1&end=2&step=1",
            400,
            "invalid parameter \\\"start\\\": cannot parse \\\"\\\" to a valid timestamp",
        ),
        query(
            "query_range?query=1&start=2&end=1&step=1",
            400,
            "invalid parameter \\\"end\\\": end timestamp must not be before start time",
        ),
        query(
            "query_range?query=1&start=1&end=2&step=0",
            400,
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ),
        query(
            "query_range?query=1&start=0&end=11001&step=1",
            400,
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        query("series", 400, "no match[] parameter provided"),
        query("series?match[]=%7B%7D", 400, "match[] must contain at least one non-empty matcher"),
        query("labels?match[]=%7Ba", 400, "invalid parameter \\\"match[]\\\""),
        query("metadata?limit=x", 400, "limit must be a number"),
        query("nope", 404, "404 page not found"),
        form(
            "many parentheses",
            format!("query={}1{}", "(".repeat(100_000), ")".repeat(100_000)),
            400,
            "bad_data",
        ),
        form("POST where only GET is", String::new(), 405, "").to("/api/v1/status/buildinfo"),
        form("a bad tenant for a query", "query=1".to_owned(), 400, "tenant id").with("x-scope-orgid", "a/b"),
    ]
}

async fn answer(client: &Client, rig: &Rig, case: &Case) -> (u16, String) {
    let mut request =
        client.request(case.method.clone(), rig.url(case.server, &case.path)).body(case.body.clone());
    for (name, value) in &case.headers {
        request = request.header(*name, value);
    }
    let response = request.send().await.unwrap_or_else(|error| panic!("{}: no answer: {error:?}", case.name));
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap_or_else(|error| panic!("{}: no body: {error:?}", case.name));
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Resident bytes of this process, server and client in one.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells about a process");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second field");
    pages * 4096
}

#[tokio::test]
async fn each_gets_its_status_and_text_and_the_next_good_request_works() {
    let rig = Rig::start(&[]).await;
    let cases: Vec<Case> = http_cases().into_iter().chain(loki_cases()).chain(prometheus_cases()).collect();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let names: BTreeMap<&str, usize> = cases.iter().map(|case| (case.name.as_str(), 1)).collect();
    assert_eq!(names.len(), cases.len(), "every case has a name of its own");
    let good = otlp("a good request", PROTOBUF, good_logs(), 200, "");
    assert_eq!(answer(&rig.client, &rig, &good).await, (200, String::new()));
    let before = resident_bytes();
    let mut wrong = Vec::new();
    for case in &cases {
        let (status, text) = answer(&rig.client, &rig, case).await;
        if status != case.status || !text.contains(case.text) {
            let shown: String = text.chars().take(300).collect();
            wrong
                .push(format!("{}: got {status} {shown:?}, want {} {:?}", case.name, case.status, case.text));
        }
        let after = answer(&rig.client, &rig, &good).await;
        if after != (200, String::new()) {
            wrong.push(format!("after {}: the good request got {after:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 192 << 20, "memory grew by {} MiB", grown >> 20);
    rig.stop().await;
}

/// Name, path, body, grpc-encoding, expected code.
type GrpcCase = (&'static str, &'static str, Vec<u8>, Option<&'static str>, &'static str);

#[tokio::test]
async fn bad_grpc_requests_get_their_codes_and_the_next_good_one_works() {
    const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    let rig = Rig::start(&["receivers.otlp.protocols.grpc.max_recv_msg_size_mib=1"]).await;
    let client = Client::builder().http2_prior_knowledge().build().expect("a client");
    let framed = |flag: u8, message: &[u8]| {
        let length = u32::try_from(message.len()).expect("a small message").to_be_bytes();
        [&[flag], &length[..], message].concat()
    };
    let bomb = encode("gzip", &vec![0; 8 << 20]);
    let cases: [GrpcCase; 12] = [
        ("an unknown service", "/x.Y/Export", framed(0, b""), None, "12"),
        (
            "an unknown method",
            "/opentelemetry.proto.collector.logs.v1.LogsService/X",
            framed(0, b""),
            None,
            "12",
        ),
        ("an unknown encoding", LOGS, framed(1, b""), Some("br"), "12"),
        ("compressed without saying how", LOGS, framed(1, b"x"), None, "13"),
        ("no message", LOGS, Vec::new(), None, "13"),
        ("half a prefix", LOGS, vec![0, 0], None, "13"),
        ("half a message", LOGS, vec![0, 0, 0, 0, 9, 1], None, "13"),
        ("two messages", LOGS, [framed(0, b""), framed(0, b"")].concat(), None, "13"),
        ("a message over the limit", LOGS, framed(0, &vec![0; (1 << 20) + 1]), None, "8"),
        ("a bomb", LOGS, framed(1, &bomb), Some("gzip"), "8"),
        ("garbage as gzip", LOGS, framed(1, b"garbage"), Some("gzip"), "3"),
        ("garbage as protobuf", LOGS, framed(0, &[0x0a, 0x7f]), None, "3"),
    ];
    for (name, path, body, encoding, code) in cases {
        let send = |path: &str, body: Vec<u8>, encoding: Option<&str>| {
            let mut request =
                client.post(rig.url("OTLP gRPC", path)).header("content-type", "application/grpc");
            if let Some(encoding) = encoding {
                request = request.header("grpc-encoding", encoding);
            }
            request.body(body).send()
        };
        let bad =
            send(path, body, encoding).await.unwrap_or_else(|error| panic!("{name}: no answer: {error:?}"));
        assert_eq!(bad.status(), 200, "{name}: gRPC carries its status in a header");
        assert_eq!(bad.headers()["grpc-status"], code, "{name}: {:?}", bad.headers().get("grpc-message"));
        let good = send(LOGS, framed(0, &good_logs()), None).await.expect("an answer");
        // Success is told in the trailers, and a header would mean failure.
        assert!(good.headers().get("grpc-status").is_none(), "after {name}");
        assert_eq!(good.bytes().await.expect("a body"), vec![0; 5], "after {name}");
    }
    rig.stop().await;
}
