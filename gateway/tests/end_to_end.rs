//! An app sends OTLP; its metrics and logs come back through PromQL and LogQL, over real sockets.

mod rig;

use reqwest::StatusCode;
use rig::Rig;
use serde_json::json;

/// Now, nanoseconds since the Unix epoch; the stores refuse what is far from it.
fn now_ns() -> i64 {
    runtime::Clock::now_ns(&runtime::SystemClock)
}

#[tokio::test]
async fn a_counter_comes_back_through_promql() {
    let rig = Rig::start(&[]).await;
    let now = now_ns();
    assert_eq!(rig.send_count(now, 42).await, StatusCode::OK);
    let at = now / 1_000_000_000 + 1;
    let (status, answer) = rig.prometheus(&format!("/api/v1/query?query=orders_total&time={at}")).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(
        answer,
        json!({"status": "success", "data": {"resultType": "vector", "result": [
            {"metric": {"__name__": "orders_total", "job": "shop"}, "value": [at, "42"]},
        ]}})
    );
    for (path, want) in [
        ("/api/v1/label/job/values", json!(["shop"])),
        ("/api/v1/label/U__job/values", json!(["shop"])),
        ("/api/v1/series?match[]=orders_total", json!([{"__name__": "orders_total", "job": "shop"}])),
        (
            "/api/v1/metadata?metric=orders_total",
            json!({"orders_total": [{"type": "counter", "help": "", "unit": ""}]}),
        ),
        ("/api/v1/rules", json!({"groups": []})),
        ("/api/v1/query_exemplars?query=test&start=1700000000000&end=1700000060000", json!([])),
    ] {
        let (status, answer) = rig.prometheus(path).await;
        assert_eq!((status, &answer["data"]), (StatusCode::OK, &want), "{path}: {answer}");
    }
    let (_, names) = rig.prometheus("/api/v1/labels").await;
    assert_eq!(names["data"], json!(["__name__", "job"]));
    let range = format!("/api/v1/query_range?query=orders_total&start={}&end={at}&step=1", at - 1);
    let (_, answer) = rig.prometheus(&range).await;
    assert_eq!(answer["data"]["resultType"], "matrix");
    rig.stop().await;
}

#[tokio::test]
async fn grafana_can_check_both_data_sources() {
    let rig = Rig::start(&[]).await;
    let post = rig.client.post(rig.url("Prometheus API", "/api/v1/query"));
    let post = post.header("content-type", "application/x-www-form-urlencoded").body("query=1%2B1&time=4");
    let answer: serde_json::Value = post.send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(answer["data"], json!({"resultType": "scalar", "result": [4, "2"]}));
    let (_, buildinfo) = rig.prometheus("/api/v1/status/buildinfo").await;
    assert!(buildinfo["data"]["version"].as_str().is_some_and(|version| version.starts_with("3.")));
    assert!(buildinfo["data"].get("features").is_none());
    let health = "/loki/api/v1/query?query=vector(1)%2Bvector(1)&time=4000000000&direction=backward";
    let (_, answer) = rig.loki(health).await;
    assert_eq!(answer["data"]["result"], json!([{"metric": {}, "value": [4_000_000_000_u64, "2"]}]));
    let ruler = rig.get("Prometheus API", "/config/v1/rules").await;
    assert_eq!(ruler.status(), StatusCode::NOT_FOUND);
    assert_eq!(ruler.text().await.expect("a body"), "404 page not found\n");
    rig.stop().await;
}

#[tokio::test]
async fn a_log_line_comes_back_through_logql_whoever_sent_it() {
    let rig = Rig::start(&[]).await;
    let now = now_ns();
    assert_eq!(rig.send_line(now - 2, "order 4711 failed").await, StatusCode::OK);
    let push =
        json!({"streams": [{"stream": {"app": "till"}, "values": [[(now - 1).to_string(), "pushed 4711"]]}]});
    let url = rig.url("Loki API", "/loki/api/v1/push");
    let pushed = rig.client.post(url).json(&push).send().await.expect("an answer");
    assert_eq!(pushed.status(), StatusCode::NO_CONTENT);
    let query = "/loki/api/v1/query_range?query=%7Bservice_name%3D~%22.%2B%22%7D%20%7C%3D%20%224711%22";
    let (status, answer) = rig.loki(query).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let lines: Vec<_> = answer["data"]["result"]
        .as_array()
        .expect("streams")
        .iter()
        .map(|stream| (stream["stream"]["service_name"].clone(), stream["values"][0].clone()))
        .collect();
    assert!(
        lines.contains(&(json!("shop"), json!([(now - 2).to_string(), "order 4711 failed"]))),
        "{answer}"
    );
    assert!(lines.contains(&(json!("till"), json!([(now - 1).to_string(), "pushed 4711"]))), "{answer}");
    let (_, values) = rig.loki("/loki/api/v1/label/service_name/values").await;
    assert_eq!(values, json!({"status": "success", "data": ["shop", "till"]}));
    let (_, series) = rig.loki("/loki/api/v1/series?match[]=%7Bapp%3D%22till%22%7D").await;
    assert_eq!(series["data"], json!([{"app": "till", "service_name": "till"}]));
    let (_, stats) = rig.loki("/loki/api/v1/index/stats?query=%7Bapp%3D%22till%22%7D").await;
    assert_eq!((&stats["streams"], &stats["entries"]), (&json!(1), &json!(1)));
    let (status, missing) = rig.loki("/loki/api/v1/nothing").await;
    assert_eq!((status, &missing["message"]), (StatusCode::NOT_FOUND, &json!("not found")));
    rig.stop().await;
}

#[tokio::test]
async fn answers_are_compressed_for_clients_that_take_it() {
    use std::io::Read;
    let rig = Rig::start(&[]).await;
    assert_eq!(rig.send_count(now_ns(), 1).await, StatusCode::OK);
    for (what, path) in [
        ("Prometheus API", "/api/v1/query?query=vector(1)"),
        ("Loki API", "/loki/api/v1/query?query=vector(1)"),
        ("Prometheus API", "/api/v1/label/job/values"),
    ] {
        let get = rig.client.get(rig.url(what, path)).header("accept-encoding", "gzip");
        let response = get.send().await.expect("an answer");
        assert_eq!(response.headers()["content-encoding"], "gzip", "{path}");
        let body = response.bytes().await.expect("a body");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).expect("gzip");
        assert!(text.starts_with(r#"{"status":"success""#), "{path}: {text}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let rig = Rig::start(&[]).await;
    assert_eq!(rig.send_count(now_ns(), 1).await, StatusCode::OK);
    let url = rig.url("Prometheus API", "/api/v1/label/job/values");
    let other = rig.client.get(url).header("X-Scope-OrgID", "other").send().await.expect("an answer");
    assert_eq!(other.text().await.expect("a body"), r#"{"status":"success","data":[]}"#);
    rig.stop().await;
}

#[tokio::test]
async fn data_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let directory = format!("storage.directory={}", folder.path().display());
    let now = now_ns();
    let rig = Rig::start(&[&directory]).await;
    assert_eq!(rig.send_count(now, 7).await, StatusCode::OK);
    assert_eq!(rig.send_line(now, "kept").await, StatusCode::OK);
    rig.stop().await;
    let rig = Rig::start(&[&directory]).await;
    let at = now / 1_000_000_000 + 1;
    let (_, answer) = rig.prometheus(&format!("/api/v1/query?query=orders_total&time={at}")).await;
    assert_eq!(answer["data"]["result"][0]["value"][1], "7", "{answer}");
    let (_, answer) = rig.loki("/loki/api/v1/query_range?query=%7Bservice_name%3D%22shop%22%7D").await;
    assert_eq!(answer["data"]["result"][0]["values"], json!([[now.to_string(), "kept"]]), "{answer}");
    rig.stop().await;
}

#[tokio::test]
async fn a_start_that_fails_leaves_the_stores_to_the_next_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let directory = format!("storage.directory={}", folder.path().display());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("is bound");
    let failed = Rig::try_start(&[&directory, &format!("server.loki.endpoint={address}")]).await;
    let error = failed.err().expect("the port is taken").to_string();
    assert_eq!(error, format!("Loki API: cannot listen on {address}"));
    let rig = Rig::start(&[&directory]).await;
    assert_eq!(rig.send_line(now_ns(), "stored").await, StatusCode::OK);
    rig.stop().await;
}

#[tokio::test]
async fn the_configured_retention_of_logs_is_the_stores() {
    const TWO_HOURS_NS: i64 = 2 * 3600 * 1_000_000_000;
    let found = |answer: serde_json::Value| answer["data"]["result"].as_array().map_or(0, Vec::len);
    for (retention, kept) in [("1h", 0), ("1d", 1), ("0s", 1)] {
        let rig = Rig::start(&[&format!("storage.logs.retention={retention}")]).await;
        let old = now_ns() - TWO_HOURS_NS;
        rig.send_line(old, "old").await;
        let path = format!(
            "/loki/api/v1/query_range?query=%7Bservice_name%3D%22shop%22%7D&start={}&end={}",
            old - 1,
            old + 1
        );
        let (_, answer) = rig.loki(&path).await;
        assert_eq!(found(answer), kept, "{retention}");
        rig.stop().await;
    }
}

#[tokio::test]
async fn every_server_tells_that_it_is_alive() {
    let rig = Rig::start(&["service.telemetry.metrics.address=127.0.0.1:0"]).await;
    assert_eq!(rig.send_count(now_ns(), 1).await, StatusCode::OK);
    for (what, path, want) in [
        ("Prometheus API", "/-/healthy", "Healthy"),
        ("Prometheus API", "/-/ready", "Ready"),
        ("Prometheus API", "/metrics", "otelcol_receiver_accepted_metric_points"),
        ("Loki API", "/ready", "ready"),
        ("Loki API", "/metrics", "process_resident_memory_bytes"),
        ("Metrics", "/metrics", "otelcol_receiver_accepted_metric_points"),
        ("OTLP HTTP", "/", "OTLP"),
    ] {
        let response = rig.get(what, path).await;
        assert_eq!(response.status(), StatusCode::OK, "{what} {path}");
        let text = response.text().await.expect("a body");
        assert!(text.contains(want), "{what} {path}: {text}");
    }
    rig.stop().await;
}
