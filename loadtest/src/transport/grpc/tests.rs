use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use wire::compression::Encoding;

use super::{Answer, Signal, answer, framed, grpc};

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)))
        .collect()
}

#[test]
fn a_message_is_framed_with_its_length_packed_or_not() {
    assert_eq!(framed(Encoding::Identity, b"abc"), &b"\0\0\0\0\x03abc"[..]);
    for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
        let framed = framed(encoding, b"abc");
        let message = grpc::answer_message(&framed, encoding.name(), 3);
        assert_eq!(message.as_deref(), Some(&b"abc"[..]), "{encoding:?}");
    }
}

#[test]
fn a_refusal_has_its_code_its_text_and_its_hint() {
    // google.rpc.Status of code 14 with a RetryInfo of one second.
    let details = "CA4aMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIAQ";
    let pairs =
        [("grpc-status", "14"), ("grpc-message", "queue%20is full"), ("grpc-status-details-bin", details)];
    let refusal = grpc::status(&headers(&pairs)).expect("a status");
    let expected =
        |retry_hint| Answer::Refused { status: "Unavailable: queue is full".to_owned(), retry_hint };
    let said = |status| answer(Signal::Logs, &status, &HeaderMap::new(), &Bytes::new()).expect("an answer");
    assert_eq!(said(refusal), expected(true));
    let broken = [pairs[0], pairs[1], ("grpc-status-details-bin", "not base64!")];
    assert_eq!(
        said(grpc::status(&headers(&broken)).expect("a status")),
        expected(false),
        "details are a help only"
    );
}
