use model::Signal;
use serde_json::{Value, json};
use wire::otlp::json::from_protobuf;

use super::Encoding;

/// The payload of a message as OTLP/JSON, its one log record.
fn record(encoding: &str, body: &[u8]) -> Result<Value, String> {
    let encoding = Encoding::try_from(encoding.to_owned())?;
    let payload = encoding.payload(Signal::Logs, body, 7).map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    from_protobuf(Signal::Logs, &payload, &mut text).expect("well-formed");
    let mut value: Value = serde_json::from_slice(&text).expect("JSON");
    Ok(value["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0].take())
}

#[test]
fn a_message_of_another_program_is_a_log_record() {
    let seen = |body: Value| Ok(json!({"body": body, "observedTimeUnixNano": "7"}));
    assert_eq!(record("raw", b"a\xff"), Ok(json!({"body": {"bytesValue": "Yf8="}})));
    assert_eq!(record("text", b"a line"), seen(json!({"stringValue": "a line"})));
    assert_eq!(record("text_utf-8", b"a\xffb"), seen(json!({"stringValue": "a\u{fffd}b"})));
    let pair = |key: &str, value: Value| json!({"key": key, "value": value});
    let list = json!({"arrayValue": {"values": [{"boolValue": true}, {}]}});
    let inner = json!({"kvlistValue": {"values": [pair("x", json!({"stringValue": "y"}))]}});
    let pairs = [pair("count", json!({"doubleValue": 3.0})), pair("inner", inner), pair("list", list)];
    assert_eq!(
        record("json", br#"{"count": 3, "inner": {"x": "y"}, "list": [true, null]}"#),
        seen(json!({"kvlistValue": {"values": pairs}}))
    );
}

#[test]
fn what_is_no_object_is_refused() {
    for body in [&b"[1]"[..], b"7", b"", b"{", b"\xff"] {
        let error = record("json", body).expect_err("no object");
        assert!(error.starts_with("want an object of JSON"), "{error}");
    }
    let deep = format!("{}1{}", "{\"a\":".repeat(500), "}".repeat(500));
    assert!(record("json", deep.as_bytes()).is_err(), "depth is bounded");
}

#[test]
fn only_logs_are_written_in_other_ways_than_otlp() {
    let text = Encoding::try_from("text".to_owned()).expect("known");
    assert!(text.check(Signal::Logs, "logs").is_ok());
    let error = text.check(Signal::Metrics, "metrics").expect_err("no metrics").to_string();
    assert!(error.starts_with("metrics::encoding: only logs can be written so"), "{error}");
    let error = Encoding::try_from("text_shift_jis".to_owned()).expect_err("unknown");
    assert!(error.starts_with("the encoding \"text_shift_jis\" is not supported"), "{error}");
}
