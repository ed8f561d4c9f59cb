//! The buckets that a config names: whether they answer and let this process list what is in them. Nothing is written.

use std::path::Path;
use std::time::Duration;

use bucket::BucketConfig;
use serde_json::Value;

use super::{Finding, Grade};

/// How long a bucket may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Nothing has names that begin so: an answer is short whatever the bucket holds.
const PREFIX: &str = "tidegate-doctor-looks-whether-it-may-list/";

/// Looks at every bucket that a config names.
pub(super) fn look(config: &Value, patience: Duration) -> Vec<Finding> {
    let mut named: Vec<(String, &Value)> = Vec::new();
    for path in ["/storage/bucket", "/storage/logs/bucket"] {
        let what = path.trim_start_matches('/').replace('/', "::");
        named.extend(config.pointer(path).map(|bucket| (what, bucket)));
    }
    let exporters = config.get("exporters").and_then(Value::as_object);
    for (id, section) in exporters.into_iter().flatten() {
        let bucket = section.get("bucket");
        named.extend(bucket.map(|bucket| (format!("exporters::{id}::bucket"), bucket)));
    }
    let is_object = |(_, bucket): &(String, &Value)| bucket.is_object();
    named.into_iter().filter(is_object).map(|(what, bucket)| look_at(what, bucket, patience)).collect()
}

fn look_at(what: String, bucket: &Value, patience: Duration) -> Finding {
    let kind = bucket.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind.eq_ignore_ascii_case("FILESYSTEM") {
        let folder = bucket.pointer("/config/directory").and_then(Value::as_str).unwrap_or_default();
        return match Path::new(folder).is_dir() {
            true => Finding::new(what, Grade::Good, format!("{folder} is there")),
            false => Finding::new(what, Grade::Warning, format!("{folder} is not there; the start makes it")),
        };
    }
    let config: BucketConfig = match serde_json::from_value(bucket.clone()) {
        Ok(config) => config,
        Err(error) => return Finding::new(what, Grade::Failure, error.to_string()),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Finding::new(what, Grade::Failure, error.to_string()),
    };
    let bucket = match config.open(runtime.handle().clone()) {
        Ok(bucket) => bucket.with_patience(patience),
        Err(error) => return Finding::new(what, Grade::Failure, error.to_string()),
    };
    let listed = runtime.block_on(async { tokio::time::timeout(patience, bucket.list(Some(PREFIX))).await });
    let shown = bucket.shown();
    match listed {
        Ok(Ok(_)) => Finding::new(what, Grade::Good, format!("{shown} answers and can be listed")),
        Ok(Err(error)) => Finding::new(what, Grade::Failure, format!("{shown} cannot be listed: {error}")),
        Err(_) => {
            let text = format!("{shown} does not answer within {patience:?}");
            Finding::new(what, Grade::Failure, text)
        }
    }
}

#[cfg(test)]
mod tests;
