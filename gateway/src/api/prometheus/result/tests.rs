use http_body_util::BodyExt;
use model::{Labels, Sample};
use promql::{MatrixSeries, QueryOutput, QueryStats, QueryValue, SampleValue, VectorSample};

use super::{Options, answer};

async fn text(value: QueryValue, limit: usize, warnings: &[&str]) -> String {
    let warnings = warnings.iter().map(|text| (*text).to_owned()).collect();
    let output = QueryOutput { value, warnings, infos: Vec::new(), stats: QueryStats::default() };
    let response = answer(output, &Options { limit, stats: false, seconds: 0.0 });
    let bytes = response.into_body().collect().await.expect("the body is in memory").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("JSON is UTF-8")
}

#[tokio::test]
async fn results_have_the_exact_text_of_prometheus() {
    let labels = || Labels::from_pairs([("__name__", "up"), ("job", "a\"b")]);
    let sample = |timestamp_ms, value| Sample { timestamp_ms, value };
    for (value, want) in [
        (
            QueryValue::Scalar(sample(1_500, 0.5)),
            r#"{"status":"success","data":{"resultType":"scalar","result":[1.500,"0.5"]}}"#,
        ),
        (
            QueryValue::String { timestamp_ms: 1_000, value: "x<y".to_owned() },
            r#"{"status":"success","data":{"resultType":"string","result":[1,"x<y"]}}"#,
        ),
        (
            QueryValue::Vector(vec![VectorSample {
                labels: labels(),
                timestamp_ms: 1_000,
                value: SampleValue::Float(f64::INFINITY),
            }]),
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a\"b"},"value":[1,"+Inf"]}]}}"#,
        ),
        (
            QueryValue::Matrix(vec![MatrixSeries {
                labels: labels(),
                floats: vec![sample(0, 1.0), sample(1_001, 1e-7)],
                histograms: Vec::new(),
            }]),
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a\"b"},"values":[[0,"1"],[1.001,"1e-07"]]}]}}"#,
        ),
        (
            QueryValue::Vector(Vec::new()),
            r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#,
        ),
    ] {
        assert_eq!(text(value, 0, &[]).await, want);
    }
}

#[tokio::test]
async fn a_limit_truncates_with_a_warning_and_warnings_are_capped() {
    let series = |name: &str| MatrixSeries {
        labels: Labels::from_pairs([("n", name)]),
        floats: Vec::new(),
        histograms: Vec::new(),
    };
    let cut = text(QueryValue::Matrix(vec![series("a"), series("b")]), 1, &[]).await;
    assert_eq!(
        cut,
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"n":"a"}}]},"warnings":["results truncated due to limit"]}"#
    );
    let many = text(QueryValue::Matrix(Vec::new()), 0, &["w"; 12]).await;
    assert!(many.contains(r#""w","2 more warnings not shown"]"#), "{many}");
}
