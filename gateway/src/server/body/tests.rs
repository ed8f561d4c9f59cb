use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue};
use runtime::MemoryBudget;

use super::{Announced, BodyError, read_within};

/// Two bytes, and then nothing for ever.
fn stalled() -> Body {
    let start = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"ab"))]);
    Body::from_stream(start.chain(stream::pending()))
}

#[tokio::test]
async fn a_body_that_does_not_go_on_is_given_up_and_its_memory_with_it() {
    let budget = MemoryBudget::new(100 << 20);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(20 << 20));
    for announced in [Announced::Header, Announced::GrpcPrefix] {
        let mut body = stalled();
        let limit = 64 << 20;
        let idle = Duration::from_millis(1);
        let outcome = read_within(&headers, &mut body, announced, limit, &budget, idle).await;
        assert!(matches!(outcome, Err(BodyError::Idle)), "{announced:?}: {outcome:?}");
        assert_eq!(budget.reserved_bytes(), 0, "{announced:?}");
    }
}
