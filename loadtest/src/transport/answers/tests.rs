use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Answer, Protocol, WriteVersion, http};

/// Remote write 2.0: a success without the headers of what was written comes from a receiver that wrote nothing.
#[test]
fn remote_write_2_has_written_what_its_header_says() {
    let rejected = |written: Option<&'static str>| {
        let header = written.map(|text| {
            let name = "X-Prometheus-Remote-Write-Samples-Written".parse().expect("a name");
            (name, HeaderValue::from_static(text))
        });
        let headers: HeaderMap = header.into_iter().collect();
        match http(Protocol::RemoteWrite(WriteVersion::V2), 10, StatusCode::NO_CONTENT, &headers, b"") {
            Answer::Accepted => 0,
            Answer::Partial { rejected, .. } => rejected,
            other => panic!("{other:?}"),
        }
    };
    let cases = [(Some("10"), 0), (Some("7"), 3), (Some("0"), 10), (Some("many"), 10), (None, 10)];
    for (written, expected) in cases {
        assert_eq!(rejected(written), expected, "{written:?}");
    }
    let version_1 = Protocol::RemoteWrite(WriteVersion::V1);
    assert_eq!(http(version_1, 10, StatusCode::NO_CONTENT, &HeaderMap::new(), b""), Answer::Accepted);
}
