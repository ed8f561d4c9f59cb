use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use model::ErrorKind;
use wire::rpc_status::Status;

use super::{grpc_failure, http_failure, retry_after};

#[test]
fn grpc_codes_are_retried_as_the_specification_says() {
    let retryable = |status: Status| grpc_failure(&status).kind().is_retryable();
    let may_retry: Vec<i32> = (1..=16).filter(|&code| retryable(Status::new(code, ""))).collect();
    assert_eq!(may_retry, [1, 4, 10, 11, 14, 15]);
    let delay = Duration::from_secs(7);
    let exhausted = grpc_failure(&Status::new(8, "slow down").with_retry_delay(delay));
    assert_eq!((exhausted.kind(), exhausted.retry_after()), (ErrorKind::Throttled, Some(delay)));
    assert_eq!(exhausted.to_string(), "rpc error: code = ResourceExhausted desc = slow down");
    let endless = grpc_failure(&Status::new(14, "").with_retry_delay(Duration::from_secs(1 << 40)));
    assert_eq!(endless.retry_after(), Some(Duration::from_secs(3600)));
}

#[test]
fn an_http_hint_is_read_as_seconds_or_as_a_date() {
    // 2015-10-21 07:28:00 UTC is 1,445,412,480 s after the epoch (date -d).
    let now_ms = 1_445_412_470_000;
    let date = "Wed, 21 Oct 2015 07:28:00 GMT";
    assert_eq!(retry_after("120", now_ms), Some(Duration::from_secs(120)));
    assert_eq!(retry_after(date, now_ms), Some(Duration::from_secs(10)));
    assert_eq!(retry_after(date, now_ms + 60_000), Some(Duration::ZERO));
    assert_eq!(retry_after("soon", now_ms), None);
    assert_eq!(retry_after("-1", now_ms), None);
}

#[test]
fn http_statuses_become_kinds_with_hints() {
    let mut headers = HeaderMap::new();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("3"));
    let failure =
        |status, is_retryable| http_failure("http://x/v1/logs", status, &headers, ": why", is_retryable, 0);
    let busy = failure(503, true);
    assert_eq!((busy.kind(), busy.retry_after()), (ErrorKind::Unavailable, Some(Duration::from_secs(3))));
    assert_eq!(failure(429, true).kind(), ErrorKind::Throttled);
    assert_eq!(failure(400, false).kind(), ErrorKind::Invalid);
    let gone = failure(404, false);
    assert_eq!((gone.kind(), gone.retry_after()), (ErrorKind::Internal, None));
    assert!(
        gone.to_string().ends_with("request to http://x/v1/logs responded with HTTP Status Code 404: why")
    );
}
