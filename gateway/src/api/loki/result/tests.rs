use std::time::Duration;

use http_body_util::BodyExt;
use logql::{MatrixSeries, QueryOutput, QueryResult, QueryStats, ResultEntry, Streams, VectorSample};
use model::Labels;
use runtime::Tasks;
use serde_json::{Value, json};

use super::answer;

async fn body(result: QueryResult, categorize: bool) -> Value {
    let output = QueryOutput { result, stats: QueryStats::default(), warnings: Vec::new() };
    let response = answer(&Tasks::new(), output, categorize, Duration::ZERO).await.expect("can be written");
    assert_eq!(response.headers()["content-type"], "application/json; charset=UTF-8");
    let bytes = response.into_body().collect().await.expect("the body is in memory").to_bytes();
    assert!(bytes.ends_with(b"\n"));
    serde_json::from_slice(&bytes).expect("the answer is JSON")
}

fn entry() -> ResultEntry {
    ResultEntry {
        timestamp_ns: 1_700_000_000_000_000_001,
        line: "a <b>".to_owned(),
        stream: Labels::from_pairs([("app", "shop")]),
        structured_metadata: vec![("trace_id".to_owned(), "ab".to_owned())],
        parsed: vec![("level".to_owned(), "info".to_owned())],
    }
}

#[tokio::test]
async fn streams_are_flat_unless_labels_are_to_be_kept_apart() {
    let streams = || QueryResult::Streams(Streams { entries: vec![entry()] });
    let flat = body(streams(), false).await;
    assert_eq!(flat["status"], "success");
    assert_eq!(flat["data"]["resultType"], "streams");
    assert_eq!(
        flat["data"]["result"],
        json!([{
            "stream": {"app": "shop", "level": "info", "trace_id": "ab"},
            "values": [["1700000000000000001", "a <b>"]],
        }])
    );
    assert!(flat["data"].get("encodingFlags").is_none());
    let apart = body(streams(), true).await;
    assert_eq!(apart["data"]["encodingFlags"], json!(["categorize-labels"]));
    assert_eq!(
        apart["data"]["result"],
        json!([{
            "stream": {"app": "shop"},
            "values": [["1700000000000000001", "a <b>",
                {"structuredMetadata": {"trace_id": "ab"}, "parsed": {"level": "info"}}]],
        }])
    );
}

#[tokio::test]
async fn an_answer_of_many_lines_has_all_of_them_in_their_order() {
    let numbered = |number: i64| ResultEntry {
        timestamp_ns: number,
        line: "x".repeat(100),
        stream: Labels::from_pairs([("app", format!("{}", number % 3))]),
        structured_metadata: Vec::new(),
        parsed: Vec::new(),
    };
    // More than are sorted at once, and more than one piece of an answer.
    let entries: Vec<ResultEntry> = (0..3000).rev().map(numbered).collect();
    for categorize in [false, true] {
        let answer = body(QueryResult::Streams(Streams { entries: entries.clone() }), categorize).await;
        let streams = answer["data"]["result"].as_array().expect("a list of streams").clone();
        assert_eq!(streams.len(), 3);
        for (app, stream) in streams.iter().enumerate() {
            assert_eq!(stream["stream"], json!({"app": app.to_string()}));
            let times: Vec<&str> = stream["values"]
                .as_array()
                .expect("a list of values")
                .iter()
                .map(|value| value[0].as_str().expect("a text"))
                .collect();
            let expected: Vec<String> =
                (0..3000).rev().filter(|n| n % 3 == app).map(|n| n.to_string()).collect();
            assert_eq!(times, expected);
        }
    }
}

#[tokio::test]
async fn metric_results_have_the_shapes_of_prometheus() {
    let labels = Labels::from_pairs([("app", "shop")]);
    let matrix = vec![MatrixSeries { labels: labels.clone(), points: vec![(1_000, 1.0), (2_500, 0.5)] }];
    assert_eq!(
        body(QueryResult::Matrix(matrix), true).await["data"]["result"],
        json!([{"metric": {"app": "shop"}, "values": [[1, "1"], [2.5, "0.5"]]}])
    );
    let vector = vec![VectorSample { labels, timestamp_ms: 4_000_000_000_000, value: 2.0 }];
    assert_eq!(
        body(QueryResult::Vector(vector), false).await["data"]["result"],
        json!([{"metric": {"app": "shop"}, "value": [4_000_000_000_u64, "2"]}])
    );
    let scalar = QueryResult::Scalar { timestamp_ms: 1_000, value: f64::NAN };
    assert_eq!(body(scalar, false).await["data"]["result"], json!([1, "NaN"]));
    assert_eq!(body(QueryResult::Matrix(Vec::new()), false).await["data"]["result"], json!([]));
}

#[tokio::test]
async fn every_statistic_of_loki_is_there() {
    let stats = body(QueryResult::Matrix(Vec::new()), false).await["data"]["stats"].clone();
    for path in [
        "/summary/totalBytesProcessed",
        "/summary/queueTime",
        "/querier/store/chunk/decompressedBytes",
        "/ingester/store/chunk/headChunkLines",
        "/cache/result/entriesFound",
        "/index/totalChunks",
    ] {
        assert!(stats.pointer(path).is_some(), "{path}");
    }
}
