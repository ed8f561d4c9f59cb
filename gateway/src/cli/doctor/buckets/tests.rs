use std::time::Duration;

use serde_json::json;

use super::super::Grade;
use super::look;

#[test]
fn every_bucket_is_asked_and_one_that_does_not_answer_is_a_failure() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let nobody = nobody.expect("a port that nobody listens on any more").to_string();
    let s3 = json!({"bucket": "b", "endpoint": nobody, "access_key": "a", "secret_key": "b", "insecure": true, "region": "x"});
    let in_folder =
        |folder: std::path::PathBuf| json!({"type": "FILESYSTEM", "config": {"directory": folder}});
    let missing = folder.path().join("missing");
    let config = json!({
        "storage": {
            "bucket": in_folder(missing.clone()),
            "logs": {"bucket": {"type": "S3", "config": s3}},
        },
        "exporters": {"parquet": {"bucket": in_folder(folder.path().to_owned())}, "nop": null},
    });
    let found = look(&config, Duration::from_millis(300));
    let short: Vec<_> = found.iter().map(|finding| (finding.what.as_str(), finding.grade)).collect();
    let want = [
        ("storage::bucket", Grade::Warning),
        ("storage::logs::bucket", Grade::Failure),
        ("exporters::parquet::bucket", Grade::Good),
    ];
    assert_eq!(short, want, "{found:?}");
    assert!(!missing.exists(), "nothing is made");
}
