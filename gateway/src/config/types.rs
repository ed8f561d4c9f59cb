//! The typed sections of a config that are not a component's own.
//!
//! `service` is the collector's; `server`, `storage` and `query` are ours. Each key has its unit, default and effect
//! in its comment; unknown keys are refused.

use std::path::PathBuf;
use std::time::Duration;

use bucket::BucketConfig;
use model::Labels;
use pipelines::ConfigError;
use serde::Deserialize;
use serde_json::Value;

mod compactor;
mod external_labels;
mod frontend;
mod log_limits;
mod log_store;
mod metrics_store;
mod query_feature;
mod receive;
mod server;
mod store_api;
mod store_apis;
mod store_gateway;
mod telemetry;

pub use self::compactor::{CompactorConfig, DeduplicationConfig, MergingConfig, RetentionConfig};
pub use frontend::FrontendConfig;
pub use log_store::LogStoreConfig;
pub use metrics_store::MetricsStoreConfig;
pub use query_feature::QueryFeature;
pub use receive::ReceiveConfig;
pub use server::{LokiApiConfig, PrometheusApiConfig, ServerConfig};
pub use store_api::{StoreApiConfig, StoreComponent};
pub use store_apis::{Deduplication, EndpointConfig, EndpointTls, StoreApisConfig};
pub use store_gateway::StoreGatewayConfig;
pub use telemetry::{
    LogEncoding, LogLevel, LogsConfig, MetricsConfig, MetricsLevel, PrometheusReader, TelemetryConfig,
};

use crate::duration;

/// `service`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceConfig {
    /// Ids of extensions to run, in the order of their start.
    pub extensions: Option<Vec<String>>,
    /// The pipelines by id, `metrics|logs|traces[/name]`; read by the pipeline graph.
    pub pipelines: Value,
    /// What the process tells about itself.
    pub telemetry: TelemetryConfig,
}

/// `storage`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// Folder of everything that is kept. Default `./tidegate-data`.
    pub directory: PathBuf,
    /// Labels that every series carries for Thanos: on the StoreAPI and in the bucket. The Prometheus API does not show
    /// them. Default none.
    #[serde(deserialize_with = "external_labels::deserialize")]
    pub external_labels: Labels,
    /// Name of the external label with the tenant, on series of all tenants but the default one. Default `tenant_id`.
    pub tenant_label: String,
    /// The object store for blocks, as Thanos configures it: type, config, prefix. Finished blocks are uploaded; the
    /// labels tell them apart from those of others. Default none.
    pub bucket: Option<BucketConfig>,
    /// Whether blocks that are longer than two hours are uploaded as well when nothing of them is in the bucket: what
    /// came from a Prometheus, or was there before the bucket (`--shipper.upload-compacted`). Default false.
    pub upload_compacted: bool,
    /// The metrics store.
    pub metrics: MetricsStoreConfig,
    /// The log store.
    pub logs: LogStoreConfig,
    /// Bytes that are kept free on the disk, as a number or with a unit (`512MB`, `10GB`; 1KB is 1024 bytes). With less,
    /// the stores refuse every write with a status that makes senders try again, until there is room. Default 256MB.
    #[serde(deserialize_with = "metrics_store::bytes")]
    pub free_bytes_min: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("./tidegate-data"),
            external_labels: Labels::empty(),
            tenant_label: "tenant_id".to_owned(),
            bucket: None,
            upload_compacted: false,
            metrics: MetricsStoreConfig::default(),
            logs: LogStoreConfig::default(),
            free_bytes_min: 256 << 20,
        }
    }
}

impl StorageConfig {
    /// Refuses what cannot work; `has_metrics` is whether there are blocks to upload.
    pub fn validate(&self, has_metrics: bool) -> Result<(), ConfigError> {
        check_bucket("storage.logs.bucket", self.logs.bucket.as_ref())?;
        check_bucket("storage.bucket", self.bucket.as_ref())?;
        let rules = self.logs.retention_rules();
        rules.map_err(|reason| ConfigError::at("storage.logs.overrides", reason))?;
        if self.bucket.is_some() && has_metrics && self.external_labels.is_empty() {
            let message =
                "storage.bucket needs labels that tell this process' blocks apart from those of others";
            return Err(ConfigError::at("storage.external_labels", message));
        }
        Ok(())
    }
}

fn check_bucket(key: &str, bucket: Option<&BucketConfig>) -> Result<(), ConfigError> {
    let checked = bucket.map_or(Ok(()), BucketConfig::validate);
    checked.map_err(|error| {
        let path = error.config_path().map_or_else(String::new, |path| format!(".{path}"));
        ConfigError::at(&format!("{key}{path}"), error.message())
    })
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Once it is written; the system syncs it to disk later. A crash of the machine can lose acknowledged data.
    Async,
    /// After an fsync that the writes of a few milliseconds share.
    #[default]
    Group,
    /// After an fsync of its own.
    Sync,
}

/// `query`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueryConfig {
    /// Longest time that a query may take. Default 2m.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
    /// Samples that a PromQL query may hold in memory. Default 50000000.
    pub max_samples: u64,
    /// How far back an instant selector looks. Default 5m.
    #[serde(deserialize_with = "duration::deserialize")]
    pub lookback_delta: Duration,
    /// Queries that run at a time; others wait. Default 20.
    pub max_concurrency: usize,
    /// Parts of PromQL that are off by default, by the names of Prometheus' feature flags. Default none.
    pub features: Vec<QueryFeature>,
    /// The stores of others that queries are answered from as well. Default none.
    pub store_apis: StoreApisConfig,
    /// Range queries day by day, with answers that are kept. Default off.
    pub frontend: FrontendConfig,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(120),
            max_samples: 50_000_000,
            lookback_delta: Duration::from_secs(300),
            max_concurrency: 20,
            features: Vec::new(),
            store_apis: StoreApisConfig::default(),
            frontend: FrontendConfig::default(),
        }
    }
}
