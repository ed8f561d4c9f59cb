//! Configurations of Thanos, as its documentation and its users write them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{BucketConfig, parse_duration};

fn check(config: Value, expected: Result<(), (&str, &str)>) {
    let shown = config.to_string();
    let config: BucketConfig = serde_json::from_value(config).expect("its outer keys are known");
    match (config.validate(), expected) {
        (Ok(()), Ok(())) => {}
        (Err(error), Err((path, message))) => {
            assert_eq!(error.config_path(), Some(path), "{shown}: {error}");
            assert!(error.message().contains(message), "{shown}: {error}");
        }
        (got, expected) => panic!("{shown}: {got:?}, expected {expected:?}"),
    }
}

fn s3(more: Value) -> Value {
    let mut config =
        json!({"bucket": "b", "endpoint": "localhost:9000", "access_key": "a", "secret_key": "s"});
    let object = config.as_object_mut().expect("an object");
    object.extend(more.as_object().expect("an object").clone());
    json!({"type": "S3", "config": config, "prefix": "p"})
}

#[test]
fn configurations_of_thanos_are_taken_unchanged() {
    // All keys of docs/storage.md with their defaults.
    check(
        s3(json!({
            "region": "", "disable_dualstack": false, "aws_sdk_auth": false, "insecure": true,
            "signature_version2": false, "session_token": "", "put_user_metadata": {},
            "http_config": {
                "idle_conn_timeout": "1m30s", "response_header_timeout": "2m", "insecure_skip_verify": false,
                "tls_handshake_timeout": "10s", "expect_continue_timeout": "1s", "max_idle_conns": 100,
                "max_idle_conns_per_host": 100, "max_conns_per_host": 0,
                "tls_config": {"ca_file": "", "cert_file": "", "key_file": "", "server_name": "", "insecure_skip_verify": false},
                "disable_compression": false,
            },
            "trace": {"enable": false}, "list_objects_version": "", "bucket_lookup_type": "auto",
            "send_content_md5": true, "disable_multipart": false, "part_size": 67_108_864,
            "sse_config": {"type": "", "kms_key_id": "", "kms_encryption_context": {}, "encryption_key": ""},
            "sts_endpoint": "", "max_retries": 0,
        })),
        Ok(()),
    );
    check(s3(json!({"sse_config": {"type": "SSE-S3"}})), Ok(()));
    check(json!({"type": "s3", "config": {"bucket": "b", "endpoint": "s3.eu-west-1.amazonaws.com"}}), Ok(()));
    check(json!({"type": "FILESYSTEM", "config": {"directory": "/nowhere/at/all"}}), Ok(()));
    check(
        json!({"type": "AZURE", "config": {"container": "c", "storage_account": "a", "storage_account_key": "a2V5"}}),
        Ok(()),
    );
    let string =
        "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:1/a;";
    check(
        json!({"type": "AZURE", "config": {"container": "c", "storage_connection_string": string}}),
        Ok(()),
    );
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    check(json!({"type": "SWIFT"}), Err(("type", "SWIFT is not supported by this version, have AZURE")));
    check(json!({"type": "ftp"}), Err(("type", "unknown type \"ftp\"")));
    check(json!({"type": "FILESYSTEM"}), Err(("config", "directory")));
    check(json!({"type": "GCS", "config": {}}), Err(("config.bucket", "required")));
    check(s3(json!({"bucket": ""})), Err(("config.bucket", "required")));
    check(s3(json!({"bukket": 1})), Err(("config.bukket", "unknown field")));
    check(s3(json!({"endpoint": "http://x"})), Err(("config.endpoint", "has a scheme")));
    check(s3(json!({"secret_key": ""})), Err(("config", "both or neither")));
    check(s3(json!({"signature_version2": true})), Err(("config.signature_version2", "not supported")));
    check(s3(json!({"bucket_lookup_type": "dns"})), Err(("config.bucket_lookup_type", "unknown value")));
    check(s3(json!({"sse_config": {"type": "SSE-X"}})), Err(("config.sse_config.type", "unknown type")));
    check(
        s3(json!({"http_config": {"tls_config": {"cert_file": "x"}}})),
        Err(("config.http_config.tls_config.cert_file", "not supported")),
    );
    check(
        s3(json!({"http_config": {"idle_conn_timeout": "soon"}})),
        Err(("config.http_config.idle_conn_timeout", "no duration")),
    );
}

#[test]
fn secrets_are_not_shown() {
    let config: BucketConfig = serde_json::from_value(s3(json!({"secret_key": "hush"}))).expect("known keys");
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn durations_are_those_of_go() {
    for (text, expected) in [
        ("1m30s", Some(90_000)),
        ("0", Some(0)),
        ("0s", Some(0)),
        ("150ms", Some(150)),
        ("1h1m", Some(3_660_000)),
        ("", None),
        ("5", None),
        ("5q", None),
        ("99999999999999999999s", None),
    ] {
        assert_eq!(parse_duration(text), expected.map(Duration::from_millis), "{text}");
    }
}
