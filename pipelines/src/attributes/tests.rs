use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::{Value as Json, json};
use wire::otlp::edit::Edited;

use super::{ActionConfig, Actions};
use crate::{ClientMetadata, ConfigError};

fn parse(actions: &Json) -> Result<Actions, ConfigError> {
    let list: Vec<ActionConfig> = serde_json::from_value(actions.clone()).expect("known keys");
    Actions::new(&list)
}

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

fn resource(attributes: &[(&str, Value)]) -> Resource {
    let attributes = attributes.iter().map(|(key, value)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(value.clone()) }),
        ..KeyValue::default()
    });
    Resource { attributes: attributes.collect(), dropped_attributes_count: 7, ..Resource::default() }
}

/// Applies `actions` to `before` and compares with `after`; equal ones must be recognised as unchanged.
fn check(actions: Json, before: &[(&str, Value)], after: &[(&str, Value)]) {
    let client = ClientMetadata {
        address: Some("10.1.2.3".to_owned()),
        metadata: vec![
            ("x-tenant".to_owned(), "a".to_owned()),
            ("other".to_owned(), "o".to_owned()),
            ("x-tenant".to_owned(), "b".to_owned()),
        ],
    };
    let mut out = Vec::new();
    let encoded = resource(before).encode_to_vec();
    let edited =
        parse(&actions).expect("a good config").apply(&encoded, 1, &client, &mut out).expect("well-formed");
    if before == after {
        assert_eq!((edited, out.len()), (Edited::Unchanged, 0), "{actions}");
        return;
    }
    assert_eq!(edited, Edited::Replaced, "{actions}");
    assert_eq!(Resource::decode(out.as_slice()).expect("well-formed"), resource(after), "{actions}");
}

#[test]
fn insert_update_and_upsert_differ_in_what_is_there() {
    let (a, b) = (("a", text("1")), ("b", text("2")));
    let to_2 = |action: &str, key: &str| json!([{"key": key, "action": action, "value": "2"}]);
    check(to_2("insert", "a"), std::slice::from_ref(&a), std::slice::from_ref(&a));
    check(to_2("INSERT", "b"), std::slice::from_ref(&a), &[a.clone(), b.clone()]);
    check(to_2("update", "b"), std::slice::from_ref(&a), std::slice::from_ref(&a));
    check(to_2("update", "a"), std::slice::from_ref(&a), &[("a", text("2"))]);
    check(to_2("upsert", "a"), &[a.clone(), b.clone()], &[("a", text("2")), b.clone()]);
    check(to_2("upsert", "b"), &[a.clone(), b.clone()], &[a.clone(), b]);
    check(to_2("upsert", "b"), &[], &[("b", text("2"))]);
}

#[test]
fn values_keep_the_type_that_the_config_gives_them() {
    let set = |value: Json| json!([{"key": "k", "action": "insert", "value": value}]);
    check(set(json!(12)), &[], &[("k", Value::IntValue(12))]);
    check(set(json!(1.5)), &[], &[("k", Value::DoubleValue(1.5))]);
    check(set(json!(true)), &[], &[("k", Value::BoolValue(true))]);
    let list = ArrayValue { values: vec![AnyValue { value: Some(text("x")) }, AnyValue { value: None }] };
    check(set(json!(["x", null])), &[], &[("k", Value::ArrayValue(list))]);
    let inner = KeyValue {
        key: "i".to_owned(),
        value: Some(AnyValue { value: Some(Value::IntValue(-1)) }),
        ..KeyValue::default()
    };
    check(set(json!({"i": -1})), &[], &[("k", Value::KvlistValue(KeyValueList { values: vec![inner] }))]);
}

#[test]
fn values_come_from_attributes_and_from_the_sender() {
    let from = |source: &str, name: &str| json!([{"key": "k", "action": "upsert", source: name}]);
    let a = ("a", Value::IntValue(3));
    check(from("from_attribute", "a"), std::slice::from_ref(&a), &[a.clone(), ("k", Value::IntValue(3))]);
    check(from("from_attribute", "nope"), std::slice::from_ref(&a), std::slice::from_ref(&a));
    check(from("from_context", "client.address"), &[], &[("k", text("10.1.2.3"))]);
    check(from("from_context", "metadata.X-Tenant"), &[], &[("k", text("a;b"))]);
    check(from("from_context", "other"), &[], &[("k", text("o"))]);
    check(from("from_context", "metadata.nope"), &[], &[]);
}

#[test]
fn delete_and_hash_take_keys_and_patterns() {
    let all = [("user.id", text("u")), ("user.name", text("")), ("host", text("h"))];
    check(json!([{"key": "host", "action": "delete"}]), &all, &all[..2]);
    check(json!([{"pattern": "^user\\.", "action": "delete"}]), &all, &all[2..]);
    check(json!([{"key": "nope", "action": "delete"}]), &all, &all);
    // SHA-256 of "u", from sha256sum; an empty text stays empty.
    let hashed = "0bfe935e70c321c7ca3afc75ce0d0ca2f98b5422e008bb31c00c6d7f1f1c0ad6";
    check(
        json!([{"pattern": "user.*", "action": "hash"}]),
        &all,
        &[("user.id", text(hashed)), all[1].clone(), all[2].clone()],
    );
    // SHA-256 of the byte 1 and of eight bytes 01 00 ….
    check(
        json!([{"key": "b", "action": "hash"}, {"key": "i", "action": "hash"}]),
        &[("b", Value::BoolValue(true)), ("i", Value::IntValue(1))],
        &[
            ("b", text("4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a")),
            ("i", text("7c9fa136d4413fa6173637e883b6998d32e1d675f88cddff9dcbcf331820f4b8")),
        ],
    );
}

#[test]
fn extract_takes_named_groups_and_leaves_other_types_alone() {
    let actions =
        json!([{"key": "url", "action": "extract", "pattern": "^(?P<scheme>\\w+)://(?P<host>[^/]+)"}]);
    let url = ("url", text("https://example.test/x"));
    check(
        actions.clone(),
        &[url.clone(), ("host", text("old"))],
        &[url.clone(), ("host", text("example.test")), ("scheme", text("https"))],
    );
    check(actions.clone(), &[("url", text("no match"))], &[("url", text("no match"))]);
    check(actions, &[("url", Value::IntValue(1))], &[("url", Value::IntValue(1))]);
}

#[test]
fn convert_changes_the_type_or_leaves_what_cannot_be_converted() {
    let convert = |to: &str, before: Value, after: Value| {
        check(
            json!([{"key": "k", "action": "convert", "converted_type": to}]),
            &[("k", before)],
            &[("k", after)],
        );
    };
    convert("int", text("-12"), Value::IntValue(-12));
    convert("int", text("1.5"), text("1.5"));
    convert("int", Value::DoubleValue(-1.9), Value::IntValue(-1));
    convert("int", Value::DoubleValue(f64::NAN), Value::IntValue(i64::MIN));
    convert("int", Value::BoolValue(true), Value::IntValue(1));
    convert("double", text("1e3"), Value::DoubleValue(1000.0));
    convert("double", Value::IntValue(2), Value::DoubleValue(2.0));
    convert("double", Value::BytesValue(vec![1]), Value::BytesValue(vec![1]));
    convert("string", Value::DoubleValue(1.5), text("1.5"));
    convert("string", Value::BoolValue(false), text("false"));
    convert("string", Value::BytesValue(vec![1, 2]), text("AQI="));
}

#[test]
fn actions_run_in_order() {
    check(
        json!([
            {"key": "old", "action": "insert", "value": "x"},
            {"key": "new", "action": "upsert", "from_attribute": "old"},
            {"key": "old", "action": "delete"},
        ]),
        &[],
        &[("new", text("x"))],
    );
}

#[test]
fn faulty_actions_are_refused_and_named_by_number() {
    let check = |action: Json, want: &str| {
        let good = json!({"key": "a", "action": "delete"});
        let error = parse(&json!([good, action])).expect_err("a fault").to_string();
        assert!(
            error.starts_with("error creating AttrProc ") && error.contains("at the 1-th action"),
            "{error}"
        );
        assert!(error.contains(want), "{error}");
    };
    check(json!({"key": "a", "action": "drop"}), "unsupported action \"drop\"");
    check(json!({"key": "a"}), "unsupported action \"\"");
    check(json!({"action": "insert", "value": 1}), "missing required field \"key\"");
    check(json!({"action": "delete"}), "at least one of \"key\" and \"pattern\"");
    check(json!({"key": "a", "action": "insert"}), "\"from_context\" or \"default_value\"");
    check(
        json!({"key": "a", "action": "insert", "value": 1, "from_attribute": "b"}),
        "multiple value sources being set",
    );
    check(
        json!({"key": "a", "action": "insert", "value": 1, "pattern": "b"}),
        "not using the \"pattern\" field",
    );
    check(json!({"key": "a", "action": "hash", "value": 1}), "not using the \"value\" field");
    check(json!({"key": "a", "action": "extract", "pattern": "("}), "invalid pattern \"(\"");
    check(json!({"key": "a", "action": "extract", "pattern": "b"}), "no named matcher groups");
    check(json!({"key": "a", "action": "extract", "pattern": "(?P<b>.)(.)"}), "unnamed matcher group");
    check(json!({"key": "a", "action": "convert"}), "missing required field \"converted_type\"");
    check(json!({"key": "a", "action": "convert", "converted_type": "bool"}), "invalid value \"bool\"");
    check(json!({"key": "a", "action": "insert", "from_context": "auth.sub"}), "needs an authenticator");
}
