use model::Signal;
use serde_json::{Value, json};
use wire::otlp::split_by_resource;

use super::resource_key;

/// The key of a resource with these attributes, in hexadecimal.
fn key(attributes: &[(&str, Value)]) -> String {
    let pairs: Vec<Value> =
        attributes.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    let group = json!({"resource": {"attributes": pairs}, "scopeLogs": [{"logRecords": [{}]}]});
    let text = json!({"resourceLogs": [group]}).to_string();
    let payload = wire::otlp::json::to_protobuf(Signal::Logs, text.as_bytes()).expect("OTLP/JSON");
    let parts = split_by_resource(Signal::Logs, &payload.into()).expect("well-formed");
    let key = resource_key(&parts[0].key).expect("well-formed");
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Computed with `pdatautil.MapHash` v0.155.0.
#[test]
fn keys_are_those_of_the_collector_whatever_the_order_of_attributes() {
    let text = |text: &str| json!({"stringValue": text});
    assert_eq!(key(&[]), "00000000000000000000000000000000");
    let service = ("service.name", text("web"));
    assert_eq!(key(std::slice::from_ref(&service)), "89e3f950a1b9f158bbd0bd26855401af");
    let other = ("a", text("b"));
    let both = "b3a8aacc78ff9042eae859493ba3a922";
    assert_eq!(
        (key(&[service.clone(), other.clone()]), key(&[other.clone(), service.clone()])),
        (both.into(), both.into())
    );
    let list = json!({"arrayValue": {"values": [text("x"), {"intValue": "1"}]}});
    let pairs = [("z", text("1")), ("k", text("2"))].map(|(key, value)| json!({"key": key, "value": value}));
    let all = [
        ("y", json!({"bytesValue": "AQL/"})),
        ("m", json!({"kvlistValue": {"values": pairs}})),
        service,
        other,
        ("i", json!({"intValue": "-7"})),
        ("t", json!({"boolValue": true})),
        ("f", json!({"boolValue": false})),
        ("d", json!({"doubleValue": 2.5})),
        ("e", json!({})),
        ("l", list),
    ];
    assert_eq!(key(&all), "c63e3fccff71259c74a13d884157da53");
}
