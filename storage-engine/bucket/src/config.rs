//! Thanos' configuration of an object store, unchanged: `type`, `config`, `prefix` (docs/storage.md of Thanos).
//!
//! Every key of Thanos' is known. Those that say how its own client works (sizes of buffers, numbers of connections,
//! tracing) change nothing here; those whose meaning would be lost are refused by name.

mod azure;
mod gcs;
mod http;
mod s3;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::runtime::Handle;

use crate::{Bucket, BucketError, BucketResult};

/// What there is, for errors.
const HAVE: &str = "AZURE, FILESYSTEM, GCS, S3";

/// Kinds that Thanos has and this program has not.
const LACKED: [&str; 6] = ["SWIFT", "COS", "ALIYUNOSS", "BOS", "OCI", "OBS"];

/// How often a request is tried again when nothing else is said.
const RETRIES: usize = 10;

/// How long a request is tried again at most.
const RETRY_TIMEOUT: Duration = Duration::from_secs(180);

/// Thanos' configuration of an object store. Not shown in full anywhere: it holds secrets.
#[derive(Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct BucketConfig {
    /// S3, GCS, AZURE or FILESYSTEM, in any case of letters.
    #[serde(rename = "type")]
    kind: String,
    /// The keys of this kind.
    #[serde(default)]
    config: Value,
    /// All names of objects begin with this folder. Default none.
    #[serde(default)]
    prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilesystemConfig {
    directory: PathBuf,
}

impl BucketConfig {
    /// Checks everything that can be checked without a request.
    pub fn validate(&self) -> BucketResult<()> {
        self.store(false).map(|_| ())
    }

    /// Makes the bucket; asks nothing of it. Requests run on the runtime of `handle`.
    pub fn open(&self, handle: Handle) -> BucketResult<Bucket> {
        let (store, shown) = self.store(true)?;
        let prefix = self.prefix.trim_matches('/');
        if prefix.is_empty() {
            return Ok(Bucket::new(store, &shown, handle));
        }
        let store = PrefixStore::new(store, prefix);
        Ok(Bucket::new(Arc::new(store), &format!("{shown}/{prefix}"), handle))
    }

    fn store(&self, makes_folder: bool) -> BucketResult<(Arc<dyn ObjectStore>, String)> {
        let kind = self.kind.to_ascii_uppercase();
        match kind.as_str() {
            "S3" => self.typed::<s3::S3Config>()?.store(),
            "GCS" => self.typed::<gcs::GcsConfig>()?.store(),
            "AZURE" => self.typed::<azure::AzureConfig>()?.store(),
            "FILESYSTEM" => filesystem(&self.typed()?, makes_folder),
            _ if LACKED.contains(&kind.as_str()) => Err(BucketError::config(
                "type",
                format!("{kind} is not supported by this version, have {HAVE}"),
            )),
            _ => Err(BucketError::config("type", format!("unknown type {:?}, have {HAVE}", self.kind))),
        }
    }

    fn typed<T: DeserializeOwned>(&self) -> BucketResult<T> {
        let empty = Value::Object(serde_json::Map::new());
        let config = if self.config.is_null() { &empty } else { &self.config };
        serde_path_to_error::deserialize(config).map_err(|error| {
            let path = error.path().to_string();
            let path = if path == "." { "config".to_owned() } else { format!("config.{path}") };
            BucketError::config(path, error.into_inner().to_string())
        })
    }
}

impl std::fmt::Debug for BucketConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BucketConfig")
            .field("type", &self.kind)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

fn filesystem(config: &FilesystemConfig, makes_folder: bool) -> BucketResult<(Arc<dyn ObjectStore>, String)> {
    let shown = config.directory.display().to_string();
    if !makes_folder {
        return Ok((Arc::new(object_store::memory::InMemory::new()), shown));
    }
    std::fs::create_dir_all(&config.directory)
        .map_err(|error| BucketError::disk(&config.directory, error))?;
    let store = LocalFileSystem::new_with_prefix(&config.directory)
        .map_err(|error| BucketError::config("config.directory", error.to_string()))?;
    // Thanos takes a folder for a block, so none may stay behind the last of its objects.
    Ok((Arc::new(store.with_automatic_cleanup(true).with_fsync(true)), shown))
}

/// How requests are tried again; `retries` of 0 is the default.
fn retry(retries: usize) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: if retries == 0 { RETRIES } else { retries },
        retry_timeout: RETRY_TIMEOUT,
    }
}

/// A key that must have a value.
fn required(path: &str, value: &str) -> BucketResult<()> {
    if value.is_empty() { Err(BucketError::config(path, "it is required and empty")) } else { Ok(()) }
}

/// A client that could not be made.
fn unusable(error: &object_store::Error) -> BucketError {
    BucketError::config("config", error.to_string())
}

/// A duration as Go and Prometheus write it, `1m30s`; a bare 0 is one too.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let text = match &value {
        Value::Null => return Ok(None),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    parse_duration(&text)
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no duration such as 1m30s")))
}

fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, milliseconds) = [
            ("ms", 1),
            ("s", 1000),
            ("m", 60_000),
            ("h", 3_600_000),
            ("d", 86_400_000),
            ("w", 604_800_000),
            ("y", 31_536_000_000_u64),
        ]
        .into_iter()
        .find(|(unit, _)| rest.starts_with(unit))?;
        total = total.checked_add(Duration::from_millis(number.checked_mul(milliseconds)?))?;
        rest = &rest[unit.len()..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests;
