//! The typed sections of a config that are not a component's own.
//!
//! `service` is the collector's; `server`, `storage` and `query` are ours. Each key has its unit, default and effect
//! in its comment; unknown keys are refused.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

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

/// `service.telemetry`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// The process' own log.
    pub logs: LogsConfig,
    /// The process' own metrics.
    pub metrics: MetricsConfig,
}

/// `service.telemetry.logs`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogsConfig {
    /// Least severe level that is written: `debug`, `info` (default), `warn`, `error`.
    pub level: LogLevel,
    /// `console` (default): text to standard error; `json`: one JSON object a line.
    pub encoding: LogEncoding,
}

/// A log level.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything.
    #[serde(alias = "DEBUG")]
    Debug,
    /// What an operator wants to know.
    #[default]
    #[serde(alias = "INFO")]
    Info,
    /// What may need a hand.
    #[serde(alias = "WARN")]
    Warn,
    /// What failed.
    #[serde(alias = "ERROR")]
    Error,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogEncoding {
    /// Text.
    #[default]
    Console,
    /// JSON.
    Json,
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self { level: LogLevel::Info, encoding: LogEncoding::Console }
    }
}

/// `service.telemetry.metrics`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// `none`, `basic`, `normal` (default), `detailed`. Every level shows what is counted; `none` shows nothing.
    pub level: MetricsLevel,
    /// `host:port` of one more listener for `/metrics`. Default none: `/metrics` is on `server.prometheus` and
    /// `server.loki`.
    pub address: Option<String>,
}

/// How much the process tells about itself.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum MetricsLevel {
    /// Nothing.
    None,
    /// The essentials.
    Basic,
    /// The default.
    #[default]
    Normal,
    /// Everything.
    Detailed,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { level: MetricsLevel::Normal, address: None }
    }
}

/// `server`: the listeners of the query APIs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// The Prometheus API and everything that is not Loki's.
    #[serde(deserialize_with = "prometheus_api")]
    pub prometheus: ApiConfig,
    /// The Loki API.
    #[serde(deserialize_with = "loki_api")]
    pub loki: ApiConfig,
    /// How long a shutdown may take before it gives up on what is in flight. Default 30s.
    #[serde(deserialize_with = "duration::deserialize")]
    pub shutdown_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            prometheus: ApiConfig { endpoint: DEFAULT_PROMETHEUS.to_owned() },
            loki: ApiConfig { endpoint: DEFAULT_LOKI.to_owned() },
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

const DEFAULT_PROMETHEUS: &str = "localhost:9090";
const DEFAULT_LOKI: &str = "localhost:3100";

/// `server.prometheus`, `server.loki`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiConfig {
    /// `host:port` to listen on; port 0 takes a free one; empty text switches the API off. Defaults
    /// `localhost:9090` and `localhost:3100`.
    pub endpoint: String,
}

fn prometheus_api<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ApiConfig, D::Error> {
    api(deserializer, DEFAULT_PROMETHEUS)
}

fn loki_api<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ApiConfig, D::Error> {
    api(deserializer, DEFAULT_LOKI)
}

fn api<'de, D: serde::Deserializer<'de>>(deserializer: D, default: &str) -> Result<ApiConfig, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Section {
        endpoint: Option<String>,
    }
    let section = Option::<Section>::deserialize(deserializer)?.unwrap_or_default();
    Ok(ApiConfig { endpoint: section.endpoint.unwrap_or_else(|| default.to_owned()) })
}

/// `storage`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// Folder of everything that is kept. Default `./tidegate-data`.
    pub directory: PathBuf,
    /// The metrics store.
    pub metrics: MetricsStoreConfig,
    /// The log store.
    pub logs: LogStoreConfig,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("./tidegate-data"),
            metrics: MetricsStoreConfig::default(),
            logs: LogStoreConfig::default(),
        }
    }
}

/// `storage.metrics`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsStoreConfig {
    /// When a write is acknowledged. Default `group`.
    pub durability: Durability,
}

/// `storage.logs`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogStoreConfig {
    /// When a write is acknowledged. Default `group`.
    pub durability: Durability,
    /// Entries older than this are refused, and files with nothing newer removed. Default 31d; 0s keeps everything.
    #[serde(deserialize_with = "duration::deserialize")]
    pub retention: Duration,
}

impl Default for LogStoreConfig {
    fn default() -> Self {
        Self { durability: Durability::default(), retention: Duration::from_secs(31 * 86_400) }
    }
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
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(120),
            max_samples: 50_000_000,
            lookback_delta: Duration::from_secs(300),
            max_concurrency: 20,
        }
    }
}
