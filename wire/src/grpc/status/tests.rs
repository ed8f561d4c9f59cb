use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::status;

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

#[test]
fn texts_of_servers_are_percent_decoded() {
    for (text, want) in [
        ("data refused%20%C3%A9%25", "data refused é%"),
        ("broken %zz %4", "broken %zz %4"),
        ("100% of %zz, %C3%A9%2", "100% of %zz, é%2"),
        ("%ff", "\u{fffd}"),
    ] {
        let status = status(&headers(&[("grpc-status", "14"), ("grpc-message", text)])).expect("a status");
        assert_eq!((status.code, status.message.as_str()), (14, want));
    }
}

#[test]
fn a_hint_is_read_with_and_without_padding_and_a_broken_one_is_left_out() {
    // google.rpc.Status{code: 14, details: [RetryInfo{retry_delay: 7s}]}, encoded by hand.
    let encoded = "CA4aMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIBw";
    let padded = "CA4aMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIBw==";
    let seven = Some(Duration::from_secs(7));
    for (details, want) in
        [(encoded, seven), (padded, seven), ("!!! not base64 !!!", None), ("/////w==", None)]
    {
        let pairs = [("grpc-status", "14"), ("grpc-status-details-bin", details)];
        let status = status(&headers(&pairs)).expect("a status");
        assert_eq!((status.code, status.retry_delay), (14, want), "{details}");
    }
}

#[test]
fn a_code_that_is_no_number_is_unknown_and_none_is_no_status() {
    assert_eq!(status(&headers(&[("grpc-status", "many")])).map(|status| status.code), Some(2));
    assert_eq!(status(&headers(&[("grpc-message", "alone")])), None);
}
