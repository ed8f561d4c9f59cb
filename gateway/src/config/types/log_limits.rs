//! `storage.logs.limits`: what is refused of the lines that a tenant pushes, under Loki's names.

use std::time::Duration;

use logstore::LogLimits;
use serde::{Deserialize, Deserializer, de};

use super::metrics_store;
use crate::duration;

/// Bytes of a line, or of an entry's structured metadata, at most: what a record of the write-ahead log can hold many times.
const SIZE_MAX: usize = 4 << 20;

/// Bytes of Loki's MB.
const MB: f64 = 1_048_576.0;

/// `storage.logs.limits`, and `limits` of a tenant in `storage.logs.overrides`. What a tenant does not say is as for all.
/// Where 0 is no limit, Loki has none then either (pkg/distributor/validator.go, pkg/ingester/limiter.go).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogLimitsConfig {
    /// MB of lines and structured metadata a second. Default 256.
    #[serde(deserialize_with = "megabytes")]
    pub ingestion_rate_mb: Option<f64>,
    /// MB that may come at once after a pause. Default 512.
    #[serde(deserialize_with = "megabytes")]
    pub ingestion_burst_size_mb: Option<f64>,
    /// Bytes of a line, as a number or with a unit; at most 4 MiB, which 0 also means. Default 256KB.
    #[serde(deserialize_with = "size")]
    pub max_line_size: Option<usize>,
    /// Labels of a stream besides `service_name`. Default 15.
    pub max_label_names_per_series: Option<usize>,
    /// Bytes of a label's name. Default 1024.
    pub max_label_name_length: Option<usize>,
    /// Bytes of a label's value. Default 2048.
    pub max_label_value_length: Option<usize>,
    /// Bytes of the structured metadata of an entry, as a number or with a unit; at most 4 MiB, which 0 also means.
    /// Default 64KB.
    #[serde(deserialize_with = "size")]
    pub max_structured_metadata_size: Option<usize>,
    /// Pairs of structured metadata of an entry; 0 for no limit. Default 128.
    pub max_structured_metadata_entries_count: Option<usize>,
    /// How far in the future an entry may be. Default 10m.
    #[serde(deserialize_with = "optional_duration")]
    pub creation_grace_period: Option<Duration>,
    /// Streams with entries in memory; 0 for no limit. Default 200000.
    pub max_global_streams_per_user: Option<usize>,
}

impl LogLimitsConfig {
    /// These limits; what is not said is as in `base`.
    pub(super) fn over(&self, base: &LogLimits) -> LogLimits {
        let set = |own: Option<usize>, base: usize| own.unwrap_or(base);
        let set_unless_0 = |own: Option<usize>, base: usize, most: usize| match own {
            Some(0) => most,
            own => own.unwrap_or(base),
        };
        let rate = |own: Option<f64>, base: f64| own.map_or(base, |megabytes| megabytes * MB);
        LogLimits {
            line_bytes_max: set_unless_0(self.max_line_size, base.line_bytes_max, SIZE_MAX),
            label_names_max: set(self.max_label_names_per_series, base.label_names_max),
            label_name_bytes_max: set(self.max_label_name_length, base.label_name_bytes_max),
            label_value_bytes_max: set(self.max_label_value_length, base.label_value_bytes_max),
            metadata_bytes_max: set_unless_0(
                self.max_structured_metadata_size,
                base.metadata_bytes_max,
                SIZE_MAX,
            ),
            metadata_pairs_max: set_unless_0(
                self.max_structured_metadata_entries_count,
                base.metadata_pairs_max,
                usize::MAX,
            ),
            creation_grace: self.creation_grace_period.unwrap_or(base.creation_grace),
            streams_max: set_unless_0(self.max_global_streams_per_user, base.streams_max, usize::MAX),
            ingest_bytes_per_second: rate(self.ingestion_rate_mb, base.ingest_bytes_per_second),
            ingest_burst_bytes: rate(self.ingestion_burst_size_mb, base.ingest_burst_bytes),
        }
    }
}

fn megabytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let megabytes = f64::deserialize(deserializer)?;
    if megabytes.is_finite() && megabytes > 0.0 {
        return Ok(Some(megabytes));
    }
    Err(de::Error::custom(format!("{megabytes} MB are not possible, want more than 0")))
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let bytes = metrics_store::bytes(deserializer)?;
    match usize::try_from(bytes) {
        Ok(bytes) if bytes <= SIZE_MAX => Ok(Some(bytes)),
        _ => Err(de::Error::custom(format!("{bytes} bytes are not possible, at most {SIZE_MAX} are"))),
    }
}

fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration::deserialize(deserializer).map(Some)
}
