use std::path::Path;

use serde_json::json;

use super::super::Grade;
use super::look;
use crate::config::types::StorageConfig;

fn config(folder: &Path, bucket: bool) -> StorageConfig {
    let bucket = bucket.then(|| json!({"type": "FILESYSTEM", "config": {"directory": "/nowhere"}}));
    let config = json!({"directory": folder, "logs": {"bucket": bucket}});
    serde_json::from_value(config).expect("a good config")
}

fn failures(config: &StorageConfig) -> Vec<String> {
    let failed = look(config).into_iter().filter(|finding| finding.grade == Grade::Failure);
    failed.map(|finding| format!("{}: {}", finding.what, finding.text)).collect()
}

#[test]
fn log_files_on_the_disk_beside_a_bucket_are_a_failure() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hour = folder.path().join("logs/data/default/2026-01-31/08");
    std::fs::create_dir_all(&hour).expect("writable");
    std::fs::write(folder.path().join("logs/manifest"), "").expect("writable");
    assert_eq!(failures(&config(folder.path(), true)), [""; 0]);
    std::fs::write(hour.join("01.parquet"), "").expect("writable");
    let found = failures(&config(folder.path(), true));
    assert!(found.len() == 1 && found[0].contains("leave storage.logs.bucket out"), "{found:?}");
    assert_eq!(failures(&config(folder.path(), false)), [""; 0]);
}

#[test]
fn delete_requests_that_nobody_can_read_are_a_failure_and_stay_where_they_are() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("log-deletes.json");
    let config = config(folder.path(), false);
    assert_eq!(failures(&config), [""; 0]);
    std::fs::write(&file, r#"{"version": 1, "tenants": {}}"#).expect("writable");
    assert_eq!(failures(&config), [""; 0]);
    for (text, want) in [(r#"{"version": 2}"#, "is of version 2"), ("{", "log-deletes.json")] {
        std::fs::write(&file, text).expect("writable");
        let found = failures(&config);
        assert!(found.len() == 1 && found[0].contains(want), "{found:?}");
        assert_eq!(std::fs::read_to_string(&file).expect("is there"), text);
    }
    std::fs::remove_file(&file).expect("is there");
    std::fs::write(folder.path().join("log-deletes.json.damaged"), "{").expect("writable");
    let found = failures(&config);
    assert!(found.len() == 1 && found[0].contains("log-deletes.json.damaged is there"), "{found:?}");
}
