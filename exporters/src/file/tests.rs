use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use model::ErrorKind;
use pipelines::Exporter;
use serde_json::{Value, json};

use crate::Stores;
use crate::testing::{context, create, logs};

async fn start(path: &Path, more: Value) -> Arc<dyn Exporter> {
    let mut config = json!({"path": path});
    for (key, value) in more.as_object().expect("a section") {
        config[key] = value.clone();
    }
    let exporter = create("file", &config, &context(), &Stores::default()).expect("a good config");
    exporter.start().await.expect("starts");
    exporter
}

fn bodies(line: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(line).expect("JSON");
    let records = &value["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
    let text = |record: &Value| record["body"]["stringValue"].as_str().expect("text").to_owned();
    records.as_array().expect("a list").iter().map(text).collect()
}

#[tokio::test]
async fn each_batch_is_a_line_of_json_on_the_disk_when_it_is_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep/out.json");
    let exporter = start(&path, json!({"create_directory": true})).await;
    let sent = join_all((0..20).map(|n| exporter.consume(logs(&[&n.to_string(), "second"])))).await;
    assert!(sent.iter().all(|outcome| outcome.as_ref().is_ok_and(|report| report.stored == 2)));
    let text = std::fs::read_to_string(&path).expect("there");
    let lines: Vec<_> = text.lines().map(bodies).collect();
    assert_eq!(lines, (0..20).map(|n| vec![n.to_string(), "second".to_owned()]).collect::<Vec<_>>());
    exporter.shutdown().await.expect("ends");
    let late = exporter.consume(logs(&["late"])).await.expect_err("ended");
    assert_eq!(late.kind(), ErrorKind::Unavailable);

    let again = start(&path, json!({"append": true})).await;
    again.consume(logs(&["more"])).await.expect("written");
    assert_eq!(std::fs::read_to_string(&path).expect("there").lines().count(), 21);
}

#[tokio::test]
async fn what_an_earlier_process_left_goes_with_the_first_write_and_not_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.json");
    std::fs::write(&path, "left\n").expect("written");
    // As beside a reload that is refused after its exporters started.
    let refused = start(&path, json!({})).await;
    refused.shutdown().await.expect("ends");
    assert_eq!(std::fs::read_to_string(&path).expect("there"), "left\n");
    let exporter = start(&path, json!({})).await;
    exporter.consume(logs(&["one"])).await.expect("written");
    let text = std::fs::read_to_string(&path).expect("there");
    assert_eq!(text.lines().map(bodies).collect::<Vec<_>>(), [["one"]]);
}

#[tokio::test]
async fn what_this_process_acknowledged_stays_when_a_reload_changes_the_section() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.json");
    let old = start(&path, json!({})).await;
    old.consume(logs(&["one"])).await.expect("written");
    let new = start(&path, json!({"flush_interval": "2s"})).await;
    new.consume(logs(&["two"])).await.expect("written");
    old.consume(logs(&["three"])).await.expect("written");
    let text = std::fs::read_to_string(&path).expect("there");
    assert_eq!(text.lines().map(bodies).collect::<Vec<_>>(), [["one"], ["two"], ["three"]]);
}

#[tokio::test]
async fn a_file_that_went_away_is_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.json");
    let exporter = start(&path, json!({"rotation": {"max_megabytes": 1}})).await;
    let line = "x".repeat(700_000);
    exporter.consume(logs(&[&line])).await.expect("written");
    // As after a rename whose following open failed.
    std::fs::remove_file(&path).expect("there");
    for _ in 0..2 {
        exporter.consume(logs(&[&line])).await.expect("written");
    }
    assert_eq!(std::fs::read_to_string(&path).expect("there").lines().count(), 1);
}

#[tokio::test]
async fn protobuf_and_compressed_messages_have_their_length_before_them() {
    let folder = tempfile::tempdir().expect("a folder");
    for compression in ["none", "zstd"] {
        let path = folder.path().join(compression);
        let exporter = start(&path, json!({"format": "proto", "compression": compression})).await;
        let (one, two) = (logs(&["one"]), logs(&["two", "three"]));
        exporter.consume(one.clone()).await.expect("written");
        exporter.consume(two.clone()).await.expect("written");
        let bytes = std::fs::read(&path).expect("there");
        let mut rest = &bytes[..];
        for want in [one, two] {
            let (len, tail) = rest.split_first_chunk::<4>().expect("a length");
            let (message, tail) = tail.split_at(u32::from_be_bytes(*len) as usize);
            let encoding = if compression == "zstd" { "zstd" } else { "" };
            let message =
                wire::compression::decode(encoding, &message.to_vec().into(), 1 << 20).expect("whole");
            assert_eq!(message, want.payload);
            rest = tail;
        }
        assert!(rest.is_empty());
    }
}

#[tokio::test]
async fn a_full_file_gets_another_name_and_too_many_old_ones_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.json");
    let rotation = json!({"rotation": {"max_megabytes": 1, "max_backups": 2}});
    let exporter = start(&path, rotation).await;
    let line = "x".repeat(700_000);
    for _ in 0..5 {
        exporter.consume(logs(&[&line])).await.expect("written");
    }
    let names = || {
        let names = std::fs::read_dir(folder.path()).expect("readable");
        let mut names: Vec<String> =
            names.map(|entry| entry.expect("readable").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    };
    let names = names();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[0].starts_with("out-20") && names[0].ends_with(".json"), "{names:?}");
    assert_eq!(std::fs::read_to_string(&path).expect("there").lines().count(), 1);
}

#[test]
fn faulty_configs_are_refused_by_path() {
    let check = |value: Value, want: &str| {
        let error =
            create("file", &value, &context(), &Stores::default()).err().expect("a fault").to_string();
        assert!(error.starts_with(want), "{error}");
    };
    check(json!({}), "path: path must be non-empty");
    check(json!({"path": "x", "compression": "gzip"}), "compression: compression is not supported");
    check(json!({"path": "x", "append": true, "rotation": {}}), "append: append and rotation");
    check(json!({"path": "x", "group_by": {"enabled": true}}), "group_by: is not supported yet");
    check(json!({"path": "x", "format": "xml"}), "format: unknown variant `xml`");
}
