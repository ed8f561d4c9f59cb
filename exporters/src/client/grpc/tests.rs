use http::{HeaderMap, HeaderValue};
use std::time::Duration;

use bytes::Bytes;
use wire::compression::Encoding;

use super::{message, percent_decode, status};

#[test]
fn messages_of_servers_are_percent_decoded() {
    let check = |text: &str, want: &str| assert_eq!(percent_decode(text.as_bytes()), want);
    check("data refused%20%C3%A9%25", "data refused é%");
    check("broken %zz %4", "broken %zz %4");
    check("%ff", "\u{fffd}");
}

#[test]
fn retry_info_is_read_from_the_details_with_and_without_padding_and_broken_details_are_left_out() {
    let with = |details: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from_static("14"));
        headers.insert("grpc-status-details-bin", HeaderValue::from_static(details));
        status(&headers).expect("a status")
    };
    // google.rpc.Status{code: 14, details: [RetryInfo{retry_delay: 7s}]}, encoded by hand.
    let encoded = "CA4aMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIBw";
    assert_eq!(with(encoded).retry_delay, Some(Duration::from_secs(7)));
    assert_eq!(
        with("CA4aMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIBw==").retry_delay,
        Some(Duration::from_secs(7))
    );
    assert_eq!(with("!!! not base64 !!!").retry_delay, None);
    assert_eq!(with("/////w==").code, 14);
    assert!(status(&HeaderMap::new()).is_none());
}

#[test]
fn answers_are_read_plain_and_compressed_and_broken_ones_are_noticed() {
    let framed = |flag: u8, len: usize, body: &[u8]| {
        let mut bytes = vec![flag];
        bytes.extend_from_slice(&u32::try_from(len).expect("small").to_be_bytes());
        bytes.extend_from_slice(body);
        Bytes::from(bytes)
    };
    let check = |framed: Bytes, encoding: &str, want: Option<&[u8]>| {
        assert_eq!(message(&framed, encoding).as_deref(), want);
    };
    check(Bytes::new(), "", Some(b""));
    check(framed(0, 2, b"ok"), "gzip", Some(b"ok"));
    let zipped = Encoding::Gzip.encode(None, b"ok");
    check(framed(1, zipped.len(), &zipped), "gzip", Some(b"ok"));
    check(framed(1, zipped.len(), &zipped), "unheard-of", None);
    check(framed(1, 2, b"ok"), "gzip", None);
    check(framed(0, 3, b"ok"), "", None);
    check(framed(7, 2, b"ok"), "", None);
    check(Bytes::from_static(b"\0\0"), "", None);
}
