use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use runtime::MemoryBudget;
use tower::ServiceExt;

use super::{HeldBytes, WaitingAnswers, bounded, holding};

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

#[tokio::test]
async fn what_an_answer_holds_is_free_once_it_is_read_or_given_up() {
    let slots = Arc::new(tokio::sync::Semaphore::new(1));
    let answer = |slots: &Arc<tokio::sync::Semaphore>| {
        let slot = Arc::clone(slots).try_acquire_owned().expect("the slot is free");
        holding(http::Response::new(Body::from("a result")), slot)
    };
    let unread = answer(&slots);
    assert_eq!(slots.available_permits(), 0, "nobody has read the answer");
    drop(unread);
    let read = answer(&slots);
    let body = axum::body::to_bytes(read.into_body(), usize::MAX).await.expect("a body");
    assert_eq!((&body[..], slots.available_permits()), (&b"a result"[..], 1));
}
