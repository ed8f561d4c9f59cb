//! `service.telemetry`: what the process tells about itself (service/telemetry of the collector).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::receivers::NotSupported;

/// `service.telemetry`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// The process' own log.
    pub logs: LogsConfig,
    /// The process' own metrics.
    pub metrics: MetricsConfig,
    /// Attributes of the process, shown as labels of the metric `target_info`; null takes one of the defaults
    /// (`service.name`, `service.version`) away.
    pub resource: BTreeMap<String, Value>,
}

/// `service.telemetry.logs`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogsConfig {
    /// Least severe level that is written: `debug`, `info` (default), `warn`, `error`.
    pub level: LogLevel,
    /// `console` (default): text; `json`: one JSON object a line.
    pub encoding: LogEncoding,
    /// Where lines go: `stderr` (default), `stdout` or paths of files, which are appended to.
    pub output_paths: Vec<String>,
    /// Accepted for the collector's configs: errors of the log itself have no other place.
    #[serde(rename = "error_output_paths")]
    _error_output_paths: Option<IgnoredAny>,
    /// Accepted for the collector's configs: lines name no caller.
    #[serde(rename = "disable_caller")]
    _disable_caller: bool,
    /// Accepted for the collector's configs: lines have no stack.
    #[serde(rename = "disable_stacktrace")]
    _disable_stacktrace: bool,
    /// Accepted for the collector's configs, without effect.
    #[serde(rename = "development")]
    _development: bool,
    /// Accepted for the collector's configs: what would repeat is throttled where it is logged.
    #[serde(rename = "sampling")]
    _sampling: Option<IgnoredAny>,
    initial_fields: NotSupported,
    processors: NotSupported,
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            encoding: LogEncoding::Console,
            output_paths: vec!["stderr".to_owned()],
            _error_output_paths: None,
            _disable_caller: false,
            _disable_stacktrace: false,
            _development: false,
            _sampling: None,
            initial_fields: NotSupported,
            processors: NotSupported,
        }
    }
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

/// `service.telemetry.metrics`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// `none`, `basic`, `normal` (default), `detailed`. Every level shows what is counted; `none` shows nothing.
    pub level: MetricsLevel,
    /// `host:port` of one more listener for `/metrics`. Default none: `/metrics` is on `server.prometheus` and
    /// `server.loki`.
    pub address: Option<String>,
    /// More listeners for `/metrics`, as the collector names them.
    pub readers: Vec<Reader>,
    views: NotSupported,
}

/// An entry of `readers`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reader {
    /// A listener.
    pub pull: Option<Pull>,
    periodic: NotSupported,
}

/// `pull`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pull {
    /// What is listened for.
    pub exporter: PullExporter,
}

/// `pull.exporter`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PullExporter {
    /// A scraper.
    pub prometheus: PrometheusReader,
}

/// `pull.exporter.prometheus`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct PrometheusReader {
    /// Default `localhost`.
    pub host: String,
    /// Default 8888.
    pub port: u16,
    /// Accepted for the collector's configs: there are no scopes to tell of.
    #[serde(rename = "without_scope_info")]
    _without_scope_info: bool,
    /// Whether counters named `otelcol_*` lack `_total`. Default false.
    pub without_type_suffix: bool,
    /// Whether names `otelcol_*` lack their unit. Default false.
    pub without_units: bool,
    with_resource_constant_labels: NotSupported,
}

impl Default for PrometheusReader {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 8888,
            _without_scope_info: false,
            without_type_suffix: false,
            without_units: false,
            with_resource_constant_labels: NotSupported,
        }
    }
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
