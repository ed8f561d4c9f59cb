use std::time::Duration;

use super::Status;

fn full() -> Status {
    Status::new(14, "busy")
        .with_retry_delay(Duration::from_millis(1500))
        .with_violation("resourceLogs[0]", "say \"what\"")
}

#[test]
fn the_protobuf_form_is_that_of_google_rpc() {
    let retry = b"\x1a\x36\x0a\x28type.googleapis.com/google.rpc.RetryInfo\x12\x0a\x0a\x08\x08\x01\x10\x80\xca\xb5\xee\x01";
    let expected = [b"\x08\x0e\x12\x04busy".as_slice(), retry].concat();
    let status = Status::new(14, "busy").with_retry_delay(Duration::from_millis(1500));
    assert_eq!(status.to_protobuf(), expected);
    assert_eq!(Status::from_protobuf(&expected), Ok(status));
    assert_eq!(Status::default().to_protobuf(), b"");
}

#[test]
fn the_json_form_is_that_of_the_proto3_mapping() {
    let expected = concat!(
        r#"{"code":14,"message":"busy","details":["#,
        r#"{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.500s"},"#,
        r#"{"@type":"type.googleapis.com/google.rpc.BadRequest","#,
        r#""fieldViolations":[{"field":"resourceLogs[0]","description":"say \"what\""}]}]}"#,
    );
    assert_eq!(String::from_utf8_lossy(&full().to_json()), expected);
    assert_eq!(String::from_utf8_lossy(&Status::new(3, "bad").to_json()), r#"{"code":3,"message":"bad"}"#);
}

#[test]
fn both_forms_read_back() {
    for status in
        [Status::default(), Status::new(-1, "negative"), full(), full().with_violation("", "second")]
    {
        assert_eq!(Status::from_protobuf(&status.to_protobuf()), Ok(status.clone()));
        assert_eq!(Status::from_json(&status.to_json()), Ok(status));
    }
    for nanos in [0, 1, 1_000, 999_999_999, 500_000_000, 20_000_000] {
        let status = Status::new(8, "").with_retry_delay(Duration::new(3, nanos));
        assert_eq!(Status::from_json(&status.to_json()), Ok(status));
    }
}

#[test]
fn what_other_servers_answer_is_understood() {
    let json = br#"{"message":"m","details":[{"@type":"type.googleapis.com/other","x":[1]},
        {"retryDelay":"30s","@type":"type.googleapis.com/google.rpc.RetryInfo"}],"extra":{}}"#;
    let expected = Status::new(0, "m").with_retry_delay(Duration::from_secs(30));
    assert_eq!(Status::from_json(json), Ok(expected));
    let no_hint =
        br#"{"code":14,"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"-3s"}]}"#;
    assert_eq!(Status::from_json(no_hint), Ok(Status::new(14, "")));
    assert!(Status::from_json(b"busy").is_err());
    assert!(Status::from_json(br#"{"code":"x"}"#).is_err());
    assert!(Status::from_protobuf(b"\x12\x05ab").is_err());
}

#[test]
fn arbitrary_durations_do_not_overflow() {
    let endless = Status::new(14, "").with_retry_delay(Duration::MAX);
    let read = Status::from_protobuf(&endless.to_protobuf()).expect("valid");
    assert_eq!(read.retry_delay, Some(Duration::new(315_576_000_000, 999_999_999)));
    let json = br#"{"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"99999999999999999999s"}]}"#;
    assert_eq!(Status::from_json(json), Ok(Status::default()));
}
