use std::fmt::Write as _;

use axum::Router;
use axum::routing::{get, post};
use http::StatusCode;
use runtime::Tasks;
use serde_json::{Value, json};

use super::ServerArguments;
use super::client::LokiClient;
use super::import::{self, FileFormat, Imported};

/// A client of a server that has one path.
async fn client_of(router: Router) -> LokiClient {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = format!("http://{}", listener.local_addr().expect("is bound"));
    Tasks::new().spawn("server", async move { drop(axum::serve(listener, router).await) });
    let server = ServerArguments { addr, org_id: None, username: None, password: None, bearer_token: None };
    LokiClient::new(&server).expect("a client")
}

#[tokio::test]
async fn an_answer_that_misses_lines_says_so_once_for_all_its_pages() {
    let answer = r#"{"status":"success","warnings":["a file is damaged"],"data":{"resultType":"streams","result":[]}}"#;
    let client =
        client_of(Router::new().route("/loki/api/v1/query_range", get(move || async move { answer }))).await;
    for _ in 0..2 {
        client.get("query_range", &[]).await.expect("an answer");
        assert_eq!(client.notes.borrow().told(), ["warning: a file is damaged"]);
    }
}

#[test]
fn an_address_without_its_scheme_is_refused_with_what_is_wanted() {
    for (addr, is_taken) in
        [("http://localhost:3100", true), ("HTTPS://loki/", true), ("localhost:3100", false), ("", false)]
    {
        let (addr, none) = (addr.to_owned(), None);
        let server =
            ServerArguments { addr, org_id: none, username: None, password: None, bearer_token: None };
        match LokiClient::new(&server) {
            Ok(_) => assert!(is_taken, "{server:?}"),
            Err(error) => {
                assert!(
                    !is_taken && error.to_string().contains("want a URL with http:// or https://"),
                    "{error}"
                );
            }
        }
    }
}

/// Imports rows to a server that refuses pushes with a line `old`, as too old.
async fn import_rows(rows: &str) -> (Imported, Result<(), String>) {
    let push = |body: String| async move {
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let streams = body["streams"].as_array().expect("streams");
        let lines = streams.iter().flat_map(|stream| stream["values"].as_array().expect("values"));
        match lines.into_iter().any(|value| value[1] == "old") {
            true => (StatusCode::BAD_REQUEST, "has timestamp too old"),
            false => (StatusCode::NO_CONTENT, ""),
        }
    };
    let client = client_of(Router::new().route("/loki/api/v1/push", post(push))).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("rows");
    std::fs::write(&file, rows).expect("writable");
    let mut imported = Imported::default();
    let labels = ["app=x".to_owned()];
    let ended = import::run(&client, &file, &labels, FileFormat::Ndjson, &mut imported).await;
    (imported, ended.map_err(|error| format!("{error:#}")))
}

#[tokio::test]
async fn a_refused_entry_does_not_keep_the_rest_of_a_file_from_coming() {
    let mut rows = String::new();
    for row in 0..12_000 {
        let line = if row == 1700 { "old" } else { "new" };
        writeln!(rows, "{}", json!({"line": line, "timestamp": "1"})).expect("a String takes all");
    }
    let (imported, ended) = import_rows(&rows).await;
    assert_eq!(ended, Ok(()));
    assert_eq!(imported, Imported { entries: 7000, in_refused_pushes: 5000 });
    let verdict = imported.tell().expect_err("entries were refused").to_string();
    assert!(verdict.contains("5000") && verdict.contains("7000"), "{verdict}");
}

#[tokio::test]
async fn rows_before_a_wrong_one_are_pushed_and_counted() {
    let (imported, ended) =
        import_rows("{\"line\":\"a\"}\n\n{\"line\":\"b\"}\nbad\n{\"line\":\"c\"}\n").await;
    assert_eq!(imported, Imported { entries: 2, in_refused_pushes: 0 });
    let error = ended.expect_err("a wrong row");
    assert!(error.starts_with("line 4: not a JSON object"), "{error}");
}
