use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use runtime::MemoryBudget;
use tower::ServiceExt;

use super::{HeldBytes, WaitingAnswers, bounded};

#[tokio::test]
async fn answers_that_nobody_reads_take_a_share_of_the_memory_and_no_more() {
    let answers = Arc::new(WaitingAnswers::default());
    let memory = MemoryBudget::new(u64::MAX);
    memory.lower_ceiling(4 << 20);
    answers.share(&memory);
    let whole = || async { vec![b'x'; 600 << 10] };
    let told = || async {
        let mut answer = http::Response::new(Body::from("a result of 300 KiB, written piece by piece"));
        answer.extensions_mut().insert(HeldBytes(300 << 10));
        answer
    };
    let routes = Router::new().route("/whole", get(whole)).route("/told", get(told));
    let routes = bounded(routes, answers);
    let ask = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).expect("a valid request");
        routes.clone().oneshot(request).await.expect("an answer")
    };
    // One of 1 MiB: 600 and 300 KiB fit beside each other, another 600 do not.
    let first = ask("/whole").await;
    let second = ask("/told").await;
    assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
    assert_eq!(ask("/whole").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(first);
    assert_eq!(ask("/whole").await.status(), StatusCode::OK, "the first was read or given up");
    drop(second);
    memory.lower_ceiling(1 << 20);
    assert_eq!(ask("/whole").await.status(), StatusCode::OK, "alone it may pass the share");
}
